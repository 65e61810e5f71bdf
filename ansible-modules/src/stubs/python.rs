//! Python literals of the argument specification.

use serde_json::{Map, Value};

use super::spec::ENV_FALLBACK;

/// `key=value,` lines for a call, indented by `indent` spaces.
pub(super) fn keyword_lines(arguments: &Map<String, Value>, indent: usize) -> String {
    let pad = " ".repeat(indent);
    arguments.iter().map(|(key, value)| format!("{pad}{key}={},\n", literal(value, indent))).collect()
}

fn literal(value: &Value, indent: usize) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        // A JSON string is a Python string: \uXXXX, \n and \" mean the same.
        Value::String(text) => Value::from(text.as_str()).to_string(),
        Value::Array(items) => match items.as_slice() {
            [Value::String(name), variables] if name == ENV_FALLBACK => {
                format!("({ENV_FALLBACK}, {})", literal(variables, indent))
            }
            items if items.len() > 6 => {
                let pad = " ".repeat(indent + 4);
                let lines: String = items.iter().map(|item| format!("{pad}{},\n", literal(item, indent + 4))).collect();
                format!("[\n{lines}{}]", " ".repeat(indent))
            }
            items => format!("[{}]", items.iter().map(|item| literal(item, indent)).collect::<Vec<_>>().join(", ")),
        },
        Value::Object(map) if map.values().any(Value::is_object) || value.to_string().len() > 100 => {
            let (pad, end) = (" ".repeat(indent + 4), " ".repeat(indent));
            let lines: String = map
                .iter()
                .map(|(key, value)| format!("{pad}{}: {},\n", Value::from(key.as_str()), literal(value, indent + 4)))
                .collect();
            format!("{{\n{lines}{end}}}")
        }
        Value::Object(map) => {
            let pairs: Vec<_> = map
                .iter()
                .map(|(key, value)| format!("{}: {}", Value::from(key.as_str()), literal(value, indent)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn literals_are_python() {
        let spec = json!({"a": {"default": true, "fallback": ["env_fallback", ["X"]], "choices": ["x", null]}});
        let text = keyword_lines(json!({ "argument_spec": spec }).as_object().unwrap(), 0);
        assert_eq!(
            text,
            "argument_spec={\n    \"a\": {\"default\": True, \"fallback\": (env_fallback, [\"X\"]), \"choices\": [\"x\", None]},\n},\n"
        );
    }
}
