//! Reading the NID table and the nodemaps: data as bulk, then the reply. Source: MGS specification, section 3.

use bytes::Bytes;
use lustre_types::{FsName, TargetKind};
use lustre_wire::fixed::Fixed;
use lustre_wire::lnet::WireNid;
use lustre_wire::mgs::{ConfigRead, ConfigReadKind, ConfigResult, NODEMAP_END, NidTableEntry, RawNids, pack_nid_table};
use lustre_wire::ptlrpc::{Message, portal};

use crate::serve::request::Request;
use crate::serve::{Effect, Errno, Outgoing, ServeError, Service, Ticket, Waiting, nodemap, reply};
use crate::state::State;

/// Largest entry of the table.
const ENTRY_MAX: usize = 4096;
/// Bytes of an entry before its NIDs.
const ENTRY_HEAD: usize = 24;

impl Service {
    pub(super) fn config_read(
        &mut self,
        state: &State,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = ConfigRead::decode(message.need(1, "mgs_config_body", 0)?)?;
        match read(state, &asked) {
            Ok((data, result)) => {
                let reply = reply::encode(&reply::body(request, 0), &[&result.encode()]);
                self.bulk(request, data, reply, out);
            }
            Err(errno) => out.push(self.refuse(request, errno)),
        }
        Ok(())
    }

    fn bulk(&mut self, request: &Request, data: Vec<u8>, reply: Vec<u8>, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        if !self.wait(ticket, request, Waiting::Bulk(reply)) {
            out.push(self.refuse(request, Errno::BUSY));
            return;
        }
        let put = Outgoing {
            to: request.source,
            pid: request.pid,
            from: request.target,
            portal: portal::MGS_BULK,
            match_bits: request.bulk_bits,
            offset: 0,
            own: data,
            shared: Bytes::new(),
        };
        out.push(Effect::Bulk(ticket, put));
    }

    /// Bulk data was acknowledged, or was lost: then the client gets no reply and asks again.
    pub fn bulk_done(&mut self, now_ms: u64, ticket: Ticket, is_acknowledged: bool, out: &mut Vec<Effect>) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(pending) = self.take(ticket) else { return };
        if let (Waiting::Bulk(reply), true) = (pending.what, is_acknowledged) {
            out.push(reply::send(&pending.request, reply, Bytes::new()));
        }
    }
}

fn read(state: &State, asked: &ConfigRead) -> Result<(Vec<u8>, ConfigResult), Errno> {
    match asked.kind {
        ConfigReadKind::Recover => nid_table(state, asked),
        ConfigReadKind::Nodemap => nodemaps(state, asked),
        ConfigReadKind::Config => Err(Errno::OPNOTSUPP),
        ConfigReadKind::Unknown(_) => Err(Errno::INVAL),
    }
}

fn nodemaps(state: &State, asked: &ConfigRead) -> Result<(Vec<u8>, ConfigResult), Errno> {
    let room = asked.room_bytes().ok_or(Errno::INVAL)?;
    let data = if asked.offset == 0 { nodemap::pages(state) } else { Vec::new() };
    // Targets give a megabyte, and no more than fits into that can be set: there is nothing to go on with.
    if room < data.len().max(nodemap::PAGE_LEN) {
        return Err(Errno::INVAL);
    }
    Ok((data, ConfigResult { offset: NODEMAP_END, size: 1 }))
}

fn nid_table(state: &State, asked: &ConfigRead) -> Result<(Vec<u8>, ConfigResult), Errno> {
    let unit = asked.unit_bytes().ok_or(Errno::INVAL)?;
    let room = asked.room_bytes().ok_or(Errno::INVAL)?;
    let is_large = match asked.nid_size_or_pass {
        0 | 8 => false,
        20 => true,
        _ => return Err(Errno::INVAL),
    };
    let owner = asked.name.as_str().rsplit_once('-').map_or(asked.name.as_str(), |(owner, _)| owner);
    let fsname: FsName = owner.parse().map_err(|_| Errno::NOENT)?;
    let table = state.nid_table(&fsname).ok_or(Errno::NOENT)?;
    let nids_max = (unit.min(ENTRY_MAX) - ENTRY_HEAD) / if is_large { 20 } else { 8 };
    let mut entries = Vec::new();
    for (svname, row) in table.rows.iter().filter(|(_, row)| row.version >= asked.offset) {
        let nids = row.nids.iter().map(WireNid::from);
        let nids = if is_large {
            RawNids::Large(nids.take(nids_max.min(255)).map(|nid| nid.large()).collect())
        } else {
            RawNids::Small(nids.filter_map(|nid| nid.classic()).take(nids_max.min(255)).collect())
        };
        // A client that knows small NIDs only can't reach what has none.
        let is_empty = matches!(&nids, RawNids::Small(nids) if nids.is_empty());
        if is_empty {
            continue;
        }
        let index = svname.index().map_or(0, |index| u32::from(index.get()));
        let kind = if svname.kind() == TargetKind::Ost { 2 } else { 1 };
        entries.push(NidTableEntry { version: row.version, instance: row.instance, index, kind, nids });
    }
    let (data, packed) = pack_nid_table(&entries, unit, room);
    let offset = match packed.checked_sub(1).map(|last| entries[last].version) {
        Some(last) if packed < entries.len() => last,
        _ => table.version,
    };
    Ok((data, ConfigResult { offset, size: table.version }))
}
