//! The floor: servers that do nothing but read requests of a size and answer with another, on one thread.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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

/// Microseconds of server CPU per RPC, of so many connections that each have one request under way.
pub(crate) async fn measure(
    kind: Kind,
    request: usize,
    reply: usize,
    clients: usize,
    rounds: usize,
) -> anyhow::Result<f64> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--serve", &format!("{kind:?}").to_lowercase(), "--sizes", &request.to_string(), &reply.to_string()]);
    let (server, address) = Process::start(&mut command, "listening on ")?;
    let mut streams = Vec::new();
    for _ in 0..clients {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        streams.push(stream);
    }
    // Once to warm up: connections are accepted before the first answer.
    echo(&mut streams, request, reply, 1).await?;
    let before = server.usage()?;
    echo(&mut streams, request, reply, rounds).await?;
    let after = server.usage()?;
    Ok((after.cpu - before.cpu).as_secs_f64() * 1e6 / (clients * rounds) as f64)
}

async fn echo(
    streams: &mut [tokio::net::TcpStream],
    request: usize,
    reply: usize,
    rounds: usize,
) -> anyhow::Result<()> {
    let one = |stream| async move {
        let stream: &mut tokio::net::TcpStream = stream;
        let (question, mut answer) = (vec![1; request], vec![0; reply]);
        for _ in 0..rounds {
            stream.write_all(&question).await?;
            stream.read_exact(&mut answer).await?;
        }
        anyhow::Ok(())
    };
    futures::future::join_all(streams.iter_mut().map(one)).await.into_iter().collect()
}
