use super::*;

fn spec(name: &str, value: &str) -> ParamSpec {
    ParamSpec {
        filesystem: None,
        scope: Default::default(),
        name: name.parse().unwrap(),
        value: value.to_owned(),
        allow_unknown: false,
    }
}

fn refusal(name: &str, value: &str) -> String {
    check(&spec(name, value)).unwrap_err().to_string()
}

#[test]
fn every_line_of_the_catalogue_is_well_formed_and_takes_its_own_default() {
    let lines = || include_str!("tunables.txt").lines().filter(|line| !line.starts_with('#'));
    let names: Vec<String> = lines().map(|line| entry::parse(line).unwrap().entry.name).collect();
    assert!(names.is_sorted(), "lines are sorted by name, so that none is there twice");
    // 394 entries of the specification: 12 of them once for each of 4 services, one with and without direction.
    assert_eq!(names.len(), 431);
    for known in &KNOWN.known {
        let entry = &known.entry;
        assert!(entry.name.parse::<lustre_types::ParamName>().is_ok(), "{}", entry.name);
        assert!(entry.min.zip(entry.max).is_none_or(|(min, max)| min <= max), "{}", entry.name);
        assert_eq!(lookup(&entry.name).map(|found| &found.name), Some(&entry.name), "found under its own name");
        if let Some(default) = &entry.default {
            assert_eq!(value_of(known, &entry.name, default), Ok(()), "{}", entry.name);
        }
    }
}

#[test]
fn a_name_is_found_with_any_device() {
    for name in ["osc.*.max_dirty_mb", "osc.scratch-*.max_dirty_mb", "osc.scratch-OST0001-osc-*.max_dirty_mb"] {
        assert_eq!(lookup(name).map(|entry| entry.name.as_str()), Some("osc.*.max_dirty_mb"), "{name}");
    }
    assert!(lookup("osd-ldiskfs.*.quota_slave.enabled").is_some());
    assert!(lookup("osc.*").is_none());
}

#[test]
fn a_wrong_name_is_answered_with_the_ones_that_were_meant() {
    assert!(refusal("osc.*.max_dirty_md", "5").contains("\"osc.*.max_dirty_mb\" is"));
    assert!(refusal("llite.*.max_dirty_mb", "5").contains("\"mdc.*.max_dirty_mb\" and \"osc.*.max_dirty_mb\" are"));
    assert!(!refusal("llite.*.completely_made_up_name", "5").contains(';'));
    assert_eq!(check(&ParamSpec { allow_unknown: true, ..spec("a.b.c", "5") }), Ok(()));
}

#[test]
fn values_are_checked_by_type_and_range() {
    for (name, value, expected) in [
        ("osc.*.max_rpcs_in_flight", "many", "a whole number is expected"),
        ("osc.*.max_rpcs_in_flight", "257", "its range is 1 to 256"),
        ("osc.*.max_rpcs_in_flight", "0x101", "1 to 256"),
        ("osc.*.max_dirty_mb", "4G", "1 MiB to 1.9 GiB"),
        ("obdfilter.*.brw_size", "3M", "powers of two"),
        ("lod.*.stripesize", "100K", "multiples of 64 KiB"),
        ("llite.*.checksums", "maybe", "0 or 1"),
        ("osc.*.checksum_type", "md5", "one of crc32, adler"),
        ("lod.*.qos_prio_free", "101", "0 to 100"),
        ("lod.*.qos_prio_free", "90%", "a whole number, which is in %, is expected"),
        ("timeout", "64M", "a whole number, which is in s, is expected"),
        ("osc.*.max_dirty_mb", "64s", "a size, as in 64M; a number without suffix is in MiB is expected"),
        ("timeout", "", "empty value"),
        ("jobid_name", "a\nb", "line break"),
        ("jobid_name", "%q", "%e"),
        ("mdt.*.root_squash", "nobody", "uid:gid"),
        ("mdt.*.nosquash_nids", "host@tcp", "NIDs or NID ranges"),
        ("mdt.*.nosquash_nids", "10.0.0.*@nonet", "nonet"),
        ("ost.OSS.*.nrs_policies", "tbf nid nid reg", "one of fifo"),
        ("ost.OSS.*.nrs_policies", "lifo", "one of fifo"),
        ("ost.OSS.*.nrs_tbf_rule", "start computes rate=fast", "rate=N"),
        ("quota.ost", "ux", "letters of u, g and p, or none"),
        ("mdt.*.job_xattr", "user.muchtoolong", "7 letters"),
        ("ldlm.namespaces.*.lru_max_age", "5 days", "600s"),
        ("mdd.*.changelog_mask", "+ATIME MARK", "each with + or -"),
    ] {
        let message = refusal(name, value);
        assert!(message.contains(expected), "{message}");
    }
    for (name, value) in [
        ("osc.*.max_dirty_mb", "512"),
        ("osc.*.max_dirty_mb", "512M"),
        ("osc.*.max_pages_per_rpc", "4M"),
        ("jobid_name", "%e.%u"),
        ("lod.*.dom_threshold_free_mb", "10%"),
        ("mdt.*.nosquash_nids", "10.0.[1-3,7].*@tcp1 NONE".split(' ').next().unwrap()),
        ("ost.OSS.*.nrs_tbf_rule", "start computes nid={192.168.*.*@tcp} rate=100"),
        ("ost.OSS.*.nrs_policies", "tbf jobid reg"),
        ("mdd.*.changelog_mask", "+ATIME -OPEN"),
    ] {
        assert_eq!(check(&spec(name, value)), Ok(()), "{name}={value}");
    }
}

