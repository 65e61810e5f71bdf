//! Targets from wish to deregistration, as stories.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use lustre_api::ProblemCode;
use lustre_api::agent::StartDriver;
use lustre_api::device::RefusalCode;
use lustre_api::job::JobState;
use lustre_api::target::{EnsureTarget, TargetSpec, TargetState};
use lustre_types::SvName;
use sim::{Sim, blank, ensure, formatted, holding, ost, refused, with_index};

fn sv(name: &str) -> SvName {
    name.parse().unwrap()
}

#[test]
fn an_ensured_target_gets_the_lowest_index_is_formatted_and_registered() {
    let mut sim = Sim::new();
    let written = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap();
    assert_eq!(written.object.svname, sv("scratch-OST0000"));
    let job = written.job.unwrap();
    assert_eq!(sim.run(&job), [format!("oss1 {job}-1")]);
    let target = sim.target("scratch-OST0000");
    assert_eq!(target.state, TargetState::Registered);
    assert_eq!(target.label.as_deref(), Some("scratch:OST0000"));
    assert_eq!(target.formatted_over.as_deref(), Some("blank"));
    assert_eq!(target.nids.len(), 1);
}

#[test]
fn a_target_does_not_count_as_started_after_its_node_was_booted() {
    let mut sim = Sim::new();
    let spec = TargetSpec { kind: "mdt".parse().unwrap(), ..ost("mds1", "/dev/sda") };
    let job = sim.ensure(ensure(spec), blank("/dev/sda")).unwrap().job.unwrap();
    sim.run(&job);
    sim.booted("mds1", StartDriver::Kernel, "1");
    sim.booted("oss1", StartDriver::Kernel, "2");
    assert_eq!(sim.target("scratch-MDT0000").state, TargetState::Started, "the same boot, and another node's");
    sim.booted("mds1", StartDriver::Kernel, "2");
    let target = sim.target("scratch-MDT0000");
    assert_eq!(target.state, TargetState::Registered);
    assert!(target.state_reason.contains("mds1 was booted"), "{}", target.state_reason);
}

#[test]
fn a_node_with_lustre_starts_the_target_too() {
    let mut sim = Sim::new();
    let spec = TargetSpec { kind: "mdt".parse().unwrap(), ..ost("mds1", "/dev/sda") };
    let job = sim.ensure(ensure(spec), blank("/dev/sda")).unwrap().job.unwrap();
    assert_eq!(sim.run(&job), [format!("mds1 {job}-1"), format!("mds1 {job}-2")]);
    assert_eq!(sim.target("scratch-MDT0000").state, TargetState::Started);
}

#[test]
fn ensuring_the_same_target_again_changes_nothing() {
    let mut sim = Sim::new();
    let body = ensure(ost("oss1", "/dev/sdb"));
    let first = sim.ensure(body.clone(), blank("/dev/sdb")).unwrap();
    let while_running = sim.ensure(body.clone(), blank("/dev/sdb")).unwrap();
    assert!(!while_running.changed);
    assert_eq!(while_running.job, first.job, "the job that is at work, not a second one");
    sim.run(&first.job.unwrap());
    let revision = sim.state.revision;
    let after = sim.ensure(body, holding("/dev/sdb", "scratch-OST0000", "u1")).unwrap();
    assert_eq!((after.changed, after.job), (false, None));
    assert_eq!(sim.state.revision, revision);
}

#[test]
fn a_device_under_another_name_is_the_same_device() {
    let mut sim = Sim::new();
    let by_id = |spec_path: &str| (ost("oss1", spec_path), blank("/dev/sdb"));
    let with_link = |device: lustre_api::device::Device| lustre_api::device::Device {
        links: vec!["/dev/disk/by-id/wwn-0x5".into()],
        ..device
    };
    let (spec, device) = by_id("/dev/disk/by-id/wwn-0x5");
    let first = sim.ensure(ensure(spec), with_link(device)).unwrap();
    let (spec, device) = by_id("/dev/sdb");
    let problem = sim.ensure(ensure(with_index(spec, 7)), with_link(device)).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(problem.message.contains(&first.object.svname.to_string()), "{problem}");
}

