//! A change of a plan as the call that makes it.

use lustre_api::filesystem::FilesystemPath;
use lustre_api::node::NodePath;
use lustre_api::nodemap::{NodemapPath, NodemapsActive, PutNodemapBody};
use lustre_api::param::ParamPath;
use lustre_api::plan::{Action, Change, Desired, ObjectKey, Request};
use lustre_api::pool::PoolPath;
use lustre_api::proof::{CarefulParam, CarefulRemoval, SpreadParam};
use lustre_api::target::{EnsureTarget, TargetPath};
use lustre_types::FsName;
use thiserror::Error;

use crate::{LATER, nodes_to_set_again};

/// A plan that was not made of this description.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the plan changes {0}, which is not described; make the plan again")]
pub struct NotDescribed(pub ObjectKey);

/// The call that makes `change`, one of a plan that was made of `desired`. With `confirm_within_s` what can go back by itself
/// does so, unless somebody confirms it in time. Errors: the change's object is not described.
pub fn request(desired: &Desired, change: &Change, confirm_within_s: Option<u32>) -> Result<Request, NotDescribed> {
    let lost = || NotDescribed(change.object.clone());
    let is_delete = change.action == Action::Delete;
    let careful = confirm_within_s.map(|seconds| CarefulRemoval { confirm_within_s: Some(seconds) });
    Ok(match &change.object {
        ObjectKey::Filesystem { name } => {
            let path = FilesystemPath { fsname: name.clone() };
            if is_delete {
                return Ok(Request::DeleteFilesystem(path));
            }
            let spec = desired.filesystems.iter().find(|spec| spec.name == *name);
            Request::PutFilesystem(path, spec.ok_or_else(lost)?.clone())
        }
        ObjectKey::Target { svname } if is_delete => Request::DeregisterTarget(TargetPath { svname: svname.clone() }),
        ObjectKey::Target { .. } | ObjectKey::NewTarget { .. } => {
            let wanted = change.place.as_ref().and_then(|place| desired.target_at(place)).ok_or_else(lost)?;
            Request::EnsureTarget(Box::new(EnsureTarget {
                target: wanted.target.clone(),
                expect_content: content_seen(change),
                expect_size_bytes: None,
                allow_reformat: wanted.allow_reformat,
                confirm_within_s,
            }))
        }
        ObjectKey::Param { filesystem, scope, name } => {
            let fsname = filesystem.as_ref().map_or("*", FsName::as_str).to_owned();
            let path = ParamPath { fsname, scope: scope.clone(), name: name.clone() };
            if is_delete {
                return Ok(match careful {
                    Some(careful) => Request::RemoveParam(path, careful),
                    None => Request::DeleteParam(path),
                });
            }
            let mut specs = desired.params.iter();
            let spec = specs.find(|s| s.filesystem == *filesystem && s.scope == *scope && s.name == *name);
            let spec = spec.ok_or_else(lost)?.clone();
            if let Some(nodes) = nodes_to_set_again(change) {
                return Ok(Request::SpreadParam(path, Box::new(SpreadParam::again(spec, nodes))));
            }
            match confirm_within_s {
                None => Request::PutParam(path, spec),
                Some(_) => Request::PutParamCarefully(path, CarefulParam { spec, canary: None, confirm_within_s }),
            }
        }
        ObjectKey::Pool { filesystem, name } => {
            let path = PoolPath { fsname: filesystem.clone(), pool: name.clone() };
            if is_delete {
                return Ok(Request::DeletePool(path));
            }
            let spec = desired.pools.iter().find(|spec| spec.filesystem == *filesystem && spec.name == *name);
            Request::PutPool(path, spec.ok_or_else(lost)?.clone())
        }
        ObjectKey::Nodemap { name } => {
            let path = NodemapPath { name: name.clone() };
            if is_delete {
                return Ok(match careful {
                    Some(careful) => Request::RemoveNodemap(path, careful),
                    None => Request::DeleteNodemap(path),
                });
            }
            let spec = desired.nodemaps.iter().find(|spec| spec.name == *name).ok_or_else(lost)?.clone();
            Request::PutNodemap(path, Box::new(PutNodemapBody { spec, confirm_within_s }))
        }
        ObjectKey::Nodemaps {} => {
            let active = !is_delete && desired.nodemaps_active.is_some_and(|wanted| wanted.active);
            Request::PutNodemapsActive(NodemapsActive { active, confirm_within_s })
        }
        ObjectKey::MgsProxy { node } if is_delete => Request::RemoveProxy(NodePath { node: node.clone() }),
        ObjectKey::MgsProxy { node } => Request::EnsureProxy(NodePath { node: node.clone() }),
    })
}

/// What the plan saw on the device that it formats. A plan that could not look at it names none: the MGS looks before it
/// accepts.
fn content_seen(change: &Change) -> Option<String> {
    let seen = change.fields.iter().find(|field| field.path == "formatted_over")?;
    seen.after.as_str().filter(|content| *content != LATER).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_api::param::ParamSpec;

    #[test]
    fn a_tunable_that_is_to_be_confirmed_is_set_carefully() {
        let spec = ParamSpec {
            filesystem: Some("scratch".parse().unwrap()),
            scope: "clients".parse().unwrap(),
            name: "osc.*.max_dirty_mb".parse().unwrap(),
            value: "64".into(),
            allow_unknown: false,
        };
        let change = Change {
            object: ObjectKey::Param {
                filesystem: spec.filesystem.clone(),
                scope: spec.scope.clone(),
                name: spec.name.clone(),
            },
            action: Action::Create,
            fields: Vec::new(),
            reason: String::new(),
            destroys_data: false,
            blast_radius: String::new(),
            place: None,
        };
        let wanted = Desired { params: vec![spec], ..Desired::default() };
        assert!(matches!(request(&wanted, &change, None), Ok(Request::PutParam(..))));
        let careful = request(&wanted, &change, Some(60));
        assert!(matches!(careful, Ok(Request::PutParamCarefully(_, param)) if param.confirm_within_s == Some(60)));
        let stranger = request(&Desired::default(), &change, None);
        assert_eq!(stranger.unwrap_err(), NotDescribed(change.object.clone()));
        let deleted = Change { action: Action::Delete, ..change };
        assert!(matches!(request(&Desired::default(), &deleted, None), Ok(Request::DeleteParam(_))));
        let careful = request(&Desired::default(), &deleted, Some(60));
        assert!(matches!(careful, Ok(Request::RemoveParam(_, careful)) if careful.confirm_within_s == Some(60)));
    }
}