#[test]
fn a_value_that_no_log_takes_is_refused() {
    assert!(refusal("jobid_var", &"x".repeat(5000)).contains("a log takes 4095"));
}

#[test]
fn what_is_not_set_permanently_is_refused_with_the_right_way() {
    let fault = |name: &str| check(&spec(name, "1")).unwrap_err();
    assert!(fault("conns_per_peer").remedy().contains("/etc/modprobe.d"));
    assert!(fault("mdt.*.evict_client").remedy().contains("--temporary"));
    assert!(fault("nodemap.active").remedy().contains("nodemap"));
    assert!(fault("llite.*.root_squash").remedy().contains("mdt.*.root_squash"));
    assert_eq!(check_temporary("mdt.x.evict_client", "nid:10.0.0.1@tcp", false), Ok(()));
    assert!(check_temporary("memused_max", "1", true).is_err());
    assert!(check_temporary("made.up", "1", false).is_err() && check_temporary("made.up", "1", true).is_ok());
}

#[test]
fn values_are_compared_by_meaning() {
    for (name, a, b, is_same) in [
        ("osc.*.max_dirty_mb", "512", "512M", true),
        ("osc.*.max_dirty_mb", "512", "512K", false),
        ("osc.*.checksums", "on", "1", true),
        ("osc.*.max_rpcs_in_flight", "0x10", "16", true),
        ("mdt.*.nosquash_nids", "10.0.0.1@tcp 10.0.0.2@tcp0", "10.0.0.2@tcp,10.0.0.1@tcp", true),
        ("mdt.*.nosquash_nids", "10.0.0.1@tcp", "NONE", false),
        ("quota.ost", "ug", "gu", true),
        ("mdd.*.changelog_mask", "HSM MARK", "MARK HSM", true),
        ("ldlm.namespaces.*.lru_max_age", "10m", "600000", true),
        ("a.b.c", "1", "on", false),
    ] {
        assert_eq!(same_value(name, a, b), is_same, "{name}: {a} and {b}");
    }
}

