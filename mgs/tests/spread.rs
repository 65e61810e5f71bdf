//! A tunable that a job sets on nodes: on one first, then on all others, then permanently; and tried again where it failed.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod cluster;

use cluster::clients::{DIRTY, path, spec, url, with_clients};
use cluster::{Cluster, caller, soon};
use lustre_api::job::{Job, JobId, JobPath, JobState, StepKind};
use lustre_api::proof::{ProofState, ProveParams, SpreadParam};
use lustre_api::{Problem, ProblemCode, WriteQuery};

fn permanent(value: &str) -> SpreadParam {
    SpreadParam {
        spec: spec(DIRTY, value),
        is_temporary: false,
        nodes: vec![],
        canary: None,
        expires_in_s: None,
        confirm_within_s: None,
    }
}

fn temporary(value: &str) -> SpreadParam {
    SpreadParam { is_temporary: true, ..permanent(value) }
}

impl Cluster {
    async fn spread(&self, body: SpreadParam) -> Result<Job, Problem> {
        let written = soon(self.api.spread_param(&caller(), &path(DIRTY), &WriteQuery::default(), body)).await?;
        Ok(written.object)
    }

    async fn spread_to_its_end(&self, body: SpreadParam) -> Job {
        let job = self.spread(body).await.unwrap();
        self.last_of(&job.id).await
    }

    /// A job of many nodes may take longer than one wait.
    async fn last_of(&self, id: &JobId) -> Job {
        for _ in 0..14 {
            let job = self.end_of(id).await;
            if job.state.is_final() {
                return job;
            }
        }
        self.end_of(id).await
    }

    fn refuse_on(&self, node: u32, values: &[&str]) {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.nodes.tunables(&url(node), |tunables| tunables.refuses = values);
    }
}

fn attempts(job: &Job) -> Vec<(String, JobState, u32)> {
    let steps = job.steps.iter().filter_map(|step| Some((step.node.as_ref()?.to_string(), step.state, step.attempts)));
    steps.collect()
}

#[tokio::test]
async fn a_change_that_fails_on_one_node_says_which_and_only_that_one_is_done_again() {
    let cluster = with_clients(4).await;
    cluster.refuse_on(3, &["64M"]);
    let job = cluster.spread_to_its_end(permanent("64M")).await;
    assert_eq!(job.state, JobState::Failed);
    let error = job.error.clone().unwrap();
    assert!(error.contains("in its step set_param on c3") && error.contains("invalid argument"), "{error}");
    assert!(error.contains("mgsctl job retry"), "{error}");
    assert!(cluster.api.get_param(&path(DIRTY)).is_err(), "nothing is permanent that not all have");
    let listed = cluster.api.list_temporary_params().await.unwrap().items;
    let nodes: Vec<_> = listed[0].nodes.iter().map(ToString::to_string).collect();
    assert_eq!((nodes, listed[0].value.as_str()), (["c1", "c2", "c4"].map(str::to_owned).to_vec(), "64M"));

    cluster.refuse_on(3, &[]);
    let done = cluster.api.retry_job(&caller(), &JobPath { id: job.id.clone() }).await.unwrap();
    let done = cluster.end_of(&done.id).await;
    assert_eq!(done.state, JobState::Done, "{done:?}");
    let expected = [("c1", 1), ("c2", 1), ("c3", 2), ("c4", 1)];
    assert_eq!(attempts(&done), expected.map(|(node, times)| (node.to_owned(), JobState::Done, times)));
    assert_eq!([1, 2, 3, 4].map(|node| cluster.live(node)), ["64M"; 4]);
    assert_eq!(cluster.api.get_param(&path(DIRTY)).unwrap().spec.value, "64M");
    assert!(cluster.api.list_temporary_params().await.unwrap().items.is_empty(), "it is permanent now");
}

#[tokio::test]
async fn no_other_node_is_touched_unless_the_canary_has_it() {
    let cluster = with_clients(3).await;
    cluster.refuse_on(2, &["64M"]);
    let careful = |value: &str| SpreadParam { canary: Some("c2".parse().unwrap()), ..permanent(value) };
    let job = cluster.spread_to_its_end(careful("64M")).await;
    assert_eq!((job.state, job.steps[0].node.as_ref().unwrap().as_str()), (JobState::Failed, "c2"));
    assert_eq!([1, 2, 3].map(|node| cluster.live(node)), ["2000"; 3]);
    let job = cluster.spread_to_its_end(careful("32M")).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    assert_eq!([1, 2, 3].map(|node| cluster.live(node)), ["32M"; 3]);
    assert_eq!(job.steps.last().unwrap().kind, StepKind::KeepParam);

    let nowhere = SpreadParam { canary: Some("oss1".parse().unwrap()), ..permanent("16M") };
    let refused = cluster.spread(nowhere).await.unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("canary"));
}

