//! Registering targets. Source: MGS specification, section 1.

use crate::{
    call::{Bulk, Request},
    client::Mgc,
    error::MgcError,
};
use bytes::Bytes;
use lustre_types::Nid;
use lustre_wire::{
    fixed::{Fixed, Text, TextError},
    lnet::WireNid,
    mgs::{
        NidEncoding, Registration, RegistrationNids, TARGET_INFO_LEN, TARGET_NIDS_MAX, TargetInfo, nidlist_flag,
        target_flag,
    },
    ptlrpc::{Opcode, connect_flag, connect_flag2},
};
use std::time::Duration;

/// Strings of NIDs that fit into a request; more are fetched by the MGS.
const INLINE_NIDS: usize = 37;
/// Bytes of a NID as a string.
const NID_TEXT: usize = 64;
/// Patience with a registration that writes logs, and with any other.
const WRITING: Duration = Duration::from_secs(60);
const CHECKING: Duration = Duration::from_secs(20);

/// A target as its node knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the file system.
    pub fsname: String,
    /// Name of the target, with a dash: `scratch-OST0001`.
    pub svname: String,
    /// Its index.
    pub index: u32,
    /// What it is and what it wants: bits of [`target_flag`], without the operation.
    pub flags: u32,
    /// How often it was mounted; 0 to register.
    pub instance: u32,
    /// NIDs of its node.
    pub nids: Vec<Nid>,
    /// Parameters of its mountdata, without `mgsnode=`.
    pub params: String,
    /// Lustre version of its node, in the form of [`crate::Config::version`].
    pub version: u32,
}

/// What the MGS says to a registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Flags in the reply.
    pub flags: u32,
    /// Uuid that the MGS gave the target; empty if nothing was written.
    pub uuid: String,
    /// Index in the reply.
    pub index: u32,
}

impl Registered {
    /// True if the target should rewrite its own mountdata: its logs were written.
    pub fn wants_rewrite(&self) -> bool {
        self.flags & target_flag::REWRITE_LDD != 0
    }

    /// True if imperative recovery is at work.
    pub fn is_recovery_imperative(&self) -> bool {
        self.flags & target_flag::IR_CAPABLE != 0
    }
}

impl Mgc {
    /// Registers a target, or asks whether it is registered, as [`Target::flags`] say.
    ///
    /// Errors: [`MgcError::Refused`] with the MGS's reason: index in use, unknown, not allowed.
    pub async fn register(&self, target: &Target) -> Result<Registered, MgcError> {
        self.target_reg(target, target_flag::OPC_REG, 0).await
    }

    /// Says that a target is up, where, and for the how manieth time ([`Target::instance`]).
    pub async fn ready(&self, target: &Target) -> Result<Registered, MgcError> {
        self.target_reg(target, target_flag::OPC_READY, 0).await
    }

    /// As [`Mgc::ready`], after the MGS was started anew: adds the NIDs to those that it knows.
    pub async fn ready_again(&self, target: &Target) -> Result<Registered, MgcError> {
        self.target_reg(target, target_flag::OPC_READY, nidlist_flag::APPEND).await
    }

    async fn target_reg(&self, target: &Target, operation: u32, list_flags: u32) -> Result<Registered, MgcError> {
        let shared = self.shared();
        // What was granted decides the form, so the connection comes first.
        let link = shared.connected(shared.deadline()).await?;
        let encoding = match () {
            () if link.granted.has(connect_flag::MGS_NIDLIST) => NidEncoding::List,
            () if link.granted.has2(connect_flag2::LARGE_NID) => NidEncoding::Inline,
            () => NidEncoding::Classic,
        };
        let (registration, bulk) = registration(target, operation, list_flags, encoding)?;
        let inline = if encoding == NidEncoding::Inline { NID_TEXT * target.nids.len() } else { 0 };
        let is_writing = target.flags & (target_flag::UPDATE | target_flag::WRITECONF | target_flag::VIRGIN) != 0;
        let request = Request {
            buffers: registration.encode(),
            reply_lens: vec![TARGET_INFO_LEN + inline],
            bulk: bulk.map_or(Bulk::None, Bulk::Source),
            within: Some(if is_writing { WRITING } else { CHECKING }),
            ..Request::new(Opcode::MGS_TARGET_REG)
        };
        let reply = shared.call(request).await?;
        if reply.status < 0 {
            return Err(shared.refused(format!("target {}", target.svname), reply.status));
        }
        let opc = Opcode::MGS_TARGET_REG;
        let malformed = |source| MgcError::Malformed { nid: shared.mgs_name(), opc, source };
        let message = reply.message();
        let info = message.need(1, "mgs_target_info", TARGET_INFO_LEN).and_then(TargetInfo::decode);
        let info = info.map_err(malformed)?;
        Ok(Registered { flags: info.flags, uuid: info.uuid.as_str().to_owned(), index: info.stripe_index })
    }
}

fn registration(
    target: &Target,
    operation: u32,
    nidlist_flags: u32,
    encoding: NidEncoding,
) -> Result<(Registration, Option<Bytes>), MgcError> {
    let named = |what: &'static str| {
        move |error: TextError| MgcError::Name(format!("{what} of target {}: {error}", target.svname))
    };
    let mut info = TargetInfo {
        lustre_version: target.version,
        stripe_index: target.index,
        config_version: 0,
        // Only the low half of the flags travels, and the operation.
        flags: (target.flags & 0xffff) | operation,
        nid_count: u32::try_from(target.nids.len()).unwrap_or(u32::MAX),
        instance: target.instance,
        fsname: Text::new(&target.fsname).map_err(named("fsname"))?,
        svname: Text::new(&target.svname).map_err(named("name"))?,
        uuid: Text::default(),
        nids: Vec::new(),
        params: Text::new(&target.params).map_err(named("parameters"))?,
    };
    let texts: Vec<String> = target.nids.iter().map(Nid::to_string).collect();
    if encoding == NidEncoding::Classic {
        let numbers = target.nids.iter().filter_map(|nid| WireNid::from(nid).classic()).take(TARGET_NIDS_MAX);
        info.nids = numbers.collect();
        info.nid_count = u32::try_from(info.nids.len()).unwrap_or(u32::MAX);
        if info.nids.len() < texts.len() {
            let svname = &target.svname;
            return Err(MgcError::Name(format!(
                "target {svname} has more than 32 NIDs or IPv6 ones, which this MGS doesn't understand"
            )));
        }
        let nids = RegistrationNids::Numbers(info.nids.clone());
        return Ok((Registration { target: info, nids, encoding, nidlist_flags: 0 }, None));
    }
    info.flags |= target_flag::LARGE_NID;
    if encoding == NidEncoding::List && texts.len() > INLINE_NIDS {
        let mut data = Vec::with_capacity(NID_TEXT * texts.len());
        for text in &texts {
            let end = data.len() + NID_TEXT;
            data.extend_from_slice(&text.as_bytes()[..text.len().min(NID_TEXT - 1)]);
            data.resize(end, 0);
        }
        let nids = RegistrationNids::InBulk(info.nid_count);
        let nidlist_flags = nidlist_flags | nidlist_flag::IN_BULK;
        return Ok((Registration { target: info, nids, encoding, nidlist_flags }, Some(data.into())));
    }
    Ok((Registration { target: info, nids: RegistrationNids::Texts(texts), encoding, nidlist_flags }, None))
}
