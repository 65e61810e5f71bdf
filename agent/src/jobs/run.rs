//! Runs one job to its end, in its own thread.

use super::{Jobs, pools, scan, start_stop};
use crate::{
    evacuate::{self, EvacuateEnd},
    format::{Begun, Format, FormatEnd, Report, Wanted, zfs::ZfsFormat},
    host::{Host, HostError, chain, kproxy::ProxyError},
    params,
    relabel::relabel,
    time::now,
    tune::{Rewrite, TuneEnd, tune},
};
use lustre_api::{
    agent::{AgentOp, FormatOp},
    agent_ops::{FindFilesOp, MigrateOp, MigrateResult, NodeParamResult, OpResult, RelabelOp, TuneOp, TuneResult},
    job::{FormatResult, JobId, JobState, Progress},
    node_param::SetNodeParams,
    proxy::ProxyState,
};
use lustre_types::{Dataset, DatasetError, SvName};
use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};
use tracing::{info, warn};

/// How a job ended.
pub(super) struct End {
    state: JobState,
    pub(super) message: Option<String>,
    retryable: bool,
    formatted: Option<Box<FormatResult>>,
    proxy: Option<Box<ProxyState>>,
    result: Option<OpResult>,
}

impl End {
    pub(super) fn new(state: JobState, message: String, retryable: bool) -> Self {
        Self { state, message: Some(message), retryable, formatted: None, proxy: None, result: None }
    }

    pub(super) fn done(message: impl Into<String>) -> Self {
        Self::new(JobState::Done, message.into(), false)
    }

    pub(super) fn failed(message: impl Into<String>, retryable: bool) -> Self {
        Self::new(JobState::Failed, message.into(), retryable)
    }

    /// The same end, with more to say of it.
    pub(super) fn and(self, more: &str) -> Self {
        let message = self.message.map_or_else(|| more.to_owned(), |message| format!("{message}; {more}"));
        Self { message: Some(message), ..self }
    }

    pub(super) fn cancelled(message: impl Into<String>) -> Self {
        Self::new(JobState::Cancelled, message.into(), true)
    }
}

impl From<HostError> for End {
    fn from(error: HostError) -> Self {
        Self::failed(chain(&error), false)
    }
}

impl From<ProxyError> for End {
    fn from(error: ProxyError) -> Self {
        Self::failed(chain(&error), matches!(error, ProxyError::Held(_) | ProxyError::InUse(_)))
    }
}

/// Runs the job and makes its end durable.
pub(super) fn run(jobs: &Jobs, id: &JobId) {
    let Ok(job) = jobs.get(id) else { return };
    let is_new = job.state == JobState::Queued;
    if is_new {
        // Not durable: a job that is still queued after a restart simply begins.
        jobs.note(id, |entry| {
            // A cancel may have come first, and stays.
            if entry.job.state == JobState::Queued {
                entry.job.state = JobState::Running;
            }
        });
    }
    let end = match &job.op {
        AgentOp::Format(op) => format(jobs, id, op),
        // Begun means that the change of a device is half done: that is finished first.
        AgentOp::Tune(op) if jobs.rewrite(id).is_some() || job.state != JobState::Cancelling => change(jobs, id, op),
        AgentOp::Relabel(op) if jobs.rewrite(id).is_some() || job.state != JobState::Cancelling => label(jobs, id, op),
        // The same of a pool that may have been imported: it is put back.
        AgentOp::Start(op) if jobs.imports(id) => pools::start(jobs, id, op),
        _ if job.state == JobState::Cancelling => Err(End::cancelled("cancelled before it began")),
        AgentOp::Start(op) => pools::start(jobs, id, op),
        AgentOp::Stop(op) => pools::stop(jobs, id, op),
        AgentOp::Tune(op) => change(jobs, id, op),
        AgentOp::Relabel(op) => label(jobs, id, op),
        AgentOp::Scan(op) => scan::scan(jobs, id, op),
        AgentOp::Migrate(op) => migrate(jobs, id, op),
        AgentOp::FindFiles(op) => find_files(jobs, id, op),
        AgentOp::SetParam(wanted) => set_params(jobs, wanted, &job.who),
        AgentOp::LoadProxy => load_proxy(&jobs.host),
        AgentOp::UnloadProxy => unload_proxy(&jobs.host),
    };
    let end = end.unwrap_or_else(|end| end);
    match end.state {
        JobState::Done => info!(job_id = %id, outcome = end.message.as_deref(), "job done"),
        state => warn!(job_id = %id, state = state.as_str(), error = end.message.as_deref(), "job ended"),
    }
    let ended = now();
    let finish = |entry: &mut super::Entry| {
        entry.job.state = end.state;
        entry.job.message = end.message.clone();
        entry.job.retryable = end.retryable;
        entry.job.formatted = end.formatted.as_deref().cloned();
        entry.job.proxy = end.proxy.as_deref().cloned();
        entry.job.result.clone_from(&end.result);
        entry.job.ended = Some(ended);
    };
    // The end is told when it is durable. If the disk of the journal is full, that is later, not never.
    while let Err(error) = jobs.update(id, finish) {
        warn!(job_id = %id, error = chain(&error), "the end of the job can't be journaled, will try again");
        thread::sleep(Duration::from_secs(1));
    }
    // What mke2fs said is in the job; its files are of no more use.
    let _ = fs::remove_dir_all(jobs.dir.join(id.as_str()));
}

