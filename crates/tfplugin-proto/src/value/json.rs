//! The JSON form of values: state files, as UpgradeResourceState gets them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::msgpack::completed;
use super::{DynamicType, Number, Place, Set, Value, ValueError};
use crate::ty::{MAX_DEPTH, Type, abbreviate};

/// Reads a value of type `ty` from JSON text.
///
/// State of an older release may lack attributes (null) or have ones that were removed since (dropped). Numbers keep
/// every digit. Errors: not JSON, or not of that type.
pub fn decode_json(ty: &Type, text: &[u8]) -> Result<Value, ValueError> {
    let raw: &RawValue = parse(text)?;
    read(ty, raw, 0)
}

fn parse<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Result<T, ValueError> {
    serde_json::from_slice(text).map_err(|err| ValueError::NotJson { place: Place::default(), reason: err.to_string() })
}

/// Parses what `ty` asks for, so that a wrong type is reported as one.
fn expect<'a, T: Deserialize<'a>>(ty: &Type, raw: &'a RawValue) -> Result<T, ValueError> {
    serde_json::from_str(raw.get()).map_err(|_| ValueError::mismatch(ty, abbreviate(raw.get())))
}

fn read(ty: &Type, raw: &RawValue, depth: usize) -> Result<Value, ValueError> {
    if depth > MAX_DEPTH {
        return Err(ValueError::TooDeep { place: Place::default() });
    }
    if raw.get() == "null" {
        return Ok(Value::Null);
    }
    Ok(match ty {
        Type::Bool => Value::Bool(expect(ty, raw)?),
        Type::String => Value::String(expect(ty, raw)?),
        Type::Number => {
            // Old states hold numbers as text, too.
            let text: String = if raw.get().starts_with('"') { expect(ty, raw)? } else { raw.get().to_owned() };
            match Number::parse(&text) {
                Some(number) => Value::Number(number),
                None => return Err(ValueError::NotANumber { place: Place::default(), text: abbreviate(&text) }),
            }
        }
        Type::List(element) => Value::List(elements(ty, |_| Some(element), raw, depth)?),
        Type::Set(element) => Value::Set(elements(ty, |_| Some(element), raw, depth)?.into_iter().collect::<Set>()),
        Type::Tuple(types) => {
            let elements = elements(ty, |index| types.get(index), raw, depth)?;
            if elements.len() != types.len() {
                return Err(ValueError::mismatch(ty, format_args!("{} elements", elements.len())));
            }
            Value::List(elements)
        }
        Type::Map(element) => Value::Map(entries(ty, |_| Some(element), raw, depth)?),
        Type::Object(types) => Value::Object(completed(types, entries(ty, |name| types.get(name), raw, depth)?)),
        Type::Dynamic => dynamic(raw, depth)?,
    })
}

fn elements<'t>(
    ty: &Type,
    element: impl Fn(usize) -> Option<&'t Type>,
    raw: &RawValue,
    depth: usize,
) -> Result<Vec<Value>, ValueError> {
    let raw: Vec<&RawValue> = expect(ty, raw)?;
    let mut values = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let Some(element) = element(index) else { return Err(ValueError::mismatch(ty, "more elements")) };
        values.push(read(element, raw, depth + 1).map_err(|err| err.at(|place| place.below_index(index)))?);
    }
    Ok(values)
}

fn entries<'t>(
    ty: &Type,
    element: impl Fn(&str) -> Option<&'t Type>,
    raw: &RawValue,
    depth: usize,
) -> Result<BTreeMap<String, Value>, ValueError> {
    let raw: BTreeMap<String, &RawValue> = expect(ty, raw)?;
    let mut values = BTreeMap::new();
    for (name, raw) in raw {
        let Some(element) = element(&name) else { continue };
        let value = read(element, raw, depth + 1).map_err(|err| err.at(|place| place.below(&name)))?;
        values.insert(name, value);
    }
    Ok(values)
}

fn dynamic(raw: &RawValue, depth: usize) -> Result<Value, ValueError> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow)]
        value: &'a RawValue,
        #[serde(borrow, rename = "type")]
        ty: &'a RawValue,
    }
    let typed: Typed<'_> = expect(&Type::Dynamic, raw)?;
    let ty = Type::parse_json(typed.ty.get().as_bytes())
        .map_err(|source| ValueError::Type { place: Place::default(), source })?;
    let value = read(&ty, typed.value, depth + 1)?;
    Ok(Value::Dynamic(Box::new((DynamicType(ty), value))))
}
