//! Tunables on nodes: proof, values for the time being, trying first, confirming, and the way back.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod cluster;

use std::time::{Duration, Instant};

use cluster::clients::{DIRTY, path, spec, url, with_clients};
use cluster::{Cluster, caller, soon};
use lustre_api::event::HistoryQuery;
use lustre_api::proof::{
    CarefulParam, Explanation, LayerKind, ParamsDiffQuery, ProofState, RevertParams, SetTemporary, TemporaryPath,
};
use lustre_api::{Problem, ProblemCode, WriteQuery};
use lustre_mgs::engine::Caller;
use lustre_mgs::temporary;

impl Cluster {
    async fn put(&self, name: &str, value: &str) -> Result<u64, Problem> {
        let query = WriteQuery::default();
        let written = self.api.put_param(&caller(), &path(name), &query, spec(name, value)).await;
        written.map(|written| written.revision)
    }

    async fn explain(&self, name: &str) -> Explanation {
        soon(self.api.explain_param(&path(name))).await.unwrap()
    }

    async fn temporarily(&self, value: &str, expires_in_s: Option<u32>) -> lustre_api::proof::TemporarySet {
        let wanted = SetTemporary {
            filesystem: Some("scratch".parse().unwrap()),
            scope: Default::default(),
            name: DIRTY.parse().unwrap(),
            value: value.into(),
            nodes: vec![],
            expires_in_s,
        };
        soon(self.api.set_temporary_param(&caller(), &WriteQuery::default(), wanted)).await.unwrap()
    }
}

fn states(explanation: &Explanation) -> Vec<(String, ProofState)> {
    explanation.nodes.iter().map(|proof| (proof.node.to_string(), proof.state)).collect()
}

#[tokio::test]
async fn each_node_says_whether_it_has_what_is_wanted_and_from_where() {
    let cluster = with_clients(3).await;
    cluster.put(DIRTY, "64M").await.unwrap();
    cluster.set_live(1, "64");
    cluster.set_live(2, "48");
    let explanation = cluster.explain(DIRTY).await;
    use ProofState::{Applied, Differs};
    let expected = [("c1", Applied), ("c2", Differs), ("c3", Differs)].map(|(node, state)| (node.to_owned(), state));
    assert_eq!(states(&explanation), expected);
    assert!(!explanation.is_proven);
    assert_eq!(explanation.nodes[0].layers.iter().find(|layer| layer.won).unwrap().kind, LayerKind::Mgs);
    assert!(explanation.nodes[1].message.as_ref().unwrap().contains("is 48 instead of 64M"));
    assert_eq!(explanation.canonical_name, "osc.scratch-OST*-osc-*.max_dirty_mb");
    assert_eq!(explanation.author.unwrap().who, "uid:0");
    cluster.set_live(2, "64");
    cluster.set_live(3, "64");
    assert!(cluster.explain(DIRTY).await.is_proven);
}

#[tokio::test]
async fn reading_back_from_200_nodes_takes_as_long_as_one() {
    let cluster = with_clients(200).await;
    cluster.put(DIRTY, "64M").await.unwrap();
    cluster.nodes.answer_after(Duration::from_millis(300));
    let begun = Instant::now();
    let explanation = cluster.explain(DIRTY).await;
    let took = begun.elapsed();
    assert_eq!(explanation.nodes.len(), 200);
    assert!(took < Duration::from_secs(3), "200 nodes of 0.3 s each took {took:?}");
}

