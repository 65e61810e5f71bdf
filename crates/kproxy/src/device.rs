//! The device: opened, greeted, then one frame at a time in each direction.

use crate::frame::{Command, Event, Frame, FrameError, HEADER_LEN, MAX_PAYLOAD, VERSION};
use lustre_wire::{
    bytes::{Reader, WireError, Writer},
    lnet::WireNid,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use tokio::{io::unix::AsyncFd, sync::Mutex};

/// Where the module puts the device of the MGS daemon.
pub const DEVICE: &str = "/dev/lustre_mgs_proxy";
/// The other end of the module's loop transport, for tests.
pub const PEER_DEVICE: &str = "/dev/lustre_mgs_proxy_peer";
/// Bytes of `struct lmgp_hello`.
const HELLO_LEN: usize = 64;

/// What the module allows a session: `struct lmgp_hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of payload in a frame.
    pub max_payload: u32,
    /// Commands whose last event was not read yet.
    pub max_sends: u32,
    /// Posts that wait.
    pub max_posts: u32,
    /// Unasked messages that are held before the network is held back.
    pub max_queued: u32,
    /// Bytes of payload in sends and posts.
    pub max_bytes: u32,
    /// The network below: "lnet" or "loop".
    pub transport: String,
}

/// Which side of the MGS's protocol a session speaks: it decides which portals it may use for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The MGS daemon.
    Mgs,
    /// The nodes, on the other end of the loop transport.
    Node,
}

impl Role {
    /// Whether every message of a portal can be taken; on others each message needs a post that waits for it.
    pub fn attaches(self, portal: u32) -> bool {
        match self {
            Self::Mgs => [crate::portal::REQUEST, crate::portal::CANCEL].contains(&portal),
            Self::Node => portal == crate::portal::CALLBACK,
        }
    }
}

/// Why the device can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// It can't be opened.
    #[error("can't open {path}: {}", remedy(.source))]
    Open {
        /// The device.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The module is to go, and asks for the device to be closed.
    #[error("the module lustre_mgs_proxy is being unloaded or exchanged")]
    Retired,
    /// The module refused a frame, or the device failed.
    #[error("the kernel proxy refused {what}")]
    Refused {
        /// Which command, or "read".
        what: &'static str,
        /// Its errno.
        source: io::Error,
    },
    /// The module sent what this version does not understand.
    #[error("the kernel proxy sent what is no frame; do the module and the daemon match?")]
    Frame(#[from] FrameError),
}

fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "the module lustre_mgs_proxy is not loaded; load it with modprobe",
        io::ErrorKind::PermissionDenied => "it takes root (CAP_SYS_ADMIN)",
        io::ErrorKind::ResourceBusy => "another daemon has it open",
        _ if is_retired(error) => "the module lustre_mgs_proxy is being unloaded or exchanged",
        _ => "the device failed",
    }
}

fn is_retired(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::ENODEV)
}

impl DeviceError {
    fn refused(what: &'static str, source: io::Error) -> Self {
        if is_retired(&source) { Self::Retired } else { Self::Refused { what, source } }
    }

    /// Whether there is no device now and may be one later: the module isn't loaded, or is being exchanged.
    pub fn is_absence(&self) -> bool {
        match self {
            Self::Open { source, .. } => source.kind() == io::ErrorKind::NotFound || is_retired(source),
            Self::Retired => true,
            Self::Refused { .. } | Self::Frame(_) => false,
        }
    }
}

/// An open device that was greeted. Dropping it ends the session: what was in flight and posted is gone.
#[derive(Debug)]
pub struct Device {
    file: AsyncFd<File>,
    role: Role,
    limits: Limits,
    nids: Vec<WireNid>,
    buffer: Mutex<Vec<u8>>,
}

