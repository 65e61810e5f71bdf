//! Registration: of a target that was formatted outside a job, and what every registration writes to the config logs.

use lustre_api::target::{Register, Target, TargetState};
use lustre_api::{Problem, ProblemCode, Written};
use lustre_types::{Nid, SvName};

use crate::configlog::TargetInfo;
use crate::decide::{Compare, Decision, Request, as_read, job, log, put, reserve, target};
use crate::key::Key;
use crate::record::{Change, Record, TargetRecord};
use crate::state::State;
use crate::view;

/// Registers a target under its reservation. The same registration again changes nothing.
///
/// Errors: no reservation, a wrong token, a reservation whose time is over, a label of another target, another device
/// than the one that was registered first, a job at work on the target.
pub fn register(
    state: &State,
    req: &Request<'_>,
    svname: &SvName,
    body: Register,
) -> Result<Decision<Written<Target>>, Problem> {
    let object = target::get(state, svname)?;
    let before = &object.value;
    if before.token_sha256.as_ref() != Some(&reserve::hash(&body.token)) {
        let problem =
            Problem::new(ProblemCode::Forbidden, format!("the token is not that of the reservation of {svname}"));
        return Err(problem.remedy("use the token of the last reservation, or reserve again").attribute("token"));
    }
    if let Some(job) = state.active_job(svname) {
        return Err(job::busy_with(svname, &job.value.job));
    }
    check_label(svname, &body.label)?;
    if before.state.is_registered() {
        return registered_again(state, svname, before, object.revision, &body);
    }
    if let Some(until) = before.reserved_until.filter(|until| *until <= req.now) {
        let problem = Problem::conflict(format!("the reservation of {svname} ended at {until}"));
        return Err(problem.remedy("reserve again; format again if another index is assigned"));
    }
    req.check_revision(&format!("target {svname}"), object.revision)?;
    let after = TargetRecord {
        state: TargetState::Registered,
        state_reason: "in the configuration; registered by its node, not started by a job".into(),
        was_registered: true,
        label: Some(body.label),
        uuid: Some(body.uuid),
        size_bytes: Some(body.size_bytes),
        nids: body.nids,
        reserved_until: None,
        ..before.clone()
    };
    let key = Key::Target(svname.clone());
    let view = view::target(state, svname, &after, 0);
    let mut compare = vec![as_read(key.clone(), object.revision)];
    let mut changes = Vec::new();
    configure(state, req, &info(svname, &after, &after.nids), &mut compare, &mut changes)?;
    changes.push(put(key, Record::Target(Box::new(after))));
    Ok(Decision::changed(req, format!("register {svname}"), view, compare, changes))
}

/// Writes a target into the config logs where it isn't there yet, and what was set for it before: what every way to
/// register comes to.
/// Errors: a log that is full.
pub fn configure(
    state: &State,
    req: &Request<'_>,
    target: &TargetInfo,
    compare: &mut Vec<Compare>,
    changes: &mut Vec<Change>,
) -> Result<(), Problem> {
    let Some(fsname) = target.svname.fsname() else { return Ok(()) };
    // Nobody could reach it: it is written when it registers by itself and says its NIDs.
    if target.nids.is_empty() {
        return Ok(());
    }
    let mut draft = log::draft(state, req, Some(fsname));
    if !draft.has_target(&target.svname) {
        draft.register(target)?;
        log::replay(state, fsname, &mut draft)?;
    }
    log::commit(draft, compare, changes);
    Ok(())
}

/// A target as its config logs need it, from what a person described and the NIDs that it has.
///
/// The parameters are those that its format puts into its mountdata, in that order.
pub(super) fn info(svname: &SvName, record: &TargetRecord, nids: &[Nid]) -> TargetInfo {
    let spec = &record.spec;
    let failover = spec.failover_nodes.iter().map(|nodes| ("failover.node".to_owned(), nodes.to_string()));
    let params = spec.format_params.iter().map(|(key, value)| (key.clone(), value.clone()));
    TargetInfo { svname: svname.clone(), nids: nids.to_vec(), params: failover.chain(params).collect() }
}

fn registered_again(
    state: &State,
    svname: &SvName,
    before: &TargetRecord,
    revision: u64,
    body: &Register,
) -> Result<Decision<Written<Target>>, Problem> {
    if before.uuid.as_ref() != Some(&body.uuid) {
        let was = before.uuid.as_deref().unwrap_or("unknown");
        let problem = Problem::conflict(format!("{svname} is registered with file system {was}, not {}", body.uuid));
        return Err(problem
            .remedy("two devices have the same name; reserve another index for this one")
            .attribute("uuid"));
    }
    Ok(Decision::unchanged(view::target(state, svname, before, revision), state.revision))
}

/// A label is the target's name, with `:` instead of the dash until a Lustre server has registered it, `=` for a writeconf.
fn check_label(svname: &SvName, label: &str) -> Result<(), Problem> {
    let dashed = match svname.fsname() {
        Some(fsname) => label.strip_prefix(fsname.as_str()).map(|rest| rest.replacen([':', '='], "-", 1)),
        None => Some(label.to_owned()),
    };
    let expected = svname.fsname().map_or_else(|| "MGS".to_owned(), |_| format!("-{}", svname.short()));
    if dashed.as_deref() == Some(expected.as_str()) {
        return Ok(());
    }
    let problem = Problem::invalid(format!("a device labelled {label:?} is not {svname}"));
    Err(problem.remedy("format it with the index that was reserved").attribute("label"))
}
