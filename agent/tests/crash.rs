//! Agents and `mke2fs` killed and cancelled in the middle of a format.
//!
//! A metadata target of 4 TiB on a sparse file keeps `mke2fs` busy for long enough to be met at work; it is then halted
//! with SIGSTOP, so that each test decides what happens next.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{agent::FormatOp, job::JobState};
use nix::sys::signal::{Signal, kill};
use node::{MIB, Node, TIB, ends_of, mke2fs_of, op, run, uuid_of};
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_format_outlives_its_agent_and_the_next_agent_takes_it_over() {
    let mut node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let begun = node.job("job").await;
    node.kill_agent();
    node.restart();
    // The new agent tells progress of the very process that the old one started.
    node.wait_for("job", |job| job.progress.is_some()).await;
    assert_eq!(mke2fs_of(&begun), Some(mke2fs));
    kill(mke2fs, Signal::SIGCONT).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    let made_by = job.formatted.as_ref().unwrap().formatted_as.uuid.clone();
    assert_eq!(made_by, uuid_of(&begun));
    assert!(job.formatted.unwrap().changed);
    assert!(node.check(&op("gold-MDT0000", &image)).await.unwrap().is_same);
}

#[tokio::test]
async fn a_format_whose_agent_and_mke2fs_were_killed_is_begun_again() {
    let mut node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    let mut op = op("gold-MDT0000", &image);
    op.expect_content = Some("blank".into());
    node.put("job", &op).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    node.kill_agent();
    kill(mke2fs, Signal::SIGKILL).unwrap();
    node.restart();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Done, "{job:#?}");
    assert_eq!(job.formatted.unwrap().formatted_over, "blank");
}

#[tokio::test]
async fn a_cancelled_format_ends_within_a_second_and_is_no_target() {
    let node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    let op = op("gold-MDT0000", &image);
    node.put("job", &op).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let asked = Instant::now();
    node.cancel("job").await;
    let job = node.end_of("job").await;
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert!(job.message.unwrap().contains("unfinished format of gold-MDT0000"));
    assert!(kill(mke2fs, None).is_err(), "mke2fs is still there");
    let device = node.device(&image).await;
    assert!(device.content.starts_with("lustre gold-MDT0000 (unfinished)"), "{device:#?}");
    assert!(device.formatted_as.unwrap().incomplete);
    // Twice, and after the end: nothing changes.
    assert_eq!(node.cancel("job").await.state, JobState::Cancelled);
    assert!(node.formatted("again", &op).await.changed, "an unfinished format may be begun again");
}

#[tokio::test]
async fn an_adopted_format_can_be_cancelled() {
    let mut node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let begun = node.job("job").await;
    node.kill_agent();
    node.restart();
    assert_eq!(mke2fs_of(&begun), Some(mke2fs), "it outlived its agent");
    let asked = Instant::now();
    node.cancel("job").await;
    let job = node.end_of("job").await;
    assert!(asked.elapsed() < Duration::from_secs(1), "it took {:?}", asked.elapsed());
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert_eq!(mke2fs_of(&begun), None);
    assert!(node.device(&image).await.formatted_as.unwrap().incomplete);
}

#[tokio::test]
async fn a_cancel_survives_the_agent_and_marks_what_a_dead_mke2fs_left() {
    let mut node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    // Asked and killed at once: the cancel is in the journal, whether or not the agent got to obeying it.
    node.cancel("job").await;
    node.kill_agent();
    // It may be gone already.
    let _ = kill(mke2fs, Signal::SIGKILL);
    node.restart();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Cancelled, "{job:#?}");
    assert!(node.device(&image).await.formatted_as.unwrap().incomplete);
}

#[tokio::test]
async fn a_killed_mke2fs_is_a_failure_that_leaves_no_target() {
    let node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    kill(node.halted_mke2fs("job").await, Signal::SIGKILL).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Failed, "{job:#?}");
    assert!(job.message.unwrap().contains("signal: 9"));
    assert!(node.device(&image).await.formatted_as.unwrap().incomplete);
}

#[tokio::test]
async fn a_second_job_on_a_busy_device_names_the_first_and_others_go_on() {
    let node = Node::start();
    let busy = node.image("mdt", 4 * TIB);
    node.put("first", &op("gold-MDT0000", &busy)).await.unwrap();
    node.halted_mke2fs("first").await;
    let problem = node.put("second", &op("gold-MDT0000", &busy)).await.unwrap_err();
    assert_eq!(problem.code, lustre_api::ProblemCode::Conflict);
    assert!(problem.message.contains("job first is at work"), "{problem}");
    let other = node.image("ost", 300 * MIB);
    assert!(node.formatted("other", &op("gold-OST0000", &other)).await.changed);
    node.cancel("first").await;
    node.end_of("first").await;
}

#[tokio::test]
async fn progress_is_told_while_mke2fs_works_and_is_never_old() {
    let node = Node::start();
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let job = node.wait_for("job", |job| job.progress.is_some()).await;
    let first = job.progress.unwrap().at;
    // Halted, it prints nothing: that this is how things stand is told all the same.
    let job = node.wait_for("job", |job| job.progress.as_ref().is_some_and(|progress| progress.at > first)).await;
    let age = job.progress.unwrap().at.unix_ms() - first.unix_ms();
    assert!(age < 2000, "{age} ms");
    kill(mke2fs, Signal::SIGCONT).unwrap();
    let job = node.end_of("job").await;
    assert_eq!(job.state, JobState::Done);
    assert!(job.output.iter().any(|line| line.contains("Writing inode tables: done")), "{:#?}", job.output);
}

