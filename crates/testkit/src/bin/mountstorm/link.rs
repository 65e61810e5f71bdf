//! A connection set to the MGS and the clients behind it: one, or many behind a router.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::future::poll_fn;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context as Task, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lustre_wire::bytes::Reader;
use lustre_wire::lnet::{
    AcceptorRequest, Body, ConnType, FrameHeader, Header, Hello, HelloVersion, NidForm, PID_LUSTRE, WireNid,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Client, Goal, Send};

thread_local! {
    /// What all links read into: one that has nothing half read needs no memory.
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 << 10]);
}

/// How long an MGS may take to be back, and the pause between two looks.
const PATIENCE: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(20);

/// Bytes in front of a payload.
const HEAD: usize = FrameHeader::LEN + 72;

/// Three connections, as a kernel opens them, and who speaks over them.
pub(crate) struct Link {
    nid: String,
    mgs: WireNid,
    control: TcpStream,
    bulk_in: TcpStream,
    /// Never written to: small requests go over the first one. Kept open, as a kernel does.
    _bulk_out: TcpStream,
    clients: HashMap<WireNid, Client>,
    /// Clients that wait before they go on, and until when.
    waiting: BinaryHeap<Reverse<(Instant, WireNid)>>,
    received: [Vec<u8>; 2],
    /// Clients that are not yet where they are driven to.
    left: usize,
    /// Sent and received, headers included.
    pub(crate) bytes: usize,
}

impl Link {
    pub(crate) async fn connect(address: SocketAddr, nid: &str) -> anyhow::Result<Self> {
        let own = wire_nid(nid)?;
        let mgs = wire_nid("127.0.0.1@tcp")?;
        let mut streams = Vec::new();
        for ctype in [ConnType::CONTROL, ConnType::BULK_IN, ConnType::BULK_OUT] {
            // From an address for each node, as on a real network: the MGS counts by it.
            let socket = TcpSocket::new_v4()?;
            socket.bind(SocketAddr::new(source(&own)?.into(), 0))?;
            let mut stream = socket.connect(address).await?;
            stream.set_nodelay(true)?;
            let mut hello = Vec::new();
            AcceptorRequest::Connect { nid: mgs }.encode(&mut hello);
            let mine = Hello {
                version: HelloVersion::V3,
                src_nid: own,
                dst_nid: mgs,
                src_pid: PID_LUSTRE,
                dst_pid: PID_LUSTRE,
                src_incarnation: 1,
                dst_incarnation: 0,
                ctype,
                ips: Vec::new(),
            };
            mine.encode(&mut hello);
            stream.write_all(&hello).await?;
            let mut answer = [0; 56];
            stream.read_exact(&mut answer).await.context("the MGS closed the connection at HELLO")?;
            let theirs = Hello::decode(&mut Reader::new("hello", &answer))?;
            ensure!(theirs.ctype == ctype.inverted(), "refused: {:?} for {ctype:?}", theirs.ctype);
            streams.push(stream);
        }
        let [control, bulk_in, bulk_out] = <[TcpStream; 3]>::try_from(streams).ok().context("three were opened")?;
        let (clients, waiting, received) = (HashMap::new(), BinaryHeap::new(), [Vec::new(), Vec::new()]);
        let (nid, left) = (nid.to_owned(), 0);
        Ok(Self { nid, mgs, control, bulk_in, _bulk_out: bulk_out, clients, waiting, received, left, bytes: 0 })
    }

