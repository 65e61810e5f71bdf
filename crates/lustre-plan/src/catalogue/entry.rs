//! A line of the catalogue. Its columns are described at the top of `tunables.txt`.

use lustre_api::param::{CatalogueEntry, ValueType};
use lustre_types::{ByteSize, LustreVersion};

use crate::value::grammar::Grammar;

/// A tunable: what others are told of it, and how its values are read.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) entry: CatalogueEntry,
    pub(crate) kind: Kind,
    /// Words that it takes besides what its kind says.
    pub(crate) words: Vec<String>,
    /// Whether it takes a percentage besides what its kind says.
    pub(crate) takes_percent: bool,
    /// How releases before this one take it, where that is otherwise.
    pub(crate) before: Option<(LustreVersion, Box<Known>)>,
}

/// How a value is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `field`: nodes print it in a line of that name.
    Bool {
        field: Option<String>,
    },
    Int {
        step: Step,
        is_percent: bool,
        per_queue: bool,
    },
    /// `bare`: the bytes that a number without suffix counts.
    Size {
        bare: u64,
        step: Step,
    },
    Pages,
    Millis,
    /// Each word with its aliases.
    Enum(Vec<Vec<String>>),
    List {
        separator: char,
        of: Vec<String>,
    },
    Text(Grammar),
    Command(Grammar),
}

/// Values in between that are not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Any,
    Multiple(u64),
    PowerOfTwo,
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line:?}: {what}")]
pub(crate) struct LineError {
    line: String,
    what: String,
}

/// Reads a line. Errors: a column that is missing, or that is not as `tunables.txt` describes it.
pub(crate) fn parse(line: &str) -> Result<Known, LineError> {
    read(line).map_err(|what| LineError { line: line.to_owned(), what })
}

fn read(line: &str) -> Result<Known, String> {
    let columns: Vec<&str> = line.split(" | ").collect();
    let [name, nodes, value, default, versions, set_by, effective, note] = columns[..] else {
        return Err(format!("{} columns instead of 8", columns.len()));
    };
    let given = |text: &str| (text != "-").then(|| text.to_owned());
    let nodes: Vec<String> = nodes.split(' ').map(str::to_owned).collect();
    if let Some(odd) = nodes.iter().find(|node| !["client", "mds", "oss", "mgs", "all"].contains(&node.as_str())) {
        return Err(format!("{odd:?} is no kind of node"));
    }
    let (value, older) = match value.split_once(" before ") {
        Some((value, older)) => (value, Some(older.split_once(' ').ok_or("a release before which there is no value")?)),
        None => (value, None),
    };
    let value = Value::read(value)?;
    let computed = default.strip_prefix("~ ");
    let (since, until) = versions.split_once("..").ok_or("versions have no \"..\"")?;
    let version = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let entry = CatalogueEntry {
        name: name.to_owned(),
        nodes,
        value_type: value.value_type(),
        min: value.min,
        max: value.max,
        unit: value.unit.clone(),
        values: value.shown_words(),
        grammar: value.grammar(),
        default: if computed.is_some() { None } else { given(default) },
        default_note: computed.map(str::to_owned),
        since: version(since),
        until: version(until),
        set_by: word(set_by)?,
        effective: word(effective)?,
        description: given(note),
    };
    let before = match older {
        Some((release, older)) => {
            let release = release.parse().map_err(|_| format!("{release:?} is no release"))?;
            let older = Value::read(older)?;
            let entry = CatalogueEntry { min: older.min, max: older.max, ..entry.clone() };
            Some((release, Box::new(older.known(entry, None))))
        }
        None => None,
    };
    Ok(value.known(entry, before))
}

/// A word as serde knows it.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|_| format!("{text:?} is not one of the words of its column"))
}

/// The value's column.
struct Value {
    kind: Kind,
    min: Option<i64>,
    max: Option<i64>,
    unit: Option<String>,
    words: Vec<String>,
    takes_percent: bool,
}

