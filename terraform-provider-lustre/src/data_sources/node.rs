//! `data "lustre_node"`.

use std::sync::Arc;

use lustre_api::attributes::TARGET;
use lustre_types::NodeName;
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Type, Value, async_trait};

use super::{computed, parsed, texts, word};
use crate::session::Session;

pub(super) struct Node(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for Node {
    fn schema(&self) -> Schema {
        let text = |name: &str, description: &str| computed(name, Type::String, description);
        Schema {
            description: "A server with a node agent: what it is, and what it can do.".into(),
            attributes: vec![
                Attribute::new("name", Type::String, Mode::Required, "The name under which its agent enrolled."),
                computed("is_alive", Type::Bool, "Whether the MGS heard of it within the last 30 seconds."),
                text("last_seen", "When the MGS heard of it last; null if not since the MGS started."),
                text("enrolled", "When it enrolled."),
                text("api_url", "Where the MGS reaches its agent."),
                text("agent_version", "Version of its agent."),
                text("kernel", "Its kernel, as `uname -r` says."),
                text("lustre_version", "Version of Lustre; null where it isn't installed."),
                text("e2fsprogs_version", "Version of e2fsprogs; null where it isn't installed."),
                computed(
                    "missing_features",
                    Type::list(Type::String),
                    "Features that Lustre wants and its e2fsprogs lacks; targets are made without them.",
                ),
                text("start_driver", "How it starts targets: `kernel` mounts them, `none` leaves them on disk."),
                computed("nids", Type::list(Type::String), "Its NIDs."),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<NodeName>(config, "name", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let name: NodeName = parsed(config, "name", diags)?;
        let node = match self.0.mgs() {
            Ok(mgs) => mgs.node(name).await,
            Err(failure) => Err(failure),
        };
        let node = node.map_err(|failure| failure.report(&TARGET, "No such node", diags)).ok()?;
        let info = &node.info;
        Some(Value::object([
            ("name", node.name.to_string().into()),
            ("is_alive", node.is_alive.into()),
            ("last_seen", node.last_seen.map(|time| time.to_string()).into()),
            ("enrolled", node.enrolled.to_string().into()),
            ("api_url", node.api_url.clone().into()),
            ("agent_version", info.agent_version.clone().into()),
            ("kernel", info.kernel.clone().into()),
            ("lustre_version", info.lustre.as_ref().map(ToString::to_string).into()),
            ("e2fsprogs_version", info.e2fsprogs.clone().into()),
            ("missing_features", texts(&info.missing_features)),
            ("start_driver", word(&info.start_driver)),
            ("nids", texts(&info.nids)),
        ]))
    }
}
