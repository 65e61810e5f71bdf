//! Nodemaps: described, told to targets, taken back.
#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod cluster;

use cluster::{Cluster, caller};
use lustre_api::nodemap::{NodemapPath, NodemapSpec, NodemapsActive, PutNodemapBody};
use lustre_api::{Problem, ProblemCode, Time, WriteQuery, Written};
use lustre_mgs_core::{Key, Request, decide, serve};

fn spec(name: &str, ranges: &[&str]) -> NodemapSpec {
    let mut spec = NodemapSpec::new(name.parse().unwrap());
    spec.ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    spec
}

impl Cluster {
    async fn put_nodemap_spec(
        &self,
        spec: NodemapSpec,
        confirm_within_s: Option<u32>,
    ) -> Result<Written<lustre_api::nodemap::Nodemap>, Problem> {
        let path = NodemapPath { name: spec.name.clone() };
        self.api.put_nodemap(&caller(), &path, &WriteQuery::default(), PutNodemapBody { spec, confirm_within_s }).await
    }
}

#[tokio::test]
async fn a_nodemap_is_as_described_and_a_second_time_changes_nothing() {
    let mut cluster = Cluster::new().await;
    let first = cluster.put_nodemap_spec(spec("a", &["10.0.0.[1-9]@tcp", "10.0.1.*@tcp"]), None).await.unwrap();
    assert!(first.changed && first.object.id == 1);
    let second = cluster.put_nodemap_spec(spec("b", &["10.0.2.*@tcp"]), None).await.unwrap();
    assert_eq!(second.object.id, 2);
    let again = cluster.put_nodemap_spec(spec("a", &["10.0.1.0-10.0.1.255@tcp", "10.0.0.1-10.0.0.9@tcp0"]), None).await;
    assert!(!again.unwrap().changed, "the same ranges in another notation");

    // Ranges that stay keep their numbers: targets see one removed and one added, not three changed.
    let numbers = |cluster: &Cluster| {
        let state = cluster.api.engine.state();
        state.nodemaps[&"a".parse().unwrap()].value.ranges.clone()
    };
    let before = numbers(&cluster);
    cluster.put_nodemap_spec(spec("a", &["10.0.1.*@tcp", "10.0.3.*@tcp"]), None).await.unwrap();
    let after = numbers(&cluster);
    assert_eq!(before.iter().filter(|(id, range)| after.get(*id) == Some(*range)).count(), 1);
    assert!(after.keys().max() > Some(&3), "numbers are not given twice");

    let query = WriteQuery::default();
    let active = cluster
        .api
        .put_nodemaps_active(&caller(), &query, NodemapsActive { active: true, confirm_within_s: None })
        .await
        .unwrap();
    assert!(active.changed && active.object.active);
    let again = cluster
        .api
        .put_nodemaps_active(&caller(), &query, NodemapsActive { active: true, confirm_within_s: None })
        .await
        .unwrap();
    assert!(!again.changed);
    let before = cluster.api.list_nodemaps();
    cluster.restart().await;
    assert_eq!(cluster.api.list_nodemaps(), before, "it is in the store");

    cluster.api.delete_nodemap(&caller(), &NodemapPath { name: "a".parse().unwrap() }, &query, None).await.unwrap();
    let gone = cluster.api.get_nodemap(&NodemapPath { name: "a".parse().unwrap() }).unwrap_err();
    assert_eq!(gone.code, ProblemCode::NotFound);
}

#[tokio::test]
async fn a_nid_is_in_one_nodemap_only() {
    let cluster = Cluster::new().await;
    cluster.put_nodemap_spec(spec("a", &["10.0.0.[1-9]@tcp"]), None).await.unwrap();
    let refused = cluster.put_nodemap_spec(spec("b", &["10.0.0.[9-20]@tcp"]), None).await.unwrap_err();
    assert_eq!((refused.code, refused.attribute.as_deref()), (ProblemCode::Conflict, Some("spec.ranges")));
    assert!(refused.message.contains("nodemap a has NIDs of"), "{}", refused.message);
    let refused = cluster.put_nodemap_spec(spec("b", &["10.1.0.*@tcp", "10.1.0.5@tcp"]), None).await.unwrap_err();
    assert!(refused.message.contains("have NIDs in common"), "{}", refused.message);
    let refused = cluster.put_nodemap_spec(spec("default", &["10.2.0.1@tcp"]), None).await.unwrap_err();
    assert!(refused.message.contains("the default nodemap"), "{}", refused.message);
    let mut many = spec("many", &[]);
    many.uids = (0..30_000).map(|id| (id, id)).collect();
    let refused = cluster.put_nodemap_spec(many, None).await.unwrap_err();
    assert!(refused.message.contains("targets can be told 25000"), "{}", refused.message);
}

