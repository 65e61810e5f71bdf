//! A node that answers small requests with blocks of a config log, beside a bare epoll loop that moves the same bytes: server
//! CPU per request, and memory per idle connection. `cargo bench -p lnet --bench rpc`.
//!
//! Both servers are processes of their own with one worker thread; one client drives both, in turns.

use lnet::{Accept, Config, Lnet, Payload};
use lustre_wire::lnet::{
    AcceptorRequest, Body, ConnType, FrameHeader, Header, Hello, HelloVersion, NidForm, PID_LUSTRE, WireHandle, WireNid,
};
use mio::{Events, Interest, Poll, Token, net::TcpListener};
use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
};

/// Bytes of a request frame and of a reply frame: NEXT_BLOCK and its 8 KiB.
const REQUEST: usize = 464;
const REPLY: usize = 96 + 8472;
const ROUNDS: usize = 5;
const IDLE: usize = 3000;
/// Says which server this process is.
const SERVE: &str = "LNET_BENCH_SERVE";

fn main() {
    match std::env::var(SERVE).as_deref() {
        Ok("lnet") => serve_lnet(),
        Ok(_) => serve_epoll(),
        Err(_) => measure(),
    }
}

fn measure() {
    for conns in [1, 100, 1000] {
        let requests = if conns == 1 { 4000 } else { 40_000 };
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            bare.push(cpu_us("epoll", conns, requests));
            ours.push(cpu_us("lnet", conns, requests));
        }
        let (ours, bare) = (median(&mut ours), median(&mut bare));
        println!("{conns} connections: {ours:.1} us of server CPU per request, bare epoll {bare:.1} us");
        println!("RESULT name=lnet_block_{conns} ratio={:.2} goal=>=0.70", bare / ours);
    }
    let bytes = idle_bytes();
    println!("{bytes} bytes of user memory per idle connection");
    #[expect(clippy::cast_precision_loss, reason = "thousands")]
    let ratio = bytes as f64 / 2048.0;
    println!("RESULT name=lnet_idle_memory ratio={ratio:.2} goal=<=1.00");
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start(kind: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let mut process = command.env(SERVE, kind).stdout(Stdio::piped()).spawn().expect("this program again");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("it says where it listens");
        Self { process, address: line.trim().parse().expect("an address") }
    }

    /// Nanoseconds of CPU of all its threads.
    fn cpu_ns(&self) -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.process.id())).expect("it runs");
        let of_task = |path: std::path::PathBuf| {
            let text = std::fs::read_to_string(path.join("schedstat")).unwrap_or_default();
            text.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0)
        };
        tasks.filter_map(Result::ok).map(|task| of_task(task.path())).sum()
    }

    fn rss(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("every process has it");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn mgs() -> WireNid {
    WireNid::tcp([10, 9, 0, 1].into(), 0)
}

fn connect(address: SocketAddr, number: u32, with_handshake: bool) -> (TcpStream, WireNid) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_nodelay(true).expect("a TCP socket");
    let own = WireNid::tcp((0x0a0a_0000 + number).to_be_bytes().into(), 0);
    if with_handshake {
        let mut bytes = Vec::new();
        AcceptorRequest::Connect { nid: mgs() }.encode(&mut bytes);
        let (src_incarnation, dst_incarnation) = (1, 0);
        let (version, ctype, ips) = (HelloVersion::V3, ConnType::CONTROL, Vec::new());
        let (src_pid, dst_pid) = (PID_LUSTRE, 0);
        let (src_nid, dst_nid) = (own, mgs());
        Hello { version, src_nid, dst_nid, src_pid, dst_pid, src_incarnation, dst_incarnation, ctype, ips }
            .encode(&mut bytes);
        stream.write_all(&bytes).expect("the server reads");
        stream.read_exact(&mut [0; 56]).expect("the server answers");
    }
    (stream, own)
}

