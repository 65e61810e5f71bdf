//! What plans say, without a server: the endpoint is known after apply here.

use std::sync::Arc;

use tfplugin_proto::rules::plan_faults;
use tfplugin_proto::{Diagnostics, Plan, Resource, Severity, Value};

use super::all;
use crate::session::Session;

fn resource(name: &str) -> Arc<dyn Resource> {
    let session = Session::new();
    session.configure(None);
    let (_, resource) = all(&session).into_iter().find(|(known, _)| known == name).expect("a resource");
    resource
}

/// A registered OST, as a state has it.
fn ost() -> Value {
    Value::object([
        ("kind", "ost".into()),
        ("filesystem", "scratch".into()),
        ("index", 3_i64.into()),
        ("node", "oss1".into()),
        ("device", "/dev/sdb".into()),
        ("failover_nodes", Value::List(vec!["10.0.0.6@tcp".into()])),
        ("mkfs_options", Value::Null),
        ("mount_options", Value::Null),
        ("format_params", Value::Null),
        ("comment", Value::Null),
        ("allow_reformat", false.into()),
        ("deletion_policy", "PREVENT".into()),
        ("svname", "scratch-OST0003".into()),
        ("id", "u/scratch/scratch-OST0003".into()),
        ("label", "scratch-OST0003".into()),
        ("uuid", "5f0c".into()),
        ("state", "registered".into()),
        ("state_reason", "all is well".into()),
        ("size_bytes", 1_i64.into()),
        ("formatted_over", "blank".into()),
        ("timeouts", Value::Null),
    ])
}

/// The configuration that gives that state.
fn ost_config() -> Value {
    let mut config = ost();
    let computed = ["index", "svname", "id", "label", "uuid", "state", "state_reason", "size_bytes", "formatted_over"];
    for name in computed.into_iter().chain(["allow_reformat", "deletion_policy"]) {
        config.put(name, Value::Null);
    }
    config
}

fn with(mut object: Value, changes: &[(&str, Value)]) -> Value {
    for (name, value) in changes {
        object.put(name, value.clone());
    }
    object
}

/// The plan for a change of the configuration; core's rules hold for every one.
async fn planned(prior: Value, config: Value) -> (Plan, Diagnostics) {
    let resource = resource("lustre_target");
    let mut planned = config.clone();
    if let (Value::Object(planned), Value::Object(_)) = (&mut planned, &prior) {
        // As core proposes it: prior values where a computed attribute isn't configured.
        let schema = resource.schema();
        for (name, value) in planned.iter_mut().filter(|(_, value)| value.is_null()) {
            if schema.attribute(name).is_some_and(|attribute| attribute.mode.is_computed()) {
                *value = prior.get(name).clone();
            }
        }
    }
    let mut plan = Plan { prior, config, planned, requires_replace: Vec::new() };
    let mut diags = Diagnostics::default();
    resource.plan(&mut plan, &mut diags).await;
    assert_eq!(plan_faults(&resource.schema(), &plan.config, &plan.prior, &plan.planned), Vec::<String>::new());
    (plan, diags)
}

fn errors(diags: &Diagnostics) -> Vec<&str> {
    let errors = diags.iter().filter(|diag| diag.severity == Severity::Error);
    errors.map(|diag| diag.summary.as_str()).collect()
}

#[tokio::test]
async fn nothing_changed_is_an_empty_plan() {
    let (plan, diags) = planned(ost(), ost_config()).await;
    assert_eq!(plan.planned, plan.prior);
    assert_eq!(diags, Diagnostics::default());
}

#[tokio::test]
async fn another_spelling_is_no_change() {
    let spelled = with(ost_config(), &[("failover_nodes", Value::List(vec!["10.0.0.6".into()]))]);
    let (plan, _) = planned(ost(), spelled).await;
    assert_eq!(plan.planned, plan.prior);
}

#[tokio::test]
async fn a_target_with_data_is_not_replaced_whatever_its_policy() {
    for policy in ["PREVENT", "ABANDON", "DEREGISTER"] {
        let prior = with(ost(), &[("deletion_policy", policy.into())]);
        let config = with(ost_config(), &[("deletion_policy", policy.into()), ("index", 4_i64.into())]);
        let (_, diags) = planned(prior, config).await;
        assert_eq!(errors(&diags), ["A target with data is not replaced"], "{policy}");
    }
}

