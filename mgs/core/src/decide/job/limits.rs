//! How many steps are at work at once, and where none may begin: per node, per enclosure, per file system, drained nodes,
//! maintenance windows. Who waits longest on the least busy file system comes first.
//!
//! Only the beginning of a step is held back, and only of steps that a node does; what is at work goes on.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::job::JobId;
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

/// Steps that are about to begin, by job.
pub type Begun = BTreeMap<JobId, Vec<usize>>;

/// What is at work now.
#[derive(Default)]
struct Load<'a> {
    nodes: BTreeMap<&'a NodeName, usize>,
    enclosures: BTreeMap<&'a str, usize>,
    filesystems: BTreeMap<&'a FsName, usize>,
}

impl<'a> Load<'a> {
    fn of(state: &'a State, begun: &Begun) -> Self {
        let mut load = Self::default();
        for job in state.open_jobs().map(|job| &job.value) {
            let begun = begun.get(&job.job.id);
            for (at, step) in job.job.steps.iter().enumerate() {
                let is_begun = begun.is_some_and(|begun| begun.contains(&at));
                if step.state == lustre_api::job::JobState::Running || (!step.state.is_final() && is_begun) {
                    load.add(state, job, at);
                }
            }
        }
        load
    }

    fn add(&mut self, state: &'a State, job: &'a JobRecord, step: usize) {
        let Some(node) = &job.job.steps[step].node else { return };
        *self.nodes.entry(node).or_default() += 1;
        if let Some(enclosure) = settings(state, node).and_then(|settings| settings.enclosure.as_deref()) {
            *self.enclosures.entry(enclosure).or_default() += 1;
        }
        if let Some(fsname) = fsname_of(job, step) {
            *self.filesystems.entry(fsname).or_default() += 1;
        }
    }

    /// Steps at work for a file system.
    fn of_filesystem(&self, fsname: Option<&FsName>) -> usize {
        fsname.and_then(|fsname| self.filesystems.get(fsname)).copied().unwrap_or(0)
    }

    /// Why a step may not begin now.
    fn blocks(&self, state: &State, limits: &Limits, now: Time, job: &JobRecord, step: usize) -> Option<String> {
        let node = job.job.steps[step].node.as_ref()?;
        let settings = settings(state, node);
        if let Some(drained) = settings.and_then(|settings| settings.drained.as_ref()) {
            let why = if drained.is_empty() { String::new() } else { format!(" ({drained})") };
            return Some(format!("node {node} is drained{why}: mgsctl node undrain {node}"));
        }
        if let Some(settings) = settings.filter(|settings| !settings.is_open(now)) {
            let windows = settings.windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Some(format!("the maintenance window of {node}, {windows} UTC"));
        }
        let full = |busy: Option<&usize>, most: usize, kind: &str, name: &str| {
            busy.filter(|busy| **busy >= most)
                .map(|busy| format!("{kind} {name}: {busy} steps are at work there, at most {most} may be"))
        };
        let enclosure = settings.and_then(|settings| settings.enclosure.as_deref());
        full(self.nodes.get(node), limits.per_node, "node", node.as_str())
            .or_else(|| {
                let enclosure = enclosure?;
                full(self.enclosures.get(enclosure), limits.per_enclosure, "enclosure", enclosure)
            })
            .or_else(|| {
                let fsname = fsname_of(job, step)?;
                full(self.filesystems.get(fsname), limits.per_filesystem, "file system", fsname.as_str())
            })
    }
}

/// Which ready steps begin now. `begun` are on their way already, and count as at work.
pub(super) fn admit(state: &State, limits: &Limits, now: Time, begun: &Begun) -> BTreeMap<JobId, Vec<usize>> {
    let mut load = Load::of(state, begun);
    // By file system, the oldest job first.
    let mut queues: BTreeMap<Option<&FsName>, Vec<(Time, &JobRecord, usize)>> = BTreeMap::new();
    for job in state.open_jobs().map(|job| &job.value) {
        let begun = begun.get(&job.job.id);
        for step in ready(state, job) {
            if begun.is_none_or(|begun| !begun.contains(&step)) {
                queues.entry(fsname_of(job, step)).or_default().push((job.job.created, job, step));
            }
        }
    }
    for queue in queues.values_mut() {
        queue.sort_by_key(|(created, job, step)| std::cmp::Reverse((*created, &job.job.id, *step)));
    }
    let mut admitted: BTreeMap<JobId, Vec<usize>> = BTreeMap::new();
    let mut least_busy: BTreeSet<(usize, Option<&FsName>)> =
        queues.keys().map(|fsname| (load.of_filesystem(*fsname), *fsname)).collect();
    while let Some((_, fsname)) = least_busy.pop_first() {
        let Some((_, job, step)) = queues.get_mut(&fsname).and_then(Vec::pop) else { continue };
        if load.blocks(state, limits, now, job, step).is_none() {
            load.add(state, job, step);
            admitted.entry(job.job.id.clone()).or_default().push(step);
        }
        least_busy.insert((load.of_filesystem(fsname), fsname));
    }
    admitted
}

/// Why ready steps of a job do not begin, by their places.
pub fn held_back(state: &State, limits: &Limits, now: Time, record: &JobRecord) -> BTreeMap<usize, String> {
    let load = Load::of(state, &Begun::new());
    let ready = ready(state, record).into_iter();
    ready.filter_map(|step| Some((step, load.blocks(state, limits, now, record, step)?))).collect()
}

fn settings<'a>(state: &'a State, node: &NodeName) -> Option<&'a NodeSettings> {
    Some(&state.nodes.get(node)?.value.settings)
}

fn fsname_of(job: &JobRecord, step: usize) -> Option<&FsName> {
    let of_target = job.job.svname_of(step).and_then(|svname| svname.fsname());
    of_target.or_else(|| job.job.object.fsname())
}
