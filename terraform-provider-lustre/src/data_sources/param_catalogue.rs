//! `data "lustre_param_catalogue"`.

use lustre_api::param::CatalogueEntry;
use lustre_plan::catalogue;
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Type, Value, async_trait};

use super::{computed, texts, word};

/// The catalogue is part of the provider: it needs no MGS.
pub(super) struct ParamCatalogue;

#[async_trait]
impl DataSource for ParamCatalogue {
    fn schema(&self) -> Schema {
        let entry = Type::object([
            ("name", Type::String),
            ("nodes", Type::list(Type::String)),
            ("type", Type::String),
            ("min", Type::Number),
            ("max", Type::Number),
            ("unit", Type::String),
            ("values", Type::list(Type::String)),
            ("default", Type::String),
            ("since", Type::String),
            ("set_by", Type::String),
            ("effective", Type::String),
            ("description", Type::String),
        ]);
        Schema {
            description: "What is known of tunables: type, range, default, versions, who can set them, and when a new value works. \
                It is what plans check values against."
                .into(),
            attributes: vec![
                Attribute::new("contains", Type::String, Mode::Optional, "Only names that contain this."),
                computed("entries", Type::list(entry), "The tunables, by name."),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, _: &Value, _: &mut Diagnostics) {}

    async fn read(&self, config: &Value, _: &mut Diagnostics) -> Option<Value> {
        let contains = config.get("contains").as_str().known().unwrap_or_default().to_owned();
        let entries = catalogue::entries().iter().filter(|entry| entry.name.contains(&contains)).map(describe);
        Some(Value::object([("contains", config.get("contains").clone()), ("entries", Value::List(entries.collect()))]))
    }
}

fn describe(entry: &CatalogueEntry) -> Value {
    Value::object([
        ("name", entry.name.clone().into()),
        ("nodes", texts(&entry.nodes)),
        ("type", word(&entry.value_type)),
        ("min", entry.min.into()),
        ("max", entry.max.into()),
        ("unit", entry.unit.clone().into()),
        ("values", texts(&entry.values)),
        ("default", entry.default.clone().into()),
        ("since", entry.since.clone().into()),
        ("set_by", word(&entry.set_by)),
        ("effective", word(&entry.effective)),
        ("description", entry.description.clone().into()),
    ])
}
