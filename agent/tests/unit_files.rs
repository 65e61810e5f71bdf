//! The systemd units in `packaging/systemd`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

use std::{fs, path::PathBuf, process::Command};

fn unit(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(name);
    fs::read_to_string(path).unwrap()
}

fn settings(unit: &str) -> Vec<(&str, &str)> {
    unit.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('=')).collect()
}

#[test]
fn a_format_outlives_a_restart_of_the_agents_unit() {
    let unit = unit("lustre-agent.service");
    assert!(settings(&unit).contains(&("KillMode", "process")));
}

#[test]
fn targets_are_mounted_for_the_whole_node() {
    // Each of these gives the service a mount namespace of its own; systemd.exec(5).
    let isolating =
        ["Private", "Protect", "ReadOnly", "ReadWrite", "Inaccessible", "Bind", "Root", "Temporary", "Mount"];
    let unit = unit("lustre-agent.service");
    for (name, _) in settings(&unit) {
        assert!(!isolating.iter().any(|word| name.starts_with(word)), "{name}");
    }
}

#[test]
fn systemd_understands_both_units() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lustre-agent.service", "lustre-mgs.service"] {
        // The programs aren't installed where this runs.
        let text = unit(name).replace("ExecStart=/usr/sbin/lustre-", "ExecStart=/bin/true lustre-");
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let output = match Command::new("systemd-analyze").arg("verify").arg(&path).output() {
            Ok(output) => output,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
                eprintln!("not checked: there is no systemd-analyze here");
                return;
            }
        };
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}
