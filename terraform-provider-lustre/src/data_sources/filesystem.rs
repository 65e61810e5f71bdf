//! `data "lustre_filesystem"`.

use std::sync::Arc;

use lustre_api::attributes::FILESYSTEM;
use lustre_types::FsName;
use tfplugin_proto::{DataSource, Diagnostics, Schema, Value, async_trait};

use super::parsed;
use crate::attributes;
use crate::mgs::{Failure, view};
use crate::session::Session;

pub(super) struct Filesystem(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for Filesystem {
    fn schema(&self) -> Schema {
        Schema {
            description: "A file system as it is now: how far it has come, its size, and what clients mount.".into(),
            attributes: attributes::read_only(&FILESYSTEM, &["name"]),
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<FsName>(config, "name", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let name: FsName = parsed(config, "name", diags)?;
        let snapshot = match self.0.mgs() {
            Ok(mgs) => mgs.snapshot_now(false).await,
            Err(failure) => Err(failure),
        };
        let snapshot = snapshot.map_err(|failure: Failure| failure.report(&FILESYSTEM, "Can't read", diags)).ok()?;
        let Some(found) = snapshot.filesystems.iter().find(|filesystem| filesystem.spec.name == name) else {
            let known = snapshot.filesystems.iter().map(|filesystem| filesystem.spec.name.as_str());
            let known = known.collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {known}") };
            diags.error_at("name", "No such file system", format!("The MGS has no file system {name}; {known}."));
            return None;
        };
        Some(attributes::viewed(&FILESYSTEM, &view(found)))
    }
}
