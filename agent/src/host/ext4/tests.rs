//! Against what the installed e2fsprogs makes and says.

use super::*;
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

const MIB: u64 = 1 << 20;

fn run(tool: &str, args: &[&str]) -> Vec<u8> {
    let output = Command::new(tool).args(args).output().unwrap();
    assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// An image made with `options`, with `CONFIGS/mountdata` of `contents` in it.
fn made(dir: &Path, size: u64, options: &str, contents: &[u8]) -> PathBuf {
    let (image, root) = (dir.join("image"), dir.join("root"));
    File::create(&image).unwrap().set_len(size).unwrap();
    fs::create_dir_all(root.join("CONFIGS")).unwrap();
    fs::write(root.join("CONFIGS/mountdata"), contents).unwrap();
    let mut args: Vec<&str> = vec!["-q", "-F", "-d", root.to_str().unwrap()];
    args.extend(options.split_whitespace());
    args.push(image.to_str().unwrap());
    run("mke2fs", &args);
    image
}

fn contents() -> Vec<u8> {
    (0..12_288u32).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_file_reads_as_debugfs_reads_it_whatever_the_layout() {
    for options in [
        "-t ext4 -b 1024",
        "-t ext4 -b 4096 -O ^metadata_csum,^64bit",
        "-t ext4 -b 4096 -O metadata_csum,64bit -I 1024",
        "-t ext4 -O dir_index,large_dir,flex_bg,ea_inode -G 256 -E packed_meta_blocks",
        "-t ext4 -b 4096 -g 1024",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let image = made(dir.path(), 64 * MIB, options, &contents());
        let file = File::open(&image).unwrap();
        let fs = Ext4::open(&file).unwrap();
        assert_eq!(fs.read_path("CONFIGS/mountdata", 20_000).unwrap().unwrap(), contents(), "{options}");
        assert_eq!(fs.read_path("CONFIGS/mountdata", 5000).unwrap().unwrap(), contents()[..5000], "{options}");
        assert_eq!(fs.read_path("CONFIGS/nothing", 1).unwrap(), None, "{options}");
        assert_eq!(fs.read_path("CONFIGS", 1).unwrap(), None, "{options}: a directory is no file");
        assert_eq!(fs.read_path("CONFIGS/mountdata/x", 1).unwrap(), None, "{options}: a file is no directory");
    }
}

#[test]
fn what_no_target_has_is_left_to_e2fsprogs() {
    let dir = tempfile::tempdir().unwrap();
    for options in ["-t ext2", "-t ext4 -O meta_bg,^resize_inode"] {
        let image = made(dir.path(), 64 * MIB, options, &contents());
        let file = File::open(&image).unwrap();
        let read = Ext4::open(&file).unwrap().read_path("CONFIGS/mountdata", 20_000);
        assert!(matches!(read, Err(Ext4Error::Unusual(_))), "{options}: {read:?}");
    }
}

#[test]
fn quotas_are_right_after_the_patch_and_there_is_none_the_second_time() {
    for options in ["-O quota,project", "-O quota", "-b 4096 -O quota,project,^metadata_csum,^64bit -I 512"] {
        let dir = tempfile::tempdir().unwrap();
        let image = made(dir.path(), 128 * MIB, &format!("-t ext4 -O ^orphan_file {options}"), &contents());
        let file = File::options().read(true).write(true).open(&image).unwrap();
        for patch in patches(&Ext4::open(&file).unwrap()).unwrap() {
            file.write_all_at(&patch.bytes, patch.offset).unwrap();
        }
        assert_eq!(patches(&Ext4::open(&file).unwrap()).unwrap(), [], "{options}");
        // e2fsck counts for itself and complains of the slightest difference.
        run("e2fsck", &["-fn", image.to_str().unwrap()]);
    }
}

#[test]
fn a_file_system_in_use_is_not_counted_here() {
    let dir = tempfile::tempdir().unwrap();
    let image = made(dir.path(), 128 * MIB, "-t ext4 -O quota,project", &contents());
    run("debugfs", &["-w", "-R", "set_inode_field CONFIGS/mountdata uid 5", image.to_str().unwrap()]);
    let file = File::open(&image).unwrap();
    let counted = patches(&Ext4::open(&file).unwrap());
    assert!(matches!(counted, Err(Ext4Error::Unusual("files of other owners"))), "{counted:?}");
}

#[test]
fn bytes_changed_anywhere_in_the_metadata_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let image = made(dir.path(), MIB, "-t ext4 -b 1024 -O ^has_journal,^resize_inode -N 16", &contents());
    let bytes = fs::read(&image).unwrap();
    fuzz_ext4(&bytes);
    // Not each byte of the file's own data: it is read as it is.
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    for at in used.iter().copied().filter(|at| *at < 100 << 10) {
        for flip in [0x01, 0x80, 0xFF] {
            let mut wrong = bytes.clone();
            wrong[at] ^= flip;
            fuzz_ext4(&wrong);
        }
    }
    for len in (0..4096).chain((4096..bytes.len()).step_by(977)) {
        fuzz_ext4(&bytes[..len]);
    }
}
