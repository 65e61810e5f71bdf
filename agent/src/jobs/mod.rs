//! The agent's jobs: asynchronous, idempotent by name, cancellable, and alive across restarts of the agent.
//!
//! A job is journaled before it acts. Each runs in a thread of its own, because everything that it does blocks; readers
//! see the latest state in memory. At most one job works on a device.

mod file;
mod journal;
mod pools;
mod run;
mod scan;
mod start_stop;
#[cfg(test)]
mod tests;
mod unmet;

pub use journal::{Entry, Journal, JournalError};

use crate::{
    format::{Begun, Wanted},
    host::{Host, chain},
    time::now,
    tune::Rewrite,
    userspace::Userspace,
};
use lustre_api::{
    Problem,
    agent::{AgentJob, AgentOp},
    agent_ops::{FindFilesOp, MigrateOp},
    job::{JobId, JobState},
};
use lustre_types::{Dataset, TargetKind};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
};
use tokio::sync::watch;
use tracing::{error, info};
use unmet::Unmet;

/// Jobs of this agent.
#[derive(Debug)]
pub struct Jobs {
    host: Arc<Host>,
    /// Starts targets where the kernel doesn't.
    userspace: Option<Arc<Userspace>>,
    /// Each job has a directory in here.
    dir: PathBuf,
    journal: Journal,
    known: Mutex<Known>,
    /// Told when an entry has come to the journal, or could not.
    written: Condvar,
    /// Told of every change of any job.
    changed: watch::Sender<()>,
}

/// What is known of jobs.
#[derive(Debug)]
struct Known {
    entries: BTreeMap<JobId, Entry>,
    /// Jobs whose entry is on its way to the journal, each by one thread, which doesn't hold the lock meanwhile; of new ones
    /// the place that they work on.
    writing: BTreeMap<JobId, Option<PathBuf>>,
    /// Cancelled before they came.
    unmet: Unmet,
}

impl Jobs {
    /// Opens the journal in `state_dir` and goes on with every job that isn't finished.
    pub fn start(host: Arc<Host>, state_dir: &std::path::Path) -> Result<Arc<Self>, JournalError> {
        Self::start_with(host, state_dir, None)
    }

    /// As [`Jobs::start`]; targets are started by `userspace` where there is one.
    pub fn start_with(
        host: Arc<Host>,
        state_dir: &std::path::Path,
        userspace: Option<Arc<Userspace>>,
    ) -> Result<Arc<Self>, JournalError> {
        Self::start_on(Journal::open(&state_dir.join("agent.redb"))?, host, state_dir, userspace)
    }

    fn start_on(
        journal: Journal,
        host: Arc<Host>,
        state_dir: &std::path::Path,
        userspace: Option<Arc<Userspace>>,
    ) -> Result<Arc<Self>, JournalError> {
        let mut loaded = journal.load()?;
        let old = journal.prune(&loaded, now())?;
        loaded.retain(|entry| !old.contains(&entry.job.id));
        let unfinished: Vec<JobId> =
            loaded.iter().filter(|entry| !entry.job.state.is_final()).map(|entry| entry.job.id.clone()).collect();
        let entries = loaded.into_iter().map(|entry| (entry.job.id.clone(), entry)).collect();
        let unmet = Unmet::load(&journal)?;
        let jobs = Arc::new(Self {
            host,
            userspace,
            dir: state_dir.join("jobs"),
            journal,
            known: Mutex::new(Known { entries, writing: BTreeMap::new(), unmet }),
            written: Condvar::new(),
            changed: watch::Sender::new(()),
        });
        for id in unfinished {
            info!(job_id = %id, "job goes on after a restart of the agent");
            jobs.clone().spawn(id);
        }
        Ok(jobs)
    }

    /// Starts a job, or gives the one that was started under this name. One that was cancelled before it came is accepted
    /// as cancelled.
    ///
    /// Errors: an operation that can't be; the name belongs to another operation; another job works on the device.
    pub fn put(self: &Arc<Self>, id: JobId, op: AgentOp, who: String) -> Result<AgentJob, Problem> {
        check(&op)?;
        let device = self.place_of(&op);
        let known = self.known_without(|other, place| *other == id || place.as_ref() == Some(&device));
        if let Some(entry) = known.entries.get(&id) {
            return if entry.job.op == op {
                Ok(entry.job.clone())
            } else {
                Err(Problem::conflict(format!("job {id} exists and does something else")).remedy("choose another id"))
            };
        }
        let is_cancelled = known.unmet.holds(&id, now());
        let active = known
            .entries
            .values()
            .filter(|_| !is_cancelled)
            .find(|entry| !entry.job.state.is_final() && self.place_of(&entry.job.op) == device);
        if let Some(active) = active {
            return Err(Problem::conflict(format!("job {} is at work on {}", active.job.id, device.display()))
                .remedy(format!("wait for it, or cancel it: POST /v1/jobs/{}/cancel", active.job.id)));
        }
        let created = now();
        let mut job = AgentJob::new(id.clone(), op, who, created);
        if is_cancelled {
            job.state = JobState::Cancelled;
            job.message = Some("cancelled before this call for it arrived; nothing was touched".to_owned());
            job.retryable = true;
            job.ended = Some(created);
        }
        let entry = Entry { job: job.clone(), begun: None, rewrite: None, imports: None };
        let (mut known, accepted) = self.write(known, &id, Some(device), || self.journal.accept(&entry));
        accepted.map_err(|error| Problem::unavailable(chain(&error)))?;
        known.entries.insert(id.clone(), entry);
        drop(known);
        self.changed.send_replace(());
        if is_cancelled {
            info!(job_id = %id, who = job.who, "job came after its cancel, and does not run");
        } else {
            info!(job_id = %id, who = job.who, "job accepted");
            self.clone().spawn(id);
        }
        Ok(job)
    }

