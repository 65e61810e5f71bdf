//! Whatever either side writes costs it an errno, and the other side nothing.

use crate::end::{End, attach, hello, post, process, put};
use anyhow::{Result, ensure};
use kproxy::{Command, DEVICE, Event, Flags, Frame, PEER_DEVICE, portal};
use nix::libc;

/// Every field that may be wrong, one at a time.
pub(crate) fn malformed_frames_are_refused_one_by_one() -> Result<()> {
    let (mut mgs, mut node) = End::pair()?;
    let good = put(2, portal::REPLY, 1, b"payload");
    let bytes = good.encode();
    let patched = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        bytes
    };
    for (what, bytes, errno) in [
        ("magic", patched(0, 0), libc::EPROTO),
        ("version", patched(4, 2), libc::EPROTONOSUPPORT),
        ("an event's type", patched(7, 1), libc::EOPNOTSUPP),
        ("type 0", patched(6, 0), libc::EOPNOTSUPP),
        ("a length too large", patched(8, 8), libc::EINVAL),
        ("a length of 4 GiB", patched(11, 0xff), libc::EINVAL),
        ("a status", patched(12, 1), libc::EINVAL),
        ("a peer's NID of 200 bytes", patched(56, 200), libc::EINVAL),
        ("via", patched(105, 2), libc::EINVAL),
        ("reserved bytes in the middle", patched(124, 1), libc::EINVAL),
        ("a sequence", patched(128, 1), libc::EINVAL),
        ("reserved bytes at the end", patched(159, 1), libc::EINVAL),
        ("no header", bytes[..100].to_vec(), libc::EINVAL),
        ("nothing but a header with a length", bytes[..160].to_vec(), libc::EINVAL),
        (
            "more than a MiB",
            {
                let mut long = bytes.clone();
                long.resize(160 + (1 << 20) + 1, 0);
                long
            },
            libc::EMSGSIZE,
        ),
    ] {
        let error = mgs.write_bytes(&bytes).expect_err(what);
        ensure!(error.raw_os_error() == Some(errno), "{what}: {error}");
    }
    for (what, frame, errno) in [
        ("a portal of somebody else", put(2, 4, 1, b""), libc::EPERM),
        ("a portal beyond all", put(2, 1 << 20, 1, b""), libc::EPERM),
        ("a put to requests", put(2, portal::REQUEST, 1, b""), libc::EPERM),
        ("attach of replies", attach(portal::REPLY), libc::EPERM),
        ("a post on requests", post(portal::REQUEST, 1, 1, 10), libc::EPERM),
        ("a post without cookie", post(portal::CALLBACK_ANSWER, 1, 0, 10), libc::EINVAL),
        ("a post of 2 MiB", post(portal::CALLBACK_ANSWER, 1, 1, 2 << 20), libc::EINVAL),
        ("an unknown flag", Frame { flags: Flags(8), ..good.clone() }, libc::EINVAL),
        ("a put to nobody", Frame { peer: kproxy::Process::NONE, ..good.clone() }, libc::EDESTADDRREQ),
        (
            "a get of nothing",
            Frame { portal: portal::BULK, peer: process(2), ..Frame::command(Command::Get) },
            libc::EINVAL,
        ),
        ("a short HELLO", Frame { payload: vec![1, 0, 1, 0], ..hello() }, libc::EINVAL),
    ] {
        ensure!(mgs.refusal(&frame)? == errno, "{what}: {}", mgs.refusal(&frame)?);
    }
    node.write(&put(1, portal::REQUEST, 1, b"still works"))?;
    ensure!(mgs.expect(Event::Put)?.payload == b"still works");
    Ok(())
}

/// Numbers that look random, the same in every run of a seed.
pub(crate) struct Random(u64);

impl Random {
    /// Starts at a seed, which is not 0.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits") % end
    }
}

fn mutated(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..random.below(4) {
        let at = random.below(bytes.len());
        bytes[at] = u8::try_from(random.below(256)).expect("a byte");
    }
    if random.below(8) == 0 {
        bytes.truncate(random.below(bytes.len()) + 1);
    }
    bytes
}

/// Mutated commands on both ends, with reads in between; afterwards both work as before.
pub(crate) fn mutated_frames_break_nothing() -> Result<()> {
    let readable = Frame { flags: Flags::READABLE, payload: vec![7; 300], ..post(portal::BULK, 3, 3, 0) };
    let seeds: Vec<Vec<u8>> = [
        hello(),
        attach(portal::REQUEST),
        Frame { portal: portal::CANCEL, ..Frame::command(Command::Detach) },
        put(2, portal::REPLY, 1, &[1; 200]),
        put(1, portal::REQUEST, 1, &[1; 200]),
        Frame { flags: Flags(3), cookie: 1, ..put(2, portal::CALLBACK, 1, b"x") },
        post(portal::CALLBACK_ANSWER, 1, 7, 1000),
        post(portal::REPLY, 1, 8, 1000),
        readable,
        Frame {
            portal: portal::BULK,
            match_bits: 3,
            rlength: 500,
            cookie: 2,
            peer: process(2),
            ..Frame::command(Command::Get)
        },
        Frame { cookie: 7, ..Frame::command(Command::Unlink) },
        Frame::command(Command::Nids),
    ]
    .iter()
    .map(Frame::encode)
    .collect();
    let mut random = Random::new(0x5eed_1234_5678_9abc);
    let (mut mgs, mut node) = End::pair()?;
    let mut taken = 0;
    for _ in 0..30_000 {
        let bytes = mutated(&mut random, &seeds);
        let end = if random.below(2) == 0 { &mut mgs } else { &mut node };
        taken += u32::from(end.write_bytes(&bytes).is_ok());
        if random.below(3) == 0 {
            mgs.try_read()?;
            node.try_read()?;
        }
    }
    ensure!(taken > 1000, "only {taken} mutants were understood: the test is blunt");
    drop((mgs, node));
    crate::messages::a_request_and_its_reply()
}

/// Only root opens it, and one at a time.
pub(crate) fn one_root_at_a_time() -> Result<()> {
    let mgs = End::mgs()?;
    let again = End::open(DEVICE).err().expect("it is open");
    ensure!(again.raw_os_error() == Some(libc::EBUSY));
    drop(mgs);
    for path in [DEVICE, PEER_DEVICE] {
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let status = std::process::Command::new("/bin/su")
            .args(["nobody", "-s", "/bin/sh", "-c", &format!("exec 3<>{path}")])
            .stderr(std::process::Stdio::piped())
            .output()?;
        let text = String::from_utf8_lossy(&status.stderr).into_owned();
        ensure!(!status.status.success() && text.contains("not permitted"), "{path}: {text}");
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    }
    drop(End::mgs()?);
    Ok(())
}
