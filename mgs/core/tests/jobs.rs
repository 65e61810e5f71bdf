//! Jobs of any shape: no step begins before those that it comes after, none is done twice, and every job ends.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::agent::{AgentOp, StartDriver, StopOp};
use lustre_api::job::{Job, JobId, JobKind, JobObject, JobState, StepKind};
use lustre_api::node::NodeSettings;
use lustre_api::proxy::{ProxyModule, ProxyState};
use lustre_api::{Problem, ProblemCode};
use lustre_mgs_core::decide::job::{self, Limits, NewJob, NewStep, Order, Schedule, StepEnd, Task, Work};
use lustre_mgs_core::decide::node::settings as node_settings;
use lustre_mgs_core::{OwnAct, decide};
use proptest::prelude::*;
use sim::{Sim, blank, ensure, ost};

fn stop_op() -> AgentOp {
    let (svname, device) = ("scratch-OST0000".parse().unwrap(), "/dev/sdb".into());
    AgentOp::Stop(StopOp {
        svname,
        device,
        timeout_s: None,
        force: lustre_api::agent_ops::StopForce::Never,
        export_pool: false,
    })
}

fn step() -> NewStep {
    NewStep::on("oss1".parse().unwrap(), StepKind::Stop, stop_op())
}

fn new_job(object: JobObject, steps: Vec<NewStep>) -> NewJob {
    NewJob::new(JobKind::StopTarget, object, steps)
}

fn node(name: &str) -> JobObject {
    JobObject::Node(name.parse().unwrap())
}

fn scratch() -> JobObject {
    JobObject::Filesystem("scratch".parse().unwrap())
}

fn start(sim: &mut Sim, new: NewJob, name: Option<&str>, plan: Option<&str>) -> Result<Job, Problem> {
    let name: Option<JobId> = name.map(|name| name.parse().unwrap());
    let req = lustre_mgs_core::Request { job: name.as_ref(), plan, ..sim.env_request() };
    let decision = job::request(&sim.state, &req, new)?;
    Ok(sim.commit(decision).unwrap().object)
}

fn job(sim: &Sim, id: &JobId) -> Job {
    sim.state.jobs[id].value.job.clone()
}

/// The kernel proxy is loaded by a job on the node, one at a time, and what the node then has is known with the job's end.
#[test]
fn a_proxy_job_tells_what_its_node_has_and_fails_where_the_node_does_not_show_it() {
    let mut sim = Sim::new();
    sim.node("mgs1", StartDriver::None);
    let name = "mgs1".parse().unwrap();
    let module = ProxyModule { version: "0.1.0".into(), srcversion: "AAAA".into(), protocol: 1 };
    let loaded = ProxyState {
        loaded: Some(module.clone()),
        installed: Some(module),
        transport: Some("lnet".into()),
        at_boot: true,
        servers: vec![],
    };
    let ensure = |sim: &mut Sim| {
        let req = sim.env_request();
        let decision = decide::proxy::ensure(&sim.state, &req, &name)?;
        Ok::<_, Problem>(sim.commit(decision).unwrap().object.id)
    };
    let end = |sim: &mut Sim, id: &JobId, proxy: Option<ProxyState>| {
        let end = StepEnd { proxy, ..StepEnd::new(JobState::Done, None) };
        let req = sim.env_request();
        let decision = job::end(&sim.state, &req, id, 0, end).unwrap();
        sim.commit(decision).unwrap();
        (job(sim, id).state, sim.state.nodes[&name].value.info.kernel_proxy.clone())
    };
    let id = ensure(&mut sim).unwrap();
    assert!(ensure(&mut sim).unwrap_err().to_string().contains(id.as_str()), "one job at a time");
    sim.begin(&id);
    assert_eq!(end(&mut sim, &id, Some(loaded.clone())), (JobState::Done, Some(loaded.clone())));
    // A node that says "done" and has it not.
    let id = ensure(&mut sim).unwrap();
    sim.begin(&id);
    assert_eq!(end(&mut sim, &id, Some(ProxyState::default())), (JobState::Failed, Some(loaded.clone())));
    assert!(job(&sim, &id).error.unwrap().contains("mgs1 does not show the kernel proxy as it should be"));
    let req = sim.env_request();
    let decision = decide::proxy::remove(&sim.state, &req, &name).unwrap();
    let id = sim.commit(decision).unwrap().object.id;
    sim.begin(&id);
    assert_eq!(end(&mut sim, &id, Some(ProxyState::default())), (JobState::Done, Some(ProxyState::default())));
    let req = sim.env_request();
    let unknown = decide::proxy::ensure(&sim.state, &req, &"mgs9".parse().unwrap()).unwrap_err();
    assert!(unknown.to_string().contains("mgs9"), "{unknown}");
}

