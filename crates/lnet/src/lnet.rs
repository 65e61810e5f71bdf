//! The node: its peers, and what its users call.

use crate::{
    config::Config,
    conn::Conn,
    dial::DialError,
    dispatch::{Message, Outbox},
    handshake,
    loops::Loops,
    message::{Get, Incoming, Lost, ProcessId, Put},
    peer::{Peer, PeerKey},
    portal::{Attached, Attachments, Awaited, Portals},
    proxy::{self, Posted, Proxy, ProxyError},
    refusal::{Counters, Refusals, Statistics},
    share::Shares,
    sweep,
};
use bytes::Bytes;
use lustre_types::Nid;
use lustre_wire::{
    bytes::WireError,
    lnet::{Features, PING_MATCH_BITS, PingInfo, RESERVED_PORTAL, WireNid},
};
use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, OnceLock, RwLock, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{Notify, Semaphore, oneshot},
};
use tracing::debug;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// What a ping's first sink holds: 16 interfaces (`LNET_INTERFACES_MIN`).
const PING_SINK: u32 = 16 + 16 * 16;

/// Why a node doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Without a NID nobody can reach it.
    #[error("a node needs at least one NID; name one like 10.0.0.1@tcp")]
    NoNid,
    /// Networks of other types need the kernel.
    #[error("{0} is not on a tcp network; only those can be served without the kernel")]
    NotTcp(Nid),
    /// The machine gives no more threads.
    #[error("can't start a thread for connections")]
    Thread(#[source] io::Error),
    /// An address can't be listened on.
    #[error("can't listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel proxy can't be used, and waiting would not help.
    #[error("can't serve nodes through the kernel proxy")]
    Proxy(#[source] ProxyError),
}

/// Why something was not sent, or not answered.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// No own NID is on the receiver's network.
    #[error("{0} can't be reached: none of this node's NIDs is on its network")]
    NoNet(WireNid),
    /// The receiver can't be connected to.
    #[error("can't connect to {nid}")]
    Dial {
        /// The receiver.
        nid: WireNid,
        /// Why.
        #[source]
        source: DialError,
    },
    /// No answer.
    #[error("{nid}: {lost}")]
    Lost {
        /// The receiver.
        nid: WireNid,
        /// Why.
        lost: Lost,
    },
    /// The answer to a ping is no ping info.
    #[error("{nid} answered a ping with something else")]
    Ping {
        /// The receiver.
        nid: WireNid,
        /// What is wrong with it.
        #[source]
        source: WireError,
    },
    /// The node was shut down.
    #[error("this node is shut down")]
    ShutDown,
}

/// What a node has over the kernel proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelNetworks {
    /// Whether the proxy's device is open now; otherwise it is waited for.
    pub is_open: bool,
    /// Own NIDs on the kernel's networks, as the device said that was open last.
    pub nids: Arc<[WireNid]>,
}

/// A node on the network; clones are the same node. Ends with [`Lnet::shutdown`].
#[derive(Clone)]
pub struct Lnet(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) nids: Vec<WireNid>,
    pub(crate) proxy: Option<Proxy>,
    /// When this node started, nanoseconds since 1970: tells its connections from those of a predecessor.
    pub(crate) incarnation: u64,
    started: Instant,
    pub(crate) ping_info: Bytes,
    addresses: OnceLock<Vec<SocketAddr>>,
    pub(crate) peers: RwLock<HashMap<PeerKey, Arc<Peer>>>,
    /// Nodes behind routers, and the router over which they were heard last.
    pub(crate) routes: RwLock<HashMap<PeerKey, Weak<Peer>>>,
    pub(crate) known_addresses: RwLock<HashMap<WireNid, SocketAddr>>,
    pub(crate) portals: Portals,
    pub(crate) attachments: Arc<Attachments>,
    pub(crate) awaited: Awaited,
    pub(crate) counters: Counters,
    pub(crate) refusals: Refusals,
    pub(crate) connections: Arc<Shares>,
    pub(crate) unfinished: AtomicUsize,
    pub(crate) handshakes: Arc<Shares>,
    pub(crate) loops: Loops,
    pub(crate) dials: Semaphore,
    /// Messages that wait for a dial.
    undelivered: AtomicUsize,
    pub(crate) is_shut_down: AtomicBool,
    pub(crate) shutdown: Notify,
}

