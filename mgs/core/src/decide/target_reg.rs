//! A target that registers over LNet (TARGET_REG), or says that it is up.
//!
//! Source: MGS specification, section 1.3. It shares with every other way to register what is written to the config logs
//! ([`register::configure`]); what is different is who asks: a disk that knows its name and its index, and no person.

use lustre_api::Problem;
use lustre_api::filesystem::FilesystemSpec;
use lustre_api::target::{TargetSpec, TargetState};
use lustre_types::{FsName, Nid, NidList, NodeName, SvName, TargetIndex};
use lustre_wire::mgs::target_flag as flag;

use crate::configlog::{Draft, TargetInfo, names, param};
use crate::decide::{Compare, Decision, Request, absent, as_read, log, nidtbl, put, target};
use crate::key::Key;
use crate::record::{Change, Record, TargetRecord};
use crate::serve::{Announcement, Errno, RegistrationOutcome, RegistrationRequest};
use crate::state::{Object, State};

/// Why a target is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{errno}: {why}")]
pub struct Refusal {
    /// What the target is told.
    pub errno: Errno,
    /// What an administrator is told.
    pub why: String,
}

/// The outcome, or why there is none.
pub type Outcome = Result<RegistrationOutcome, Refusal>;

/// What the device of a target is called that nobody has described.
pub const UNKNOWN_DEVICE: &str = "unknown";

/// Decides a registration or an announcement. A refusal changes nothing and is the decision's reply.
/// Errors: a config log that is full.
pub fn target_reg(state: &State, req: &Request<'_>, asked: &RegistrationRequest) -> Result<Decision<Outcome>, Problem> {
    let outcome = match &asked.ready {
        Some(ready) => announced(state, req, asked, ready, 0),
        None => registered(state, req, asked),
    };
    match outcome {
        Ok(decision) => Ok(decision),
        Err(Stop::Refused(refusal)) => Ok(unchanged(Err(refusal))),
        Err(Stop::Problem(problem)) => Err(problem),
    }
}

/// Decides announcements of several targets of one file system as one change, each target once: after a restart of the MGS all
/// of them say at the same time that they are up, and a commit each would take its time. Replies with the outcomes in the
/// order of the requests; a refusal of one changes nothing for the others.
pub fn announced_together(
    state: &State,
    req: &Request<'_>,
    asked: &[&RegistrationRequest],
) -> Result<Decision<Vec<Outcome>>, Problem> {
    let mut all = unchanged(Vec::with_capacity(asked.len()));
    let mut before = 0;
    for asked in asked {
        let announced = match &asked.ready {
            Some(ready) => announced(state, req, asked, ready, before),
            None => refuse(Errno::INVAL, format!("{} does not say that it is up", asked.svname)),
        };
        match announced {
            Ok(decision) => {
                before += 1;
                // The table's version is that of its last row.
                all.changes.retain(|change| !matches!(change.key, Key::NidTable(_)));
                all.changes.extend(decision.changes);
                let compare = decision.compare.into_iter().filter(|compare| !all.compare.contains(compare));
                let compare: Vec<Compare> = compare.collect();
                all.compare.extend(compare);
                all.what = match before {
                    1 => decision.what,
                    _ => format!("{before} targets are up, {} the last of them", asked.svname),
                };
                all.reply.push(decision.reply);
            }
            Err(Stop::Refused(refusal)) => all.reply.push(Err(refusal)),
            Err(Stop::Problem(problem)) => {
                all.reply.push(Err(Refusal { errno: Errno::INVAL, why: problem.to_string() }));
            }
        }
    }
    Ok(all)
}