#[test]
fn steps_that_come_after_nothing_are_begun_at_once_and_one_after_both_waits() {
    let mut sim = Sim::new();
    let steps = vec![step().after([]), step().after([]), step().after([0, 1])];
    let id = start(&mut sim, new_job(node("oss1"), steps), None, None).unwrap().id;
    sim.begin(&id);
    let states = |sim: &Sim| job(sim, &id).steps.iter().map(|step| step.state).collect::<Vec<_>>();
    assert_eq!(states(&sim), [JobState::Running, JobState::Running, JobState::Queued]);
    sim.end(&id, 1, JobState::Done, None);
    sim.begin(&id);
    assert_eq!(states(&sim), [JobState::Running, JobState::Done, JobState::Queued]);
    sim.end(&id, 0, JobState::Done, None);
    sim.begin(&id);
    assert_eq!(states(&sim)[2], JobState::Running);
}

#[test]
fn a_failed_step_lets_its_neighbours_end_and_nothing_else_begin() {
    let mut sim = Sim::new();
    let steps = vec![step().after([]), step().after([]), step()];
    let id = start(&mut sim, new_job(node("oss1"), steps), None, None).unwrap().id;
    sim.begin(&id);
    sim.end(&id, 0, JobState::Failed, None);
    assert_eq!(job(&sim, &id).state, JobState::Running, "the other one is still at work");
    sim.end(&id, 1, JobState::Done, None);
    let ended = job(&sim, &id);
    assert_eq!((ended.state, ended.steps[2].state), (JobState::Failed, JobState::Cancelled));
    assert!(ended.error.unwrap().contains("in its step stop on oss1"));
}

#[test]
fn the_same_request_under_the_same_name_is_the_same_job_and_another_one_is_refused() {
    let mut sim = Sim::new();
    let first = start(&mut sim, new_job(node("oss1"), vec![step()]), Some("mine"), None).unwrap();
    assert_eq!(first.id.as_str(), "mine");
    let revision = sim.state.revision;
    assert_eq!(start(&mut sim, new_job(node("oss1"), vec![step()]), Some("mine"), None).unwrap().id, first.id);
    sim.run(&first.id);
    assert!(sim.state.revision > revision);
    let again = start(&mut sim, new_job(node("oss1"), vec![step()]), Some("mine"), None).unwrap();
    assert_eq!(again.state, JobState::Done, "also when it is over");
    let problem = start(&mut sim, new_job(node("mds1"), vec![step()]), Some("mine"), None).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(problem.message.contains("mine") && problem.message.contains("oss1"), "{problem}");
    let long = "x".repeat(53);
    assert_eq!(
        start(&mut sim, new_job(node("mds1"), vec![step()]), Some(&long), None).unwrap_err().code,
        ProblemCode::Invalid
    );
}

