//! Config logs as decisions write them: what people ask for over the API, against the logs that a 2.17.57 MGS wrote.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod golden;
mod sim;

use lustre_api::agent::StartDriver;
use lustre_mgs_core::configlog::{ConfigLog, Draft, TargetInfo};
use lustre_mgs_core::serve::RegistrationRequest;
use lustre_mgs_core::{Change, State, decide};
use lustre_types::SvName;
use lustre_wire::mgs::target_flag as flag;
use sim::Sim;

/// An MGS with file system `gold` and one node for all its targets.
fn gold() -> Sim {
    let mut sim = Sim::new();
    sim.now_ms = 1_795_402_517_000;
    sim.filesystem("gold");
    sim.node_at("oss1", StartDriver::None, "10.9.0.2@tcp");
    sim
}

fn is_as_after(sim: &Sim, step: &str, logs: &[&str]) {
    for name in logs {
        let ours = golden::lines(&sim.state.log(name).unwrap().file(), true);
        let theirs = golden::lines(&golden::recorded(&format!("{step}-{name}")), true);
        for (our, their) in ours.iter().zip(&theirs) {
            assert_eq!(our, their, "{name} after {step}; left is ours");
        }
        assert_eq!(ours.len(), theirs.len(), "{name} after {step}");
    }
}

/// What nodes carry out.
fn effective(sim: &Sim, log: &str) -> String {
    lustre_wire::llog::print(&sim.state.log(log).unwrap().file())
}

/// Every step of the recording that the API can ask for, in its order.
#[test]
fn jobs_tunables_and_pools_write_what_a_kernel_mgs_writes() {
    let mut sim = gold();
    let (mdt, client) = ("gold-MDT0000", "gold-client");
    sim.gold("MDT0000", &[]);
    is_as_after(&sim, "03", &[mdt, client]);
    sim.gold("OST0000", &[]);
    is_as_after(&sim, "05", &[mdt, "gold-OST0000", client]);
    sim.gold("OST0001", &[]);
    is_as_after(&sim, "06", &[mdt, "gold-OST0001", client]);
    sim.param("gold/filesystem/timeout", "40");
    is_as_after(&sim, "40", &[mdt, "gold-OST0000", "gold-OST0001", client]);
    sim.param("gold/filesystem/llite.*.max_read_ahead_mb", "16");
    sim.param("gold/gold-OST0000/osc.*.max_dirty_mb", "64");
    is_as_after(&sim, "42", &[mdt, client]);
    sim.param("gold/gold-OST0000/obdfilter.*.writethrough_cache_enable", "0");
    is_as_after(&sim, "43", &["gold-OST0000"]);
    sim.param("gold/gold-MDT0000/mdt.*.identity_upcall", "NONE");
    is_as_after(&sim, "44", &[mdt]);
    sim.param("gold/gold-MDT0000/lov.*.stripesize", "2M");
    sim.param("gold/gold-MDT0000/mdc.*.max_rpcs_in_flight", "6");
    is_as_after(&sim, "46", &[mdt, client]);
    sim.param("gold/filesystem/quota.ost", "ug");
    is_as_after(&sim, "47", &[mdt, "gold-OST0000", "gold-OST0001"]);
    sim.param("gold/filesystem/llite.*.max_read_ahead_mb", "32");
    is_as_after(&sim, "48", &[client]);
    sim.param("gold/filesystem/llite.*.max_read_ahead_mb", "");
    is_as_after(&sim, "49", &[client]);
    sim.param("gold/gold-OST0001/osc.*.active", "0");
    is_as_after(&sim, "50", &[mdt, client]);
    sim.param("gold/gold-OST0001/osc.*.active", "1");
    is_as_after(&sim, "51", &[mdt, client]);
    partner(&mut sim, "gold-OST0000", &["10.9.0.9@tcp"]);
    sim.param("gold/gold-OST0000/osc.*.no_such_thing", "1");
    is_as_after(&sim, "53", &[mdt, client]);
    sim.pool("gold", "p1", Some(&[]));
    is_as_after(&sim, "70", &[mdt, client]);
    sim.pool("gold", "p1", Some(&["gold-OST[0-1]"]));
    is_as_after(&sim, "71", &[mdt, client]);
    sim.pool("gold", "p1", Some(&["gold-OST0000"]));
    is_as_after(&sim, "72", &[mdt, client]);
    sim.pool("gold", "p1", Some(&[]));
    is_as_after(&sim, "73", &[mdt, client]);
    sim.pool("gold", "p1", None);
    is_as_after(&sim, "74", &[mdt, client]);
    sim.gold("MDT0001", &[]);
    is_as_after(&sim, "82", &[mdt, "gold-MDT0001", client]);
}

