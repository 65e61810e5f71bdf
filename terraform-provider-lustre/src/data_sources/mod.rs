//! The data sources. They are read fresh: one may be read during an apply, after what it is about was made.

mod devices;
mod filesystem;
mod job;
mod node;
mod param_catalogue;
mod param_proof;
mod targets;

use std::sync::Arc;

use serde_json::Value as Json;
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Type, Value};

use crate::findings::sentence;
use crate::session::Session;

/// All data sources, by name.
pub(crate) fn all(session: &Arc<Session>) -> Vec<(String, Arc<dyn DataSource>)> {
    let session = || Arc::clone(session);
    vec![
        ("lustre_devices".into(), Arc::new(devices::Devices(session()))),
        ("lustre_filesystem".into(), Arc::new(filesystem::Filesystem(session()))),
        ("lustre_job".into(), Arc::new(job::Job(session()))),
        ("lustre_node".into(), Arc::new(node::Node(session()))),
        ("lustre_param_catalogue".into(), Arc::new(param_catalogue::ParamCatalogue)),
        ("lustre_param_proof".into(), Arc::new(param_proof::ParamProof(session()))),
        ("lustre_targets".into(), Arc::new(targets::Targets(session()))),
    ]
}

fn computed(name: &str, ty: Type, description: &str) -> Attribute {
    Attribute::new(name, ty, Mode::Computed, description)
}

/// A configured text that parses; an error at the attribute if it doesn't. `None` also where it is unset.
fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    config: &Value,
    attribute: &str,
    diags: &mut Diagnostics,
) -> Option<T> {
    let text = config.get(attribute).as_str().known()?;
    match text.parse() {
        Ok(value) => Some(value),
        Err(err) => {
            let err: T::Err = err;
            diags.error_at(attribute, format!("Invalid {attribute}"), sentence(&err.to_string()));
            None
        }
    }
}

/// Texts as a list.
fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Value {
    Value::List(items.into_iter().map(|item| item.to_string().into()).collect())
}

/// A word of the API, as JSON has it.
fn word(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).ok().as_ref().and_then(Json::as_str).into()
}
