//! Makes a target of a ZFS dataset: by the real `zpool` and `zfs`, without mounting it.
//!
//! The dataset says that it is unfinished from its first moment to its last: a property of ours, which goes when all others
//! are there. Each command is on the medium when it ends and may be given again, so whoever comes after a crash begins at
//! the front. Nothing is ever destroyed: a pool or a dataset with anything in it stays as it is, whatever the flags.

use super::{Begun, FormatEnd, Report, Wanted, guard};
use crate::{
    host::{
        Device, Host, HostError, chain,
        lock::{self, DeviceLock},
        zfs::{self, Properties},
    },
    observe::{
        Content,
        zfs::{MARK, PREFIX, UUID, VERSION, properties_of},
    },
};
use lustre_api::{
    agent::FormatOp,
    device::{Refusal, RefusalCode},
    job::FormatResult,
};
use lustre_types::{Dataset, TargetKind};
use std::{
    path::Path,
    sync::{MutexGuard, PoisonError},
};
use uuid::Uuid;

/// What an empty dataset takes at most, bytes: less than one file of any size.
const EMPTY_MAX: u64 = 1 << 20;

/// One format of a dataset.
pub struct ZfsFormat<'a> {
    /// The host.
    pub host: &'a Host,
    /// What is asked for.
    pub op: &'a FormatOp,
    /// The same, checked.
    pub wanted: &'a Wanted,
    /// Where.
    pub dataset: Dataset,
    /// Whom to tell.
    pub report: &'a dyn Report,
}

