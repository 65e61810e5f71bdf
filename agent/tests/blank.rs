//! That `wipefs` need not be asked about a blank device: it reads nothing of one that this agent doesn't read itself.
//!
//! The real `wipefs` is watched by strace on blank devices of many sizes. Needs root, for loop devices.

#![allow(clippy::unwrap_used, reason = "a test that can't go on shall say so by failing")]

mod node;

use lustre_agent::{
    host::{Host, Sysroot, Tools, blank, libblkid::said_reads, signatures},
    observe::Content,
};
use node::{LoopDevice, MIB, TIB, run};
use std::{
    collections::BTreeSet,
    fs::{File, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

/// Powers of two, sizes that nothing divides but the sector, and the smallest that a target may be on.
const SIZES: [u64; 9] = [
    16 * MIB,
    17 * MIB + 512,
    64 * MIB,
    64 * MIB + 7 * 512,
    1 << 30,
    (10 << 30) + 3 * 4096,
    TIB,
    4 * TIB + 37 * 4096,
    15 * TIB + 8192,
];

/// Calls that read nothing of the file that they are about.
const HARMLESS: [&str; 8] = ["openat", "newfstatat", "fstat", "ioctl", "fadvise64", "fcntl", "close", "dup"];

/// What `wipefs` reads of a device, by strace.
fn watched_reads(device: &Path, dir: &Path) -> BTreeSet<(u64, u64)> {
    let trace = dir.join("trace");
    let output = Command::new("strace")
        .args(["--follow-forks", "--decode-fds=path", "--signal=none", "--output"])
        .arg(&trace)
        .args(["wipefs", "--no-act"])
        .arg(device)
        .output()
        .expect("strace is missing; tools/setup installs it");
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.is_empty(), "{} is not blank: {output:?}", device.display());
    let of_device = format!("<{}>", device.display());
    let mut at = 0;
    let mut reads = BTreeSet::new();
    for line in std::fs::read_to_string(trace).unwrap().lines().filter(|line| line.contains(&of_device)) {
        let (call, answer) = line.rsplit_once(" = ").unwrap();
        let call = call.split_once(' ').unwrap().1.trim();
        let (name, arguments) = call.split_once('(').unwrap();
        let number = |text: &str| text.trim().trim_end_matches(')').parse::<u64>().unwrap();
        let arguments: Vec<&str> = arguments.rsplit(", ").collect();
        match name {
            "lseek" => at = number(answer),
            "read" => {
                reads.insert((at, at + number(arguments[0])));
                at += number(answer);
            }
            "pread64" => drop(reads.insert((number(arguments[0]), number(arguments[0]) + number(arguments[1])))),
            _ if HARMLESS.contains(&name) => {}
            // Such as mmap: then this test, and what it is a test of, have to learn it.
            _ => panic!("wipefs does something else with the device: {line}"),
        }
    }
    reads
}

fn sized(path: &Path, size: u64) {
    File::create(path).unwrap().set_len(size).unwrap();
}

fn is_in_one(windows: &[Range<u64>], read: (u64, u64)) -> bool {
    windows.iter().any(|window| window.start <= read.0 && read.1 <= window.end)
}

#[test]
fn wipefs_reads_nothing_of_a_blank_device_that_is_not_read_here_and_says_so_itself() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("image");
    for size in SIZES {
        sized(&image, size);
        let check = |device: &Path| {
            let reads = watched_reads(device, dir.path());
            let windows = blank::windows(size);
            for read in &reads {
                assert!(
                    is_in_one(&windows, *read),
                    "{size}: {read:?} of {} is in none of {windows:?}",
                    device.display()
                );
            }
            assert!(reads.len() > 20, "{size}: too few to be believed: {reads:?}");
            // What it says of itself, which decides on a node, is what it does.
            let said: BTreeSet<_> = said_reads(device).into_iter().map(|read| (read.start, read.end)).collect();
            assert_eq!(said, reads, "{size}: {}", device.display());
        };
        check(&image);
        for sector in ["512", "4096"] {
            if size % 4096 == 0 || sector == "512" {
                let device = LoopDevice::with_sectors(&image, sector);
                check(&device.0);
            }
        }
    }
}

