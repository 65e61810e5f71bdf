//! The file of receivers: `[{"name": "alerts", "url": "http://…", "secret_file": "/…", "objects": ["target "]}]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Who is told of what.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receiver {
    /// Names its files and its place in lists: letters, digits, `-`.
    pub name: String,
    /// Where changes are posted to.
    pub url: String,
    /// Holds the key of the signature, in its first line.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Only changes of objects whose name begins with one of these, as in `target scratch-`; all when empty.
    #[serde(default)]
    pub objects: Vec<String>,
    /// After so many seconds of failures a change is given up and put among the dead letters.
    #[serde(default = "one_day")]
    pub give_up_after_s: u64,
}

fn one_day() -> u64 {
    86_400
}

impl Receiver {
    /// Host and port: what may be shown of the URL.
    pub fn shown(&self) -> String {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit('@').next().unwrap_or_default().to_owned()
    }
}

/// Reads and checks the file. Errors name what is wrong.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Receiver>> {
    let text = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    let receivers: Vec<Receiver> =
        serde_json::from_slice(&text).with_context(|| format!("{} is no list of webhooks", file.display()))?;
    let mut names = BTreeSet::new();
    for receiver in &receivers {
        let Receiver { name, url, .. } = receiver;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        ensure!(is_name && name.len() <= 64, "webhook {name:?}: a name has 1 to 64 letters, digits and -");
        ensure!(names.insert(name), "webhook {name} is there twice");
        ensure!(
            url.starts_with("http://") && !receiver.shown().is_empty(),
            "webhook {name}: its URL has to begin with http:// and a host; for https put a TLS proxy before it"
        );
    }
    Ok(receivers)
}