#[test]
fn a_reserved_device_is_the_same_under_every_name() {
    let mut sim = Sim::new();
    let reserved = sim.reserve(ost("oss1", "/dev/disk/by-path/pci-7")).unwrap().object.target.svname;
    let links = vec!["/dev/disk/by-id/wwn-0x5".into(), "/dev/disk/by-path/pci-7".into()];
    let device = lustre_api::device::Device { links, ..blank("/dev/sdb") };
    let written = sim.ensure(ensure(ost("oss1", "/dev/sdb")), device).unwrap();
    assert_eq!(written.object.svname, reserved, "not a second target on one device");
    assert_eq!(sim.state.targets.len(), 1);
}

#[test]
fn a_device_with_foreign_data_is_refused_and_named() {
    let mut sim = Sim::new();
    let xfs = || refused("/dev/sdb", "xfs label=home", RefusalCode::ForeignData);
    let problem = sim.ensure(ensure(ost("oss1", "/dev/sdb")), xfs()).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Refused);
    assert!(problem.message.contains("oss1:/dev/sdb") && problem.message.contains("xfs label=home"), "{problem}");
    let allowed = EnsureTarget { allow_reformat: true, ..ensure(ost("oss1", "/dev/sdb")) };
    assert!(sim.ensure(allowed, xfs()).is_ok());
}

#[test]
fn a_mounted_device_is_refused_whatever_the_flags() {
    let mut sim = Sim::new();
    let allowed = EnsureTarget { allow_reformat: true, ..ensure(ost("oss1", "/dev/sdb")) };
    let problem = sim.ensure(allowed, refused("/dev/sdb", "ext4", RefusalCode::Mounted)).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Refused);
    assert!(sim.state.targets.is_empty(), "a refusal leaves nothing behind");
}

#[test]
fn a_device_that_changed_since_the_plan_is_a_conflict() {
    let mut sim = Sim::new();
    let planned = EnsureTarget { expect_content: Some("blank".into()), ..ensure(ost("oss1", "/dev/sdb")) };
    let problem = sim.ensure(planned, refused("/dev/sdb", "ext4 label=new", RefusalCode::ForeignData)).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(problem.message.contains("blank") && problem.message.contains("ext4 label=new"), "{problem}");
}

#[test]
fn a_device_with_a_target_of_this_file_system_keeps_its_index() {
    let mut sim = Sim::new();
    let written = sim.ensure(ensure(ost("oss1", "/dev/sdb")), holding("/dev/sdb", "scratch-OST0005", "u5")).unwrap();
    assert_eq!(written.object.svname, sv("scratch-OST0005"));
    let next = sim.ensure(ensure(ost("oss1", "/dev/sdc")), blank("/dev/sdc")).unwrap();
    assert_eq!(next.object.svname, sv("scratch-OST0000"));
}

#[test]
fn an_index_of_another_target_is_a_conflict_unless_its_disk_moved() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job);
    let wish = || ensure(with_index(ost("mds1", "/dev/sdx"), 0));
    let problem = sim.ensure(wish(), blank("/dev/sdx")).unwrap_err();
    assert_eq!((problem.code, problem.attribute.as_deref()), (ProblemCode::Conflict, Some("target.index")));
    let impostor = sim.ensure(wish(), holding("/dev/sdx", "scratch-OST0000", "another uuid")).unwrap_err();
    assert_eq!(impostor.code, ProblemCode::Conflict);
    let moved = sim.ensure(wish(), holding("/dev/sdx", "scratch-OST0000", "u1")).unwrap();
    assert_eq!((moved.changed, moved.job), (true, None), "moved, not formatted");
    assert_eq!(sim.target("scratch-OST0000").spec.node.as_str(), "mds1");
    // Its old device is free again.
    assert!(sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).is_ok());
}