#[tokio::test]
async fn a_target_that_was_never_registered_may_be_replaced_if_its_policy_says_so() {
    let prior = with(ost(), &[("state", "formatted".into())]);
    let (_, diags) = planned(prior.clone(), with(ost_config(), &[("index", 4_i64.into())])).await;
    assert_eq!(errors(&diags), ["Removal prevented"]);
    let prior = with(prior, &[("deletion_policy", "DEREGISTER".into())]);
    let config = with(ost_config(), &[("deletion_policy", "DEREGISTER".into()), ("index", 4_i64.into())]);
    let (plan, diags) = planned(prior, config).await;
    assert_eq!(errors(&diags), Vec::<&str>::new());
    assert_eq!(plan.requires_replace, ["index".into()]);
}

#[tokio::test]
async fn options_of_the_format_do_not_change() {
    let (plan, diags) = planned(ost(), with(ost_config(), &[("mkfs_options", "-m 1".into())])).await;
    assert_eq!(errors(&diags), ["Can't be changed"]);
    assert!(plan.requires_replace.is_empty());
}

#[tokio::test]
async fn a_move_to_another_node_is_in_place() {
    let (plan, diags) = planned(ost(), with(ost_config(), &[("node", "oss2".into())])).await;
    assert_eq!(diags, Diagnostics::default());
    assert!(plan.requires_replace.is_empty());
    assert_eq!(plan.planned.get("svname"), &"scratch-OST0003".into());
    assert!(plan.planned.get("state").is_unknown());
}

#[tokio::test]
async fn a_target_whose_job_failed_is_taken_up_again() {
    let (plan, _) = planned(with(ost(), &[("state", "failed".into())]), ost_config()).await;
    assert!(plan.planned.get("state").is_unknown());
    assert_ne!(plan.planned, plan.prior);
}

#[tokio::test]
async fn a_removal_follows_the_policy() {
    for (policy, expected) in
        [("PREVENT", Some(Severity::Error)), ("ABANDON", None), ("DEREGISTER", Some(Severity::Warning))]
    {
        let (_, diags) = planned(with(ost(), &[("deletion_policy", policy.into())]), Value::Null).await;
        assert_eq!(diags.iter().next().map(|diag| diag.severity), expected, "{policy}");
    }
    // State of who knows which release: no policy prevents.
    let (_, diags) = planned(with(ost(), &[("deletion_policy", Value::Null)]), Value::Null).await;
    assert_eq!(errors(&diags), ["Removal prevented"]);
}

#[tokio::test]
async fn a_removal_that_is_prevented_is_prevented_at_apply_as_well() {
    let mut diags = Diagnostics::default();
    resource("lustre_target").delete(&ost(), &mut diags).await;
    assert_eq!(errors(&diags), ["Removal prevented"]);
}

#[tokio::test]
async fn a_new_target_has_defaults_and_the_name_that_follows_from_its_index() {
    let (plan, diags) = planned(Value::Null, with(ost_config(), &[("index", 3_i64.into())])).await;
    assert_eq!(diags, Diagnostics::default());
    assert_eq!(plan.planned.get("deletion_policy"), &"PREVENT".into());
    assert_eq!(plan.planned.get("svname"), &"scratch-OST0003".into());
}

#[tokio::test]
async fn an_object_described_twice_is_refused() {
    let resource = resource("lustre_target");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut diags = Diagnostics::default();
        let mut plan =
            Plan { prior: Value::Null, config: ost_config(), planned: ost_config(), requires_replace: Vec::new() };
        resource.plan(&mut plan, &mut diags).await;
        seen.push(errors(&diags).into_iter().map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(seen, [Vec::new(), vec!["Described twice".to_owned()]]);
}

#[tokio::test]
async fn an_import_takes_the_name_or_the_id() {
    let import = async |resource_name: &str, id: &str| {
        let mut diags = Diagnostics::default();
        let state = resource(resource_name).import(id, &mut diags).await;
        state.ok_or_else(|| diags.iter().map(|diag| diag.detail.clone()).collect::<String>())
    };
    for id in ["scratch-OST0003", "0b7e/scratch/scratch-OST0003"] {
        assert_eq!(import("lustre_target", id).await.expect("a target").get("svname"), &"scratch-OST0003".into());
    }
    assert!(import("lustre_target", "OST3").await.expect_err("no name").contains("scratch-OST001f"));
    assert_eq!(import("lustre_pool", "scratch.flash").await.expect("a pool").get("name"), &"flash".into());
    assert!(import("lustre_pool", "flash").await.expect_err("no pool").contains("scratch.flash"));
    let param = import("lustre_param", "*/clients/osc.*.max_dirty_mb").await.expect("a tunable");
    assert_eq!((param.get("filesystem"), param.get("scope")), (&Value::Null, &"clients".into()));
    assert!(import("lustre_param", "max_dirty_mb").await.expect_err("no tunable").contains("scratch/filesystem/"));
    assert!(import("lustre_filesystem", "no such name").await.is_err());
}
