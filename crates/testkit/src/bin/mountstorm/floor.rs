//! The floor: servers that do nothing but read requests of a size and answer with another, on one thread.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as TokioStream;

use crate::server::Process;

/// How the floor is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Sockets and epoll, nothing else.
    Epoll,
    /// Tokio, one task for each connection.
    Tokio,
}

/// Serves for ever.
pub(crate) fn serve(kind: Kind, request: usize, reply: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    match kind {
        Kind::Epoll => serve_epoll(&listener, request, reply),
        Kind::Tokio => {
            listener.set_nonblocking(true)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(serve_tokio(listener, request, reply))
        }
    }
}

/// A connection and how much of its request has arrived.
struct Served {
    stream: TcpStream,
    have: usize,
}

fn serve_epoll(listener: &TcpListener, request: usize, reply: usize) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let readable = |fd: u64| EpollEvent::new(EpollFlags::EPOLLIN, fd);
    let number = |fd: i32| u64::try_from(fd).unwrap_or(u64::MAX);
    epoll.add(listener, readable(number(listener.as_raw_fd())))?;
    let mut served: HashMap<u64, Served> = HashMap::new();
    let (mut events, mut buffer, answer) = (vec![EpollEvent::empty(); 256], vec![0; 64 << 10], vec![7; reply]);
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == number(listener.as_raw_fd()) {
                let Ok((stream, _)) = listener.accept() else { continue };
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                let fd = number(stream.as_raw_fd());
                epoll.add(&stream, readable(fd))?;
                served.insert(fd, Served { stream, have: 0 });
                continue;
            }
            let Some(one) = served.get_mut(&event.data()) else { continue };
            match one.stream.read(&mut buffer) {
                Ok(0) => drop(served.remove(&event.data())),
                Ok(read) => {
                    one.have += read;
                    while one.have >= request {
                        one.have -= request;
                        // A closed loop never fills the socket's buffer.
                        one.stream.write_all(&answer)?;
                    }
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => drop(served.remove(&event.data())),
            }
        }
    }
}

async fn serve_tokio(listener: TcpListener, request: usize, reply: usize) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (mut stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let (mut buffer, answer) = (vec![0; request], vec![7; reply]);
            while stream.read_exact(&mut buffer).await.is_ok() && stream.write_all(&answer).await.is_ok() {}
        });
    }
}

/// A floor at work, and the connections to it.
pub(crate) struct Floor {
    server: Process,
    streams: Vec<TokioStream>,
    /// Connections that nobody speaks over: clients of an MGS have three, and ask over one.
    _idle: Vec<TokioStream>,
    sizes: (usize, usize),
}

impl Floor {
    /// Starts a server for requests and answers of these sizes, and connects so many clients, each with `idle` connections
    /// more than it uses.
    pub(crate) async fn start(kind: Kind, sizes: (usize, usize), clients: usize, idle: usize) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let texts = [sizes.0.to_string(), sizes.1.to_string()];
        command.args(["--serve", &format!("{kind:?}").to_lowercase(), "--sizes"]).args(texts);
        let (server, address) = Process::start(&mut command, "listening on ")?;
        let (mut streams, mut idle_streams) = (Vec::new(), Vec::new());
        for _ in 0..clients {
            for nth in 0..=idle {
                let stream = TokioStream::connect(address).await?;
                stream.set_nodelay(true)?;
                if nth == 0 { streams.push(stream) } else { idle_streams.push(stream) }
            }
        }
        let mut floor = Self { server, streams, _idle: idle_streams, sizes };
        // Once to warm up: connections are accepted before the first answer.
        floor.run(1).await?;
        Ok(floor)
    }

    /// Microseconds of server CPU per RPC, with one request under way on each connection.
    pub(crate) async fn run(&mut self, rounds: usize) -> anyhow::Result<f64> {
        let (request, answer) = self.sizes;
        let streams = self.streams.iter_mut().map(|stream| (stream, vec![1; request]));
        echo(&self.server, streams.collect(), answer, rounds).await
    }
}

/// Sends the same request again and again on each connection, each when the one before is answered. Gives microseconds of
/// server CPU per RPC. Floors and MGS are driven by this same client: how busy it keeps a server decides what one costs.
pub(crate) async fn echo(
    server: &Process,
    streams: Vec<(&mut TokioStream, Vec<u8>)>,
    answer: usize,
    rounds: usize,
) -> anyhow::Result<f64> {
    let rpcs = streams.len() * rounds;
    let one = |(stream, question)| async move {
        let (stream, question): (&mut TokioStream, Vec<u8>) = (stream, question);
        let mut answer = vec![0; answer];
        for _ in 0..rounds {
            stream.write_all(&question).await?;
            stream.read_exact(&mut answer).await?;
        }
        anyhow::Ok(())
    };
    let before = server.usage()?;
    futures::future::join_all(streams.into_iter().map(one)).await.into_iter().collect::<anyhow::Result<Vec<()>>>()?;
    Ok(server.usage()?.us_since(&before) / rpcs as f64)
}
