//! Two nodes of ours: what one sends, the other gets, whatever happens to the connections.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test ends where something is wrong")]

mod support;

use bytes::Bytes;
use lnet::{Config, Get, Lnet, Lost, Payload, ProcessId, Put, SendError, StartError};
use lustre_wire::lnet::{NiEntry, WireNid};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use support::{PATIENCE, client, listening, nid, server, wire};

const MGS: &str = "10.9.0.1@tcp";

fn put(from: &Lnet, to: &str, portal: u32, match_bits: u64, payload: impl Into<Payload>) -> Put {
    let to = ProcessId::lustre(wire(to));
    Put { to, from: from.nids()[0], portal, match_bits, hdr_data: 0, offset: 0, payload: payload.into() }
}

/// Answers each request on portal 26 on portal 25 with its payload, reversed, and then the shared block.
fn echo(server: &Lnet, block: Bytes) {
    server.on_put(26, move |request, out| {
        let own = request.payload.iter().rev().copied().collect();
        out.put(request.answer(25, request.match_bits, 224, Payload { own, shared: block.clone() }));
    });
}

async fn call(client: &Lnet, to: &str, xid: u64, payload: &[u8]) -> Result<Bytes, SendError> {
    let mut reply = client.attach(25, xid, Some(wire(to)), 1 << 20);
    client.put(put(client, to, 26, xid, payload.to_vec())).await?;
    match tokio::time::timeout(PATIENCE, reply.next()).await.expect("a reply in time") {
        Ok(arrival) => {
            assert_eq!((arrival.source.nid, arrival.offset), (wire(to), 224));
            Ok(arrival.payload)
        }
        Err(lost) => Err(SendError::Lost { nid: wire(to), lost }),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_ping_and_discover_each_other() {
    let server = server(&[MGS, "10.9.0.1@tcp1"]).await;
    let client = client("10.9.0.3@tcp", &server).await;
    let info = client.discover(&nid(MGS), PATIENCE).await.unwrap().unwrap();
    assert_eq!(info.nids(), server.nids());
    assert!(info.entries[1..].iter().all(|entry| entry.status == NiEntry::UP));
    // The other way over the same connections: the server knows no address of the client.
    let info = server.ping(&nid("10.9.0.3@tcp"), PATIENCE).await.unwrap();
    assert_eq!(info.nids(), client.nids());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_gets_all_nids_of_a_node_with_many() {
    let nids: Vec<String> = (0..40).map(|number| format!("10.9.0.1@tcp{number}")).collect();
    let server = server(&nids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let client = client("10.9.0.3@tcp", &server).await;
    assert_eq!(client.ping(&nid(MGS), PATIENCE).await.unwrap().nids(), server.nids());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_its_reply_whatever_its_size() {
    let server = server(&[MGS]).await;
    let block: Bytes = (0..8192u32).map(|at| at as u8).collect::<Vec<_>>().into();
    echo(&server, block.clone());
    let client = client("10.9.0.3@tcp", &server).await;
    for (xid, len) in [0usize, 1, 500, 1023, 1024, 70_000, 900_000].into_iter().enumerate() {
        let sent: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
        let reply = call(&client, MGS, xid as u64, &sent).await.unwrap();
        let expected: Vec<u8> = sent.iter().rev().copied().chain(block.iter().copied()).collect();
        assert_eq!(reply, expected, "{len} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_all_get_their_own_reply() {
    let server = server(&[MGS]).await;
    echo(&server, Bytes::from_static(b"!"));
    let client = client("10.9.0.3@tcp", &server).await;
    let calls = (0..500u64).map(|xid| {
        let client = client.clone();
        tokio::spawn(async move {
            let reply = call(&client, MGS, xid, &xid.to_le_bytes()).await.unwrap();
            let expected: Vec<u8> = xid.to_be_bytes().into_iter().chain([b'!']).collect();
            assert_eq!(reply, expected);
        })
    });
    for call in calls.collect::<Vec<_>>() {
        call.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_acknowledged_when_it_matches_and_else_times_out() {
    let server = server(&[MGS]).await;
    let client = client("10.9.0.3@tcp", &server).await;
    let mut bulk = server.attach(33, 5, Some(wire("10.9.0.3@tcp")), 100);
    assert_eq!(client.put_acked(put(&client, MGS, 33, 5, vec![1; 44]), PATIENCE).await.unwrap(), 44);
    assert_eq!(bulk.next().await.unwrap().payload, [1; 44][..]);
    let lost = |error| matches!(error, Err(SendError::Lost { lost: Lost::TimedOut, .. }));
    let short = Duration::from_millis(300);
    // Too long, other match bits, and a descriptor that is for somebody else: dropped, and the connection stays.
    assert!(lost(client.put_acked(put(&client, MGS, 33, 5, vec![1; 101]), short).await));
    assert!(lost(client.put_acked(put(&client, MGS, 33, 6, vec![1]), short).await));
    let _other = server.attach(33, 7, Some(wire("10.9.0.4@tcp")), 100);
    assert!(lost(client.put_acked(put(&client, MGS, 33, 7, vec![1]), short).await));
    drop(bulk);
    assert!(lost(client.put_acked(put(&client, MGS, 33, 5, vec![1]), short).await));
    assert_eq!(server.statistics().refusals, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_takes_what_is_offered_up_to_its_sink() {
    let server = server(&[MGS]).await;
    let client = client("10.9.0.3@tcp", &server).await;
    let mut offered = server.offer(33, 9, None, Bytes::from_static(b"0123456789"));
    let get = |sink_length| Get {
        to: ProcessId::lustre(wire(MGS)),
        from: client.nids()[0],
        portal: 33,
        match_bits: 9,
        sink_length,
    };
    assert_eq!(client.get(get(100), PATIENCE).await.unwrap(), &b"0123456789"[..]);
    assert_eq!(client.get(get(4), PATIENCE).await.unwrap(), &b"0123"[..]);
    assert_eq!(offered.next().await.unwrap().source, ProcessId::lustre(wire("10.9.0.3@tcp")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_calls_back_in_the_handler_and_the_reply_leaves_then() {
    let server = server(&[MGS]).await;
    server.on_put(26, |request, out| {
        let (bulk, reply) = (
            request.answer(33, request.match_bits, 0, vec![2; 132]),
            request.answer(25, request.match_bits, 224, vec![]),
        );
        out.put_acked(bulk, PATIENCE, move |stored, out| {
            let mut reply = reply;
            reply.payload = stored.unwrap().to_le_bytes().to_vec().into();
            out.put(reply);
        });
    });
    let client = client("10.9.0.3@tcp", &server).await;
    let mut bulk = client.attach(33, 1, Some(wire(MGS)), 4096);
    assert_eq!(call(&client, MGS, 1, b"").await.unwrap(), &132u32.to_le_bytes()[..]);
    assert_eq!(bulk.next().await.unwrap().payload.len(), 132);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_told_when_the_connections_die_and_the_next_request_connects_anew() {
    let server = server(&[MGS]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    server.on_put(26, move |request, out| {
        // The first request is never answered.
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            out.put(request.answer(25, request.match_bits, 224, request.payload.to_vec()));
        }
    });
    let client = client("10.9.0.3@tcp", &server).await;
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move { call(&client, MGS, 1, b"x").await })
    };
    let deadline = Instant::now() + PATIENCE;
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "the request never came");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.disconnect(&nid("10.9.0.3@tcp"));
    assert!(matches!(waiting.await.unwrap(), Err(SendError::Lost { lost: Lost::Disconnected, .. })));
    for xid in 2..20 {
        // Either side may cut the line between two requests; those that hit the gap are asked again.
        if xid % 3 == 0 {
            server.disconnect(&nid("10.9.0.3@tcp"))
        } else {
            client.disconnect(&nid(MGS))
        }
        let deadline = Instant::now() + PATIENCE;
        let result = loop {
            match call(&client, MGS, xid, b"again").await {
                Err(SendError::Lost { lost: Lost::Disconnected, .. }) if Instant::now() < deadline => {}
                result => break result,
            }
        };
        assert_eq!(result.unwrap(), &b"again"[..]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_at_its_address_is_found_again() {
    let first = server(&[MGS]).await;
    echo(&first, Bytes::new());
    let client = client("10.9.0.3@tcp", &first).await;
    assert_eq!(call(&client, MGS, 1, b"ab").await.unwrap(), &b"ba"[..]);
    let address = first.addresses()[0];
    first.shutdown();
    let mut config = listening(&[MGS]);
    config.listen = vec![address];
    let deadline = Instant::now() + PATIENCE;
    let second = loop {
        match Lnet::start(config.clone()).await {
            Ok(lnet) => break lnet,
            Err(StartError::Listen { .. }) if Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(10)).await
            }
            Err(error) => panic!("{error}"),
        }
    };
    echo(&second, Bytes::new());
    let deadline = Instant::now() + PATIENCE;
    loop {
        match call(&client, MGS, 2, b"cd").await {
            Ok(reply) => break assert_eq!(reply, &b"dc"[..]),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_not_there_is_named_with_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let client = Lnet::start(Config::new(vec![nid("10.9.0.3@tcp")])).await.unwrap();
    client.set_address(&nid(MGS), address);
    let error = client.ping(&nid(MGS), PATIENCE).await.unwrap_err();
    assert_eq!(error.to_string(), "can't connect to 10.9.0.1@tcp");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, format!("can't connect to {address}"));
    let error = client.ping(&nid("10.9.0.1@tcp7"), PATIENCE).await.unwrap_err();
    assert!(matches!(error, SendError::NoNet(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_does_not_have_the_nid_closes_and_the_dialler_says_so() {
    let server = server(&[MGS]).await;
    let client = client("10.9.0.3@tcp", &server).await;
    client.set_address(&nid("10.9.0.9@tcp"), server.addresses()[0]);
    let error = client.ping(&nid("10.9.0.9@tcp"), PATIENCE).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("closed the connection during the handshake"), "{cause}");
    assert_eq!(server.statistics().refusals, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_answers_from_the_nid_that_was_asked() {
    let server = server(&[MGS, "10.9.0.1@tcp1"]).await;
    echo(&server, Bytes::new());
    let client = client("10.9.0.3@tcp1", &server).await;
    assert_eq!(call(&client, "10.9.0.1@tcp1", 1, b"ab").await.unwrap(), &b"ba"[..]);
    assert_eq!(server.nid_towards(&wire("10.9.0.3@tcp1")).unwrap(), wire("10.9.0.1@tcp1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_ipv6_nids_talk_in_version_4() {
    let mut config = listening(&["::1@tcp"]);
    config.listen = vec!["[::1]:0".parse().unwrap()];
    let server = match Lnet::start(config).await {
        Err(StartError::Listen { source, .. }) if source.kind() == std::io::ErrorKind::AddrNotAvailable => {
            eprintln!("skipped: this machine has no IPv6 loopback (sysctl net.ipv6.conf.lo.disable_ipv6=0)");
            return;
        }
        started => started.unwrap(),
    };
    echo(&server, Bytes::new());
    let client = client("fd00::3@tcp", &server).await;
    assert_eq!(client.discover(&nid("::1@tcp"), PATIENCE).await.unwrap().unwrap().nids(), [wire("::1@tcp")]);
    assert_eq!(call(&client, "::1@tcp", 1, b"ab").await.unwrap(), &b"ba"[..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_dial_each_other_at_once_both_get_through() {
    let (a, b) = (server(&["10.9.0.1@tcp"]).await, server(&["10.9.0.2@tcp"]).await);
    a.set_address(&nid("10.9.0.2@tcp"), b.addresses()[0]);
    b.set_address(&nid("10.9.0.1@tcp"), a.addresses()[0]);
    let (to_b, to_a) = (nid("10.9.0.2@tcp"), nid("10.9.0.1@tcp"));
    let (from_a, from_b) = tokio::join!(a.ping(&to_b, PATIENCE), b.ping(&to_a, PATIENCE));
    assert_eq!(from_a.unwrap().nids(), b.nids());
    assert_eq!(from_b.unwrap().nids(), a.nids());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_nobody_waits_for_any_more_leaves_the_peer_free_to_dial() {
    // It accepts in the kernel, and never answers the handshake.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let higher = server(&["10.9.0.9@tcp"]).await;
    higher.set_address(&nid("10.9.0.3@tcp"), silent.local_addr().unwrap());
    let asked = nid("10.9.0.3@tcp");
    let given_up = tokio::time::timeout(Duration::from_millis(200), higher.ping(&asked, PATIENCE)).await;
    assert!(given_up.is_err());
    // While it is dialled, the lower NID would lose the race.
    let lower = client("10.9.0.3@tcp", &higher).await;
    let start = Instant::now();
    lower.ping(&nid("10.9.0.9@tcp"), PATIENCE).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_for_the_dead_do_not_pile_up_and_delay_nobody() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = listening(&[MGS]);
    (config.limits.dials, config.limits.undelivered) = (2, 10);
    config.limits.handshake = Duration::from_millis(200);
    let server = Lnet::start(config).await.unwrap();
    let living = client("10.9.0.3@tcp", &server).await;
    living.ping(&nid(MGS), PATIENCE).await.unwrap();
    let mut told = living.attach(15, 1, None, 10);
    for last in 0..100 {
        let dead = format!("10.9.9.{last}@tcp");
        server.set_address(&nid(&dead), silent.local_addr().unwrap());
        server.send(put(&server, &dead, 15, 1, vec![1]));
    }
    server.send(put(&server, "10.9.0.3@tcp", 15, 1, vec![1]));
    tokio::time::timeout(Duration::from_secs(1), told.next()).await.unwrap().unwrap();
    // Ten of the hundred are dialled, two at a time; then the node is free for others again.
    let revived = client("10.9.9.50@tcp", &server).await;
    assert_eq!(revived.ping(&nid(MGS), PATIENCE).await.unwrap().nids(), server.nids());
    let deadline = Instant::now() + PATIENCE;
    while server.statistics().peers > 2 {
        assert!(Instant::now() < deadline, "{:?}", server.statistics());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_tcp_nids_does_not_start() {
    assert!(matches!(Lnet::start(Config::new(vec![])).await, Err(StartError::NoNid)));
    let o2ib = Lnet::start(Config::new(vec![nid("10.0.0.1@o2ib")])).await.err().unwrap();
    assert!(o2ib.to_string().starts_with("10.0.0.1@o2ib is not on a tcp network"));
    let _: &[WireNid] = server(&[MGS]).await.nids();
}
