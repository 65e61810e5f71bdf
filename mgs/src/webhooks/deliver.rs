//! Telling one receiver.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, Mac};
use lustre_api::event::Event;
use lustre_api::webhook::Attempt;
use lustre_mgs_core::{Change, Decision, Key, Record, Request, State};
use lustre_mgs_store::{Commit, StoreError};
use sha2::Sha256;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::cursor::MAX_DEAD;
use super::{Board, Cursor, MAX_LOG, Receiver};
use crate::engine::{Caller, Engine};
use crate::ownership::Ownership;
use crate::{clock, history, outgoing};

/// How long a receiver may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// Between attempts: at first, and at most.
const RETRY: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Changes that are none of a receiver's business are noted on disk every so many revisions.
const SKIP: u64 = 100;
/// How often it is noted for other instances how far a receiver was told.
const SHARE_EVERY: Duration = Duration::from_secs(2);

struct Delivery {
    engine: Arc<Engine>,
    board: Arc<Board>,
    receiver: Receiver,
    cursor: Cursor,
    http: reqwest::Client,
    /// When it was noted for others how far the receiver was told.
    shared: Option<Instant>,
}

/// Tells a receiver of every change behind its cursor, for ever.
pub(super) async fn run(
    engine: Arc<Engine>,
    ownership: Arc<Ownership>,
    board: Arc<Board>,
    receiver: Receiver,
    cursor: Cursor,
    http: reqwest::Client,
) {
    let duty = format!("webhook/{}", receiver.name);
    let delivery = Mutex::new(Delivery { engine, board, receiver, cursor, http, shared: None });
    ownership.run(&duty, |guard| tell(&delivery, Caller::owner(guard))).await;
}

/// Tells as long as this instance is the one that does.
async fn tell(delivery: &Mutex<Delivery>, owner: Caller) {
    // One at a time: the tenure before this one is dropped by now.
    let mut delivery = delivery.lock().await;
    loop {
        let outcome = delivery.follow(&owner).await;
        let name = &delivery.receiver.name;
        match outcome {
            Ok(()) => return,
            Err(err) => warn!(webhook = name, error = format!("{err:#}"), "webhook is interrupted, will go on"),
        }
        tokio::time::sleep(RETRY_MAX / 60).await;
    }
}

impl Delivery {
    /// Until the store is closed. Errors: what can't be read from the store or written beside it.
    async fn follow(&mut self, owner: &Caller) -> anyhow::Result<()> {
        let store = self.engine.shared_store();
        self.catch_up()?;
        // After a restore from a backup the newest revision may be older than what was delivered.
        let mut next = self.cursor.delivered().min(store.head()) + 1;
        if next <= store.compacted() {
            let lost = format!("revisions {next} to {} are no longer kept", store.compacted());
            self.bury(next, lost)?;
            next = store.compacted() + 1;
        }
        let mut watch = store.watch(next).await?;
        loop {
            match watch.next().await {
                Ok(commit) => self.one(&commit, owner).await?,
                Err(StoreError::Closed) => return Ok(()),
                Err(err) => return Err(err.into()),
            }
        }
    }

    async fn one(&mut self, commit: &Commit, owner: &Caller) -> anyhow::Result<()> {
        let filter = self.receiver.filter();
        let event = history::filtered(self.engine.store(), commit, &filter).await;
        match event.map_err(|problem| anyhow::anyhow!("{problem}"))? {
            Some(event) => {
                self.deliver(&event).await?;
                self.cursor.advance(commit.revision)?;
                self.share(owner).await;
            }
            None if commit.revision >= self.cursor.delivered() + SKIP => self.cursor.advance(commit.revision)?,
            None => {}
        }
        self.board.note(&self.receiver.name, |note| note.delivered = commit.revision);
        Ok(())
    }

    /// Goes on where the instance before this one was, as far as it said.
    fn catch_up(&mut self) -> anyhow::Result<()> {
        let told = self.engine.state().webhooks.get(&self.receiver.name).map(|told| told.value);
        match told.filter(|told| *told > self.cursor.delivered()) {
            Some(told) => self.cursor.advance(told),
            None => Ok(()),
        }
    }

