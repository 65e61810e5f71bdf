//! A journal on a disk that is full: a small tmpfs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{ProblemCode, job::JobState};
use node::{MIB, Node, op};
use std::{path::Path, path::PathBuf, process::Command};

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
    assert!(node.formatted("first", &op("gold-OST0000", &first)).await.changed);
    let filler = disk.fill();
    // Small entries may still find room in the file: until one does not, they are done as ever.
    let mut refused = None;
    for n in 0..2000 {
        let id = format!("again-{n}");
        match node.put(&id, &op("gold-OST0000", &first)).await {
            Ok(_) => drop(node.end_of(&id).await),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    let problem = refused.expect("a full disk refuses new jobs");
    assert_eq!(problem.code, ProblemCode::Unavailable, "{problem}");
    assert!(problem.message.contains("journal"), "{problem}");
    assert!(node.put("second", &op("gold-OST0001", &second)).await.is_err());
    assert_eq!(node.device(&second).await.content, "blank", "what could not be journaled was not begun");
    std::fs::remove_file(filler).unwrap();
    node.restart();
    assert_eq!(node.job("first").await.state, JobState::Done, "what was journaled is there");
    assert!(node.formatted("second", &op("gold-OST0001", &second)).await.changed);
    node.kill_agent();
}
