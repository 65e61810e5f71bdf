//! Changes that wait for somebody to confirm them: what could cut off those who set it goes back by itself.
//!
//! What goes back is part of the object's record, so it survives the daemon, and any instance can do it.

use lustre_api::{Problem, ProblemCode, Time};
use lustre_types::SvName;

use crate::decide::{Decision, Request, nodemap, operate, param, removal, target};
use crate::key::Key;
use crate::record::{Pending, TargetRecord};
use crate::state::{Object, State};

/// How long a change may wait, seconds.
const SECONDS: std::ops::RangeInclusive<u32> = 10..=86400;

/// Errors: a time that is out of range.
pub(super) fn check(within_s: Option<u32>) -> Result<(), Problem> {
    match within_s.filter(|seconds| !SECONDS.contains(seconds)) {
        Some(seconds) => {
            let message = format!("confirm_within_s is {seconds}; 10 to 86400 are possible");
            Err(Problem::invalid(message).attribute("confirm_within_s"))
        }
        None => Ok(()),
    }
}

/// What an object's record says of a change that waits: `before` is its value, and what that itself still waits for.
///
/// Nobody has confirmed anything that waits: what was there before the first of several such changes comes back.
pub(super) fn pending<T: Clone>(
    req: &Request<'_>,
    within_s: Option<u32>,
    before: Option<T>,
    waits: Option<&Pending<T>>,
) -> Option<Pending<T>> {
    let until = Time::from_unix_ms(req.now.unix_ms() + u64::from(within_s?) * 1000);
    Some(Pending { until, before: waits.map_or(before, |waits| waits.before.clone()) })
}

/// Puts one object back whose change nobody confirmed in time, or starts the job that does; the answer names it. None waits any
/// more: nothing changes. Errors: what stands against putting back the only one that is left.
pub fn expire(state: &State, req: &Request<'_>) -> Result<Decision<Option<String>>, Problem> {
    let is_over = |until: Option<Time>| until.is_some_and(|until| until <= req.now);
    let named = |key: Key, decision: Decision<()>| {
        let what = format!("{} goes back: nobody confirmed it in time", key.object());
        Ok(Decision { what, ..decision.map(|()| Some(key.object())) })
    };
    let over = |waits: Option<Time>| is_over(waits);
    if let Some((key, before)) = state.params.iter().find(|(_, p)| over(p.value.confirm.as_ref().map(|c| c.until))) {
        return named(Key::Param(key.clone()), param::go_back(state, req, key, before)?);
    }
    if let Some((name, before)) = state.nodemaps.iter().find(|(_, n)| over(n.value.confirm.as_ref().map(|c| c.until))) {
        return named(Key::Nodemap(name.clone()), nodemap::go_back(state, req, name, before));
    }
    if let Some(before) = &state.nodemaps_active
        && over(before.value.confirm.as_ref().map(|waits| waits.until))
    {
        return named(Key::NodemapsActive, nodemap::active_goes_back(state, &before.value));
    }
    if let Some((key, waits)) = state.removed.iter().find(|(_, removed)| removed.value.until <= req.now) {
        return named(key.key(), removal::goes_back(state, req, key, waits)?);
    }
    let mut can_not = None;
    let nids = |(svname, target): (&SvName, &Object<TargetRecord>)| {
        over(target.value.confirm_nids.as_ref().map(|waits| waits.until)).then(|| svname.clone())
    };
    for svname in state.targets.iter().filter_map(nids) {
        match operate::nids::go_back(state, req, &svname) {
            Ok(decision) => return named(Key::Target(svname), decision),
            // Some job is at work on the file system: after that.
            Err(problem) if problem.code == ProblemCode::Conflict => {}
            Err(problem) => can_not = Some(problem),
        }
    }
    let waiting = |svname: &&SvName| {
        state.targets.get(*svname).is_some_and(|t| over(t.value.confirm.as_ref().map(|waits| waits.until)))
    };
    if let Some(svname) = state.targets.keys().find(waiting) {
        return named(Key::Target(svname.clone()), target::go_back(state, req, svname)?);
    }
    match can_not {
        Some(problem) => Err(problem),
        None => Ok(Decision { compare: vec![], changes: vec![], what: String::new(), reply: None }),
    }
}