    /// Notes for other instances how far the receiver was told: not after each change, it would be a commit for each.
    async fn share(&mut self, owner: &Caller) {
        let is_due = self.shared.is_none_or(|shared| shared.elapsed() >= SHARE_EVERY);
        if !is_due || !self.engine.store().is_shared() {
            return;
        }
        self.shared = Some(Instant::now());
        let (name, delivered) = (&self.receiver.name, self.cursor.delivered());
        let change = Change { key: Key::Webhook(name.clone()), record: Some(Record::Webhook(delivered)) };
        let what = format!("webhook {name} told up to {delivered}");
        let note = |_: &State, _: &Request<'_>| {
            Ok(Decision { compare: Vec::new(), changes: vec![change.clone()], what: what.clone(), reply: () })
        };
        if let Err(problem) = self.engine.write_as(owner, note).await {
            debug!(webhook = name, error = %problem, "how far the receiver was told can't be noted now");
        }
    }

    /// Until the receiver has taken it, or it is given up.
    async fn deliver(&mut self, event: &Event) -> anyhow::Result<()> {
        let body = serde_json::to_vec(event)?;
        let begun = Instant::now();
        let mut retry = RETRY;
        loop {
            let outcome = self.attempt(event.revision, &body).await;
            let error = outcome.as_ref().err().map(|failure| failure.reason.clone());
            let attempt = Attempt { revision: event.revision, time: clock::now(), error: error.clone() };
            self.board.note(&self.receiver.name, |note| {
                note.log.push_back(attempt);
                if note.log.len() > MAX_LOG {
                    note.log.pop_front();
                }
            });
            let Err(failure) = outcome else { return Ok(()) };
            let is_over = begun.elapsed() >= Duration::from_secs(self.receiver.give_up_after_s);
            if failure.is_final || is_over {
                warn!(
                    webhook = self.receiver.name,
                    revision = event.revision,
                    error = failure.reason,
                    "change not delivered, given up"
                );
                return self.bury(event.revision, failure.reason);
            }
            if retry == RETRY {
                info!(
                    webhook = self.receiver.name,
                    revision = event.revision,
                    error = failure.reason,
                    "change not delivered, will try again"
                );
            }
            tokio::time::sleep(retry).await;
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn bury(&self, revision: u64, reason: String) -> anyhow::Result<()> {
        let letter = Attempt { revision, time: clock::now(), error: Some(reason) };
        self.cursor.bury(&letter)?;
        self.board.note(&self.receiver.name, |note| {
            note.dead_letters.push_back(letter);
            if note.dead_letters.len() > MAX_DEAD {
                note.dead_letters.pop_front();
            }
        });
        Ok(())
    }

    async fn attempt(&self, revision: u64, body: &[u8]) -> Result<(), Failure> {
        let uuid = self.engine.state().uuid().to_owned();
        let mut request = self.http.post(&self.receiver.url).header("content-type", "application/json");
        request = request.header("lustre-event-id", format!("{uuid}/{revision}"));
        if let Some(file) = &self.receiver.secret_file {
            // Read each time: a secret that was changed is taken up without a restart.
            let secret = std::fs::read_to_string(file)
                .map_err(|err| Failure::passing(format!("can't read the secret {}: {err}", file.display())))?;
            let time_s = clock::now().unix_ms() / 1000;
            let secret = secret.lines().next().unwrap_or_default();
            request = request.header("lustre-signature", signature(secret.as_bytes(), time_s, body));
        }
        let answer = request.body(body.to_vec()).send().await;
        let answer = answer.map_err(|err| Failure::passing(outgoing::reason(err)))?;
        let status = answer.status();
        match status.as_u16() {
            200..=299 => Ok(()),
            408 | 425 | 429 => Err(Failure::passing(format!("answered {status}"))),
            300..=499 => Err(Failure { reason: format!("answered {status}"), is_final: true }),
            _ => Err(Failure::passing(format!("answered {status}"))),
        }
    }
}

/// `t=<unix seconds>,v1=<HMAC-SHA256 of "<t>.<body>" in hex>`.
fn signature(secret: &[u8], time_s: u64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(format!("{time_s}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time_s},v1={hex}")
}

struct Failure {
    reason: String,
    /// Trying again would not help.
    is_final: bool,
}

impl Failure {
    fn passing(reason: String) -> Self {
        Self { reason, is_final: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_openssl_computes() {
        // printf '1700000000.{}' | openssl dgst -sha256 -hmac secret
        let expected = "t=1700000000,v1=b8569b78799ff9e3cbff0fc2d63a33a2b57f3282abd07c37ae5e8e7d79a5f163";
        assert_eq!(signature(b"secret", 1_700_000_000, b"{}"), expected);
    }
}
