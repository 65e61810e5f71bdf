//! A look at all devices as a job: with progress, cancelled within a second, and without waiting for a disk that hangs.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{agent::AgentOp, agent_ops::ScanOp, device::RefusalCode, job::JobState};
use node::{MIB, Node, op};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    time::{Duration, Instant},
};

fn scan(device_timeout_s: u32) -> AgentOp {
    AgentOp::Scan(ScanOp { device_timeout_s: Some(device_timeout_s) })
}

/// A node on which every look at the image `hung` waits for a disk that does not answer: `wipefs` stands in for it.
fn with_a_hung_disk(names: &[&str]) -> Node {
    let mut node = Node::start();
    let bin = node.path("bin");
    fs::create_dir(&bin).unwrap();
    let text = "#!/bin/sh\ncase \"$*\" in */hung) exec sleep 3600;; esac\nPATH=${PATH#*:}\nexec wipefs \"$@\"\n";
    fs::write(bin.join("wipefs"), text).unwrap();
    fs::set_permissions(bin.join("wipefs"), fs::Permissions::from_mode(0o755)).unwrap();
    for name in names {
        let image = node.image(name, 64 * MIB);
        if *name == "hung" {
            // One that looks blank is not asked about.
            fs::OpenOptions::new().write(true).open(image).unwrap().write_all_at(b"data", 0).unwrap();
        }
    }
    node.set_env("PATH", &format!("{}:{}", bin.display(), std::env::var("PATH").unwrap()));
    node
}

#[tokio::test]
async fn a_disk_that_does_not_answer_is_named_and_the_scan_tells_of_all_others() {
    let node = with_a_hung_disk(&["a", "b", "hung"]);
    node.formatted("format", &op("gold-OST0001", &node.path("images/a"))).await;
    node.put_op("scan", &scan(2)).await.unwrap();
    let job = node.end_of("scan").await;
    let hung = node.path("images/hung").display().to_string();
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    let message = job.message.unwrap();
    assert!(message.contains(&format!("1 did not answer: {hung}")), "{message}");
    let line = |name: &str| {
        let path = node.path("images").join(name).display().to_string();
        job.output.iter().find(|line| line.starts_with(&path)).unwrap_or_else(|| panic!("{name}: {:#?}", job.output))
    };
    assert!(line("a").contains("lustre gold-OST0001") && line("b").ends_with("blank"), "{:#?}", job.output);
    assert!(line("hung").contains("has not answered for 2 s"), "{}", line("hung"));
    let progress = job.progress.unwrap();
    assert_eq!((Some(progress.done), progress.unit.as_str()), (progress.total, "devices"));

    // Whoever asks for the devices is not kept waiting either, for it is known by now.
    let asked = Instant::now();
    let seen = node.device(&node.path("images/hung")).await;
    assert!(asked.elapsed() < Duration::from_secs(60));
    let refusal = seen.refusals.iter().find(|refusal| refusal.code == RefusalCode::Unusable).unwrap();
    assert!(refusal.message.contains("has not answered"), "{}", refusal.message);
    assert_eq!(node.device(&node.path("images/b")).await.content, "blank");
}

#[tokio::test]
async fn a_scan_is_cancelled_within_a_second_also_while_a_disk_hangs() {
    let node = with_a_hung_disk(&["a", "hung"]);
    node.put_op("scan", &scan(600)).await.unwrap();
    node.wait_for("scan", |job| {
        job.progress.as_ref().is_some_and(|progress| Some(progress.done + 1) == progress.total)
    })
    .await;
    let asked = Instant::now();
    node.cancel("scan").await;
    let job = node.end_of("scan").await;
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert!(asked.elapsed() < Duration::from_secs(10), "busy machines included: {:?}", asked.elapsed());
    assert!(job.message.unwrap().contains("devices had been looked at"));
    // It can be asked for again.
    node.put_op("again", &scan(1)).await.unwrap();
    assert_eq!(node.end_of("again").await.state, JobState::Done);
}

#[tokio::test]
async fn a_time_that_no_device_can_be_given_is_refused_and_a_scan_outlives_its_agent() {
    let mut node = with_a_hung_disk(&["a", "hung"]);
    let refused = node.put_op("wrong", &scan(601)).await.unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("device_timeout_s"));
    node.put_op("scan", &scan(3)).await.unwrap();
    node.restart();
    let job = node.end_of("scan").await;
    assert_eq!(job.state, JobState::Done, "it begins anew with the next agent: {job:#?}");
}
