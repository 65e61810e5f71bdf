//! Recorded conversations with a Lustre 2.17.57 MGS, had once more with this one: every answer is compared with the recorded
//! one, byte by byte. What may differ is listed in [`may_differ`], with the reason, and in `docs/spec-gaps.md`.

// A panic is how a test reports; times of a capture fit what they are cast to.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_sign_loss)]

mod sim;

use std::collections::BTreeMap;

use lustre_mgs_core::decide::target_reg::target_reg;
use lustre_mgs_core::serve::{Effect, Incoming, Limits, Outgoing, RegistrationRequest, Service, Ticket, touched};
use lustre_wire::fixed::Fixed;
use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::{Body, Message, Opcode, message_len, portal};
use sim::Sim;

/// One PUT of a conversation.
#[derive(Clone, Debug)]
struct Put {
    to_mgs: bool,
    peer: WireNid,
    time_ms: u64,
    portal: u32,
    bits: u64,
    offset: u32,
    bytes: Vec<u8>,
}

fn conversation(name: &str) -> Vec<Put> {
    let path = format!("{}/testdata/conversations/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let mut puts: Vec<Put> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines().skip(1) {
        let words: Vec<&str> = line.split(' ').collect();
        if let Some(last) = puts.last_mut().filter(|_| words.len() == 2) {
            let offset = usize::from_str_radix(words[0].trim_end_matches(':'), 16).unwrap();
            for (at, pair) in words[1].as_bytes().chunks(2).enumerate() {
                last.bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            }
            continue;
        }
        let nid: lustre_types::Nid = format!("{}@tcp", words[1]).parse().unwrap();
        puts.push(Put {
            to_mgs: words[0] == ">",
            peer: WireNid::from(&nid),
            time_ms: (words[3].parse::<f64>().unwrap() * 1000.0) as u64,
            portal: words[5].parse().unwrap(),
            bits: u64::from_str_radix(words[7], 16).unwrap(),
            offset: words[9].parse().unwrap(),
            bytes: vec![0; words[11].parse().unwrap()],
        });
    }
    puts
}

/// Where our numbers stand for the recorded ones, and what was seen so far.
struct Replay {
    sim: Sim,
    service: Service,
    /// Ours by recorded: handles of exports and locks, ids of logs.
    ours: BTreeMap<u64, u64>,
    /// Ours by recorded: xids of callbacks.
    callbacks: BTreeMap<u64, u64>,
    sent: Vec<Outgoing>,
    differences: Vec<String>,
    compared: usize,
    now_ms: u64,
}

impl Replay {
    fn new() -> Self {
        let sim = Sim::default();
        Self {
            sim,
            service: Service::new(Limits::default(), [7; 32], 1, conversation(STORY[0])[0].time_ms),
            ours: BTreeMap::new(),
            callbacks: BTreeMap::new(),
            sent: Vec::new(),
            differences: Vec::new(),
            compared: 0,
            now_ms: 0,
        }
    }

    /// The MGS is restarted: it knows its configuration and nobody.
    fn restart(&mut self, at_ms: u64) {
        self.service = Service::new(Limits::default(), [8; 32], 1 << 30, at_ms);
        self.sent.clear();
    }

    fn play(&mut self, name: &str) {
        for put in conversation(name) {
            self.now_ms = put.time_ms;
            // Times in logs are whole seconds.
            self.sim.now_ms = put.time_ms;
            if put.to_mgs { self.hear(&put) } else { self.compare(name, &put) }
        }
        // What a capture ends before.
        self.sent.retain(|sent| sent.portal == portal::LDLM_CB_REQUEST);
    }

