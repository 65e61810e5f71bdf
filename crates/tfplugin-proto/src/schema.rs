//! Schemas: the attributes that a provider, resource or data source has.

use bytes::Bytes;

use crate::proto;
use crate::ty::Type;

/// Who sets an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The configuration, always.
    Required,
    /// The configuration, or nobody: unset stays null.
    Optional,
    /// The configuration, or else the provider.
    OptionalComputed,
    /// The provider.
    Computed,
}

impl Mode {
    /// True if the provider may set it where the configuration doesn't.
    pub fn is_computed(self) -> bool {
        matches!(self, Self::Computed | Self::OptionalComputed)
    }

    /// True if the configuration may set it.
    pub fn is_configurable(self) -> bool {
        self != Self::Computed
    }
}

/// What an attribute holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A value of this type.
    Plain(Type),
    /// One object whose attributes have descriptions and modes of their own.
    Single(Vec<Attribute>),
    /// A list of such objects.
    List(Vec<Attribute>),
    /// A set of such objects.
    Set(Vec<Attribute>),
    /// A map of such objects.
    Map(Vec<Attribute>),
}

impl Shape {
    /// The type of its values.
    pub fn ty(&self) -> Type {
        match self {
            Self::Plain(ty) => ty.clone(),
            Self::Single(attributes) => object_of(attributes),
            Self::List(attributes) => Type::list(object_of(attributes)),
            Self::Set(attributes) => Type::set(object_of(attributes)),
            Self::Map(attributes) => Type::map(object_of(attributes)),
        }
    }

    /// The attributes of the objects in it, if it is nested.
    pub fn nested(&self) -> Option<&[Attribute]> {
        match self {
            Self::Plain(_) => None,
            Self::Single(attributes) | Self::List(attributes) | Self::Set(attributes) | Self::Map(attributes) => {
                Some(attributes)
            }
        }
    }
}

/// An attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// Its name: `[a-z_][a-z0-9_]*`.
    pub name: String,
    /// What it holds.
    pub shape: Shape,
    /// Who sets it.
    pub mode: Mode,
    /// What it is, in Markdown.
    pub description: String,
    /// Never shown.
    pub is_sensitive: bool,
    /// Never stored.
    pub is_write_only: bool,
    /// What to use instead, if it is deprecated.
    pub deprecation: Option<String>,
}

impl Attribute {
    /// An attribute that holds a plain value.
    pub fn new(name: impl Into<String>, ty: Type, mode: Mode, description: impl Into<String>) -> Self {
        Self::of(name, Shape::Plain(ty), mode, description)
    }

    /// An attribute of any shape.
    pub fn of(name: impl Into<String>, shape: Shape, mode: Mode, description: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            shape,
            mode,
            description: description.into(),
            is_sensitive: false,
            is_write_only: false,
            deprecation: None,
        }
    }

    /// The same, never shown.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.is_sensitive = true;
        self
    }

    fn to_proto(&self) -> proto::schema::Attribute {
        use proto::schema::object::NestingMode;
        let nested = |attributes: &[Attribute], nesting: NestingMode| proto::schema::Object {
            attributes: attributes.iter().map(Attribute::to_proto).collect(),
            nesting: nesting.into(),
            ..Default::default()
        };
        let (ty, nested_type) = match &self.shape {
            Shape::Plain(ty) => (ty.to_json().to_string().into(), None),
            Shape::Single(attributes) => (Bytes::new(), Some(nested(attributes, NestingMode::Single))),
            Shape::List(attributes) => (Bytes::new(), Some(nested(attributes, NestingMode::List))),
            Shape::Set(attributes) => (Bytes::new(), Some(nested(attributes, NestingMode::Set))),
            Shape::Map(attributes) => (Bytes::new(), Some(nested(attributes, NestingMode::Map))),
        };
        proto::schema::Attribute {
            name: self.name.clone(),
            r#type: ty,
            nested_type,
            description: self.description.clone(),
            description_kind: proto::StringKind::Markdown.into(),
            required: self.mode == Mode::Required,
            optional: matches!(self.mode, Mode::Optional | Mode::OptionalComputed),
            computed: self.mode.is_computed(),
            sensitive: self.is_sensitive,
            write_only: self.is_write_only,
            deprecated: self.deprecation.is_some(),
            deprecation_message: self.deprecation.clone().unwrap_or_default(),
        }
    }
}

