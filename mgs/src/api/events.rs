//! History and events.

use std::sync::Arc;

use futures::StreamExt;
use lustre_api::event::{Event, EventQuery, HistoryQuery};
use lustre_api::{Page, Problem};

use super::{Api, limit};
use crate::engine::unavailable;
use crate::feed;
use crate::history::{self, Filter};

/// Commits read at a time while a filtered history is searched.
const BATCH: usize = 200;
/// Most commits that one request searches; the caller reads on from `next`.
const MAX_SEARCHED: usize = 20_000;

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
    pub async fn stream_events(self: Arc<Self>, query: &EventQuery) -> Result<rest::Events<Event>, Problem> {
        let after = query.after.unwrap_or_else(|| self.engine.state().revision);
        feed::check_exists(&self.engine, after)?;
        let compacted = self.engine.store().compacted();
        if after < compacted {
            return Err(feed::too_old(after, compacted));
        }
        let EventQuery { kind, object, fsname, .. } = query.clone();
        let filter = Filter { kind, objects: object.into_iter().collect(), fsname, without_duties: false };
        Ok(self.feed.follow(after, filter).boxed())
    }
}
