//! `lustre_nodemap`.

use lustre_api::attributes::{NODEMAP, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::nodemap::{Nodemap as View, NodemapPath, NodemapSpec, PostRemoveNodemap, PutNodemap, PutNodemapBody};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_types::NodemapName;
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Value, async_trait};

use super::{confirm_within, text, warn_of_removal};
use crate::managed::{Kind, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Nodemap;

/// A nodemap as the attribute table has it: its description and what is known of it, side by side.
fn flat(nodemap: &View) -> Json {
    let mut json = view(&nodemap.spec);
    json["id"] = view(&nodemap.spec.name);
    json["number"] = nodemap.id.into();
    json["confirm_until"] = view(&nodemap.confirm_until);
    json
}

#[async_trait]
impl Kind for Nodemap {
    const TABLE: &'static Table = &NODEMAP;
    const IDENTITY: &'static [(&'static str, bool)] = &[("name", true)];
    const SAYS_WHO_NOTICES: bool = true;
    type Spec = NodemapSpec;

    fn name(object: &Value) -> Option<String> {
        object.get("name").as_str().known().map(str::to_owned)
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let name = text(state, "name");
        snapshot.nodemaps.iter().find(|known| known.spec.name.as_str() == name).map(flat)
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        // They are of no file system.
        let all = snapshot.nodemaps.iter().filter(|_| filesystem.is_none());
        all.map(|known| (known.spec.name.to_string(), flat(known))).collect()
    }

    fn desired(spec: &NodemapSpec, _: &Value) -> Desired {
        Desired { nodemaps: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &NodemapSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Nodemap { name } if *name == spec.name)
    }

    fn assume(spec: &NodemapSpec, snapshot: &mut Snapshot) {
        snapshot.nodemaps.retain(|known| known.spec.name != spec.name);
        snapshot.nodemaps.push(View { spec: spec.clone(), id: 0, confirm_until: None, revision: 0 });
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        // Its NIDs belong to the default one then: nothing to refuse.
        warn_of_removal(prior, &Self::confirm_command(prior), diags);
    }

    async fn put(mgs: &Mgs, spec: NodemapSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let path = NodemapPath { name: spec.name.clone() };
        let body = PutNodemapBody { spec, confirm_within_s: confirm_within(put.planned) };
        let written = put.heard(mgs.write::<PutNodemap>(path, body, put.if_revision(mgs).await?).await?);
        Ok(flat(&written.object))
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let Ok(name) = text(prior, "name").parse() else { return Ok(()) };
        mgs.remove_carefully::<PostRemoveNodemap>(NodemapPath { name }, confirm_within(prior)).await
    }

    fn import(id: &str) -> Result<Value, String> {
        let name: NodemapName = id.parse().map_err(|err| format!("{err}"))?;
        Ok(Value::object([("name", name.to_string().into())]))
    }

    fn confirm_command(object: &Value) -> String {
        format!("mgsctl nodemap confirm {}", text(object, "name"))
    }
}
