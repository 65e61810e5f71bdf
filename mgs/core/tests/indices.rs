//! No history, however many callers race, gives one index twice.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use std::collections::{BTreeMap, BTreeSet};

use lustre_api::job::JobState;
use lustre_mgs_core::decide::{self, job};
use lustre_mgs_core::{Decision, State};
use lustre_types::SvName;
use proptest::prelude::*;
use sim::{Sim, blank, check, ensure, formatted, ost, with_index};

/// What a caller does; its decision is made at once and committed only later, after others' commits.
#[derive(Clone, Debug)]
enum Act {
    Reserve { device: u8, index: Option<u8> },
    Ensure { device: u8, index: Option<u8> },
    Delete { pick: u8 },
    RunJob { pick: u8, outcome: u8 },
    Cancel { pick: u8 },
    Expire,
    CommitOldest,
    CommitNewest,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let index = || prop::option::weighted(0.3, 0..4u8);
    let act = prop_oneof![
        6 => (0..8u8, index()).prop_map(|(device, index)| Act::Reserve { device, index }),
        6 => (0..8u8, index()).prop_map(|(device, index)| Act::Ensure { device, index }),
        3 => any::<u8>().prop_map(|pick| Act::Delete { pick }),
        6 => (any::<u8>(), 0..4u8).prop_map(|(pick, outcome)| Act::RunJob { pick, outcome }),
        1 => any::<u8>().prop_map(|pick| Act::Cancel { pick }),
        1 => Just(Act::Expire),
        8 => Just(Act::CommitOldest),
        4 => Just(Act::CommitNewest),
    ];
    prop::collection::vec(act, 1..80)
}

fn decide_one(sim: &mut Sim, act: &Act) -> Option<Decision<()>> {
    let req = sim.env_request();
    let spec = |device: &u8, index: &Option<u8>| {
        let spec = ost("oss1", &format!("/dev/d{device}"));
        index.map_or(spec.clone(), |index| with_index(spec, index.into()))
    };
    let none = BTreeSet::new();
    let pick = |from: usize, pick: u8| usize::from(pick) % from.max(1);
    let decision = match act {
        Act::Reserve { device, index } => {
            let body = lustre_api::target::Reserve { target: spec(device, index), ttl_s: Some(60) };
            decide::reserve::reserve(&sim.state, &req, body, &none).ok()?.map(|_| ())
        }
        Act::Ensure { device, index } => {
            let seen = check(blank(&format!("/dev/d{device}")));
            decide::target::ensure(&sim.state, &req, ensure(spec(device, index)), Some(&seen), &none).ok()?.map(|_| ())
        }
        Act::Delete { pick: p } => {
            let svname = sim.state.targets.keys().nth(pick(sim.state.targets.len(), *p))?;
            decide::lifecycle::deregister(&sim.state, &req, svname).ok()?.map(|_| ())
        }
        Act::RunJob { pick: p, outcome } => {
            let active: Vec<_> = sim.state.jobs.values().filter(|job| !job.value.job.state.is_final()).collect();
            let record = &active.get(pick(active.len(), *p))?.value;
            match job::work_of(&sim.state, record).into_iter().next()? {
                job::Work::Hand(hand) => {
                    let state =
                        [JobState::Done, JobState::Done, JobState::Failed, JobState::Cancelled][usize::from(*outcome)];
                    let formatted = record.job.svname().map(|svname| formatted(svname, "u"));
                    let end = job::StepEnd { formatted, ..job::StepEnd::new(state, None) };
                    job::end(&sim.state, &req, &record.job.id, hand.step, end).ok()?
                }
                job::Work::Begin { id, steps } => job::begin(&sim.state, &req, &id, &steps).ok()?,
                job::Work::Settle(id) => job::settle(&sim.state, &req, &id).ok()?,
                job::Work::Cancel(id) => job::cancel(&sim.state, &req, &id).ok()?.map(|_| ()),
            }
        }
        Act::Cancel { pick: p } => {
            let id = sim.state.jobs.keys().nth(pick(sim.state.jobs.len(), *p))?.clone();
            job::cancel(&sim.state, &req, &id).ok()?.map(|_| ())
        }
        Act::Expire => {
            sim.now_ms += 30_000;
            let req = sim.env_request();
            decide::reserve::expire(&sim.state, &req)?.map(|_| ())
        }
        Act::CommitOldest | Act::CommitNewest => return None,
    };
    Some(decision)
}

