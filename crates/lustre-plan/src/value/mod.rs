//! Values of tunables: what they mean, whether they are legal, whether a node has taken them.

pub(crate) mod grammar;
mod number;

use std::collections::{BTreeMap, BTreeSet};

use lustre_types::ByteSize;

use crate::catalogue::{Kind, Known, Step};
use number::{boolean, int, millis, size};

/// What a value means, so that two spellings of the same can be told from a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Int(i128),
    /// One number for each queue of a service: `reg_quantum`, `hp_quantum`.
    Queues(BTreeMap<String, i128>),
    Bytes(u64),
    Pages(u64),
    Millis(u64),
    Percent(u64),
    Bool(bool),
    Word(String),
    Set(BTreeSet<String>),
    /// What `+word -word` make of a set that is not known here.
    Changed {
        with: BTreeSet<String>,
        without: BTreeSet<String>,
    },
    Text(String),
    /// A node prints nothing, as it does for settings of a policy that doesn't run.
    Nothing,
}

/// Whose writing a value is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// A person's.
    Wanted,
    /// A node's: `90%`, `0 (all)`, `[t10ip4K]` among others.
    Printed,
}

/// Whether what a node prints is what was wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agreement {
    /// It means the same.
    Same,
    /// It means something else.
    Different,
    /// It can't be told from what the node prints; the reason.
    Unknowable(&'static str),
}

/// Reads a value as the catalogue's type says. Errors: what was expected instead.
pub(crate) fn read(known: &Known, text: &str, side: Side) -> Result<Meaning, String> {
    let text = match side {
        Side::Wanted => text,
        Side::Printed => text.trim(),
    };
    if text.is_empty() && side == Side::Printed {
        return Ok(Meaning::Nothing);
    }
    if known.words.iter().any(|word| word == text) {
        return Ok(Meaning::Word(text.to_owned()));
    }
    if known.takes_percent
        && let Some(percent) = percent(text)
    {
        return Ok(Meaning::Percent(percent));
    }
    let or_words = |expected: String| match known.words.join(", ") {
        words if words.is_empty() => expected,
        words => format!("{expected}, or {words},"),
    };
    plain(known, text, side).map_err(or_words)
}

fn plain(known: &Known, text: &str, side: Side) -> Result<Meaning, String> {
    match &known.kind {
        Kind::Bool { field } => {
            let text = match field {
                Some(name) if side == Side::Printed => line_of(text, name).unwrap_or(text),
                _ => text,
            };
            boolean(text).map(Meaning::Bool).ok_or_else(|| "0 or 1, n or y, off or on".to_owned())
        }
        Kind::Int { per_queue: true, .. } => queues(text),
        Kind::Int { is_percent, .. } => {
            int(number_of(text, side, *is_percent)).map(Meaning::Int).ok_or_else(|| whole(known.entry.unit.as_deref()))
        }
        Kind::Size { bare, .. } => {
            let name = last(&known.entry.name);
            let text = if side == Side::Printed { line_of(text, name).unwrap_or(text) } else { text };
            let unit = known.entry.unit.as_deref().unwrap_or("bytes");
            size(*bare, text)
                .map(Meaning::Bytes)
                .ok_or_else(|| format!("a size, as in 64M; a number without suffix is in {unit}"))
        }
        Kind::Pages if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().map(Meaning::Pages).map_err(|_| "a number of pages".to_owned())
        }
        Kind::Pages => {
            size(1, text).map(Meaning::Bytes).ok_or_else(|| "a number of pages, or a size as in 4M,".to_owned())
        }
        Kind::Millis => {
            millis(text).map(Meaning::Millis).ok_or_else(|| "a time, as in 600s; a bare number is in ms".to_owned())
        }
        Kind::Enum(words) => {
            let shown = || words.iter().filter_map(|word| word.first()).map(String::as_str).collect::<Vec<_>>();
            word(words, text, side).map(Meaning::Word).ok_or_else(|| format!("one of {}", shown().join(", ")))
        }
        Kind::List { separator, of } => list(*separator, of, text),
        Kind::Text(grammar) | Kind::Command(grammar) => grammar.read(text, side).map(Meaning::Text),
    }
}

