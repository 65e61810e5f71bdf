//! The MGS as the provider uses it: one look at everything per run, writes against that look, and waiting for jobs.

mod failure;
mod wait;

use std::sync::{Mutex, MutexGuard, PoisonError};

use lustre_api::mgs::{GetSnapshot, LiveParams, ProofByKey, Snapshot, SnapshotQuery};
use lustre_api::node::{GetNode, GetNodeInventory, LiveNode, Node, NodePath};
use lustre_api::param::{ParamPath, ParamSpec};
use lustre_api::proof::{CarefulRemoval, ExplainParam, Explanation, ParamProof, PostProveParams, ProveParams};
use lustre_api::target::{GetTarget, Target, TargetPath};
use lustre_api::{Endpoint, Nothing, ProblemCode, WriteQuery};
use lustre_types::{NodeName, ParamKey, SvName};
use serde::Serialize;
use serde_json::Value as Json;
use std::sync::Arc;
use tokio::sync::{OnceCell, watch};

pub(crate) use failure::Failure;

/// A connection to one MGS, and what was seen through it.
pub(crate) struct Mgs {
    client: rest::Client,
    /// Everything, at the first time that something was asked: drift and plans are computed against one revision.
    first: OnceCell<Result<Arc<Snapshot>, Failure>>,
    /// `first` with what nodes have of tunables, asked for only when a resource shows it.
    proven: OnceCell<Result<Arc<Snapshot>, Failure>>,
    /// The nodes with their devices, asked for only when a plan needs them.
    devices: OnceCell<Result<(), Failure>>,
    /// `first`, and what the plans of this run will have made.
    assumed: OnceCell<Mutex<Snapshot>>,
    stopped: watch::Receiver<bool>,
}

impl Mgs {
    pub(crate) fn new(client: rest::Client, stopped: watch::Receiver<bool>) -> Self {
        Self {
            client,
            first: OnceCell::new(),
            proven: OnceCell::new(),
            devices: OnceCell::new(),
            assumed: OnceCell::new(),
            stopped,
        }
    }

    /// Everything as it was when this run began. Asked once: also a failure is remembered, or a thousand resources would
    /// each wait for a dead server.
    pub(crate) async fn snapshot(&self) -> Result<Arc<Snapshot>, Failure> {
        let ask = async || {
            let query = SnapshotQuery::default();
            Ok(Arc::new(self.client.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await?))
        };
        self.first.get_or_init(ask).await.clone()
    }

    /// As [`Self::snapshot`], with what nodes have of the tunables that are set: asked once, by the first that wants it.
    pub(crate) async fn snapshot_with_proofs(&self) -> Result<Arc<Snapshot>, Failure> {
        let first = self.snapshot().await?;
        let ask = async || {
            if first.params.is_empty() {
                return Ok(Arc::clone(&first));
            }
            let proofs = self.prove(Vec::new()).await?;
            let param_proofs: ProofByKey = proofs.into_iter().map(|proof| (proof.id.clone(), proof)).collect();
            self.learn(|snapshot| snapshot.param_proofs.clone_from(&param_proofs));
            Ok(Arc::new(Snapshot { param_proofs, ..(*first).clone() }))
        };
        self.proven.get_or_init(ask).await.clone()
    }

    /// What nodes have of tunables, now; of all that are set where none is named.
    pub(crate) async fn prove(&self, ids: Vec<ParamKey>) -> Result<Vec<ParamProof>, Failure> {
        let body = ProveParams { ids };
        Ok(self.client.call::<PostProveParams>(&Nothing {}, &Nothing {}, &body).await?.items)
    }

    /// Everything as it is now, with the devices if asked: for data sources that are read after something was applied.
    pub(crate) async fn snapshot_now(&self, devices: bool) -> Result<Snapshot, Failure> {
        let query = SnapshotQuery { devices, ..SnapshotQuery::default() };
        Ok(self.client.call::<GetSnapshot>(&Nothing {}, &query, &Nothing {}).await?)
    }

