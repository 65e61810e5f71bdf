//! Nodemaps.

use std::collections::BTreeMap;

use lustre_api::nodemap::{Nodemap, NodemapSpec, Nodemaps};
use lustre_api::{Problem, Time, Written};
use lustre_types::{NidRange, NodemapName};

use crate::decide::{Compare, Decision, Request, put, remove};
use crate::key::Key;
use crate::record::{NodemapRecord, PendingNodemap, Record};
use crate::state::{Object, State};

/// How long a change may wait for its confirmation, seconds.
const CONFIRM_S: std::ops::RangeInclusive<u32> = 10..=86400;
/// The most records of all nodemaps together: what fits into the megabyte that a target reads at once.
const MAX_RECORDS: usize = 25_000;
/// Numbers of nodemaps and ranges have 28 bits.
const MAX_ID: u32 = (1 << 28) - 1;

/// Ensures that a nodemap is as described. Errors: NIDs that another one has; NIDs of the default one; more ids than targets
/// can be told.
pub fn put_nodemap(
    state: &State,
    req: &Request<'_>,
    name: &NodemapName,
    spec: &NodemapSpec,
    confirm_within_s: Option<u32>,
) -> Result<Decision<Written<Nodemap>>, Problem> {
    if spec.name != *name {
        let message = format!("the path names nodemap {name}, the body {}", spec.name);
        return Err(Problem::invalid(message).attribute("spec.name"));
    }
    if let Some(seconds) = confirm_within_s.filter(|seconds| !CONFIRM_S.contains(seconds)) {
        let message = format!("confirm_within_s is {seconds}; 10 to 86400 are possible");
        return Err(Problem::invalid(message).attribute("confirm_within_s"));
    }
    legal(state, spec)?;
    let before = state.nodemaps.get(name);
    let key = Key::Nodemap(name.clone());
    if let Some(before) = before {
        if before.value.spec == *spec {
            return Ok(Decision::unchanged(view(before), state.revision));
        }
        req.check_revision(&key.object(), before.revision)?;
    }
    let record = NodemapRecord {
        id: match before {
            Some(before) => before.value.id,
            None if name.is_default() => 0,
            None => free(state.nodemaps.values().map(|nodemap| nodemap.value.id))?,
        },
        ranges: numbered(state, before, spec)?,
        spec: spec.clone(),
        confirm: confirm_within_s.map(|seconds| PendingNodemap {
            until: Time::from_unix_ms(req.now.unix_ms() + u64::from(seconds) * 1000),
            before: before.and_then(settled).map(Box::new),
        }),
    };
    let object = view(&Object { value: record.clone(), created: 0, revision: 0 });
    let changes = vec![put(key.clone(), Record::Nodemap(Box::new(record)))];
    Ok(Decision::changed(req, format!("set {}", key.object()), object, compare(state), changes))
}

/// Numbers and NIDs are of all nodemaps together: none may have changed meanwhile.
fn compare(state: &State) -> Vec<Compare> {
    vec![Compare::Prefix(Key::NODEMAPS.to_owned(), state.revision)]
}

fn legal(state: &State, spec: &NodemapSpec) -> Result<(), Problem> {
    if spec.name.is_default() && !spec.ranges.is_empty() {
        let message = "the default nodemap has all NIDs that no other has; it can't be given some";
        return Err(Problem::invalid(message).attribute("spec.ranges"));
    }
    let own: Vec<&NidRange> = spec.ranges.iter().collect();
    for (n, range) in own.iter().enumerate() {
        if let Some(other) = own[n + 1..].iter().find(|other| range.overlaps(other)) {
            let message = format!("ranges {range} and {other} of nodemap {} have NIDs in common", spec.name);
            return Err(Problem::invalid(message).attribute("spec.ranges"));
        }
        for (name, nodemap) in state.nodemaps.iter().filter(|(name, _)| **name != spec.name) {
            if let Some(taken) = nodemap.value.spec.ranges.iter().find(|taken| taken.overlaps(range)) {
                let message = format!("nodemap {name} has NIDs of {range}: its range {taken}");
                let remedy = format!("take them from nodemap {name} first");
                return Err(Problem::conflict(message).attribute("spec.ranges").remedy(remedy));
            }
        }
    }
    let records = |spec: &NodemapSpec| 1 + spec.ranges.len() + spec.uids.len() + spec.gids.len() + spec.projids.len();
    let others = state.nodemaps.iter().filter(|(name, _)| **name != spec.name);
    let all = records(spec) + others.map(|(_, nodemap)| records(&nodemap.value.spec)).sum::<usize>();
    if all > MAX_RECORDS {
        let message = format!("all nodemaps together would have {all} records; targets can be told {MAX_RECORDS}");
        return Err(Problem::invalid(message).attribute("spec"));
    }
    Ok(())
}

