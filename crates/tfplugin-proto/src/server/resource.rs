//! The life of a resource instance: upgrade, read, plan, apply, import.

use tracing::debug;

use super::{ResourceEntry, Server, shielded};
use crate::diagnostics::{Diagnostic, Diagnostics, Path};
use crate::framework::{Plan, PlanKind};
use crate::proto::{
    self, apply_resource_change, import_resource_state, plan_resource_change, read_resource, upgrade_resource_state,
};
use crate::rules;
use crate::value::{Value, decode_json};

impl Server {
    pub(super) fn upgrade(&self, request: upgrade_resource_state::Request) -> upgrade_resource_state::Response {
        let mut diags = Diagnostics::default();
        let upgraded_state = self.upgraded(&request).map_err(|diag| diags.push(diag)).ok();
        upgrade_resource_state::Response { upgraded_state, diagnostics: diags.into_proto() }
    }

    fn upgraded(&self, request: &upgrade_resource_state::Request) -> Result<proto::DynamicValue, Diagnostic> {
        let entry = self.resource(&request.type_name)?;
        let refused = |detail: String| {
            Diagnostic::error("State can't be read", format!("State of a {}: {detail}.", request.type_name))
        };
        let raw = request.raw_state.as_ref().map(|raw| &raw.json[..]).unwrap_or_default();
        if raw.is_empty() {
            return Err(refused("no JSON; was it written by Terraform 0.11 or older?".to_owned()));
        }
        let current = entry.typed.schema.version;
        let state = if request.version < current {
            debug!(from = request.version, to = current, "upgrading state");
            let old = serde_json::from_slice(raw).map_err(|err| refused(err.to_string()))?;
            let new = entry.resource.upgrade(request.version, old).map_err(refused)?;
            decode_json(&entry.typed.ty, new.to_string().as_bytes())
        } else {
            decode_json(&entry.typed.ty, raw)
        };
        entry.typed.write(&state.map_err(|err| refused(err.to_string()))?)
    }

    pub(super) async fn read(&self, request: read_resource::Request) -> read_resource::Response {
        let mut diags = Diagnostics::default();
        let (mut new_state, mut new_identity) = (None, None);
        match self.resource(&request.type_name).and_then(|entry| Ok((entry, entry.typed.read(request.current_state)?)))
        {
            Ok((entry, state)) => {
                let what = format!("the read of {}", request.type_name);
                let read = async |diags: &mut Diagnostics| entry.resource.read(state, diags).await;
                let state = shielded(&what, &mut diags, read).await.flatten().unwrap_or_default();
                new_state = entry.typed.write(&state).map_err(|diag| diags.push(diag)).ok();
                new_identity = entry.identity_of(&state).map_err(|diag| diags.push(diag)).unwrap_or_default();
            }
            Err(diag) => diags.push(diag),
        }
        read_resource::Response {
            new_state,
            diagnostics: diags.into_proto(),
            private: request.private,
            new_identity,
            deferred: None,
        }
    }

    pub(super) async fn plan(&self, request: plan_resource_change::Request) -> plan_resource_change::Response {
        let mut diags = Diagnostics::default();
        let mut response =
            plan_resource_change::Response { planned_private: request.prior_private, ..Default::default() };
        let read = |entry: &ResourceEntry| {
            Ok(Plan {
                prior: entry.typed.read(request.prior_state)?,
                config: entry.typed.read(request.config)?,
                planned: entry.typed.read(request.proposed_new_state)?,
                requires_replace: Vec::new(),
            })
        };
        match self.resource(&request.type_name).and_then(|entry| Ok((entry, read(entry)?))) {
            Ok((entry, mut plan)) => {
                let kind = plan.kind();
                if kind == PlanKind::Create {
                    rules::mark_computed_unknown(&entry.typed.schema, &plan.config, &mut plan.planned);
                }
                let what = format!("the plan of {}", request.type_name);
                let call = async |diags: &mut Diagnostics| entry.resource.plan(&mut plan, diags).await;
                shielded(&what, &mut diags, call).await;
                if kind == PlanKind::Destroy {
                    // Whatever the hook did: there is but one plan for a destroy.
                    plan.planned = Value::Null;
                }
                // An object keeps its identity for life; a new one has it when it is made.
                response.planned_identity = match kind {
                    PlanKind::Update => request.prior_identity,
                    PlanKind::Create | PlanKind::Destroy => None,
                };
                response.planned_state = entry.typed.write(&plan.planned).map_err(|diag| diags.push(diag)).ok();
                response.requires_replace = plan.requires_replace.iter().map(Path::to_proto).collect();
            }
            Err(diag) => diags.push(diag),
        }
        response.diagnostics = diags.into_proto();
        response
    }

