//! The resources.

#[cfg(test)]
mod corpus;
mod filesystem;
mod mgs_proxy;
mod nodemap;
mod nodemaps;
mod param;
mod params;
mod pool;
mod proof;
#[cfg(test)]
mod properties;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use lustre_api::attributes::Resource as Table;
use tfplugin_proto::{Diagnostic, Diagnostics, Resource, Value};

use crate::managed::Managed;
use crate::session::Session;

/// All resources, by name.
pub(crate) fn all(session: &Arc<Session>) -> Vec<(String, Arc<dyn Resource>)> {
    vec![
        ("lustre_filesystem".into(), Managed::<filesystem::Filesystem>::resource(session)),
        ("lustre_mgs_proxy".into(), Managed::<mgs_proxy::MgsProxy>::resource(session)),
        ("lustre_nodemap".into(), Managed::<nodemap::Nodemap>::resource(session)),
        ("lustre_nodemaps".into(), Managed::<nodemaps::Nodemaps>::resource(session)),
        ("lustre_param".into(), Managed::<param::Param>::resource(session)),
        ("lustre_params".into(), Managed::<params::Params>::resource(session)),
        ("lustre_pool".into(), Managed::<pool::Pool>::resource(session)),
        ("lustre_target".into(), Managed::<target::Target>::resource(session)),
    ]
}

/// What removing an object does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DeletionPolicy {
    /// It is refused.
    Prevent,
    /// It is forgotten by terraform and left as it is.
    Abandon,
    /// It is taken out of the MGS's configuration.
    Deregister,
}

impl DeletionPolicy {
    /// What the state says; anything unclear prevents.
    fn of(state: &Value) -> Self {
        match state.get("deletion_policy").as_str().known() {
            Some("DEREGISTER") => Self::Deregister,
            Some("ABANDON") => Self::Abandon,
            _ => Self::Prevent,
        }
    }
}

/// Refuses a removal that the policy prevents.
fn check_policy(table: &Table, name: &str, prior: &Value, diags: &mut Diagnostics) {
    if DeletionPolicy::of(prior) == DeletionPolicy::Prevent {
        let kind = table.name;
        diags.error_at(
            "deletion_policy",
            "Removal prevented",
            format!(
                "The deletion_policy of {kind} {name} is PREVENT, so it is neither destroyed nor replaced. To take it out \
                 of the MGS's configuration, first apply with deletion_policy = \"DEREGISTER\"; to have Terraform forget it \
                 and leave it as it is, with \"ABANDON\"."
            ),
        );
    }
}

/// A known text of an object, or nothing.
fn text<'a>(object: &'a Value, attribute: &str) -> &'a str {
    object.get(attribute).as_str().known().unwrap_or_default()
}

/// Warns that what is removed comes back by itself, where its state says that changes are to be confirmed.
fn warn_of_removal(prior: &Value, command: &str, diags: &mut Diagnostics) {
    let Some(seconds) = confirm_within(prior) else { return };
    let detail = format!(
        "It comes back {seconds} s after it was removed, unless somebody confirms the removal, because confirm_within_s is set. \
         Look whether everything still works, then: {command}"
    );
    diags.push(Diagnostic::warning("Waits for confirmation", detail));
}

/// Within how many seconds a change has to be confirmed; none where it need not be.
fn confirm_within(planned: &Value) -> Option<u32> {
    let seconds = planned.get("confirm_within_s").as_number().known()?;
    seconds.as_u64().and_then(|seconds| u32::try_from(seconds).ok())
}