#[tokio::test]
async fn a_nodemap_that_nobody_confirms_goes_back() {
    let cluster = Cluster::new().await;
    cluster.put_nodemap_spec(spec("a", &["10.0.0.1@tcp"]), None).await.unwrap();
    let mut locked_out = spec("a", &["10.0.0.1@tcp"]);
    locked_out.deny_mount = true;
    let written = cluster.put_nodemap_spec(locked_out.clone(), Some(60)).await.unwrap();
    assert!(written.object.confirm_until.is_some());
    let later = Time::from_unix_ms(u64::MAX);
    let expire =
        || cluster.api.engine.write_own(|state, req| decide::confirm::expire(state, &Request { now: later, ..*req }));
    assert_eq!(expire().await.unwrap().as_deref(), Some("nodemap a"));
    let path = NodemapPath { name: "a".parse().unwrap() };
    assert!(!cluster.api.get_nodemap(&path).unwrap().spec.deny_mount);
    cluster.put_nodemap_spec(locked_out, Some(60)).await.unwrap();
    cluster.api.confirm_nodemap(&caller(), &path, &WriteQuery::default()).await.unwrap();
    assert!(expire().await.unwrap().is_none());
    assert!(cluster.api.get_nodemap(&path).unwrap().spec.deny_mount);
}

#[tokio::test]
async fn a_removal_that_nobody_confirms_comes_back_with_its_numbers_also_after_a_restart() {
    let mut cluster = Cluster::new().await;
    let query = WriteQuery::default();
    cluster.put_nodemap_spec(spec("a", &["10.0.0.1@tcp"]), None).await.unwrap();
    let path = NodemapPath { name: "a".parse().unwrap() };
    let before = cluster.api.get_nodemap(&path).unwrap();
    let refused = cluster.api.delete_nodemap(&caller(), &path, &query, Some(5)).await.unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("confirm_within_s"));
    let removed = cluster.api.delete_nodemap(&caller(), &path, &query, Some(60)).await.unwrap();
    assert!(removed.object.confirm_until.is_some());
    assert!(cluster.api.get_nodemap(&path).is_err());
    // What may come back keeps its number; what was made meanwhile keeps its own.
    let other = cluster.put_nodemap_spec(spec("b", &["10.0.0.2@tcp"]), None).await.unwrap();
    assert_ne!(other.object.id, before.id);
    cluster.restart().await;
    let snapshot = cluster.api.get_snapshot(&Default::default()).await.unwrap();
    assert!(snapshot.removals.contains_key("nodemap a"), "{:?}", snapshot.removals);

    let later = Time::from_unix_ms(u64::MAX);
    let expire = async |cluster: &Cluster| {
        let expire = |state: &_, req: &Request<'_>| decide::confirm::expire(state, &Request { now: later, ..*req });
        cluster.api.engine.write_own(expire).await.unwrap()
    };
    assert_eq!(expire(&cluster).await.as_deref(), Some("nodemap a"));
    let back = cluster.api.get_nodemap(&path).unwrap();
    assert_eq!((back.spec, back.id, back.confirm_until), (before.spec, before.id, None));
    assert!(expire(&cluster).await.is_none(), "once is enough");

    // Confirmed: it stays away. Its NIDs taken by another one: it stays away, too.
    cluster.api.delete_nodemap(&caller(), &path, &query, Some(60)).await.unwrap();
    assert!(cluster.api.confirm_nodemap(&caller(), &path, &query).await.unwrap().changed);
    assert!(expire(&cluster).await.is_none());
    assert_eq!(cluster.api.get_nodemap(&path).unwrap_err().code, ProblemCode::NotFound);
    cluster.put_nodemap_spec(spec("a", &["10.0.0.1@tcp"]), None).await.unwrap();
    cluster.api.delete_nodemap(&caller(), &path, &query, Some(60)).await.unwrap();
    cluster.put_nodemap_spec(spec("c", &["10.0.0.1@tcp"]), None).await.unwrap();
    expire(&cluster).await;
    assert!(cluster.api.get_nodemap(&path).is_err() && expire(&cluster).await.is_none());
}

#[tokio::test]
async fn nodemaps_put_in_force_go_back_unless_confirmed_also_after_a_restart() {
    let mut cluster = Cluster::new().await;
    let query = WriteQuery::default();
    let wanted = NodemapsActive { active: true, confirm_within_s: Some(60) };
    let refused = NodemapsActive { active: true, confirm_within_s: Some(5) };
    let refused = cluster.api.put_nodemaps_active(&caller(), &query, refused).await.unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("confirm_within_s"));
    cluster.api.put_nodemaps_active(&caller(), &query, wanted).await.unwrap();
    cluster.restart().await;
    let listed = cluster.api.list_nodemaps();
    assert!(listed.active && listed.confirm_until.is_some());
    let later = Time::from_unix_ms(u64::MAX);
    let expire =
        || cluster.api.engine.write_own(|state, req| decide::confirm::expire(state, &Request { now: later, ..*req }));
    assert_eq!(expire().await.unwrap().as_deref(), Some("nodemaps"));
    assert!(!cluster.api.list_nodemaps().active);
    cluster.api.put_nodemaps_active(&caller(), &query, wanted).await.unwrap();
    cluster.api.confirm_nodemaps_active(&caller(), &query).await.unwrap();
    assert!(expire().await.unwrap().is_none());
    assert!(cluster.api.list_nodemaps().active);
}

#[test]
fn a_changed_nodemap_makes_targets_read_again() {
    let of = |key: &Key| serve::touched(key).and_then(|resource| resource.owner());
    assert_eq!(of(&Key::Nodemap("a".parse().unwrap())).as_deref(), Some("nodemap"));
    assert_eq!(of(&Key::NodemapsActive).as_deref(), Some("nodemap"));
}
