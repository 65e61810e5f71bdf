//! LNet messages against recorded ones, the tables of the specification, cuts and random values.

use super::*;
use crate::bytes::{Reader, WireError, Writer};
use lustre_types::Nid;
use proptest::prelude::*;
use std::{fs, path::PathBuf};

/// Recorded messages: after the line of origin, one message a line in hex.
fn recorded(case: &str) -> Vec<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("testdata/lnet/{case}.hex"));
    let text = fs::read_to_string(path).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let message = |line: &str| line.as_bytes().chunks(2).map(byte).collect();
    text.lines().filter(|line| !line.starts_with('#')).map(message).collect()
}

fn nid(text: &str) -> WireNid {
    WireNid::from(&text.parse::<Nid>().unwrap())
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut to = Vec::new();
    encode(&mut to);
    to
}

/// Takes a frame apart; what it holds must encode to the same bytes.
fn message(frame: &[u8]) -> (FrameHeader, Header, &[u8]) {
    let mut reader = Reader::new("frame", frame);
    let ksock = FrameHeader::decode(&mut reader).unwrap();
    let header = Header::decode(&mut reader, NidForm::Classic).unwrap();
    let again = encoded(|to| {
        ksock.encode(to);
        header.encode(to, NidForm::Classic);
        to.extend_from_slice(reader.rest());
    });
    assert_eq!(again, frame);
    assert_eq!(header.payload_length as usize, reader.rest().len());
    (ksock, header, reader.rest())
}

#[test]
fn a_classic_nid_travels_little_endian_and_a_large_one_big_endian() {
    let v4 = nid("192.168.1.2@tcp");
    assert_eq!(encoded(|to| v4.encode(to, NidForm::Classic)), [0x02, 0x01, 0xa8, 0xc0, 0, 0, 0x02, 0]);
    assert_eq!(encoded(|to| v4.encode(to, NidForm::Large))[..8], [0, 2, 0, 0, 192, 168, 1, 2]);
    let v6 = nid("2001:db8::1@tcp1");
    assert_eq!(encoded(|to| v6.encode(to, NidForm::Large))[..8], [12, 2, 0, 1, 0x20, 0x01, 0x0d, 0xb8]);
    assert_eq!(v6.classic(), None);
    assert_eq!(WireNid::LOOPBACK.classic(), Some(0x0009_0000_0000_0000));
    assert_eq!(WireNid::ANY.classic(), Some(u64::MAX));
}

#[test]
fn nids_of_every_known_network_survive() {
    for text in [
        "10.0.0.1@tcp",
        "10.0.0.1@tcp7",
        "fd00::1@tcp",
        "10.1.2.3@o2ib65535",
        "0@lo",
        "17@gni",
        "5@kfi1",
        "9@ptlf",
        "10.0.0.1@efa",
        "fd00::1@efa",
        "10.0.0.1@gip2",
        "3@bxi3f",
    ] {
        let named: Nid = text.parse().unwrap();
        let wire = WireNid::from(&named);
        assert_eq!(wire.nid().unwrap(), named);
        assert_eq!(wire.to_string(), text);
    }
}

#[test]
fn a_nid_of_an_unknown_network_is_kept_and_has_no_name() {
    let unknown = WireNid::from_classic(0x0011_0002_0a00_0001);
    assert_eq!(unknown.classic(), Some(0x0011_0002_0a00_0001));
    assert_eq!(unknown.nid(), Err(NidUnknown(unknown)));
    assert_eq!(unknown.to_string(), "0a000001@<17:2>");
    assert!(WireNid::NONE.nid().is_err());
    assert_eq!(WireNid::ANY.to_string(), "<?>");
}

#[test]
fn a_large_nid_longer_than_its_room_is_refused() {
    let mut bytes = [0; 20];
    bytes[0] = 13;
    let error = WireNid::decode(&mut Reader::new("x", &bytes), "src_nid", NidForm::Large).unwrap_err();
    assert_eq!(error.to_string(), "x: src_nid is 0xd, which is a longer address than a NID has room for");
}

