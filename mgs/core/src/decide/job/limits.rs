//! How many steps are at work at once, and where none may begin: per node, per enclosure, per file system, drained nodes,
//! maintenance windows.
//!
//! Only the beginning of a step is held back, and only of steps that a node does; what is at work goes on.

use std::collections::BTreeMap;

use lustre_api::Time;
use lustre_api::job::JobState;
use lustre_api::node::NodeSettings;
use lustre_types::{FsName, NodeName};

use super::work::ready;
use crate::record::JobRecord;
use crate::state::State;

/// Most steps at work at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// On one node.
    pub per_node: usize,
    /// On all nodes of one enclosure.
    pub per_enclosure: usize,
    /// For one file system.
    pub per_filesystem: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { per_node: 8, per_enclosure: 16, per_filesystem: 64 }
    }
}

/// Where a step counts: all steps of one lane are held back by the same, so only the first of them is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Lane {
    /// Does it.
    pub(super) node: NodeName,
    /// It is for this one.
    pub(super) fsname: Option<FsName>,
}

impl Lane {
    /// The lane of a step that a node does.
    pub(super) fn of(record: &JobRecord, step: usize) -> Option<Self> {
        let node = record.job.steps.get(step)?.node.clone()?;
        let of_target = record.job.svname_of(step).and_then(|svname| svname.fsname());
        Some(Self { node, fsname: of_target.or_else(|| record.job.object.fsname()).cloned() })
    }
}

/// What is at work now.
#[derive(Default)]
pub(super) struct Load {
    nodes: BTreeMap<NodeName, usize>,
    enclosures: BTreeMap<String, usize>,
    filesystems: BTreeMap<FsName, usize>,
}

/// What a step waits for.
pub(super) enum Blocked<'a> {
    /// The node, drained for this reason.
    Drained(&'a NodeName, &'a str),
    /// The node, outside its windows.
    Window(&'a NodeName, &'a NodeSettings),
    /// A node, an enclosure or a file system with so many steps at work, which is all that may be.
    Full { kind: &'static str, name: &'a str, busy: usize, most: usize },
}

impl Load {
    fn of(state: &State) -> Self {
        let mut load = Self::default();
        for job in state.open_jobs().map(|job| &job.value) {
            let at_work = |(at, step): (usize, &lustre_api::job::Step)| (step.state == JobState::Running).then_some(at);
            for lane in job.job.steps.iter().enumerate().filter_map(at_work).filter_map(|at| Lane::of(job, at)) {
                let enclosure = settings(state, &lane.node).and_then(|settings| settings.enclosure.as_deref());
                load.add(&lane, enclosure);
            }
        }
        load
    }

    /// Counts a step on a node of this enclosure.
    pub(super) fn add(&mut self, lane: &Lane, enclosure: Option<&str>) {
        *of(&mut self.nodes, &lane.node) += 1;
        if let Some(enclosure) = enclosure {
            *of(&mut self.enclosures, enclosure) += 1;
        }
        if let Some(fsname) = &lane.fsname {
            *of(&mut self.filesystems, fsname) += 1;
        }
    }

    /// Counts a step no more. Says whether the node, the enclosure and the file system were full with it.
    pub(super) fn remove(&mut self, lane: &Lane, enclosure: Option<&str>, limits: &Limits) -> [bool; 3] {
        [
            less(&mut self.nodes, &lane.node, limits.per_node),
            enclosure.is_some_and(|enclosure| less(&mut self.enclosures, enclosure, limits.per_enclosure)),
            lane.fsname.as_ref().is_some_and(|fsname| less(&mut self.filesystems, fsname, limits.per_filesystem)),
        ]
    }

    /// Steps at work for a file system.
    pub(super) fn of_filesystem(&self, fsname: Option<&FsName>) -> usize {
        fsname.and_then(|fsname| self.filesystems.get(fsname)).copied().unwrap_or(0)
    }

    /// What keeps the steps of a lane from beginning now.
    pub(super) fn blocks<'a>(
        &self,
        settings: Option<&'a NodeSettings>,
        limits: &Limits,
        now: Time,
        lane: &'a Lane,
    ) -> Option<Blocked<'a>> {
        if let Some(drained) = settings.and_then(|settings| settings.drained.as_deref()) {
            return Some(Blocked::Drained(&lane.node, drained));
        }
        if let Some(settings) = settings.filter(|settings| !settings.is_open(now)) {
            return Some(Blocked::Window(&lane.node, settings));
        }
        let full = |busy: Option<&usize>, most: usize, kind: &'static str, name: &'a str| {
            busy.filter(|busy| **busy >= most).map(|busy| Blocked::Full { kind, name, busy: *busy, most })
        };
        full(self.nodes.get(&lane.node), limits.per_node, "node", lane.node.as_str())
            .or_else(|| {
                let enclosure = settings?.enclosure.as_deref()?;
                full(self.enclosures.get(enclosure), limits.per_enclosure, "enclosure", enclosure)
            })
            .or_else(|| {
                let fsname = lane.fsname.as_ref()?;
                full(self.filesystems.get(fsname), limits.per_filesystem, "file system", fsname.as_str())
            })
    }
}

/// The counter of a name, made where there is none yet.
fn of<'a, K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized + ToOwned<Owned = K>>(
    map: &'a mut BTreeMap<K, usize>,
    name: &Q,
) -> &'a mut usize {
    map.entry(name.to_owned()).or_default()
}

/// Counts one less; says whether that was the last that may be.
fn less<K: Ord + std::borrow::Borrow<Q>, Q: Ord + ?Sized>(map: &mut BTreeMap<K, usize>, name: &Q, most: usize) -> bool {
    let Some(busy) = map.get_mut(name) else { return false };
    let was_full = *busy >= most;
    *busy -= 1;
    if *busy == 0 {
        map.remove(name);
    }
    was_full
}

impl std::fmt::Display for Blocked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Drained(node, "") => write!(f, "node {node}, which is drained: mgsctl node undrain {node}"),
            Self::Drained(node, why) => write!(f, "node {node}, which is drained ({why}): mgsctl node undrain {node}"),
            Self::Window(node, settings) => {
                let windows = settings.windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "the maintenance window of {node}, {windows} UTC")
            }
            Self::Full { kind, name, busy, most } => {
                write!(f, "{kind} {name}: {busy} steps are at work there, at most {most} may be")
            }
        }
    }
}

/// Why ready steps of a job do not begin, by their places.
pub fn held_back(state: &State, limits: &Limits, now: Time, record: &JobRecord) -> BTreeMap<usize, String> {
    let lanes: Vec<_> = ready(state, record).into_iter().filter_map(|at| Some((at, Lane::of(record, at)?))).collect();
    if lanes.is_empty() {
        return BTreeMap::new();
    }
    let load = Load::of(state);
    let why = |lane: &Lane| -> Option<String> {
        Some(load.blocks(settings(state, &lane.node), limits, now, lane)?.to_string())
    };
    lanes.iter().filter_map(|(at, lane)| Some((*at, why(lane)?))).collect()
}

fn settings<'a>(state: &'a State, node: &NodeName) -> Option<&'a NodeSettings> {
    Some(&state.nodes.get(node)?.value.settings)
}
