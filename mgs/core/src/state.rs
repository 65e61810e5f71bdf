//! What the MGS knows at one revision.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::filesystem::FilesystemSpec;
use lustre_api::job::{JobId, JobObject};
use lustre_api::source::SourceNote;
use lustre_types::{FsName, NodeName, NodemapName, PoolName, SvName, TargetIndex, TargetKind};

use std::sync::Arc;

use crate::by_revision::ByRevision;
use crate::configlog::{ConfigLog, FsLogs, names};
use crate::decide::mgs::STATE_VERSION;
use crate::key::{ParamKey, RemovedKey};
use crate::record::{
    ActiveRecord, JobRecord, MgsRecord, NidRow, NidTableRecord, NodeRecord, NodemapRecord, OwnerRecord, ParamRecord,
    PoolRecord, RemovedRecord, TargetRecord, TemporaryRecord,
};

/// A stored object with the revisions that made and last changed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<T> {
    /// The object.
    pub value: T,
    /// The revision that made it.
    pub created: u64,
    /// The revision that changed it last.
    pub revision: u64,
}

/// What the MGS knows. Changed by [`State::apply`] only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// The last revision that was applied.
    pub revision: u64,
    /// The MGS; missing in a new store.
    pub mgs: Option<Object<MgsRecord>>,
    /// File systems.
    pub filesystems: BTreeMap<FsName, Object<FilesystemSpec>>,
    /// Names that are not given away again.
    pub retired: BTreeMap<FsName, Object<BTreeSet<SvName>>>,
    /// Targets, ordered by file system, kind and index.
    pub targets: BTreeMap<SvName, Object<TargetRecord>>,
    /// Which target a device belongs to.
    pub devices: BTreeMap<(NodeName, String), Object<SvName>>,
    /// Tunables.
    pub params: BTreeMap<ParamKey, Object<ParamRecord>>,
    /// Values that are set on nodes for the time being, by name.
    pub temporary: BTreeMap<String, Object<TemporaryRecord>>,
    /// Nodemaps.
    pub nodemaps: BTreeMap<NodemapName, Object<NodemapRecord>>,
    /// Whether they are in force; they are not before anybody said so.
    pub nodemaps_active: Option<Object<ActiveRecord>>,
    /// Pools.
    pub pools: BTreeMap<(FsName, PoolName), Object<PoolRecord>>,
    /// Nodes.
    pub nodes: BTreeMap<NodeName, Object<NodeRecord>>,
    /// Nodes by their last change.
    pub nodes_by_revision: ByRevision<NodeName>,
    /// Jobs.
    pub jobs: BTreeMap<JobId, Object<JobRecord>>,
    /// Those that are not over.
    pub open_jobs: BTreeSet<JobId>,
    /// All jobs by their last change.
    pub jobs_by_revision: ByRevision<JobId>,
    /// Which job is at work on an object.
    pub holds: BTreeMap<JobObject, Object<JobId>>,
    /// Which instance does what must be done once.
    pub owners: BTreeMap<String, Object<OwnerRecord>>,
    /// How far receivers of webhooks were told, now and then.
    pub webhooks: BTreeMap<String, Object<u64>>,
    /// Config logs, of file systems by name; `params` under `None`.
    pub logs: BTreeMap<Option<FsName>, FsLogs>,
    /// Versions of the tables of running targets.
    pub nid_tables: BTreeMap<FsName, Object<NidTableRecord>>,
    /// Running targets.
    pub nid_rows: BTreeMap<SvName, Object<NidRow>>,
    /// What came of the source of wanted configuration.
    pub source: Option<Object<SourceNote>>,
    /// Objects that were removed, and come back unless somebody confirms that.
    pub removed: BTreeMap<RemovedKey, Object<RemovedRecord>>,
}

/// The running targets of a file system, as imperative recovery tells them.
#[derive(Clone, Debug, PartialEq)]
pub struct NidTable<'a> {
    /// The last row's version, or that of a row that is gone; 2 before the first.
    pub version: u64,
    /// The targets in the order of their versions.
    pub rows: Vec<(&'a SvName, &'a NidRow)>,
}

impl State {
    /// The MGS's UUID; empty before the store was initialised.
    pub fn uuid(&self) -> &str {
        self.mgs.as_ref().map_or("", |mgs| &mgs.value.uuid)
    }

    /// The version of what is in the store; a store that has none yet gets this program's.
    pub fn version(&self) -> u32 {
        self.mgs.as_ref().map_or(STATE_VERSION, |mgs| mgs.value.version)
    }

    /// Whether nodemaps are in force.
    pub fn nodemaps_active(&self) -> bool {
        self.nodemaps_active.as_ref().is_some_and(|active| active.value.active)
    }

    /// The targets of a file system, of all kinds or of one.
    pub fn targets_of(
        &self,
        fsname: &FsName,
        kind: Option<TargetKind>,
    ) -> impl Iterator<Item = (&SvName, &Object<TargetRecord>)> {
        let first = kind.unwrap_or(TargetKind::Mdt);
        let last = kind.unwrap_or(TargetKind::Ost);
        let bound = |kind, index: u16| SvName::new(fsname.clone(), kind, index_of(index));
        self.targets.range(bound(first, 0)..=bound(last, TargetIndex::MAX))
    }

