//! File systems.

use lustre_api::filesystem::{Filesystem, FilesystemSpec};
use lustre_api::{Problem, Written};
use lustre_types::FsName;

use crate::decide::{Compare, Decision, Request, absent, as_read, log, put, remove};
use crate::key::Key;
use crate::record::Record;
use crate::state::State;
use crate::view;

/// Ensures that a file system is as described. Errors: a path and a body that name two, too long a description.
pub fn put_filesystem(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
    spec: FilesystemSpec,
) -> Result<Decision<Written<Filesystem>>, Problem> {
    if spec.name != *fsname {
        let message = format!("the path names file system {fsname}, the body {}", spec.name);
        return Err(Problem::invalid(message).attribute("name"));
    }
    super::rules::filesystem(state, req, &spec)?;
    let key = Key::Filesystem(fsname.clone());
    let before = state.filesystems.get(fsname);
    if let Some(before) = before {
        if before.value == spec {
            let object = view::filesystem(state, req.env, &spec, before.revision);
            return Ok(Decision::unchanged(object, state.revision));
        }
        req.check_revision(&key.object(), before.revision)?;
    }
    let object = view::filesystem(state, req.env, &spec, 0);
    let (what, compare) = match before {
        Some(before) => ("update", as_read(key.clone(), before.revision)),
        None => ("create", absent(key.clone())),
    };
    let changes = vec![put(key.clone(), Record::Filesystem(spec))];
    Ok(Decision::changed(req, format!("{what} {}", key.object()), object, vec![compare], changes))
}

/// Removes a file system. Errors: while it has targets, pools or tunables, naming some.
pub fn delete_filesystem(
    state: &State,
    req: &Request<'_>,
    fsname: &FsName,
) -> Result<Decision<Written<Filesystem>>, Problem> {
    let before = find(state, fsname)?;
    let key = Key::Filesystem(fsname.clone());
    req.check_revision(&key.object(), before.revision)?;
    let targets = state.targets_of(fsname, None).map(|(svname, _)| svname.to_string());
    let pools =
        state.pools.keys().filter(|(owner, _)| owner == fsname).map(|(_, pool)| format!("pool {fsname}.{pool}"));
    let params = state.params.keys().filter(|param| param.filesystem.as_ref() == Some(fsname));
    let holders: Vec<String> = targets.chain(pools).chain(params.map(|param| format!("tunable {param}"))).collect();
    if let Some(first) = holders.first() {
        let more = if holders.len() > 1 { format!(" and {} more", holders.len() - 1) } else { String::new() };
        let problem = Problem::refused(format!("file system {fsname} still has {first}{more}"));
        return Err(problem.remedy("remove its targets, pools and tunables first; devices keep their data"));
    }
    let object = view::filesystem(state, req.env, &before.value, before.revision);
    let mut compare = vec![as_read(key.clone(), before.revision)];
    for prefix in [Key::targets_of(fsname), Key::pools_of(fsname), Key::params_of(fsname)] {
        compare.push(Compare::Prefix(prefix, state.revision));
    }
    let mut changes = vec![remove(key.clone())];
    let mut draft = log::draft(state, req, Some(fsname));
    draft.erase_all();
    log::commit(draft, &mut compare, &mut changes);
    if let Some(table) = state.nid_tables.get(fsname) {
        compare.push(as_read(Key::NidTable(fsname.clone()), table.revision));
        changes.push(remove(Key::NidTable(fsname.clone())));
    }
    if state.retired.contains_key(fsname) {
        // Who makes a new file system of that name begins with index 0 again.
        changes.push(remove(Key::Retired(fsname.clone())));
    }
    Ok(Decision::changed(req, format!("delete {}", key.object()), object, compare, changes))
}

/// The file system. Errors: there is none of that name.
pub fn find<'a>(state: &'a State, fsname: &FsName) -> Result<&'a crate::state::Object<FilesystemSpec>, Problem> {
    state.filesystems.get(fsname).ok_or_else(|| {
        Problem::not_found(format!("there is no file system {fsname}"))
            .remedy(format!("create it first, as in PUT /v1/filesystems/{fsname} or a lustre_filesystem resource"))
    })
}
