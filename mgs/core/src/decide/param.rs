//! Tunables.

use std::collections::BTreeMap;

use lustre_api::job::JobObject;
use lustre_api::mgs::LiveParams;
use lustre_api::param::{Param, ParamSpec};
use lustre_api::proof::{ParamDifference, ParamsDiff};
use lustre_api::{Problem, Time, Written};

use crate::decide::log::Drafts;
use crate::decide::{
    Compare, Decision, Request, absent, as_read, confirm, filesystem, job, put, removal, remove, rules,
};
use crate::key::{Key, ParamKey, RemovedKey};
use crate::record::{Change, ParamRecord, Record, Removed};
use crate::state::{Object, State};
use crate::view;

/// The most tunables of one change: a commit of the store has room for so many.
pub(super) const MAX_AT_ONCE: usize = 100;

/// Sets a tunable. Errors: a path and a body that name two, an unknown file system, a value that the catalogue refuses,
/// a name that it does not know (unless that is allowed).
pub fn put_param(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
) -> Result<Decision<Written<Param>>, Problem> {
    put_confirmed(state, req, key, spec, None, &LiveParams::new())
}

/// As [`put_param`]; with `confirm_within_s` the value before it comes back unless [`confirm`] is called in time. `live` are the
/// tunables that the catalogue lacks and nodes have.
pub fn put_confirmed(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
    confirm_within_s: Option<u32>,
    live: &LiveParams,
) -> Result<Decision<Written<Param>>, Problem> {
    let idle = idle(state, key)?;
    let mut decision = put_kept(state, req, key, spec, confirm_within_s, live)?;
    if !decision.changes.is_empty() {
        decision.compare.push(idle);
    }
    Ok(decision)
}

/// What must hold so that no job is setting the tunable. Errors: one is; it says for whom.
pub(super) fn idle(state: &State, key: &ParamKey) -> Result<Compare, Problem> {
    let object = JobObject::Param(key.clone());
    match state.job_on(&object) {
        Some(job) => Err(job::busy_with(format!("tunable {key}"), &job.value.job)),
        None => Ok(absent(Key::Hold(object))),
    }
}

/// As [`put_confirmed`], for the job that is setting the tunable.
pub(super) fn put_kept(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
    confirm_within_s: Option<u32>,
    live: &LiveParams,
) -> Result<Decision<Written<Param>>, Problem> {
    let named = ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() };
    if named != *key {
        return Err(Problem::invalid(format!("the path names tunable {key}, the body {named}")).attribute("name"));
    }
    confirm::check(confirm_within_s)?;
    rules::params(state, req, vec![spec.clone()], live)?;
    let before = state.params.get(key);
    if let Some(before) = before {
        // `64M` and `67108864` are the same size: the first form stays.
        let is_same = lustre_plan::catalogue::same_value(key.name.as_str(), &before.value.value, &spec.value);
        if is_same && before.value.allow_unknown == spec.allow_unknown {
            return Ok(Decision::unchanged(view::param(key, &before.value, before.revision), state.revision));
        }
        req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
    }
    let record = new_record(req, before, spec, confirm_within_s);
    let object = view::param(key, &record, 0);
    let mut decision =
        Decision::changed(req, format!("set {}", Key::Param(key.clone()).object()), object, vec![], vec![]);
    if let Some(fsname) = &key.filesystem {
        let fs = filesystem::find(state, fsname)?;
        decision.compare.push(as_read(Key::Filesystem(fsname.clone()), fs.revision));
    }
    let mut drafts = Drafts::new(state, req);
    let warning = change(state, key, Some(record), &mut drafts, &mut decision.compare, &mut decision.changes)?;
    drafts.commit(&mut decision.compare, &mut decision.changes);
    decision.reply.warnings.extend(warning);
    Ok(decision)
}

/// A tunable as it is to be stored.
pub(super) fn new_record(
    req: &Request<'_>,
    before: Option<&Object<ParamRecord>>,
    spec: &ParamSpec,
    confirm_within_s: Option<u32>,
) -> ParamRecord {
    let waits = before.and_then(|before| before.value.confirm.as_ref());
    let settled = before.map(|before| Box::new(before.value.clone()));
    let confirm = confirm::pending(req, confirm_within_s, settled, waits);
    ParamRecord { value: spec.value.clone(), allow_unknown: spec.allow_unknown, confirm }
}