#[test]
fn a_failed_format_is_never_a_target_and_can_be_tried_again() {
    let mut sim = Sim::new();
    let body = ensure(ost("oss1", "/dev/sdb"));
    let job = sim.ensure(body.clone(), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.begin(&job);
    sim.end(&job, 0, JobState::Failed, None);
    let target = sim.target("scratch-OST0000");
    assert_eq!((target.state, target.label.clone()), (TargetState::Failed, None));
    assert!(
        target.state_reason.contains(job.as_str()) && target.state_reason.contains("oss1"),
        "{}",
        target.state_reason
    );
    let again = sim.ensure(body, blank("/dev/sdb")).unwrap();
    assert_eq!(again.object.svname, sv("scratch-OST0000"), "the same index");
    assert_ne!(again.job.as_ref().unwrap(), &job, "another job");
    sim.run(&again.job.unwrap());
    assert_eq!(sim.target("scratch-OST0000").state, TargetState::Registered);
}

#[test]
fn a_format_that_left_another_target_is_a_failure() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.begin(&job);
    sim.end(&job, 0, JobState::Done, Some(formatted(&sv("scratch-OST0009"), "u")));
    assert_eq!(sim.target("scratch-OST0000").state, TargetState::Failed);
}

#[test]
fn a_cancelled_job_stops_between_and_within_steps() {
    let mut sim = Sim::new();
    let queued = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    assert_eq!(sim.cancel(&queued).state, JobState::Cancelled);
    assert_eq!(sim.run(&queued), [""; 0], "nothing is handed to a node");
    let running = sim.ensure(ensure(ost("oss1", "/dev/sdc")), blank("/dev/sdc")).unwrap().job.unwrap();
    sim.begin(&running);
    assert_eq!(sim.cancel(&running).state, JobState::Cancelling);
    assert_eq!(sim.cancel(&running).state, JobState::Cancelling, "twice is as good as once");
    sim.run(&running);
    let job = &sim.state.jobs[&running].value.job;
    assert_eq!(job.state, JobState::Cancelled);
    assert!(job.steps.iter().all(|step| step.state == JobState::Cancelled), "{job:?}");
    let revision = sim.state.revision;
    assert_eq!(sim.cancel(&running).state, JobState::Cancelled, "after the end it is answered as it is");
    assert_eq!(sim.state.revision, revision);
}

#[test]
fn a_transition_that_was_made_already_changes_nothing() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.begin(&job);
    let revision = sim.state.revision;
    sim.begin(&job);
    assert_eq!(sim.state.revision, revision);
    sim.run(&job);
    let revision = sim.state.revision;
    sim.end(&job, 0, JobState::Failed, None);
    sim.begin(&job);
    assert_eq!(sim.state.revision, revision);
}

#[test]
fn a_reservation_is_registered_with_its_token_only() {
    let mut sim = Sim::new();
    let reservation = sim.reserve(ost("oss9", "/dev/sdb")).unwrap().object;
    let svname = reservation.target.svname.clone();
    assert_eq!(svname, sv("scratch-OST0000"));
    assert_eq!(sim.register(&svname, "guessed", "u1").unwrap_err().code, ProblemCode::Forbidden);
    let stored = format!("{:?}", sim.state);
    assert!(!stored.contains(&reservation.token), "the token is not kept");
    assert!(sim.register(&svname, &reservation.token, "u1").unwrap().changed);
    assert!(!sim.register(&svname, &reservation.token, "u1").unwrap().changed, "once more is no error");
    let twin = sim.register(&svname, &reservation.token, "u2").unwrap_err();
    assert_eq!(twin.code, ProblemCode::Conflict);
    assert!(twin.message.contains("u1") && twin.message.contains("u2"), "{twin}");
}

#[test]
fn reserving_again_keeps_the_index_and_replaces_the_token() {
    let mut sim = Sim::new();
    let first = sim.reserve(ost("oss9", "/dev/sdb")).unwrap().object;
    let second = sim.reserve(ost("oss9", "/dev/sdb")).unwrap().object;
    assert_eq!(first.target.svname, second.target.svname);
    assert!(sim.register(&first.target.svname, &first.token, "u").is_err());
    assert!(sim.register(&first.target.svname, &second.token, "u").is_ok());
}

