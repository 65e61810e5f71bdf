//! What the API does, one file per subject; how it is spoken is in [`crate::server`].

mod backup;
mod events;
mod exports;
mod filesystems;
mod jobs;
mod logs;
mod mgs;
mod nodemaps;
mod nodes;
mod operations;
mod params;
mod plan;
mod pools;
mod proof;
mod prove;
mod source;
mod spread;
mod targets;

use std::sync::Arc;

use lustre_api::{Page, PageQuery, Problem};

use crate::agents::Agents;
use crate::engine::Engine;
use crate::feed::Feed;
use crate::jobs::progress::Board;
use crate::liveness::Liveness;
use crate::net::Nodes;
use crate::source::Source;
use crate::webhooks;

pub use jobs::JobStream;

/// Everything that requests are answered from.
pub struct Api {
    /// The MGS.
    pub engine: Arc<Engine>,
    /// The nodes' agents.
    pub agents: Arc<dyn Agents>,
    /// Progress of jobs.
    pub board: Arc<Board>,
    /// Changes, for who follows them.
    pub feed: Arc<Feed>,
    /// Heartbeats.
    pub liveness: Arc<Liveness>,
    /// Webhooks.
    pub webhooks: Arc<webhooks::Board>,
    /// Lustre's nodes; `None` where LNet is off.
    pub nodes: Option<Arc<Nodes>>,
    /// Where wanted configuration is read from, if anywhere.
    pub source: Option<Arc<Source>>,
}

impl Api {
    /// One that nobody has told of anything yet: no heartbeats, no progress, no receivers, nodes or source.
    pub fn new(engine: Arc<Engine>, agents: Arc<dyn Agents>) -> Self {
        let feed = Arc::new(Feed::new(engine.clone()));
        let (board, liveness, webhooks) = (Arc::default(), Arc::default(), Arc::default());
        Self { engine, agents, board, feed, liveness, webhooks, nodes: None, source: None }
    }
}

/// A page of `items`, which come in the order of their names and begin behind `query.after`.
fn page<T>(query: &PageQuery, revision: u64, items: impl Iterator<Item = (String, T)>) -> Result<Page<T>, Problem> {
    let limit = limit(query.limit)?;
    let mut items = items.peekable();
    let (mut taken, mut last) = (Vec::new(), None);
    while taken.len() < limit
        && let Some((name, item)) = items.next()
    {
        last = Some(name);
        taken.push(item);
    }
    let next = if items.peek().is_some() { last } else { None };
    Ok(Page { items: taken, next, revision })
}

/// How many items a list may have: 1 to 1000, 100 when nobody says.
fn limit(asked: Option<u32>) -> Result<usize, Problem> {
    let limit = asked.unwrap_or(100);
    if !(1..=1000).contains(&limit) {
        return Err(Problem::invalid(format!("limit is {limit}; 1 to 1000 are possible")).attribute("limit"));
    }
    Ok(usize::try_from(limit).expect("at most 1000"))
}

/// Whether an item named `name` is behind `after`. Lists that end early are read on by name, so nothing is listed twice when
/// something is added or removed in between.
fn is_behind<K: Ord>(after: Option<&K>, name: &K) -> bool {
    after.is_none_or(|after| name > after)
}

/// `after` as the name that the list is ordered by. Errors: not a name of this list.
fn after<K: std::str::FromStr>(query: &PageQuery) -> Result<Option<K>, Problem> {
    let parsed = query.after.as_ref().map(|after| after.parse());
    parsed
        .transpose()
        .map_err(|_| Problem::invalid("after is not what a page of this list gave as next").attribute("after"))
}
