//! What is shown of the state: the API's objects, made from records.

use std::collections::BTreeSet;

use lustre_api::filesystem::{Filesystem, FilesystemSpec, FilesystemState};
use lustre_api::job::Job;
use lustre_api::log::{Log, LogInfo, LogMarker, LogRecord};
use lustre_api::mgs::{LiveParams, MgsInfo, ProofByKey, Snapshot};
use lustre_api::node::Node;
use lustre_api::param::{Param, ParamSpec};
use lustre_api::pool::Pool;
use lustre_api::target::{Target, TargetState};
use lustre_api::{Time, Written};
use lustre_plan::naming;
use lustre_types::{FsName, NodeName, PoolName, SvName, TargetKind, mount_source};

use lustre_wire::llog::{LustreCfg, Marker, command, nid8_text};

use crate::configlog::ConfigLog;
use crate::decide::Env;
use crate::key::ParamKey;
use crate::record::{JobRecord, NodeRecord, ParamRecord, PoolRecord, TargetRecord};
use crate::state::State;

/// Most of a job's `version` that progress may take before the next commit; the rest is the revision.
const PROGRESS_BITS: u32 = 20;

/// The MGS; whoever has the store knows how it is.
pub fn mgs(state: &State, env: &Env) -> MgsInfo {
    MgsInfo {
        uuid: state.uuid().to_owned(),
        version: env.version.clone(),
        nids: env.mgs_nids.clone(),
        capabilities: env.capabilities.clone(),
        store: env.store.clone(),
        revision: state.revision,
        epoch: state.mgs.as_ref().map_or(0, |mgs| mgs.value.epoch),
        state_version: state.version(),
        duties: Vec::new(),
        instances: Vec::new(),
        store_error: None,
    }
}

/// Everything but the nodes, of one file system or of all: who talks to the nodes adds them.
pub fn snapshot(state: &State, env: &Env, fsname: Option<&FsName>) -> Snapshot {
    let wanted = |of: Option<&FsName>| fsname.is_none() || fsname == of;
    let filesystems = state.filesystems.iter().filter(|(name, _)| wanted(Some(name)));
    let targets = state.targets.iter().filter(|(svname, _)| wanted(svname.fsname()));
    let params = state.params.iter().filter(|(key, _)| wanted(key.filesystem.as_ref()));
    let pools = state.pools.iter().filter(|((fsname, _), _)| wanted(Some(fsname)));
    let nodemaps = crate::decide::nodemap::list(state);
    Snapshot {
        revision: state.revision,
        mgs: mgs(state, env),
        filesystems: filesystems.map(|(_, fs)| filesystem(state, env, &fs.value, fs.revision)).collect(),
        targets: targets.map(|(svname, t)| target(state, svname, &t.value, t.revision)).collect(),
        params: params.map(|(key, p)| param(key, &p.value, p.revision)).collect(),
        pools: pools.map(|((fsname, name), p)| pool(fsname, name, &p.value, p.revision)).collect(),
        nodemaps: nodemaps.items,
        nodemaps_active: nodemaps.active,
        nodemaps_confirm_until: nodemaps.confirm_until,
        nodes: Vec::new(),
        live_params: LiveParams::new(),
        param_proofs: ProofByKey::new(),
        removals: state.removed.iter().map(|(key, removed)| (key.key().object(), removed.value.until)).collect(),
    }
}