impl ZfsFormat<'_> {
    /// Makes the target, or goes on making it where `begun` says that an earlier agent began.
    pub fn run(&self, begun: Option<Begun>) -> Result<FormatResult, FormatEnd> {
        let device = Device::of_dataset(&self.dataset, 0);
        let observed = self.host.observe(&device)?;
        if let Content::Target(found) = &observed.content
            && guard::is_same(found, self.wanted)
        {
            return Ok(FormatResult {
                changed: begun.as_ref().is_some_and(|begun| found.uuid == begun.uuid.to_string()),
                formatted_over: begun.map_or_else(|| observed.content.to_string(), |begun| begun.formatted_over),
                formatted_as: (**found).clone(),
                missing_features: Vec::new(),
            });
        }
        let refusals = guard::against(self.host, &device, &observed, self.wanted, None)?;
        let is_ours = begun.as_ref().is_some_and(|begun| begun.formatted_over == Content::Blank.to_string());
        // Made by an agent that was killed before the mark was on it: `zfs create` is not one step.
        let refusals = if is_ours && self.is_bare()? { Vec::new() } else { refusals };
        if !refusals.is_empty() {
            return Err(FormatEnd::Refused(refusals));
        }
        let found = observed.content.to_string();
        let is_unfinished = matches!(&observed.content, Content::Target(target) if target.incomplete);
        let is_expected = |expected: &String| *expected == found || begun.is_some() || is_unfinished;
        if let Some(expected) = self.op.expect_content.as_ref().filter(|expected| !is_expected(expected)) {
            return Err(FormatEnd::Changed(format!("{} holds {found} now, the plan saw {expected}", self.dataset)));
        }
        // Of several formats that need the same pool the first one makes it, and the others find it.
        let pools = self.host.pools_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let needs_pool = needs_pool(self.host, &self.dataset)?;
        let (pools, locks) = if needs_pool {
            (Some(pools), self.take_vdevs()?)
        } else {
            drop(pools);
            (None, Vec::new())
        };
        if self.report.is_cancelled() {
            return Err(FormatEnd::Cancelled(match begun {
                None => format!("cancelled before anything was written to {}", self.dataset),
                Some(_) => self.left(),
            }));
        }
        let begun = self.begin(found, begun)?;
        // `zpool` waits for udev to name the partitions that it makes, and udev waits for our locks.
        drop(locks);
        let made = self.make_pool(pools).and_then(|new_pool_lacks| self.make(&begun, new_pool_lacks));
        made.map_err(|end| match end {
            FormatEnd::Host(error) => FormatEnd::Failed {
                message: format!(
                    "the format of {} was cut off: {}; {}",
                    self.wanted.svname,
                    chain(&error),
                    self.left()
                ),
                retryable: true,
            },
            other => other,
        })
    }

    /// Whether the dataset is there with nothing in it and nothing set on it.
    fn is_bare(&self) -> Result<bool, HostError> {
        let is_bare = |properties: &Properties| {
            let used = properties.native.get("used").and_then(|used| used.parse::<u64>().ok());
            properties.is_filesystem()
                && used.is_some_and(|used| used < EMPTY_MAX)
                && !properties.own.keys().any(|name| name.contains(':'))
        };
        Ok(self.host.properties(&self.dataset)?.is_some_and(|properties| is_bare(&properties)))
    }

    /// Devices that a new pool may be made of, each locked. They are looked at as for any other format.
    fn take_vdevs(&self) -> Result<Vec<DeviceLock>, FormatEnd> {
        if let Some(refusal) = no_vdevs(self.op, &self.dataset) {
            return Err(FormatEnd::Refused(vec![refusal]));
        }
        let mut refusals = Vec::new();
        let mut locks = Vec::new();
        for path in paths(self.op) {
            let device = self.host.device(path)?;
            let Some(lock) = lock::lock(&self.host.root, &device)? else {
                return Err(FormatEnd::Failed {
                    message: format!(
                        "{} is locked by another program that works on its disk; `lslocks` says which",
                        path.display()
                    ),
                    retryable: true,
                });
            };
            let observed = self.host.observe(&device)?;
            let found = guard::refusals(self.host, &device, &observed, Some(&lock))?;
            locks.push(lock);
            refusals.extend(found.into_iter().filter(|one| !(self.op.allow_reformat && one.code.is_overridable())));
        }
        if refusals.is_empty() { Ok(locks) } else { Err(FormatEnd::Refused(refusals)) }
    }

    /// Journals what is about to happen.
    fn begin(&self, found: String, before: Option<Begun>) -> Result<Begun, FormatEnd> {
        let begun = match before {
            Some(before) => Begun { attempts: before.attempts + 1, ..before },
            None => {
                let uuid = Uuid::new_v4();
                Begun {
                    uuid,
                    identity: format!("zfs {}", self.dataset),
                    formatted_over: found,
                    missing_features: Vec::new(),
                    command: command(&self.dataset, self.wanted, uuid),
                    attempts: 1,
                }
            }
        };
        self.report.begun(&begun).map_err(|why| FormatEnd::Failed {
            message: format!("the agent's journal can't be written ({why}), so {} was not touched", self.dataset),
            retryable: true,
        })?;
        Ok(begun)
    }

    /// Makes the pool, where `turn` says that it is this format's to make. Gives what Lustre wants of a pool and the
    /// installed ZFS lacks.
    fn make_pool(&self, turn: Option<MutexGuard<'_, ()>>) -> Result<Vec<String>, FormatEnd> {
        let Some(_until_it_is_there) = turn else { return Ok(Vec::new()) };
        let (host, pool) = (self.host, self.dataset.pool());
        host.create_pool(pool, &self.op.vdevs, self.op.allow_reformat, !self.op.failover_nodes.is_empty())?;
        // Guards a pool on shared disks against two nodes; without a host id there is nothing to tell them by.
        let lacks_multihost = host.hostid().is_some() && !host.set_pool_if_known(pool, "multihost", "on")?;
        self.go_on()?;
        Ok(lacks_multihost.then(|| "multihost".to_owned()).into_iter().collect())
    }

    fn make(&self, begun: &Begun, mut missing: Vec<String>) -> Result<FormatResult, FormatEnd> {
        let (host, dataset) = (self.host, &self.dataset);
        let mut keep = |name: &str, is_known: bool| missing.extend((!is_known).then(|| name.to_owned()));
        let mark = mark(self.wanted, begun.uuid);
        let before = match host.properties(dataset)? {
            None => {
                host.create_dataset(dataset, &created_with(self.wanted, &mark))?;
                Properties::default()
            }
            Some(before) => {
                host.set_property(dataset, MARK, &mark)?;
                before
            }
        };
        self.go_on()?;
        for (name, value) in self.native() {
            keep(name, host.set_if_known(dataset, name, value)?);
        }
        let properties = properties_of(&self.wanted.mountdata)
            .map_err(|why| FormatEnd::Failed { message: why, retryable: false })?;
        // What an earlier format of the same target set, and this one doesn't.
        let stale = before.own.keys().filter(|name| name.starts_with(PREFIX));
        for name in stale.filter(|name| !properties.iter().any(|(kept, _)| kept == *name)) {
            host.unset_property(dataset, name)?;
        }
        host.set_property(dataset, UUID, &begun.uuid.to_string())?;
        for (name, value) in &properties {
            self.go_on()?;
            host.set_property(dataset, name, value)?;
        }
        self.go_on()?;
        host.unset_property(dataset, MARK)?;
        match host.observe(&Device::of_dataset(dataset, 0))?.content {
            Content::Target(found) if found.uuid == begun.uuid.to_string() && guard::is_same(&found, self.wanted) => {
                Ok(FormatResult {
                    formatted_as: *found,
                    formatted_over: begun.formatted_over.clone(),
                    changed: true,
                    missing_features: missing,
                })
            }
            other => {
                host.set_property(dataset, MARK, &mark)?;
                let svname = &self.wanted.svname;
                let message =
                    format!("{dataset} was made {svname}, but reads back as {other}; it is left marked unfinished");
                Err(FormatEnd::Failed { message, retryable: false })
            }
        }
    }

    /// Settings that Lustre wants of a dataset, where the administrator chose no others.
    fn native(&self) -> Vec<(&'static str, &'static str)> {
        let mut wanted = vec![("xattr", "sa"), ("dnodesize", "auto")];
        wanted.extend((self.wanted.svname.kind() == TargetKind::Ost).then_some(("recordsize", "1M")));
        wanted.retain(|(name, _)| !self.wanted.dataset_options().iter().any(|(given, _)| given == name));
        wanted
    }

    fn go_on(&self) -> Result<(), FormatEnd> {
        if self.report.is_cancelled() {
            Err(FormatEnd::Cancelled(format!("cancelled; {}", self.left())))
        } else {
            Ok(())
        }
    }

    /// What is left of a format that came to no good end.
    fn left(&self) -> String {
        format!(
            "{} is no target of ZFS as long as it has the property {MARK}, or no {VERSION}; it may be formatted again",
            self.dataset
        )
    }
}

