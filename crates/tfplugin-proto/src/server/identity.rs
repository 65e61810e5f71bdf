//! Resource identity: what names an object for good (terraform 1.12).

use std::collections::HashMap;

use super::{ResourceEntry, Server};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::proto::{self, resource_identity_schema::IdentityAttribute, upgrade_resource_identity};
use crate::schema::{Attribute, Mode, Shape};
use crate::value::{Value, decode_json};

impl ResourceEntry {
    /// The identity of an object; none where there is no object, or while it has no name yet.
    pub(super) fn identity_of(&self, state: &Value) -> Result<Option<proto::ResourceIdentityData>, Diagnostic> {
        let Some(identity) = self.identity.as_ref().filter(|_| !state.is_null()) else { return Ok(None) };
        let names = identity.schema.attributes.iter().map(|attribute| attribute.name.as_str());
        let named = Value::object(names.map(|name| (name, state.get(name).clone())));
        if !named.is_wholly_known() {
            return Ok(None);
        }
        Ok(Some(proto::ResourceIdentityData { identity_data: Some(identity.write(&named)?) }))
    }

    /// Reads an identity that terraform sent.
    pub(super) fn read_identity(&self, identity: proto::ResourceIdentityData) -> Result<Value, Diagnostic> {
        match &self.identity {
            Some(typed) => typed.read(identity.identity_data),
            None => Err(Diagnostic::error("No identity", "Objects of this type have no identity; import by ID.")),
        }
    }
}

impl Server {
    /// The schemas of all identities, by resource type.
    pub(super) fn identity_schemas(&self) -> HashMap<String, proto::ResourceIdentitySchema> {
        let entries = self.resources.iter().filter_map(|(name, entry)| Some((name, entry.identity.as_ref()?)));
        let schemas = entries.map(|(name, identity)| {
            let attributes = identity.schema.attributes.iter().map(to_proto).collect();
            let schema =
                proto::ResourceIdentitySchema { version: identity.schema.version, identity_attributes: attributes };
            (name.clone(), schema)
        });
        schemas.collect()
    }

    /// An identity as terraform stored it, in today's form. There has been one version of each so far.
    pub(super) fn upgrade_identity(
        &self,
        request: &upgrade_resource_identity::Request,
    ) -> upgrade_resource_identity::Response {
        let mut diags = Diagnostics::default();
        let upgraded = self.upgraded_identity(request).map_err(|diag| diags.push(diag)).ok();
        upgrade_resource_identity::Response { upgraded_identity: upgraded, diagnostics: diags.into_proto() }
    }

    fn upgraded_identity(
        &self,
        request: &upgrade_resource_identity::Request,
    ) -> Result<proto::ResourceIdentityData, Diagnostic> {
        let entry = self.resource(&request.type_name)?;
        let refused = |detail: String| {
            Diagnostic::error("Identity can't be read", format!("Identity of a {}: {detail}.", request.type_name))
        };
        let typed = entry.identity.as_ref().ok_or_else(|| refused("this release has none".to_owned()))?;
        if request.version != typed.schema.version {
            return Err(refused(format!("this provider can't read version {}", request.version)));
        }
        let raw = request.raw_identity.as_ref().map(|raw| &raw.json[..]).unwrap_or_default();
        let identity = decode_json(&typed.ty, raw).map_err(|err| refused(err.to_string()))?;
        Ok(proto::ResourceIdentityData { identity_data: Some(typed.write(&identity)?) })
    }
}

fn to_proto(attribute: &Attribute) -> IdentityAttribute {
    let ty = match &attribute.shape {
        Shape::Plain(ty) => ty.to_json().to_string().into(),
        // Terraform's own check of the schemas names the attribute.
        _ => Default::default(),
    };
    IdentityAttribute {
        name: attribute.name.clone(),
        r#type: ty,
        required_for_import: attribute.mode == Mode::Required,
        optional_for_import: attribute.mode != Mode::Required,
        description: attribute.description.clone(),
    }
}
