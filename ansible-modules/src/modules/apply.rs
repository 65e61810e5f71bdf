//! Carries a plan out: one call per change, in the plan's order.

use std::collections::BTreeMap;

use lustre_api::filesystem::{DeleteFilesystem, FilesystemPath, PutFilesystem};
use lustre_api::job::JobId;
use lustre_api::mgs::Snapshot;
use lustre_api::node::NodePath;
use lustre_api::nodemap::{DeleteNodemap, NodemapPath, NodemapsActive, PutNodemap, PutNodemapBody, PutNodemapsActive};
use lustre_api::param::{DeleteParam, Param, ParamPath, PutParam};
use lustre_api::param_set::{ParamSetSpec, PutParamSet, PutParams};
use lustre_api::plan::{Action, Change, Desired, DesiredTarget, ObjectKey, Plan};
use lustre_api::pool::{DeletePool, PoolPath, PutPool};
use lustre_api::proof::{CarefulParam, PutParamCarefully};
use lustre_api::proxy::{EnsureProxy, RemoveProxy};
use lustre_api::target::{DeregisterTarget, EnsureTarget, PostTarget, TargetPath};
use lustre_api::{Endpoint, Nothing, Time, WriteQuery, Written};
use lustre_types::{FsName, SvName, TargetKind};

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
    let mut work = Work { session, query, confirm_within_s, applied: Applied::default() };
    if let Some(body) = together(desired, plan, confirm_within_s) {
        let written = session.mgs.call::<PutParams>(&Nothing {}, &work.query, &body).await;
        let written = written.map_err(|error| session.explain(error).failure)?;
        work.applied.warnings.extend(written.warnings);
        if confirm_within_s.is_some() {
            let of_plan = plan.changes.iter().filter(|change| change.action != Action::Delete);
            for change in of_plan {
                let of_it = |param: &&Param| matches!(&change.object, ObjectKey::Param { name, .. } if *name == param.spec.name);
                work.waits(change, written.object.items.iter().find(of_it).and_then(|param| param.confirm_until));
            }
        }
        return Ok(work.applied);
    }
    for (n, change) in plan.changes.iter().enumerate() {
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
fn together(desired: &Desired, plan: &Plan, confirm_within_s: Option<u32>) -> Option<PutParamSet> {
    let of_first = desired.params.first()?;
    let (mut params, mut unset) = (BTreeMap::new(), Vec::new());
    for change in &plan.changes {
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
    (plan.changes.len() > 1).then_some(PutParamSet { spec, unset, confirm_within_s })
}

impl Work<'_> {
    async fn change(&mut self, change: &Change, desired: &Desired, snapshot: &Snapshot) -> Result<(), Failure> {
        let lost = || Failure::from(format!("fault: the plan changes {}, which is not described", change.object));
        let is_delete = change.action == Action::Delete;
        match &change.object {
            ObjectKey::Filesystem { name } if is_delete => {
                self.call::<DeleteFilesystem, _>(FilesystemPath { fsname: name.clone() }, Nothing {}).await
            }
            ObjectKey::Filesystem { name } => {
                let spec = desired.filesystems.iter().find(|spec| spec.name == *name).ok_or_else(lost)?;
                self.call::<PutFilesystem, _>(FilesystemPath { fsname: name.clone() }, spec.clone()).await
            }
            ObjectKey::Target { svname } if is_delete => {
                self.call::<DeregisterTarget, _>(TargetPath { svname: svname.clone() }, Nothing {}).await
            }
            ObjectKey::Target { .. } | ObjectKey::NewTarget { .. } => {
                let wanted = described_by(&change.object, desired, snapshot).ok_or_else(lost)?;
                let device = device_of(snapshot, &wanted.target).filter(|_| change.action == Action::Create);
                let ensure = EnsureTarget {
                    target: wanted.target.clone(),
                    expect_content: device.map(|device| device.content.clone()),
                    expect_size_bytes: device.map(|device| device.size_bytes),
                    allow_reformat: wanted.allow_reformat,
                    confirm_within_s: self.confirm_within_s,
                };
                self.call::<PostTarget, _>(Nothing {}, ensure).await
            }
            ObjectKey::Param { filesystem, scope, name } => {
                let fsname = filesystem.as_ref().map_or("*", FsName::as_str).to_owned();
                let path = ParamPath { fsname, scope: scope.clone(), name: name.clone() };
                if is_delete {
                    return self.call::<DeleteParam, _>(path, Nothing {}).await;
                }
                let mut specs = desired.params.iter();
                let spec = specs.find(|s| s.filesystem == *filesystem && s.scope == *scope && s.name == *name);
                let spec = spec.ok_or_else(lost)?.clone();
                let confirm_within_s = self.confirm_within_s;
                if confirm_within_s.is_none() {
                    return self.call::<PutParam, _>(path, spec).await;
                }
                let body = CarefulParam { spec, canary: None, confirm_within_s };
                let written = self.session.mgs.call::<PutParamCarefully>(&path, &self.query, &body).await;
                let written = written.map_err(|error| self.session.explain(error).failure)?.written;
                self.applied.warnings.extend(written.warnings);
                self.waits(change, written.object.confirm_until);
                Ok(())
            }
            ObjectKey::Nodemap { name } => {
                let path = NodemapPath { name: name.clone() };
                if is_delete {
                    return self.call::<DeleteNodemap, _>(path, Nothing {}).await;
                }
                let spec = desired.nodemaps.iter().find(|spec| spec.name == *name).ok_or_else(lost)?.clone();
                let body = PutNodemapBody { spec, confirm_within_s: self.confirm_within_s };
                let written = self.session.mgs.call::<PutNodemap>(&path, &self.query, &body).await;
                let written = written.map_err(|error| self.session.explain(error).failure)?;
                self.waits(change, written.object.confirm_until);
                Ok(())
            }
            ObjectKey::Nodemaps {} => {
                let active = !is_delete && desired.nodemaps_active.is_some_and(|wanted| wanted.active);
                let body = NodemapsActive { active, confirm_within_s: self.confirm_within_s };
                let written = self.session.mgs.call::<PutNodemapsActive>(&Nothing {}, &self.query, &body).await;
                let written = written.map_err(|error| self.session.explain(error).failure)?;
                self.waits(change, written.object.confirm_until);
                Ok(())
            }
            ObjectKey::Pool { filesystem, name } => {
                let path = PoolPath { fsname: filesystem.clone(), pool: name.clone() };
                if is_delete {
                    return self.call::<DeletePool, _>(path, Nothing {}).await;
                }
                let mut specs = desired.pools.iter();
                let spec = specs.find(|spec| spec.filesystem == *filesystem && spec.name == *name);
                self.call::<PutPool, _>(path, spec.ok_or_else(lost)?.clone()).await
            }
            ObjectKey::MgsProxy { node } if is_delete => {
                self.call::<RemoveProxy, _>(NodePath { node: node.clone() }, Nothing {}).await
            }
            ObjectKey::MgsProxy { node } => {
                self.call::<EnsureProxy, _>(NodePath { node: node.clone() }, Nothing {}).await
            }
        }
    }

    /// Says that a change goes back by itself.
    fn waits(&mut self, change: &Change, until: Option<Time>) {
        if let Some(until) = until {
            let warning =
                format!("{} goes back to what it was before at {until}, unless it is confirmed", change.object);
            self.applied.warnings.push(warning);
        }
    }

    async fn call<E, T>(&mut self, path: E::Path, body: E::Body) -> Result<(), Failure>
    where
        E: Endpoint<Query = WriteQuery, Reply = Written<T>>,
    {
        let written = self.session.mgs.call::<E>(&path, &self.query, &body).await;
        let written = written.map_err(|error| self.session.explain(error).failure)?;
        self.applied.jobs.extend(written.job);
        self.applied.warnings.extend(written.warnings);
        Ok(())
    }
}

/// The described target that a plan's object is. A description without index finds its name by its place.
pub(super) fn described_by<'d>(
    object: &ObjectKey,
    desired: &'d Desired,
    snapshot: &Snapshot,
) -> Option<&'d DesiredTarget> {
    let mut targets = desired.targets.iter();
    match object {
        ObjectKey::NewTarget { node, device } => {
            targets.find(|wanted| wanted.target.node == *node && wanted.target.device == *device)
        }
        ObjectKey::Target { svname } => targets.find(|wanted| is_named(wanted, svname, snapshot)),
        _ => None,
    }
}

fn is_named(wanted: &DesiredTarget, svname: &SvName, snapshot: &Snapshot) -> bool {
    let spec = &wanted.target;
    if spec.kind != svname.kind() || (spec.kind != TargetKind::Mgt && spec.filesystem.as_ref() != svname.fsname()) {
        return false;
    }
    if spec.index.is_some() || spec.kind == TargetKind::Mgt {
        return spec.index == svname.index();
    }
    let device = device_of(snapshot, spec);
    let is_place = |path: &str| path == spec.device || device.is_some_and(|device| device.is_named(path));
    let mut known = snapshot.targets.iter().filter(|known| known.svname == *svname);
    known.any(|known| known.spec.node == spec.node && is_place(&known.spec.device))
        || device.and_then(|device| device.formatted_as.as_ref()).is_some_and(|found| found.svname == *svname)
}