    /// The lowest index that no target has or had; `busy` names are about to be taken by requests under way.
    pub fn free_index(&self, fsname: &FsName, kind: TargetKind, busy: &BTreeSet<SvName>) -> Option<TargetIndex> {
        let retired = self.retired.get(fsname).map(|retired| &retired.value);
        let is_free = |svname: &SvName| {
            !self.targets.contains_key(svname)
                // Kept for a target that a job is about to make.
                && !self.holds.contains_key(&JobObject::Target(svname.clone()))
                && !busy.contains(svname)
                && !retired.is_some_and(|retired| retired.contains(svname))
        };
        // Targets are in order: the first gap is found without asking for each index.
        let taken = self.targets_of(fsname, Some(kind)).filter_map(|(svname, _)| svname.index());
        let mut candidate = 0;
        let mut taken = taken.map(TargetIndex::get).peekable();
        while candidate <= TargetIndex::MAX {
            if taken.next_if(|index| *index == candidate).is_none()
                && is_free(&SvName::new(fsname.clone(), kind, index_of(candidate)))
            {
                return Some(index_of(candidate));
            }
            candidate += 1;
        }
        None
    }

    /// The target on a device of a node, by a path that the target was described with or by the name of its claim.
    pub fn target_on(&self, node: &NodeName, paths: &[&str]) -> Option<(&SvName, &Object<TargetRecord>)> {
        let from = (node.clone(), String::new());
        let claims = self.devices.range(from..).take_while(|((owner, _), _)| owner == node);
        for ((_, device), svname) in claims {
            let Some((svname, target)) = self.targets.get_key_value(&svname.value) else { continue };
            if paths.iter().any(|path| path == device || *path == target.value.spec.device) {
                return Some((svname, target));
            }
        }
        None
    }

    /// A config log by its full name, as in `scratch-client` or `params`.
    pub fn log(&self, name: &str) -> Option<&Arc<ConfigLog>> {
        if name == names::PARAMS {
            return self.logs.get(&None)?.log(name);
        }
        let fsname = name.rsplit_once('-')?.0.parse().ok()?;
        self.logs.get(&Some(fsname))?.log(name)
    }

    /// A config log by [`ConfigLog::id`].
    pub fn log_by_id(&self, id: u64) -> Option<&Arc<ConfigLog>> {
        self.logs.values().find_map(|logs| logs.by_id(id))
    }

    /// The config logs of a file system by name; `params` for none.
    pub fn logs_of(&self, fsname: Option<&FsName>) -> impl Iterator<Item = &Arc<ConfigLog>> {
        self.logs.get(&fsname.cloned()).into_iter().flat_map(FsLogs::iter)
    }

    /// The running targets of a file system. `None` when there is no such file system.
    pub fn nid_table(&self, fsname: &FsName) -> Option<NidTable<'_>> {
        let version = self.nid_tables.get(fsname).map(|table| table.value.version);
        if version.is_none() && self.logs.get(&Some(fsname.clone())).is_none_or(FsLogs::is_empty) {
            return None;
        }
        let bound = |kind, index: u16| SvName::new(fsname.clone(), kind, index_of(index));
        let all = self.nid_rows.range(bound(TargetKind::Mdt, 0)..=bound(TargetKind::Ost, TargetIndex::MAX));
        let mut rows: Vec<_> = all.map(|(svname, row)| (svname, &row.value)).collect();
        rows.sort_by_key(|(_, row)| row.version);
        Some(NidTable { version: version.unwrap_or(NidTable::FIRST_VERSION), rows })
    }

    /// The job that is at work on a target, or on its whole file system.
    pub fn active_job(&self, svname: &SvName) -> Option<&Object<JobRecord>> {
        self.job_on(&JobObject::Target(svname.clone()))
    }

    /// The job that is at work on an object, or on the file system that it is a part of.
    pub fn job_on(&self, object: &JobObject) -> Option<&Object<JobRecord>> {
        let is_open = |job: &&Object<JobRecord>| !job.value.job.state.is_final();
        let holder = |object: &JobObject| self.jobs.get(&self.holds.get(object)?.value).filter(is_open);
        // What is set on nodes stands in nobody's way, and nobody in its.
        let is_part = !matches!(object, JobObject::Param(_));
        let whole = || holder(&JobObject::Filesystem(object.fsname().filter(|_| is_part)?.clone()));
        // A job of the first version holds nothing; the target names it.
        let named = || match object {
            JobObject::Target(svname) => self.jobs.get(self.targets.get(svname)?.value.job.as_ref()?).filter(is_open),
            _ => None,
        };
        holder(object).or_else(whole).or_else(named)
    }

    /// The jobs that are not over.
    pub fn open_jobs(&self) -> impl Iterator<Item = &Object<JobRecord>> {
        self.open_jobs.iter().filter_map(|id| self.jobs.get(id))
    }
}

impl NidTable<'_> {
    /// The version of a table that never had a row.
    pub const FIRST_VERSION: u64 = 2;
}

fn index_of(index: u16) -> TargetIndex {
    TargetIndex::try_from(u32::from(index)).expect("at most TargetIndex::MAX: callers stop there")
}
