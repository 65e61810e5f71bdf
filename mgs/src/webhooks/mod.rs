//! Webhooks: every committed change is posted to receivers, in order, at least once.
//!
//! Each receiver has a task and a cursor file of its own, and reads the store's history at its own pace: one that hangs or
//! fails holds up nobody, and costs no memory. What was delivered is written down after the receiver took it, so a crash in
//! between delivers it again: `lustre-event-id` stays the same. Of several instances that are configured with a receiver of one
//! name, one tells it at a time; another that takes over goes on from what the one before noted in the store now and then, so
//! the receiver may hear some changes twice.

mod config;
mod cursor;
mod deliver;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use lustre_api::webhook::{Attempt, Webhook, Webhooks};
use tokio::task::JoinSet;

use crate::engine::Engine;
use crate::outgoing;
use crate::ownership::Ownership;
pub use config::Receiver;
use cursor::Cursor;

/// Attempts that are shown.
const MAX_LOG: usize = 50;

/// What is known of the receivers.
#[derive(Default)]
pub struct Board(Mutex<BTreeMap<String, Note>>);

#[derive(Default)]
struct Note {
    receiver: String,
    delivered: u64,
    log: VecDeque<Attempt>,
    dead_letters: VecDeque<Attempt>,
}

impl Board {
    /// `list_webhooks`; `head` is the newest revision.
    pub fn show(&self, head: u64) -> Webhooks {
        let notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let show = |(name, note): (&String, &Note)| Webhook {
            name: name.clone(),
            receiver: note.receiver.clone(),
            delivered: note.delivered,
            behind: head.saturating_sub(note.delivered),
            log: note.log.iter().cloned().collect(),
            dead_letters: note.dead_letters.iter().cloned().collect(),
        };
        Webhooks { items: notes.iter().map(show).collect() }
    }

    fn note(&self, name: &str, note: impl FnOnce(&mut Note)) {
        note(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
    }
}

/// Starts telling the receivers in `file`; their cursors are kept in `directory`.
///
/// A receiver that is new is told of what happens from now on.
/// Errors: files that can't be read, written or understood.
pub fn start(
    engine: &Arc<Engine>,
    ownership: &Arc<Ownership>,
    board: &Arc<Board>,
    file: &Path,
    directory: &Path,
    tasks: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    let receivers = config::read(file)?;
    std::fs::create_dir_all(directory).with_context(|| format!("can't make {}", directory.display()))?;
    let head = engine.store().head();
    for receiver in receivers {
        let cursor = Cursor::open(directory, &receiver.name, head)?;
        board.note(&receiver.name, |note| {
            note.receiver = receiver.shown();
            note.delivered = cursor.delivered();
            note.dead_letters = cursor.dead_letters().into();
        });
        let http = outgoing::client(&receiver.url, deliver::TIMEOUT, receiver.ca_file.as_deref())
            .with_context(|| format!("webhook {}", receiver.name))?;
        tasks.spawn(deliver::run(engine.clone(), ownership.clone(), board.clone(), receiver, cursor, http));
    }
    Ok(())
}
