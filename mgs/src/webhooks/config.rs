//! The file of receivers: `[{"name": "alerts", "url": "http://…", "secret_file": "/…", "objects": ["target "]}]`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use lustre_api::event::EventKind;
use lustre_types::FsName;
use serde::Deserialize;

use crate::history::Filter;
use crate::outgoing;

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
    /// The authority of an https receiver's certificate, in a PEM file; without it, those that the system trusts.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Only changes of objects whose name begins with one of these, as in `target scratch-`; all when empty.
    #[serde(default)]
    pub objects: Vec<String>,
    /// Only changes of objects of this kind.
    #[serde(default)]
    pub kind: Option<EventKind>,
    /// Only changes of objects of this file system.
    #[serde(default)]
    pub fsname: Option<FsName>,
    /// After so many seconds of failures a change is given up and put among the dead letters.
    #[serde(default = "one_day")]
    pub give_up_after_s: u64,
}

fn one_day() -> u64 {
    86_400
}

impl Receiver {
    /// What it is told of.
    pub(super) fn filter(&self) -> Filter {
        Filter { kind: self.kind, objects: self.objects.clone(), fsname: self.fsname.clone(), without_duties: true }
    }

    /// Host and port: what may be shown of the URL.
    pub fn shown(&self) -> String {
        outgoing::host(&self.url).to_owned()
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
        ensure!(outgoing::is_url(url), "webhook {name}: its URL has to begin with http:// or https:// and a host");
    }
    Ok(receivers)
}