/// Gives a registered target these partner nodes.
fn partner(sim: &mut Sim, svname: &str, nodes: &[&str]) {
    let mut spec = sim.target(svname).spec.clone();
    spec.failover_nodes = nodes.iter().map(|nodes| nodes.parse().unwrap()).collect();
    let device = sim::holding(&spec.device, svname, "u1");
    sim.ensure(sim::ensure(spec), device).unwrap();
}

#[test]
fn two_mdts_and_four_osts_with_partners_parameters_a_pool_and_an_inactive_ost() {
    let mut sim = gold();
    for (short, partner) in [
        ("MDT0000", "10.9.0.3@tcp"),
        ("OST0000", "10.9.0.3@tcp"),
        ("OST0001", "10.9.0.3@tcp,10.8.0.3@tcp1:10.9.0.4@tcp"),
        ("MDT0001", "10.9.0.3@tcp"),
        ("OST0002", "10.9.0.3@tcp"),
        ("OST0003", "10.9.0.3@tcp"),
    ] {
        sim.gold(short, &[partner]);
    }
    sim.param("gold/filesystem/timeout", "40");
    sim.param("gold/filesystem/llite.*.max_read_ahead_mb", "16");
    sim.param("gold/filesystem/llite.*.max_read_ahead_mb", "");
    sim.pool("gold", "flash", Some(&["gold-OST[0-3]"]));
    sim.param("gold/gold-OST0003/osc.*.active", "0");
    let client = effective(&sim, "gold-client");
    let expected = "\
- { index: 29, event: add_uuid, nid: 10.9.0.2@tcp(0x200000a090002), node: 10.9.0.2@tcp }
- { index: 30, event: attach, device: gold-OST0001-osc, type: osc, UUID: gold-clilov_UUID }
- { index: 31, event: setup, device: gold-OST0001-osc, UUID: gold-OST0001_UUID, node: 10.9.0.2@tcp }
- { index: 32, event: add_uuid, nid: 10.9.0.3@tcp(0x200000a090003), node: 10.9.0.3@tcp }
- { index: 33, event: add_uuid, nid: 10.8.0.3@tcp1(0x200010a080003), node: 10.9.0.3@tcp }
- { index: 34, event: add_conn, device: gold-OST0001-osc, node: 10.9.0.3@tcp }
- { index: 35, event: add_uuid, nid: 10.9.0.4@tcp(0x200000a090004), node: 10.9.0.4@tcp }
- { index: 36, event: add_conn, device: gold-OST0001-osc, node: 10.9.0.4@tcp }
- { index: 37, event: add_osc, device: gold-clilov, ost: gold-OST0001_UUID, index: 1, gen: 1 }
";
    assert!(client.contains(expected), "{client}");
    assert!(!client.contains("max_read_ahead_mb"), "{client}");
    assert!(client.contains("set_timeout, num: 0x000028, parameter: sys.timeout=40"), "{client}");
    assert!(client.contains("device: gold-OST0003-osc, parameter: osc.active=0"), "{client}");
    for (log, lov, devices) in [
        ("gold-client", "gold-clilov", 4),
        ("gold-MDT0000", "gold-MDT0000-mdtlov", 4),
        ("gold-MDT0001", "gold-MDT0001-mdtlov", 4),
    ] {
        let text = effective(&sim, log);
        assert_eq!(text.matches("event: add_osc,").count(), devices, "{text}");
        assert_eq!(
            text.matches(&format!("event: add_pool, device: {lov}, fsname: gold, pool: flash")).count(),
            4,
            "{text}"
        );
        let excluded = sim.state.log(log).unwrap().live("gold-OST0003", "add osc").next().unwrap().section.flags;
        assert_eq!(excluded, 0x10, "{log}");
    }
    // The first MDT learns of the second, and the other way round.
    assert!(effective(&sim, "gold-MDT0000").contains("device: gold-MDT0001-osp-MDT0000, type: osp"));
    assert!(effective(&sim, "gold-MDT0001").contains("device: gold-MDT0000-osp-MDT0001, type: osp"));
}

