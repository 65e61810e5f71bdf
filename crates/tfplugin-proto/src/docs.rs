//! Documentation pages in the layout of the Terraform registry, from schemas.

use std::fmt::Write;

use crate::framework::Signature;
use crate::schema::{Attribute, Block, Mode, Schema, Shape};
use crate::ty::Type;

/// What a page is about.
#[derive(Debug, Clone, Copy)]
pub enum Subject<'a> {
    /// The provider itself.
    Provider(&'a Schema),
    /// A resource.
    Resource(&'a Schema),
    /// A data source.
    DataSource(&'a Schema),
    /// A function.
    Function(&'a Signature),
}

/// Code on a page.
#[derive(Debug, Clone, Copy, Default)]
pub struct Examples<'a> {
    /// Configuration that shows its use.
    pub usage: Option<&'a str>,
    /// `terraform import` command.
    pub import_command: Option<&'a str>,
    /// `import` block.
    pub import_block: Option<&'a str>,
}

/// The page about `name` (`lustre_target`, `size_parse`; for the provider its own name), a Markdown text.
pub fn page(provider: &str, name: &str, subject: Subject<'_>, examples: Examples<'_>) -> String {
    let (title, description) = match subject {
        Subject::Provider(schema) => (format!("{provider} Provider"), &schema.description),
        Subject::Resource(schema) => (format!("{name} (Resource)"), &schema.description),
        Subject::DataSource(schema) => (format!("{name} (Data Source)"), &schema.description),
        Subject::Function(signature) => (format!("function: {name}"), &signature.description),
    };
    let page_title = match subject {
        Subject::Provider(_) => format!("Provider: {provider}"),
        Subject::Resource(_) => format!("{name} Resource - {provider}"),
        Subject::DataSource(_) => format!("{name} Data Source - {provider}"),
        Subject::Function(_) => format!("{name} function - {provider}"),
    };
    let mut page = format!(
        "---\npage_title: \"{page_title}\"\nsubcategory: \"\"\ndescription: |-\n  {}\n---\n\n# {title}\n\n{description}\n",
        in_a_line(subject),
    );
    if let Some(usage) = examples.usage {
        push(&mut page, &format!("\n## Example Usage\n\n```terraform\n{}\n```\n", usage.trim()));
    }
    match subject {
        Subject::Provider(schema) | Subject::Resource(schema) | Subject::DataSource(schema) => {
            schema_section(&mut page, schema);
        }
        Subject::Function(signature) => function_section(&mut page, name, signature),
    }
    if examples.import_command.is_some() || examples.import_block.is_some() {
        push(&mut page, "\n## Import\n");
    }
    if let Some(command) = examples.import_command {
        push(&mut page, &format!("\nWith the command:\n\n```shell\n{}\n```\n", command.trim()));
    }
    if let Some(block) = examples.import_block {
        let text =
            "\nOr with an `import` block; `terraform plan -generate-config-out=FILE` then writes the configuration:\n";
        push(&mut page, &format!("{text}\n```terraform\n{}\n```\n", block.trim()));
    }
    page
}

/// What the page is about, in a line.
fn in_a_line(subject: Subject<'_>) -> &str {
    match subject {
        Subject::Provider(schema) | Subject::Resource(schema) | Subject::DataSource(schema) => {
            schema.description.lines().next().unwrap_or_default()
        }
        Subject::Function(signature) => &signature.summary,
    }
}

fn push(page: &mut String, text: &str) {
    page.push_str(text);
}

/// Nested attributes that are explained further down, each with its path.
type Below<'a> = Vec<(String, &'a [Attribute])>;

fn schema_section(page: &mut String, schema: &Schema) {
    push(page, "\n## Schema\n");
    let mut below = Below::new();
    groups(page, &schema.attributes, &schema.blocks, None, &mut below);
    while !below.is_empty() {
        for (path, attributes) in std::mem::take(&mut below) {
            push(page, &format!("\n<a id=\"{}\"></a>\n### Nested Schema for `{path}`\n", anchor(&path)));
            groups(page, attributes, &[], Some(&path), &mut below);
        }
    }
}

fn anchor(path: &str) -> String {
    format!("nested--{}", path.replace('.', "--"))
}

/// The attributes by who sets them; `parent` is the path of what they are nested in.
fn groups<'a>(
    page: &mut String,
    attributes: &'a [Attribute],
    blocks: &'a [Block],
    parent: Option<&str>,
    below: &mut Below<'a>,
) {
    for (title, wanted) in [
        ("Required", &[Mode::Required][..]),
        ("Optional", &[Mode::Optional, Mode::OptionalComputed]),
        ("Read-Only", &[Mode::Computed]),
    ] {
        let members: Vec<_> = attributes.iter().filter(|attribute| wanted.contains(&attribute.mode)).collect();
        let blocks = if title == "Optional" { blocks } else { &[] };
        if members.is_empty() && blocks.is_empty() {
            continue;
        }
        push(page, &if parent.is_some() { format!("\n{title}:\n\n") } else { format!("\n### {title}\n\n") });
        for attribute in members {
            line(page, attribute, parent, below);
        }
        for block in blocks {
            let link = anchor(&block.name);
            below.push((block.name.clone(), &block.attributes));
            push(page, &format!("- `{}` (Block) {} (see [below](#{link}))\n", block.name, block.description));
        }
    }
}