impl Value {
    fn known(self, entry: CatalogueEntry, before: Option<(LustreVersion, Box<Known>)>) -> Known {
        Known { entry, kind: self.kind, words: self.words, takes_percent: self.takes_percent, before }
    }

    fn read(text: &str) -> Result<Self, String> {
        let (main, also) = text.split_once(" or ").map_or((text, ""), |(main, also)| (main, also));
        let mut also: Vec<String> = also.split_whitespace().map(str::to_owned).collect();
        let takes_percent = also.iter().any(|word| word == "percent");
        also.retain(|word| word != "percent");
        let mut parts = main.split(' ');
        let type_name = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        let mut value = Self { kind: Kind::Pages, min: None, max: None, unit: None, words: also, takes_percent };
        value.kind = match type_name {
            "bool" => Kind::Bool { field: field(&rest)? },
            "int" => value.int(&rest)?,
            "size" => value.size(&rest)?,
            "pages" => {
                value.unit = Some("pages".to_owned());
                value.limits(rest.first().copied())?;
                Kind::Pages
            }
            "time" if rest == ["ms"] => {
                value.unit = Some("ms".to_owned());
                Kind::Millis
            }
            "enum" if !rest.is_empty() => {
                Kind::Enum(rest.iter().map(|word| word.split('=').map(str::to_owned).collect()).collect())
            }
            "list" => list(&rest)?,
            "text" => Kind::Text(Grammar::named(rest.first().copied().unwrap_or_default())?),
            "command" => Kind::Command(Grammar::of_command(rest.first().copied().unwrap_or_default())),
            _ => return Err(format!("{text:?} is no value")),
        };
        Ok(value)
    }

    fn int(&mut self, rest: &[&str]) -> Result<Kind, String> {
        let mut step = Step::Any;
        let mut per_queue = false;
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match *word {
                "s" | "ms" | "%" | "MiB" | "bytes" => self.unit = Some((*word).to_owned()),
                "power_of_two" => step = Step::PowerOfTwo,
                "per" if rest.next() == Some(&"queue") => per_queue = true,
                limits => self.limits(Some(limits))?,
            }
        }
        Ok(Kind::Int { step, is_percent: self.unit.as_deref() == Some("%"), per_queue })
    }

    fn size(&mut self, rest: &[&str]) -> Result<Kind, String> {
        let mut step = Step::Any;
        let mut unit = "bytes";
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match *word {
                "power_of_two" => step = Step::PowerOfTwo,
                "multiple" => step = Step::Multiple(bytes(rest.next().copied().unwrap_or_default())?),
                "per" => unit = rest.next().copied().unwrap_or_default(),
                limits => self.limits(Some(limits))?,
            }
        }
        let bare = match unit {
            "bytes" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            _ => return Err(format!("{unit:?} is no unit of a size")),
        };
        self.unit = Some(unit.to_owned());
        Ok(Kind::Size { bare, step })
    }

    /// `LOW..HIGH`, each of which may be missing.
    fn limits(&mut self, text: Option<&str>) -> Result<(), String> {
        let Some(text) = text else { return Ok(()) };
        let (low, high) = text.split_once("..").ok_or_else(|| format!("{text:?} is no range"))?;
        let limit = |text: &str| -> Result<Option<i64>, String> {
            match text {
                "" => Ok(None),
                text if text.starts_with('-') => text.parse().map(Some).map_err(|_| format!("{text:?} is no limit")),
                // As the file's other numbers: octal modes keep their leading 0.
                text if text.len() > 1 && text.starts_with('0') => {
                    i64::from_str_radix(text, 8).map(Some).map_err(|_| format!("{text:?} is no limit"))
                }
                text => i64::try_from(bytes(text)?).map(Some).map_err(|_| format!("{text:?} is too large")),
            }
        };
        (self.min, self.max) = (limit(low)?, limit(high)?);
        Ok(())
    }

    fn value_type(&self) -> ValueType {
        match &self.kind {
            Kind::Bool { .. } => ValueType::Bool,
            Kind::Int { .. } | Kind::Millis => ValueType::Int,
            Kind::Size { .. } | Kind::Pages => ValueType::Size,
            Kind::Enum(_) => ValueType::Enum,
            Kind::List { .. } => ValueType::List,
            Kind::Text(_) => ValueType::Text,
            Kind::Command(_) => ValueType::Command,
        }
    }

    fn shown_words(&self) -> Vec<String> {
        let own: Vec<String> = match &self.kind {
            Kind::Enum(words) => words.iter().filter_map(|word| word.first()).cloned().collect(),
            Kind::List { of, .. } => of.clone(),
            _ => Vec::new(),
        };
        own.into_iter().chain(self.words.iter().cloned()).collect()
    }

    fn grammar(&self) -> Option<String> {
        match &self.kind {
            Kind::Text(grammar) | Kind::Command(grammar) => grammar.name(),
            _ => None,
        }
    }
}

