//! Targets that register over LNet: first, again, under a name of others, after a writeconf, lost and found.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod sim;

use lustre_api::target::TargetState;
use lustre_mgs_core::decide::target_reg::{Outcome, UNKNOWN_DEVICE, announced_together, target_reg};
use lustre_mgs_core::serve::{Announcement, Errno, RegistrationRequest};
use lustre_types::{Nid, SvName};
use lustre_wire::lnet::WireNid;
use lustre_wire::mgs::target_flag as flag;
use sim::Sim;

const FIRST: u32 = flag::OPC_REG | flag::LARGE_NID | flag::VIRGIN | flag::UPDATE;

fn target(svname: &str, flags: u32, nid: &str) -> RegistrationRequest {
    let svname: SvName = svname.parse().unwrap();
    let nid: Nid = nid.parse().unwrap();
    let from = WireNid::from(&nid);
    RegistrationRequest {
        svname,
        flags,
        nids: vec![nid],
        params: Vec::new(),
        client: "mgc-1".into(),
        from,
        ready: None,
    }
}

fn ask(sim: &mut Sim, asked: &RegistrationRequest) -> Outcome {
    let request = sim.env_request();
    let decision = target_reg(&sim.state, &request, asked).unwrap();
    if let Err(refusal) = &decision.reply {
        assert!(decision.changes.is_empty(), "a refusal changes nothing: {refusal}");
    }
    sim.commit(decision).unwrap()
}

fn refused(sim: &mut Sim, asked: &RegistrationRequest) -> Errno {
    ask(sim, asked).unwrap_err().errno
}

/// A file system with one MDT and one OST.
fn filesystem() -> Sim {
    let mut sim = Sim::default();
    ask(&mut sim, &target("gold-MDT0000", FIRST | flag::MDT, "10.0.0.2@tcp")).unwrap();
    ask(&mut sim, &target("gold-OST0000", FIRST | flag::OST, "10.0.0.3@tcp")).unwrap();
    sim
}

fn client_log(sim: &Sim) -> String {
    lustre_wire::llog::print(&sim.state.log("gold-client").unwrap().file())
}

fn ready(mut asked: RegistrationRequest, instance: u32) -> RegistrationRequest {
    asked.flags = flag::OPC_READY | flag::LARGE_NID | (asked.flags & 3);
    asked.ready = Some(Announcement { instance, append: false, forget: None });
    asked
}

#[test]
fn a_target_that_nobody_described_is_known_from_then_on() {
    let sim = filesystem();
    let ost = &sim.state.targets[&"gold-OST0000".parse().unwrap()].value;
    assert_eq!((ost.state, ost.spec.device.as_str()), (TargetState::Registered, UNKNOWN_DEVICE));
    assert_eq!(ost.spec.node.as_str(), "10.0.0.3");
    assert!(sim.state.filesystems.contains_key(&"gold".parse().unwrap()));
    assert!(client_log(&sim).contains("gold-OST0000_UUID"));
}

#[test]
fn a_known_target_is_told_so_and_nothing_is_written() {
    let mut sim = filesystem();
    let before = sim.state.clone();
    let asked = target("gold-OST0000", flag::OPC_REG | flag::OST, "10.0.0.3@tcp");
    let told = ask(&mut sim, &asked).unwrap();
    assert_eq!((told.flags, told.uuid.as_str(), told.revoke), (asked.flags, "", false));
    assert_eq!(sim.state, before);
}

#[test]
fn an_index_in_use_is_refused_to_another_disk() {
    let mut sim = filesystem();
    let mut other = target("gold-OST0000", FIRST | flag::OST, "10.0.0.66@tcp");
    other.client = "mgc-of-another-node".into();
    assert_eq!(refused(&mut sim, &other), Errno::ADDRINUSE);
}

