//! Connecting. Source: `struct obd_connect_data`; ptlrpc specification, section 8.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;
use crate::ptlrpc::{Message, encode_message};

/// Bits of `ocd_connect_flags`.
pub mod connect_flag {
    /// `ocd_version` is valid.
    pub const VERSION: u64 = 0x20;
    /// TARGET_REG carries NIDs in a buffer of their own (2.17).
    pub const MGS_NIDLIST: u64 = 0x40;
    /// Write barriers.
    pub const BARRIER: u64 = 0x2000;
    /// Adaptive timeouts: early replies, reply offset 224.
    pub const AT: u64 = 0x0100_0000;
    /// 2.0 protocol; without it a connect is refused.
    pub const FULL20: u64 = 0x10_0000_0000;
    /// Imperative recovery.
    pub const IMP_RECOV: u64 = 0x100_0000_0000;
    /// Lock value blocks have a type; never granted by an MGS.
    pub const LVB_TYPE: u64 = 0x4000_0000_0000;
    /// The client need not ping.
    pub const PINGLESS: u64 = 0x4_0000_0000_0000;
    /// Bulk match bits are in the body.
    pub const BULK_MBITS: u64 = 0x2000_0000_0000_0000;
    /// `ocd_connect_flags2` is valid.
    pub const FLAGS2: u64 = 0x8000_0000_0000_0000;
}

/// Bits of `ocd_connect_flags2`.
pub mod connect_flag2 {
    /// Replies go to the match bits in the body.
    pub const REP_MBITS: u64 = 0x10_0000;
    /// NIDs may be larger than 8 bytes.
    pub const LARGE_NID: u64 = 0x1_0000_0000;
}

/// Size before 2.1, which is still accepted.
const OLD_LEN: usize = 72;

/// What client and server agree on: `struct obd_connect_data`, 192 bytes. The padding at its end is not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectData {
    /// See [`connect_flag`].
    pub flags: u64,
    /// The sender's version: major, minor, patch, fix in one byte each.
    pub version: u32,
    /// Grant space, OST only.
    pub grant: u32,
    /// Target index.
    pub index: u32,
    /// Largest bulk.
    pub brw_size: u32,
    /// Inode bits that are understood.
    pub ibits_known: u64,
    /// Grant parameters: block bits, inode bits, tax.
    pub grant_params: [u8; 4],
    /// Most blocks of a grant.
    pub grant_max_blks: u32,
    /// First transaction of the import.
    pub transno: u64,
    /// Group of a multi-MDT connection.
    pub group: u32,
    /// Checksum types.
    pub cksum_types: u32,
    /// Largest extended attribute.
    pub max_easize: u32,
    /// Instance of the target.
    pub instance: u32,
    /// Largest file.
    pub maxbytes: u64,
    /// Most modifying requests at a time.
    pub maxmodrpcs: u16,
    /// Connection policy (2.17).
    pub conn_policy: u8,
    /// See [`connect_flag2`]; valid only with [`connect_flag::FLAGS2`].
    pub flags2: u64,
    /// Compression types.
    pub compr_type: u64,
}