#[test]
fn a_byte_wherever_wipefs_reads_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().canonicalize().unwrap().join("image");
    let host = Host::new(
        Sysroot { image_dirs: vec![image.parent().unwrap().to_owned()], ..Sysroot::default() },
        Tools::from_dir(None),
    );
    let size = 64 * MIB + 7 * 512;
    sized(&image, size);
    let loop_device = LoopDevice::on(&image);
    for path in [&image, &loop_device.0] {
        let device = host.device(path).unwrap();
        assert_eq!(host.observe(&device).unwrap().content, Content::Blank);
        let file = OpenOptions::new().write(true).open(path).unwrap();
        for (start, end) in watched_reads(path, dir.path()) {
            for at in [start, end - 1] {
                file.write_all_at(b"x", at).unwrap();
                assert!(!host.is_blank(&device).unwrap(), "{at}");
                // Alone in the middle it is nobody's, as long as wipefs knows nothing of it.
                let counts = at < MIB || at >= size - MIB;
                assert_eq!(host.observe(&device).unwrap().content != Content::Blank, counts, "{at}");
                file.write_all_at(&[0], at).unwrap();
            }
        }
        assert_eq!(host.observe(&device).unwrap().content, Content::Blank);
    }
}

/// A second header of LUKS2, as `wipefs` knows it where the first is gone.
fn luks2(at: u64) -> Vec<u8> {
    let mut header = vec![0; 4096];
    header[..8].copy_from_slice(b"SKUL\xba\xbe\x00\x02");
    header[8..16].copy_from_slice(&0x4000_u64.to_be_bytes());
    header[72..78].copy_from_slice(b"sha256");
    header[168..204].copy_from_slice(b"12345678-1234-1234-1234-123456789012");
    header[256..264].copy_from_slice(&at.to_be_bytes());
    header
}

/// What is recognised by few bytes, and far from the front: kind and place from the front, or from the end where it is
/// negative.
#[test]
fn what_wipefs_knows_by_few_bytes_far_inside_is_found_as_wipefs_finds_it() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().canonicalize().unwrap().join("image");
    let host = Host::new(
        Sysroot { image_dirs: vec![image.parent().unwrap().to_owned()], ..Sysroot::default() },
        Tools::from_dir(None),
    );
    let mut cases: Vec<(&str, i64, Vec<u8>)> = vec![
        ("VMFS_volume_member", 1 << 20, b"\x0d\xd0\x01\xc0".into()),
        ("VMFS", 2 << 20, b"\x5e\xf1\xab\x2f".into()),
        ("btrfs", 0x1_0040, b"_BHRfS_M".into()),
        ("ceph_bluestore", 0, b"bluestore block device\n".into()),
        ("isw_raid_member", -1024, b"Intel Raid ISM Cfg Sig. ".into()),
        ("lsi_mega_raid_member", -512, b"$XIDE$".into()),
        ("nvidia_raid_member", -1024, b"NVIDIA\0\0".into()),
        ("hpt45x_raid_member", -11 * 512, 0x5a78_16f3_u32.to_le_bytes().into()),
    ];
    for sectors in [16, 63, 255, 256, 399, 591, 675, 735, 911, 951, 974, 991, 3087] {
        cases.push(("promise_fasttrack_raid_member", -sectors * 512, b"Promise Technology, Inc.".into()));
    }
    for place in 14..=22 {
        cases.push(("crypto_LUKS", 1 << place, luks2(1 << place)));
    }
    for size in [64 * MIB, 4 * TIB + 37 * 4096] {
        for (kind, place, bytes) in &cases {
            sized(&image, size);
            let at = size.checked_add_signed(*place).filter(|_| *place < 0).unwrap_or(place.unsigned_abs());
            OpenOptions::new().write(true).open(&image).unwrap().write_all_at(bytes, at).unwrap();
            let told = run("wipefs", &["--no-act", "--noheadings", "--output", "TYPE", image.to_str().unwrap()]);
            assert_eq!(String::from_utf8_lossy(&told.stdout).trim(), *kind, "wipefs doesn't know it at {place}");
            let device = host.device(&image).unwrap();
            assert!(!host.is_blank(&device).unwrap(), "{kind} at {place} of {size}");
            let found = signatures::signatures(&device).unwrap();
            assert!(found.iter().any(|found| found.kind == *kind), "{kind} at {place} of {size}: {found:?}");
            assert!(matches!(host.observe(&device).unwrap().content, Content::Foreign(_)), "{kind} at {place}");
        }
    }
}
