//! `lfs df` and `lfs getname`: what room the OSTs of a client's mount have, and which file system that is.
//!
//! Tested with what a real `lfs` printed: `testdata/lfs-recorded`.

use super::{
    Host, HostError, chain,
    lfs::{Ended, run_for},
};
use lustre_types::{FsName, SvName};
use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

/// How long these commands may take. They ask servers, and one that is silent is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The room of one OST, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What is on it, with what its own file system needs.
    pub used: u64,
    /// What more fits.
    pub available: u64,
}

/// The OSTs with their room, by index, as `lfs df` tells it: those that are inactive, or can't be reached, tell nothing and
/// are left out.
pub fn rooms(text: &str) -> BTreeMap<u16, Room> {
    let line = |line: &str| -> Option<(u16, Room)> {
        let mut words = line.split_whitespace();
        let (_uuid, _total, used, available) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let index = words.find_map(|word| word.rsplit_once("[OST:")?.1.strip_suffix(']'))?.parse().ok()?;
        Some((index, Room { used: bytes(used)?, available: bytes(available)? }))
    };
    text.lines().filter_map(line).collect()
}

/// A size in 1K blocks, or with the letter of a unit, as in `1021.9M`.
fn bytes(word: &str) -> Option<u64> {
    let Some(unit) = word.chars().last().filter(char::is_ascii_uppercase) else {
        return word.parse::<u64>().ok()?.checked_mul(1024);
    };
    let power = u32::try_from("KMGTPE".find(unit)?).ok()? + 1;
    let (whole, part) = word[..word.len() - 1].split_once('.').unwrap_or((&word[..word.len() - 1], "0"));
    // One digit behind the point.
    let tenths =
        whole.parse::<u64>().ok()?.checked_mul(10)?.checked_add(part.parse().ok().filter(|part| *part < 10)?)?;
    Some(tenths.checked_mul(1024_u64.checked_pow(power)?)? / 10)
}

/// Why the other OSTs can't take what is on one; none where they can, or where nobody can tell.
pub fn lacks_room(rooms: &BTreeMap<u16, Room>, ost: &SvName) -> Option<String> {
    let index = ost.index()?.get();
    let used = rooms.get(&index)?.used;
    let others = || rooms.iter().filter(|(other, _)| **other != index);
    let available: u64 = others().map(|(_, room)| room.available).fold(0, u64::saturating_add);
    (available < used).then(|| {
        format!(
            "{ost} holds {used} bytes, and the {} other OSTs that answer have room for {available}; add OSTs, remove files or \
             bring back what does not answer (lfs df)",
            others().count()
        )
    })
}

/// The file system of an answer of `lfs getname` for one path: `gold-ffff93af0c638800 /mnt/gold`.
fn file_system(text: &str) -> Option<FsName> {
    let (instance, _) = text.lines().next()?.split_once(char::is_whitespace)?;
    let (fsname, id) = instance.rsplit_once('-')?;
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    fsname.parse().ok().filter(|_| is_id)
}

impl Host {
    /// Why a directory is not a client's mount of a file system, as a whole; none where it is.
    ///
    /// A search below any other directory finds nothing, and ends well.
    pub fn no_mount_of(&self, fsname: &FsName, mountpoint: &Path) -> Result<Option<String>, HostError> {
        let mounts = self.client_mounts()?;
        let here = mounts.iter().find(|mount| mount.place == mountpoint);
        let above = || mounts.iter().find(|mount| mountpoint.starts_with(&mount.place));
        if let Some(mount) = here.or_else(above)
            && (mount.place != mountpoint || mount.part.is_some())
        {
            let message = format!("{} is a part of a file system only ({})", mountpoint.display(), mount.source);
            return Ok(Some(format!("{message}; mount {fsname} as a whole")));
        }
        let said = match run_for(&self.tools.lfs, &["getname".into(), OsString::from(mountpoint)], PATIENCE)? {
            Ended::Well(text) if file_system(&text).as_ref() == Some(fsname) => return Ok(None),
            Ended::Well(text) => text.trim().to_owned(),
            Ended::Badly(why) => why,
        };
        Ok(Some(format!("{} is not where {fsname} is mounted here: lfs getname says: {said}", mountpoint.display())))
    }

