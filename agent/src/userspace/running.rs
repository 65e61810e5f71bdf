//! A started target: what keeps it in touch with its MGS.

use super::{NO_IO, Params, tree};
use crate::{host::chain, time::now};
use lustre_api::{
    Time,
    agent::{RunningTarget, StartDriver},
};
use lustre_mgc::{Follower, Mgc, Target};
use lustre_types::SvName;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{runtime::Handle, task::AbortHandle};
use tracing::{debug, info, warn};

/// Wait before a silent MGS is tried again.
const RETRY: Duration = Duration::from_secs(2);

/// A target that its MGS knows to be up.
pub(super) struct Running {
    mgc: Mgc,
    instance: u32,
    since: Time,
    seen: Arc<Mutex<Params>>,
    tasks: Vec<AbortHandle>,
}

impl Running {
    /// Follows the target's config log, and announces the target again whenever the MGS has begun anew.
    pub(super) fn begin(
        runtime: &Handle,
        mgc: Mgc,
        target: Target,
        follower: Follower,
        params: Params,
        shown: Shown,
    ) -> Self {
        shown.show(&params);
        let seen = Arc::new(Mutex::new(params));
        let instance = target.instance;
        let follow = runtime.spawn(follow(shown, follower, seen.clone()));
        let announce = runtime.spawn(announce(mgc.clone(), target));
        Self { mgc, instance, since: now(), seen, tasks: vec![follow.abort_handle(), announce.abort_handle()] }
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
            params: seen.values().clone(),
            note: NO_IO.to_owned(),
        }
    }
}

/// Where a target's tunables are shown.
pub(super) struct Shown {
    pub(super) svname: SvName,
    /// The root of a tree of our own; none where the trees are the kernel's.
    pub(super) root: Option<PathBuf>,
}

impl Shown {
    fn show(&self, params: &Params) {
        let Some(root) = &self.root else { return };
        if let Err(error) = tree::expose(root, &self.svname, params.values()) {
            warn!(svname = %self.svname, root = %root.display(), error = chain(&error), "tunables can't be shown");
        }
    }
}

async fn follow(shown: Shown, mut follower: Follower, seen: Arc<Mutex<Params>>) {
    let svname = shown.svname.to_string();
    loop {
        match follower.next().await {
            Ok(records) => {
                info!(svname, records = records.len(), last = follower.after(), "config log read");
                let mut seen = seen.lock().expect("nothing panics while it is held");
                seen.read(&records);
                shown.show(&seen);
            }
            Err(error) => {
                debug!(svname, error = chain(&error), "config log can't be followed, will try again");
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
