//! The gRPC service `tfplugin6.Provider` on top of a [`Provider`].

mod calls;
mod identity;
mod list;
mod resource;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tracing::error;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::framework::{DataSource, Function, Provider, Resource, Signature};
use crate::proto;
use crate::schema::Schema;
use crate::ty::Type;
use crate::value::{self, Value, ValueError};

/// A schema and the type of its values, worked out once.
struct Typed {
    schema: Schema,
    ty: Type,
}

impl From<Schema> for Typed {
    fn from(schema: Schema) -> Self {
        let ty = schema.ty();
        Self { schema, ty }
    }
}

struct ResourceEntry {
    typed: Typed,
    identity: Option<Typed>,
    list: Option<Typed>,
    resource: Arc<dyn Resource>,
}

impl From<Arc<dyn Resource>> for ResourceEntry {
    fn from(resource: Arc<dyn Resource>) -> Self {
        Self {
            typed: resource.schema().into(),
            identity: resource.identity().map(Typed::from),
            list: resource.list_schema().map(Typed::from),
            resource,
        }
    }
}

struct DataSourceEntry {
    typed: Typed,
    source: Arc<dyn DataSource>,
}

struct FunctionEntry {
    signature: Signature,
    function: Arc<dyn Function>,
}

/// Serves one provider; the schemas are asked for once, here.
pub struct Server {
    provider: Arc<dyn Provider>,
    config: Typed,
    resources: HashMap<String, ResourceEntry>,
    data_sources: HashMap<String, DataSourceEntry>,
    functions: HashMap<String, FunctionEntry>,
}

impl Server {
    /// A server for `provider`.
    pub fn new(provider: Arc<dyn Provider>) -> Self {
        let resources = provider.resources().into_iter();
        let data_sources = provider.data_sources().into_iter();
        let functions = provider.functions().into_iter();
        Self {
            config: provider.schema().into(),
            resources: resources.map(|(name, resource)| (name, resource.into())).collect(),
            data_sources: data_sources
                .map(|(name, source)| (name, DataSourceEntry { typed: source.schema().into(), source }))
                .collect(),
            functions: functions
                .map(|(name, function)| (name, FunctionEntry { signature: function.signature(), function }))
                .collect(),
            provider,
        }
    }

    fn resource(&self, type_name: &str) -> Result<&ResourceEntry, Diagnostic> {
        self.resources.get(type_name).ok_or_else(|| {
            Diagnostic::error("No such resource type", format!("This provider has no resource type {type_name:?}."))
        })
    }

    fn data_source(&self, type_name: &str) -> Result<&DataSourceEntry, Diagnostic> {
        self.data_sources.get(type_name).ok_or_else(|| {
            Diagnostic::error("No such data source", format!("This provider has no data source {type_name:?}."))
        })
    }
}

impl Typed {
    /// Reads what terraform sent; nothing sent is null.
    fn read(&self, value: Option<proto::DynamicValue>) -> Result<Value, Diagnostic> {
        read_value(&self.ty, value).map_err(|err| {
            Diagnostic::error(
                "A value doesn't fit the schema",
                format!("Terraform sent a value that doesn't fit this provider's schema: {err}. Is the state or the lock file from another release of the provider?"),
            )
        })
    }

    /// Writes an answer, by schema.
    fn write(&self, value: &Value) -> Result<proto::DynamicValue, Diagnostic> {
        write_value(&self.ty, value).map_err(|err| {
            Diagnostic::error(
                "The provider made a wrong value",
                format!("The answer doesn't fit the provider's own schema: {err}. This is a bug in the provider; nothing was stored."),
            )
        })
    }
}

fn read_value(ty: &Type, value: Option<proto::DynamicValue>) -> Result<Value, ValueError> {
    match value {
        Some(value) if !value.msgpack.is_empty() => value::decode(ty, &value.msgpack),
        Some(value) if !value.json.is_empty() => value::decode_json(ty, &value.json),
        _ => Ok(Value::Null),
    }
}

fn write_value(ty: &Type, value: &Value) -> Result<proto::DynamicValue, ValueError> {
    Ok(proto::DynamicValue { msgpack: value::encode(ty, value)?.into(), json: Default::default() })
}

/// Runs a call of the provider; a panic becomes an error in `diags` and `None`.
///
/// Without this terraform says "Request cancelled" and not which resource, and a tokio worker's panic goes unlogged.
async fn shielded<T>(what: &str, diags: &mut Diagnostics, call: impl AsyncFnOnce(&mut Diagnostics) -> T) -> Option<T> {
    match AssertUnwindSafe(call(diags)).catch_unwind().await {
        Ok(value) => Some(value),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned())
                .unwrap_or_default();
            error!(call = what, error = text, "the provider panicked");
            diags.error(
                "The provider crashed",
                format!("Bug in the provider, in {what}: {text}. Please report it with the output of TF_LOG=debug."),
            );
            None
        }
    }
}