#[test]
fn two_jobs_on_one_object_are_refused_naming_the_first_also_whole_and_part() {
    let mut sim = Sim::new();
    let target = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap();
    let first = target.job.unwrap();
    let problem = start(&mut sim, new_job(scratch(), vec![step()]), None, None).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(
        problem.message.contains(first.as_str()) && problem.remedy.unwrap().contains("cancel"),
        "{}",
        problem.message
    );
    // Something else entirely is free.
    let other = start(&mut sim, new_job(node("oss1"), vec![step()]), None, None).unwrap();
    sim.run(&first);
    let whole = start(&mut sim, new_job(scratch(), vec![step()]), None, None).unwrap();
    let refused = sim.deregister(&"scratch-OST0000".parse().unwrap()).unwrap_err();
    assert!(refused.message.contains(whole.id.as_str()), "{refused}");
    let refused = sim.ensure(ensure(ost("oss1", "/dev/sdc")), blank("/dev/sdc")).unwrap_err();
    assert!(refused.message.contains(whole.id.as_str()), "a new target of it, too: {refused}");
    sim.run(&whole.id);
    sim.run(&other.id);
    assert!(sim.deregister(&"scratch-OST0000".parse().unwrap()).is_ok(), "free again");
    assert!(!sim.state.holds.contains_key(&scratch()), "nothing is held when nothing is at work");
}

