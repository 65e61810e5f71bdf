//! Terraform's rules for plans and results, as its core enforces them.
//!
//! The server uses [`apply_faults`] to keep a wrong create result out of the state, where it would be tainted. Tests
//! of a provider use both as oracles.

use crate::schema::{Attribute, Schema};
use crate::value::Value;

/// Makes computed attributes unknown that the configuration leaves to the provider: the start of a create plan.
pub(crate) fn mark_computed_unknown(schema: &Schema, config: &Value, planned: &mut Value) {
    mark(&schema.attributes, config, planned);
    let Value::Object(planned) = planned else { return };
    for block in &schema.blocks {
        if let Some(planned) = planned.get_mut(&block.name) {
            mark(&block.attributes, config.get(&block.name), planned);
        }
    }
}

fn mark(attributes: &[Attribute], config: &Value, planned: &mut Value) {
    let Value::Object(planned) = planned else { return };
    for attribute in attributes {
        let configured = config.get(&attribute.name);
        let value = planned.entry(attribute.name.clone()).or_default();
        if configured.is_null() {
            if attribute.mode.is_computed() {
                *value = Value::Unknown;
            }
        } else if let crate::schema::Shape::Single(nested) = &attribute.shape {
            mark(nested, configured, value);
        }
    }
}

/// What core would refuse in a plan: "Provider produced invalid plan".
///
/// A configured value is planned as configured (or, to keep a form that means the same, as it was); an attribute that
/// isn't computed is planned null where the configuration has null.
pub fn plan_faults(schema: &Schema, config: &Value, prior: &Value, planned: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    if planned.is_null() || config.is_null() {
        if planned.is_null() != config.is_null() {
            faults.push("planned for destroy, but configured (or the other way round)".to_owned());
        }
        return faults;
    }
    check_attributes(&schema.attributes, config, prior, planned, "", &mut faults);
    for block in &schema.blocks {
        let (config, planned) = (config.get(&block.name), planned.get(&block.name));
        if config.is_null() != planned.is_null() {
            faults.push(format!("{}: block planned that is not configured (or the other way round)", block.name));
        } else if !config.is_null() {
            let prefix = format!("{}.", block.name);
            check_attributes(&block.attributes, config, prior.get(&block.name), planned, &prefix, &mut faults);
        }
    }
    faults
}

fn check_attributes(
    attributes: &[Attribute],
    config: &Value,
    prior: &Value,
    planned: &Value,
    prefix: &str,
    faults: &mut Vec<String>,
) {
    for attribute in attributes {
        let name = &attribute.name;
        let (config, prior, planned) = (config.get(name), prior.get(name), planned.get(name));
        if attribute.is_write_only {
            if !planned.is_null() {
                faults.push(format!("{prefix}{name}: write-only, but planned"));
            }
        } else if planned == config {
            // As configured.
        } else if config.is_null() {
            if !attribute.mode.is_computed() {
                faults.push(format!("{prefix}{name}: not configured, not computed, but planned as {planned:?}"));
            }
        } else if let (crate::schema::Shape::Single(nested), false) = (&attribute.shape, planned.is_null()) {
            check_attributes(nested, config, prior, planned, &format!("{prefix}{name}."), faults);
        } else if planned != prior || prior.is_null() {
            faults.push(format!(
                "{prefix}{name}: planned {planned:?} is neither configured {config:?} nor prior {prior:?}"
            ));
        }
    }
}

/// What core would refuse in the result of an apply: "Provider produced inconsistent result after apply".
///
/// Every known planned value is the result, nothing is unknown. One line for each attribute at fault.
pub fn apply_faults(planned: &Value, result: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    compare(planned, result, "", &mut faults);
    faults
}

