//! The attribute tables: each resource's attributes, once.
//!
//! From these come the JSON schema of the `…Spec` types (and so OpenAPI), the Terraform schema, the Ansible argument specs and
//! stubs, and the documentation of all. What only one of them has (Terraform's `timeouts`, Ansible's `state`) is that adapter's
//! own. A test holds each table against the fields of its serde type.

mod tables;

pub use tables::{FILESYSTEM, MGS_PROXY, NODEMAP, NODEMAPS, PARAM, PARAMS, POOL, RESOURCES, TARGET};

use schemars::Schema;
use serde_json::{Map, Value, json};

/// A kind of object that people describe.
#[derive(Clone, Copy, Debug)]
pub struct Resource {
    /// Its name without prefix, as in `target`: Terraform's and Ansible's is `lustre_target`.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// More about it: what it does and what it never does.
    pub description: &'static str,
    /// Its attributes, in the order of documentation.
    pub attributes: &'static [Attribute],
}

/// One attribute.
#[derive(Clone, Copy, Debug)]
pub struct Attribute {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: AttributeType,
    /// Who gives its value.
    pub presence: Presence,
    /// What changing it takes.
    pub change: ChangeEffect,
    /// The words that it may be; empty where anything of its type may.
    pub choices: &'static [&'static str],
    /// The value when it is not given, as JSON; empty where there is none.
    pub default: &'static str,
    /// What it is, with units and rules.
    pub description: &'static str,
    /// An example value, as JSON.
    pub example: &'static str,
    /// The `lustre-types` type that it parses as, as in `FsName`; empty for plain values.
    pub parses_as: &'static str,
}

/// Types of attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeType {
    /// A text.
    Text,
    /// An integer.
    Int,
    /// True or false.
    Bool,
    /// Texts in order.
    List,
    /// Texts without order or repetition.
    Set,
    /// Texts by name.
    Map,
    /// Ids by ids: whole numbers from 0 to 4294967295.
    Ids,
}

/// Who gives an attribute's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The person, always.
    Required,
    /// The person, or nobody.
    Optional,
    /// The person, or else the system.
    OptionalComputed,
    /// The system.
    Computed,
    /// The person, to the adapter and the request around the spec, not stored with the object.
    Request,
}

/// What changing an attribute takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeEffect {
    /// Nothing: it is changed in place.
    InPlace,
    /// It names the object: another value is another object.
    Identity,
    /// A new format; so a change is refused, never done silently.
    Reformat,
    /// Not changed by people.
    None,
}

impl Resource {
    /// The attribute of that name.
    pub fn attribute(&self, name: &str) -> Option<&'static Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// JSON schema of what a person sends: the attributes that are stored with the object.
    pub fn spec_schema(&self) -> Schema {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for attribute in self.attributes.iter().filter(|attribute| attribute.is_in_spec()) {
            properties.insert(attribute.name.to_owned(), attribute.schema());
            if attribute.presence == Presence::Required {
                required.push(attribute.name);
            }
        }
        let schema = json!({
            "type": "object", "description": self.description, "properties": properties,
            "required": required, "additionalProperties": false,
        });
        schema.try_into().expect("an object is a schema")
    }
}

impl Attribute {
    /// Whether it is part of the `…Spec` type.
    pub fn is_in_spec(&self) -> bool {
        !matches!(self.presence, Presence::Computed | Presence::Request)
    }

    /// The default as JSON value.
    pub fn default_value(&self) -> Option<Value> {
        (!self.default.is_empty())
            .then(|| serde_json::from_str(self.default).expect("a table's default is JSON: tested"))
    }

    /// The example as JSON value.
    pub fn example_value(&self) -> Value {
        serde_json::from_str(self.example).expect("a table's example is JSON: tested")
    }

    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            AttributeType::Text => json!({ "type": "string" }),
            AttributeType::Int => json!({ "type": "integer" }),
            AttributeType::Bool => json!({ "type": "boolean" }),
            AttributeType::List => json!({ "type": "array", "items": { "type": "string" } }),
            AttributeType::Set => json!({ "type": "array", "items": { "type": "string" }, "uniqueItems": true }),
            AttributeType::Map => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            AttributeType::Ids => json!({
                "type": "object", "additionalProperties": { "type": "integer", "minimum": 0, "maximum": u32::MAX },
            }),
        };
        let object = schema.as_object_mut().expect("made as an object above");
        object.insert("description".into(), self.description.into());
        object.insert("examples".into(), json!([self.example_value()]));
        if !self.choices.is_empty() {
            object.insert("enum".into(), json!(self.choices));
        }
        if let Some(default) = self.default_value() {
            object.insert("default".into(), default);
        }
        schema
    }
}