/// A file system and the state that follows from its targets.
pub fn filesystem(state: &State, env: &Env, spec: &FilesystemSpec, revision: u64) -> Filesystem {
    let (mut mdt_count, mut ost_count, mut capacity_bytes) = (0, 0, 0u64);
    let (mut has_mdt0, mut targets, mut failed, mut stopped) = (false, 0, None, Vec::new());
    for (svname, target) in state.targets_of(&spec.name, None) {
        targets += 1;
        let target = &target.value;
        if target.state == TargetState::Failed {
            failed = failed.or(Some(svname));
        }
        if target.state == TargetState::Stopped {
            stopped.push(svname);
        }
        if !target.state.is_registered() {
            continue;
        }
        match svname.kind() {
            TargetKind::Ost => {
                ost_count += 1;
                capacity_bytes = capacity_bytes.saturating_add(target.size_bytes.unwrap_or(0));
            }
            _ => {
                mdt_count += 1;
                has_mdt0 |= svname.index().is_some_and(|index| index.get() == 0);
            }
        }
    }
    let (fs_state, state_reason) = match failed {
        _ if targets == 0 => (FilesystemState::Empty, "it has no target".to_owned()),
        Some(svname) => (FilesystemState::Incomplete, format!("{svname} failed; read that target's state_reason")),
        None if !has_mdt0 => (FilesystemState::Incomplete, format!("{}-MDT0000 is not registered", spec.name)),
        None if ost_count == 0 => (FilesystemState::Incomplete, "no OST is registered".to_owned()),
        None => {
            let registered = format!("{mdt_count} MDT and {ost_count} OST are registered");
            (FilesystemState::Ready, registered + &but_stopped(&stopped))
        }
    };
    Filesystem {
        id: format!("{}/{}", state.uuid(), spec.name),
        mount_source: env.mgs_nids.as_ref().map(|nids| mount_source(nids, &spec.name)),
        spec: spec.clone(),
        state: fs_state,
        state_reason,
        mdt_count,
        ost_count,
        capacity_bytes,
        revision,
    }
}

/// Which of a file system's targets are stopped: named, where they are few.
fn but_stopped(stopped: &[&SvName]) -> String {
    match stopped {
        [] => String::new(),
        [one] => format!("; {one} is stopped"),
        [one, other] => format!("; {one} and {other} are stopped"),
        [first, .., last] => format!("; {} are stopped, {first} to {last}", stopped.len()),
    }
}

/// A target.
pub fn target(state: &State, svname: &SvName, record: &TargetRecord, revision: u64) -> Target {
    let fsname = record.spec.filesystem.as_ref().map_or("-", FsName::as_str);
    Target {
        id: format!("{}/{fsname}/{svname}", state.uuid()),
        svname: svname.clone(),
        spec: record.spec.clone(),
        state: record.state,
        state_reason: record.state_reason.clone(),
        label: record.label.clone(),
        uuid: record.uuid.clone(),
        size_bytes: record.size_bytes,
        formatted_over: record.formatted_over.clone(),
        nids: record.nids.clone(),
        runs_on: record.runs_on.clone(),
        job: record.job.clone(),
        reserved_until: record.reserved_until,
        confirm_until: {
            let nids = record.confirm_nids.as_ref().map(|waits| waits.until);
            record.confirm.as_ref().map(|waits| waits.until).into_iter().chain(nids).min()
        },
        revision,
    }
}

/// A tunable.
pub fn param(key: &ParamKey, record: &ParamRecord, revision: u64) -> Param {
    Param {
        spec: ParamSpec {
            filesystem: key.filesystem.clone(),
            scope: key.scope.clone(),
            name: key.name.clone(),
            value: record.value.clone(),
            allow_unknown: record.allow_unknown,
        },
        id: key.to_string(),
        canonical_name: naming::set_param(key.filesystem.as_ref(), &key.scope, &key.name),
        confirm_until: record.confirm.as_ref().map(|pending| pending.until),
        conf_param_name: naming::conf_param(key.filesystem.as_ref(), &key.scope, &key.name),
        revision,
    }
}

/// A pool.
pub fn pool(fsname: &FsName, name: &PoolName, record: &PoolRecord, revision: u64) -> Pool {
    Pool {
        filesystem: fsname.clone(),
        name: name.clone(),
        members: record.members.clone(),
        id: format!("{fsname}.{name}"),
        revision,
    }
}

/// A node; who talks to it knows when it was last heard of.
pub fn node(name: &NodeName, record: &NodeRecord, revision: u64, last_seen: Option<Time>, is_alive: bool) -> Node {
    Node {
        name: name.clone(),
        api_url: record.api_url.clone(),
        info: record.info.clone(),
        enrolled: record.enrolled,
        settings: record.settings.clone(),
        last_seen,
        is_alive,
        revision,
    }
}