/// The directory of a job's own.
pub(super) fn output_dir(jobs: &Jobs, id: &JobId) -> Result<PathBuf, HostError> {
    let dir = jobs.dir.join(id.as_str());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(HostError::io("create", &dir))?;
    Ok(dir)
}

fn format(jobs: &Jobs, id: &JobId, op: &FormatOp) -> Result<End, End> {
    let wanted = Wanted::from_op(op).map_err(|error| End::failed(chain(&error), false))?;
    let dir = output_dir(jobs, id)?;
    let report = JobReport { jobs, id };
    let begun = jobs.begun(id);
    let had_begun = begun.is_some();
    let host = &jobs.host;
    let ended = if Dataset::is_meant(&op.device) {
        let dataset = op.device.parse().map_err(|error: DatasetError| End::failed(chain(&error), false))?;
        ZfsFormat { host, op, wanted: &wanted, dataset, report: &report }.run(begun)
    } else {
        Format { host, op, wanted: &wanted, dir: &dir, report: &report }.run(begun)
    };
    match ended {
        Ok(result) => {
            let what = if result.changed { "formatted" } else { "was there already, nothing was changed" };
            Ok(End { formatted: Some(Box::new(result)), ..End::done(format!("{} {what}", op.svname)) })
        }
        Err(FormatEnd::Refused(refusals)) => {
            let reasons: Vec<&str> = refusals.iter().map(|refusal| refusal.message.as_str()).collect();
            let remedy = if refusals.iter().all(|refusal| refusal.code.is_overridable()) {
                "name another device; to lose what is on this one, set allow_reformat for this target"
            } else {
                "free the device first, or name another one; no option overrides this"
            };
            Err(End::failed(format!("{} was not formatted: {}; {remedy}", op.svname, reasons.join("; ")), false))
        }
        Err(FormatEnd::Changed(why)) => {
            Err(End::failed(format!("{} was not formatted: {why}; plan again", op.svname), false))
        }
        Err(FormatEnd::Host(error)) => {
            // A disk that was there, and is gone or doesn't answer, may come back.
            let retryable = had_begun && matches!(error, HostError::Missing { .. } | HostError::Io { .. });
            Err(End::failed(chain(&error), retryable))
        }
        Err(FormatEnd::Failed { message, retryable }) => Err(End::failed(message, retryable)),
        Err(FormatEnd::Cancelled(message)) => Err(End::cancelled(message)),
    }
}

/// What a format tells goes into its job.
struct JobReport<'a> {
    jobs: &'a Jobs,
    id: &'a JobId,
}

impl Report for JobReport<'_> {
    fn begun(&self, begun: &Begun) -> Result<(), String> {
        let put = self.jobs.update(self.id, |entry| {
            entry.job.command = begun.command.clone();
            entry.begun = Some(begun.clone());
        });
        put.map(drop).map_err(|error| chain(&error))
    }

    fn progress(&self, progress: Progress) {
        self.jobs.note(self.id, |entry| entry.job.progress = Some(progress));
    }

    fn output(&self, lines: Vec<String>) {
        self.jobs.note(self.id, |entry| entry.job.output = lines);
    }

    fn exited(&self, status: Option<i32>) {
        self.jobs.note(self.id, |entry| entry.job.exit_status = status);
    }

    fn is_cancelled(&self) -> bool {
        is_cancelled(self.jobs, self.id)
    }
}

impl evacuate::Watch for JobReport<'_> {
    fn progress(&self, progress: Progress) {
        Report::progress(self, progress);
    }

    fn is_cancelled(&self) -> bool {
        is_cancelled(self.jobs, self.id)
    }
}

pub(super) fn is_cancelled(jobs: &Jobs, id: &JobId) -> bool {
    jobs.get(id).is_ok_and(|job| job.state == JobState::Cancelling)
}

