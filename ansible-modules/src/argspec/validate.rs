//! The check of a task's options, in the order of `ArgumentSpecValidator.validate` of ansible-core 2.19.
//!
//! Ansible gathers all errors and shows the first; here the first one ends the check. Unsupported options are the
//! exception: they are reported only when nothing else is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::convert::{boolean, convert, dict, unambiguous_choice};
use super::python::{self, type_name};
use super::{Argument, ArgumentSpec, ArgumentType};

/// Options that passed the check: converted, with every option of the specification present (null where not given).
#[derive(Debug)]
pub struct Validated {
    /// The values, by name; aliases stay beside them, as they do in Python.
    pub params: Map<String, Value>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// Texts that must not appear in any output.
    pub secrets: BTreeSet<String>,
}

/// Why options were refused.
#[derive(Debug)]
pub struct Rejection {
    /// The message, in Ansible's words.
    pub message: String,
    /// Texts that must not appear in any output; the message may hold one.
    pub secrets: BTreeSet<String>,
}

impl ArgumentSpec {
    /// Checks and converts the options of a call of `module` (its name as the task has it).
    ///
    /// `ignore_unknown` is `_ansible_ignore_unknown_opts`.
    pub fn validate(
        &self,
        module: &str,
        mut params: Map<String, Value>,
        ignore_unknown: bool,
    ) -> Result<Validated, Rejection> {
        for argument in &self.arguments {
            if let Some(value) = argument.env.as_deref().and_then(|name| std::env::var(name).ok())
                && !params.contains_key(&argument.name)
            {
                params.insert(argument.name.clone(), Value::String(value));
            }
        }
        let mut secrets = BTreeSet::new();
        self.gather_secrets(&params, &mut secrets);
        let mut check = Check::default();
        let outcome =
            check.aliases(self, &mut params, "").and_then(|()| check.level(self, &mut params, "")).and_then(|()| {
                match check.unsupported_message(module) {
                    Some(message) if !ignore_unknown => Err(message),
                    _ => Ok(()),
                }
            });
        match outcome {
            Ok(()) => Ok(Validated { params, warnings: check.warnings, secrets }),
            Err(message) => Err(Rejection { message, secrets }),
        }
    }

    fn gather_secrets(&self, params: &Map<String, Value>, secrets: &mut BTreeSet<String>) {
        for argument in &self.arguments {
            if argument.is_secret() && !params.contains_key(&argument.name) {
                argument.default.iter().for_each(|value| texts_of(value, secrets));
            }
            for name in std::iter::once(&argument.name).chain(&argument.aliases) {
                let Some(value) = params.get(name) else { continue };
                if argument.is_secret() {
                    texts_of(value, secrets);
                }
                let Some(options) = &argument.options else { continue };
                let elements = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                for element in elements {
                    if let Ok(sub) = dict(element.clone()) {
                        options.gather_secrets(&sub, secrets);
                    }
                }
            }
        }
    }

    /// Core looks for secrets in suboptions before anything else, and reports there what it can't look into.
    fn check_secrets_can_be_gathered(&self, params: &Map<String, Value>) -> Result<(), String> {
        for argument in &self.arguments {
            let Some(options) = &argument.options else { continue };
            let value = match params.get(&argument.name) {
                None | Some(Value::Null) => continue,
                Some(value) => value,
            };
            for element in value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice) {
                let sub = match element {
                    Value::String(_) => &dict(element.clone())?,
                    Value::Object(map) => map,
                    other => {
                        return Err(format!(
                            "Value '{}' in the sub parameter field '{}' must be a {}, not '{}'",
                            python::str(other),
                            argument.name,
                            argument.kind.name(),
                            type_name(other)
                        ));
                    }
                };
                options.check_secrets_can_be_gathered(sub)?;
            }
        }
        Ok(())
    }

    fn fill_defaults(&self, params: &mut Map<String, Value>, also_null: bool) {
        for argument in &self.arguments {
            if !params.contains_key(&argument.name) && (argument.default.is_some() || also_null) {
                params.insert(argument.name.clone(), argument.default.clone().unwrap_or(Value::Null));
            }
        }
    }
}

