//! YAML for people who keep answers in files: block style, one value per line. What is not plainly a text is quoted.

use serde_json::Value;

/// A value as a document.
pub(crate) fn document(value: &Value) -> String {
    let lines = inline(value).map_or_else(|| block(value), |text| vec![text]);
    lines.into_iter().map(|line| line + "\n").collect()
}

fn block(value: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match inline(value) {
                    Some(text) => lines.push(format!("{}: {text}", scalar(key))),
                    None => {
                        lines.push(format!("{}:", scalar(key)));
                        lines.extend(block(value).iter().map(|line| format!("  {line}")));
                    }
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                let of_item = inline(item).map_or_else(|| block(item), |text| vec![text]);
                let marks = std::iter::once("- ").chain(std::iter::repeat("  "));
                lines.extend(marks.zip(of_item).map(|(mark, line)| format!("{mark}{line}")));
            }
        }
        scalar => lines.extend(inline(scalar)),
    }
    lines
}

/// What stands behind its key; nothing for what takes lines of its own.
fn inline(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) if fields.is_empty() => Some("{}".to_owned()),
        Value::Array(items) if items.is_empty() => Some("[]".to_owned()),
        Value::Object(_) | Value::Array(_) => None,
        Value::String(text) => Some(scalar(text)),
        other => Some(other.to_string()),
    }
}

/// A text: as it is where no reader takes it for anything else, in quotes otherwise.
fn scalar(text: &str) -> String {
    const OTHER: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./@".contains(&byte))
        && !OTHER.contains(&text.to_ascii_lowercase().as_str());
    if is_plain { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_become_blocks_and_what_could_be_something_else_is_quoted() {
        let value = json!({
            "name": "scratch", "count": 2, "none": null, "on": "no", "empty": [], "nothing": {}, "text": "a: b\n#c",
            "nids": ["10.0.0.1@tcp", "x@o2ib"],
            "targets": [{"svname": "scratch-OST0000", "nids": [["1"], []]}, {}],
        });
        let text = "name: scratch\ncount: 2\nnone: null\n\"on\": \"no\"\nempty: []\nnothing: {}\ntext: \"a: b\\n#c\"\n\
            nids:\n  - \"10.0.0.1@tcp\"\n  - x@o2ib\n\
            targets:\n  - svname: scratch-OST0000\n    nids:\n      - - \"1\"\n      - []\n  - {}\n";
        let document = document(&value);
        // The order of keys is not ours.
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sorted(&document), sorted(text), "{document}");
        assert_eq!(super::document(&json!("x")), "x\n");
        assert_eq!(super::document(&json!([])), "[]\n");
    }
}
