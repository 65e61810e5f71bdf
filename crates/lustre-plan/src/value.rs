//! Values of tunables: what they mean, and whether they are legal.

use lustre_api::param::{CatalogueEntry, ValueType};
use lustre_types::ByteSize;

/// What a value means, so that two spellings of the same can be told from a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    Int(i128),
    Bytes(u64),
    Bool(bool),
    Word(String),
}

/// Reads a value as the catalogue's type says. Errors: what was expected instead.
pub(crate) fn read(entry: &CatalogueEntry, text: &str) -> Result<Meaning, String> {
    match entry.value_type {
        ValueType::Int => int(text).map(Meaning::Int).ok_or_else(|| "a whole number".to_owned()),
        ValueType::Size => size(&entry.name, text)
            .map(Meaning::Bytes)
            .ok_or_else(|| format!("a size, as in 64M; a number without suffix is in {}", unit(&entry.name).0)),
        ValueType::Bool => boolean(text).map(Meaning::Bool).ok_or_else(|| "0 or 1, n or y, off or on".to_owned()),
        ValueType::Enum => {
            word(entry, text).map(Meaning::Word).ok_or_else(|| format!("one of {}", entry.values.join(", ")))
        }
        ValueType::Text => Ok(Meaning::Word(text.to_owned())),
    }
}

/// The range of a value, where it is out of it.
pub(crate) fn range_fault(entry: &CatalogueEntry, meaning: &Meaning) -> Option<String> {
    let value = match meaning {
        Meaning::Int(value) => *value,
        Meaning::Bytes(bytes) => i128::from(*bytes),
        Meaning::Bool(_) | Meaning::Word(_) => return None,
    };
    let is_low = entry.min.is_some_and(|min| value < i128::from(min));
    let is_high = entry.max.is_some_and(|max| value > i128::from(max));
    if !is_low && !is_high {
        return None;
    }
    let show = |limit: i64| match u64::try_from(limit) {
        Ok(bytes) if entry.value_type == ValueType::Size => ByteSize(bytes).to_string(),
        _ => limit.to_string(),
    };
    Some(match (entry.min, entry.max) {
        (Some(min), Some(max)) => format!("{} to {}", show(min), show(max)),
        (Some(min), None) => format!("{} or more", show(min)),
        (None, Some(max)) => format!("{} or less", show(max)),
        (None, None) => return None,
    })
}

/// Decimal, `0x` hex or `0` octal.
fn int(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (digits, radix) = match digits {
        _ if digits.starts_with("0x") || digits.starts_with("0X") => (&digits[2..], 16),
        _ if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        _ => (digits, 10),
    };
    // from_str_radix takes a sign of its own.
    if digits.starts_with(['+', '-']) {
        return None;
    }
    // u64 is the widest that any tunable holds.
    u64::from_str_radix(digits, radix).ok().map(|value| sign * i128::from(value))
}

/// Name and bytes of the unit that a bare number is in.
fn unit(name: &str) -> (&'static str, u64) {
    match name.rsplit('.').next() {
        Some(last) if last.contains("_mb") => ("MiB", 1 << 20),
        Some(last) if last.contains("_kb") => ("KiB", 1 << 10),
        _ => ("bytes", 1),
    }
}

fn size(name: &str, text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse::<u64>().ok()?.checked_mul(unit(name).1);
    }
    text.parse().ok().map(|ByteSize(bytes)| bytes)
}

/// As the kernel's `kstrtobool`: the first character counts, and after `o` the second.
fn boolean(text: &str) -> Option<bool> {
    let mut letters = text.bytes().map(|byte| byte.to_ascii_lowercase());
    match letters.next()? {
        b'1' | b'y' | b't' => Some(true),
        b'0' | b'n' | b'f' => Some(false),
        b'o' => match letters.next()? {
            b'n' => Some(true),
            b'f' => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// A word of an enum, or its number.
fn word(entry: &CatalogueEntry, text: &str) -> Option<String> {
    let by_number = || entry.values.get(text.parse::<usize>().ok()?);
    entry.values.iter().find(|word| *word == text).or_else(by_number).cloned()
}
