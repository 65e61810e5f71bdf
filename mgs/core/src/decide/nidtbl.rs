//! The table of running targets, by which clients of a failed-over target find it at once (imperative recovery).
//!
//! Source: MGS specification, sections 1.3 and 3.1.

use lustre_api::Problem;
use lustre_types::{Nid, SvName};

use crate::decide::{Compare, Decision, Request, as_read, put};
use crate::key::Key;
use crate::record::{Change, NidRow, NidTableRecord, Record};
use crate::state::{NidTable, State};

/// A target says that it is up. Replies with the table's new version: every announcement gets one of its own.
///
/// `before` announcements of other targets of the file system are in the same change, and have the versions before this one's;
/// `append` adds the NIDs to those that it announced before, for a target that announces after the MGS was away.
/// Errors: a target of no file system, no NID at all.
pub fn announce(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    instance: u32,
    nids: &[Nid],
    append: bool,
    before: u64,
) -> Result<Decision<u64>, Problem> {
    let fsname = svname.fsname().ok_or_else(|| Problem::invalid("an MGT is in no file system's table"))?;
    let known = state.nid_rows.get(svname);
    let mut all: Vec<Nid> = known.filter(|_| append).map(|row| row.value.nids.clone()).unwrap_or_default();
    for nid in nids {
        if !all.contains(nid) {
            all.push(nid.clone());
        }
    }
    if all.is_empty() {
        return Err(Problem::invalid(format!("{svname} announces itself without a NID")));
    }
    let table = state.nid_tables.get(fsname);
    let version = table.map_or(NidTable::FIRST_VERSION, |table| table.value.version) + 1 + before;
    let compare = vec![as_read(Key::NidTable(fsname.clone()), table.map_or(0, |table| table.revision))];
    let row = NidRow { version, instance, nids: all };
    let changes = vec![
        put(Key::NidTable(fsname.clone()), Record::NidTable(NidTableRecord { version })),
        put(Key::NidRow(svname.clone()), Record::NidRow(row)),
    ];
    let what = req.describe(format!("{svname} is up, instance {instance}"));
    Ok(Decision { compare, changes, what, reply: version })
}

/// Takes a target out of the table; its version stays.
pub(super) fn removal(state: &State, svname: &SvName) -> (Option<Compare>, Option<Change>) {
    match state.nid_rows.get(svname) {
        Some(row) => {
            let key = Key::NidRow(svname.clone());
            (Some(as_read(key.clone(), row.revision)), Some(super::remove(key)))
        }
        None => (None, None),
    }
}