#[test]
fn recorded_acceptor_request_decodes() {
    let [bytes] = recorded("acceptor").try_into().unwrap();
    let request = AcceptorRequest::decode(&mut Reader::new("acceptor", &bytes)).unwrap();
    assert_eq!(request, AcceptorRequest::Connect { nid: nid("10.9.0.1@tcp") });
    assert_eq!(encoded(|to| request.encode(to)), bytes);
}

#[test]
fn acceptor_request_layouts_match_the_specification() {
    let v1 = encoded(|to| AcceptorRequest::Connect { nid: nid("10.0.0.1@tcp") }.encode(to));
    assert_eq!(v1, [0x00, 0x71, 0xce, 0xac, 1, 0, 0, 0, 1, 0, 0, 10, 0, 0, 2, 0]);
    let v2 = encoded(|to| AcceptorRequest::Connect { nid: nid("fd00::1@tcp") }.encode(to));
    assert_eq!((v2.len(), &v2[4..12]), (28, &[2, 0, 0, 0, 12, 2, 0, 0][..]));
    let query = [&0xacce_7100u32.to_le_bytes()[..], &9u32.to_le_bytes()].concat();
    assert_eq!(AcceptorRequest::decode(&mut Reader::new("a", &query)), Ok(AcceptorRequest::Query));
}

#[test]
fn recorded_hellos_decode_and_the_answers_have_the_inverted_type() {
    let hellos: Vec<Hello> = recorded("hello")
        .iter()
        .map(|bytes| {
            let hello = Hello::decode(&mut Reader::new("hello", bytes)).unwrap();
            assert_eq!(&encoded(|to| hello.encode(to)), bytes);
            hello
        })
        .collect();
    let types: Vec<ConnType> = hellos.iter().map(|hello| hello.ctype).collect();
    let (control, bulk_in, bulk_out) = (ConnType::CONTROL, ConnType::BULK_IN, ConnType::BULK_OUT);
    assert_eq!(types, [control, control, bulk_in, bulk_out, bulk_out, bulk_in]);
    for pair in hellos.chunks(2) {
        assert_eq!(pair[1].ctype, pair[0].ctype.inverted());
        assert_eq!((pair[1].src_nid, pair[1].dst_nid), (nid("10.9.0.1@tcp"), nid("10.9.0.3@tcp")));
        assert_eq!((pair[0].version, pair[0].src_pid), (HelloVersion::V3, PID_LUSTRE));
    }
    assert!(hellos.windows(3).all(|three| three[0].src_incarnation == three[2].src_incarnation));
}

fn hello(version: HelloVersion) -> Hello {
    Hello {
        version,
        src_nid: nid("10.0.0.1@tcp"),
        dst_nid: nid("10.0.0.2@tcp"),
        src_pid: 0x0102_0304,
        dst_pid: 0x0506_0708,
        src_incarnation: 0x1112_1314_1516_1718,
        dst_incarnation: 0x2122_2324_2526_2728,
        ctype: ConnType::CONTROL,
        ips: Vec::new(),
    }
}

#[test]
fn hello_layouts_match_the_specification() {
    let v3 = encoded(|to| hello(HelloVersion::V3).encode(to));
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!(v3.len(), 56);
    for (at, value) in [(0, 0x4572_6963), (4, 3), (24, 0x0102_0304), (28, 0x0506_0708), (48, 1), (52, 0)] {
        assert_eq!(word(&v3, at), value, "offset {at}");
    }
    assert_eq!((v3[8], v3[16], v3[32], v3[40]), (1, 2, 0x18, 0x28));
    let v4 = encoded(|to| hello(HelloVersion::V4).encode(to));
    assert_eq!(v4.len(), 80);
    for (at, value) in [(4, 4), (48, 0x0102_0304), (52, 0x0506_0708), (72, 1), (76, 0)] {
        assert_eq!(word(&v4, at), value, "offset {at}");
    }
    assert_eq!((v4[15], v4[35], v4[56], v4[64]), (1, 2, 0x18, 0x28));
}

