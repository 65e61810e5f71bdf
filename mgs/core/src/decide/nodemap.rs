//! Nodemaps.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::nodemap::{Nodemap, NodemapSpec, Nodemaps, NodemapsActive};
use lustre_api::{Problem, Written};
use lustre_types::{NidRange, NodemapName};

use crate::decide::{Compare, Decision, Request, confirm, put, removal, remove, rules};
use crate::key::{Key, RemovedKey};
use crate::record::{ActiveRecord, NodemapRecord, Record, Removed};
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
            None => free(numbered_ones(state).map(|nodemap| nodemap.id))?,
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
    let mut compare = compare(state);
    let mut changes = vec![put(key.clone(), Record::Nodemap(Box::new(record)))];
    if let Some((as_read, forgotten)) = removal::forget(state, &RemovedKey::Nodemap(name.clone())) {
        compare.push(as_read);
        changes.push(forgotten);
    }
    Ok(Decision::changed(req, format!("set {}", key.object()), object, compare, changes))
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
        numbered_ones(state).filter_map(move |nodemap| of(nodemap).keys().copied().max()).max()
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

/// Removes a nodemap; with `confirm_within_s` it comes back unless [`confirm`] is called in time. Errors: there is none of
/// this name.
pub fn delete_nodemap(
    state: &State,
    req: &Request<'_>,
    name: &NodemapName,
    confirm_within_s: Option<u32>,
) -> Result<Decision<Written<Nodemap>>, Problem> {
    let before = find(state, name)?;
    let key = Key::Nodemap(name.clone());
    req.check_revision(&key.object(), before.revision)?;
    // Nobody has confirmed what waits: what was there before it comes back.
    let settled = match &before.value.confirm {
        Some(waits) => waits.before.clone(),
        None => Some(Box::new(before.value.clone())),
    };
    let removed = RemovedKey::Nodemap(name.clone());
    let waits = removal::pending(req, removed, confirm_within_s, settled.map(Removed::Nodemap))?;
    let shown = Nodemap { confirm_until: waits.as_ref().map(|(until, _)| *until), ..view(before) };
    let what = format!("remove {}", key.object());
    let changes = std::iter::once(remove(key)).chain(waits.map(|(_, change)| change)).collect();
    Ok(Decision::changed(req, what, shown, compare(state), changes))
}

/// Makes a nodemap again that was removed, and nobody confirmed that. None: another one has its NIDs, or its name.
pub(super) fn comes_back(
    state: &State,
    req: &Request<'_>,
    name: &NodemapName,
    record: &NodemapRecord,
) -> Option<Decision<()>> {
    if state.nodemaps.contains_key(name) || rules::nodemap(state, req, &record.spec).is_err() {
        return None;
    }
    let (as_read, forgotten) = removal::forget(state, &RemovedKey::Nodemap(name.clone()))?;
    let record = Record::Nodemap(Box::new(NodemapRecord { confirm: None, ..record.clone() }));
    let mut compare = compare(state);
    compare.push(as_read);
    let changes = vec![put(Key::Nodemap(name.clone()), record), forgotten];
    Some(Decision { compare, changes, what: String::new(), reply: () })
}

/// The nodemaps that are there, and those that may come back: their numbers are taken.
fn numbered_ones(state: &State) -> impl Iterator<Item = &NodemapRecord> {
    let removed = state.removed.values().filter_map(|removed| match &removed.value.before {
        Removed::Nodemap(record) => Some(&**record),
        Removed::Param(_) => None,
    });
    state.nodemaps.values().map(|nodemap| &nodemap.value).chain(removed)
}

/// Keeps a nodemap that waits for its confirmation, or that it is gone. Errors: there is none of this name, and none comes
/// back.
pub fn confirm(state: &State, req: &Request<'_>, name: &NodemapName) -> Result<Decision<Written<Nodemap>>, Problem> {
    let removed = RemovedKey::Nodemap(name.clone());
    if let (Some(waits), Some((as_read, change))) = (state.removed.get(&removed), removal::forget(state, &removed))
        && let Removed::Nodemap(before) = &waits.value.before
    {
        let what = format!("confirm {}", Key::Removed(removed).object());
        let shown = view(&Object { value: (**before).clone(), created: 0, revision: 0 });
        return Ok(Decision::changed(req, what, shown, vec![as_read], vec![change]));
    }
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