impl Lnet {
    /// Starts a node: listens, and then accepts until it is shut down. Call it in a tokio runtime.
    ///
    /// A kernel proxy that isn't there yet is waited for while the node runs.
    /// Errors: no NID or one that isn't on a tcp network; an address that can't be listened on; a kernel proxy that is
    /// there and can't be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        if config.nids.is_empty() && config.proxy.is_none() {
            return Err(StartError::NoNid);
        }
        if let Some(other) = config.nids.iter().find(|nid| nid.net().kind() != "tcp") {
            return Err(StartError::NotTcp(other.clone()));
        }
        let tcp_nids: Vec<WireNid> = config.nids.iter().map(WireNid::from).collect();
        let (proxy, to_kernel) = config.proxy.clone().map(Proxy::new).unzip();
        let device = match &proxy {
            Some(proxy) => proxy.open_first().await.map_err(StartError::Proxy)?,
            None => None,
        };
        let listeners: Vec<TcpListener> =
            config.listen.iter().map(|address| listen(*address)).collect::<Result<_, _>>()?;
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let inner = Arc::new(Inner {
            incarnation: u64::try_from(since_1970.as_nanos()).unwrap_or(u64::MAX),
            started: Instant::now(),
            // Who pings over the kernel's networks, the kernel answers.
            ping_info: PingInfo::of_end_node(&tcp_nids, 1).encode().into(),
            nids: tcp_nids,
            proxy,
            addresses: OnceLock::new(),
            peers: RwLock::default(),
            routes: RwLock::default(),
            known_addresses: RwLock::default(),
            portals: Portals::new(),
            attachments: Arc::default(),
            awaited: Awaited::new(),
            counters: Counters::default(),
            refusals: Refusals::default(),
            connections: Shares::new(config.limits.connections, config.limits.connections_per_address),
            unfinished: AtomicUsize::new(0),
            handshakes: Shares::new(config.limits.handshakes, config.limits.handshakes.div_ceil(2)),
            loops: Loops::start(config.threads).map_err(StartError::Thread)?,
            dials: Semaphore::new(config.limits.dials),
            undelivered: AtomicUsize::new(0),
            is_shut_down: AtomicBool::new(false),
            shutdown: Notify::new(),
            config,
        });
        let mut addresses = Vec::new();
        for (listener, wanted) in listeners.into_iter().zip(&inner.config.listen) {
            let address = listener.local_addr().map_err(|source| StartError::Listen { address: *wanted, source })?;
            addresses.push(address);
            tokio::spawn(handshake::accept(Arc::clone(&inner), listener));
        }
        inner.addresses.set(addresses).expect("set once, here");
        tokio::spawn(sweep::run(Arc::downgrade(&inner)));
        if let Some(to_kernel) = to_kernel {
            proxy::run(&inner, to_kernel, device);
        }
        Ok(Self(inner))
    }

    /// Addresses that the node listens on, with the port that a 0 became; in the order of the configuration.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.0.addresses.get().map_or(&[], Vec::as_slice)
    }

    /// Own NIDs on tcp networks, the primary one first.
    pub fn nids(&self) -> &[WireNid] {
        &self.0.nids
    }

    /// The kernel's networks, where a kernel proxy was asked for.
    pub fn kernel_networks(&self) -> Option<KernelNetworks> {
        self.0.proxy.as_ref().map(|proxy| KernelNetworks { is_open: proxy.is_open(), nids: proxy.nids() })
    }

    /// Calls `handler` for each PUT on a portal, whatever its match bits, in the task that read it. It must not block;
    /// what it sends over the [`Outbox`] leaves at once.
    ///
    /// Panics if the portal has a handler already, or is none of Lustre's (66 and above).
    pub fn on_put(&self, portal: u32, handler: impl Fn(&Incoming<'_>, &mut Outbox<'_>) + Send + Sync + 'static) {
        self.0.portals.register(portal, Box::new(handler));
        if let Some(proxy) = &self.0.proxy {
            proxy.attach(portal);
        }
    }

    /// Awaits PUTs of at most `max_len` bytes on a portal and match bits: replies to requests, bulk data.
    ///
    /// With `from`, those of others don't match, and the loss of a connection to that node is an arrival too: ask again.
    /// Attaching the same match bits again replaces what was there.
    pub fn attach(&self, portal: u32, match_bits: u64, from: Option<WireNid>, max_len: usize) -> Attached {
        let attached = self.0.attachments.sink(portal, match_bits, from, max_len);
        self.0.posted(attached, from, |proxy, from| proxy.post_sink(portal, match_bits, from, max_len))
    }

    /// Offers data to a GET on a portal and match bits.
    pub fn offer(&self, portal: u32, match_bits: u64, from: Option<WireNid>, data: Bytes) -> Attached {
        let attached = self.0.attachments.source(portal, match_bits, from, data.clone());
        self.0.posted(attached, from, |proxy, from| proxy.post_source(portal, match_bits, from, &data))
    }

    /// Says where a node listens that is not at its NID's address and the configured port.
    pub fn set_address(&self, nid: &Nid, address: SocketAddr) {
        self.0.known_addresses.write().expect("no code panics under this lock").insert(nid.into(), address);
    }

    /// The own NID that speaks to that node: the one over which it is connected, else the first on the same network.
    ///
    /// Errors: [`SendError::NoNet`].
    pub fn nid_towards(&self, to: &WireNid) -> Result<WireNid, SendError> {
        let kernel = self.0.proxy.as_ref().map(Proxy::nids);
        let own = || self.0.nids.iter().chain(kernel.iter().flat_map(|nids| nids.iter()));
        let on_net = || own().filter(|nid| nid.net() == to.net() && nid.own_len() == to.own_len());
        let connected = |local: &&WireNid| {
            self.0.peer(PeerKey { local: **local, remote: *to }).is_some_and(|peer| peer.is_connected())
        };
        // A node behind a router may be on any network.
        let routed = || {
            let routes = self.0.routes.read().expect("no code panics under this lock");
            self.0.nids.iter().find(|local| routes.contains_key(&PeerKey { local: **local, remote: *to })).copied()
        };
        let found = on_net().find(connected).copied().or_else(routed);
        found.or_else(|| on_net().next().copied()).ok_or(SendError::NoNet(*to))
    }

    /// Sends a PUT that wants no ACK; the receiver is dialled if there is no connection to it.
    ///
    /// `Ok` says that the message is on its way, not that it arrived. Errors: [`SendError::Dial`].
    pub async fn put(&self, put: Put) -> Result<(), SendError> {
        self.connect(put.to.nid, put.from).await?;
        self.send(put);
        Ok(())
    }

    /// Sends a PUT without waiting for anything. A receiver that can't be reached is only in the log.
    pub fn send(&self, put: Put) {
        self.send_all([put]);
    }

    /// Sends many PUTs without waiting for anything: those for the nodes behind a router leave together.
    pub fn send_all(&self, puts: impl IntoIterator<Item = Put>) {
        let mut out = Outbox::new(&self.0, None);
        puts.into_iter().for_each(|put| out.put(put));
        out.flush(self.0.now_ms());
    }

    /// Sends a PUT and waits for its ACK; gives the bytes that the receiver stored.
    pub async fn put_acked(&self, put: Put, within: Duration) -> Result<u32, SendError> {
        let nid = put.to.nid;
        self.connect(nid, put.from).await?;
        self.answered(nid, |out, done| out.put_acked(put, within, done)).await
    }

    /// Sends a GET and waits for the data.
    pub async fn get(&self, get: Get, within: Duration) -> Result<Bytes, SendError> {
        self.connect(get.to.nid, get.from).await?;
        self.answered(get.to.nid, |out, done| out.get(get, within, done)).await
    }

    async fn answered<T: Send + 'static>(
        &self,
        nid: WireNid,
        send: impl FnOnce(&mut Outbox<'_>, Box<dyn FnOnce(Result<T, Lost>, &mut Outbox<'_>) + Send>),
    ) -> Result<T, SendError> {
        let (answer, answered) = oneshot::channel();
        {
            let mut out = Outbox::new(&self.0, None);
            // Whoever asked may have gone: then the answer interests nobody.
            send(&mut out, Box::new(move |result, _| drop(answer.send(result))));
            out.flush(self.0.now_ms());
        }
        match answered.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(lost)) => Err(SendError::Lost { nid, lost }),
            Err(_) => Err(SendError::ShutDown),
        }
    }

    /// Asks a node for its NIDs (`lctl ping`).
    pub async fn ping(&self, nid: &Nid, within: Duration) -> Result<PingInfo, SendError> {
        let nid = WireNid::from(nid);
        let from = self.nid_towards(&nid)?;
        let mut sink_length = PING_SINK;
        loop {
            let to = ProcessId::lustre(nid);
            let get = Get { to, from, portal: RESERVED_PORTAL, match_bits: PING_MATCH_BITS, sink_length };
            let data = self.get(get, within).await?;
            let info = PingInfo::decode(&data).map_err(|source| SendError::Ping { nid, source })?;
            if !info.is_cut() || sink_length > PING_SINK {
                return Ok(info);
            }
            sink_length = 16 + 16 * info.nnis;
        }
    }

    /// Makes this node known to another as a kernel does before its first request: ping, then a push of the own NIDs to
    /// nodes that want it. Gives what the ping gave; nothing over the kernel's networks, where the kernel does all that.
    pub async fn discover(&self, nid: &Nid, within: Duration) -> Result<Option<PingInfo>, SendError> {
        if self.0.proxy_of(self.nid_towards(&nid.into())?).is_some() {
            return Ok(None);
        }
        let info = self.ping(nid, within).await?;
        if info.features.has(Features::MULTI_RAIL | Features::DISCOVERY) {
            let to = ProcessId::lustre(nid);
            let from = self.nid_towards(&to.nid)?;
            let payload = self.0.ping_info.clone().into();
            let push =
                Put { to, from, portal: RESERVED_PORTAL, match_bits: PING_MATCH_BITS, hdr_data: 0, offset: 0, payload };
            self.put_acked(push, within).await?;
        }
        Ok(Some(info))
    }

    /// Makes sure that there is a connection.
    async fn connect(&self, to: WireNid, from: WireNid) -> Result<(), SendError> {
        if self.0.is_shut_down.load(Ordering::Acquire) {
            return Err(SendError::ShutDown);
        }
        if let Some(proxy) = self.0.proxy_of(from) {
            return if proxy.is_open() { Ok(()) } else { Err(SendError::Lost { nid: to, lost: Lost::Disconnected }) };
        }
        let key = PeerKey { local: from, remote: to };
        if self.0.route(key).is_some_and(|peer| peer.is_connected()) {
            return Ok(());
        }
        Inner::dial(&self.0, key).await.map_err(|source| SendError::Dial { nid: to, source })
    }

    /// Closes all connections to a node, as if the network had: for tests, and to leave a server that doesn't answer.
    pub fn disconnect(&self, nid: &Nid) {
        let remote = WireNid::from(nid);
        for local in &self.0.nids {
            if let Some(peer) = self.0.peer(PeerKey { local: *local, remote }) {
                self.0.close_all(&peer, "closed by this node");
            }
        }
    }

    /// What the node has and has done.
    pub fn statistics(&self) -> Statistics {
        let peers = self.0.peers.read().expect("no code panics under this lock").len();
        let routed_nids = self.0.routes.read().expect("no code panics under this lock").len();
        let connections = self.0.connections.count();
        Statistics { connections, peers, routed_nids, ..self.0.counters.statistics(&self.0.refusals) }
    }

    /// Stops listening and closes all connections. Everything that waits fails.
    pub fn shutdown(&self) {
        self.0.is_shut_down.store(true, Ordering::Release);
        self.0.shutdown.notify_waiters();
        let peers: Vec<Arc<Peer>> =
            self.0.peers.read().expect("no code panics under this lock").values().cloned().collect();
        for peer in peers {
            self.0.close_all(&peer, "this node shuts down");
        }
    }
}

