//! What waits for the writer. It says how many requests it waits for and is woken once there are as many: to be woken for each
//! costs the one who asks more than the request.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::writer::Request;

/// Most requests taken at once: bounds the wait of the first one.
pub(super) const MAX_BATCH: usize = 512;
/// How long a batch waits to become as large as it is expected to be.
const GATHER: Duration = Duration::from_micros(200);

#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    enough: Condvar,
}

#[derive(Default)]
struct Waiting {
    requests: VecDeque<Request>,
    /// How many the writer waits for; 0 while it does something else.
    wanted: usize,
    is_closed: bool,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a request; one that comes too late is dropped, and whoever waits for its answer learns from that.
    pub(super) fn push(&self, request: Request) {
        let mut waiting = self.waiting();
        if waiting.is_closed {
            drop(waiting);
            return;
        }
        waiting.requests.push_back(request);
        let is_enough = waiting.requests.len() == waiting.wanted;
        drop(waiting);
        if is_enough {
            self.enough.notify_one();
        }
    }

    /// Takes what waits: none after `idle`, and where there is any, `expected` if they come within a moment.
    pub(super) fn take(&self, idle: Duration, expected: usize) -> VecDeque<Request> {
        let waiting = self.wait(self.waiting(), 1, idle);
        let is_any = !waiting.requests.is_empty();
        let mut waiting = if is_any { self.wait(waiting, expected.min(MAX_BATCH), GATHER) } else { waiting };
        let rest = waiting.requests.len().min(MAX_BATCH);
        let rest = waiting.requests.split_off(rest);
        std::mem::replace(&mut waiting.requests, rest)
    }

    fn wait<'a>(&self, mut waiting: MutexGuard<'a, Waiting>, wanted: usize, time: Duration) -> MutexGuard<'a, Waiting> {
        if waiting.requests.len() >= wanted {
            return waiting;
        }
        waiting.wanted = wanted;
        let is_short = |waiting: &mut Waiting| waiting.requests.len() < wanted;
        let (mut waiting, _) =
            self.enough.wait_timeout_while(waiting, time, is_short).unwrap_or_else(PoisonError::into_inner);
        waiting.wanted = 0;
        waiting
    }

    /// Drops what waits, and whatever comes.
    pub(super) fn close(&self) {
        let mut waiting = self.waiting();
        waiting.is_closed = true;
        let requests = std::mem::take(&mut waiting.requests);
        drop(waiting);
        drop(requests);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Meta, StoreError, Txn};
    use std::sync::Arc;
    use std::time::Instant;
    use tokio::sync::oneshot;
    use tokio::sync::oneshot::Receiver;

    fn request() -> (Request, Receiver<Result<u64, StoreError>>) {
        let (reply, answer) = oneshot::channel();
        let meta = Meta { time_ms: 0, who: "test".into(), why: "test".into() };
        (Request::Commit(Txn::new(meta).put("k", ""), reply), answer)
    }

    #[test]
    fn as_many_as_are_expected_are_taken_together_in_their_order() {
        let queue = Arc::new(Queue::default());
        let asking = queue.clone();
        let asking = std::thread::spawn(move || {
            (0..4).map(|_| request()).for_each(|(request, _)| asking.push(request));
            asking.push(Request::Stop);
        });
        let mut taken = Vec::new();
        while !matches!(taken.last(), Some(Request::Stop)) {
            taken.extend(queue.take(Duration::from_secs(60), 5));
        }
        assert_eq!(taken.len(), 5);
        asking.join().unwrap();
    }

    #[test]
    fn who_expects_more_than_come_waits_a_moment_only() {
        let queue = Queue::default();
        queue.push(request().0);
        let begun = Instant::now();
        assert_eq!(queue.take(Duration::from_secs(60), 64).len(), 1);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(queue.take(Duration::from_millis(1), 64).is_empty(), "none within its time");
    }

    #[test]
    fn more_than_a_batch_stays_for_the_next() {
        let queue = Queue::default();
        (0..=MAX_BATCH).for_each(|_| queue.push(request().0));
        assert_eq!(queue.take(Duration::ZERO, 1).len(), MAX_BATCH);
        assert_eq!(queue.take(Duration::ZERO, 1).len(), 1);
    }

    #[test]
    fn nobody_waits_for_a_writer_that_has_ended() {
        let queue = Queue::default();
        let ((early, mut answer_early), (late, mut answer_late)) = (request(), request());
        queue.push(early);
        queue.close();
        queue.push(late);
        for answer in [&mut answer_early, &mut answer_late] {
            assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        }
        assert!(queue.take(Duration::ZERO, 1).is_empty());
    }
}
