//! Round trips through the proxy and through a bare pair of devices, in turns, in the same machine.
//!
//! Two processes each, blocking, the same frames: what differs is the module in between. The pair checks, accounts and
//! matches nothing: what the proxy costs beside it is what it does for its money.

use crate::end::{attach, hello, pattern, post, put};
use anyhow::{Context, Result, bail, ensure};
use kproxy::{DEVICE, Frame, MAX_PAYLOAD, PEER_DEVICE, portal};
use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
    time::Instant,
};

/// Rounds of each kind; the median counts.
const ROUNDS: usize = 7;
/// Where the match bits are in a frame: they say which answer is wanted.
const MATCH_BITS: std::ops::Range<usize> = 24..32;
/// Counters of the module.
const STATS: &str = "/sys/kernel/debug/lustre_mgs_proxy/stats";

/// A message and its answer.
struct Exchange {
    name: &'static str,
    request_bytes: usize,
    answer_bytes: usize,
    /// Round trips in a round.
    trips: usize,
    /// What is hoped for at least, of the rate of the pair.
    goal: f64,
    /// Copies of payload for each message that can't be spared.
    copies: f64,
}

/// Why these goals: beside the bare pair the proxy checks 160 bytes, charges and gives back, and matches, for which half
/// of the time is granted. Of a mebibyte it makes three copies where the pair makes two: the third is the loop transport's,
/// in place of the network.
const EXCHANGES: [Exchange; 3] = [
    Exchange { name: "64b", request_bytes: 64, answer_bytes: 64, trips: 2000, goal: 0.5, copies: 2.0 },
    Exchange { name: "4kib", request_bytes: 4096, answer_bytes: 4096, trips: 1500, goal: 0.5, copies: 2.0 },
    Exchange { name: "1mib", request_bytes: 64, answer_bytes: MAX_PAYLOAD, trips: 40, goal: 0.6, copies: 2.5 },
];

/// One process's end of either kind.
struct Line {
    file: File,
    buffer: Vec<u8>,
}

impl Line {
    fn open(path: &str, portal: Option<u32>) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path).with_context(|| format!("open {path}"))?;
        let mut line = Self { file, buffer: vec![0; MAX_PAYLOAD + 4096] };
        if let Some(portal) = portal {
            line.send(&hello().encode())?;
            line.next()?;
            line.send(&attach(portal).encode())?;
        }
        Ok(line)
    }

    fn send(&mut self, frame: &[u8]) -> Result<()> {
        ensure!(self.file.write(frame)? == frame.len(), "a frame is taken whole");
        Ok(())
    }

    fn next(&mut self) -> Result<&[u8]> {
        let length = self.file.read(&mut self.buffer)?;
        Ok(&self.buffer[..length])
    }
}

fn answer_to(exchange: &Exchange) -> Frame {
    let bits = u64::try_from(exchange.answer_bytes).expect("a mebibyte");
    let to = if exchange.answer_bytes > 8192 { portal::BULK } else { portal::CALLBACK };
    put(2, to, bits, &pattern(exchange.answer_bytes))
}

/// What the child does: answers each message with as many bytes as its match bits say, until it is killed.
pub(crate) fn answer(kind: &str) -> Result<()> {
    let mut line = match kind {
        "proxy" => Line::open(DEVICE, Some(portal::REQUEST))?,
        "pair" => Line::open("/dev/pair1", None)?,
        _ => bail!("there is no {kind}"),
    };
    let answers = EXCHANGES.map(|exchange| answer_to(&exchange).encode());
    println!("ready");
    loop {
        let request = line.next()?;
        let bits = request.get(MATCH_BITS).context("a frame")?;
        let answer = answers.iter().find(|answer| answer[MATCH_BITS] == *bits).context("an exchange")?;
        line.send(answer)?;
    }
}

struct Peer(Child);