/// The ranges with their numbers: those that stay keep theirs.
fn numbered(
    state: &State,
    before: Option<&Object<NodemapRecord>>,
    spec: &NodemapSpec,
) -> Result<BTreeMap<u32, NidRange>, Problem> {
    let old = before.map(|before| &before.value.ranges);
    let mut kept: BTreeMap<u32, NidRange> = old.cloned().unwrap_or_default();
    kept.retain(|_, range| spec.ranges.contains(range));
    let mut taken: Vec<u32> =
        state.nodemaps.values().flat_map(|nodemap| nodemap.value.ranges.keys().copied()).collect();
    for range in
        spec.ranges.iter().filter(|range| !kept.values().any(|there| there == *range)).cloned().collect::<Vec<_>>()
    {
        let id = free(taken.iter().copied())?;
        taken.push(id);
        kept.insert(id, range);
    }
    Ok(kept)
}

/// A number above all that are taken.
fn free(taken: impl Iterator<Item = u32>) -> Result<u32, Problem> {
    let next = taken.max().unwrap_or(0) + 1;
    if next > MAX_ID { Err(Problem::invalid("there are no numbers left for nodemaps")) } else { Ok(next) }
}

/// What a nodemap goes back to if nobody confirms its last changes.
fn settled(before: &Object<NodemapRecord>) -> Option<NodemapRecord> {
    match &before.value.confirm {
        Some(pending) => pending.before.as_deref().cloned(),
        None => Some(before.value.clone()),
    }
}

/// Removes a nodemap. Errors: there is none of this name.
pub fn delete_nodemap(
    state: &State,
    req: &Request<'_>,
    name: &NodemapName,
) -> Result<Decision<Written<Nodemap>>, Problem> {
    let before = find(state, name)?;
    let key = Key::Nodemap(name.clone());
    req.check_revision(&key.object(), before.revision)?;
    let what = format!("remove {}", key.object());
    Ok(Decision::changed(req, what, view(before), compare(state), vec![remove(key)]))
}

/// Keeps a nodemap that waits for its confirmation. Errors: there is none of this name.
pub fn confirm(state: &State, req: &Request<'_>, name: &NodemapName) -> Result<Decision<Written<Nodemap>>, Problem> {
    let before = find(state, name)?;
    if before.value.confirm.is_none() {
        return Ok(Decision::unchanged(view(before), state.revision));
    }
    let key = Key::Nodemap(name.clone());
    let record = NodemapRecord { confirm: None, ..before.value.clone() };
    let object = view(&Object { value: record.clone(), created: 0, revision: 0 });
    let changes = vec![put(key.clone(), Record::Nodemap(Box::new(record)))];
    Ok(Decision::changed(req, format!("confirm {}", key.object()), object, compare(state), changes))
}

/// Puts one nodemap back that nobody confirmed in time; the answer names it. None waits: nothing changes.
pub fn expire(state: &State, req: &Request<'_>) -> Result<Decision<Option<NodemapName>>, Problem> {
    let is_over = |record: &NodemapRecord| record.confirm.as_ref().is_some_and(|pending| pending.until <= req.now);
    let Some((name, before)) = state.nodemaps.iter().find(|(_, nodemap)| is_over(&nodemap.value)) else {
        return Ok(Decision { compare: vec![], changes: vec![], what: String::new(), reply: None });
    };
    let key = Key::Nodemap(name.clone());
    let what = format!("{} goes back: nobody confirmed it in time", key.object());
    let change = match settled(before) {
        // Another one may have taken its NIDs meanwhile; then it stays away instead of breaking that one.
        Some(record) if legal(state, &record.spec).is_ok() => {
            put(key, Record::Nodemap(Box::new(NodemapRecord { confirm: None, ..record })))
        }
        _ => remove(key),
    };
    Ok(Decision { compare: compare(state), changes: vec![change], what, reply: Some(name.clone()) })
}

/// Puts nodemaps in force, or out of it.
pub fn set_active(state: &State, req: &Request<'_>, active: bool) -> Result<Decision<Written<Nodemaps>>, Problem> {
    if state.nodemaps_active() == active {
        return Ok(Decision::unchanged(list(state), state.revision));
    }
    let object = Nodemaps { active, ..list(state) };
    let what = if active { "put nodemaps in force" } else { "put nodemaps out of force" };
    let changes = vec![put(Key::NodemapsActive, Record::NodemapsActive(active))];
    Ok(Decision::changed(req, what.to_owned(), object, compare(state), changes))
}

/// All nodemaps.
pub fn list(state: &State) -> Nodemaps {
    let items = state.nodemaps.values().map(view).collect();
    Nodemaps { active: state.nodemaps_active(), items, revision: state.revision }
}

/// The nodemap. Errors: there is none of this name.
pub fn find<'a>(state: &'a State, name: &NodemapName) -> Result<&'a Object<NodemapRecord>, Problem> {
    let problem = || Problem::not_found(format!("there is no nodemap {name}")).remedy("mgsctl nodemap list shows them");
    state.nodemaps.get(name).ok_or_else(problem)
}

/// As it is shown.
pub fn view(nodemap: &Object<NodemapRecord>) -> Nodemap {
    Nodemap {
        spec: nodemap.value.spec.clone(),
        id: nodemap.value.id,
        confirm_until: nodemap.value.confirm.as_ref().map(|pending| pending.until),
        revision: nodemap.revision,
    }
}
