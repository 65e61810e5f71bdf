//! Nodes that follow a config log through whichever instance they reach.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use lnet::Lnet;
use lustre_mgc::{Config, Mgc, Node};
use lustre_types::Nid;
use lustre_wire::llog::{LogFile, Marker, Record};

/// Clients of one node.
const PER_NODE: usize = 10;

/// A node in the test's own process.
pub(crate) async fn node(own: &str) -> anyhow::Result<Node> {
    Ok(Node::new(Lnet::start(lnet::Config::new(vec![own.parse()?])).await?))
}

/// A client that is quick to notice what is wrong, and patient; tries the instances in this order.
pub(crate) fn config(mgs: Vec<Nid>) -> Config {
    let mut config = Config::new(mgs);
    config.ping_interval = Duration::from_secs(1);
    config.attempt = Duration::from_secs(2);
    config.requeue = Duration::from_millis(10)..Duration::from_millis(100);
    config
}

/// One follower, and the live records that it was given.
pub(crate) struct Follower {
    pub(crate) mgc: Mgc,
    seen: Arc<Mutex<BTreeMap<u32, Record>>>,
}

/// Starts followers of a log; each tries another instance first.
pub(crate) async fn start(count: usize, log: &str, mgs: &[Nid]) -> anyhow::Result<Vec<Follower>> {
    let mut nodes = Vec::new();
    for at in 0..count.div_ceil(PER_NODE) {
        nodes.push(node(&format!("10.99.1.{}@tcp", at + 1)).await?);
    }
    let mut followers = Vec::new();
    for at in 0..count {
        let mut order = mgs.to_vec();
        order.rotate_left(at % mgs.len());
        let mgc = nodes[at / PER_NODE].connect(config(order)).await.context("a follower's first connect")?;
        followers.push(Follower::on(mgc, log));
    }
    Ok(followers)
}

impl Follower {
    /// Follows a log with a client from now on.
    pub(crate) fn on(mgc: Mgc, log: &str) -> Self {
        let seen: Arc<Mutex<BTreeMap<u32, Record>>> = Arc::default();
        let (mut follower, noted) = (mgc.follow(log, 0), Arc::clone(&seen));
        tokio::spawn(async move {
            loop {
                match follower.next().await {
                    Ok(records) => {
                        for record in records {
                            let index = record.index;
                            let before = noted.lock().unwrap().insert(index, record);
                            assert!(before.is_none(), "record {index} was told twice");
                        }
                    }
                    // Nobody is there at the moment.
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            }
        });
        Self { mgc, seen }
    }

    /// What it lacks of a log, or has and should not have; nothing when it is where the log is.
    pub(crate) fn lacks(&self, log: &LogFile) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        for record in log.live() {
            match seen.get(&record.index) {
                None => return Some(format!("record {} of {}", record.index, log.header.last_index)),
                // What a change replaces stays in its place, its markers say that it is void.
                Some(found) if found != record && !is_marker(record) => {
                    return Some(format!("record {} is another", record.index));
                }
                Some(_) => {}
            }
        }
        let beyond = seen.keys().next_back().filter(|last| **last > log.header.last_index);
        beyond.map(|last| format!("it was told record {last}, the log ends at {}", log.header.last_index))
    }
}

fn is_marker(record: &Record) -> bool {
    record.config().and_then(Result::ok).is_some_and(|cfg| Marker::of(&cfg).is_some())
}