enum Stop {
    Refused(Refusal),
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

fn refuse<T>(errno: Errno, why: String) -> Result<T, Stop> {
    Err(Stop::Refused(Refusal { errno, why }))
}

fn unchanged<T>(reply: T) -> Decision<T> {
    Decision { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply }
}

fn registered(state: &State, req: &Request<'_>, asked: &RegistrationRequest) -> Result<Decision<Outcome>, Stop> {
    let svname = &asked.svname;
    let Some(fsname) = svname.fsname() else { return refuse(Errno::INVAL, "an MGT does not register".to_owned()) };
    let record = state.targets.get(svname);
    let mut draft = log::draft(state, req, Some(fsname));
    let in_logs = draft.has_target(svname);
    let is = |bit: u32| asked.flags & bit != 0;
    if is(flag::NEED_INDEX) {
        let why = format!("{svname} wants to be given an index: format it with --index");
        return refuse(Errno::INVAL, why);
    }
    let mut is_writeconf = is(flag::WRITECONF);
    if !is_writeconf && !is(flag::UPDATE) {
        if in_logs {
            let outcome = RegistrationOutcome { flags: asked.flags, uuid: String::new(), revoke: false };
            return Ok(unchanged(Ok(outcome)));
        }
        if draft.log(&names::client(fsname)).is_some() {
            let why =
                format!("{svname} claims to be registered and is not: tunefs.lustre --writeconf registers it anew");
            return refuse(Errno::NOENT, why);
        }
        // Its MGS lost the logs: they are made again of what the targets bring.
        is_writeconf = true;
    }
    check_primary(asked)?;
    let is_known = in_logs || record.is_some();
    if req.env.refuse_unknown_targets && !is_known {
        let why = format!("{svname} is unknown, and only targets that were described or reserved may register");
        return refuse(Errno::ACCES, why);
    }
    let is_virgin = is(flag::VIRGIN) && !is_writeconf;
    let first = match (is_virgin, record) {
        (true, record) => first_registration(state, asked, in_logs, record)?,
        _ => First::No,
    };
    if !in_logs && !is_virgin && !is_writeconf {
        let why =
            format!("{svname} has new parameters and is not registered: tunefs.lustre --writeconf registers it anew");
        return refuse(Errno::NOENT, why);
    }
    let info = TargetInfo { svname: svname.clone(), nids: asked.nids.clone(), params: asked.params.clone() };
    if is_writeconf {
        writeconf(&mut draft, fsname, svname);
        draft.register(&info).map_err(Problem::from)?;
    } else if first == First::New {
        if draft.log(&svname.to_string()).is_some() {
            let why = format!("{svname} was never registered, and there is a log of that name");
            return refuse(Errno::ALREADY, why);
        }
        draft.register(&info).map_err(Problem::from)?;
    } else if first == First::Elsewhere {
        rewrite(&mut draft, fsname, &info)?;
    } else if !is_virgin {
        draft.update(&info).map_err(Problem::from)?;
    }
    if is_writeconf || matches!(first, First::New | First::Elsewhere) {
        // Nobody has to set again what the MGS knows.
        log::replay(state, fsname, &mut draft)?;
    }
    let (mut compare, mut changes) = (Vec::new(), Vec::new());
    log::commit(draft, &mut compare, &mut changes);
    record_target(state, asked, record, &mut compare, &mut changes);
    Ok(Decision {
        compare,
        changes,
        what: req.describe(format!("{svname} registers from {}", asked.from)),
        reply: Ok(RegistrationOutcome { flags: reply_flags(asked.flags), uuid: names::uuid(svname), revoke: true }),
    })
}

/// A target that was not written for its own NIDs first would be found by nobody.
fn check_primary(asked: &RegistrationRequest) -> Result<(), Stop> {
    if asked.flags & flag::NO_PRIMNODE != 0 {
        return Ok(());
    }
    let lists = asked.params.iter().filter(|(key, _)| key == param::FAILOVER_NODE);
    let partners: Vec<Nid> =
        lists.filter_map(|(_, list)| list.parse::<NidList>().ok()).flat_map(|list| list.nodes().concat()).collect();
    match asked.nids.iter().find(|nid| partners.contains(nid)) {
        Some(nid) => {
            let why =
                format!("{} registers from its failover partner {nid}: start it on its own node first", asked.svname);
            refuse(Errno::ADDRNOTAVAIL, why)
        }
        None => Ok(()),
    }
}

/// What the first registration of a disk finds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum First {
    /// It is none.
    No,
    /// Nothing: its logs have to be written.
    New,
    /// All is written: by a job, by a registration over REST, or by this same request, whose reply was lost.
    Done,
    /// The same, for other NIDs.
    Elsewhere,
}

