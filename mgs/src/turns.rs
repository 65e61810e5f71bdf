//! Whose turn it is among this instance's requests that change the same objects. The store's compare decides who wins; this
//! only keeps those who would lose from trying, and sees to it that nobody loses for ever.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{Mutex as Queue, OwnedMutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Attempts beside the other requests; after these, one is decided and committed while they wait.
const BESIDE_OTHERS: usize = 20;

/// All who wait, first come, first served.
#[derive(Default)]
pub(crate) struct Turns {
    /// Shared by those who decide and commit; alone in it is who lost too often.
    all: RwLock<()>,
    /// Those who lost over an object, by [`queue_of`] its key.
    queues: Mutex<HashMap<String, Weak<Queue<()>>>>,
}

/// One request on its way through its attempts.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    attempts: usize,
    /// Its place at the head of a queue, and which one.
    place: Option<(String, OwnedMutexGuard<()>)>,
}

/// While it lives, the request decides and commits.
pub(crate) struct Go<'a> {
    _beside_others: Option<RwLockReadGuard<'a, ()>>,
    _alone: Option<RwLockWriteGuard<'a, ()>>,
}

impl Turns {
    /// For a new request.
    pub(crate) fn turn(&self) -> Turn<'_> {
        Turn { turns: self, attempts: 0, place: None }
    }

    /// The first of these objects that others wait for.
    fn contended(&self, keys: impl IntoIterator<Item = String>) -> Option<String> {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if queues.is_empty() {
            return None;
        }
        keys.into_iter().find(|key| queues.get(queue_of(key)).is_some_and(|queue| queue.strong_count() > 0))
    }

    fn queue(&self, name: &str) -> Arc<Queue<()>> {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(name).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Queue::new(()));
        queues.insert(name.to_owned(), Arc::downgrade(&queue));
        queue
    }
}

impl<'a> Turn<'a> {
    /// Waits until the next attempt may begin.
    pub(crate) async fn next(&mut self) -> Go<'a> {
        self.attempts += 1;
        if self.attempts <= BESIDE_OTHERS {
            Go { _beside_others: Some(self.turns.all.read().await), _alone: None }
        } else {
            Go { _beside_others: None, _alone: Some(self.turns.all.write().await) }
        }
    }

    /// The object among those that the request compares for which it has to queue first: others wait for it already, so the
    /// attempt would be lost, or won over somebody who came earlier.
    pub(crate) fn to_queue_for(&self, keys: impl IntoIterator<Item = String>) -> Option<String> {
        if self.place.is_some() { None } else { self.turns.contended(keys) }
    }

    /// Waits behind the others who lost over the same object. Not to be called with a [`Go`] in hand: who is first in the
    /// queue needs one too.
    pub(crate) async fn queue_for(&mut self, key: String) {
        let name = queue_of(&key);
        if self.place.as_ref().is_none_or(|(held, _)| held != name) {
            // One place at a time: two requests can't wait for each other's.
            self.place = None;
            let place = self.turns.queue(name).lock_owned().await;
            self.place = Some((name.to_owned(), place));
        }
    }
}

/// The queue of who wants this key: itself, but changes of logs are numbered, and who loses one of them wants the next.
fn queue_of(key: &str) -> &str {
    match key.starts_with("log/") {
        true => key.rsplit_once('/').map_or(key, |(logs, _)| logs),
        false => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lustre_mgs_core::Key;

    #[tokio::test]
    async fn all_who_change_the_logs_of_a_file_system_wait_in_one_queue() {
        let log = |fsname: &str, number| Key::Log(Some(fsname.parse().expect("a name")), number).to_string();
        let turns = Turns::default();
        let mut first = turns.turn();
        first.queue_for(log("scratch", 7)).await;
        let newcomer = turns.turn();
        assert_eq!(newcomer.to_queue_for([log("scratch", 8)]), Some(log("scratch", 8)), "the next change");
        assert_eq!(newcomer.to_queue_for([log("home", 7), "fs/scratch".into()]), None, "others");
        first.queue_for(log("scratch", 8)).await;
        assert_eq!(first.to_queue_for([log("scratch", 9)]), None, "it is its turn");
        drop(first);
        assert_eq!(newcomer.to_queue_for([log("scratch", 9)]), None, "nobody waits any more");
    }
}
