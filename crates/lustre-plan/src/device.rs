//! The device that a target names, as its node's inventory shows it; also that which the format will make.

use std::borrow::Cow;

use lustre_api::agent::Inventory;
use lustre_api::device::{Device, Refusal, RefusalCode};
use lustre_api::target::TargetSpec;
use lustre_types::Dataset;

/// The device of a target. A ZFS dataset that is not there yet is blank, and what stands against making its pool stands
/// against it. None where the inventory doesn't know.
pub fn device_of<'a>(inventory: &'a Inventory, spec: &TargetSpec) -> Option<Cow<'a, Device>> {
    let listed = inventory.devices.iter().find(|device| device.is_named(&spec.device));
    if let Some(device) = listed {
        return Some(Cow::Borrowed(device));
    }
    let dataset = spec.device.parse::<Dataset>().ok()?;
    let zfs = inventory.zfs.as_ref().filter(|zfs| zfs.problem.is_none())?;
    let has_pool = zfs.pools.iter().any(|pool| pool.name == dataset.pool());
    let refusals = if has_pool { Vec::new() } else { against_pool(inventory, spec, &dataset) };
    let kind = "zfs".to_owned();
    Some(Cow::Owned(Device { kind, refusals, ..Device::blank(&spec.device, 0) }))
}

/// What stands against making a pool that is not there. Paths outside of `/dev` may be image files, which are not listed.
fn against_pool(inventory: &Inventory, spec: &TargetSpec, dataset: &Dataset) -> Vec<Refusal> {
    let (node, pool) = (&spec.node, dataset.pool());
    let unusable = |message: String| Refusal { code: RefusalCode::Unusable, message };
    if spec.vdevs.is_empty() {
        let pools = inventory.zfs.iter().flat_map(|zfs| &zfs.pools);
        let pools: Vec<_> = pools.map(|pool| pool.name.as_str()).collect();
        let has = if pools.is_empty() { "none is imported".to_owned() } else { format!("it has {}", pools.join(", ")) };
        let message =
            format!("{node} has no pool {pool}, {has}; import it (zpool import {pool}), or give vdevs to make it of");
        return vec![unusable(message)];
    }
    let mut refusals = Vec::new();
    for path in spec.vdevs.iter().filter(|word| word.starts_with('/')) {
        match inventory.devices.iter().find(|device| device.is_named(path)) {
            Some(device) => refusals.extend(device.refusals.iter().cloned()),
            None if path.starts_with("/dev/") => refusals.push(unusable(format!("{node} has no device {path}"))),
            None => {}
        }
    }
    refusals
}
