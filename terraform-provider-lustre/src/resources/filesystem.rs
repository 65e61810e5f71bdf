//! `lustre_filesystem`.

use lustre_api::attributes::{FILESYSTEM, Resource as Table};
use lustre_api::filesystem::{self, DeleteFilesystem, FilesystemPath, FilesystemSpec, FilesystemState, PutFilesystem};
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_types::FsName;
use serde_json::Value as Json;
use tfplugin_proto::{Diagnostics, Value, async_trait};

use super::{DeletionPolicy, check_policy, text};
use crate::managed::{Kind, Put};
use crate::mgs::{Failure, Mgs, view};

pub(super) struct Filesystem;

#[async_trait]
impl Kind for Filesystem {
    const TABLE: &'static Table = &FILESYSTEM;
    const IDENTITY: &'static [(&'static str, bool)] = &[("name", true)];
    type Spec = FilesystemSpec;

    fn name(object: &Value) -> Option<String> {
        object.get("name").as_str().known().map(str::to_owned)
    }

    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json> {
        let name = text(state, "name");
        snapshot.filesystems.iter().find(|filesystem| filesystem.spec.name.as_str() == name).map(view)
    }

    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)> {
        let all = snapshot.filesystems.iter().map(|found| (found.spec.name.to_string(), view(found)));
        all.filter(|(name, _)| filesystem.is_none_or(|only| only == name)).collect()
    }

    fn desired(spec: &FilesystemSpec, _: &Value) -> Desired {
        Desired { filesystems: vec![spec.clone()], ..Desired::default() }
    }

    fn is_about(spec: &FilesystemSpec, key: &ObjectKey) -> bool {
        matches!(key, ObjectKey::Filesystem { name } if *name == spec.name)
    }

    fn assume(spec: &FilesystemSpec, snapshot: &mut Snapshot) {
        if snapshot.filesystems.iter().all(|filesystem| filesystem.spec.name != spec.name) {
            snapshot.filesystems.push(planned(spec));
        }
    }

    fn check_removal(prior: &Value, diags: &mut Diagnostics) {
        check_policy(&FILESYSTEM, text(prior, "name"), prior, diags);
    }

    async fn put(mgs: &Mgs, spec: FilesystemSpec, put: &Put<'_>) -> Result<Json, Failure> {
        let path = FilesystemPath { fsname: spec.name.clone() };
        let written = put.heard(mgs.write::<PutFilesystem>(path, spec, put.if_revision(mgs).await?).await?);
        Ok(view(&written.object))
    }

    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure> {
        if DeletionPolicy::of(prior) == DeletionPolicy::Abandon {
            return Ok(());
        }
        let Ok(fsname) = text(prior, "name").parse() else { return Ok(()) };
        mgs.remove::<DeleteFilesystem>(FilesystemPath { fsname }).await.map(|_| ())
    }

    fn import(id: &str) -> Result<Value, String> {
        // `<mgs uuid>/<fsname>`, as the attribute id has it, is as good as the name.
        let name = id.rsplit('/').next().unwrap_or(id);
        let name: FsName = name.parse().map_err(|err| format!("{err}; import a file system by its name"))?;
        Ok(Value::object([("name", name.to_string().into())]))
    }
}

/// A file system that will be there when what is planned is done.
fn planned(spec: &FilesystemSpec) -> filesystem::Filesystem {
    filesystem::Filesystem {
        spec: spec.clone(),
        id: String::new(),
        mount_source: None,
        state: FilesystemState::Empty,
        state_reason: "planned".to_owned(),
        mdt_count: 0,
        ost_count: 0,
        capacity_bytes: 0,
        revision: 0,
    }
}
