//! A journal on a disk that is full: a small tmpfs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{Problem, ProblemCode, job::JobState};
use nix::sys::signal::{Signal, kill};
use node::{MIB, Node, TIB, mke2fs_of, op};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// A tmpfs, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mounted(at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let status = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(at).status().unwrap();
        assert!(status.success(), "this test needs root: it mounts a tmpfs");
        Self(at.to_owned())
    }

    /// Takes all that is free.
    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        while std::io::Write::write(&mut file, &[0; 4096]).is_ok_and(|written| written > 0) {}
        filler
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_under_the_journal_refuses_new_jobs_touches_nothing_and_loses_none() {
    let mut node = Node::start();
    node.kill_agent();
    let disk = Disk::mounted(&node.path("state"));
    node.restart();
    let (first, second) = (node.image("first", 64 * MIB), node.image("second", 64 * MIB));
    assert!(node.formatted("first", &op("gold-OST0001", &first)).await.changed);
    let filler = disk.fill();
    let (problem, _) = fill_journal(&node, &first).await;
    let journal = node.path("state/agent.redb");
    assert!(problem.message.contains(journal.to_str().unwrap()), "{problem}");
    assert!(problem.message.contains("free some space"), "{problem}");
    // Where the journal, opened anew, has room for it all the same, there is none for its files.
    let was_accepted = node.put("second", &op("gold-OST0002", &second)).await.is_ok();
    if was_accepted {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(node.device(&second).await.content, "blank", "what could not be journaled was not begun");
    std::fs::remove_file(filler).unwrap();
    node.restart();
    assert_eq!(node.job("first").await.state, JobState::Done, "what was journaled is there");
    if was_accepted {
        node.end_of("second").await;
    }
    assert!(!node.formatted("third", &op("gold-OST0002", &second)).await.formatted_as.incomplete);
    node.kill_agent();
}

#[tokio::test]
async fn a_journal_that_was_full_needs_no_restart_and_what_ended_meanwhile_is_done() {
    let mut node = Node::start();
    node.kill_agent();
    let disk = Disk::mounted(&node.path("state"));
    node.restart();
    let (image, first) = (node.image("mdt", 4 * TIB), node.image("first", 64 * MIB));
    assert!(node.formatted("first", &op("gold-OST0001", &first)).await.changed);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let begun = node.job("job").await;
    let filler = disk.fill();
    let (_, refused) = fill_journal(&node, &first).await;
    kill(mke2fs, Signal::SIGCONT).unwrap();
    // Done on the disk; that is told when it is in the journal.
    while mke2fs_of(&begun).is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::remove_file(filler).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert!(!node.formatted("later", &op("gold-OST0001", &first)).await.changed);
    // What was refused does not come to life with the next agent either.
    node.restart();
    assert_eq!(node.job("job").await.state, JobState::Done);
    assert_eq!(node.try_cancel(&refused).await.unwrap_err().code, ProblemCode::NotFound);
    node.kill_agent();
}

/// Small jobs one after the other until one is refused, as there is no room for it in the journal; the refusal and the job.
async fn fill_journal(node: &Node, formatted: &Path) -> (Problem, String) {
    // Small entries may still find room in the file: until one does not, they are done as ever.
    for n in 0..2000 {
        let id = format!("again-{n}");
        match node.put(&id, &op("gold-OST0001", formatted)).await {
            Ok(_) => drop(node.end_of(&id).await),
            Err(problem) => {
                assert_eq!(problem.code, ProblemCode::Unavailable, "{problem}");
                return (problem, id);
            }
        }
    }
    panic!("a full disk refuses new jobs");
}
