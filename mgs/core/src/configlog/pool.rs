//! Pools in the logs.
//!
//! Source: config-log specification, section 6.8.

use std::collections::BTreeSet;

use lustre_types::{FsName, PoolName, SvName};
use lustre_wire::llog::command as c;

use crate::configlog::{Draft, DraftError, commands, names};

/// One step of a pool's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolChange {
    /// The pool begins to exist.
    New,
    /// An OST joins.
    Add(SvName),
    /// An OST leaves.
    Remove(SvName),
    /// The pool ends. It has no OST any more.
    Delete,
}

impl Draft {
    /// Writes what the client's log lacks of a pool. Errors: a log that is full.
    pub fn ensure_pool(
        &mut self,
        fsname: &FsName,
        pool: &PoolName,
        members: &BTreeSet<SvName>,
    ) -> Result<(), DraftError> {
        let (client, lov) = (names::client(fsname), names::clilov(fsname));
        let lacks = |draft: &Self, comment: &str| {
            draft.log(&client).is_some_and(|log| log.live(&lov, comment).next().is_none())
        };
        if lacks(self, &format!("new {fsname}.{pool}")) {
            self.pool(fsname, pool, &PoolChange::New)?;
        }
        for ost in members {
            if lacks(self, &format!("add {fsname}.{pool}.{}", names::uuid(ost))) {
                self.pool(fsname, pool, &PoolChange::Add(ost.clone()))?;
            }
        }
        Ok(())
    }

    /// Writes one step of a pool's change: to the client's log first, then to the MDTs'. Nothing is written to a file
    /// system without logs. Errors: a log that is full.
    pub fn pool(&mut self, fsname: &FsName, pool: &PoolName, change: &PoolChange) -> Result<(), DraftError> {
        let client = (names::client(fsname), names::clilov(fsname));
        let mdts = self.mdts(fsname).into_iter().map(|mdt| (mdt.to_string(), names::mdtlov(&mdt)));
        for (log, lov) in std::iter::once(client).chain(mdts) {
            if self.log(&log).is_none() {
                continue;
            }
            let whole = format!("{fsname}.{pool}");
            let member = |ost: &SvName| format!("{whole}.{}", names::uuid(ost));
            // What a change takes back is not told to new nodes any more; those that know it need the opposite.
            let (taken_back, new, command, ost) = match change {
                PoolChange::New => (None, format!("new {whole}"), c::POOL_NEW, None),
                PoolChange::Add(ost) => (None, format!("add {}", member(ost)), c::POOL_ADD, Some(ost)),
                PoolChange::Remove(ost) => {
                    (Some(format!("add {}", member(ost))), format!("rem {}", member(ost)), c::POOL_REM, Some(ost))
                }
                PoolChange::Delete => (Some(format!("new {whole}")), format!("del {whole}"), c::POOL_DEL, None),
            };
            if let Some(old) = taken_back {
                self.skip(&log, &lov, &old);
            }
            let record = commands::pool(command, &lov, fsname, pool.as_str(), ost);
            self.append(&log, &lov, &new, vec![record])?;
        }
        Ok(())
    }
}
