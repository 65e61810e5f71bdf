//! Targets over the wire: registering, saying that they are up; and the parameter that old MDTs set.
//!
//! What a registration comes to is decided by [`crate::decide::target_reg`], committed by the driver, and answered here.
//! Source: MGS specification, sections 1 and 2.

use lustre_types::{FsName, Nid, SvName};
use lustre_wire::fixed::Text;
use lustre_wire::ldlm::{ResourceId, ResourceKind};
use lustre_wire::lnet::WireNid;
use lustre_wire::mgs::{
    Registration, RegistrationNids, TargetInfo, TargetOp, decode_set_info, encode_set_info, nidlist_flag, target_flag,
};
use lustre_wire::ptlrpc::{Message, connect_flag, portal};

use crate::serve::request::Request;
use crate::serve::{Effect, Errno, ServeError, Service, Ticket, Waiting, reply};

/// Most NIDs of a target: what one bulk transfer holds.
const NIDS_MAX: u32 = 16_384;
/// Size of a NID's text in bulk data.
const NID_TEXT_LEN: u32 = 64;

/// A target that wants to be registered, or says that it is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationRequest {
    /// The target.
    pub svname: SvName,
    /// `mti_flags`, see [`target_flag`].
    pub flags: u32,
    /// Its NIDs, in its order. Never empty.
    pub nids: Vec<Nid>,
    /// Its parameters (`mti_params`), in its order.
    pub params: Vec<(String, String)>,
    /// Uuid of the client that asks: one for each start of its node's configuration client.
    pub client: String,
    /// Where that is.
    pub from: WireNid,
    /// What it says of itself when it is up; `None` in a registration.
    pub ready: Option<Announcement>,
}

/// What a target says that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// How often it was started.
    pub instance: u32,
    /// Its NIDs are added to those known.
    pub append: bool,
    /// What is known on this network is forgotten first, as in `tcp`.
    pub forget: Option<String>,
}

/// What a target is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationOutcome {
    /// `mti_flags` of the reply.
    pub flags: u32,
    /// `mti_uuid` of the reply; empty where nothing was written.
    pub uuid: String,
    /// Readers of the file system's logs are asked to read again even if no log changed.
    pub revoke: bool,
}

impl Service {
    pub(super) fn target_reg(
        &mut self,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let Some(export) = self.exports.get(request.handle) else { return Ok(()) };
        let has_list = export.data.has(connect_flag::MGS_NIDLIST);
        if has_list && message.buffer(2).is_none() {
            out.push(self.refuse(request, Errno::PROTO));
            return Ok(());
        }
        let registration = Registration::decode(message, has_list)?;
        match registration.nids {
            RegistrationNids::InBulk(count) if count > NIDS_MAX => {
                self.answer_target(request, &registration, Err(Errno::INVAL), out);
            }
            RegistrationNids::InBulk(count) => {
                let ticket = self.ticket();
                if !self.wait(ticket, request, Waiting::Nids(Box::new(registration))) {
                    out.push(self.refuse(request, Errno::BUSY));
                    return Ok(());
                }
                out.push(Effect::Fetch {
                    ticket,
                    from: request.source,
                    pid: request.pid,
                    to: request.target,
                    portal: portal::MGS_BULK,
                    match_bits: request.bulk_bits,
                    len: count * NID_TEXT_LEN,
                });
            }
            _ => self.decide(request, registration, out),
        }
        Ok(())
    }

