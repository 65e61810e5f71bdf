//! Steps that are ready and wait for their turn: the file system with the least at work comes first, and on it the oldest job.
//!
//! A lane that was found blocked is looked at again only when something ended that may have blocked it, so what waits costs
//! nothing, however much it is.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::job::JobId;
use lustre_api::node::NodeSettings;
use lustre_types::{FsName, NodeName};

use super::limits::{Lane, Limits, Load};
use crate::state::State;

/// A step that is ready, in the order in which the steps of a file system begin.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Waiting {
    /// When its job was accepted.
    pub(super) created: Time,
    pub(super) id: JobId,
    pub(super) step: usize,
}

/// What waits, and what is at work, where.
pub(super) struct Lanes {
    limits: Limits,
    /// As they were when what is here was counted.
    settings: BTreeMap<NodeName, NodeSettings>,
    load: Load,
    waiting: BTreeMap<Lane, BTreeSet<Waiting>>,
    /// The nodes where something waits for a file system.
    nodes_of: BTreeMap<FsName, BTreeSet<NodeName>>,
    /// Lanes whose first step may be able to begin.
    stirred: BTreeSet<Lane>,
    /// The minute that windows were looked at for: they open on a minute.
    minute: u64,
}

impl Lanes {
    pub(super) fn new(limits: Limits, state: &State) -> Self {
        Self {
            limits,
            settings: state.nodes.iter().map(|(node, known)| (node.clone(), known.value.settings.clone())).collect(),
            load: Load::default(),
            waiting: BTreeMap::new(),
            nodes_of: BTreeMap::new(),
            stirred: BTreeSet::new(),
            minute: 0,
        }
    }

    /// Whether what people decided about nodes is another thing than it was, where nodes changed after a revision.
    pub(super) fn are_stale(&self, state: &State, since: u64) -> bool {
        let mut changed = state.nodes_by_revision.since(since);
        self.settings.len() != state.nodes.len()
            || changed.any(|node| self.settings.get(node) != state.nodes.get(node).map(|known| &known.value.settings))
    }

    /// A step is ready.
    pub(super) fn wait(&mut self, lane: &Lane, step: Waiting) {
        if let Some(fsname) = &lane.fsname {
            self.nodes_of.entry(fsname.clone()).or_default().insert(lane.node.clone());
        }
        self.waiting.entry(lane.clone()).or_default().insert(step);
        self.stirred.insert(lane.clone());
    }

    /// A step is not ready any more, or begins.
    pub(super) fn leave(&mut self, lane: &Lane, step: &Waiting) {
        let Some(steps) = self.waiting.get_mut(lane) else { return };
        steps.remove(step);
        if !steps.is_empty() {
            return;
        }
        self.waiting.remove(lane);
        self.stirred.remove(lane);
        if let Some(fsname) = &lane.fsname
            && let Some(nodes) = self.nodes_of.get_mut(fsname)
        {
            nodes.remove(&lane.node);
            if nodes.is_empty() {
                self.nodes_of.remove(fsname);
            }
        }
    }

    /// A step is at work, or is about to be.
    pub(super) fn count(&mut self, lane: &Lane) {
        let enclosure = self.settings.get(&lane.node).and_then(|settings| settings.enclosure.as_deref());
        self.load.add(lane, enclosure);
    }

    /// It is not any more: what waited for that may begin.
    pub(super) fn uncount(&mut self, lane: &Lane) {
        let enclosure = self.settings.get(&lane.node).and_then(|settings| settings.enclosure.clone());
        let [node, shared, filesystem] = self.load.remove(lane, enclosure.as_deref(), &self.limits);
        if node {
            self.stir_node(&lane.node);
        }
        if let Some(enclosure) = enclosure.filter(|_| shared) {
            let is_in = |settings: &NodeSettings| settings.enclosure.as_ref() == Some(&enclosure);
            let nodes = self.settings.iter().filter(|(_, settings)| is_in(settings));
            let nodes: Vec<NodeName> = nodes.map(|(node, _)| node.clone()).collect();
            nodes.iter().for_each(|node| self.stir_node(node));
        }
        if let Some(fsname) = lane.fsname.as_ref().filter(|_| filesystem) {
            let nodes = self.nodes_of.get(fsname).into_iter().flatten();
            let lanes = nodes.map(|node| Lane { node: node.clone(), fsname: Some(fsname.clone()) });
            self.stirred.extend(lanes);
        }
    }

    fn stir_node(&mut self, node: &NodeName) {
        let first = Lane { node: node.clone(), fsname: None };
        let lanes = self.waiting.range(first..).map(|(lane, _)| lane).take_while(|lane| lane.node == *node);
        self.stirred.extend(lanes.cloned());
    }

    /// The steps that begin now; they are counted, and wait no more.
    pub(super) fn admit(&mut self, now: Time) -> Vec<(Lane, Waiting)> {
        self.look_at_windows(now);
        // By file system: the first of each lane, the oldest of them first.
        let mut queues: BTreeMap<Option<FsName>, BTreeSet<(Waiting, Lane)>> = BTreeMap::new();
        for lane in std::mem::take(&mut self.stirred) {
            if let Some(first) = self.first(&lane) {
                queues.entry(lane.fsname.clone()).or_default().insert((first, lane));
            }
        }
        let busy = |load: &Load, fsname: Option<FsName>| (load.of_filesystem(fsname.as_ref()), fsname);
        let mut least_busy: BTreeSet<_> = queues.keys().map(|fsname| busy(&self.load, fsname.clone())).collect();
        let mut admitted = Vec::new();
        while let Some((_, fsname)) = least_busy.pop_first() {
            let Some(queue) = queues.get_mut(&fsname) else { continue };
            let Some((step, lane)) = queue.pop_first() else { continue };
            if self.load.blocks(self.settings.get(&lane.node), &self.limits, now, &lane).is_none() {
                self.count(&lane);
                self.leave(&lane, &step);
                if let Some(next) = self.first(&lane) {
                    queue.insert((next, lane.clone()));
                }
                admitted.push((lane, step));
            }
            least_busy.insert(busy(&self.load, fsname));
        }
        admitted
    }

    fn first(&self, lane: &Lane) -> Option<Waiting> {
        self.waiting.get(lane)?.first().cloned()
    }

    /// Once a minute, and whenever the clock was set, forwards or back: windows may have opened.
    fn look_at_windows(&mut self, now: Time) {
        let minute = now.unix_ms() / 60_000;
        if std::mem::replace(&mut self.minute, minute) == minute {
            return;
        }
        let has_windows = |lane: &&Lane| self.settings.get(&lane.node).is_some_and(|node| !node.windows.is_empty());
        self.stirred.extend(self.waiting.keys().filter(has_windows).cloned());
    }
}
