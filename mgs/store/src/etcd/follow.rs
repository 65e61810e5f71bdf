//! Following what other instances commit: etcd's watch for speed, reading the head once a second for certainty.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, info, warn};

use super::Shared;
use super::error::EtcdError;
use super::layout::{Name, Version, decode_record, decode_version, number};
use super::rpc::WatchResponse;
use super::rpc::event::EventType;
use super::writer::Request;
use crate::{Change, Commit, Health, LeaseId, Revision, StoreError};

/// How often the head is read although nothing was heard.
const RECONCILE: Duration = Duration::from_secs(1);
/// How often leases are looked through for ended ones that still hold keys.
const LOOK_FOR_ORPHANS: u32 = 10;

/// Keeps the mirror up to date until the store is dropped.
pub(super) async fn run(shared: Arc<Shared>, queue: mpsc::UnboundedSender<Request>) {
    let mut tick = interval(RECONCILE);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks: u32 = 0;
    loop {
        let start = shared.mirror().etcd_revision + 1;
        let (from, to) = shared.layout.all();
        let mut watch = match shared.client.watch(from, to, start).await {
            Ok(watch) => Some(watch),
            Err(err) => {
                debug!(error = %err, "no watch");
                None
            }
        };
        loop {
            let news = async {
                match &mut watch {
                    Some(watch) => watch.message().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                message = news => match message {
                    Ok(Some(message)) if !message.canceled => shared.take_in(message, &queue).await,
                    // Over, or etcd has compacted what it should have told: reading the log heals both.
                    ended => {
                        debug!(ended = ?ended.map(|message| message.map(|m| m.compact_revision)), "watch ended");
                        break;
                    }
                },
                _ = tick.tick() => {
                    let outcome = shared.catch_up().await;
                    note(&shared, &outcome);
                    if ticks.is_multiple_of(LOOK_FOR_ORPHANS) {
                        for lease in shared.mirror().orphaning_leases() {
                            let _ = queue.send(Request::Reap { lease, why: "expired", reply: None });
                        }
                    }
                    ticks = ticks.wrapping_add(1);
                    if watch.is_none() && outcome.is_ok() {
                        break;
                    }
                }
            }
        }
        let outcome = shared.catch_up().await;
        note(&shared, &outcome);
        if outcome.is_err() {
            tick.tick().await;
        }
    }
}

/// Answers who wants to be sure to see the newest state: all who wait share one read that began after they asked.
pub(super) async fn confirm(
    shared: Arc<Shared>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Result<Revision, StoreError>>>,
) {
    let mut waiting = Vec::new();
    while asked.recv_many(&mut waiting, 4096).await > 0 {
        let outcome = shared.catch_up().await;
        note(&shared, &outcome);
        let outcome = outcome.map_err(StoreError::from);
        for reply in waiting.drain(..) {
            let _ = reply.send(outcome.clone());
        }
    }
}

/// Tells of a store that was lost or is back.
fn note(shared: &Shared, outcome: &Result<Revision, EtcdError>) {
    match outcome {
        Ok(revision) => {
            if shared.health.send_if_modified(Health::regain) {
                info!(revision, "the store answers again");
            }
        }
        Err(err) => {
            if shared.health.send_if_modified(|health| health.lose(&err.to_string())) {
                warn!(error = %err, "the store is lost: no change is accepted, what is known is served as stale");
            }
        }
    }
}

impl Shared {
    /// Takes in what a watch delivers. Whatever does not fit is read from the log instead.
    async fn take_in(&self, message: WatchResponse, queue: &mpsc::UnboundedSender<Request>) {
        if message.events.is_empty() {
            // A progress report: everything up to here was delivered.
            if let Some(header) = message.header.filter(|_| !message.created) {
                let mut mirror = self.mirror();
                mirror.etcd_revision = mirror.etcd_revision.max(header.revision);
            }
            return;
        }
        match self.understand(&message) {
            Ok(ended) => {
                self.publish();
                for lease in ended {
                    let _ = queue.send(Request::Reap { lease, why: "expired", reply: None });
                }
            }
            Err(reason) => {
                debug!(reason, "reading the log instead of the watch");
                note(self, &self.catch_up().await);
            }
        }
    }

    /// Applies a message; gives the leases that have ended and hold keys. Errors: why it can't be applied.
    fn understand(&self, message: &WatchResponse) -> Result<Vec<LeaseId>, String> {
        let mut versions = BTreeMap::<(String, Revision), Version>::new();
        let (mut records, mut head, mut ended) = (Vec::new(), None, Vec::new());
        let mut reached = 0;
        let known = self.mirror().revision;
        for event in &message.events {
            let Some(kv) = &event.kv else { continue };
            reached = reached.max(kv.mod_revision);
            let is_put = event.r#type() == EventType::Put;
            match self.layout.parse(&kv.key) {
                Name::Head if is_put => head = Some((number(kv).map_err(text)?, kv.mod_revision)),
                Name::Compacted if is_put => self.mirror().compact(number(kv).map_err(text)?),
                Name::Commit(revision) if is_put && revision > known => {
                    records.push((revision, decode_record(kv).map_err(text)?));
                }
                Name::Version(key, revision) if is_put && revision > known => {
                    versions.insert((key.to_owned(), revision), decode_version(kv, key, revision).map_err(text)?);
                }
                Name::Lease(lease) if is_put => {
                    self.mirror().leases.insert(lease);
                }
                Name::Lease(lease) => {
                    self.mirror().leases.remove(&lease);
                    ended.push(lease);
                }
                _ => {}
            }
        }
        let mut commits = Vec::with_capacity(records.len());
        for (revision, record) in records {
            let change = |key: &String| match versions.remove(&(key.clone(), revision)) {
                Some(Version::Inline(entry)) => Ok(Change::Put(entry)),
                Some(Version::Deleted) => Ok(Change::Delete { key: key.clone() }),
                Some(Version::InBlob(..)) => Err(format!("{key} is in a blob")),
                None => Err(format!("{key} was not delivered")),
            };
            let changes = record.keys.iter().map(change).collect::<Result<_, _>>()?;
            commits.push((Commit { revision, meta: record.meta, changes }, record.id));
        }
        commits.sort_by_key(|(commit, _)| commit.revision);
        let mut mirror = self.mirror();
        mirror.absorb(commits).map_err(|missing| format!("revision {missing} was not delivered"))?;
        if let Some((revision, head_mod)) = head {
            mirror.found_head(revision, head_mod);
            if revision > mirror.revision {
                return Err(format!("revision {revision} was not delivered"));
            }
        }
        mirror.etcd_revision = mirror.etcd_revision.max(reached);
        ended.retain(|lease| mirror.head.values().any(|entry| entry.lease == Some(*lease)));
        Ok(ended)
    }
}

fn text(err: EtcdError) -> String {
    err.to_string()
}