    /// The NIDs of a target came, or were lost: then it gets no reply and asks again.
    pub fn nids_fetched(&mut self, now_ms: u64, ticket: Ticket, data: Option<&[u8]>, out: &mut Vec<Effect>) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(pending) = self.take(ticket) else { return };
        let (Waiting::Nids(mut registration), Some(data)) = (pending.what, data) else { return };
        let RegistrationNids::InBulk(count) = registration.nids else { return };
        match Registration::nids_from_bulk(data, count) {
            Ok(nids) => {
                registration.nids = RegistrationNids::Texts(nids);
                self.decide(&pending.request, *registration, out);
            }
            Err(_) => self.answer_target(&pending.request, &registration, Err(Errno::INVAL), out),
        }
    }

    fn decide(&mut self, request: &Request, registration: Registration, out: &mut Vec<Effect>) {
        let Some(export) = self.exports.get(request.handle) else { return };
        let speaks_ir = export.data.has(connect_flag::IMP_RECOV);
        let asked = match understood(&registration, &export.uuid, request.source, speaks_ir) {
            Ok(asked) => asked,
            Err(errno) => return self.answer_target(request, &registration, Err(errno), out),
        };
        let ticket = self.ticket();
        if !self.wait(ticket, request, Waiting::Commit(Box::new(registration))) {
            out.push(self.refuse(request, Errno::BUSY));
            return;
        }
        out.push(Effect::Decide(ticket, Box::new(asked)));
    }

    /// A registration was decided, and what it changed is durable.
    pub fn decided(
        &mut self,
        now_ms: u64,
        ticket: Ticket,
        outcome: Result<RegistrationOutcome, Errno>,
        out: &mut Vec<Effect>,
    ) {
        self.now_ms = self.now_ms.max(now_ms);
        let Some(pending) = self.take(ticket) else { return };
        let Waiting::Commit(registration) = pending.what else { return };
        let fsname = registration.target.fsname.as_str().parse::<FsName>().ok();
        if outcome.as_ref().is_ok_and(|outcome| outcome.revoke)
            && let Some(resource) =
                fsname.and_then(|fsname| ResourceId::new(fsname.as_str(), ResourceKind::Config).ok())
        {
            self.revoke(now_ms, &resource, out);
        }
        self.answer_target(&pending.request, &registration, outcome, out);
    }

    fn answer_target(
        &mut self,
        request: &Request,
        registration: &Registration,
        outcome: Result<RegistrationOutcome, Errno>,
        out: &mut Vec<Effect>,
    ) {
        let mut target = registration.target.clone();
        let status = match outcome {
            Ok(outcome) => {
                target.flags = outcome.flags;
                target.uuid = Text::new(&outcome.uuid).unwrap_or_default();
                let fsname = target.fsname.as_str().parse::<FsName>();
                if target.op() == TargetOp::Ready && fsname.is_ok_and(|fsname| self.is_recovery_on(&fsname)) {
                    target.flags |= target_flag::IR_CAPABLE;
                }
                0
            }
            Err(errno) => {
                self.counts.refused += 1;
                target.flags |= target_flag::ERROR;
                errno.status()
            }
        };
        let reply = reply::with(request, status, &[&registration.encode_reply(&target)]);
        if let Some(export) = self.exports.get_mut(request.handle) {
            export.replies.remember(request.xid, reply.clone());
        }
        out.push(reply);
    }

    /// What MDTs up to 2.14 send when the root gets a striping: checked, and without effect, as in an MGS from 2.15 on.
    pub(super) fn set_info(
        &mut self,
        request: &Request,
        message: &Message<'_>,
        out: &mut Vec<Effect>,
    ) -> Result<(), ServeError> {
        let param = decode_set_info(message.need(1, "mgs_send_param", 0)?)?;
        let key = param.split_once('=').map_or("", |(key, _)| key);
        let is_striping = [".lov.stripesize", ".lov.stripecount", ".lov.stripeoffset"].iter().any(|k| key.ends_with(k));
        let status = if is_striping { 0 } else { Errno::INVAL.status() };
        out.push(reply::with(request, status, &[&encode_set_info(param)]));
        Ok(())
    }
}

/// What a target asks for. Errors: a name that doesn't fit its file system, index or kind; no NID that is known.
fn understood(
    registration: &Registration,
    client: &str,
    from: WireNid,
    speaks_ir: bool,
) -> Result<RegistrationRequest, Errno> {
    let target = &registration.target;
    let op = if speaks_ir { target.op() } else { TargetOp::Register };
    if matches!(op, TargetOp::Unknown(_)) {
        return Err(Errno::INVAL);
    }
    let svname = name(target)?;
    let (forget, nids) = nids(registration);
    if nids.is_empty() && forget.is_none() {
        return Err(Errno::INVAL);
    }
    let append = registration.nidlist_flags & nidlist_flag::APPEND != 0;
    let ready = (op == TargetOp::Ready).then_some(Announcement { instance: target.instance, append, forget });
    let params = target.params.as_str().split_ascii_whitespace().filter_map(|param| param.split_once('='));
    Ok(RegistrationRequest {
        svname,
        flags: target.flags,
        nids,
        params: params.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        client: client.to_owned(),
        from,
        ready,
    })
}

fn name(target: &TargetInfo) -> Result<SvName, Errno> {
    // On a disk that was never registered the separator is ':' or '='.
    let text = target.svname.as_str();
    let svname: SvName = match text.parse() {
        Ok(svname) => svname,
        Err(lustre_types::SvNameError::Index(_)) => return Err(Errno::RANGE),
        Err(_) => return Err(Errno::INVAL),
    };
    let fsname = svname.fsname().map_or("", FsName::as_str);
    let index = svname.index().map(|index| u32::from(index.get()));
    let kind = match svname.kind() {
        lustre_types::TargetKind::Mdt => target_flag::MDT,
        _ => target_flag::OST,
    };
    let fits = fsname == target.fsname.as_str() && index == Some(target.stripe_index) && target.has(kind);
    if fits { Ok(svname) } else { Err(Errno::INVAL) }
}

/// The NIDs that have a name, each once, and the network that is forgotten before.
fn nids(registration: &Registration) -> (Option<String>, Vec<Nid>) {
    let mut nids: Vec<Nid> = Vec::new();
    let mut forget = None;
    let mut add = |nid: Option<Nid>| {
        if let Some(nid) = nid.filter(|nid| !nids.contains(nid)) {
            nids.push(nid);
        }
    };
    match &registration.nids {
        RegistrationNids::Numbers(numbers) => {
            numbers.iter().for_each(|number| add(WireNid::from_classic(*number).nid().ok()));
        }
        RegistrationNids::Texts(texts) => {
            for text in texts {
                match text.strip_prefix('#') {
                    Some(net) => forget = Some(net.to_owned()),
                    None => add(text.parse().ok()),
                }
            }
        }
        RegistrationNids::InBulk(_) => {}
    }
    (forget, nids)
}