#[tokio::test]
async fn what_came_onto_the_device_after_a_crash_is_left_alone_whatever_the_flags() {
    for is_cancelled in [false, true] {
        let mut node = Node::start();
        let image = node.image("mdt", 4 * TIB);
        let op = FormatOp { allow_reformat: true, ..op("gold-MDT0000", &image) };
        node.put("job", &op).await.unwrap();
        let mke2fs = node.halted_mke2fs("job").await;
        if is_cancelled {
            node.cancel("job").await;
        }
        node.kill_agent();
        let _ = kill(mke2fs, Signal::SIGKILL);
        // A cancel may have been obeyed already; then there is nothing left to resume.
        run("mkfs.xfs", &["-q", "-f", image.to_str().unwrap()]);
        let before = ends_of(&image);
        node.restart();
        let job = node.end_of("job").await;
        assert!(is_cancelled || job.state == JobState::Failed, "{job:#?}");
        assert_eq!(ends_of(&image), before, "{job:#?}");
    }
}

#[tokio::test]
async fn a_file_system_that_was_cut_off_at_its_end_is_begun_again() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    run("mke2fs", &["-q", "-F", "-L", "lustre-partial", image.to_str().unwrap()]);
    assert!(node.formatted("again", &op("gold-OST0000", &image)).await.changed);
}

#[tokio::test]
async fn a_job_that_arrives_after_its_cancel_does_not_run_also_after_a_restart() {
    let mut node = Node::start();
    let image = node.image("ost", 300 * MIB);
    for (id, is_restarted) in [("late", false), ("later", true)] {
        let problem = node.try_cancel(id).await.unwrap_err();
        assert_eq!(problem.code, lustre_api::ProblemCode::NotFound, "{problem}");
        if is_restarted {
            node.restart();
        }
        let job = node.put(id, &op("gold-OST0000", &image)).await.unwrap();
        assert_eq!((job.state, job.retryable), (JobState::Cancelled, true), "{job:#?}");
        assert!(job.message.unwrap().contains("nothing was touched"));
        assert_eq!(node.device(&image).await.content, "blank");
        assert_eq!(node.cancel(id).await.state, JobState::Cancelled);
    }
    assert!(node.formatted("another", &op("gold-OST0000", &image)).await.changed);
}

#[tokio::test]
async fn a_cancel_that_comes_twice_or_too_late_changes_nothing() {
    let node = Node::start();
    let image = node.image("ost", 300 * MIB);
    let done = node.format("done", &op("gold-OST0000", &image)).await;
    assert_eq!(done.state, JobState::Done, "{done:#?}");
    let after = node.cancel("done").await;
    assert_eq!((after.state, &after.message, after.ended), (JobState::Done, &done.message, done.ended));
    assert!(!node.device(&image).await.formatted_as.unwrap().incomplete);
    let busy = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &busy)).await.unwrap();
    node.halted_mke2fs("job").await;
    let (first, second) = tokio::join!(node.cancel("job"), node.cancel("job"));
    for asked in [first, second] {
        assert!(matches!(asked.state, JobState::Cancelling | JobState::Cancelled), "{asked:#?}");
    }
    let ended = node.end_of("job").await;
    assert_eq!(ended.state, JobState::Cancelled, "{ended:#?}");
    let later = node.cancel("job").await;
    assert_eq!((later.state, later.message), (JobState::Cancelled, ended.message));
}

/// The wall clock jumps under the agent: an hour back, two hours on.
#[tokio::test]
async fn a_job_is_followed_cancelled_and_ended_whatever_the_clock_does() {
    let mut node = Node::start();
    let library = std::fs::read_dir("/usr/lib")
        .unwrap()
        .filter_map(|dir| Some(dir.ok()?.path().join("faketime/libfaketimeMT.so.1")))
        .find(|path| path.exists());
    let library = library.expect("libfaketime is missing; tools/setup installs it (Debian: faketime)");
    let clock = node.path("clock");
    std::fs::write(&clock, "+0").unwrap();
    node.set_env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap());
    node.set_env("FAKETIME_CACHE_DURATION", "1");
    node.set_env("DONT_FAKE_MONOTONIC", "1");
    node.set_env("LD_PRELOAD", library.to_str().unwrap());
    let image = node.image("mdt", 4 * TIB);
    node.put("job", &op("gold-MDT0000", &image)).await.unwrap();
    let mke2fs = node.halted_mke2fs("job").await;
    let mut seen = node.wait_for("job", |job| job.progress.is_some()).await;
    for jump in ["-1h", "+2h", "-3h"] {
        std::fs::write(&clock, jump).unwrap();
        let hours = |job: &lustre_api::agent::AgentJob| job.progress.as_ref().unwrap().at.unix_ms() / 3_600_000;
        let before = hours(&seen);
        let news = node.wait_for("job", |job| hours(job) != before).await;
        assert!(news.version > seen.version, "{jump}: {} then {}", seen.version, news.version);
        seen = news;
        // A new agent knows nothing of the progress before, and its clock is behind.
        node.restart();
        seen = node.wait_for("job", |job| job.version != seen.version && job.progress.is_some()).await;
    }
    kill(mke2fs, Signal::SIGCONT).unwrap();
    assert_eq!(node.end_of("job").await.state, JobState::Done);
    assert_eq!(node.cancel("job").await.state, JobState::Done);
}
