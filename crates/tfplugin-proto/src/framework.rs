//! What a provider implements: [`Provider`], [`Resource`], [`DataSource`], [`Function`].
//!
//! The server around them keeps terraform's rules, so that an implementation can't break them by accident:
//! values are written by schema, a failed create leaves nothing in state, a panic becomes a diagnostic.

use std::sync::Arc;

use serde_json::Value as Json;
pub use tonic::async_trait;

use crate::diagnostics::{Diagnostics, Path};
use crate::schema::Schema;
use crate::ty::Type;
use crate::value::Value;

/// A provider: its own configuration, and what it has to offer.
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Schema of the `provider` block.
    fn schema(&self) -> Schema;

    /// Resource types, by full name (`lustre_filesystem`).
    fn resources(&self) -> Vec<(String, Arc<dyn Resource>)> {
        Vec::new()
    }

    /// Data sources, by full name.
    fn data_sources(&self) -> Vec<(String, Arc<dyn DataSource>)> {
        Vec::new()
    }

    /// Functions, by name (`provider::lustre::name`).
    fn functions(&self) -> Vec<(String, Arc<dyn Function>)> {
        Vec::new()
    }

    /// Checks the `provider` block. Parts of it may be unknown; there is no connection yet.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}

    /// Takes the `provider` block. Parts of it may be unknown during a plan: connect later, when something is asked.
    async fn configure(&self, config: &Value, diags: &mut Diagnostics);

    /// The user pressed Ctrl-C: running calls should come to an end soon.
    fn stop(&self) {}
}

/// What a plan is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanKind {
    /// There is nothing; or what is there will be replaced (then the plan before this one was an update), or it is
    /// tainted and will be destroyed first.
    Create,
    /// There is something, and it stays.
    Update,
    /// It goes.
    Destroy,
}

/// The plan for one object, as a resource gets it to complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is there; null if nothing.
    pub prior: Value,
    /// What the configuration says; null for destroy.
    pub config: Value,
    /// What will be: configured values, prior values of computed attributes; on create, computed attributes without
    /// configuration are unknown. Null for destroy.
    pub planned: Value,
    /// Attributes whose change can't be done in place.
    pub requires_replace: Vec<Path>,
}

impl Plan {
    /// What this plan is for.
    pub fn kind(&self) -> PlanKind {
        if self.planned.is_null() {
            PlanKind::Destroy
        } else if self.prior.is_null() {
            PlanKind::Create
        } else {
            PlanKind::Update
        }
    }

    /// True if the attribute is to be something else than it was; an unknown value may be.
    pub fn changes(&self, attribute: &str) -> bool {
        self.prior.get(attribute) != self.planned.get(attribute)
    }
}

/// A kind of object that terraform manages.
#[async_trait]
pub trait Resource: Send + Sync + 'static {
    /// Its schema.
    fn schema(&self) -> Schema;

    /// Checks a configuration in itself: no connection, parts may be unknown, null is unset.
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}

    /// Turns state of an older schema version into the current one. Called only if the schema's version was raised.
    fn upgrade(&self, from: i64, _state: Json) -> Result<Json, String> {
        Err(format!("this provider can't read state of schema version {from}"))
    }

    /// Reads what is there; `None` if it is gone.
    async fn read(&self, state: Value, diags: &mut Diagnostics) -> Option<Value>;

    /// Completes the plan: what is known already, what must be replaced, what is refused. Must give the same answer
    /// when it is asked again at apply.
    async fn plan(&self, _plan: &mut Plan, _diags: &mut Diagnostics) {}

    /// Makes it so, and returns what then is there: nothing unknown, planned values as planned.
    ///
    /// On an error nothing is kept in state, whatever is returned: state would make terraform destroy and create the
    /// object next time. So this must be an "ensure" that takes up what an earlier attempt left.
    async fn create(&self, planned: &Value, config: &Value, diags: &mut Diagnostics) -> Option<Value>;

    /// Changes it in place, and returns what then is there, also on an error.
    async fn update(&self, prior: &Value, planned: &Value, config: &Value, diags: &mut Diagnostics) -> Value;

    /// Removes it. On an error it stays in state.
    async fn delete(&self, prior: &Value, diags: &mut Diagnostics);

    /// The state to start from for the object that a person names; terraform reads it next, so attributes may be
    /// missing.
    async fn import(&self, id: &str, diags: &mut Diagnostics) -> Option<Value>;

    /// The attributes that name an object, for good: terraform from 1.12 on keeps them beside the state, and imports by them.
    ///
    /// Each is an attribute of the resource, too, of the same name and type; an import needs the required ones.
    fn identity(&self) -> Option<Schema> {
        None
    }

    /// As [`Resource::import`], for the object with an identity.
    async fn import_identity(&self, _identity: &Value, diags: &mut Diagnostics) -> Option<Value> {
        diags.error("Can't import by identity", "Import it by its ID.");
        None
    }

    /// The arguments of a list of what there is, for `terraform query` (1.14). A kind that can be listed has an identity.
    fn list_schema(&self) -> Option<Schema> {
        None
    }

    /// What there is, with its state; at most `limit`.
    async fn list(&self, _config: &Value, _limit: usize, _diags: &mut Diagnostics) -> Vec<Listed> {
        Vec::new()
    }
}

/// An object that a list found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What people call it.
    pub display_name: String,
    /// Its state, as a read would give it.
    pub state: Value,
}

/// Something that terraform only reads.
#[async_trait]
pub trait DataSource: Send + Sync + 'static {
    /// Its schema.
    fn schema(&self) -> Schema;

    /// Checks a configuration in itself, as [`Resource::validate`].
    async fn validate(&self, _config: &Value, _diags: &mut Diagnostics) {}

    /// Reads it; everything in `config` is known. `None` only together with an error.
    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value>;
}

/// A parameter of a function; it is never null or unknown when the function is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name, for messages.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// What it is, in Markdown.
    pub description: String,
}

/// What a function takes and gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// One line.
    pub summary: String,
    /// What it does, in Markdown.
    pub description: String,
    /// Its parameters, in order.
    pub parameters: Vec<Parameter>,
    /// The type of its result.
    pub returns: Type,
}

/// Why a function has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionError {
    /// What is wrong.
    pub text: String,
    /// Which argument is at fault, from 0.
    pub argument: Option<usize>,
}

/// A pure function of the configuration language; it works on an unconfigured provider.
pub trait Function: Send + Sync + 'static {
    /// What it takes and gives.
    fn signature(&self) -> Signature;

    /// Computes it. `arguments` are as many, and of the types, as the signature says.
    fn call(&self, arguments: &[Value]) -> Result<Value, FunctionError>;
}
