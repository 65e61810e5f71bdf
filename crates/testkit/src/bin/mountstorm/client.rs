//! One client: the requests of a mount, in their order, each sent when the one before is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use lustre_wire::fixed::{Fixed, Text};
use lustre_wire::ldlm::{LockDesc, LockMode, LockReply, LockRequest, ResourceId, ResourceKind};
use lustre_wire::lnet::WireNid;
use lustre_wire::mgs::{ConfigRead, ConfigReadKind, ConfigResult, LOG_BLOCK_LEN, LlogBody};
use lustre_wire::ptlrpc::{
    Body, ConnectData, ConnectRequest, Message, MessageHeader, Opcode, Part, connect_flag, connect_flag2, connect_op,
    encode_message, message_flag, portal,
};

use crate::back::Step;
use crate::link::wire_nid;

/// Bits of a log's header: the last index stands in its tail.
const LAST_INDEX_AT: usize = 8188;

/// Where clients are driven to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Everything is read that a mount reads.
    Mounted,
    /// So many log blocks were read once more.
    Blocks(usize),
    /// So many locks were taken and given back.
    Locks(usize),
    /// What changed is read: after the MGS asked for the lock, and a pause of the client's own.
    Told,
    /// The targets are registered.
    Registered,
    /// The targets have said that they are up.
    Up,
    /// After a restart of the MGS: connected anew, all locks taken, all logs looked at, and the NID table read up to this
    /// version.
    Back { table: u64 },
}

/// What a client sends.
pub(crate) enum Send {
    Put { portal: u32, match_bits: u64, offset: u32, bytes: Vec<u8> },
    Ack(lustre_wire::lnet::Body),
}

/// What was asked for last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Nothing,
    Connect,
    SptlrpcLock,
    SptlrpcLog,
    ConfigLock,
    ConfigLog,
    ConfigHeader,
    Block,
    LastBlock,
    RecoverLock,
    NidTable,
    ParamsLock,
    ParamsLog,
    ParamsHeader,
    BlockAgain,
    Lock,
    Cancel,
    Register,
    LockAgain,
    LogAgain,
    HeaderAgain,
    Change,
    Up,
    Back(Step),
}

pub(crate) struct Client {
    pub(crate) nid: WireNid,
    pub(crate) uuid: String,
    pub(crate) handle: u64,
    pub(crate) conn_cnt: u32,
    pub(crate) xid: u64,
    /// Of cancels that nobody waits for: what is under way meanwhile has its own.
    cancel_xid: u64,
    lock_number: u64,
    pub(crate) asked: Asked,
    pub(crate) log: LlogBody,
    pub(crate) last_index: u32,
    /// Version of the NID table that it has read.
    pub(crate) table: u64,
    /// It was asked for the lock of the NID table, and has something else to do first.
    pub(crate) is_table_due: bool,
    is_mounted: bool,
    began: Instant,
    pub(crate) mounted_in: Option<Duration>,
    /// When the MGS asked for the lock first.
    pub(crate) asked_at: Option<Instant>,
    /// When the MGS asked for the lock of the NID table, which is not taken again yet.
    pub(crate) table_asked_at: Option<Instant>,
    /// How long it waits then: as kernels do, so that not all come at once.
    pub(crate) pause: Duration,
    /// When it has read what changed.
    pub(crate) told_at: Option<Instant>,
    /// When everything was as before a restart of the MGS.
    pub(crate) back_at: Option<Instant>,
    pub(crate) rpcs: usize,
    pub(crate) blocks: usize,
    rounds: usize,
    pub(crate) targets: Vec<Vec<Vec<u8>>>,
    pub(crate) is_silent: bool,
}

impl Client {
    /// A client that is about to mount.
    pub(crate) fn new(nid: &str) -> Self {
        Self {
            nid: wire_nid(nid).expect("NIDs here are well formed"),
            uuid: format!("storm-{nid}"),
            handle: 0,
            conn_cnt: 1,
            xid: 1 << 30,
            cancel_xid: 1 << 50,
            lock_number: 0,
            asked: Asked::Nothing,
            log: LlogBody::default(),
            last_index: 0,
            table: 0,
            is_table_due: false,
            is_mounted: false,
            began: Instant::now(),
            mounted_in: None,
            asked_at: None,
            table_asked_at: None,
            pause: Duration::ZERO,
            told_at: None,
            back_at: None,
            rpcs: 0,
            blocks: 0,
            rounds: 0,
            targets: Vec::new(),
            is_silent: false,
        }
    }

