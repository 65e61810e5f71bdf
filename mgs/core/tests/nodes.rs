//! What is done to all targets of a node, to partner nodes, to labels; and looks at devices.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use std::collections::BTreeSet;

use lustre_api::agent::{AgentOp, StartDriver};
use lustre_api::agent_ops::{OpResult, StopForce, TuneResult};
use lustre_api::job::{Job, JobId, JobState, StepKind};
use lustre_api::node::NodeSettings;
use lustre_api::operation::{FailbackTargets, FailoverNode, FailoverTargets, ScanNode, ScanNodes, StopWithin};
use lustre_api::target::{TargetSpec, TargetState};
use lustre_api::{Problem, ProblemCode, Time, Written};
use lustre_mgs_core::decide::job::{self, StepEnd, Work};
use lustre_mgs_core::decide::operate::failover_node::{self, Way};
use lustre_mgs_core::decide::operate::{failover, relabel, scan};
use lustre_mgs_core::{Decision, Request, decide};
use lustre_types::{NodeName, SvName};
use sim::{Sim, blank, ensure, formatted, ost};

/// Nodes `oss1` and `oss2`, partners of each other, and `gold` with an MDT and three OSTs on `oss1`.
fn site() -> Sim {
    let mut sim = Sim::new();
    sim.filesystem("gold");
    sim.node_at("oss1", StartDriver::Kernel, "10.9.0.2@tcp");
    sim.node_at("oss2", StartDriver::Kernel, "10.9.0.3@tcp");
    for short in ["MDT0000", "OST0000", "OST0001", "OST0002"] {
        sim.gold(short, &["10.9.0.3@tcp"]);
    }
    sim
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn alive(down: &'static str) -> impl Fn(&NodeName) -> bool {
    move |node| node.as_str() != down
}

type Asked = Result<Decision<Written<Job>>, Problem>;

/// Starts a job; gives it with the warnings.
fn start(sim: &mut Sim, ask: impl FnOnce(&Sim, &Request<'_>) -> Asked) -> Result<Written<Job>, Problem> {
    let req = sim.env_request();
    let decision = ask(sim, &req)?;
    Ok(sim.commit(decision).unwrap())
}

fn ask_failover(
    sim: &mut Sim,
    node: &str,
    body: &FailoverTargets,
    down: &'static str,
) -> Result<Written<Job>, Problem> {
    start(sim, |sim, req| failover::failover(&sim.state, req, &name(node), body, &alive(down)))
}

fn ask_failback(sim: &mut Sim, node: &str, down: &'static str) -> Result<Written<Job>, Problem> {
    let body = FailbackTargets::default();
    start(sim, |sim, req| failover::failback(&sim.state, req, &name(node), &body, &alive(down)))
}

/// Runs all jobs; steps of these targets fail. Gives what nodes were asked for, in order.
fn run(sim: &mut Sim, fails: &[&str]) -> Vec<String> {
    let mut asked = Vec::new();
    loop {
        let open: Vec<_> = sim.state.open_jobs().map(|job| job.value.clone()).collect();
        let Some(work) = open.iter().flat_map(|record| job::work_of(&sim.state, record)).next() else { return asked };
        let req = sim.env_request();
        match work {
            Work::Begin { id, steps } => {
                let decision = job::begin(&sim.state, &req, &id, &steps).unwrap();
                sim.commit(decision).unwrap();
            }
            Work::Hand(hand) => {
                let record = &sim.state.jobs[&hand.id].value;
                let svname = record.job.svname_of(hand.step).cloned();
                let of = svname.as_ref().map(ToString::to_string).unwrap_or_default();
                asked.push(format!("{} {of} on {}", record.job.steps[hand.step].kind.as_str(), hand.node));
                let state = if fails.contains(&of.as_str()) { JobState::Failed } else { JobState::Done };
                let mut end = StepEnd::new(state, None);
                if let AgentOp::Relabel(op) = &*hand.op {
                    let mut formatted_as = formatted(&op.svname, "u1").formatted_as;
                    formatted_as.label = op.svname.to_string();
                    end.result = Some(OpResult::Tuned(Box::new(TuneResult { formatted_as, changed: true })));
                }
                let decision = job::end(&sim.state, &req, &hand.id, hand.step, end).unwrap();
                sim.commit(decision).unwrap();
            }
            Work::Settle(id) => {
                let decision = job::settle(&sim.state, &req, &id).unwrap();
                sim.commit(decision).unwrap();
            }
            Work::Cancel(id) => drop(sim.cancel(&id)),
        }
    }
}

fn job(sim: &Sim, id: &JobId) -> Job {
    sim.state.jobs[id].value.job.clone()
}

fn places(sim: &Sim) -> Vec<&str> {
    let gold = "gold".parse().unwrap();
    sim.state.targets_of(&gold, None).map(|(_, target)| target.value.place().as_str()).collect()
}

#[test]
fn all_targets_of_a_node_move_to_their_partner_and_back_mdt_first_each_by_a_part() {
    let mut sim = site();
    let one_by_one = FailoverTargets { at_once: Some(1), ..FailoverTargets::default() };
    let shown = ask_failover(&mut sim.again(), "oss1", &one_by_one, "").unwrap();
    let names: Vec<String> = (0..4).map(|at| shown.object.svname_of(at).unwrap().to_string()).collect();
    assert_eq!(names, ["gold-MDT0000", "gold-OST0000", "gold-OST0001", "gold-OST0002"]);
    let moves = &shown.plan.as_ref().unwrap().moves;
    let told: Vec<_> = moves.iter().map(|moved| (moved.object.as_str(), moved.becomes.as_str())).collect();
    assert_eq!(told[..2], [("target gold-MDT0000", "started on oss2"), ("filesystem gold", "unavailable")]);
    assert_eq!((moves[0].preferred.as_str(), moves[0].is_passing), ("started on oss1", false));
    assert_eq!(moves[0].fix.as_deref(), Some("mgsctl node failback oss1"));
    assert!(moves[1].is_passing, "the file system comes back");

    let started = ask_failover(&mut sim, "oss1", &one_by_one, "").unwrap();
    let busy = decide::lifecycle::stop(&sim.state, &sim.again().env_request(), &"gold-OST0002".parse().unwrap());
    let busy = busy.unwrap_err();
    assert!(busy.message.contains(started.object.id.as_str()), "its targets are held from its begin: {busy}");
    let asked = run(&mut sim, &[]);
    assert_eq!(asked[..2], ["stop gold-MDT0000 on oss1", "start gold-MDT0000 on oss2"]);
    assert_eq!((asked.len(), job(&sim, &started.object.id).state), (8, JobState::Done));
    assert_eq!(places(&sim), ["oss2"; 4]);
    assert!(sim.state.holds.is_empty());
    let nothing = ask_failover(&mut sim, "oss1", &FailoverTargets::default(), "").unwrap_err();
    assert!(nothing.message.contains("there is nothing to do: oss1"), "{nothing}");

    let back = ask_failback(&mut sim, "oss1", "").unwrap();
    run(&mut sim, &[]);
    assert_eq!((job(&sim, &back.object.id).state, places(&sim)), (JobState::Done, vec!["oss1"; 4]));
    assert!(ask_failback(&mut sim, "oss1", "").unwrap_err().message.contains("has all its targets"));
}

#[test]
fn a_part_that_fails_ends_the_failover_and_the_same_again_moves_what_is_left() {
    let mut sim = site();
    let body = FailoverTargets { at_once: Some(1), ..FailoverTargets::default() };
    let id = ask_failover(&mut sim, "oss1", &body, "").unwrap().object.id;
    run(&mut sim, &["gold-OST0000"]);
    let ended = job(&sim, &id);
    assert_eq!(ended.state, JobState::Failed);
    let error = ended.error.unwrap();
    assert!(error.contains("gold-OST0000") && error.contains("mgsctl node failover oss1"), "{error}");
    assert_eq!(places(&sim), ["oss2", "oss1", "oss1", "oss1"]);
    let req = sim.env_request();
    let refused = job::retry(&sim.state, &req, &id).unwrap_err();
    assert!(refused.message.contains("somewhere else by now"), "{refused}");
    let id = ask_failover(&mut sim, "oss1", &body, "").unwrap().object.id;
    run(&mut sim, &[]);
    assert_eq!((job(&sim, &id).state, places(&sim)), (JobState::Done, vec!["oss2"; 4]));
}

#[test]
fn what_can_not_be_moved_refuses_all_of_it_by_name_or_is_left_where_it_is() {
    let mut sim = site();
    sim.gold("OST0003", &[]);
    let all = FailoverTargets::default();
    let refused = ask_failover(&mut sim, "oss1", &all, "").unwrap_err();
    assert!(refused.message.contains("gold-OST0003 has no partner node"), "{refused}");
    let refused = ask_failover(&mut sim, "oss1", &all, "oss2").unwrap_err();
    for part in ["oss2 is not heard of", "gold-MDT0000", "gold-OST0002", "gold-OST0003 has no partner"] {
        assert!(refused.message.contains(part), "{part} in {refused}");
    }
    // One that a person stopped stays stopped.
    let req = sim.env_request();
    let stop = decide::lifecycle::stop(&sim.state, &req, &"gold-OST0001".parse().unwrap()).unwrap();
    let stop = sim.commit(stop).unwrap().job.unwrap();
    sim.run(&stop);
    let others = FailoverTargets { leave_others: true, ..all.clone() };
    let started = ask_failover(&mut sim, "oss1", &others, "").unwrap();
    let warnings = started.warnings.join("\n");
    assert!(warnings.contains("left where it is: gold-OST0003 has no partner node"), "{warnings}");
    assert!(warnings.contains("gold-OST0001 is stopped, and stays so"), "{warnings}");
    run(&mut sim, &[]);
    assert_eq!(places(&sim), ["oss2", "oss2", "oss1", "oss2", "oss1"]);
    assert_eq!(sim.target("gold-OST0001").state, TargetState::Stopped);
}

#[test]
fn a_node_that_is_down_drained_or_unknown_is_not_moved_to_and_its_death_is_a_persons_word() {
    let mut sim = site();
    let all = FailoverTargets::default();
    let unknown = ask_failover(&mut sim, "oss9", &all, "").unwrap_err();
    assert_eq!(unknown.code, ProblemCode::NotFound);
    let down = FailoverTargets { node_is_down: true, ..all.clone() };
    let refused = ask_failover(&mut sim, "oss1", &down, "").unwrap_err();
    assert!(refused.message.contains("oss1 is said to be down"), "{refused}");
    let drain = |sim: &mut Sim, node: &str, why: Option<&str>| {
        let settings = NodeSettings { drained: why.map(str::to_owned), ..NodeSettings::default() };
        let req = sim.env_request();
        let decision = decide::node::settings(&sim.state, &req, &name(node), settings).unwrap();
        sim.commit(decision).unwrap();
    };
    for (drained, part) in [("oss1", "oss1 is drained (cables)"), ("oss2", "oss2 is drained (cables)")] {
        drain(&mut sim, drained, Some("cables"));
        let refused = ask_failover(&mut sim, "oss1", &all, "").unwrap_err();
        assert!(refused.message.contains(part) && refused.remedy.unwrap().contains("undrain"), "{}", refused.message);
        drain(&mut sim, drained, None);
    }
    let id = ask_failover(&mut sim, "oss1", &down, "oss1").unwrap().object.id;
    let asked = run(&mut sim, &[]);
    assert!(asked.iter().all(|asked| asked.starts_with("start ")), "nothing is stopped on a dead node: {asked:?}");
    assert_eq!((job(&sim, &id).state, places(&sim)), (JobState::Done, vec!["oss2"; 4]));
    let refused = ask_failback(&mut sim, "oss1", "oss2").unwrap_err();
    assert!(refused.message.contains("gold-OST0001 is on oss2, which is not heard of"), "{refused}");
}

#[test]
fn a_failover_that_is_cancelled_moves_nothing_more_and_leaves_no_hold() {
    let mut sim = site();
    let body = FailoverTargets { at_once: Some(1), ..FailoverTargets::default() };
    let id = ask_failover(&mut sim, "oss1", &body, "").unwrap().object.id;
    sim.begin(&id);
    sim.cancel(&id);
    run(&mut sim, &[]);
    assert_eq!(job(&sim, &id).state, JobState::Cancelled);
    assert_eq!(places(&sim), ["oss1"; 4]);
    assert!(sim.state.holds.is_empty() && sim.state.open_jobs.is_empty());
}

fn partner(sim: &mut Sim, svname: &str, body: &FailoverNode, way: Way) -> Result<Written<Job>, Problem> {
    let svname: SvName = svname.parse().unwrap();
    start(sim, |sim, req| failover_node::change(&sim.state, req, &svname, body, way))
}

fn by_node(node: &str) -> FailoverNode {
    FailoverNode { node: Some(name(node)), ..FailoverNode::default() }
}

fn by_nids(nids: &str) -> FailoverNode {
    FailoverNode { nids: Some(nids.parse().unwrap()), ..FailoverNode::default() }
}

fn log(sim: &Sim) -> String {
    lustre_wire::llog::print(&sim.state.log("gold-client").unwrap().file())
}

fn steps(job: &Job) -> Vec<StepKind> {
    job.steps.iter().map(|step| step.kind).collect()
}

#[test]
fn a_partner_node_is_added_and_taken_away_without_stopping_anything() {
    let mut sim = site();
    sim.gold("OST0003", &[]);
    sim.node_at("oss3", StartDriver::Kernel, "10.9.0.4@tcp");
    let svname = "gold-OST0003";
    let started = partner(&mut sim, svname, &by_node("oss3"), Way::Add).unwrap();
    assert_eq!(steps(&started.object), [StepKind::FailoverNodes]);
    let warnings = started.warnings.join("\n");
    assert!(warnings.contains("the device of gold-OST0003 is left as it is"), "{warnings}");
    assert!(warnings.contains("multi-mount protection"), "{warnings}");
    let moved = &started.plan.unwrap().moves[0];
    assert_eq!((moved.now.as_str(), moved.becomes.as_str()), ("no partner node", "partner nodes 10.9.0.4@tcp"));
    assert!(run(&mut sim, &[]).is_empty(), "no node is asked for anything");
    assert_eq!(job(&sim, &started.object.id).state, JobState::Done);
    assert!(log(&sim).contains("10.9.0.4@tcp"), "clients hear of it: {}", log(&sim));
    assert_eq!(sim.target(svname).spec.failover_nodes.len(), 1);

    let again = partner(&mut sim, svname, &by_nids("10.9.0.4@tcp"), Way::Add).unwrap_err();
    assert!(again.message.contains("10.9.0.4@tcp is a partner node of gold-OST0003 already"), "{again}");
    let own = partner(&mut sim, svname, &by_node("oss1"), Way::Add).unwrap_err();
    assert!(own.message.contains("the own node of gold-OST0003"), "{own}");
    let two = partner(&mut sim, svname, &by_nids("10.9.0.5@tcp:10.9.0.6@tcp"), Way::Add).unwrap_err();
    assert_eq!(two.code, ProblemCode::Invalid);
    let both = FailoverNode { node: Some(name("oss3")), ..by_nids("10.9.0.5@tcp") };
    assert_eq!(partner(&mut sim, svname, &both, Way::Add).unwrap_err().code, ProblemCode::Invalid);
    let other = partner(&mut sim, svname, &by_nids("10.9.0.4@tcp,10.8.0.4@tcp1"), Way::Add).unwrap_err();
    assert!(other.message.contains("with other NIDs"), "{other}");

    let none = partner(&mut sim, svname, &by_nids("10.9.0.9@tcp"), Way::Remove).unwrap_err();
    assert!(none.message.contains("10.9.0.9@tcp is no partner node of gold-OST0003, which has 10.9.0.4@tcp"), "{none}");
    let id = partner(&mut sim, svname, &by_node("oss3"), Way::Remove).unwrap().object.id;
    run(&mut sim, &[]);
    assert_eq!(job(&sim, &id).state, JobState::Done);
    assert!(sim.target(svname).spec.failover_nodes.is_empty());
}

#[test]
fn the_device_is_written_where_the_target_is_stopped_or_may_be() {
    let mut sim = site();
    let svname = "gold-OST0000";
    let with_device = FailoverNode { write_device: true, ..by_nids("10.9.0.7@tcp") };
    let id = partner(&mut sim, svname, &with_device, Way::Add).unwrap().object.id;
    use StepKind::{FailoverNodes, Start, Stop, Tune};
    assert_eq!(steps(&job(&sim, &id)), [FailoverNodes, Stop, Tune, Start]);
    let Some(AgentOp::Tune(op)) = &sim.state.jobs[&id].value.ops[2] else { panic!() };
    let written: Vec<String> = op.failover_nodes.iter().flatten().map(ToString::to_string).collect();
    assert_eq!((written.join(" ").as_str(), op.writeconf), ("10.9.0.3@tcp 10.9.0.7@tcp", None));
    assert_eq!(op.expect_uuid.as_deref(), Some("u1"));
    run(&mut sim, &[]);
    assert_eq!(sim.target(svname).state, TargetState::Started);
    // Known already: the device alone.
    let id = partner(&mut sim, svname, &with_device, Way::Add).unwrap().object.id;
    assert_eq!(steps(&job(&sim, &id)), [Stop, Tune, Start]);
    run(&mut sim, &[]);

    let req = sim.env_request();
    let stop = decide::lifecycle::stop(&sim.state, &req, &svname.parse().unwrap()).unwrap();
    let stop = sim.commit(stop).unwrap().job.unwrap();
    sim.run(&stop);
    let started = partner(&mut sim, svname, &by_nids("10.9.0.7@tcp"), Way::Remove).unwrap();
    assert_eq!(steps(&started.object), [FailoverNodes, Tune], "it is stopped, and stays so");
    run(&mut sim, &[]);
    assert_eq!(sim.target(svname).state, TargetState::Stopped);
}

#[test]
fn partner_nodes_that_nobody_confirms_come_back_counted_from_the_end_of_the_job() {
    let mut sim = site();
    let svname = "gold-OST0000";
    let wrong = FailoverNode { write_device: true, confirm_within_s: Some(60), ..by_nids("10.9.0.7@tcp") };
    assert_eq!(partner(&mut sim, svname, &wrong, Way::Add).unwrap_err().attribute.as_deref(), Some("write_device"));
    let body = FailoverNode { confirm_within_s: Some(60), ..by_nids("10.9.0.7@tcp") };
    let started = partner(&mut sim, svname, &body, Way::Add).unwrap();
    assert!(started.warnings.join("\n").contains("mgsctl target confirm gold-OST0000"));
    sim.now_ms = 5_000;
    run(&mut sim, &[]);
    assert!(log(&sim).contains("10.9.0.7@tcp"));
    let until = sim.target(svname).confirm.as_ref().map(|waits| waits.until);
    assert_eq!(until, Some(Time::from_unix_ms(65_000)));
    sim.now_ms = 65_000;
    let req = sim.env_request();
    let back = decide::confirm::expire(&sim.state, &req).unwrap();
    assert_eq!(sim.commit(back).unwrap().as_deref(), Some("target gold-OST0000"));
    assert_eq!(sim.target(svname).spec.failover_nodes.len(), 1);
    assert!(!log(&sim).contains("10.9.0.7@tcp"), "nodes do not hear of it any more: {}", log(&sim));
}

#[test]
fn a_partner_that_a_target_runs_on_is_not_taken_away_and_a_change_meanwhile_is_not_overwritten() {
    let mut sim = site();
    ask_failover(&mut sim, "oss1", &FailoverTargets::default(), "").unwrap();
    run(&mut sim, &[]);
    let refused = partner(&mut sim, "gold-OST0000", &by_node("oss2"), Way::Remove).unwrap_err();
    assert!(refused.message.contains("gold-OST0000 is on oss2 now"), "{refused}");

    let id = partner(&mut sim, "gold-OST0000", &by_nids("10.9.0.7@tcp"), Way::Add).unwrap().object.id;
    // What is described anew is refused while a job is at work, so this can only be a change of its own kind.
    let mut spec: TargetSpec = sim.target("gold-OST0000").spec.clone();
    spec.failover_nodes.clear();
    let busy = sim.ensure(ensure(spec), blank("/dev/OST0000")).unwrap_err();
    assert!(busy.message.contains(id.as_str()), "{busy}");
}

fn ask_relabel(sim: &mut Sim, svname: &str) -> Result<Written<Job>, Problem> {
    let svname: SvName = svname.parse().unwrap();
    start(sim, |sim, req| relabel::relabel(&sim.state, req, &svname))
}

#[test]
fn a_stopped_target_is_labelled_as_the_mgs_knows_it_and_any_other_is_refused() {
    let mut sim = site();
    let svname: SvName = "gold-OST0000".parse().unwrap();
    let refused = ask_relabel(&mut sim, "gold-OST0000").unwrap_err();
    assert!(refused.message.contains("is started on oss1") && refused.remedy.unwrap().contains("target stop"));
    assert_eq!(ask_relabel(&mut sim, "gold-OST0009").unwrap_err().code, ProblemCode::NotFound);
    let req = sim.env_request();
    let stop = decide::lifecycle::stop(&sim.state, &req, &svname).unwrap();
    let stop = sim.commit(stop).unwrap().job.unwrap();
    sim.run(&stop);
    let started = ask_relabel(&mut sim, "gold-OST0000").unwrap();
    let moved = &started.plan.unwrap().moves[0];
    assert_eq!((moved.object.as_str(), moved.becomes.as_str()), ("label of /dev/OST0000", "gold-OST0000"));
    let Some(AgentOp::Relabel(op)) = &sim.state.jobs[&started.object.id].value.ops[0] else { panic!() };
    assert_eq!((op.registered, op.expect_uuid.as_deref()), (true, Some("u1")));
    assert_eq!(run(&mut sim, &[]), ["relabel gold-OST0000 on oss1"]);
    assert_eq!(job(&sim, &started.object.id).state, JobState::Done);
    assert_eq!(sim.target("gold-OST0000").label.as_deref(), Some("gold-OST0000"));
    // An agent that says it is done and shows another target has failed.
    let id = ask_relabel(&mut sim, "gold-OST0000").unwrap().object.id;
    sim.begin(&id);
    let mut formatted_as = formatted(&"gold-OST0007".parse().unwrap(), "u7").formatted_as;
    formatted_as.label = "gold-OST0007".into();
    let result = Some(OpResult::Tuned(Box::new(TuneResult { formatted_as, changed: true })));
    let req = sim.env_request();
    let end = StepEnd { result, ..StepEnd::new(JobState::Done, None) };
    let decision = job::end(&sim.state, &req, &id, 0, end).unwrap();
    sim.commit(decision).unwrap();
    assert!(job(&sim, &id).error.unwrap().contains("does not show gold-OST0000"));
}

#[test]
fn a_target_on_zfs_is_refused_in_the_plan() {
    let mut sim = site();
    let spec = TargetSpec { device: "tank/ost9".into(), ..ost("oss1", "") };
    let mut device = blank("tank/ost9");
    device.kind = "zfs".into();
    let made = sim.ensure(ensure(spec), device).unwrap();
    sim.run(&made.job.unwrap());
    let svname = made.object.svname;
    let req = sim.env_request();
    let stop = decide::lifecycle::stop(&sim.state, &req, &svname).unwrap();
    let stop = sim.commit(stop).unwrap().job.unwrap();
    sim.run(&stop);
    let refused = ask_relabel(&mut sim, &svname.to_string()).unwrap_err();
    assert!(refused.message.contains("is on ZFS"), "{refused}");
}

#[test]
fn nodes_are_looked_at_by_one_job_so_many_at_once_and_those_that_are_away_are_named() {
    let mut sim = site();
    let body = ScanNodes { at_once: Some(2), ..ScanNodes::default() };
    let all = |sim: &mut Sim, body: &ScanNodes| {
        start(sim, |sim, req| scan::scan_nodes(&sim.state, req, body, &alive("mds1")))
    };
    let started = all(&mut sim, &body).unwrap();
    let nodes: BTreeSet<_> =
        started.object.steps.iter().filter_map(|step| step.node.as_ref()?.as_str().into()).collect();
    assert_eq!((nodes, started.warnings[0].contains("mds1 (not heard of)")), (BTreeSet::from(["oss1", "oss2"]), true));
    let second = all(&mut sim, &body).unwrap_err();
    assert!(second.message.contains(started.object.id.as_str()), "{second}");
    // That a node is looked at stands in nobody's way.
    let one =
        start(&mut sim, |sim, req| scan::scan_node(&sim.state, req, &name("oss1"), &ScanNode::default())).unwrap();
    assert_eq!(run(&mut sim, &[]).len(), 3);
    assert_eq!(
        (job(&sim, &one.object.id).state, job(&sim, &started.object.id).state),
        (JobState::Done, JobState::Done)
    );
    let named = ScanNodes { nodes: vec![name("mds1")], ..ScanNodes::default() };
    assert_eq!(all(&mut sim, &named).unwrap().object.steps.len(), 1, "one that is named is waited for");
    run(&mut sim, &[]);
    let unknown = ScanNodes { nodes: vec![name("oss9")], ..ScanNodes::default() };
    assert_eq!(all(&mut sim, &unknown).unwrap_err().code, ProblemCode::NotFound);
    for (body, attribute) in [
        (ScanNodes { device_timeout_s: Some(0), ..ScanNodes::default() }, "device_timeout_s"),
        (ScanNodes { at_once: Some(0), ..ScanNodes::default() }, "at_once"),
    ] {
        assert_eq!(all(&mut sim, &body).unwrap_err().attribute.as_deref(), Some(attribute));
    }
}

#[test]
fn a_stop_has_the_time_and_the_force_that_were_said_and_no_more() {
    let mut sim = site();
    let svname: SvName = "gold-OST0000".parse().unwrap();
    let ask = |sim: &mut Sim, body: &StopWithin| {
        let req = sim.env_request();
        let decision = decide::lifecycle::stop_within(&sim.state, &req, &svname, body)?;
        Ok::<_, Problem>(sim.commit(decision).unwrap())
    };
    for timeout_s in [Some(0), Some(86401)] {
        let refused = ask(&mut sim, &StopWithin { timeout_s, force: StopForce::Never }).unwrap_err();
        assert_eq!(refused.attribute.as_deref(), Some("timeout_s"));
    }
    let written = ask(&mut sim, &StopWithin { timeout_s: Some(7), force: StopForce::Lazy }).unwrap();
    assert!(written.warnings[0].contains("the kernel may still write"), "{:?}", written.warnings);
    let Some(AgentOp::Stop(op)) = &sim.state.jobs[&written.job.unwrap()].value.ops[0] else { panic!() };
    assert_eq!((op.timeout_s, op.force), (Some(7), StopForce::Lazy));
}

#[test]
fn a_target_whose_node_is_off_is_deregistered_without_waiting_for_it() {
    let mut sim = site();
    let svname: SvName = "gold-OST0002".parse().unwrap();
    let ask = |sim: &mut Sim, down: &'static str| {
        let req = sim.env_request();
        let decision = decide::lifecycle::deregister_from(&sim.state, &req, &svname, true, &alive(down))?;
        Ok::<_, Problem>(sim.commit(decision).unwrap())
    };
    let refused = ask(&mut sim, "").unwrap_err();
    assert!(refused.message.contains("was heard of a moment ago"), "{refused}");
    let id = ask(&mut sim, "oss1").unwrap().job.unwrap();
    assert_eq!(steps(&job(&sim, &id)), [StepKind::Deregister]);
    assert!(run(&mut sim, &[]).is_empty());
    assert!(!sim.state.targets.contains_key(&svname));
}
