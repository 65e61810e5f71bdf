//! Functions of the configuration language: pure, and usable before anything is configured.

mod mount_source;
mod nid_parse;
mod nodelist_expand;
mod size_parse;
mod target_label;
#[cfg(test)]
mod tests;

use std::fmt::Display;
use std::sync::Arc;

use tfplugin_proto::{Arg, Function, FunctionError, Parameter, Type, Value};

/// All functions, by name.
pub(crate) fn all() -> Vec<(String, Arc<dyn Function>)> {
    vec![
        ("mount_source".into(), Arc::new(mount_source::MountSource)),
        ("nid_parse".into(), Arc::new(nid_parse::NidParse)),
        ("nodelist_expand".into(), Arc::new(nodelist_expand::NodelistExpand)),
        ("size_parse".into(), Arc::new(size_parse::SizeParse)),
        ("target_label".into(), Arc::new(target_label::TargetLabel)),
    ]
}

fn parameter(name: &str, ty: Type, description: &str) -> Parameter {
    Parameter { name: name.into(), ty, description: description.into() }
}

/// The text of an argument: terraform passes neither null nor unknown.
fn text(arguments: &[Value], index: usize) -> &str {
    match arguments.get(index).map(Value::as_str) {
        Some(Arg::Known(text)) => text,
        _ => "",
    }
}

/// The argument at `index` is wrong.
fn wrong(index: usize) -> impl Fn(&dyn Display) -> FunctionError {
    move |err| FunctionError { text: err.to_string(), argument: Some(index) }
}

/// Parses the text of an argument.
fn parsed<T: std::str::FromStr<Err: Display>>(arguments: &[Value], index: usize) -> Result<T, FunctionError> {
    text(arguments, index).parse().map_err(|err| wrong(index)(&err))
}
