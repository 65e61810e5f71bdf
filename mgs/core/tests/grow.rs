//! Many OSTs by one job: so many at once, each named before anything begins, and the same again goes on where it ended.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use std::collections::BTreeSet;

use lustre_api::job::{Job, JobId, JobState};
use lustre_api::operation::GrowFilesystem;
use lustre_api::target::{EnsureTarget, TargetState};
use lustre_api::{Problem, ProblemCode, Written};
use lustre_mgs_core::decide::job::{self, Work};
use lustre_mgs_core::decide::operate::grow::grow;
use proptest::prelude::*;
use sim::{Sim, blank, check, ensure, formatted, ost, with_index};

const DEVICES: [&str; 5] = ["/dev/sdb", "/dev/sdc", "/dev/sdd", "/dev/sde", "/dev/sdf"];

fn wanted(devices: &[&str], at_once: Option<u32>) -> GrowFilesystem {
    GrowFilesystem { targets: devices.iter().map(|device| ensure(ost("oss1", device))).collect(), at_once }
}

fn ask(sim: &mut Sim, body: &GrowFilesystem, plan: Option<&str>) -> Result<Written<Job>, Problem> {
    let seen: Vec<_> = body.targets.iter().map(|wanted| Some(check(blank(&wanted.target.device)))).collect();
    let req = lustre_mgs_core::Request { plan, ..sim.env_request() };
    let decision = grow(&sim.state, &req, &"scratch".parse().unwrap(), body, &seen)?;
    Ok(sim.commit(decision).unwrap())
}

fn job(sim: &Sim, id: &JobId) -> Job {
    sim.state.jobs[id].value.job.clone()
}

fn parts(sim: &Sim, id: &JobId) -> Vec<Job> {
    sim.state.jobs.values().map(|job| job.value.job.clone()).filter(|job| job.parent.as_ref() == Some(id)).collect()
}

/// Runs all jobs; the formats of these targets fail. Gives the most parts that were at work at once.
fn run(sim: &mut Sim, fails: &[&str]) -> usize {
    let mut most = 0;
    loop {
        let open: Vec<_> = sim.state.open_jobs().map(|job| job.value.clone()).collect();
        most = most.max(open.iter().filter(|record| record.job.parent.is_some()).count());
        let Some(work) = open.iter().flat_map(|record| job::work_of(&sim.state, record)).next() else { return most };
        let req = sim.env_request();
        match work {
            // As many as may begin, before any goes on.
            Work::Begin { id, steps } => {
                let decision = job::begin(&sim.state, &req, &id, &steps).unwrap();
                sim.commit(decision).unwrap();
            }
            Work::Hand(hand) => {
                let svname = job(sim, &hand.id).svname().unwrap().clone();
                let is_broken = fails.contains(&svname.to_string().as_str());
                let state = if is_broken { JobState::Failed } else { JobState::Done };
                sim.end(&hand.id, hand.step, state, (!is_broken).then(|| formatted(&svname, "u")));
            }
            Work::Settle(id) => {
                let decision = job::settle(&sim.state, &req, &id).unwrap();
                sim.commit(decision).unwrap();
            }
            Work::Cancel(id) => drop(sim.cancel(&id)),
        }
    }
}

fn names(sim: &Sim) -> Vec<String> {
    let scratch = "scratch".parse().unwrap();
    sim.state.targets_of(&scratch, None).map(|(svname, _)| svname.to_string()).collect()
}

#[test]
fn so_many_are_made_at_once_under_the_names_that_were_shown() {
    let mut sim = Sim::new();
    let shown = ask(&mut sim.again(), &wanted(&DEVICES, Some(2)), None).unwrap();
    let planned: Vec<String> = (0..5).map(|at| shown.object.svname_of(at).unwrap().to_string()).collect();
    assert_eq!(planned, (0..5).map(|at| format!("scratch-OST000{at}")).collect::<Vec<_>>());
    let moves = shown.plan.unwrap().moves;
    assert_eq!(
        (moves.len(), moves[4].object.as_str(), moves[4].now.as_str()),
        (5, "target scratch-OST0004", "not there")
    );

    let started = ask(&mut sim, &wanted(&DEVICES, Some(2)), Some(&shown.object.digest)).unwrap();
    assert_eq!(run(&mut sim, &[]), 2, "never more at once");
    let ended = job(&sim, &started.object.id);
    assert_eq!((ended.state, ended.percent()), (JobState::Done, 100), "{ended:?}");
    assert_eq!(names(&sim), planned);
    assert!(parts(&sim, &ended.id).iter().all(|part| part.state == JobState::Done && part.who == "uid:0"));
    assert!(sim.state.holds.is_empty());
    let again = ask(&mut sim, &wanted(&DEVICES, None), None).unwrap_err();
    assert!(again.message.contains("nothing to do: all 5 targets"), "{again}");
}

