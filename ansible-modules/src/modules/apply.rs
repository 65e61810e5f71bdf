//! Carries a plan out: one call per change, in the plan's order.

use std::collections::BTreeMap;

use lustre_api::job::JobId;
use lustre_api::mgs::Snapshot;
use lustre_api::param::Param;
use lustre_api::param_set::{ParamSetSpec, PutParamSet, PutParams};
use lustre_api::plan::{Action, Change, Desired, ObjectKey, Plan, Request};
use lustre_api::proof::CarefulParam;
use lustre_api::{Nothing, Time, WriteQuery};
use lustre_types::NodeName;

use super::Task;
use super::session::{Session, json_of};
use super::target::device_of;
use crate::contract::Failure;

/// What carrying a plan out started and said.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) jobs: Vec<JobId>,
    pub(super) warnings: Vec<String>,
}

struct Work<'a> {
    session: &'a Session,
    query: WriteQuery,
    confirm_within_s: Option<u32>,
    canary: Option<NodeName>,
    applied: Applied,
}

/// Makes the changes. Stops at the first that is refused; its message says what was done before.
pub(super) async fn apply(
    task: &Task<'_>,
    session: &Session,
    snapshot: &Snapshot,
    desired: &Desired,
    plan: &Plan,
) -> Result<Applied, Failure> {
    let why = Some(format!("Ansible, {}", task.module));
    let query = WriteQuery { if_revision: Some(plan.revision), why, ..WriteQuery::default() };
    let confirm_within_s = super::confirm::within(task)?;
    let canary =
        task.text("canary").map(str::parse).transpose().map_err(|err| Failure::from(format!("canary: {err}")))?;
    let mut work = Work { session, query, confirm_within_s, canary, applied: Applied::default() };
    // What is set as described, and only has to be set again on nodes, is no part of what changes together.
    let (again, mut changes): (Vec<&Change>, Vec<&Change>) =
        plan.changes.iter().partition(|change| lustre_plan::nodes_to_set_again(change).is_some());
    if let Some(body) = together(desired, &changes, confirm_within_s) {
        let written = session.mgs.call::<PutParams>(&Nothing {}, &work.query, &body).await;
        let written = written.map_err(|error| session.explain(error).failure)?;
        work.applied.warnings.extend(written.warnings);
        if confirm_within_s.is_some() {
            for change in changes.iter().filter(|change| change.action != Action::Delete) {
                let of_it = |param: &&Param| matches!(&change.object, ObjectKey::Param { name, .. } if *name == param.spec.name);
                work.waits(change, written.object.items.iter().find(of_it).and_then(|param| param.confirm_until));
            }
        }
        changes.clear();
    }
    changes.extend(again);
    for (n, change) in changes.into_iter().enumerate() {
        if let Err(mut failure) = work.change(change, desired, snapshot).await {
            failure.values.insert("plan".to_owned(), json_of(&plan.changes));
            failure.values.insert("jobs".to_owned(), json_of(&work.applied.jobs));
            if n > 0 {
                failure.message += &format!(" ({n} of {} changes were made before)", plan.changes.len());
            }
            return Err(failure);
        }
    }
    Ok(work.applied)
}

/// Several tunables of one file system and scope, and nothing else: they are changed together, all of them or none.
fn together(desired: &Desired, changes: &[&Change], confirm_within_s: Option<u32>) -> Option<PutParamSet> {
    let of_first = desired.params.first()?;
    let (mut params, mut unset) = (BTreeMap::new(), Vec::new());
    for change in changes {
        let ObjectKey::Param { filesystem, scope, name } = &change.object else { return None };
        if *filesystem != of_first.filesystem || *scope != of_first.scope {
            return None;
        }
        if change.action == Action::Delete {
            unset.push(name.clone());
            continue;
        }
        let spec = desired.params.iter().find(|spec| spec.name == *name)?;
        if spec.allow_unknown != of_first.allow_unknown {
            return None;
        }
        params.insert(name.clone(), spec.value.clone());
    }
    let spec = ParamSetSpec {
        filesystem: of_first.filesystem.clone(),
        scope: of_first.scope.clone(),
        params,
        exclusive: false,
        allow_unknown: of_first.allow_unknown,
    };
    (changes.len() > 1).then_some(PutParamSet { spec, unset, confirm_within_s })
}

impl Work<'_> {
    async fn change(&mut self, change: &Change, desired: &Desired, snapshot: &Snapshot) -> Result<(), Failure> {
        let request = lustre_plan::request(desired, change, self.confirm_within_s);
        let mut request = request.map_err(|error| Failure::from(format!("fault: {error}")))?;
        if let (Request::PutParam(path, spec), Some(canary)) = (&request, &self.canary) {
            let body = CarefulParam { spec: spec.clone(), canary: Some(canary.clone()), confirm_within_s: None };
            request = Request::PutParamCarefully(path.clone(), body);
        } else if let Request::PutParamCarefully(_, body) = &mut request {
            body.canary.clone_from(&self.canary);
        }
        if let Request::EnsureTarget(ensure) = &mut request
            && ensure.expect_content.is_some()
        {
            // A disk of another size under the same name is another disk.
            ensure.expect_size_bytes = device_of(snapshot, &ensure.target).map(|device| device.size_bytes);
        }
        let made = self.session.mgs.make(&request, &self.query).await;
        let made = made.map_err(|error| self.session.explain(error).failure)?;
        self.applied.jobs.extend(made.job);
        self.applied.warnings.extend(made.warnings);
        self.waits(change, made.confirm_until);
        Ok(())
    }

    /// Says that a change goes back by itself.
    fn waits(&mut self, change: &Change, until: Option<Time>) {
        if let Some(until) = until {
            let warning =
                format!("{} goes back to what it was before at {until}, unless it is confirmed", change.object);
            self.applied.warnings.push(warning);
        }
    }
}