/// Appends where in the suboptions something is wrong.
pub(super) fn found_in(message: String, context: &[String]) -> String {
    if context.is_empty() { message } else { format!("{message} found in {}", context.join(" -> ")) }
}

fn texts_of(value: &Value, texts: &mut BTreeSet<String>) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::String(s) if s.is_empty() => {}
        Value::String(_) | Value::Number(_) => {
            texts.insert(python::str(value));
        }
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, texts)),
        Value::Object(map) => map.values().for_each(|item| texts_of(item, texts)),
    }
}

#[derive(Default)]
struct Check {
    /// Names of the options that lead to the level at hand.
    context: Vec<String>,
    warnings: Vec<String>,
    /// Dotted name of an unsupported option -> what its level supports: names and aliases.
    unsupported: BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>,
}

impl Check {
    /// Resolves the aliases of one level.
    fn aliases(&mut self, spec: &ArgumentSpec, params: &mut Map<String, Value>, prefix: &str) -> Result<(), String> {
        for argument in &spec.arguments {
            let name = &argument.name;
            if argument.required && argument.default.is_some() {
                return Err(format!("internal error: required and default are mutually exclusive for {name}"));
            }
            for alias in &argument.aliases {
                let Some(value) = params.get(alias).cloned() else { continue };
                if params.insert(name.clone(), value).is_some() {
                    self.warnings.push(format!("Both option {prefix}{name} and its alias {prefix}{alias} are set."));
                }
            }
        }
        spec.check_secrets_can_be_gathered(params)
    }

    /// Checks one level, whose aliases are resolved, and the levels below it.
    fn level(&mut self, spec: &ArgumentSpec, params: &mut Map<String, Value>, prefix: &str) -> Result<(), String> {
        self.note_unsupported(spec, params);
        spec.relations.check_exclusive(params, &self.context)?;
        spec.fill_defaults(params, false);
        self.required(spec, params)?;
        for argument in &spec.arguments {
            self.types(argument, params)?;
        }
        for argument in &spec.arguments {
            self.values(argument, params)?;
        }
        spec.relations.check_required(params, &self.context)?;
        spec.fill_defaults(params, true);
        for argument in &spec.arguments {
            self.suboptions(argument, params, prefix)?;
        }
        Ok(())
    }

    fn note_unsupported(&mut self, spec: &ArgumentSpec, params: &Map<String, Value>) {
        let aliases: BTreeSet<String> = spec.arguments.iter().flat_map(|a| &a.aliases).cloned().collect();
        let names: BTreeSet<String> = spec.arguments.iter().map(|a| a.name.clone()).collect();
        for key in params.keys().filter(|key| !names.contains(*key) && !aliases.contains(*key)) {
            let mut path = self.context.clone();
            path.push(key.clone());
            self.unsupported.insert(path.join("."), (&names - &aliases, aliases.clone()));
        }
    }

    fn unsupported_message(&self, module: &str) -> Option<String> {
        let (names, aliases) = self.unsupported.last_key_value()?.1;
        let join = |set: &BTreeSet<String>| set.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let unsupported = self.unsupported.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let mut supported = join(names);
        if !aliases.is_empty() {
            supported += &format!(" ({})", join(aliases));
        }
        Some(format!(
            "Unsupported parameters for ({module}) module: {unsupported}. Supported parameters include: {supported}."
        ))
    }

    fn required(&self, spec: &ArgumentSpec, params: &Map<String, Value>) -> Result<(), String> {
        let missing: BTreeSet<_> = spec
            .arguments
            .iter()
            .filter(|a| a.required && !params.contains_key(&a.name))
            .map(|a| a.name.as_str())
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let names = missing.into_iter().collect::<Vec<_>>().join(", ");
        Err(found_in(format!("missing required arguments: {names}"), &self.context))
    }