fn whole(unit: Option<&str>) -> String {
    match unit {
        Some(unit) => format!("a whole number, which is in {unit},"),
        None => "a whole number".to_owned(),
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// What stands behind `name:` in a text of several lines.
fn line_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// Nodes print `90%` for percentages, and explanations in brackets: `0 (all)`.
fn number_of(text: &str, side: Side, is_percent: bool) -> &str {
    if side == Side::Wanted {
        return text;
    }
    let text = text.split_once(" (").map_or(text, |(number, _)| number);
    if is_percent { text.trim_end_matches('%').trim_end() } else { text }
}

fn percent(text: &str) -> Option<u64> {
    let number = text.strip_suffix('%')?.trim_end();
    number.parse().ok().filter(|percent| *percent <= 100)
}

/// `16`, or a number for each queue: `reg_quantum:16`, `hp_quantum:8`, in words or lines.
fn queues(text: &str) -> Result<Meaning, String> {
    if let Some(one) = int(text) {
        return Ok(Meaning::Int(one));
    }
    let expected = || "a whole number, or one for a queue as in reg_quantum:16,".to_owned();
    let pair = |word: &str| {
        let (queue, number) = word.split_once(':')?;
        let is_queue = queue.starts_with("reg_") || queue.starts_with("hp_");
        Some((is_queue.then(|| queue.to_owned())?, int(number.trim())?))
    };
    let joined = text.replace(": ", ":");
    joined.split_whitespace().map(pair).collect::<Option<_>>().map(Meaning::Queues).ok_or_else(expected)
}

/// The first of a word's spellings. Nodes that print all words have the current one in brackets.
fn word(words: &[Vec<String>], text: &str, side: Side) -> Option<String> {
    let text = match side {
        Side::Printed => {
            text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']')).unwrap_or(text)
        }
        Side::Wanted => text,
    };
    words.iter().find(|spellings| spellings.iter().any(|spelling| spelling == text))?.first().cloned()
}

fn list(separator: char, of: &[String], text: &str) -> Result<Meaning, String> {
    let words: Vec<&str> = text
        .split(|letter: char| letter == separator || letter.is_whitespace())
        .filter(|word| !word.is_empty())
        .collect();
    let changes = words.iter().filter(|word| word.starts_with(['+', '-'])).count();
    if changes != 0 && changes != words.len() {
        return Err("a list of words, or of words each with + or -,".to_owned());
    }
    let plain = |word: &str| word.trim_start_matches(['+', '-']).to_owned();
    if let Some(odd) = words.iter().map(|word| plain(word)).find(|word| !of.is_empty() && !of.contains(word)) {
        return Err(format!("a list of {} (\"{odd}\" is none of them)", of.join(", ")));
    }
    if changes == 0 {
        return Ok(Meaning::Set(words.into_iter().map(str::to_owned).collect()));
    }
    let of_sign = |sign: char| words.iter().filter(|word| word.starts_with(sign)).map(|word| plain(word)).collect();
    Ok(Meaning::Changed { with: of_sign('+'), without: of_sign('-') })
}

/// The range of a value, where it is out of it.
pub(crate) fn range_fault(known: &Known, meaning: &Meaning) -> Option<String> {
    let entry = &known.entry;
    let value = match meaning {
        Meaning::Int(value) => *value,
        Meaning::Bytes(bytes) if known.kind == Kind::Pages => i128::from(*bytes / PAGE_SIZES[0]),
        Meaning::Bytes(number) | Meaning::Pages(number) => i128::from(*number),
        Meaning::Queues(numbers) => {
            return numbers.values().find_map(|number| range_fault(known, &Meaning::Int(*number)));
        }
        _ => return None,
    };
    if let Some(fault) = step_fault(&known.kind, value) {
        return Some(fault);
    }
    let is_low = entry.min.is_some_and(|min| value < i128::from(min));
    let is_high = entry.max.is_some_and(|max| value > i128::from(max));
    if !is_low && !is_high {
        return None;
    }
    let is_size = matches!(known.kind, Kind::Size { .. });
    let show = |limit: i64| match u64::try_from(limit) {
        Ok(bytes) if is_size => ByteSize(bytes).to_string(),
        _ => limit.to_string(),
    };
    Some(match (entry.min, entry.max) {
        (Some(min), Some(max)) => format!("{} to {}", show(min), show(max)),
        (Some(min), None) => format!("{} or more", show(min)),
        (None, Some(max)) => format!("{} or less", show(max)),
        (None, None) => return None,
    })
}