/// Errors: the index belongs to another target.
fn first_registration(
    state: &State,
    asked: &RegistrationRequest,
    in_logs: bool,
    record: Option<&Object<TargetRecord>>,
) -> Result<First, Stop> {
    let svname = &asked.svname;
    let taken = |why: String| refuse(Errno::ADDRINUSE, why);
    let Some(record) = record.map(|record| &record.value) else {
        return if in_logs { taken(format!("{svname} is in use")) } else { Ok(First::New) };
    };
    // Nobody but the disk that it was made for takes an index that is reserved.
    let node = state.nodes.get(&record.spec.node).map_or(&[][..], |node| &node.value.info.nids);
    let partners: Vec<Nid> = record.spec.failover_nodes.iter().flat_map(|list| list.nodes().concat()).collect();
    let is_its_node = asked.nids.iter().any(|nid| node.contains(nid) || partners.contains(nid));
    if record.registrant.is_none() && !node.is_empty() && !is_its_node {
        return taken(format!("{svname} belongs to {}, and {} is not there", record.spec.node, asked.from));
    }
    if !in_logs && !record.state.is_registered() {
        return Ok(First::New);
    }
    // A disk that was never registered and one that was started are two.
    let was_started = state.nid_rows.contains_key(svname);
    let is_again = record.registrant.as_ref().is_none_or(|client| *client == asked.client);
    if was_started || !is_again {
        let where_ = record.nids.first().map_or_else(String::new, |nid| format!(" by the target on {nid}"));
        return taken(format!("{svname} is in use{where_}"));
    }
    Ok(if record.nids == asked.nids { First::Done } else { First::Elsewhere })
}

fn writeconf(draft: &mut Draft, fsname: &FsName, svname: &SvName) {
    let is_mdt0 =
        svname.kind() == lustre_types::TargetKind::Mdt && svname.index().is_some_and(|index| index.get() == 0);
    if !is_mdt0 {
        draft.erase(&svname.to_string());
        return;
    }
    let of_fs = |name: &str| name.rsplit_once('-').is_some_and(|(owner, _)| owner == fsname.as_str());
    let logs: Vec<String> = draft.logs().iter().map(|log| log.name().to_owned()).filter(|name| of_fs(name)).collect();
    for log in logs {
        draft.erase(&log);
    }
}

/// Writes a target anew that nobody has seen yet: under NIDs that it doesn't have nobody would ever find it.
fn rewrite(draft: &mut Draft, fsname: &FsName, info: &TargetInfo) -> Result<(), Stop> {
    let name = info.svname.to_string();
    let mut logs: Vec<String> = draft.mdts(fsname).iter().map(SvName::to_string).collect();
    logs.push(names::client(fsname));
    for log in logs {
        for comment in ["add osc", "add mdc", "add osp"] {
            draft.skip(&log, &name, comment);
        }
    }
    draft.erase(&name);
    draft.register(info).map_err(Problem::from)?;
    Ok(())
}

/// `mti_flags` of the answer to a registration that wrote something.
fn reply_flags(asked: u32) -> u32 {
    let done = flag::VIRGIN | flag::UPDATE | flag::NEED_INDEX | flag::WRITECONF;
    let is_update = asked & flag::UPDATE != 0 && asked & (flag::VIRGIN | flag::WRITECONF) == 0;
    (asked & !done) | flag::REWRITE_LDD | if is_update { flag::PARAM } else { 0 }
}

/// The target as people see it.
fn record_target(
    state: &State,
    asked: &RegistrationRequest,
    record: Option<&Object<TargetRecord>>,
    compare: &mut Vec<Compare>,
    changes: &mut Vec<Change>,
) {
    let key = Key::Target(asked.svname.clone());
    let reason = format!("in the configuration; registered itself from {}", asked.from);
    let registered = |before: TargetRecord, is_job_at_work: bool| TargetRecord {
        // What a job is doing, the job says.
        state: if is_job_at_work { before.state } else { TargetState::Registered },
        state_reason: if is_job_at_work { before.state_reason.clone() } else { reason.clone() },
        was_registered: true,
        nids: asked.nids.clone(),
        registrant: Some(asked.client.clone()),
        reserved_until: None,
        confirm: None,
        confirm_nids: None,
        ..before
    };
    let after = match record {
        Some(object) => {
            compare.push(as_read(key.clone(), object.revision));
            registered(object.value.clone(), state.active_job(&asked.svname).is_some())
        }
        None => {
            let new = new_record(state, asked);
            compare.extend(target::claims(state, &new.spec, &asked.svname));
            if let Some(fsname) = asked.svname.fsname().filter(|fsname| !state.filesystems.contains_key(fsname)) {
                let spec = FilesystemSpec { name: fsname.clone(), description: None };
                let claim = absent(Key::Filesystem(fsname.clone()));
                if !compare.contains(&claim) {
                    compare.push(claim);
                }
                changes.push(put(Key::Filesystem(fsname.clone()), Record::Filesystem(spec)));
            }
            registered(new, false)
        }
    };
    let is_news = record.is_none_or(|before| before.value != after);
    if is_news {
        changes.push(put(key, Record::Target(Box::new(after))));
    }
}

