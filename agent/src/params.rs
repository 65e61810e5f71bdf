//! Tunables of the node, in the words of the API.

use crate::{
    host::{Host, detached, params},
    time::now,
};
use lustre_api::{
    Problem,
    node_param::{NodeParam, NodeParamSet, NodeParamSetting, NodeParams, NodeParamsSet, ReadNodeParams, SetNodeParams},
};
use std::collections::HashMap;
use tracing::{info, warn};

/// The most patterns or settings of one question.
const MAX_PATTERNS: usize = 10_000;

/// What the patterns stand for on this node. Errors: too many patterns.
pub fn read(host: &Host, wanted: &ReadNodeParams) -> Result<NodeParams, Problem> {
    if wanted.patterns.len() > MAX_PATTERNS {
        return Err(too_many(wanted.patterns.len(), "patterns"));
    }
    // Many questions are about the same: each is looked up once.
    let mut known: HashMap<&str, Vec<NodeParam>> = HashMap::new();
    let mut path_of = HashMap::new();
    for pattern in &wanted.patterns {
        known.entry(pattern).or_insert_with(|| {
            let found = host.params(pattern, wanted.recursive).into_iter().filter(|found| !found.is_dir);
            let found: Vec<_> = found.collect();
            if wanted.cross_check {
                path_of.extend(found.iter().map(|found| (found.name.clone(), found.path.clone())));
            }
            found.into_iter().map(|found| describe(found, wanted.names_only)).collect()
        });
    }
    let lctl = match wanted.cross_check {
        true => host.lctl_check(&known.values().flatten().collect::<Vec<_>>(), &path_of),
        false => None,
    };
    let found = wanted.patterns.iter().map(|pattern| known[pattern.as_str()].clone()).collect();
    let files = params::files(&host.root.param_root.join("etc/lustre"));
    let mountinfo = std::fs::read_to_string(host.root.proc.join("self/mountinfo")).unwrap_or_default();
    let mount_options = params::mount_options(&mountinfo);
    Ok(NodeParams { found, files, mount_options, lctl, boot_id: detached::boot_id(), at: now() })
}

fn describe(found: params::Found, names_only: bool) -> NodeParam {
    let (value, error) = match names_only {
        true => (None, None),
        false => match params::read(&found.path) {
            Ok(value) => (Some(value), None),
            Err(error) => (None, Some(error.to_string())),
        },
    };
    NodeParam { name: found.name, value, is_writable: found.is_writable, error }
}

/// Sets values until the node restarts. Errors: as [`check`].
pub fn set(host: &Host, wanted: &SetNodeParams, who: &str) -> Result<NodeParamsSet, Problem> {
    // All are looked at before the first is set.
    check(wanted)?;
    let set = wanted.settings.iter().map(|setting| set_one(host, setting, who)).collect();
    Ok(NodeParamsSet { set, boot_id: detached::boot_id() })
}

/// Errors: too many settings; a value with a line break, which the kernel would take for several.
pub fn check(wanted: &SetNodeParams) -> Result<(), Problem> {
    if wanted.settings.len() > MAX_PATTERNS {
        return Err(too_many(wanted.settings.len(), "settings"));
    }
    match wanted.settings.iter().find(|setting| setting.value.contains(['\n', '\0'])) {
        Some(bad) => {
            Err(Problem::invalid(format!("the value of {} has a line break", bad.pattern)).attribute("settings"))
        }
        None => Ok(()),
    }
}

fn set_one(host: &Host, setting: &NodeParamSetting, who: &str) -> Vec<NodeParamSet> {
    let found = host.params(&setting.pattern, false).into_iter().filter(|found| !found.is_dir);
    found
        .map(|found| {
            let before = params::read(&found.path).ok();
            let error = params::set(&found, &setting.value).err().map(|error| error.to_string());
            let after = params::read(&found.path).ok();
            match &error {
                None => info!(param = found.name, value = setting.value, who, "tunable set"),
                Some(error) => warn!(param = found.name, value = setting.value, who, error, "tunable not set"),
            }
            NodeParamSet { name: found.name, before, after, error }
        })
        .collect()
}

fn too_many(given: usize, what: &str) -> Problem {
    Problem::invalid(format!("{given} {what}; {MAX_PATTERNS} are possible in one question")).attribute(what)
}