#[tokio::test]
async fn a_temporary_value_of_a_job_expires_and_what_can_not_be_is_refused_first() {
    let cluster = with_clients(2).await;
    let job = cluster.spread_to_its_end(SpreadParam { expires_in_s: Some(3600), ..temporary("16M") }).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    let listed = cluster.api.list_temporary_params().await.unwrap().items;
    assert!(listed.len() == 1 && listed[0].expires.is_some() && listed[0].who == "uid:0", "{listed:?}");
    assert!(cluster.api.get_param(&path(DIRTY)).is_err());

    for (body, attribute) in [
        (SpreadParam { confirm_within_s: Some(60), ..temporary("8M") }, "confirm_within_s"),
        (SpreadParam { expires_in_s: Some(60), ..permanent("8M") }, "expires_in_s"),
        (SpreadParam { expires_in_s: Some(0), ..temporary("8M") }, "expires_in_s"),
        (SpreadParam { nodes: vec!["oss1".parse().unwrap()], ..temporary("8M") }, "nodes"),
        (permanent("4G"), "value"),
        (temporary("4G"), "spec.value"),
    ] {
        let refused = cluster.spread(body).await.unwrap_err();
        assert_eq!(refused.attribute.as_deref(), Some(attribute), "{refused:?}");
    }
    assert_eq!([1, 2].map(|node| cluster.live(node)), ["16M"; 2]);
}

#[tokio::test]
async fn two_changes_of_one_tunable_at_once_name_the_other_author() {
    let cluster = with_clients(2).await;
    cluster.nodes.set_slow();
    let first = cluster.spread(permanent("64M")).await.unwrap();
    cluster.nodes.has_job().await;
    let second = cluster.spread(permanent("32M")).await.unwrap_err();
    assert_eq!(second.code, ProblemCode::Conflict);
    assert!(second.message.contains(first.id.as_str()) && second.message.contains("for uid:0"), "{}", second.message);
    let query = WriteQuery::default();
    let direct = cluster.api.put_param(&caller(), &path(DIRTY), &query, spec(DIRTY, "32M")).await.unwrap_err();
    assert!(direct.message.contains(first.id.as_str()), "{}", direct.message);
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&first.id).await.state, JobState::Done);
    cluster.api.put_param(&caller(), &path(DIRTY), &query, spec(DIRTY, "32M")).await.unwrap();
}

#[tokio::test]
async fn drift_is_told_and_set_right_on_the_nodes_that_have_it_only() {
    let cluster = with_clients(3).await;
    let query = WriteQuery::default();
    cluster.api.put_param(&caller(), &path(DIRTY), &query, spec(DIRTY, "64M")).await.unwrap();
    for (node, value) in [(1, "64"), (2, "48"), (3, "64")] {
        cluster.set_live(node, value);
    }
    let proofs = cluster.api.prove_params(&ProveParams::default()).await.unwrap().items;
    let proof = &proofs[0];
    assert!(proofs.len() == 1 && !proof.is_proven(), "{proofs:?}");
    assert_eq!(proof.nodes[&"c1".parse().unwrap()], ProofState::Applied);
    let c2 = "c2".parse().unwrap();
    assert_eq!(proof.drift.keys().collect::<Vec<_>>(), [&c2]);
    assert!(proof.drift[&c2].contains("is 48 instead of 64M"), "{proof:?}");

    let again = SpreadParam { nodes: vec![c2], ..permanent("64M") };
    let job = cluster.spread_to_its_end(again).await;
    assert_eq!((job.state, job.steps.len()), (JobState::Done, 1), "it is permanent already: {job:?}");
    let proofs = cluster.api.prove_params(&ProveParams::default()).await.unwrap().items;
    assert!(proofs[0].is_proven() && proofs[0].drift.is_empty(), "{proofs:?}");
    assert!(cluster.api.list_temporary_params().await.unwrap().items.is_empty());
}

#[tokio::test]
async fn what_another_tunable_wants_of_one_target_is_no_drift_and_is_left_alone() {
    let cluster = with_clients(1).await;
    let one = "osc.scratch-OST0001-osc-*.max_dirty_mb";
    let second = "osc.scratch-OST0001-osc-ff1.max_dirty_mb";
    cluster.nodes.tunables(&url(1), |tunables| tunables.values.insert(second.into(), "128".into()));
    let query = WriteQuery::default();
    cluster.api.put_param(&caller(), &path(one), &query, spec(one, "128M")).await.unwrap();
    cluster.set_live(1, "48");
    let job = cluster.spread_to_its_end(permanent("64M")).await;
    assert_eq!(job.state, JobState::Done, "{job:?}");
    assert_eq!(cluster.live(1), "64M");
    assert_eq!(cluster.nodes.tunables(&url(1), |tunables| tunables.values[second].clone()), "128");
    let proofs = cluster.api.prove_params(&ProveParams::default()).await.unwrap().items;
    assert!(proofs.iter().all(|proof| proof.drift.is_empty()), "{proofs:?}");
}