#[test]
fn a_deregistered_ost_is_inactive_for_who_knows_it_and_unknown_to_who_comes() {
    let mut sim = gold();
    for short in ["MDT0000", "OST0000", "OST0001"] {
        sim.gold(short, &[]);
    }
    let before = sim.state.log("gold-client").unwrap().last_index();
    let job = sim.deregister(&"gold-OST0001".parse::<SvName>().unwrap()).unwrap().job.unwrap();
    sim.run(&job);
    assert!(sim.state.log("gold-OST0001").is_none());
    for (log, device) in [("gold-client", "gold-OST0001-osc"), ("gold-MDT0000", "gold-OST0001-osc-MDT0000")] {
        let text = effective(&sim, log);
        assert!(!text.contains(&format!("attach, device: {device}")), "{text}");
        assert!(!text.contains("ost: gold-OST0001_UUID"), "{text}");
        assert!(text.contains(&format!("device: {device}, parameter: osc.active=0")), "{text}");
    }
    assert!(sim.state.log("gold-client").unwrap().last_index() > before, "who knows it reads on from there");
    // The same index again, by who insists: a new device, and active.
    sim.gold("OST0001", &[]);
    let text = effective(&sim, "gold-client");
    assert!(text.contains("ost: gold-OST0001_UUID") && !text.contains("osc.active=0"), "{text}");
}

#[test]
fn the_last_target_takes_the_logs_with_it_and_a_new_one_begins_anew() {
    let mut sim = gold();
    sim.gold("OST0000", &[]);
    let first = sim.state.log("gold-client").unwrap().id();
    let job = sim.deregister(&"gold-OST0000".parse::<SvName>().unwrap()).unwrap().job.unwrap();
    sim.run(&job);
    assert_eq!(sim.state.logs_of(Some(&"gold".parse().unwrap())).count(), 0);
    assert!(sim.state.log_by_id(first).is_none());
    sim.gold("MDT0000", &[]);
    let again = sim.state.log("gold-client").unwrap();
    assert_ne!(again.id(), first, "who asks for the old log must not get the new one");
    assert_eq!(sim.state.log_by_id(again.id()).map(|log| log.name()), Some("gold-client"));
    is_as_after(&sim, "03", &["gold-MDT0000", "gold-client"]);
}

#[test]
fn what_was_set_before_there_was_a_target_is_written_when_it_registers() {
    let mut sim = gold();
    let warnings = sim.param("gold/filesystem/timeout", "40");
    assert!(warnings[0].contains("it is written when the target registers"), "{warnings:?}");
    sim.param("gold/gold-OST0000/obdfilter.*.writethrough_cache_enable", "0");
    assert!(sim.state.log("gold-client").is_none());
    sim.gold("MDT0000", &[]);
    assert!(effective(&sim, "gold-client").contains("sys.timeout=40"));
    sim.gold("OST0000", &[]);
    let own = effective(&sim, "gold-OST0000");
    assert!(own.contains("sys.timeout=40") && own.contains("ost.writethrough_cache_enable=0"), "{own}");
}

#[test]
fn a_value_that_no_log_can_have_is_refused_where_it_is_set() {
    let mut sim = gold();
    sim.gold("MDT0000", &[]);
    let req = sim.env_request();
    let refuse = |sim: &Sim, name: &str, value: &str| {
        let key = lustre_mgs_core::ParamKey {
            filesystem: Some("gold".parse().unwrap()),
            scope: lustre_types::ParamScope::Filesystem,
            name: name.parse().unwrap(),
        };
        let spec = lustre_api::param::ParamSpec {
            filesystem: key.filesystem.clone(),
            scope: key.scope.clone(),
            name: key.name.clone(),
            value: value.into(),
            allow_unknown: true,
        };
        decide::param::put_param(&sim.state, &req, &key, &spec).unwrap_err().to_string()
    };
    for (name, value, why) in [
        ("quota.ost", "xyz", "letters"),
        // Its path has the file system in it, and is longer than a marker's comment.
        (&format!("osc.*.{}", "x".repeat(50)), "1", "more than 63 bytes"),
    ] {
        let problem = refuse(&sim, name, value);
        assert!(problem.contains(why), "{problem}");
    }
}

/// Stored, read back and taken in again: the same bytes, as on every other MGS of the store.
#[test]
fn every_instance_has_the_same_bytes() {
    let mut sim = gold();
    let mut commits: Vec<(u64, Vec<Change>)> = Vec::new();
    for short in ["MDT0000", "OST0000", "MDT0001"] {
        sim.gold(short, &["10.9.0.3@tcp"]);
    }
    sim.param("gold/filesystem/timeout", "40");
    sim.param("*/filesystem/osc.*.max_dirty_mb", "64");
    for (revision, change) in sim.log_changes() {
        match commits.last_mut() {
            Some((last, changes)) if *last == revision => changes.push(change),
            _ => commits.push((revision, vec![change])),
        }
    }
    let mut other = State::default();
    for (revision, changes) in commits {
        for change in changes {
            other.load(revision, revision, change);
        }
    }
    let bytes = |state: &State| -> Vec<(String, u64, Vec<u8>)> {
        let logs = state.logs.values().flat_map(|logs| logs.iter());
        logs.map(|log: &std::sync::Arc<ConfigLog>| (log.name().to_owned(), log.id(), log.raw())).collect()
    };
    assert!(bytes(&sim.state).len() == 5 && bytes(&sim.state) == bytes(&other));
}

