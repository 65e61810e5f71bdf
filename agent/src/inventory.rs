//! What a node is and what is in it, in the words of the API.

use crate::{
    config::Config,
    format::guard,
    host::{Device, DeviceKind, Host, HostError, Usage, chain, detached, versions::Kernel},
    look::{self, Describe, Look},
    observe::{Content, Observed, zfs},
    time::now,
    userspace::Userspace,
};
use lustre_api::{
    ability::ABILITIES,
    agent::{FormattedDevice, FormattedDevices, Inventory, NodeInfo, ZfsState},
    device::{self, Refusal, RefusalCode},
};
use lustre_types::Dataset;
use std::{sync::Arc, time::Duration};
use tracing::warn;

/// What the node is and can do. Errors: the NIDs that the configuration names can't be found.
pub fn node_info(host: &Host, config: &Config) -> Result<NodeInfo, HostError> {
    let kernel = Kernel::of_this_node();
    let (e2fsprogs, missing_features) = match host.mke2fs() {
        Ok(found) => (Some(found.version), found.missing.into_iter().collect()),
        Err(error) => {
            warn!(error = chain(&error), "mke2fs can't be asked; this node can't format");
            (None, Vec::new())
        }
    };
    Ok(NodeInfo {
        node: config.node_name(&kernel.node),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: detached::boot_id(),
        kernel: kernel.release,
        lustre: host.lustre_version(),
        e2fsprogs,
        missing_features,
        start_driver: config.start_driver(host),
        nids: host.nids(&config.nids)?,
        kernel_proxy: Some(host.proxy()),
        abilities: Some(ABILITIES.iter().map(|ability| (*ability).to_owned()).collect()),
        hostid: host.hostid().map(|id| format!("{id:08x}")),
    })
}

/// How long whoever asks for the inventory waits for a device.
const PATIENCE: Duration = Duration::from_secs(4);

/// The node and all of its devices, looked at now. One that does not answer says so, and keeps nobody waiting.
pub fn inventory(host: &Arc<Host>, config: &Config) -> Result<Inventory, HostError> {
    let looked = look_at_all(host, PATIENCE, &|_, _| {}, &|| false)?.unwrap_or_default();
    let info = node_info(host, config)?;
    let Looked { devices, zfs, .. } = looked;
    Ok(Inventory { info, devices, zfs, kernel_proxy_use: host.proxy_use(), at: now() })
}

/// What came of a look at all devices.
#[derive(Debug, Default)]
pub struct Looked {
    /// Every device, also those that did not answer: they say so.
    pub devices: Vec<device::Device>,
    /// The paths of those that did not answer.
    pub silent: Vec<String>,
    /// What the node has of ZFS.
    pub zfs: Option<ZfsState>,
}

/// Looks at all devices, each for so long at most. `tell` is told how many of how many are done. `None`: cancelled.
/// Errors: the kernel's list of devices can't be read.
pub fn look_at_all(
    host: &Arc<Host>,
    patience: Duration,
    tell: &dyn Fn(usize, usize),
    is_cancelled: &dyn Fn() -> bool,
) -> Result<Option<Looked>, HostError> {
    let mut found = host.devices()?;
    let asked = look::ask(patience, {
        let host = host.clone();
        move || (host.zfs_state(), host.datasets())
    });
    let silence = || {
        let problem = format!("zpool and zfs have not answered for {} s", patience.as_secs());
        (Some(ZfsState { pools: Vec::new(), problem: Some(problem) }), Ok(Vec::new()))
    };
    let (mut zfs, datasets) = asked.unwrap_or_else(silence);
    match datasets {
        Ok(datasets) => found.extend(datasets.iter().map(|dataset| Device::of_dataset(dataset, 0))),
        Err(error) => {
            if let Some(zfs) = &mut zfs {
                zfs.problem.get_or_insert_with(|| chain(&error));
            }
        }
    }
    let describe: Describe = Arc::new(|host, device| match device.dataset() {
        Some(dataset) => describe_dataset(host, &dataset).unwrap_or_else(|| gone(host, device)),
        None => describe(host, device),
    });
    let total = found.len();
    tell(0, total);
    let Some(looks) = look::look(host, &found, &describe, patience, &|done| tell(done, total), is_cancelled) else {
        return Ok(None);
    };
    let mut looked = Looked { zfs, ..Looked::default() };
    for (device, look) in found.iter().zip(looks) {
        match look {
            Look::Seen(seen) => looked.devices.push(*seen),
            Look::Silent(took) => {
                looked.silent.push(device.path.to_string_lossy().into_owned());
                looked.devices.push(silent(host, device, took));
            }
        }
    }
    // A dataset that is gone by now is none.
    looked.devices.retain(|device| device.content != GONE);
    Ok(Some(looked))
}

/// In place of the content of a dataset that was listed and is not there any more.
const GONE: &str = "gone";

fn gone(host: &Host, device: &Device) -> device::Device {
    let nothing = Observed { signatures: Vec::new(), content: Content::Foreign(Vec::new()) };
    device::Device { content: GONE.to_owned(), ..with(host, device, nothing, Vec::new()) }
}

