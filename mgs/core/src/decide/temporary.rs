//! Values that are set on nodes for the time being: what was set where, and what was there before.

use lustre_api::Problem;

use crate::decide::{Decision, Request, absent, as_read, put, remove};
use crate::key::Key;
use crate::record::{Record, TemporaryPlace, TemporaryRecord};
use crate::state::{Object, State};

/// Notes a value that nodes have taken. What was there before the first of several such values is kept: that is what comes
/// back. Nothing is noted where no node took it.
pub fn note(state: &State, req: &Request<'_>, name: &str, record: &TemporaryRecord) -> Result<Decision<u64>, Problem> {
    let key = Key::Temporary(name.to_owned());
    let before = state.temporary.get(name);
    let mut record = record.clone();
    for earlier in before.into_iter().flat_map(|before| &before.value.places) {
        match record.places.iter_mut().find(|place| place.is_same(earlier)) {
            Some(place) => place.before.clone_from(&earlier.before),
            None => record.places.push(earlier.clone()),
        }
    }
    let compare = vec![before.map_or_else(|| absent(key.clone()), |before| as_read(key.clone(), before.revision))];
    let what = req.describe(format!("set {name} temporarily"));
    Ok(Decision { compare, changes: vec![put(key, Record::Temporary(record))], what, reply: 0 })
}

/// Keeps only the places where a value is still to be put back; nothing changes where those are all.
pub fn keep(state: &State, req: &Request<'_>, name: &str, left: &[TemporaryPlace]) -> Result<Decision<u64>, Problem> {
    let before = find(state, name)?;
    let record = TemporaryRecord { places: left.to_vec(), ..before.value.clone() };
    if record == before.value {
        return Ok(Decision { compare: vec![], changes: vec![], what: String::new(), reply: 0 });
    }
    let key = Key::Temporary(name.to_owned());
    let compare = vec![as_read(key.clone(), before.revision)];
    let what = req.describe(format!("end the temporary value of {name} on some nodes"));
    Ok(Decision { compare, changes: vec![put(key, Record::Temporary(record))], what, reply: 0 })
}

/// Forgets a value after what was before it is back. Nothing changes where it is not noted.
pub fn forget(state: &State, req: &Request<'_>, name: &str) -> Result<Decision<u64>, Problem> {
    let Some(before) = state.temporary.get(name) else {
        return Ok(Decision { compare: vec![], changes: vec![], what: String::new(), reply: 0 });
    };
    let key = Key::Temporary(name.to_owned());
    let compare = vec![as_read(key.clone(), before.revision)];
    let what = req.describe(format!("end the temporary value of {name}"));
    Ok(Decision { compare, changes: vec![remove(key)], what, reply: 0 })
}

/// The value. Errors: none of this name.
pub fn find<'a>(state: &'a State, name: &str) -> Result<&'a Object<TemporaryRecord>, Problem> {
    let problem = || {
        Problem::not_found(format!("no temporary value of {name} is set")).remedy("mgsctl param temporary shows them")
    };
    state.temporary.get(name).ok_or_else(problem)
}

/// Names of values whose time is over.
pub fn expired(state: &State, now: lustre_api::Time) -> Vec<String> {
    let is_over = |record: &TemporaryRecord| record.expires.is_some_and(|expires| expires <= now);
    state.temporary.iter().filter(|(_, noted)| is_over(&noted.value)).map(|(name, _)| name.clone()).collect()
}
