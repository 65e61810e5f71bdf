//! An [`ArgumentSpec`] as the keyword arguments of Python's `AnsibleModule`.

use serde_json::{Map, Value, json};

use crate::argspec::{Argument, ArgumentSpec};

/// Name of the function that a `fallback` calls; a bare name in Python, not a string.
pub(super) const ENV_FALLBACK: &str = "env_fallback";

/// `{"argument_spec": {...}, "mutually_exclusive": [...], ...}`, without what is empty.
#[must_use]
pub fn keyword_arguments(spec: &ArgumentSpec) -> Map<String, Value> {
    let mut out = Map::new();
    out.insert("argument_spec".to_owned(), arguments(spec));
    out.extend(relations(spec));
    out
}

fn arguments(spec: &ArgumentSpec) -> Value {
    Value::Object(spec.arguments.iter().map(|a| (a.name.clone(), Value::Object(argument(a)))).collect())
}

pub(super) fn argument(argument: &Argument) -> Map<String, Value> {
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| out.insert(key.to_owned(), value);
    put("type", argument.kind.name().into());
    if let Some(elements) = argument.elements {
        put("elements", elements.name().into());
    }
    if argument.required {
        put("required", true.into());
    }
    if let Some(default) = &argument.default {
        put("default", default.clone());
    }
    if !argument.choices.is_empty() {
        put("choices", json!(argument.choices));
    }
    if !argument.aliases.is_empty() {
        put("aliases", json!(argument.aliases));
    }
    if let Some(no_log) = argument.no_log {
        put("no_log", no_log.into());
    }
    if let Some(env) = &argument.env {
        put("fallback", json!([ENV_FALLBACK, [env]]));
    }
    if let Some(options) = &argument.options {
        put("options", arguments(options));
        out.extend(relations(options));
    }
    out
}

fn relations(spec: &ArgumentSpec) -> Map<String, Value> {
    let r = &spec.relations;
    let mut out = Map::new();
    let mut put = |key: &str, value: Value| {
        if value != json!([]) && value != json!({}) {
            out.insert(key.to_owned(), value);
        }
    };
    put("mutually_exclusive", json!(r.mutually_exclusive));
    put("required_together", json!(r.required_together));
    put("required_one_of", json!(r.required_one_of));
    let rules = r.required_if.iter().map(|rule| match rule.any {
        true => json!([rule.parameter, rule.value, rule.requires, true]),
        false => json!([rule.parameter, rule.value, rule.requires]),
    });
    put("required_if", rules.collect());
    put("required_by", r.required_by.iter().map(|(option, requires)| (option.clone(), json!(requires))).collect());
    out
}
