//! The one thread that writes. What waits in its queue shares one redb transaction (group commit).

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use ::redb::{ReadableTable, Table, WriteTransaction};
use tokio::sync::oneshot;

use super::Shared;
use super::queue::Queue;
use super::read::Loaded;
use super::schema::{COMMITS, LEASES, META, Record, VERSIONS, Version};
use crate::lease::{self, Leases};
use crate::txn::{self, Head};
use crate::{Change, Commit, LeaseId, Meta, Op, Revision, StoreError, Txn};

/// Where an answer goes.
pub(super) type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked to do.
pub(super) enum Request {
    Commit(Txn, Reply<Revision>),
    Compact(Revision, Reply<()>),
    Grant(Duration, Reply<LeaseId>),
    KeepAlive(LeaseId, Reply<()>),
    Revoke(LeaseId, Reply<()>),
    Stop,
}

/// How long the writer sleeps at most when no lease is due.
const IDLE: Duration = Duration::from_secs(3600);

struct Writer<'a> {
    shared: &'a Arc<Shared>,
    /// The newest state, with what the batch under way has changed.
    head: Head,
    revision: Revision,
    /// The commits of the batch under way.
    fresh: Vec<Commit>,
    leases: Leases,
    last_lease: LeaseId,
    failed: Option<StoreError>,
}

/// The tables that commits write, opened once for a batch.
struct Tables<'txn> {
    versions: Table<'txn, (&'static str, Revision), Version>,
    commits: Table<'txn, Revision, &'static [u8]>,
}

/// Answers to send once the batch is durable.
type Answers = Vec<Box<dyn FnOnce(Result<(), StoreError>)>>;

/// Serves requests until [`Request::Stop`].
pub(super) fn run(shared: &Arc<Shared>, loaded: Loaded, requests: &Queue) {
    let _closing = Closing(requests);
    let mut leases = Leases::default();
    for (id, ttl_ms) in loaded.leases {
        leases.add(id, Duration::from_millis(ttl_ms));
    }
    let Loaded { revision, head, last_lease, .. } = loaded;
    let mut writer = Writer { shared, head, revision, fresh: Vec::new(), leases, last_lease, failed: None };
    let mut before = 0;
    loop {
        let wait = writer.leases.next_due().filter(|_| writer.failed.is_none()).unwrap_or(IDLE).min(IDLE);
        // Those who were answered together tend to come back together: a moment's patience keeps the batches whole. A lone
        // writer never waits.
        let mut batch = requests.take(wait, before);
        before = batch.len();
        let stop = batch.iter().position(|request| matches!(request, Request::Stop));
        batch.truncate(stop.unwrap_or(before));
        writer.serve(batch);
        if stop.is_some() {
            return;
        }
    }
}

