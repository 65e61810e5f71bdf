//! `lctl get_param`, where it is installed: a second opinion on what this program reads from the file trees itself.

use super::{Host, HostError, params, tool};
use lustre_api::node_param::{LctlCheck, LctlDisagreement, NodeParam};
use lustre_types::shortened;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::mpsc::channel,
    thread,
    time::Duration,
};

/// The most tunables of one comparison.
const MAX_NAMES: usize = 500;
/// How long `lctl` may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most letters of a value that are told.
const MAX_LETTERS: usize = 200;
const PACKAGE: &str = "lustre-client-utils (lustre-client with RPM)";

impl Host {
    /// What `lctl` says of tunables that were just read; none where it is not installed. `path_of` says where each was read:
    /// what changes by itself is read again before it counts.
    pub fn lctl_check(&self, read: &[&NodeParam], path_of: &HashMap<String, PathBuf>) -> Option<LctlCheck> {
        let readable = read.iter().filter(|param| param.value.is_some());
        let own: BTreeMap<&str, &str> =
            readable.take(MAX_NAMES).map(|param| (param.name.as_str(), param.value.as_deref().unwrap_or(""))).collect();
        if own.is_empty() {
            return None;
        }
        let printed = match self.lctl_get_param(own.keys().copied()) {
            Ok(printed) => printed,
            Err(HostError::ToolMissing { .. }) => return None,
            Err(error) => {
                let problem = Some(super::chain(&error));
                return Some(LctlCheck { compared: 0, disagreements: Vec::new(), problem });
            }
        };
        let said = values(&printed, &own);
        let mut disagreements = Vec::new();
        for (name, first) in &own {
            let lctl = said.get(*name).map(String::as_str);
            let agrees = |value: &str| lctl.is_some_and(|lctl| lctl == plain(value));
            let again = path_of.get(*name).and_then(|path| params::read(path).ok());
            if !agrees(first) && !again.as_deref().is_some_and(agrees) {
                let own = shortened(&again.unwrap_or_else(|| (*first).to_owned()), MAX_LETTERS);
                disagreements.push(LctlDisagreement {
                    name: (*name).to_owned(),
                    own,
                    lctl: lctl.map(|value| shortened(value, MAX_LETTERS)),
                });
            }
        }
        let compared = u32::try_from(own.len()).unwrap_or(u32::MAX);
        Some(LctlCheck { compared, disagreements, problem: None })
    }

    /// What `lctl get_param NAME...` prints. Errors: it is not there; it takes too long.
    fn lctl_get_param<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<String, HostError> {
        let child = tool::start(&self.tools.lctl, PACKAGE, ["get_param"].into_iter().chain(names))?;
        let pid = child.id();
        let (sender, receiver) = channel();
        thread::spawn(move || sender.send(child.wait_with_output()));
        match receiver.recv_timeout(PATIENCE) {
            // It ends badly where it can't print one of them; what it printed counts all the same.
            Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
            Ok(Err(source)) => Err(HostError::ToolMissing { tool: self.tools.lctl.clone(), package: PACKAGE, source }),
            Err(_) => {
                if let Ok(pid) = i32::try_from(pid) {
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                let source = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in 3 s");
                Err(HostError::Io { what: "hear from", path: self.tools.lctl.clone().into(), source })
            }
        }
    }
}

/// What is printed of each name: `name=value`, or `name=` and the lines behind it.
fn values(printed: &str, own: &BTreeMap<&str, &str>) -> HashMap<String, String> {
    let mut found: HashMap<String, String> = HashMap::new();
    let mut current: Option<String> = None;
    for line in printed.lines() {
        let begins = line.split_once('=').filter(|(name, _)| own.contains_key(name));
        match (begins, &current) {
            (Some((name, value)), _) => {
                // Under another path the same again.
                found.insert(name.to_owned(), value.to_owned());
                current = Some(name.to_owned());
            }
            (None, Some(name)) => {
                let value = found.entry(name.clone()).or_default();
                value.push('\n');
                value.push_str(line);
            }
            (None, None) => {}
        }
    }
    found.values_mut().for_each(|value| *value = plain(value).to_owned());
    found
}

/// Without the line breaks around it, which a file and a listing have in different places.
fn plain(value: &str) -> &str {
    value.trim_matches('\n').trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Sysroot, Tools};
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    /// As recorded of a 2.17.57 client.
    const PRINTED: &str = "at_min=5\nnis=\nnid                      status alive refs peer  rtr   max    tx   min\n\
                           0@lo                         up     0    2    0    0     0     0     0\nosc.gold-OST0000-osc-ff11.checksum_type=adler t10ip512 [t10ip4K] \n";

    fn host(dir: &Path, program: &str) -> Host {
        let lctl = dir.join("lctl");
        fs::write(&lctl, format!("#!/bin/sh\n{program}\n")).unwrap();
        fs::set_permissions(&lctl, fs::Permissions::from_mode(0o755)).unwrap();
        let tools = Tools { lctl: lctl.to_string_lossy().into_owned(), ..Tools::from_dir(None) };
        Host::new(Sysroot { param_root: dir.to_owned(), ..Sysroot::default() }, tools)
    }

    fn param(name: &str, value: &str) -> NodeParam {
        NodeParam { name: name.into(), value: Some(value.into()), is_writable: true, error: None }
    }

    fn check(program: &str, read: &[NodeParam]) -> Option<LctlCheck> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("printed"), PRINTED).unwrap();
        let program = program.replace("DIR", &dir.path().to_string_lossy());
        host(dir.path(), &program).lctl_check(&read.iter().collect::<Vec<_>>(), &HashMap::new())
    }

    #[test]
    fn what_lctl_prints_is_compared_name_by_name_and_lines_count_together() {
        let read = [
            param("at_min", "5"),
            param(
                "nis",
                "nid                      status alive refs peer  rtr   max    tx   min\n0@lo                         up     0    2    0    0     0     0     0",
            ),
            param("osc.gold-OST0000-osc-ff11.checksum_type", "adler t10ip512 [t10ip4K] "),
        ];
        let checked = check("cat DIR/printed", &read).unwrap();
        assert_eq!((checked.compared, checked.disagreements.len(), checked.problem), (3, 0, None));
    }

    #[test]
    fn a_disagreement_says_what_each_reads() {
        let read = [param("at_min", "7"), param("at_max", "600")];
        let checked = check("echo at_min=5; exit 2", &read).unwrap();
        let told: Vec<_> = checked
            .disagreements
            .iter()
            .map(|one| (one.name.as_str(), one.own.as_str(), one.lctl.as_deref()))
            .collect();
        assert_eq!(told, [("at_max", "600", None), ("at_min", "7", Some("5"))]);
    }

    #[test]
    fn a_node_without_lctl_is_not_compared_and_one_that_hangs_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let tools = Tools { lctl: "/nowhere/lctl".into(), ..Tools::from_dir(None) };
        let host = Host::new(Sysroot { param_root: dir.path().to_owned(), ..Sysroot::default() }, tools);
        assert_eq!(host.lctl_check(&[&param("at_min", "5")], &HashMap::new()), None);
        let checked = check("exec sleep 60", &[param("at_min", "5")]).unwrap();
        assert!(checked.problem.unwrap().contains("no answer in 3 s"));
    }
}