/// One message less that waits, once dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        if address.is_ipv6() {
            // [::] would take the IPv4 addresses too, and then a listener on 0.0.0.0 could not start.
            socket2::SockRef::from(&socket).set_only_v6(true)?;
        }
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening().map_err(|source| StartError::Listen { address, source })
}

impl Inner {
    /// Milliseconds since the node started, plus one: 0 says "never".
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    pub(crate) fn deadline_ms(&self, within: Duration) -> u64 {
        self.now_ms().saturating_add(u64::try_from(within.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn peer(&self, key: PeerKey) -> Option<Arc<Peer>> {
        self.peers.read().expect("no code panics under this lock").get(&key).cloned()
    }

    pub(crate) fn peer_or_new(&self, key: PeerKey) -> Arc<Peer> {
        if let Some(peer) = self.peer(key) {
            return peer;
        }
        let mut peers = self.peers.write().expect("no code panics under this lock");
        let high_water = self.config.limits.queued_high_water;
        Arc::clone(peers.entry(key).or_insert_with(|| Arc::new(Peer::new(key, high_water))))
    }

    /// The peer over which a node is reached: itself when connected, else the router over which it was heard.
    pub(crate) fn route(&self, key: PeerKey) -> Option<Arc<Peer>> {
        if let Some(peer) = self.peer(key).filter(|peer| peer.is_connected()) {
            return Some(peer);
        }
        self.routes.read().expect("no code panics under this lock").get(&key)?.upgrade()
    }

    /// The kernel proxy, if that own NID is one of its.
    pub(crate) fn proxy_of(&self, local: WireNid) -> Option<&Proxy> {
        self.proxy.as_ref().filter(|proxy| proxy.nids().contains(&local))
    }

    /// Lets the kernel know of a descriptor whose messages come over its networks.
    fn posted(
        &self,
        attached: Attached,
        from: Option<WireNid>,
        post: impl FnOnce(&Proxy, WireNid) -> Posted,
    ) -> Attached {
        let on_net = |nids: &[WireNid], from: WireNid| nids.iter().any(|nid| nid.net() == from.net());
        match (&self.proxy, from) {
            (Some(proxy), Some(from)) if !on_net(&self.nids, from) && on_net(&proxy.nids(), from) => {
                attached.with_post(post(proxy, from))
            }
            _ => attached,
        }
    }

    /// Remembers that a node is behind this router.
    pub(crate) fn learn_route(&self, key: PeerKey, router: &Arc<Peer>) {
        let is_known = |routes: &HashMap<PeerKey, Weak<Peer>>| {
            routes.get(&key).is_some_and(|known| std::ptr::eq(known.as_ptr(), Arc::as_ptr(router)))
        };
        if is_known(&self.routes.read().expect("no code panics under this lock")) {
            return;
        }
        let mut routes = self.routes.write().expect("no code panics under this lock");
        if routes.len() < self.config.limits.routed_nids || routes.contains_key(&key) {
            routes.insert(key, Arc::downgrade(router));
        }
    }

    pub(crate) fn close_all(&self, peer: &Peer, reason: &str) {
        let conns: Vec<Arc<Conn>> = peer.links().conns.clone();
        for conn in conns {
            conn.close(reason.to_owned());
        }
    }

    /// Takes a connection that has ended out of its peer.
    pub(crate) fn forget(self: &Arc<Self>, conn: &Arc<Conn>) {
        let peer = &conn.peer;
        conn.discard();
        debug!(peer = %conn.remote, nid = %peer.key.remote, conn = %conn.ctype, passive = conn.is_passive, reason = conn.closed(), "connection ended");
        let is_last = {
            let mut links = peer.links();
            links.conns.retain(|other| !Arc::ptr_eq(other, conn));
            links.conns.is_empty()
        };
        // What was under way on this connection is lost, and nobody knows what it was: a request may be asked again, so
        // its waiter is told now. Bulk data isn't, before the last connection is gone.
        let nid = peer.key.remote;
        self.attachments.disconnected(|from| *from == nid);
        if !is_last {
            return;
        }
        self.forget_unconnected(peer);
        let mut out = Outbox::new(self, None);
        for waiter in self.awaited.disconnected(|to| *to == nid) {
            waiter.fail(Lost::Disconnected, &mut out);
        }
        out.flush(self.now_ms());
    }

    /// Takes a peer without connections from the table, unless somebody dials it.
    pub(crate) fn forget_unconnected(&self, peer: &Arc<Peer>) {
        let mut peers = self.peers.write().expect("no code panics under this lock");
        let links = peer.links();
        if links.conns.is_empty()
            && !links.is_dialling
            && peers.get(&peer.key).is_some_and(|known| Arc::ptr_eq(known, peer))
        {
            peers.remove(&peer.key);
        }
    }

    /// Dials the receiver of a message and sends it then; for who can't wait.
    pub(crate) fn dial_and_send(self: &Arc<Self>, message: Message) {
        if self.is_shut_down.load(Ordering::Acquire) {
            return;
        }
        // Thousands of clients that died at once must not queue up before those that can be reached.
        let waiting = self.undelivered.fetch_add(1, Ordering::Relaxed);
        if waiting >= self.config.limits.undelivered {
            self.undelivered.fetch_sub(1, Ordering::Relaxed);
            debug!(peer = %message.to, waiting, "message not sent: too many wait for nodes that can't be reached");
            return;
        }
        let inner = Arc::clone(self);
        self.loops.next().spawn(async move {
            let _waiting = Waiting(&inner.undelivered);
            let key = PeerKey { local: message.from, remote: message.to.nid };
            if let Err(error) = Inner::dial(&inner, key).await {
                debug!(peer = %message.to, %error, "message not sent");
                return;
            }
            let conn = inner.route(key).and_then(|peer| inner.connection_for(&peer, &message));
            if let Some(conn) = conn {
                inner.push(&conn, message);
                conn.flush(inner.now_ms());
            }
        });
    }
}