#[test]
fn a_reservation_that_is_over_gives_its_index_back() {
    let mut sim = Sim::new();
    let late = sim.reserve(ost("oss9", "/dev/sdb")).unwrap().object;
    let other = sim.reserve(ost("oss9", "/dev/sdc")).unwrap().object;
    sim.register(&other.target.svname, &other.token, "u").unwrap();
    sim.now_ms += 60_000;
    let problem = sim.register(&late.target.svname, &late.token, "u").unwrap_err();
    assert!(problem.message.contains("ended at"), "{problem}");
    let req = sim.env_request();
    let expired = lustre_mgs_core::decide::reserve::expire(&sim.state, &req).unwrap();
    assert_eq!(sim.commit(expired).unwrap(), [sv("scratch-OST0000")]);
    let req = sim.env_request();
    assert!(lustre_mgs_core::decide::reserve::expire(&sim.state, &req).is_none(), "registered targets stay");
    assert_eq!(sim.reserve(ost("oss9", "/dev/sdd")).unwrap().object.target.svname, sv("scratch-OST0000"));
}

#[test]
fn the_index_of_a_deregistered_target_is_not_assigned_again() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job);
    let job = sim.deregister(&sv("scratch-OST0000")).unwrap().job.unwrap();
    assert_eq!(sim.run(&job), [""; 0], "no node is asked: nothing is started there");
    assert!(sim.state.targets.is_empty() && sim.state.devices.is_empty());
    let next = sim.ensure(ensure(ost("oss1", "/dev/sdc")), blank("/dev/sdc")).unwrap().object;
    assert_eq!(next.svname, sv("scratch-OST0001"));
    // Who says so gets it, with a warning.
    let explicit = sim.ensure(ensure(with_index(ost("oss1", "/dev/sdd"), 0)), blank("/dev/sdd")).unwrap();
    assert!(explicit.warnings[0].contains("was in the configuration before"), "{:?}", explicit.warnings);
}

#[test]
fn what_was_never_registered_is_deleted_at_once() {
    let mut sim = Sim::new();
    sim.reserve(ost("oss9", "/dev/sdb")).unwrap();
    let written = sim.deregister(&sv("scratch-OST0000")).unwrap();
    assert_eq!((written.changed, written.job), (true, None));
    assert_eq!(sim.reserve(ost("oss9", "/dev/sdc")).unwrap().object.target.svname, sv("scratch-OST0000"));
}

#[test]
fn unknown_file_systems_and_nodes_are_refused_with_a_remedy() {
    let mut sim = Sim::new();
    let unknown = TargetSpec { filesystem: Some("nowhere".parse().unwrap()), ..ost("oss1", "/dev/sdb") };
    let problem = sim.ensure(ensure(unknown), blank("/dev/sdb")).unwrap_err();
    assert_eq!((problem.code, problem.attribute.as_deref()), (ProblemCode::NotFound, Some("target.filesystem")));
    let problem = sim.ensure(ensure(ost("oss7", "/dev/sdb")), blank("/dev/sdb")).unwrap_err();
    assert_eq!((problem.code, problem.attribute.as_deref()), (ProblemCode::NotFound, Some("target.node")));
    assert!(problem.remedy.unwrap().contains("agent"));
}

#[test]
fn options_of_the_format_can_not_be_changed_afterwards() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job);
    let changed = TargetSpec { mkfs_options: Some("-m 1".into()), ..ost("oss1", "/dev/sdb") };
    let problem = sim.ensure(ensure(changed), blank("/dev/sdb")).unwrap_err();
    assert_eq!(problem.attribute.as_deref(), Some("target.mkfs_options"));
    let partner = TargetSpec { failover_nodes: vec!["10.0.0.9@tcp".parse().unwrap()], ..ost("oss1", "/dev/sdb") };
    let written = sim.ensure(ensure(partner), blank("/dev/sdb")).unwrap();
    assert_eq!((written.changed, written.job), (true, None));
}

#[test]
fn a_plan_from_before_a_change_is_a_conflict() {
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    let planned_at = sim.state.revision;
    sim.run(&job);
    let req = lustre_mgs_core::Request { if_revision: Some(planned_at), ..sim.env_request() };
    let problem = lustre_mgs_core::decide::lifecycle::deregister(&sim.state, &req, &sv("scratch-OST0000")).unwrap_err();
    assert_eq!(problem.code, ProblemCode::Conflict);
    assert!(problem.message.contains("target scratch-OST0000 was changed"), "{problem}");
}