/// What must be so after every commit. `owners`: who had an index when it was in the configuration.
fn check_state(state: &State, owners: &mut BTreeMap<SvName, String>) -> Result<(), TestCaseError> {
    prop_assert_eq!(state.targets.len(), state.devices.len(), "each target has one device");
    for (svname, target) in &state.targets {
        let record = &target.value;
        let claim = state.devices.get(&(record.spec.node.clone(), record.device_key.clone()));
        prop_assert_eq!(claim.map(|claim| &claim.value), Some(svname), "a device belongs to the target that names it");
        if record.was_registered {
            let owner = owners.entry(svname.clone()).or_insert_with(|| record.spec.device.clone());
            prop_assert_eq!(&*owner, &record.spec.device, "{} was given to a second device", svname);
        }
        if let Some(job) = record.job.as_ref().and_then(|id| state.jobs.get(id)) {
            prop_assert_eq!(job.value.job.svname(), Some(svname));
        }
    }
    // An index may be given again once its target was taken out on purpose.
    owners.retain(|svname, _| state.targets.contains_key(svname));
    for job in state.jobs.values().map(|job| &job.value.job) {
        let all_done = job.steps.iter().all(|step| step.state == JobState::Done);
        prop_assert_eq!(job.state == JobState::Done, all_done, "done means every step is: {:?}", job);
        prop_assert_eq!(job.state.is_final(), job.ended.is_some());
        let target = job.svname().unwrap();
        prop_assert!(job.state.is_final() || state.targets.contains_key(target), "a job at work has a target");
        prop_assert_eq!(!job.state.is_final(), state.open_jobs.contains(&job.id));
        let hold = state.holds.get(&job.object).is_some_and(|hold| hold.value == job.id);
        prop_assert_eq!(!job.state.is_final(), hold, "a job keeps others from its target while it is at work");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_gives_one_index_twice(acts in acts()) {
        let mut sim = Sim::new();
        let mut waiting: Vec<Decision<()>> = Vec::new();
        let mut owners = BTreeMap::new();
        let mut final_jobs = BTreeMap::new();
        for act in acts {
            let ready = match act {
                Act::CommitOldest if !waiting.is_empty() => Some(waiting.remove(0)),
                Act::CommitNewest => waiting.pop(),
                act => {
                    waiting.extend(decide_one(&mut sim, &act));
                    None
                }
            };
            // A conflict is a caller that has to decide again: it changes nothing.
            if let Some(decision) = ready {
                let _ = sim.commit(decision);
                check_state(&sim.state, &mut owners)?;
            }
            for (id, job) in &sim.state.jobs {
                let job = &job.value.job;
                if job.state.is_final() {
                    let first = final_jobs.entry(id.clone()).or_insert(job.state);
                    prop_assert_eq!(*first, job.state, "{} ended twice", id);
                }
            }
        }
    }
}

#[test]
fn of_64_callers_with_one_state_each_gets_an_index_of_its_own() {
    let mut sim = Sim::new();
    let mut open: Vec<u32> = (0..64).collect();
    let mut given = BTreeSet::new();
    while !open.is_empty() {
        // All decide on the same state; one commits, the others are told and decide again.
        let decisions: Vec<_> = open
            .iter()
            .map(|caller| {
                let req = sim.env_request();
                let body = lustre_api::target::Reserve { target: ost("oss9", &format!("/dev/d{caller}")), ttl_s: None };
                (*caller, decide::reserve::reserve(&sim.state, &req, body, &BTreeSet::new()).unwrap())
            })
            .collect();
        for (caller, decision) in decisions {
            if let Ok(written) = sim.commit(decision) {
                assert!(given.insert(written.object.target.svname), "one index twice");
                open.retain(|other| *other != caller);
            }
        }
    }
    assert_eq!(given.len(), 64);
    assert_eq!(given.last().unwrap().to_string(), "scratch-OST003f", "without a gap");
}
