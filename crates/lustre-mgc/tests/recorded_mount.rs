//! The MGS's half of a recorded client mount, played to our client: it asks as the kernel asked, byte for byte where the
//! protocol leaves no choice, and understands the answers.
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use lnet::{Accept, Lnet};
use lustre_mgc::{Config, Mgc, Node};
use lustre_wire::{
    fixed::Fixed,
    ldlm::{ResourceId, ResourceKind},
    ptlrpc::{Body, ConnectData, Message, Opcode, connect_flag},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A recorded message.
struct Line {
    is_request: bool,
    portal: u32,
    offset: u32,
    bytes: Vec<u8>,
}

fn recording() -> VecDeque<Line> {
    let line = |line: &str| {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap();
        let is_request = word() == ">";
        let (portal, offset, len) = (word().parse().unwrap(), word().parse().unwrap(), word().parse().unwrap());
        let mut bytes = vec![0; len];
        for range in words {
            let (at, hex) = range.split_once(':').unwrap();
            let at = usize::from_str_radix(at, 16).unwrap();
            for (n, pair) in hex.as_bytes().chunks(2).enumerate() {
                bytes[at + n] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
        }
        Line { is_request, portal, offset, bytes }
    };
    include_str!("../testdata/mount.txt").lines().filter(|text| !text.starts_with('#')).map(line).collect()
}

fn buffers(message: &Message<'_>) -> Vec<Vec<u8>> {
    message.buffers().skip(1).map(<[u8]>::to_vec).collect()
}

fn body(message: &Message<'_>) -> Body {
    Body::decode(message.buffer(0).unwrap()).unwrap()
}

/// Buffers without what differs from client to client: uuid and handle at connect, the handle of a lock, and a first read
/// that a kernel makes twice.
fn comparable(opc: Opcode, mut buffers: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    match opc {
        Opcode::MGS_CONNECT => {
            buffers[1].fill(0);
            buffers[2].fill(0);
            // The version that the client claims.
            buffers[3][8..12].fill(0);
        }
        Opcode::LDLM_ENQUEUE => buffers[0][88..96].fill(0),
        _ => {}
    }
    buffers
}

/// The recorded MGS; a request that isn't the next recorded one is a note in `wrong`.
async fn recorded_mgs(wrong: Arc<Mutex<Vec<String>>>) -> Lnet {
    let mut config = lnet::Config::new(vec!["10.9.0.1@tcp".parse().unwrap()]);
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.accept = Accept::All;
    let lnet = Lnet::start(config).await.unwrap();
    let script = Mutex::new(recording());
    lnet.on_put(26, move |request, out| {
        let mut script = script.lock().unwrap();
        let asked = Message::decode(request.payload).unwrap();
        let asked_body = body(&asked);
        // Our client doesn't read the last block a second time, as kernels do.
        while let Some(line) = script.front() {
            let is_reread = {
                let recorded = Message::decode(&line.bytes).ok().filter(|_| line.is_request);
                recorded.is_some_and(|recorded| {
                    body(&recorded).opc == Opcode::LLOG_NEXT_BLOCK && asked_body.opc != Opcode::LLOG_NEXT_BLOCK
                })
            };
            if !is_reread {
                break;
            }
            script.pop_front();
            while script.front().is_some_and(|line| !line.is_request) {
                script.pop_front();
            }
        }
        let Some(line) = script.pop_front() else {
            wrong.lock().unwrap().push(format!("{} after the end of the recording", asked_body.opc));
            return;
        };
        let recorded = Message::decode(&line.bytes).unwrap();
        let recorded_body = body(&recorded);
        let same_opc = asked_body.opc == recorded_body.opc && asked_body.version == recorded_body.version;
        let ours = comparable(asked_body.opc, buffers(&asked));
        let theirs = comparable(recorded_body.opc, buffers(&recorded));
        let head = (asked.header.repsize, asked.header.flags, asked.header.secflvr);
        let recorded_head = (recorded.header.repsize, recorded.header.flags, recorded.header.secflvr);
        let state = (asked_body.conn_cnt, asked_body.op_flags, asked_body.flags, asked_body.mbits != 0);
        let recorded_state = (1, recorded_body.op_flags, asked_body.flags, recorded_body.mbits != 0);
        if !same_opc || ours != theirs || head != recorded_head || state != recorded_state {
            wrong.lock().unwrap().push(format!(
                "asked {asked_body:?} {head:?} {ours:02x?}\nrecorded {recorded_body:?} {recorded_head:?} {theirs:02x?}"
            ));
        }
        while script.front().is_some_and(|line| !line.is_request) {
            let answer = script.pop_front().unwrap();
            out.put(request.answer(answer.portal, request.match_bits, answer.offset, answer.bytes));
        }
    });
    lnet
}

async fn client(server: &Lnet) -> Mgc {
    let nid = "10.9.0.1@tcp".parse().unwrap();
    let lnet = Lnet::start(lnet::Config::new(vec!["10.9.0.3@tcp".parse().unwrap()])).await.unwrap();
    lnet.set_address(&nid, server.addresses()[0]);
    let mut config = Config::new(vec![nid]);
    // All that the recorded client asked for.
    config.asks.flags |= connect_flag::BARRIER | connect_flag::LVB_TYPE;
    config.request = Duration::from_secs(10);
    Node::new(lnet).connect(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mount_asks_and_understands_as_the_recorded_kernel_did() {
    let wrong = Arc::new(Mutex::new(Vec::new()));
    let server = recorded_mgs(Arc::clone(&wrong)).await;
    let mgc = client(&server).await;
    assert!(mgc.granted().has(connect_flag::AT | connect_flag::MGS_NIDLIST));
    assert_eq!(mgc.granted(), ConnectData { version: 0x0211_393e, ..mgc.granted() });
    let config = ResourceId::new("gold", ResourceKind::Config).unwrap();
    let _sptlrpc = mgc.lock(config).await.unwrap();
    assert_eq!(mgc.log("gold-sptlrpc").await.unwrap(), None);
    let _config = mgc.lock(config).await.unwrap();
    let log = mgc.log("gold-client").await.unwrap().unwrap();
    assert_eq!(log.records.last().unwrap().index, log.header.last_index);
    let printed = lustre_wire::llog::print(&log);
    assert!(printed.contains("gold-OST0001_UUID"), "{printed}");
    let _recover = mgc.lock(ResourceId::new("gold", ResourceKind::Recover).unwrap()).await.unwrap();
    let (table, version) = mgc.nid_table(&"gold".parse().unwrap(), 1).await.unwrap().unwrap();
    assert_eq!((table.len(), version), (3, 5));
    let _params = mgc.lock(ResourceId::new("params", ResourceKind::Params).unwrap()).await.unwrap();
    assert_eq!(mgc.log("params").await.unwrap().unwrap().records, []);
    assert_eq!(*wrong.lock().unwrap(), Vec::<String>::new());
}
