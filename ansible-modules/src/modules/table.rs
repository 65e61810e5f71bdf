//! Attributes of the one table as options of a module.

use lustre_api::attributes::{Attribute, AttributeType, Presence, Resource};

use crate::argspec::{Argument, ArgumentType};

/// The options for what a person describes of `resource`, in the table's order.
pub(super) fn options(resource: &Resource) -> Vec<Argument> {
    resource.attributes.iter().filter(|attribute| attribute.is_in_spec()).map(option).collect()
}

fn option(attribute: &Attribute) -> Argument {
    let mut option = match attribute.kind {
        AttributeType::Text => Argument::new(attribute.name, ArgumentType::Str),
        AttributeType::Int => Argument::new(attribute.name, ArgumentType::Int),
        AttributeType::Bool => Argument::new(attribute.name, ArgumentType::Bool),
        AttributeType::List | AttributeType::Set => Argument::list(attribute.name, ArgumentType::Str),
        AttributeType::Map | AttributeType::Ids => Argument::new(attribute.name, ArgumentType::Dict),
    };
    option = option.choices(attribute.choices.iter().copied()).doc(&markup(attribute.description));
    if attribute.presence == Presence::Required {
        return option.required();
    }
    if attribute.kind == AttributeType::Text && attribute.choices.is_empty() && attribute.default.is_empty() {
        return option.doc("Left as it is when not given; V('') takes it away.");
    }
    // The table's default is the server's: an option that is not given leaves alone what is there.
    let is_empty = |value: &serde_json::Value| {
        value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(serde_json::Map::is_empty)
    };
    match attribute.default_value().filter(|value| !is_empty(value)) {
        Some(default) => option.doc(&format!("A new one has V({}) when not given.", plain(&default))),
        None => option.doc("Left as it is when not given."),
    }
}

fn plain(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Markdown's code spans in Ansible's markup.
pub(super) fn markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (n, part) in text.split('`').enumerate() {
        match n % 2 {
            0 => out.push_str(part),
            _ => {
                out.push_str("V(");
                out.push_str(&part.replace('\\', "\\\\").replace(')', "\\)"));
                out.push(')');
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::attributes::{POOL, TARGET};

    #[test]
    fn what_only_the_system_or_terraform_gives_is_no_option() {
        let names: Vec<_> = options(&TARGET).into_iter().map(|option| option.name).collect();
        assert!(names.contains(&"failover_nodes".to_owned()));
        assert!(!names.iter().any(|name| ["svname", "allow_reformat", "deletion_policy"].contains(&name.as_str())));
    }

    #[test]
    fn code_spans_become_values() {
        assert_eq!(markup("`64M` is (`f(x)`)"), "V(64M) is (V(f(x\\)))");
        assert!(options(&POOL).iter().all(|option| !option.description[0].contains('`')));
    }
}
