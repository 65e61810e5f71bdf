//! Instances on one store, callers that use them, and what happens to both. Everything follows from a seed.

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::Time;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::param::ParamSpec;
use lustre_api::pool::PoolSpec;
use lustre_api::target::{Reserve, TargetSpec};
use lustre_mgs_core::decide::target_reg::target_reg;
use lustre_mgs_core::serve::{Announcement, RegistrationRequest};
use lustre_mgs_core::{Decision, Env, ParamKey, Request, State, decide};
use lustre_types::{FsName, Nid, SvName};
use lustre_wire::mgs::target_flag as flag;

use super::store::Store;

const INSTANCES: usize = 3;
const CALLERS: usize = 6;
/// OSTs that callers register over LNet; several want each index.
const INDICES: u64 = 8;

/// SplitMix64.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.below(u64::try_from(count).unwrap())).unwrap()
    }
}

/// What a caller wants.
#[derive(Clone, Debug)]
enum Wish {
    Reserve { device: String },
    Register { index: u64, nid: String },
    Ready { index: u64, nid: String, instance: u32 },
    Timeout { value: u64 },
    Describe { value: u64 },
    Pool { index: u64 },
}

/// What it is told.
#[derive(Clone, Debug)]
enum Told {
    Reserved { svname: SvName, device: String },
    Registered { svname: SvName, nid: String },
    Done,
}

/// A request under way: decided, not committed yet.
struct Pending {
    at: usize,
    wish: Wish,
    decision: Decision<Told>,
}

struct Instance {
    /// `None` while it is dead.
    state: Option<State>,
    env: Env,
    /// Until then it hears nothing of the store, and what it sends gets lost.
    cut_until: u64,
}

/// The whole of it.
pub(crate) struct World {
    random: Random,
    /// Simulated time.
    pub(crate) now_ms: u64,
    pub(crate) store: Store,
    instances: Vec<Instance>,
    callers: Vec<Option<Pending>>,
    /// The state as it is at the store's head.
    truth: State,
    /// Acknowledged reservations: name and device.
    reserved: BTreeMap<SvName, String>,
    /// Acknowledged registrations: name and NID.
    registered: BTreeMap<SvName, String>,
    /// Index of the last record of each config log.
    ends: BTreeMap<String, u32>,
    devices: u64,
}

