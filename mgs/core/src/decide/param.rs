//! Tunables.

use lustre_api::param::{Param, ParamSpec};
use lustre_api::{Problem, Written};

use crate::decide::{Decision, Request, absent, as_read, filesystem, log, put, remove, rules};
use crate::key::{Key, ParamKey};
use crate::record::{ParamRecord, Record};
use crate::state::{Object, State};
use crate::view;

/// Sets a tunable. Errors: a path and a body that name two, an unknown file system, a value that the catalogue refuses,
/// a name that it does not know (unless that is allowed).
pub fn put_param(
    state: &State,
    req: &Request<'_>,
    key: &ParamKey,
    spec: &ParamSpec,
) -> Result<Decision<Written<Param>>, Problem> {
    let named = ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() };
    if named != *key {
        return Err(Problem::invalid(format!("the path names tunable {key}, the body {named}")).attribute("name"));
    }
    rules::param(state, req, spec)?;
    let mut compare = Vec::new();
    if let Some(fsname) = &key.filesystem {
        let fs = filesystem::find(state, fsname)?;
        compare.push(as_read(Key::Filesystem(fsname.clone()), fs.revision));
    }
    let object_key = Key::Param(key.clone());
    let record = ParamRecord { value: spec.value.clone(), allow_unknown: spec.allow_unknown };
    let before = state.params.get(key);
    if let Some(before) = before {
        // `64M` and `67108864` are the same size: the first form stays.
        let is_same = lustre_plan::catalogue::same_value(key.name.as_str(), &before.value.value, &record.value);
        if is_same && before.value.allow_unknown == record.allow_unknown {
            return Ok(Decision::unchanged(view::param(key, &before.value, before.revision), state.revision));
        }
        req.check_revision(&object_key.object(), before.revision)?;
    }
    compare.push(before.map_or_else(|| absent(object_key.clone()), |b| as_read(object_key.clone(), b.revision)));
    let object = view::param(key, &record, 0);
    let mut changes = Vec::new();
    let warning = log::tunable(state, req, key, Some(&record.value), &mut compare, &mut changes)?;
    changes.push(put(object_key.clone(), Record::Param(record)));
    let mut decision = Decision::changed(req, format!("set {}", object_key.object()), object, compare, changes);
    decision.reply.warnings.extend(warning);
    Ok(decision)
}

/// Unsets a tunable. Errors: it is not set.
pub fn delete_param(state: &State, req: &Request<'_>, key: &ParamKey) -> Result<Decision<Written<Param>>, Problem> {
    let object_key = Key::Param(key.clone());
    let before = find(state, key)?;
    req.check_revision(&object_key.object(), before.revision)?;
    let object = view::param(key, &before.value, before.revision);
    let mut compare = vec![as_read(object_key.clone(), before.revision)];
    let mut changes = vec![remove(object_key.clone())];
    log::tunable(state, req, key, None, &mut compare, &mut changes)?;
    Ok(Decision::changed(req, format!("unset {}", object_key.object()), object, compare, changes))
}

/// The tunable. Errors: it is not set.
pub fn find<'a>(state: &'a State, key: &ParamKey) -> Result<&'a Object<ParamRecord>, Problem> {
    let problem =
        || Problem::not_found(format!("tunable {key} is not set")).remedy("mgsctl param list shows those that are");
    state.params.get(key).ok_or_else(problem)
}