#[test]
fn an_unknown_version_is_told_from_other_errors() {
    let mut bytes = encoded(|to| hello(HelloVersion::V3).encode(to));
    bytes[4] = 5;
    let error = Hello::decode(&mut Reader::new("hello", &bytes)).unwrap_err();
    assert!(Hello::is_unknown_version(&error));
    let error = Hello::decode(&mut Reader::new("hello", &[0; 56])).unwrap_err();
    assert!(!Hello::is_unknown_version(&error));
    let swapped = 0x4572_6963u32.to_be_bytes();
    let error = Hello::decode(&mut Reader::new("hello", &swapped)).unwrap_err();
    assert!(error.to_string().ends_with("is the magic of a big-endian node; those are not served"));
}

#[test]
fn addresses_in_a_hello_are_counted_before_they_are_taken() {
    let mut with_ips = hello(HelloVersion::V3);
    with_ips.ips = vec![0x0a00_0001; MAX_IPS];
    let bytes = encoded(|to| with_ips.encode(to));
    assert_eq!(Hello::decode(&mut Reader::new("hello", &bytes)), Ok(with_ips));
    let mut many = bytes.clone();
    many[52] = 17;
    let refused = Hello::decode(&mut Reader::new("hello", &many)).unwrap_err();
    assert_eq!(refused.to_string(), "hello: kshm_nips is 0x11, which is more than 16");
    let mut zero = bytes;
    zero[60..64].fill(0);
    let refused = Hello::decode(&mut Reader::new("hello", &zero)).unwrap_err();
    assert_eq!(refused.to_string(), "hello: kshm_ips is 0x0, which is no address");
}

#[test]
fn recorded_discovery_decodes() {
    let frames = recorded("discovery");
    let decoded: Vec<_> = frames.iter().map(|frame| message(frame)).collect();
    let (client, mgs) = (nid("10.9.0.3@tcp"), nid("10.9.0.1@tcp"));
    let Body::Get { return_wmd, match_bits, portal, sink_length, .. } = decoded[0].1.body else { panic!("no GET") };
    assert_eq!((match_bits, portal, sink_length), (PING_MATCH_BITS, RESERVED_PORTAL, 272));
    assert_eq!(decoded[1].1.body, Body::Reply { dst_wmd: return_wmd });
    for (at, of) in [(1, mgs), (2, client), (3, mgs)] {
        let info = PingInfo::decode(decoded[at].2).unwrap();
        assert_eq!((info.nids(), info.features.0, info.is_cut()), (vec![of], 0x1e, false));
        assert_eq!(info.encode(), decoded[at].2);
    }
    for (push, ack) in [(2, 4), (3, 5)] {
        let Body::Put { ack_wmd, match_bits, .. } = decoded[push].1.body else { panic!("no PUT") };
        assert_eq!(decoded[ack].1.body, Body::Ack { dst_wmd: ack_wmd, match_bits, mlength: 48 });
    }
    assert!(decoded.iter().all(|(ksock, ..)| *ksock == FrameHeader::PLAIN));
}

#[test]
fn our_ping_info_is_the_recorded_one() {
    let frames = recorded("ping");
    let (_, _, recorded) = message(&frames[1]);
    assert_eq!(PingInfo::of_end_node(&[nid("10.9.0.1@tcp")], 1).encode(), recorded);
}

#[test]
fn recorded_bulk_and_rpc_decode() {
    let frames = recorded("bulk");
    let (_, put, payload) = message(&frames[0]);
    assert!(matches!(put.body, Body::Put { portal: 33, offset: 0, .. }));
    assert_eq!(payload.len(), 132);
    assert!(matches!(message(&frames[1]).1.body, Body::Ack { mlength: 132, .. }));
    let frames = recorded("rpc");
    let (request, reply) = (message(&frames[0]).1, message(&frames[1]).1);
    let Body::Put { ack_wmd, match_bits: xid, portal: 26, offset: 0, .. } = request.body else { panic!("no request") };
    assert!(ack_wmd.is_none());
    assert!(matches!(reply.body, Body::Put { match_bits, portal: 25, offset: 224, .. } if match_bits == xid));
}