/// Puts a tunable back that nobody confirmed.
pub(super) fn go_back(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    before: &Object<ParamRecord>,
) -> Result<Decision<()>, Problem> {
    let (mut compare, mut changes, mut drafts) = (Vec::new(), Vec::new(), Drafts::new(state, req));
    let record = before.value.confirm.as_ref().and_then(|waits| waits.before.as_deref().cloned());
    change(state, key, record, &mut drafts, &mut compare, &mut changes)?;
    drafts.commit(&mut compare, &mut changes);
    Ok(Decision { compare, changes, what: String::new(), reply: () })
}

/// Changes a tunable, or unsets it, with all that hangs on it. Gives a warning for the caller.
pub(super) fn change(
    state: &State,
    key: &ParamKey,
    record: Option<ParamRecord>,
    drafts: &mut Drafts<'_>,
    compare: &mut Vec<Compare>,
    changes: &mut Vec<Change>,
) -> Result<Option<String>, Problem> {
    let object_key = Key::Param(key.clone());
    let before = state.params.get(key);
    compare.push(before.map_or_else(|| absent(object_key.clone()), |b| as_read(object_key.clone(), b.revision)));
    if record.is_some()
        && let Some((as_read, forgotten)) = removal::forget(state, &RemovedKey::Param(key.clone()))
    {
        compare.push(as_read);
        changes.push(forgotten);
    }
    let warning = drafts.tunable(key, record.as_ref().map(|record| record.value.as_str()))?;
    changes.push(match record {
        Some(record) => put(object_key, Record::Param(record)),
        None => remove(object_key),
    });
    Ok(warning)
}

/// Unsets a tunable; with `confirm_within_s` it comes back unless [`confirm`] is called in time. Errors: it is not set.
pub fn delete_param(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    confirm_within_s: Option<u32>,
) -> Result<Decision<Written<Param>>, Problem> {
    let object = Key::Param(key.clone()).object();
    let before = find(state, key)?;
    req.check_revision(&object, before.revision)?;
    let mut shown = view::param(key, &before.value, before.revision);
    let waits = unset_until(req, key, &before.value, confirm_within_s)?;
    shown.confirm_until = waits.as_ref().map(|(until, _)| *until);
    let changes = waits.map(|(_, change)| change).into_iter().collect();
    let mut decision = Decision::changed(req, format!("unset {object}"), shown, vec![idle(state, key)?], changes);
    let mut drafts = Drafts::new(state, req);
    change(state, key, None, &mut drafts, &mut decision.compare, &mut decision.changes)?;
    drafts.commit(&mut decision.compare, &mut decision.changes);
    Ok(decision)
}

/// What is written so that a tunable that is unset now comes back unless that is confirmed; with when that is.
pub(super) fn unset_until(
    req: &Request<'_>,
    key: &ParamKey,
    before: &ParamRecord,
    confirm_within_s: Option<u32>,
) -> Result<Option<(Time, Change)>, Problem> {
    // Nobody has confirmed what waits: what was there before it comes back.
    let settled = match &before.confirm {
        Some(waits) => waits.before.as_deref().cloned(),
        None => Some(before.clone()),
    };
    removal::pending(req, RemovedKey::Param(key.clone()), confirm_within_s, settled.map(Removed::Param))
}

/// Sets a tunable again that was unset, and nobody confirmed that. None: its file system is gone, or it is set.
pub(super) fn comes_back(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    record: &ParamRecord,
) -> Result<Option<Decision<()>>, Problem> {
    let has_filesystem = key.filesystem.as_ref().is_none_or(|fsname| state.filesystems.contains_key(fsname));
    if !has_filesystem || state.params.contains_key(key) {
        return Ok(None);
    }
    let (mut compare, mut changes, mut drafts) = (Vec::new(), Vec::new(), Drafts::new(state, req));
    let record = ParamRecord { confirm: None, ..record.clone() };
    change(state, key, Some(record), &mut drafts, &mut compare, &mut changes)?;
    drafts.commit(&mut compare, &mut changes);
    Ok(Some(Decision { compare, changes, what: String::new(), reply: () }))
}

