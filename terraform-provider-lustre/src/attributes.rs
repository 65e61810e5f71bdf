//! The attribute tables of `lustre-api`, as Terraform schemas and values.

use lustre_api::attributes::{Attribute as Entry, AttributeType, ChangeEffect, Presence, Resource as Table};
use lustre_types::{
    FsName, NidList, NidRange, NodeName, NodemapName, ParamName, ParamScope, PoolName, TargetIndex, TargetKind,
};
use serde_json::{Map, Value as Json};
use tfplugin_proto::{Attribute, Mode, Schema, Type, Value};

/// The Terraform schema of a table, as a resource.
pub(crate) fn resource_schema(table: &Table) -> Schema {
    Schema {
        version: 0,
        description: format!("{}.\n\n{}", table.summary, table.description),
        attributes: table.attributes.iter().map(|entry| attribute(entry, mode(entry), &effect(entry))).collect(),
        blocks: Vec::new(),
    }
}

/// The attributes of a table that name an object; true: an import needs it.
pub(crate) fn identity_schema(table: &Table, named: &[(&str, bool)]) -> Schema {
    let attributes = named.iter().map(|(name, is_needed)| {
        let entry = table.attribute(name).expect("identities are made of attributes");
        attribute(entry, if *is_needed { Mode::Required } else { Mode::Optional }, "")
    });
    Schema { attributes: attributes.collect(), ..Schema::default() }
}

/// An object of a table of which nothing is known.
pub(crate) fn blank(table: &Table) -> Value {
    Value::object(table.attributes.iter().map(|entry| (entry.name, Value::Null)))
}

/// The attributes of a table as a data source gives them: `named` ones are asked for, the rest is answered.
pub(crate) fn read_only(table: &Table, named: &[&str]) -> Vec<Attribute> {
    let known = table.attributes.iter().filter(|entry| entry.presence != Presence::Request);
    known
        .map(|entry| {
            let is_named = named.contains(&entry.name);
            attribute(entry, if is_named { Mode::Required } else { Mode::Computed }, "")
        })
        .collect()
}

fn attribute(entry: &Entry, mode: Mode, note: &str) -> Attribute {
    let ty = match entry.kind {
        AttributeType::Text => Type::String,
        AttributeType::Int => Type::Number,
        AttributeType::Bool => Type::Bool,
        AttributeType::List => Type::list(Type::String),
        AttributeType::Set => Type::set(Type::String),
        AttributeType::Map => Type::map(Type::String),
        AttributeType::Ids => Type::map(Type::Number),
    };
    let mut description = entry.description.to_owned();
    if let Some(default) = entry.default_value().filter(|_| mode.is_configurable()) {
        description = format!("{description} Default: `{default}`.").replace("`\"", "`").replace("\"`", "`");
    }
    Attribute::new(entry.name, ty, mode, description + note)
}

fn mode(entry: &Entry) -> Mode {
    match entry.presence {
        Presence::Required => Mode::Required,
        Presence::Computed => Mode::Computed,
        Presence::OptionalComputed => Mode::OptionalComputed,
        // A default is what the provider plans where the configuration says nothing.
        Presence::Optional | Presence::Request if entry.default.is_empty() => Mode::Optional,
        Presence::Optional | Presence::Request => Mode::OptionalComputed,
    }
}

fn effect(entry: &Entry) -> String {
    match entry.change {
        ChangeEffect::Identity => " Changing it makes another object.".to_owned(),
        ChangeEffect::Reformat => " Can't be changed afterwards.".to_owned(),
        ChangeEffect::InPlace | ChangeEffect::None => String::new(),
    }
}

/// What is wrong with a configured value, in itself. Unknown and unset values are not looked at.
pub(crate) fn fault(entry: &Entry, value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text_fault(entry, text),
        Value::Number(number) => {
            let index = number.as_u64().and_then(|index| u32::try_from(index).ok());
            match (entry.parses_as, index) {
                ("TargetIndex", Some(index)) => TargetIndex::try_from(index).err().map(|err| err.to_string()),
                (_, Some(_)) => None,
                (_, None) => Some(format!("{number} is not a whole number from 0")),
            }
        }
        Value::List(elements) => elements.iter().find_map(|element| fault(entry, element)),
        Value::Set(elements) => elements.elements().iter().find_map(|element| fault(entry, element)),
        Value::Map(elements) if entry.kind == AttributeType::Ids => elements.iter().find_map(|(key, value)| {
            let is_id = key.parse::<u32>().is_ok_and(|id| id.to_string() == *key);
            (!is_id).then(|| format!("{key:?} is no id")).or_else(|| fault(entry, value))
        }),
        _ => None,
    }
}

fn text_fault(entry: &Entry, text: &str) -> Option<String> {
    if !entry.choices.is_empty() && !entry.choices.contains(&text) {
        return Some(format!("{text:?} is none of {}", entry.choices.join(", ")));
    }
    canonical(entry, text).err()
}

