//! What the installed `mke2fs` knows, found out by asking it.

use super::UserOptions;
use super::args::{Backing, extended_name, feature_name};
use crate::host::{
    HostError, nameless,
    tool::{self, Fingerprint},
};
use lustre_types::TargetKind;
use std::{collections::BTreeSet, path::Path, sync::Mutex};

/// An installed `mke2fs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mke2fs {
    /// Its version, as in `1.47.0` or `1.47.1-wc1`.
    pub version: String,
    /// Features and words of `-E` that Lustre wants for some kind of target and that it doesn't know, as in `dirdata`
    /// (which is in Lustre's own e2fsprogs only).
    pub missing: BTreeSet<String>,
}

impl Mke2fs {
    /// Asks the program; some 15 runs with `-n` on an empty file, a few milliseconds each.
    pub fn probe(tool: &str) -> Result<Self, HostError> {
        let version = version(tool)?;
        let image = nameless::image(4 << 20)?;
        let mut missing = BTreeSet::new();
        for (letter, word, name) in wanted() {
            if !accepts(tool, letter, &word, &image.path)? {
                missing.insert(name);
            }
        }
        Ok(Self { version, missing })
    }

    /// Features that a target of this kind is made without.
    pub fn missing_for(&self, backing: &Backing) -> Vec<String> {
        let own = backing.own_features().into_iter().map(|word| feature_name(word).to_owned());
        let own = own.chain(backing.own_extended().into_iter().map(|word| extended_name(&word).to_owned()));
        own.filter(|name| self.missing.contains(name)).collect()
    }
}

/// Every word that some kind of target uses: (option letter, word, its name).
fn wanted() -> BTreeSet<(char, String, String)> {
    let mut words = BTreeSet::new();
    for kind in TargetKind::ALL {
        let backing = Backing { kind, device_bytes: 1 << 30, has_failover: true, user: UserOptions::default() };
        for word in backing.own_features() {
            words.insert(('O', word.to_owned(), feature_name(word).to_owned()));
        }
        for word in backing.own_extended() {
            // The probe's image is too small for a real resize limit; any limit above its size tells as much.
            let name = extended_name(&word).to_owned();
            words.insert(('E', if name == "resize" { "resize=100000".to_owned() } else { word }, name));
        }
    }
    words
}

fn accepts(tool: &str, letter: char, word: &str, image: &Path) -> Result<bool, HostError> {
    let option = format!("-{letter}");
    let image = image.to_string_lossy();
    let output = tool::run(tool, "e2fsprogs", ["-n", "-q", "-F", "-j", &option, word, &image])?;
    Ok(output.status.success())
}

/// `1.47.0` of `mke2fs 1.47.0 (5-Feb-2023)`, which it says on standard error.
fn version(tool: &str) -> Result<String, HostError> {
    let output = tool::run(tool, "e2fsprogs", ["-V"])?;
    let text = String::from_utf8_lossy(&output.stderr);
    let word = text.lines().find_map(|line| line.strip_prefix("mke2fs ")?.split(' ').next().map(str::to_owned));
    word.ok_or_else(|| HostError::ToolAnswer {
        tool: tool.to_owned(),
        device: "-V".into(),
        detail: tool::complaint(&output.stderr),
    })
}

/// Remembers the answer for as long as the program file is the same.
#[derive(Debug, Default)]
pub struct Mke2fsCache {
    known: Mutex<Option<(Fingerprint, Mke2fs)>>,
}

impl Mke2fsCache {
    /// What `tool` can do.
    pub fn probe(&self, tool: &str) -> Result<Mke2fs, HostError> {
        let print = tool::fingerprint(tool);
        let mut known = self.known.lock().expect("never poisoned: nothing panics while it is held");
        if let (Some(print), Some((seen, answer))) = (print, known.as_ref())
            && print == *seen
        {
            return Ok(answer.clone());
        }
        let answer = Mke2fs::probe(tool)?;
        *known = print.map(|print| (print, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_mke2fs_tells_its_version_and_what_it_lacks() {
        let mke2fs = Mke2fs::probe("mke2fs").unwrap();
        assert!(mke2fs.version.starts_with("1."), "{mke2fs:?}");
        // Only Lustre's e2fsprogs has dirdata; whatever is installed, nothing that every e2fsprogs since 1.45 knows may
        // be reported as missing.
        for known in
            ["extents", "quota", "project", "mmp", "large_dir", "resize", "packed_meta_blocks", "lazy_itable_init"]
        {
            assert!(!mke2fs.missing.contains(known), "{known} in {:?}", mke2fs.missing);
        }
        let without_patches = !mke2fs.version.contains("wc");
        assert_eq!(mke2fs.missing.contains("dirdata"), without_patches, "{mke2fs:?}");
    }

    #[test]
    fn a_program_that_is_not_there_names_its_package() {
        let error = Mke2fs::probe("/nonexistent/mke2fs").unwrap_err();
        assert!(matches!(error, HostError::ToolMissing { package: "e2fsprogs", .. }), "{error}");
    }
}
