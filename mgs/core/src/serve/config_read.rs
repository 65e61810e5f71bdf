//! Reading the NID table and the nodemaps: data as bulk, then the reply. Source: MGS specification, section 3.

use std::collections::VecDeque;

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
/// Most answers that are kept.
const KEPT: usize = 16;

/// Answers that were encoded for one revision of the state: when a thousand clients mount, all ask for the same table.
#[derive(Default)]
pub(super) struct Answers {
    revision: u64,
    kept: VecDeque<(ConfigRead, Bytes, ConfigResult)>,
}

impl Answers {
    /// What a read gives. Refusals are decided anew each time.
    fn to(&mut self, state: &State, asked: &ConfigRead) -> Result<(Bytes, ConfigResult), Errno> {
        if self.revision != state.revision {
            self.kept.clear();
            self.revision = state.revision;
        }
        if let Some((_, data, result)) = self.kept.iter().find(|(before, ..)| before == asked) {
            return Ok((data.clone(), *result));
        }
        let (data, result) = read(state, asked)?;
        let data = Bytes::from(data);
        // What a stranger may ask for has no end; what clients do is one or two of these.
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back((asked.clone(), data.clone(), result));
        Ok((data, result))
    }
}

impl Service {
    pub(super) fn config_read(
        &mut self,
        state: &State,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = ConfigRead::decode(message.need(1, "mgs_config_body", 0)?)?;
        match self.config_answers.to(state, &asked) {
            Ok((data, result)) => {
                let reply = reply::encode(&reply::body(request, 0), &[&result.encode()]);
                self.bulk(request, data, reply, out);
            }
            Err(errno) => out.push(self.refuse(request, errno)),
        }
        Ok(())
    }

    fn bulk(&mut self, request: &Request, data: Bytes, reply: Vec<u8>, out: &mut Vec<Effect>) {
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
            own: Vec::new(),
            shared: data,
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

#[cfg(test)]
mod tests {
    use lustre_types::SvName;
    use lustre_wire::fixed::Text;

    use super::*;
    use crate::record::{NidRow, NidTableRecord};
    use crate::state::Object;

    /// One OST that is up for the `instance`th time, committed as that revision.
    fn state(instance: u32, revision: u64) -> State {
        let svname: SvName = "scratch-OST0000".parse().unwrap();
        let row = NidRow { version: revision, instance, nids: vec!["10.0.0.2@tcp".parse().unwrap()] };
        let mut state = State { revision, ..State::default() };
        let table = NidTableRecord { version: revision };
        state.nid_tables.insert(svname.fsname().unwrap().clone(), Object { created: revision, revision, value: table });
        state.nid_rows.insert(svname, Object { created: revision, revision, value: row });
        state
    }

    fn asked(offset: u64) -> ConfigRead {
        let kind = ConfigReadKind::Recover;
        let name = Text::new("scratch-cliir").unwrap();
        ConfigRead { name, offset, kind, nid_size_or_pass: 20, unit_bits: 12, units: 256 }
    }

    #[test]
    fn a_table_is_encoded_once_for_all_who_ask_and_anew_after_a_change() {
        let mut answers = Answers::default();
        let (first, result) = answers.to(&state(1, 7), &asked(1)).unwrap();
        let (again, _) = answers.to(&state(1, 7), &asked(1)).unwrap();
        assert_eq!((first.as_ptr(), result.size), (again.as_ptr(), 7));
        let (none, _) = answers.to(&state(1, 7), &asked(8)).unwrap();
        assert!(none.is_empty(), "another question has another answer");
        let (changed, result) = answers.to(&state(2, 8), &asked(1)).unwrap();
        assert_eq!((changed != first, result.size), (true, 8));
    }

    #[test]
    fn who_asks_for_everything_has_no_more_kept_than_others() {
        let mut answers = Answers::default();
        for offset in 0..100 {
            answers.to(&state(1, 7), &asked(offset)).unwrap();
        }
        assert_eq!(answers.kept.len(), KEPT);
        assert_eq!(answers.to(&state(1, 7), &ConfigRead { units: 0, ..asked(0) }), Err(Errno::INVAL));
    }
}