fn change(jobs: &Jobs, id: &JobId, op: &TuneOp) -> Result<End, End> {
    rewrite(jobs, id, &op.svname, &op.device, |begun, journal| tune(&jobs.host, op, begun, journal))
}

fn label(jobs: &Jobs, id: &JobId, op: &RelabelOp) -> Result<End, End> {
    rewrite(jobs, id, &op.svname, &op.device, |begun, journal| relabel(&jobs.host, op, begun, journal))
}

/// Has a target at rest written by `how`, which is given what an earlier agent began, and what journals what it will write.
fn rewrite(
    jobs: &Jobs,
    id: &JobId,
    svname: &SvName,
    device: &str,
    how: impl FnOnce(Option<&Rewrite>, &dyn Fn(&Rewrite) -> Result<(), String>) -> Result<TuneResult, TuneEnd>,
) -> Result<End, End> {
    let begun = jobs.rewrite(id);
    pools::import_to_change(jobs, svname, device)?;
    if begun.is_none() {
        let device = jobs.host.device(Path::new(device))?;
        start_stop::unmanaged(jobs, &device, svname, "changed")?;
    }
    let journal = |rewrite: &Rewrite| {
        let put = jobs.update(id, |entry| entry.rewrite = Some(rewrite.clone()));
        put.map(drop).map_err(|error| chain(&error))
    };
    match how(begun.as_ref(), &journal) {
        Ok(result) => {
            let what = if result.changed { "says so now" } else { "said so already, nothing was changed" };
            let message = format!("{svname} {what}: label {}", result.formatted_as.label);
            Ok(End { result: Some(OpResult::Tuned(Box::new(result))), ..End::done(message) })
        }
        Err(TuneEnd::Refused(why)) => Err(End::failed(format!("{svname} was not changed: {why}"), false)),
        Err(TuneEnd::Failed { message, retryable }) => Err(End::failed(message, retryable)),
    }
}

fn migrate(jobs: &Jobs, id: &JobId, op: &MigrateOp) -> Result<End, End> {
    let result = evacuate::migrate(&jobs.host, op, &JobReport { jobs, id }).map_err(evacuation_end)?;
    Ok(End { result: Some(OpResult::Migrated(result.clone())), ..End::done(moved(&op.ost, &result)) })
}

fn find_files(jobs: &Jobs, id: &JobId, op: &FindFilesOp) -> Result<End, End> {
    let result = evacuate::find(&jobs.host, op, &JobReport { jobs, id }).map_err(evacuation_end)?;
    let message = match result.files {
        0 => format!("no file has an object on {}", op.ost),
        files => format!("{files} files have objects on {}", op.ost),
    };
    Ok(End { result: Some(OpResult::Found(result)), ..End::done(message) })
}

fn moved(ost: &SvName, result: &MigrateResult) -> String {
    let failed = if result.failed == 0 { String::new() } else { format!(", {} could not be moved", result.failed) };
    format!("{} files of {} bytes were moved off {ost}{failed}", result.files, result.bytes)
}

fn evacuation_end(end: EvacuateEnd) -> End {
    match end {
        EvacuateEnd::Failed { message, retryable } => End::failed(message, retryable),
        EvacuateEnd::Cancelled(result) => {
            let message = format!(
                "cancelled; {} files of {} bytes were moved before, and stay where they are",
                result.files, result.bytes
            );
            End { result: Some(OpResult::Migrated(result)), ..End::cancelled(message) }
        }
    }
}

/// Sets tunables; each answer of the node is told, and whether that is well, the MGS judges.
fn set_params(jobs: &Jobs, wanted: &SetNodeParams, who: &str) -> Result<End, End> {
    let done = params::set(&jobs.host, wanted, who).map_err(|problem| End::failed(problem.to_string(), false))?;
    let set: Vec<_> = done.set.into_iter().flatten().collect();
    let refused = set.iter().filter(|one| one.error.is_some()).count();
    let message = format!("{} of {} took their value", set.len() - refused, set.len());
    let result = NodeParamResult { set, boot_id: done.boot_id };
    Ok(End { result: Some(OpResult::ParamSet(result)), ..End::done(message) })
}

fn load_proxy(host: &Host) -> Result<End, End> {
    let done = host.load_proxy()?.unwrap_or("loaded already");
    Ok(End { proxy: Some(Box::new(host.proxy())), ..End::done(format!("the kernel proxy is {done}")) })
}

fn unload_proxy(host: &Host) -> Result<End, End> {
    let done = if host.unload_proxy()? { "unloaded" } else { "not loaded" };
    Ok(End { proxy: Some(Box::new(host.proxy())), ..End::done(format!("the kernel proxy is {done}")) })
}
