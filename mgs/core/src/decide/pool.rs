//! OST pools.

use std::collections::BTreeSet;

use lustre_api::pool::{Pool, PoolSpec};
use lustre_api::{Problem, Written};
use lustre_types::{FsName, PoolName, SvName};

use crate::decide::{Compare, Decision, Request, absent, as_read, filesystem, log, put, remove};
use crate::key::Key;
use crate::record::{PoolRecord, Record};
use crate::state::{Object, State};
use crate::view;

/// Ensures that a pool has exactly these members. Errors: a member that is no OST of this file system, or not registered.
pub fn put_pool(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
    name: &PoolName,
    spec: &PoolSpec,
) -> Result<Decision<Written<Pool>>, Problem> {
    if spec.filesystem != *fsname || spec.name != *name {
        let message = format!("the path names pool {fsname}.{name}, the body {}.{}", spec.filesystem, spec.name);
        return Err(Problem::invalid(message).attribute("name"));
    }
    let fs = filesystem::find(state, fsname).map_err(|problem| problem.attribute("filesystem"))?;
    let record = PoolRecord { members: members(state, spec)? };
    let key = Key::Pool(fsname.clone(), name.clone());
    let before = state.pools.get(&(fsname.clone(), name.clone()));
    if let Some(before) = before {
        if before.value == record {
            let object = view::pool(fsname, name, &record, before.revision);
            return Ok(Decision::unchanged(object, state.revision));
        }
        req.check_revision(&key.object(), before.revision)?;
    }
    let object = view::pool(fsname, name, &record, 0);
    let (what, own) = match before {
        Some(before) => ("update", as_read(key.clone(), before.revision)),
        None => ("create", absent(key.clone())),
    };
    // Members were found in this state: none may be removed meanwhile. Who removes one writes the list of retired names.
    let retired = state.retired.get(fsname).map_or(0, |retired| retired.revision);
    let mut compare = vec![
        own,
        as_read(Key::Filesystem(fsname.clone()), fs.revision),
        as_read(Key::Retired(fsname.clone()), retired),
    ];
    let mut draft = log::draft(state, req, Some(fsname));
    log::pool(&mut draft, fsname, name, before.map(|pool| &pool.value.members), Some(&record.members))?;
    let mut changes = Vec::new();
    log::commit(draft, &mut compare, &mut changes);
    changes.push(put(key.clone(), Record::Pool(record)));
    Ok(Decision::changed(req, format!("{what} {}", key.object()), object, compare, changes))
}

fn members(state: &State, spec: &PoolSpec) -> Result<BTreeSet<SvName>, Problem> {
    let members = lustre_plan::pool_members(&spec.filesystem, &spec.members)
        .map_err(|err| Problem::invalid(err.to_string()).attribute("members"))?;
    for svname in &members {
        if !state.targets.get(svname).is_some_and(|target| target.value.was_registered) {
            let problem = Problem::invalid(format!("{svname} is not a registered OST of {}", spec.filesystem));
            return Err(problem.remedy("mgsctl target list shows those that are").attribute("members"));
        }
    }
    Ok(members)
}

/// Removes a pool; its OSTs stay. Errors: there is none.
pub fn delete_pool(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
    name: &PoolName,
) -> Result<Decision<Written<Pool>>, Problem> {
    let key = Key::Pool(fsname.clone(), name.clone());
    let before = find(state, fsname, name)?;
    req.check_revision(&key.object(), before.revision)?;
    let object = view::pool(fsname, name, &before.value, before.revision);
    let mut compare: Vec<Compare> = vec![as_read(key.clone(), before.revision)];
    let mut changes = vec![remove(key.clone())];
    let mut draft = log::draft(state, req, Some(fsname));
    log::pool(&mut draft, fsname, name, Some(&before.value.members), None)?;
    log::commit(draft, &mut compare, &mut changes);
    Ok(Decision::changed(req, format!("delete {}", key.object()), object, compare, changes))
}

/// The pool. Errors: there is none of that name.
pub fn find<'a>(state: &'a State, fsname: &FsName, name: &PoolName) -> Result<&'a Object<PoolRecord>, Problem> {
    let pool = state.pools.get(&(fsname.clone(), name.clone()));
    pool.ok_or_else(|| {
        Problem::not_found(format!("there is no pool {fsname}.{name}")).remedy("mgsctl pool list shows them")
    })
}
