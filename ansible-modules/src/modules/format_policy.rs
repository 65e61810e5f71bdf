//! What a format may overwrite: `format`, `confirm` and `serial` of `lustre_target`.
//!
//! The plan refuses what the rules of the product refuse. What is here is narrower: a task asks for each loss by the name of
//! the target *and* of the disk, so neither a variable of a group nor a disk that was swapped overnight can cause one.

use lustre_api::device::Device;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Action, Change, Desired, Finding, ObjectKey, Place, Plan, Severity};
use lustre_api::target::TargetSpec;
use lustre_types::{SvName, TargetKind};

use super::Task;
use super::target::device_of;
use crate::argspec::{Argument, ArgumentType};

/// `format`.
pub(super) fn option() -> Argument {
    Argument::new("format", ArgumentType::Str)
        .choices(["blank", "same_identity", "confirmed"])
        .default("blank")
        .doc("What a format may overwrite.")
        .doc("V(blank): nothing. Only a device on which nothing at all is found is formatted, or one on which this MGS has begun \
            the format of this very target.")
        .doc("V(same_identity): also an unfinished format of the same target that this MGS knows nothing of.")
        .doc("V(confirmed): also other data and other targets, for each target whose O(targets[].confirm) names target and disk.")
}

/// What a task says about one target's device.
#[derive(Clone, Debug, Default)]
pub(super) struct Consent {
    pub(super) serial: Option<String>,
    pub(super) confirm: Option<String>,
}

/// Whether the plan may count with losing what is on the device. Errors: a `confirm` that is not for this target and disk.
pub(super) fn allows_reformat(
    task: &Task<'_>,
    snapshot: &Snapshot,
    spec: &TargetSpec,
    consent: &Consent,
) -> Result<bool, String> {
    let Some(confirm) = &consent.confirm else { return Ok(false) };
    if task.text("format") != Some("confirmed") {
        return Err("confirm has no effect without format: confirmed".to_owned());
    }
    // An agent that doesn't answer is the plan's to report.
    let Some(device) = device_of(snapshot, spec) else { return Ok(true) };
    let Some(expected) = confirmation(spec, &device) else {
        return Err(
            "confirm needs the target's index: which target may lose data must not be left to chance".to_owned()
        );
    };
    if *confirm == expected {
        return Ok(true);
    }
    // A target that is there by now needs no format; the old confirmation in the play hurts nobody.
    let is_it = device
        .formatted_as
        .as_ref()
        .is_some_and(|found| named(spec).as_ref() == Some(&found.svname) && !found.incomplete);
    if is_it {
        return Ok(false);
    }
    Err(format!("confirm is {confirm:?}, and the target and disk at hand are {expected:?}; nothing is formatted"))
}

fn named(spec: &TargetSpec) -> Option<SvName> {
    match (spec.kind, &spec.filesystem, spec.index) {
        (TargetKind::Mgt, ..) => Some(SvName::mgs()),
        (kind, Some(fsname), Some(index)) => Some(SvName::new(fsname.clone(), kind, index)),
        _ => None,
    }
}

/// `<svname>@<serial>`; a disk without serial number goes by its WWN, one without that by its path.
fn confirmation(spec: &TargetSpec, device: &Device) -> Option<String> {
    let disk = device.serial.as_ref().or(device.wwn.as_ref()).unwrap_or(&device.path);
    Some(format!("{}@{disk}", named(spec)?))
}

/// Says in this module's options what the plan says in the API's: how a loss would be allowed.
pub(super) fn speak_of_confirm(desired: &Desired, snapshot: &Snapshot, plan: &mut Plan) {
    for finding in &mut plan.findings {
        if !finding.remedy.as_ref().is_some_and(|remedy| remedy.contains("allow_reformat")) {
            continue;
        }
        let Some(wanted) = finding.place.as_ref().and_then(|place| desired.target_at(place)) else { continue };
        let confirm = device_of(snapshot, &wanted.target).and_then(|device| confirmation(&wanted.target, &device));
        let how = match confirm {
            Some(confirm) => format!("set format: confirmed, and confirm: {confirm:?} on this target"),
            None => "give its index, then set format: confirmed; the task will say what to confirm".to_owned(),
        };
        finding.remedy = Some(format!("name another device; to lose what is on this one, {how}"));
    }
}

/// What stands against the plan by this task's rules.
pub(super) fn findings(
    task: &Task<'_>,
    desired: &Desired,
    consents: &[Consent],
    snapshot: &Snapshot,
    plan: &Plan,
) -> Vec<Finding> {
    let mut found = Vec::new();
    for (wanted, consent) in desired.targets.iter().zip(consents) {
        let spec = &wanted.target;
        let Some(device) = device_of(snapshot, spec) else { continue };
        let place = Place { node: spec.node.clone(), device: spec.device.clone() };
        let change = plan.changes.iter().find(|change| change.place.as_ref() == Some(&place));
        let object = change.map(|change| change.object.clone());
        let object = object.or_else(|| named(spec).map(|svname| ObjectKey::Target { svname }));
        let object =
            object.unwrap_or_else(|| ObjectKey::NewTarget { node: spec.node.clone(), device: spec.device.clone() });
        let mut refuse = |code: &str, message: String, remedy: String| {
            found.push(Finding {
                severity: Severity::Error,
                object: object.clone(),
                attribute: Some("device".to_owned()),
                code: code.to_owned(),
                message,
                remedy: Some(remedy),
                place: Some(place.clone()),
            });
        };
        if let Some(serial) = &consent.serial
            && device.serial.as_ref() != Some(serial)
            && device.wwn.as_ref() != Some(serial)
        {
            let is = device.serial.as_ref().or(device.wwn.as_ref());
            let is = is.map_or_else(|| "has none".to_owned(), |is| format!("is {is:?}"));
            refuse(
                "other_disk",
                format!("{place} should have the serial number {serial:?}, and its {is}"),
                "correct serial or device".to_owned(),
            );
            continue;
        }
        let Some(change) = change.filter(|change| formats(change)) else { continue };
        if is_unstable(&spec.device) && consent.serial.is_none() {
            let stable = device.links.iter().find(|link| link.starts_with("/dev/disk/by-id/"));
            let remedy = match (stable, &device.serial) {
                (Some(link), Some(serial)) => format!("use {link}, or give serial: {serial}"),
                (Some(link), None) => format!("use {link}"),
                (None, Some(serial)) => format!("give serial: {serial}"),
                (None, None) => "use one of its names below /dev/disk".to_owned(),
            };
            refuse("unstable_name", format!("{place} would be formatted, and such names move between boots"), remedy);
        }
        if change.action != Action::Create || device.content == "blank" || wanted.allow_reformat {
            continue;
        }
        if task.text("format") == Some("blank") {
            refuse(
                "device_not_blank",
                format!("{place} is not blank: there is {}", device.content),
                "set format: same_identity to do that target's format again".to_owned(),
            );
        } else if named(spec)
            .is_none_or(|svname| device.formatted_as.as_ref().is_none_or(|found| found.svname != svname))
        {
            // The plan lets an unfinished format become any target: nothing is lost. Here its identity counts, too.
            refuse(
                "device_of_another_target",
                format!("{place} is not of the same identity: there is {}", device.content),
                "give that target's index to do its format again, or name another device".to_owned(),
            );
        }
    }
    found
}

fn formats(change: &Change) -> bool {
    change.fields.iter().any(|field| field.path == "formatted_over")
}

/// `/dev/sdb`: given in the order in which the kernel found the disks.
fn is_unstable(path: &str) -> bool {
    path.strip_prefix("/dev/sd").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()))
}