#[test]
fn a_part_that_fails_fails_the_whole_and_the_same_again_makes_what_is_left() {
    let mut sim = Sim::new();
    let id = ask(&mut sim, &wanted(&DEVICES, Some(1)), None).unwrap().object.id;
    run(&mut sim, &["scratch-OST0002"]);
    let ended = job(&sim, &id);
    let states: Vec<JobState> = ended.steps.iter().map(|step| step.state).collect();
    use JobState::{Cancelled, Done, Failed};
    assert_eq!((ended.state, states), (Failed, vec![Done, Done, Failed, Cancelled, Cancelled]));
    let error = ended.error.unwrap();
    assert!(error.contains("scratch-OST0002") && error.contains("mgsctl fs grow"), "{error}");
    assert_eq!(names(&sim).len(), 3, "what was not begun is not there");

    let told = &sim.target("scratch-OST0002").state_reason;
    assert!(told.contains("ensure it again to go on"), "{told}");
    let req = sim.env_request();
    let refused = job::retry(&sim.state, &req, &id).unwrap_err();
    assert!(refused.remedy.unwrap().contains("ask for the grow of scratch again"));
    let again = ask(&mut sim, &wanted(&DEVICES, None), None).unwrap();
    assert_eq!(again.object.steps.len(), 3);
    assert!(again.warnings.iter().any(|warning| warning.contains("2 of the 5 are in the configuration")), "{again:?}");
    run(&mut sim, &[]);
    assert_eq!(job(&sim, &again.object.id).state, Done);
    assert!(sim.state.targets.values().all(|target| target.value.state == TargetState::Registered));
    assert_eq!(names(&sim).len(), 5);
}

#[test]
fn a_cancel_goes_down_to_the_parts() {
    let mut sim = Sim::new();
    let id = ask(&mut sim, &wanted(&DEVICES, Some(2)), None).unwrap().object.id;
    sim.begin(&id);
    sim.begin(&id);
    sim.begin(&id);
    assert_eq!(parts(&sim, &id).len(), 2, "no third one");
    sim.cancel(&id);
    run(&mut sim, &[]);
    assert_eq!(job(&sim, &id).state, JobState::Cancelled);
    assert!(parts(&sim, &id).iter().all(|part| part.state == JobState::Cancelled));
    assert!(sim.state.holds.is_empty());
}

#[test]
fn names_that_wait_for_their_turn_are_nobody_elses() {
    let mut sim = Sim::new();
    ask(&mut sim, &wanted(&DEVICES[..3], Some(1)), None).unwrap();
    let other = sim.reserve(ost("mds1", "/dev/sdz")).unwrap();
    assert_eq!(other.object.target.svname.to_string(), "scratch-OST0003", "the first three are kept");
    let chosen = with_index(ost("mds1", "/dev/sdy"), 1);
    let refused = sim.ensure(ensure(chosen), blank("/dev/sdy")).unwrap_err();
    assert_eq!(refused.code, ProblemCode::Conflict);
    assert!(refused.message.contains("grow-scratch"), "{refused}");
    run(&mut sim, &[]);
    assert_eq!(names(&sim).len(), 4);
}

#[test]
fn what_can_not_be_is_refused_with_its_place_before_anything_begins() {
    let mut sim = Sim::new();
    let revision = sim.state.revision;
    let refused = |sim: &mut Sim, targets: Vec<EnsureTarget>| {
        let problem = ask(sim, &GrowFilesystem { targets, at_once: None }, None).unwrap_err();
        (problem.attribute.unwrap_or_default(), problem.message)
    };
    let good = || ensure(ost("oss1", "/dev/sdb"));
    assert_eq!(refused(&mut sim, vec![]).0, "targets");
    let (attribute, message) = refused(&mut sim, vec![good(), good()]);
    assert!(attribute == "targets[1].target.device" && message.contains("named twice"), "{attribute}: {message}");
    let unknown = ensure(ost("oss9", "/dev/sdb"));
    let (attribute, message) = refused(&mut sim, vec![good(), unknown]);
    assert!(attribute.starts_with("targets[1].") && message.contains("oss9"), "{attribute}: {message}");
    let mut mdt = good();
    mdt.target.kind = lustre_types::TargetKind::Mdt;
    assert_eq!(refused(&mut sim, vec![mdt]).0, "targets[0].target.kind");
    assert_eq!(sim.state.revision, revision);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_fails_the_same_again_and_again_makes_all(
        count in 1..5usize,
        at_once in 1..4u32,
        broken in prop::collection::vec(prop::collection::btree_set(0..5usize, 0..3), 0..4),
    ) {
        let mut sim = Sim::new();
        let body = wanted(&DEVICES[..count], Some(at_once));
        for fails in broken.iter().chain([&BTreeSet::new()]) {
            let fails: Vec<String> = fails.iter().map(|at| format!("scratch-OST000{at}")).collect();
            if let Ok(started) = ask(&mut sim, &body, None) {
                let fails: Vec<&str> = fails.iter().map(String::as_str).collect();
                prop_assert!(run(&mut sim, &fails) <= at_once as usize);
                let ended = job(&sim, &started.object.id);
                let is_all_done = parts(&sim, &ended.id).iter().all(|part| part.state == JobState::Done);
                prop_assert_eq!(ended.state == JobState::Done, is_all_done, "{:?}", ended);
            }
            prop_assert!(sim.state.holds.is_empty() && sim.state.open_jobs.is_empty());
        }
        let expected: Vec<String> = (0..count).map(|at| format!("scratch-OST000{at}")).collect();
        prop_assert_eq!(names(&sim), expected);
        prop_assert!(sim.state.targets.values().all(|target| target.value.state == TargetState::Registered));
    }
}
