//! Whatever is configured and whatever is there: a plan keeps terraform's rules, and is the same when asked again.

use std::sync::Arc;

use lustre_api::attributes::{Attribute as Entry, AttributeType, Presence, RESOURCES, Resource as Table};
use proptest::prelude::*;
use proptest::sample::select;
use tfplugin_proto::rules::plan_faults;
use tfplugin_proto::{Diagnostics, Plan, Resource, Value};

use super::all;
use crate::attributes;
use crate::session::Session;

fn resource(table: &Table) -> Arc<dyn Resource> {
    let session = Session::new();
    session.configure(None);
    let name = format!("lustre_{}", table.name);
    all(&session).into_iter().find(|(known, _)| *known == name).expect("a resource per table").1
}

/// Values of an attribute, some of which say the same.
fn values(entry: &'static Entry) -> BoxedStrategy<Value> {
    let example = attributes::from_json(entry, &entry.example_value());
    let texts: &[&str] = match entry.parses_as {
        "NidList" => &["10.0.0.6@tcp", "10.0.0.6", "10.0.0.7@tcp,10.1.0.7@o2ib"],
        "NidRange" => &["10.0.0.1@tcp", "10.0.0.1@tcp0", "10.0.0.[2-9]@tcp"],
        "ParamName" => &["osc.*.max_dirty_mb", "osc/*/max_dirty_mb", "timeout"],
        _ => &["a", "b"],
    };
    let text = select(texts).prop_map(Value::from);
    let other = match entry.kind {
        AttributeType::Text if !entry.choices.is_empty() => select(entry.choices).prop_map(Value::from).boxed(),
        AttributeType::Text => text.boxed(),
        AttributeType::Int => (0_i64..3).prop_map(Value::from).boxed(),
        AttributeType::Bool => any::<bool>().prop_map(Value::from).boxed(),
        AttributeType::List => prop::collection::vec(text, 0..3).prop_map(Value::List).boxed(),
        AttributeType::Set => prop::collection::vec(text, 0..3).prop_map(Value::set).boxed(),
        AttributeType::Ids => {
            prop::collection::btree_map("[12]", (0_i64..3).prop_map(Value::from), 0..2).prop_map(Value::Map).boxed()
        }
        AttributeType::Map => prop::collection::btree_map("[ab]", text, 0..2).prop_map(Value::Map).boxed(),
    };
    prop_oneof![Just(example), other].boxed()
}

fn objects(table: &'static Table, value: fn(&'static Entry) -> BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    let attributes = table.attributes.iter().map(|entry| value(entry).prop_map(|value| (entry.name, value)));
    attributes.collect::<Vec<_>>().prop_map(Value::object).boxed()
}

fn configured(entry: &'static Entry) -> BoxedStrategy<Value> {
    match entry.presence {
        Presence::Computed => Just(Value::Null).boxed(),
        Presence::Required => prop_oneof![5 => values(entry), 1 => Just(Value::Unknown)].boxed(),
        _ => prop_oneof![3 => values(entry), 1 => Just(Value::Unknown), 3 => Just(Value::Null)].boxed(),
    }
}

fn stored(entry: &'static Entry) -> BoxedStrategy<Value> {
    match entry.presence {
        Presence::Required => values(entry),
        _ => prop_oneof![3 => values(entry), 1 => Just(Value::Null)].boxed(),
    }
}

/// What core proposes: the configuration, and prior values of computed attributes that it leaves open.
fn proposed(resource: &dyn Resource, prior: &Value, config: &Value) -> Value {
    let mut proposed = config.clone();
    for attribute in resource.schema().attributes {
        if attribute.mode.is_computed() && config.get(&attribute.name).is_null() {
            let open = if prior.is_null() { Value::Unknown } else { prior.get(&attribute.name).clone() };
            proposed.put(&attribute.name, open);
        }
    }
    proposed
}

/// The object when everything is known.
fn resolved(table: &Table, object: &Value) -> Value {
    let mut object = object.clone();
    for entry in table.attributes {
        if object.get(entry.name).is_unknown() {
            // After an apply no node has something else.
            let value = match entry.name {
                "drift" => Value::Map(std::collections::BTreeMap::new()),
                _ => attributes::from_json(entry, &entry.example_value()),
            };
            object.put(entry.name, value);
        }
    }
    object
}

async fn plan(table: &Table, prior: &Value, config: &Value) -> (Plan, Diagnostics) {
    let resource = resource(table);
    let planned = proposed(&*resource, prior, config);
    let mut plan = Plan { prior: prior.clone(), config: config.clone(), planned, requires_replace: Vec::new() };
    let mut diags = Diagnostics::default();
    resource.plan(&mut plan, &mut diags).await;
    (plan, diags)
}

proptest! {
    #[test]
    fn plans_keep_terraforms_rules(
        (table, prior, config) in select(RESOURCES).prop_flat_map(|table| {
            let prior = prop_oneof![1 => Just(Value::Null), 3 => objects(table, stored)];
            (Just(table), prior, objects(table, configured))
        })
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (first, diags) = plan(table, &prior, &config).await;
            let faults = plan_faults(&resource(table).schema(), &config, &prior, &first.planned);
            prop_assert_eq!(faults, Vec::<String>::new());
            prop_assert_eq!(plan(table, &prior, &config).await, (first.clone(), diags));

            // What was planned and then made plans empty.
            let config = resolved(table, &config);
            let (first, diags) = plan(table, &prior, &config).await;
            if !diags.has_errors() && first.requires_replace.is_empty() {
                let made = resolved(table, &first.planned);
                let (again, diags) = plan(table, &made, &config).await;
                prop_assert_eq!(again.planned, made);
                prop_assert_eq!(diags, Diagnostics::default());
            }
            Ok(())
        })?;
    }
}
