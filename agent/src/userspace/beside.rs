//! What a target is told beside its logs, as a kernel target is: the nodemaps; and an MDT of write barriers, and where the
//! other targets run (imperative recovery).

use super::running::{RETRY, Seen};
use crate::host::chain;
use lustre_api::agent::{RunsAt, ToldNodemaps};
use lustre_mgc::{Keeper, Mgc, MgcError, NidTableFollower, NodemapFollower, Nodemaps};
use lustre_types::{FsName, SvName, TargetIndex, TargetKind};
use lustre_wire::{
    ldlm::{ResourceId, ResourceKind},
    lnet::WireNid,
    mgs::{NidTableEntry, RawNids},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};
use tokio::{runtime::Handle, task::AbortHandle};
use tracing::{debug, info, warn};

/// What of it a target has heard.
#[derive(Default)]
pub(super) struct Told {
    pub(super) nodemaps: Option<ToldNodemaps>,
    pub(super) peers: BTreeMap<String, RunsAt>,
}

/// Those who listen; their locks are held from the first reading on.
#[derive(Default)]
pub(super) struct Beside {
    nodemaps: Option<NodemapFollower>,
    barrier: Option<Keeper>,
    nid_table: Option<NidTableFollower>,
    pub(super) told: Told,
}

impl Beside {
    /// Takes the lock of the nodemaps and reads them, and an MDT's lock of the write barrier. Errors: the MGS isn't there; one
    /// that refuses is only in the log, as with a kernel target.
    pub(super) async fn before_logs(&mut self, mgc: &Mgc, svname: &SvName) -> Result<(), MgcError> {
        let mut nodemaps = mgc.follow_nodemaps();
        self.told.nodemaps = borne(svname, "nodemaps", nodemaps.next().await)?.flatten().map(shown);
        self.nodemaps = Some(nodemaps);
        let barrier = of_mdt(svname).and_then(|fsname| ResourceId::new(fsname.as_str(), ResourceKind::Barrier).ok());
        if let Some(resource) = barrier {
            let mut barrier = mgc.keep_lock(resource);
            borne(svname, "write barrier", barrier.again().await)?;
            self.barrier = Some(barrier);
        }
        Ok(())
    }

    /// For an MDT, behind its own log: takes the lock of the NID table and reads that. Errors: as above.
    pub(super) async fn behind_own_log(&mut self, mgc: &Mgc, svname: &SvName) -> Result<(), MgcError> {
        let Some(fsname) = of_mdt(svname) else { return Ok(()) };
        let mut table = mgc.follow_nid_table(&format!("{fsname}-mdtir"))?;
        if let Some(entries) = borne(svname, "NID table", table.next().await)? {
            self.told.peers.extend(entries.iter().filter_map(|entry| peer(fsname, entry)));
        }
        self.nid_table = Some(table);
        Ok(())
    }

    /// Listens from now on, until the tasks are aborted.
    pub(super) fn listen(self, runtime: &Handle, svname: &SvName, seen: &Arc<Mutex<Seen>>) -> Vec<AbortHandle> {
        let mut tasks = Vec::new();
        if let Some(mut nodemaps) = self.nodemaps {
            let (svname, seen) = (svname.clone(), seen.clone());
            tasks.push(runtime.spawn(async move {
                loop {
                    let Some(read) = patient(&svname, "nodemaps", nodemaps.next().await).await else { continue };
                    let told = read.map(shown);
                    info!(%svname, nodemaps = told.as_ref().map_or(0, |told| told.names.len()), "nodemaps read");
                    locked(&seen).told.nodemaps = told;
                }
            }));
        }
        if let Some(mut barrier) = self.barrier {
            let svname = svname.clone();
            tasks.push(runtime.spawn(async move {
                loop {
                    patient(&svname, "write barrier", barrier.again().await).await;
                }
            }));
        }
        if let (Some(mut table), Some(fsname)) = (self.nid_table, of_mdt(svname)) {
            let (fsname, svname, seen) = (fsname.clone(), svname.clone(), seen.clone());
            tasks.push(runtime.spawn(async move {
                loop {
                    let Some(entries) = patient(&svname, "NID table", table.next().await).await else { continue };
                    info!(%svname, targets = entries.len(), version = table.version(), "told where targets run");
                    locked(&seen).told.peers.extend(entries.iter().filter_map(|entry| peer(&fsname, entry)));
                }
            }));
        }
        tasks.iter().map(tokio::task::JoinHandle::abort_handle).collect()
    }
}

fn locked(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().expect("nothing panics while it is held")
}

/// The file system of an MDT; none of other targets.
fn of_mdt(svname: &SvName) -> Option<&FsName> {
    svname.fsname().filter(|_| svname.kind() == TargetKind::Mdt)
}

/// A refusal is borne: a target starts without what it is refused.
fn borne<T>(svname: &SvName, what: &str, result: Result<T, MgcError>) -> Result<Option<T>, MgcError> {
    match result {
        Err(error @ MgcError::Refused { .. }) => {
            warn!(%svname, what, error = chain(&error), "the MGS refuses what every target asks for; going on without");
            Ok(None)
        }
        result => result.map(Some),
    }
}

/// After an error, a while.
async fn patient<T>(svname: &SvName, what: &str, result: Result<T, MgcError>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            debug!(%svname, what, error = chain(&error), "can't be followed, will try again");
            tokio::time::sleep(RETRY).await;
            None
        }
    }
}

fn shown(nodemaps: Nodemaps) -> ToldNodemaps {
    let names = nodemaps.nodemaps.into_values().map(|nodemap| nodemap.name).collect();
    ToldNodemaps { active: nodemaps.is_active, names }
}

/// Where an entry says that a target runs. Nothing for an index that no target has.
fn peer(fsname: &FsName, entry: &NidTableEntry) -> Option<(String, RunsAt)> {
    let kind = if entry.kind == 1 { TargetKind::Mdt } else { TargetKind::Ost };
    let svname = SvName::new(fsname.clone(), kind, TargetIndex::try_from(entry.index).ok()?);
    let nids = match &entry.nids {
        RawNids::Small(nids) => nids.iter().map(|nid| WireNid::from_classic(*nid).to_string()).collect(),
        RawNids::Large(nids) => nids.iter().map(|nid| WireNid::from_large(*nid).to_string()).collect(),
    };
    Some((svname.to_string(), RunsAt { instance: entry.instance, nids }))
}
