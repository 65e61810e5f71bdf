//! The listening side of a connection's beginning, and what both sides do at its end: a peer with one more connection.

use crate::{
    config::Accept,
    conn::{Conn, Settled},
    lnet::Inner,
    peer::{Peer, PeerKey},
    reader::Reader,
    share::{Exhausted, Share},
};
use lustre_wire::{
    bytes::{Reader as Fields, WireError},
    lnet::{AcceptorRequest, ConnType, Hello, HelloVersion, PID_LUSTRE, WireNid},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tracing::{debug, warn};

/// Highest source port that says "root".
pub(crate) const LAST_RESERVED_PORT: u16 = 1023;
/// More than an acceptor request and the longest HELLO.
const BUFFER: usize = 256;

/// Why a connection didn't come to be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Malformed(#[from] WireError),
    #[error("can't read or write: {0}")]
    Io(#[from] io::Error),
    #[error("closed by the peer before its HELLO was complete")]
    Ended,
    #[error("no complete HELLO within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("source port {0} is above 1023, and only privileged ports are accepted")]
    Port(u16),
    #[error("asks for {0}, which is not here")]
    NotHere(WireNid),
    #[error("asks which version of the acceptor is spoken")]
    Query,
    #[error("calls itself {0}, which is no NID of a node")]
    NoNid(WireNid),
    #[error("asks for a connection of {0}")]
    Type(ConnType),
    #[error("has {0} connections already, which is the limit")]
    TooMany(usize),
    #[error("{}", exhausted("connections", .0))]
    Connections(Exhausted),
    #[error("{}", exhausted("handshakes at the same time", .0))]
    Handshakes(Exhausted),
    #[error("dials while it is dialled, and the higher NID wins")]
    Race,
}

fn exhausted(what: &str, by: &Exhausted) -> String {
    match by {
        Exhausted::Total(count) => format!("all together have {count} {what}, which is the limit"),
        Exhausted::OfOne(count) => format!("its address has {count} {what} already, which is the limit"),
    }
}

/// Accepts connections until the node is shut down.
pub(crate) async fn accept(lnet: Arc<Inner>, listener: TcpListener) {
    loop {
        let shutdown = lnet.shutdown.notified();
        if lnet.is_shut_down.load(std::sync::atomic::Ordering::Acquire) {
            return;
        }
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown => return,
        };
        match accepted {
            Ok((stream, remote)) => admit(&lnet, stream, remote),
            Err(error) => {
                // Out of file descriptors, most likely: connections wait in the backlog meanwhile.
                warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Starts a handshake, if there is room for one.
fn admit(lnet: &Arc<Inner>, stream: TcpStream, remote: SocketAddr) {
    let permit = match lnet.connections.take(remote.ip()) {
        Ok(permit) => permit,
        Err(exhausted) => return lnet.refusals.refused(remote, None, &Refused::Connections(exhausted)),
    };
    let handshake = match lnet.handshakes.take(remote.ip()) {
        Ok(handshake) => handshake,
        Err(exhausted) => return lnet.refusals.refused(remote, None, &Refused::Handshakes(exhausted)),
    };
    // It moves to the event loop that will carry the connection.
    let stream = match stream.into_std() {
        Ok(stream) => stream,
        Err(error) => return lnet.refusals.refused(remote, None, &Refused::Io(error)),
    };
    let lnet = Arc::clone(lnet);
    lnet.loops.next().clone().spawn(async move {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return lnet.refusals.refused(remote, None, &Refused::Io(error)),
        };
        let budget = lnet.config.limits.handshake;
        let result = tokio::time::timeout(budget, passive(&lnet, stream, remote)).await;
        drop(handshake);
        match result {
            Ok(Ok(Established { stream, peer, settled, rest })) => {
                establish(&lnet, stream, peer, settled, rest, permit)
            }
            Ok(Err((nid, Refused::Race))) => debug!(peer = %remote, nid = ?nid, "connection race"),
            Ok(Err((nid, refused))) => lnet.refusals.refused(remote, nid, &refused),
            Err(_) => lnet.refusals.refused(remote, None, &Refused::Slow(budget)),
        }
    });
}

struct Established {
    stream: TcpStream,
    peer: Arc<Peer>,
    settled: Settled,
    rest: Vec<u8>,
}

/// What has come and was not decoded yet.
pub(crate) struct Incoming {
    bytes: [u8; BUFFER],
    len: usize,
}

impl Incoming {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; BUFFER], len: 0 }
    }

    /// Reads until `decode` has enough; what it didn't take stays.
    pub(crate) async fn read<T>(
        &mut self,
        stream: &mut TcpStream,
        decode: impl Fn(&mut Fields<'_>) -> Result<T, WireError>,
    ) -> Result<T, Refused> {
        loop {
            let mut fields = Fields::new("handshake", &self.bytes[..self.len]);
            match decode(&mut fields) {
                Ok(value) => {
                    let taken = self.len - fields.rest().len();
                    self.bytes.copy_within(taken..self.len, 0);
                    self.len -= taken;
                    return Ok(value);
                }
                Err(WireError::Short { .. }) if self.len < BUFFER => {}
                Err(error) => return Err(error.into()),
            }
            match stream.read(&mut self.bytes[self.len..]).await? {
                0 => return Err(Refused::Ended),
                read => self.len += read,
            }
        }
    }

    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The handshake of a connection that a peer opened. An error names the NID that the peer claims, once it is known.
async fn passive(
    lnet: &Arc<Inner>,
    mut stream: TcpStream,
    remote: SocketAddr,
) -> Result<Established, (Option<WireNid>, Refused)> {
    let unknown = |refused: Refused| (None, refused);
    if lnet.config.accept == Accept::Secure && remote.port() > LAST_RESERVED_PORT {
        return Err(unknown(Refused::Port(remote.port())));
    }
    let mut incoming = Incoming::new();
    let local = match incoming.read(&mut stream, AcceptorRequest::decode).await.map_err(unknown)? {
        AcceptorRequest::Connect { nid } if lnet.nids.contains(&nid) => nid,
        AcceptorRequest::Connect { nid } => return Err(unknown(Refused::NotHere(nid))),
        AcceptorRequest::Query => {
            // It is closed either way.
            let _ = stream.write_all(&AcceptorRequest::REFUSAL).await;
            return Err(unknown(Refused::Query));
        }
    };
    let hello = match incoming.read(&mut stream, Hello::decode).await {
        Ok(hello) => hello,
        Err(refused) => {
            if matches!(&refused, Refused::Malformed(error) if Hello::is_unknown_version(error)) {
                // Our own HELLO tells it which version to use.
                let version = if local.classic().is_some() { HelloVersion::V3 } else { HelloVersion::V4 };
                let _ = send_hello(lnet, &mut stream, version, local, local, ConnType::NONE).await;
            }
            return Err(unknown(refused));
        }
    };
    let claimed = hello.src_nid;
    let refuse = |refused: Refused| (Some(claimed), refused);
    if claimed.is_any() || claimed.is_none() || claimed.is_loopback() {
        return Err(refuse(Refused::NoNid(claimed)));
    }
    if !hello.ctype.is_known() {
        return Err(refuse(Refused::Type(hello.ctype)));
    }
    let peer = lnet.peer_or_new(PeerKey { local, remote: claimed });
    let verdict = admission(lnet, &peer, &hello);
    let answer = if verdict.is_ok() { hello.ctype.inverted() } else { ConnType::NONE };
    let sent = send_hello(lnet, &mut stream, hello.version, local, claimed, answer).await;
    if let Err(refused) = verdict.and(sent.map_err(Refused::Io)) {
        lnet.forget_unconnected(&peer);
        return Err(refuse(refused));
    }
    let settled = Settled {
        ctype: hello.ctype.inverted(),
        version: hello.version,
        remote,
        is_passive: true,
        takes_any_target: false,
    };
    Ok(Established { stream, peer, settled, rest: incoming.rest().to_vec() })
}

/// Whether a peer may have one more connection. A new incarnation ends the connections of the old one.
fn admission(lnet: &Inner, peer: &Arc<Peer>, hello: &Hello) -> Result<(), Refused> {
    note_incarnation(lnet, peer, hello.src_incarnation);
    let links = peer.links();
    let open = links.conns.iter().filter(|conn| conn.closed().is_none()).count();
    if open >= lnet.config.limits.connections_per_peer {
        return Err(Refused::TooMany(open));
    }
    if links.is_dialling && open == 0 && peer.key.remote < peer.key.local {
        return Err(Refused::Race);
    }
    Ok(())
}

/// Ends connections of a peer's earlier start.
pub(crate) fn note_incarnation(lnet: &Inner, peer: &Arc<Peer>, incarnation: u64) {
    let is_new = {
        let mut links = peer.links();
        let before = std::mem::replace(&mut links.incarnation, incarnation);
        before != incarnation && !links.conns.is_empty()
    };
    if is_new {
        debug!(nid = %peer.key.remote, "peer started anew");
        lnet.close_all(peer, "the peer started anew");
    }
}

pub(crate) async fn send_hello(
    lnet: &Inner,
    stream: &mut TcpStream,
    version: HelloVersion,
    src_nid: WireNid,
    dst_nid: WireNid,
    ctype: ConnType,
) -> io::Result<()> {
    let hello = Hello {
        version,
        src_nid,
        dst_nid,
        src_pid: PID_LUSTRE,
        dst_pid: 0,
        src_incarnation: lnet.incarnation,
        dst_incarnation: 0,
        ctype,
        ips: Vec::new(),
    };
    let mut bytes = Vec::with_capacity(80);
    hello.encode(&mut bytes);
    stream.write_all(&bytes).await
}

/// Gives a peer its connection and starts the reader.
pub(crate) fn establish(
    lnet: &Arc<Inner>,
    stream: TcpStream,
    peer: Arc<Peer>,
    settled: Settled,
    rest: Vec<u8>,
    permit: Share,
) {
    if let Err(error) = tune(&stream) {
        debug!(peer = %settled.remote, %error, "can't set TCP options");
    }
    let (read, write) = stream.into_split();
    let (ctype, remote) = (settled.ctype, settled.remote);
    let key = peer.key;
    let conn = {
        // The peer may have left the table since its handshake began: its last connection ended.
        let mut peers = lnet.peers.write().expect("no code panics under this lock");
        let peer = Arc::clone(peers.entry(key).or_insert(peer));
        let conn = Arc::new(Conn::new(Arc::clone(&peer), settled, write, lnet.now_ms()));
        peer.links().conns.push(Arc::clone(&conn));
        conn
    };
    debug!(peer = %remote, nid = %key.remote, conn = %ctype, "connection established");
    let shut_down = lnet.is_shut_down.load(std::sync::atomic::Ordering::Acquire);
    if shut_down {
        conn.close("this node shuts down".into());
    }
    tokio::spawn(Reader::new(Arc::clone(lnet), conn, read, rest, permit));
}

/// No delay for small messages; a dead peer is noticed in less than a minute.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(5))
        .with_retries(5);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
