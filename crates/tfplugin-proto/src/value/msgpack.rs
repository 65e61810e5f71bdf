//! The msgpack form of values, read and written by their type.
//!
//! null is nil; unknown is any extension value; a number is an integer, a double or decimal text; sets are arrays;
//! objects are maps with exactly the attributes of the schema; a dynamic value is `[type as JSON, value]`.

use std::collections::BTreeMap;

use rmp::Marker;
use rmp::encode as out;

use super::{DynamicType, Number, Place, Set, Value, ValueError};
use crate::ty::{MAX_DEPTH, Type, abbreviate};

/// The largest value that is read: terraform's own limit for a reply is 64 MiB, a state of one resource is far below.
pub const MAX_BYTES: usize = 256 << 20;

/// Elements for which room is made before they are seen; a length is only a claim.
const CAPACITY_ON_A_CLAIM: usize = 256;

/// Reads a value of type `ty`.
///
/// An object may lack attributes (they read as null) but has none that the schema doesn't know. Refinements of unknown
/// values are skipped. Errors: anything that doesn't fit `ty`, bytes too few or too many, more than [`MAX_BYTES`].
pub fn decode(ty: &Type, bytes: &[u8]) -> Result<Value, ValueError> {
    if bytes.len() > MAX_BYTES {
        return Err(ValueError::TooLarge(bytes.len()));
    }
    let mut reader = Reader { rest: bytes };
    let value = reader.value(ty, 0)?;
    match reader.rest.len() {
        0 => Ok(value),
        trailing => Err(ValueError::Trailing(trailing)),
    }
}

