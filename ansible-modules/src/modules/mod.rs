//! The modules: what each is called, takes, does and returns.
//!
//! A module that changes something describes what is wanted as [`lustre_api::plan::Desired`]; [`plan`] asks `lustre-plan`
//! what has to change, shows it and, outside check mode, has [`apply`] carry it out. Options are the attributes of
//! `lustre_api::attributes` ([`table`]) and what [`common`] and the module add.

mod apply;
pub(crate) mod common;
mod confirm;
mod facts;
mod filesystem;
mod format_policy;
mod info;
mod job;
mod job_info;
mod jobs;
mod mgs_proxy;
mod nodemap;
mod param;
mod param_info;
mod param_revert;
mod plan;
mod pool;
mod progress;
mod session;
mod table;
mod target;
#[cfg(test)]
mod tests;

use std::future::Future;

use serde_json::{Map, Value};

use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Internals, Outcome};

/// One module: its options, its documentation and what it does.
#[derive(Debug)]
pub struct Module {
    /// Name without the collection.
    pub name: &'static str,
    /// What it does, in a line without full stop.
    pub summary: &'static str,
    /// More about it: one paragraph each, in Ansible's markup.
    pub description: Vec<String>,
    /// What a user should know beyond that.
    pub notes: Vec<&'static str>,
    /// Names of modules that go with it.
    pub see_also: &'static [&'static str],
    /// Whether it only reads.
    pub is_read_only: bool,
    /// Whether it returns facts.
    pub is_facts: bool,
    /// Its options.
    pub spec: ArgumentSpec,
    /// Example tasks, as YAML.
    pub examples: &'static str,
    /// What it returns beyond `changed`, `msg` and `warnings`.
    pub returns: Vec<ReturnValue>,
    /// Does what the checked options say.
    pub run: fn(&Task<'_>) -> Result<Outcome, Failure>,
}

/// One key of a module's result.
#[derive(Debug, Clone)]
pub struct ReturnValue {
    /// The key.
    pub name: &'static str,
    /// Ansible's name of its type.
    pub kind: &'static str,
    /// Type of a list's elements.
    pub elements: Option<&'static str>,
    /// When it is there.
    pub returned: &'static str,
    /// What it is.
    pub description: &'static str,
    /// An example as JSON.
    pub sample: Value,
}

/// A checked call of a module.
#[derive(Debug)]
pub struct Task<'a> {
    /// The module.
    pub module: &'static str,
    /// The options: each of the specification is there, null where not given.
    pub params: &'a Map<String, Value>,
    /// What core says about the run.
    pub internals: Internals,
}

impl<'a> Task<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.params.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn is(&self, name: &str) -> bool {
        self.params.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    fn seconds(&self, name: &str) -> Result<std::time::Duration, Failure> {
        let value = self.params.get(name).unwrap_or(&Value::Null);
        let seconds =
            value.as_u64().ok_or_else(|| Failure::from(format!("{name} is a number of seconds, not {value}")))?;
        Ok(std::time::Duration::from_secs(seconds))
    }

    /// For a write that is not part of a plan.
    fn write_query(&self) -> lustre_api::WriteQuery {
        lustre_api::WriteQuery { why: Some(format!("Ansible, {}", self.module)), ..lustre_api::WriteQuery::default() }
    }

    fn is_absent(&self) -> bool {
        self.text("state") == Some("absent")
    }
}

/// Every module of this program, by name.
#[must_use]
pub fn all() -> Vec<Module> {
    vec![
        facts::module(),
        filesystem::module(),
        info::module(),
        job::module(),
        job_info::module(),
        mgs_proxy::module(),
        nodemap::module(),
        param::module(),
        param_info::module(),
        param_revert::module(),
        pool::module(),
        target::module(),
    ]
}

/// Waits for `work` on this thread: a module makes a handful of calls, one after the other.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::from(format!("can't start: {error}")))?.block_on(work)
}