#[test]
fn the_recorded_keepalive_is_ours() {
    let [bytes] = recorded("keepalive").try_into().unwrap();
    assert_eq!(FrameHeader::decode(&mut Reader::new("frame", &bytes)), Ok(FrameHeader::KEEPALIVE));
    assert_eq!(encoded(|to| FrameHeader::KEEPALIVE.encode(to)), bytes);
}

#[test]
fn header_layouts_match_the_specification() {
    let handle = WireHandle { interface_cookie: 0x21, object_cookie: 0x22 };
    let header = |body| Header {
        dest_nid: nid("10.0.0.2@tcp"),
        src_nid: nid("10.0.0.1@tcp"),
        dest_pid: 0x31,
        src_pid: 0x32,
        payload_length: 0,
        body,
    };
    // Body, type, and offsets of its fields in the command part with the values that must be there.
    type Row<'a> = (Body, u8, &'a [(usize, u8)]);
    let table: [Row<'_>; 4] = [
        (
            Body::Ack { dst_wmd: handle, match_bits: 0x41, mlength: 0x42 },
            0,
            &[(0, 0x21), (8, 0x22), (16, 0x41), (24, 0x42)],
        ),
        (
            Body::Put { ack_wmd: handle, match_bits: 0x41, hdr_data: 0x43, portal: 0x44, offset: 0x45 },
            1,
            &[(0, 0x21), (8, 0x22), (16, 0x41), (24, 0x43), (32, 0x44), (36, 0x45)],
        ),
        (
            Body::Get { return_wmd: handle, match_bits: 0x41, portal: 0x44, src_offset: 0x45, sink_length: 0x46 },
            2,
            &[(0, 0x21), (8, 0x22), (16, 0x41), (24, 0x44), (28, 0x45), (32, 0x46)],
        ),
        (Body::Reply { dst_wmd: handle }, 3, &[(0, 0x21), (8, 0x22)]),
    ];
    for (form, len, dest, src, pids, kind, body) in
        [(NidForm::Classic, 72, 0, 8, 16, 24, 32), (NidForm::Large, 96, 7, 27, 40, 48, 56)]
    {
        for (value, number, fields) in &table {
            let bytes = encoded(|to| header(*value).encode(to, form));
            assert_eq!((bytes.len(), Header::len(form)), (len, len));
            assert_eq!(
                (bytes[dest], bytes[src], bytes[pids], bytes[pids + 4], bytes[kind]),
                (2, 1, 0x31, 0x32, *number)
            );
            let mut rest = bytes[body..].to_vec();
            for (at, expected) in *fields {
                assert_eq!(rest[*at], *expected, "{value:?} at {at}");
                rest[*at] = 0;
            }
            assert!(rest.iter().all(|byte| *byte == 0), "{value:?} writes where nothing is");
        }
    }
}

#[test]
fn headers_that_a_kernel_would_close_the_connection_for_are_refused() {
    let frames = recorded("discovery");
    let refused = |at: usize, byte: u8| {
        let mut bytes = frames[0][24..96].to_vec();
        bytes[at] = byte;
        Header::decode(&mut Reader::new("lnet header", &bytes), NidForm::Classic).unwrap_err().to_string()
    };
    assert_eq!(refused(24, 4), "lnet header: type is 0x4, which is none of ACK, PUT, GET and REPLY");
    assert_eq!(refused(28, 1), "lnet header: payload_length is 0x1, which must be 0 in an ACK or GET");
    let mut push = frames[2][24..96].to_vec();
    push[28..32].copy_from_slice(&(MAX_PAYLOAD + 1).to_le_bytes());
    let error = Header::decode(&mut Reader::new("lnet header", &push), NidForm::Classic).unwrap_err();
    assert!(error.to_string().ends_with("is more than a message may carry"), "{error}");
}

#[test]
fn the_checksum_is_crc32_without_the_final_inversion() {
    // The check value of CRC-32 for "123456789" is 0xcbf43926.
    assert_eq!(checksum(&[b"1234", b"56789"]), !0xcbf4_3926);
}

