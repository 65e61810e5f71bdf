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
        let output = Command::new("systemd-analyze").arg("verify").arg(&path).output();
        let output = output.expect("systemd-analyze runs: apt install systemd");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
    }
}

#[test]
fn what_is_installed_is_what_the_units_start() {
    let stage = tempfile::tempdir().unwrap();
    let built = tempfile::tempdir().unwrap();
    for name in ["lustre-mgs", "lustre-agent", "mgsctl"] {
        fs::write(built.path().join(name), name).unwrap();
    }
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tools/install");
    let status = Command::new(script).arg(built.path()).env("DESTDIR", stage.path()).status().unwrap();
    assert!(status.success());
    let units = fs::read_dir(stage.path().join("usr/lib/systemd/system")).unwrap();
    let mut started = 0;
    for unit in units {
        let text = fs::read_to_string(unit.unwrap().path()).unwrap();
        for (_, command) in settings(&text).into_iter().filter(|(name, _)| *name == "ExecStart") {
            let program = command.split_whitespace().next().unwrap();
            let ours = stage.path().join(program.trim_start_matches('/'));
            assert!(ours.is_file() || program == "/bin/sh", "{command}");
            started += 1;
        }
    }
    assert_eq!(started, 3, "the MGS, the agent and the backup");
}
