//! A stretch of network between a node and the MGS that does what a test wants: cut, lose, delay.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lustre_wire::bytes::Reader;
use lustre_wire::lnet::{Body, FrameHeader, FrameKind, Header, NidForm};

/// What happens to a message.
pub(crate) enum Fate {
    /// It goes on.
    Pass,
    /// It goes on later; what follows on the same connection waits too.
    After(Duration),
    /// It is lost.
    Lost,
    /// It goes on, and then all connections are cut.
    Cut,
}

/// A message on its way.
pub(crate) struct Passing {
    /// Counts all messages of the proxy, from 0.
    pub(crate) number: usize,
    /// True towards the MGS.
    pub(crate) is_request: bool,
    pub(crate) header: Header,
}

impl Passing {
    /// The portal of a PUT.
    pub(crate) fn portal(&self) -> Option<u32> {
        match self.header.body {
            Body::Put { portal, .. } => Some(portal),
            _ => None,
        }
    }
}

type Judge = dyn Fn(&Passing) -> Fate + Send + Sync;

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    mgs: SocketAddr,
    judge: Box<Judge>,
    messages: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub(crate) fn start(
        mgs: SocketAddr,
        judge: impl Fn(&Passing) -> Fate + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (messages, streams) = (AtomicUsize::new(0), Mutex::default());
        let shared = Arc::new(Shared { mgs, judge: Box::new(judge), messages, streams });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                // The MGS may be away: the node finds its connection closed.
                let Ok(server) = TcpStream::connect(accepting.mgs) else { continue };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).expect("a TCP socket");
                    let copy = stream.try_clone().expect("file descriptors are left");
                    accepting.streams.lock().expect("nobody panics").push(copy);
                }
                let both = |stream: &TcpStream| stream.try_clone().expect("file descriptors are left");
                let (from, to, shared) = (both(&client), both(&server), Arc::clone(&accepting));
                // Acceptor request and HELLO; HELLO alone.
                std::thread::spawn(move || shared.carry(from, to, 16 + 56, true));
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || shared.carry(server, client, 56, false));
            }
        });
        Ok(Self { address, shared })
    }

    /// Messages so far.
    pub(crate) fn messages(&self) -> usize {
        self.shared.messages.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn carry(&self, mut from: TcpStream, mut to: TcpStream, handshake: usize, is_request: bool) {
        let _ = self.carry_frames(&mut from, &mut to, handshake, is_request);
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    fn carry_frames(
        &self,
        from: &mut TcpStream,
        to: &mut TcpStream,
        handshake: usize,
        is_request: bool,
    ) -> anyhow::Result<()> {
        let mut bytes = vec![0; handshake];
        from.read_exact(&mut bytes)?;
        to.write_all(&bytes)?;
        loop {
            let mut bytes = vec![0; FrameHeader::LEN];
            from.read_exact(&mut bytes)?;
            let frame = FrameHeader::decode(&mut Reader::new("frame", &bytes))?;
            if frame.kind == FrameKind::Noop {
                to.write_all(&bytes)?;
                continue;
            }
            bytes.resize(FrameHeader::LEN + Header::len(NidForm::Classic), 0);
            from.read_exact(&mut bytes[FrameHeader::LEN..])?;
            let header = Header::decode(&mut Reader::new("header", &bytes[FrameHeader::LEN..]), NidForm::Classic)?;
            let end = bytes.len();
            bytes.resize(end + usize::try_from(header.payload_length)?, 0);
            from.read_exact(&mut bytes[end..])?;
            let number = self.messages.fetch_add(1, Ordering::SeqCst);
            match (self.judge)(&Passing { number, is_request, header }) {
                Fate::Pass => to.write_all(&bytes)?,
                Fate::After(time) => {
                    std::thread::sleep(time);
                    to.write_all(&bytes)?;
                }
                Fate::Lost => {}
                Fate::Cut => {
                    to.write_all(&bytes)?;
                    for stream in self.streams.lock().expect("nobody panics").drain(..) {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                }
            }
        }
    }
}
