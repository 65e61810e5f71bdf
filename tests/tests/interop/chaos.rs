//! Strangers who throw mutated recordings at a live MGS, while a good client works undisturbed.
//!
//! A few seconds by default; `LUSTRE_CHAOS_SECONDS=30` for longer. Each stranger prints its seed when it fails.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use lustre_types::Nid;
use lustre_wire::bytes::Reader;
use lustre_wire::fixed::Fixed;
use lustre_wire::lnet::{
    AcceptorRequest, Body, ConnType, FrameHeader, Header, Hello, HelloVersion, NidForm, PID_LUSTRE, WireHandle, WireNid,
};
use lustre_wire::ptlrpc::{Message, portal};
use testkit::Mgs;

use crate::site::{MGS, mdt, mgc, mount, ost};

/// Strangers at the same time.
const STRANGERS: u64 = 4;
/// What a good client's mount may take meanwhile, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A small random source: a failing seed can be played again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap_or(0) % sides.max(1)
    }
}

/// Requests as recorded, with their portals.
fn recordings() -> anyhow::Result<Vec<(u32, Vec<u8>)>> {
    let testdata = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/lustre-wire/testdata");
    let mut recordings = Vec::new();
    for format in ["ptlrpc", "ldlm", "mgs"] {
        for entry in std::fs::read_dir(testdata.join(format))? {
            let bytes = recorded(&std::fs::read_to_string(entry?.path())?)?;
            let Ok(message) = Message::decode(&bytes) else { continue };
            let body = lustre_wire::ptlrpc::Body::decode(message.buffer(0).unwrap_or_default())?;
            recordings.push((portal::of(body.opc), bytes));
        }
    }
    ensure!(recordings.len() > 15, "only {} recordings", recordings.len());
    Ok(recordings)
}

/// A recording's bytes: a line of origin that says how many, then `offset: hex`.
fn recorded(text: &str) -> anyhow::Result<Vec<u8>> {
    let (origin, ranges) = text.split_once('\n').context("a line of origin")?;
    let len = origin.rsplit("; ").next().and_then(|rest| rest.split(' ').next()).context("a length")?;
    let mut bytes = vec![0; len.parse()?];
    for line in ranges.lines() {
        let (offset, hex) = line.split_once(": ").context("offset: hex")?;
        let offset = usize::from_str_radix(offset, 16)?;
        for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
            bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair)?, 16)?;
        }
    }
    Ok(bytes)
}

fn wire(nid: &str) -> WireNid {
    WireNid::from(&nid.parse::<Nid>().expect("NIDs here are well formed"))
}

fn frame(from: WireNid, to_portal: u32, match_bits: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    FrameHeader::PLAIN.encode(&mut bytes);
    let body = Body::Put { ack_wmd: WireHandle::NONE, match_bits, hdr_data: 0, portal: to_portal, offset: 0 };
    let payload_length = u32::try_from(payload.len()).expect("recordings are small");
    let (dest_pid, src_pid) = (PID_LUSTRE, PID_LUSTRE);
    Header { dest_nid: wire(MGS), src_nid: from, dest_pid, src_pid, payload_length, body }
        .encode(&mut bytes, NidForm::Classic);
    bytes.extend_from_slice(payload);
    bytes
}

fn handshake(from: WireNid) -> Vec<u8> {
    let mut bytes = Vec::new();
    AcceptorRequest::Connect { nid: wire(MGS) }.encode(&mut bytes);
    Hello {
        version: HelloVersion::V3,
        src_nid: from,
        dst_nid: wire(MGS),
        src_pid: PID_LUSTRE,
        dst_pid: PID_LUSTRE,
        src_incarnation: 1,
        dst_incarnation: 0,
        ctype: ConnType::CONTROL,
        ips: Vec::new(),
    }
    .encode(&mut bytes);
    bytes
}

/// Changes some of the bytes; lengths and counts more than others.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    const NUMBERS: [u32; 8] = [0, 1, 31, 32, 0x7FFF_FFFF, 0x8000_0000, u32::MAX - 7, u32::MAX];
    for _ in 0..1 + dice.roll(4) {
        match dice.roll(6) {
            0 => bytes.truncate(dice.roll(bytes.len() + 1)),
            1 | 2 => {
                // A word at the front of a message or of one of its first buffers: counts, lengths, flags.
                let at = 4 * dice.roll(80);
                if let Some(word) = bytes.get_mut(at..at + 4) {
                    word.copy_from_slice(&NUMBERS[dice.roll(NUMBERS.len())].to_le_bytes());
                }
            }
            3 => {
                let (at, len) = (dice.roll(bytes.len()), dice.roll(64));
                // Texts without an end.
                bytes.iter_mut().skip(at).take(len).for_each(|byte| *byte = 0xFF);
            }
            4 => bytes.extend(std::iter::repeat_n(0xA5, dice.roll(300))),
            _ => {
                let at = dice.roll(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.roll(8);
                }
            }
        }
    }
}

