//! `lustre_param`.

use lustre_api::Nothing;
use lustre_api::attributes::{PARAM, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::param::{Param as ApiParam, ParamPath, ParamSpec, PutParam};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proof::{CarefulParam, ConfirmParam, ParamProof, PostRemoveParam, PutParamCarefully};
use lustre_types::{FsName, ParamKey, ParamScope};
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Plan, Value, async_trait};

use super::{confirm_within, proof, text, warn_of_removal};
use crate::managed::{Kind, Live, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Param;

/// The path under which the MGS has a tunable.
pub(super) fn path(key: &ParamKey) -> ParamPath {
    ParamPath { fsname: key.fsname().to_owned(), scope: key.scope.clone(), name: key.name.clone() }
}

/// File system and scope of an object that was validated.
pub(super) fn of(object: &Value) -> Option<(Option<FsName>, ParamScope)> {
    let filesystem = match object.get("filesystem").as_str() {
        tfplugin_proto::Arg::Null => None,
        filesystem => Some(filesystem.known()?.parse().ok()?),
    };
    let scope = match object.get("scope").as_str() {
        tfplugin_proto::Arg::Null => ParamScope::default(),
        scope => scope.known()?.parse().ok()?,
    };
    Some((filesystem, scope))
}

/// What names a tunable, from an object that was validated.
fn key(object: &Value) -> Option<ParamKey> {
    let (filesystem, scope) = of(object)?;
    Some(ParamKey { filesystem, scope, name: object.get("name").as_str().known()?.parse().ok()? })
}

/// The tunable as the attribute table has it.
fn shown(param: &ApiParam, proof: Option<&ParamProof>) -> Json {
    let mut shown = view(param);
    for (name, value) in proof::of_one(proof) {
        shown[name] = value;
    }
    shown
}

#[async_trait]
impl Kind for Param {
    const TABLE: &'static Table = &PARAM;
    const IDENTITY: &'static [(&'static str, bool)] = &[("filesystem", false), ("scope", false), ("name", true)];
    type Spec = ParamSpec;

    fn name(object: &Value) -> Option<String> {
        key(object).map(|key| key.to_string())
    }

    const ASKS_NODES: bool = true;

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let key = key(state)?;
        let param = snapshot.params.iter().find(|param| proof::key(&param.spec) == key)?;
        Some(shown(param, proof::known(snapshot, &param.spec)))
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let is_of = |param: &&ApiParam| {
            filesystem.is_none_or(|only| param.spec.filesystem.as_ref().is_some_and(|of| of.as_str() == only))
        };
        let all = snapshot.params.iter().filter(is_of);
        all.map(|param| (proof::key(&param.spec).to_string(), shown(param, None))).collect()
    }

    fn desired(spec: &ParamSpec, _: &Value) -> Desired {
        Desired { params: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &ParamSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Param { filesystem, scope, name }
            if *filesystem == spec.filesystem && *scope == spec.scope && *name == spec.name)
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        // Its default comes back: nothing to refuse.
        warn_of_removal(prior, &Self::confirm_command(prior), diags);
    }

    fn repair(plan: &mut Plan) {
        proof::repair(plan);
    }

    fn complete(_: Option<&ParamSpec>, plan: &mut Plan, _: Option<Live<'_>>) {
        proof::complete(plan, "value");
    }

    async fn put(mgs: &Mgs, spec: ParamSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let key = proof::key(&spec);
        let if_revision = put.if_revision(mgs).await?;
        let confirm_within_s = confirm_within(put.planned);
        let canary = put.planned.get("canary").as_str().known().and_then(|canary| canary.parse().ok());
        let mut written = put.heard(if confirm_within_s.is_some() || canary.is_some() {
            let body = CarefulParam { spec: spec.clone(), canary, confirm_within_s };
            mgs.write::<PutParamCarefully>(path(&key), body, if_revision).await?.written
        } else {
            mgs.write::<PutParam>(path(&key), spec.clone(), if_revision).await?
        });
        if !written.changed {
            proof::set_again(mgs, &[&spec]).await?;
        }
        let proofs = proof::after_change(mgs, std::slice::from_ref(&key)).await?;
        proof::warn(&proofs, put);
        if proof::is_to_confirm(put.planned) && proof::is_proven(&proofs) {
            written = mgs.write::<ConfirmParam>(path(&key), Nothing {}, None).await?;
        }
        Ok(shown(&written.object, proofs.first()))
    }

    const SAYS_WHO_NOTICES: bool = true;

    fn confirm_command(object: &Value) -> String {
        let Some(key) = key(object) else { return String::new() };
        let fsname = if key.filesystem.is_none() { "'*'" } else { key.fsname() };
        format!("mgsctl param confirm {fsname} '{}' --scope {}", key.name, key.scope)
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let Some(key) = key(prior) else { return Ok(()) };
        mgs.remove_carefully::<PostRemoveParam>(path(&key), confirm_within(prior)).await
    }

    fn import(id: &str) -> Result<Value, String> {
        let key: ParamKey = id.parse().map_err(|err| format!("{id:?} names no tunable: {err}"))?;
        Ok(Value::object([
            ("filesystem", key.filesystem.map(|fsname| fsname.to_string()).into()),
            ("scope", key.scope.to_string().into()),
            ("name", key.name.to_string().into()),
        ]))
    }

    fn means_the_same(attribute: &str, object: &Value, a: &Value, b: &Value) -> bool {
        if attribute != "value" {
            return false;
        }
        let (Some(a), Some(b)) = (a.as_str().known(), b.as_str().known()) else { return false };
        lustre_plan::catalogue::same_value(text(object, "name"), a, b)
    }
}