#[test]
fn of_racing_jobs_on_a_whole_and_its_part_one_is_committed() {
    let mut sim = Sim::new();
    sim.node("mds1", StartDriver::Kernel);
    let job_id = sim.ensure(ensure(ost("mds1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job_id);
    let req = sim.env_request();
    let whole = job::request(&sim.state, &req, new_job(scratch(), vec![step()])).unwrap();
    let part = lustre_mgs_core::decide::lifecycle::stop(&sim.state, &req, &"scratch-OST0000".parse().unwrap()).unwrap();
    for (first, second) in [(0, 1), (1, 0)] {
        let mut sim = sim.again();
        let mut commit = |which| match which {
            0 => sim.commit(whole.clone()).map(drop),
            _ => sim.commit(part.clone()).map(drop),
        };
        assert_eq!(commit(first), Ok(()));
        assert_eq!(commit(second), Err(sim::Conflict), "decided on the same state, {second} after {first}");
    }
}

#[test]
fn a_job_other_than_the_one_that_was_shown_is_refused() {
    let mut sim = Sim::new();
    let req = sim.env_request();
    let shown = job::request(&sim.state, &req, new_job(node("oss1"), vec![step()])).unwrap().reply.object;
    let two = new_job(node("oss1"), vec![step(), step()]);
    let problem = start(&mut sim, two, None, Some(&shown.digest)).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(problem.remedy.unwrap().contains("dry_run"));
    sim.filesystem("other");
    assert!(
        start(&mut sim, new_job(node("oss1"), vec![step()]), None, Some(&shown.digest)).is_ok(),
        "later is the same"
    );
}

#[test]
fn a_job_that_runs_another_waits_for_it_and_cancels_it_too() {
    for cancel in [false, true] {
        let mut sim = Sim::new();
        let child: JobId = "part".parse().unwrap();
        let run = NewStep::own(StepKind::Job, OwnAct::Job(child.clone()));
        let parent = start(&mut sim, new_job(scratch(), vec![step(), run]), Some("parent"), None).unwrap();
        let part = NewJob {
            name: Some(child.clone()),
            parent: Some(parent.id.clone()),
            ..new_job(node("oss1"), vec![step()])
        };
        assert_eq!(start(&mut sim, part, None, None).unwrap().id, child);
        assert_eq!(job::work_of(&sim.state, &sim.state.jobs[&child].value), [], "it is not its turn");
        sim.begin(&parent.id);
        sim.end(&parent.id, 0, JobState::Done, None);
        sim.begin(&parent.id);
        assert!(matches!(job::work_of(&sim.state, &sim.state.jobs[&child].value)[..], [Work::Begin { .. }]));
        if cancel {
            sim.cancel(&parent.id);
            let work = job::work_of(&sim.state, &sim.state.jobs[&child].value);
            assert_eq!(work, [Work::Cancel(child.clone())]);
        }
        sim.run(&child);
        sim.run(&parent.id);
        let expected = if cancel { JobState::Cancelled } else { JobState::Done };
        assert_eq!((job(&sim, &child).state, job(&sim, &parent.id).state), (expected, expected));
    }
}

fn retry(sim: &mut Sim, id: &JobId) -> Result<Job, Problem> {
    let req = sim.env_request();
    let decision = job::retry(&sim.state, &req, id)?;
    Ok(sim.commit(decision).unwrap())
}

#[test]
fn a_failed_job_tries_its_unfinished_steps_again_under_new_names() {
    let mut sim = Sim::new();
    let id = start(&mut sim, new_job(node("oss1"), vec![step(), step()]), Some("j"), None).unwrap().id;
    sim.begin(&id);
    sim.end(&id, 0, JobState::Done, None);
    sim.begin(&id);
    sim.end(&id, 1, JobState::Failed, None);
    assert_eq!(retry(&mut sim, &id).unwrap().state, JobState::Queued);
    assert!(sim.state.holds.contains_key(&node("oss1")), "others are kept away again");
    assert_eq!(sim.run(&id), ["oss1 j-2-2"], "what was done is not done again");
    let ended = job(&sim, &id);
    assert_eq!((ended.state, ended.error), (JobState::Done, None));
    let [earlier] = &ended.steps[1].earlier[..] else { panic!("{:?}", ended.steps[1]) };
    assert_eq!((earlier.attempt, earlier.state, ended.steps[1].attempts), (1, JobState::Failed, 2));
    assert_eq!(retry(&mut sim, &id).unwrap_err().code, ProblemCode::Refused);
}

#[test]
fn what_is_not_safe_to_try_again_is_refused_with_what_to_do_instead() {
    let mut sim = Sim::new();
    let id = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.begin(&id);
    sim.end(&id, 0, JobState::Failed, None);
    let problem = retry(&mut sim, &id).unwrap_err();
    assert!(
        problem.message.contains("format had begun")
            && problem.remedy.unwrap().contains("ensure scratch-OST0000 again")
    );
    // Another job has taken the object meanwhile.
    let id = start(&mut sim, new_job(node("oss1"), vec![step()]), None, None).unwrap().id;
    sim.begin(&id);
    sim.end(&id, 0, JobState::Failed, None);
    let other = start(&mut sim, new_job(node("oss1"), vec![step()]), None, None).unwrap().id;
    assert!(retry(&mut sim, &id).unwrap_err().message.contains(other.as_str()));
}

#[test]
fn a_job_is_explained_at_every_stage() {
    let mut sim = Sim::new();
    let id = start(&mut sim, new_job(node("oss1"), vec![step(), step()]), Some("j"), None).unwrap().id;
    let explain = |sim: &mut Sim| {
        let req = sim.env_request();
        let record = &sim.state.jobs[&id].value;
        job::explain(&sim.state, &req, record, &record.job)
    };
    let queued = explain(&mut sim);
    assert_eq!(queued.next, ["step 1 (stop on oss1)"]);
    assert_eq!(queued.waits_for, ["step 2 (stop on oss1) waits for step 1"]);
    sim.begin(&id);
    assert_eq!(explain(&mut sim).waits_for[0], "step 1 (stop on oss1) is at work");
    sim.end(&id, 0, JobState::Failed, None);
    let failed = explain(&mut sim);
    assert!(failed.not_done[0].starts_with("step 1 (stop on oss1) failed: "), "{failed:?}");
    assert_eq!(failed.not_done[1], "step 2 (stop on oss1) was not begun");
    assert!(failed.person.unwrap().contains("mgsctl job retry j"));
}

#[test]
fn stopping_mdt0000_says_that_the_file_system_goes_with_it() {
    let mut sim = Sim::new();
    let spec = lustre_api::target::TargetSpec { kind: lustre_types::TargetKind::Mdt, ..ost("mds1", "/dev/sda") };
    let made = sim.ensure(ensure(spec), blank("/dev/sda")).unwrap().job.unwrap();
    sim.run(&made);
    let req = sim.env_request();
    let stop = lustre_mgs_core::decide::lifecycle::stop(&sim.state, &req, &"scratch-MDT0000".parse().unwrap()).unwrap();
    let plan = stop.reply.plan.unwrap();
    let moved: Vec<_> = plan.moves.iter().map(|moved| (moved.object.as_str(), moved.becomes.as_str())).collect();
    assert_eq!(moved, [("target scratch-MDT0000", "stopped"), ("filesystem scratch", "unavailable")]);
    assert!(plan.moves.iter().all(|moved| moved.fix.as_deref() == Some("mgsctl target start scratch-MDT0000")));
}

#[test]
fn the_plan_of_an_evacuation_says_what_it_sets_and_which_pool_gets_smaller() {
    let mut sim = Sim::new();
    sim.filesystem("gold");
    ["MDT0000", "OST0000", "OST0001"].iter().for_each(|short| sim.gold(short, &[]));
    sim.pool("gold", "flash", Some(&["gold-OST0001"]));
    let body = serde_json::from_value(serde_json::json!({"client": "mds1"})).unwrap();
    let (req, ost) = (sim.env_request(), "gold-OST0001".parse().unwrap());
    let decision = decide::operate::evacuate::evacuate(&sim.state, &req, &ost, &body).unwrap();
    let moves = decision.reply.plan.unwrap().moves;
    let said: Vec<String> = moves.iter().map(|m| format!("{}: {} -> {}", m.object, m.now, m.becomes)).collect();
    let expected = [
        "target gold-OST0001: takes new files -> takes no new files",
        "target gold-OST0001: active -> inactive",
        "pool gold.flash: 1 member -> 0 members",
        "target gold-OST0001: registered -> not there",
    ];
    assert_eq!(said, expected);
    assert!(moves[2].why.contains("no OST left") && moves[1].fix.as_ref().unwrap().contains("'osc.*.active' 1"));
}

fn settle(sim: &mut Sim, name: &str, settings: NodeSettings) {
    let req = sim.env_request();
    let decision = node_settings(&sim.state, &req, &name.parse().unwrap(), settings).unwrap();
    sim.commit(decision).unwrap();
}

/// The steps that a runner which starts now has begin, as `<job>-<place>`.
fn admitted(sim: &Sim, limits: Limits) -> Vec<String> {
    begins(&mut Schedule::new(limits), sim)
}

/// The steps that a schedule has begin now.
fn begins(schedule: &mut Schedule, sim: &Sim) -> Vec<String> {
    let orders = schedule.look(&sim.state, lustre_api::Time::from_unix_ms(sim.now_ms));
    let names = orders.into_iter().flat_map(|order| match order {
        Order::Do(Work::Begin { id, steps }) => steps.into_iter().map(|step| format!("{id}-{step}")).collect(),
        _ => Vec::new(),
    });
    names.collect()
}

/// A job of steps that may all begin at once.
fn wide(sim: &mut Sim, name: &str, object: JobObject, steps: usize) -> JobId {
    let steps = (0..steps).map(|_| step().after([])).collect();
    start(sim, new_job(object, steps), Some(name), None).unwrap().id
}

#[test]
fn a_node_takes_so_many_steps_at_once_and_no_more_while_others_are_about_to_begin() {
    let mut sim = Sim::new();
    let id = wide(&mut sim, "j", node("oss1"), 5);
    let limits = Limits { per_node: 2, ..Limits::default() };
    let mut schedule = Schedule::new(limits);
    assert_eq!(begins(&mut schedule, &sim), ["j-0", "j-1"]);
    assert_eq!(begins(&mut schedule, &sim), [""; 0], "those are on their way");
    let req = sim.env_request();
    let decision = job::begin(&sim.state, &req, &id, &[0, 1]).unwrap();
    sim.commit(decision).unwrap();
    schedule.over(&Task::Transition(id.clone()));
    assert_eq!(begins(&mut schedule, &sim), [""; 0]);
    let now = lustre_api::Time::from_unix_ms(0);
    let why = job::held_back(&sim.state, &limits, now, &sim.state.jobs[&id].value);
    assert!(why[&2].contains("node oss1: 2 steps are at work there, at most 2"), "{why:?}");
    sim.end(&id, 0, JobState::Done, None);
    assert_eq!(begins(&mut schedule, &sim), ["j-2"]);
}

#[test]
fn nodes_of_one_enclosure_share_its_limit() {
    let mut sim = Sim::new();
    for name in ["oss1", "oss2"] {
        sim.node(name, StartDriver::None);
        settle(&mut sim, name, NodeSettings { enclosure: Some("shelf1".into()), ..NodeSettings::default() });
    }
    let on = |node: &str| NewStep::on(node.parse().unwrap(), StepKind::Stop, stop_op()).after([]);
    start(&mut sim, new_job(scratch(), vec![on("oss1"), on("oss2"), on("mds1")]), Some("j"), None).unwrap();
    let limits = Limits { per_enclosure: 1, ..Limits::default() };
    assert_eq!(admitted(&sim, limits), ["j-0", "j-2"], "one of the shelf, and one elsewhere");
}

#[test]
fn nothing_begins_on_a_drained_node_or_outside_its_window_and_it_says_so() {
    let mut sim = Sim::new();
    let id = wide(&mut sim, "j", node("oss1"), 1);
    let limits = Limits::default();
    settle(&mut sim, "oss1", NodeSettings { drained: Some("new cables".into()), ..NodeSettings::default() });
    assert_eq!(admitted(&sim, limits), [""; 0]);
    let req = sim.env_request();
    let record = sim.state.jobs[&id].value.clone();
    let why = job::explain(&sim.state, &req, &record, &record.job);
    assert!(why.waits_for[0].contains("node oss1, which is drained (new cables): mgsctl node undrain oss1"), "{why:?}");
    // The node's own announcement leaves what people decided.
    sim.booted("oss1", StartDriver::None, "2");
    assert_eq!(admitted(&sim, limits), [""; 0]);
    let windows = vec!["22:00-06:00".parse().unwrap()];
    settle(&mut sim, "oss1", NodeSettings { windows, ..NodeSettings::default() });
    sim.now_ms = 12 * 3_600_000;
    assert_eq!(admitted(&sim, limits), [""; 0]);
    sim.now_ms = 23 * 3_600_000;
    assert_eq!(admitted(&sim, limits), ["j-0"]);
}

#[test]
fn a_clock_that_jumps_by_a_day_neither_ends_nor_stalls_a_job() {
    const DAY_MS: u64 = 24 * 3_600_000;
    for jumps in [[10, 11, 12], [10, 9, 8], [10, 11, 9]] {
        let mut sim = Sim::new();
        let mut schedule = Schedule::new(Limits::default());
        sim.now_ms = jumps[0] * DAY_MS;
        let id = start(&mut sim, new_job(node("oss1"), vec![step(), step()]), Some("j"), None).unwrap().id;
        for (at, day) in jumps[1..].iter().enumerate() {
            sim.now_ms = day * DAY_MS;
            assert_eq!(begins(&mut schedule, &sim), [format!("j-{at}")], "begins on day {day}");
            sim.begin(&id);
            schedule.over(&Task::Transition(id.clone()));
            sim.now_ms = (20 - day) * DAY_MS;
            assert_eq!(begins(&mut schedule, &sim), [""; 0], "nothing is begun twice");
            assert_eq!(job(&sim, &id).steps[at].state, JobState::Running, "nobody gives up on it");
            sim.end(&id, at, JobState::Done, None);
        }
        assert_eq!(job(&sim, &id).state, JobState::Done);
    }
}

#[test]
fn a_file_system_with_many_jobs_does_not_keep_another_one_waiting() {
    let mut sim = Sim::new();
    sim.filesystem("other");
    wide(&mut sim, "many", scratch(), 50);
    sim.now_ms = 1000;
    wide(&mut sim, "one", JobObject::Filesystem("other".parse().unwrap()), 1);
    let limits = Limits { per_node: 4, ..Limits::default() };
    let admitted = admitted(&sim, limits);
    assert_eq!(admitted.len(), 4);
    assert!(admitted.contains(&"one-0".to_owned()), "{admitted:?}");
}

/// Every way from one state of a job to another: what happens, from, to. Found by doing everything that can be done.
fn ways() -> BTreeSet<(&'static str, String, &'static str)> {
    let mut sim = Sim::new();
    let id = start(&mut sim, new_job(node("oss1"), vec![step(), step()]), Some("j"), None).unwrap().id;
    let mut ways = BTreeSet::new();
    let mut seen = Vec::new();
    let mut todo = vec![sim];
    while let Some(sim) = todo.pop() {
        let before = job(&sim, &id);
        let shape =
            |job: &Job| (job.state, job.steps.iter().map(|step| (step.state, step.attempts)).collect::<Vec<_>>());
        if seen.contains(&shape(&before)) || before.steps.iter().any(|step| step.attempts > 2) {
            continue;
        }
        seen.push(shape(&before));
        for what in ["a step begins", "a step is done", "a step fails", "a step is stopped", "cancel", "retry"] {
            let mut next = sim.again();
            let running = before.steps.iter().position(|step| step.state == JobState::Running);
            let end = |next: &mut Sim, state| running.into_iter().for_each(|at| next.end(&id, at, state, None));
            match what {
                "a step begins" => next.begin(&id),
                "a step is done" => end(&mut next, JobState::Done),
                "a step fails" => end(&mut next, JobState::Failed),
                // An agent stops only what it was told to stop.
                "a step is stopped" if before.state == JobState::Cancelling => end(&mut next, JobState::Cancelled),
                "cancel" => drop(next.cancel(&id)),
                "retry" => drop(retry(&mut next, &id)),
                _ => {}
            }
            let after = job(&next, &id);
            if after.state != before.state {
                ways.insert((before.state.as_str(), what.to_owned(), after.state.as_str()));
            }
            if shape(&after) != shape(&before) {
                todo.push(next);
            }
        }
    }
    ways
}

#[test]
fn the_diagram_in_the_docs_is_what_jobs_do() {
    let mut diagram = "```mermaid\nstateDiagram-v2\n    [*] --> queued\n".to_owned();
    let mut between: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (from, what, to) in ways() {
        between.entry((from, to)).or_default().push(what);
    }
    for ((from, to), whats) in between {
        diagram += &format!("    {from} --> {to}: {}\n", whats.join(" / "));
    }
    diagram += "    done --> [*]\n```\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (head, rest) = page.split_once("<!-- drawn from the code -->\n").unwrap();
    let (drawn, tail) = rest.split_once("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let new = format!("{head}<!-- drawn from the code -->\n{diagram}<!-- end -->{tail}");
        return std::fs::write(path, new).unwrap();
    }
    assert_eq!(drawn, diagram, "draw it again with UPDATE_DOCS=1");
}

/// What happens to a job: what is due is decided now and committed now or later, or forgotten as by a crash.
#[derive(Clone, Debug)]
enum Act {
    /// Decides on the due thing of this number, with this end where it is a step's.
    Do {
        pick: u8,
        end: u8,
        at_once: bool,
    },
    /// Commits what was decided before, if it still may be.
    Commit,
    /// The runner dies: what it had decided is forgotten.
    Crash,
    Cancel,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        10 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(pick, end, at_once)| Act::Do { pick, end, at_once }),
        3 => Just(Act::Commit),
        1 => Just(Act::Crash),
        1 => Just(Act::Cancel),
    ];
    prop::collection::vec(act, 0..60)
}

/// For each step those before it that it comes after; `None` for the one before it.
fn graphs() -> impl Strategy<Value = Vec<Option<Vec<bool>>>> {
    prop::collection::vec(prop::option::weighted(0.7, prop::collection::vec(any::<bool>(), 12)), 1..12)
}

fn check_order(job: &Job) -> Result<(), TestCaseError> {
    for (at, step) in job.steps.iter().enumerate() {
        for before in job.predecessors(at) {
            let is_done = job.steps[before].state == JobState::Done;
            prop_assert!(is_done || step.attempts == 0, "step {} began before {} was done: {:?}", at, before, job);
        }
        prop_assert!(step.attempts <= 1, "a step began twice: {job:?}");
    }
    let is_over = job.steps.iter().all(|step| step.state.is_final());
    prop_assert_eq!(job.state.is_final(), is_over, "{:?}", job);
    let has = |state| job.steps.iter().any(|step| step.state == state);
    let expected = match job.state {
        JobState::Done => !has(JobState::Failed) && !has(JobState::Cancelled),
        JobState::Failed => has(JobState::Failed),
        JobState::Cancelled => has(JobState::Cancelled) && !has(JobState::Failed),
        _ => true,
    };
    prop_assert!(expected, "{job:?}");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_graph_of_steps_keeps_its_order_and_ends(graph in graphs(), acts in acts()) {
        let mut sim = Sim::new();
        let steps = graph.iter().enumerate().map(|(at, after)| match after {
            None => step(),
            Some(after) => step().after((0..at).filter(|before| after[*before]).collect::<Vec<_>>()),
        });
        let id = start(&mut sim, new_job(node("oss1"), steps.collect()), None, None).unwrap().id;
        // The agent: what it was asked to do, by name. The same name is the same act, however often it is asked.
        let mut agent: BTreeMap<JobId, usize> = BTreeMap::new();
        let mut decided = Vec::new();
        let finish = (0..200u8).map(|pick| Act::Do { pick, end: 0, at_once: true });
        for act in acts.into_iter().chain(finish) {
            let req = sim.env_request();
            let record = sim.state.jobs[&id].value.clone();
            let work = job::work_of(&sim.state, &record);
            match act {
                Act::Do { pick, end, at_once } if !work.is_empty() => {
                    let decision = match &work[usize::from(pick) % work.len()] {
                        Work::Begin { id, steps } => {
                            // Not all of them at once.
                            let some: Vec<usize> = steps.iter().copied().take(1 + usize::from(end) % 3).collect();
                            job::begin(&sim.state, &req, id, &some).unwrap()
                        }
                        Work::Hand(hand) => {
                            let known = agent.entry(hand.agent_id.clone()).or_insert(hand.step);
                            prop_assert_eq!(*known, hand.step, "one name, two steps");
                            let state = match end % 8 {
                                6 => JobState::Failed,
                                7 => JobState::Cancelled,
                                _ if hand.cancel => JobState::Cancelled,
                                _ => JobState::Done,
                            };
                            job::end(&sim.state, &req, &hand.id, hand.step, job::StepEnd::new(state, None)).unwrap()
                        }
                        Work::Settle(id) => job::settle(&sim.state, &req, id).unwrap(),
                        Work::Cancel(id) => job::cancel(&sim.state, &req, id).unwrap().map(drop),
                    };
                    if at_once {
                        let _ = sim.commit(decision);
                    } else {
                        decided.push(decision);
                    }
                }
                Act::Do { .. } => {}
                Act::Commit => drop(decided.pop().map(|decision| sim.commit(decision))),
                Act::Crash => decided.clear(),
                Act::Cancel => {
                    let decision = job::cancel(&sim.state, &req, &id).unwrap();
                    let _ = sim.commit(decision);
                }
            }
            check_order(&job(&sim, &id))?;
        }
        let ended = job(&sim, &id);
        prop_assert!(ended.state.is_final(), "{ended:?}");
        prop_assert!(sim.state.holds.is_empty() && sim.state.open_jobs.is_empty());
        let begun = ended.steps.iter().filter(|step| step.attempts > 0).count();
        prop_assert!(agent.len() <= begun, "an agent was asked for a step that was not begun");
    }
}
