//! Lists of what there is, for `terraform query` (1.14).

use super::{ResourceEntry, Server, Typed, shielded};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::framework::Listed;
use crate::proto::{list_resource, validate_list_resource_config};

impl Server {
    pub(super) fn validate_list(
        &self,
        request: validate_list_resource_config::Request,
    ) -> validate_list_resource_config::Response {
        let mut diags = Diagnostics::default();
        if let Err(diag) = self.listable(&request.type_name).and_then(|(_, typed)| typed.read(request.config)) {
            diags.push(diag);
        }
        validate_list_resource_config::Response { diagnostics: diags.into_proto() }
    }

    /// An event for each object; the last one has what went wrong.
    pub(super) async fn list(&self, request: list_resource::Request) -> Vec<list_resource::Event> {
        let mut diags = Diagnostics::default();
        let mut events = Vec::new();
        let read = |(entry, typed): (_, &Typed)| Ok((entry, typed.read(request.config)?));
        match self.listable(&request.type_name).and_then(read) {
            Ok((entry, config)) => {
                // 0 and below: no limit was given.
                let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
                let what = format!("the list of {}", request.type_name);
                let list = async |diags: &mut Diagnostics| entry.resource.list(&config, limit, diags).await;
                let found = shielded(&what, &mut diags, list).await.unwrap_or_default();
                for listed in found.into_iter().take(limit) {
                    match event(entry, listed, request.include_resource_object) {
                        Ok(event) => events.push(event),
                        Err(diag) => diags.push(diag),
                    }
                }
            }
            Err(diag) => diags.push(diag),
        }
        let diagnostic = diags.into_proto();
        if !diagnostic.is_empty() {
            events.push(list_resource::Event { diagnostic, ..Default::default() });
        }
        events
    }

    fn listable(&self, type_name: &str) -> Result<(&ResourceEntry, &Typed), Diagnostic> {
        let entry = self.resource(type_name)?;
        let Some(typed) = &entry.list else {
            return Err(Diagnostic::error("Can't be listed", format!("{type_name} is no list resource.")));
        };
        Ok((entry, typed))
    }
}

fn event(entry: &ResourceEntry, listed: Listed, is_whole: bool) -> Result<list_resource::Event, Diagnostic> {
    Ok(list_resource::Event {
        identity: entry.identity_of(&listed.state)?,
        display_name: listed.display_name,
        resource_object: if is_whole { Some(entry.typed.write(&listed.state)?) } else { None },
        diagnostic: Vec::new(),
    })
}