/// A target that nobody has described: what its registration tells of it.
fn new_record(state: &State, asked: &RegistrationRequest) -> TargetRecord {
    let svname = &asked.svname;
    let is_here = |nids: &[Nid]| asked.nids.iter().any(|nid| nids.contains(nid));
    let node = state.nodes.iter().find(|(_, node)| is_here(&node.value.info.nids)).map(|(name, _)| name.clone());
    let node = node.unwrap_or_else(|| node_name(&asked.nids, svname.index()));
    let failover = asked.params.iter().filter(|(key, _)| key == param::FAILOVER_NODE);
    let others = asked.params.iter().filter(|(key, _)| key != param::FAILOVER_NODE);
    let spec = TargetSpec {
        index: svname.index(),
        failover_nodes: failover.filter_map(|(_, list)| list.parse().ok()).collect(),
        format_params: others.cloned().collect(),
        ..TargetSpec::new(svname.kind(), svname.fsname().cloned(), node, UNKNOWN_DEVICE)
    };
    TargetRecord {
        state: TargetState::Registered,
        was_registered: true,
        label: Some(svname.to_string()),
        ..TargetRecord::new(spec, format!("{UNKNOWN_DEVICE}/{svname}"), String::new())
    }
}

/// A name for a node that has no agent: its address.
fn node_name(nids: &[Nid], index: Option<TargetIndex>) -> NodeName {
    let address = nids.first().map(|nid| nid.address().replace(':', "-").to_ascii_lowercase());
    let text = address.unwrap_or_else(|| format!("node-of-index-{}", index.map_or(0, TargetIndex::get)));
    let named = text.parse().or_else(|_| format!("ip{text}").parse());
    named.expect("digits, letters, dots and dashes behind \"ip\" are a node's name")
}

fn announced(
    state: &State,
    req: &Request<'_>,
    asked: &RegistrationRequest,
    ready: &Announcement,
    before: u64,
) -> Result<Decision<Outcome>, Stop> {
    let svname = &asked.svname;
    let Some(fsname) = svname.fsname() else { return refuse(Errno::INVAL, "an MGT is never ready".to_owned()) };
    if state.log(&names::client(fsname)).is_none() {
        return refuse(Errno::NOENT, format!("{svname} is up, and its file system is unknown: register it first"));
    }
    let known = state.nid_rows.get(svname).map_or(&[][..], |row| &row.value.nids);
    let mut nids: Vec<Nid> = match &ready.forget {
        Some(net) => known.iter().filter(|nid| nid.net().to_string() != *net).cloned().collect(),
        None => Vec::new(),
    };
    nids.extend(asked.nids.iter().cloned());
    let mut decision = nidtbl::announce(state, req, svname, ready.instance, &nids, ready.append, before)?;
    if let Some(object) = state.targets.get(svname) {
        let before = &object.value;
        let is_up = before.state == TargetState::Started || state.active_job(svname).is_some();
        if !is_up && before.state.is_registered() {
            let state_reason = format!("in the configuration and up on {}", asked.from);
            let after = TargetRecord { state: TargetState::Started, state_reason, ..before.clone() };
            let key = Key::Target(svname.clone());
            decision.compare.push(as_read(key.clone(), object.revision));
            decision.changes.push(put(key, Record::Target(Box::new(after))));
        }
    }
    let outcome = RegistrationOutcome { flags: asked.flags, uuid: String::new(), revoke: false };
    Ok(decision.map(|_| Ok(outcome)))
}
