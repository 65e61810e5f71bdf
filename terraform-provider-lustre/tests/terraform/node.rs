//! A node whose devices exist in memory only, so that every state of a device can be had. It speaks the agent's API over
//! HTTP to a real MGS. The real agent on real devices is tested in `tests/`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lustre_api::agent::{
    AgentJob, AgentOp, CancelAgentJob, CheckFormat, FormatCheck, FormatOp, GetAgentJob, GetInventory, Inventory,
    NodeInfo, PutAgentJob, StartDriver,
};
use lustre_api::device::{Device, FormattedAs, Refusal, RefusalCode};
use lustre_api::job::{FormatResult, JobId, JobState};
use lustre_api::node::{AnnounceNode, Announcement, NodePath};
use lustre_api::proxy::{PROTOCOL, ProxyModule, ProxyState};
use lustre_api::{Problem, Time, WriteQuery};
use rest::{Client, Listener, Server};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What the node has and did.
#[derive(Default)]
struct State {
    devices: Vec<Device>,
    jobs: BTreeMap<JobId, AgentJob>,
    formats: usize,
    failure: Option<String>,
    proxy: ProxyState,
}

/// A running stand-in; gone when dropped.
pub(crate) struct Node {
    state: Arc<Mutex<State>>,
    mgs: Client,
    announcement: Announcement,
    _stop: watch::Sender<bool>,
    runtime: Runtime,
}

/// An empty device of 1 TiB.
pub(crate) fn blank(path: &str) -> Device {
    Device::blank(path, 1 << 40)
}

/// A build of the kernel proxy's module.
pub(crate) fn build(srcversion: &str) -> ProxyModule {
    ProxyModule { version: "0.1.0".to_owned(), srcversion: srcversion.to_owned(), protocol: PROTOCOL }
}

/// A device with somebody's home directories.
pub(crate) fn ext4(path: &str) -> Device {
    let refusal = Refusal { code: RefusalCode::ForeignData, message: "it holds ext4 label=home".to_owned() };
    Device { content: "ext4 label=home".to_owned(), refusals: vec![refusal], ..blank(path) }
}

