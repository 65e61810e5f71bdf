//! Type constraints: what shape a value may have.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value as Json;

/// Types that nest deeper than this are refused: they come only from somebody who wants to overflow our stack.
pub(crate) const MAX_DEPTH: usize = 64;

/// A type constraint of Terraform's type system.
///
/// On the wire it is JSON: `"string"`, `["set","string"]`, `["object",{"name":"string"}]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Text, UTF-8.
    String,
    /// A number of any size; see [`crate::Number`].
    Number,
    /// true or false.
    Bool,
    /// Ordered elements of one type.
    List(Box<Type>),
    /// Distinct elements of one type, without order.
    Set(Box<Type>),
    /// Elements of one type under string keys.
    Map(Box<Type>),
    /// Elements of known number, each with its own type. Not for schemas; arrives inside [`Type::Dynamic`].
    Tuple(Vec<Type>),
    /// Named attributes, each with its own type; a value has all of them, null where unset.
    Object(BTreeMap<String, Type>),
    /// Anything; the value carries its type.
    Dynamic,
}

/// A type constraint that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// The bytes are no JSON.
    #[error("a type constraint is not JSON: {0}")]
    NotJson(String),
    /// JSON, but no type constraint.
    #[error("unknown type constraint {0}")]
    Unknown(String),
    /// Nests too deep.
    #[error("a type constraint nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl Type {
    /// List of `element`.
    pub fn list(element: Type) -> Self {
        Self::List(Box::new(element))
    }

    /// Set of `element`.
    pub fn set(element: Type) -> Self {
        Self::Set(Box::new(element))
    }

    /// Map of strings to `element`.
    pub fn map(element: Type) -> Self {
        Self::Map(Box::new(element))
    }

    /// Object with these attributes.
    pub fn object<N: Into<String>>(attributes: impl IntoIterator<Item = (N, Type)>) -> Self {
        Self::Object(attributes.into_iter().map(|(name, ty)| (name.into(), ty)).collect())
    }

    /// The JSON form that the protocol carries.
    pub fn to_json(&self) -> Json {
        let pair = |kind: &str, inner: Json| Json::Array(vec![kind.into(), inner]);
        match self {
            Self::String => "string".into(),
            Self::Number => "number".into(),
            Self::Bool => "bool".into(),
            Self::Dynamic => "dynamic".into(),
            Self::List(element) => pair("list", element.to_json()),
            Self::Set(element) => pair("set", element.to_json()),
            Self::Map(element) => pair("map", element.to_json()),
            Self::Tuple(elements) => pair("tuple", elements.iter().map(Type::to_json).collect()),
            Self::Object(attributes) => {
                pair("object", Json::Object(attributes.iter().map(|(name, ty)| (name.clone(), ty.to_json())).collect()))
            }
        }
    }

    /// Parses the JSON form. Errors: no JSON, not a type constraint, nested too deep.
    pub fn parse_json(text: &[u8]) -> Result<Self, TypeError> {
        let json: Json = serde_json::from_slice(text).map_err(|err| TypeError::NotJson(err.to_string()))?;
        Self::from_json(&json, 0)
    }

    fn from_json(json: &Json, depth: usize) -> Result<Self, TypeError> {
        if depth > MAX_DEPTH {
            return Err(TypeError::TooDeep);
        }
        let unknown = || TypeError::Unknown(abbreviate(&json.to_string()));
        let inner = |json: &Json| Self::from_json(json, depth + 1);
        match json {
            Json::String(name) => match name.as_str() {
                "string" => Ok(Self::String),
                "number" => Ok(Self::Number),
                "bool" => Ok(Self::Bool),
                "dynamic" => Ok(Self::Dynamic),
                _ => Err(unknown()),
            },
            // An object may carry a third element, the list of its optional attributes; a value has them all the same.
            Json::Array(parts) if parts.len() >= 2 => match (parts[0].as_str(), &parts[1]) {
                (Some("list"), element) => inner(element).map(Self::list),
                (Some("set"), element) => inner(element).map(Self::set),
                (Some("map"), element) => inner(element).map(Self::map),
                (Some("tuple"), Json::Array(elements)) => {
                    elements.iter().map(inner).collect::<Result<_, _>>().map(Self::Tuple)
                }
                (Some("object"), Json::Object(attributes)) => attributes
                    .iter()
                    .map(|(name, ty)| Ok((name.clone(), inner(ty)?)))
                    .collect::<Result<_, _>>()
                    .map(Self::Object),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Type {
    /// As Terraform writes it: `set(string)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::Dynamic => f.write_str("any"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Set(element) => write!(f, "set({element})"),
            Self::Map(element) => write!(f, "map({element})"),
            Self::Tuple(elements) => write!(f, "tuple of {}", elements.len()),
            Self::Object(attributes) => write!(f, "object with {} attributes", attributes.len()),
        }
    }
}

/// At most 60 characters of a stranger's text, for a message.
pub(crate) fn abbreviate(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_form_is_what_terraform_writes() {
        let ty = Type::object([
            ("name", Type::String),
            ("nids", Type::set(Type::String)),
            ("any", Type::Dynamic),
            ("pairs", Type::map(Type::list(Type::Number))),
        ]);
        let json =
            r#"["object",{"any":"dynamic","name":"string","nids":["set","string"],"pairs":["map",["list","number"]]}]"#;
        assert_eq!(ty.to_json().to_string(), json);
        assert_eq!(Type::parse_json(json.as_bytes()), Ok(ty));
    }

    #[test]
    fn a_type_that_nests_without_end_is_refused() {
        let deep = format!("{}\"string\"{}", "[\"list\",".repeat(100), "]".repeat(100));
        assert_eq!(Type::parse_json(deep.as_bytes()), Err(TypeError::TooDeep));
        let deeper = format!("{}\"string\"{}", "[\"list\",".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(Type::parse_json(deeper.as_bytes()), Err(TypeError::NotJson(_))));
    }

    #[test]
    fn an_unknown_type_is_named() {
        let err = Type::parse_json(br#"["bag","string"]"#).expect_err("bag is no type");
        assert_eq!(err.to_string(), r#"unknown type constraint ["bag","string"]"#);
    }
}