#[test]
fn a_second_plan_is_empty() {
    let mut sim = Sim::new();
    let wanted = |spec: TargetSpec| lustre_api::plan::DesiredTarget { target: spec, allow_reformat: false };
    let desired = lustre_api::plan::Desired {
        targets: vec![wanted(ost("oss1", "/dev/sdb")), wanted(with_index(ost("oss1", "/dev/sdc"), 7))],
        ..lustre_api::plan::Desired::default()
    };
    let plan = lustre_plan::diff(&desired, &sim.snapshot());
    assert_eq!(plan.changes.len(), 2, "{plan:?}");
    for wanted in &desired.targets {
        let body = EnsureTarget { target: wanted.target.clone(), ..ensure(ost("oss1", "/dev/sdb")) };
        let job = sim.ensure(body, blank(&wanted.target.device)).unwrap().job.unwrap();
        sim.run(&job);
    }
    let again = lustre_plan::diff(&desired, &sim.snapshot());
    assert!(again.changes.is_empty() && again.findings.is_empty(), "{again:?}");
}

#[test]
fn what_the_catalogue_refuses_is_not_set() {
    use lustre_api::param::ParamSpec;
    use lustre_mgs_core::{ParamKey, decide};
    let mut sim = Sim::new();
    let mut set = |name: &str, value: &str, allow_unknown: bool| {
        let key = ParamKey {
            filesystem: Some("scratch".parse().unwrap()),
            scope: "clients".parse().unwrap(),
            name: name.parse().unwrap(),
        };
        let spec = ParamSpec {
            filesystem: key.filesystem.clone(),
            scope: key.scope.clone(),
            name: key.name.clone(),
            value: value.into(),
            allow_unknown,
        };
        let req = sim.env_request();
        let decision = decide::param::put_param(&sim.state, &req, &key, &spec)?;
        Ok::<_, lustre_api::Problem>(sim.commit(decision).unwrap().changed)
    };
    let unknown = set("osc.*.max_dirtymb", "64", false).unwrap_err();
    assert_eq!(unknown.attribute.as_deref(), Some("name"));
    assert!(unknown.message.contains("osc.*.max_dirty_mb"), "a name that is near is named: {unknown}");
    assert_eq!(set("osc.*.max_dirty_mb", "many", false).unwrap_err().attribute.as_deref(), Some("value"));
    assert!(set("osc.*.max_dirty_mb", "64", false).unwrap());
    assert!(!set("osc.*.max_dirty_mb", "64M", false).unwrap(), "the same size in other words");
    assert!(set("of.our.own", "1", true).unwrap(), "with allow_unknown");
}

#[test]
fn a_pool_has_registered_osts_only_and_holds_them() {
    use lustre_api::pool::PoolSpec;
    use lustre_mgs_core::decide;
    let mut sim = Sim::new();
    let job = sim.ensure(ensure(ost("oss1", "/dev/sdb")), blank("/dev/sdb")).unwrap().job.unwrap();
    sim.run(&job);
    let (fsname, name) = ("scratch".parse().unwrap(), "flash".parse().unwrap());
    let put = |sim: &mut Sim, members: &[&str]| {
        let members = members.iter().map(ToString::to_string).collect();
        let spec = PoolSpec { filesystem: "scratch".parse().unwrap(), name: "flash".parse().unwrap(), members };
        let req = sim.env_request();
        let decision = decide::pool::put_pool(&sim.state, &req, &fsname, &name, &spec)?;
        Ok::<_, lustre_api::Problem>(sim.commit(decision).unwrap())
    };
    let unknown = put(&mut sim, &["OST[0-1]"]).unwrap_err();
    assert!(unknown.message.contains("scratch-OST0001"), "{unknown}");
    assert!(put(&mut sim, &["OST0000"]).unwrap().changed);
    assert!(!put(&mut sim, &["scratch-OST0000"]).unwrap().changed, "the same in other words");
    let held = sim.deregister(&sv("scratch-OST0000")).unwrap_err();
    assert_eq!(held.code, ProblemCode::Refused);
    assert!(held.message.contains("scratch.flash"), "{held}");
    let req = sim.env_request();
    let problem = decide::filesystem::delete_filesystem(&sim.state, &req, &"scratch".parse().unwrap()).unwrap_err();
    assert!(problem.message.contains("scratch-OST0000 and 1 more"), "{problem}");
}
