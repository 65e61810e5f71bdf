//! Reading config logs. Source: MGS specification, section 4.

use crate::{
    call::Request,
    client::Mgc,
    error::{MgcError, status},
};
use lustre_wire::{
    bytes::Reader,
    fixed::Fixed,
    llog::{LogFile, LogHeader, Record},
    mgs::{LOG_BLOCK_LEN, LlogBody},
    ptlrpc::{BodyKind, Opcode},
};

/// Third buffer of an open request: what a kernel sends, uid and gid -1 among zeros.
const OPEN_CREDENTIALS: usize = 216;

/// A log that was opened.
struct Opened {
    body: LlogBody,
    header: LogHeader,
    /// The connection's beginning: ids of logs are good for it only.
    epoch: u64,
}

/// What a log has behind some record.
pub(crate) struct News {
    /// The live records.
    pub(crate) records: Vec<Record>,
    /// The index to go on from.
    pub(crate) last: u32,
    /// Which log it is.
    pub(crate) log_id: [u64; 2],
}

impl Mgc {
    /// Reads a whole config log; nothing if the MGS has no log of that name.
    ///
    /// Records are all that its blocks hold, dead ones included; a log of only dead records gives none.
    pub async fn log(&self, name: &str) -> Result<Option<LogFile>, MgcError> {
        // The MGS may have begun anew in between, with other ids.
        loop {
            let Some(opened) = self.open(name).await? else { return Ok(None) };
            if let Some(records) = self.records(name, &opened, 0).await? {
                return Ok(Some(LogFile { header: opened.header, records }));
            }
        }
    }

    /// Reads the live records of a config log behind index `after`, and the index to go on from; nothing if there is no
    /// such log.
    pub async fn log_after(&self, name: &str, after: u32) -> Result<Option<(Vec<Record>, u32)>, MgcError> {
        let news = self.news(name, after, None).await?;
        Ok(news.map(|news| (news.records, news.last)))
    }

    /// As [`Mgc::log_after`]; from its beginning where the log is no longer the one that was `known`.
    pub(crate) async fn news(&self, name: &str, after: u32, known: Option<[u64; 2]>) -> Result<Option<News>, MgcError> {
        loop {
            let Some(opened) = self.open(name).await? else { return Ok(None) };
            let log_id = opened.body.log_id;
            let after = if known.is_some_and(|known| known != log_id) { 0 } else { after };
            let Some(mut records) = self.records(name, &opened, after).await? else { continue };
            records.retain(|record| record.index > after && opened.header.bitmap.is_set(record.index));
            return Ok(Some(News { records, last: opened.header.last_index.max(after), log_id }));
        }
    }

    async fn open(&self, name: &str) -> Result<Option<Opened>, MgcError> {
        let shared = self.shared();
        if name.is_empty() || name.contains('\0') {
            return Err(MgcError::Name(format!("\"{}\" is no name of a config log", name.escape_default())));
        }
        let mut credentials = vec![0; OPEN_CREDENTIALS];
        credentials[112..116].fill(0xff);
        credentials[144..148].fill(0xff);
        let request = Request {
            buffers: vec![LlogBody::default().encode(), [name.as_bytes(), b"\0"].concat(), credentials],
            reply_lens: vec![LlogBody::LEN],
            ..Request::new(Opcode::LLOG_OPEN)
        };
        let reply = shared.call(request).await?;
        match reply.status {
            0 => {}
            status::ENOENT => return Ok(None),
            status => return Err(shared.refused(format!("to open log {name}"), status)),
        }
        let opc = Opcode::LLOG_OPEN;
        let malformed = |source| MgcError::Malformed { nid: shared.mgs_name(), opc, source };
        let body =
            reply.message().need(1, "llogd_body", LlogBody::LEN).and_then(LlogBody::decode).map_err(malformed)?;
        let body = LlogBody { flags: LogHeader::IS_PLAIN, ..body };
        let epoch = reply.epoch;
        let request = Request {
            buffers: vec![body.encode()],
            reply_lens: vec![LOG_BLOCK_LEN],
            ..Request::new(Opcode::LLOG_READ_HEADER)
        };
        let reply = shared.call(request).await?;
        if reply.status != 0 {
            return Err(shared.refused(format!("the header of log {name}"), reply.status));
        }
        let header = reply.message().need(1, "llog_log_hdr", LOG_BLOCK_LEN).and_then(LogHeader::decode);
        let header = header.map_err(|error| self.bad_log(name, error.to_string()))?;
        Ok(Some(Opened { body, header, epoch }))
    }

    /// The records of the blocks from the first live one behind `after`; nothing if the MGS began anew meanwhile.
    async fn records(&self, name: &str, opened: &Opened, after: u32) -> Result<Option<Vec<Record>>, MgcError> {
        let shared = self.shared();
        let Opened { body, header, epoch } = opened;
        let mut records: Vec<Record> = Vec::new();
        let mut at = LlogBody { len: 8192, offset: 8192, saved_index: 0, ..*body };
        let mut done = after;
        while let Some(wanted) = header.bitmap.next_set(done + 1).filter(|wanted| *wanted <= header.last_index) {
            at.index = wanted;
            let request = Request {
                buffers: vec![at.encode()],
                reply_lens: vec![LlogBody::LEN, LOG_BLOCK_LEN],
                ..Request::new(Opcode::LLOG_NEXT_BLOCK)
            };
            let reply = shared.call(request).await?;
            if reply.epoch != *epoch {
                return Ok(None);
            }
            match reply.status {
                0 => {}
                // Both say "end of the log", by the version of the server.
                status::EIO | status::EBADR if reply.kind == BodyKind::Reply => break,
                status => return Err(shared.refused(format!("record {wanted} of log {name}"), status)),
            }
            let opc = Opcode::LLOG_NEXT_BLOCK;
            let malformed = |source| MgcError::Malformed { nid: shared.mgs_name(), opc, source };
            let message = reply.message();
            let answer = message.need(1, "llogd_body", LlogBody::LEN).and_then(LlogBody::decode).map_err(malformed)?;
            let block = message.need(2, "block", LOG_BLOCK_LEN).map_err(malformed)?;
            let found = block_records(block).map_err(|error| self.bad_log(name, error))?;
            let last = found.last().map_or(0, |record| record.index);
            if last < wanted {
                return Err(self.bad_log(name, format!("the block of record {wanted} ends with record {last}")));
            }
            let news = found.into_iter().filter(|record| record.index > done && record.index <= header.last_index);
            records.extend(news);
            done = last;
            at.saved_index = answer.saved_index.max(last);
            at.offset = answer.offset;
        }
        Ok(Some(records))
    }

    fn bad_log(&self, name: &str, reason: String) -> MgcError {
        MgcError::BadLog { nid: self.mgs(), log: name.to_owned(), reason }
    }
}

/// The records of a block, up to the zeros that fill it.
fn block_records(block: &[u8]) -> Result<Vec<Record>, String> {
    let mut records: Vec<Record> = Vec::new();
    let mut rest = block;
    while Reader::new("llog block", rest).u32("lrh_len").is_ok_and(|len| len != 0) {
        let (record, after) = Record::decode(rest).map_err(|error| error.to_string())?;
        if records.last().is_some_and(|before| before.index >= record.index) {
            return Err(format!("record {} follows one that isn't before it", record.index));
        }
        records.push(record);
        rest = after;
    }
    Ok(records)
}
