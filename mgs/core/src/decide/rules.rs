//! What a description must be like, and what a device may be used for.

use lustre_api::device::{Device, RefusalCode};
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::param::ParamSpec;
use lustre_api::target::{EnsureTarget, TargetSpec};
use lustre_api::{Problem, ProblemCode};
use lustre_types::{FsName, SvName, TargetKind};

/// Errors: a description that is too long.
pub(super) fn filesystem(spec: &FilesystemSpec) -> Result<(), Problem> {
    match &spec.description {
        Some(text) if text.chars().count() > 256 => {
            let message = format!("the description of {} has more than 256 characters", spec.name);
            Err(Problem::invalid(message).attribute("description"))
        }
        _ => Ok(()),
    }
}

/// Errors: a target that can't exist, whatever the state.
pub(super) fn target(spec: &TargetSpec) -> Result<(), Problem> {
    let bad =
        |attribute: &str, message: String| Err(Problem::invalid(message).attribute(format!("target.{attribute}")));
    let what = format!("the {} on {}:{}", spec.kind, spec.node, spec.device);
    match spec.kind {
        TargetKind::Mgt if spec.index.is_some() => {
            return bad("index", format!("{what} has an index; an MGT has none"));
        }
        TargetKind::Mdt | TargetKind::Ost if spec.filesystem.is_none() => {
            return bad("filesystem", format!("{what} needs a file system"));
        }
        _ => {}
    }
    if !spec.device.starts_with('/') || spec.device.len() > 512 || spec.device.chars().any(char::is_control) {
        return bad("device", format!("{what}: a device is an absolute path of at most 512 bytes"));
    }
    if spec.comment.as_ref().is_some_and(|comment| comment.len() > 800) {
        return bad("comment", format!("{what} has a comment of more than 800 bytes"));
    }
    Ok(())
}

/// Errors: the device changed since the plan, or may not be formatted; says what is on it.
pub(super) fn device(body: &EnsureTarget, svname: &SvName, device: &Device) -> Result<(), Problem> {
    let name = format!("{}:{}", body.target.node, body.target.device);
    if let Some(planned) = body.expect_content.as_ref().filter(|planned| **planned != device.content) {
        let message = format!("{name} held {planned:?} when the plan was made, and holds {:?} now", device.content);
        return Err(Problem::conflict(message)
            .remedy("plan again and look at what would be lost")
            .attribute("expect_content"));
    }
    if let Some(planned) = body.expect_size_bytes.filter(|planned| *planned != device.size_bytes) {
        let message = format!("{name} had {planned} bytes when the plan was made, and has {} now", device.size_bytes);
        return Err(Problem::conflict(message)
            .remedy("plan again: it may be another disk")
            .attribute("expect_size_bytes"));
    }
    // The target itself, finished: nothing is formatted, it is only taken into the configuration.
    let is_there = device.formatted_as.as_ref().is_some_and(|found| found.svname == *svname && !found.incomplete);
    for refusal in &device.refusals {
        let is_harmless = is_there && matches!(refusal.code, RefusalCode::LustreTarget | RefusalCode::Mounted);
        let is_allowed = body.allow_reformat && refusal.code.is_overridable();
        if is_harmless || is_allowed {
            continue;
        }
        let problem = Problem::new(ProblemCode::Refused, format!("{name} can't become {svname}: {}", refusal.message));
        let remedy = if refusal.code.is_overridable() {
            "name another device; to lose what is on this one, set allow_reformat on this target"
        } else {
            "free the device first or name another one; no option overrides this"
        };
        return Err(problem.remedy(remedy).attribute("target.device"));
    }
    Ok(())
}

/// Errors: a change that only a new format could bring.
pub(super) fn only_in_place(svname: &SvName, before: &TargetSpec, after: &TargetSpec) -> Result<(), Problem> {
    let fixed = [
        ("mkfs_options", before.mkfs_options == after.mkfs_options),
        ("mount_options", before.mount_options == after.mount_options),
        ("format_params", before.format_params == after.format_params),
        ("comment", before.comment == after.comment),
    ];
    match fixed.iter().find(|(_, is_same)| !is_same) {
        None => Ok(()),
        Some((attribute, _)) => {
            let message =
                format!("{attribute} of {svname} can't be changed: its device is formatted with the old value");
            let remedy =
                format!("put the old value back; a new format means to deregister {svname}, which gives up its data");
            Err(Problem::refused(message).remedy(remedy).attribute(format!("target.{attribute}")))
        }
    }
}

/// A tunable's warnings. Errors: a value that no node could take.
pub(super) fn param(spec: &ParamSpec) -> Result<Vec<String>, Problem> {
    if spec.value.len() > 4095 || spec.value.contains(['\n', '\0']) {
        let message = format!("the value of {} has a line break or more than 4095 bytes", spec.name);
        return Err(Problem::invalid(message).attribute("value"));
    }
    Ok(Vec::new())
}

/// The OSTs that a member of a pool's description names.
pub(super) fn pool_member(fsname: &FsName, text: &str) -> Result<Vec<SvName>, Problem> {
    let bad = || Problem::invalid(format!("{text:?} is not an OST of {fsname}")).attribute("members");
    let full = if text.starts_with("OST") { format!("{fsname}-{text}") } else { text.to_owned() };
    let svname: SvName = full.parse().map_err(|_| bad())?;
    let is_ours = svname.fsname() == Some(fsname) && svname.kind() == TargetKind::Ost;
    if is_ours { Ok(vec![svname]) } else { Err(bad()) }
}