/// One stranger's connection. Gives how many messages it threw.
fn attack(dice: &mut Dice, mgs: SocketAddr, recordings: &[(u32, Vec<u8>)], name: u64) -> std::io::Result<usize> {
    let mut stream = TcpStream::connect(mgs)?;
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    stream.set_write_timeout(Some(Duration::from_millis(500)))?;
    let from = wire(&format!("10.66.{name}.{}@tcp", dice.roll(250)));
    let mut hello = handshake(from);
    if dice.roll(4) == 0 {
        mutate(dice, &mut hello);
        stream.write_all(&hello)?;
        return Ok(1);
    }
    stream.write_all(&hello)?;
    let mut answer = [0; 56];
    stream.read_exact(&mut answer)?;
    // Most are connected, so that what they send gets further than the check of the handle.
    let handle = if dice.roll(4) == 0 { 0 } else { connected(dice, &mut stream, from, recordings)? };
    let mut thrown = 0;
    for _ in 0..40 {
        let (to_portal, message) = &recordings[dice.roll(recordings.len())];
        let mut message = message.clone();
        let body = 32 + 4 * usize::from(message[0]);
        let body = body.next_multiple_of(8);
        message[body..body + 8].copy_from_slice(&handle.to_le_bytes());
        if dice.roll(8) > 0 {
            mutate(dice, &mut message);
        }
        let bits = u64::try_from(dice.roll(1 << 30)).unwrap_or(0);
        let mut bytes = frame(from, *to_portal, bits, &message);
        if dice.roll(10) == 0 {
            mutate(dice, &mut bytes);
        }
        stream.write_all(&bytes)?;
        thrown += 1;
    }
    // Whatever comes back is read by nobody: the MGS has to bear that, too.
    Ok(thrown)
}

/// Connects as a client with a uuid of its own. Gives the export's handle.
fn connected(
    dice: &mut Dice,
    stream: &mut TcpStream,
    from: WireNid,
    recordings: &[(u32, Vec<u8>)],
) -> std::io::Result<u64> {
    let mut connect = recordings.iter().find(|(_, bytes)| bytes.len() == 520).expect("a connect is recorded").1.clone();
    let uuid = format!("{:08x}", dice.roll(usize::MAX >> 12));
    let start = connect.windows(4).position(|four| four == b"MGS\0").expect("it names the MGS") + 40;
    connect[start..start + uuid.len().min(36)].copy_from_slice(&uuid.as_bytes()[..uuid.len().min(36)]);
    stream.write_all(&frame(from, portal::MGS_REQUEST, 7, &connect))?;
    let mut reply = [0; FrameHeader::LEN + 72 + 416];
    stream.read_exact(&mut reply)?;
    let handle = &reply[FrameHeader::LEN + 72 + 40..];
    Ok(Reader::new("reply", handle).u64("handle").unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn mutated_recordings_thrown_at_a_live_mgs_disturb_nobody() -> anyhow::Result<()> {
    let seconds = std::env::var("LUSTRE_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(4);
    let mgs = Mgs::start()?;
    let address = mgs.lnet()?;
    let good = mgc("10.9.0.2@tcp", address).await?;
    good.register(&mdt("scratch", 0, "10.9.0.2@tcp")?).await?;
    good.register(&ost("scratch", 0, "10.9.0.2@tcp")?).await?;
    let before = mount(&good, "scratch").await?;

    let until = Instant::now() + Duration::from_secs(seconds);
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|name| {
            std::thread::spawn(move || -> anyhow::Result<usize> {
                let recordings = recordings()?;
                let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ (name + 1));
                let mut thrown = 0;
                while Instant::now() < until {
                    // That a connection is refused or lost is what a stranger has to expect.
                    thrown += attack(&mut dice, address, &recordings, name).unwrap_or(0);
                }
                Ok(thrown)
            })
        })
        .collect();
    let (mut mounts, mut slowest) = (0, Duration::ZERO);
    while Instant::now() < until {
        let began = Instant::now();
        assert_eq!(mount(&good, "scratch").await?, before);
        slowest = slowest.max(began.elapsed());
        mounts += 1;
    }
    let mut thrown = 0;
    for stranger in strangers {
        thrown += stranger.join().expect("a stranger does not panic")?;
    }
    println!("{thrown} messages thrown, {mounts} mounts meanwhile, the slowest took {} ms", slowest.as_millis());
    assert!(thrown > 100 && mounts > 0, "{thrown} messages, {mounts} mounts");
    assert!(slowest < PATIENCE, "{slowest:?}");
    assert_eq!(good.evictions(), 0, "the good client kept its connection");

    // Somebody new comes in as well, and the API answers.
    let late = mgc("10.9.0.3@tcp", address).await?;
    assert_eq!(mount(&late, "scratch").await?, before);
    let exports = mgs.mgsctl(&["export", "list"])?;
    assert!(exports.as_array().is_some_and(|list| list.iter().any(|export| export["nid"] == "10.9.0.3@tcp")));
    let log = mgs.log()?;
    assert!(!log.contains("panicked"), "{log}");
    assert!(log.contains("10.66."), "strangers are named in the log");
    Ok(())
}
