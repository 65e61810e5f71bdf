//! Argument specifications as Ansible knows them, and their check.
//!
//! A module's options are declared once as an [`ArgumentSpec`]. The check ([`ArgumentSpec::validate`]) gives the same
//! values and the same first error, word for word, as `AnsibleModule` of ansible-core 2.19; `tests/argspec_differential.rs`
//! holds it against the real one. The `.py` stubs of the collection are generated from the same declaration.
//!
//! Where it differs, on purpose:
//! * the list of valid booleans at the end of a message is sorted here; Python prints a set, in any order;
//! * integers outside `i64::MIN..=u64::MAX` are refused, Python's have no end;
//! * a dict written as a Python literal (`"{'a': 1}"`) is refused, JSON and `key=value` are taken;
//! * `no_log` values that were given by an alias inside a suboption are scrubbed even if an earlier option is at fault.

mod convert;
mod python;
mod relations;
#[cfg(test)]
mod tests;
mod validate;

use serde_json::Value;

pub use relations::{Relations, RequiredIf};
pub(crate) use validate::flag;
pub use validate::{Rejection, Validated};

/// Type of an option: what Ansible's `type` and `elements` take. Not here: `float`, `json`, `bytes`, `bits`; no option uses them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentType {
    /// Anything, as its `str()`.
    Str,
    /// A string with `$VARIABLES` and `~` expanded.
    Path,
    /// A whole number.
    Int,
    /// yes/no in any of Ansible's spellings.
    Bool,
    /// A list, or a string that is split at commas.
    List,
    /// A mapping, or a string of JSON or `key=value` pairs.
    Dict,
    /// Untouched.
    Raw,
}

impl ArgumentType {
    /// Ansible's name of the type, as in `argument_spec` and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Path => "path",
            Self::Int => "int",
            Self::Bool => "bool",
            Self::List => "list",
            Self::Dict => "dict",
            Self::Raw => "raw",
        }
    }
}

/// One option of a module, with its documentation.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Name in the task.
    pub name: String,
    /// Type of the value.
    pub kind: ArgumentType,
    /// Type of a list's elements; `None` leaves them as they came.
    pub elements: Option<ArgumentType>,
    /// Must be given. Excludes `default`.
    pub required: bool,
    /// Value where the task gives none.
    pub default: Option<Value>,
    /// Legal values; empty = any.
    pub choices: Vec<String>,
    /// Other names of the option.
    pub aliases: Vec<String>,
    /// The value is a secret: scrubbed from all output. `Some(false)` says on purpose that it is none, for names that look like one.
    pub no_log: Option<bool>,
    /// Environment variable that gives the value where the task gives none. Top level only.
    pub env: Option<String>,
    /// Suboptions of a dict, or of each element of a list of dicts.
    pub options: Option<ArgumentSpec>,
    /// Paragraphs of documentation, in Ansible's markup.
    pub description: Vec<String>,
}

impl Argument {
    /// An optional option without default.
    #[must_use]
    pub fn new(name: &str, kind: ArgumentType) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            elements: None,
            required: false,
            default: None,
            choices: Vec::new(),
            aliases: Vec::new(),
            no_log: None,
            env: None,
            options: None,
            description: Vec::new(),
        }
    }

    /// A list of `elements`.
    #[must_use]
    pub fn list(name: &str, elements: ArgumentType) -> Self {
        Self { elements: Some(elements), ..Self::new(name, ArgumentType::List) }
    }

    /// A list of dicts with these suboptions.
    #[must_use]
    pub fn list_of(name: &str, options: ArgumentSpec) -> Self {
        Self { options: Some(options), ..Self::list(name, ArgumentType::Dict) }
    }

    /// Must be given.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Value where the task gives none.
    #[must_use]
    pub fn default(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// Legal values.
    #[must_use]
    pub fn choices<S: Into<String>>(mut self, choices: impl IntoIterator<Item = S>) -> Self {
        self.choices = choices.into_iter().map(Into::into).collect();
        self
    }

    /// One more name of the option.
    #[must_use]
    pub fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    /// The value is a secret.
    #[must_use]
    pub fn secret(mut self) -> Self {
        self.no_log = Some(true);
        self
    }

    /// Environment variable to fall back to.
    #[must_use]
    pub fn env(mut self, variable: &str) -> Self {
        self.env = Some(variable.to_owned());
        self
    }

    /// One more paragraph of documentation.
    #[must_use]
    pub fn doc(mut self, paragraph: &str) -> Self {
        self.description.push(paragraph.to_owned());
        self
    }

    fn is_secret(&self) -> bool {
        self.no_log == Some(true)
    }
}

/// The options of a module, or the suboptions of one option, in their documented order.
#[derive(Clone, Debug, Default)]
pub struct ArgumentSpec {
    /// The options.
    pub arguments: Vec<Argument>,
    /// What must or must not be given together.
    pub relations: Relations,
}

impl ArgumentSpec {
    /// A specification without relations between its options.
    #[must_use]
    pub fn new(arguments: Vec<Argument>) -> Self {
        Self { arguments, relations: Relations::default() }
    }

    /// The same with `relations`.
    #[must_use]
    pub fn with(mut self, relations: Relations) -> Self {
        self.relations = relations;
        self
    }
}
