//! Backups.

use crate::endpoint::endpoints;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One line of a backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupLine {
    /// Goes into the backup file as it is, with a line feed behind it.
    pub line: String,
}

endpoints! {
    /// Streams a consistent backup of everything, history and all, as it is when the call begins. The last line has the
    /// checksum of those before; without it the backup is not complete.
    TakeBackup = "take_backup" Get "/v1/backup" { reply: BackupLine, stream: true }
}