fn field(rest: &[&str]) -> Result<Option<String>, String> {
    match rest {
        [] => Ok(None),
        ["field", name] => Ok(Some((*name).to_owned())),
        _ => Err("behind bool there is only \"field NAME\"".to_owned()),
    }
}

fn list(rest: &[&str]) -> Result<Kind, String> {
    let separator = match rest.first() {
        Some(&"space") => ' ',
        Some(text) if text.chars().count() == 1 => text.chars().next().unwrap_or(','),
        _ => return Err("a list needs a separator".to_owned()),
    };
    let of = match rest.get(1) {
        None => Vec::new(),
        Some(&"of") => rest[2..].iter().map(|word| (*word).to_owned()).collect(),
        Some(odd) => return Err(format!("{odd:?} behind the separator of a list")),
    };
    Ok(Kind::List { separator, of })
}

fn bytes(text: &str) -> Result<u64, String> {
    text.parse::<ByteSize>().map(|size| size.0).map_err(|err| err.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::param::{Effective, SetBy};

    #[test]
    fn a_line_says_what_is_wrong_with_it() {
        for (line, expected) in [
            ("a | all | bool", "3 columns"),
            ("a | moon | bool | - | 2.12.. | any | live | -", "no kind of node"),
            ("a | all | float | - | 2.12.. | any | live | -", "no value"),
            ("a | all | int 1-5 | - | 2.12.. | any | live | -", "no range"),
            ("a | all | size per MB | - | 2.12.. | any | live | -", "no unit of a size"),
            ("a | all | text poem | - | 2.12.. | any | live | -", "poem"),
            ("a | all | list | - | 2.12.. | any | live | -", "separator"),
            ("a | all | bool | - | 2.12 | any | live | -", "versions"),
            ("a | all | bool | - | 2.12.. | god | live | -", "words of its column"),
            ("a | all | int 0..5 before | - | 2.12.. | any | live | -", "no range"),
            ("a | all | int 0..5 before now int | - | 2.12.. | any | live | -", "no release"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_column_is_read() {
        let line = "x.*.y | client mds | size 64K..1G per MiB multiple 64K or percent auto | ~ half | 2.14..2.16 | temporary | new_mounts | a note";
        let known = parse(line).unwrap();
        assert_eq!(known.kind, Kind::Size { bare: 1 << 20, step: Step::Multiple(65536) });
        assert_eq!((known.entry.min, known.entry.max), (Some(65536), Some(1 << 30)));
        assert!(known.takes_percent && known.words == ["auto"]);
        assert_eq!(known.entry.default_note.as_deref(), Some("half"));
        assert_eq!((known.entry.since.as_deref(), known.entry.until.as_deref()), (Some("2.14"), Some("2.16")));
        assert_eq!((known.entry.set_by, known.entry.effective), (SetBy::Temporary, Effective::NewMounts));
    }
}