#[tokio::test]
async fn a_temporary_value_is_listed_and_put_back() {
    let cluster = with_clients(2).await;
    let set = cluster.temporarily("16M", None).await;
    assert_eq!(set.nodes.len(), 2);
    assert!(set.nodes.iter().all(|proof| proof.state == ProofState::Applied), "{set:?}");
    assert_eq!(cluster.live(1), "16M");
    // A second value does not forget what was there first.
    cluster.temporarily("32M", None).await;

    // One node restarts, on the other somebody sets it by hand.
    cluster.nodes.tunables(&url(1), |tunables| tunables.boot_id = "second".into());
    let listed = cluster.api.list_temporary_params().await.unwrap();
    assert_eq!(listed.items.len(), 1);
    assert_eq!(listed.items[0].stale.iter().map(ToString::to_string).collect::<Vec<_>>(), ["c1"]);
    let name = listed.items[0].name.clone();
    cluster.set_live(1, "2000");
    let ended = cluster
        .api
        .delete_temporary_param(&caller(), &TemporaryPath { name: name.clone() }, &WriteQuery::default())
        .await
        .unwrap();
    assert!(ended.temporary.is_none());
    assert_eq!(cluster.live(2), "2000", "what was there before both");
    assert!(cluster.api.list_temporary_params().await.unwrap().items.is_empty());
    let again = cluster.api.delete_temporary_param(&caller(), &TemporaryPath { name }, &WriteQuery::default()).await;
    assert_eq!(again.unwrap_err().code, ProblemCode::NotFound);
}

#[tokio::test]
async fn a_value_that_was_changed_by_hand_since_is_left_alone() {
    let cluster = with_clients(1).await;
    let set = cluster.temporarily("16M", None).await;
    cluster.set_live(1, "48");
    let path = TemporaryPath { name: set.temporary.unwrap().name };
    cluster.api.delete_temporary_param(&caller(), &path, &WriteQuery::default()).await.unwrap();
    assert_eq!(cluster.live(1), "48");
}

#[tokio::test]
async fn a_temporary_value_ends_by_itself_even_if_its_node_was_away() {
    let cluster = with_clients(1).await;
    let running = tokio::spawn(temporary::run(cluster.api.engine.clone(), cluster.nodes.clone(), Caller::mgs()));
    cluster.temporarily("16M", Some(1)).await;
    cluster.nodes.set_down(true);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(cluster.live(1), "16M", "nobody could put it back yet");
    cluster.nodes.set_down(false);
    soon(async {
        while cluster.live(1) != "2000" || !cluster.api.engine.state().temporary.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    running.abort();
}

#[tokio::test]
async fn what_matches_nothing_is_told_so() {
    let cluster = with_clients(1).await;
    let wanted = SetTemporary {
        filesystem: Some("scratch".parse().unwrap()),
        scope: Default::default(),
        name: "mdt.*.readonly".parse().unwrap(),
        value: "1".into(),
        nodes: vec![],
        expires_in_s: None,
    };
    let refused = cluster.api.set_temporary_param(&caller(), &WriteQuery::default(), wanted).await.unwrap_err();
    assert!(refused.message.contains("mdt.scratch-MDT*.readonly matches nothing"), "{}", refused.message);
}

#[tokio::test]
async fn a_value_is_tried_on_one_node_before_it_is_kept() {
    let cluster = with_clients(3).await;
    let careful = |value: &str, canary: &str| CarefulParam {
        spec: spec(DIRTY, value),
        canary: Some(canary.parse().unwrap()),
        confirm_within_s: None,
    };
    let query = WriteQuery::default();
    cluster.nodes.tunables(&url(3), |tunables| tunables.refuses.push("64M".into()));

    // The canary takes it, another does not: everything is as before.
    let refused = cluster.api.put_param_carefully(&caller(), &path(DIRTY), &query, careful("64M", "c1")).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Refused);
    assert!(refused.message.contains("c3: ") && refused.message.contains("invalid argument"), "{}", refused.message);
    assert_eq!([1, 2, 3].map(|node| cluster.live(node)), ["2000", "2000", "2000"]);
    assert!(cluster.api.get_param(&path(DIRTY)).is_err(), "nothing is kept");

    // The canary refuses: no other node ever saw it.
    let refused = cluster.api.put_param_carefully(&caller(), &path(DIRTY), &query, careful("64M", "c3")).await;
    assert!(refused.unwrap_err().message.contains("c3: "));

    let written = cluster.api.put_param_carefully(&caller(), &path(DIRTY), &query, careful("32M", "c1")).await.unwrap();
    assert_eq!(written.canary.unwrap().state, ProofState::Applied);
    assert!(cluster.explain(DIRTY).await.is_proven);
}

#[tokio::test]
async fn a_change_that_nobody_confirms_goes_back() {
    let cluster = with_clients(1).await;
    let query = WriteQuery::default();
    cluster.put("timeout", "100").await.unwrap();
    let careful = |value: &str| CarefulParam { spec: spec("timeout", value), canary: None, confirm_within_s: Some(10) };
    let (who, at) = (Caller::new("uid:7"), path("timeout"));
    let put = |value: &str| cluster.api.put_param_carefully(&who, &at, &query, careful(value));
    let written = put("40").await.unwrap().written;
    assert!(written.object.confirm_until.is_some());
    // A second change does not make the first one's value the one to go back to.
    put("50").await.unwrap();
    let later = lustre_api::Time::from_unix_ms(u64::MAX);
    let expire = || {
        cluster.api.engine.write_own(|state, req| {
            lustre_mgs_core::decide::confirm::expire(state, &lustre_mgs_core::Request { now: later, ..*req })
        })
    };
    assert_eq!(expire().await.unwrap().as_deref(), Some("param scratch/filesystem/timeout"));
    assert_eq!(cluster.api.get_param(&path("timeout")).unwrap().spec.value, "100");
    assert!(expire().await.unwrap().is_none(), "once is enough");

    put("60").await.unwrap();
    cluster.api.confirm_param(&caller(), &path("timeout"), &query).await.unwrap();
    assert!(expire().await.unwrap().is_none());
    assert_eq!(cluster.api.get_param(&path("timeout")).unwrap().spec.value, "60");
    let bad = CarefulParam { confirm_within_s: Some(1), ..careful("70") };
    let refused = cluster.api.put_param_carefully(&caller(), &path("timeout"), &query, bad).await.unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("confirm_within_s"));
}

