//! Making a store file of a backup.

use std::path::{Path, PathBuf};

use ::redb::Database;

use super::schema::{COMMITS, META, Record, VERSIONS};
use super::{RedbStore, file, schema};
use crate::backup::{self, BackupError, Restored, Sink};
use crate::{Entry, Meta, Revision};

/// Rows in one transaction.
const BATCH: usize = 2000;

type Row = (String, Revision, Option<Entry>);

struct Import {
    db: Database,
    versions: Vec<Row>,
    commits: Vec<(Revision, Vec<u8>)>,
}

impl Import {
    fn flush(&mut self, compacted: Option<Revision>) -> Result<(), ::redb::Error> {
        let mut txn = self.db.begin_write()?;
        txn.set_two_phase_commit(true);
        {
            let mut versions = txn.open_table(VERSIONS)?;
            for (key, revision, entry) in self.versions.drain(..) {
                let version = match &entry {
                    Some(entry) => (entry.create_revision, entry.version, 0, Some(&*entry.value)),
                    None => (0, 0, 0, None),
                };
                versions.insert((key.as_str(), revision), version)?;
            }
            let mut commits = txn.open_table(COMMITS)?;
            for (revision, record) in self.commits.drain(..) {
                commits.insert(revision, record.as_slice())?;
            }
            if let Some(compacted) = compacted {
                txn.open_table(META)?.insert("compacted", compacted)?;
            }
        }
        txn.commit()?;
        Ok(())
    }

    fn flush_if_full(&mut self) -> Result<(), String> {
        if self.versions.len() + self.commits.len() < BATCH {
            return Ok(());
        }
        self.flush(None).map_err(|err| err.to_string())
    }
}

impl Sink for Import {
    async fn version(&mut self, key: &str, revision: Revision, entry: Option<Entry>) -> Result<(), String> {
        self.versions.push((key.to_owned(), revision, entry));
        self.flush_if_full()
    }

    async fn commit(&mut self, revision: Revision, meta: Meta, keys: Vec<String>) -> Result<(), String> {
        let record = serde_json::to_vec(&Record { meta, keys }).expect("strings and numbers always serialize");
        self.commits.push((revision, record));
        self.flush_if_full()
    }

    async fn finish(&mut self, _: Revision, compacted: Revision) -> Result<(), String> {
        self.flush(Some(compacted)).map_err(|err| err.to_string())
    }
}

impl RedbStore {
    /// Makes the store file `path` of a backup; there must not be one yet. It appears whole or not at all.
    pub async fn restore(backup: &Path, path: &Path) -> Result<Restored, BackupError> {
        let refused = |reason: String| BackupError::Target { store: path.display().to_string(), reason };
        let _lock = file::lock(path).map_err(|err| refused(err.to_string()))?;
        if path.exists() {
            return Err(refused("there is a file already; move it away first".into()));
        }
        let new: PathBuf = file::new_file(path).map_err(|err| refused(err.to_string()))?;
        let db = Database::builder().create(&new).map_err(|err| refused(err.to_string()))?;
        schema::create_tables(&db).map_err(|err| refused(err.to_string()))?;
        let mut import = Import { db, versions: Vec::new(), commits: Vec::new() };
        let restored = backup::restore(backup, &path.display().to_string(), &mut import).await;
        drop(import);
        let moved = restored.and_then(|restored| {
            file::move_into_place(&new, path).map_err(|err| refused(err.to_string()))?;
            Ok(restored)
        });
        if moved.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        moved
    }
}
