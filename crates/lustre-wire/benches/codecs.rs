//! What reading and writing messages costs: `cargo bench -p lustre-wire`.
//!
//! Criterion's figures are for comparing versions. The ratios at the end are to what can't be saved: for an RPC, the same bytes
//! through a socket; for a config log, the same bytes copied. Each is measured in turns with its floor, and medians count.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Instant;

use criterion::{Criterion, Throughput};
use lustre_wire::bytes::Reader;
use lustre_wire::fixed::Fixed;
use lustre_wire::ldlm::{LockReply, LockRequest};
use lustre_wire::llog::LogFile;
use lustre_wire::lnet::{FrameHeader, Header, NidForm, PID_LUSTRE, WireHandle, WireNid};
use lustre_wire::mgs::{LOG_BLOCK_LEN, LlogBody, Registration};
use lustre_wire::ptlrpc::{Body, Message, MessageHeader, MessageWriter, Opcode};

/// Bytes in front of a payload.
const HEAD: usize = FrameHeader::LEN + 72;
/// Measures of each side, and what is done in one.
const TURNS: usize = 15;
const BATCH: u32 = 2000;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let block = framed(&recorded(include_str!("../testdata/mgs/llog-next-block-request.hex")));
    let lock = framed(&recorded(include_str!("../testdata/ldlm/enqueue-request.hex")));
    let registration = framed(&recorded(include_str!("../testdata/mgs/target-reg-request.hex")));
    let log = log();
    criterion.bench_function("log block, request and reply", |bench| bench.iter(|| block_rpc(black_box(&block))));
    criterion.bench_function("enqueue, request and reply", |bench| bench.iter(|| lock_rpc(black_box(&lock))));
    criterion.bench_function("registration, request", |bench| bench.iter(|| register(black_box(&registration))));
    let mut logs = criterion.benchmark_group("config log");
    logs.throughput(Throughput::Bytes(log.len() as u64));
    logs.bench_function("decode", |bench| bench.iter(|| LogFile::decode(black_box(&log))));
    let file = LogFile::decode(&log).expect("it was encoded here");
    logs.bench_function("encode", |bench| bench.iter(|| black_box(&file).encode()));
    logs.finish();
    criterion.final_summary();

    let block_reply = block_rpc(&block).len() + LOG_BLOCK_LEN;
    result("codec_block_rpc_vs_socket", || drop(block_rpc(&block)), socket(block.len(), block_reply), "<=0.10");
    let lock_reply = lock_rpc(&lock).len();
    result("codec_lock_rpc_vs_socket", || drop(lock_rpc(&lock)), socket(lock.len(), lock_reply), "<=0.15");
    result(
        "codec_registration_vs_socket",
        || drop(register(&registration)),
        socket(registration.len(), 4864),
        "<=0.10",
    );
    let copy = || drop(black_box(black_box(&log).clone()));
    result("codec_log_encode_vs_copy", || drop(file.encode()), copy, "<=10");
}

/// A request for a log block is read, and its reply written up to the block, which is not copied.
fn block_rpc(frame: &[u8]) -> Vec<u8> {
    let (header, message) = read(frame);
    let body = Body::decode(message.buffer(0).expect("a body")).expect("as recorded");
    let asked = LlogBody::decode(message.buffer(1).expect("a log body")).expect("as recorded");
    let mut reply = MessageWriter::new(&MessageHeader::default(), 3, Body::LEN + LlogBody::LEN);
    reply.put(|out| Body::reply(body.opc, 0).write(out));
    reply.put(|out| asked.write(out));
    write(&header, &reply.finish_with_tail(LOG_BLOCK_LEN), LOG_BLOCK_LEN)
}

fn lock_rpc(frame: &[u8]) -> Vec<u8> {
    let (header, message) = read(frame);
    let body = Body::decode(message.buffer(0).expect("a body")).expect("as recorded");
    let asked = LockRequest::decode(message.buffer(1).expect("a lock request")).expect("as recorded");
    let granted = LockReply { desc: asked.desc, handle: asked.handles[0], ..LockReply::default() };
    let mut reply = MessageWriter::new(&MessageHeader::default(), 2, Body::LEN + LockReply::LEN);
    reply.put(|out| Body::reply(body.opc, 0).write(out));
    reply.put(|out| granted.write(out));
    write(&header, &reply.finish(), 0)
}

fn register(frame: &[u8]) -> Registration {
    let (_, message) = read(frame);
    Registration::decode(&message, true).expect("as recorded")
}

