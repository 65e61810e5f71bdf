//! Just enough YAML to write documentation: block mappings and lists, every text in double quotes.

use serde_json::Value;

/// Longest line of a text, if its words allow it.
const WIDTH: usize = 110;

/// `value` as YAML lines. Texts are quoted as JSON quotes them, which YAML reads the same.
pub(super) fn yaml(value: &Value) -> String {
    let mut out = String::new();
    block(value, 0, &mut out);
    out
}

fn block(value: &Value, indent: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                out.push_str(&" ".repeat(indent));
                out.push_str(&scalar_key(key));
                out.push(':');
                behind(value, indent + 2, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                out.push_str(&" ".repeat(indent));
                out.push('-');
                match item {
                    // The first key stands behind the dash.
                    Value::Object(map) if !map.is_empty() => {
                        let mut lines = String::new();
                        block(item, indent + 2, &mut lines);
                        out.push(' ');
                        out.push_str(lines.trim_start());
                    }
                    _ => behind(item, indent + 2, out),
                }
            }
        }
        scalar => {
            out.push_str(&folded(&scalar.to_string(), indent));
            out.push('\n');
        }
    }
}

fn behind(value: &Value, indent: usize, out: &mut String) {
    let is_block = match value {
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    out.push(if is_block { '\n' } else { ' ' });
    block(value, indent, out);
}

/// A quoted text over several lines: YAML reads a line break inside the quotes as one space.
fn folded(text: &str, indent: usize) -> String {
    let mut out = String::new();
    let mut width = indent;
    for (n, word) in text.split(' ').enumerate() {
        // Only between two words: more than one space in a row would be lost.
        let is_between = !word.is_empty() && n > 0 && !out.ends_with(' ');
        if is_between && width + word.len() > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(indent));
            width = indent;
        } else if n > 0 {
            out.push(' ');
            width += 1;
        }
        out.push_str(word);
        width += word.len();
    }
    out
}

fn scalar_key(key: &str) -> String {
    let is_plain = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        && !["on", "off", "yes", "no", "y", "n"].contains(&key);
    if is_plain { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_texts_are_folded_where_nothing_is_lost() {
        let text = "word ".repeat(60).trim_end().to_owned();
        let folded = yaml(&json!({ "a": text }));
        assert!(folded.lines().count() > 2 && folded.lines().all(|line| line.len() <= WIDTH + 4));
        assert_eq!(folded.replace("\n  ", " "), format!("a: \"{text}\"\n"));
        assert!(yaml(&json!("x  ".repeat(60))).lines().count() == 1);
    }

    #[test]
    fn mappings_and_lists_nest() {
        let value = json!({"a": ["x: y", {"b": 1, "c": []}], "on": {}, "d": {"e": null, "f": true}});
        let text = "a:\n  - \"x: y\"\n  - b: 1\n    c: []\n\"on\": {}\nd:\n  e: null\n  f: true\n";
        assert_eq!(yaml(&value), text);
    }
}
