//! The one task that commits. What waits shares one etcd transaction, tried until its outcome is known or the callers have
//! waited long enough.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Shared;
use super::client::{one, ranges_of};
use super::error::EtcdError;
use super::layout::{Record, encode_record, encode_version};
use super::rpc::compare::{CompareResult, CompareTarget, TargetUnion};
use super::rpc::request_op::Request as Op_;
use super::rpc::{Compare as EtcdCompare, PutRequest, RequestOp};
use crate::lease;
use crate::txn::{self, Head};
use crate::{Change, Commit, Compare, Health, LeaseId, MAX_OPS, Op, Revision, StoreError, Txn};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// How long a caller waits for an outcome: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(6);
/// Between attempts when etcd does not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Operations in one etcd transaction: it takes 128.
const MAX_ETCD_OPS: usize = MAX_OPS + 6;
/// Bytes of values in one etcd transaction that several commits share.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What the writer is asked to do.
pub(super) enum Request {
    Commit(Box<Pending>),
    /// Deletes what a lease held that is over.
    Reap {
        lease: LeaseId,
        why: &'static str,
        reply: Option<Reply<()>>,
    },
}

/// A commit that waits.
pub(super) struct Pending {
    txn: Txn,
    id: String,
    deadline: Instant,
    /// Names of blobs that were written for values, by the operation's place.
    blobs: BTreeMap<usize, String>,
    reply: Reply<Revision>,
}

impl Request {
    pub(super) fn commit(txn: Txn, reply: Reply<Revision>) -> Self {
        let (id, deadline) = (uuid::Uuid::new_v4().simple().to_string(), Instant::now() + PATIENCE);
        Self::Commit(Box::new(Pending { txn, id, deadline, blobs: BTreeMap::new(), reply }))
    }

    /// Most operations of an etcd transaction that it takes, and bytes.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Commit(pending) => {
                let bytes = pending.txn.ops.iter().map(|op| match op {
                    Op::Put { value, .. } => value.len().min(super::blob::MAX_INLINE),
                    Op::Delete { .. } => 0,
                });
                (1 + pending.txn.ops.len(), bytes.sum())
            }
            // Not known before; alone in its transaction.
            Self::Reap { .. } => (MAX_OPS, 0),
        }
    }

    fn refuse(self, err: StoreError) {
        match self {
            Self::Commit(pending) => drop(pending.reply.send(Err(err))),
            Self::Reap { reply: Some(reply), .. } => drop(reply.send(Err(err))),
            Self::Reap { .. } => {}
        }
    }

    fn accept(self, revision: Revision) {
        // The caller may have gone away meanwhile; that is its business.
        match self {
            Self::Commit(pending) => drop(pending.reply.send(Ok(revision))),
            Self::Reap { reply: Some(reply), .. } => drop(reply.send(Ok(()))),
            Self::Reap { .. } => {}
        }
    }
}

/// Serves requests until the store is dropped.
pub(super) async fn run(shared: Arc<Shared>, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut queue = VecDeque::new();
    loop {
        if queue.is_empty() {
            let Some(first) = requests.recv().await else { return };
            queue.push_back(first);
        }
        while let Ok(more) = requests.try_recv() {
            queue.push_back(more);
        }
        let (mut batch, mut ops, mut bytes) = (Vec::new(), 1, 0);
        while let Some(next) = queue.front() {
            let (more_ops, more_bytes) = next.size();
            if !batch.is_empty() && (ops + more_ops > MAX_ETCD_OPS || bytes + more_bytes > MAX_BATCH_BYTES) {
                break;
            }
            (ops, bytes) = (ops + more_ops, bytes + more_bytes);
            batch.extend(queue.pop_front());
        }
        shared.serve(batch).await;
    }
}

/// What a batch comes to on the state that is known here.
struct Plan {
    base: Revision,
    head_mod: i64,
    /// For each request: its revision if it commits; what it is refused with; nothing to do.
    outcomes: Vec<Result<Option<Revision>, StoreError>>,
    commits: Vec<(Commit, String)>,
    /// Blobs of each commit's values, by key.
    blobs: BTreeMap<(Revision, String), String>,
    /// Leases that must exist, or must not.
    guards: BTreeMap<LeaseId, bool>,
}

