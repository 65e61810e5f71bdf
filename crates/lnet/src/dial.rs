//! The dialling side of a connection's beginning.

use crate::{
    conn::Settled,
    handshake::{Incoming, LAST_RESERVED_PORT, Refused, establish, note_incarnation, send_hello},
    lnet::Inner,
    peer::{Peer, PeerKey},
};
use lustre_wire::lnet::{AcceptorRequest, ConnType, Hello, HelloVersion, PID_LUSTRE, WireNid};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
};
use tracing::debug;

/// Lowest source port that kernels use.
const FIRST_RESERVED_PORT: u16 = 512;
/// Attempts at a connection that the peer answers "not now": it dials us at the same moment.
const RACES: u32 = 4;
/// Time between them (`min_reconnectms`).
const RACE_PAUSE: Duration = Duration::from_secs(1);

/// Why a peer can't be connected to.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// A NID without an IP address.
    #[error("its NID has no IP address to dial")]
    NoAddress,
    /// TCP didn't connect.
    #[error("can't connect to {address}")]
    Connect {
        /// Address and port.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// TCP took too long.
    #[error("no connection to {address} within {} s", .within.as_secs())]
    Slow {
        /// Address and port.
        address: SocketAddr,
        /// The time allowed.
        within: Duration,
    },
    /// The other side closed it before a HELLO came: the NID isn't its own, or the source port not privileged enough.
    #[error(
        "{address} closed the connection during the handshake; does that node have this NID, and does it accept ports above 1023 (accept=all) or run this as root?"
    )]
    Closed {
        /// Address and port.
        address: SocketAddr,
    },
    /// The answer isn't right.
    #[error("{address} answered the handshake badly: {reason}")]
    Handshake {
        /// Address and port.
        address: SocketAddr,
        /// What is wrong.
        reason: String,
    },
    /// Someone else answered.
    #[error("{address} says it is {found}")]
    OtherNid {
        /// Address and port.
        address: SocketAddr,
        /// The NID that answered.
        found: WireNid,
    },
    /// The peer asked to try again, too often.
    #[error("{address} refuses connections for now")]
    NotNow {
        /// Address and port.
        address: SocketAddr,
    },
    /// The node has as many connections as it may.
    #[error("the limit of connections of this node is reached")]
    TooMany,
}

impl Inner {
    /// Makes sure of a connection to a peer. The CONTROL connection is there when this returns; the others follow.
    pub(crate) async fn dial(lnet: &Arc<Self>, key: PeerKey) -> Result<(), DialError> {
        let peer = lnet.peer_or_new(key);
        let _one_at_a_time = peer.dialling.lock().await;
        if peer.is_connected() {
            return Ok(());
        }
        let _turn = lnet.dials.acquire().await.expect("the semaphore is never closed");
        let dialling = Dialling::begin(lnet, &peer);
        first_connection(lnet, &peer).await?;
        drop(dialling);
        tokio::spawn(bulk_connections(Arc::clone(lnet), Arc::clone(&peer)));
        Ok(())
    }

    fn address_of(&self, nid: &WireNid) -> Result<SocketAddr, DialError> {
        let known = self.known_addresses.read().expect("no code panics under this lock").get(nid).copied();
        known.or_else(|| Some(SocketAddr::new(nid.ip()?, self.config.port))).ok_or(DialError::NoAddress)
    }
}

/// Marks a peer as being dialled, until dropped: also when whoever wanted it loses patience.
struct Dialling<'a> {
    lnet: &'a Inner,
    peer: &'a Arc<Peer>,
}

impl<'a> Dialling<'a> {
    fn begin(lnet: &'a Inner, peer: &'a Arc<Peer>) -> Self {
        peer.links().is_dialling = true;
        Self { lnet, peer }
    }
}

impl Drop for Dialling<'_> {
    fn drop(&mut self) {
        self.peer.links().is_dialling = false;
        self.lnet.forget_unconnected(self.peer);
    }
}

async fn first_connection(lnet: &Arc<Inner>, peer: &Arc<Peer>) -> Result<(), DialError> {
    for attempt in 1.. {
        match one_connection(lnet, peer, ConnType::CONTROL).await {
            Err(DialError::NotNow { .. }) if attempt < RACES => {
                tokio::time::sleep(RACE_PAUSE).await;
                // The peer's own dialling may have succeeded meanwhile.
                if peer.is_connected() {
                    return Ok(());
                }
            }
            result => return result,
        }
    }
    unreachable!("the last attempt returns")
}