fn step_fault(kind: &Kind, value: i128) -> Option<String> {
    let (Kind::Int { step, .. } | Kind::Size { step, .. }) = kind else { return None };
    match step {
        Step::Any => None,
        Step::PowerOfTwo => (value > 0 && value.count_ones() != 1).then(|| "powers of two".to_owned()),
        Step::Multiple(step) => (value % i128::from(*step) != 0).then(|| format!("multiples of {}", ByteSize(*step))),
    }
}

/// Page sizes of the machines that Lustre runs on: x86, ARM, POWER.
const PAGE_SIZES: [u64; 3] = [4096, 16384, 65536];

/// Whether what a node prints is what was wanted.
pub(crate) fn agreement(known: &Known, wanted: &str, printed: &str) -> Agreement {
    if wanted.trim() == printed.trim() {
        return Agreement::Same;
    }
    if let Kind::Text(grammar) | Kind::Command(grammar) = &known.kind
        && let Some(agreement) = grammar.agreement(wanted, printed)
    {
        return agreement;
    }
    if matches!(known.kind, Kind::Command(_)) {
        return Agreement::Unknowable("it is done when it is written, and reads as something else");
    }
    let (Ok(wanted), Ok(printed)) = (read(known, wanted, Side::Wanted), read(known, printed, Side::Printed)) else {
        return if wanted.trim() == printed.trim() { Agreement::Same } else { Agreement::Different };
    };
    let same = |is_same: bool| if is_same { Agreement::Same } else { Agreement::Different };
    match (&wanted, &printed) {
        (Meaning::Nothing, Meaning::Nothing) => Agreement::Same,
        (_, Meaning::Nothing) if matches!(known.kind, Kind::Int { per_queue: true, .. }) => {
            Agreement::Unknowable("the node prints it only while its policy runs")
        }
        (Meaning::Int(0), _) if last(&known.entry.name) == "lru_size" => {
            Agreement::Unknowable("with 0 the node prints how many locks it holds")
        }
        (Meaning::Int(all), Meaning::Queues(queues)) => same(queues.values().all(|number| number == all)),
        (Meaning::Queues(some), Meaning::Queues(queues)) => {
            same(some.iter().all(|(queue, number)| queues.get(queue) == Some(number)))
        }
        (Meaning::Bytes(bytes), Meaning::Pages(pages)) => {
            same(PAGE_SIZES.iter().any(|size| pages.checked_mul(*size) == Some(*bytes)))
        }
        (Meaning::Percent(_), Meaning::Bytes(_)) => {
            Agreement::Unknowable("the node prints what the percentage comes to")
        }
        (Meaning::Word(word), _) if word == "clear" => Agreement::Unknowable("it acts once and is not kept"),
        (Meaning::Changed { with, without }, Meaning::Set(there)) => {
            same(with.is_subset(there) && without.is_disjoint(there))
        }
        // Node and person may mean another thing by the same bytes only where the words above say so.
        (wanted, printed) => same(wanted == printed),
    }
}

/// What to set for a node to print this again; none where that can't be told.
pub(crate) fn settable(known: &Known, printed: &str) -> Option<String> {
    if matches!(known.kind, Kind::Command(_)) {
        return None;
    }
    match (read(known, printed, Side::Printed).ok()?, &known.kind) {
        (Meaning::Int(number), _) => Some(number.to_string()),
        (Meaning::Bytes(bytes), Kind::Size { bare, .. }) => Some((bytes / bare).to_string()),
        (Meaning::Bytes(number) | Meaning::Pages(number) | Meaning::Millis(number), _) => Some(number.to_string()),
        (Meaning::Percent(number), _) => Some(format!("{number}%")),
        (Meaning::Bool(is_on), _) => Some(u8::from(is_on).to_string()),
        (Meaning::Word(word), _) => Some(word),
        (Meaning::Set(words), Kind::List { separator, .. }) => {
            Some(words.into_iter().collect::<Vec<_>>().join(&separator.to_string())).filter(|text| !text.is_empty())
        }
        (Meaning::Text(text), _) if !text.is_empty() && !text.contains('\n') => Some(text),
        _ => None,
    }
}
