//! The client: who it is, what it knows of its MGS, and the node that several clients share.

use crate::{
    connect::{Import, Link},
    error::MgcError,
    lock::Locks,
};
use lnet::Lnet;
use lustre_types::Nid;
use lustre_wire::ptlrpc::{ConnectData, Opcode, Part, connect_flag, connect_flag2, portal};
use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, Hasher, RandomState},
    ops::Range,
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// How a client behaves.
#[derive(Clone, Debug)]
pub struct Config {
    /// NIDs of the MGS, of its failover partners too, in the order in which they are tried.
    pub mgs: Vec<Nid>,
    /// Lustre version to claim: `major << 24 | minor << 16 | patch << 8 | fix`. Servers answer differently by it.
    pub version: u32,
    /// What is asked for at connect; what the MGS doesn't grant isn't used.
    pub asks: ConnectData,
    /// Who the client is, in messages.
    pub part: Part,
    /// Silence after which the MGS is pinged.
    pub ping_interval: Duration,
    /// Time for an ordinary request, reconnects and repetitions included.
    pub request: Duration,
    /// Time for one try of it.
    pub attempt: Duration,
    /// How long a follower waits before it takes a revoked lock again: a random time of this range, so that thousands
    /// don't come back at once.
    pub requeue: Range<Duration>,
}

/// 2.17.57, of which everything that this client does was recorded.
const VERSION: u32 = 0x0211_3900;

impl Config {
    /// A client that speaks as Lustre 2.17 does.
    pub fn new(mgs: Vec<Nid>) -> Self {
        let flags = connect_flag::VERSION
            | connect_flag::MGS_NIDLIST
            | connect_flag::AT
            | connect_flag::FULL20
            | connect_flag::IMP_RECOV
            | connect_flag::BULK_MBITS
            | connect_flag::FLAGS2;
        let flags2 = connect_flag2::REP_MBITS | connect_flag2::LARGE_NID;
        Self {
            mgs,
            version: VERSION,
            asks: ConnectData { flags, flags2, version: VERSION, ..ConnectData::default() },
            part: Part::Mgc,
            ping_interval: Duration::from_secs(25),
            request: Duration::from_secs(60),
            attempt: Duration::from_secs(11),
            requeue: Duration::from_secs(5)..Duration::from_secs(10),
        }
    }
}

/// The clients of one network node: callbacks of servers find their client through it.
#[derive(Clone)]
pub struct Node {
    lnet: Lnet,
    clients: Arc<Mutex<HashMap<u64, Weak<Shared>>>>,
}

impl Node {
    /// Takes the portal of lock callbacks of this node. Panics if it has a handler already: one `Node` a network node.
    pub fn new(lnet: Lnet) -> Self {
        let clients: Arc<Mutex<HashMap<u64, Weak<Shared>>>> = Arc::default();
        let by_handle = Arc::clone(&clients);
        lnet.on_put(portal::LDLM_CB_REQUEST, move |request, out| {
            let client =
                |handle: u64| by_handle.lock().expect("no code panics under this lock").get(&handle)?.upgrade();
            crate::lock::callback(request, out, client);
        });
        Self { lnet, clients }
    }

    /// The network node.
    pub fn lnet(&self) -> &Lnet {
        &self.lnet
    }

    /// Connects a new client to an MGS.
    ///
    /// Errors: none of its NIDs answers within [`Config::request`]; it refuses.
    pub async fn connect(&self, config: Config) -> Result<Mgc, MgcError> {
        let shared = Arc::new(Shared {
            lnet: self.lnet.clone(),
            uuid: uuid::Uuid::new_v4().to_string(),
            conn: random(),
            import: Mutex::new(Import::default()),
            connecting: tokio::sync::Mutex::default(),
            outstanding: Mutex::default(),
            locks: Locks::default(),
            config,
        });
        self.clients.lock().expect("no code panics under this lock").insert(shared.conn, Arc::downgrade(&shared));
        let mgc = Mgc { shared: Arc::new(Guard { shared, clients: Arc::clone(&self.clients) }) };
        mgc.shared().connected(mgc.shared().deadline()).await?;
        tokio::spawn(crate::call::ping_while_alive(Arc::downgrade(mgc.shared())));
        Ok(mgc)
    }
}

