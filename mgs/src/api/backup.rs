//! Backups, as a stream of lines.

use std::sync::Arc;

use futures::stream::BoxStream;
use lustre_api::Problem;
use lustre_api::backup::BackupLine;
use lustre_mgs_store::backup::export;

use super::Api;
use crate::engine::unavailable;

/// A backup's lines.
pub type BackupStream = BoxStream<'static, Result<BackupLine, Problem>>;

impl Api {
    /// `take_backup`
    pub fn take_backup(self: Arc<Self>) -> BackupStream {
        let lines = export(self.engine.shared_store());
        Box::pin(futures::stream::unfold(lines, |mut lines| async move {
            let line = lines.recv().await?;
            let line = line.map(|line| BackupLine { line }).map_err(|err| unavailable(&err));
            Some((line, lines))
        }))
    }
}