    fn hear(&mut self, put: &Put) {
        let mut bytes = put.bytes.clone();
        let mut bits = put.bits;
        if put.portal == portal::LDLM_CB_REPLY {
            bits = *self.callbacks.get(&bits).unwrap_or_else(|| panic!("an answer to a callback that we never sent"));
        }
        self.translate(&mut bytes);
        let incoming = Incoming {
            source: put.peer,
            pid: 12345,
            target: mgs(),
            portal: put.portal,
            match_bits: bits,
            payload: &bytes,
        };
        if put.portal == portal::LDLM_CB_REPLY {
            return self.service.callback_answered(self.now_ms, &incoming).unwrap();
        }
        let mut effects = Vec::new();
        self.service.request(&self.sim.state, self.now_ms, &incoming, &mut effects).unwrap();
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send(outgoing) => self.sent.push(outgoing),
                Effect::Bulk(ticket, outgoing) => {
                    self.sent.push(outgoing);
                    let mut effects = Vec::new();
                    self.service.bulk_done(self.now_ms, ticket, true, &mut effects);
                    self.carry_out(effects);
                }
                Effect::Decide(ticket, asked) => self.decide(ticket, &asked),
                Effect::Fetch { .. } => panic!("no recorded target has NIDs in bulk"),
                Effect::Client { .. } => {}
            }
        }
    }

    fn decide(&mut self, ticket: Ticket, asked: &RegistrationRequest) {
        let request = self.sim.env_request();
        let decision = target_reg(&self.sim.state, &request, asked).unwrap();
        let mut stale: Vec<_> = decision.changes.iter().filter_map(|change| touched(&change.key)).collect();
        stale.dedup();
        let outcome = self.sim.commit(decision).unwrap();
        let mut effects = Vec::new();
        for resource in stale {
            self.service.revoke(self.now_ms, &resource, &mut effects);
        }
        let outcome = outcome.map_err(|refusal| refusal.errno);
        self.service.decided(self.now_ms, ticket, outcome, &mut effects);
        self.carry_out(effects);
    }

    /// Puts our numbers in the place of those that the recorded MGS gave out.
    fn translate(&self, bytes: &mut [u8]) {
        let Ok(message) = Message::decode(bytes) else { return };
        let Ok(body) = Body::decode(message.buffer(0).unwrap()) else { return };
        let start = start_of_buffers(&message);
        if let Some(ours) = self.ours.get(&body.handle) {
            bytes[start[0]..start[0] + 8].copy_from_slice(&ours.to_le_bytes());
        }
        let number_at = match body.opc {
            Opcode::LDLM_CANCEL => start[1] + 88,
            Opcode::LLOG_OPEN | Opcode::LLOG_READ_HEADER | Opcode::LLOG_NEXT_BLOCK => start[1],
            _ => return,
        };
        let recorded = u64::from_le_bytes(bytes[number_at..number_at + 8].try_into().unwrap());
        if let Some(ours) = self.ours.get(&recorded).filter(|_| recorded != 0) {
            bytes[number_at..number_at + 8].copy_from_slice(&ours.to_le_bytes());
        }
    }

    fn compare(&mut self, name: &str, recorded: &Put) {
        let is_callback = recorded.portal == portal::LDLM_CB_REQUEST;
        let found = self.sent.iter().position(|sent| {
            let same_place = sent.portal == recorded.portal && sent.to == recorded.peer;
            // A callback has an xid of its own: the lock that it asks for tells which it is.
            let same = if is_callback {
                lock_of(&sent.own) == lock_of(&recorded.bytes)
            } else {
                sent.match_bits == recorded.bits
            };
            same_place && same
        });
        let Some(found) = found else {
            return self
                .differences
                .push(format!("{name}: no answer at portal {} to {:x}", recorded.portal, recorded.bits));
        };
        let sent = self.sent.remove(found);
        let ours = [&sent.own[..], &sent.shared].concat();
        self.compared += 1;
        let what = format!("{name}: portal {} bits {:x}", recorded.portal, recorded.bits);
        if sent.offset != recorded.offset || ours.len() != recorded.bytes.len() {
            self.differences.push(format!("{what}: {} bytes at offset {}", ours.len(), sent.offset));
            return;
        }
        if is_callback {
            self.callbacks.insert(recorded.bits, sent.match_bits);
        }
        self.learn(&recorded.bytes, &ours);
        let Ok(message) = Message::decode(&recorded.bytes) else {
            if ours != recorded.bytes {
                self.differences.push(format!("{what}: bulk data {ours:02x?}"));
            }
            return;
        };
        let body = Body::decode(message.buffer(0).unwrap()).unwrap();
        let start = start_of_buffers(&message);
        for at in (0..ours.len()).filter(|at| ours[*at] != recorded.bytes[*at]) {
            let buffer = start.iter().rposition(|start| *start <= at).unwrap_or(0);
            let offset = at - start[buffer].min(at);
            if !may_differ(body.opc, buffer, offset, &recorded.bytes[start[buffer]..]) {
                let (ours, theirs) = (ours[at], recorded.bytes[at]);
                self.differences
                    .push(format!("{what}: {} buffer {buffer} byte {offset}: {ours:02x}, not {theirs:02x}", body.opc));
            }
        }
    }

    /// Which of our numbers stand for theirs.
    fn learn(&mut self, theirs: &[u8], ours: &[u8]) {
        let (Ok(message), Ok(mine)) = (Message::decode(theirs), Message::decode(ours)) else { return };
        let body = Body::decode(message.buffer(0).unwrap()).unwrap();
        let number = |message: &Message<'_>, buffer, at: usize| {
            message.buffer(buffer).map_or(0, |bytes| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()))
        };
        let at = match body.opc {
            Opcode::MGS_CONNECT => (0, 0),
            Opcode::LDLM_ENQUEUE => (1, 88),
            Opcode::LLOG_OPEN => (1, 0),
            _ => return,
        };
        self.ours.insert(number(&message, at.0, at.1), number(&mine, at.0, at.1));
    }
}

