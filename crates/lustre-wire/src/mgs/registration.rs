//! A registration with its NIDs, in the three forms that Lustre has had. Source: MGS specification, section 1.2.
//!
//! | form | where the NIDs are |
//! |---|---|
//! | classic, up to 2.15 | 8-byte numbers in the structure |
//! | 2.16 | strings behind the structure, in the same buffer |
//! | 2.17 | strings in a buffer of their own, or fetched as bulk data |

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::{Fixed, text};
use crate::mgs::{TARGET_INFO_LEN, TargetInfo, target_flag};
use crate::ptlrpc::Message;

/// Size of a NID as a string.
const NID_TEXT_LEN: usize = 64;
const WHAT: &str = "mgs_target_nidlist";

/// Bits of the flags of a [`TargetNidList`].
pub mod nidlist_flag {
    /// Add to the target's NIDs instead of replacing them.
    pub const APPEND: u32 = 1;
    /// The strings come as bulk data.
    pub const IN_BULK: u32 = 2;
    /// Reserved.
    pub const COMPRESSED: u32 = 4;
}

/// Which form a registration has; its reply has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NidEncoding {
    /// Numbers in the structure.
    Classic,
    /// Strings behind the structure.
    Inline,
    /// A buffer of their own.
    List,
}

/// Head of the third form: `struct mgs_target_nidlist`, with its strings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetNidList {
    /// See [`nidlist_flag`].
    pub flags: u32,
    /// How many NIDs there are.
    pub count: u32,
    /// The strings; empty when they come as bulk data.
    pub nids: Vec<String>,
}

/// The NIDs of a target as it sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistrationNids {
    /// 8-byte numbers.
    Numbers(Vec<u64>),
    /// Texts, as in `10.0.0.2@tcp`. The first may be `#tcp`: forget what is known on that network.
    Texts(Vec<String>),
    /// To be fetched as bulk data: so many strings of 64 bytes.
    InBulk(u32),
}

/// Buffers 1 and 2 of a TARGET_REG request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The target.
    pub target: TargetInfo,
    /// Its NIDs.
    pub nids: RegistrationNids,
    /// The form they came in.
    pub encoding: NidEncoding,
    /// See [`nidlist_flag`]; 0 in the older forms.
    pub nidlist_flags: u32,
}

impl TargetNidList {
    /// Reads the buffer. Errors: cut, more NIDs than the bytes have.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(WHAT, bytes);
        let flags = r.u32("mtn_flags")?;
        let count = r.u32("mtn_nids")?;
        let nids = if flags & nidlist_flag::IN_BULK == 0 { texts(&mut r, count)? } else { Vec::new() };
        Ok(Self { flags, count, nids })
    }

    /// The buffer.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + NID_TEXT_LEN * self.nids.len());
        out.put_u32(self.flags);
        out.put_u32(self.count);
        put_texts(&mut out, &self.nids);
        out
    }
}

impl Registration {
    /// Reads a request. `nidlist`: OBD_CONNECT_MGS_NIDLIST was granted to the sender.
    ///
    /// Errors: no second buffer although it was agreed on, NIDs that the bytes don't hold, a structure that is cut.
    pub fn decode(message: &Message<'_>, nidlist: bool) -> Result<Self, WireError> {
        let buffer = message.need(1, "mgs_target_info", TARGET_INFO_LEN)?;
        let target = TargetInfo::decode(buffer)?;
        let large = target.has(target_flag::LARGE_NID);
        if nidlist {
            let list = TargetNidList::decode(message.need(2, "mgs_target_nidlist", 8)?)?;
            if list.flags & nidlist_flag::IN_BULK != 0 {
                let nids = RegistrationNids::InBulk(list.count);
                return Ok(Self { target, nids, encoding: NidEncoding::List, nidlist_flags: list.flags });
            }
            if large {
                let nids = RegistrationNids::Texts(list.nids);
                return Ok(Self { target, nids, encoding: NidEncoding::List, nidlist_flags: list.flags });
            }
            let nids = RegistrationNids::Numbers(numbers(&target));
            return Ok(Self { target, nids, encoding: NidEncoding::List, nidlist_flags: list.flags });
        }
        if large {
            let mut r = Reader::new("mgs_target_info", &buffer[TARGET_INFO_LEN..]);
            let room = u32::try_from(r.rest().len() / NID_TEXT_LEN).unwrap_or(u32::MAX);
            let nids = RegistrationNids::Texts(texts(&mut r, target.nid_count.min(room))?);
            return Ok(Self { target, nids, encoding: NidEncoding::Inline, nidlist_flags: 0 });
        }
        let nids = RegistrationNids::Numbers(numbers(&target));
        Ok(Self { target, nids, encoding: NidEncoding::Classic, nidlist_flags: 0 })
    }

    /// The buffers of the request after the body.
    pub fn encode(&self) -> Vec<Vec<u8>> {
        let mut buffer = self.target.encode();
        let texts: &[String] = match &self.nids {
            RegistrationNids::Texts(texts) => texts,
            _ => &[],
        };
        match self.encoding {
            NidEncoding::Classic => vec![buffer],
            NidEncoding::Inline => {
                put_texts(&mut buffer, texts);
                vec![buffer]
            }
            NidEncoding::List => {
                let count = match &self.nids {
                    RegistrationNids::InBulk(count) => *count,
                    _ => u32::try_from(texts.len()).unwrap_or(u32::MAX),
                };
                vec![buffer, TargetNidList { flags: self.nidlist_flags, count, nids: texts.to_vec() }.encode()]
            }
        }
    }