/// The text as Lustre would print it, so that two spellings of the same can be told from a change.
fn canonical(entry: &Entry, text: &str) -> Result<String, String> {
    fn of<T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display>(text: &str) -> Result<String, String> {
        text.parse::<T>().map(|value| value.to_string()).map_err(|err| err.to_string())
    }
    match entry.parses_as {
        "FsName" => of::<FsName>(text),
        "NidList" => of::<NidList>(text),
        "NidRange" => of::<NidRange>(text),
        "NodeName" => of::<NodeName>(text),
        "NodemapName" => of::<NodemapName>(text),
        "ParamName" => of::<ParamName>(text),
        "ParamScope" => of::<ParamScope>(text),
        "PoolName" => of::<PoolName>(text),
        "TargetKind" => of::<TargetKind>(text),
        _ => Ok(text.to_owned()),
    }
}

/// True if both say the same in different spelling; an empty list says the same as none.
pub(crate) fn means_the_same(entry: &Entry, a: &Value, b: &Value) -> bool {
    let is_nothing = |value: &Value| match value {
        Value::Null => true,
        Value::List(elements) => elements.is_empty(),
        Value::Set(elements) => elements.elements().is_empty(),
        Value::Map(elements) => elements.is_empty(),
        _ => false,
    };
    match (a, b) {
        (a, b) if a == b => true,
        (a, b) if is_nothing(a) && is_nothing(b) => true,
        (Value::String(a), Value::String(b)) => {
            matches!((canonical(entry, a), canonical(entry, b)), (Ok(a), Ok(b)) if a == b)
        }
        // Sets of a kind that has several spellings.
        (Value::Set(a), Value::Set(b)) if !entry.parses_as.is_empty() => {
            let all = |elements: &[Value]| {
                let texts = elements.iter().map(|element| canonical(entry, element.as_str().known()?).ok());
                texts.collect::<Option<std::collections::BTreeSet<_>>>()
            };
            matches!((all(a.elements()), all(b.elements())), (Some(a), Some(b)) if a == b)
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| means_the_same(entry, a, b))
        }
        _ => false,
    }
}

/// The value that is planned where the configuration says nothing.
pub(crate) fn default(entry: &Entry) -> Option<Value> {
    entry.default_value().map(|json| from_json(entry, &json))
}

/// The JSON body of a request, from the attributes that are set. `None` while one of them is unknown.
pub(crate) fn spec_json(table: &Table, object: &Value) -> Option<Json> {
    let mut spec = Map::new();
    for entry in table.attributes.iter().filter(|entry| entry.is_in_spec()) {
        let value = object.get(entry.name);
        // An index that the MGS will assign is not known in a plan; leaving it out says just that.
        if value.is_null() || (value.is_unknown() && entry.presence == Presence::OptionalComputed) {
            continue;
        }
        spec.insert(entry.name.to_owned(), to_json(value)?);
    }
    Some(Json::Object(spec))
}

fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::String(text) => text.clone().into(),
        Value::Bool(value) => (*value).into(),
        Value::Number(number) => number.as_u64()?.into(),
        Value::List(elements) => elements.iter().map(to_json).collect::<Option<_>>()?,
        Value::Set(elements) => elements.elements().iter().map(to_json).collect::<Option<_>>()?,
        Value::Map(elements) => {
            let pairs = elements.iter().map(|(key, value)| Some((key.clone(), to_json(value)?)));
            Json::Object(pairs.collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

/// The attributes of a view, for a data source.
pub(crate) fn viewed(table: &Table, view: &Json) -> Value {
    let known = table.attributes.iter().filter(|entry| entry.presence != Presence::Request);
    Value::object(known.map(|entry| (entry.name, from_json(entry, &view[entry.name]))))
}

/// A JSON value of an attribute's type; anything else is null.
pub(crate) fn from_json(entry: &Entry, json: &Json) -> Value {
    let texts = |json: &Json| -> Vec<Value> {
        let texts = json.as_array().into_iter().flatten();
        texts.filter_map(Json::as_str).map(Value::from).collect()
    };
    match (entry.kind, json) {
        (_, Json::Null) => Value::Null,
        (AttributeType::Text, json) => json.as_str().into(),
        (AttributeType::Int, json) => json.as_u64().into(),
        (AttributeType::Bool, json) => json.as_bool().into(),
        (AttributeType::List, json) => Value::List(texts(json)),
        (AttributeType::Set, json) => Value::set(texts(json)),
        (AttributeType::Ids, json) => {
            let pairs = json.as_object().into_iter().flatten();
            Value::Map(pairs.filter_map(|(key, value)| Some((key.clone(), value.as_u64()?.into()))).collect())
        }
        (AttributeType::Map, json) => {
            let pairs = json.as_object().into_iter().flatten();
            Value::Map(pairs.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.into()))).collect())
        }
    }
}
