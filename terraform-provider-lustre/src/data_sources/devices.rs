//! `data "lustre_devices"`.

use std::sync::Arc;

use lustre_api::attributes::TARGET;
use lustre_api::device::Device;
use lustre_types::NodeName;
use tfplugin_proto::{Attribute, DataSource, Diagnostics, Mode, Schema, Shape, Type, Value, async_trait};

use super::{computed, parsed, texts};
use crate::findings::sentence;
use crate::session::Session;

pub(super) struct Devices(pub(super) Arc<Session>);

#[async_trait]
impl DataSource for Devices {
    fn schema(&self) -> Schema {
        Schema {
            description:
                "The block devices of a server, looked at now: what they are, what is on them, and why they may \
                not be formatted."
                    .into(),
            attributes: vec![
                Attribute::new(
                    "node",
                    Type::String,
                    Mode::Required,
                    "The server, by the name under which it enrolled.",
                ),
                Attribute::new(
                    "only_formattable",
                    Type::Bool,
                    Mode::Optional,
                    "Only devices that a target may be made on without `allow_reformat`. Default: `false`.",
                ),
                Attribute::of("devices", Shape::List(device_attributes()), Mode::Computed, "The devices, by path."),
            ],
            ..Schema::default()
        }
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        parsed::<NodeName>(config, "node", diags);
    }

    async fn read(&self, config: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let name: NodeName = parsed(config, "node", diags)?;
        let node = match self.0.mgs() {
            Ok(mgs) => mgs.inventory(name.clone()).await,
            Err(failure) => Err(failure),
        };
        let node = node.map_err(|failure| failure.report(&TARGET, "Can't read the devices", diags)).ok()?;
        let Some(inventory) = node.inventory else {
            let why = node.unreachable.unwrap_or_else(|| "it did not answer".to_owned());
            diags.error_at(
                "node",
                "Agent unreachable",
                sentence(&format!("the agent of {name} can't be asked: {why}")),
            );
            return None;
        };
        let only_formattable = config.get("only_formattable").as_bool().known().unwrap_or_default();
        let mut devices: Vec<&Device> = inventory.devices.iter().collect();
        devices.retain(|device| !only_formattable || device.refusals.is_empty());
        devices.sort_by(|a, b| a.path.cmp(&b.path));
        let mut state = config.clone();
        state.put("devices", Value::List(devices.into_iter().map(value).collect()));
        Some(state)
    }
}

fn device_attributes() -> Vec<Attribute> {
    let text = |name: &str, description: &str| computed(name, Type::String, description);
    vec![
        text("path", "Its canonical path, as in `/dev/sdb`."),
        computed(
            "links",
            Type::list(Type::String),
            "Other paths of it, the stable ones (`/dev/disk/by-id/...`) first.",
        ),
        text("kind", "`disk`, `part`, `loop`, `dm`, `md`, `file` ..."),
        computed("size_bytes", Type::Number, "Its size in bytes."),
        text("model", "The maker's model name."),
        text("serial", "The serial number."),
        text("wwn", "The world wide name."),
        computed("rotational", Type::Bool, "Whether it is a spinning disk."),
        text("content", "What is on it in a line: `blank`, or what was recognised."),
        text("svname", "Name of the Lustre target on it."),
        computed("mountpoints", Type::list(Type::String), "Where it is mounted."),
        computed("holders", Type::list(Type::String), "Devices that are built on it."),
        computed("refusals", Type::list(Type::String), "Why it may not be formatted; empty where it may."),
    ]
}

fn value(device: &Device) -> Value {
    Value::object([
        ("path", device.path.clone().into()),
        ("links", texts(&device.links)),
        ("kind", device.kind.clone().into()),
        ("size_bytes", device.size_bytes.into()),
        ("model", device.model.clone().into()),
        ("serial", device.serial.clone().into()),
        ("wwn", device.wwn.clone().into()),
        ("rotational", device.rotational.into()),
        ("content", device.content.clone().into()),
        ("svname", device.formatted_as.as_ref().map(|target| target.svname.to_string()).into()),
        ("mountpoints", texts(&device.mountpoints)),
        ("holders", texts(&device.holders)),
        ("refusals", texts(device.refusals.iter().map(|refusal| &refusal.message))),
    ])
}
