//! The device under a target: whether it may be formatted, and what would be lost.

use lustre_api::device::{Device, Refusal, RefusalCode};
use lustre_api::node::LiveNode;
use lustre_api::plan::{DesiredTarget, ObjectKey};
use lustre_types::{ByteSize, SvName};

use super::{Say, Work};

/// What was seen of a device.
pub(super) enum Seen<'a> {
    /// It, as it is now.
    Device(&'a Device),
    /// Nothing: nobody asked the node, or nobody can. The apply looks again.
    Nothing,
    /// It can't be used; the error is said.
    Refused,
}

impl<'a> Work<'a> {
    pub(super) fn node(&self, wanted: &DesiredTarget) -> Option<&'a LiveNode> {
        let snapshot = self.snapshot;
        snapshot.nodes.iter().find(|known| known.node.name == wanted.target.node)
    }

    /// The device of a target, on a node that exists.
    pub(super) fn look(&mut self, object: &ObjectKey, wanted: &DesiredTarget, node: &'a LiveNode) -> Seen<'a> {
        let (name, path) = (&wanted.target.node, &wanted.target.device);
        let Some(inventory) = &node.inventory else {
            // Without this the snapshot was made without asking the nodes, and there is nothing to warn of.
            if let Some(why) = &node.unreachable {
                let say = Say {
                    attribute: Some("device"),
                    code: "not_verified",
                    message: format!("{name}:{path} was not looked at: the agent of {name} can't be asked ({why})"),
                    remedy: "the apply looks again, and refuses what may not be formatted".to_owned(),
                };
                self.warning(object, say);
            }
            return Seen::Nothing;
        };
        if let Some(device) = inventory.devices.iter().find(|device| device.is_named(path)) {
            return Seen::Device(device);
        }
        if !path.starts_with("/dev/") {
            // An image file: agents list block devices, and take image files where they are allowed.
            let say = Say {
                attribute: Some("device"),
                code: "not_verified",
                message: format!("{name}:{path} was not looked at: it is none of the devices that {name} lists"),
                remedy: "the apply looks at it, and refuses what may not be formatted".to_owned(),
            };
            self.warning(object, say);
            return Seen::Nothing;
        }
        let say = Say {
            attribute: Some("device"),
            code: "no_such_device",
            message: format!("{name} has no device {path}; {}", free(&inventory.devices)),
            remedy: "correct the path".to_owned(),
        };
        self.error(object, say);
        Seen::Refused
    }

    /// Whether the device may become the target: says each reason against it. True also if something is lost, where that
    /// is allowed.
    pub(super) fn may_become(
        &mut self,
        object: &ObjectKey,
        wanted: &DesiredTarget,
        svname: Option<&SvName>,
        device: &Device,
    ) -> bool {
        let name = format!("{}:{}", wanted.target.node, wanted.target.device);
        let target = svname.map_or_else(|| format!("a new {}", wanted.target.kind.letters()), ToString::to_string);
        let (allowed, refused): (Vec<_>, Vec<_>) =
            against(device, svname).partition(|refusal| wanted.allow_reformat && refusal.code.is_overridable());
        for refusal in &refused {
            let remedy = if refusal.code.is_overridable() {
                "name another device; to lose what is on this one, set allow_reformat on this target"
            } else {
                "free the device first, or name another one; no option overrides this"
            };
            let say = Say {
                attribute: Some("device"),
                code: code(refusal.code),
                message: format!("{name} can't become {target}: {}", refusal.message),
                remedy: remedy.to_owned(),
            };
            self.error(object, say);
        }
        if refused.is_empty() && !allowed.is_empty() {
            let (size, content) = (ByteSize(device.size_bytes), &device.content);
            let say = Say {
                attribute: Some("device"),
                code: "data_loss",
                message: format!("{name} ({size}) will be formatted as {target}, and this is lost: {content}"),
                remedy: "apply only if nobody needs it; else name another device".to_owned(),
            };
            self.warning(object, say);
        }
        refused.is_empty()
    }
}

/// The reasons against a format that count: a finished target of that name is taken up, not formatted, also while it is
/// mounted.
pub(super) fn against<'d>(device: &'d Device, svname: Option<&SvName>) -> impl Iterator<Item = &'d Refusal> {
    let is_it = svname.is_some_and(|svname| is_finished(device, svname));
    let is_harmless = move |code| is_it && matches!(code, RefusalCode::LustreTarget | RefusalCode::Mounted);
    device.refusals.iter().filter(move |refusal| !is_harmless(refusal.code))
}

/// Whether the device holds this target, finished.
pub(super) fn is_finished(device: &Device, svname: &SvName) -> bool {
    device.formatted_as.as_ref().is_some_and(|found| found.svname == *svname && !found.incomplete)
}

fn code(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::Mounted => "device_mounted",
        RefusalCode::Held => "device_held",
        RefusalCode::Partitioned => "device_partitioned",
        RefusalCode::TooSmall => "device_too_small",
        RefusalCode::Unusable => "device_unusable",
        RefusalCode::ForeignData => "device_holds_data",
        RefusalCode::LustreTarget => "device_holds_target",
    }
}

/// What else there is: `it has /dev/sdb (1 TiB), /dev/sdc (1 TiB) to format`.
fn free(devices: &[Device]) -> String {
    let free = devices.iter().filter(|device| device.refusals.is_empty());
    let free: Vec<_> = free.map(|device| format!("{} ({})", device.path, ByteSize(device.size_bytes))).collect();
    match free.len() {
        0 => "it has none that may be formatted".to_owned(),
        1..=8 => format!("it has {} to format", free.join(", ")),
        more => format!("it has {} and {} more to format", free[..8].join(", "), more - 8),
    }
}