macro_rules! spec_schema_from_table {
    ($($type:ty, $name:literal, $table:expr;)+) => { $(
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> Schema {
                $table.spec_schema()
            }
        }
    )+ };
}

spec_schema_from_table! {
    crate::filesystem::FilesystemSpec, "FilesystemSpec", FILESYSTEM;
    crate::target::TargetSpec, "TargetSpec", TARGET;
    crate::param::ParamSpec, "ParamSpec", PARAM;
    crate::pool::PoolSpec, "PoolSpec", POOL;
    crate::nodemap::NodemapSpec, "NodemapSpec", NODEMAP;
    crate::nodemap::NodemapsSpec, "NodemapsSpec", NODEMAPS;
    crate::param_set::ParamSetSpec, "ParamSetSpec", PARAMS;
    crate::proxy::ProxySpec, "ProxySpec", MGS_PROXY;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Every attribute's example, as the body of a request.
    fn full_example(resource: &Resource) -> Map<String, Value> {
        let in_spec = resource.attributes.iter().filter(|attribute| attribute.is_in_spec());
        in_spec.map(|attribute| (attribute.name.to_owned(), attribute.example_value())).collect()
    }

    fn table_is_the_type<T: serde::Serialize + serde::de::DeserializeOwned>(resource: &Resource) {
        let example = Value::Object(full_example(resource));
        let spec: T = serde_json::from_value(example.clone()).unwrap_or_else(|e| panic!("{}: {e}", resource.name));
        let written = serde_json::to_value(&spec).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
        assert_eq!(
            keys(&written),
            keys(&example),
            "{}: the table and the type have different attributes",
            resource.name
        );
        // Only the required ones are enough, and each of them is needed.
        let required: Map<_, _> = resource
            .attributes
            .iter()
            .filter(|a| a.presence == Presence::Required)
            .map(|a| (a.name.to_owned(), a.example_value()))
            .collect();
        serde_json::from_value::<T>(Value::Object(required.clone()))
            .unwrap_or_else(|e| panic!("{}: {e}", resource.name));
        for name in required.keys() {
            let mut short = required.clone();
            short.remove(name);
            assert!(
                serde_json::from_value::<T>(Value::Object(short)).is_err(),
                "{}: {name} is not needed",
                resource.name
            );
        }
        let mut unknown = full_example(resource);
        unknown.insert("bogus".into(), json!(1));
        let error = serde_json::from_value::<T>(Value::Object(unknown)).err().expect("unknown fields are refused");
        assert!(error.to_string().contains("bogus"), "{error}");
    }

    #[test]
    fn each_table_is_its_type() {
        table_is_the_type::<crate::filesystem::FilesystemSpec>(&FILESYSTEM);
        table_is_the_type::<crate::target::TargetSpec>(&TARGET);
        table_is_the_type::<crate::param::ParamSpec>(&PARAM);
        table_is_the_type::<crate::pool::PoolSpec>(&POOL);
        table_is_the_type::<crate::nodemap::NodemapSpec>(&NODEMAP);
        table_is_the_type::<crate::nodemap::NodemapsSpec>(&NODEMAPS);
        table_is_the_type::<crate::param_set::ParamSetSpec>(&PARAMS);
        table_is_the_type::<crate::proxy::ProxySpec>(&MGS_PROXY);
    }

    #[test]
    fn every_attribute_is_named_and_described_as_terraform_and_ansible_want() {
        const RESERVED: [&str; 7] =
            ["count", "for_each", "provider", "lifecycle", "depends_on", "connection", "provisioner"];
        for resource in RESOURCES {
            let mut names = BTreeSet::new();
            for attribute in resource.attributes {
                let name = attribute.name;
                assert!(
                    name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && !RESERVED.contains(&name),
                    "{name}"
                );
                assert!(names.insert(name), "{}: {name} twice", resource.name);
                assert!(attribute.description.ends_with('.'), "{}.{name}: a sentence", resource.name);
                let _ = (attribute.default_value(), attribute.example_value());
            }
        }
    }
}