#[tokio::test]
async fn a_job_waits_for_a_node_that_is_down_and_goes_on_after_the_mgs_was_killed() {
    let mut cluster = with_clients(2).await;
    let body = SpreadParam { nodes: vec!["c1".parse().unwrap(), "c2".parse().unwrap()], ..permanent("64M") };
    cluster.nodes.set_down(true);
    let job = cluster.spread(body).await.unwrap();
    cluster.restart().await;
    cluster.nodes.set_down(false);
    assert_eq!(cluster.end_of(&job.id).await.state, JobState::Done);
    assert_eq!([1, 2].map(|node| cluster.live(node)), ["64M"; 2]);
}

#[tokio::test]
async fn a_change_for_a_thousand_nodes_goes_in_parts_and_only_the_nodes_that_failed_are_done_again() {
    let cluster = with_clients(1000).await;
    for node in [3, 777] {
        cluster.refuse_on(node, &["64M"]);
    }
    let body = SpreadParam { canary: Some("c1".parse().unwrap()), ..permanent("64M") };
    let job = cluster.spread_to_its_end(body).await;
    assert_eq!(job.state, JobState::Failed);
    let kinds: Vec<_> = job.steps.iter().map(|step| step.kind).collect();
    assert_eq!(kinds[0], StepKind::SetParam, "the canary");
    assert!(kinds[1..6].iter().all(|kind| *kind == StepKind::Job) && kinds[6..] == [StepKind::KeepParam], "{kinds:?}");
    let error = job.error.clone().unwrap();
    assert!(error.contains("set_param on c3: ") && error.contains("it failed on c777, too"), "{error}");
    assert_eq!(error.matches("mgsctl job retry").count(), 1, "{error}");
    assert!(cluster.api.get_param(&path(DIRTY)).is_err(), "nothing is permanent that not all have");
    let listed = cluster.api.list_temporary_params().await.unwrap().items.remove(0).nodes;
    assert!(listed.len() > 500 && listed.iter().all(|node| !["c3", "c777"].contains(&node.as_str())), "{listed:?}");

    let part = job.steps.iter().find(|step| step.state == JobState::Failed).unwrap().job.clone().unwrap();
    let refused = cluster.api.retry_job(&caller(), &JobPath { id: part.clone() }).await.unwrap_err();
    assert!(refused.to_string().contains(&format!("mgsctl job retry {}", job.id)), "{refused}");
    for node in [3, 777] {
        cluster.refuse_on(node, &[]);
    }
    cluster.api.retry_job(&caller(), &JobPath { id: job.id.clone() }).await.unwrap();
    let done = cluster.last_of(&job.id).await;
    assert_eq!(done.state, JobState::Done, "{done:?}");
    let part = cluster.end_of(&part).await;
    let again: Vec<_> = attempts(&part).into_iter().filter(|(_, _, times)| *times > 1).collect();
    assert!(again.len() == 1 && ["c3", "c777"].contains(&again[0].0.as_str()), "{again:?}");
    assert!((1..=1000).all(|node| cluster.live(node) == "64M"));
    assert_eq!(cluster.api.get_param(&path(DIRTY)).unwrap().spec.value, "64M");
    assert!(cluster.api.list_temporary_params().await.unwrap().items.is_empty(), "it is permanent now");
}

#[tokio::test]
async fn a_job_with_parts_that_is_cancelled_goes_on_where_it_was_when_it_is_tried_again() {
    let cluster = with_clients(250).await;
    cluster.nodes.set_slow();
    let job = cluster.spread(temporary("64M")).await.unwrap();
    cluster.nodes.has_job().await;
    cluster.api.cancel_job(&caller(), &JobPath { id: job.id.clone() }).await.unwrap();
    cluster.nodes.finish();
    let cancelled = cluster.end_of(&job.id).await;
    assert_ne!(cancelled.state, JobState::Done, "{cancelled:?}");
    cluster.api.retry_job(&caller(), &JobPath { id: job.id.clone() }).await.unwrap();
    cluster.nodes.finish();
    assert_eq!(cluster.end_of(&job.id).await.state, JobState::Done);
    assert!((1..=250).all(|node| cluster.live(node) == "64M"));
}