impl Node {
    /// A node that has announced itself to the MGS.
    pub(crate) fn start(name: &str, mgs: &str, devices: Vec<Device>) -> Self {
        let state = Arc::new(Mutex::new(State { devices, ..State::default() }));
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime");
        let (stop, stopped) = watch::channel(false);
        let info = NodeInfo {
            node: name.parse().expect("a name"),
            agent_version: "0".to_owned(),
            boot_id: "b".to_owned(),
            kernel: "6.1".to_owned(),
            lustre: None,
            e2fsprogs: Some("1.47".to_owned()),
            missing_features: Vec::new(),
            start_driver: StartDriver::None,
            nids: vec!["10.0.0.5@tcp".parse().expect("a NID")],
            kernel_proxy: Some(ProxyState::default()),
            abilities: Some(lustre_api::ability::ABILITIES.map(str::to_owned).into()),
            hostid: None,
        };
        let served = Arc::new((Arc::clone(&state), info.clone()));
        let (mgs, announcement) = runtime.block_on(async {
            let router = Server::new(served, "agent", "0")
                .route::<GetInventory, _, _>(|on, _| async move { Ok(inventory(&on)) })
                .route::<CheckFormat, _, _>(|on, call| async move { check(&on.0, &call.body) })
                .route::<PutAgentJob, _, _>(|on, call| async move { put(&on.0, call.path.id, call.body) })
                .route::<GetAgentJob, _, _>(|on, call| async move { job(&on.0, &call.path.id) })
                .route::<CancelAgentJob, _, _>(|on, call| async move { job(&on.0, &call.path.id) })
                .router();
            let listener = Listener::tcp("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
            let announcement = Announcement { api_url: listener.url(), info };
            tokio::spawn(listener.serve(router, stopped));
            let client = Client::new(mgs, None).expect("the MGS");
            let node = NodePath { node: name.parse().expect("a name") };
            client.call::<AnnounceNode>(&node, &WriteQuery::default(), &announcement).await.expect("announced");
            (client, announcement)
        });
        Self { state, mgs, announcement, _stop: stop, runtime }
    }

    /// Changes what the node has of the kernel proxy, and tells the MGS as an agent does with its next heartbeat.
    pub(crate) fn change_proxy(&self, change: impl FnOnce(&mut ProxyState)) {
        let mut announcement = self.announcement.clone();
        let mut state = self.state.lock().expect("state");
        change(&mut state.proxy);
        announcement.info.kernel_proxy = Some(state.proxy.clone());
        drop(state);
        let node = NodePath { node: announcement.info.node.clone() };
        let query = WriteQuery::default();
        let call = self.mgs.call::<AnnounceNode>(&node, &query, &announcement);
        self.runtime.block_on(call).map(drop).expect("announced");
    }

    /// How many devices were formatted.
    pub(crate) fn formats(&self) -> usize {
        self.state.lock().expect("state").formats
    }

    /// From now on, formats fail with these words; or work again.
    pub(crate) fn fail(&self, failure: Option<&str>) {
        self.state.lock().expect("state").failure = failure.map(str::to_owned);
    }

    /// Something happens to a device.
    pub(crate) fn replace(&self, device: Device) {
        let mut state = self.state.lock().expect("state");
        let slot = state.devices.iter_mut().find(|known| known.path == device.path).expect("a device");
        *slot = device;
    }
}

fn inventory(on: &(Arc<Mutex<State>>, NodeInfo)) -> Inventory {
    let state = on.0.lock().expect("state");
    let info = NodeInfo { kernel_proxy: Some(state.proxy.clone()), ..on.1.clone() };
    Inventory { info, devices: state.devices.clone(), zfs: None, kernel_proxy_use: None, at: Time::from_unix_ms(0) }
}

fn check(state: &Mutex<State>, op: &FormatOp) -> Result<FormatCheck, Problem> {
    let state = state.lock().expect("state");
    let device = state.devices.iter().find(|device| device.is_named(&op.device)).cloned();
    let device = device.ok_or_else(|| Problem::not_found(format!("there is no device {}", op.device)))?;
    let is_same = device.formatted_as.as_ref().is_some_and(|found| found.svname == op.svname);
    let refusals = if is_same { Vec::new() } else { device.refusals.clone() };
    Ok(FormatCheck { device, is_same, refusals, command: Vec::new(), missing_features: Vec::new() })
}

fn put(state: &Mutex<State>, id: JobId, op: AgentOp) -> Result<AgentJob, Problem> {
    let mut state = state.lock().expect("state");
    if let Some(known) = state.jobs.get(&id) {
        return Ok(known.clone());
    }
    let at = Time::from_unix_ms(0);
    let mut job = AgentJob {
        state: JobState::Done,
        ended: Some(at),
        version: 1,
        ..AgentJob::new(id.clone(), op.clone(), "test", at)
    };
    if matches!(op, AgentOp::LoadProxy | AgentOp::UnloadProxy) {
        let is_load = op == AgentOp::LoadProxy;
        let proxy = &mut state.proxy;
        proxy.loaded = proxy.installed.clone().filter(|_| is_load);
        proxy.transport = is_load.then(|| "lnet".to_owned());
        proxy.at_boot = is_load;
        job.proxy = Some(proxy.clone());
    }
    if let AgentOp::Format(op) = op {
        if let Some(failure) = state.failure.clone() {
            job.state = JobState::Failed;
            job.message = Some(failure);
            job.output = vec!["mke2fs 1.47".to_owned(), "write error at block 7".to_owned()];
        } else {
            job.formatted = Some(format(&mut state, &op));
        }
    }
    state.jobs.insert(id, job.clone());
    Ok(job)
}

fn format(state: &mut State, op: &FormatOp) -> FormatResult {
    let device = state.devices.iter_mut().find(|device| device.is_named(&op.device)).expect("checked before");
    let formatted_as = FormattedAs {
        svname: op.svname.clone(),
        label: op.svname.to_string().replacen('-', ":", 1),
        kind: op.kind(),
        fsname: op.fsname.clone(),
        index: op.index(),
        flags: 0,
        registered: false,
        incomplete: false,
        uuid: format!("uuid-of-{}", op.device),
        mgs_nids: op.mgs_nids.clone(),
        failover_nodes: Vec::new(),
        mount_options: String::new(),
        params: BTreeMap::new(),
        comment: String::new(),
        size_bytes: device.size_bytes,
    };
    let formatted_over = std::mem::replace(&mut device.content, format!("lustre {}", op.svname));
    let changed = device.formatted_as.as_ref() != Some(&formatted_as);
    device.formatted_as = Some(formatted_as.clone());
    device.refusals = Vec::new();
    state.formats += usize::from(changed);
    FormatResult { formatted_as, formatted_over, changed, missing_features: Vec::new() }
}

fn job(state: &Mutex<State>, id: &JobId) -> Result<AgentJob, Problem> {
    let state = state.lock().expect("state");
    state.jobs.get(id).cloned().ok_or_else(|| Problem::not_found(format!("there is no job {id}")))
}