#[test]
fn messages_cut_anywhere_are_short() {
    fn cut(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<(), WireError>) {
        assert_eq!(decode(bytes), Ok(()));
        for len in 0..bytes.len() {
            assert!(matches!(decode(&bytes[..len]), Err(WireError::Short { .. })), "cut at {len} of {}", bytes.len());
        }
    }
    let acceptor = |bytes: &[u8]| AcceptorRequest::decode(&mut Reader::new("a", bytes)).map(drop);
    for text in ["10.0.0.1@tcp", "fd00::1@tcp"] {
        cut(&encoded(|to| AcceptorRequest::Connect { nid: nid(text) }.encode(to)), acceptor);
    }
    for version in [HelloVersion::V2, HelloVersion::V3, HelloVersion::V4] {
        let mut value = hello(version);
        value.ips = vec![1, 2];
        cut(&encoded(|to| value.encode(to)), |bytes| Hello::decode(&mut Reader::new("h", bytes)).map(drop));
    }
    cut(&recorded("keepalive")[0], |bytes| FrameHeader::decode(&mut Reader::new("f", bytes)).map(drop));
    cut(&recorded("discovery")[0][24..], |bytes| {
        Header::decode(&mut Reader::new("h", bytes), NidForm::Classic).map(drop)
    });
}

#[test]
fn ping_info_cut_for_a_small_sink_says_so() {
    let nids: Vec<WireNid> = (1..=3).map(|last| WireNid::tcp([10, 0, 0, last].into(), 0)).collect();
    let whole = PingInfo::of_end_node(&nids, 7);
    let bytes = whole.encode();
    for len in 0..bytes.len() {
        match PingInfo::decode(&bytes[..len]) {
            Ok(info) => assert!(len >= 16 && info.is_cut() && info.nnis == 4, "cut at {len}"),
            Err(error) => assert!(len < 16 && matches!(error, WireError::Short { .. }), "cut at {len}: {error}"),
        }
    }
    assert_eq!(PingInfo::decode(&bytes).unwrap().nids(), nids);
}

#[test]
fn ping_info_with_large_nids_names_the_primary_first() {
    let nids = [nid("fd00::1@tcp"), nid("10.0.0.1@tcp"), nid("fd00::2@tcp1")];
    let info = PingInfo::of_end_node(&nids, 1);
    assert!(info.features.has(Features::LARGE_ADDR | Features::PRIMARY_LARGE));
    let bytes = info.encode();
    assert_eq!(bytes.len(), 16 + 2 * 16 + 2 * 24);
    assert_eq!(info.entries[0].msg_size as usize, bytes.len());
    let decoded = PingInfo::decode(&bytes).unwrap();
    assert_eq!(decoded, info);
    assert_eq!(decoded.nids(), [nids[0], nids[2], nids[1]]);
}

#[test]
fn ping_info_that_no_node_takes_is_refused() {
    let bytes = PingInfo::of_end_node(&[nid("10.0.0.1@tcp")], 1).encode();
    let refused = |at: usize, with: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        PingInfo::decode(&bytes).unwrap_err().to_string()
    };
    assert!(refused(4, &[1]).ends_with("lacks the status bit"));
    assert!(refused(12, &[0]).ends_with("is no possible number of interfaces"));
    assert!(refused(12, &[0xff; 4]).ends_with("is no possible number of interfaces"));
    assert!(refused(16, &[1]).ends_with("is not loopback, which the first entry must be"));
}

fn any_nid() -> impl Strategy<Value = WireNid> {
    prop_oneof![
        // The top byte of an 8-byte NID is zero.
        any::<u64>().prop_map(|value| WireNid::from_classic(value >> 8)),
        (any::<[u8; 19]>(), 0u8..=12).prop_map(|(rest, size)| {
            let mut bytes = [size; 20];
            bytes[1..].copy_from_slice(&rest);
            WireNid::from_large(bytes)
        }),
    ]
}

fn any_handle() -> impl Strategy<Value = WireHandle> {
    any::<(u64, u64)>().prop_map(|(interface_cookie, object_cookie)| WireHandle { interface_cookie, object_cookie })
}