#[test]
fn a_state_of_a_version_without_logs_gets_them_once() {
    let mut sim = gold();
    for short in ["OST0000", "MDT0000", "OST0001"] {
        sim.gold(short, &["10.9.0.3@tcp"]);
    }
    sim.param("gold/filesystem/timeout", "40");
    sim.param("*/filesystem/osc.*.max_dirty_mb", "64");
    sim.pool("gold", "p1", Some(&["gold-OST[0-1]"]));
    let all = |sim: &Sim| -> Vec<(String, String)> {
        let logs = sim.state.logs.values().flat_map(|logs| logs.iter());
        logs.map(|log| (log.name().to_owned(), effective_sorted(log))).collect()
    };
    let before = all(&sim);
    sim.forget_logs();
    let mut steps = 0;
    loop {
        let req = sim.env_request();
        let Some(decision) = decide::log::catch_up(&sim.state, &req).unwrap() else { break };
        sim.commit(decision).unwrap();
        steps += 1;
        assert!(steps < 10, "it ends");
    }
    assert_eq!(steps, 4, "three targets and params");
    assert_eq!(all(&sim), before);
}

/// What nodes carry out, whatever the order in which it came about.
fn effective_sorted(log: &ConfigLog) -> String {
    let text = lustre_wire::llog::print(&log.file());
    let mut lines: Vec<&str> = text.lines().map(|line| line.split_once(", ").unwrap().1).collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_writeconf_over_lnet_loses_no_tunable_and_no_pool() {
    let mut sim = gold();
    for short in ["MDT0000", "OST0000"] {
        sim.gold(short, &[]);
    }
    sim.param("gold/filesystem/timeout", "40");
    sim.param("gold/gold-OST0000/obdfilter.*.writethrough_cache_enable", "0");
    sim.pool("gold", "p1", Some(&["gold-OST0000"]));
    for (short, kind) in [("MDT0000", flag::MDT), ("OST0000", flag::OST)] {
        let asked = RegistrationRequest {
            svname: format!("gold-{short}").parse().unwrap(),
            flags: kind | flag::WRITECONF | flag::UPDATE,
            nids: vec!["10.9.0.7@tcp".parse().unwrap()],
            params: vec![],
            client: "c".into(),
            from: (&"10.9.0.7@tcp".parse::<lustre_types::Nid>().unwrap()).into(),
            ready: None,
        };
        let req = sim.env_request();
        let decision = decide::target_reg::target_reg(&sim.state, &req, &asked).unwrap();
        sim.commit(decision).unwrap().unwrap();
    }
    let client = effective(&sim, "gold-client");
    assert!(client.contains("node: 10.9.0.7@tcp") && !client.contains("10.9.0.2"), "{client}");
    assert!(client.contains("sys.timeout=40"), "{client}");
    assert!(client.contains("event: add_pool, device: gold-clilov, fsname: gold, pool: p1, ost: gold-OST0000_UUID"));
    assert!(effective(&sim, "gold-OST0000").contains("ost.writethrough_cache_enable=0"));
}

#[test]
fn a_second_mdt_of_a_thousand_osts_fits_into_a_commit() {
    let mut draft = Draft::new(Some("gold".parse().unwrap()), None, 1);
    let mut register = |short: String| {
        let params = vec![("failover.node".to_owned(), "10.9.0.3@tcp,10.8.0.3@o2ib".to_owned())];
        let nids = vec!["10.9.0.2@tcp".parse().unwrap(), "10.8.0.2@o2ib".parse().unwrap()];
        draft.register(&TargetInfo { svname: format!("gold-{short}").parse().unwrap(), nids, params }).unwrap();
    };
    (0..1000).for_each(|index| register(format!("OST{index:04x}")));
    let fs = draft.logs().clone();
    let mut draft = Draft::new(Some("gold".parse().unwrap()), Some(&fs), 1);
    let info = TargetInfo {
        svname: "gold-MDT0000".parse().unwrap(),
        nids: vec!["10.9.0.2@tcp".parse().unwrap()],
        params: vec![],
    };
    draft.register(&info).unwrap();
    let log = draft.log("gold-MDT0000").unwrap();
    assert_eq!(lustre_wire::llog::print(&log.file()).matches("event: add_osc,").count(), 1000);
    let values: Vec<usize> = draft.changes().iter().map(|change| change.encode().1.unwrap().len()).collect();
    assert!(values.len() < 10 && values.iter().all(|len| *len <= 512 * 1024), "{values:?}");
}