    /// One that registers targets, one after the other.
    pub(crate) fn registrar(nid: &str, targets: &[Vec<Vec<u8>>]) -> Self {
        Self { targets: targets.iter().rev().cloned().collect(), ..Self::new(nid) }
    }

    pub(crate) fn is_there(&self, goal: Goal) -> bool {
        match goal {
            Goal::Mounted => self.is_mounted,
            Goal::Blocks(rounds) | Goal::Locks(rounds) => self.rounds >= rounds,
            Goal::Told => self.told_at.is_some() || self.is_silent,
            Goal::Back { table } => self.is_silent || (self.back_at.is_some() && self.table >= table),
            Goal::Registered | Goal::Up => self.targets.is_empty() && self.asked == Asked::Nothing && self.handle != 0,
        }
    }

    /// The first request on the way to a goal.
    pub(crate) fn start(&mut self, goal: Goal) -> Option<Send> {
        self.rounds = 0;
        match goal {
            Goal::Mounted | Goal::Registered | Goal::Up => {
                self.began = Instant::now();
                Some(self.connect())
            }
            Goal::Blocks(_) => Some(self.first_block()),
            Goal::Locks(_) => Some(self.lock(Asked::Lock, "bench", ResourceKind::Config)),
            Goal::Told | Goal::Back { .. } => None,
        }
    }

    /// Asks for the log's first block once more.
    pub(crate) fn first_block(&mut self) -> Send {
        self.block(Asked::BlockAgain, 1, 0, 8192)
    }

    /// After its pause: takes the lock again, to read what changed.
    pub(crate) fn go_on(&mut self, goal: Goal) -> Option<Send> {
        match goal {
            Goal::Back { .. } => self.come_back(),
            _ => Some(self.lock(Asked::LockAgain, "storm", ResourceKind::Config)),
        }
    }

    /// Takes in a message of the MGS. Errors: a refusal that no mount survives.
    pub(crate) fn hear(&mut self, on: u32, bits: u64, payload: &[u8], goal: Goal) -> anyhow::Result<Vec<Send>> {
        match on {
            portal::LDLM_CB_REQUEST if !self.is_silent => self.give_back(bits, payload),
            portal::MGC_REPLY if bits == self.xid => {
                let message = Message::decode(payload)?;
                Ok(self.next(&message, goal)?.into_iter().collect())
            }
            portal::LDLM_CANCEL_REPLY if bits == self.xid && self.asked == Asked::Cancel => {
                self.rounds += 1;
                let more = !self.is_there(goal);
                Ok(more.then(|| self.lock(Asked::Lock, "bench", ResourceKind::Config)).into_iter().collect())
            }
            _ => Ok(Vec::new()),
        }
    }