impl Fixed for ConnectData {
    const WHAT: &'static str = "obd_connect_data";
    const LEN: usize = 192;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut data = Self {
            flags: r.u64("ocd_connect_flags")?,
            version: r.u32("ocd_version")?,
            grant: r.u32("ocd_grant")?,
            index: r.u32("ocd_index")?,
            brw_size: r.u32("ocd_brw_size")?,
            ibits_known: r.u64("ocd_ibits_known")?,
            grant_params: r.array("ocd_grant_blkbits")?,
            grant_max_blks: r.u32("ocd_grant_max_blks")?,
            transno: r.u64("ocd_transno")?,
            group: r.u32("ocd_group")?,
            cksum_types: r.u32("ocd_cksum_types")?,
            max_easize: r.u32("ocd_max_easize")?,
            instance: r.u32("ocd_instance")?,
            maxbytes: r.u64("ocd_maxbytes")?,
            ..Self::default()
        };
        if r.rest().is_empty() {
            return Ok(data);
        }
        data.maxmodrpcs = r.u16("ocd_maxmodrpcs")?;
        data.conn_policy = r.u8("ocd_conn_policy")?;
        r.bytes("padding", 5)?;
        data.flags2 = r.u64("ocd_connect_flags2")?;
        data.compr_type = r.u64("ocd_compr_type")?;
        r.bytes("padding", 96)?;
        Ok(data)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u64(self.flags);
        out.put_u32(self.version);
        out.put_u32(self.grant);
        out.put_u32(self.index);
        out.put_u32(self.brw_size);
        out.put_u64(self.ibits_known);
        out.extend_from_slice(&self.grant_params);
        out.put_u32(self.grant_max_blks);
        out.put_u64(self.transno);
        out.put_u32(self.group);
        out.put_u32(self.cksum_types);
        out.put_u32(self.max_easize);
        out.put_u32(self.instance);
        out.put_u64(self.maxbytes);
        out.put_u16(self.maxmodrpcs);
        out.put_u8(self.conn_policy);
        out.put_zeros(5);
        out.put_u64(self.flags2);
        out.put_u64(self.compr_type);
        out.put_zeros(96);
    }
}

impl ConnectData {
    /// True when all of these flags are set.
    pub fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }

    /// True when all of these flags of the second word are set, and that word is valid.
    pub fn has2(&self, flags2: u64) -> bool {
        self.has(connect_flag::FLAGS2) && self.flags2 & flags2 == flags2
    }

    /// The sender's version as `(major, minor, patch, fix)`.
    pub fn version_parts(&self) -> (u8, u8, u8, u8) {
        let [fix, patch, minor, major] = self.version.to_le_bytes();
        (major, minor, patch, fix)
    }
}

/// The buffers of a connect request after the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest<'a> {
    /// What to connect to: `MGS`.
    pub target_uuid: &'a str,
    /// The client's uuid, new with each start of it.
    pub client_uuid: &'a str,
    /// The client's handle: goes into `pb_handle` of every callback.
    pub conn: u64,
    /// What the client can do.
    pub data: ConnectData,
}

/// Size of the fields with uuids.
const UUID_LEN: usize = 39;

impl ConnectRequest<'_> {
    /// The whole message around this and a body.
    pub fn encode(&self, header: &crate::ptlrpc::MessageHeader, body: &crate::ptlrpc::Body) -> Vec<u8> {
        let (mut target, mut client) = (Vec::new(), Vec::new());
        target.put_padded(self.target_uuid.as_bytes(), UUID_LEN);
        client.put_padded(self.client_uuid.as_bytes(), UUID_LEN);
        let data = self.data.encode();
        encode_message(header, &[&body.encode(), &target, &client, &self.conn.to_le_bytes(), &data, &[]])
    }
}

