//! Which keys the store has in etcd, and what is in them. Text, so that `etcdctl get --prefix` shows it to people.
//!
//! | key, below the prefix | value |
//! |---|---|
//! | `cluster` | JSON: the version of this layout |
//! | `head` | the newest revision; every commit compares its `mod_revision` |
//! | `compacted` | everything up to this revision is compacted |
//! | `c/<revision>` | one commit: JSON of [`Record`] |
//! | `v/<key><TAB><revision>` | a key's value since a revision: a line `<create revision> <version> <lease> [b/<id>]`, then the value; `-` where it was deleted |
//! | `b/<id>` | a value that is too large to share a transaction with others |
//! | `l/<lease>` | exists as long as the lease does |
//!
//! Revisions and leases in keys have 16 hex digits, so etcd's order is theirs. Keys of the store have no control characters
//! ([`crate::Txn::check`]), so TAB orders the versions of `a` before those of `a/b`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::EtcdError;
use super::rpc::KeyValue;
use crate::{Entry, LeaseId, Meta, Revision, Value};

/// The layout that this program writes. A newer one is refused.
pub(super) const FORMAT: u64 = 1;

/// Content of `cluster`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Cluster {
    pub(super) format: u64,
}

/// A commit's description; its values are in `v/`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// Tells our own commits apart from others' when an answer was lost.
    pub(super) id: String,
    #[serde(flatten)]
    pub(super) meta: Meta,
    pub(super) keys: Vec<String>,
}

/// A version of a key: what `v/` holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Version {
    Deleted,
    Inline(Entry),
    /// The entry's value is in this blob.
    InBlob(Entry, String),
}

/// The names of keys.
pub(super) struct Layout {
    prefix: String,
}

impl Layout {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned() }
    }
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }
    fn key(&self, rest: impl std::fmt::Display) -> Vec<u8> {
        format!("{}/{rest}", self.prefix).into_bytes()
    }
    /// From which key to before which one everything of the store is.
    pub(super) fn all(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key(""), format!("{}0", self.prefix).into_bytes())
    }
    pub(super) fn cluster(&self) -> Vec<u8> {
        self.key("cluster")
    }
    pub(super) fn head(&self) -> Vec<u8> {
        self.key("head")
    }
    pub(super) fn compacted(&self) -> Vec<u8> {
        self.key("compacted")
    }
    pub(super) fn commit(&self, revision: Revision) -> Vec<u8> {
        self.key(format_args!("c/{revision:016x}"))
    }
    pub(super) fn version(&self, key: &str, revision: Revision) -> Vec<u8> {
        self.key(format_args!("v/{key}\t{revision:016x}"))
    }
    /// Where the versions of keys begin that begin with `prefix`.
    pub(super) fn versions_of(&self, prefix: &str) -> Vec<u8> {
        self.key(format_args!("v/{prefix}"))
    }
    /// Behind the last version of any key.
    pub(super) fn versions_end(&self) -> Vec<u8> {
        self.key("v0")
    }
    /// Behind the last version of one key.
    pub(super) fn versions_of_key_end(&self, key: &str) -> Vec<u8> {
        self.key(format_args!("v/{key}\n"))
    }
    pub(super) fn blob(&self, id: &str) -> Vec<u8> {
        self.key(format_args!("b/{id}"))
    }
    pub(super) fn blobs(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key("b/"), self.key("b0"))
    }
    pub(super) fn lease(&self, lease: LeaseId) -> Vec<u8> {
        self.key(format_args!("l/{lease:016x}"))
    }
    pub(super) fn leases(&self) -> (Vec<u8>, Vec<u8>) {
        (self.key("l/"), self.key("l0"))
    }

    /// What a key below the prefix is.
    pub(super) fn parse<'a>(&self, key: &'a [u8]) -> Name<'a> {
        let parse = || {
            let rest = std::str::from_utf8(key).ok()?.strip_prefix(&self.prefix)?.strip_prefix('/')?;
            let hex = |text: &str| u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16);
            Some(match rest {
                "head" => Name::Head,
                "compacted" => Name::Compacted,
                _ => match rest.split_once('/')? {
                    ("c", revision) => Name::Commit(hex(revision)?),
                    ("l", lease) => Name::Lease(hex(lease)?),
                    ("b", id) => Name::Blob(id),
                    ("v", version) => {
                        let (key, revision) = version.rsplit_once('\t')?;
                        Name::Version(key, hex(revision)?)
                    }
                    _ => return None,
                },
            })
        };
        parse().unwrap_or(Name::Other)
    }
}

