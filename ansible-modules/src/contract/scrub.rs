//! Removal of secrets from what a module prints, as `remove_values` of Ansible does it.

use std::collections::BTreeSet;

use serde_json::Value;

/// Texts that must not appear in any output.
pub type Secrets = BTreeSet<String>;

const WHOLE: &str = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER";
const PART: &str = "********";

/// Replaces each of `secrets` in every string and number of `value`. Keys, booleans and null stay.
pub fn scrub(value: &mut Value, secrets: &Secrets) {
    // Longest first: a secret may be part of another.
    let mut longest_first: Vec<&str> = secrets.iter().map(String::as_str).filter(|s| !s.is_empty()).collect();
    longest_first.sort_by_key(|s| std::cmp::Reverse(s.chars().count()));
    if !longest_first.is_empty() {
        scrub_value(value, &longest_first);
    }
}

fn scrub_value(value: &mut Value, secrets: &[&str]) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(n) => {
            let digits = n.to_string();
            if secrets.iter().any(|secret| digits.contains(secret)) {
                *value = Value::from(WHOLE);
            }
        }
        Value::String(s) if secrets.contains(&s.as_str()) => *value = Value::from(WHOLE),
        Value::String(s) => {
            for secret in secrets {
                if s.contains(secret) {
                    *s = s.replace(secret, PART);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| scrub_value(item, secrets)),
        Value::Object(map) => map.values_mut().for_each(|item| scrub_value(item, secrets)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whole_values_parts_and_numbers_are_hidden_and_the_rest_stays() {
        let secrets = ["s3cret", "s3cret-long", "4711"].map(String::from).into();
        let mut value =
            json!({"a": "s3cret", "b": ["x s3cret-long y", true, null], "c": 147110, "d": 12, "s3cret": "k"});
        scrub(&mut value, &secrets);
        let hidden = json!({
            "a": WHOLE, "b": ["x ******** y", true, null], "c": WHOLE, "d": 12, "s3cret": "k"
        });
        assert_eq!(value, hidden);
    }

    #[test]
    fn an_empty_secret_hides_nothing() {
        let mut value = json!("abc");
        scrub(&mut value, &[String::new()].into());
        assert_eq!(value, json!("abc"));
    }
}