/// Writes a value as type `ty`: every attribute of the schema, and in its order.
///
/// Errors: a value that isn't of that type, an attribute that the schema doesn't have.
pub fn encode(ty: &Type, value: &Value) -> Result<Vec<u8>, ValueError> {
    let mut bytes = Vec::with_capacity(256);
    write(&mut bytes, ty, value)?;
    Ok(bytes)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], ValueError> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(ValueError::Short { place: Place::default() });
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let head = self.take(N)?;
        Ok(head.try_into().expect("take gives as many bytes as were asked for"))
    }

    fn marker(&mut self) -> Result<Marker, ValueError> {
        let [byte] = self.array()?;
        Ok(Marker::from_u8(byte))
    }

    /// A length field of `width` bytes.
    fn len(&mut self, width: usize) -> Result<usize, ValueError> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)))
    }

    fn value(&mut self, ty: &Type, depth: usize) -> Result<Value, ValueError> {
        if depth > MAX_DEPTH {
            return Err(ValueError::TooDeep { place: Place::default() });
        }
        let marker = self.marker()?;
        if marker == Marker::Null {
            return Ok(Value::Null);
        }
        if let Some(len) = self.ext_len(marker)? {
            // One byte for the kind; kind 12 holds refinements, which may be ignored.
            self.take(len + 1)?;
            return Ok(Value::Unknown);
        }
        match ty {
            Type::Bool => match marker {
                Marker::True => Ok(Value::Bool(true)),
                Marker::False => Ok(Value::Bool(false)),
                other => Err(mismatch(ty, other)),
            },
            Type::String => self.text(marker, ty).map(Value::String),
            Type::Number => self.number(marker).map(Value::Number),
            Type::List(element) => self.elements(marker, ty, |_| Some(element), depth).map(Value::List),
            Type::Set(element) => {
                let elements = self.elements(marker, ty, |_| Some(element), depth)?;
                Ok(Value::Set(elements.into_iter().collect::<Set>()))
            }
            Type::Tuple(types) => {
                let elements = self.elements(marker, ty, |index| types.get(index), depth)?;
                if elements.len() != types.len() {
                    return Err(ValueError::mismatch(ty, format_args!("{} elements", elements.len())));
                }
                Ok(Value::List(elements))
            }
            Type::Map(element) => self.entries(marker, ty, |_| Some(element), depth).map(Value::Map),
            Type::Object(types) => {
                let attributes = self.entries(marker, ty, |name| types.get(name), depth)?;
                Ok(Value::Object(completed(types, attributes)))
            }
            Type::Dynamic => self.dynamic(marker, depth),
        }
    }

    fn elements<'t>(
        &mut self,
        marker: Marker,
        ty: &Type,
        element: impl Fn(usize) -> Option<&'t Type>,
        depth: usize,
    ) -> Result<Vec<Value>, ValueError> {
        let len = self.array_len(marker, ty)?;
        // Each element takes a byte at least.
        if len > self.rest.len() {
            return Err(ValueError::Short { place: Place::default() });
        }
        let mut elements = Vec::with_capacity(len.min(CAPACITY_ON_A_CLAIM));
        for index in 0..len {
            let Some(element) = element(index) else {
                return Err(ValueError::mismatch(ty, format_args!("{len} elements")));
            };
            elements.push(self.value(element, depth + 1).map_err(|err| err.at(|place| place.below_index(index)))?);
        }
        Ok(elements)
    }

    fn entries<'t>(
        &mut self,
        marker: Marker,
        ty: &Type,
        element: impl Fn(&str) -> Option<&'t Type>,
        depth: usize,
    ) -> Result<BTreeMap<String, Value>, ValueError> {
        let len = match marker {
            Marker::FixMap(len) => usize::from(len),
            Marker::Map16 => self.len(2)?,
            Marker::Map32 => self.len(4)?,
            other => return Err(mismatch(ty, other)),
        };
        let mut entries = BTreeMap::new();
        for _ in 0..len {
            let marker = self.marker()?;
            let key = self.text(marker, &Type::String)?;
            let Some(element) = element(&key) else {
                return Err(ValueError::UnknownAttribute { place: Place::default().below(&key) });
            };
            let value = self.value(element, depth + 1).map_err(|err| err.at(|place| place.below(&key)))?;
            if entries.contains_key(&key) {
                return Err(ValueError::Duplicate { place: Place::default().below(&key) });
            }
            entries.insert(key, value);
        }
        Ok(entries)
    }

    fn dynamic(&mut self, marker: Marker, depth: usize) -> Result<Value, ValueError> {
        let len = self.array_len(marker, &Type::Dynamic)?;
        if len != 2 {
            return Err(ValueError::mismatch("a pair of type and value", format_args!("{len} elements")));
        }
        let marker = self.marker()?;
        let len = match marker {
            Marker::Bin8 => self.len(1)?,
            Marker::Bin16 => self.len(2)?,
            Marker::Bin32 => self.len(4)?,
            other => return Err(mismatch("a type constraint", other)),
        };
        let json = self.take(len)?;
        let ty = Type::parse_json(json).map_err(|source| ValueError::Type { place: Place::default(), source })?;
        let value = self.value(&ty, depth + 1)?;
        Ok(Value::Dynamic(Box::new((DynamicType(ty), value))))
    }

    fn array_len(&mut self, marker: Marker, ty: &Type) -> Result<usize, ValueError> {
        match marker {
            Marker::FixArray(len) => Ok(usize::from(len)),
            Marker::Array16 => self.len(2),
            Marker::Array32 => self.len(4),
            other => Err(mismatch(ty, other)),
        }
    }

    fn text(&mut self, marker: Marker, ty: &Type) -> Result<String, ValueError> {
        let len = match marker {
            Marker::FixStr(len) => usize::from(len),
            Marker::Str8 => self.len(1)?,
            Marker::Str16 => self.len(2)?,
            Marker::Str32 => self.len(4)?,
            other => return Err(mismatch(ty, other)),
        };
        let bytes = self.take(len)?;
        match str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(ValueError::NotUtf8 { place: Place::default() }),
        }
    }

    fn number(&mut self, marker: Marker) -> Result<Number, ValueError> {
        Ok(match marker {
            Marker::FixPos(value) => Number::Int(value.into()),
            Marker::FixNeg(value) => Number::Int(value.into()),
            Marker::U8 => Number::Int(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Number::Int(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Number::Int(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Number::from_u64(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Number::Int(i8::from_be_bytes(self.array()?).into()),
            Marker::I16 => Number::Int(i16::from_be_bytes(self.array()?).into()),
            Marker::I32 => Number::Int(i32::from_be_bytes(self.array()?).into()),
            Marker::I64 => Number::Int(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Number::from_f64(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Number::from_f64(f64::from_be_bytes(self.array()?)),
            other => {
                let text = self.text(other, &Type::Number)?;
                match Number::parse(&text) {
                    Some(number) => number,
                    None => {
                        return Err(ValueError::NotANumber { place: Place::default(), text: abbreviate(&text) });
                    }
                }
            }
        })
    }

    /// Length of an extension value, without its kind; `None` if it isn't one.
    fn ext_len(&mut self, marker: Marker) -> Result<Option<usize>, ValueError> {
        Ok(Some(match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.len(1)?,
            Marker::Ext16 => self.len(2)?,
            Marker::Ext32 => self.len(4)?,
            _ => return Ok(None),
        }))
    }
}

/// The attributes with those that were absent, as null.
pub(super) fn completed(
    types: &BTreeMap<String, Type>,
    mut attributes: BTreeMap<String, Value>,
) -> BTreeMap<String, Value> {
    if attributes.len() < types.len() {
        for name in types.keys().filter(|name| !attributes.contains_key(*name)).cloned().collect::<Vec<_>>() {
            attributes.insert(name, Value::Null);
        }
    }
    attributes
}

fn mismatch(expected: impl std::fmt::Display, found: Marker) -> ValueError {
    let found = match found {
        Marker::Null => "null",
        Marker::True | Marker::False => "bool",
        Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => "string",
        Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => "array",
        Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => "map",
        Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => "bytes",
        Marker::Reserved => "a byte that msgpack doesn't use",
        _ => "number",
    };
    ValueError::mismatch(expected, found)
}

/// Fixed extension of one byte, kind 0: an unknown value without refinements.
const UNKNOWN: [u8; 3] = [0xd4, 0, 0];

/// Why writing can't fail: the writer is memory.
const IN_MEMORY: &str = "a Vec takes every byte";

fn write(bytes: &mut Vec<u8>, ty: &Type, value: &Value) -> Result<(), ValueError> {
    match (ty, value) {
        (_, Value::Null) => out::write_nil(bytes).expect(IN_MEMORY),
        (_, Value::Unknown) => bytes.extend(UNKNOWN),
        (Type::Bool, Value::Bool(value)) => out::write_bool(bytes, *value).expect(IN_MEMORY),
        (Type::String, Value::String(text)) => out::write_str(bytes, text).expect(IN_MEMORY),
        (Type::Number, Value::Number(number)) => write_number(bytes, number),
        (Type::List(element), Value::List(elements)) | (Type::Set(element), Value::Set(Set(elements))) => {
            out::write_array_len(bytes, len32(elements.len())?).expect(IN_MEMORY);
            for (index, value) in elements.iter().enumerate() {
                write(bytes, element, value).map_err(|err| err.at(|place| place.below_index(index)))?;
            }
        }
        (Type::Tuple(types), Value::List(elements)) if types.len() == elements.len() => {
            out::write_array_len(bytes, len32(elements.len())?).expect(IN_MEMORY);
            for (index, (ty, value)) in types.iter().zip(elements).enumerate() {
                write(bytes, ty, value).map_err(|err| err.at(|place| place.below_index(index)))?;
            }
        }
        (Type::Map(element), Value::Map(entries)) => {
            out::write_map_len(bytes, len32(entries.len())?).expect(IN_MEMORY);
            for (key, value) in entries {
                out::write_str(bytes, key).expect(IN_MEMORY);
                write(bytes, element, value).map_err(|err| err.at(|place| place.below(key)))?;
            }
        }
        (Type::Object(types), Value::Object(attributes)) => {
            if let Some(extra) = attributes.keys().find(|name| !types.contains_key(*name)) {
                return Err(ValueError::UnknownAttribute { place: Place::default().below(extra) });
            }
            out::write_map_len(bytes, len32(types.len())?).expect(IN_MEMORY);
            for (name, ty) in types {
                out::write_str(bytes, name).expect(IN_MEMORY);
                let value = attributes.get(name).unwrap_or(&Value::Null);
                write(bytes, ty, value).map_err(|err| err.at(|place| place.below(name)))?;
            }
        }
        (Type::Dynamic, Value::Dynamic(inner)) => {
            let (DynamicType(ty), value) = inner.as_ref();
            out::write_array_len(bytes, 2).expect(IN_MEMORY);
            out::write_bin(bytes, ty.to_json().to_string().as_bytes()).expect(IN_MEMORY);
            write(bytes, ty, value)?;
        }
        (ty, value) => return Err(ValueError::mismatch(ty, kind(value))),
    }
    Ok(())
}

fn write_number(bytes: &mut Vec<u8>, number: &Number) {
    match number {
        Number::Int(value) => {
            out::write_sint(bytes, *value).expect(IN_MEMORY);
        }
        Number::UInt(value) => {
            out::write_uint(bytes, *value).expect(IN_MEMORY);
        }
        Number::Float(value) => out::write_f64(bytes, *value).expect(IN_MEMORY),
        Number::Decimal(text) => out::write_str(bytes, text).expect(IN_MEMORY),
    }
}

fn len32(len: usize) -> Result<u32, ValueError> {
    u32::try_from(len).map_err(|_| ValueError::TooLarge(len))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Unknown => "unknown",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::List(_) => "list",
        Value::Set(_) => "set",
        Value::Map(_) => "map",
        Value::Object(_) => "object",
        Value::Dynamic(_) => "dynamic value",
    }
}
