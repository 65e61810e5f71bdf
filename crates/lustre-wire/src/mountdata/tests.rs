//! Mountdata against files that Lustre's own tools wrote.

use super::*;
use lustre_types::{NidList, SvName};
use proptest::prelude::*;
use std::{fs, path::PathBuf};

fn testdata() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/mountdata")
}

/// Bytes of a recorded file: after the line of origin, ranges that aren't zero as `offset: hex`.
fn recorded(case: &str) -> Vec<u8> {
    let text = fs::read_to_string(testdata().join(format!("{case}.hex"))).unwrap();
    let mut bytes = vec![0; LEN];
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (offset, hex) = line.split_once(": ").unwrap();
        let offset = usize::from_str_radix(offset, 16).unwrap();
        for (at, pair) in hex.as_bytes().chunks(2).enumerate() {
            bytes[offset + at] = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        }
    }
    bytes
}

fn recorded_cases() -> Vec<String> {
    let mut cases: Vec<String> = fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    cases.sort();
    assert!(cases.len() >= 36, "recorded files are missing: {}", cases.len());
    cases
}

fn svname(text: &str) -> SvName {
    text.parse().unwrap()
}

fn nids(text: &str) -> NidList {
    text.parse().unwrap()
}

#[test]
fn every_recorded_file_decodes_and_encodes_to_the_same_bytes() {
    for case in recorded_cases() {
        let bytes = recorded(&case);
        let decoded = Mountdata::decode(&bytes).unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(decoded.encode(), bytes, "{case}");
        assert!(Params::parse(&decoded.params.to_string_lossy()).is_ok(), "{case}");
    }
}

#[test]
fn a_file_cut_anywhere_is_short_and_a_longer_one_is_long() {
    let bytes = recorded("06-ost0");
    for len in 0..LEN {
        assert_eq!(Mountdata::decode(&bytes[..len]), Err(MountdataError::Short { got: len }));
    }
    let longer = [bytes, vec![0]].concat();
    assert_eq!(Mountdata::decode(&longer), Err(MountdataError::Long { got: LEN + 1 }));
}

#[test]
fn the_wrong_field_is_named() {
    let mut bytes = recorded("06-ost0");
    bytes[at::PARAMS].fill(b'x');
    assert_eq!(Mountdata::decode(&bytes), Err(MountdataError::Unterminated { field: "ldd_params" }));
    bytes[0] = 0;
    assert_eq!(Mountdata::decode(&bytes), Err(MountdataError::Magic { got: 0x1DD0_0000 }));
}

#[test]
fn fields_of_a_recorded_ost_read_as_mkfs_was_told() {
    let ost = Mountdata::decode(&recorded("12-ost-failnode-two")).unwrap();
    assert_eq!(ost.flags, Flags::OST | Flags::VIRGIN | Flags::UPDATE);
    assert_eq!((ost.svindex, ost.config_ver, ost.mount_type), (6, 1, MountType::LDISKFS));
    assert_eq!(ost.fsname.as_bytes(), b"gold");
    assert_eq!(ost.svname.as_bytes(), b"gold:OST0006");
    assert_eq!(ost.mount_opts.as_bytes(), b"errors=remount-ro");
    let params = Params::parse(&ost.params.to_string_lossy()).unwrap();
    assert_eq!(params.values("failover.node").collect::<Vec<_>>(), ["10.9.0.3@tcp:10.9.0.4@tcp,10.8.0.4@tcp1"]);
}

#[test]
fn remains_behind_an_erased_parameter_are_no_text_but_stay() {
    let erased = Mountdata::decode(&recorded("46-tunefs-erase-params-new-mgsnode")).unwrap();
    assert_eq!(erased.params.as_bytes(), b" mgsnode=10.9.0.7@tcp");
    assert!(erased.encode()[at::PARAMS].windows(13).any(|window| window == b"failover.node"));
}

/// The recorded tool was at work on the result of the case before.
#[test]
fn a_changed_target_is_what_tunefs_lustre_makes_of_it() {
    let tuned = |case: &str, label: &str, tunefs: &Tunefs| {
        let file = Mountdata::decode(&recorded(case)).unwrap();
        let (file, label) = tunefs.apply(&file, &label.parse().unwrap()).unwrap();
        (file.encode(), label.to_string())
    };
    let writeconf = Tunefs { writeconf: Some(true), ..Tunefs::default() };
    let (bytes, label) = tuned("40-ost-for-tunefs", "gold:OST0009", &writeconf);
    assert!(bytes == recorded("41-tunefs-writeconf"));
    assert_eq!(label, "gold=OST0009");
    // Asked again, nothing is written: the tool itself loses VIRGIN only when it changes something else.
    assert!(tuned("41-tunefs-writeconf", "gold=OST0009", &writeconf) == (recorded("41-tunefs-writeconf"), label));
    let registered = Mountdata { flags: Flags::OST, ..Mountdata::decode(&recorded("40-ost-for-tunefs")).unwrap() };
    let (after, _) = writeconf.apply(&registered, &"gold-OST0009".parse().unwrap()).unwrap();
    assert_eq!(after.flags, Flags(0x102), "as recorded of a registered target");
    let back = Tunefs { writeconf: Some(false), ..Tunefs::default() };
    let (after, label) = back.apply(&after, &"gold=OST0009".parse().unwrap()).unwrap();
    assert_eq!((after.flags, label.to_string()), (Flags::OST, "gold-OST0009".to_owned()));
    assert_eq!(after.svname.as_bytes(), b"gold-OST0009");
}