#[test]
fn the_same_first_registration_again_succeeds_until_the_target_was_up() {
    let mut sim = filesystem();
    let asked = target("gold-OST0000", FIRST | flag::OST, "10.0.0.3@tcp");
    let log = client_log(&sim);
    let told = ask(&mut sim, &asked).unwrap();
    assert_eq!(told.flags & (flag::VIRGIN | flag::UPDATE | flag::REWRITE_LDD), flag::REWRITE_LDD);
    assert_eq!(client_log(&sim), log, "it is in the log once");
    ask(&mut sim, &ready(asked.clone(), 1)).unwrap();
    assert_eq!(refused(&mut sim, &asked), Errno::ADDRINUSE, "another disk of that name, on the same node");
}

#[test]
fn a_target_that_is_up_is_in_the_table_with_a_new_version_each_time() {
    let mut sim = filesystem();
    let asked = ready(target("gold-OST0000", flag::OST, "10.0.0.3@tcp"), 1);
    ask(&mut sim, &asked).unwrap();
    ask(&mut sim, &RegistrationRequest { nids: vec!["10.0.0.4@tcp".parse().unwrap()], ..asked.clone() }).unwrap();
    let table = sim.state.nid_table(&"gold".parse().unwrap()).unwrap();
    assert_eq!((table.version, table.rows.len()), (4, 1));
    assert_eq!(table.rows[0].1.nids[0].to_string(), "10.0.0.4@tcp");
    let ost = &sim.state.targets[&"gold-OST0000".parse().unwrap()].value;
    assert_eq!(ost.state, TargetState::Started);
    // A network that it left.
    let mut moved = asked;
    moved.nids = vec!["10.1.0.4@tcp1".parse().unwrap()];
    moved.ready = Some(Announcement { instance: 2, append: false, forget: Some("tcp".into()) });
    ask(&mut sim, &moved).unwrap();
    let table = sim.state.nid_table(&"gold".parse().unwrap()).unwrap();
    assert_eq!(table.rows[0].1.nids.len(), 1);
}

#[test]
fn what_does_not_belong_is_refused_by_its_own_errno() {
    let mut sim = filesystem();
    let lost = target("gold-OST0007", flag::OPC_REG | flag::OST, "10.0.0.3@tcp");
    assert_eq!(refused(&mut sim, &lost), Errno::NOENT, "claims to be registered");
    let tuned = target("gold-OST0007", flag::OPC_REG | flag::OST | flag::UPDATE, "10.0.0.3@tcp");
    assert_eq!(refused(&mut sim, &tuned), Errno::NOENT);
    let unindexed = target("gold-OST0007", FIRST | flag::OST | flag::NEED_INDEX, "10.0.0.3@tcp");
    assert_eq!(refused(&mut sim, &unindexed), Errno::INVAL);
    let mut partner = target("gold-OST0007", FIRST | flag::OST, "10.0.0.4@tcp");
    partner.params = vec![("failover.node".into(), "10.0.0.4@tcp".into())];
    assert_eq!(refused(&mut sim, &partner), Errno::ADDRNOTAVAIL);
    partner.flags |= flag::NO_PRIMNODE;
    ask(&mut sim, &partner).unwrap();
    assert_eq!(refused(&mut sim, &ready(target("silver-OST0000", flag::OST, "10.0.0.9@tcp"), 1)), Errno::NOENT);
    sim.env.refuse_unknown_targets = true;
    assert_eq!(refused(&mut sim, &target("gold-OST0008", FIRST | flag::OST, "10.0.0.9@tcp")), Errno::ACCES);
}

