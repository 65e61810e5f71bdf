//! Starts and stops a target.

use super::{
    Jobs,
    run::{End, is_cancelled, output_dir},
};
use crate::{
    host::{Device, Host, chain, mount},
    observe::{Content, Identity},
    start::{self, Mounted, UnderWay, Watch},
    stop::{self, Unmount, Unmounted},
    userspace::NO_IO,
};
use lustre_api::{
    agent::{StartOp, StopOp},
    job::JobId,
};
use lustre_types::SvName;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How long a stop may take when the operation doesn't say.
const STOP_TIMEOUT_S: u32 = 300;

pub(super) fn start(jobs: &Jobs, id: &JobId, op: &StartOp) -> Result<End, End> {
    let host = &jobs.host;
    let device = host.device(Path::new(&op.device))?;
    target(jobs, &device, &op.svname)?;
    if let Some(mountpoint) = host.mountpoints(&device)?.first() {
        return Ok(End::done(format!("{} is mounted at {mountpoint} already", op.svname)));
    }
    let watch = StartWatch { jobs, id, svname: &op.svname };
    let earlier = start::under_way(&device).filter(|earlier| earlier.job == id.as_str());
    if let Some(earlier) = earlier {
        // This very job began it, and the agent was killed meanwhile.
        let dir = output_dir(jobs, id)?;
        let mounted = start::outlive(earlier, &device, &dir, &watch);
        return started(host, &device, op, mounted);
    }
    no_mount_under_way(&device, &op.svname)?;
    unmanaged(jobs, &device, &op.svname, "started")?;
    if let Some(userspace) = jobs.userspace() {
        userspace.start(&op.svname, &device).map_err(|error| End::failed(chain(&error), error.is_retryable()))?;
        return Ok(End::done(format!("{} is registered with its MGS; {NO_IO}", op.svname)));
    }
    if !host.has_kernel_lustre() {
        return Err(End::failed(
            format!("{} can't be started: this node has no kernel Lustre, it holds targets on disk only", op.svname),
            false,
        ));
    }
    let Identity { label, file } = host.identity(&device).map_err(|error| End::failed(chain(&error), false))?;
    let options = mount::kernel_options(&label, &file).map_err(|error| End::failed(chain(&error), false))?;
    let mountpoint =
        op.mountpoint.as_ref().map_or_else(|| PathBuf::from(format!("/mnt/lustre/{}", op.svname)), PathBuf::from);
    let command = host.mount_command(&device, &mountpoint, &label, &options)?;
    let dir = output_dir(jobs, id)?;
    let mounted = start::mount(id.as_str(), &device, &command, &dir, &watch);
    started(host, &device, op, mounted)
}

pub(super) fn stop(jobs: &Jobs, id: &JobId, op: &StopOp) -> Result<End, End> {
    let svname = &op.svname;
    let device = jobs.host.device(Path::new(&op.device))?;
    if let Some(userspace) = jobs.userspace().filter(|_| jobs.host.served.on(&device).is_some()) {
        // Of a pool that is gone nothing can be read: there it is certainly not.
        if device.dataset().is_none_or(|dataset| jobs.host.has_pool(dataset.pool()).unwrap_or(true)) {
            target(jobs, &device, svname)?;
        }
        userspace.stop(svname).map_err(|error| End::failed(chain(&error), error.is_retryable()))?;
        return Ok(End::done(format!("{svname} has left its MGS")));
    }
    let mountpoints = jobs.host.mountpoints(&device)?;
    if mountpoints.is_empty() {
        no_mount_under_way(&device, svname)?;
        return Ok(End::done(format!("{svname} is not mounted")));
    }
    target(jobs, &device, svname)?;
    unmanaged(jobs, &device, svname, "stopped")?;
    let timeout = Duration::from_secs(op.timeout_s.unwrap_or(STOP_TIMEOUT_S).into());
    let seconds = timeout.as_secs();
    let host = jobs.host.clone();
    let call: Unmount = Arc::new(move |place, flags| host.unmount(place, flags));
    let mut how = "is unmounted";
    for place in mountpoints {
        match stop::unmount(&call, Path::new(&place), timeout, op.force, &|| is_cancelled(jobs, id)) {
            Unmounted::Done => {}
            Unmounted::ByForce => how = "is unmounted by force; clients that were cut off recover when it starts again",
            Unmounted::Lazily => {
                how = "is out of sight by a lazy unmount; the kernel may still write to its device: do not start it \
                       elsewhere before this node has let go of it or was switched off";
            }
            Unmounted::Busy => {
                let message = format!(
                    "{svname} stays mounted at {place}: it was in use for {seconds} s; fuser -vm {place} says by whom"
                );
                return Err(End::failed(message, true));
            }
            Unmounted::Hung => {
                let message = format!(
                    "unmounting {place} of {svname} hangs since {seconds} s and may still end; nothing else was done to it"
                );
                return Err(End::failed(message, true));
            }
            Unmounted::Cancelled => {
                let message = format!("cancelled; the unmount of {place} had begun and may still end");
                return Err(End::cancelled(message));
            }
            Unmounted::Failed(error) => return Err(End::failed(chain(&error), true)),
        }
    }
    Ok(End::done(format!("{svname} {how}")))
}

