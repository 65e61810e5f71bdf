//! One end of the loop transport, as a test uses it: blocking, with a deadline on everything.

use anyhow::{Context, Result, bail, ensure};
use kproxy::{Command, DEVICE, Event, Frame, MAX_PAYLOAD, PEER_DEVICE, Process, VERSION};
use lustre_wire::lnet::WireNid;
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
};

/// How long anything may take in a virtual machine without hardware support, on a busy host, in milliseconds.
const PATIENCE_MS: u16 = 20_000;

/// An open device.
pub(crate) struct End {
    file: File,
    buffer: Vec<u8>,
    last_sequence: u64,
}

impl End {
    /// Opens a device without greeting it.
    pub(crate) fn open(path: &str) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(Self { file, buffer: vec![0; MAX_PAYLOAD + 4096], last_sequence: 0 })
    }

    fn greeted(path: &str) -> Result<Self> {
        let mut end = Self::open(path).with_context(|| format!("open {path}"))?;
        end.write(&hello())?;
        end.expect(Event::Hello)?;
        Ok(end)
    }

    /// The daemon's end, greeted, with the portals of an MGS attached.
    pub(crate) fn mgs() -> Result<Self> {
        let mut end = Self::greeted(DEVICE)?;
        end.write(&attach(kproxy::portal::REQUEST))?;
        end.write(&attach(kproxy::portal::CANCEL))?;
        Ok(end)
    }

    /// The nodes' end, greeted, with the portal of lock callbacks attached.
    pub(crate) fn node() -> Result<Self> {
        let mut end = Self::greeted(PEER_DEVICE)?;
        end.write(&attach(kproxy::portal::CALLBACK))?;
        Ok(end)
    }

    /// Both ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        Ok((Self::mgs()?, Self::node()?))
    }

    /// Writes raw bytes as one frame.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write(bytes)?;
        assert_eq!(written, bytes.len(), "a frame is taken whole or not at all");
        Ok(())
    }

    /// Writes a frame; does not wait.
    pub(crate) fn write(&mut self, frame: &Frame) -> io::Result<()> {
        self.write_bytes(&frame.encode())
    }

    /// The errno that a frame is refused with.
    pub(crate) fn refusal(&mut self, frame: &Frame) -> Result<i32> {
        match self.write(frame) {
            Ok(()) => bail!("{frame:?} was taken"),
            Err(error) => error.raw_os_error().context("no errno"),
        }
    }

    /// The next frame if there is one now.
    pub(crate) fn try_read(&mut self) -> Result<Option<Frame>> {
        let length = match self.file.read(&mut self.buffer) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error).context("read"),
        };
        let frame = Frame::decode(&self.buffer[..length])?;
        ensure!(frame.sequence == self.last_sequence + 1, "event {} after {}", frame.sequence, self.last_sequence);
        self.last_sequence = frame.sequence;
        Ok(Some(frame))
    }

    /// A read into `buffer`, for buffers of odd sizes.
    pub(crate) fn read_into(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }

    /// What poll() says without waiting.
    pub(crate) fn ready(&self) -> Result<PollFlags> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLIN | PollFlags::POLLOUT)];
        poll(&mut fds, PollTimeout::ZERO)?;
        fds[0].revents().context("unknown poll flags")
    }

    fn wait(&self, flags: PollFlags) -> Result<()> {
        let mut fds = [PollFd::new(self.file.as_fd(), flags)];
        ensure!(poll(&mut fds, PATIENCE_MS)? == 1, "nothing came in {PATIENCE_MS} ms");
        Ok(())
    }

    /// The next frame.
    pub(crate) fn read(&mut self) -> Result<Frame> {
        self.wait(PollFlags::POLLIN)?;
        self.try_read()?.context("poll says readable, read says no")
    }

    /// The next frame, which must be this event.
    pub(crate) fn expect(&mut self, event: Event) -> Result<Frame> {
        let frame = self.read()?;
        ensure!(frame.event() == Some(event), "wanted {event:?}, got {frame:?}");
        Ok(frame)
    }
}

/// A HELLO for the version there is.
pub(crate) fn hello() -> Frame {
    let mut frame = Frame::command(Command::Hello);
    frame.payload = vec![0; 64];
    frame.payload[..2].copy_from_slice(&VERSION.to_le_bytes());
    frame.payload[2..4].copy_from_slice(&VERSION.to_le_bytes());
    frame
}

/// ATTACH of `portal`.
pub(crate) fn attach(portal: u32) -> Frame {
    Frame { portal, ..Frame::command(Command::Attach) }
}

/// 192.0.2.`host`@tcp.
pub(crate) fn nid(host: u8) -> WireNid {
    WireNid::tcp(IpAddr::V4(Ipv4Addr::new(192, 0, 2, host)), 0)
}

/// A Lustre process on that host.
pub(crate) fn process(host: u8) -> Process {
    Process { nid: nid(host), pid: 12345 }
}

/// A put of `payload` to that host.
pub(crate) fn put(host: u8, portal: u32, match_bits: u64, payload: &[u8]) -> Frame {
    Frame { portal, match_bits, peer: process(host), payload: payload.to_vec(), ..Frame::command(Command::Put) }
}

/// A post for one put of up to `rlength` bytes.
pub(crate) fn post(portal: u32, match_bits: u64, cookie: u64, rlength: u32) -> Frame {
    Frame { portal, match_bits, cookie, rlength, ..Frame::command(Command::Post) }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at * 31 % 251).expect("below 251")).collect()
}
