//! Accepts connections, on TCP and unix sockets, and serves them until told to stop.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::Identity;
use super::gathered::Gathered;
use super::handover::{Handover, Telling};

/// Connections of one listener at a time; more wait until one ends.
const MAX_CONNECTIONS: usize = 4096;
/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long requests under way may take once the server is told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A bound socket.
pub struct Listener {
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Listener {
    /// Listens on a TCP address. Errors: the operating system's.
    pub async fn tcp(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { socket: Socket::Tcp(TcpListener::bind(address).await?) })
    }

    /// Listens on a unix socket that only its owner may use.
    ///
    /// A socket that a dead server left behind is replaced. Errors: `AddrInUse` while a server listens on it; the
    /// operating system's.
    pub async fn unix(path: &Path) -> io::Result<Self> {
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another server listens on it"));
        }
        let is_left_over = std::fs::symlink_metadata(path).is_ok_and(|found| {
            use std::os::unix::fs::FileTypeExt;
            found.file_type().is_socket()
        });
        if is_left_over {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        Ok(Self { socket: Socket::Unix(listener, path.to_owned()) })
    }

    /// Where clients find it: `http://127.0.0.1:7070` or `unix:///run/x.sock`.
    pub fn url(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "http://?".to_owned(), |address| format!("http://{address}"))
            }
            Socket::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// Whether its address says how another machine reaches it.
    #[cfg(feature = "daemon")]
    pub(crate) fn is_for_others(&self) -> bool {
        let Socket::Tcp(listener) = &self.socket else { return false };
        listener.local_addr().is_ok_and(|address| !address.ip().is_loopback() && !address.ip().is_unspecified())
    }

    /// Serves until `stop` says true, then until the requests under way are answered, but not much longer.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                accepted = self.accept() => accepted,
                () = told(&mut stop) => break,
            };
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, identity)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    connections.spawn(async move {
                        serve_one(stream, identity, router, stop).await;
                        drop(slot);
                    });
                }
                Err(err) => {
                    // Most likely out of file descriptors: some will be free again.
                    warn!(error = %err, "can't accept a connection, will try again");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(STOP_TIMEOUT, ended).await;
        if let Socket::Unix(_, path) = &self.socket {
            let _ = std::fs::remove_file(path);
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, Identity)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Box::new(stream), Identity::Remote { address: peer.ip() }))
            }
            Socket::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred()?.uid();
                Ok((Box::new(stream), Identity::Local { uid }))
            }
        }
    }
}

/// Waits until the server is told to stop, or nobody is left who could tell.
async fn told(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

async fn serve_one(stream: Box<dyn Stream>, identity: Identity, router: Router, mut stop: watch::Receiver<bool>) {
    let handover = Handover::default();
    let passed = handover.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(identity.clone());
        request.extensions_mut().insert(passed.clone());
        router.clone().oneshot(request)
    });
    let mut http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(Gathered::new(stream, handover.clone())), service);
    let served = tokio::select! {
        served = poll_fn(|cx| handover.poll(&mut http, cx)) => served,
        () = told(&mut stop) => {
            std::pin::Pin::new(&mut http).graceful_shutdown();
            poll_fn(|cx| handover.poll(&mut http, cx)).await
        }
    };
    match served {
        Ok(None) => {}
        Ok(Some(events)) => {
            let stream = http.into_parts().io.into_inner().into_inner();
            if let Err(err) = Telling::new(stream, events).await {
                debug!(error = %err, "a stream of events ended early");
            }
        }
        Err(err) => debug!(error = %err, "a connection ended early"),
    }
}
