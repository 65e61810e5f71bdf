//! A store and a cluster in a few maps: commits decisions as a store would, and tells stories about nodes and devices.

#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::agent::{FormatCheck, NodeInfo, StartDriver};
use lustre_api::device::{Device, FormattedAs, Refusal, RefusalCode};
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::job::{FormatResult, JobId, JobState};
use lustre_api::node::Announcement;
use lustre_api::param::ParamSpec;
use lustre_api::pool::PoolSpec;
use lustre_api::target::{EnsureTarget, Register, Reservation, Reserve, Target, TargetSpec};
use lustre_api::{Problem, Time, Written};
use lustre_mgs_core::decide::{self, job};
use lustre_mgs_core::{Change, Compare, Decision, Env, Key, ParamKey, Request, State};
use lustre_types::{SvName, TargetKind};

/// The MGS's state with a store under it.
#[derive(Default)]
pub struct Sim {
    pub state: State,
    pub now_ms: u64,
    pub env: Env,
    keys: BTreeMap<String, u64>,
    seed: u8,
    logs: Vec<(u64, Change)>,
}

/// Somebody else's commit came first.
#[derive(Debug, PartialEq)]
pub struct Conflict;

impl Sim {
    /// An MGS with a NID, file system `scratch`, and nodes `oss1` (no Lustre) and `mds1` (with Lustre).
    pub fn new() -> Self {
        let mut sim = Self::default();
        sim.env.mgs_nids = Some("10.0.0.1@tcp".parse().unwrap());
        let req = sim.env_request();
        let decision = decide::mgs::init(&sim.state, &req);
        sim.commit(decision).unwrap();
        sim.node("oss1", StartDriver::None);
        sim.node("mds1", StartDriver::Kernel);
        sim.filesystem("scratch");
        sim
    }

    /// The same history once more.
    pub fn again(&self) -> Self {
        let (state, keys, logs) = (self.state.clone(), self.keys.clone(), self.logs.clone());
        Self { state, now_ms: self.now_ms, env: self.env.clone(), keys, seed: self.seed, logs }
    }