    /// Asks a job to stop. A finished job stays as it is.
    ///
    /// Errors: there is no such job; then there will be none for an hour, and should the call that starts it arrive late,
    /// the job does not run.
    pub fn cancel(&self, id: &JobId) -> Result<AgentJob, Problem> {
        {
            // In one critical section with the look for the job: it may arrive right now.
            let mut known = self.known_without(|other, _| other == id);
            if !known.entries.contains_key(id) {
                known.unmet.add(&self.journal, id, now())?;
                return Err(unknown(id));
            }
        }
        self.update(id, |entry| {
            if !entry.job.state.is_final() {
                entry.job.state = JobState::Cancelling;
            }
        })
        .map_err(|error| Problem::unavailable(chain(&error)))?
        .ok_or_else(|| unknown(id))
    }

    /// A job as it is now.
    pub fn get(&self, id: &JobId) -> Result<AgentJob, Problem> {
        self.known().entries.get(id).map(|entry| entry.job.clone()).ok_or_else(|| unknown(id))
    }

    /// All jobs, oldest first.
    pub fn list(&self) -> Vec<AgentJob> {
        let mut jobs: Vec<AgentJob> = self.known().entries.values().map(|entry| entry.job.clone()).collect();
        jobs.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        jobs
    }

    /// What starts targets where the kernel doesn't.
    pub fn userspace(&self) -> Option<&Userspace> {
        self.userspace.as_deref()
    }

    /// Wakes whoever waits for news of any job.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What an operation keeps others from: its device, by its canonical path; the files of an OST; a tunable.
    fn place_of(&self, op: &AgentOp) -> PathBuf {
        match op.device() {
            Some(device) => std::fs::canonicalize(device).unwrap_or_else(|_| device.into()),
            None => match op {
                AgentOp::SetParam(wanted) => {
                    let first = wanted.settings.first().map_or("none", |setting| setting.pattern.as_str());
                    format!("the tunable {first}").into()
                }
                AgentOp::Scan(_) => "the list of devices".into(),
                _ => op.svname().map_or_else(PathBuf::new, |svname| format!("the files of {svname}").into()),
            },
        }
    }

    /// What a change of a target has journaled of what it writes.
    fn rewrite(&self, id: &JobId) -> Option<Rewrite> {
        self.known().entries.get(id).and_then(|entry| entry.rewrite.clone())
    }

    /// Whether a start has journaled that it imports a pool.
    fn imports(&self, id: &JobId) -> bool {
        self.known().entries.get(id).is_some_and(|entry| entry.imports.is_some())
    }

    /// What other jobs than this one are about to do in a ZFS pool; stops are not counted.
    fn at_work_in(&self, pool: &str, id: &JobId) -> Vec<String> {
        let known = self.known();
        let others = known.entries.values().map(|entry| &entry.job);
        let others = others.filter(|job| job.id != *id && !job.state.is_final() && !matches!(job.op, AgentOp::Stop(_)));
        let in_pool = others.filter_map(|job| Some((job, job.op.device()?.parse::<Dataset>().ok()?)));
        in_pool
            .filter(|(_, dataset)| dataset.pool() == pool)
            .map(|(job, dataset)| format!("job {} is at work on {dataset}", job.id))
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it is held")
    }