/// However the writer ends, nobody waits for it any more.
struct Closing<'a>(&'a Queue);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Writer<'_> {
    /// Does a batch in one redb transaction; answers when that is durable.
    fn serve(&mut self, batch: VecDeque<Request>) {
        if let Some(failed) = &self.failed {
            batch.into_iter().for_each(|request| request.refuse(failed));
            return;
        }
        if batch.is_empty() && self.leases.due().is_empty() {
            return;
        }
        let mut answers = Answers::new();
        match self.write(batch, &mut answers) {
            Ok(()) => {
                let mut newest = self.shared.newest();
                self.fresh.drain(..).for_each(|commit| newest.push(commit, ()));
                drop(newest);
                // Watchers first: who was answered may rely on finding the commit in a watch.
                self.shared.head.send_if_modified(|head| std::mem::replace(head, self.revision) != self.revision);
                answers.into_iter().for_each(|answer| answer(Ok(())));
            }
            Err(err) => {
                // `head` holds changes that are perhaps not in the file: nothing can be decided on it any more.
                let failed = StoreError::Failed { reason: format!("{}: {err}", self.shared.path.display()) };
                tracing::error!(error = %failed, "store stopped accepting changes");
                self.shared.health.lock().unwrap_or_else(PoisonError::into_inner).lose(&failed.to_string());
                answers.into_iter().for_each(|answer| answer(Err(failed.clone())));
                self.failed = Some(failed);
            }
        }
    }

    fn write(&mut self, batch: VecDeque<Request>, answers: &mut Answers) -> Result<(), ::redb::Error> {
        let mut batch = batch;
        let mut compacted = None;
        let mut dirty = false;
        let begun = self.shared.db.begin_write();
        let mut txn = match begun {
            Ok(txn) => txn,
            Err(err) => {
                answers.extend(batch.into_iter().map(Request::later));
                return Err(err.into());
            }
        };
        txn.set_two_phase_commit(true);
        let outcome = self.fill(&txn, &mut batch, answers, &mut dirty, &mut compacted);
        answers.extend(batch.into_iter().map(Request::later));
        outcome?;
        if dirty {
            txn.commit()?
        } else {
            txn.abort()?
        }
        if let Some(compacted) = compacted {
            self.shared.compacted.store(compacted, Ordering::Release);
        }
        Ok(())
    }

    fn fill(
        &mut self,
        txn: &WriteTransaction,
        batch: &mut VecDeque<Request>,
        answers: &mut Answers,
        dirty: &mut bool,
        compacted: &mut Option<Revision>,
    ) -> Result<(), ::redb::Error> {
        let mut tables = Tables { versions: txn.open_table(VERSIONS)?, commits: txn.open_table(COMMITS)? };
        self.expire(txn, &mut tables, dirty)?;
        while let Some(request) = batch.pop_front() {
            self.one(txn, &mut tables, request, answers, dirty, compacted)?;
        }
        Ok(())
    }

    fn one(
        &mut self,
        txn: &WriteTransaction,
        tables: &mut Tables,
        request: Request,
        answers: &mut Answers,
        dirty: &mut bool,
        compacted: &mut Option<Revision>,
    ) -> Result<(), ::redb::Error> {
        match request {
            Request::Commit(change, reply) => match self.evaluate(&change) {
                Err(refused) => answer(answers, reply, Err(refused)),
                Ok(changes) => {
                    *dirty = true;
                    answer(answers, reply, Ok(self.revision + 1));
                    self.record(tables, change.meta, changes)?;
                }
            },
            Request::Compact(revision, reply) => {
                let before = compacted.unwrap_or_else(|| self.shared.compacted.load(Ordering::Acquire));
                if revision > self.revision {
                    answer(answers, reply, Err(StoreError::Future { asked: revision, head: self.revision }));
                } else if revision < before {
                    answer(answers, reply, Err(StoreError::Compacted { asked: revision, compacted: before }));
                } else {
                    *dirty = true;
                    *compacted = Some(revision);
                    answer(answers, reply, Ok(()));
                    compact(txn, tables, revision)?;
                }
            }
            Request::Grant(ttl, reply) => {
                *dirty = true;
                self.last_lease += 1;
                let id = self.last_lease;
                answer(answers, reply, Ok(id));
                let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
                txn.open_table(LEASES)?.insert(id, ttl_ms)?;
                txn.open_table(META)?.insert("last_lease", id)?;
                self.leases.add(id, ttl);
            }
            Request::KeepAlive(id, reply) => answer(answers, reply, self.leases.keep_alive(id)),
            Request::Revoke(id, reply) => match self.leases.remove(id) {
                Err(err) => answer(answers, reply, Err(err)),
                Ok(()) => {
                    *dirty = true;
                    answer(answers, reply, Ok(()));
                    self.end_lease(txn, tables, id, "revoked")?;
                }
            },
            Request::Stop => {}
        }
        Ok(())
    }

    fn evaluate(&self, txn: &Txn) -> Result<Vec<Change>, StoreError> {
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.leases.contains(*lease)
            {
                return Err(StoreError::LeaseNotFound { lease: *lease });
            }
        }
        txn::evaluate(&self.head, txn, self.revision + 1)
    }

    fn record(&mut self, tables: &mut Tables, meta: Meta, changes: Vec<Change>) -> Result<(), ::redb::Error> {
        self.revision += 1;
        for change in &changes {
            let version = match change {
                Change::Put(entry) => {
                    (entry.create_revision, entry.version, entry.lease.unwrap_or(0), Some(&*entry.value))
                }
                Change::Delete { .. } => (0, 0, 0, None),
            };
            tables.versions.insert((change.key(), self.revision), version)?;
        }
        let keys = changes.iter().map(Change::key).collect();
        let record = serde_json::to_vec(&Record { meta: &meta, keys }).expect("strings and numbers always serialize");
        tables.commits.insert(self.revision, record.as_slice())?;
        txn::apply(&mut self.head, changes.iter().cloned());
        self.fresh.push(Commit { revision: self.revision, meta, changes });
        Ok(())
    }

    fn expire(&mut self, txn: &WriteTransaction, tables: &mut Tables, dirty: &mut bool) -> Result<(), ::redb::Error> {
        for id in self.leases.due() {
            *dirty = true;
            self.leases.remove(id).expect("lease is alive: it was just found due");
            self.end_lease(txn, tables, id, "expired")?;
        }
        Ok(())
    }

    fn end_lease(
        &mut self,
        txn: &WriteTransaction,
        tables: &mut Tables,
        id: LeaseId,
        why: &str,
    ) -> Result<(), ::redb::Error> {
        txn.open_table(LEASES)?.remove(id)?;
        let orphans = lease::orphans(&self.head, id);
        if !orphans.is_empty() {
            self.record(tables, lease::meta(id, why), orphans)?;
        }
        Ok(())
    }
}