#[tokio::test]
async fn a_tunable_that_is_unset_comes_back_unless_that_is_confirmed() {
    let cluster = with_clients(1).await;
    let (query, at) = (WriteQuery::default(), path("timeout"));
    let later = lustre_api::Time::from_unix_ms(u64::MAX);
    let expire = || {
        cluster.api.engine.write_own(|state, req| {
            lustre_mgs_core::decide::confirm::expire(state, &lustre_mgs_core::Request { now: later, ..*req })
        })
    };
    cluster.put("timeout", "40").await.unwrap();
    let unset = cluster.api.delete_param(&caller(), &at, &query, Some(60)).await.unwrap();
    assert!(unset.object.confirm_until.is_some() && cluster.api.get_param(&at).is_err());
    assert_eq!(expire().await.unwrap().as_deref(), Some("param scratch/filesystem/timeout"));
    assert_eq!(cluster.api.get_param(&at).unwrap().spec.value, "40");
    // Who sets it anew has decided.
    cluster.api.delete_param(&caller(), &at, &query, Some(60)).await.unwrap();
    cluster.put("timeout", "50").await.unwrap();
    assert!(expire().await.unwrap().is_none());
    cluster.api.delete_param(&caller(), &at, &query, Some(60)).await.unwrap();
    cluster.api.confirm_param(&caller(), &at, &query).await.unwrap();
    assert!(expire().await.unwrap().is_none() && cluster.api.get_param(&at).is_err());
}

