//! Opening: looks at what is below the prefix before it writes anything there.

use std::sync::Mutex;

use tokio::sync::watch;
use tracing::info;

use super::client::{Client, one};
use super::error::EtcdError;
use super::layout::{Cluster, FORMAT, Layout};
use super::rpc::{KeyValue, RangeRequest};
use super::url::EtcdUrl;
use super::writer::{exists, put};
use super::{Mirror, Shared};
use crate::{Health, OpenError};

/// The oldest etcd whose transactions and watches do what is relied on here.
const OLDEST_ETCD: (u32, u32) = (3, 4);

/// Connects, checks what is there, makes a new store where there is nothing, and reads the state.
pub(super) async fn open(url: &EtcdUrl) -> Result<Shared, OpenError> {
    let client = Client::new(url)?;
    let refuse = |reason: String| OpenError::Etcd { url: url.to_string(), reason };
    let failed = |err: EtcdError| refuse(err.to_string());
    let version = client.version().await.map_err(failed)?;
    if parse_version(&version).is_none_or(|version| version < OLDEST_ETCD) {
        return Err(refuse(format!("its version is {version}; 3.4 or newer is needed")));
    }
    let layout = Layout::new(&url.prefix);
    check_parents(&client, url).await.map_err(failed)?.map_or(Ok(()), |parent| {
        Err(refuse(format!(
            "{parent} is the prefix of another store, and one can't be inside the other; choose another"
        )))
    })?;
    let cluster = match find_cluster(&client, &layout).await.map_err(failed)? {
        Some(cluster) => cluster,
        None => {
            create(&client, &layout).await.map_err(failed)?;
            let found = find_cluster(&client, &layout).await.map_err(failed)?;
            found.ok_or_else(|| {
                refuse("below the prefix is something that is no store; choose another prefix, or remove it".into())
            })?
        }
    };
    let parsed: Cluster = serde_json::from_slice(&cluster.value)
        .map_err(|err| refuse(format!("{}/cluster is not readable: {err}", url.prefix)))?;
    if parsed.format > FORMAT {
        return Err(OpenError::Newer { path: url.to_string().into(), found: parsed.format, known: FORMAT });
    }
    let shared = Shared {
        client,
        layout,
        mirror: Mutex::new(Mirror::default()),
        catching_up: tokio::sync::Mutex::default(),
        head: watch::Sender::new(0),
        health: watch::Sender::new(Health::Good),
        refused: Mutex::default(),
    };
    let mirror = shared.load().await.map_err(failed)?;
    info!(store = %url, etcd = version, revision = mirror.revision, "store opened");
    *shared.mirror() = mirror;
    shared.publish();
    Ok(shared)
}

/// The first prefix above ours that is a store's.
async fn check_parents(client: &Client, url: &EtcdUrl) -> Result<Option<String>, EtcdError> {
    let slashes = url.prefix.match_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
    for parent in slashes.map(|at| &url.prefix[..at]) {
        // A role may be limited to our prefix. Then nobody who is will ever write above it either.
        match client.range(one(Layout::new(parent).cluster())).await {
            Ok(answer) if !answer.kvs.is_empty() => return Ok(Some(parent.to_owned())),
            Ok(_) => {}
            Err(EtcdError::Credentials { reason, .. }) if reason.contains("permission denied") => {}
            Err(err) => return Err(err),
        }
    }
    Ok(None)
}

async fn find_cluster(client: &Client, layout: &Layout) -> Result<Option<KeyValue>, EtcdError> {
    Ok(client.range(one(layout.cluster())).await?.kvs.into_iter().next())
}

/// Makes an empty store; does nothing if somebody else just did, or if there is anything else below the prefix.
async fn create(client: &Client, layout: &Layout) -> Result<(), EtcdError> {
    let (key, range_end) = layout.all();
    let anything = RangeRequest { key, range_end, limit: 1, keys_only: true, ..RangeRequest::default() };
    if !client.range(anything).await?.kvs.is_empty() {
        return Ok(());
    }
    let cluster = serde_json::to_vec(&Cluster { format: FORMAT }).expect("a number always serializes");
    let ops = vec![put(layout.cluster(), cluster), put(layout.head(), "0"), put(layout.compacted(), "0")];
    client.txn(vec![exists(layout.cluster(), false)], ops, Vec::new()).await.map(drop)
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_by_number() {
        assert_eq!(parse_version("3.4.23"), Some((3, 4)));
        assert!(parse_version("3.10.0") > Some(OLDEST_ETCD));
        assert_eq!(parse_version("three"), None);
    }
}