    fn next(&mut self, message: &Message<'_>, goal: Goal) -> anyhow::Result<Option<Send>> {
        let body = Body::decode(message.buffer(0).context("a reply without a body")?)?;
        self.rpcs += usize::from(!self.is_mounted);
        if let Asked::Back(step) = self.asked {
            return self.is_back(step, &body, message);
        }
        let may_be_missing = matches!(self.asked, Asked::SptlrpcLog);
        ensure!(body.status == 0 || may_be_missing, "{:?} was answered {}", self.asked, body.status);
        let second = message.buffer(1).unwrap_or_default();
        Ok(Some(match self.asked {
            Asked::Connect => {
                self.handle = body.handle;
                match goal {
                    Goal::Registered => return Ok(self.register()),
                    Goal::Up => return Ok(self.announce()),
                    _ => self.lock(Asked::SptlrpcLock, "storm", ResourceKind::Config),
                }
            }
            Asked::SptlrpcLock => self.open(Asked::SptlrpcLog, "storm-sptlrpc"),
            Asked::SptlrpcLog => self.lock(Asked::ConfigLock, "storm", ResourceKind::Config),
            Asked::ConfigLock => self.open(Asked::ConfigLog, "storm-client"),
            Asked::ConfigLog => {
                self.log = LlogBody { flags: 4, ..LlogBody::decode(second)? };
                self.header(Asked::ConfigHeader)
            }
            Asked::ConfigHeader => {
                self.last_index = last_index(second)?;
                self.block(Asked::Block, 1, 0, 8192)
            }
            Asked::Block => {
                self.blocks += 1;
                let read = LlogBody::decode(second)?;
                if read.saved_index < self.last_index {
                    self.block(Asked::Block, read.saved_index + 1, read.saved_index, read.offset)
                } else {
                    // Kernels read the last block twice.
                    let start = read.offset.saturating_sub(1) / 8192 * 8192;
                    self.block(Asked::LastBlock, self.last_index, self.last_index, start)
                }
            }
            Asked::LastBlock => {
                self.blocks += 1;
                self.lock(Asked::RecoverLock, "storm", ResourceKind::Recover)
            }
            Asked::RecoverLock => self.nid_table(),
            Asked::NidTable => {
                self.table = ConfigResult::decode(second)?.size;
                self.lock(Asked::ParamsLock, "params", ResourceKind::Params)
            }
            Asked::ParamsLock => self.open(Asked::ParamsLog, "params"),
            Asked::ParamsLog => {
                let config = self.log;
                self.log = LlogBody { flags: 4, ..LlogBody::decode(second)? };
                let header = self.header(Asked::ParamsHeader);
                self.log = config;
                header
            }
            Asked::ParamsHeader => {
                self.is_mounted = true;
                self.mounted_in = Some(self.began.elapsed());
                self.asked = Asked::Nothing;
                return Ok(None);
            }
            Asked::BlockAgain => {
                self.rounds += 1;
                if self.is_there(goal) {
                    return Ok(None);
                }
                self.first_block()
            }
            Asked::LockAgain => self.open(Asked::LogAgain, "storm-client"),
            Asked::LogAgain => self.header(Asked::HeaderAgain),
            Asked::HeaderAgain => {
                let (read, last) = (self.last_index, last_index(second)?);
                ensure!(last > read, "the log has nothing new");
                self.last_index = last;
                self.block(Asked::Change, read + 1, read, 8192)
            }
            Asked::Change => {
                let read = LlogBody::decode(second)?;
                if read.saved_index < self.last_index {
                    return Ok(Some(self.block(Asked::Change, read.saved_index + 1, read.saved_index, read.offset)));
                }
                self.told_at = Some(Instant::now());
                self.asked = Asked::Nothing;
                return Ok(None);
            }
            Asked::Lock => self.cancel(LockReply::decode(second)?.handle),
            Asked::Register => {
                self.targets.pop();
                return Ok(self.register());
            }
            Asked::Up => {
                self.targets.pop();
                return Ok(self.announce());
            }
            Asked::Nothing | Asked::Cancel | Asked::Back(_) => bail!("an answer that nobody waits for"),
        }))
    }

    pub(crate) fn send(&mut self, asked: Asked, opc: Opcode, buffers: &[&[u8]]) -> Send {
        self.xid += 128;
        self.asked = asked;
        let body = Body {
            handle: self.handle,
            conn_cnt: self.conn_cnt,
            timeout_s: 11,
            mbits: self.xid,
            last_xid: self.xid - 1,
            ..Body::request(opc)
        };
        let header = MessageHeader { flags: message_flag::AT_SUPPORT, ..MessageHeader::new(Part::Mgc) };
        let body = body.encode();
        let mut all: Vec<&[u8]> = vec![&body];
        all.extend(buffers);
        let bytes = encode_message(&header, &all);
        Send::Put { portal: portal::of(opc), match_bits: self.xid, offset: 0, bytes }
    }

    fn connect(&mut self) -> Send {
        self.asked = Asked::Connect;
        self.connect_with(connect_op::INITIAL)
    }

    /// A connect, or with other flags a reconnect.
    pub(crate) fn connect_with(&mut self, op_flags: u32) -> Send {
        self.xid += 128;
        let flags = connect_flag::VERSION
            | connect_flag::MGS_NIDLIST
            | connect_flag::AT
            | connect_flag::FULL20
            | connect_flag::IMP_RECOV
            | connect_flag::BULK_MBITS
            | connect_flag::FLAGS2;
        let flags2 = connect_flag2::REP_MBITS | connect_flag2::LARGE_NID;
        let data = ConnectData { flags, flags2, version: 0x0211_393E, ..ConnectData::default() };
        let connect = ConnectRequest { target_uuid: "MGS", client_uuid: &self.uuid, conn: 1, data };
        let (handle, conn_cnt) = (self.handle, self.conn_cnt);
        let body = Body { op_flags, handle, conn_cnt, timeout_s: 5, ..Body::request(Opcode::MGS_CONNECT) };
        let bytes = connect.encode(&MessageHeader::new(Part::Mgc), &body);
        Send::Put { portal: portal::MGS_REQUEST, match_bits: self.xid, offset: 0, bytes }
    }

