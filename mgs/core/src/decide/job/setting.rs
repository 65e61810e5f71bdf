//! A tunable that a job sets on nodes: what each node made of it, and keeping it once they have it.

use std::collections::BTreeSet;

use lustre_api::agent::AgentOp;
use lustre_api::agent_ops::{NodeParamResult, OpResult};
use lustre_api::job::{JobObject, JobState};
use lustre_api::mgs::LiveParams;
use lustre_api::node_param::{NodeParamSet, SetNodeParams};
use lustre_api::param::ParamSpec;
use lustre_api::{Problem, Time};
use lustre_plan::catalogue::{self, Agreement};
use lustre_plan::naming;
use lustre_types::NodeName;

use super::StepEnd;
use super::transition::Transition;
use crate::decide::{param, temporary};
use crate::record::{Keep, OwnAct, TemporaryRecord};

impl Transition<'_> {
    /// Notes where a value is now, and judges whether the node has it: done means that it reads it back.
    pub(super) fn take_in_setting(&mut self, at: usize, end: StepEnd) -> StepEnd {
        if end.state != JobState::Done {
            return end;
        }
        let node = self.record.job.steps[at].node.clone();
        let (Some(node), Some(OpResult::ParamSet(result))) = (node, &end.result) else {
            let message = "the node did not say what it made of the value".to_owned();
            return StepEnd { state: JobState::Failed, message: Some(message), ..end };
        };
        let Some(Some(AgentOp::SetParam(asked))) = self.record.ops.get(at).cloned() else { return end };
        let JobObject::Param(key) = self.record.job.object.clone() else { return end };
        let Some(value) = asked.settings.first().map(|setting| setting.value.as_str()) else { return end };
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        self.note_setting(&node, &canonical, &asked, result);
        match judge(&node, &canonical, value, result) {
            Ok(note) => StepEnd { message: note, ..end },
            Err(why) => StepEnd { state: JobState::Failed, message: Some(why), ..end },
        }
    }

    /// What the node has taken is listed as temporary until it is permanent: nothing is forgotten if the job fails.
    fn note_setting(&mut self, node: &NodeName, canonical: &str, asked: &SetNodeParams, result: &NodeParamResult) {
        let whole = self.record.job.parent.as_ref().and_then(|id| self.state.jobs.get(id)).map(|job| &job.value);
        let expires_in_s = match whole.unwrap_or(&self.record).own.values().find_map(keep_of) {
            // It is permanent already.
            None => return,
            Some(Keep::Temporary { expires_in_s }) => *expires_in_s,
            Some(Keep::Permanent { .. }) => None,
        };
        let Some(first) = asked.settings.first() else { return };
        let place = |set: &[NodeParamSet], name: &str| temporary::places(name, node, &result.boot_id, set);
        let places = match first.pattern == canonical {
            true => place(&result.set, canonical),
            // Only some of those that the pattern stands for are ours.
            false => result.set.iter().flat_map(|one| place(std::slice::from_ref(one), &one.name)).collect(),
        };
        if places.is_empty() {
            return;
        }
        let now = self.req.now;
        let record = TemporaryRecord {
            value: first.value.clone(),
            places,
            who: self.record.job.who.clone(),
            created: now,
            expires: expires_in_s.map(|seconds| Time::from_unix_ms(now.unix_ms() + u64::from(seconds) * 1000)),
        };
        let (compare, change) = temporary::noted(self.state, canonical, record);
        self.compare.push(compare);
        self.more.push(change);
    }

    /// Says what becomes of a value that nodes have: temporary it is already; permanent, it is set so, and no longer noted as
    /// temporary. Errors: somebody else changed it since the job was asked for; what stands against any such change.
    pub(super) fn keep_param(&mut self, step: usize, keep: &Keep) -> Result<(), Problem> {
        let (state, req) = (self.state, self.req);
        let Keep::Permanent { value, allow_unknown, confirm_within_s, revision } = keep else { return Ok(()) };
        let JobObject::Param(key) = self.record.job.object.clone() else { return Ok(()) };
        let now = state.params.get(&key);
        if now.map_or(0, |now| now.revision) != *revision {
            let now = now.map_or_else(|| "not set any more".to_owned(), |now| format!("{} by now", now.value.value));
            let message = format!("tunable {key} was changed after this job was asked for: it is {now}");
            return Err(Problem::conflict(message).remedy("mgsctl param log shows by whom; ask for the change anew"));
        }
        let nodes = self.nodes_before(step);
        let spec = ParamSpec {
            filesystem: key.filesystem.clone(),
            scope: key.scope.clone(),
            name: key.name.clone(),
            value: value.clone(),
            allow_unknown: *allow_unknown,
        };
        let live = LiveParams::from([(key.name.clone(), nodes.iter().cloned().collect())]);
        let kept = param::put_kept(state, req, &key, &spec, *confirm_within_s, &live)?;
        self.compare.extend(kept.compare);
        self.more.extend(kept.changes);
        let canonical = naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name);
        if let Some((compare, change)) = temporary::kept(state, &canonical, &nodes) {
            self.compare.push(compare);
            self.more.push(change);
        }
        Ok(())
    }

    /// The nodes whose steps come before this one, in its own job or in the parts of it.
    fn nodes_before(&self, step: usize) -> BTreeSet<NodeName> {
        let before = || self.record.job.steps.iter().take(step);
        let parts = before().filter_map(|step| self.state.jobs.get(step.job.as_ref()?));
        let of_parts = parts.flat_map(|part| &part.value.job.steps);
        before().chain(of_parts).filter_map(|step| step.node.clone()).collect()
    }
}

fn keep_of(act: &OwnAct) -> Option<&Keep> {
    match act {
        OwnAct::KeepParam(keep) => Some(keep),
        _ => None,
    }
}

/// Whether a node has a value; a note where that can't be told for sure. Errors: what it has instead, and why.
fn judge(node: &NodeName, pattern: &str, value: &str, result: &NodeParamResult) -> Result<Option<String>, String> {
    if result.set.is_empty() {
        return Err(format!("{node} has no {pattern}; is Lustre running there, and the target started?"));
    }
    let known_as = catalogue::lookup(pattern).map_or(pattern, |entry| entry.name.as_str());
    let mut note = None;
    let mut wrong = Vec::new();
    for one in &result.set {
        let printed = one.after.as_deref().unwrap_or_default();
        match (&one.error, catalogue::agreement(known_as, value, printed)) {
            (Some(error), _) => wrong.push(format!("{}: {error}", one.name)),
            (None, Agreement::Same) => {}
            (None, Agreement::Unknowable(why)) => note = Some(format!("{}: {why}", one.name)),
            (None, Agreement::Different) => wrong.push(format!("{} is {printed} after {value} was set", one.name)),
        }
    }
    match wrong.as_slice() {
        [] => Ok(note),
        [first] => Err(first.clone()),
        [first, ..] => Err(format!("{first}; and {} others of the {} that it has", wrong.len() - 1, result.set.len())),
    }
}
