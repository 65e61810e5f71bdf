//! `data "lustre_targets"`.

use std::sync::Arc;

use lustre_api::attributes::TARGET;
use lustre_types::{FsName, NodeName, TargetKind};
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Shape, Type, Value, async_trait};

use super::parsed;
use crate::attributes;
use crate::mgs::{Failure, view};
use crate::session::Session;

pub(super) struct Targets(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for Targets {
    fn schema(&self) -> Schema {
        let filter = |name: &str, description: &str| Attribute::new(name, Type::String, Mode::Optional, description);
        Schema {
            description:
                "The targets that the MGS knows, by name; all of them, or those that every filter lets through.".into(),
            attributes: vec![
                filter("filesystem", "Only targets of this file system."),
                filter("kind", "Only targets of this kind: `mgt`, `mdt` or `ost`."),
                filter("node", "Only targets that this node serves."),
                Attribute::of(
                    "targets",
                    Shape::List(attributes::read_only(&TARGET, &[])),
                    Mode::Computed,
                    "The targets, by name.",
                ),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<FsName>(config, "filesystem", diags);
        parsed::<TargetKind>(config, "kind", diags);
        parsed::<NodeName>(config, "node", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let filesystem: Option<FsName> = parsed(config, "filesystem", diags);
        let kind: Option<TargetKind> = parsed(config, "kind", diags);
        let node: Option<NodeName> = parsed(config, "node", diags);
        let snapshot = match self.0.mgs() {
            Ok(mgs) => mgs.snapshot_now(false).await,
            Err(failure) => Err(failure),
        };
        let snapshot = snapshot.map_err(|failure: Failure| failure.report(&TARGET, "Can't read", diags)).ok()?;
        let wanted = snapshot.targets.iter().filter(|target| {
            filesystem.as_ref().is_none_or(|filesystem| target.spec.filesystem.as_ref() == Some(filesystem))
                && kind.is_none_or(|kind| target.spec.kind == kind)
                && node.as_ref().is_none_or(|node| target.spec.node == *node)
        });
        let targets = wanted.map(|target| attributes::viewed(&TARGET, &view(target))).collect();
        let mut state = config.clone();
        state.put("targets", Value::List(targets));
        Some(state)
    }
}