fn mark(wanted: &Wanted, uuid: Uuid) -> String {
    format!("{} {uuid}", wanted.svname)
}

fn created_with(wanted: &Wanted, mark: &str) -> Vec<(String, String)> {
    let mut properties = vec![(MARK.to_owned(), mark.to_owned())];
    properties.extend(wanted.dataset_options().iter().cloned());
    properties
}

/// The command that makes the dataset; settings and properties follow one by one.
pub(super) fn command(dataset: &Dataset, wanted: &Wanted, uuid: Uuid) -> Vec<String> {
    let mut command = vec!["zfs".to_owned()];
    command.extend(zfs::dataset_arguments(dataset, &created_with(wanted, &mark(wanted, uuid))));
    command
}

/// What stands against making the pool of a dataset, where this node has none of that name; nothing is locked for it, and the
/// format looks again.
pub fn against_pool(host: &Host, op: &FormatOp, dataset: &Dataset) -> Result<Vec<Refusal>, HostError> {
    if !needs_pool(host, dataset)? {
        return Ok(Vec::new());
    }
    let mut refusals: Vec<Refusal> = no_vdevs(op, dataset).into_iter().collect();
    for path in paths(op) {
        let device = host.device(path)?;
        let observed = host.observe(&device)?;
        refusals.extend(guard::refusals(host, &device, &observed, None)?);
    }
    Ok(refusals)
}

fn needs_pool(host: &Host, dataset: &Dataset) -> Result<bool, HostError> {
    Ok(!host.has_pool(dataset.pool())?)
}

fn no_vdevs(op: &FormatOp, dataset: &Dataset) -> Option<Refusal> {
    let pool = dataset.pool();
    let message = format!("this node has no pool {pool}; import it (zpool import {pool}), or name vdevs to make it of");
    op.vdevs.is_empty().then_some(Refusal { code: RefusalCode::Unusable, message })
}

/// The devices among the words of a new pool.
fn paths(op: &FormatOp) -> impl Iterator<Item = &Path> {
    op.vdevs.iter().filter(|word| word.starts_with('/')).map(Path::new)
}

/// Why a dataset that holds something is refused, where nothing overrides it.
pub(super) fn holds(device: &Device, content: &Content) -> Option<Refusal> {
    let refuse = |message: String| Some(Refusal { code: RefusalCode::ZfsDataset, message });
    let path = device.path.display();
    match content {
        Content::Blank => None,
        Content::Target(target) if target.incomplete => None,
        content => refuse(format!(
            "{path} holds {content}; nothing is destroyed on ZFS: zfs destroy -r {path} is yours to say"
        )),
    }
}
