//! The C header and the Rust codec say the same: a C program prints the header's offsets and numbers.

use kproxy::{Command, Event, Flags, Frame, MAX_PAYLOAD, Process, VERSION, portal};
use lustre_wire::lnet::WireNid;
use proptest::prelude::*;
use std::{path::Path, process::Command as Program};

const UAPI: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kmod/uapi/lustre_mgs_proxy.h");

/// Compiles `body` as the main function of a C program with the header, and gives what it prints.
fn c_says(body: &str) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let (source, program) = (dir.path().join("layout.c"), dir.path().join("layout"));
    let text = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"{UAPI}\"\nint main(void) {{ {body} return 0; }}\n"
    );
    std::fs::write(&source, text).expect("the source is written");
    let compiled = Program::new("cc").arg("-o").arg(&program).arg(&source).status().expect("cc runs: install gcc");
    assert!(compiled.success(), "the header compiles in userspace");
    let output = Program::new(&program).output().expect("the program runs");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_frame_has_the_bytes_that_the_header_gives_it() {
    assert!(Path::new(UAPI).exists());
    let fields = [
        ("magic", "0x50474d4cU"),
        ("version", "1"),
        ("type", "5"),
        ("length", "3"),
        ("status", "-7"),
        ("cookie", "0x1122334455667788ULL"),
        ("match_bits", "0x99ULL"),
        ("hdr_data", "0xaaULL"),
        ("portal", "26"),
        ("offset", "224"),
        ("rlength", "512"),
        ("flags", "2"),
        ("peer_pid", "12345"),
        ("self_pid", "4"),
        ("sequence", "6"),
        ("peer.type", "2"),
        ("peer.addr[0]", "0x0100000a"),
        ("self.type", "9"),
        ("via.size", "12"),
        ("via.type", "5"),
    ];
    let sets: String = fields.iter().map(|(field, value)| format!("f.{field} = {value};")).collect();
    let printed = c_says(&format!(
        "struct lmgp_frame f = {{0}}; {sets} unsigned char *b = (void *)&f; \
         for (size_t i = 0; i < sizeof(f); i++) printf(\"%02x\", b[i]); printf(\"070809\");"
    ));
    let bytes: Vec<u8> =
        (0..printed.len()).step_by(2).map(|at| u8::from_str_radix(&printed[at..at + 2], 16).expect("hex")).collect();

    let frame = Frame::decode(&bytes).expect("it is a frame");
    let (mut peer, mut local, mut via) = ([0; 20], [0; 20], [0; 20]);
    (peer[1], peer[4], peer[7], local[1], via[0], via[1]) = (2, 0x0a, 1, 9, 12, 5);
    let expected = Frame {
        status: -7,
        cookie: 0x1122_3344_5566_7788,
        match_bits: 0x99,
        hdr_data: 0xaa,
        portal: 26,
        offset: 224,
        rlength: 512,
        flags: Flags(2),
        peer: Process { nid: WireNid::from_large(peer), pid: 12345 },
        local: Process { nid: WireNid::from_large(local), pid: 4 },
        via: WireNid::from_large(via),
        sequence: 6,
        payload: vec![7, 8, 9],
        ..Frame::command(Command::Put)
    };
    assert_eq!(frame, expected);
    assert_eq!(frame.encode(), bytes);
}

#[test]
fn the_numbers_are_those_of_the_header() {
    let printed = c_says(
        "printf(\"%d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %d %zu\", LMGP_VERSION, LMGP_MAX_PAYLOAD, \
         LMGP_HELLO, LMGP_NIDS, LMGP_ATTACH, LMGP_DETACH, LMGP_PUT, LMGP_GET, LMGP_POST, LMGP_UNLINK, \
         LMGP_EV_HELLO, LMGP_EV_NIDS, LMGP_EV_PUT, LMGP_EV_REPLY, LMGP_EV_ACK, LMGP_EV_DONE, \
         LMGP_ACK | LMGP_NOTIFY << 8 | LMGP_READABLE << 16, LMGP_PORTAL_CALLBACK, LMGP_PORTAL_CALLBACK_ANSWER, \
         LMGP_PORTAL_CANCEL, LMGP_PORTAL_REPLY, LMGP_PORTAL_REQUEST, LMGP_PORTAL_BULK, sizeof(struct lmgp_hello));",
    );
    let commands = [
        Command::Hello,
        Command::Nids,
        Command::Attach,
        Command::Detach,
        Command::Put,
        Command::Get,
        Command::Post,
        Command::Unlink,
    ];
    let events = [Event::Hello, Event::Nids, Event::Put, Event::Reply, Event::Ack, Event::Done];
    let mut ours: Vec<u64> = vec![VERSION.into(), MAX_PAYLOAD as u64];
    ours.extend(commands.iter().map(|command| *command as u64));
    ours.extend(events.iter().map(|event| *event as u64));
    ours.push(u64::from(Flags::ACK.0 | Flags::NOTIFY.0 << 8 | Flags::READABLE.0 << 16));
    ours.extend(
        [portal::CALLBACK, portal::CALLBACK_ANSWER, portal::CANCEL, portal::REPLY, portal::REQUEST, portal::BULK]
            .map(u64::from),
    );
    ours.push(64);
    let theirs: Vec<u64> = printed.split(' ').map(|number| number.parse().expect("a number")).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_frame_cut_anywhere_is_an_error() {
    let mut frame = Frame::command(Command::Put);
    frame.payload = vec![1; 9];
    let bytes = frame.encode();
    for cut in 0..bytes.len() {
        assert!(Frame::decode(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_that_encodes_to_them_or_an_error(mut data in proptest::collection::vec(any::<u8>(), 0..300)) {
        kproxy::fuzz_proxy_frame(&data);
        let head = Frame::command(Command::Put).encode();
        if data.len() >= head.len() {
            let length = u32::try_from(data.len() - head.len()).expect("small");
            data[..8].copy_from_slice(&head[..8]);
            data[8..12].copy_from_slice(&length.to_le_bytes());
            data[124..128].fill(0);
            data[136..160].fill(0);
            prop_assert_eq!(Frame::decode(&data).expect("every field takes any value").encode(), data);
        }
    }
}
