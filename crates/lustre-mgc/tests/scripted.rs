//! MGSs that behave as a real one seldom does.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use lnet::{Accept, Incoming, Lnet, Outbox};
use lustre_mgc::{Config, Mgc, MgcError, Node};
use lustre_wire::{
    fixed::Fixed,
    llog::LogHeader,
    mgs::LlogBody,
    ptlrpc::{
        Body, ConnectData, Message, MessageHeader, Opcode, connect_flag, decode_connect, early_reply, encode_message,
        portal,
    },
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

const MGS: &str = "10.9.0.1@tcp";

/// A request as an MGS sees it.
struct Asked<'a> {
    put: &'a Incoming<'a>,
    opc: Opcode,
    flags: u32,
    mbits: u64,
}

impl Asked<'_> {
    fn reply(&self, status: i32, buffers: &[&[u8]]) -> lnet::Put {
        let body = Body { handle: 77, ..Body::reply(self.opc, status) }.encode();
        let all: Vec<&[u8]> = std::iter::once(&body[..]).chain(buffers.iter().copied()).collect();
        let bytes = encode_message(&MessageHeader::default(), &all);
        let bits = if self.mbits == 0 { self.put.match_bits } else { self.mbits };
        self.put.answer(portal::MGC_REPLY, bits, lustre_wire::ptlrpc::reply_offset(self.flags), bytes)
    }
}

/// An MGS that grants what is asked for and `more`, and answers everything else as `answer` says.
async fn mgs(more: u64, answer: impl Fn(&Asked<'_>, &mut Outbox<'_>) + Send + Sync + 'static) -> Lnet {
    let mut config = lnet::Config::new(vec![MGS.parse().unwrap()]);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.accept = Accept::All;
    let lnet = Lnet::start(config).await.unwrap();
    lnet.on_put(portal::MGS_REQUEST, move |put, out| {
        let message = Message::decode(put.payload).unwrap();
        let body = Body::decode(message.buffer(0).unwrap()).unwrap();
        let asked = Asked { put, opc: body.opc, flags: message.header.flags, mbits: body.mbits };
        if body.opc == Opcode::MGS_CONNECT {
            let data = decode_connect(&message).unwrap().data;
            let granted = ConnectData { flags: data.flags | more, ..data };
            out.put(asked.reply(0, &[&granted.encode()]));
        } else {
            answer(&asked, out);
        }
    });
    lnet
}

async fn client(mgs: &Lnet) -> Result<Mgc, MgcError> {
    let lnet = Lnet::start(lnet::Config::new(vec!["10.9.0.3@tcp".parse().unwrap()])).await.unwrap();
    lnet.set_address(&MGS.parse().unwrap(), mgs.addresses()[0]);
    let mut config = Config::new(vec![MGS.parse().unwrap()]);
    config.attempt = Duration::from_secs(1);
    config.request = Duration::from_secs(10);
    config.ping_interval = Duration::from_secs(100);
    Node::new(lnet).connect(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_reply_gives_patience_and_the_request_is_sent_once() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let later: Arc<std::sync::OnceLock<Lnet>> = Arc::default();
    let lnet = Arc::clone(&later);
    let server = mgs(0, move |asked, out| {
        count.fetch_add(1, Ordering::SeqCst);
        out.put(lnet::Put { offset: 0, payload: early_reply(asked.opc, 5).into(), ..asked.reply(0, &[]) });
        let (reply, lnet) = (asked.reply(0, &[]), lnet.get().unwrap().clone());
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(2500)).await;
            lnet.send(reply);
        });
    })
    .await;
    later.set(server.clone()).ok().unwrap();
    let mgc = client(&server).await.unwrap();
    let start = Instant::now();
    mgc.ping().await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(2));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_mgs_is_asked_again_and_a_refusal_is_an_error_with_its_reason() {
    let asked = AtomicUsize::new(0);
    let server = mgs(0, move |request, out| {
        let status = if asked.fetch_add(1, Ordering::SeqCst) == 0 { -115 } else { 0 };
        let status = if request.opc == Opcode::LLOG_OPEN { -13 } else { status };
        out.put(request.reply(status, &[]));
    })
    .await;
    let mgc = client(&server).await.unwrap();
    mgc.ping().await.unwrap();
    let error = mgc.log("scratch-client").await.unwrap_err().to_string();
    assert_eq!(error, format!("the MGS {MGS} refuses to open log scratch-client: Permission denied (os error 13)"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_was_not_asked_for_ends_the_connect() {
    let server = mgs(connect_flag::PINGLESS, |_, _| {}).await;
    assert!(matches!(client(&server).await, Err(MgcError::ConnectRefused { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_blocks_do_not_hold_what_its_header_says_is_damaged_not_shorter() {
    let server = mgs(0, |request, out| {
        let body = LlogBody { log_id: [3, 10], ..LlogBody::default() }.encode();
        match request.opc {
            Opcode::LLOG_OPEN => out.put(request.reply(0, &[&body])),
            Opcode::LLOG_READ_HEADER => {
                let mut header = LogHeader::new(1);
                header.bitmap.set(1, true);
                (header.count, header.last_index) = (2, 1);
                out.put(request.reply(0, &[&header.encode()]));
            }
            _ => out.put(request.reply(0, &[&body, &[0; 8192]])),
        }
    })
    .await;
    let mgc = client(&server).await.unwrap();
    let error = mgc.log("scratch-client").await.unwrap_err();
    assert!(matches!(&error, MgcError::BadLog { log, .. } if log == "scratch-client"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mgs_that_is_nowhere_is_named_with_all_its_nids() {
    let lnet = Lnet::start(lnet::Config::new(vec!["127.0.0.1@tcp".parse().unwrap()])).await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mgs: Vec<_> = ["127.0.0.2@tcp", "127.0.0.3@tcp"].map(|nid| nid.parse().unwrap()).into();
    for nid in &mgs {
        lnet.set_address(nid, closed);
    }
    let mut config = Config::new(mgs);
    config.request = Duration::from_secs(1);
    let error = Node::new(lnet).connect(config).await.err().unwrap();
    assert_eq!(error.to_string(), "no MGS answers at 127.0.0.2@tcp:127.0.0.3@tcp");
}
