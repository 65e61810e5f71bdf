//! The device under a target: whether it may be formatted, and what would be lost.

use std::borrow::Cow;

use lustre_api::device::{Device, Refusal, RefusalCode};
use lustre_api::node::LiveNode;
use lustre_api::plan::{DesiredTarget, ObjectKey};
use lustre_types::{ByteSize, Dataset, SvName};

use super::{Say, Work};
use crate::device_of;

/// A device that can't be used; the error is said.
pub(super) struct Refused;

/// A device as it is now. None where nobody asked the node, or nobody can: the apply looks again.
pub(super) type Seen<'a> = Result<Option<Cow<'a, Device>>, Refused>;

impl<'a> Work<'a> {
    pub(super) fn node(&self, wanted: &DesiredTarget) -> Option<&'a LiveNode> {
        let snapshot = self.snapshot;
        snapshot.nodes.iter().find(|known| known.node.name == wanted.target.node)
    }

    /// The device of a target, on a node that exists.
    pub(super) fn look(&mut self, object: &ObjectKey, wanted: &DesiredTarget, node: &'a LiveNode) -> Seen<'a> {
        let (name, path) = (&wanted.target.node, &wanted.target.device);
        let is_dataset = Dataset::is_meant(path);
        if let Some(problem) = node.info().lacks(&[lustre_api::ability::ZFS]).filter(|_| is_dataset) {
            let say = Say {
                attribute: Some("device"),
                code: "agent_too_old",
                message: format!("{name}:{path} is a ZFS dataset: {}", problem.message),
                remedy: problem.remedy.unwrap_or_default(),
            };
            self.error(object, say);
            return Err(Refused);
        }
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
            return Ok(None);
        };
        if let Some(device) = device_of(inventory, &wanted.target) {
            return Ok(Some(device));
        }
        if is_dataset {
            let problem = inventory.zfs.as_ref().map(|zfs| zfs.problem.clone().unwrap_or_default());
            let say = Say {
                attribute: Some("device"),
                code: "no_such_device",
                message: match problem {
                    None => format!("{name} has no dataset {path}: ZFS is not installed there"),
                    Some(why) => format!("{name} can't say what is in dataset {path}: {why}"),
                },
                remedy: format!("see what `zpool status` says on {name}"),
            };
            self.error(object, say);
            return Err(Refused);
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
            return Ok(None);
        }
        let say = Say {
            attribute: Some("device"),
            code: "no_such_device",
            message: format!("{name} has no device {path}; {}", free(&inventory.devices)),
            remedy: "correct the path".to_owned(),
        };
        self.error(object, say);
        Err(Refused)
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
            let message = if device.is_dataset() {
                // The dataset is new; what is lost is on the devices that its pool is made of.
                let lost: Vec<_> = allowed.iter().map(|refusal| refusal.message.as_str()).collect();
                format!("{name} will be made as {target}, and what is on its vdevs is lost: {}", lost.join("; "))
            } else {
                let (size, content) = (ByteSize(device.size_bytes), &device.content);
                format!("{name} ({size}) will be formatted as {target}, and this is lost: {content}")
            };
            let say = Say {
                attribute: Some("device"),
                code: "data_loss",
                message,
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
    let is_harmless =
        move |code| is_it && matches!(code, RefusalCode::LustreTarget | RefusalCode::ZfsDataset | RefusalCode::Mounted);
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
        RefusalCode::ForeignData | RefusalCode::ZfsDataset => "device_holds_data",
        RefusalCode::LustreTarget => "device_holds_target",
    }
}

/// What else there is: `it has /dev/sdb (1 TiB), /dev/sdc (1 TiB) to format`.
fn free(devices: &[Device]) -> String {
    let free = devices.iter().filter(|device| device.refusals.is_empty() && !device.is_dataset());
    let free: Vec<_> = free.map(|device| format!("{} ({})", device.path, ByteSize(device.size_bytes))).collect();
    match free.len() {
        0 => "it has none that may be formatted".to_owned(),
        1..=8 => format!("it has {} to format", free.join(", ")),
        more => format!("it has {} and {} more to format", free[..8].join(", "), more - 8),
    }
}
