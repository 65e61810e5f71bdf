//! Peers that are broken or worse lose their connection, with the reason counted and logged; the others notice nothing.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test ends where something is wrong")]

mod support;

use lnet::{Accept, Lnet};
use lustre_wire::lnet::{Body, ConnType, FrameHeader, MAX_PAYLOAD, WireHandle, WireNid, checksum};
use std::{
    io::{Read, Write},
    time::{Duration, Instant},
};
use support::{PATIENCE, RawConn, client, connect, frame, hello, listening, nid, ping, put, request, server, wire};

const MGS: &str = "10.9.0.1@tcp";
const PEER: &str = "10.9.0.3@tcp";

/// Runs a test's blocking part beside the node.
async fn beside<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.unwrap()
}

async fn refusals_reach(lnet: &Lnet, count: u64) {
    let deadline = Instant::now() + PATIENCE;
    while lnet.statistics().refusals < count {
        assert!(Instant::now() < deadline, "{:?}", lnet.statistics());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(lnet.statistics().refusals, count);
}

async fn connections_fall_to(lnet: &Lnet, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    while lnet.statistics().connections > count {
        assert!(Instant::now() < deadline, "{:?}", lnet.statistics());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// True if the node ends a connection that sends these bytes.
fn is_cut_off(lnet: &Lnet, bytes: &[u8]) -> bool {
    let mut stream = connect(lnet.addresses()[0]);
    // The node may close before it has read all.
    let _ = stream.write_all(bytes);
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok() || rest.len() < 100
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_handshake_are_refused_and_good_peers_go_on() {
    let lnet = server(&[MGS]).await;
    let good = client(PEER, &lnet).await;
    good.ping(&nid(MGS), PATIENCE).await.unwrap();
    let node = lnet.clone();
    beside(move || {
        let mgs = wire(MGS);
        let mut other_version = [request(mgs), hello(wire(PEER), mgs, ConnType::CONTROL, 1)].concat();
        other_version[16 + 4] = 9;
        let no_type = [request(mgs), hello(wire(PEER), mgs, ConnType(7), 1)].concat();
        let no_nid = [request(mgs), hello(WireNid::ANY, mgs, ConnType::CONTROL, 1)].concat();
        let cases: [&[u8]; 9] = [
            b"GET / HTTP/1.1\r\nHost: 10.9.0.1\r\n\r\n",
            &0xacce_7100u32.to_be_bytes(),
            &[&0xacce_7100u32.to_le_bytes()[..], &[9, 0, 0, 0]].concat(),
            &request(wire("10.9.0.77@tcp")),
            &[request(mgs), b"what".to_vec()].concat(),
            &[request(mgs), 0x4572_6963u32.to_be_bytes().to_vec()].concat(),
            &other_version,
            &no_type,
            &no_nid,
        ];
        for case in cases {
            assert!(is_cut_off(&node, case), "{case:02x?}");
        }
    })
    .await;
    refusals_reach(&lnet, 9).await;
    // Those of the good peer.
    connections_fall_to(&lnet, 3).await;
    good.ping(&nid(MGS), PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_cut_anywhere_is_over_and_leaves_nothing() {
    let lnet = server(&[MGS]).await;
    let whole = [request(wire(MGS)), hello(wire(PEER), wire(MGS), ConnType::CONTROL, 1)].concat();
    let node = lnet.clone();
    let len = whole.len();
    beside(move || {
        for cut in 0..len {
            let mut stream = connect(node.addresses()[0]);
            stream.write_all(&whole[..cut]).unwrap();
        }
    })
    .await;
    refusals_reach(&lnet, len as u64).await;
    connections_fall_to(&lnet, 0).await;
    assert_eq!(lnet.statistics().peers, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handshake_of_one_byte_a_second_ends_with_its_budget() {
    let mut config = listening(&[MGS]);
    config.limits.handshake = Duration::from_millis(500);
    let lnet = Lnet::start(config).await.unwrap();
    let address = lnet.addresses()[0];
    let took = beside(move || {
        let whole = [request(wire(MGS)), hello(wire(PEER), wire(MGS), ConnType::CONTROL, 1)].concat();
        let mut stream = connect(address);
        let start = Instant::now();
        for byte in whole {
            if stream.write_all(&[byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        start.elapsed()
    })
    .await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    refusals_reach(&lnet, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_of_one_byte_a_second_ends_with_its_budget() {
    let mut config = listening(&[MGS]);
    config.limits.frame = Duration::from_millis(500);
    let lnet = Lnet::start(config).await.unwrap();
    let node = lnet.clone();
    beside(move || {
        let (mut conn, _) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
        let bytes = frame(FrameHeader::PLAIN, &conn.header(ping(), &[]), &[]);
        let start = Instant::now();
        for byte in &bytes {
            if conn.stream.write_all(&[*byte]).is_err() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(start.elapsed() < Duration::from_secs(4), "it was let finish");
        assert!(conn.is_closed());
    })
    .await;
    refusals_reach(&lnet, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_a_kernel_would_close_the_connection_for_close_it() {
    let lnet = server(&[MGS]).await;
    lnet.on_put(26, |_, _| {});
    let node = lnet.clone();
    beside(move || {
        let good = |conn: &RawConn| frame(FrameHeader::PLAIN, &conn.header(ping(), &[]), &[]);
        type Spoil = fn(Vec<u8>) -> Vec<u8>;
        let cases: [(&str, Spoil); 6] = [
            ("frame type", |mut bytes| {
                bytes[0] = 0xc2;
                bytes
            }),
            ("message type", |mut bytes| {
                bytes[24 + 24] = 4;
                bytes
            }),
            ("payload of a GET", |mut bytes| {
                bytes[24 + 28] = 1;
                bytes
            }),
            ("payload beyond 1 MiB", |mut bytes| {
                bytes[24 + 24] = 1;
                bytes[24 + 28..24 + 32].copy_from_slice(&(MAX_PAYLOAD + 1).to_le_bytes());
                bytes
            }),
            ("NID of somebody else", |mut bytes| {
                bytes[24] = 77;
                bytes
            }),
            ("checksum", |mut bytes| {
                bytes[4] = 1;
                bytes
            }),
        ];
        for (what, spoil) in cases {
            let (mut conn, _) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
            let bytes = spoil(good(&conn));
            conn.stream.write_all(&bytes).unwrap();
            assert!(conn.is_closed(), "{what}");
        }
    })
    .await;
    refusals_reach(&lnet, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_checksum_is_taken() {
    let lnet = server(&[MGS]).await;
    beside(move || {
        let (mut conn, _) = RawConn::open(&lnet, PEER, ConnType::CONTROL, 1);
        let plain = frame(FrameHeader::PLAIN, &conn.header(ping(), &[]), &[]);
        let csum = checksum(&[&plain]);
        let bytes = frame(FrameHeader { csum, ..FrameHeader::PLAIN }, &conn.header(ping(), &[]), &[]);
        conn.stream.write_all(&bytes).unwrap();
        assert!(conn.receive().unwrap().1.is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_matches_nothing_is_dropped_and_closes_nothing() {
    let lnet = server(&[MGS]).await;
    let node = lnet.clone();
    beside(move || {
        let (mut conn, _) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
        let handle = WireHandle { interface_cookie: 1, object_cookie: 2 };
        conn.send(put(12, 5), b"to an MDS");
        conn.send(put(u32::MAX, 5), b"to no portal");
        conn.send(Body::Get { return_wmd: handle, match_bits: 1, portal: 33, src_offset: 0, sink_length: 4096 }, &[]);
        conn.send(Body::Ack { dst_wmd: handle, match_bits: 1, mlength: 4 }, &[]);
        conn.send(Body::Reply { dst_wmd: handle }, b"for nobody");
        let mut noops = Vec::new();
        FrameHeader::KEEPALIVE.encode(&mut noops);
        FrameHeader { zc_request: 3, ..FrameHeader::acknowledge(9) }.encode(&mut noops);
        conn.stream.write_all(&noops).unwrap();
        conn.send(ping(), &[]);
        let (_, answer) = conn.receive().unwrap();
        assert!(matches!(answer.unwrap().0.body, Body::Reply { .. }), "the ping is the only thing answered");
    })
    .await;
    assert_eq!(lnet.statistics().refusals, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_zero_copy_cookie_comes_back_once_after_the_payload() {
    let lnet = server(&[MGS]).await;
    beside(move || {
        let (mut conn, _) = RawConn::open(&lnet, PEER, ConnType::CONTROL, 1);
        let payload = vec![5; 200_000];
        for cookie in 2..5 {
            let header = conn.header(put(33, 1), &payload);
            let bytes = frame(FrameHeader { zc_request: cookie, ..FrameHeader::PLAIN }, &header, &payload);
            conn.stream.write_all(&bytes).unwrap();
        }
        conn.send(ping(), &[]);
        let mut acknowledged = Vec::new();
        while let (noop, None) = conn.receive().unwrap() {
            acknowledged.push((noop.zc_request, noop.zc_ack));
        }
        assert_eq!(acknowledged, [(0, 2), (0, 3), (0, 4)]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_come_on_any_connection_and_short_answers_go_back_the_same_way() {
    let lnet = server(&[MGS]).await;
    lnet.on_put(26, |request, out| {
        let len = usize::from(request.payload[0]) * 100;
        out.put(request.answer(25, request.match_bits, 0, vec![9; len]));
    });
    beside(move || {
        let (mut control, answer) = RawConn::open(&lnet, PEER, ConnType::CONTROL, 1);
        assert_eq!(answer.ctype, ConnType::CONTROL);
        let (mut bulk_in, answer) = RawConn::open(&lnet, PEER, ConnType::BULK_IN, 1);
        assert_eq!(answer.ctype, ConnType::BULK_OUT);
        let (mut bulk_out, answer) = RawConn::open(&lnet, PEER, ConnType::BULK_OUT, 1);
        assert_eq!(answer.ctype, ConnType::BULK_IN);
        // Sent out of their order, over three connections: each gets its reply.
        bulk_in.send(put(26, 3), &[1]);
        bulk_out.send(put(26, 2), &[200]);
        control.send(put(26, 1), &[2]);
        let bits = |conn: &mut RawConn| {
            let (header, payload) = conn.receive().unwrap().1.unwrap();
            let Body::Put { match_bits, portal: 25, .. } = header.body else { panic!("{header:?}") };
            (match_bits, payload.len())
        };
        assert_eq!(bits(&mut control), (1, 200));
        // What is long travels on the connection for it, behind what is on its way there.
        let mut both = [bits(&mut bulk_in), bits(&mut bulk_in)];
        both.sort_unstable();
        assert_eq!(both, [(2, 20_000), (3, 100)]);
        // With the bulk connections gone, CONTROL carries all.
        drop((bulk_in, bulk_out));
        let deadline = Instant::now() + PATIENCE;
        while lnet.statistics().connections > 1 {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
        control.send(put(26, 4), &[200]);
        assert_eq!(bits(&mut control), (4, 20_000));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_incarnation_ends_the_connections_of_the_old_one() {
    let lnet = server(&[MGS]).await;
    beside(move || {
        let (mut old, _) = RawConn::open(&lnet, PEER, ConnType::CONTROL, 1);
        let (mut same, _) = RawConn::open(&lnet, PEER, ConnType::BULK_IN, 1);
        let (mut other, _) = RawConn::open(&lnet, "10.9.0.4@tcp", ConnType::CONTROL, 1);
        let (mut new, answer) = RawConn::open(&lnet, PEER, ConnType::CONTROL, 2);
        assert_eq!(answer.ctype, ConnType::CONTROL);
        assert!(old.is_closed() && same.is_closed());
        for alive in [&mut new, &mut other] {
            alive.send(ping(), &[]);
            assert!(alive.receive().is_some());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limits_are_refused() {
    let mut config = listening(&[MGS]);
    config.limits.connections_per_peer = 3;
    config.limits.connections = 5;
    let lnet = Lnet::start(config).await.unwrap();
    let node = lnet.clone();
    let kept = beside(move || {
        let mut kept = Vec::new();
        for _ in 0..3 {
            let (conn, answer) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
            assert_eq!(answer.ctype, ConnType::CONTROL);
            kept.push(conn);
        }
        let (mut conn, answer) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
        assert_eq!(answer.ctype, ConnType::NONE);
        assert!(conn.is_closed());
        drop(conn);
        // It is closed a moment before it counts no more.
        let deadline = Instant::now() + PATIENCE;
        while node.statistics().connections > 3 {
            assert!(Instant::now() < deadline, "{:?}", node.statistics());
            std::thread::sleep(Duration::from_millis(5));
        }
        for last in 4..6 {
            kept.push(RawConn::open(&node, &format!("10.9.0.{last}@tcp"), ConnType::CONTROL, 1).0);
        }
        assert!(is_cut_off(&node, &request(wire(MGS))));
        // One of each peer: an answer goes over the first connection of its type.
        for conn in [0, 3, 4] {
            let conn: &mut RawConn = &mut kept[conn];
            conn.send(ping(), &[]);
            assert!(conn.receive().is_some());
        }
        kept
    })
    .await;
    refusals_reach(&lnet, 2).await;
    drop(kept);
    connections_fall_to(&lnet, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_that_plays_many_nodes_leaves_connections_for_others() {
    let mut config = listening(&[MGS]);
    config.limits.connections_per_address = 4;
    let lnet = Lnet::start(config).await.unwrap();
    let node = lnet.clone();
    let kept = beside(move || {
        let open = |last: usize| RawConn::open(&node, &format!("10.9.0.{last}@tcp"), ConnType::CONTROL, 1).0;
        let mut kept: Vec<RawConn> = (4..8).map(open).collect();
        assert!(is_cut_off(&node, &request(wire(MGS))));
        // From elsewhere there is room, and where one is given up.
        let elsewhere = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        elsewhere.bind(&"127.0.0.9:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        elsewhere.connect(&node.addresses()[0].into()).unwrap();
        kept.push(RawConn::over(elsewhere.into(), &node, "10.9.0.9@tcp", ConnType::CONTROL, 1).0);
        for conn in &mut kept {
            conn.send(ping(), &[]);
            assert!(conn.receive().is_some());
        }
        kept
    })
    .await;
    refusals_reach(&lnet, 1).await;
    drop(kept);
    connections_fall_to(&lnet, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_threads_of_its_own_serves_ends_and_leaves_none() {
    let mut config = listening(&[MGS]);
    config.threads = 2;
    let lnet = Lnet::start(config).await.unwrap();
    lnet.on_put(26, |request, out| {
        let thread = std::thread::current().name().unwrap_or_default().to_owned();
        out.put(request.answer(25, request.match_bits, 0, thread.into_bytes()));
    });
    let node = lnet.clone();
    let threads = beside(move || {
        let answer = |last: usize| {
            let (mut conn, _) = RawConn::open(&node, &format!("10.9.0.{last}@tcp"), ConnType::CONTROL, 1);
            conn.send(put(26, 1), &[1]);
            String::from_utf8(conn.receive().unwrap().1.unwrap().1).unwrap()
        };
        (4..8).map(answer).collect::<std::collections::BTreeSet<String>>()
    })
    .await;
    assert_eq!(threads.into_iter().collect::<Vec<_>>(), ["lnet-0", "lnet-1"]);
    connections_fall_to(&lnet, 0).await;
    lnet.shutdown();
    drop(lnet);
    let deadline = Instant::now() + PATIENCE;
    let named = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok().filter(|name| name.starts_with("lnet-"))
    };
    while std::fs::read_dir("/proc/self/task").unwrap().filter_map(named).count() > 0 {
        assert!(Instant::now() < deadline, "its threads go on");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unprivileged_ports_are_refused_unless_all_are_accepted() {
    let mut config = listening(&[MGS]);
    config.accept = Accept::Secure;
    let lnet = Lnet::start(config).await.unwrap();
    let node = lnet.clone();
    // A plain connect has a port of the ephemeral range.
    assert!(beside(move || is_cut_off(&node, &request(wire(MGS)))).await);
    refusals_reach(&lnet, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_is_read_no_further_and_then_cut_off_while_others_are_served() {
    let mut config = listening(&[MGS]);
    config.limits.send = Duration::from_secs(2);
    let lnet = Lnet::start(config).await.unwrap();
    lnet.on_put(26, |request, out| out.put(request.answer(25, request.match_bits, 0, vec![9; 100_000])));
    let good = client("10.9.0.4@tcp", &lnet).await;
    good.ping(&nid(MGS), PATIENCE).await.unwrap();
    let node = lnet.clone();
    let greedy = tokio::task::spawn_blocking(move || {
        let (mut conn, _) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
        conn.stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let bytes = frame(FrameHeader::PLAIN, &conn.header(put(26, 1), b"x"), b"x");
        // Far more answers than sockets hold; it never reads one.
        let mut sent = 0u64;
        while conn.stream.write_all(&bytes).is_ok() {
            sent += 1;
        }
        sent
    });
    let mut pings = 0;
    while !greedy.is_finished() {
        let start = Instant::now();
        good.ping(&nid(MGS), PATIENCE).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(1), "a good peer waited {:?}", start.elapsed());
        pings += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(pings > 10);
    refusals_reach(&lnet, 1).await;
    // What it may fill: the high-water mark, the answers to one read, and the buffers of the sockets.
    let answered = lnet.statistics().bytes_out;
    assert!(answered < 20 << 20, "{answered} bytes were made for a peer that reads nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_brings_many_nodes_over_one_connection_and_each_gets_its_own_answer() {
    let lnet = server(&[MGS]).await;
    lnet.on_put(26, |request, out| out.put(request.answer(25, request.match_bits, 0, b"reply".to_vec())));
    let node = lnet.clone();
    let mut router = beside(move || {
        let (mut router, _) = RawConn::open(&node, "10.9.0.99@tcp", ConnType::CONTROL, 1);
        for last in 0..100 {
            let mut header = router.header(put(26, last), b"x");
            header.src_nid = wire(&format!("10.1.0.{last}@o2ib"));
            let bytes = frame(FrameHeader::PLAIN, &header, b"x");
            router.stream.write_all(&bytes).unwrap();
        }
        for last in 0..100 {
            let (header, _) = router.receive().unwrap().1.unwrap();
            assert_eq!(header.dest_nid, wire(&format!("10.1.0.{last}@o2ib")));
        }
        router
    })
    .await;
    assert_eq!(lnet.statistics().routed_nids, 100);
    // What the server begins goes over the router too.
    let to = lnet::ProcessId::lustre(wire("10.1.0.7@o2ib"));
    let from = lnet.nid_towards(&to.nid).unwrap();
    lnet.send(lnet::Put { to, from, portal: 15, match_bits: 1, hdr_data: 0, offset: 0, payload: vec![1].into() });
    beside(move || {
        let (header, _) = router.receive().unwrap().1.unwrap();
        assert_eq!((header.dest_nid, header.src_nid), (wire("10.1.0.7@o2ib"), wire(MGS)));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_peer_gets_keepalives_and_is_dropped_in_the_end() {
    let mut config = listening(&[MGS]);
    config.limits.keepalive = Duration::from_secs(1);
    config.limits.idle = Duration::from_secs(4);
    let lnet = Lnet::start(config).await.unwrap();
    let node = lnet.clone();
    beside(move || {
        let (mut control, _) = RawConn::open(&node, PEER, ConnType::CONTROL, 1);
        // Their BULK_OUT is our BULK_IN, where keepalives go.
        let (mut bulk, _) = RawConn::open(&node, PEER, ConnType::BULK_OUT, 1);
        assert_eq!(bulk.receive().unwrap(), (FrameHeader::KEEPALIVE, None));
        while let Some((frame, message)) = bulk.receive() {
            assert_eq!((frame, message), (FrameHeader::KEEPALIVE, None));
        }
        assert!(control.is_closed());
    })
    .await;
}
