//! A started target: what keeps it in touch with its MGS.

use super::{NO_IO, Params};
use crate::{host::chain, time::now};
use lustre_api::{
    Time,
    agent::{RunningTarget, StartDriver},
};
use lustre_mgc::{Follower, Mgc, Target};
use std::{
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
    pub(super) fn begin(runtime: &Handle, mgc: Mgc, target: Target, follower: Follower, params: Params) -> Self {
        let seen = Arc::new(Mutex::new(params));
        let instance = target.instance;
        let follow = runtime.spawn(follow(target.svname.clone(), follower, seen.clone()));
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

async fn follow(svname: String, mut follower: Follower, seen: Arc<Mutex<Params>>) {
    loop {
        match follower.next().await {
            Ok(records) => {
                info!(svname, records = records.len(), last = follower.after(), "config log read");
                seen.lock().expect("nothing panics while it is held").read(&records);
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
