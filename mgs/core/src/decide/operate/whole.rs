//! A file system as a whole: its targets in the order in which they are stopped and started.

use lustre_api::Problem;
use lustre_api::agent::StartDriver;
use lustre_types::{FsName, SvName, TargetKind};

use crate::decide::job::NewStep;
use crate::decide::{filesystem, lifecycle, node, target_reg};
use crate::record::TargetRecord;
use crate::state::State;

/// A target with its place among the steps.
pub(super) type Member<'a> = (&'a SvName, &'a TargetRecord);

/// The targets that are or were in the configuration: MDTs by index, then OSTs.
///
/// Errors: there is no such file system, or no MDT0000; a target whose node has no agent or can't start targets.
pub(super) fn members<'a>(state: &'a State, fsname: &FsName) -> Result<Vec<Member<'a>>, Problem> {
    filesystem::find(state, fsname)?;
    let all = state.targets_of(fsname, None).map(|(svname, target)| (svname, &target.value));
    let mut members: Vec<Member<'a>> = all.filter(|(_, target)| target.was_registered).collect();
    members.sort_by_key(|(svname, _)| (svname.kind() == TargetKind::Ost, svname.index().map(|index| index.get())));
    if !members.first().is_some_and(|(svname, _)| is_mdt0(svname)) {
        let problem = Problem::refused(format!("{fsname}-MDT0000 is not in the configuration"));
        return Err(problem.remedy("without it a file system can't be started"));
    }
    for (svname, target) in &members {
        if target.spec.device == target_reg::UNKNOWN_DEVICE {
            let problem = Problem::refused(format!("nobody knows the device of {svname}: its node has no agent"));
            return Err(problem
                .remedy(format!("start lustre-agent there and describe {svname} with its device, or do it by hand")));
        }
        let node = node::find(state, target.place())?;
        if node.value.info.start_driver == StartDriver::None {
            let problem = Problem::refused(format!("{} has no Lustre to start {svname} with", target.place()));
            return Err(problem.remedy("install the Lustre server modules there, or configure another start driver"));
        }
    }
    Ok(members)
}

/// Errors: the device of a target can't be written from here.
pub(super) fn can_be_tuned(svname: &SvName, target: &TargetRecord) -> Result<(), Problem> {
    if target.spec.device == target_reg::UNKNOWN_DEVICE {
        let problem = Problem::refused(format!("nobody knows the device of {svname}: its node has no agent"));
        return Err(problem.remedy(format!("start lustre-agent there and describe {svname} with its device")));
    }
    Ok(())
}

pub(super) fn is_mdt0(svname: &SvName) -> bool {
    svname.kind() == TargetKind::Mdt && svname.index().is_some_and(|index| index.get() == 0)
}

/// Steps under construction.
#[derive(Default)]
pub(super) struct Steps(pub(super) Vec<NewStep>);

impl Steps {
    /// Adds a step behind others; gives its place.
    pub(super) fn add(&mut self, step: NewStep, svname: &SvName, after: &[usize]) -> usize {
        self.0.push(step.of(svname.clone()).after(after));
        self.0.len() - 1
    }

    /// Stops the MDTs, then the OSTs, each kind at once; gives the places of all.
    pub(super) fn stop_all(&mut self, members: &[Member<'_>]) -> Vec<usize> {
        let (mdts, osts) = by_kind(members);
        let first: Vec<usize> =
            mdts.iter().map(|(svname, target)| self.add(lifecycle::stop_step(svname, target), svname, &[])).collect();
        let then = osts.iter().map(|(svname, target)| self.add(lifecycle::stop_step(svname, target), svname, &first));
        let then: Vec<usize> = then.collect();
        first.into_iter().chain(then).collect()
    }

    /// Starts the first MDT behind `after`, then the other MDTs, then the OSTs.
    pub(super) fn start_all(&mut self, members: &[Member<'_>], after: &[usize]) {
        let (mdts, osts) = by_kind(members);
        let mut before = after.to_vec();
        let (firsts, others): (Vec<_>, Vec<_>) = mdts.into_iter().partition(|(svname, _)| is_mdt0(svname));
        for group in [firsts, others, osts] {
            let places: Vec<usize> = group
                .iter()
                .map(|(svname, target)| self.add(lifecycle::start_step(svname, target), svname, &before))
                .collect();
            if !places.is_empty() {
                before = places;
            }
        }
    }
}

fn by_kind<'a>(members: &[Member<'a>]) -> (Vec<Member<'a>>, Vec<Member<'a>>) {
    members.iter().copied().partition(|(svname, _)| svname.kind() != TargetKind::Ost)
}
