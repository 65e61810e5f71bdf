//! `lustre_params`: several tunables of one file system and scope.

use std::collections::BTreeMap;

use lustre_api::Nothing;
use lustre_api::attributes::{PARAMS, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::param::{Param, ParamSpec};
use lustre_api::param_set::{ParamSet, ParamSetSpec, PutParamSet, PutParams};
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proof::{ConfirmParam, ParamProof};
use lustre_types::{FsName, ParamKey, ParamName, ParamScope};
use serde_json::{Value as Json, json};
use tfplugin_proto::{Diagnostic, Diagnostics, Plan, Value, async_trait};

use super::param::of;
use super::{confirm_within, param, proof, warn_of_removal};
use crate::managed::{Kind, Live, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Params;

/// `scratch/filesystem`.
fn display(filesystem: Option<&FsName>, scope: &ParamScope) -> String {
    format!("{}/{scope}", filesystem.map_or("*", FsName::as_str))
}

/// The names that an object has; none where it does not say, as after an import.
fn names(object: &Value) -> Option<Vec<ParamName>> {
    match object.get("params") {
        Value::Map(params) => Some(params.keys().filter_map(|name| name.parse().ok()).collect()),
        _ => None,
    }
}

fn is_member(filesystem: Option<&FsName>, scope: &ParamScope, spec: &ParamSpec) -> bool {
    spec.filesystem.as_ref() == filesystem && spec.scope == *scope
}

/// The object as the attribute table has it.
fn object<'a>(
    filesystem: Option<&FsName>,
    scope: &ParamScope,
    exclusive: bool,
    params: impl Iterator<Item = &'a Param> + Clone,
    proofs: Option<Vec<&ParamProof>>,
) -> Json {
    // Spelled as set_param does: so the configuration may spell it with slashes.
    let of_each = |what: fn(&Param) -> Json| -> serde_json::Map<String, Json> {
        params.clone().map(|param| (param.spec.name.to_string(), what(param))).collect()
    };
    let [(_, proof), (_, drift)] = match proofs {
        Some(proofs) => proof::of_several(proofs.into_iter()),
        None => proof::of_one(None),
    };
    json!({
        "proof": proof, "drift": drift,
        "id": display(filesystem, scope), "filesystem": filesystem, "scope": scope, "exclusive": exclusive,
        "allow_unknown": params.clone().any(|param| param.spec.allow_unknown),
        "params": of_each(|param| json!(param.spec.value)),
        "canonical_names": of_each(|param| json!(param.canonical_name)),
        "confirm_until": view(&params.clone().filter_map(|param| param.confirm_until).min()),
    })
}

#[async_trait]
impl Kind for Params {
    const TABLE: &'static Table = &PARAMS;
    const TOLD_BY: &'static str = "params";
    const IDENTITY: &'static [(&'static str, bool)] = &[("filesystem", false), ("scope", false)];
    const PARTS_AT: Option<&'static str> = Some("params");
    const SAYS_WHO_NOTICES: bool = true;
    type Spec = ParamSetSpec;

    fn name(object: &Value) -> Option<String> {
        let (filesystem, scope) = of(object)?;
        Some(display(filesystem.as_ref(), &scope))
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let (filesystem, scope) = of(state)?;
        let named = names(state);
        let is_exclusive = state.get("exclusive").as_bool().known().unwrap_or_default();
        // Exclusive ones have all that are set; so does what was just imported.
        let is_of = |param: &&Param| {
            is_member(filesystem.as_ref(), &scope, &param.spec)
                && (is_exclusive || named.as_ref().is_none_or(|named| named.contains(&param.spec.name)))
        };
        let found = snapshot.params.iter().filter(is_of);
        // None left of what there was: it is gone.
        found.clone().next()?;
        let proofs = (!snapshot.param_proofs.is_empty()).then(|| proof::of_params(snapshot, found.clone()));
        Some(object(filesystem.as_ref(), &scope, is_exclusive, found, proofs))
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let mut sets: BTreeMap<(Option<FsName>, String), ParamScope> = BTreeMap::new();
        for spec in snapshot.params.iter().map(|param| &param.spec) {
            if filesystem.is_none_or(|only| spec.filesystem.as_ref().is_some_and(|of| of.as_str() == only)) {
                sets.insert((spec.filesystem.clone(), spec.scope.to_string()), spec.scope.clone());
            }
        }
        let listed = sets.into_iter().map(|((filesystem, _), scope)| {
            let members = snapshot.params.iter().filter(|param| is_member(filesystem.as_ref(), &scope, &param.spec));
            (display(filesystem.as_ref(), &scope), object(filesystem.as_ref(), &scope, false, members, None))
        });
        listed.collect()
    }

    fn desired(spec: &ParamSetSpec, _: &Value) -> Desired {
        let one = |(name, value): (&ParamName, &String)| ParamSpec {
            filesystem: spec.filesystem.clone(),
            scope: spec.scope.clone(),
            name: name.clone(),
            value: value.clone(),
            allow_unknown: spec.allow_unknown,
        };
        Desired { params: spec.params.iter().map(one).collect(), ..Desired::default() }
    }

    fn is_about(spec: &ParamSetSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Param { filesystem, scope, name }
            if *filesystem == spec.filesystem && *scope == spec.scope && spec.params.contains_key(name))
    }

    fn warn(spec: &ParamSetSpec, plan: &Plan, live: Live<'_>, diags: &mut Diagnostics) {
        if !spec.exclusive || !plan.prior.is_null() {
            // A refresh has shown the others: they are in the plan.
            return;
        }
        let others = live.snapshot.params.iter().map(|param| &param.spec).filter(|other| {
            is_member(spec.filesystem.as_ref(), &spec.scope, other) && !spec.params.contains_key(&other.name)
        });
        let others: Vec<String> = others.map(|other| format!("{} = {}", other.name, other.value)).collect();
        if !others.is_empty() {
            let detail = format!(
                "Other tunables of {} are set and will be unset, because this resource is exclusive: {}.",
                display(spec.filesystem.as_ref(), &spec.scope),
                others.join(", ")
            );
            diags.push(Diagnostic::warning("Unsets others", detail).at("exclusive"));
        }
    }

    fn complete(_: Option<&ParamSetSpec>, plan: &mut Plan, _: Option<Live<'_>>) {
        if plan.planned.get("params") != plan.prior.get("params") {
            plan.planned.put("canonical_names", Value::Unknown);
        }
        proof::complete(plan, "params");
    }

    const ASKS_NODES: bool = true;

    fn repair(plan: &mut Plan) {
        proof::repair(plan);
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        // Their defaults come back: nothing to refuse.
        warn_of_removal(prior, &Self::confirm_command(prior), diags);
    }

    async fn put(mgs: &Mgs, spec: ParamSetSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let before = put.prior.and_then(names).unwrap_or_default();
        let unset = before.into_iter().filter(|name| !spec.params.contains_key(name)).collect();
        let body = PutParamSet { spec: spec.clone(), unset, confirm_within_s: confirm_within(put.planned) };
        let mut written = put.heard(mgs.write::<PutParams>(Nothing {}, body, put.if_revision(mgs).await?).await?);
        let members = |set: &ParamSet| -> Vec<Param> {
            set.items.iter().filter(|param| spec.params.contains_key(&param.spec.name)).cloned().collect()
        };
        let specs = members(&written.object);
        if !written.changed {
            proof::set_again(mgs, &specs.iter().map(|param| &param.spec).collect::<Vec<_>>()).await?;
        }
        let keys: Vec<ParamKey> = specs.iter().map(|param| proof::key(&param.spec)).collect();
        let proofs = if keys.is_empty() { Vec::new() } else { proof::after_change(mgs, &keys).await? };
        proof::warn(&proofs, put);
        if proof::is_to_confirm(put.planned) && proof::is_proven(&proofs) {
            for key in &keys {
                let confirmed = mgs.write::<ConfirmParam>(param::path(key), Nothing {}, None).await?.object;
                written.object.items.retain(|param| param.spec.name != confirmed.spec.name);
                written.object.items.push(confirmed);
            }
        }
        let set = members(&written.object);
        Ok(object(spec.filesystem.as_ref(), &spec.scope, spec.exclusive, set.iter(), Some(proofs.iter().collect())))
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        let Some((filesystem, scope)) = of(prior) else { return Ok(()) };
        let spec = ParamSetSpec { filesystem, scope, params: BTreeMap::new(), exclusive: false, allow_unknown: false };
        let body =
            PutParamSet { spec, unset: names(prior).unwrap_or_default(), confirm_within_s: confirm_within(prior) };
        let if_revision = Some(mgs.snapshot().await?.revision);
        mgs.write::<PutParams>(Nothing {}, body, if_revision).await.map(|_| ())
    }

    fn import(id: &str) -> Result<Value, String> {
        let shape = || format!("{id:?} names no tunables; write it like \"scratch/filesystem\"");
        let (filesystem, scope) = id.split_once('/').ok_or_else(shape)?;
        let scope: ParamScope = scope.parse().map_err(|err| format!("{}: {err}", shape()))?;
        let filesystem = ParamKey::filesystem_of(filesystem).map_err(|err| format!("{}: {err}", shape()))?;
        let filesystem = filesystem.map(|fsname| fsname.to_string());
        Ok(Value::object([("filesystem", filesystem.into()), ("scope", scope.to_string().into())]))
    }

    fn means_the_same(attribute: &str, _: &Value, a: &Value, b: &Value) -> bool {
        let (true, Value::Map(a), Value::Map(b)) = (attribute == "params", a, b) else { return false };
        // By the names as set_param spells them.
        let plain = |params: &BTreeMap<String, Value>| {
            let pairs = params.iter().map(|(name, value)| {
                Some((name.parse::<ParamName>().ok()?.to_string(), value.as_str().known()?.to_owned()))
            });
            pairs.collect::<Option<BTreeMap<String, String>>>()
        };
        let (Some(a), Some(b)) = (plain(a), plain(b)) else { return false };
        a.len() == b.len()
            && a.iter().all(|(name, value)| {
                b.get(name).is_some_and(|other| lustre_plan::catalogue::same_value(name, value, other))
            })
    }

    fn confirm_command(object: &Value) -> String {
        let Some((filesystem, scope)) = of(object) else { return String::new() };
        let fsname = filesystem.map_or_else(|| "'*'".to_owned(), |fsname| fsname.to_string());
        format!("mgsctl param confirm {fsname} NAME --scope {scope}, for each of them")
    }
}
