//! Values that are set on nodes for the time being: what was set where, and what was there before.

use std::collections::{BTreeSet, HashMap, HashSet};

use lustre_api::Problem;
use lustre_api::node_param::NodeParamSet;
use lustre_types::NodeName;

use crate::decide::{Compare, Decision, Request, absent, as_read, put, remove};
use crate::key::Key;
use crate::record::{Change, Record, TemporaryPlace, TemporaryRecord};
use crate::state::{Object, State};

/// Notes a value that nodes have taken. What was there before the first of several such values is kept: that is what comes
/// back. Nothing is noted where no node took it.
pub fn note(state: &State, req: &Request<'_>, name: &str, record: &TemporaryRecord) -> Result<Decision<u64>, Problem> {
    let (compare, change) = noted(state, name, record.clone());
    let what = req.describe(format!("set {name} temporarily"));
    Ok(Decision { compare: vec![compare], changes: vec![change], what, reply: 0 })
}

/// What must hold, and what is written, so that a value is noted; what was there before the first of several is kept.
pub(super) fn noted(state: &State, name: &str, mut record: TemporaryRecord) -> (Compare, Change) {
    let key = Key::Temporary(name.to_owned());
    let before = state.temporary.get(name);
    let known = before.map(|before| before.value.places.as_slice()).unwrap_or_default();
    let earlier: HashMap<_, _> = known.iter().map(|place| (place.identity(), place)).collect();
    for place in &mut record.places {
        let whole = (&place.node, name, place.boot_id.as_str());
        if let Some(earlier) = earlier.get(&place.identity()).or_else(|| earlier.get(&whole)) {
            place.before.clone_from(&earlier.before);
        }
    }
    let new: HashSet<_> = record.places.iter().map(TemporaryPlace::identity).collect();
    let kept: Vec<_> = known.iter().filter(|earlier| !new.contains(&earlier.identity())).cloned().collect();
    record.places.extend(kept);
    let compare = before.map_or_else(|| absent(key.clone()), |before| as_read(key.clone(), before.revision));
    (compare, put(key, Record::Temporary(record)))
}

/// What is to be put back on a node whose every tunable that `name` stands for was set: one place for all of them where all
/// were the same before, as they are on any node that nobody has treated by hand. A client has one for each OST.
pub fn places(name: &str, node: &NodeName, boot_id: &str, set: &[NodeParamSet]) -> Vec<TemporaryPlace> {
    let place = |name: &str, before: &Option<String>| TemporaryPlace {
        node: node.clone(),
        name: name.to_owned(),
        before: before.clone(),
        boot_id: boot_id.to_owned(),
    };
    match set {
        [first, others @ ..]
            if set.iter().all(|one| one.error.is_none()) && others.iter().all(|one| one.before == first.before) =>
        {
            vec![place(name, &first.before)]
        }
        _ => set.iter().filter(|one| one.error.is_none()).map(|one| place(&one.name, &one.before)).collect(),
    }
}

/// What must hold, and what is written, so that a value that is permanent now is no longer noted for these nodes.
pub(super) fn kept(state: &State, name: &str, nodes: &BTreeSet<NodeName>) -> Option<(Compare, Change)> {
    let before = state.temporary.get(name)?;
    let key = Key::Temporary(name.to_owned());
    let mut record = before.value.clone();
    record.places.retain(|place| !nodes.contains(&place.node));
    let compare = as_read(key.clone(), before.revision);
    Some(match record.places.is_empty() {
        true => (compare, remove(key)),
        false => (compare, put(key, Record::Temporary(record))),
    })
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
