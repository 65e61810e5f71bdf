//! What is known of tunables: names, types, ranges.

use std::sync::LazyLock;

use lustre_api::param::{CatalogueEntry, ParamSpec, ValueType};

use crate::value;

static ENTRIES: LazyLock<Vec<CatalogueEntry>> =
    LazyLock::new(|| include_str!("catalogue.txt").lines().filter(|line| !line.starts_with('#')).map(entry).collect());

fn entry(line: &str) -> CatalogueEntry {
    let [name, nodes, kind, min, max, values, default, since] = line.split(' ').collect::<Vec<_>>()[..] else {
        panic!("catalogue.txt: {line:?} does not have 8 fields: tested")
    };
    let given = |text: &str| (text != "-").then(|| text.to_owned());
    let list =
        |text: &str| given(text).into_iter().flat_map(|text| text.split(',').map(str::to_owned).collect::<Vec<_>>());
    let number = |text: &str| given(text).map(|text| text.parse().expect("a limit is a number: tested"));
    let value_type = match kind {
        "int" => ValueType::Int,
        "size" => ValueType::Size,
        "bool" => ValueType::Bool,
        "enum" => ValueType::Enum,
        _ => ValueType::Text,
    };
    CatalogueEntry {
        name: name.to_owned(),
        nodes: list(nodes).collect(),
        value_type,
        min: number(min),
        max: number(max),
        values: list(values).collect(),
        default: given(default),
        since: given(since),
        description: None,
    }
}

/// Everything that is known, by name.
pub fn entries() -> &'static [CatalogueEntry] {
    &ENTRIES
}

/// What is known of a tunable, by its name as `lctl set_param` takes it: `osc.*.max_dirty_mb`,
/// `osc.scratch-OST0001*.max_dirty_mb`.
pub fn lookup(name: &str) -> Option<&'static CatalogueEntry> {
    ENTRIES.iter().find(|entry| matches(&entry.name, name))
}

/// What is wrong with a tunable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamFault {
    /// The catalogue doesn't know it.
    #[error("tunable \"{name}\" is not in the catalogue{}", nearest.as_ref().map(|near| format!("; \"{near}\" is")).unwrap_or_default())]
    UnknownName {
        /// Its name.
        name: String,
        /// A known name that is spelled much like it.
        nearest: Option<String>,
    },
    /// An empty value means "unset" to Lustre.
    #[error("tunable \"{0}\" has an empty value, which Lustre takes for removing it")]
    Empty(String),
    /// The text can't be stored.
    #[error("the value of tunable \"{0}\" has a line break or more than 4095 bytes")]
    Text(String),
    /// The value has the wrong type.
    #[error("tunable \"{name}\" can't be \"{value}\": {expected} is expected")]
    Type {
        /// Its name.
        name: String,
        /// The value, shortened.
        value: String,
        /// What is expected.
        expected: String,
    },
    /// The value is out of range.
    #[error("tunable \"{name}\" can't be \"{value}\": its range is {range}")]
    Range {
        /// Its name.
        name: String,
        /// The value, shortened.
        value: String,
        /// From where to where.
        range: String,
    },
}

impl ParamFault {
    /// The attribute that is at fault.
    pub fn attribute(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } => "name",
            _ => "value",
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } => "unknown_tunable",
            Self::Empty(_) => "empty_value",
            Self::Text(_) => "illegal_value",
            Self::Type { .. } => "wrong_type",
            Self::Range { .. } => "out_of_range",
        }
    }

    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::UnknownName { .. } => "correct the name; if it is right, set allow_unknown",
            Self::Empty(_) => "to put the default back, remove the tunable",
            Self::Text(_) | Self::Type { .. } | Self::Range { .. } => "correct the value",
        }
    }
}

/// Errors: a value that no node would take; a name that the catalogue doesn't know, unless `allow_unknown`.
pub fn check(spec: &ParamSpec) -> Result<(), ParamFault> {
    let name = spec.name.to_string();
    if spec.value.is_empty() {
        return Err(ParamFault::Empty(name));
    }
    if spec.value.len() > 4095 || spec.value.contains(['\n', '\0']) {
        return Err(ParamFault::Text(name));
    }
    let Some(entry) = lookup(&name) else {
        if spec.allow_unknown {
            return Ok(());
        }
        let nearest = nearest(&name);
        return Err(ParamFault::UnknownName { name, nearest });
    };
    let value = short(&spec.value);
    let meaning = match value::read(entry, &spec.value) {
        Ok(meaning) => meaning,
        Err(expected) => return Err(ParamFault::Type { name, value, expected }),
    };
    match value::range_fault(entry, &meaning) {
        Some(range) => Err(ParamFault::Range { name, value, range }),
        None => Ok(()),
    }
}

/// Whether two values of a tunable mean the same: `64M` and `67108864`, `1` and `on`.
pub fn same_value(name: &str, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let Some(entry) = lookup(name) else { return false };
    matches!((value::read(entry, a), value::read(entry, b)), (Ok(a), Ok(b)) if a == b)
}

