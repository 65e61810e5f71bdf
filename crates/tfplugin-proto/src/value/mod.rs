//! Values of Terraform's type system: null, unknown or known, of a [`Type`].

mod error;
mod json;
mod msgpack;
mod number;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use error::{Place, ValueError};
pub use json::decode_json;
pub use msgpack::{MAX_BYTES, decode, encode};
pub use number::Number;

use crate::ty::Type;

/// A value. Which variants may occur is said by the [`Type`] that it was decoded with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Value {
    /// Not set.
    #[default]
    Null,
    /// To be known after apply.
    Unknown,
    /// true or false.
    Bool(bool),
    /// A number.
    Number(Number),
    /// Text.
    String(String),
    /// Elements of a list or tuple.
    List(Vec<Value>),
    /// Elements of a set.
    Set(Set),
    /// Elements of a map.
    Map(BTreeMap<String, Value>),
    /// Attributes of an object; one that is absent here is null.
    Object(BTreeMap<String, Value>),
    /// A value of a dynamic attribute, with its type.
    Dynamic(Box<(DynamicType, Value)>),
}

/// The type that a dynamic value carries; ordered by its JSON form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynamicType(pub Type);

impl Ord for DynamicType {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_json().to_string().cmp(&other.0.to_json().to_string())
    }
}

impl PartialOrd for DynamicType {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Elements of a set: sorted, known ones distinct. Unknown ones are kept apart, they may turn out different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Set(Vec<Value>);

impl Set {
    /// The elements, sorted.
    pub fn elements(&self) -> &[Value] {
        &self.0
    }
}

impl FromIterator<Value> for Set {
    fn from_iter<I: IntoIterator<Item = Value>>(elements: I) -> Self {
        let mut elements: Vec<Value> = elements.into_iter().collect();
        elements.sort();
        elements.dedup_by(|a, b| a == b && a.is_wholly_known());
        Self(elements)
    }
}

/// What a configuration says about one attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arg<T> {
    /// Nothing: unset.
    Null,
    /// Something that is known only after apply.
    Unknown,
    /// This.
    Known(T),
}

impl<T> Arg<T> {
    /// The known value.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Null | Self::Unknown => None,
        }
    }

    /// True for [`Arg::Unknown`].
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// True for [`Arg::Null`].
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Changes a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Arg<U> {
        match self {
            Self::Null => Arg::Null,
            Self::Unknown => Arg::Unknown,
            Self::Known(value) => Arg::Known(f(value)),
        }
    }
}

static NULL: Value = Value::Null;

impl Value {
    /// A known string.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// A known set.
    pub fn set(elements: impl IntoIterator<Item = Value>) -> Self {
        Self::Set(elements.into_iter().collect())
    }

    /// A known object.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Value)>) -> Self {
        Self::Object(attributes.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// True if unset.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// True if to be known after apply; a collection may be known while an element of it is not.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Unknown)
    }

    /// True if nothing in it is unknown.
    pub fn is_wholly_known(&self) -> bool {
        match self {
            Self::Unknown => false,
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => true,
            Self::List(elements) | Self::Set(Set(elements)) => elements.iter().all(Self::is_wholly_known),
            Self::Map(elements) | Self::Object(elements) => elements.values().all(Self::is_wholly_known),
            Self::Dynamic(inner) => inner.1.is_wholly_known(),
        }
    }

    /// The attribute of an object or the element of a map; null where there is none. An attribute of an unknown object
    /// is unknown.
    pub fn get(&self, name: &str) -> &Value {
        match self {
            Self::Object(attributes) | Self::Map(attributes) => attributes.get(name).unwrap_or(&NULL),
            Self::Unknown => self,
            _ => &NULL,
        }
    }

    /// Sets an attribute of an object; on anything but an object, nothing happens.
    pub fn put(&mut self, name: &str, value: impl Into<Value>) {
        if let Self::Object(attributes) = self {
            attributes.insert(name.to_owned(), value.into());
        }
    }

    /// As text. A value of another type counts as null: the schema says what it is, so that is a bug of the caller.
    pub fn as_str(&self) -> Arg<&str> {
        match self {
            Self::String(text) => Arg::Known(text),
            other => other.not_known(),
        }
    }

    /// As true or false.
    pub fn as_bool(&self) -> Arg<bool> {
        match self {
            Self::Bool(value) => Arg::Known(*value),
            other => other.not_known(),
        }
    }

    /// As a number.
    pub fn as_number(&self) -> Arg<&Number> {
        match self {
            Self::Number(number) => Arg::Known(number),
            other => other.not_known(),
        }
    }

    /// The elements of a list, tuple or set.
    pub fn as_elements(&self) -> Arg<&[Value]> {
        match self {
            Self::List(elements) | Self::Set(Set(elements)) => Arg::Known(elements),
            other => other.not_known(),
        }
    }

    /// The elements of a map or the attributes of an object.
    pub fn as_map(&self) -> Arg<&BTreeMap<String, Value>> {
        match self {
            Self::Map(elements) | Self::Object(elements) => Arg::Known(elements),
            other => other.not_known(),
        }
    }

    fn not_known<T>(&self) -> Arg<T> {
        debug_assert!(matches!(self, Self::Null | Self::Unknown), "{self:?} is read as another type");
        if self.is_unknown() { Arg::Unknown } else { Arg::Null }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Number(Number::Int(value))
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Number(Number::Int(value.into()))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(Number::from_u64(value))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
