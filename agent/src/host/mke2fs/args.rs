//! The command line of `mke2fs` for each kind of target.
//!
//! Behind the device `mkfs.lustre` names its size. That is left out here, as it is the same: where a size is named, `mke2fs`
//! makes a plain file in place of a device that has just gone away, and in `/dev` that file would be in memory.
//!
//! Checked word for word against the command lines that `mkfs.lustre` 2.17.57 built. Source: mountdata specification,
//! section 7.

use super::UserOptions;
use lustre_types::TargetKind;
use std::collections::BTreeSet;

/// The smallest device that `mkfs.lustre` takes, bytes.
pub const MIN_TARGET_BYTES: u64 = 32_384 << 10;

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
/// The largest number of blocks that an OST may be resized to later: just below what 32-bit block numbers allow.
const RESIZE_BLOCKS: u64 = 4_290_772_992;

/// What the file system below a target shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// What the target serves; an MDT that is the MGS too counts as MDT.
    pub kind: TargetKind,
    /// Size of the device in bytes.
    pub device_bytes: u64,
    /// Whether another node may start the target: then multi-mount protection guards it.
    pub has_failover: bool,
    /// The administrator's options.
    pub user: UserOptions,
}

impl Backing {
    /// Bytes per block.
    pub fn block_bytes(&self) -> u32 {
        self.user.block_bytes.unwrap_or(4096)
    }

    /// Features that this target wants, the administrator's not counted.
    pub fn own_features(&self) -> Vec<&'static str> {
        let is_mdt = self.kind == TargetKind::Mdt;
        let mut features = vec!["uninit_bg", "extents"];
        features.extend(self.has_failover.then_some("mmp"));
        features.extend(is_mdt.then_some("dirdata"));
        features.extend(["dir_nlink", "quota", "project", "huge_file"]);
        features.extend(is_mdt.then_some("ea_inode"));
        features.extend(["large_dir", "^fast_commit", "flex_bg"]);
        if self.blocks() > u64::from(u32::MAX) {
            features.extend(["64bit", "^resize_inode"]);
        }
        features
    }

    /// Words of `-E` that this target wants.
    pub fn own_extended(&self) -> Vec<String> {
        let mut words = Vec::new();
        let is_resizable = self.device_bytes > 100 << 20 && self.blocks() < RESIZE_BLOCKS;
        if self.kind == TargetKind::Ost && is_resizable {
            words.push(format!("resize={RESIZE_BLOCKS}"));
        }
        words.extend(["lazy_journal_init", "lazy_itable_init=0", "packed_meta_blocks"].map(str::to_owned));
        words
    }

    /// Options from the first user option to `-F`, in `mkfs.lustre`'s order.
    ///
    /// `missing` are features that the installed `mke2fs` doesn't know; they are left out, but never one that the
    /// administrator asked for: that one shall fail.
    pub fn options(&self, missing: &BTreeSet<String>) -> Vec<String> {
        let mut args = Vec::new();
        let mut option = |letter: char, value: String| args.extend([format!("-{letter}"), value]);
        for (letter, value) in &self.user.plain {
            option(*letter, value.clone());
        }
        for (letter, value) in self.own_plain() {
            if !self.user.has(letter) {
                option(letter, value);
            }
        }
        option(
            'O',
            merged(&self.user.features, self.own_features().into_iter().map(str::to_owned), feature_name, missing),
        );
        if self.kind == TargetKind::Ost && !self.user.has('G') {
            option('G', (1024 / (self.block_bytes() / 1024)).to_string());
        }
        option('E', merged(&self.user.extended, self.own_extended().into_iter(), extended_name, missing));
        args.push("-F".to_owned());
        args
    }

    /// Quota types that the file system accounts, as `tune2fs -Q` names them; none without the feature.
    pub fn quota_types(&self, missing: &BTreeSet<String>) -> Vec<&'static str> {
        let has = |feature: &str| {
            let said = self.user.features.iter().find(|word| feature_name(word) == feature);
            said.map_or(!missing.contains(feature), |word| !word.starts_with('^'))
        };
        match (has("quota"), has("project")) {
            (false, _) => Vec::new(),
            (true, false) => vec!["usrquota", "grpquota"],
            (true, true) => vec!["usrquota", "grpquota", "prjquota"],
        }
    }

    fn blocks(&self) -> u64 {
        self.device_bytes / u64::from(self.block_bytes())
    }

    fn own_plain(&self) -> Vec<(char, String)> {
        let mut options = Vec::new();
        if let Some(mib) = self.journal_mib() {
            options.push(('J', format!("size={mib}")));
        }
        match self.kind {
            TargetKind::Mgt => {}
            TargetKind::Mdt => options.extend([('I', "1024".to_owned()), ('i', "2560".to_owned())]),
            TargetKind::Ost => {
                options.push(('I', "512".to_owned()));
                let bytes_per_inode = match self.device_bytes {
                    size if size > 16 * TIB => Some(1 << 20),
                    size if size > 4 * TIB => Some(512 << 10),
                    size if size > TIB => Some(256 << 10),
                    size if size > 10 * GIB => Some(69_905),
                    _ => None,
                };
                options.extend(bytes_per_inode.map(|bytes: u32| ('i', bytes.to_string())));
            }
        }
        options
    }

    fn journal_mib(&self) -> Option<u64> {
        let most = match self.kind {
            TargetKind::Mgt => return None,
            TargetKind::Mdt => 4096,
            TargetKind::Ost => 1024,
        };
        (self.device_bytes > GIB).then(|| ((self.device_bytes >> 20) * 4 / 100).min(most))
    }
}