    pub(crate) fn lock(&mut self, asked: Asked, owner: &str, kind: ResourceKind) -> Send {
        self.lock_number += 1;
        let resource = ResourceId::new(owner, kind).expect("owners here have 8 characters at most");
        let desc = LockDesc::plain(resource, LockMode::CR, LockMode::NONE);
        let request = LockRequest { desc, handles: vec![self.lock_number, 0], ..LockRequest::default() };
        self.send(asked, Opcode::LDLM_ENQUEUE, &[&request.encode()])
    }

    fn cancel(&mut self, handle: u64) -> Send {
        let request = LockRequest { count: 1, handles: vec![handle, 0], ..LockRequest::default() };
        self.send(Asked::Cancel, Opcode::LDLM_CANCEL, &[&request.encode()])
    }

    pub(crate) fn open(&mut self, asked: Asked, log: &str) -> Send {
        let name = [log.as_bytes(), b"\0"].concat();
        self.send(asked, Opcode::LLOG_OPEN, &[&LlogBody::default().encode(), &name])
    }

    pub(crate) fn header(&mut self, asked: Asked) -> Send {
        let body = self.log.encode();
        self.send(asked, Opcode::LLOG_READ_HEADER, &[&body])
    }

    fn block(&mut self, asked: Asked, index: u32, saved_index: u32, offset: u64) -> Send {
        let len = u32::try_from(LOG_BLOCK_LEN).expect("8192");
        let body = LlogBody { index, saved_index, offset, len, ..self.log }.encode();
        self.send(asked, Opcode::LLOG_NEXT_BLOCK, &[&body])
    }

    fn nid_table(&mut self) -> Send {
        self.nid_table_from(Asked::NidTable, 1)
    }

    pub(crate) fn nid_table_from(&mut self, asked: Asked, offset: u64) -> Send {
        let read = ConfigRead {
            name: Text::new("storm-cliir").expect("shorter than its field"),
            offset,
            kind: ConfigReadKind::Recover,
            nid_size_or_pass: 20,
            unit_bits: 12,
            units: 256,
        };
        self.send(asked, Opcode::MGS_CONFIG_READ, &[&read.encode()])
    }

    /// Says of the next target that it is up.
    fn announce(&mut self) -> Option<Send> {
        let send = self.register()?;
        self.asked = Asked::Up;
        Some(send)
    }

    fn register(&mut self) -> Option<Send> {
        let Some(buffers) = self.targets.last().cloned() else {
            self.asked = Asked::Nothing;
            return None;
        };
        let buffers: Vec<&[u8]> = buffers.iter().map(Vec::as_slice).collect();
        Some(self.send(Asked::Register, Opcode::MGS_TARGET_REG, &buffers))
    }

    /// Answers a callback and gives the lock back.
    fn give_back(&mut self, bits: u64, payload: &[u8]) -> anyhow::Result<Vec<Send>> {
        let message = Message::decode(payload)?;
        let request = LockRequest::decode(message.buffer(1).context("a callback without a lock")?)?;
        // Of the NID table it is told by and by, and always again; a change of the logs is what is measured.
        let is_table = request.desc.resource.0[1] == ResourceKind::Recover.number();
        let asked_at = if is_table { &mut self.table_asked_at } else { &mut self.asked_at };
        asked_at.get_or_insert_with(Instant::now);
        let answer = Body::reply(Opcode::LDLM_BL_CALLBACK, 0).encode();
        let bytes = encode_message(&MessageHeader::default(), &[&answer]);
        let answer = Send::Put { portal: portal::LDLM_CB_REPLY, match_bits: bits, offset: 224, bytes };
        let under_way = (self.xid, self.asked);
        self.xid = self.cancel_xid;
        let cancel = self.cancel(request.handle(1)?);
        self.cancel_xid = self.xid;
        (self.xid, self.asked) = under_way;
        Ok(vec![answer, cancel])
    }
}

/// The index of the last record, from a log's header.
pub(crate) fn last_index(header: &[u8]) -> anyhow::Result<u32> {
    let tail = header.get(LAST_INDEX_AT..LAST_INDEX_AT + 4).context("a header that is cut")?;
    Ok(u32::from_le_bytes(tail.try_into().expect("four bytes")))
}
