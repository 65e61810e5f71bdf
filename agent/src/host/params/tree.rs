//! Finding names in a tree of files.

use std::{
    fs::{self, DirEntry},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// The most tunables that a question may find: a busy server has some ten thousands, most of them statistics of clients.
pub const MAX_FOUND: usize = 200_000;

/// A file or directory of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name, with dots.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Whether others are below it.
    pub is_dir: bool,
    /// Whether it can be written.
    pub is_writable: bool,
}

/// Adds to `found` what `pattern` stands for in the tree at `root`. A tree that isn't there has nothing.
pub(super) fn find(root: &Path, pattern: &str, recursive: bool, found: &mut Vec<Found>) {
    let pattern = pattern.replace('/', ".");
    let parts: Vec<&str> = pattern.split('.').collect();
    // Paths are made of names that are in the tree, never of the question: it can't lead out of it.
    if parts.iter().any(|part| part.is_empty()) {
        return;
    }
    descend(root, "", &parts, recursive, found);
}

fn descend(dir: &Path, name: &str, parts: &[&str], recursive: bool, found: &mut Vec<Found>) {
    for entry in entries(dir) {
        if found.len() >= MAX_FOUND {
            return;
        }
        let own = entry.file_name().to_string_lossy().into_owned();
        let name = if name.is_empty() { own.clone() } else { format!("{name}.{own}") };
        for taken in parts_taken(&own, parts) {
            match &parts[taken..] {
                [] => add(&entry, &name, recursive, found),
                rest if entry.path().is_dir() => descend(&entry.path(), &name, rest, recursive, found),
                _ => {}
            }
        }
    }
}

/// How many parts of a pattern a name can be: one, or as many as it has itself where it has dots.
fn parts_taken(own: &str, parts: &[&str]) -> Vec<usize> {
    let mut taken = Vec::new();
    if glob(parts[0], own) {
        taken.push(1);
    }
    let dots = own.matches('.').count();
    for count in 2..=parts.len().min(dots + 1) {
        if glob(&parts[..count].join("."), own) {
            taken.push(count);
        }
    }
    taken
}

fn add(entry: &DirEntry, name: &str, recursive: bool, found: &mut Vec<Found>) {
    let path = entry.path();
    // Devices under an old name are links to those under the new one.
    let Ok(metadata) = fs::metadata(&path) else { return };
    let is_writable = metadata.is_file() && metadata.permissions().mode() & 0o222 != 0;
    found.push(Found { name: name.to_owned(), path: path.clone(), is_dir: metadata.is_dir(), is_writable });
    // Links are not followed downwards, so a tree ends somewhere.
    let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
    if recursive && metadata.is_dir() && !is_link {
        for entry in entries(&path) {
            if found.len() < MAX_FOUND {
                let own = entry.file_name().to_string_lossy().into_owned();
                add(&entry, &format!("{name}.{own}"), true, found);
            }
        }
    }
}

fn entries(dir: &Path) -> Vec<DirEntry> {
    let mut entries: Vec<DirEntry> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(DirEntry::file_name);
    entries
}

/// Whether `text` is one that `pattern` stands for: `*` anything, `?` one letter.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(letter) if *letter == '?' || *letter == text[t] => (p, t) = (p + 1, t + 1),
            // Go back: the last star stands for one letter more.
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text) in [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*b*", "abc"), ("gold-*", "gold-OST0001")]
        {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "ab"), ("a?c", "ac"), ("ab*ba", "aba"), ("", "a")] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_tree_that_is_a_loop_is_listed_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("osc")).unwrap();
        fs::write(dir.path().join("osc/active"), "1").unwrap();
        std::os::unix::fs::symlink(dir.path(), dir.path().join("osc/self")).unwrap();
        let mut found = Vec::new();
        find(dir.path(), "*", true, &mut found);
        assert_eq!(
            found.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(),
            ["osc", "osc.active", "osc.self"]
        );
    }
}