impl Device {
    /// Opens the device at `path`, agrees on a version, and asks for the node's NIDs.
    ///
    /// Errors: [`DeviceError`]; "open" names the remedy, "HELLO" means that module and daemon have no version in common.
    pub async fn open(path: &Path, role: Role) -> Result<Self, DeviceError> {
        let open = |source| DeviceError::Open { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC)
            .open(path)
            .map_err(open)?;
        let file = watch(file).map_err(open)?;
        let buffer = Mutex::new(vec![0; HEADER_LEN + MAX_PAYLOAD]);
        let unknown = Limits {
            max_payload: 0,
            max_sends: 0,
            max_posts: 0,
            max_queued: 0,
            max_bytes: 0,
            transport: String::new(),
        };
        let mut device = Self { file, role, limits: unknown, nids: Vec::new(), buffer };
        let mut hello = Frame::command(Command::Hello);
        hello.payload.put_u16(VERSION);
        hello.payload.put_u16(VERSION);
        hello.payload.put_zeros(HELLO_LEN - 4);
        device.send(&hello, "HELLO").await?;
        let answer = device.recv().await?;
        debug_assert_eq!(answer.event(), Some(Event::Hello), "nothing else comes first");
        device.limits = limits(&answer.payload).map_err(FrameError::from)?;
        device.send(&Frame::command(Command::Nids), "NIDS").await?;
        let nids = device.recv().await?.payload;
        device.nids = nids.as_chunks().0.iter().map(|bytes| WireNid::from_large(*bytes)).collect();
        Ok(device)
    }

    /// Which side it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The node's own NIDs on the kernel's networks.
    pub fn nids(&self) -> &[WireNid] {
        &self.nids
    }

    /// What the module allows.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sends one frame; waits while the module has as much in flight as it takes. `what` names it in errors.
    ///
    /// Errors: [`DeviceError::Refused`] with the module's errno.
    pub async fn send(&self, frame: &Frame, what: &'static str) -> Result<(), DeviceError> {
        let refused = |source| DeviceError::refused(what, source);
        let bytes = frame.encode();
        loop {
            let mut guard = self.file.writable().await.map_err(refused)?;
            match guard.try_io(|file| file.get_ref().write(&bytes)) {
                Ok(result) => return result.map(|_| ()).map_err(refused),
                Err(_would_block) => continue,
            }
        }
    }

    /// The next frame; one caller at a time gets each.
    pub async fn recv(&self) -> Result<Frame, DeviceError> {
        let refused = |source| DeviceError::refused("a read", source);
        let mut buffer = self.buffer.lock().await;
        loop {
            let mut guard = self.file.readable().await.map_err(refused)?;
            match guard.try_io(|file| file.get_ref().read(&mut buffer)) {
                Ok(result) => return Ok(Frame::decode(&buffer[..result.map_err(refused)?])?),
                Err(_would_block) => continue,
            }
        }
    }
}

#[allow(unsafe_code)]
fn watch(file: File) -> io::Result<AsyncFd<File>> {
    // SAFETY: the file owns its descriptor, and nothing replaces or closes it while the AsyncFd owns the file.
    unsafe { AsyncFd::register(file) }.map_err(Into::into)
}

fn limits(payload: &[u8]) -> Result<Limits, WireError> {
    let mut reader = Reader::new("proxy HELLO", payload);
    reader.u16("version_min")?;
    reader.u16("version_max")?;
    let max_payload = reader.u32("max_payload")?;
    reader.u64("features")?;
    let (max_sends, max_posts) = (reader.u32("max_sends")?, reader.u32("max_posts")?);
    let (max_queued, max_bytes) = (reader.u32("max_queued")?, reader.u32("max_bytes")?);
    let transport: [u8; 16] = reader.array("transport")?;
    let end = transport.iter().position(|byte| *byte == 0).unwrap_or(transport.len());
    let transport = String::from_utf8_lossy(&transport[..end]).into_owned();
    Ok(Limits { max_payload, max_sends, max_posts, max_queued, max_bytes, transport })
}