/// Keeps a tunable that waits for its confirmation, or that it is unset. Errors: it is not set, and does not come back.
/// Nothing changes where it does not wait.
pub fn confirm(state: &State, req: &Request<'_>, key: &ParamKey) -> Result<Decision<Written<Param>>, Problem> {
    let removed = RemovedKey::Param(key.clone());
    if let (Some(waits), Some((compare, change))) = (state.removed.get(&removed), removal::forget(state, &removed))
        && let Removed::Param(before) = &waits.value.before
    {
        let what = format!("confirm {}", Key::Removed(removed).object());
        let shown = view::param(key, before, 0);
        return Ok(Decision::changed(req, what, shown, vec![compare], vec![change]));
    }
    let before = find(state, key)?;
    if before.value.confirm.is_none() {
        return Ok(Decision::unchanged(view::param(key, &before.value, before.revision), state.revision));
    }
    let object_key = Key::Param(key.clone());
    req.check_revision(&object_key.object(), before.revision)?;
    let record = ParamRecord { confirm: None, ..before.value.clone() };
    let shown = view::param(key, &record, 0);
    let what = format!("confirm {}", object_key.object());
    let compare = vec![as_read(object_key.clone(), before.revision)];
    Ok(Decision::changed(req, what, shown, compare, vec![put(object_key, Record::Param(record))]))
}

/// Tunables as they were at a revision.
pub type Then = BTreeMap<ParamKey, ParamRecord>;

/// Which tunables differ from what they were; `is_meant` says which count.
pub fn diff(state: &State, revision: u64, then: &Then, is_meant: impl Fn(&ParamKey) -> bool) -> ParamsDiff {
    let keys: std::collections::BTreeSet<&ParamKey> = state.params.keys().chain(then.keys()).collect();
    let differences = keys.into_iter().filter(|key| is_meant(key)).filter_map(|key| {
        let value = |record: Option<&ParamRecord>| record.map(|record| record.value.clone());
        let then = value(then.get(key));
        let now = value(state.params.get(key).map(|object| &object.value));
        (then != now).then(|| ParamDifference { id: key.to_string(), then, now })
    });
    ParamsDiff { then: revision, revision: state.revision, differences: differences.collect() }
}

/// Puts tunables back to what they were at a revision: all in one change. Errors: one of them was of a file system that is
/// gone; one changed after the caller's plan.
pub fn revert(
    state: &State,
    req: &Request<'_>,
    revision: u64,
    then: &Then,
    is_meant: impl Fn(&ParamKey) -> bool,
) -> Result<Decision<Written<ParamsDiff>>, Problem> {
    let diff = diff(state, revision, then, is_meant);
    if diff.differences.is_empty() {
        return Ok(Decision::unchanged(diff, state.revision));
    }
    if diff.differences.len() > MAX_AT_ONCE {
        return Err(too_many(diff.differences.len()).remedy("name a file system, or tunables by their ids"));
    }
    let what = format!("put {} tunables back to revision {revision}", diff.differences.len());
    let mut decision = Decision::changed(req, what, diff, vec![], vec![]);
    let mut drafts = Drafts::new(state, req);
    let keys: std::collections::BTreeSet<&ParamKey> = state.params.keys().chain(then.keys()).collect();
    for key in keys {
        if !decision.reply.object.differences.iter().any(|one| one.id == key.to_string()) {
            continue;
        }
        if let Some(before) = state.params.get(key) {
            req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
        }
        if let (Some(fsname), Some(_)) = (&key.filesystem, then.get(key)) {
            filesystem::find(state, fsname)?;
        }
        idle(state, key)?;
        let record = then.get(key).map(|record| ParamRecord { confirm: None, ..record.clone() });
        let warning = change(state, key, record, &mut drafts, &mut decision.compare, &mut decision.changes)?;
        decision.reply.warnings.extend(warning);
    }
    // One for all: a commit has room for so many only.
    decision.compare.push(Compare::Prefix(Key::PARAM_HOLDS.to_owned(), state.revision));
    drafts.commit(&mut decision.compare, &mut decision.changes);
    Ok(decision)
}

/// More tunables than one commit has room for.
pub(super) fn too_many(count: usize) -> Problem {
    Problem::invalid(format!("{count} tunables would change at once; {MAX_AT_ONCE} are possible"))
}

/// The tunable. Errors: it is not set.
pub fn find<'a>(state: &'a State, key: &ParamKey) -> Result<&'a Object<ParamRecord>, Problem> {
    let problem =
        || Problem::not_found(format!("tunable {key} is not set")).remedy("mgsctl param list shows those that are");
    state.params.get(key).ok_or_else(problem)
}
