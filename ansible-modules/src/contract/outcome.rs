//! What a module returns.

use std::fmt::Display;

use serde_json::{Map, Value, json};

use super::{Secrets, scrub};

/// A module's result that is not a failure.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Something is different now, or would be without check mode.
    pub changed: bool,
    /// What RETURN of the module's documentation lists.
    pub values: Map<String, Value>,
    /// Shown by Ansible in any case.
    pub warnings: Vec<String>,
    /// Before and after, where the task asked for it and something differs: Ansible's `diff`.
    pub diff: Vec<Value>,
}

/// A module's failure.
#[derive(Debug, Default)]
pub struct Failure {
    /// What happened, to which object, and what to do.
    pub message: String,
    /// More for programs: `code`, `request_id`, ...
    pub values: Map<String, Value>,
}

impl<E: Display> From<E> for Failure {
    fn from(error: E) -> Self {
        // `{:#}` prints the chain of causes where the error has one to print.
        Self { message: format!("{error:#}"), values: Map::new() }
    }
}

/// The line to print, without its end, and whether it says `failed`.
pub(crate) fn line(
    result: Result<Outcome, Failure>,
    params: &Map<String, Value>,
    mut warnings: Vec<String>,
    secrets: &Secrets,
) -> (String, bool) {
    let failed = result.is_err();
    let mut map = Map::new();
    match result {
        Ok(outcome) => {
            map.insert("changed".to_owned(), outcome.changed.into());
            map.extend(outcome.values);
            warnings.extend(outcome.warnings);
            if !outcome.diff.is_empty() {
                map.insert("diff".to_owned(), outcome.diff.into());
            }
        }
        Err(failure) => {
            map.insert("failed".to_owned(), true.into());
            map.insert("changed".to_owned(), false.into());
            map.insert("msg".to_owned(), failure.message.into());
            map.extend(failure.values);
        }
    }
    if !warnings.is_empty() {
        map.insert("warnings".to_owned(), warnings.into());
    }
    map.insert("invocation".to_owned(), json!({ "module_args": params }));
    let mut value = Value::Object(map);
    scrub(&mut value, secrets);
    // No newline can be in it: serde_json escapes them.
    (value.to_string(), failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_without_the_secret() {
        let params = json!({"token": "hunter2"});
        let secrets = ["hunter2".to_owned()].into();
        let failure = Err(Failure::from("no entry\nfor hunter2"));
        let (line, failed) = line(failure, params.as_object().unwrap(), vec![], &secrets);
        assert!(failed);
        assert_eq!(
            line,
            r#"{"failed":true,"changed":false,"msg":"no entry\nfor ********","invocation":{"module_args":{"token":"VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}}}"#
        );
    }
}
