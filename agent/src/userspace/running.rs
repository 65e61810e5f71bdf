//! A started target: what keeps it in touch with its MGS.

use super::{
    NO_IO, PARAMS, Params,
    beside::{Beside, Told},
    tree,
};
use crate::{
    host::{Host, chain, params},
    time::now,
};
use lustre_api::{
    Time,
    agent::{RunningTarget, StartDriver},
};
use lustre_mgc::{Follower, Mgc, MgcError, Target};
use lustre_types::SvName;
use lustre_wire::llog::Record;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Handle, task::AbortHandle};
use tracing::{debug, info, warn};

/// Wait before a silent MGS is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(2);

/// A target that its MGS knows to be up.
pub(super) struct Running {
    mgc: Mgc,
    instance: u32,
    since: Time,
    seen: Arc<Mutex<Seen>>,
    tasks: Vec<AbortHandle>,
}

impl Running {
    /// Follows the target's logs, and announces the target again whenever the MGS has begun anew.
    pub(super) fn begin(runtime: &Handle, mgc: Mgc, target: Target, followed: Followed, shown: Shown) -> Self {
        let Followed { logs, mut beside, mut seen } = followed;
        seen.told = std::mem::take(&mut beside.told);
        shown.show(&seen, &BTreeMap::new());
        let (shown, seen) = (Arc::new(shown), Arc::new(Mutex::new(seen)));
        let instance = target.instance;
        let follow = |log| runtime.spawn(follow(shown.clone(), log, seen.clone())).abort_handle();
        let mut tasks: Vec<AbortHandle> = logs.into_iter().map(follow).collect();
        tasks.extend(beside.listen(runtime, &shown.svname, &seen));
        tasks.push(runtime.spawn(announce(mgc.clone(), target)).abort_handle());
        Self { mgc, instance, since: now(), seen, tasks }
    }

    /// Gives its locks back and leaves the MGS; an MGS that doesn't answer finds out by itself.
    pub(super) async fn stop(self) {
        for task in &self.tasks {
            task.abort();
        }
        if let Err(error) = self.mgc.disconnect().await {
            warn!(mgs = self.mgc.mgs(), error = chain(&error), "the MGS can't be told that the target stopped");
        }
    }

    pub(super) fn describe(&self) -> RunningTarget {
        let seen = self.seen.lock().expect("nothing panics while it is held");
        RunningTarget {
            driver: StartDriver::Userspace,
            instance: self.instance,
            since: self.since,
            mgs: self.mgc.mgs(),
            params: seen.values(),
            nodemaps: seen.told.nodemaps.clone(),
            peers: seen.told.peers.clone(),
            note: NO_IO.to_owned(),
        }
    }
}

/// What a target has been told so far.
#[derive(Default)]
pub(super) struct Seen {
    /// What its logs have set, by log.
    logs: BTreeMap<String, Params>,
    pub(super) told: Told,
}

impl Seen {
    fn read(&mut self, log: &str, records: &[Record]) {
        self.logs.entry(log.to_owned()).or_default().read(records);
    }

    fn of(&self, log: &str) -> BTreeMap<String, String> {
        self.logs.get(log).map(Params::values).cloned().unwrap_or_default()
    }

    fn values(&self) -> BTreeMap<String, String> {
        self.logs.values().flat_map(Params::values).map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

/// The logs that a target follows, and what else; their locks are held from the reading on.
#[derive(Default)]
pub(super) struct Followed {
    logs: Vec<Follower>,
    pub(super) beside: Beside,
    seen: Seen,
}

impl Followed {
    /// Takes a log's lock and reads what it has. Errors: the MGS isn't there or refuses.
    pub(super) async fn read(&mut self, mut log: Follower) -> Result<(), MgcError> {
        let records = log.next().await?;
        if !is_of_clients(log.log()) {
            self.seen.read(log.log(), &records);
        }
        self.logs.push(log);
        Ok(())
    }

    /// Whether a log has any records.
    pub(super) fn has(&self, log: &str) -> bool {
        self.logs.iter().any(|follower| follower.log() == log && follower.after() > 0)
    }
}

/// What that log sets concerns clients: a target only sees that it changes.
fn is_of_clients(log: &str) -> bool {
    log.ends_with("-client")
}

/// Where a target's tunables are shown.
pub(super) struct Shown {
    pub(super) svname: SvName,
    /// The host with a tree of our own; none where the trees are the kernel's.
    pub(super) host: Option<Arc<Host>>,
}

impl Shown {
    /// Shows what the target's own log sets, and sets what `params` sets otherwise than `before`, as `lctl set_param` does:
    /// what is there and matches.
    fn show(&self, seen: &Seen, before: &BTreeMap<String, String>) {
        let Some(host) = &self.host else { return };
        let (svname, root) = (&self.svname, &host.root.param_root);
        if let Err(error) = tree::expose(root, svname, &seen.of(&svname.to_string())) {
            warn!(%svname, root = %root.display(), error = chain(&error), "tunables can't be shown");
        }
        for (pattern, value) in seen.of(PARAMS).iter().filter(|(key, value)| before.get(*key) != Some(value)) {
            for found in host.params(pattern, false).into_iter().filter(|found| !found.is_dir) {
                if let Err(error) = params::set(&found, &format!("{value}\n")) {
                    // A kernel's node ignores it too.
                    debug!(%svname, param = found.name, error = chain(&error), "not set");
                }
            }
        }
    }
}

async fn follow(shown: Arc<Shown>, mut follower: Follower, seen: Arc<Mutex<Seen>>) {
    let svname = shown.svname.to_string();
    loop {
        match follower.next().await {
            Ok(records) => {
                let log = follower.log();
                info!(svname, log, records = records.len(), last = follower.after(), "config log read");
                if is_of_clients(log) {
                    continue;
                }
                let mut seen = seen.lock().expect("nothing panics while it is held");
                let before = seen.of(PARAMS);
                seen.read(log, &records);
                shown.show(&seen, &before);
            }
            Err(error) => {
                let log = follower.log();
                debug!(svname, log, error = chain(&error), "config log can't be followed, will try again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// An MGS that was started anew knows nobody who is up.
async fn announce(mgc: Mgc, target: Target) {
    let mut known = mgc.evictions();
    // As a kernel target does: nothing but who it is and where.
    let again = Target { flags: target.flags & 0xF, params: String::new(), version: 0, ..target };
    loop {
        tokio::time::sleep(RETRY).await;
        let evictions = mgc.evictions();
        if evictions == known {
            continue;
        }
        match mgc.ready_again(&again).await {
            Ok(_) => {
                info!(svname = again.svname, "target announced to an MGS that began anew");
                known = evictions;
            }
            Err(error) => debug!(svname = again.svname, error = chain(&error), "not announced yet, will try again"),
        }
    }
}
