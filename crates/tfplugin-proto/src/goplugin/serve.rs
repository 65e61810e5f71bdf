//! The process of a provider, from handshake to end.

use std::io::{self, Write};
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server as Grpc;
use tonic::transport::server::Connected;
use tracing::warn;

use super::handshake::{HandshakeError, Host, PROTOCOL};
use super::services::{Broker, Controller, Stdio, Stop};
use super::socket::{self, Socket};
use super::tls::{self, Tls, TlsError};
use crate::framework::Provider;
use crate::hclog;
use crate::proto::plugin::grpc_broker_server::GrpcBrokerServer;
use crate::proto::plugin::grpc_controller_server::GrpcControllerServer;
use crate::proto::plugin::grpc_stdio_server::GrpcStdioServer;
use crate::proto::provider_server::ProviderServer;
use crate::server::Server;

/// How long a connection may take for its TLS handshake.
const TLS_TIMEOUT: Duration = Duration::from_secs(30);
/// How long terraform may take to connect after the handshake line, before we take it for dead.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the last replies may take to leave. Terraform kills after two seconds.
const GRACE: Duration = Duration::from_millis(100);

/// What a provider says about itself.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its address: `registry.terraform.io/chandelier/lustre`.
    pub address: &'static str,
    /// Its version, for `--version`.
    pub version: &'static str,
}

/// Why a provider can't be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The host's environment isn't right.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No socket.
    #[error("can't listen on a unix socket")]
    Socket(#[source] io::Error),
    /// No runtime, or no signals.
    #[error("can't start")]
    Start(#[source] io::Error),
    /// The line could not be written.
    #[error("can't write the handshake line to stdout")]
    Line(#[source] io::Error),
    /// gRPC ended with an error.
    #[error("gRPC failed")]
    Grpc(#[from] tonic::transport::Error),
}

/// Runs a provider binary: all that its `main` does.
///
/// Serves terraform until it is done; with `--debug`, waits for a terraform that is told where to connect; run by a
/// person, says what this is.
pub fn run<P: Provider>(options: &Options, provider: impl FnOnce() -> P) -> ExitCode {
    let argument = std::env::args().nth(1);
    let served = match argument.as_deref() {
        None => Host::from_env(|name| std::env::var(name).ok())
            .map_err(ServeError::from)
            .and_then(|host| serve(options, Some(host), provider)),
        Some("--debug" | "-debug") => serve(options, None, provider),
        Some("--version" | "-version") => {
            let _ = writeln!(io::stdout(), "{} {} (protocol {PROTOCOL})", options.address, options.version);
            return ExitCode::SUCCESS;
        }
        Some(other) => {
            let help = !matches!(other, "--help" | "-h" | "-help");
            let _ = writeln!(io::stderr(), "{}", usage(options));
            return if help { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Handshake(HandshakeError::NoHost)) => {
            let _ = writeln!(io::stderr(), "{}", usage(options));
            ExitCode::FAILURE
        }
        Err(err) => {
            let mut message = format!("{}: {err}", options.address);
            let mut source = std::error::Error::source(&err);
            while let Some(cause) = source {
                message = format!("{message}: {cause}");
                source = cause.source();
            }
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::FAILURE
        }
    }
}

fn usage(options: &Options) -> String {
    let Options { address, version } = options;
    format!(
        "This is the Terraform provider {address} {version}. Terraform starts it; it does nothing by hand.\n\
         Put it where Terraform looks for providers (`terraform init` does that) and name {address:?} in `required_providers`.\n\
         \n\
         --debug     serve one provider to many runs of terraform, e.g. under a debugger; says what to export\n\
         --version   print the version"
    )
}

fn serve<P: Provider>(options: &Options, host: Option<Host>, provider: impl FnOnce() -> P) -> Result<(), ServeError> {
    hclog::init(host.is_none());
    // Two threads: calls wait for the network, and every process start counts, three of them a plan.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServeError::Start)?;
    let served = runtime.block_on(serve_async(options, host, provider));
    // Whatever still runs was started by a terraform that is gone.
    runtime.shutdown_background();
    served
}

async fn serve_async<P: Provider>(
    options: &Options,
    host: Option<Host>,
    provider: impl FnOnce() -> P,
) -> Result<(), ServeError> {
    let stop = Stop::new();
    handle_signals(&stop, host.is_none()).map_err(ServeError::Start)?;
    let tls = match host.as_ref().and_then(|host| host.client_cert.clone()) {
        Some(client_cert) => Some(tls::pinned(client_cert)?),
        None => None,
    };
    let Socket { listener, path, dir: _dir } =
        socket::listen(socket::bases(|name| std::env::var(name).ok())).map_err(ServeError::Socket)?;
    let line = match &host {
        Some(host) => host.line(&path, tls.as_ref().map(|tls| &tls.server_cert)),
        None => reattach(options.address, &path),
    };
    // One write, flushed, and nothing on stdout before it.
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).map_err(ServeError::Line)?;
    drop(stdout);

    let connections = accept(listener, tls.map(|tls: Tls| tls.config), &stop, host.is_some());
    let service = ProviderServer::new(Server::new(Arc::new(provider())))
        // tonic's own limit is 4 MiB; a state or an attribute may be larger, and terraform is trusted.
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX);
    let broker = Broker { stop: stop.clone(), ends_with_client: host.is_some() };
    let graceful = Grpc::builder()
        .add_service(service)
        .add_service(GrpcControllerServer::new(Controller(stop.clone())))
        .add_service(GrpcBrokerServer::new(broker))
        .add_service(GrpcStdioServer::new(Stdio(stop.clone())))
        .serve_with_incoming_shutdown(ReceiverStream::new(connections), stop.requested());
    let too_long = async {
        stop.requested().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = graceful => served?,
        () = too_long => {}
    }
    Ok(())
}

/// What a person exports so that terraform uses this process.
fn reattach(address: &str, socket: &std::path::Path) -> String {
    let config = serde_json::json!({ address: {
        "Protocol": "grpc",
        "ProtocolVersion": PROTOCOL,
        "Pid": std::process::id(),
        "Test": true,
        "Addr": { "Network": "unix", "String": socket },
    }});
    format!("Provider started. To use it, in another shell:\n\n  export TF_REATTACH_PROVIDERS='{config}'\n\n")
}

/// Ctrl-C reaches the whole process group: terraform then asks us to stop, and waits for a running apply. So only a
/// person at `--debug` stops us with it.
fn handle_signals(stop: &Stop, stops_on_interrupt: bool) -> io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => if stops_on_interrupt { break },
                _ = terminate.recv() => break,
            }
        }
        stop.request();
    });
    Ok(())
}

