//! Reservations: an index before a format that the caller does, kept for a while.

use std::collections::BTreeSet;

use lustre_api::target::{Reservation, Reserve, TargetSpec, TargetState};
use lustre_api::{Problem, Time, Written};
use lustre_types::{SvName, TargetKind};
use sha2::{Digest, Sha256};

use crate::decide::target::{Found, claims, find};
use crate::decide::{Compare, Decision, Request, absent, as_read, lifecycle, put, rules};
use crate::key::Key;
use crate::record::{Record, TargetRecord};
use crate::state::State;
use crate::view;

/// How long an index is kept, in seconds: least, most, and when nobody says.
const TTL_S: (u32, u32, u32) = (60, 604_800, 86_400);
/// Most reservations that one commit ends.
const MAX_EXPIRED: usize = 16;

/// Reserves the lowest free index, or the one asked for. Asked again for the same node and device, the same index is kept
/// longer and gets a new token. Errors: an index or a device that another target has, an unknown file system.
pub fn reserve(
    state: &State,
    req: &Request<'_>,
    body: Reserve,
    busy: &BTreeSet<SvName>,
) -> Result<Decision<Written<Reservation>>, Problem> {
    let Reserve { target: spec, ttl_s } = body;
    rules::reservation(state, req, &spec)?;
    let ttl_s = ttl_s.unwrap_or(TTL_S.2);
    if !(TTL_S.0..=TTL_S.1).contains(&ttl_s) {
        let message = format!("a reservation of {ttl_s} s is not possible: {} to {} s are", TTL_S.0, TTL_S.1);
        return Err(Problem::invalid(message).attribute("ttl_s"));
    }
    let (svname, device_key, revision, compare) = match find(state, &spec, None)? {
        Found::Elsewhere(svname, target) => {
            let has = &target.value.spec;
            let problem =
                Problem::conflict(format!("{svname} is taken: it is the target on {}:{}", has.node, has.device));
            return Err(problem.remedy("choose another index or none").attribute("target.index"));
        }
        Found::Here(svname, target) if target.value.state != TargetState::Reserved || target.value.job.is_some() => {
            let problem = Problem::conflict(format!(
                "{svname} on {}:{} is {} already",
                spec.node,
                spec.device,
                target.value.state.as_str()
            ));
            return Err(problem.remedy("name another device, or delete that target first").attribute("target.device"));
        }
        Found::Here(svname, target) => {
            let compare = vec![as_read(Key::Target(svname.clone()), target.revision)];
            (svname.clone(), target.value.device_key.clone(), target.revision, compare)
        }
        Found::New => {
            let svname = name_of(state, &spec, busy)?;
            let mut compare = claims(state, &spec, &svname);
            compare.push(absent(Key::Device(spec.node.clone(), spec.device.clone())));
            (svname, spec.device.clone(), 0, compare)
        }
    };
    let token: String = req.seed.iter().map(|byte| format!("{byte:02x}")).collect();
    let until = Time::from_unix_ms(req.now.unix_ms() + u64::from(ttl_s) * 1000);
    let spec = TargetSpec { index: svname.index(), ..spec };
    let record = TargetRecord {
        reserved_until: Some(until),
        token_sha256: Some(hash(&token)),
        ..TargetRecord::new(spec, device_key, format!("reserved for {} until {until}", req.who))
    };
    let mgs_nids = req.env.mgs_nids.clone().filter(|_| svname.kind() != TargetKind::Mgt);
    let reply = Reservation { target: view::target(state, &svname, &record, revision), token, mgs_nids };
    let changes = vec![
        put(Key::Device(record.spec.node.clone(), record.device_key.clone()), Record::Device(svname.clone())),
        put(Key::Target(svname.clone()), Record::Target(Box::new(record))),
    ];
    Ok(Decision::changed(req, format!("reserve {svname}"), reply, compare, changes))
}

fn name_of(state: &State, spec: &TargetSpec, busy: &BTreeSet<SvName>) -> Result<SvName, Problem> {
    let Some(fsname) = &spec.filesystem else { return Ok(SvName::mgs()) };
    if spec.kind == TargetKind::Mgt {
        return Ok(SvName::mgs());
    }
    let index = spec.index.or_else(|| state.free_index(fsname, spec.kind, busy));
    let full = || Problem::refused(format!("file system {fsname} has no free index for another {}", spec.kind));
    Ok(SvName::new(fsname.clone(), spec.kind, index.ok_or_else(full)?))
}

/// Ends reservations whose time is over: their indices are free again. A few at a time; `None` when there is none.
pub fn expire(state: &State, req: &Request<'_>) -> Option<Decision<Vec<SvName>>> {
    let is_over = |target: &TargetRecord| {
        target.state == TargetState::Reserved
            && target.job.is_none()
            && target.reserved_until.is_some_and(|until| until <= req.now)
    };
    let over = state.targets.iter().filter(|(_, target)| is_over(&target.value)).take(MAX_EXPIRED);
    let (mut compare, mut changes, mut names) = (Vec::<Compare>::new(), Vec::new(), Vec::new());
    for (svname, target) in over {
        // A reservation never was in a log that could be full.
        let Ok((compares, removals)) = lifecycle::removal(state, req, svname, &target.value, target.revision) else {
            continue;
        };
        compare.extend(compares.into_iter().filter(|new| !compare.contains(new)).collect::<Vec<_>>());
        for change in removals {
            // Several targets of one file system share its list of retired names.
            if !changes.contains(&change) {
                changes.push(change);
            }
        }
        names.push(svname.clone());
    }
    let what = names.iter().map(SvName::to_string).collect::<Vec<_>>().join(", ");
    (!names.is_empty()).then(|| Decision {
        compare,
        changes,
        what: req.describe(format!("end reservation of {what}")),
        reply: names,
    })
}

/// What is kept of a token.
pub(super) fn hash(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