fn scratch() -> FsName {
    "scratch".parse().unwrap()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let instance = |at: usize| {
            let mut nids: Vec<String> = (0..INSTANCES).map(|n| format!("10.0.0.{}@tcp", n + 1)).collect();
            nids.rotate_left(at);
            let env = Env { mgs_nids: Some(nids.join(":").parse().unwrap()), ..Env::default() };
            Instance { state: Some(State::default()), env, cut_until: 0 }
        };
        Self {
            random: Random(seed),
            now_ms: 1_800_000_000_000,
            store: Store::default(),
            instances: (0..INSTANCES).map(instance).collect(),
            callers: (0..CALLERS).map(|_| None).collect(),
            truth: State::default(),
            reserved: BTreeMap::new(),
            registered: BTreeMap::new(),
            ends: BTreeMap::new(),
            devices: 0,
        }
    }

    /// One event, whatever the seed says.
    pub(crate) fn step(&mut self) {
        self.now_ms += 1 + self.random.below(10);
        match self.random.below(1000) {
            0..=399 => self.call(),
            400..=949 => self.deliver(),
            950..=964 => self.crash(),
            965..=989 => self.restart(),
            _ => {
                let at = self.random.pick(INSTANCES);
                self.instances[at].cut_until = self.now_ms + self.random.below(3000);
            }
        }
    }

    fn deliver(&mut self) {
        let at = self.random.pick(INSTANCES);
        let instance = &mut self.instances[at];
        let Some(state) = &mut instance.state else { return };
        if instance.cut_until > self.now_ms || state.revision == self.store.head() {
            return;
        }
        self.store.deliver(state);
        if state.revision == self.store.head() && self.random.below(8) == 0 {
            assert!(*state == self.truth, "instance {at} has another state at revision {}", state.revision);
        }
    }

    fn crash(&mut self) {
        let at = self.random.pick(INSTANCES);
        self.instances[at].state = None;
        // Nobody knows what became of the requests that it had.
        for caller in &mut self.callers {
            if caller.as_ref().is_some_and(|pending| pending.at == at) {
                *caller = None;
            }
        }
    }

    fn restart(&mut self) {
        self.now_ms += self.random.below(500);
        let at = self.random.pick(INSTANCES);
        if self.instances[at].state.is_none() {
            let state = self.store.load();
            assert!(state == self.truth, "who starts at revision {} has another state", state.revision);
            self.instances[at].state = Some(state);
        }
    }

    /// A caller asks, or its request goes on.
    fn call(&mut self) {
        let caller = self.random.pick(CALLERS);
        match self.callers[caller].take() {
            None => {
                let (at, wish) = (self.random.pick(INSTANCES), self.wish());
                self.callers[caller] = self.decide(at, wish);
            }
            Some(pending) => self.callers[caller] = self.commit(pending),
        }
    }

    fn wish(&mut self) -> Wish {
        let nid = format!("10.1.0.{}@tcp", 1 + self.random.below(6));
        let index = self.random.below(INDICES);
        match self.random.below(12) {
            0..=3 => {
                self.devices += 1;
                Wish::Reserve { device: format!("/dev/d{}", self.devices) }
            }
            4..=6 => Wish::Register { index, nid },
            7 | 8 => {
                let instance = 1 + u32::try_from(self.random.below(5)).unwrap();
                Wish::Ready { index, nid, instance }
            }
            9 => Wish::Timeout { value: 1 + self.random.below(1000) },
            10 => Wish::Describe { value: self.random.next() },
            _ => Wish::Pool { index },
        }
    }

    /// Decides a wish on what an instance knows. Nothing where it is dead, refuses, or there is nothing to change.
    fn decide(&mut self, at: usize, wish: Wish) -> Option<Pending> {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.random.next().to_le_bytes());
        let instance = &self.instances[at];
        let state = instance.state.as_ref()?;
        let now = Time::from_unix_ms(self.now_ms);
        let env = &instance.env;
        let req = Request { now, seed, who: "sim", why: None, if_revision: None, job: None, plan: None, env };
        let decision = decided(state, &req, &wish)?;
        (!decision.changes.is_empty()).then_some(Pending { at, wish, decision })
    }

    /// Sends a decision to the store.
    fn commit(&mut self, pending: Pending) -> Option<Pending> {
        let Pending { at, wish, decision } = pending;
        // The instance died, or its message got lost: nobody knows, and here it was not done.
        if self.instances[at].state.is_none() || self.instances[at].cut_until > self.now_ms {
            return None;
        }
        if self.store.commit(&decision.compare, &decision.changes).is_none() {
            // Somebody was faster: the instance learns of it, and decides again.
            let state = self.instances[at].state.as_mut().expect("it lives: that was checked");
            while state.revision < self.store.head() {
                self.store.deliver(state);
            }
            return self.decide(at, wish);
        }
        self.store.deliver(&mut self.truth);
        self.look_at_logs();
        // The answer may get lost, too.
        if self.random.below(10) > 0 {
            self.acknowledge(decision.reply);
        }
        None
    }

    /// No log ever gets shorter.
    fn look_at_logs(&mut self) {
        for log in self.truth.logs.values().flat_map(|logs| logs.iter()) {
            match self.ends.get_mut(log.name()) {
                None => drop(self.ends.insert(log.name().to_owned(), log.last_index())),
                Some(end) => {
                    assert!(log.last_index() >= *end, "{} ended at {end}, now at {}", log.name(), log.last_index());
                    *end = log.last_index();
                }
            }
        }
    }

    fn acknowledge(&mut self, told: Told) {
        match told {
            Told::Reserved { svname, device } => {
                let before = self.reserved.insert(svname.clone(), device.clone());
                assert!(before.is_none(), "{svname} was given to {before:?} and to {device}");
            }
            Told::Registered { svname, nid } => {
                let before = self.registered.insert(svname.clone(), nid.clone());
                assert!(before.is_none_or(|before| before == nid), "{svname} is registered twice, now at {nid}");
            }
            Told::Done => {}
        }
    }

    /// Everything settles: all live and hear of all, and have the same.
    pub(crate) fn settle(&mut self) {
        for instance in &mut self.instances {
            let state = instance.state.get_or_insert_with(|| self.store.load());
            while state.revision < self.store.head() {
                self.store.deliver(state);
            }
            assert!(*state == self.truth, "an instance that has heard of all has another state");
        }
        for (svname, device) in &self.reserved {
            let found = self.truth.targets.get(svname).map(|target| &target.value.spec.device);
            assert_eq!(found, Some(device), "{svname} was reserved for it");
        }
        let client = self.truth.log("scratch-client").map(|log| lustre_wire::llog::print(&log.file()));
        let client = client.unwrap_or_default();
        for (svname, nid) in &self.registered {
            let found = self.truth.targets.get(svname).expect("an acknowledged registration is there");
            assert_eq!(found.value.nids, [nid.parse::<Nid>().unwrap()], "{svname}");
            let added = format!("event: add_osc, device: scratch-clilov, ost: {svname}_UUID");
            assert_eq!(client.matches(&added).count(), 1, "{svname} is in the log once");
        }
    }

    /// How much was acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.reserved.len() + self.registered.len()
    }
}