/// A client of an MGS. Clones are the same client; when the last is dropped, the MGS hears no more of it and evicts it:
/// [`Mgc::disconnect`] is more polite.
#[derive(Clone)]
pub struct Mgc {
    shared: Arc<Guard>,
}

struct Guard {
    shared: Arc<Shared>,
    clients: Arc<Mutex<HashMap<u64, Weak<Shared>>>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.clients.lock().expect("no code panics under this lock").remove(&self.shared.conn);
    }
}

/// What the tasks of a client share.
pub(crate) struct Shared {
    pub(crate) lnet: Lnet,
    pub(crate) config: Config,
    /// Name of the client at the MGS; new with each client.
    pub(crate) uuid: String,
    /// Its handle in callbacks.
    pub(crate) conn: u64,
    pub(crate) import: Mutex<Import>,
    /// Held by whoever connects; others wait and find it done.
    pub(crate) connecting: tokio::sync::Mutex<()>,
    /// Numbers of requests without a reply.
    pub(crate) outstanding: Mutex<BTreeSet<u64>>,
    pub(crate) locks: Locks,
}

impl Mgc {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared.shared
    }

    /// The client's name at the MGS.
    pub fn uuid(&self) -> &str {
        &self.shared().uuid
    }

    /// What the MGS granted at the last connect: flags, its version.
    pub fn granted(&self) -> ConnectData {
        self.shared().import().granted.clone()
    }

    /// The NID of the MGS that is connected, or was last.
    pub fn mgs(&self) -> String {
        self.shared().mgs_name()
    }

    /// How often the client had to begin anew, with no locks: the MGS had restarted, or evicted it.
    pub fn evictions(&self) -> u64 {
        self.shared().import().epoch.saturating_sub(1)
    }

    /// Asks the MGS for a sign of life.
    pub async fn ping(&self) -> Result<(), MgcError> {
        self.shared().call(crate::call::Request::new(Opcode::OBD_PING)).await.map(drop)
    }

    /// Leaves the MGS: it forgets the client and its locks.
    pub async fn disconnect(&self) -> Result<(), MgcError> {
        let shared = self.shared();
        let request = crate::call::Request { is_last: true, ..crate::call::Request::new(Opcode::MGS_DISCONNECT) };
        shared.locks.lose_all();
        let result = shared.call(request).await.map(drop);
        shared.import().is_closed = true;
        result
    }
}

impl Shared {
    pub(crate) fn import(&self) -> std::sync::MutexGuard<'_, Import> {
        self.import.lock().expect("no code panics under this lock")
    }

    /// Until when an ordinary request that begins now may take.
    pub(crate) fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.config.request
    }

    pub(crate) fn mgs_name(&self) -> String {
        let at = self.import().server;
        self.config.mgs.get(at).map_or_else(String::new, Nid::to_string)
    }

    pub(crate) fn link(&self) -> Option<Link> {
        self.import().link.clone()
    }
}

/// A random number that isn't 0.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish() | 1
}

/// A random time, so that many who wait for the same don't go on at once.
pub(crate) fn random_up_to(most: Duration) -> Duration {
    let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(random() % most.max(1))
}

/// The next request number. One sequence for the whole process: replies are told apart by it.
///
/// Begins at the wall clock, so that those of a restarted process don't repeat; the low 7 bits are kept free, as in Lustre.
pub(crate) fn next_xid() -> u64 {
    static NEXT: OnceLock<AtomicU64> = OnceLock::new();
    let next = NEXT.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        AtomicU64::new((now.as_secs() << 20) | ((u64::from(now.subsec_micros()) << 7) & 0xf_ff80))
    });
    next.fetch_add(128, Ordering::Relaxed)
}