/// A block that may be given once: `timeouts { create = "2h" }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub attributes: Vec<Attribute>,
    /// What it is, in Markdown.
    pub description: String,
}

/// The schema of a provider, resource or data source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Schema {
    /// Version of the stored state; raise it when an attribute changes its type or meaning.
    pub version: i64,
    /// What it is, in Markdown.
    pub description: String,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

impl Schema {
    /// The type of its values: an object.
    pub fn ty(&self) -> Type {
        let attributes = self.attributes.iter().map(|attribute| (attribute.name.clone(), attribute.shape.ty()));
        let blocks = self.blocks.iter().map(|block| (block.name.clone(), object_of(&block.attributes)));
        Type::object(attributes.chain(blocks))
    }

    /// The attribute `name`.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    pub(crate) fn to_proto(&self) -> proto::Schema {
        use proto::schema::nested_block::NestingMode;
        let block = |attributes: &[Attribute], description: &str| proto::schema::Block {
            attributes: attributes.iter().map(Attribute::to_proto).collect(),
            description: description.to_owned(),
            description_kind: proto::StringKind::Markdown.into(),
            ..Default::default()
        };
        let blocks = self.blocks.iter().map(|nested| proto::schema::NestedBlock {
            type_name: nested.name.clone(),
            block: Some(block(&nested.attributes, &nested.description)),
            nesting: NestingMode::Single.into(),
            ..Default::default()
        });
        proto::Schema {
            version: self.version,
            block: Some(proto::schema::Block {
                block_types: blocks.collect(),
                ..block(&self.attributes, &self.description)
            }),
        }
    }

    /// What is wrong with this schema that terraform itself would not say: a test of the provider asks.
    ///
    /// Names that the language reserves or that can't be written, missing descriptions, names given twice.
    pub fn lint(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.description.is_empty() {
            faults.push("no description".to_owned());
        }
        let blocks = self.blocks.iter().map(|block| block.name.as_str());
        for name in self.attributes.iter().map(|attribute| attribute.name.as_str()).chain(blocks) {
            if RESERVED.contains(&name) {
                faults.push(format!("{name}: reserved by terraform"));
            }
        }
        lint_attributes(&self.attributes, "", &mut faults);
        for block in &self.blocks {
            if block.description.is_empty() {
                faults.push(format!("{}: no description", block.name));
            }
            lint_attributes(&block.attributes, &format!("{}.", block.name), &mut faults);
        }
        faults
    }
}

/// Names that mean something else at the top of a resource block.
const RESERVED: [&str; 7] = ["count", "for_each", "provider", "lifecycle", "depends_on", "connection", "provisioner"];

fn lint_attributes(attributes: &[Attribute], prefix: &str, faults: &mut Vec<String>) {
    for (position, attribute) in attributes.iter().enumerate() {
        let name = &attribute.name;
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let is_writable = name.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit());
        if !is_writable || !name.bytes().next().is_some_and(is_letter) {
            faults.push(format!("{prefix}{name}: not [a-z_][a-z0-9_]*"));
        }
        if attribute.description.is_empty() {
            faults.push(format!("{prefix}{name}: no description"));
        }
        if attributes[..position].iter().any(|other| &other.name == name) {
            faults.push(format!("{prefix}{name}: twice"));
        }
        if let Some(nested) = attribute.shape.nested() {
            lint_attributes(nested, &format!("{prefix}{name}."), faults);
        }
    }
}

fn object_of(attributes: &[Attribute]) -> Type {
    Type::object(attributes.iter().map(|attribute| (attribute.name.clone(), attribute.shape.ty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lint_finds_what_terraform_would_not_say() {
        let schema = Schema {
            attributes: vec![
                Attribute::new("count", Type::Number, Mode::Optional, "how many"),
                Attribute::new("Size", Type::Number, Mode::Optional, ""),
                Attribute::of(
                    "n",
                    Shape::Single(vec![Attribute::new("1", Type::Bool, Mode::Optional, "x")]),
                    Mode::Optional,
                    "n",
                ),
            ],
            ..Schema::default()
        };
        let faults = schema.lint();
        assert_eq!(
            faults,
            [
                "no description",
                "count: reserved by terraform",
                "Size: not [a-z_][a-z0-9_]*",
                "Size: no description",
                "n.1: not [a-z_][a-z0-9_]*",
            ]
        );
    }
}
