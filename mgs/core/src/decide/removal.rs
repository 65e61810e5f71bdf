//! Removals that wait for somebody to confirm them: what was removed comes back by itself, as a change would.

use lustre_api::{Problem, Time};

use crate::decide::{Compare, Decision, Request, as_read, confirm, nodemap, param, put, remove};
use crate::key::{Key, RemovedKey};
use crate::record::{Change, Record, Removed, RemovedRecord};
use crate::state::{Object, State};

/// What is written so that an object that is removed now comes back unless that is confirmed; with when that is. Nothing where
/// it need not be confirmed, or there was nothing settled that could come back.
pub(super) fn pending(
    req: &Request<'_>,
    key: RemovedKey,
    confirm_within_s: Option<u32>,
    settled: Option<Removed>,
) -> Result<Option<(Time, Change)>, Problem> {
    confirm::check(confirm_within_s)?;
    let (Some(seconds), Some(before)) = (confirm_within_s, settled) else { return Ok(None) };
    let until = Time::from_unix_ms(req.now.unix_ms() + u64::from(seconds) * 1000);
    let record = Record::Removed(Box::new(RemovedRecord { until, before }));
    Ok(Some((until, put(Key::Removed(key), record))))
}

/// What must hold, and what is written, so that nothing comes back: for who makes the object anew, or confirms.
pub(super) fn forget(state: &State, key: &RemovedKey) -> Option<(Compare, Change)> {
    let waits = state.removed.get(key)?;
    let key = Key::Removed(key.clone());
    Some((as_read(key.clone(), waits.revision), remove(key)))
}

/// Brings back what nobody confirmed to be gone. Where its place is taken meanwhile, it stays away.
pub(super) fn goes_back(
    state: &State,
    req: &Request<'_>,
    key: &RemovedKey,
    waits: &Object<RemovedRecord>,
) -> Result<Decision<()>, Problem> {
    let decision = match (key, &waits.value.before) {
        (RemovedKey::Param(key), Removed::Param(record)) => param::comes_back(state, req, key, record)?,
        (RemovedKey::Nodemap(name), Removed::Nodemap(record)) => nodemap::comes_back(state, req, name, record),
        _ => None,
    };
    if let Some(decision) = decision {
        return Ok(decision);
    }
    let (compare, change) = forget(state, key).into_iter().unzip();
    Ok(Decision { compare, changes: change, what: String::new(), reply: () })
}