/// Accepts connections, each with its TLS handshake in a task of its own, so that a silent peer delays nobody.
fn accept(
    listener: UnixListener,
    tls: Option<Arc<ServerConfig>>,
    stop: &Stop,
    ends_without_client: bool,
) -> mpsc::Receiver<io::Result<Connection>> {
    let (sender, receiver) = mpsc::channel(8);
    let stop = stop.clone();
    tokio::spawn(async move {
        let acceptor = tls.map(TlsAcceptor::from);
        let mut is_first = ends_without_client;
        loop {
            let accepted = if is_first {
                let Ok(accepted) = tokio::time::timeout(CONNECT_TIMEOUT, listener.accept()).await else {
                    warn!("nobody connected; terraform is gone");
                    stop.request();
                    return;
                };
                accepted
            } else {
                listener.accept().await
            };
            is_first = false;
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(err) => {
                    warn!(error = %err, "can't accept a connection");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            };
            let (sender, acceptor) = (sender.clone(), acceptor.clone());
            tokio::spawn(async move {
                let connection = match acceptor {
                    None => Connection::Plain(stream),
                    Some(acceptor) => match tokio::time::timeout(TLS_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => Connection::Tls(Box::new(stream)),
                        Ok(Err(err)) => return warn!(error = %err, "connection refused"),
                        Err(_) => return warn!("connection refused: no TLS handshake in time"),
                    },
                };
                let _ = sender.send(Ok(connection)).await;
            });
        }
    });
    receiver
}

/// A connection from terraform.
enum Connection {
    Plain(UnixStream),
    Tls(Box<TlsStream<UnixStream>>),
}

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
