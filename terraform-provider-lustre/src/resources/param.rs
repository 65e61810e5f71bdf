//! `lustre_param`.

use lustre_api::attributes::{PARAM, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::param::{DeleteParam, ParamPath, ParamSpec, PutParam};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proof::{CarefulParam, PutParamCarefully};
use lustre_types::{FsName, ParamName, ParamScope};
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Value, async_trait};

use super::{confirm_within, text};
use crate::managed::{Kind, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Param;

/// The path under which the MGS has a tunable.
fn path(filesystem: Option<&FsName>, scope: &ParamScope, name: &ParamName) -> ParamPath {
    let fsname = filesystem.map_or_else(|| "*".to_owned(), FsName::to_string);
    ParamPath { fsname, scope: scope.clone(), name: name.clone() }
}

/// `scratch/clients/osc.*.max_dirty_mb`.
fn display(filesystem: Option<&FsName>, scope: &ParamScope, name: &ParamName) -> String {
    let ParamPath { fsname, scope, name } = path(filesystem, scope, name);
    format!("{fsname}/{scope}/{name}")
}

/// What names a tunable, from an object that was validated.
fn key(object: &Value) -> Option<(Option<FsName>, ParamScope, ParamName)> {
    let filesystem = match object.get("filesystem").as_str() {
        tfplugin_proto::Arg::Null => None,
        filesystem => Some(filesystem.known()?.parse().ok()?),
    };
    let scope = match object.get("scope").as_str() {
        tfplugin_proto::Arg::Null => ParamScope::default(),
        scope => scope.known()?.parse().ok()?,
    };
    Some((filesystem, scope, object.get("name").as_str().known()?.parse().ok()?))
}

#[async_trait]
impl Kind for Param {
    const TABLE: &'static Table = &PARAM;
    const IDENTITY: &'static [(&'static str, bool)] = &[("filesystem", false), ("scope", false), ("name", true)];
    type Spec = ParamSpec;

    fn name(object: &Value) -> Option<String> {
        let (filesystem, scope, name) = key(object)?;
        Some(display(filesystem.as_ref(), &scope, &name))
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let (filesystem, scope, name) = key(state)?;
        let mut params = snapshot.params.iter().map(|param| (param, &param.spec));
        let found = params.find(|(_, spec)| spec.filesystem == filesystem && spec.scope == scope && spec.name == name);
        found.map(|(param, _)| view(param))
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let all = snapshot.params.iter().map(|param| (&param.spec, view(param)));
        let of = |spec: &ParamSpec| {
            filesystem.is_none_or(|only| spec.filesystem.as_ref().is_some_and(|of| of.as_str() == only))
        };
        all.filter(|(spec, _)| of(spec))
            .map(|(spec, view)| (display(spec.filesystem.as_ref(), &spec.scope, &spec.name), view))
            .collect()
    }

    fn desired(spec: &ParamSpec, _: &Value) -> Desired {
        Desired { params: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &ParamSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Param { filesystem, scope, name }
            if *filesystem == spec.filesystem && *scope == spec.scope && *name == spec.name)
    }

    fn check_removal(_: &Value, _: &mut Diagnostics) {
        // Its default comes back: nothing to refuse.
    }

    async fn put(mgs: &Mgs, spec: ParamSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let path = path(spec.filesystem.as_ref(), &spec.scope, &spec.name);
        let if_revision = put.if_revision(mgs).await?;
        let written = put.heard(match confirm_within(put.planned) {
            None => mgs.write::<PutParam>(path, spec, if_revision).await?,
            confirm_within_s => {
                let body = CarefulParam { spec, canary: None, confirm_within_s };
                mgs.write::<PutParamCarefully>(path, body, if_revision).await?.written
            }
        });
        Ok(view(&written.object))
    }

    const SAYS_WHO_NOTICES: bool = true;

    fn confirm_command(object: &Value) -> String {
        let Some((filesystem, scope, name)) = key(object) else { return String::new() };
        let fsname = filesystem.map_or_else(|| "'*'".to_owned(), |fsname| fsname.to_string());
        format!("mgsctl param confirm {fsname} '{name}' --scope {scope}")
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let Some((filesystem, scope, name)) = key(prior) else { return Ok(()) };
        mgs.remove::<DeleteParam>(path(filesystem.as_ref(), &scope, &name)).await.map(|_| ())
    }

    fn import(id: &str) -> Result<Value, String> {
        let shape = || format!("{id:?} is not a tunable; write it like \"scratch/filesystem/osc.*.max_dirty_mb\"");
        let mut parts = id.splitn(3, '/');
        let (Some(filesystem), Some(scope), Some(name)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(shape());
        };
        let scope: ParamScope = scope.parse().map_err(|err| format!("{}: {err}", shape()))?;
        let name: ParamName = name.parse().map_err(|err| format!("{}: {err}", shape()))?;
        let filesystem = match filesystem {
            "*" => Value::Null,
            name => name.parse::<FsName>().map_err(|err| format!("{}: {err}", shape()))?.to_string().into(),
        };
        Ok(Value::object([
            ("filesystem", filesystem),
            ("scope", scope.to_string().into()),
            ("name", name.to_string().into()),
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