fn read(frame: &[u8]) -> (Header, Message<'_>) {
    let mut fields = Reader::new("frame", frame);
    FrameHeader::decode(&mut fields).expect("a frame");
    let header = Header::decode(&mut fields, NidForm::Classic).expect("a header");
    (header, Message::decode(&frame[HEAD..]).expect("as recorded"))
}

/// A reply's frame, without the `shared` bytes behind it.
fn write(request: &Header, own: &[u8], shared: usize) -> Vec<u8> {
    let payload_length = u32::try_from(own.len() + shared).expect("replies are small");
    let mut frame = Vec::with_capacity(HEAD + own.len());
    FrameHeader::PLAIN.encode(&mut frame);
    let (dest_nid, src_nid) = (request.src_nid, request.dest_nid);
    Header { dest_nid, src_nid, payload_length, ..*request }.encode(&mut frame, NidForm::Classic);
    frame.extend_from_slice(own);
    frame
}

/// A message as it comes over the network.
fn framed(payload: &[u8]) -> Vec<u8> {
    let [dest_nid, src_nid] = [1, 2].map(|last| WireNid::tcp([10, 9, 0, last].into(), 0));
    let body = lustre_wire::lnet::Body::Put {
        ack_wmd: WireHandle::NONE,
        match_bits: 7,
        hdr_data: 0,
        portal: lustre_wire::ptlrpc::portal::of(Opcode::LLOG_NEXT_BLOCK),
        offset: 0,
    };
    let header = Header { dest_nid, src_nid, dest_pid: PID_LUSTRE, src_pid: PID_LUSTRE, payload_length: 0, body };
    write(&Header { dest_nid: src_nid, src_nid: dest_nid, ..header }, payload, 0)
}

/// A config log of 100 sections as a file system of 100 OSTs has.
fn log() -> Vec<u8> {
    let recorded =
        LogFile::decode(&recorded(include_str!("../testdata/llog/06-gold-client.hex"))).expect("as recorded");
    let mut log = LogFile::new(1);
    for _ in 0..100 {
        for record in &recorded.records {
            if let Some(Ok(cfg)) = record.config() {
                log.append(&cfg).expect("a log has room for thousands");
            }
        }
    }
    log.encode()
}

/// The floor of an RPC: so many bytes into a socket and out of it, and so many back.
fn socket(request: usize, reply: usize) -> impl FnMut() {
    let (mut left, mut right) = UnixStream::pair().expect("sockets are to be had");
    let mut buffer = vec![0; request.max(reply)];
    move || {
        left.write_all(&buffer[..request]).expect("it is read below");
        right.read_exact(&mut buffer[..request]).expect("it was written");
        right.write_all(&buffer[..reply]).expect("it is read below");
        left.read_exact(&mut buffer[..reply]).expect("it was written");
    }
}

fn result(name: &str, mut ours: impl FnMut(), mut floor: impl FnMut(), goal: &str) {
    let mut ns = [Vec::new(), Vec::new()];
    for _ in 0..TURNS {
        ns[0].push(timed(&mut ours));
        ns[1].push(timed(&mut floor));
    }
    let [ours, floor] = ns.map(|mut ns| {
        ns.sort_unstable_by(f64::total_cmp);
        ns[ns.len() / 2]
    });
    println!("{name}: {ours:.0} ns, floor {floor:.0} ns");
    println!("RESULT name={name} ratio={:.3} goal={goal}", ours / floor);
}

/// Nanoseconds of one.
fn timed(what: &mut impl FnMut()) -> f64 {
    let began = Instant::now();
    (0..BATCH).for_each(|_| what());
    began.elapsed().as_secs_f64() * 1e9 / f64::from(BATCH)
}

/// A recording's bytes: lines of origin, which say how many, then `offset: hex`.
fn recorded(text: &str) -> Vec<u8> {
    let (origin, ranges): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with('#'));
    let words: Vec<&str> = origin.iter().flat_map(|line| line.split(' ')).collect();
    let len = words.windows(2).find(|pair| pair[1].starts_with("bytes")).expect("the origin says how many");
    let mut bytes = vec![0; len[0].parse().expect("a number")];
    for line in ranges {
        let (offset, hex) = line.split_once(": ").expect("offset: hex");
        let offset = usize::from_str_radix(offset, 16).expect("hex");
        for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
            let pair = std::str::from_utf8(pair).expect("hex");
            bytes[offset + at] = u8::from_str_radix(pair, 16).expect("hex");
        }
    }
    bytes
}