    /// The room of the OSTs of a mount. Errors: why nobody can tell.
    pub fn rooms(&self, mountpoint: &Path) -> Result<BTreeMap<u16, Room>, String> {
        // Without --lazy it waits for a server that is down.
        let arguments = ["df".into(), "--lazy".into(), OsString::from(mountpoint)];
        match run_for(&self.tools.lfs, &arguments, PATIENCE).map_err(|error| chain(&error))? {
            Ended::Well(text) => Ok(rooms(&text)),
            Ended::Badly(why) => Err(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! recorded {
        ($name:literal) => {
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/lfs-recorded/", $name))
        };
    }

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_room_of_every_ost_is_read_from_what_a_real_lfs_printed() {
        let blocks = rooms(recorded!("df-blocks.txt"));
        assert_eq!(blocks.len(), 13, "MDTs and the headline are none");
        assert_eq!(blocks[&12], Room { used: 1256 * 1024, available: 524_063_444 * 1024 });
        let petabytes = rooms(recorded!("df-h-petabytes.txt"));
        assert_eq!(petabytes.keys().copied().collect::<Vec<_>>(), [0, 1, 70, 71]);
        assert_eq!(petabytes[&70].used, 346 * (GIB << 10) / 10);
        let full = rooms(recorded!("df-h-full.txt"));
        assert_eq!((full.len(), full[&2].available), (6, 551 * (1 << 20) / 10), "also behind a note of the author");
    }

    #[test]
    fn osts_that_are_inactive_or_can_not_be_reached_tell_nothing() {
        let inactive = rooms(recorded!("df-h-inactive.txt"));
        assert_eq!(inactive.keys().copied().collect::<Vec<_>>(), [0, 2, 4, 6]);
        let unavailable = rooms(recorded!("df-h-unavailable.txt"));
        assert_eq!(unavailable.keys().copied().collect::<Vec<_>>(), [0, 2]);
        assert_eq!(unavailable[&0].used, 529 * (1 << 20) / 10);
    }

    #[test]
    fn an_ost_that_holds_more_than_the_others_can_take_is_refused_and_no_other() {
        let full = rooms(recorded!("df-h-full.txt"));
        let why = lacks_room(&full, &"testfs-OST0002".parse().unwrap()).unwrap();
        assert!(why.starts_with("testfs-OST0002 holds 2089072092774 bytes, and the 5 other OSTs"), "{why}");
        assert!(why.contains("room for 5905580030;") && why.contains("add OSTs"), "{why}");
        let petabytes = rooms(recorded!("df-h-petabytes.txt"));
        assert_eq!(lacks_room(&petabytes, &"expanse-OST0046".parse().unwrap()), None);
        // It does not answer: nobody can tell what it holds.
        let inactive = rooms(recorded!("df-h-inactive.txt"));
        assert_eq!(lacks_room(&inactive, &"fs-OST0001".parse().unwrap()), None);
    }

    #[test]
    fn the_file_system_of_a_mount_is_read_from_what_a_real_lfs_printed() {
        let names: Vec<_> =
            recorded!("getname.txt").lines().map(|line| file_system(line).unwrap().to_string()).collect();
        assert_eq!(names, ["tfs1", "tfs2", "tfs3"]);
        for none in
            ["", "No such device", "error: getname: /tmp: No such device", "gold /mnt", "gold- /mnt", "a-xyz /mnt"]
        {
            assert_eq!(file_system(none), None, "{none}");
        }
    }

    #[test]
    fn sizes_of_all_units_and_none_that_overflow() {
        assert_eq!(bytes("0"), Some(0));
        assert_eq!(bytes("1.5E"), Some(1_729_382_256_910_270_464));
        for none in ["", "-", "1.25G", "99999999999999999999", "18446744073709551615", "99E", "1.G", "G", "1é"] {
            assert_eq!(bytes(none), None, "{none}");
        }
    }
}