#[tokio::test]
async fn a_name_that_the_catalogue_lacks_is_taken_where_a_node_has_it() {
    let cluster = with_clients(2).await;
    let refused = cluster.put("osc.*.brand_new", "1").await.unwrap_err();
    assert!(refused.message.contains("is not in the catalogue"), "{}", refused.message);
    cluster.nodes.tunables(&url(2), |tunables| {
        tunables.values.insert("osc.scratch-OST0000-osc-ff2.brand_new".into(), "0".into());
    });
    cluster.put("osc.*.brand_new", "1").await.unwrap();
    let stored = cluster.api.get_param(&path("osc.*.brand_new")).unwrap();
    assert!(!stored.spec.allow_unknown, "nobody asked for that");
    let desired = lustre_api::plan::Desired { params: vec![spec("osc.*.brand_new", "2")], ..Default::default() };
    let plan = cluster.api.plan(&desired).await.unwrap();
    assert!(!plan.has_errors() && plan.findings.iter().any(|found| found.code == "not_in_catalogue"), "{plan:?}");
}

#[tokio::test]
async fn a_conflict_names_who_was_faster() {
    let cluster = with_clients(1).await;
    let planned = cluster.put("timeout", "40").await.unwrap();
    let other = Caller::new("uid:4711");
    let query = WriteQuery { why: Some("nightly".into()), ..WriteQuery::default() };
    cluster.api.put_param(&other, &path("timeout"), &query, spec("timeout", "50")).await.unwrap();
    let query = WriteQuery { if_revision: Some(planned), ..WriteQuery::default() };
    let refused = cluster.api.put_param(&caller(), &path("timeout"), &query, spec("timeout", "60")).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(
        refused.message.contains("uid:4711 changed it") && refused.message.contains("nightly"),
        "{}",
        refused.message
    );
}

#[tokio::test]
async fn tunables_go_back_to_a_revision_in_one_change_that_is_in_the_history() {
    let cluster = with_clients(1).await;
    cluster.put("timeout", "40").await.unwrap();
    let then = cluster.put(DIRTY, "64M").await.unwrap();
    cluster.put("timeout", "50").await.unwrap();
    cluster.put("jobid_name", "%j").await.unwrap();
    cluster.api.delete_param(&caller(), &path(DIRTY), &WriteQuery::default(), None).await.unwrap();

    let query = ParamsDiffQuery { revision: then, fsname: None };
    let diff = cluster.api.diff_params(&query).await.unwrap();
    let shown: Vec<_> =
        diff.differences.iter().map(|one| (one.id.as_str(), one.then.as_deref(), one.now.as_deref())).collect();
    assert_eq!(
        shown,
        [
            ("scratch/filesystem/jobid_name", None, Some("%j")),
            ("scratch/filesystem/osc.*.max_dirty_mb", Some("64M"), None),
            ("scratch/filesystem/timeout", Some("40"), Some("50")),
        ]
    );
    let revert = RevertParams { revision: then, fsname: None, ids: vec![] };
    let query = WriteQuery { why: Some("bad night".into()), ..WriteQuery::default() };
    let written = cluster.api.post_revert_params(&caller(), &query, revert.clone()).await.unwrap();
    assert!(written.changed);
    assert!(
        cluster
            .api
            .diff_params(&ParamsDiffQuery { revision: then, fsname: None })
            .await
            .unwrap()
            .differences
            .is_empty()
    );
    let again = cluster.api.post_revert_params(&caller(), &query, revert).await.unwrap();
    assert!(!again.changed, "there is nothing left to put back");

    let query = HistoryQuery { object: Some("param scratch/".into()), after: Some(written.revision - 1), limit: None };
    let history = cluster.api.get_history(&query).await.unwrap();
    assert_eq!(history.items.len(), 1, "one change, not three");
    assert!(history.items[0].changes.len() == 3 && history.items[0].why.as_ref().unwrap().contains("bad night"));
    let too_new = cluster.api.diff_params(&ParamsDiffQuery { revision: 9999, fsname: None }).await.unwrap_err();
    assert!(too_new.message.contains("there is no revision 9999 yet"));
}