    pub(super) async fn apply(&self, request: apply_resource_change::Request) -> apply_resource_change::Response {
        let mut diags = Diagnostics::default();
        // What terraform keeps if we can't even read its request: what it had.
        let mut new_state = request.prior_state.clone();
        let mut new_identity = request.planned_identity;
        let read = |entry: &ResourceEntry| {
            Ok([
                entry.typed.read(request.prior_state)?,
                entry.typed.read(request.planned_state)?,
                entry.typed.read(request.config)?,
            ])
        };
        match self.resource(&request.type_name).and_then(|entry| Ok((entry, read(entry)?))) {
            Ok((entry, [prior, planned, config])) => {
                let state = apply(entry, &request.type_name, prior, &planned, &config, &mut diags).await;
                match entry.typed.write(&state) {
                    Ok(state) => new_state = Some(state),
                    Err(diag) => diags.push(diag),
                }
                new_identity = entry.identity_of(&state).map_err(|diag| diags.push(diag)).unwrap_or_default();
            }
            Err(diag) => diags.push(diag),
        }
        apply_resource_change::Response {
            new_state,
            private: request.planned_private,
            diagnostics: diags.into_proto(),
            new_identity,
            ..Default::default()
        }
    }

    pub(super) async fn import(&self, request: import_resource_state::Request) -> import_resource_state::Response {
        let mut diags = Diagnostics::default();
        let mut imported_resources = Vec::new();
        match self.resource(&request.type_name) {
            Ok(entry) => match imported(entry, &request, &mut diags).await {
                Ok(imported) => imported_resources.extend(imported),
                Err(diag) => diags.push(diag),
            },
            Err(diag) => diags.push(diag),
        }
        import_resource_state::Response { imported_resources, diagnostics: diags.into_proto(), deferred: None }
    }
}

/// The object that a person names by ID or by identity.
async fn imported(
    entry: &ResourceEntry,
    request: &import_resource_state::Request,
    diags: &mut Diagnostics,
) -> Result<Option<import_resource_state::ImportedResource>, Diagnostic> {
    let type_name = &request.type_name;
    let what = format!("the import of {type_name} {:?}", request.id);
    let value = match request.identity.clone() {
        Some(identity) => {
            let identity = entry.read_identity(identity)?;
            let import = async |diags: &mut Diagnostics| entry.resource.import_identity(&identity, diags).await;
            shielded(&what, diags, import).await.flatten()
        }
        None => {
            let import = async |diags: &mut Diagnostics| entry.resource.import(&request.id, diags).await;
            shielded(&what, diags, import).await.flatten()
        }
    };
    let Some(value) = value else {
        if !diags.has_errors() {
            diags.error("Nothing to import", format!("There is no {type_name} {:?}.", request.id));
        }
        return Ok(None);
    };
    Ok(Some(import_resource_state::ImportedResource {
        type_name: type_name.clone(),
        state: Some(entry.typed.write(&value)?),
        identity: entry.identity_of(&value)?,
        ..Default::default()
    }))
}

/// Applies one change and says what terraform shall remember.
async fn apply(
    entry: &ResourceEntry,
    type_name: &str,
    prior: Value,
    planned: &Value,
    config: &Value,
    diags: &mut Diagnostics,
) -> Value {
    if planned.is_null() {
        let what = format!("the removal of {type_name}");
        shielded(&what, diags, async |diags| entry.resource.delete(&prior, diags).await).await;
        return if diags.has_errors() { prior } else { Value::Null };
    }
    if !prior.is_null() {
        let what = format!("the change of {type_name}");
        let state = shielded(&what, diags, async |diags| entry.resource.update(&prior, planned, config, diags).await);
        // After a panic nobody knows; the next refresh will.
        return state.await.unwrap_or(prior);
    }
    let what = format!("the creation of {type_name}");
    let created = shielded(&what, diags, async |diags| entry.resource.create(planned, config, diags).await).await;
    let state = created.flatten().unwrap_or_default();
    if !diags.has_errors() {
        // State together with an error, or state that isn't as planned, is tainted: the next apply would destroy and
        // create. So a create that went wrong in whatever way leaves nothing, and the next apply takes it up again.
        let faults = rules::apply_faults(planned, &state);
        if !faults.is_empty() {
            diags.error(
                "The result is not as planned",
                format!(
                    "Bug in the provider, in {what}: {}. What was made is not forgotten: apply again takes it up.",
                    faults.join("; ")
                ),
            );
        }
    }
    if diags.has_errors() { Value::Null } else { state }
}
