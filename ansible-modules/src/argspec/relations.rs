//! What must or must not be given together: `mutually_exclusive`, `required_together`, `required_one_of`, `required_if`, `required_by`.
//!
//! An option counts as given when its key is there: an explicit null counts, as in Ansible.

use serde_json::{Map, Value};

use super::python;
use super::validate::found_in;

/// Relations between the options of one level.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    /// Of each group at most one may be given.
    pub mutually_exclusive: Vec<Vec<String>>,
    /// Of each group all or none must be given.
    pub required_together: Vec<Vec<String>>,
    /// Of each group at least one must be given.
    pub required_one_of: Vec<Vec<String>>,
    /// What a value of one option requires.
    pub required_if: Vec<RequiredIf>,
    /// What an option requires that is given and not null.
    pub required_by: Vec<(String, Vec<String>)>,
}

/// If `parameter` is `value`, then `requires` must be given.
#[derive(Clone, Debug)]
pub struct RequiredIf {
    /// The option that decides.
    pub parameter: String,
    /// The value that makes the requirement.
    pub value: Value,
    /// What must be given then.
    pub requires: Vec<String>,
    /// One of them is enough.
    pub any: bool,
}

type Params = Map<String, Value>;

impl Relations {
    pub(super) fn check_exclusive(&self, params: &Params, context: &[String]) -> Result<(), String> {
        let broken: Vec<_> = self
            .mutually_exclusive
            .iter()
            .filter(|group| group.iter().filter(|name| params.contains_key(*name)).count() > 1)
            .map(|group| group.join("|"))
            .collect();
        if broken.is_empty() {
            return Ok(());
        }
        Err(found_in(format!("parameters are mutually exclusive: {}", broken.join(", ")), context))
    }

    /// The other four, in Ansible's order.
    pub(super) fn check_required(&self, params: &Params, context: &[String]) -> Result<(), String> {
        let given = |name: &String| params.contains_key(name);
        for group in &self.required_together {
            if group.iter().any(given) && !group.iter().all(given) {
                return Err(found_in(format!("parameters are required together: {}", group.join(", ")), context));
            }
        }
        for group in &self.required_one_of {
            if !group.iter().any(given) {
                return Err(found_in(format!("one of the following is required: {}", group.join(", ")), context));
            }
        }
        for rule in &self.required_if {
            rule.check(params, context)?;
        }
        for (option, requires) in &self.required_by {
            let set = |name: &String| params.get(name).is_some_and(|value| !value.is_null());
            let missing: Vec<_> = requires.iter().filter(|name| !set(name)).map(String::as_str).collect();
            if set(option) && !missing.is_empty() {
                let text = format!("missing parameter(s) required by '{option}': {}", missing.join(", "));
                return Err(found_in(text, context));
            }
        }
        Ok(())
    }
}

impl RequiredIf {
    fn check(&self, params: &Params, context: &[String]) -> Result<(), String> {
        if params.get(&self.parameter) != Some(&self.value) {
            return Ok(());
        }
        let missing: Vec<_> =
            self.requires.iter().filter(|name| !params.contains_key(*name)).map(String::as_str).collect();
        if missing.is_empty() || self.any && missing.len() < self.requires.len() {
            return Ok(());
        }
        let text = format!(
            "{} is {} but {} of the following are missing: {}",
            self.parameter,
            python::str(&self.value),
            if self.any { "any" } else { "all" },
            missing.join(", ")
        );
        Err(found_in(text, context))
    }
}
