//! The start driver `userspace`: a target without a kernel, towards its MGS.
//!
//! It does over LNet what a kernel target does with its MGS: registers with what its mountdata and label say, holds the
//! locks of its config log, of `params`, of its file system's other logs and of the nodemaps and follows them, an MDT those of
//! the NID table and of write barriers too, announces that it is up, and sets its label to registered. **It serves no file I/O**: clients that are told
//! of it find nobody who answers. It is for rehearsals, tests and CI, and for nodes without Lustre modules.
//!
//! One connection to the MGS per target. After a restart of the agent every started target registers again; after one of
//! the MGS it announces itself again.

mod beside;
mod disk;
mod params;
mod running;
mod tree;

pub use params::Params;

use crate::{
    host::{Host, HostError, chain, lnet::NidSource},
    observe::IdentityError,
};
use disk::OnDisk;
use lustre_api::agent::RunningTarget;
use lustre_mgc::{Config, Mgc, MgcError, Node, Target};
use lustre_types::{Nid, SvName};
use running::{Followed, Running, Shown};
use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use thiserror::Error;
use tokio::{runtime::Handle, sync::OnceCell};
use tracing::{info, warn};

/// The log of what is set for all file systems of an MGS.
const PARAMS: &str = "params";
/// Said of every target that this driver starts.
pub const NO_IO: &str = "userspace driver: it serves no file I/O";
/// Wait before a target that can't be resumed is tried again: at first, and at most.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Why a target can't be started or stopped.
#[derive(Debug, Error)]
pub enum UserspaceError {
    /// The device.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What is on the device.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What is on the device can't be a target that starts.
    #[error("{svname} on {device}: {why}")]
    Disk {
        /// The target.
        svname: SvName,
        /// Its device.
        device: String,
        /// What is wrong with it.
        why: String,
    },
    /// The node has no NID that an MGS could be reached from.
    #[error("this node has no NID to register {0} with; configure one, as in --nid 10.0.0.5@tcp")]
    NoNid(SvName),
    /// LNet can't be started.
    #[error("LNet can't be started for {0}")]
    Lnet(SvName, #[source] lnet::StartError),
    /// The MGS refused it, or isn't there.
    #[error("{0} can't register")]
    Mgs(SvName, #[source] MgcError),
    /// The MGS registered it and has no config log of it.
    #[error("the MGS has no config log {0}; was its configuration removed meanwhile? ensure the target again")]
    NoLog(SvName),
}

impl UserspaceError {
    /// Whether the same may work later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Mgs(_, error) => error.status().is_none(),
            Self::Lnet(..) | Self::NoLog(_) => true,
            Self::Host(_) | Self::Identity(_) | Self::Disk { .. } | Self::NoNid(_) => false,
        }
    }
}

/// The driver.
pub struct Userspace {
    host: Arc<Host>,
    sources: Vec<NidSource>,
    port: u16,
    runtime: Handle,
    node: OnceCell<Node>,
    running: Mutex<BTreeMap<SvName, Running>>,
}

