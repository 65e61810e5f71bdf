//! A client's connection, as the server keeps it: an export.

use std::collections::{BTreeSet, HashMap, VecDeque};

use lustre_types::FsName;
use lustre_wire::lnet::WireNid;
use lustre_wire::ptlrpc::ConnectData;

use crate::serve::Effect;
use crate::serve::request::Request;

/// Replies that are remembered of one client: those to requests that must not be done twice.
const REPLIES: usize = 64;

/// One connected client.
pub(super) struct Export {
    /// Names the connection in every request.
    pub(super) handle: u64,
    /// The client.
    pub(super) uuid: String,
    /// The client's own handle, for callbacks.
    pub(super) conn: u64,
    /// Where it connected from last.
    pub(super) nid: WireNid,
    pub(super) pid: u32,
    /// Which of our NIDs it connected to.
    pub(super) target: WireNid,
    pub(super) conn_cnt: u32,
    /// Xid of the last connect.
    pub(super) connect_xid: u64,
    /// What was agreed on.
    pub(super) data: ConnectData,
    pub(super) connected_ms: u64,
    pub(super) heard_ms: u64,
    pub(super) requests: u64,
    pub(super) pending: usize,
    /// Handles of its locks, as granted.
    pub(super) locks: BTreeSet<u64>,
    /// File systems whose logs it opened.
    pub(super) filesystems: BTreeSet<FsName>,
    pub(super) replies: Replies,
}

/// All of them.
#[derive(Default)]
pub(super) struct Exports {
    by_handle: HashMap<u64, Export>,
    by_uuid: HashMap<String, u64>,
    per_nid: HashMap<WireNid, usize>,
}

impl Exports {
    pub(super) fn len(&self) -> usize {
        self.by_handle.len()
    }

    pub(super) fn get(&self, handle: u64) -> Option<&Export> {
        self.by_handle.get(&handle)
    }

    pub(super) fn get_mut(&mut self, handle: u64) -> Option<&mut Export> {
        self.by_handle.get_mut(&handle)
    }

    pub(super) fn by_uuid(&self, uuid: &str) -> Option<&Export> {
        self.by_handle.get(self.by_uuid.get(uuid)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Export> {
        self.by_handle.values()
    }

    pub(super) fn of_nid(&self, nid: &WireNid) -> usize {
        self.per_nid.get(nid).copied().unwrap_or(0)
    }

    pub(super) fn insert(&mut self, export: Export) {
        *self.per_nid.entry(export.nid).or_default() += 1;
        self.by_uuid.insert(export.uuid.clone(), export.handle);
        self.by_handle.insert(export.handle, export);
    }

    /// A client connects again, perhaps from elsewhere.
    pub(super) fn moved(&mut self, handle: u64, nid: WireNid) {
        let Some(export) = self.by_handle.get_mut(&handle) else { return };
        let before = std::mem::replace(&mut export.nid, nid);
        *self.per_nid.entry(nid).or_default() += 1;
        self.leave(before);
    }

    pub(super) fn remove(&mut self, handle: u64) -> Option<Export> {
        let export = self.by_handle.remove(&handle)?;
        self.by_uuid.remove(&export.uuid);
        self.leave(export.nid);
        Some(export)
    }

    fn leave(&mut self, nid: WireNid) {
        if let Some(count) = self.per_nid.get_mut(&nid) {
            *count -= 1;
            if *count == 0 {
                self.per_nid.remove(&nid);
            }
        }
    }
}

/// Replies to requests that must not be done twice, for clients that send them twice.
#[derive(Default)]
pub(super) struct Replies {
    done: VecDeque<(u64, Effect)>,
    under_way: Vec<u64>,
}

impl Replies {
    /// The reply to a request that was answered before, sent to where it is wanted now.
    pub(super) fn again(&mut self, request: &Request) -> Option<Effect> {
        // The client has those up to its last_xid.
        while self.done.front().is_some_and(|(xid, _)| *xid <= request.last_xid) {
            self.done.pop_front();
        }
        let (_, reply) = self.done.iter().find(|(xid, _)| *xid == request.xid)?;
        let Effect::Send(mut outgoing) = reply.clone() else { return None };
        (outgoing.match_bits, outgoing.offset) = (request.reply_bits, request.reply_offset());
        (outgoing.to, outgoing.pid, outgoing.from) = (request.source, request.pid, request.target);
        Some(Effect::Send(outgoing))
    }

    pub(super) fn remember(&mut self, xid: u64, reply: Effect) {
        if self.done.len() == REPLIES {
            self.done.pop_front();
        }
        self.done.push_back((xid, reply));
    }

    pub(super) fn begin(&mut self, request: &Request) {
        self.under_way.push(request.xid);
    }

    pub(super) fn end(&mut self, request: &Request) {
        self.under_way.retain(|xid| *xid != request.xid);
    }

    pub(super) fn is_under_way(&self, request: &Request) -> bool {
        self.under_way.contains(&request.xid)
    }
}
