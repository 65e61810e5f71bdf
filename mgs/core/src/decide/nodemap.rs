//! Nodemaps.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::nodemap::{Nodemap, NodemapSpec, Nodemaps, NodemapsActive};
use lustre_api::{Problem, Written};
use lustre_types::{NidRange, NodemapName};

use crate::decide::{Compare, Decision, Request, confirm, put, remove, rules};
use crate::key::Key;
use crate::record::{ActiveRecord, NodemapRecord, Record};
use crate::state::{Object, State};

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
    confirm::check(confirm_within_s)?;
    rules::nodemap(state, req, spec)?;
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
        ranges: numbered(state, before.map(|before| &before.value.ranges), &spec.ranges)?,
        banned: numbered(state, before.map(|before| &before.value.banned), &spec.banned_ranges)?,
        spec: spec.clone(),
        confirm: confirm::pending(
            req,
            confirm_within_s,
            before.map(|before| Box::new(before.value.clone())),
            before.and_then(|before| before.value.confirm.as_ref()),
        ),
    };
    let object = view(&Object { value: record.clone(), created: 0, revision: 0 });
    let changes = vec![put(key.clone(), Record::Nodemap(Box::new(record)))];
    Ok(Decision::changed(req, format!("set {}", key.object()), object, compare(state), changes))
}

/// Numbers and NIDs are of all nodemaps together: none may have changed meanwhile.
fn compare(state: &State) -> Vec<Compare> {
    vec![Compare::Prefix(Key::NODEMAPS.to_owned(), state.revision)]
}

/// The ranges with their numbers: those that stay keep theirs.
fn numbered(
    state: &State,
    before: Option<&BTreeMap<u32, NidRange>>,
    ranges: &BTreeSet<NidRange>,
) -> Result<BTreeMap<u32, NidRange>, Problem> {
    let mut kept: BTreeMap<u32, NidRange> = before.cloned().unwrap_or_default();
    kept.retain(|_, range| ranges.contains(range));
    let of_all = |of: fn(&NodemapRecord) -> &BTreeMap<u32, NidRange>| {
        state.nodemaps.values().filter_map(move |nodemap| of(&nodemap.value).keys().copied().max()).max()
    };
    // Regular and banned ones are told apart by a flag of their keys, but nothing says that their numbers may be the same.
    let mut last = of_all(|record| &record.ranges).max(of_all(|record| &record.banned));
    for range in ranges {
        if !kept.values().any(|there| there == range) {
            let id = free(last.into_iter().chain(kept.keys().copied()))?;
            kept.insert(id, range.clone());
            last = Some(id);
        }
    }
    Ok(kept)
}

/// A number above all that are taken.
fn free(taken: impl Iterator<Item = u32>) -> Result<u32, Problem> {
    let next = taken.max().unwrap_or(0) + 1;
    if next > MAX_ID { Err(Problem::invalid("there are no numbers left for nodemaps")) } else { Ok(next) }
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

/// Puts a nodemap back that nobody confirmed.
pub(super) fn go_back(
    state: &State,
    req: &Request<'_>,
    name: &NodemapName,
    before: &Object<NodemapRecord>,
) -> Decision<()> {
    let key = Key::Nodemap(name.clone());
    let settled = before.value.confirm.as_ref().and_then(|waits| waits.before.as_deref());
    let change = match settled {
        // Another one may have taken its NIDs meanwhile; then it stays away instead of breaking that one.
        Some(record) if rules::nodemap(state, req, &record.spec).is_ok() => {
            put(key, Record::Nodemap(Box::new(NodemapRecord { confirm: None, ..record.clone() })))
        }
        _ => remove(key),
    };
    Decision { compare: compare(state), changes: vec![change], what: String::new(), reply: () }
}

/// Puts nodemaps in force, or out of it; with `confirm_within_s` until somebody confirms it.
pub fn set_active(
    state: &State,
    req: &Request<'_>,
    wanted: NodemapsActive,
) -> Result<Decision<Written<Nodemaps>>, Problem> {
    confirm::check(wanted.confirm_within_s)?;
    let active = wanted.active;
    if state.nodemaps_active() == active {
        return Ok(Decision::unchanged(list(state), state.revision));
    }
    let before = state.nodemaps_active.as_ref();
    req.check_revision(&Key::NodemapsActive.object(), before.map_or(0, |before| before.revision))?;
    let waits = before.and_then(|before| before.value.confirm.as_ref());
    let confirm = confirm::pending(req, wanted.confirm_within_s, Some(!active), waits);
    let object = Nodemaps { active, confirm_until: confirm.as_ref().map(|waits| waits.until), ..list(state) };
    let what = if active { "put nodemaps in force" } else { "put nodemaps out of force" };
    let changes = vec![put(Key::NodemapsActive, Record::NodemapsActive(ActiveRecord { active, confirm }))];
    Ok(Decision::changed(req, what.to_owned(), object, compare(state), changes))
}

/// Keeps nodemaps in force, or out of it, where that waits for its confirmation.
pub fn confirm_active(state: &State, req: &Request<'_>) -> Result<Decision<Written<Nodemaps>>, Problem> {
    let waits = state.nodemaps_active.as_ref().filter(|before| before.value.confirm.is_some());
    let Some(before) = waits else { return Ok(Decision::unchanged(list(state), state.revision)) };
    let record = ActiveRecord { active: before.value.active, confirm: None };
    let object = Nodemaps { confirm_until: None, ..list(state) };
    let changes = vec![put(Key::NodemapsActive, Record::NodemapsActive(record))];
    Ok(Decision::changed(req, "confirm nodemaps".to_owned(), object, compare(state), changes))
}

/// Puts nodemaps back in force, or out of it, where nobody confirmed a change.
pub(super) fn active_goes_back(state: &State, before: &ActiveRecord) -> Decision<()> {
    let active = before.confirm.as_ref().and_then(|waits| waits.before).unwrap_or_default();
    let record = Record::NodemapsActive(ActiveRecord { active, confirm: None });
    Decision {
        compare: compare(state),
        changes: vec![put(Key::NodemapsActive, record)],
        what: String::new(),
        reply: (),
    }
}

/// All nodemaps.
pub fn list(state: &State) -> Nodemaps {
    let items = state.nodemaps.values().map(view).collect();
    let waits = state.nodemaps_active.as_ref().and_then(|active| active.value.confirm.as_ref());
    let confirm_until = waits.map(|waits| waits.until);
    Nodemaps { active: state.nodemaps_active(), confirm_until, items, revision: state.revision }
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
