//! Config logs as part of a decision.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Problem;
use lustre_types::{FsName, NidList, PoolName, SvName};

use crate::configlog::param::{Device, FAILOVER_NODE, Outcome, ParamError};
use crate::configlog::tunable::Tunable;
use crate::configlog::{Draft, DraftError, PoolChange};
use crate::decide::{Compare, Decision, Request, absent, register};
use crate::key::{Key, ParamKey};
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

/// The logs that tunables are written to, in the making: several of one change may share a log.
pub(super) struct Drafts<'a> {
    state: &'a State,
    req: &'a Request<'a>,
    drafts: BTreeMap<Option<FsName>, Draft>,
}

impl<'a> Drafts<'a> {
    pub(super) fn new(state: &'a State, req: &'a Request<'a>) -> Self {
        Self { state, req, drafts: BTreeMap::new() }
    }

    /// Writes a tunable into the log that says it to the nodes; `None` unsets it. Gives a warning where no node will read
    /// it yet. Errors: a value or a name that a log can't have.
    pub(super) fn tunable(&mut self, key: &ParamKey, value: Option<&str>) -> Result<Option<String>, Problem> {
        let (state, req) = (self.state, self.req);
        let place = place(state, key);
        let owner = match &place {
            Tunable::Conf { .. } => key.filesystem.clone(),
            Tunable::Path { .. } => None,
        };
        let draft = self.drafts.entry(owner).or_insert_with_key(|owner| self::draft(state, req, owner.as_ref()));
        let before = draft.clone();
        let outcome = match &place {
            Tunable::Conf { device, key: name } => draft.conf_param(device, name, value.unwrap_or("")),
            Tunable::Path { target, path } => draft.set_param(target, path, value.unwrap_or("")),
        };
        let warning = match outcome {
            Ok(Outcome::Written | Outcome::Unchanged) => None,
            Ok(Outcome::Ignored) => Some(format!("no node reads {} in this scope from a config log", key.name)),
            Err(ParamError::NotSet(_)) => None,
            Err(err @ (ParamError::NoFilesystem(..) | ParamError::NoTarget(..))) if value.is_some() => {
                Some(format!("{err}; it is written when the target registers"))
            }
            Err(ParamError::NoFilesystem(..) | ParamError::NoTarget(..)) => None,
            Err(ParamError::Draft(err)) => return Err(err.into()),
            Err(err) => return Err(Problem::invalid(err.to_string()).attribute("value")),
        };
        // Markers of a tunable that could not be set after all stay as they were.
        if warning.is_some() {
            *draft = before;
        }
        Ok(warning)
    }

    /// Adds what was drafted to a decision, and that nobody else changed these logs meanwhile.
    pub(super) fn commit(self, compare: &mut Vec<Compare>, changes: &mut Vec<Change>) {
        for draft in self.drafts.into_values() {
            commit(draft, compare, changes);
        }
    }
}

fn place(state: &State, key: &ParamKey) -> Tunable {
    Tunable::of(key, &state.filesystems.keys().collect::<BTreeSet<_>>())
}

/// Writes what was set for a file system and its logs don't say yet: after a registration, or a writeconf.
pub(super) fn replay(state: &State, fsname: &FsName, draft: &mut Draft) -> Result<(), Problem> {
    let of_fs = state.params.iter().filter(|(key, _)| key.filesystem.as_ref() == Some(fsname));
    for (key, record) in of_fs {
        if let Tunable::Conf { device, key } = place(state, key) {
            // What could not be written when it was set can't be now, or waits for its target.
            if let Err(ParamError::Draft(err)) = draft.conf_param(&device, &key, &record.value.value) {
                return Err(err.into());
            }
        }
    }
    for ((_, pool), record) in state.pools.iter().filter(|((owner, _), _)| owner == fsname) {
        draft.ensure_pool(fsname, pool, &record.value.members)?;
    }
    Ok(())
}

/// Writes how the partner nodes of a target changed. Gives a warning where nodes keep one that was taken away.
/// Errors: a log that is full.
pub(super) fn failover(
    draft: &mut Draft,
    svname: &SvName,
    before: &[NidList],
    after: &[NidList],
) -> Result<Option<String>, Problem> {
    if !draft.has_target(svname) || before == after {
        return Ok(None);
    }
    let device = Device::Target(svname.clone());
    let is_gone = before.iter().any(|nodes| !after.contains(nodes));
    let mut outcomes = Vec::new();
    if is_gone {
        outcomes.push(draft.conf_param_delete(&device, FAILOVER_NODE));
    }
    for nodes in after.iter().filter(|nodes| is_gone || !before.contains(nodes)) {
        outcomes.push(draft.conf_param(&device, FAILOVER_NODE, &nodes.to_string()));
    }
    for outcome in outcomes {
        match outcome {
            Ok(_) | Err(ParamError::NotSet(_)) => {}
            Err(ParamError::Draft(err)) => return Err(err.into()),
            Err(err) => return Err(Problem::invalid(err.to_string()).attribute("target.failover_nodes")),
        }
    }
    let warning = "nodes keep the partner nodes that the target had when it registered, until a writeconf";
    Ok(is_gone.then(|| warning.to_owned()))
}

/// Writes how a pool changed.
pub(super) fn pool(
    draft: &mut Draft,
    fsname: &FsName,
    pool: &PoolName,
    before: Option<&BTreeSet<SvName>>,
    after: Option<&BTreeSet<SvName>>,
) -> Result<(), DraftError> {
    let none = BTreeSet::new();
    let (old, new) = (before.unwrap_or(&none), after.unwrap_or(&none));
    if before.is_none() {
        draft.pool(fsname, pool, &PoolChange::New)?;
    }
    for ost in new.difference(old) {
        draft.pool(fsname, pool, &PoolChange::Add(ost.clone()))?;
    }
    for ost in old.difference(new) {
        draft.pool(fsname, pool, &PoolChange::Remove(ost.clone()))?;
    }
    if after.is_none() {
        draft.pool(fsname, pool, &PoolChange::Delete)?;
    }
    Ok(())
}

/// Writes the logs that a store of a version without them lacks: one target at a time, then `params`. `None` when nothing
/// is missing.
pub fn catch_up(state: &State, req: &Request<'_>) -> Result<Option<Decision<()>>, Problem> {
    for (svname, target) in &state.targets {
        let (Some(fsname), record) = (svname.fsname(), &target.value) else { continue };
        if !record.state.is_registered() || record.nids.is_empty() {
            continue;
        }
        if draft(state, req, Some(fsname)).has_target(svname) {
            continue;
        }
        let (mut compare, mut changes) = (Vec::new(), Vec::new());
        let info = register::info(svname, record, &record.nids);
        register::configure(state, req, &info, &mut compare, &mut changes)?;
        if !changes.is_empty() {
            let what = req.describe(format!("config logs for {svname}, of a store that had none"));
            return Ok(Some(Decision { compare, changes, what, reply: () }));
        }
    }
    let mut draft = draft(state, req, None);
    for (key, record) in &state.params {
        if let Tunable::Path { target, path } = place(state, key) {
            // One that no log can have was accepted by the version before; it must not keep the MGS from starting.
            let _ = draft.set_param(&target, &path, &record.value.value);
        }
    }
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    commit(draft, &mut compare, &mut changes);
    let what = req.describe("config log params, of a store that had none".into());
    Ok((!changes.is_empty()).then_some(Decision { compare, changes, what, reply: () }))
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