#[test]
fn a_writeconf_of_the_first_mdt_forgets_the_file_system_and_each_target_comes_back_with_its_own() {
    let mut sim = filesystem();
    let writeconf = flag::OPC_REG | flag::UPDATE | flag::WRITECONF;
    ask(&mut sim, &target("gold-MDT0000", writeconf | flag::MDT, "10.0.0.2@tcp")).unwrap();
    assert!(!client_log(&sim).contains("gold-OST0000_UUID"));
    let plain = target("gold-OST0000", flag::OPC_REG | flag::OST, "10.0.0.3@tcp");
    assert_eq!(refused(&mut sim, &plain), Errno::NOENT);
    let told = ask(&mut sim, &target("gold-OST0000", writeconf | flag::OST, "10.0.0.3@tcp")).unwrap();
    assert_eq!(told.flags, flag::OPC_REG | flag::OST | flag::REWRITE_LDD);
    assert!(client_log(&sim).contains("gold-OST0000_UUID"));
    assert!(ask(&mut sim, &plain).is_ok());
}

#[test]
fn the_logs_of_an_mgs_that_lost_them_are_made_again_of_what_targets_bring() {
    let mut sim = Sim::default();
    ask(&mut sim, &target("gold-MDT0000", flag::OPC_REG | flag::MDT, "10.0.0.2@tcp")).unwrap();
    assert!(client_log(&sim).contains("gold-MDT0000_UUID"));
}

#[test]
fn new_parameters_are_taken_and_told_as_an_update() {
    let mut sim = filesystem();
    let mut tuned = target("gold-OST0000", flag::OPC_REG | flag::OST | flag::UPDATE, "10.0.0.3@tcp");
    tuned.params = vec![("failover.node".into(), "10.0.0.4@tcp".into())];
    let told = ask(&mut sim, &tuned).unwrap();
    assert_eq!(told.flags, flag::OPC_REG | flag::OST | flag::REWRITE_LDD | flag::PARAM);
    assert!(client_log(&sim).contains("10.0.0.4@tcp"));
}

#[test]
fn an_index_that_is_reserved_for_a_node_is_that_nodes() {
    let mut sim = Sim::new();
    let reserved = sim.reserve(sim::with_index(sim::ost("oss1", "/dev/sdb"), 1)).unwrap();
    assert_eq!(reserved.object.target.svname.to_string(), "scratch-OST0001");
    let mut thief = target("scratch-OST0001", FIRST | flag::OST, "10.0.0.66@tcp");
    thief.client = "thief".into();
    assert_eq!(refused(&mut sim, &thief), Errno::ADDRINUSE);
    ask(&mut sim, &target("scratch-OST0001", FIRST | flag::OST, "10.0.0.2@tcp")).unwrap();
    assert_eq!(sim.target("scratch-OST0001").state, TargetState::Registered);
}

#[test]
fn announcements_of_one_commit_are_as_many_as_they_would_be_one_after_the_other() {
    let (mut one_by_one, mut together) = (filesystem(), filesystem());
    let asked = [
        ready(target("gold-MDT0000", flag::MDT, "10.0.0.2@tcp"), 1),
        // Nobody knows its file system.
        ready(target("silver-OST0000", flag::OST, "10.0.0.9@tcp"), 1),
        ready(target("gold-OST0000", flag::OST, "10.0.0.3@tcp"), 7),
    ];
    let outcomes: Vec<Outcome> = asked.iter().map(|asked| ask(&mut one_by_one, asked)).collect();
    let request = together.env_request();
    let decision = announced_together(&together.state, &request, &asked.each_ref()).unwrap();
    assert_eq!(decision.compare.len(), 3, "the table once, and two targets: {:?}", decision.compare);
    assert_eq!(together.commit(decision).unwrap(), outcomes);
    let gold = "gold".parse().unwrap();
    let table = |sim: &Sim| {
        let table = sim.state.nid_table(&gold).unwrap();
        let rows: Vec<_> = table.rows.iter().map(|(svname, row)| (svname.to_string(), (*row).clone())).collect();
        (table.version, rows)
    };
    assert_eq!(table(&together), table(&one_by_one));
    assert_eq!(table(&together).0, 4, "each announcement has a version of its own");
    for svname in ["gold-MDT0000", "gold-OST0000"] {
        let state = |sim: &Sim| sim.state.targets[&svname.parse().unwrap()].value.clone();
        assert_eq!(state(&together), state(&one_by_one));
    }
}
