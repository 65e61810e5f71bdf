//! History and events.

use futures::stream::BoxStream;
use lustre_api::event::{Event, EventQuery, HistoryQuery};
use lustre_api::{Page, Problem};
use lustre_mgs_store::StoreError;

use std::sync::Arc;

use super::{Api, limit};
use crate::engine::unavailable;
use crate::history::{self, Filter};

/// Events as they happen, each with its revision.
pub type EventStream = BoxStream<'static, Result<Event, Problem>>;

/// Commits read at a time while a filtered history is searched.
const BATCH: usize = 200;
/// Most commits that one request searches; the caller reads on from `next`.
const MAX_SEARCHED: usize = 20_000;
/// Revisions that a filter may hide before the caller is told how far it is.
const BOOKMARK_EVERY: u64 = 1000;

impl Api {
    /// `get_history`
    pub async fn get_history(&self, query: &HistoryQuery) -> Result<Page<Event>, Problem> {
        let limit = limit(query.limit)?;
        let store = self.engine.store();
        let head = store.head();
        let mut from = query.after.unwrap_or(0).max(store.compacted()) + 1;
        let (mut items, mut searched) = (Vec::new(), 0);
        while from <= head && items.len() < limit && searched < MAX_SEARCHED {
            let commits = store.history(from, BATCH).await.map_err(|err| unavailable(&err))?;
            if commits.is_empty() {
                break;
            }
            for commit in commits {
                if items.len() == limit {
                    break;
                }
                from = commit.revision + 1;
                searched += 1;
                let mut event = history::event(store, &commit).await?;
                if let Some(wanted) = &query.object {
                    event.changes.retain(|change| change.object.starts_with(wanted.as_str()));
                }
                if query.object.is_none() || !event.changes.is_empty() {
                    items.push(event);
                }
            }
        }
        let next = (from <= head).then(|| (from - 1).to_string());
        Ok(Page { items, next, revision: head })
    }

    /// `stream_events`: from a revision long past, or from now.
    pub async fn stream_events(self: Arc<Self>, query: &EventQuery) -> Result<EventStream, Problem> {
        let after = query.after.unwrap_or_else(|| self.engine.store().head());
        // After a restore the newest revision may be older than what the caller has seen: it would wait for ever.
        let head = self.engine.store().head();
        if after > head {
            return Err(Problem::invalid(format!("revision {after} does not exist here, the newest is {head}"))
                .remedy("was this MGS restored from a backup? read a snapshot and follow from its revision")
                .attribute("after"));
        }
        let watch = self.engine.store().watch(after + 1).await.map_err(|err| match err {
            StoreError::Compacted { compacted, .. } => {
                Problem::invalid(format!("the history begins after revision {compacted}; {after} is no longer kept"))
                    .remedy("read a snapshot and follow from its revision")
                    .attribute("after")
            }
            err => unavailable(&err),
        })?;
        let EventQuery { kind, object, fsname, .. } = query.clone();
        let filter = Arc::new(Filter { kind, objects: object.into_iter().collect(), fsname, without_duties: false });
        let api = self;
        let next = move |(mut watch, told): (lustre_mgs_store::Watch, u64)| {
            let (api, filter) = (api.clone(), filter.clone());
            async move {
                loop {
                    // A watch that ends (shutdown, compaction) ends the stream; the client begins again after its last event.
                    let commit = tokio::select! {
                        commit = watch.next() => commit.ok()?,
                        () = api.engine.stopped() => return None,
                    };
                    let event = match history::filtered(api.engine.store(), &commit, &filter).await.transpose() {
                        Some(event) => event,
                        // Who hears nothing for long must not fall behind the history; who asked for the past is told its end.
                        None if commit.revision == head || commit.revision >= told + BOOKMARK_EVERY => {
                            Ok(history::bookmark(&commit))
                        }
                        None => continue,
                    };
                    return Some((event, (watch, commit.revision)));
                }
            }
        };
        Ok(Box::pin(futures::stream::unfold((watch, after), next)))
    }
}
