//! Backups, as a stream of lines.

use std::sync::Arc;

use lustre_api::backup::BackupLine;
use lustre_mgs_store::backup::export;
use rest::Frame;

use super::Api;
use crate::engine::unavailable;

impl Api {
    /// `take_backup`
    pub fn take_backup(self: Arc<Self>) -> rest::Events<BackupLine> {
        let lines = export(self.engine.shared_store());
        Box::pin(futures::stream::unfold(lines, |mut lines| async move {
            let line = lines.recv().await?;
            let line = line.map(|line| Frame::without_id(&BackupLine { line })).map_err(|err| unavailable(&err));
            Some((line, lines))
        }))
    }
}