    pub fn env_request(&mut self) -> Request<'static> {
        self.seed = self.seed.wrapping_add(1);
        // Tests live shorter than their few leaked bytes matter.
        let env: &'static Env = Box::leak(Box::new(self.env.clone()));
        let now = Time::from_unix_ms(self.now_ms);
        Request { now, seed: [self.seed; 16], who: "uid:0", why: None, if_revision: None, job: None, plan: None, env }
    }

    /// Commits if every compare holds; every change goes through its stored form.
    pub fn commit<R>(&mut self, decision: Decision<R>) -> Result<R, Conflict> {
        for compare in &decision.compare {
            let holds = match compare {
                Compare::Object(key, revision) => self.keys.get(&key.to_string()).copied().unwrap_or(0) == *revision,
                Compare::Prefix(prefix, revision) => {
                    let mut below = self.keys.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(prefix));
                    below.all(|(_, written)| written <= revision)
                }
            };
            if !holds {
                return Err(Conflict);
            }
        }
        assert!(decision.compare.len() <= 128 && decision.changes.len() <= 128, "more than a store takes");
        if decision.changes.is_empty() {
            return Ok(decision.reply);
        }
        let revision = self.state.revision + 1;
        let mut written = BTreeSet::new();
        for change in decision.changes {
            let (key, value) = change.encode();
            assert!(value.as_ref().is_none_or(|value| value.len() <= 512 * 1024), "{key} is larger than a store takes");
            assert!(written.insert(key.clone()), "{key} is written twice in one commit");
            assert_eq!(Change::decode(&key, value.as_deref()).unwrap(), change, "reads back as it was written");
            match value {
                Some(_) => drop(self.keys.insert(key, revision)),
                None => drop(self.keys.remove(&key)),
            }
            if let Key::Log(..) = change.key {
                self.logs.push((revision, change.clone()));
            }
            self.state.apply(revision, change);
        }
        self.state.advance(revision);
        Ok(decision.reply)
    }

    pub fn node(&mut self, node: &str, start_driver: StartDriver) {
        self.booted(node, start_driver, "1");
    }

    /// The node's agent announces itself, in this boot of the node.
    pub fn booted(&mut self, node: &str, start_driver: StartDriver, boot_id: &str) {
        self.announce(node, start_driver, boot_id, "10.0.0.2@tcp");
    }

    /// A node with this NID.
    pub fn node_at(&mut self, node: &str, start_driver: StartDriver, nid: &str) {
        self.announce(node, start_driver, "1", nid);
    }

    fn announce(&mut self, node: &str, start_driver: StartDriver, boot_id: &str, nid: &str) {
        let info = NodeInfo {
            node: node.parse().unwrap(),
            agent_version: "0".into(),
            boot_id: boot_id.into(),
            kernel: "6".into(),
            lustre: None,
            e2fsprogs: None,
            missing_features: vec![],
            start_driver,
            nids: vec![nid.parse().unwrap()],
            kernel_proxy: None,
            abilities: Some(lustre_api::ability::ABILITIES.map(str::to_owned).into()),
            hostid: None,
        };
        let announcement = Announcement { api_url: "http://10.0.0.2:7080".into(), info };
        let req = self.env_request();
        let decision = decide::node::announce(&self.state, &req, &node.parse().unwrap(), announcement).unwrap();
        self.commit(decision).unwrap();
    }

    pub fn filesystem(&mut self, name: &str) {
        let spec = FilesystemSpec { name: name.parse().unwrap(), description: None };
        let req = self.env_request();
        let decision = decide::filesystem::put_filesystem(&self.state, &req, &name.parse().unwrap(), spec).unwrap();
        self.commit(decision).unwrap();
    }

    /// A target of `gold` with this index and these partner nodes, on a device of its own, made and registered by a job.
    pub fn gold(&mut self, short: &str, failover: &[&str]) {
        let svname: SvName = format!("gold-{short}").parse().unwrap();
        let device = format!("/dev/{short}");
        let spec = TargetSpec {
            kind: svname.kind(),
            filesystem: svname.fsname().cloned(),
            index: svname.index(),
            failover_nodes: failover.iter().map(|nodes| nodes.parse().unwrap()).collect(),
            ..ost("oss1", &device)
        };
        let job = self.ensure(ensure(spec), blank(&device)).unwrap().job.unwrap();
        self.run(&job);
    }

    pub fn reserve(&mut self, spec: TargetSpec) -> Result<Written<Reservation>, Problem> {
        let req = self.env_request();
        let body = Reserve { target: spec, ttl_s: Some(60) };
        let decision = decide::reserve::reserve(&self.state, &req, body, &BTreeSet::new())?;
        Ok(self.commit(decision).unwrap())
    }

    pub fn register(&mut self, svname: &SvName, token: &str, uuid: &str) -> Result<Written<Target>, Problem> {
        let req = self.env_request();
        let label = svname.to_string().replacen('-', ":", 1);
        let body = Register { token: token.into(), label, uuid: uuid.into(), size_bytes: 1 << 30, nids: vec![] };
        let decision = decide::register::register(&self.state, &req, svname, body)?;
        Ok(self.commit(decision).unwrap())
    }

    pub fn ensure(&mut self, body: EnsureTarget, device: Device) -> Result<Written<Target>, Problem> {
        let req = self.env_request();
        let seen = check(device);
        let decision = decide::target::ensure(&self.state, &req, body, Some(&seen), &BTreeSet::new())?;
        Ok(self.commit(decision).unwrap())
    }

    pub fn deregister(&mut self, svname: &SvName) -> Result<Written<Target>, Problem> {
        let req = self.env_request();
        let decision = decide::lifecycle::deregister(&self.state, &req, svname)?;
        Ok(self.commit(decision).unwrap())
    }

    pub fn cancel(&mut self, id: &JobId) -> lustre_api::job::Job {
        let req = self.env_request();
        let decision = job::cancel(&self.state, &req, id).unwrap();
        self.commit(decision).unwrap()
    }

    /// Runs a job as the runner does, with agents that do what they are asked; gives the steps that they were handed.
    pub fn run(&mut self, id: &JobId) -> Vec<String> {
        let mut handed = Vec::new();
        loop {
            let record = job::get(&self.state, id).unwrap().value.clone();
            let work = job::work_of(&self.state, &record);
            if work.is_empty() {
                return handed;
            }
            for work in work {
                match work {
                    job::Work::Begin { .. } => self.begin(id),
                    job::Work::Hand(hand) => {
                        handed.push(format!("{} {}", hand.node, hand.agent_id));
                        let outcome = if hand.cancel { JobState::Cancelled } else { JobState::Done };
                        let svname = record.job.svname_of(hand.step);
                        self.end(id, hand.step, outcome, svname.map(|svname| formatted(svname, "u1")));
                    }
                    job::Work::Settle(id) => {
                        let req = self.env_request();
                        let decision = job::settle(&self.state, &req, &id).unwrap();
                        self.commit(decision).unwrap();
                    }
                    job::Work::Cancel(id) => drop(self.cancel(&id)),
                }
            }
        }
    }

    /// Begins every step whose turn it is; one, where the MGS does it itself.
    pub fn begin(&mut self, id: &JobId) {
        let req = self.env_request();
        let decision = job::begin(&self.state, &req, id, &(0..job::MAX_STEPS).collect::<Vec<_>>()).unwrap();
        self.commit(decision).unwrap();
    }

    pub fn end(&mut self, id: &JobId, step: usize, state: JobState, formatted: Option<FormatResult>) {
        let req = self.env_request();
        let end = job::StepEnd { formatted, ..job::StepEnd::new(state, None) };
        let decision = job::end(&self.state, &req, id, step, end).unwrap();
        self.commit(decision).unwrap();
    }

    /// Sets a tunable; an empty value unsets it.
    pub fn param(&mut self, id: &str, value: &str) -> Vec<String> {
        let Key::Param(key) = format!("param/{id}").parse().unwrap() else { panic!("{id}") };
        let req = self.env_request();
        let ParamKey { filesystem, scope, name } = key.clone();
        let decision = if value.is_empty() {
            decide::param::delete_param(&self.state, &req, &key, None).unwrap()
        } else {
            let spec = ParamSpec { filesystem, scope, name, value: value.into(), allow_unknown: true };
            decide::param::put_param(&self.state, &req, &key, &spec).unwrap()
        };
        self.commit(decision).unwrap().warnings
    }

    /// Gives a pool these members; removes it for none.
    pub fn pool(&mut self, fsname: &str, pool: &str, members: Option<&[&str]>) {
        let (fsname, name) = (fsname.parse().unwrap(), pool.parse().unwrap());
        let req = self.env_request();
        let decision = match members {
            Some(members) => {
                let members = members.iter().map(|member| (*member).to_owned()).collect();
                let spec = PoolSpec { filesystem: fsname, name, members };
                decide::pool::put_pool(&self.state, &req, &spec.filesystem, &spec.name, &spec).unwrap()
            }
            None => decide::pool::delete_pool(&self.state, &req, &fsname, &name).unwrap(),
        };
        self.commit(decision).unwrap();
    }

    /// Every change of config logs so far, with its revision, as the store has it.
    pub fn log_changes(&self) -> Vec<(u64, Change)> {
        self.logs.clone()
    }

    /// As if the state were of a version that had no config logs.
    pub fn forget_logs(&mut self) {
        self.state.logs.clear();
        self.keys.retain(|key, _| !key.starts_with("log/"));
    }

    /// What a plan is computed against; nobody looks at devices.
    pub fn snapshot(&self) -> lustre_api::mgs::Snapshot {
        let mut snapshot = lustre_mgs_core::view::snapshot(&self.state, &self.env, None);
        for (name, node) in &self.state.nodes {
            let node = lustre_mgs_core::view::node(name, &node.value, node.revision, None, true);
            snapshot.nodes.push(lustre_api::node::LiveNode { node, inventory: None, unreachable: None });
        }
        snapshot
    }

    pub fn target(&self, svname: &str) -> &lustre_mgs_core::TargetRecord {
        &self.state.targets[&svname.parse::<SvName>().unwrap()].value
    }
}

