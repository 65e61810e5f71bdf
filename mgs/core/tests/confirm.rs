//! Changes that go back by themselves, and several tunables in one change.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use lustre_api::agent::StartDriver;
use lustre_api::job::JobId;
use lustre_api::mgs::LiveParams;
use lustre_api::operation::ReplaceNids;
use lustre_api::param_set::{ParamSetSpec, PutParamSet};
use lustre_api::{Problem, ProblemCode, Time};
use lustre_mgs_core::{Request, decide};
use lustre_types::{NidList, SvName};
use sim::{Sim, blank, ensure, ost};

fn expire(sim: &mut Sim) -> Option<String> {
    let req = Request { now: Time::from_unix_ms(u64::MAX), ..sim.env_request() };
    let decision = decide::confirm::expire(&sim.state, &req).unwrap();
    if decision.changes.is_empty() { None } else { sim.commit(decision).unwrap() }
}

#[test]
fn partner_nodes_that_nobody_confirms_go_back_in_configuration_and_logs() {
    let mut sim = Sim::new();
    sim.filesystem("gold");
    sim.node_at("oss1", StartDriver::None, "10.9.0.2@tcp");
    sim.gold("MDT0000", &[]);
    sim.gold("OST0000", &[]);
    let svname: SvName = "gold-OST0000".parse().unwrap();
    let log = |sim: &Sim| lustre_wire::llog::print(&sim.state.log("gold-client").unwrap().file());
    let before = log(&sim);
    let partner = |sim: &mut Sim, nid: &str, seconds| {
        let mut spec = sim.target("gold-OST0000").spec.clone();
        spec.failover_nodes = vec![nid.parse().unwrap()];
        let device = sim::holding(&spec.device, "gold-OST0000", "u1");
        let mut body = ensure(spec);
        body.confirm_within_s = seconds;
        sim.ensure(body, device)
    };
    let refused = partner(&mut sim, "10.9.0.7@tcp", Some(1)).unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("confirm_within_s"));
    let written = partner(&mut sim, "10.9.0.7@tcp", Some(600)).unwrap();
    assert!(written.object.confirm_until.is_some());
    // A second one does not make the first the one to go back to.
    partner(&mut sim, "10.9.0.8@tcp", Some(600)).unwrap();
    assert!(log(&sim).contains("10.9.0.8@tcp"));
    assert_eq!(expire(&mut sim).as_deref(), Some("target gold-OST0000"));
    assert!(sim.target("gold-OST0000").spec.failover_nodes.is_empty());
    assert_eq!(log(&sim), before, "nodes carry out what they did before");
    assert_eq!(expire(&mut sim), None, "once is enough");

    partner(&mut sim, "10.9.0.9@tcp", Some(600)).unwrap();
    let req = sim.env_request();
    let confirmed = decide::target::confirm(&sim.state, &req, &svname).unwrap();
    assert!(sim.commit(confirmed).unwrap().object.confirm_until.is_none());
    assert_eq!(expire(&mut sim), None);
    assert_eq!(sim.target("gold-OST0000").spec.failover_nodes.len(), 1);
}

/// Has a job write other NIDs of gold-OST0000; none yet where it is refused.
fn replace_nids(sim: &mut Sim, nids: &str, seconds: Option<u32>) -> Result<JobId, Problem> {
    let body = ReplaceNids { nids: nids.parse().unwrap(), confirm_within_s: seconds };
    let req = sim.env_request();
    let svname = "gold-OST0000".parse().unwrap();
    let decision = decide::operate::nids::replace_nids(&sim.state, &req, &svname, &body)?;
    Ok(sim.commit(decision).unwrap().object.id)
}

fn nids(sim: &Sim) -> String {
    let target = sim.target("gold-OST0000");
    let partners = target.spec.failover_nodes.iter().flat_map(|partner| partner.nodes()).cloned();
    NidList::new(std::iter::once(target.nids.clone()).chain(partners).collect()).unwrap().to_string()
}