/// The connect request in a message. Errors name the buffer that is absent, cut or no text.
pub fn decode_connect<'a>(message: &Message<'a>) -> Result<ConnectRequest<'a>, WireError> {
    let conn = message.need(3, "conn", 8)?;
    let data = message.need(4, "connect_data", OLD_LEN)?;
    Ok(ConnectRequest {
        target_uuid: message.text(1, "tgtuuid")?,
        client_uuid: message.text(2, "cluuid")?,
        conn: Reader::new("connect request", conn).u64("conn")?,
        // What is longer than the old structure and shorter than the new one has lost its end.
        data: ConnectData::decode(data)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::{field_is_at, recorded};
    use crate::ptlrpc::Body;
    use proptest::prelude::*;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<ConnectData>;
        at("ocd_connect_flags", 0, 8, |d| d.flags = !0);
        at("ocd_version", 8, 4, |d| d.version = !0);
        at("ocd_grant", 12, 4, |d| d.grant = !0);
        at("ocd_index", 16, 4, |d| d.index = !0);
        at("ocd_brw_size", 20, 4, |d| d.brw_size = !0);
        at("ocd_ibits_known", 24, 8, |d| d.ibits_known = !0);
        at("ocd_grant_blkbits", 32, 4, |d| d.grant_params = [0xFF; 4]);
        at("ocd_grant_max_blks", 36, 4, |d| d.grant_max_blks = !0);
        at("ocd_transno", 40, 8, |d| d.transno = !0);
        at("ocd_group", 48, 4, |d| d.group = !0);
        at("ocd_cksum_types", 52, 4, |d| d.cksum_types = !0);
        at("ocd_max_easize", 56, 4, |d| d.max_easize = !0);
        at("ocd_instance", 60, 4, |d| d.instance = !0);
        at("ocd_maxbytes", 64, 8, |d| d.maxbytes = !0);
        at("ocd_maxmodrpcs", 72, 2, |d| d.maxmodrpcs = !0);
        at("ocd_conn_policy", 74, 1, |d| d.conn_policy = !0);
        at("ocd_connect_flags2", 80, 8, |d| d.flags2 = !0);
        at("ocd_compr_type", 88, 8, |d| d.compr_type = !0);
    }

    #[test]
    fn a_recorded_client_asks_and_is_granted_all_but_the_lock_types() {
        let request = recorded(include_str!("../../testdata/ptlrpc/connect-request.hex"));
        let message = Message::decode(&request).unwrap();
        let asked = decode_connect(&message).unwrap();
        assert_eq!((asked.target_uuid, asked.client_uuid.len()), ("MGS", 36));
        assert_eq!((asked.data.flags, asked.data.flags2), (0xA000_4110_0100_2060, 0x1_0010_0000));
        assert_eq!(asked.data.version_parts(), (2, 17, 57, 62));
        let body = Body::decode(message.buffer(0).unwrap()).unwrap();
        assert_eq!(asked.encode(&message.header, &body), request);

        let reply = recorded(include_str!("../../testdata/ptlrpc/connect-reply.hex"));
        let granted = ConnectData::decode(Message::decode(&reply).unwrap().buffer(1).unwrap()).unwrap();
        assert_eq!(granted.flags, asked.data.flags & !connect_flag::LVB_TYPE);
        assert!(granted.has2(connect_flag2::REP_MBITS | connect_flag2::LARGE_NID));
    }

    #[test]
    fn old_connect_data_ends_after_72_bytes_and_any_other_length_is_cut() {
        let data = ConnectData { flags: 7, maxbytes: 9, ..ConnectData::default() };
        let bytes = data.encode();
        assert_eq!(ConnectData::decode(&bytes[..OLD_LEN]).as_ref(), Ok(&data));
        for cut in (0..OLD_LEN).chain(OLD_LEN + 1..ConnectData::LEN) {
            assert!(matches!(ConnectData::decode(&bytes[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
    }

    #[test]
    fn a_uuid_without_an_end_is_refused() {
        let request = recorded(include_str!("../../testdata/ptlrpc/connect-request.hex"));
        let message = Message::decode(&request).unwrap();
        let mut buffers: Vec<&[u8]> = message.buffers().collect();
        buffers[2] = &[b'x'; 39];
        let bytes = encode_message(&message.header, &buffers);
        let error = decode_connect(&Message::decode(&bytes).unwrap()).unwrap_err();
        assert!(matches!(error, WireError::Value { field: "cluuid", .. }), "{error}");
        buffers.truncate(4);
        let bytes = encode_message(&message.header, &buffers);
        let error = decode_connect(&Message::decode(&bytes).unwrap()).unwrap_err();
        assert!(matches!(error, WireError::Short { field: "connect_data", .. }), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_decodes_survives_a_round_trip(data in prop::collection::vec(any::<u8>(), 192)) {
            crate::ptlrpc::fuzz_connect_data(&data);
        }
    }
}