fn request(own: WireNid) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader::PLAIN.encode(&mut bytes);
    let body = Body::Put { ack_wmd: WireHandle::NONE, match_bits: 7, hdr_data: 0, portal: 26, offset: 0 };
    let payload_length = u32::try_from(REQUEST - 96).expect("small");
    Header { dest_nid: mgs(), src_nid: own, dest_pid: PID_LUSTRE, src_pid: PID_LUSTRE, payload_length, body }
        .encode(&mut bytes, NidForm::Classic);
    bytes.resize(REQUEST, 0);
    bytes
}

/// Server CPU per request, in microseconds, with one request under way on each connection.
fn cpu_us(kind: &str, conns: usize, requests: usize) -> f64 {
    let server = Server::start(kind);
    let mut all: Vec<(TcpStream, Vec<u8>)> = (0..u32::try_from(conns).expect("thousands"))
        .map(|number| {
            let (stream, own) = connect(server.address, number, kind == "lnet");
            (stream, request(own))
        })
        .collect();
    let mut reply = vec![0; REPLY];
    let mut round = || {
        for (stream, bytes) in &mut all {
            stream.write_all(bytes).expect("the server reads");
        }
        for (stream, _) in &mut all {
            stream.read_exact(&mut reply).expect("the server answers");
        }
    };
    round();
    let before = server.cpu_ns();
    let rounds = requests / conns;
    (0..rounds).for_each(|_| round());
    let spent = server.cpu_ns() - before;
    #[expect(clippy::cast_precision_loss, reason = "a measure")]
    let per_request = spent as f64 / (rounds * conns) as f64 / 1000.0;
    per_request
}

fn idle_bytes() -> u64 {
    let server = Server::start("lnet");
    let warm: Vec<_> = (0..100).map(|number| connect(server.address, number, true)).collect();
    let before = server.rss();
    let idle: Vec<_> = (0..u32::try_from(IDLE).expect("thousands"))
        .map(|number| connect(server.address, 1000 + number, true))
        .collect();
    let after = server.rss();
    drop((warm, idle));
    (after - before) / IDLE as u64
}

fn serve_lnet() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut config = Config::new(vec!["10.9.0.1@tcp".parse().expect("a NID")]);
        config.listen = vec!["127.0.0.1:0".parse().expect("an address")];
        config.accept = Accept::All;
        config.threads = 1;
        config.limits.connections_per_address = usize::MAX;
        let lnet = Lnet::start(config).await.expect("it starts");
        let block = bytes::Bytes::from(vec![7; 8192]);
        lnet.on_put(26, move |request, out| {
            let payload = Payload { own: vec![1; 8472 - 8192], shared: block.clone() };
            out.put(request.answer(25, request.match_bits, 224, payload));
        });
        println!("{}", lnet.addresses()[0]);
        std::future::pending::<()>().await;
    });
}

/// One read and one write for each request, and nothing else: mio is epoll with names.
fn serve_epoll() {
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address")).expect("loopback");
    println!("{}", listener.local_addr().expect("it is bound"));
    let mut poll = Poll::new().expect("epoll");
    poll.registry().register(&mut listener, Token(0), Interest::READABLE).expect("epoll");
    let mut streams: HashMap<Token, (mio::net::TcpStream, usize)> = HashMap::new();
    let mut events = Events::with_capacity(256);
    let (mut buffer, reply) = (vec![0; 64 << 10], vec![7; REPLY]);
    let mut next = 1;
    loop {
        if poll.poll(&mut events, None).is_err() {
            continue;
        }
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true).expect("a TCP socket");
                    poll.registry().register(&mut stream, Token(next), Interest::READABLE).expect("epoll");
                    streams.insert(Token(next), (stream, 0));
                    next += 1;
                }
                continue;
            }
            let Some((stream, have)) = streams.get_mut(&event.token()) else { continue };
            let read = stream.read(&mut buffer).unwrap_or(0);
            if read == 0 {
                streams.remove(&event.token());
                continue;
            }
            *have += read;
            while *have >= REQUEST {
                *have -= REQUEST;
                // One reply is under way at a time, and a socket's buffer takes it whole.
                stream.write_all(&reply).expect("the client reads");
            }
        }
    }
}
