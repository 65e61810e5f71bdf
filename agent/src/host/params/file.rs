//! The node's own files of tunables: `/etc/lustre/*.params`, a `name=value` per line, `#` before comments. They are applied
//! by the node's start scripts; here they are only read, to say which layer a value comes from.

use lustre_api::node_param::FileParam;
use std::{fs, path::Path};
use tracing::warn;

/// The most of a file that is read, bytes.
const MAX_FILE: u64 = 1 << 20;

/// What the files in a directory set, in the order in which they are applied: by file name, then line. A line that sets
/// nothing is left out.
pub fn files(dir: &Path) -> Vec<FileParam> {
    let mut paths: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "params"))
        .collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let is_small = fs::metadata(&path).is_ok_and(|metadata| metadata.len() <= MAX_FILE);
        match fs::read_to_string(&path) {
            Ok(text) if is_small => found.extend(settings(&path.to_string_lossy(), &text)),
            Ok(_) => warn!(file = %path.display(), "a file of tunables is too long and left out"),
            Err(error) => warn!(file = %path.display(), %error, "a file of tunables can't be read"),
        }
    }
    found
}

fn settings<'a>(file: &'a str, text: &'a str) -> impl Iterator<Item = FileParam> + 'a {
    (1_u32..).zip(text.lines()).filter_map(move |(line, text)| {
        let (name, value) = text.trim().split_once('=')?;
        let (name, value) = (name.trim(), value.trim());
        let is_setting = !name.is_empty() && !name.starts_with('#') && !name.contains(char::is_whitespace);
        is_setting.then(|| FileParam { file: file.into(), line, name: name.replace('/', "."), value: value.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_in_order_and_comments_left_out() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b.params"), "timeout=40\n").unwrap();
        fs::write(dir.path().join("a.params"), "# ours\n\nosc/*/max_dirty_mb = 64\nno setting here\n").unwrap();
        fs::write(dir.path().join("notes.txt"), "timeout=1\n").unwrap();
        let found = files(dir.path());
        let shown: Vec<_> = found.iter().map(|set| format!("{}={} line {}", set.name, set.value, set.line)).collect();
        assert_eq!(shown, ["osc.*.max_dirty_mb=64 line 3", "timeout=40 line 1"]);
        assert!(files(&dir.path().join("nothing")).is_empty());
    }
}