#[test]
fn new_nids_take_the_place_of_the_old_ones() {
    let file = Mountdata::decode(&recorded("44-tunefs-add-second-mgsnode")).unwrap();
    let label: Label = "gold=OST0009".parse().unwrap();
    let moved = Tunefs {
        mgs_nids: Some(nids("10.9.0.7@tcp")),
        failover: Some(Some(nids("10.9.0.4@tcp"))),
        ..Tunefs::default()
    };
    let (after, _) = moved.apply(&file, &label).unwrap();
    assert_eq!(
        after.params.to_string_lossy(),
        " mgsnode=10.9.0.7@tcp sys.timeout=40 ost.writethrough_cache_enable=0 failover.node=10.9.0.4@tcp"
    );
    assert_eq!(moved.apply(&after, &label).unwrap().0, after);
    let alone = Tunefs { failover: Some(None), ..Tunefs::default() };
    let (after, _) = alone.apply(&after, &label).unwrap();
    assert!(!after.params.to_string_lossy().contains("failover.node"));
    assert_eq!(Tunefs::default().apply(&file, &Label::Mgs), Err(TunefsError::Mgs));
    let long = nids(&vec!["10.9.0.1@tcp"; 330].join(":"));
    let long = Tunefs { failover: Some(Some(long)), ..Tunefs::default() };
    assert!(matches!(long.apply(&file, &label), Err(TunefsError::Room(_))));
}

#[test]
fn flags_that_nobody_knows_survive() {
    let mut bytes = recorded("06-ost0");
    bytes[at::FLAGS].copy_from_slice(&0xC0DE_0062u32.to_le_bytes());
    bytes[at::FEATURE_INCOMPAT].copy_from_slice(&0x8000_0001u32.to_le_bytes());
    bytes[at::PADDING.start + 7] = 9;
    assert_eq!(Mountdata::decode(&bytes).unwrap().encode(), bytes);
}

#[test]
fn new_files_are_the_bytes_that_mkfs_lustre_writes() {
    let mgs = nids("10.9.0.1@tcp");
    let ost = |index: &str| Mkfs::new(svname(&format!("gold-OST{index}")), Some(mgs.clone()));
    let mdt = |index: &str| Mkfs::new(svname(&format!("gold-MDT{index}")), Some(mgs.clone()));
    let standalone = || Mkfs::new(SvName::mgs(), None);
    let param = |list: &[(&str, &str)]| {
        Params(list.iter().map(|(key, value)| ParamEntry { key: (*key).into(), value: (*value).into() }).collect())
    };
    let cases = [
        ("01-mgs", standalone()),
        ("02-mgs-fsname", Mkfs { mgs_fsname: Some("gold".parse().unwrap()), ..standalone() }),
        ("03-mgs-mdt-combined", Mkfs { is_combined_mgs: true, mgs_nids: None, ..mdt("0000") }),
        ("04-mdt0", mdt("0000")),
        ("05-mdt1", mdt("0001")),
        ("06-ost0", ost("0000")),
        ("07-ost-hexindex-0x1f", ost("001f")),
        ("08-ost-mgsnode-two-options", Mkfs { mgs_nids: Some(nids("10.9.0.1@tcp:10.9.0.2@tcp")), ..ost("0002") }),
        ("09-ost-mgsnode-comma", Mkfs { mgs_nids: Some(nids("10.9.0.1@tcp,10.8.0.1@tcp1")), ..ost("0003") }),
        ("10-ost-mgsnode-colon", Mkfs { mgs_nids: Some(nids("10.9.0.1@tcp:10.9.0.2@tcp")), ..ost("0004") }),
        ("11-ost-failnode", Mkfs { failover: Some(Failover::FailNode(nids("10.9.0.3@tcp"))), ..ost("0005") }),
        (
            "12-ost-failnode-two",
            Mkfs { failover: Some(Failover::FailNode(nids("10.9.0.3@tcp:10.9.0.4@tcp,10.8.0.4@tcp1"))), ..ost("0006") },
        ),
        (
            "14-ost-servicenode-skipmmp",
            Mkfs { failover: Some(Failover::ServiceNode(nids("10.9.0.2@tcp:10.9.0.3@tcp"))), ..ost("0007") },
        ),
        (
            "15-mdt-params",
            Mkfs {
                params: param(&[
                    ("mdt.identity_upcall", "NONE"),
                    ("sys.timeout", "40"),
                    ("lov.stripesize", "2M"),
                    ("lov.stripecount", "2"),
                ]),
                ..mdt("0000")
            },
        ),
        ("17-ost-comment", Mkfs { comment: Some("rack 7 shelf 3".into()), ..ost("0000") }),
        ("18-ost-network", Mkfs { network: Some("tcp".into()), ..ost("0000") }),
        ("19-ost-mountfsopts", Mkfs { mount_opts: Some("errors=panic,acl".into()), ..ost("0000") }),
        ("22-ost-replace", Mkfs { is_replacement: true, ..ost("0000") }),
        ("31-ost-ipv6-mgsnode", Mkfs { mgs_nids: Some(nids("fd00::1@tcp")), ..ost("0000") }),
    ];
    for (case, mkfs) in cases {
        let ours = mkfs.mountdata().unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(ours, Mountdata::decode(&recorded(case)).unwrap(), "{case}");
        assert_eq!(ours.encode(), recorded(case), "{case}");
    }
}

