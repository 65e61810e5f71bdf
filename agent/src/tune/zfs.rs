//! A target on ZFS, changed at rest: the properties of its dataset, as `tunefs.lustre` sets them.
//!
//! ZFS changes them one by one. So the dataset first says that a change is under way ([`CHANGING`]), and as long as it says
//! so the target does not start, on whatever node; each property is set only where it is otherwise, the one with the mark of
//! a writeconf last. What a crash left half done, the same job finishes, or the next change does.

use super::{Rewrite, TuneEnd, check_unused, journaled, planned, read_back, the_target};
use crate::host::{Device, Host, HostError, chain, zfs::Properties};
use crate::observe::zfs::{CHANGING, PREFIX, SVNAME, mountdata, properties_of, uuid};
use lustre_api::agent_ops::{TuneOp, TuneResult};
use lustre_types::Dataset;
use lustre_wire::mountdata::Flags;

/// As [`tune`](super::tune).
pub(super) fn tune(
    host: &Host,
    device: &Device,
    dataset: &Dataset,
    op: &TuneOp,
    begun: Option<&Rewrite>,
    journal: impl FnOnce(&Rewrite) -> Result<(), String>,
) -> Result<TuneResult, TuneEnd> {
    check_unused(device, &host.usages(device)?)?;
    let found = the_target(host, device, op)?;
    let before = host.properties(dataset)?.unwrap_or_default();
    if let Some(begun) = begun {
        if uuid(&before) != begun.uuid {
            return Err(TuneEnd::Refused(format!("{dataset} is not the dataset whose change had begun")));
        }
        write(host, dataset, &before, op, begun)?;
        return Ok(TuneResult { formatted_as: read_back(host, device, &op.svname, begun)?, changed: true });
    }
    let file = mountdata(&before).map_err(|why| failed(format!("{dataset}: {why}")))?;
    let rewrite = planned(device, op, &found, &file)?;
    if rewrite.is_same(&found, &file) && !before.own.contains_key(CHANGING) {
        return Ok(TuneResult { formatted_as: found, changed: false });
    }
    journaled(device, &rewrite, journal)?;
    write(host, dataset, &before, op, &rewrite)?;
    Ok(TuneResult { formatted_as: read_back(host, device, &op.svname, &rewrite)?, changed: true })
}

fn failed(message: String) -> TuneEnd {
    TuneEnd::Failed { message, retryable: false }
}

fn write(host: &Host, dataset: &Dataset, before: &Properties, op: &TuneOp, rewrite: &Rewrite) -> Result<(), TuneEnd> {
    let after = wanted(before, rewrite).map_err(|why| failed(format!("{dataset}: {why}")))?;
    set(host, dataset, before, &after, &rewrite.label).map_err(|error| TuneEnd::Failed {
        message: format!(
            "{}; the change of {} on {dataset} may be half done, and then it does not start before it is whole: ask for it \
             again",
            chain(&error),
            op.svname
        ),
        retryable: true,
    })
}

/// The properties as they shall be, the label last. Errors: in words.
fn wanted(before: &Properties, rewrite: &Rewrite) -> Result<Vec<(String, String)>, String> {
    let mut file = mountdata(before)?;
    file.flags = Flags(rewrite.flags);
    file.svname.set(&rewrite.label).map_err(|error| chain(&error))?;
    file.params.set(&rewrite.params).map_err(|error| chain(&error))?;
    let mut after = properties_of(&file)?;
    after.sort_by_key(|(name, _)| name == SVNAME);
    Ok(after)
}

/// Each command is on the medium when it ends, and may be given again.
fn set(
    host: &Host,
    dataset: &Dataset,
    before: &Properties,
    after: &[(String, String)],
    label: &str,
) -> Result<(), HostError> {
    host.set_property(dataset, CHANGING, label)?;
    if after.iter().any(|(name, _)| name == "lustre:failover.node") {
        // Or this node would import it when it starts, whoever has it by then.
        host.set_pool_if_known(dataset.pool(), "cachefile", "none")?;
    }
    let stale = before.own.keys().filter(|name| name.starts_with(PREFIX));
    for name in stale.filter(|name| !after.iter().any(|(kept, _)| kept == *name)) {
        host.unset_property(dataset, name)?;
    }
    for (name, value) in after.iter().filter(|(name, value)| before.own.get(name) != Some(value)) {
        host.set_property(dataset, name, value)?;
    }
    host.unset_property(dataset, CHANGING)
}
