//! Type conversions of Ansible's `check_type_*`; an error is the text behind `unable to convert to <type>: `.

use serde_json::{Map, Number, Value};

use super::ArgumentType;
use super::python::{self, repr, strip, type_name};

const TRUE: [&str; 6] = ["y", "yes", "on", "1", "true", "t"];
const FALSE: [&str; 6] = ["n", "no", "off", "0", "false", "f"];

/// Converts `value` to `kind`.
pub(super) fn convert(kind: ArgumentType, value: Value) -> Result<Value, String> {
    match kind {
        ArgumentType::Str => Ok(Value::String(string(value))),
        ArgumentType::Path => Ok(Value::String(expand_user(&expand_variables(&string(value))))),
        ArgumentType::Int => integer(value),
        ArgumentType::Bool => boolean(&value).map(Value::Bool),
        ArgumentType::List => list(value),
        ArgumentType::Dict => dict(value).map(Value::Object),
        ArgumentType::Raw => Ok(value),
    }
}

fn class(value: &Value) -> String {
    format!("<class '{}'>", type_name(value))
}

fn string(value: Value) -> String {
    match value {
        // Before 2.19 a template that gave None became the empty string; core keeps that.
        Value::Null => String::new(),
        Value::String(s) => s,
        other => python::str(&other),
    }
}

/// Ansible's reading of a truth value; also of the `_ansible_*` flags.
pub(super) fn boolean(value: &Value) -> Result<bool, String> {
    let invalid = || {
        // Python prints a set here, in any order.
        format!(
            "The value '{}' is not a valid boolean. Valid booleans include: 0, 1, '0', '1', 'f', 'false', 'n', 'no', 'off', 'on', 't', 'true', 'y', 'yes'",
            python::str(value)
        )
    };
    match value {
        Value::Bool(b) => Ok(*b),
        Value::Number(n) if n.as_f64() == Some(1.0) => Ok(true),
        Value::Number(n) if n.as_f64() == Some(0.0) => Ok(false),
        Value::String(s) => {
            let lower = s.to_lowercase();
            let word = strip(&lower);
            if TRUE.contains(&word) {
                Ok(true)
            } else if FALSE.contains(&word) {
                Ok(false)
            } else {
                Err(invalid())
            }
        }
        Value::Number(_) => Err(invalid()),
        other => Err(format!("{} cannot be converted to a bool", class(other))),
    }
}

/// The one of `choices` that the string of a YAML boolean must have been: `yes` in YAML arrives as `True`.
pub(super) fn unambiguous_choice<'a>(value: &str, choices: &'a [String]) -> Option<&'a str> {
    let words = match value {
        "True" => TRUE,
        "False" => FALSE,
        _ => return None,
    };
    let mut overlap = choices.iter().map(String::as_str).filter(|c| words.contains(c));
    overlap.next().filter(|_| overlap.next().is_none())
}

fn integer(value: Value) -> Result<Value, String> {
    let fault = || format!("\"{}\" cannot be converted to an int", repr(&value));
    match &value {
        // Python's bool is an int.
        Value::Bool(_) => Ok(value),
        Value::Number(n) if !n.is_f64() => Ok(value),
        Value::Number(n) => n.as_f64().and_then(whole).map(Value::Number).ok_or_else(fault),
        Value::String(s) => decimal(s).map(Value::Number).ok_or_else(fault),
        _ => Err(fault()),
    }
}

fn whole(f: f64) -> Option<Number> {
    // 2^63: floats from there on have no fraction, and do not fit.
    #[allow(clippy::cast_possible_truncation, reason = "whole and below 2^63: checked in the condition")]
    (f.fract() == 0.0 && f.abs() < 9_223_372_036_854_775_808.0).then(|| Number::from(f as i64))
}

