//! Config logs as part of a decision.

use lustre_api::Problem;
use lustre_types::FsName;

use crate::configlog::{Draft, DraftError};
use crate::decide::{Compare, Request, absent};
use crate::key::Key;
use crate::record::Change;
use crate::state::State;

/// Begins a change of the logs of a file system, or of `params` for none.
pub(super) fn draft(state: &State, req: &Request<'_>, fsname: Option<&FsName>) -> Draft {
    let fsname = fsname.cloned();
    let logs = state.logs.get(&fsname);
    Draft::new(fsname, logs, req.now.unix_ms() / 1000)
}

/// Adds what was drafted to a decision, and that nobody else changed these logs meanwhile.
pub(super) fn commit(draft: Draft, compare: &mut Vec<Compare>, changes: &mut Vec<Change>) {
    let drafted = draft.changes();
    if let Some(Change { key: Key::Log(fsname, number), .. }) = drafted.first() {
        compare.push(absent(Key::Log(fsname.clone(), *number)));
    }
    changes.extend(drafted);
}

impl From<DraftError> for Problem {
    fn from(err: DraftError) -> Self {
        match &err {
            DraftError::Text(_) => Problem::invalid(err.to_string()).remedy("choose a shorter name"),
            DraftError::Append { .. } => Problem::refused(err.to_string())
                .remedy("stop the file system's targets and clients and let the logs be written anew (writeconf)"),
        }
    }
}
