//! A target on ZFS that moves: its pool goes with it, and with that everything else in the pool.

use lustre_api::Problem;
use lustre_api::ability::ZFS_POOLS;
use lustre_api::agent::{NodeInfo, PoolUser};
use lustre_api::target::TargetState;
use lustre_types::{Dataset, NodeName, SvName};

use super::whole::Member;
use crate::decide::node;
use crate::record::TargetRecord;
use crate::state::State;

/// A pool that moves.
pub(super) struct PoolMove<'a> {
    /// What else in it is in use where it is, by name.
    pub(super) mates: Vec<Member<'a>>,
    /// What else is in it, and not started: it can't be started before it has moved too.
    pub(super) left: Vec<&'a SvName>,
    /// The node that has it, as the other one will know it: where that is said to be switched off.
    pub(super) last_user: Option<PoolUser>,
}

/// What goes with a target that moves to another node; none where it is not on ZFS.
///
/// Errors: an agent that can't move pools; nodes that ZFS can't tell apart, or that nobody knows the host id of.
pub(super) fn of<'a>(
    state: &'a State,
    svname: &SvName,
    record: &TargetRecord,
    to: &NodeName,
    is_down: bool,
) -> Result<Option<PoolMove<'a>>, Problem> {
    let from = record.place();
    let Some(dataset) = dataset(record, from) else { return Ok(None) };
    let infos = (&node::find(state, from)?.value.info, &node::find(state, to)?.value.info);
    let last_user = check_nodes(svname, &dataset, infos, is_down)?;
    let others = state.targets.iter().filter(|(other, target)| {
        let target = &target.value;
        *other != svname
            && target.place() == from
            && self::dataset(target, from).is_some_and(|other| other.pool() == dataset.pool())
    });
    let (mut mates, mut left) = (Vec::new(), Vec::new());
    for (other, target) in others {
        let is_in_use = match target.value.state {
            TargetState::Started | TargetState::Registered => true,
            TargetState::Reserved
            | TargetState::Formatting
            | TargetState::Formatted
            | TargetState::Stopped
            | TargetState::Failed => state.active_job(other).is_some(),
        };
        match is_in_use {
            true => mates.push((other, &target.value)),
            false => left.push(other),
        }
    }
    Ok(Some(PoolMove { mates, left, last_user }))
}

/// The dataset that a target is on, as a node knows it.
pub(super) fn dataset(record: &TargetRecord, node: &NodeName) -> Option<Dataset> {
    record.device_on(node).parse().ok()
}

/// Who the other node takes it from, where that is said to be switched off.
fn check_nodes(
    svname: &SvName,
    dataset: &Dataset,
    (from, to): (&NodeInfo, &NodeInfo),
    is_down: bool,
) -> Result<Option<PoolUser>, Problem> {
    let mut asked = vec![to];
    asked.extend((!is_down).then_some(from));
    if let Some(problem) = asked.into_iter().find_map(|info| info.lacks(&[ZFS_POOLS])) {
        return Err(problem);
    }
    let pool = dataset.pool();
    let Some(id) = &to.hostid else {
        let message = format!("{} has no host id, by which ZFS tells who uses pool {pool} of {svname}", to.node);
        let remedy = format!("give it one: zgenhostid on {}, and restart it; every node needs another", to.node);
        return Err(Problem::refused(message).remedy(remedy).attribute("node"));
    };
    if from.hostid.as_ref() == Some(id) {
        let message = format!("{} and {} have the same host id, {id}: ZFS can't tell them apart", from.node, to.node);
        let remedy =
            format!("give one of them another: zgenhostid -f, then restart it; pool {pool} must not be in use");
        return Err(Problem::refused(message).remedy(remedy).attribute("node"));
    }
    match &from.hostid {
        _ if !is_down => Ok(None),
        Some(hostid) => Ok(Some(PoolUser { node: from.node.clone(), hostid: hostid.clone() })),
        None => {
            let message = format!("nobody knows the host id of {}, so pool {pool} can't be told to be its", from.node);
            let remedy = format!(
                "make sure that {} is off, then import the pool on {} by hand (zpool import -f {pool}) and move {svname} \
                 again",
                from.node, to.node
            );
            Err(Problem::refused(message).remedy(remedy).attribute("node_is_down"))
        }
    }
}
