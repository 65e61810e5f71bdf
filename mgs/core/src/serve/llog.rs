//! Config logs over the wire. Source: MGS specification, section 4.

use std::sync::Arc;

use bytes::Bytes;
use lustre_wire::fixed::Fixed;
use lustre_wire::llog::LogHeader;
use lustre_wire::mgs::{LOG_BLOCK_LEN, LlogBody};
use lustre_wire::ptlrpc::Message;

use crate::configlog::{ConfigLog, names};
use crate::serve::request::Request;
use crate::serve::{Effect, Errno, ServeError, Service, reply};
use crate::state::State;

/// Second part of a log's id, of all named logs.
const NAMED_LOGS: u64 = 10;
/// First part of the id of `params` as long as nothing was written to it; ids of logs are larger.
const EMPTY_PARAMS: u64 = 1;
/// The first version whose readers take EBADR for the end of a log: 2.16.51.
const EBADR_SINCE: u32 = 0x0210_3300;

/// A log that can be read.
enum Readable<'a> {
    Log(&'a Arc<ConfigLog>),
    /// Nothing was written yet.
    Empty,
}

impl Service {
    pub(super) fn llog_open(
        &mut self,
        state: &State,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = LlogBody::decode(message.need(1, "llogd_body", 0)?)?;
        let found = match asked.log_id {
            [0, 0] => {
                let name = message.text(2, "name")?;
                self.associate(request.handle, name);
                match state.log(name) {
                    Some(log) => Some(shown(state, log.id())),
                    None => (name == names::PARAMS).then_some(EMPTY_PARAMS),
                }
            }
            id => find(state, id).map(|_| id[0]),
        };
        let (status, body) = match found {
            Some(id) => (0, LlogBody { log_id: [id, NAMED_LOGS], ..LlogBody::default() }),
            None => (Errno::NOENT.status(), LlogBody::default()),
        };
        out.push(reply::with(request, status, &[&body.encode()]));
        Ok(())
    }

    /// A client is one of a file system from when it opens one of its logs.
    fn associate(&mut self, handle: u64, log: &str) {
        let fsname = log.rsplit_once('-').and_then(|(fsname, _)| fsname.parse().ok());
        if let (Some(export), Some(fsname)) = (self.exports.get_mut(handle), fsname) {
            // A stranger must not grow memory by making up names.
            if export.filesystems.len() < 64 {
                export.filesystems.insert(fsname);
            }
        }
    }

    pub(super) fn llog_header(
        &mut self,
        state: &State,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = LlogBody::decode(message.need(1, "llogd_body", 0)?)?;
        let header = match find(state, asked.log_id) {
            Some(Readable::Log(log)) => log.header_bytes().clone(),
            Some(Readable::Empty) => empty_header(),
            None => {
                out.push(self.refuse(request, Errno::NOENT));
                return Ok(());
            }
        };
        let reply = reply::begin(request, 0, 1, 0).finish_with_tail(header.len());
        out.push(reply::send(request, reply, header));
        Ok(())
    }

    pub(super) fn llog_block(
        &mut self,
        state: &State,
        request: &Request,
        message: &Message<'_>,
        is_previous: bool,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let asked = LlogBody::decode(message.need(1, "llogd_body", 0)?)?;
        if usize::try_from(asked.len) != Ok(LOG_BLOCK_LEN) {
            out.push(self.refuse(request, Errno::INVAL));
            return Ok(());
        }
        let Some(log) = find(state, asked.log_id) else {
            out.push(self.refuse(request, Errno::NOENT));
            return Ok(());
        };
        let from = if is_previous { 0 } else { asked.offset };
        let found = match &log {
            Readable::Log(log) => log.block_with(asked.index, from),
            Readable::Empty => None,
        };
        let (status, body, data) = match (found, &log) {
            (Some((begin, block)), _) => {
                let offset = begin + u64::try_from(block.used).unwrap_or(0);
                (0, LlogBody { saved_index: block.last_index, offset, ..asked }, block.bytes.clone())
            }
            (None, Readable::Log(log)) => {
                let offset = u64::try_from(log.size()).unwrap_or(u64::MAX);
                let body = LlogBody { saved_index: log.last_index(), offset, ..asked };
                (self.end_of_log(request).status(), body, self.zeros.clone())
            }
            (None, Readable::Empty) => {
                let body = LlogBody { saved_index: 0, offset: 0, ..asked };
                (self.end_of_log(request).status(), body, self.zeros.clone())
            }
        };
        self.counts.log_blocks += 1;
        let mut reply = reply::begin(request, status, 2, LlogBody::LEN);
        reply.put(|out| body.write(out));
        out.push(reply::send(request, reply.finish_with_tail(data.len()), data));
        Ok(())
    }

    /// How this client is told that a log ends.
    fn end_of_log(&self, request: &Request) -> Errno {
        let version = self.exports.get(request.handle).map_or(0, |export| export.data.version);
        if version >= EBADR_SINCE { Errno::BADR } else { Errno::IO }
    }
}

/// A log's id as clients see it, and back. Restored from a backup, the MGS's logs are others than those that a client may have read
/// further than the backup goes: whoever compares ids begins again.
fn shown(state: &State, id: u64) -> u64 {
    let epoch = state.mgs.as_ref().map_or(0, |mgs| mgs.value.epoch);
    // The revision in an id leaves its highest byte free for longer than anything lasts.
    id ^ (epoch << 56)
}

fn find(state: &State, id: [u64; 2]) -> Option<Readable<'_>> {
    match id {
        [EMPTY_PARAMS, NAMED_LOGS] => Some(Readable::Empty),
        [id, NAMED_LOGS] => state.log_by_id(shown(state, id)).map(Readable::Log),
        _ => None,
    }
}

/// The header of a log without records, as a kernel MGS makes it up.
fn empty_header() -> Bytes {
    LogHeader { tgtuuid: [0; 40], ..LogHeader::new(0) }.encode().into()
}