#[test]
fn what_nodes_print_is_understood() {
    use Agreement::{Different, Same};
    let rules = "regular_requests:\nCPT 0:\ncomputes {192.168.1.1@tcp} 100, ref 0\ndefault {*} 10000, ref 0\n";
    let tbf = "regular_requests:\n  - name: fifo\n    state: started\n  - name: tbf\n    state: started\n\nhigh_priority_requests:\n  - name: fifo\n    state: started\n";
    for (name, wanted, printed, expected) in [
        ("llite.*.pcc_async_threshold", "64M", "67108864\n", Same),
        ("obdfilter.*.brw_size", "4M", "4", Same),
        ("lod.*.qos_prio_free", "90", "90%", Same),
        ("llite.*.stats_track_pid", "0", "0 (all)", Same),
        ("osc.*.checksum_type", "t10ip4K", "adler t10ip512 [t10ip4K] ", Same),
        ("osc.*.checksum_type", "adler", "adler t10ip512 [t10ip4K] ", Different),
        ("osc.*.max_pages_per_rpc", "4M", "1024", Same),
        ("osc.*.max_pages_per_rpc", "4M", "64", Same),
        ("osc.*.max_pages_per_rpc", "4M", "512", Different),
        ("llite.*.max_cached_mb", "730", "\nusers: 6\nmax_cached_mb: 730\nused_mb: 0\n", Same),
        ("osd-ldiskfs.*.pdo", "1", "ON", Same),
        ("obdfilter.*.lfsck_verify_pfid", "1", "switch: off\ndetected: 0", Different),
        ("mdt.*.hsm_control", "shutdown", "stopped", Same),
        ("ost.OSS.*.nrs_crrn_quantum", "16", "reg_quantum:16\nhp_quantum:16\n", Same),
        ("ost.OSS.*.nrs_crrn_quantum", "hp_quantum:8", "reg_quantum:16\nhp_quantum:16\n", Different),
        ("ost.OSS.*.nrs_policies", "tbf nid reg", tbf, Same),
        ("ost.OSS.*.nrs_policies", "tbf nid", tbf, Different),
        ("ost.OSS.*.nrs_policies", "fifo reg", tbf, Different),
        ("ost.OSS.*.nrs_policies", "fifo hp", tbf, Same),
        ("ost.OSS.*.nrs_tbf_rule", "start computes nid={192.168.1.1@tcp} rate=100", rules, Same),
        ("ost.OSS.*.nrs_tbf_rule", "change computes rate=200", rules, Different),
        ("ost.OSS.*.nrs_tbf_rule", "stop computes", rules, Different),
        ("ost.OSS.*.nrs_tbf_rule", "stop others", rules, Same),
        ("mdd.*.changelog_mask", "-ATIME +HSM", "MARK HSM", Same),
        ("mdd.*.changelog_mask", "-ATIME", "MARK ATIME", Different),
        ("timeout", "40", "100", Different),
        ("made.up", "1", "1\n", Same),
    ] {
        assert_eq!(agreement(name, wanted, printed), expected, "{name}: {wanted} and {printed:?}");
    }
    for (name, wanted, printed) in [
        ("ldlm.namespaces.*.lru_size", "0", "417"),
        ("ldlm.namespaces.*.lru_size", "clear", "417"),
        ("ost.OSS.*.nrs_delay_min", "5", ""),
        ("lod.*.dom_threshold_free_mb", "10%", "77"),
    ] {
        assert!(matches!(agreement(name, wanted, printed), Agreement::Unknowable(_)), "{name}");
    }
}

/// Values as nodes of 2.17.57 printed them.
#[test]
fn every_recorded_value_parses_and_agrees_with_itself() {
    #[derive(serde::Deserialize)]
    struct Recorded {
        entry: String,
        name: String,
        value: String,
    }
    let lines = include_str!("../../testdata/recorded-values.jsonl").lines().skip(1);
    let recorded: Vec<Recorded> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(recorded.len() > 350);
    for Recorded { entry, name, value } in recorded {
        let known = KNOWN.known.iter().find(|known| known.entry.name == entry).unwrap();
        let read = value::read(known, &value, Side::Printed);
        assert!(read.is_ok(), "{name} = {value:?}: {read:?}");
        assert_ne!(value::agreement(known, &value, &value), Agreement::Different, "{name} = {value:?}");
        // What a node prints can be set again, where it prints no more than the value.
        let text = value.trim();
        if matches!(known.entry.set_by, SetBy::Any) && !text.is_empty() && !text.contains(['\n', '(', '[', '%']) {
            let is_report = matches!(known.kind, Kind::Command(_));
            assert!(
                is_report || value_of(known, &name, text).is_ok(),
                "{name} = {value:?}: {:?}",
                value_of(known, &name, text)
            );
        }
    }
}

#[test]
fn what_a_node_prints_can_be_put_back() {
    for (name, printed, expected) in [
        ("lod.*.qos_prio_free", "90%", Some("90")),
        ("osc.*.checksum_type", "adler [t10ip4K] ", Some("t10ip4K")),
        ("llite.*.max_cached_mb", "\nusers: 6\nmax_cached_mb: 730\n", Some("730")),
        ("obdfilter.*.brw_size", "4", Some("4")),
        ("osd-ldiskfs.*.pdo", "ON", Some("1")),
        ("mdd.*.changelog_mask", "MARK HSM ", Some("HSM MARK")),
        ("ost.OSS.*.nrs_delay_min", "", None),
        ("mdt.*.evict_client", "x", None),
        ("made.up", "5\n", Some("5")),
    ] {
        assert_eq!(settable(name, printed).as_deref(), expected, "{name}");
    }
}