    /// What plans are computed against: the snapshot, and what was planned before in this run.
    pub(crate) async fn assumed(&self, with_devices: bool) -> Result<MutexGuard<'_, Snapshot>, Failure> {
        let first = self.proven.get().cloned().unwrap_or(self.snapshot().await)?;
        let assumed = self.assumed.get_or_init(async || Mutex::new((*first).clone())).await;
        if with_devices {
            // Inside: who waits for the devices goes on only when they are in the snapshot.
            let ask = async || {
                let nodes = self.snapshot_now(true).await?.nodes;
                lock(assumed).nodes = nodes;
                Ok(())
            };
            self.devices.get_or_init(ask).await.clone()?;
        }
        Ok(lock(assumed))
    }

    /// Changes what later plans of this run are computed against.
    pub(crate) fn learn(&self, change: impl FnOnce(&mut Snapshot)) {
        if let Some(assumed) = self.assumed.get() {
            change(&mut lock(assumed));
        }
    }

    /// Writes; with `if_revision`, only if nothing changed the object since.
    pub(crate) async fn write<E>(
        &self,
        path: E::Path,
        body: E::Body,
        if_revision: Option<u64>,
    ) -> Result<E::Reply, Failure>
    where
        E: Endpoint<Query = WriteQuery>,
    {
        let query = WriteQuery { if_revision, why: Some("terraform apply".to_owned()), ..WriteQuery::default() };
        Ok(self.client.call::<E>(&path, &query, &body).await?)
    }

    /// What a removal would answer; changes nothing.
    pub(crate) async fn rehearse_removal<E>(&self, path: E::Path) -> Result<E::Reply, Failure>
    where
        E: Endpoint<Query = WriteQuery, Body = Nothing>,
    {
        let query = WriteQuery { dry_run: true, ..WriteQuery::default() };
        Ok(self.client.call::<E>(&path, &query, &Nothing {}).await?)
    }

    /// Removes; `None` if it was not there any more.
    pub(crate) async fn remove<E>(&self, path: E::Path) -> Result<Option<E::Reply>, Failure>
    where
        E: Endpoint<Query = WriteQuery, Body = Nothing>,
    {
        let if_revision = Some(self.snapshot().await?.revision);
        match self.write::<E>(path, Nothing {}, if_revision).await {
            Ok(reply) => Ok(Some(reply)),
            Err(Failure::Refused(problem)) if problem.code == ProblemCode::NotFound => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Removes until somebody confirms it, where that is to be; nothing where it was not there any more.
    pub(crate) async fn remove_carefully<E>(&self, path: E::Path, confirm_within_s: Option<u32>) -> Result<(), Failure>
    where
        E: Endpoint<Query = WriteQuery, Body = CarefulRemoval>,
    {
        let if_revision = Some(self.snapshot().await?.revision);
        match self.write::<E>(path, CarefulRemoval { confirm_within_s }, if_revision).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused(problem)) if problem.code == ProblemCode::NotFound => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// A node as the MGS knows it.
    pub(crate) async fn node(&self, node: NodeName) -> Result<Node, Failure> {
        Ok(self.client.call::<GetNode>(&NodePath { node }, &Nothing {}, &Nothing {}).await?)
    }

    /// What nodes have of a tunable, now.
    pub(crate) async fn explain(&self, path: ParamPath) -> Result<Explanation, Failure> {
        Ok(self.client.call::<ExplainParam>(&path, &Nothing {}, &Nothing {}).await?)
    }

    /// Of these tunables, those that the catalogue does not know and that nodes have, now. Costs nothing where it knows all.
    pub(crate) async fn live_params(&self, specs: Vec<ParamSpec>) -> Result<LiveParams, Failure> {
        let mut live = LiveParams::new();
        for spec in specs.into_iter().filter(|spec| !spec.allow_unknown) {
            if lustre_plan::catalogue::lookup(spec.name.as_str()).is_some() {
                continue;
            }
            let fsname = spec.filesystem.map_or_else(|| "*".to_owned(), |fsname| fsname.to_string());
            let path = ParamPath { fsname, scope: spec.scope, name: spec.name.clone() };
            let having = self.explain(path).await?.nodes.into_iter().filter(|proof| !proof.values.is_empty());
            live.insert(spec.name, having.map(|proof| proof.node).collect());
        }
        Ok(live)
    }

    /// A node with its devices, looked at now.
    pub(crate) async fn inventory(&self, node: NodeName) -> Result<LiveNode, Failure> {
        Ok(self.client.call::<GetNodeInventory>(&NodePath { node }, &Nothing {}, &Nothing {}).await?)
    }

    /// A target as it is now.
    pub(crate) async fn target(&self, svname: SvName) -> Result<Target, Failure> {
        Ok(self.client.call::<GetTarget>(&TargetPath { svname }, &Nothing {}, &Nothing {}).await?)
    }
}

/// A view as the attribute tables read it.
pub(crate) fn view<T: Serialize>(object: &T) -> Json {
    serde_json::to_value(object).expect("views are plain data with text keys")
}

/// What a panicking thread left is still good: it is only ever replaced or appended to.
fn lock(snapshot: &Mutex<Snapshot>) -> MutexGuard<'_, Snapshot> {
    snapshot.lock().unwrap_or_else(PoisonError::into_inner)
}
