//! The agent towards its MGS: enrolment, heartbeat, and calls passed on. The MGS here is two routes of a real server.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_api::{
    Nothing, Problem, Time, Written,
    agent::GetNodeInfo,
    mgs::{GetMgs, MgsInfo},
    node::{AnnounceNode, Announcement, Heartbeat, Node as MgsNode},
};
use node::Node;
use rest::{Call, Client, Listener, Server};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// What was announced, in order.
#[derive(Default)]
struct Mgs {
    announced: Mutex<Vec<Announcement>>,
    /// Of an older version: it takes what it knows and drops the rest.
    is_older: AtomicBool,
}

async fn announce(mgs: Arc<Mgs>, call: Call<AnnounceNode>) -> Result<Written<MgsNode>, Problem> {
    let mut announcement = call.body;
    mgs.announced.lock().unwrap().push(announcement.clone());
    if mgs.is_older.load(Ordering::SeqCst) {
        announcement.info.abilities = None;
    }
    let object = MgsNode {
        name: call.path.node,
        api_url: announcement.api_url,
        info: announcement.info,
        enrolled: Time::from_unix_ms(0),
        settings: lustre_api::node::NodeSettings::default(),
        last_seen: None,
        is_alive: true,
        revision: 1,
    };
    Ok(Written { object, changed: true, revision: 1, job: None, plan: None, warnings: Vec::new() })
}

async fn info(_: Arc<Mgs>, _: Call<GetMgs>) -> Result<MgsInfo, Problem> {
    Ok(MgsInfo {
        uuid: "the-mgs".into(),
        version: "1".into(),
        nids: None,
        capabilities: Vec::new(),
        store: "memory".into(),
        revision: 7,
        epoch: 0,
        state_version: 1,
        duties: vec![],
        instances: vec![],
        store_error: None,
    })
}

/// Serves at `address` until the sender is dropped; gives the address that it got.
async fn serve(mgs: Arc<Mgs>, address: SocketAddr) -> (String, watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let router = Server::new(mgs, "MGS", "1")
        .route::<AnnounceNode, _, _>(announce)
        .route::<GetMgs, _, _>(info)
        .route::<Heartbeat, _, _>(|_, _| async { Ok(Nothing {}) })
        .router();
    let listener = Listener::tcp(address).await.unwrap();
    let url = listener.url();
    let (stop, stopped) = watch::channel(false);
    (url, stop, tokio::spawn(listener.serve(router, stopped)))
}

async fn until(mut is_so: impl FnMut() -> bool) {
    let waited = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waited).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_enrols_where_it_can_be_reached_and_passes_calls_on() {
    let mgs = Arc::new(Mgs::default());
    let (url, _stop, _serving) = serve(mgs.clone(), "127.0.0.1:0".parse().unwrap()).await;
    let node = Node::start_with(Some(url));
    until(|| !mgs.announced.lock().unwrap().is_empty()).await;
    let announced = mgs.announced.lock().unwrap()[0].clone();
    assert_eq!(announced.info.node.as_str(), "oss1");
    assert_eq!(announced.info.nids[0].to_string(), "127.0.0.1@tcp");
    let agent = Client::new(&announced.api_url, None).unwrap();
    assert_eq!(agent.call::<GetNodeInfo>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap(), announced.info);

    let socket = node.path("agent.sock");
    let through = reqwest::Client::builder().unix_socket(socket).build().unwrap();
    let answer = through.get("http://localhost/mgs/v1/mgs").send().await.unwrap();
    let found: MgsInfo = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(found.uuid, "the-mgs");
    let unknown = through.get("http://localhost/mgs/v1/nothing").send().await.unwrap();
    assert_eq!(unknown.status(), 404, "the MGS's own refusal comes through");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_works_without_its_mgs_and_enrols_when_it_comes() {
    // An address that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let node = Node::start_with(Some(format!("http://{address}")));
    assert_eq!(node.inventory().await.info.node.as_str(), "oss1");
    let through = reqwest::Client::builder().unix_socket(node.path("agent.sock")).build().unwrap();
    let answer = through.get("http://localhost/mgs/v1/mgs").send().await.unwrap();
    assert_eq!(answer.status(), 503);
    let problem: Problem = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert!(problem.message.contains(&address.to_string()), "{problem}");

    let mgs = Arc::new(Mgs::default());
    let (_, _stop, _serving) = serve(mgs.clone(), address).await;
    until(|| !mgs.announced.lock().unwrap().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mgs_that_drops_what_it_does_not_know_is_told_again_until_a_newer_one_takes_it_all() {
    let mgs = Arc::new(Mgs { is_older: AtomicBool::new(true), ..Mgs::default() });
    let (url, _stop, _serving) = serve(mgs.clone(), "127.0.0.1:0".parse().unwrap()).await;
    let _node = Node::start_with(Some(url));
    let told = || mgs.announced.lock().unwrap().len();
    until(|| told() == 1).await;
    // Its upgrade, under the same address.
    mgs.is_older.store(false, Ordering::SeqCst);
    until(|| told() == 2).await;
    assert!(mgs.announced.lock().unwrap()[1].info.abilities.is_some());
}