    /// What is known once nothing is on its way to the journal that `is_awaited`.
    fn known_without(&self, is_awaited: impl Fn(&JobId, &Option<PathBuf>) -> bool) -> MutexGuard<'_, Known> {
        let is_under_way = |known: &mut Known| known.writing.iter().any(|(id, place)| is_awaited(id, place));
        self.written.wait_while(self.known(), is_under_way).expect("nothing panics while it is held")
    }

    /// Has `write` bring an entry to the journal, and lets others go on meanwhile: with as many as come, one commit is enough.
    fn write<'a, T>(
        &'a self,
        mut known: MutexGuard<'a, Known>,
        id: &JobId,
        place: Option<PathBuf>,
        write: impl FnOnce() -> T,
    ) -> (MutexGuard<'a, Known>, T) {
        known.writing.insert(id.clone(), place);
        drop(known);
        let under_way = UnderWay { jobs: self, id, is_over: false };
        let written = write();
        (under_way.end(), written)
    }

    fn end_writing(&self, id: &JobId) -> MutexGuard<'_, Known> {
        let mut known = self.known();
        known.writing.remove(id);
        self.written.notify_all();
        known
    }

    fn spawn(self: Arc<Self>, id: JobId) {
        let name = format!("job-{id}").chars().take(15).collect();
        let jobs = self.clone();
        let job = id.clone();
        let spawned = thread::Builder::new().name(name).spawn(move || run::run(&jobs, &job));
        if let Err(error) = spawned {
            error!(job_id = %id, %error, "can't start a thread for the job; it goes on with the next start of the agent");
        }
    }

    /// Changes a job. It is journaled first, and only then seen by anybody. `change` is made twice: to what goes to the
    /// journal, and to what has become of the job by then.
    fn update(&self, id: &JobId, change: impl Fn(&mut Entry)) -> Result<Option<AgentJob>, JournalError> {
        let known = self.known_without(|other, _| other == id);
        let Some(entry) = known.entries.get(id) else { return Ok(None) };
        let mut next = entry.clone();
        make(&mut next, &change);
        let (mut known, written) = self.write(known, id, None, || self.journal.put(&next));
        written?;
        let job = known.entries.get_mut(id).map(|entry| {
            make(entry, change);
            entry.job.clone()
        });
        drop(known);
        self.changed.send_replace(());
        Ok(job)
    }

    /// Changes a job in memory only: what is lost with the agent, and no harm.
    fn note(&self, id: &JobId, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.known().entries.get_mut(id) {
            make(entry, change);
        }
        self.changed.send_replace(());
    }

    fn begun(&self, id: &JobId) -> Option<Begun> {
        self.known().entries.get(id).and_then(|entry| entry.begun.clone())
    }
}

/// An entry that is on its way to the journal. Whatever becomes of its writer, nobody waits for it when this is gone.
struct UnderWay<'a, 'b> {
    jobs: &'a Jobs,
    id: &'b JobId,
    is_over: bool,
}

impl<'a> UnderWay<'a, '_> {
    /// It has come, or could not; who has what is known changes it before anybody else sees it.
    fn end(mut self) -> MutexGuard<'a, Known> {
        self.is_over = true;
        self.jobs.end_writing(self.id)
    }
}

impl Drop for UnderWay<'_, '_> {
    fn drop(&mut self) {
        if !self.is_over {
            drop(self.jobs.end_writing(self.id));
        }
    }
}

fn make(entry: &mut Entry, change: impl FnOnce(&mut Entry)) {
    change(entry);
    // Wall-clock milliseconds keep it growing across restarts too, when progress that was never journaled is lost.
    entry.job.version = (entry.job.version + 1).max(now().unix_ms());
}

/// Refuses at once what could never work.
fn check(op: &AgentOp) -> Result<(), Problem> {
    match op {
        AgentOp::Format(op) => {
            Wanted::from_op(op).map(drop).map_err(|error| Problem::invalid(chain(&error)).attribute(error.attribute()))
        }
        AgentOp::SetParam(wanted) => crate::params::check(wanted),
        AgentOp::LoadProxy | AgentOp::UnloadProxy => Ok(()),
        AgentOp::Scan(op) => match op.device_timeout_s.filter(|seconds| !(1..=600).contains(seconds)) {
            Some(seconds) => Err(Problem::invalid(format!("device_timeout_s is {seconds}; 1 to 600 are possible"))
                .attribute("device_timeout_s")),
            None => Ok(()),
        },
        AgentOp::Start(_) | AgentOp::Stop(_) | AgentOp::Tune(_) | AgentOp::Relabel(_) => {
            let device = op.device().unwrap_or_default();
            if device.starts_with('/') || Dataset::is_meant(device) {
                Ok(())
            } else {
                Err(Problem::invalid(format!("device path {device:?} must be absolute")).attribute("device"))
            }
        }
        AgentOp::Migrate(MigrateOp { ost, mountpoint, .. })
        | AgentOp::FindFiles(FindFilesOp { ost, mountpoint, .. }) => {
            if ost.kind() != TargetKind::Ost {
                return Err(Problem::invalid(format!("{ost} is no OST")).attribute("ost"));
            }
            match mountpoint.as_ref().filter(|path| !path.starts_with('/')) {
                Some(path) => {
                    Err(Problem::invalid(format!("mount point {path:?} must be absolute")).attribute("mountpoint"))
                }
                None => Ok(()),
            }
        }
    }
}

fn unknown(id: &JobId) -> Problem {
    Problem::not_found(format!("this agent has no job {id}"))
}