/// What no two MGSes have in common.
fn may_differ(opc: Opcode, buffer: usize, offset: usize, data: &[u8]) -> bool {
    match (opc, buffer) {
        // The handle of the connection.
        (Opcode::MGS_CONNECT, 0) => offset < 8,
        // Write barriers are not granted: 0x2000.
        (Opcode::MGS_CONNECT, 1) => offset == 1,
        // The lock's handle.
        (Opcode::LDLM_ENQUEUE, 1) => (88..96).contains(&offset),
        // The log's id.
        (Opcode::LLOG_OPEN | Opcode::LLOG_NEXT_BLOCK, 1) => offset < 16,
        // When the log was made.
        (Opcode::LLOG_READ_HEADER, 1) => (16..24).contains(&offset),
        // In a marker: when its section was made, and what a kernel leaves behind the end of a text.
        (Opcode::LLOG_NEXT_BLOCK, 2) => in_marker(offset, data),
        // Our xid, process and handle.
        (Opcode::LDLM_BL_CALLBACK, 0) => (20..32).contains(&offset) || (120..128).contains(&offset),
        (Opcode::LDLM_BL_CALLBACK, 1) => (96..104).contains(&offset),
        _ => false,
    }
}

/// Whether a byte of a log is one that differs in every log: a marker is a record of 224 bytes with command 0xCF010.
fn in_marker(offset: usize, block: &[u8]) -> bool {
    /// Where in the record `cfg_marker` begins.
    const MARKER: usize = 56;
    let is_marker = |start: &usize| {
        block.get(*start..start + 4) == Some(&[224, 0, 0, 0])
            && block.get(start + 20..start + 24) == Some(&[0x10, 0xF0, 0x0C, 0])
    };
    let Some(start) = (offset.saturating_sub(223)..=offset).find(is_marker) else { return false };
    let (at, marker) = (offset - start, &block[start + MARKER..]);
    let is_behind_nul = |text: usize| marker[text..(at - MARKER)].contains(&0);
    match at.saturating_sub(MARKER) {
        16..24 => true,
        32..96 => is_behind_nul(32),
        96..160 => is_behind_nul(96),
        _ => false,
    }
}

fn start_of_buffers(message: &Message<'_>) -> Vec<usize> {
    let lens: Vec<usize> = message.buffers().map(<[u8]>::len).collect();
    let mut at = message_len(lens.iter().copied()) - lens.iter().map(|len| len.next_multiple_of(8)).sum::<usize>();
    let mut starts = Vec::new();
    for len in lens {
        starts.push(at);
        at += len.next_multiple_of(8);
    }
    starts
}

/// The client's handle of the lock that a callback asks for.
fn lock_of(callback: &[u8]) -> Option<u64> {
    let message = Message::decode(callback).ok()?;
    let buffer = message.buffer(1)?;
    Some(u64::from_le_bytes(buffer.get(88..96)?.try_into().ok()?))
}

fn mgs() -> WireNid {
    WireNid::from(&"10.9.0.1@tcp".parse::<lustre_types::Nid>().unwrap())
}

/// A file system is made and mounted, a client leaves and comes back, an OST is restarted under it.
const STORY: [&str; 8] = [
    "10-mdt0-first-registration",
    "11-ost0-first-registration",
    "12-ost1-first-registration",
    "20-client-mount",
    "21-client-umount",
    "22-client-mount-second",
    "30-ost0-umount",
    "31-ost0-second-mount",
];

#[test]
fn every_answer_is_the_one_that_a_kernel_mgs_gave() {
    let mut replay = Replay::new();
    for name in STORY {
        replay.play(name);
    }
    assert!(replay.differences.is_empty(), "{}", replay.differences.join("\n"));
    assert_eq!(replay.compared, 187);
}

#[test]
fn after_a_restart_every_client_is_told_to_come_back_and_is_taken_back() {
    let mut replay = Replay::new();
    for name in STORY {
        replay.play(name);
    }
    let restarted = "100-mgs-umount-remount";
    replay.restart(conversation(restarted)[0].time_ms);
    replay.play(restarted);
    assert!(replay.differences.is_empty(), "{}", replay.differences.join("\n"));
}
