//! Jobs go on through restarts of the MGS, silence of agents and changes of mind.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod cluster;

use cluster::{Cluster, caller, soon};
use futures::StreamExt;
use lustre_api::job::{JobId, JobPath, JobQuery, JobState, WaitQuery, WatchQuery};
use lustre_api::target::{TargetPath, TargetState};
use lustre_api::{Problem, WriteQuery};

const SLOW: fn(&Cluster) = |cluster| cluster.nodes.set_slow();

/// A format that the node is at, and ends when it is told to.
async fn at_work(cluster: &Cluster) -> JobId {
    SLOW(cluster);
    let id = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    cluster.nodes.has_job().await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_is_formatted_and_registered() {
    let cluster = Cluster::new().await;
    let job = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    let job = cluster.end_of(&job).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    let target = cluster.target("scratch-OST0000");
    assert_eq!(target.state, TargetState::Registered);
    assert_eq!(target.uuid.as_deref(), Some("uuid of /dev/sdb"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_goes_on_after_a_restart_and_nothing_runs_twice() {
    let mut cluster = Cluster::new().await;
    let job = at_work(&cluster).await;
    cluster.restart().await;
    cluster.restart().await;
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&job).await.state, JobState::Done);
    assert_eq!(cluster.nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
    assert_eq!(cluster.target("scratch-OST0000").state, TargetState::Registered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_wakes_who_waits_for_it() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    let path = JobPath { id: id.clone() };
    let mut seen = 0;
    for done in [10, 20, 90] {
        cluster.nodes.progress(done);
        loop {
            let query = WaitQuery { wait_s: Some(20), seen: Some(seen) };
            let job = soon(cluster.api.get_job(&path, &query)).await.unwrap();
            assert!(job.version > seen, "news has a higher version");
            seen = job.version;
            if job.steps[0].progress.as_ref().is_some_and(|progress| progress.percent() == u8::try_from(done).ok()) {
                break;
            }
        }
    }
    cluster.nodes.finish();
    assert!(cluster.end_of(&id).await.version > seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_waits_for_an_agent_that_does_not_answer() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    cluster.nodes.set_down(true);
    let path = JobPath { id: id.clone() };
    let mut seen = 0;
    let message = loop {
        let query = WaitQuery { wait_s: Some(20), seen: Some(seen) };
        let job = soon(cluster.api.get_job(&path, &query)).await.unwrap();
        seen = job.version;
        if let Some(message) = &job.steps[0].message {
            break message.clone();
        }
    };
    assert!(message.contains("oss1") && message.contains("connection refused"), "{message}");
    cluster.nodes.set_down(false);
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&id).await.state, JobState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_on_a_silent_node_is_refused_before_anything_is_stored() {
    let cluster = Cluster::new().await;
    cluster.nodes.set_down(true);
    let problem = cluster.ensure("/dev/sdb").await.unwrap_err();
    assert_eq!(problem.code, lustre_api::ProblemCode::Unavailable);
    assert!(problem.message.contains("oss1") && problem.remedy.is_some(), "{problem}");
    assert!(cluster::names(&cluster.api).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_whose_agent_refuses_fails_and_says_why() {
    let cluster = Cluster::new().await;
    cluster.nodes.refuse(Problem::refused("/dev/sdb holds xfs").remedy("name another device"));
    let id = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    let job = cluster.end_of(&id).await;
    assert_eq!(job.state, JobState::Failed);
    let error = job.error.unwrap();
    for part in [id.as_str(), "scratch-OST0000", "oss1", "/dev/sdb holds xfs", "name another device"] {
        assert!(error.contains(part), "{part} in {error}");
    }
    assert_eq!(cluster.target("scratch-OST0000").state, TargetState::Failed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_of_another_version_that_does_not_understand_a_step_fails_it_with_the_remedy() {
    let cluster = Cluster::new().await;
    cluster.nodes.refuse(Problem::invalid("unknown field `comment`"));
    let id = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    let error = cluster.end_of(&id).await.error.unwrap();
    for part in ["unknown field", "its agent is of version 0 and", "upgrade lustre-agent on oss1"] {
        assert!(error.contains(part), "{part} in {error}");
    }
}

/// Six hours pass within the test: only its clock of timers jumps, as nothing else here knows what time it is.
#[tokio::test]
async fn a_job_waits_for_hours_for_a_node_that_is_down_says_so_and_goes_on_when_it_is_back() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    cluster.nodes.set_down(true);
    let path = JobPath { id: id.clone() };
    let waits_for = || cluster.api.explain_job(&caller(), &path).unwrap().waits_for.join("\n");
    soon(async {
        while !waits_for().contains("connection refused") {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    })
    .await;
    let since = waits_for();
    tokio::time::pause();
    for _ in 0..6 * 360 {
        tokio::time::advance(std::time::Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    tokio::time::resume();
    let said = waits_for();
    for part in ["waiting for node oss1: no answer since 2", "systemctl status lustre-agent on oss1", "cancel the job"]
    {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(said, since, "since the first time");
    assert_eq!(cluster.api.get_job(&path, &WaitQuery::default()).await.unwrap().state, JobState::Running);
    cluster.nodes.set_down(false);
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&id).await.state, JobState::Done);
    assert_eq!(cluster.nodes.begun().into_values().collect::<Vec<_>>(), [1], "one format, begun once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_job_for_a_device_or_its_target_is_refused_and_names_the_first() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    assert_eq!(cluster.ensure("/dev/sdb").await.unwrap().job, Some(id.clone()), "the same again is the same job");
    let mut other = cluster::ensure("/dev/sdb");
    other.target.index = lustre_types::TargetIndex::try_from(7).ok();
    let problem = cluster.api.ensure_target(&caller(), &WriteQuery::default(), other).await.unwrap_err();
    assert_eq!(problem.code, lustre_api::ProblemCode::Conflict);
    for part in ["/dev/sdb", "scratch-OST0000", id.as_str()] {
        assert!(problem.message.contains(part), "{part} in {problem}");
    }
    let path = TargetPath { svname: "scratch-OST0000".parse().unwrap() };
    let problem = cluster.api.stop_target(&caller(), &path, &WriteQuery::default()).await.unwrap_err();
    assert_eq!(problem.code, lustre_api::ProblemCode::Conflict);
    assert!(problem.message.contains(id.as_str()) && problem.remedy.unwrap().contains("mgsctl job cancel"));
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&id).await.state, JobState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_that_comes_twice_or_too_late_changes_nothing_and_answers_what_is() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    // Its agent can't be told yet, so the first cancel is under way when the second one comes.
    cluster.nodes.set_down(true);
    let path = JobPath { id: id.clone() };
    let first = cluster.api.cancel_job(&caller(), &path).await.unwrap();
    assert_eq!(first.state, JobState::Cancelling);
    let before = cluster.api.engine.state().revision;
    assert_eq!(cluster.api.cancel_job(&caller(), &path).await.unwrap().state, JobState::Cancelling);
    assert_eq!(cluster.api.engine.state().revision, before, "nothing was written");
    cluster.nodes.set_down(false);
    assert_eq!(cluster.end_of(&id).await.state, JobState::Cancelled);
    assert_eq!(cluster.api.cancel_job(&caller(), &path).await.unwrap().state, JobState::Cancelled);

    let id = cluster.ensure("/dev/sdc").await.unwrap().job.unwrap();
    cluster.nodes.finish();
    let done = cluster.end_of(&id).await;
    let late = cluster.api.cancel_job(&caller(), &JobPath { id }).await.unwrap();
    assert_eq!((done.state, late.state, late.version), (JobState::Done, JobState::Done, done.version));
    assert_eq!(cluster.target("scratch-OST0001").state, TargetState::Registered);
    let nobody = JobPath { id: "nobody".parse().unwrap() };
    let problem = cluster.api.cancel_job(&caller(), &nobody).await.unwrap_err();
    assert!(problem.message.contains("nobody") && problem.remedy.unwrap().contains("mgsctl job list"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_job_stops_its_agent() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    cluster.api.cancel_job(&caller(), &JobPath { id: id.clone() }).await.unwrap();
    let job = cluster.end_of(&id).await;
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(job.steps[0].message.as_deref(), Some("terminated; the device is marked unfinished"));
    let target = cluster.target("scratch-OST0000");
    assert_eq!((target.state, target.label), (TargetState::Failed, None), "never taken for a formatted target");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_lost_its_journal_is_asked_again() {
    let cluster = Cluster::new().await;
    let id = at_work(&cluster).await;
    cluster.nodes.forget_all();
    cluster.nodes.has_job().await;
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&id).await.state, JobState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_shows_the_target_and_changes_nothing() {
    let cluster = Cluster::new().await;
    let revision = cluster.api.get_mgs().revision;
    let query = WriteQuery { dry_run: true, ..WriteQuery::default() };
    let written = cluster.api.ensure_target(&caller(), &query, cluster::ensure("/dev/sdb")).await.unwrap();
    assert!(written.changed);
    assert_eq!(written.object.svname.to_string(), "scratch-OST0000");
    assert_eq!(cluster.api.get_mgs().revision, revision);
    assert!(cluster::names(&cluster.api).is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_racing_callers_each_gets_an_index_of_its_own() {
    let cluster = Cluster::new().await;
    let reserve = |n: usize| {
        let api = cluster.api.clone();
        tokio::spawn(async move {
            let target = cluster::ost(&format!("/dev/disk{n}"));
            let body = lustre_api::target::Reserve { target, ttl_s: None };
            api.reserve_target(&caller(), &WriteQuery::default(), body).await.unwrap().object.target.svname
        })
    };
    let mut given = std::collections::BTreeSet::new();
    for task in (0..64).map(reserve).collect::<Vec<_>>() {
        assert!(given.insert(soon(task).await.unwrap()), "one index twice");
    }
    assert_eq!(given, cluster::names(&cluster.api));
    assert_eq!(given.last().unwrap().to_string(), "scratch-OST003f", "without a gap");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watcher_is_told_of_progress_and_end_and_goes_on_where_it_was() {
    let cluster = Cluster::new().await;
    SLOW(&cluster);
    let mut news = cluster.api.clone().watch_jobs(WatchQuery::default()).unwrap();
    let id = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    cluster.nodes.has_job().await;
    cluster.nodes.progress(40);
    let mut seen = 0;
    loop {
        let (revision, job) = soon(news.next()).await.unwrap().unwrap();
        assert_eq!(job.id, id);
        seen = revision.max(seen);
        if job.steps[0].progress.as_ref().is_some_and(|progress| progress.done == 40) {
            break;
        }
    }
    drop(news);
    cluster.nodes.finish();
    cluster.end_of(&id).await;
    let mut again = cluster.api.clone().watch_jobs(WatchQuery { after: Some(seen), ..WatchQuery::default() }).unwrap();
    let (revision, job) = soon(again.next()).await.unwrap().unwrap();
    assert_eq!((job.id, job.state), (id, JobState::Done), "the end is told although it came in between");
    assert!(revision > seen);
    let mut late = cluster.api.clone().watch_jobs(WatchQuery::default()).unwrap();
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(300), late.next()).await;
    assert!(nothing.is_err(), "what is over does not concern who comes now");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_filtered_by_state_and_object() {
    let cluster = Cluster::new().await;
    let done = cluster.ensure("/dev/sdb").await.unwrap().job.unwrap();
    cluster.end_of(&done).await;
    SLOW(&cluster);
    let running = cluster.ensure("/dev/sdc").await.unwrap().job.unwrap();
    let ids = |query: JobQuery| -> Vec<_> {
        cluster.api.list_jobs(&query).unwrap().items.into_iter().map(|job| job.id).collect()
    };
    assert_eq!(ids(JobQuery { state: Some(JobState::Done), ..JobQuery::default() }), vec![done.clone()]);
    let object = Some("scratch-OST0001".to_owned());
    assert_eq!(ids(JobQuery { object, ..JobQuery::default() }), vec![running.clone()]);
    assert_eq!(ids(JobQuery { parent: Some(done.clone()), ..JobQuery::default() }), []);
    assert_eq!(ids(JobQuery::default()), [done, running]);
}