    /// The buffer that answers the request: the structure, as long as it came.
    pub fn encode_reply(&self, reply: &TargetInfo) -> Vec<u8> {
        let mut buffer = reply.encode();
        if let (NidEncoding::Inline, RegistrationNids::Texts(nids)) = (self.encoding, &self.nids) {
            put_texts(&mut buffer, nids);
        }
        buffer
    }

    /// The strings that came as bulk data.
    pub fn nids_from_bulk(data: &[u8], count: u32) -> Result<Vec<String>, WireError> {
        texts(&mut Reader::new(WHAT, data), count)
    }
}

fn numbers(target: &TargetInfo) -> Vec<u64> {
    let count = usize::try_from(target.nid_count).unwrap_or(usize::MAX);
    target.nids.iter().copied().take(count).collect()
}

fn texts(r: &mut Reader<'_>, count: u32) -> Result<Vec<String>, WireError> {
    let mut nids = Vec::new();
    for _ in 0..count {
        let field = r.bytes("mtn_nidlist", NID_TEXT_LEN)?;
        nids.push(text(r, "mtn_nidlist", field)?.to_owned());
    }
    Ok(nids)
}

fn put_texts(out: &mut Vec<u8>, nids: &[String]) {
    for nid in nids {
        // A NID's text has 64 bytes at most, its NUL included.
        out.put_padded(&nid.as_bytes()[..nid.len().min(NID_TEXT_LEN - 1)], NID_TEXT_LEN);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::recorded;
    use crate::ptlrpc::{MessageHeader, encode_message};
    use proptest::prelude::*;

    fn around(buffers: &[Vec<u8>]) -> Vec<u8> {
        let mut slices: Vec<&[u8]> = vec![&[]];
        slices.extend(buffers.iter().map(Vec::as_slice));
        encode_message(&MessageHeader::default(), &slices)
    }

    #[test]
    fn a_recorded_registration_has_its_nid_in_the_list() {
        let bytes = recorded(include_str!("../../testdata/mgs/target-reg-request.hex"));
        let message = Message::decode(&bytes).unwrap();
        let registration = Registration::decode(&message, true).unwrap();
        assert_eq!(registration.nids, RegistrationNids::Texts(vec!["10.9.0.2@tcp".into()]));
        let buffers: Vec<Vec<u8>> = message.buffers().skip(1).map(<[u8]>::to_vec).collect();
        assert_eq!(registration.encode(), buffers);
        assert_eq!(registration.encode_reply(&registration.target).len(), TARGET_INFO_LEN);
    }

    #[test]
    fn each_form_survives_a_round_trip() {
        let classic = TargetInfo { nid_count: 1, nids: vec![0x0002_0000_0A09_0002], ..TargetInfo::default() };
        let large = TargetInfo { flags: target_flag::LARGE_NID, nid_count: 2, ..TargetInfo::default() };
        let texts = RegistrationNids::Texts(vec!["10.9.0.2@tcp".into(), "fd00::2@tcp".into()]);
        let forms = [
            (classic.clone(), RegistrationNids::Numbers(classic.nids.clone()), NidEncoding::Classic, 0),
            (large.clone(), texts.clone(), NidEncoding::Inline, 0),
            (large.clone(), texts, NidEncoding::List, nidlist_flag::APPEND),
            (large, RegistrationNids::InBulk(300), NidEncoding::List, nidlist_flag::IN_BULK),
            (classic.clone(), RegistrationNids::Numbers(classic.nids), NidEncoding::List, 0),
        ];
        for (target, nids, encoding, nidlist_flags) in forms {
            let registration = Registration { target, nids, encoding, nidlist_flags };
            let bytes = around(&registration.encode());
            let message = Message::decode(&bytes).unwrap();
            let again = Registration::decode(&message, encoding == NidEncoding::List).unwrap();
            assert_eq!(again, registration);
            let want = if encoding == NidEncoding::Inline { TARGET_INFO_LEN + 128 } else { TARGET_INFO_LEN };
            assert_eq!(registration.encode_reply(&registration.target).len(), want);
        }
    }

    #[test]
    fn a_list_that_counts_more_than_it_has_is_refused() {
        let list = TargetNidList { flags: 0, count: u32::MAX, nids: vec!["10.9.0.2@tcp".into()] };
        assert!(matches!(TargetNidList::decode(&list.encode()), Err(WireError::Short { .. })));
        let bytes = TargetNidList { count: 1, ..list }.encode();
        for cut in 0..bytes.len() {
            assert!(matches!(TargetNidList::decode(&bytes[..cut]), Err(WireError::Short { .. })), "cut at {cut}");
        }
        let missing = around(&[TargetInfo::default().encode()]);
        assert!(Registration::decode(&Message::decode(&missing).unwrap(), true).is_err());
    }

    #[test]
    fn classic_nids_are_as_many_as_counted_and_32_at_most() {
        let lying = TargetInfo { nid_count: 4_000_000, nids: vec![7; 32], ..TargetInfo::default() };
        let bytes = around(&[lying.encode()]);
        let registration = Registration::decode(&Message::decode(&bytes).unwrap(), false).unwrap();
        assert_eq!(registration.nids, RegistrationNids::Numbers(vec![7; 32]));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in prop::collection::vec(any::<u8>(), 24), list in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = TargetInfo::default().encode();
            buffer[..24].copy_from_slice(&head);
            crate::mgs::fuzz_registration(&around(&[buffer, list]));
        }
    }
}