impl Peer {
    fn start(kind: &str) -> Result<Self> {
        let mut child = Command::new("/proc/self/exe").args(["answer", kind]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("a pipe")?).read_line(&mut line)?;
        ensure!(line == "ready\n", "{line:?}");
        Ok(Self(child))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Round trips per second of one round.
fn round(line: &mut Line, exchange: &Exchange, posts: bool) -> Result<f64> {
    let bits = u64::try_from(exchange.answer_bytes)?;
    let request = put(1, portal::REQUEST, bits, &pattern(exchange.request_bytes)).encode();
    let buffer = posts.then(|| post(portal::BULK, bits, 1, u32::try_from(exchange.answer_bytes).expect("a mebibyte")));
    let buffer = buffer.map(|post| post.encode());
    let answer_length = answer_to(exchange).encode().len();
    let began = Instant::now();
    for _ in 0..exchange.trips {
        if let Some(buffer) = &buffer {
            line.send(buffer)?;
        }
        line.send(&request)?;
        let got = line.next()?.len();
        ensure!(got == answer_length, "an answer of {got} bytes");
    }
    #[allow(clippy::cast_precision_loss, reason = "small numbers")]
    Ok(exchange.trips as f64 / began.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The number behind a name, of lines of a name and a number.
fn number(path: &str, name: &str) -> Result<u64> {
    let text = std::fs::read_to_string(path).with_context(|| path.to_owned())?;
    let mut lines = text.lines().filter_map(|line| line.split_once([' ', '\t']));
    let (_, number) = lines.find(|(found, _)| *found == name).with_context(|| format!("{path} has no {name}"))?;
    Ok(number.trim().parse()?)
}

/// How often two processes went to sleep.
fn sleeps(other: &Peer) -> Result<u64> {
    let of = |pid: String| number(&format!("/proc/{pid}/status"), "voluntary_ctxt_switches:");
    Ok(of("self".to_owned())? + of(other.0.id().to_string())?)
}

fn counters(other: &Peer) -> Result<[u64; 3]> {
    Ok([number(STATS, "payload_copies")?, number(STATS, "wakeups")?, sleeps(other)?])
}

/// Measures; a line RESULT for each measure.
pub(crate) fn run() -> Result<()> {
    let (proxy, _pair) = (Peer::start("proxy")?, Peer::start("pair")?);
    let mut through_proxy = Line::open(PEER_DEVICE, Some(portal::CALLBACK))?;
    let mut through_pair = Line::open("/dev/pair0", None)?;
    let mut most_wakeups = 0.0_f64;
    for exchange in &EXCHANGES {
        let posts = exchange.answer_bytes > 8192;
        round(&mut through_proxy, exchange, posts)?;
        round(&mut through_pair, exchange, false)?;
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let mut grown = [0; 3];
        for _ in 0..ROUNDS {
            let before = counters(&proxy)?;
            let rate = round(&mut through_proxy, exchange, posts)?;
            let after = counters(&proxy)?;
            for (sum, (after, before)) in grown.iter_mut().zip(after.into_iter().zip(before)) {
                *sum += after - before;
            }
            let yardstick = round(&mut through_pair, exchange, false)?;
            ratios.push(rate / yardstick);
            ours.push(rate);
            theirs.push(yardstick);
        }
        #[allow(clippy::cast_precision_loss, reason = "small numbers")]
        let [copies, wakeups, sleeps] = grown.map(|sum| sum as f64 / (2 * ROUNDS * exchange.trips) as f64);
        let Exchange { name, goal, copies: copies_goal, .. } = exchange;
        println!(
            "{name}: {:.0} round trips/s through the proxy, {:.0} through a bare pair; for each message {copies:.2} copies of \
             its payload, {wakeups:.2} wake-ups, {sleeps:.2} sleeps of a process",
            median(ours),
            median(theirs)
        );
        println!("RESULT name=kproxy_roundtrip_{name} ratio={:.2} goal=>={goal}", median(ratios));
        println!("RESULT name=kproxy_copies_{name} ratio={copies:.2} goal=<={copies_goal}");
        most_wakeups = most_wakeups.max(wakeups);
    }
    println!("RESULT name=kproxy_wakeups ratio={most_wakeups:.2} goal=<=1");
    Ok(())
}