/// What the end of a mount means.
fn started(host: &Host, device: &Device, op: &StartOp, mounted: Mounted) -> Result<End, End> {
    let svname = &op.svname;
    match mounted {
        Mounted::Failed(error) => Err(End::failed(chain(&error), true)),
        Mounted::Cancelled => Err(End::cancelled(format!(
            "cancelled; the mount of {svname} on {} had begun and may still end: stop it then",
            device.path.display()
        ))),
        Mounted::Done | Mounted::Unknown => match (host.mountpoints(device)?.first(), mounted) {
            (Some(place), _) => Ok(End::done(format!("{svname} is mounted at {place}"))),
            (None, Mounted::Done) => Ok(End::done(format!("{svname} is mounted"))),
            (None, _) => Err(End::failed(
                format!("the mount of {svname} has ended, and it is not mounted; dmesg says more, then start it again"),
                true,
            )),
        },
    }
}

/// What a mount tells goes into its job.
struct StartWatch<'a> {
    jobs: &'a Jobs,
    id: &'a JobId,
    svname: &'a SvName,
}

impl Watch for StartWatch<'_> {
    fn takes(&self, took: Duration) {
        let message = format!(
            "the mount of {} takes {} s by now: it waits for its MGS, for its partners or for clients to recover; dmesg says \
             more",
            self.svname,
            took.as_secs()
        );
        self.jobs.note(self.id, |entry| entry.job.message = Some(message));
    }

    fn is_cancelled(&self) -> bool {
        is_cancelled(self.jobs, self.id)
    }
}

/// Errors: the kernel has not answered an earlier mount yet.
fn no_mount_under_way(device: &Device, svname: &SvName) -> Result<(), End> {
    let Some(UnderWay { job, process }) = start::under_way(device) else { return Ok(()) };
    let (seconds, pid) = (process.age().as_secs(), process.pid);
    let message = format!(
        "a mount of {svname} has begun {seconds} s ago (job {job}, process {pid}), and the kernel has not answered yet; \
         nothing else is done to it before that; dmesg says what it waits for"
    );
    Err(End::failed(message, true))
}

/// Refuses to fight Pacemaker: what it manages, it would start or stop again at once.
pub(super) fn unmanaged(jobs: &Jobs, device: &crate::host::Device, svname: &SvName, verb: &str) -> Result<(), End> {
    match jobs.host.managed_by(svname, device)? {
        None => Ok(()),
        Some(resource) => {
            let id = &resource.id;
            let place =
                if resource.nodes.is_empty() { String::new() } else { format!(" on {}", resource.nodes.join(", ")) };
            let message = format!(
                "{svname} is not {verb}: Pacemaker manages it as resource {id}, which is {}{place}; use pcs (resource \
                 disable, enable or move {id}), or take it out of Pacemaker's hands first: pcs resource unmanage {id}",
                resource.role.to_lowercase()
            );
            Err(End::failed(message, false))
        }
    }
}

/// The target on a device, which must be the one that is meant.
fn target(jobs: &Jobs, device: &crate::host::Device, svname: &SvName) -> Result<(), End> {
    match jobs.host.observe(device)?.content {
        Content::Target(found) if found.svname == *svname && !found.incomplete => Ok(()),
        other => Err(End::failed(format!("{} holds {other}, not {svname}", device.path.display()), false)),
    }
}
