//! Several tunables of one file system and scope, in one change.

use std::collections::BTreeSet;

use lustre_api::mgs::LiveParams;
use lustre_api::param::{Param, ParamSpec};
use lustre_api::param_set::{ParamSet, ParamSetSpec, PutParamSet};
use lustre_api::{Problem, Written};
use lustre_types::{FsName, ParamName};

use crate::decide::log::Drafts;
use crate::decide::param::{MAX_AT_ONCE, change, idle, new_record, too_many, unset_until};
use crate::decide::{Compare, Decision, Request, as_read, confirm, filesystem, rules};
use crate::key::{Key, ParamKey};
use crate::state::State;
use crate::view;

/// Sets tunables, and unsets others, all of them or none. Errors: an unknown file system, a value that the catalogue refuses,
/// a name that it does not know (unless that is allowed), a name that is both set and unset, more than one commit has room
/// for, one that changed after the caller's plan.
pub fn put_set(
    state: &State,
    req: &Request<'_>,
    body: &PutParamSet,
    live: &LiveParams,
) -> Result<Decision<Written<ParamSet>>, Problem> {
    confirm::check(body.confirm_within_s)?;
    let spec = &body.spec;
    if let Some(name) = body.unset.iter().find(|name| spec.params.contains_key(name)) {
        return Err(Problem::invalid(format!("{name} is to be set and unset")).attribute("unset"));
    }
    let specs: Vec<ParamSpec> = spec.params.iter().map(|(name, value)| one(spec, name, value)).collect();
    rules::params(state, req, specs.clone(), live).map_err(|problem| {
        // Of which of them, the message says.
        let is_of_one = problem.attribute.as_deref().is_some_and(|name| name == "name" || name == "value");
        if is_of_one { problem.attribute("spec.params") } else { problem }
    })?;
    let key = |name: &ParamName| ParamKey {
        filesystem: spec.filesystem.clone(),
        scope: spec.scope.clone(),
        name: name.clone(),
    };
    let mut decision = Decision::changed(req, String::new(), members(state, spec), vec![], vec![]);
    let (mut set, mut drafts) = (0, Drafts::new(state, req));
    for wanted in &specs {
        let key = key(&wanted.name);
        let before = state.params.get(&key);
        if let Some(before) = before {
            let is_same = lustre_plan::catalogue::same_value(key.name.as_str(), &before.value.value, &wanted.value);
            if is_same && before.value.allow_unknown == wanted.allow_unknown {
                continue;
            }
            req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
        }
        idle(state, &key)?;
        let record = new_record(req, before, wanted, body.confirm_within_s);
        replace(&mut decision.reply.object, &key, Some(view::param(&key, &record, 0)));
        let warning = change(state, &key, Some(record), &mut drafts, &mut decision.compare, &mut decision.changes)?;
        decision.reply.warnings.extend(warning);
        set += 1;
    }
    let (gone, mut comes_back) = (gone(state, body), 0);
    for key in &gone {
        if let Some(before) = state.params.get(key) {
            req.check_revision(&Key::Param(key.clone()).object(), before.revision)?;
            if let Some((until, change)) = unset_until(req, key, &before.value, body.confirm_within_s)? {
                decision.changes.push(change);
                let warning =
                    format!("tunable {key} is set again at {until}, unless somebody confirms that it is unset");
                decision.reply.warnings.push(warning);
                comes_back += 1;
            }
        }
        idle(state, key)?;
        replace(&mut decision.reply.object, key, None);
        change(state, key, None, &mut drafts, &mut decision.compare, &mut decision.changes)?;
    }
    let changed = set + gone.len();
    if changed == 0 {
        return Ok(Decision::unchanged(members(state, spec), state.revision));
    }
    if changed + comes_back > MAX_AT_ONCE {
        return Err(too_many(changed).remedy("set some of them first").attribute("spec.params"));
    }
    if let Some(fsname) = &spec.filesystem {
        let fs = filesystem::find(state, fsname)?;
        decision.compare.push(as_read(Key::Filesystem(fsname.clone()), fs.revision));
    }
    if spec.exclusive {
        // Nobody may have set another one meanwhile.
        decision.compare.push(Compare::Prefix(prefix(spec), state.revision));
    }
    // One for all: a commit has room for so many only.
    decision.compare.push(Compare::Prefix(Key::PARAM_HOLDS.to_owned(), state.revision));
    drafts.commit(&mut decision.compare, &mut decision.changes);
    let of = spec.filesystem.as_ref().map_or("every file system", FsName::as_str);
    decision.what = req.describe(format!("set {set} and unset {} tunables of {of}", gone.len()));
    Ok(decision)
}

/// The tunables that are to be unset.
fn gone(state: &State, body: &PutParamSet) -> Vec<ParamKey> {
    let named: BTreeSet<&ParamName> = body.unset.iter().collect();
    let of_scope = state.params.keys().filter(|key| is_member(&body.spec, key));
    let is_gone = |key: &&ParamKey| {
        !body.spec.params.contains_key(&key.name) && (body.spec.exclusive || named.contains(&key.name))
    };
    of_scope.filter(is_gone).cloned().collect()
}

fn one(spec: &ParamSetSpec, name: &ParamName, value: &str) -> ParamSpec {
    ParamSpec {
        filesystem: spec.filesystem.clone(),
        scope: spec.scope.clone(),
        name: name.clone(),
        value: value.to_owned(),
        allow_unknown: spec.allow_unknown,
    }
}

fn is_member(spec: &ParamSetSpec, key: &ParamKey) -> bool {
    key.filesystem == spec.filesystem && key.scope == spec.scope
}

/// The keys of this file system and scope begin like this.
fn prefix(spec: &ParamSetSpec) -> String {
    format!("param/{}/{}/", spec.filesystem.as_ref().map_or("*", FsName::as_str), spec.scope)
}

/// What is set of this file system and scope.
fn members(state: &State, spec: &ParamSetSpec) -> ParamSet {
    let members = state.params.iter().filter(|(key, _)| is_member(spec, key));
    let items = members.map(|(key, param)| view::param(key, &param.value, param.revision)).collect();
    ParamSet { items, revision: state.revision }
}

fn replace(set: &mut ParamSet, key: &ParamKey, param: Option<Param>) {
    set.items.retain(|known| known.spec.name != key.name);
    set.items.extend(param);
    set.items.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
}
