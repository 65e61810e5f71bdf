//! What a task asks for: the module, its options, and what core says about the run.

use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::argspec::flag;

/// Largest input that is read. A play's biggest realistic task, 10,000 targets with all options, has 5 MB.
const INPUT_LIMIT_BYTES: u64 = 64 << 20;

/// A call of one module.
#[derive(Debug)]
pub struct Invocation {
    /// Name as the task has it: `chandelier.lustre.lustre_param`, or without the collection.
    pub module: String,
    /// The task's options, unchecked.
    pub params: Map<String, Value>,
    /// What core adds.
    pub internals: Internals,
}

/// The `_ansible_*` keys that matter here. Unknown ones are ignored: each core version adds some.
#[derive(Debug, Default, Clone, Copy)]
pub struct Internals {
    /// Say what would change, and change nothing.
    pub check_mode: bool,
    /// Return `diff`.
    pub diff: bool,
    /// Ignore options that the module doesn't have.
    pub ignore_unknown: bool,
    /// Number of `-v`.
    pub verbosity: u64,
}

/// Why there is no call to serve.
#[derive(Debug, Error)]
pub enum InvocationError {
    /// Called by hand without input.
    #[error(
        "this program is called by Ansible with the path of a JSON file, or `-` and the JSON on standard input; it holds the modules {modules}"
    )]
    Usage {
        /// The modules of this program.
        modules: String,
    },
    /// The input could not be read.
    #[error("can't read the arguments from {from}: {source}")]
    Read {
        /// File, or `standard input`.
        from: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The input is longer than any task.
    #[error("the arguments from {from} are longer than {INPUT_LIMIT_BYTES} bytes")]
    TooLong {
        /// File, or `standard input`.
        from: String,
    },
    /// The input is not a JSON object. The text is not repeated: it may hold secrets.
    #[error("the arguments from {from} are not a JSON object (line {line}, column {column})")]
    NotJson {
        /// File, or `standard input`.
        from: String,
        /// Line of the fault, 0 if it is JSON but no object.
        line: usize,
        /// Column of the fault.
        column: usize,
    },
    /// An `_ansible_*` flag has no truth value.
    #[error("{0}")]
    Flag(String),
}

impl Invocation {
    /// Reads the call from the program's arguments. `modules` names what this program holds, for the usage message.
    pub fn from_args(mut args: impl Iterator<Item = String>, modules: &str) -> Result<Self, InvocationError> {
        let program = args.next().unwrap_or_default();
        let (Some(source), None) = (args.next(), args.next()) else {
            return Err(InvocationError::Usage { modules: modules.to_owned() });
        };
        Self::parse(&read_source(&source)?, &named(&source), &program)
    }

    fn parse(text: &[u8], from: &str, program: &str) -> Result<Self, InvocationError> {
        let not_json = |line, column| InvocationError::NotJson { from: from.to_owned(), line, column };
        match serde_json::from_slice(text) {
            Ok(Value::Object(mut map)) => {
                // The form that Python modules get, and that people have in their notes for a call by hand.
                if let Some(Value::Object(inner)) = map.remove("ANSIBLE_MODULE_ARGS") {
                    map = inner;
                }
                Self::from_map(map, program)
            }
            Ok(_) => Err(not_json(0, 0)),
            Err(error) => Err(not_json(error.line(), error.column())),
        }
    }

    fn from_map(map: Map<String, Value>, program: &str) -> Result<Self, InvocationError> {
        let (internal, params): (Map<_, _>, Map<_, _>) =
            map.into_iter().partition(|(key, _)| key.starts_with("_ansible_"));
        let truth = |name| flag(&internal, name).map_err(InvocationError::Flag);
        let module = internal.get("_ansible_module_name").and_then(Value::as_str);
        Ok(Self {
            module: module.map_or_else(|| name_of_program(program), str::to_owned),
            internals: Internals {
                check_mode: truth("_ansible_check_mode")?,
                diff: truth("_ansible_diff")?,
                ignore_unknown: truth("_ansible_ignore_unknown_opts")?,
                verbosity: internal.get("_ansible_verbosity").and_then(Value::as_u64).unwrap_or(0),
            },
            params,
        })
    }

    /// The module's name without its collection.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.module.rsplit('.').next().unwrap_or(&self.module)
    }
}

/// The arguments as they come: from a file, or from standard input as `-`. Errors: not to be read, or longer than any task.
pub(super) fn read_source(source: &str) -> Result<Vec<u8>, InvocationError> {
    let failed = |error| InvocationError::Read { from: named(source), source: error };
    let mut text = Vec::new();
    let read = if source == "-" {
        std::io::stdin().lock().take(INPUT_LIMIT_BYTES + 1).read_to_end(&mut text)
    } else {
        std::fs::File::open(source).and_then(|file| file.take(INPUT_LIMIT_BYTES + 1).read_to_end(&mut text))
    };
    read.map_err(failed)?;
    if text.len() as u64 > INPUT_LIMIT_BYTES {
        return Err(InvocationError::TooLong { from: named(source) });
    }
    Ok(text)
}

/// A source of arguments in messages.
fn named(source: &str) -> String {
    if source == "-" { "standard input".to_owned() } else { source.to_owned() }
}

/// The module that a program file is named for: core uploads `lustre_param.x86_64` as `AnsiballZ_lustre_param.x86_64`.
fn name_of_program(program: &str) -> String {
    let name = Path::new(program).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let name = name.strip_prefix("AnsiballZ_").unwrap_or(&name);
    name.split('.').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Invocation, InvocationError> {
        Invocation::parse(text.as_bytes(), "args", "/tmp/AnsiballZ_lustre_pool.x86_64")
    }

    #[test]
    fn module_name_of_the_task_wins_over_the_program() {
        let call = read(r#"{"_ansible_module_name": "chandelier.lustre.lustre_param", "fsname": "demo"}"#).unwrap();
        assert_eq!((call.module.as_str(), call.short_name()), ("chandelier.lustre.lustre_param", "lustre_param"));
        assert_eq!(read("{}").unwrap().short_name(), "lustre_pool");
    }

    #[test]
    fn flags_take_ansibles_spellings_and_unknown_internals_are_ignored() {
        let call =
            read(r#"{"_ansible_check_mode": "yes", "_ansible_diff": true, "_ansible_of_2030": {}, "a": 1}"#).unwrap();
        assert!(call.internals.check_mode && call.internals.diff);
        assert_eq!(call.params.keys().collect::<Vec<_>>(), ["a"]);
        assert!(matches!(read(r#"{"_ansible_diff": "perhaps"}"#), Err(InvocationError::Flag(_))));
    }

    #[test]
    fn input_of_a_python_module_is_understood() {
        let call = read(r#"{"ANSIBLE_MODULE_ARGS": {"name": "flash", "_ansible_verbosity": 3}}"#).unwrap();
        assert_eq!((call.params["name"].as_str(), call.internals.verbosity), (Some("flash"), 3));
    }

    #[test]
    fn broken_input_is_refused_without_repeating_it() {
        let message = read(r#"{"token": "hunter2", "#).unwrap_err().to_string();
        assert_eq!(message, "the arguments from args are not a JSON object (line 1, column 21)");
        assert!(matches!(read("[1]"), Err(InvocationError::NotJson { line: 0, .. })));
        assert!(matches!(read(&"[".repeat(1_000_000)), Err(InvocationError::NotJson { .. })));
    }
}