fn any_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (any_handle(), any::<u64>(), any::<u32>()).prop_map(|(dst_wmd, match_bits, mlength)| Body::Ack {
            dst_wmd,
            match_bits,
            mlength
        }),
        (any_handle(), any::<u64>(), any::<u64>(), any::<u32>(), any::<u32>()).prop_map(
            |(ack_wmd, match_bits, hdr_data, portal, offset)| {
                Body::Put { ack_wmd, match_bits, hdr_data, portal, offset }
            }
        ),
        (any_handle(), any::<u64>(), any::<u32>(), any::<u32>(), any::<u32>()).prop_map(
            |(return_wmd, match_bits, portal, src_offset, sink_length)| {
                Body::Get { return_wmd, match_bits, portal, src_offset, sink_length }
            }
        ),
        any_handle().prop_map(|dst_wmd| Body::Reply { dst_wmd }),
    ]
}

proptest! {
    #[test]
    fn large_headers_survive(dest_nid in any_nid(), src_nid in any_nid(), dest_pid: u32, src_pid: u32, body in any_body(), len in 0..=MAX_PAYLOAD) {
        let has_payload = matches!(body, Body::Put { .. } | Body::Reply { .. });
        let header = Header { dest_nid, src_nid, dest_pid, src_pid, payload_length: if has_payload { len } else { 0 }, body };
        let bytes = encoded(|to| header.encode(to, NidForm::Large));
        prop_assert_eq!(Header::decode(&mut Reader::new("h", &bytes), NidForm::Large), Ok(header));
    }

    #[test]
    fn frames_survive(noop: bool, csum: u32, zc_request: u64, zc_ack: u64) {
        let frame = FrameHeader { kind: if noop { FrameKind::Noop } else { FrameKind::Lnet }, csum, zc_request, zc_ack };
        let bytes = encoded(|to| frame.encode(to));
        prop_assert_eq!(FrameHeader::decode(&mut Reader::new("f", &bytes)), Ok(frame));
    }

    #[test]
    fn hellos_survive(src in any::<u64>(), dst in any::<u64>(), numbers: (u32, u32, u64, u64, u32), ips in prop::collection::vec(1u32.., 0..=MAX_IPS)) {
        let (src_pid, dst_pid, src_incarnation, dst_incarnation, ctype) = numbers;
        let (src_nid, dst_nid) = (WireNid::from_classic(src), WireNid::from_classic(dst));
        let hello = Hello { version: HelloVersion::V3, src_nid, dst_nid, src_pid, dst_pid, src_incarnation, dst_incarnation, ctype: ConnType(ctype), ips };
        let bytes = encoded(|to| hello.encode(to));
        prop_assert_eq!(Hello::decode(&mut Reader::new("h", &bytes)), Ok(hello));
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(data in prop::collection::vec(any::<u8>(), 0..200), magic in prop::sample::select(vec![0u32, 0xacce_7100, 0x4572_6963, 0x7069_6e67, 0xc1])) {
        let marked = encoded(|to| { to.put_u32(magic); to.extend_from_slice(&data); });
        for data in [data, marked] {
            fuzz_nid(&data);
            fuzz_acceptor(&data);
            fuzz_hello(&data);
            fuzz_frame(&data);
            fuzz_header(&data);
            fuzz_ping(&data);
        }
    }

    #[test]
    fn ping_infos_survive(v4 in prop::collection::vec(any::<[u8; 4]>(), 0..5), v6 in prop::collection::vec(any::<[u8; 16]>(), 0..5), cut in 0usize..400) {
        let v4 = v4.into_iter().map(|ip| WireNid::tcp(ip.into(), 0));
        let v6 = v6.into_iter().map(|ip| WireNid::tcp(ip.into(), 1));
        let info = PingInfo::of_end_node(&v4.chain(v6).collect::<Vec<_>>(), 1);
        let bytes = info.encode();
        prop_assert_eq!(PingInfo::decode(&bytes), Ok(info));
        fuzz_ping(&bytes[..cut.min(bytes.len())]);
    }
}
