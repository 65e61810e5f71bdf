//! Reading the NID table or the nodemaps. Source: `struct mgs_config_body`, `struct mgs_config_res`; MGS specification,
//! section 3.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::{Fixed, Text};

/// The continuation that says that all nodemaps have been sent.
pub const NODEMAP_END: u64 = 0xFFFF_FFFF_FFFF_FFFE;

/// What is read: `mcb_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigReadKind {
    /// Config logs: read by other requests.
    Config,
    /// The NID table.
    Recover,
    /// The nodemaps.
    Nodemap,
    /// What is never read so.
    Unknown(u16),
}

impl ConfigReadKind {
    fn of(value: u16) -> Self {
        match value {
            0 => Self::Config,
            2 => Self::Recover,
            4 => Self::Nodemap,
            unknown => Self::Unknown(unknown),
        }
    }

    fn value(self) -> u16 {
        match self {
            Self::Config => 0,
            Self::Recover => 2,
            Self::Nodemap => 4,
            Self::Unknown(value) => value,
        }
    }
}

/// A request to read: 80 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRead {
    /// `<fsname>-cliir`, `<fsname>-mdtir` or `nodemap`.
    pub name: Text<64>,
    /// NID table: the first version that is wanted. Nodemaps: where to go on.
    pub offset: u64,
    /// What is read.
    pub kind: ConfigReadKind,
    /// NID table: size of its NIDs, 0 for 8-byte ones. Nodemaps: the pass.
    pub nid_size_or_pass: u8,
    /// Logarithm of the unit's size.
    pub unit_bits: u8,
    /// How many units the client has room for.
    pub units: u32,
}

impl Default for ConfigRead {
    fn default() -> Self {
        Self {
            name: Text::default(),
            offset: 0,
            kind: ConfigReadKind::Config,
            nid_size_or_pass: 0,
            unit_bits: 0,
            units: 0,
        }
    }
}

impl ConfigRead {
    /// Bytes of one unit; `None` when it is out of all proportion.
    pub fn unit_bytes(&self) -> Option<usize> {
        (9..=20).contains(&self.unit_bits).then(|| 1 << self.unit_bits)
    }

    /// Bytes that the client has room for; `None` when they are none, or more than LNet carries.
    pub fn room_bytes(&self) -> Option<usize> {
        const LNET_MTU: usize = 1 << 20;
        let bytes = self.unit_bytes()?.checked_mul(usize::try_from(self.units).ok()?)?;
        (1..=LNET_MTU).contains(&bytes).then_some(bytes)
    }
}

impl Fixed for ConfigRead {
    const WHAT: &'static str = "mgs_config_body";
    const LEN: usize = 80;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: Text::read(r, "mcb_name")?,
            offset: r.u64("mcb_offset")?,
            kind: ConfigReadKind::of(r.u16("mcb_type")?),
            nid_size_or_pass: r.u8("mcb_nm_cur_pass")?,
            unit_bits: r.u8("mcb_bits")?,
            units: r.u32("mcb_units")?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        out.put_u64(self.offset);
        out.put_u16(self.kind.value());
        out.put_u8(self.nid_size_or_pass);
        out.put_u8(self.unit_bits);
        out.put_u32(self.units);
    }
}

/// What was read: 16 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigResult {
    /// Version that was reached, or where to go on.
    pub offset: u64,
    /// Version of the table, or the pass.
    pub size: u64,
}

impl Fixed for ConfigResult {
    const WHAT: &'static str = "mgs_config_res";
    const LEN: usize = 16;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { offset: r.u64("mcr_offset")?, size: r.u64("mcr_size")? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.offset);
        out.put_u64(self.size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, holds, recorded};
    use crate::ptlrpc::Message;
    use proptest::prelude::*;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<ConfigRead>;
        at("mcb_name", 0, 63, |c| c.name = Text::new(&"x".repeat(63)).unwrap());
        at("mcb_offset", 64, 8, |c| c.offset = !0);
        at("mcb_type", 72, 2, |c| c.kind = ConfigReadKind::Unknown(!0));
        at("mcb_nm_cur_pass", 74, 1, |c| c.nid_size_or_pass = !0);
        at("mcb_bits", 75, 1, |c| c.unit_bits = !0);
        at("mcb_units", 76, 4, |c| c.units = !0);
        let at = field_is_at::<ConfigResult>;
        at("mcr_offset", 0, 8, |c| c.offset = !0);
        at("mcr_size", 8, 8, |c| c.size = !0);
    }

    #[test]
    fn recorded_reads_say_what_the_capture_shows() {
        let buffer = |text| {
            let bytes = recorded(text);
            Message::decode(&bytes).unwrap().buffer(1).unwrap().to_vec()
        };
        let read: ConfigRead = holds(&buffer(include_str!("../../testdata/mgs/config-read-request.hex")));
        assert_eq!((read.name.as_str(), read.kind, read.offset), ("gold-cliir", ConfigReadKind::Recover, 1));
        assert_eq!((read.nid_size_or_pass, read.room_bytes()), (20, Some(1 << 20)));
        let read: ConfigRead = holds(&buffer(include_str!("../../testdata/mgs/config-read-nodemap-request.hex")));
        assert_eq!((read.name.as_str(), read.kind, read.offset), ("nodemap", ConfigReadKind::Nodemap, 0));
        let result: ConfigResult = holds(&buffer(include_str!("../../testdata/mgs/config-read-reply.hex")));
        assert_eq!(result, ConfigResult { offset: 5, size: 5 });
    }

    #[test]
    fn room_out_of_all_proportion_is_none() {
        let room = |unit_bits, units| ConfigRead { unit_bits, units, ..ConfigRead::default() }.room_bytes();
        assert_eq!(room(12, 4), Some(16384));
        assert_eq!(room(16, 16), Some(1 << 20));
        for (bits, units) in [(12, 0), (12, 257), (12, u32::MAX), (0, 1), (64, 1), (255, u32::MAX)] {
            assert_eq!(room(bits, units), None, "{bits} {units}");
        }
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 80)) {
            crate::mgs::fuzz_config_read(&data);
        }
    }
}