/// Opens what a kernel opens besides CONTROL. Without them everything still travels, on CONTROL.
async fn bulk_connections(lnet: Arc<Inner>, peer: Arc<Peer>) {
    for ctype in [ConnType::BULK_IN, ConnType::BULK_OUT] {
        let is_there = peer.links().conns.iter().any(|conn| conn.ctype == ctype);
        if is_there || !peer.is_connected() {
            continue;
        }
        if let Err(error) = one_connection(&lnet, &peer, ctype).await {
            debug!(nid = %peer.key.remote, conn = %ctype, %error, "no bulk connection");
        }
    }
}

async fn one_connection(lnet: &Arc<Inner>, peer: &Arc<Peer>, ctype: ConnType) -> Result<(), DialError> {
    let address = lnet.address_of(&peer.key.remote)?;
    let permit = lnet.connections.take(address.ip()).map_err(|_| DialError::TooMany)?;
    let within = lnet.config.limits.connect;
    let slow = |_| DialError::Slow { address, within };
    let source = peer.key.local.ip();
    let connected = tokio::time::timeout(within, connect(source, address)).await.map_err(slow)?;
    let mut stream = connected.map_err(|source| DialError::Connect { address, source })?;
    let budget = lnet.config.limits.handshake;
    let (hello, rest) = tokio::time::timeout(budget, active(lnet, &mut stream, peer.key, ctype))
        .await
        .map_err(|_| DialError::Slow { address, within: budget })?
        .map_err(|refused| match refused {
            Refused::Ended => DialError::Closed { address },
            Refused::Io(error) if error.kind() == io::ErrorKind::ConnectionReset => DialError::Closed { address },
            other => DialError::Handshake { address, reason: other.to_string() },
        })?;
    if hello.ctype == ConnType::NONE {
        return Err(DialError::NotNow { address });
    }
    if hello.src_nid != peer.key.remote || hello.src_pid != PID_LUSTRE {
        return Err(DialError::OtherNid { address, found: hello.src_nid });
    }
    if hello.ctype != ctype.inverted() {
        let reason = format!("wanted a {ctype} connection, got {}", hello.ctype.inverted());
        return Err(DialError::Handshake { address, reason });
    }
    note_incarnation(lnet, peer, hello.src_incarnation);
    let port = stream.local_addr().map_or(0, |own| own.port());
    let settled = Settled {
        ctype,
        version: hello.version,
        remote: address,
        is_passive: false,
        takes_any_target: port > LAST_RESERVED_PORT,
    };
    establish(lnet, stream, Arc::clone(peer), settled, rest, permit);
    Ok(())
}

async fn active(
    lnet: &Inner,
    stream: &mut TcpStream,
    key: PeerKey,
    ctype: ConnType,
) -> Result<(Hello, Vec<u8>), Refused> {
    let version = if key.remote.classic().is_some() { HelloVersion::V3 } else { HelloVersion::V4 };
    let mut request = Vec::with_capacity(28);
    AcceptorRequest::Connect { nid: key.remote }.encode(&mut request);
    stream.write_all(&request).await?;
    send_hello(lnet, stream, version, key.local, key.remote, ctype).await?;
    let mut incoming = Incoming::new();
    let hello = incoming.read(stream, Hello::decode).await?;
    Ok((hello, incoming.rest().to_vec()))
}

/// Connects from a privileged port, where this process may, else from any.
async fn connect(source: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let any = || match to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // Our NID's address, so that the peer sees the NID's host; behind address translation it isn't on this machine.
    let mut from = source.filter(|ip| ip.is_ipv4() == to.is_ipv4()).unwrap_or_else(any);
    let mut port = LAST_RESERVED_PORT;
    loop {
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        if port != 0 {
            // Connections to other peers may use the same port at the same time.
            socket.set_reuseaddr(true)?;
        }
        let connected = match socket.bind(SocketAddr::new(from, port)) {
            Ok(()) => socket.connect(to).await,
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && from != any() => {
                from = any();
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && port != 0 => {
                port = 0;
                continue;
            }
            Err(error) => Err(error),
        };
        match connected {
            Err(error)
                if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable) && port != 0 =>
            {
                port = if port > FIRST_RESERVED_PORT { port - 1 } else { 0 };
            }
            other => return other,
        }
    }
}