/// What a key is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Head,
    Compacted,
    Commit(Revision),
    Version(&'a str, Revision),
    Blob(&'a str),
    Lease(LeaseId),
    Other,
}

/// What is wrong with a pair.
pub(super) fn damaged(kv: &KeyValue, reason: impl std::fmt::Display) -> EtcdError {
    EtcdError::Damaged { key: String::from_utf8_lossy(&kv.key).into_owned(), reason: reason.to_string() }
}

/// The number in `head` and `compacted`.
pub(super) fn number(kv: &KeyValue) -> Result<u64, EtcdError> {
    let text = std::str::from_utf8(&kv.value).map_err(|err| damaged(kv, err))?;
    text.parse().map_err(|err| damaged(kv, err))
}

pub(super) fn decode_record(kv: &KeyValue) -> Result<Record, EtcdError> {
    serde_json::from_slice(&kv.value).map_err(|err| damaged(kv, err))
}

pub(super) fn encode_record(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("strings and numbers always serialize")
}

/// The value of a `v/` key; `blob` names where the entry's own value is, if not here.
pub(super) fn encode_version(entry: Option<&Entry>, blob: Option<&str>) -> Vec<u8> {
    let Some(entry) = entry else { return b"-\n".to_vec() };
    let mut line = format!("{} {} {:x}", entry.create_revision, entry.version, entry.lease.unwrap_or(0));
    if let Some(blob) = blob {
        line.push_str(" b/");
        line.push_str(blob);
    }
    line.push('\n');
    let mut bytes = line.into_bytes();
    if blob.is_none() {
        bytes.extend_from_slice(&entry.value);
    }
    bytes
}

/// Reads a `v/` key of `key` at `revision`.
pub(super) fn decode_version(kv: &KeyValue, key: &str, revision: Revision) -> Result<Version, EtcdError> {
    let end = kv.value.iter().position(|byte| *byte == b'\n').ok_or_else(|| damaged(kv, "no first line"))?;
    let line = std::str::from_utf8(&kv.value[..end]).map_err(|err| damaged(kv, err))?;
    if line == "-" {
        return Ok(Version::Deleted);
    }
    let mut words = line.split(' ');
    let mut word = |radix| words.next().and_then(|word| u64::from_str_radix(word, radix).ok());
    let (Some(create_revision), Some(version), Some(lease)) = (word(10), word(10), word(16)) else {
        return Err(damaged(kv, "its first line is not three numbers"));
    };
    let value: Value = Arc::from(&kv.value[end + 1..]);
    let lease = (lease != 0).then_some(lease);
    let entry = Entry { key: key.to_owned(), value, create_revision, mod_revision: revision, version, lease };
    match words.next() {
        None => Ok(Version::Inline(entry)),
        Some(blob) => match blob.strip_prefix("b/") {
            Some(id) => Ok(Version::InBlob(entry, id.to_owned())),
            None => Err(damaged(kv, "its first line has a fourth word")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8]) -> Entry {
        Entry {
            key: "a/b".into(),
            value: Arc::from(value),
            create_revision: 3,
            mod_revision: 9,
            version: 2,
            lease: Some(0xfe),
        }
    }

    fn kv(value: Vec<u8>) -> KeyValue {
        KeyValue { key: b"/p/v/a/b".to_vec(), value, ..KeyValue::default() }
    }

    #[test]
    fn versions_read_as_they_were_written() {
        for value in [&b""[..], b"-\n", b"line\nline", &[0, 255, 10]] {
            let read = decode_version(&kv(encode_version(Some(&entry(value)), None)), "a/b", 9).unwrap();
            assert_eq!(read, Version::Inline(entry(value)));
        }
        let read = decode_version(&kv(encode_version(Some(&entry(b"")), Some("x-1"))), "a/b", 9).unwrap();
        assert_eq!(read, Version::InBlob(entry(b""), "x-1".into()));
        assert_eq!(decode_version(&kv(encode_version(None, None)), "a/b", 9).unwrap(), Version::Deleted);
    }

    #[test]
    fn what_nobody_wrote_is_refused_with_its_key() {
        for value in ["", "-", "1 2\n", "1 2 3 4\n", "x 2 3\n", "1 2 zz\n"] {
            let err = decode_version(&kv(value.into()), "a/b", 9).unwrap_err();
            assert!(err.to_string().contains("/p/v/a/b"), "{value:?}: {err}");
        }
    }

    #[test]
    fn keys_parse_to_what_they_are() {
        let layout = Layout::new("/lmgs/a");
        assert_eq!(layout.parse(&layout.version("a/b", 7)), Name::Version("a/b", 7));
        assert_eq!(layout.parse(&layout.commit(7)), Name::Commit(7));
        assert_eq!(layout.parse(&layout.lease(7)), Name::Lease(7));
        assert_eq!(layout.parse(&layout.head()), Name::Head);
        for other in ["/lmgs/ab/head", "/lmgs/a/c/7", "/lmgs/a/x", "/lmgs/a/v/a", ""] {
            assert_eq!(layout.parse(other.as_bytes()), Name::Other, "{other}");
        }
        assert!(layout.version("a", u64::MAX) < layout.version("a/b", 0));
        assert!(layout.version("a", u64::MAX) < layout.versions_of_key_end("a"));
        assert!(layout.versions_of_key_end("a") < layout.version("a ", 0));
    }
}