/// Drops commits up to `revision`, and the versions that only they show.
fn compact(txn: &WriteTransaction, tables: &mut Tables, revision: Revision) -> Result<(), ::redb::Error> {
    txn.open_table(META)?.insert("compacted", revision)?;
    tables.commits.retain(|commit, _| commit > revision)?;
    let versions = &mut tables.versions;
    let mut dropped: Vec<(String, Revision)> = Vec::new();
    let mut before: Option<(String, Revision, bool)> = None;
    for row in versions.iter()? {
        let (row, version) = row?;
        let (key, at) = row.value();
        let same_key = before.as_ref().is_some_and(|(last, ..)| last == key);
        if let Some((last, last_at, is_deleted)) = before.take()
            // Shadowed at `revision` by its successor, or a deletion that nothing visible precedes any more.
            && ((same_key && at <= revision) || is_deleted)
        {
            dropped.push((last, last_at));
        }
        if at <= revision {
            before = Some((key.to_owned(), at, version.value().3.is_none()));
        }
    }
    dropped.extend(before.filter(|(.., is_deleted)| *is_deleted).map(|(key, at, _)| (key, at)));
    for (key, at) in &dropped {
        versions.remove((key.as_str(), *at))?;
    }
    Ok(())
}

fn answer<T: 'static>(answers: &mut Answers, reply: Reply<T>, result: Result<T, StoreError>) {
    // The caller may have gone away meanwhile; that is its business.
    answers.push(Box::new(|outcome| drop(reply.send(outcome.and(result)))));
}

impl Request {
    /// An answer for a request that was not looked at.
    fn later(self) -> Box<dyn FnOnce(Result<(), StoreError>)> {
        Box::new(|outcome| {
            if let Err(err) = outcome {
                self.refuse(&err);
            }
        })
    }

    fn refuse(self, err: &StoreError) {
        match self {
            Request::Commit(_, reply) => drop(reply.send(Err(err.clone()))),
            Request::Grant(_, reply) => drop(reply.send(Err(err.clone()))),
            Request::Compact(_, reply) | Request::KeepAlive(_, reply) | Request::Revoke(_, reply) => {
                drop(reply.send(Err(err.clone())));
            }
            Request::Stop => {}
        }
    }
}