/// A number as `decimal.Decimal` reads it, where it is whole: sign, digits with `_`, a point, an exponent.
fn decimal(text: &str) -> Option<Number> {
    let text = strip(text).replace('_', "").to_ascii_lowercase();
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().ok()?;
    let (negative, digits) = match mantissa.as_bytes().first()? {
        b'-' => (true, &mantissa[1..]),
        b'+' => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (before, after) = digits.split_once('.').unwrap_or((digits, ""));
    if before.is_empty() && after.is_empty() || !before.bytes().chain(after.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = format!("{before}{after}");
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Number::from(0));
    }
    let zeros = exponent.checked_sub(i32::try_from(after.len()).ok()?)?;
    let digits = match usize::try_from(zeros) {
        // 20 digits hold u64::MAX: more zeros than that can't fit, so nobody gets to ask for a gigabyte of them.
        Ok(zeros) if zeros > 20 => return None,
        Ok(zeros) => significant.to_owned() + &"0".repeat(zeros),
        Err(_) => {
            let cut = significant.len().checked_sub(usize::try_from(zeros.unsigned_abs()).ok()?)?;
            let (kept, fraction) = significant.split_at(cut);
            if fraction.bytes().any(|b| b != b'0') {
                return None;
            }
            kept.to_owned()
        }
    };
    if negative {
        format!("-{digits}").parse::<i64>().ok().map(Number::from)
    } else {
        digits.parse::<u64>().ok().map(Number::from)
    }
}

fn list(value: Value) -> Result<Value, String> {
    match value {
        Value::Array(_) => Ok(value),
        Value::String(s) => Ok(Value::Array(s.split(',').map(Value::from).collect())),
        Value::Bool(_) | Value::Number(_) => Ok(Value::Array(vec![Value::String(python::str(&value))])),
        other => Err(format!("{} cannot be converted to a list", class(&other))),
    }
}

/// A mapping, from itself, JSON or `key=value` pairs.
pub(super) fn dict(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        Value::String(s) if s.starts_with('{') => {
            serde_json::from_str(&s).map_err(|_| "unable to evaluate string as dictionary".to_owned())
        }
        Value::String(s) if s.contains('=') => key_values(&s)
            .ok_or_else(|| "unable to evaluate string in the \"key=value\" format as dictionary".to_owned()),
        Value::String(_) => Err("dictionary requested, could not parse JSON or key=value".to_owned()),
        other => Err(format!("{} cannot be converted to a dict", class(&other))),
    }
}

/// `k1=v1, k2="v 2"`: pairs parted by commas or spaces, with quotes and backslashes as in a shell.
fn key_values(text: &str) -> Option<Map<String, Value>> {
    let mut fields = Vec::new();
    let mut field = String::new();
    let mut quote = None;
    let mut escaped = false;
    for c in strip(text).chars() {
        if escaped {
            field.push(c);
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        } else if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == ',' || c == ' ') {
            fields.push(std::mem::take(&mut field));
        } else {
            field.push(c);
        }
    }
    fields.push(field);
    let pair = |f: &String| f.split_once('=').map(|(k, v)| (k.to_owned(), Value::from(v)));
    fields.iter().filter(|f| !f.is_empty()).map(pair).collect()
}

/// `os.path.expandvars`: `$NAME` and `${NAME}`; a variable that is not set stays as it is written.
fn expand_variables(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let behind = &rest[at + 1..];
        let (name, len) = match behind.strip_prefix('{').and_then(|b| b.find('}').map(|end| &b[..end])) {
            Some(name) => (name, name.len() + 3),
            None => {
                let end = behind.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(behind.len());
                (&behind[..end], end + 1)
            }
        };
        let written = &rest[at..at + len];
        match std::env::var(name) {
            Ok(value) if !name.is_empty() && !name.contains(['=', '\0']) => out.push_str(&value),
            _ => out.push_str(written),
        }
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

/// `os.path.expanduser`: `~` is `$HOME`, `~name` that user's home; an unknown user stays as it is written.
fn expand_user(path: &str) -> String {
    let Some(behind) = path.strip_prefix('~') else { return path.to_owned() };
    let (user, rest) = behind.split_at(behind.find('/').unwrap_or(behind.len()));
    let home = match user {
        "" => std::env::var("HOME").ok(),
        user => std::fs::read_to_string("/etc/passwd").ok().and_then(|passwd| {
            let line = passwd.lines().find(|line| line.split(':').next() == Some(user))?;
            line.split(':').nth(5).map(str::to_owned)
        }),
    };
    match home {
        Some(home) => match format!("{}{rest}", home.trim_end_matches('/')) {
            root if root.is_empty() => "/".to_owned(),
            expanded => expanded,
        },
        None => path.to_owned(),
    }
}