fn line<'a>(page: &mut String, attribute: &'a Attribute, parent: Option<&str>, below: &mut Below<'a>) {
    let mut notes = vec![type_name(&attribute.shape)];
    if attribute.is_sensitive {
        notes.push("Sensitive".to_owned());
    }
    if attribute.is_write_only {
        notes.push("Write-only".to_owned());
    }
    if attribute.deprecation.is_some() {
        notes.push("Deprecated".to_owned());
    }
    let _ = write!(page, "- `{}` ({}) {}", attribute.name, notes.join(", "), attribute.description);
    if let Some(instead) = &attribute.deprecation {
        let _ = write!(page, " {instead}");
    }
    if let Some(nested) = attribute.shape.nested() {
        let path = parent.map_or(attribute.name.clone(), |parent| format!("{parent}.{}", attribute.name));
        let _ = write!(page, " (see [below](#{}))", anchor(&path));
        below.push((path, nested));
    }
    page.push('\n');
}

fn type_name(shape: &Shape) -> String {
    match shape {
        Shape::Plain(ty) => plain_name(ty),
        Shape::Single(_) => "Attributes".to_owned(),
        Shape::List(_) => "Attributes List".to_owned(),
        Shape::Set(_) => "Attributes Set".to_owned(),
        Shape::Map(_) => "Attributes Map".to_owned(),
    }
}

fn plain_name(ty: &Type) -> String {
    match ty {
        Type::String => "String".to_owned(),
        Type::Number => "Number".to_owned(),
        Type::Bool => "Boolean".to_owned(),
        Type::Dynamic => "Dynamic".to_owned(),
        Type::List(element) => format!("List of {}", plain_name(element)),
        Type::Set(element) => format!("Set of {}", plain_name(element)),
        Type::Map(element) => format!("Map of {}", plain_name(element)),
        Type::Object(_) => "Object".to_owned(),
        Type::Tuple(_) => "Tuple".to_owned(),
    }
}

fn function_section(page: &mut String, name: &str, signature: &Signature) {
    let parameters = signature.parameters.iter().map(|parameter| format!("{} {}", parameter.name, parameter.ty));
    let call = format!("{name}({}) {}", parameters.collect::<Vec<_>>().join(", "), signature.returns);
    push(page, &format!("\n## Signature\n\n```text\n{call}\n```\n\n## Arguments\n\n"));
    for (index, parameter) in signature.parameters.iter().enumerate() {
        let _ = writeln!(
            page,
            "{}. `{}` ({}) {}",
            index + 1,
            parameter.name,
            plain_name(&parameter.ty),
            parameter.description
        );
    }
    if let Type::Object(attributes) = &signature.returns {
        push(page, "\n## Result\n\nAn object with:\n\n");
        for (name, ty) in attributes {
            let _ = writeln!(page, "- `{name}` ({})", plain_name(ty));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_groups_attributes_and_explains_nested_ones_below() {
        let nested = vec![
            Attribute::new("path", Type::String, Mode::Required, "Where."),
            Attribute::of(
                "deep",
                Shape::List(vec![Attribute::new("x", Type::Bool, Mode::Optional, "X.")]),
                Mode::Optional,
                "More.",
            ),
        ];
        let schema = Schema {
            description: "A thing.\n\nMore about it.".into(),
            attributes: vec![
                Attribute::new("name", Type::String, Mode::Required, "Its name."),
                Attribute::new("token", Type::String, Mode::Optional, "A secret.").sensitive(),
                Attribute::of("device", Shape::Single(nested), Mode::Optional, "On what."),
                Attribute::new("nids", Type::set(Type::String), Mode::Computed, "Its NIDs."),
            ],
            blocks: vec![Block {
                name: "timeouts".into(),
                attributes: vec![Attribute::new("create", Type::String, Mode::Optional, "How long.")],
                description: "Limits.".into(),
            }],
            ..Schema::default()
        };
        let examples = Examples { usage: Some("resource \"x_thing\" \"a\" {}\n"), ..Examples::default() };
        let page = page("x", "x_thing", Subject::Resource(&schema), examples);
        let expected = "---\npage_title: \"x_thing Resource - x\"\nsubcategory: \"\"\ndescription: |-\n  A thing.\n---\n\n\
            # x_thing (Resource)\n\nA thing.\n\nMore about it.\n\n## Example Usage\n\n```terraform\nresource \"x_thing\" \"a\" {}\n```\n\n\
            ## Schema\n\n### Required\n\n- `name` (String) Its name.\n\n### Optional\n\n\
            - `token` (String, Sensitive) A secret.\n- `device` (Attributes) On what. (see [below](#nested--device))\n\
            - `timeouts` (Block) Limits. (see [below](#nested--timeouts))\n\n\
            ### Read-Only\n\n- `nids` (Set of String) Its NIDs.\n\n\
            <a id=\"nested--device\"></a>\n### Nested Schema for `device`\n\nRequired:\n\n- `path` (String) Where.\n\n\
            Optional:\n\n- `deep` (Attributes List) More. (see [below](#nested--device--deep))\n\n\
            <a id=\"nested--timeouts\"></a>\n### Nested Schema for `timeouts`\n\nOptional:\n\n- `create` (String) How long.\n\n\
            <a id=\"nested--device--deep\"></a>\n### Nested Schema for `device.deep`\n\nOptional:\n\n- `x` (Boolean) X.\n";
        assert_eq!(page, expected);
    }
}