#[test]
fn nids_that_nobody_confirms_are_put_back_by_a_job_once_nobody_else_is_at_work() {
    let mut sim = Sim::new();
    sim.filesystem("gold");
    sim.node_at("oss1", StartDriver::Kernel, "10.9.0.2@tcp");
    sim.gold("MDT0000", &[]);
    sim.gold("OST0000", &["10.9.0.7@tcp"]);
    let (old, new) = ("10.9.0.2@tcp:10.9.0.7@tcp", "10.9.0.3@tcp:10.9.0.8@tcp");
    assert_eq!(nids(&sim), old);
    let refused = replace_nids(&mut sim, new, Some(5)).unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("confirm_within_s"));

    let job = replace_nids(&mut sim, new, Some(600)).unwrap();
    assert_eq!(expire(&mut sim), None, "nothing is written yet");
    sim.now_ms = 50_000;
    sim.run(&job);
    assert_eq!(nids(&sim), new);
    let until = sim.target("gold-OST0000").confirm_nids.as_ref().map(|waits| waits.until);
    assert_eq!(until, Some(Time::from_unix_ms(650_000)), "counted from the end of the job");
    // A second one does not make the first the one to go back to.
    let job = replace_nids(&mut sim, "10.9.0.4@tcp", Some(600)).unwrap();
    assert_eq!(expire(&mut sim), None, "a job is at work on the file system");
    sim.run(&job);
    assert_eq!(nids(&sim), "10.9.0.4@tcp");

    assert_eq!(expire(&mut sim).as_deref(), Some("target gold-OST0000"));
    let back = sim.state.open_jobs.iter().next().unwrap().clone();
    assert_eq!(expire(&mut sim), None, "one job is enough");
    sim.run(&back);
    assert_eq!(nids(&sim), old);
    let log = lustre_wire::llog::print(&sim.state.log("gold-client").unwrap().file());
    assert!(log.contains("10.9.0.2@tcp") && !log.contains("10.9.0.4@tcp"), "{log}");
    assert_eq!(expire(&mut sim), None);

    let job = replace_nids(&mut sim, new, Some(600)).unwrap();
    sim.run(&job);
    let req = sim.env_request();
    let confirmed = decide::target::confirm(&sim.state, &req, &"gold-OST0000".parse().unwrap()).unwrap();
    assert!(sim.commit(confirmed).unwrap().object.confirm_until.is_none());
    assert_eq!((expire(&mut sim), nids(&sim)), (None, new.to_owned()));
}

#[test]
fn nids_that_can_not_be_put_back_now_say_why_and_wait() {
    let mut sim = Sim::new();
    sim.filesystem("gold");
    sim.node_at("oss1", StartDriver::Kernel, "10.9.0.2@tcp");
    sim.gold("MDT0000", &[]);
    sim.gold("OST0000", &[]);
    let job = replace_nids(&mut sim, "10.9.0.3@tcp", Some(600)).unwrap();
    sim.run(&job);
    // Somebody took Lustre off the node: nothing there can stop and start targets any more.
    sim.node_at("oss1", StartDriver::None, "10.9.0.2@tcp");
    let req = Request { now: Time::from_unix_ms(u64::MAX), ..sim.env_request() };
    let problem = decide::confirm::expire(&sim.state, &req).unwrap_err();
    assert!(problem.message.contains("oss1 has no Lustre"), "{problem}");
    assert!(sim.target("gold-OST0000").confirm_nids.is_some());
    sim.node_at("oss1", StartDriver::Kernel, "10.9.0.2@tcp");
    assert_eq!(expire(&mut sim).as_deref(), Some("target gold-OST0000"));
}

fn put(sim: &mut Sim, params: &[(&str, &str)], exclusive: bool, seconds: Option<u32>) -> Result<bool, Problem> {
    let params = params.iter().map(|(name, value)| (name.parse().unwrap(), (*value).to_owned())).collect();
    let spec = ParamSetSpec {
        filesystem: Some("scratch".parse().unwrap()),
        scope: Default::default(),
        params,
        exclusive,
        allow_unknown: false,
    };
    let body = PutParamSet { spec, unset: vec![], confirm_within_s: seconds };
    let req = sim.env_request();
    let decision = decide::param_set::put_set(&sim.state, &req, &body, &LiveParams::new())?;
    Ok(sim.commit(decision).unwrap().changed)
}

fn value(sim: &Sim, name: &str) -> Option<String> {
    let key = sim.state.params.keys().find(|key| key.name.as_str() == name)?;
    Some(sim.state.params[key].value.value.clone())
}

#[test]
fn several_tunables_change_together_or_not_at_all() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job);
    let revision = sim.state.revision;
    let bad = [("timeout", "100"), ("at_max", "many")];
    let refused = put(&mut sim, &bad, false, None).unwrap_err();
    assert_eq!(refused.attribute.as_deref(), Some("spec.params"));
    assert!(refused.message.contains("at_max"), "{refused}");
    assert_eq!((sim.state.revision, value(&sim, "timeout")), (revision, None), "nothing half-applied");

    assert!(put(&mut sim, &[("timeout", "100"), ("at_max", "600")], false, None).unwrap());
    assert_eq!(sim.state.revision, revision + 1, "one commit");
    assert!(!put(&mut sim, &[("timeout", "0x64"), ("at_max", "600")], false, None).unwrap(), "it is so");
    put(&mut sim, &[("timeout", "40")], true, Some(60)).unwrap();
    assert_eq!(value(&sim, "at_max"), None, "exclusive");
    assert_eq!(expire(&mut sim).as_deref(), Some("param scratch/filesystem/timeout"));
    assert_eq!(value(&sim, "timeout").as_deref(), Some("100"));
    assert_eq!(expire(&mut sim).as_deref(), Some("param scratch/filesystem/at_max"));
    assert_eq!(value(&sim, "at_max").as_deref(), Some("600"), "what was unset comes back, too");

    let many: Vec<(String, String)> =
        (0..101).map(|n| (format!("osc.scratch-OST{n:04x}*.max_dirty_mb"), "64".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let refused = put(&mut sim, &many, false, None).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Invalid);
    assert!(refused.message.contains("101 tunables would change at once; 100 are possible"), "{refused}");
}
