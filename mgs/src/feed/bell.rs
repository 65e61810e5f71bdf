//! Wakes everybody who waits for the next change. Thousands do, so it touches as little as it can for each: one waker in a
//! list. A channel's receiver is a list node, a lock and a future for each, which together cost more than the change.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

/// Rung for the last time.
const OVER: u64 = u64::MAX;

/// Rings for each revision, and at the end.
#[derive(Default)]
pub(super) struct Bell {
    /// The newest revision that it has rung for. Changed under the lock of `waiting` only.
    rung: AtomicU64,
    waiting: Mutex<Vec<Waker>>,
}

/// Where somebody waits for a bell. Taken out of its list by [`Bell::leave`].
#[derive(Default)]
pub(super) struct Place {
    /// Who is woken, and what the bell had rung for when that was written in its list: no later ring, still in the list.
    waiting: Option<(Waker, u64)>,
}

impl Bell {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody waits.
    pub(super) fn is_awaited(&self) -> bool {
        !self.waiting().is_empty()
    }

    /// Rings for everything up to a revision.
    pub(super) fn ring(&self, revision: u64) {
        let mut waiting = self.waiting();
        if revision <= self.rung.load(Ordering::Acquire) {
            return;
        }
        self.rung.store(revision, Ordering::Release);
        let wakers = std::mem::take(&mut *waiting);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Rings for the last time: nothing comes any more.
    pub(super) fn end(&self) {
        self.ring(OVER);
    }

    /// Waits for a revision; gives the newest that it has rung for, or `None` at the end.
    pub(super) fn poll(&self, revision: u64, place: &mut Place, cx: &mut Context<'_>) -> Poll<Option<u64>> {
        let reached = |rung: u64| match rung {
            OVER => Some(Poll::Ready(None)),
            rung if rung >= revision => Some(Poll::Ready(Some(rung))),
            _ => None,
        };
        let rung = self.rung.load(Ordering::Acquire);
        if let Some(ready) = reached(rung) {
            return ready;
        }
        // A task looks several times for each ring.
        if place.waiting.as_ref().is_some_and(|(waker, at)| *at == rung && waker.will_wake(cx.waker())) {
            return Poll::Pending;
        }
        self.leave(place);
        let mut waiting = self.waiting();
        let rung = self.rung.load(Ordering::Acquire);
        if let Some(ready) = reached(rung) {
            return ready;
        }
        waiting.push(cx.waker().clone());
        place.waiting = Some((cx.waker().clone(), rung));
        Poll::Pending
    }

    /// Takes somebody out of the list, who is in it where the bell has not rung since.
    pub(super) fn leave(&self, place: &mut Place) {
        let Some((waker, at)) = place.waiting.take() else { return };
        let mut waiting = self.waiting();
        if at == self.rung.load(Ordering::Acquire)
            && let Some(found) = waiting.iter().position(|waiting| waiting.will_wake(&waker))
        {
            waiting.swap_remove(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_waits_is_woken_once_however_often_it_looked() {
        let (bell, mut place, woken) = (Bell::default(), Place::default(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        for _ in 0..3 {
            assert_eq!(bell.poll(5, &mut place, &mut cx), Poll::Pending);
        }
        bell.ring(4);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(bell.poll(5, &mut place, &mut cx), Poll::Pending, "not yet for this one");
        bell.ring(7);
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        assert_eq!(bell.poll(5, &mut place, &mut cx), Poll::Ready(Some(7)));
        bell.end();
        assert_eq!((woken.0.load(Ordering::Relaxed), bell.poll(5, &mut place, &mut cx)), (2, Poll::Ready(None)));
    }

    #[test]
    fn who_leaves_or_moves_to_another_task_leaves_nothing_behind() {
        let (bell, mut place) = (Bell::default(), Place::default());
        let tasks: [Arc<Woken>; 2] = Default::default();
        for task in &tasks {
            let waker = Waker::from(task.clone());
            assert_eq!(bell.poll(1, &mut place, &mut Context::from_waker(&waker)), Poll::Pending);
            assert_eq!(bell.waiting().len(), 1);
        }
        bell.leave(&mut place);
        assert!(!bell.is_awaited());
        bell.ring(1);
        assert!(tasks.iter().all(|task| task.0.load(Ordering::Relaxed) == 0));
        assert!(tasks.iter().all(|task| Arc::strong_count(task) == 1), "no task is kept alive");
    }
}
