//! What is in the file: three tables, and who may open it.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | name | `schema`, `compacted`, `last_lease` |
//! | `versions` | (key, revision) | create revision, version, lease (0: none), value (none: deleted) |
//! | `commits` | revision | [`Record`] as JSON |
//! | `leases` | lease | time to live in ms |
//!
//! The head is the last key of `commits`, or `compacted` where none is left: a commit writes two tables, no counter.

use ::redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use serde::{Deserialize, Serialize};

use crate::{LeaseId, Revision};

/// The schema that this program writes. A new one opens older files and brings them up to date; never the other way.
pub(super) const VERSION: u64 = 1;

pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
pub(super) const VERSIONS: TableDefinition<(&str, Revision), Version> = TableDefinition::new("versions");
pub(super) const COMMITS: TableDefinition<Revision, &[u8]> = TableDefinition::new("commits");
pub(super) const LEASES: TableDefinition<LeaseId, u64> = TableDefinition::new("leases");

/// create revision, version, lease, value.
pub(super) type Version = (Revision, u64, LeaseId, Option<&'static [u8]>);

/// A commit's description; its values are in `versions`.
#[derive(Serialize, Deserialize)]
pub(super) struct Record<M, K> {
    #[serde(flatten)]
    pub(super) meta: M,
    pub(super) keys: Vec<K>,
}

/// Makes the tables of an empty file, all in one commit.
pub(super) fn create_tables(db: &Database) -> Result<(), ::redb::Error> {
    let mut txn = db.begin_write()?;
    txn.set_two_phase_commit(true);
    {
        let mut meta = txn.open_table(META)?;
        if meta.get("schema")?.is_none() {
            meta.insert("schema", VERSION)?;
        }
        txn.open_table(VERSIONS)?;
        txn.open_table(COMMITS)?;
        txn.open_table(LEASES)?;
    }
    txn.commit()?;
    Ok(())
}

/// The file's schema version; `None` in a redb file that is no store. Errors: a file that can't be read.
pub(super) fn version(db: &Database) -> Result<Option<u64>, ::redb::Error> {
    let txn = db.begin_read()?;
    let meta = match txn.open_table(META) {
        Ok(meta) => meta,
        Err(TableError::TableDoesNotExist(_) | TableError::TableTypeMismatch { .. }) => return Ok(None),
        Err(err) => return Err(err.into()),
    };
    Ok(meta.get("schema")?.map(|version| version.value()))
}