/// An OST of `scratch` on a device.
pub fn ost(node: &str, device: &str) -> TargetSpec {
    TargetSpec::new(TargetKind::Ost, Some("scratch".parse().unwrap()), node.parse().unwrap(), device)
}

pub fn with_index(spec: TargetSpec, index: u32) -> TargetSpec {
    TargetSpec { index: Some(index.try_into().unwrap()), ..spec }
}

pub fn ensure(target: TargetSpec) -> EnsureTarget {
    target.into()
}

pub fn blank(path: &str) -> Device {
    Device::blank(path, 1 << 30)
}

/// A device that the agent says no to.
pub fn refused(path: &str, content: &str, code: RefusalCode) -> Device {
    let refusals = vec![Refusal { code, message: format!("{path} holds {content}") }];
    Device { content: content.into(), refusals, ..blank(path) }
}

/// A device with a registered target on it.
pub fn holding(path: &str, svname: &str, uuid: &str) -> Device {
    let formatted_as = FormattedAs { registered: true, ..formatted(&svname.parse().unwrap(), uuid).formatted_as };
    let content = format!("lustre {svname} (registered)");
    Device { formatted_as: Some(formatted_as), ..refused(path, &content, RefusalCode::LustreTarget) }
}

pub fn formatted(svname: &SvName, uuid: &str) -> FormatResult {
    let formatted_as = FormattedAs {
        svname: svname.clone(),
        label: svname.to_string().replacen('-', ":", 1),
        kind: svname.kind(),
        fsname: svname.fsname().cloned(),
        index: svname.index(),
        flags: 0,
        registered: false,
        incomplete: false,
        uuid: uuid.into(),
        mgs_nids: None,
        failover_nodes: vec![],
        mount_options: String::new(),
        params: BTreeMap::new(),
        comment: String::new(),
        size_bytes: 1 << 30,
    };
    FormatResult { formatted_as, formatted_over: "blank".into(), changed: true, missing_features: vec![] }
}

pub fn check(device: Device) -> FormatCheck {
    FormatCheck { device, is_same: false, refusals: vec![], command: vec![], missing_features: vec![] }
}
