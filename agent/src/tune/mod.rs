//! Changes what a target at rest says of itself, natively, as `tunefs.lustre` does: of an ldiskfs target its label and
//! `CONFIGS/mountdata`, of one on ZFS the properties of its dataset.
//!
//! Every check of a format stands before the first write. What is to be written is journaled first and written anew after a
//! crash; what decides comes last.

mod ldiskfs;
mod zfs;

pub(crate) use ldiskfs::{check_idle, read_file, replay, take_lock, write};

use crate::host::{Device, Host, HostError, chain};
use crate::observe::Content;
use lustre_api::{
    agent_ops::{TuneOp, TuneResult},
    device::FormattedAs,
};
use lustre_types::{NidList, SvName};
use lustre_wire::mountdata::{Label, LabelError, Mountdata, Tunefs};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What is journaled before the first write: all that is written, so that it can be written again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rewrite {
    /// UUID of the file system.
    pub uuid: String,
    /// The new label.
    pub label: String,
    /// `ldd_flags`.
    pub flags: u32,
    /// `ldd_svname`.
    pub svname: String,
    /// `ldd_params`.
    pub params: String,
}

/// Why a target was not changed.
#[derive(Debug)]
pub enum TuneEnd {
    /// Nothing was touched.
    Refused(String),
    /// It didn't work.
    Failed {
        /// What happened, and what is on the device now.
        message: String,
        /// Whether the same may work later.
        retryable: bool,
    },
}

impl From<HostError> for TuneEnd {
    fn from(error: HostError) -> Self {
        Self::Failed { message: chain(&error), retryable: false }
    }
}

impl Rewrite {
    /// Whether everything is so already.
    fn is_same(&self, found: &FormattedAs, file: &Mountdata) -> bool {
        self.label == found.label
            && self.flags == file.flags.0
            && self.svname == file.svname.to_string_lossy()
            && self.params == file.params.to_string_lossy()
    }
}

/// Makes the change, or goes on making it where `begun` says that an earlier agent began. `journal` makes durable what is
/// about to be written; nothing is written before that.
pub fn tune(
    host: &Host,
    op: &TuneOp,
    begun: Option<&Rewrite>,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<TuneResult, TuneEnd> {
    let device = host.device(Path::new(&op.device))?;
    match device.dataset() {
        Some(dataset) => zfs::tune(host, &device, &dataset, op, begun, journal),
        None => ldiskfs::tune(host, &device, op, begun, journal),
    }
}

/// What is to be written of a target that was found, and is that of `op`. Errors: it can't be.
fn planned(device: &Device, op: &TuneOp, found: &FormattedAs, file: &Mountdata) -> Result<Rewrite, TuneEnd> {
    let tunefs = Tunefs {
        writeconf: op.writeconf,
        mgs_nids: op.mgs_nids.clone(),
        failover: op
            .failover_nodes
            .as_ref()
            .map(|nodes| NidList::new(nodes.iter().flat_map(|list| list.nodes().iter().cloned()).collect())),
    };
    let failed = |message: String| TuneEnd::Failed { message, retryable: false };
    let on = |what: &dyn std::error::Error| format!("{} on {}: {}", op.svname, device.path.display(), chain(what));
    let label: Label = found.label.parse().map_err(|error: LabelError| failed(on(&error)))?;
    let (after, label_after) = tunefs.apply(file, &label).map_err(|error| TuneEnd::Refused(on(&error)))?;
    Ok(Rewrite {
        uuid: found.uuid.clone(),
        label: label_after.to_string(),
        flags: after.flags.0,
        svname: after.svname.to_string_lossy(),
        params: after.params.to_string_lossy(),
    })
}

/// The target on a device, which must be the one that is meant, finished, and the one that the plan saw.
fn the_target(host: &Host, device: &Device, op: &TuneOp) -> Result<FormattedAs, TuneEnd> {
    let path = device.path.display();
    let found = match host.observe(device)?.content {
        Content::Target(found) if found.svname == op.svname && !found.incomplete => found,
        other => return Err(TuneEnd::Refused(format!("{path} holds {other}, not {}", op.svname))),
    };
    match op.expect_uuid.as_ref().filter(|expected| **expected != found.uuid) {
        Some(expected) => {
            let message = format!("{path} holds {} with UUID {}, the plan saw {expected}", op.svname, found.uuid);
            Err(TuneEnd::Refused(message))
        }
        None => Ok(*found),
    }
}

/// Makes durable what is about to be written.
fn journaled(
    device: &Device,
    rewrite: &Rewrite,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<(), TuneEnd> {
    journal(rewrite).map_err(|why| TuneEnd::Failed {
        message: format!("the agent's journal can't be written ({why}), so {} was not touched", device.path.display()),
        retryable: true,
    })
}

/// Errors: it is in use, as the kernel's tables and our own say.
fn check_unused(device: &Device, usages: &[crate::host::Usage]) -> Result<(), TuneEnd> {
    if usages.is_empty() {
        return Ok(());
    }
    let users: Vec<String> = usages.iter().map(ToString::to_string).collect();
    let message = format!(
        "{} is {}; stop the target first, no option overrides this",
        device.path.display(),
        users.join(", and ")
    );
    Err(TuneEnd::Refused(message))
}

pub(crate) fn read_back(
    host: &Host,
    device: &Device,
    svname: &SvName,
    rewrite: &Rewrite,
) -> Result<FormattedAs, TuneEnd> {
    match host.observe(device)?.content {
        Content::Target(found)
            if found.svname == *svname && found.label == rewrite.label && found.flags == rewrite.flags =>
        {
            Ok(*found)
        }
        other => {
            let message =
                format!("{} was written as {} and reads back as {other}", device.path.display(), rewrite.label);
            Err(TuneEnd::Failed { message, retryable: true })
        }
    }
}