fn compare(planned: &Value, result: &Value, place: &str, faults: &mut Vec<String>) {
    let here = || if place.is_empty() { "the object".to_owned() } else { place.to_owned() };
    match (planned, result) {
        (_, Value::Unknown) => faults.push(format!("{}: still unknown", here())),
        (Value::Unknown, result) if result.is_wholly_known() => {}
        (Value::Unknown, _) => faults.push(format!("{}: part of it is still unknown", here())),
        (Value::Object(planned), Value::Object(result)) => {
            let names = planned.keys().chain(result.keys().filter(|name| !planned.contains_key(*name)));
            for name in names {
                let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
                let (planned, result) = (planned.get(name), result.get(name));
                compare(planned.unwrap_or(&Value::Null), result.unwrap_or(&Value::Null), &place, faults);
            }
        }
        (Value::List(planned), Value::List(result)) if planned.len() == result.len() => {
            for (index, (planned, result)) in planned.iter().zip(result).enumerate() {
                compare(planned, result, &format!("{place}[{index}]"), faults);
            }
        }
        (Value::Map(planned), Value::Map(result)) if planned.keys().eq(result.keys()) => {
            for (key, planned) in planned {
                compare(planned, &result[key], &format!("{place}[{key:?}]"), faults);
            }
        }
        // Which unknown element became which is anybody's guess.
        (Value::Set(planned), Value::Set(result))
            if planned.elements().iter().any(|element| !element.is_wholly_known()) =>
        {
            if result.elements().iter().any(|element| !element.is_wholly_known()) {
                faults.push(format!("{}: part of it is still unknown", here()));
            }
            if result.elements().len() > planned.elements().len() {
                faults.push(format!("{}: more elements than planned", here()));
            }
        }
        (planned, result) if planned == result => {}
        _ => faults.push(format!("{}: other than planned", here())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Mode;
    use crate::ty::Type;

    fn schema() -> Schema {
        Schema {
            attributes: vec![
                Attribute::new("name", Type::String, Mode::Required, "name"),
                Attribute::new("note", Type::String, Mode::Optional, "note"),
                Attribute::new("index", Type::Number, Mode::OptionalComputed, "index"),
                Attribute::new("uuid", Type::String, Mode::Computed, "uuid"),
            ],
            ..Schema::default()
        }
    }

    #[test]
    fn a_create_plan_leaves_computed_attributes_open() {
        let config = Value::object([("name", "a".into()), ("index", 3_i64.into())]);
        let mut planned = config.clone();
        mark_computed_unknown(&schema(), &config, &mut planned);
        assert_eq!(planned.get("uuid"), &Value::Unknown);
        assert_eq!(planned.get("index"), &Value::from(3_i64));
        assert_eq!(planned.get("note"), &Value::Null);
        assert_eq!(plan_faults(&schema(), &config, &Value::Null, &planned), Vec::<String>::new());
    }

    #[test]
    fn a_plan_that_rewrites_the_configuration_is_a_fault() {
        let config = Value::object([("name", "a".into())]);
        let planned = Value::object([("name", "A".into()), ("note", "added".into())]);
        let faults = plan_faults(&schema(), &config, &Value::Null, &planned);
        assert_eq!(faults.len(), 2, "{faults:?}");
        let prior = Value::object([("name", "A".into())]);
        assert_eq!(plan_faults(&schema(), &config, &prior, &prior), Vec::<String>::new(), "the prior form may stay");
    }

    #[test]
    fn a_result_other_than_planned_is_a_fault_and_is_named() {
        let planned = Value::object([("name", "a".into()), ("uuid", Value::Unknown), ("index", 1_i64.into())]);
        let good = Value::object([("name", "a".into()), ("uuid", "u".into()), ("index", 1_i64.into())]);
        assert_eq!(apply_faults(&planned, &good), Vec::<String>::new());
        let bad = Value::object([("name", "a".into()), ("uuid", Value::Unknown), ("index", 2_i64.into())]);
        assert_eq!(apply_faults(&planned, &bad), ["index: other than planned", "uuid: still unknown"]);
    }
}
