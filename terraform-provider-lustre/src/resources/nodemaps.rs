//! `lustre_nodemaps`: whether nodemaps are in force.

use lustre_api::Nothing;
use lustre_api::attributes::{NODEMAPS, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::nodemap::{NodemapsActive, NodemapsSpec, PutNodemapsActive};
use lustre_api::plan::{Desired, ObjectKey};
use serde_json::{Value as Json, json};
use tfplugin_proto::{Diagnostics, Value, async_trait};

use super::{confirm_within, warn_of_removal};
use crate::managed::{Kind, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Nodemaps;

/// There is one of it on an MGS, so it needs no name; this is its id.
const ID: &str = "nodemaps";

#[async_trait]
impl Kind for Nodemaps {
    const TABLE: &'static Table = &NODEMAPS;
    const TOLD_BY: &'static str = "active";
    const IDENTITY: &'static [(&'static str, bool)] = &[("id", true)];
    const SAYS_WHO_NOTICES: bool = true;
    type Spec = NodemapsSpec;

    fn name(_: &Value) -> Option<String> {
        Some(ID.to_owned())
    }

    fn find(snapshot: &Snapshot, _: &Value) -> Option<Json> {
        let confirm_until = view(&snapshot.nodemaps_confirm_until);
        Some(json!({ "id": ID, "active": snapshot.nodemaps_active, "confirm_until": confirm_until }))
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let one = Self::find(snapshot, &Value::Null).filter(|_| filesystem.is_none());
        one.map(|one| (ID.to_owned(), one)).into_iter().collect()
    }

    fn desired(spec: &NodemapsSpec, _: &Value) -> Desired {
        Desired { nodemaps_active: Some(*spec), ..Desired::default() }
    }

    fn is_about(_: &NodemapsSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Nodemaps {})
    }

    fn assume(spec: &NodemapsSpec, snapshot: &mut Snapshot) {
        snapshot.nodemaps_active = spec.active;
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        // Ids are taken as they are then: nothing to refuse.
        warn_of_removal(prior, &Self::confirm_command(prior), diags);
    }

    async fn put(mgs: &Mgs, spec: NodemapsSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let body = NodemapsActive { active: spec.active, confirm_within_s: confirm_within(put.planned) };
        let written = put.heard(mgs.write::<PutNodemapsActive>(Nothing {}, body, put.if_revision(mgs).await?).await?);
        let confirm_until = view(&written.object.confirm_until);
        Ok(json!({ "id": ID, "active": written.object.active, "confirm_until": confirm_until }))
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let body = NodemapsActive { active: false, confirm_within_s: confirm_within(prior) };
        let if_revision = Some(mgs.snapshot().await?.revision);
        mgs.write::<PutNodemapsActive>(Nothing {}, body, if_revision).await.map(|_| ())
    }

    fn import(id: &str) -> Result<Value, String> {
        match id {
            ID => Ok(Value::object([("id", ID.into())])),
            _ => Err(format!("{id:?} is not {ID:?}: there is one of it on an MGS")),
        }
    }

    fn confirm_command(_: &Value) -> String {
        "mgsctl nodemap confirm".to_owned()
    }
}