/// A device that does not answer.
fn silent(host: &Host, device: &Device, took: Duration) -> device::Device {
    let message =
        format!("{} has not answered for {} s; dmesg may say why", device.path.display(), took.as_secs().max(1));
    let nothing = Observed { signatures: Vec::new(), content: Content::Foreign(Vec::new()) };
    with(host, device, nothing, vec![Refusal { code: RefusalCode::Unusable, message }])
}

/// What every device is formatted as; devices without a target are left out.
pub fn formatted(host: &Host, userspace: Option<&Userspace>) -> Result<FormattedDevices, HostError> {
    let mut targets = Vec::new();
    let mut devices = host.devices()?;
    devices.extend(datasets(host));
    for device in devices {
        let observed = match host.observe(&device) {
            Ok(observed) => observed,
            // One bad disk must not hide the targets on the others; the inventory says what is wrong with it.
            Err(error) => {
                warn!(device = %device.path.display(), error = chain(&error), "device can't be read");
                continue;
            }
        };
        if let Content::Target(found) = observed.content {
            let svname = found.svname.clone();
            targets.push(FormattedDevice {
                device: device.path.to_string_lossy().into_owned(),
                formatted_as: *found,
                mountpoint: host.mountpoints(&device)?.into_iter().next(),
                running: userspace.and_then(|driver| driver.describe(&svname)),
            });
        }
    }
    Ok(FormattedDevices { targets })
}

/// ZFS datasets that are targets, or were to become one. Where ZFS is there and doesn't answer, the other targets are told
/// all the same.
fn datasets(host: &Host) -> Vec<Device> {
    let mut found = Vec::new();
    for property in [zfs::VERSION, zfs::MARK] {
        match host.datasets_with(property) {
            Ok(datasets) => found.extend(datasets.iter().map(|dataset| Device::of_dataset(dataset, 0))),
            Err(error) => {
                warn!(error = chain(&error), "ZFS can't be asked for targets");
                break;
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}

/// A dataset with what is in it; none where it is gone by now. One that can't be read says so.
fn describe_dataset(host: &Host, dataset: &Dataset) -> Option<device::Device> {
    let size_bytes = match host.properties(dataset) {
        Ok(properties) => properties?.size_bytes(),
        Err(_) => 0,
    };
    Some(describe(host, &Device::of_dataset(dataset, size_bytes)))
}

/// One device with what is on it and why it may not be formatted. A device that can't be read says so.
pub fn describe(host: &Host, device: &Device) -> device::Device {
    let observed = host.observe(device);
    let (observed, refusals) = match observed {
        Ok(observed) => {
            let refusals =
                guard::refusals(host, device, &observed, None).unwrap_or_else(|error| vec![unusable(device, &error)]);
            (observed, refusals)
        }
        Err(error) => {
            let nothing = Observed { signatures: Vec::new(), content: Content::Foreign(Vec::new()) };
            (nothing, vec![unusable(device, &error)])
        }
    };
    with(host, device, observed, refusals)
}

/// The API's view of a device that was looked at.
pub fn with(host: &Host, device: &Device, observed: Observed, refusals: Vec<Refusal>) -> device::Device {
    let content = match observed.content.to_string() {
        unknown if unknown.is_empty() => "unreadable".to_owned(),
        content => content,
    };
    device::Device {
        path: device.path.to_string_lossy().into_owned(),
        links: device.links.iter().map(|link| link.to_string_lossy().into_owned()).collect(),
        kind: kind(&device.kind).to_owned(),
        size_bytes: device.size_bytes,
        model: device.model.clone(),
        serial: device.serial.clone(),
        wwn: device.wwn.clone(),
        rotational: device.is_rotational,
        signatures: observed
            .signatures
            .into_iter()
            .map(|found| device::Signature {
                kind: found.kind,
                label: found.label,
                uuid: found.uuid,
                offset: Some(found.offset),
            })
            .collect(),
        content,
        formatted_as: match observed.content {
            Content::Target(found) => Some(*found),
            _ => None,
        },
        holders: device.partitions.iter().chain(&device.holders).cloned().collect(),
        mountpoints: mountpoints(host, device),
        refusals,
    }
}

fn mountpoints(host: &Host, device: &Device) -> Vec<String> {
    let usages = host.usages(device).unwrap_or_default();
    usages
        .into_iter()
        .filter_map(|usage| match usage {
            Usage::Mounted { mountpoint, .. } => Some(mountpoint),
            Usage::Served { .. } => Some("[userspace]".to_owned()),
            Usage::Swap => Some("[SWAP]".to_owned()),
            _ => None,
        })
        .collect()
}

fn unusable(device: &Device, error: &HostError) -> Refusal {
    let message = format!("{} can't be looked at: {}", device.path.display(), chain(error));
    Refusal { code: RefusalCode::Unusable, message }
}

fn kind(kind: &DeviceKind) -> &'static str {
    match kind {
        DeviceKind::Disk => "disk",
        DeviceKind::Partition { .. } => "part",
        DeviceKind::Loop { .. } => "loop",
        DeviceKind::Mapper { .. } => "dm",
        DeviceKind::Md => "md",
        DeviceKind::Image => "file",
        DeviceKind::Dataset => "zfs",
    }
}