impl Shared {
    /// Carries a batch to its end: every request is answered.
    async fn serve(&self, mut batch: Vec<Request>) {
        let mut is_first = true;
        loop {
            if !is_first {
                self.settle(&mut batch);
                if batch.is_empty() {
                    return;
                }
            }
            is_first = false;
            if let Err(err) = self.write_blobs(&mut batch).await {
                if self.give_up(&mut batch, &err) {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let plan = self.plan(&batch);
            if plan.commits.is_empty() {
                // Refusals are the truth only if the state that they were decided on is still the newest.
                match self.catch_up().await {
                    Ok(newest) if newest == plan.base => return answer(batch, plan.outcomes),
                    Ok(_) => continue,
                    Err(err) if self.give_up(&mut batch, &err) => return,
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
                continue;
            }
            let err = match self.try_commit(&plan).await {
                Ok(true) => return answer(batch, plan.outcomes),
                Ok(false) => match self.look_again(&plan, &mut batch).await {
                    Ok(()) => continue,
                    Err(err) => err,
                },
                Err(err) => err,
            };
            if self.give_up(&mut batch, &err) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
            // What came of the attempt shows in the log. If that can't be read either, the next round says so.
            let _ = self.catch_up().await;
        }
    }

    /// Answers commits that an earlier attempt has made although its answer was lost.
    fn settle(&self, batch: &mut Vec<Request>) {
        let found = |request: &Request| match request {
            Request::Commit(pending) => self.mirror().find(&pending.id, 0),
            Request::Reap { .. } => None,
        };
        for request in std::mem::take(batch) {
            match found(&request) {
                Some(revision) => request.accept(revision),
                None => batch.push(request),
            }
        }
    }

    /// Refuses whoever has waited long enough, or all when waiting does not help. True when nobody is left.
    fn give_up(&self, batch: &mut Vec<Request>, err: &EtcdError) -> bool {
        let is_hopeless = !matches!(err, EtcdError::Unreachable { .. } | EtcdError::Compacted { .. });
        match err {
            EtcdError::Unreachable { .. } => drop(self.health.send_if_modified(|health| health.lose(&err.to_string()))),
            err => *self.refused() = Some(err.to_string()),
        }
        self.settle(batch);
        let now = Instant::now();
        for request in std::mem::take(batch) {
            let is_late = match &request {
                Request::Commit(pending) => pending.deadline <= now,
                // Tried again when somebody notices that the lease still holds keys.
                Request::Reap { .. } => true,
            };
            if is_late || is_hopeless {
                request.refuse(err.clone().into());
            } else {
                batch.push(request);
            }
        }
        batch.is_empty()
    }

    async fn write_blobs(&self, batch: &mut [Request]) -> Result<(), EtcdError> {
        for request in batch {
            let Request::Commit(pending) = request else { continue };
            for (at, op) in pending.txn.ops.iter().enumerate() {
                if let Op::Put { value, .. } = op
                    && !pending.blobs.contains_key(&at)
                    && let Some(id) = self.write_blob(value).await?
                {
                    pending.blobs.insert(at, id);
                }
            }
        }
        Ok(())
    }

    /// Evaluates the requests one after the other on the mirror, and leaves that as it was.
    fn plan(&self, batch: &[Request]) -> Plan {
        let mut mirror = self.mirror();
        let mut plan = Plan {
            base: mirror.revision,
            head_mod: mirror.head_mod,
            outcomes: Vec::with_capacity(batch.len()),
            commits: Vec::new(),
            blobs: BTreeMap::new(),
            guards: BTreeMap::new(),
        };
        let mut before: Vec<(String, Option<crate::Entry>)> = Vec::new();
        for request in batch {
            let revision = plan.base + plan.commits.len() as Revision + 1;
            let evaluated = match request {
                Request::Reap { lease, why, .. } => {
                    let mut orphans = lease::orphans(&mirror.head, *lease);
                    orphans.truncate(MAX_OPS);
                    if orphans.is_empty() {
                        plan.outcomes.push(Ok(None));
                        continue;
                    }
                    plan.guards.insert(*lease, false);
                    let id = uuid::Uuid::new_v4().simple().to_string();
                    Ok((orphans, lease::meta(*lease, why), id))
                }
                Request::Commit(pending) => {
                    let changes = evaluate(&mirror.head, &mirror.leases, &pending.txn, revision);
                    changes.map(|changes| (changes, pending.txn.meta.clone(), pending.id.clone()))
                }
            };
            let (changes, meta, id) = match evaluated {
                Ok(evaluated) => evaluated,
                Err(refused) => {
                    plan.outcomes.push(Err(refused));
                    continue;
                }
            };
            if let Request::Commit(pending) = request {
                for lease in leases_of(&mirror.head, &pending.txn) {
                    plan.guards.entry(lease).or_insert(true);
                }
                for (at, id) in &pending.blobs {
                    if let Some(Op::Put { key, .. }) = pending.txn.ops.get(*at) {
                        plan.blobs.insert((revision, key.clone()), id.clone());
                    }
                }
            }
            before
                .extend(changes.iter().map(|change| (change.key().to_owned(), mirror.head.get(change.key()).cloned())));
            txn::apply(&mut mirror.head, changes.iter().cloned());
            plan.outcomes.push(Ok(Some(revision)));
            plan.commits.push((Commit { revision, meta, changes }, id));
        }
        for (key, entry) in before.into_iter().rev() {
            match entry {
                Some(entry) => mirror.head.insert(key, entry),
                None => mirror.head.remove(&key),
            };
        }
        plan
    }

    /// One attempt. `false`: somebody was faster, or a lease or a blob is not what it should be.
    async fn try_commit(&self, plan: &Plan) -> Result<bool, EtcdError> {
        let newest = plan.base + plan.commits.len() as Revision;
        let mut compares =
            vec![compare(self.layout.head(), CompareResult::Equal, TargetUnion::ModRevision(plan.head_mod))];
        for (lease, exists) in &plan.guards {
            let result = if *exists { CompareResult::Greater } else { CompareResult::Equal };
            compares.push(compare(self.layout.lease(*lease), result, TargetUnion::CreateRevision(0)));
        }
        for id in plan.blobs.values() {
            compares.push(compare(self.layout.blob(id), CompareResult::Greater, TargetUnion::CreateRevision(0)));
        }
        let mut ops = vec![put(self.layout.head(), newest.to_string().into_bytes())];
        for (commit, id) in &plan.commits {
            let keys = commit.changes.iter().map(|change| change.key().to_owned()).collect();
            let record = Record { id: id.clone(), meta: commit.meta.clone(), keys };
            ops.push(put(self.layout.commit(commit.revision), encode_record(&record)));
            for change in &commit.changes {
                let entry = match change {
                    Change::Put(entry) => Some(entry),
                    Change::Delete { .. } => None,
                };
                let blob = plan.blobs.get(&(commit.revision, change.key().to_owned()));
                let value = encode_version(entry, blob.map(String::as_str));
                ops.push(put(self.layout.version(change.key(), commit.revision), value));
            }
        }
        let look = plan
            .guards
            .keys()
            .map(|lease| RequestOp { request: Some(Op_::RequestRange(one(self.layout.lease(*lease)))) });
        let answer = self.client.txn(compares, ops, look.collect()).await?;
        if !answer.succeeded {
            let mut mirror = self.mirror();
            for (lease, found) in plan.guards.keys().zip(ranges_of(answer)) {
                match found.kvs.is_empty() {
                    true => mirror.leases.remove(lease),
                    false => mirror.leases.insert(*lease),
                };
            }
            return Ok(false);
        }
        let head_mod = answer.header.map_or(0, |header| header.revision);
        {
            let mut mirror = self.mirror();
            // The watch may have been faster; what is known already is dropped. There is no gap: the compare says so.
            let _ = mirror.absorb(plan.commits.clone());
            mirror.found_head(newest, head_mod);
        }
        self.health.send_if_modified(Health::regain);
        *self.refused() = None;
        self.publish();
        Ok(true)
    }

    /// After a compare failed: catches up, and removes the cause where it was not another commit.
    async fn look_again(&self, plan: &Plan, batch: &mut Vec<Request>) -> Result<(), EtcdError> {
        let newest = self.catch_up().await?;
        let mut ended = Vec::new();
        {
            let mirror = self.mirror();
            // A reaper whose lease lives after all has nothing to do.
            batch.retain(|request| match request {
                Request::Reap { lease, reply, .. } => reply.is_some() || !mirror.leases.contains(lease),
                Request::Commit(_) => true,
            });
            for (lease, must_exist) in &plan.guards {
                if *must_exist && !mirror.leases.contains(lease) {
                    ended.push(*lease);
                }
            }
        }
        if ended.is_empty() && newest == plan.base {
            // Then it was a blob: a compaction took it for one that nobody wants any more.
            for request in batch.iter_mut() {
                if let Request::Commit(pending) = request {
                    pending.blobs.clear();
                }
            }
        }
        let reapers = ended.into_iter().map(|lease| Request::Reap { lease, why: "expired", reply: None });
        batch.splice(0..0, reapers);
        Ok(())
    }
}

fn answer(batch: Vec<Request>, outcomes: Vec<Result<Option<Revision>, StoreError>>) {
    for (request, outcome) in batch.into_iter().zip(outcomes) {
        match outcome {
            Ok(revision) => request.accept(revision.unwrap_or(0)),
            Err(refused) => request.refuse(refused),
        }
    }
}

fn evaluate(
    head: &Head,
    leases: &std::collections::BTreeSet<LeaseId>,
    txn: &Txn,
    revision: Revision,
) -> Result<Vec<Change>, StoreError> {
    for op in &txn.ops {
        if let Op::Put { lease: Some(lease), .. } = op
            && !leases.contains(lease)
        {
            return Err(StoreError::LeaseNotFound { lease: *lease });
        }
    }
    txn::evaluate(head, txn, revision)
}

/// The leases that a commit relies on: those it writes with, and those that hold a key that it compares.
fn leases_of(head: &Head, txn: &Txn) -> Vec<LeaseId> {
    let written = txn.ops.iter().filter_map(|op| match op {
        Op::Put { lease, .. } => *lease,
        Op::Delete { .. } => None,
    });
    let compared = txn.compares.iter().filter_map(|compare| match compare {
        Compare::ModRevision { key, .. } | Compare::CreateRevision { key, .. } => head.get(key)?.lease,
        Compare::Prefix { .. } => None,
    });
    written.chain(compared).collect()
}

fn compare(key: Vec<u8>, result: CompareResult, with: TargetUnion) -> EtcdCompare {
    let target = match with {
        TargetUnion::Version(_) => CompareTarget::Version,
        TargetUnion::CreateRevision(_) => CompareTarget::Create,
        TargetUnion::ModRevision(_) => CompareTarget::Mod,
        TargetUnion::Value(_) => CompareTarget::Value,
    };
    EtcdCompare { result: result.into(), target: target.into(), key, target_union: Some(with) }
}

/// A compare for the existence of a key, or its absence.
pub(super) fn exists(key: Vec<u8>, exists: bool) -> EtcdCompare {
    let result = if exists { CompareResult::Greater } else { CompareResult::Equal };
    compare(key, result, TargetUnion::CreateRevision(0))
}

/// A compare for a key that nobody has written since.
pub(super) fn unchanged(key: Vec<u8>, mod_revision: i64) -> EtcdCompare {
    compare(key, CompareResult::Equal, TargetUnion::ModRevision(mod_revision))
}

/// Writes a key.
pub(super) fn put(key: Vec<u8>, value: impl Into<Vec<u8>>) -> RequestOp {
    RequestOp { request: Some(Op_::RequestPut(PutRequest { key, value: value.into(), lease: 0 })) }
}