/// The user's words, then those of our own that say nothing about the same thing and that `mke2fs` knows.
fn merged(
    user: &[String],
    own: impl Iterator<Item = String>,
    name: fn(&str) -> &str,
    missing: &BTreeSet<String>,
) -> String {
    let own = own.filter(|word| !user.iter().any(|given| name(given) == name(word)) && !missing.contains(name(word)));
    user.iter().cloned().chain(own).collect::<Vec<_>>().join(",")
}

/// `huge_file` of `^huge_file`.
pub(super) fn feature_name(word: &str) -> &str {
    word.trim_start_matches('^')
}

/// `resize` of `resize=42`; `mke2fs` takes `-` and `_` alike only in some words, so they stay.
pub(super) fn extended_name(word: &str) -> &str {
    word.split('=').next().unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backing(kind: TargetKind, device_bytes: u64) -> Backing {
        Backing { kind, device_bytes, has_failover: false, user: UserOptions::default() }
    }

    fn line(backing: &Backing) -> String {
        backing.options(&BTreeSet::new()).join(" ")
    }

    const MIB300: u64 = 300 << 20;
    const OWN_E: &str = "lazy_journal_init,lazy_itable_init=0,packed_meta_blocks -F";

    #[test]
    fn options_are_word_for_word_those_of_mkfs_lustre() {
        let mgt = "-O uninit_bg,extents,dir_nlink,quota,project,huge_file,large_dir,^fast_commit,flex_bg";
        assert_eq!(line(&backing(TargetKind::Mgt, MIB300)), format!("{mgt} -E {OWN_E}"));
        assert_eq!(
            line(&backing(TargetKind::Mdt, MIB300)),
            format!(
                "-I 1024 -i 2560 -O uninit_bg,extents,dirdata,dir_nlink,quota,project,huge_file,ea_inode,large_dir,\
                 ^fast_commit,flex_bg -E {OWN_E}"
            )
        );
        assert_eq!(
            line(&backing(TargetKind::Ost, MIB300)),
            format!("-I 512 {mgt} -G 256 -E resize=4290772992,{OWN_E}")
        );
        let shared = Backing { has_failover: true, ..backing(TargetKind::Ost, MIB300) };
        assert!(line(&shared).contains("-O uninit_bg,extents,mmp,dir_nlink,"), "{}", line(&shared));
    }

    #[test]
    fn options_of_the_administrator_come_first_and_win() {
        let user = UserOptions::parse("-O ^huge_file -E stride=16,stripe_width=64 -m 1").unwrap();
        let ost = Backing { user, ..backing(TargetKind::Ost, MIB300) };
        assert_eq!(
            line(&ost),
            format!(
                "-m 1 -I 512 -O ^huge_file,uninit_bg,extents,dir_nlink,quota,project,large_dir,^fast_commit,flex_bg \
                 -G 256 -E stride=16,stripe_width=64,resize=4290772992,{OWN_E}"
            )
        );
        let user = UserOptions::parse("-I 2048 -i 4096 -J size=10 -G 16 -E lazy_itable_init=1").unwrap();
        let ost = Backing { user, ..backing(TargetKind::Ost, 20 * GIB) };
        let line = line(&ost);
        assert!(line.starts_with("-I 2048 -i 4096 -J size=10 -G 16 -O uninit_bg,"), "{line}");
        assert!(
            line.ends_with("-E lazy_itable_init=1,resize=4290772992,lazy_journal_init,packed_meta_blocks -F"),
            "{line}"
        );
    }

    #[test]
    fn journal_and_inodes_follow_the_size() {
        assert!(line(&backing(TargetKind::Ost, GIB)).starts_with("-I 512 -O"));
        assert!(line(&backing(TargetKind::Ost, 10 * GIB)).starts_with("-J size=409 -I 512 -O"));
        assert!(line(&backing(TargetKind::Ost, 100 * GIB)).starts_with("-J size=1024 -I 512 -i 69905 -O"));
        assert!(line(&backing(TargetKind::Ost, 2 * TIB)).starts_with("-J size=1024 -I 512 -i 262144 -O"));
        assert!(line(&backing(TargetKind::Ost, 5 * TIB)).starts_with("-J size=1024 -I 512 -i 524288 -O"));
        assert!(line(&backing(TargetKind::Ost, 17 * TIB)).starts_with("-J size=1024 -I 512 -i 1048576 -O"));
        assert!(line(&backing(TargetKind::Mdt, TIB)).starts_with("-J size=4096 -I 1024 -i 2560 -O"));
        assert!(line(&backing(TargetKind::Mgt, TIB)).starts_with("-O"));
        assert!(!line(&backing(TargetKind::Ost, 64 << 20)).contains("resize="));
    }

    #[test]
    fn beyond_32_bit_block_numbers_the_format_is_64_bit_and_cannot_be_resized() {
        let large = line(&backing(TargetKind::Ost, 17 * TIB));
        assert!(large.contains("flex_bg,64bit,^resize_inode -G"), "{large}");
        assert!(!large.contains("resize="), "{large}");
    }

    #[test]
    fn a_missing_feature_is_left_out_unless_asked_for() {
        let missing = BTreeSet::from(["dirdata".to_owned()]);
        let mdt = backing(TargetKind::Mdt, MIB300);
        assert!(!mdt.options(&missing).join(" ").contains("dirdata"));
        let asked = Backing { user: UserOptions::parse("-O dirdata").unwrap(), ..mdt };
        assert!(asked.options(&missing).join(" ").contains("-O dirdata,uninit_bg"));
    }

    #[test]
    fn all_three_quotas_are_accounted_unless_told_otherwise() {
        let types = |options: &str| {
            let user = UserOptions::parse(options).unwrap();
            Backing { user, ..backing(TargetKind::Ost, MIB300) }.quota_types(&BTreeSet::new())
        };
        assert_eq!(types(""), ["usrquota", "grpquota", "prjquota"]);
        assert_eq!(types("-O ^project"), ["usrquota", "grpquota"]);
        assert!(types("-O ^quota").is_empty());
    }

    #[test]
    fn flex_groups_are_as_many_with_larger_blocks() {
        let user = UserOptions::parse("-b 65536").unwrap();
        let ost = Backing { user, ..backing(TargetKind::Ost, MIB300) };
        assert!(line(&ost).contains("-G 16 "));
        assert_eq!(ost.block_bytes(), 65536);
    }
}