/// A job; `progress` counts what happened to it since its last commit, so that `version` grows with both.
pub fn job(record: &JobRecord, revision: u64, progress: u32) -> Job {
    let mut job = record.job.clone();
    job.version = (revision << PROGRESS_BITS) + u64::from(progress.min((1 << PROGRESS_BITS) - 1));
    job
}

/// How often a job had news since its last commit, of its `version`.
pub fn news_count(version: u64) -> u32 {
    u32::try_from(version & ((1 << PROGRESS_BITS) - 1)).expect("20 bits fit")
}

/// A config log without its records.
pub fn log_info(fsname: Option<&FsName>, log: &ConfigLog) -> LogInfo {
    LogInfo {
        name: log.name().to_owned(),
        fsname: fsname.cloned(),
        size_bytes: log.size() as u64,
        record_count: log.header().count - 1,
        last_index: log.last_index(),
        created: seconds(log.header().timestamp),
        revision: log.revision(),
    }
}

/// A config log with its records.
pub fn log(log: &ConfigLog) -> Log {
    let fsname = log.name().rsplit_once('-').and_then(|(fsname, _)| fsname.parse().ok());
    let file = log.file();
    let effective: BTreeSet<u32> = file.effective().into_iter().map(|(index, ..)| index).collect();
    let records = file.records.iter().filter_map(|record| {
        let cfg = record.config()?.ok()?;
        Some(log_record(record.index, &cfg, effective.contains(&record.index)))
    });
    Log { info: log_info(fsname.as_ref(), log), records: records.collect() }
}

fn log_record(index: u32, cfg: &LustreCfg, effective: bool) -> LogRecord {
    let marker = Marker::of(cfg).and_then(Result::ok);
    let texts = (1..cfg.bufs.len()).map(|at| cfg.text(at).into_owned());
    LogRecord {
        index,
        event: command::name(cfg.command).map_or_else(|| format!("{:#x}", cfg.command), str::to_owned),
        effective,
        device: Some(cfg.text(0).into_owned()).filter(|device| !device.is_empty()),
        values: if marker.is_some() { Vec::new() } else { texts.collect() },
        nid: (cfg.nid != 0).then(|| nid8_text(cfg.nid)),
        num: (cfg.num != 0).then_some(cfg.num),
        marker: marker.map(|marker| LogMarker {
            step: marker.step,
            flags: marker.flags.0,
            target: marker.target().into_owned(),
            comment: marker.comment().into_owned(),
            created: seconds(marker.created),
            canceled: (marker.canceled != 0).then(|| seconds(marker.canceled)),
        }),
    }
}

fn seconds(seconds: u64) -> Time {
    Time::from_unix_ms(seconds.saturating_mul(1000))
}

/// A reply that shows the revision of the commit that it reports; filled in once that is known.
pub trait Stamp {
    /// The commit that the reply reports has this revision.
    fn stamp(&mut self, revision: u64);
}

macro_rules! stamp_revision {
    ($($object:ty),+) => { $( impl Stamp for $object {
        fn stamp(&mut self, revision: u64) {
            self.revision = revision;
        }
    } )+ };
}
stamp_revision!(Filesystem, Target, Param, Pool, Node);

impl Stamp for lustre_api::target::Reservation {
    fn stamp(&mut self, revision: u64) {
        self.target.stamp(revision);
    }
}

impl Stamp for lustre_api::proof::ParamsDiff {
    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }
}

impl Stamp for lustre_api::param_set::ParamSet {
    fn stamp(&mut self, revision: u64) {
        for param in self.items.iter_mut().filter(|param| param.revision == 0) {
            param.stamp(revision);
        }
        self.revision = revision;
    }
}

impl Stamp for lustre_api::nodemap::Nodemap {
    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }
}

impl Stamp for lustre_api::nodemap::Nodemaps {
    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
    }
}

/// The answer of what only notes something.
impl Stamp for u64 {
    fn stamp(&mut self, revision: u64) {
        *self = revision;
    }
}

impl Stamp for Job {
    fn stamp(&mut self, revision: u64) {
        self.version = revision << PROGRESS_BITS;
    }
}

impl<T: Stamp> Stamp for Written<T> {
    fn stamp(&mut self, revision: u64) {
        self.revision = revision;
        if self.changed {
            self.object.stamp(revision);
        }
    }
}
