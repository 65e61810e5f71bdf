//! A target's description of itself. Source: `struct mgs_target_info`; MGS specification, section 1.1.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::{Fixed, Text};

/// Size of the structure without NID strings behind it.
pub const TARGET_INFO_LEN: usize = 4544;
/// Most NIDs in their 8-byte form.
pub const TARGET_NIDS_MAX: usize = 32;

/// Bits of `mti_flags`.
pub mod target_flag {
    /// The target is an MDT.
    pub const MDT: u32 = 0x1;
    /// The target is an OST.
    pub const OST: u32 = 0x2;
    /// The target is (also) an MGS.
    pub const MGS: u32 = 0x4;
    /// It wants an index.
    pub const NEED_INDEX: u32 = 0x10;
    /// It was never registered.
    pub const VIRGIN: u32 = 0x20;
    /// Its logs have to be written.
    pub const UPDATE: u32 = 0x40;
    /// Reply: rewrite your mountdata.
    pub const REWRITE_LDD: u32 = 0x80;
    /// Its logs have to be written anew.
    pub const WRITECONF: u32 = 0x100;
    /// Parameters of a registered target are updated; set by the MGS.
    pub const PARAM: u32 = 0x400;
    /// All its NIDs are service nodes.
    pub const NO_PRIMNODE: u32 = 0x1000;
    /// Reply to "ready": imperative recovery is at work.
    pub const IR_CAPABLE: u32 = 0x2000;
    /// Reply: refused.
    pub const ERROR: u32 = 0x4000;
    /// NIDs are strings.
    pub const LARGE_NID: u32 = 0x2_0000;
    /// Operation: registration.
    pub const OPC_REG: u32 = 0x1000_0000;
    /// Operation: the opposite; never supported.
    pub const OPC_UNREG: u32 = 0x2000_0000;
    /// Operation: the target is up.
    pub const OPC_READY: u32 = 0x4000_0000;
    /// The bits of the operation.
    pub const OPC_MASK: u32 = 0xF000_0000;
}

/// What a target wants, in the upper bits of its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetOp {
    /// To be registered, or to be told that it is.
    Register,
    /// To say that it is up, and where.
    Ready,
    /// What no MGS does.
    Unknown(u32),
}

/// A target: 4544 bytes. Fields are named as in `struct mgs_target_info`, without their prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetInfo {
    /// Version of Lustre on the target's node; 0 in "ready" after a reconnect.
    pub lustre_version: u32,
    /// Its index.
    pub stripe_index: u32,
    /// 0.
    pub config_version: u32,
    /// See [`target_flag`].
    pub flags: u32,
    /// How many NIDs it has, in whichever form.
    pub nid_count: u32,
    /// How often it was mounted; 0 in a registration.
    pub instance: u32,
    /// Name of the file system.
    pub fsname: Text<64>,
    /// Name of the target, with a dash.
    pub svname: Text<64>,
    /// Filled in by the MGS.
    pub uuid: Text<40>,
    /// NIDs in their 8-byte form; those behind `nid_count` are 0.
    pub nids: Vec<u64>,
    /// `key=value`, separated by spaces.
    pub params: Text<4096>,
}

impl TargetInfo {
    /// What the target wants.
    pub fn op(&self) -> TargetOp {
        match self.flags & target_flag::OPC_MASK {
            target_flag::OPC_REG => TargetOp::Register,
            target_flag::OPC_READY => TargetOp::Ready,
            unknown => TargetOp::Unknown(unknown),
        }
    }

    /// True when all of these flags are set.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags == flags
    }
}

impl Fixed for TargetInfo {
    const WHAT: &'static str = "mgs_target_info";
    const LEN: usize = TARGET_INFO_LEN;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut target = Self {
            lustre_version: r.u32("mti_lustre_ver")?,
            stripe_index: r.u32("mti_stripe_index")?,
            config_version: r.u32("mti_config_ver")?,
            flags: r.u32("mti_flags")?,
            nid_count: r.u32("mti_nid_count")?,
            instance: r.u32("mti_instance")?,
            fsname: Text::read(r, "mti_fsname")?,
            svname: Text::read(r, "mti_svname")?,
            uuid: Text::read(r, "mti_uuid")?,
            ..Self::default()
        };
        let nids = r.bytes("mti_nids", 8 * TARGET_NIDS_MAX)?;
        target.nids = nids.as_chunks::<8>().0.iter().map(|nid| u64::from_le_bytes(*nid)).collect();
        while target.nids.last() == Some(&0) {
            target.nids.pop();
        }
        target.params = Text::read(r, "mti_params")?;
        Ok(target)
    }

    /// Appends the fields; NIDs behind the 32nd don't fit and are left out.
    fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.lustre_version);
        out.put_u32(self.stripe_index);
        out.put_u32(self.config_version);
        out.put_u32(self.flags);
        out.put_u32(self.nid_count);
        out.put_u32(self.instance);
        self.fsname.write(out);
        self.svname.write(out);
        self.uuid.write(out);
        let nids = &self.nids[..self.nids.len().min(TARGET_NIDS_MAX)];
        for nid in nids {
            out.put_u64(*nid);
        }
        out.put_zeros(8 * (TARGET_NIDS_MAX - nids.len()));
        self.params.write(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, holds, recorded};
    use crate::ptlrpc::Message;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<TargetInfo>;
        at("mti_lustre_ver", 0, 4, |t| t.lustre_version = !0);
        at("mti_stripe_index", 4, 4, |t| t.stripe_index = !0);
        at("mti_config_ver", 8, 4, |t| t.config_version = !0);
        at("mti_flags", 12, 4, |t| t.flags = !0);
        at("mti_nid_count", 16, 4, |t| t.nid_count = !0);
        at("mti_instance", 20, 4, |t| t.instance = !0);
        // A text keeps a byte for its NUL.
        at("mti_fsname", 24, 63, |t| t.fsname = Text::new(&"x".repeat(63)).unwrap());
        at("mti_svname", 88, 63, |t| t.svname = Text::new(&"x".repeat(63)).unwrap());
        at("mti_uuid", 152, 39, |t| t.uuid = Text::new(&"x".repeat(39)).unwrap());
        at("mti_nids", 192, 256, |t| t.nids = vec![!0; 32]);
        at("mti_params", 448, 4095, |t| t.params = Text::new(&"x".repeat(4095)).unwrap());
    }

    #[test]
    fn recorded_targets_say_what_the_capture_shows() {
        let of = |text| {
            let bytes = recorded(text);
            holds::<TargetInfo>(Message::decode(&bytes).unwrap().buffer(1).unwrap())
        };
        let asked = of(include_str!("../../testdata/mgs/target-reg-request.hex"));
        assert_eq!((asked.flags, asked.op(), asked.svname.as_str()), (0x1002_0061, TargetOp::Register, "gold-MDT0000"));
        let told = of(include_str!("../../testdata/mgs/target-reg-reply.hex"));
        assert_eq!((told.flags, told.uuid.as_str()), (0x1002_0081, "gold-MDT0000_UUID"));
        let ready = of(include_str!("../../testdata/mgs/target-ready-request.hex"));
        assert_eq!((ready.op(), ready.instance), (TargetOp::Ready, 2));
        let tuned = of(include_str!("../../testdata/mgs/target-reg-params.hex"));
        assert_eq!(tuned.params.as_str(), "ost.writethrough_cache_enable=1 failover.node=10.9.0.3@tcp ");
    }
}
