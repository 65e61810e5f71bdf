//! Nodes on loopback, and a peer made of a bare socket that does whatever a test wants.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a test ends where something is wrong")]

use lnet::{Accept, Config, Lnet};
use lustre_types::Nid;
use lustre_wire::{
    bytes::Reader,
    lnet::{
        AcceptorRequest, Body, ConnType, FrameHeader, FrameKind, Header, Hello, HelloVersion, NidForm, PID_LUSTRE,
        WireHandle, WireNid,
    },
};
use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long anything may take that takes moments on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn nid(text: &str) -> Nid {
    text.parse().unwrap()
}

pub(crate) fn wire(text: &str) -> WireNid {
    WireNid::from(&nid(text))
}

pub(crate) fn listening(nids: &[&str]) -> Config {
    let mut config = Config::new(nids.iter().map(|text| nid(text)).collect());
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.accept = Accept::All;
    config
}

pub(crate) async fn server(nids: &[&str]) -> Lnet {
    Lnet::start(listening(nids)).await.unwrap()
}

/// A node that listens nowhere and knows where `server` is.
pub(crate) async fn client(own: &str, server: &Lnet) -> Lnet {
    let client = Lnet::start(Config::new(vec![nid(own)])).await.unwrap();
    for remote in server.nids() {
        client.set_address(&remote.nid().unwrap(), server.addresses()[0]);
    }
    client
}

/// One connection of a peer that a test plays itself.
pub(crate) struct RawConn {
    pub(crate) stream: TcpStream,
    pub(crate) own: WireNid,
    pub(crate) remote: WireNid,
}

/// A frame, and the message in it unless it is a NOOP.
pub(crate) type Received = (FrameHeader, Option<(Header, Vec<u8>)>);

pub(crate) fn hello(own: WireNid, remote: WireNid, ctype: ConnType, incarnation: u64) -> Vec<u8> {
    let hello = Hello {
        version: HelloVersion::V3,
        src_nid: own,
        dst_nid: remote,
        src_pid: PID_LUSTRE,
        dst_pid: 0,
        src_incarnation: incarnation,
        dst_incarnation: 0,
        ctype,
        ips: Vec::new(),
    };
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    bytes
}

pub(crate) fn request(remote: WireNid) -> Vec<u8> {
    let mut bytes = Vec::new();
    AcceptorRequest::Connect { nid: remote }.encode(&mut bytes);
    bytes
}

pub(crate) fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

impl RawConn {
    /// Opens a connection; gives the answer's type too.
    pub(crate) fn open(to: &Lnet, own: &str, ctype: ConnType, incarnation: u64) -> (Self, Hello) {
        Self::over(connect(to.addresses()[0]), to, own, ctype, incarnation)
    }

    /// The same over a connected socket.
    pub(crate) fn over(
        mut stream: TcpStream,
        to: &Lnet,
        own: &str,
        ctype: ConnType,
        incarnation: u64,
    ) -> (Self, Hello) {
        let (own, remote) = (wire(own), to.nids()[0]);
        stream.write_all(&[request(remote), hello(own, remote, ctype, incarnation)].concat()).unwrap();
        let mut answer = [0; 56];
        stream.read_exact(&mut answer).unwrap();
        let answer = Hello::decode(&mut Reader::new("hello", &answer)).unwrap();
        (Self { stream, own, remote }, answer)
    }

    pub(crate) fn header(&self, body: Body, payload: &[u8]) -> Header {
        let payload_length = u32::try_from(payload.len()).unwrap();
        Header {
            dest_nid: self.remote,
            src_nid: self.own,
            dest_pid: PID_LUSTRE,
            src_pid: PID_LUSTRE,
            payload_length,
            body,
        }
    }

    pub(crate) fn send(&mut self, body: Body, payload: &[u8]) {
        let bytes = frame(FrameHeader::PLAIN, &self.header(body, payload), payload);
        self.stream.write_all(&bytes).unwrap();
    }

    /// The next frame; `None` at the end of the connection.
    pub(crate) fn receive(&mut self) -> Option<Received> {
        let mut head = [0; FrameHeader::LEN];
        match self.stream.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("nothing came"),
            Err(_) => return None,
        }
        let frame = FrameHeader::decode(&mut Reader::new("frame", &head)).unwrap();
        if frame.kind == FrameKind::Noop {
            return Some((frame, None));
        }
        let mut bytes = [0; 72];
        self.stream.read_exact(&mut bytes).unwrap();
        let header = Header::decode(&mut Reader::new("header", &bytes), NidForm::Classic).unwrap();
        let mut payload = vec![0; header.payload_length as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Some((frame, Some((header, payload))))
    }

    /// True once the other side has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.receive().is_none()
    }
}

pub(crate) fn frame(frame: FrameHeader, header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    header.encode(&mut bytes, NidForm::Classic);
    bytes.extend_from_slice(payload);
    bytes
}

pub(crate) fn put(portal: u32, match_bits: u64) -> Body {
    Body::Put { ack_wmd: WireHandle::NONE, match_bits, hdr_data: 0, portal, offset: 0 }
}

pub(crate) fn ping() -> Body {
    let return_wmd = WireHandle { interface_cookie: 7, object_cookie: 8 };
    Body::Get { return_wmd, match_bits: 1 << 63, portal: 0, src_offset: 0, sink_length: 272 }
}
