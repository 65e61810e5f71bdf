//! Somebody who is told of every change that a filter takes, in order.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::Stream;
use futures::future::BoxFuture;
use lustre_api::Problem;
use lustre_api::event::Event;
use lustre_mgs_store::Commit;
use rest::Frame;

use super::bell::Place;
use super::{Feed, KEPT, Missed, Told};
use crate::history::Filter;

/// Commits read at a time while somebody is further behind than the changes that are kept.
const BATCH: usize = 64;
/// Revisions that a filter may hide before the caller is told how far it is.
const BOOKMARK_EVERY: u64 = 1000;

/// A change that was read, and those that were read with it.
type Read = (VecDeque<Commit>, Result<Arc<Told>, Missed>);

/// The changes behind a revision, as a stream: it ends behind a problem, and when the MGS is about to end.
pub(crate) struct Follower {
    feed: Arc<Feed>,
    place: Place,
    /// The last revision that was looked at, and the last that was told.
    seen: u64,
    told: u64,
    /// The newest revision when it began.
    newest: u64,
    filter: Filter,
    /// Changes long past, which nobody else is about to be told of.
    ahead: VecDeque<Commit>,
    /// The next change, where it has to be read.
    reading: Option<BoxFuture<'static, Read>>,
    is_over: bool,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.bell.leave(&mut self.place);
    }
}

impl Follower {
    pub(super) fn new(feed: Arc<Feed>, after: u64, newest: u64, filter: Filter) -> Self {
        Self {
            feed,
            place: Place::default(),
            seen: after,
            told: after,
            newest,
            filter,
            ahead: VecDeque::new(),
            reading: None,
            is_over: false,
        }
    }

    fn poll_change(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Told>, Missed>> {
        loop {
            if let Some(reading) = &mut self.reading {
                let (ahead, told) = ready!(reading.as_mut().poll(cx));
                (self.ahead, self.reading) = (ahead, None);
                return Poll::Ready(told);
            }
            let next = self.seen + 1;
            let Some(newest) = ready!(self.feed.bell.poll(next, &mut self.place, cx)) else {
                return Poll::Ready(Err(Missed::Away));
            };
            // Almost everybody comes here, almost always.
            if let Some(told) = self.feed.kept(next) {
                self.ahead.clear();
                return Poll::Ready(Ok(told));
            }
            let (feed, ahead) = (self.feed.clone(), std::mem::take(&mut self.ahead));
            self.reading = Some(Box::pin(read(feed, ahead, next, newest)));
        }
    }
}

impl Stream for Follower {
    type Item = Result<Frame<Event>, Problem>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        while !this.is_over {
            let told = match ready!(this.poll_change(cx)) {
                Ok(told) => told,
                Err(missed) => {
                    this.is_over = true;
                    return Poll::Ready(match missed {
                        Missed::Compacted(problem) => Some(Err(problem)),
                        // The stream ends; the client begins again after its last event.
                        Missed::Away => None,
                    });
                }
            };
            let revision = told.event.revision;
            this.seen = revision;
            // Who hears nothing for long must not fall behind the history; who asked for the past is told its end.
            let is_due = revision == this.newest || revision >= this.told + BOOKMARK_EVERY;
            if let Some(frame) = told.filtered(&this.filter, is_due) {
                this.told = revision;
                return Poll::Ready(Some(Ok(frame)));
            }
        }
        Poll::Ready(None)
    }
}

/// The next change: with those that all are about to be told of, or out of those read `ahead` for this follower alone.
async fn read(feed: Arc<Feed>, mut ahead: VecDeque<Commit>, next: u64, newest: u64) -> Read {
    if ahead.front().is_none_or(|commit| commit.revision != next) {
        ahead.clear();
        if newest - next < KEPT as u64 / 2 {
            return (ahead, feed.recent(next).await);
        }
        match feed.read(next, BATCH).await {
            Ok(commits) => ahead = commits.into(),
            Err(missed) => return (ahead, Err(missed)),
        }
    }
    let Some(commit) = ahead.pop_front() else { return (ahead, Err(Missed::Away)) };
    let told = feed.tell(&commit).await;
    (ahead, told)
}
