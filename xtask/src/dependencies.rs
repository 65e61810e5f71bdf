//! `cargo xtask dependencies`: dependencies point down only, and the deterministic crates do no I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, bail};
use serde_json::Value;

/// Crates that must stay free of I/O and clocks.
const PURE: &[&str] = &["lustre-types", "lustre-wire", "lustre-api", "lustre-plan", "lustre-mgs-core"];

/// What makes a crate impure, directly or through others.
const IMPURE: &[&str] =
    &["tokio", "reqwest", "hyper", "axum", "redb", "etcd-client", "nix", "rest", "lustre-mgs-store"];

/// Checks the rule on what `cargo metadata` resolves, normal dependencies only.
pub(crate) fn run() -> anyhow::Result<()> {
    let output = Command::new(env!("CARGO")).args(["metadata", "--format-version=1", "--locked"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let graph = normal_dependencies(&metadata).context("cargo metadata has another shape than expected")?;
    let mut faults = Vec::new();
    for name in PURE {
        let reached = reach(&graph, name).with_context(|| format!("there is no crate {name}"))?;
        faults
            .extend(IMPURE.iter().filter(|bad| reached.contains(**bad)).map(|bad| format!("{name} depends on {bad}")));
    }
    if !faults.is_empty() {
        bail!("these crates must not do I/O or read clocks: {}", faults.join("; "));
    }
    println!("{} are free of {}", PURE.join(", "), IMPURE.join(", "));
    Ok(())
}

/// Names of each package's normal dependencies.
fn normal_dependencies(metadata: &Value) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let packages = metadata["packages"].as_array()?;
    let names: BTreeMap<&str, &str> =
        packages.iter().filter_map(|package| Some((package["id"].as_str()?, package["name"].as_str()?))).collect();
    let mut graph = BTreeMap::<String, BTreeSet<String>>::new();
    for node in metadata["resolve"]["nodes"].as_array()? {
        let deps = graph.entry((*names.get(node["id"].as_str()?)?).to_owned()).or_default();
        for dep in node["deps"].as_array()? {
            if dep["dep_kinds"].as_array()?.iter().any(|kind| kind["kind"].is_null()) {
                deps.insert((*names.get(dep["pkg"].as_str()?)?).to_owned());
            }
        }
    }
    Some(graph)
}

/// All that `name` depends on, through others too.
fn reach<'a>(graph: &'a BTreeMap<String, BTreeSet<String>>, name: &str) -> Option<BTreeSet<&'a str>> {
    let mut reached = BTreeSet::new();
    let mut ahead: Vec<&str> = graph.get(name)?.iter().map(String::as_str).collect();
    while let Some(next) = ahead.pop() {
        if reached.insert(next) {
            ahead.extend(graph.get(next).into_iter().flatten().map(String::as_str));
        }
    }
    Some(reached)
}