impl std::fmt::Debug for Userspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Userspace").field("running", &self.running().keys().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Userspace {
    /// A driver on `runtime`. `port` is that of LNet on the MGS; nothing is connected yet.
    pub fn new(host: Arc<Host>, sources: Vec<NidSource>, port: u16, runtime: Handle) -> Arc<Self> {
        Arc::new(Self { host, sources, port, runtime, node: OnceCell::new(), running: Mutex::default() })
    }

    /// Starts every target that was started when the agent ended, and tries again until it can.
    pub fn resume(self: &Arc<Self>) {
        for target in self.host.served.started() {
            let driver = self.clone();
            self.runtime.spawn(async move {
                let mut retry = RETRY;
                while driver.host.served.started().contains(&target) {
                    let Err(error) = driver.start_now(&target.svname, &target.device, target.instance).await else {
                        info!(svname = %target.svname, "target goes on after a restart of the agent");
                        return;
                    };
                    warn!(svname = %target.svname, error = chain(&error), "target can't go on, will try again");
                    tokio::time::sleep(retry).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            });
        }
    }

    /// Starts a target; blocks until its MGS knows it. One that is started already stays as it is.
    pub fn start(&self, svname: &SvName, device: &crate::host::Device) -> Result<(), UserspaceError> {
        if self.running().contains_key(svname) {
            return Ok(());
        }
        // Before the MGS hears of it: whatever happens now, the device is in use, and an agent after us goes on.
        let served = self.host.served.start(svname, device)?;
        let started = self.runtime.block_on(self.start_now(svname, &device.path, served.instance));
        if started.is_err() {
            self.host.served.stop(svname)?;
        }
        started
    }

    /// Stops a target: leaves its MGS and lets go of its device. One that isn't started stays as it is.
    pub fn stop(&self, svname: &SvName) -> Result<(), UserspaceError> {
        let running = self.running().remove(svname);
        // First on the medium: an agent after us must not start what was to be stopped.
        self.host.served.stop(svname)?;
        if let Some(running) = running {
            self.runtime.block_on(running.stop());
        }
        Ok(())
    }

    /// What is known of a started target.
    pub fn describe(&self, svname: &SvName) -> Option<RunningTarget> {
        self.running().get(svname).map(Running::describe)
    }

    async fn start_now(&self, svname: &SvName, device: &Path, instance: u32) -> Result<(), UserspaceError> {
        let on_disk = OnDisk::read(&self.host, svname, device)?;
        let nids = self.host.nids(&self.sources)?;
        let refused = |error| UserspaceError::Mgs(svname.clone(), error);
        let node = self.node(svname, &nids).await?;
        let mgc = node.connect(Config::new(on_disk.mgs.clone())).await.map_err(refused)?;
        match self.register(&mgc, svname, &on_disk, nids, instance).await {
            Ok(running) => {
                self.running().insert(svname.clone(), running);
                Ok(())
            }
            Err(error) => {
                // The MGS would evict it, only later.
                let _ = mgc.disconnect().await;
                Err(error)
            }
        }
    }

    async fn register(
        &self,
        mgc: &Mgc,
        svname: &SvName,
        on_disk: &OnDisk,
        nids: Vec<Nid>,
        instance: u32,
    ) -> Result<Running, UserspaceError> {
        let refused = |error| UserspaceError::Mgs(svname.clone(), error);
        let target = Target {
            fsname: svname.fsname().map(ToString::to_string).unwrap_or_default(),
            svname: svname.to_string(),
            index: svname.index().map_or(0, u32::from),
            flags: on_disk.flags,
            instance: 0,
            nids,
            params: on_disk.params.clone(),
            version: Config::new(Vec::new()).version,
        };
        let registered = mgc.register(&target).await.map_err(refused)?;
        info!(%svname, flags = registered.flags, mgs = mgc.mgs(), "target registered");
        // In the order in which a kernel target takes its locks. Of the logs, all but its own may be missing.
        let mut followed = Followed::default();
        followed.read(mgc.follow(&format!("{}-sptlrpc", target.fsname), 0)).await.map_err(refused)?;
        followed.beside.before_logs(mgc, svname).await.map_err(refused)?;
        followed.read(mgc.follow(&svname.to_string(), 0)).await.map_err(refused)?;
        followed.beside.behind_own_log(mgc, svname).await.map_err(refused)?;
        followed.read(mgc.follow(PARAMS, 0)).await.map_err(refused)?;
        if !followed.has(&svname.to_string()) {
            return Err(UserspaceError::NoLog(svname.clone()));
        }
        followed.read(mgc.follow(&format!("{}-client", target.fsname), 0)).await.map_err(refused)?;
        // As a mount does when it succeeded: what the label says decides how the next start registers.
        on_disk.mark_registered(&self.host)?;
        let target = Target { instance, ..target };
        mgc.ready(&target).await.map_err(refused)?;
        info!(%svname, instance, "target is up; it serves no file I/O");
        // A tree in a directory is ours to write; the kernel's are not.
        let is_ours = self.host.root.param_root.as_path() != Path::new("/");
        let shown = Shown { svname: svname.clone(), host: is_ours.then(|| self.host.clone()) };
        Ok(Running::begin(&self.runtime, mgc.clone(), target, followed, shown))
    }

    /// The network node, with the NIDs that the first target found; one for as long as the agent runs.
    async fn node(&self, svname: &SvName, nids: &[Nid]) -> Result<&Node, UserspaceError> {
        let usable: Vec<Nid> = nids.iter().filter(|nid| nid.net().kind() == "tcp").cloned().collect();
        if usable.is_empty() {
            return Err(UserspaceError::NoNid(svname.clone()));
        }
        let start = || async {
            let config = lnet::Config { port: self.port, ..lnet::Config::new(usable) };
            lnet::Lnet::start(config).await.map(Node::new)
        };
        self.node.get_or_try_init(start).await.map_err(|error| UserspaceError::Lnet(svname.clone(), error))
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<SvName, Running>> {
        self.running.lock().expect("nothing panics while it is held")
    }
}
