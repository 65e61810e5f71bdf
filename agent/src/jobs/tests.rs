//! Jobs on a journal whose disk fails: with an error, or in a way that makes its database panic.

use super::*;
use crate::host::{Sysroot, Tools};
use lustre_api::{ProblemCode, agent::StartOp};
use redb::{Database, StorageBackend, backends::FileBackend};
use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc,
    },
    time::Duration,
};

const WORKS: u8 = 0;
const FULL: u8 = 1;
const PANICS: u8 = 2;
const PANICS_SLOWLY: u8 = 3;
/// What the disk does. Tests run in a process each, and those here share one.
static DISK: AtomicU8 = AtomicU8::new(WORKS);

#[derive(Debug)]
struct Disk(FileBackend);

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        match DISK.load(Ordering::SeqCst) {
            FULL => Err(io::ErrorKind::StorageFull.into()),
            PANICS => panic!("the disk is gone"),
            PANICS_SLOWLY => {
                thread::sleep(Duration::from_millis(300));
                DISK.store(WORKS, Ordering::SeqCst);
                panic!("the disk is gone");
            }
            _ => self.0.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.0.close()
    }
}

fn open(path: &Path) -> Result<Database, redb::Error> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    Ok(Database::builder().create_with_backend(Disk(FileBackend::new(file)?))?)
}

fn jobs(dir: &Path) -> Arc<Jobs> {
    let journal = Journal::open_with(&dir.join("agent.redb"), open).unwrap();
    let host = Arc::new(Host::new(Sysroot::default(), Tools::from_dir(None)));
    Jobs::start_on(journal, host, dir, None).unwrap()
}

/// A job that fails at once: there is no such device.
fn op(device: &str) -> AgentOp {
    let svname = "gold-OST0001".parse().unwrap();
    AgentOp::Start(StartOp { svname, device: format!("/nowhere/{device}"), mountpoint: None, pool_of: None })
}

fn put(jobs: &Arc<Jobs>, name: &str) -> Result<AgentJob, Problem> {
    jobs.put(name.parse().unwrap(), op(name), "test".to_owned())
}

fn end_of(jobs: &Jobs, name: &str) -> AgentJob {
    let id = name.parse().unwrap();
    let begun = std::time::Instant::now();
    loop {
        let job = jobs.get(&id).unwrap();
        if job.state.is_final() {
            return job;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{job:#?}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_disk_that_fails_or_makes_the_database_panic_refuses_by_name_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(dir.path());
    let journal = dir.path().join("agent.redb");
    put(&jobs, "first").unwrap();
    assert_eq!(end_of(&jobs, "first").state, JobState::Failed);
    for (disk, says) in [(FULL, "free some space"), (PANICS, "the disk is gone")] {
        DISK.store(disk, Ordering::SeqCst);
        let name = format!("refused-{disk}");
        // The second finds the journal closed, and can't open it either.
        for _ in 0..2 {
            let problem = put(&jobs, &name).unwrap_err();
            assert_eq!(problem.code, ProblemCode::Unavailable, "{problem}");
            assert!(problem.message.contains(journal.to_str().unwrap()), "{problem}");
            assert!(problem.message.contains(says), "{problem}");
        }
        DISK.store(WORKS, Ordering::SeqCst);
        put(&jobs, &format!("again-{disk}")).unwrap();
        assert!(jobs.get(&name.parse().unwrap()).is_err());
    }
    let names = ["first", "again-1", "again-2"];
    names.iter().for_each(|name| drop(end_of(&jobs, name)));
    drop(jobs);
    // What the next agent finds is what was accepted, and all of it.
    let left = Journal::open(&journal).unwrap().load().unwrap();
    let left: Vec<_> = left.iter().map(|entry| entry.job.id.as_str()).collect();
    assert_eq!(left.len(), names.len(), "{left:?}");
    assert!(names.iter().all(|name| left.contains(name)), "{left:?}");
}

#[test]
fn who_waits_for_a_write_that_panics_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let jobs = jobs(dir.path());
    DISK.store(PANICS_SLOWLY, Ordering::SeqCst);
    let (told, answers) = mpsc::channel();
    // The same job again, another one, a cancel: all behind the first write.
    for n in 0..4 {
        let (jobs, told) = (jobs.clone(), told.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20 * n));
            let answer = match n {
                0 | 1 => put(&jobs, "same").map(drop),
                2 => put(&jobs, "other").map(drop),
                _ => jobs.cancel(&"same".parse().unwrap()).map(drop),
            };
            told.send((n, answer))
        });
    }
    let mut answers: Vec<_> =
        (0..4).map(|_| answers.recv_timeout(Duration::from_secs(60)).expect("somebody waits for ever")).collect();
    answers.sort_by_key(|(n, _)| *n);
    let problem = answers[0].1.as_ref().unwrap_err();
    assert!(problem.code == ProblemCode::Unavailable && problem.message.contains("the disk is gone"), "{problem}");
    assert!(put(&jobs, "later").is_ok());
    end_of(&jobs, "later");
}