#[test]
fn what_mkfs_lustre_refuses_is_refused() {
    let ost = svname("gold-OST0000");
    assert_eq!(Mkfs::new(ost.clone(), None).mountdata(), Err(MkfsError::MgsNidsMissing(ost.clone())));
    let both = Mkfs { is_combined_mgs: true, ..Mkfs::new(ost.clone(), None) };
    assert_eq!(both.mountdata(), Err(MkfsError::CombinedMgs(ost.clone())));
    let mut long = Mkfs::new(ost, Some(nids("10.9.0.1@tcp")));
    long.comment = Some("x".repeat(824));
    assert!(matches!(
        long.mountdata(),
        Err(MkfsError::Text { source: MountdataError::TooLong { field: "ldd_userdata", got: 824, max: 823 }, .. })
    ));
    long.comment = Some("two\0texts".into());
    assert!(matches!(long.mountdata(), Err(MkfsError::Text { source: MountdataError::Nul { .. }, .. })));
}

/// (field, offset, size) of `struct lustre_disk_data`.
const LAYOUT: [(&str, usize, usize, std::ops::Range<usize>); 15] = [
    ("ldd_magic", 0, 4, at::MAGIC),
    ("ldd_feature_compat", 4, 4, at::FEATURE_COMPAT),
    ("ldd_feature_rocompat", 8, 4, at::FEATURE_ROCOMPAT),
    ("ldd_feature_incompat", 12, 4, at::FEATURE_INCOMPAT),
    ("ldd_config_ver", 16, 4, at::CONFIG_VER),
    ("ldd_flags", 20, 4, at::FLAGS),
    ("ldd_svindex", 24, 4, at::SVINDEX),
    ("ldd_mount_type", 28, 4, at::MOUNT_TYPE),
    ("ldd_fsname", 32, 64, at::FSNAME),
    ("ldd_svname", 96, 64, at::SVNAME),
    ("ldd_uuid", 160, 40, at::UUID),
    ("ldd_userdata", 200, 824, at::USERDATA),
    ("ldd_padding", 1024, 3072, at::PADDING),
    ("ldd_mount_opts", 4096, 4096, at::MOUNT_OPTS),
    ("ldd_params", 8192, 4096, at::PARAMS),
];

#[test]
fn layout_has_no_gap_and_ends_at_the_files_size() {
    let mut end = 0;
    for (field, offset, size, range) in LAYOUT {
        assert_eq!(range, offset..offset + size, "{field}");
        assert_eq!(offset, end, "{field} starts where the one before ends");
        end = offset + size;
    }
    assert_eq!(end, LEN);
}

/// Any file with the right magic, texts short enough to have an end.
fn any_file() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec((0..LEN, any::<u8>()), 0..200).prop_map(|pokes| {
        let mut bytes = Mountdata::blank().encode();
        for (offset, byte) in pokes {
            bytes[offset] = byte;
        }
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes
    })
}

proptest! {
    #[test]
    fn any_file_that_decodes_encodes_to_itself(bytes in any_file()) {
        if let Ok(decoded) = Mountdata::decode(&bytes) {
            prop_assert_eq!(decoded.encode(), bytes);
        }
    }

    #[test]
    fn nothing_makes_the_decoders_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), text in "\\PC{0,40}") {
        fuzz_mountdata(&bytes);
        fuzz_mountdata(text.as_bytes());
        fuzz_mountdata(&[&MAGIC.to_le_bytes()[..], &bytes, &vec![0; LEN - 4 - bytes.len()]].concat());
    }

    #[test]
    fn labels_survive_being_written(fsname in "[a-zA-Z0-9_][a-zA-Z0-9_-]{0,7}", index in 0u32..=65503, ost: bool, state in 0usize..4) {
        let state = [LabelState::Virgin, LabelState::Writeconf, LabelState::NoLocalLogs, LabelState::Registered][state];
        let kind = if ost { "OST" } else { "MDT" };
        let label = Label::with_state(svname(&format!("{fsname}-{kind}{index:04x}")), state);
        prop_assert!(label.to_string().len() <= 16);
        prop_assert_eq!(label.to_string().parse::<Label>(), Ok(label));
    }
}