    /// Opens the connections again, to an MGS that was started anew: until that is there.
    pub(crate) async fn reconnect(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Self::connect(address, &self.nid).await {
                Ok(new) => {
                    (self.control, self.bulk_in, self._bulk_out) = (new.control, new.bulk_in, new._bulk_out);
                    self.received = new.received;
                    return Ok(());
                }
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    pub(crate) fn add(&mut self, client: Client) {
        self.clients.insert(client.nid, client);
    }

    /// Speaks until every client is there.
    pub(crate) async fn drive(&mut self, goal: Goal) -> anyhow::Result<()> {
        let mut out = Vec::new();
        for client in self.clients.values_mut() {
            if let Some(send) = client.start(goal) {
                frame(&mut out, self.mgs, client.nid, &send);
            }
            if matches!(goal, Goal::Back { .. }) && !client.is_silent {
                self.waiting.push(Reverse((Instant::now() + client.pause, client.nid)));
            }
        }
        self.left = self.clients.values().filter(|client| !client.is_there(goal)).count();
        loop {
            if !out.is_empty() {
                self.bytes += out.len();
                self.control.write_all(&out).await?;
                out.clear();
            }
            if self.left == 0 {
                return Ok(());
            }
            let due = self.waiting.peek().map(|Reverse((due, _))| *due);
            let (read, from) = tokio::select! {
                read = poll_fn(|task| self.poll_read(task)) => read?,
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => {
                    self.go_on(goal, &mut out);
                    continue;
                }
            };
            ensure!(read > 0, "the MGS closed the connection");
            self.bytes += read;
            self.take(from, goal, &mut out)?;
        }
    }

    /// Handles the frames that arrived whole.
    fn take(&mut self, from: usize, goal: Goal, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let received = std::mem::take(&mut self.received[from]);
        let mut rest = &received[..];
        while rest.len() >= FrameHeader::LEN {
            let frame_header = FrameHeader::decode(&mut Reader::new("frame", rest))?;
            if frame_header.kind == lustre_wire::lnet::FrameKind::Noop {
                rest = &rest[FrameHeader::LEN..];
                continue;
            }
            if rest.len() < HEAD {
                break;
            }
            let header = Header::decode(&mut Reader::new("header", &rest[FrameHeader::LEN..]), NidForm::Classic)?;
            let len = usize::try_from(header.payload_length)?;
            if rest.len() < HEAD + len {
                break;
            }
            let payload = &rest[HEAD..HEAD + len];
            rest = &rest[HEAD + len..];
            let Some(client) = self.clients.get_mut(&header.dest_nid) else { continue };
            if let Body::Put { ack_wmd, match_bits, portal, .. } = header.body {
                if !ack_wmd.is_none() {
                    let mlength = header.payload_length;
                    frame(out, self.mgs, client.nid, &Send::Ack(Body::Ack { dst_wmd: ack_wmd, match_bits, mlength }));
                }
                let was_there = client.is_there(goal);
                let was_asked = (client.asked_at.is_some(), client.table_asked_at.is_some());
                for send in client.hear(portal, match_bits, payload, goal)? {
                    frame(out, self.mgs, client.nid, &send);
                }
                if let Some(asked_at) = client.asked_at.filter(|_| !was_asked.0 && goal == Goal::Told) {
                    self.waiting.push(Reverse((asked_at + client.pause, client.nid)));
                }
                let is_back = matches!(goal, Goal::Back { .. });
                if let Some(asked_at) = client.table_asked_at.filter(|_| !was_asked.1 && is_back) {
                    self.waiting.push(Reverse((asked_at + client.pause, client.nid)));
                }
                self.left -= usize::from(!was_there && client.is_there(goal));
            }
        }
        self.received[from] = rest.to_vec();
        Ok(())
    }

    /// Reads from whichever connection has something. Gives how much, and from which.
    fn poll_read(&mut self, task: &mut Task<'_>) -> Poll<io::Result<(usize, usize)>> {
        BUFFER.with_borrow_mut(|buffer| {
            for (from, stream) in [&mut self.control, &mut self.bulk_in].into_iter().enumerate() {
                let mut buffer = ReadBuf::new(buffer);
                if Pin::new(stream).poll_read(task, &mut buffer)?.is_ready() {
                    self.received[from].extend_from_slice(buffer.filled());
                    return Poll::Ready(Ok((buffer.filled().len(), from)));
                }
            }
            Poll::Pending
        })
    }

    /// The first connection, and a request for a log block to send over it as often as one likes.
    pub(crate) fn bare(&mut self) -> anyhow::Result<(&mut TcpStream, Vec<u8>)> {
        let client = self.clients.values_mut().next().context("somebody is behind it")?;
        let mut bytes = Vec::new();
        frame(&mut bytes, self.mgs, client.nid, &client.first_block());
        Ok((&mut self.control, bytes))
    }

    /// Lets those go on whose pause is over.
    fn go_on(&mut self, goal: Goal, out: &mut Vec<u8>) {
        let now = Instant::now();
        while self.waiting.peek().is_some_and(|Reverse((due, _))| *due <= now) {
            let Some(Reverse((_, nid))) = self.waiting.pop() else { return };
            let Some(client) = self.clients.get_mut(&nid) else { continue };
            if let Some(send) = client.go_on(goal) {
                frame(out, self.mgs, nid, &send);
            }
        }
    }

    /// Gives each client its pause.
    pub(crate) fn pause(&mut self, mut pause: impl FnMut() -> Duration) {
        for client in self.clients.values_mut() {
            client.pause = pause();
        }
    }

    /// How long each mount took.
    pub(crate) fn mounts(&self) -> Vec<Duration> {
        self.clients.values().filter_map(|client| client.mounted_in).collect()
    }

    /// When each living client was asked for its lock, and when it had read what changed, less its own pause.
    pub(crate) fn told(&self) -> impl Iterator<Item = (Instant, Instant)> {
        let living = self.clients.values().filter(|client| !client.is_silent);
        living.filter_map(|client| Some((client.asked_at?, client.told_at?.checked_sub(client.pause)?)))
    }

    /// When each living client was back after a restart of the MGS, less its own pause.
    pub(crate) fn back(&self) -> impl Iterator<Item = Instant> {
        let living = self.clients.values().filter(|client| !client.is_silent);
        living.filter_map(|client| client.back_at?.checked_sub(client.pause))
    }

    /// The highest version of the NID table that a living client has read.
    pub(crate) fn table(&self) -> Option<u64> {
        self.clients.values().filter(|client| !client.is_silent).map(|client| client.table).max()
    }

    /// Makes ready for a further change.
    pub(crate) fn forget_change(&mut self) {
        for client in self.clients.values_mut() {
            (client.asked_at, client.told_at) = (None, None);
        }
    }

    /// RPCs of all clients, and how many of them were log blocks.
    pub(crate) fn rpcs(&self) -> (usize, usize) {
        self.clients.values().fold((0, 0), |(rpcs, blocks), c| (rpcs + c.rpcs, blocks + c.blocks))
    }

    /// Up to `count` clients answer nothing from now on. Gives how many of them are still to be found.
    pub(crate) fn fall_silent(&mut self, count: usize) -> usize {
        let mut left = count;
        for client in self.clients.values_mut().take(count) {
            client.is_silent = true;
            left -= 1;
        }
        left
    }
}

/// The loopback address that plays a NID's: 10.1.2.3 is 127.1.2.3.
fn source(nid: &WireNid) -> anyhow::Result<Ipv4Addr> {
    let ip = nid.ip().context("NIDs here are of tcp networks")?;
    let std::net::IpAddr::V4(ip) = ip else { anyhow::bail!("NIDs here have IPv4 addresses") };
    let [_, b, c, d] = ip.octets();
    Ok(Ipv4Addr::new(127, b, c, d))
}

pub(crate) fn wire_nid(text: &str) -> anyhow::Result<WireNid> {
    Ok(WireNid::from(&text.parse::<lustre_types::Nid>()?))
}

fn frame(out: &mut Vec<u8>, to: WireNid, from: WireNid, send: &Send) {
    let (body, payload): (Body, &[u8]) = match send {
        Send::Put { portal, match_bits, offset, bytes } => {
            let ack_wmd = lustre_wire::lnet::WireHandle::NONE;
            let (portal, match_bits, offset) = (*portal, *match_bits, *offset);
            (Body::Put { ack_wmd, match_bits, hdr_data: 0, portal, offset }, bytes)
        }
        Send::Ack(body) => (*body, &[]),
    };
    let payload_length = u32::try_from(payload.len()).expect("requests are small");
    let header =
        Header { dest_nid: to, src_nid: from, dest_pid: PID_LUSTRE, src_pid: PID_LUSTRE, payload_length, body };
    FrameHeader::PLAIN.encode(out);
    header.encode(out, NidForm::Classic);
    out.extend_from_slice(payload);
}