    fn types(&self, argument: &Argument, params: &mut Map<String, Value>) -> Result<(), String> {
        let Some(slot) = params.get_mut(&argument.name) else { return Ok(()) };
        if slot.is_null() && !argument.required && argument.default.is_none() {
            return Ok(());
        }
        let value = slot.take();
        let given_as = type_name(&value);
        let mut converted = convert(argument.kind, value).map_err(|cause| {
            let place = if self.context.is_empty() {
                String::new()
            } else {
                format!(" found in '{}'.", self.context.join(" -> "))
            };
            let (name, kind) = (&argument.name, argument.kind.name());
            format!("argument '{name}' is of type {given_as}{place} and we were unable to convert to {kind}: {cause}")
        })?;
        if let (Some(kind), Value::Array(items)) = (argument.elements, &mut converted) {
            for item in items.iter_mut() {
                *item = self.element(argument, kind, item.take())?;
            }
        }
        *slot = converted;
        Ok(())
    }

    fn element(&self, argument: &Argument, kind: ArgumentType, item: Value) -> Result<Value, String> {
        let given_as = type_name(&item);
        convert(kind, item).map_err(|cause| {
            let place =
                if self.context.is_empty() { String::new() } else { format!(" found in '{}'", self.context.join(" -> ")) };
            let (name, kind) = (&argument.name, kind.name());
            format!("Elements value for option '{name}'{place} is of type {given_as} and we were unable to convert to {kind}: {cause}")
        })
    }

    fn values(&self, argument: &Argument, params: &mut Map<String, Value>) -> Result<(), String> {
        let choices = &argument.choices;
        let Some(value) = params.get_mut(&argument.name).filter(|_| !choices.is_empty()) else { return Ok(()) };
        let is_choice = |v: &Value| v.as_str().is_some_and(|s| choices.iter().any(|c| c == s));
        if let Value::Array(items) = value {
            let strangers: Vec<_> = items.iter().filter(|item| !is_choice(item)).map(python::str).collect();
            if strangers.is_empty() {
                return Ok(());
            }
            let text = format!(
                "value of {} must be one or more of: {}. Got no match for: {}",
                argument.name,
                choices.join(", "),
                strangers.join(", ")
            );
            return Err(found_in(text, &self.context));
        }
        if is_choice(value) {
            return Ok(());
        }
        if let Some(choice) = value.as_str().and_then(|s| unambiguous_choice(s, choices)) {
            *value = Value::from(choice);
            return Ok(());
        }
        let text =
            format!("value of {} must be one of: {}, got: {}", argument.name, choices.join(", "), python::str(value));
        Err(found_in(text, &self.context))
    }

    fn suboptions(&mut self, argument: &Argument, params: &mut Map<String, Value>, prefix: &str) -> Result<(), String> {
        let (Some(options), Some(value)) = (&argument.options, params.get_mut(&argument.name)) else { return Ok(()) };
        if value.is_null() {
            return Ok(());
        }
        let is_list = value.is_array();
        let elements = match value {
            Value::Array(items) => items.as_mut_slice(),
            single => std::slice::from_mut(single),
        };
        self.context.push(argument.name.clone());
        for (index, element) in elements.iter_mut().enumerate() {
            let Value::Object(sub) = element else {
                return Err(format!("value of '{}' must be of type dict or list of dicts", argument.name));
            };
            let position = if is_list { format!("[{index}]") } else { String::new() };
            let prefix = format!("{prefix}{}{position}.", argument.name);
            self.aliases(options, sub, &prefix)?;
            self.level(options, sub, &prefix)?;
        }
        self.context.pop();
        Ok(())
    }
}

/// The value of an `_ansible_*` flag; false where it is missing.
pub(crate) fn flag(params: &Map<String, Value>, name: &str) -> Result<bool, String> {
    params.get(name).map_or(Ok(false), |value| boolean(value).map_err(|cause| format!("{name}: {cause}")))
}