fn decided(state: &State, req: &Request<'_>, wish: &Wish) -> Option<Decision<Told>> {
    let ost = |index: u64| -> SvName { format!("scratch-OST{:04x}", 0x100 + index).parse().unwrap() };
    Some(match wish {
        Wish::Reserve { device } => {
            let target: TargetSpec = serde_json::from_value(serde_json::json!({
                "kind": "ost", "filesystem": "scratch", "node": "oss1", "device": device,
            }))
            .unwrap();
            let body = Reserve { target, ttl_s: Some(604_800) };
            let decision = decide::reserve::reserve(state, req, body, &BTreeSet::new()).ok()?;
            decision.map(|written| Told::Reserved { svname: written.object.target.svname, device: device.clone() })
        }
        Wish::Register { index, nid } => register(state, req, &ost(*index), nid, None)?,
        Wish::Ready { index, nid, instance } => register(state, req, &ost(*index), nid, Some(*instance))?,
        Wish::Timeout { value } => {
            let name: lustre_types::ParamName = "timeout".parse().unwrap();
            let key = ParamKey { filesystem: Some(scratch()), scope: lustre_types::ParamScope::default(), name };
            let spec: ParamSpec = serde_json::from_value(
                serde_json::json!({"filesystem": "scratch", "name": "timeout", "value": value.to_string()}),
            )
            .unwrap();
            decide::param::put_param(state, req, &key, &spec).ok()?.map(|_| Told::Done)
        }
        Wish::Describe { value } => {
            let spec = FilesystemSpec { name: scratch(), description: Some(value.to_string()) };
            decide::filesystem::put_filesystem(state, req, &scratch(), spec).ok()?.map(|_| Told::Done)
        }
        Wish::Pool { index } => {
            let spec: PoolSpec = serde_json::from_value(
                serde_json::json!({"filesystem": "scratch", "name": "flash", "members": [ost(*index).to_string()]}),
            )
            .unwrap();
            let (fsname, pool) = (spec.filesystem.clone(), spec.name.clone());
            decide::pool::put_pool(state, req, &fsname, &pool, &spec).ok()?.map(|_| Told::Done)
        }
    })
}

fn register(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    nid: &str,
    instance: Option<u32>,
) -> Option<Decision<Told>> {
    let own: Nid = nid.parse().unwrap();
    let operation = if instance.is_some() { flag::OPC_READY } else { flag::OPC_REG | flag::VIRGIN | flag::UPDATE };
    let asked = RegistrationRequest {
        svname: svname.clone(),
        flags: operation | flag::LARGE_NID | flag::OST,
        from: (&own).into(),
        nids: vec![own],
        params: Vec::new(),
        client: format!("mgc-of-{nid}"),
        ready: instance.map(|instance| Announcement { instance, append: false, forget: None }),
    };
    let decision = target_reg(state, req, &asked).ok()?;
    // A refusal changes nothing.
    let is_registration = instance.is_none() && decision.reply.is_ok();
    let told = Told::Registered { svname: svname.clone(), nid: nid.to_owned() };
    Some(decision.map(|_| if is_registration { told } else { Told::Done }))
}
