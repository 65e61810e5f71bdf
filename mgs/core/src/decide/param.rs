//! Tunables.

use std::collections::BTreeMap;

use lustre_api::param::{Param, ParamSpec};
use lustre_api::proof::{ParamDifference, ParamsDiff};
use lustre_api::{Problem, Time, Written};

use crate::decide::{Compare, Decision, Request, absent, as_read, filesystem, log, put, remove, rules};
use crate::key::{Key, ParamKey};
use crate::record::{Change, ParamRecord, PendingConfirm, Record};
use crate::state::{Object, State};
use crate::view;

/// How long a change may wait for its confirmation, seconds.
const CONFIRM_S: std::ops::RangeInclusive<u32> = 10..=86400;

/// Sets a tunable. Errors: a path and a body that name two, an unknown file system, a value that the catalogue refuses,
/// a name that it does not know (unless that is allowed).
pub fn put_param(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
) -> Result<Decision<Written<Param>>, Problem> {
    put_confirmed(state, req, key, spec, None)
}

/// As [`put_param`]; with `confirm_within_s` the value before it comes back unless [`confirm`] is called in time.
pub fn put_confirmed(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
    confirm_within_s: Option<u32>,
) -> Result<Decision<Written<Param>>, Problem> {
    let named = ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() };
    if named != *key {
        return Err(Problem::invalid(format!("the path names tunable {key}, the body {named}")).attribute("name"));
    }
    if let Some(seconds) = confirm_within_s.filter(|seconds| !CONFIRM_S.contains(seconds)) {
        let problem = format!("confirm_within_s is {seconds}; 10 to 86400 are possible");
        return Err(Problem::invalid(problem).attribute("confirm_within_s"));
    }
    rules::param(state, req, spec)?;
    let before = state.params.get(key);
    if let Some(before) = before {
        // `64M` and `67108864` are the same size: the first form stays.
        let is_same = lustre_plan::catalogue::same_value(key.name.as_str(), &before.value.value, &spec.value);
        if is_same && before.value.allow_unknown == spec.allow_unknown {
            return Ok(Decision::unchanged(view::param(key, &before.value, before.revision), state.revision));
        }
        req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
    }
    let confirm = confirm_within_s.map(|seconds| PendingConfirm {
        until: Time::from_unix_ms(req.now.unix_ms() + u64::from(seconds) * 1000),
        before: settled(before).map(|record| Box::new(record.clone())),
    });
    let record = ParamRecord { value: spec.value.clone(), allow_unknown: spec.allow_unknown, confirm };
    let object = view::param(key, &record, 0);
    let mut decision =
        Decision::changed(req, format!("set {}", Key::Param(key.clone()).object()), object, vec![], vec![]);
    if let Some(fsname) = &key.filesystem {
        let fs = filesystem::find(state, fsname)?;
        decision.compare.push(as_read(Key::Filesystem(fsname.clone()), fs.revision));
    }
    let warning = change(state, req, key, Some(record), &mut decision.compare, &mut decision.changes)?;
    decision.reply.warnings.extend(warning);
    Ok(decision)
}

/// What a tunable goes back to if nobody confirms: what was there before the first change that is not confirmed.
fn settled(before: Option<&Object<ParamRecord>>) -> Option<&ParamRecord> {
    let record = &before?.value;
    match &record.confirm {
        Some(pending) => pending.before.as_deref(),
        None => Some(record),
    }
}

/// Changes a tunable, or unsets it, with all that hangs on it. Gives a warning for the caller.
fn change(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    record: Option<ParamRecord>,
    compare: &mut Vec<Compare>,
    changes: &mut Vec<Change>,
) -> Result<Option<String>, Problem> {
    let object_key = Key::Param(key.clone());
    let before = state.params.get(key);
    compare.push(before.map_or_else(|| absent(object_key.clone()), |b| as_read(object_key.clone(), b.revision)));
    let warning = log::tunable(state, req, key, record.as_ref().map(|record| record.value.as_str()), compare, changes)?;
    changes.push(match record {
        Some(record) => put(object_key, Record::Param(record)),
        None => remove(object_key),
    });
    Ok(warning)
}

/// Unsets a tunable. Errors: it is not set.
pub fn delete_param(state: &State, req: &Request<'_>, key: &ParamKey) -> Result<Decision<Written<Param>>, Problem> {
    let object = Key::Param(key.clone()).object();
    let before = find(state, key)?;
    req.check_revision(&object, before.revision)?;
    let shown = view::param(key, &before.value, before.revision);
    let mut decision = Decision::changed(req, format!("unset {object}"), shown, vec![], vec![]);
    change(state, req, key, None, &mut decision.compare, &mut decision.changes)?;
    Ok(decision)
}

/// Keeps a tunable that waits for its confirmation. Errors: it is not set. Nothing changes where it does not wait.
pub fn confirm(state: &State, req: &Request<'_>, key: &ParamKey) -> Result<Decision<Written<Param>>, Problem> {
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

/// Puts one tunable back that nobody confirmed in time; the answer names it. None waits: nothing changes.
pub fn expire(state: &State, req: &Request<'_>) -> Result<Decision<Option<ParamKey>>, Problem> {
    let is_over = |record: &ParamRecord| record.confirm.as_ref().is_some_and(|pending| pending.until <= req.now);
    let Some((key, before)) = state.params.iter().find(|(_, before)| is_over(&before.value)) else {
        return Ok(Decision { compare: vec![], changes: vec![], what: String::new(), reply: None });
    };
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    change(state, req, key, settled(Some(before)).cloned(), &mut compare, &mut changes)?;
    let what = format!("{} goes back: nobody confirmed it in time", Key::Param(key.clone()).object());
    Ok(Decision { compare, changes, what, reply: Some(key.clone()) })
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
    let keys = |diff: &ParamsDiff| -> Vec<ParamKey> {
        let all = state.params.keys().chain(then.keys());
        let mut keys: Vec<ParamKey> =
            all.filter(|key| diff.differences.iter().any(|one| one.id == key.to_string())).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    };
    let diff = diff(state, revision, then, is_meant);
    if diff.differences.is_empty() {
        return Ok(Decision::unchanged(diff, state.revision));
    }
    let what = format!("put {} tunables back to revision {revision}", diff.differences.len());
    let mut decision = Decision::changed(req, what, diff, vec![], vec![]);
    // Each is decided on what those before it leave behind: they may share a log.
    let mut scratch = state.clone();
    for key in keys(&decision.reply.object) {
        if let Some(before) = state.params.get(&key) {
            req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
        }
        if let (Some(fsname), Some(_)) = (&key.filesystem, then.get(&key)) {
            filesystem::find(state, fsname)?;
        }
        let record = then.get(&key).map(|record| ParamRecord { confirm: None, ..record.clone() });
        let mut changes = Vec::new();
        let warning = change(&scratch, req, &key, record, &mut decision.compare, &mut changes)?;
        decision.reply.warnings.extend(warning);
        for change in &changes {
            scratch.apply(state.revision + 1, change.clone());
        }
        decision.changes.extend(changes);
    }
    Ok(decision)
}

/// The tunable. Errors: it is not set.
pub fn find<'a>(state: &'a State, key: &ParamKey) -> Result<&'a Object<ParamRecord>, Problem> {
    let problem =
        || Problem::not_found(format!("tunable {key} is not set")).remedy("mgsctl param list shows those that are");
    state.params.get(key).ok_or_else(problem)
}