fn short(value: &str) -> String {
    if value.chars().count() <= 60 { value.to_owned() } else { value.chars().take(60).chain(['…']).collect() }
}

/// Part by part; in either a `*` stands for anything.
fn matches(known: &str, name: &str) -> bool {
    let (mut known, mut name) = (known.split('.'), name.split('.'));
    loop {
        match (known.next(), name.next()) {
            (None, None) => return true,
            (Some(known), Some(name)) if glob(known, name) || glob(name, known) => {}
            _ => return false,
        }
    }
}

/// Whether `text` is one that `pattern` stands for.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// A known name of which a few letters differ.
fn nearest(name: &str) -> Option<String> {
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let wanted = last(name);
    let distances = ENTRIES.iter().map(|entry| {
        let is_elsewhere = usize::from(entry.name.split('.').next() != name.split('.').next());
        (distance(&wanted, &last(&entry.name)), is_elsewhere, entry)
    });
    let (distance, _, entry) = distances.min_by_key(|(distance, is_elsewhere, _)| (*distance, *is_elsewhere))?;
    (distance <= 2 || (distance == 0)).then(|| entry.name.clone())
}

/// Levenshtein's: how many letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(name: &str, value: &str) -> ParamSpec {
        ParamSpec {
            filesystem: None,
            scope: Default::default(),
            name: name.parse().unwrap(),
            value: value.to_owned(),
            allow_unknown: false,
        }
    }

    fn refusal(name: &str, value: &str) -> String {
        check(&spec(name, value)).unwrap_err().to_string()
    }

    #[test]
    fn the_catalogue_is_well_formed_and_takes_its_own_defaults() {
        assert!(entries().len() > 300);
        for entry in entries() {
            assert!(entry.name.parse::<lustre_types::ParamName>().is_ok(), "{}", entry.name);
            assert!(entry.min.zip(entry.max).is_none_or(|(min, max)| min <= max), "{}", entry.name);
            assert_eq!(lookup(&entry.name).map(|found| &found.name), Some(&entry.name), "found under its own name");
        }
        for name in ["osc.*.max_rpcs_in_flight", "lod.*.stripecount", "timeout", "osc.*.max_dirty_mb"] {
            let default = lookup(name).unwrap().default.clone().unwrap();
            assert_eq!(check(&spec(name, &default)), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_name_is_found_with_any_device() {
        for name in ["osc.*.max_dirty_mb", "osc.scratch-*.max_dirty_mb", "osc.scratch-OST0001-osc-*.max_dirty_mb"] {
            assert_eq!(lookup(name).map(|entry| entry.name.as_str()), Some("osc.*.max_dirty_mb"), "{name}");
        }
        assert!(lookup("osd-ldiskfs.*.quota_slave.enabled").is_some());
        assert!(lookup("osc.*").is_none());
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_one_that_was_meant() {
        assert!(refusal("osc.*.max_dirty_md", "5").contains("\"osc.*.max_dirty_mb\" is"));
        assert!(!refusal("llite.*.completely_made_up_name", "5").contains(';'));
        assert_eq!(check(&ParamSpec { allow_unknown: true, ..spec("a.b.c", "5") }), Ok(()));
    }

    #[test]
    fn values_are_checked_by_type_and_range() {
        assert!(refusal("osc.*.max_rpcs_in_flight", "many").contains("a whole number is expected"));
        assert!(refusal("osc.*.max_rpcs_in_flight", "257").contains("its range is 1 to 256"));
        assert!(refusal("osc.*.max_rpcs_in_flight", "0x101").contains("1 to 256"));
        assert!(refusal("osc.*.max_dirty_mb", "4G").contains("1 MiB to 1.9 GiB"));
        assert!(refusal("llite.*.checksums", "maybe").contains("0 or 1"));
        assert!(refusal("osc.*.checksum_type", "md5").contains("one of crc32, adler"));
        assert!(refusal("timeout", "").contains("empty value"));
        assert!(refusal("jobid_name", "a\nb").contains("line break"));
        for (name, value) in [("osc.*.max_dirty_mb", "512"), ("osc.*.max_dirty_mb", "512M"), ("jobid_name", "%e.%u")] {
            assert_eq!(check(&spec(name, value)), Ok(()), "{name}={value}");
        }
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same_value("osc.*.max_dirty_mb", "512", "512M"));
        assert!(!same_value("osc.*.max_dirty_mb", "512", "512K"));
        assert!(same_value("osc.*.checksums", "on", "1"));
        assert!(same_value("osc.*.max_rpcs_in_flight", "0x10", "16"));
        assert!(!same_value("a.b.c", "1", "on"), "of an unknown tunable nothing is assumed");
    }

    #[test]
    fn a_glob_stands_for_anything() {
        assert!(glob("*", "") && glob("a*c", "abc") && glob("a*", "a") && glob("osd-*", "osd-zfs"));
        assert!(!glob("a*c", "ab") && !glob("ab*ba", "aba") && !glob("a", "ab"));
    }
}
