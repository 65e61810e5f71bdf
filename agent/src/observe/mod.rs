//! What is on a device, read from the device and without mounting it.

mod identity;
mod marker;
mod target;
pub mod zfs;

pub use identity::{Identity, IdentityError};
pub use marker::{MARKER_LEN, Marker, UNFINISHED_LABEL, fuzz_marker};
pub use target::formatted_as;

use crate::host::{Device, Host, HostError, Signature, chain, ext4::Superblock};
use lustre_api::device::FormattedAs;
use lustre_wire::mountdata::{Label, Mountdata};
use std::{fmt, fs::File, os::unix::fs::FileExt};

/// The contents of a device.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Nothing at all.
    Blank,
    /// A Lustre target, finished or not.
    Target(Box<FormattedAs>),
    /// A Lustre target that can't be read to the end.
    Unreadable {
        /// Its label.
        label: String,
        /// UUID of its file system.
        uuid: String,
        /// What is wrong.
        why: String,
    },
    /// Something that isn't ours.
    Foreign(Vec<Signature>),
}

/// A device with its contents: every signature, and what they mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Every signature on it; our own marks count as none.
    pub signatures: Vec<Signature>,
    /// What they mean.
    pub content: Content,
}

/// One line, the same for the same contents: a plan carries it and an apply compares it.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blank => f.write_str("blank"),
            Self::Target(target) => {
                let state = match (target.incomplete, target.registered) {
                    (true, _) => "unfinished",
                    (false, true) => "registered",
                    (false, false) => "never registered",
                };
                write!(f, "lustre {} ({state}) uuid={}", target.svname, target.uuid)
            }
            Self::Unreadable { label, uuid, why } => write!(f, "lustre {label} ({why}) uuid={uuid}"),
            Self::Foreign(signatures) => {
                let mut gap = "";
                for signature in named_once(signatures) {
                    write!(f, "{gap}{}", signature.kind)?;
                    if let Some(label) = &signature.label {
                        write!(f, " label={label}")?;
                    }
                    if let Some(uuid) = &signature.uuid {
                        write!(f, " uuid={uuid}")?;
                    }
                    gap = ", ";
                }
                Ok(())
            }
        }
    }
}

/// Formats with several magics (GPT at both ends) are one thing to a person.
fn named_once(signatures: &[Signature]) -> Vec<&Signature> {
    let mut once: Vec<&Signature> = Vec::new();
    for signature in signatures {
        if !once
            .iter()
            .any(|seen| (&seen.kind, &seen.uuid, &seen.label) == (&signature.kind, &signature.uuid, &signature.label))
        {
            once.push(signature);
        }
    }
    once
}

impl Host {
    /// Looks at a device: everything that is on it, and whether it is a Lustre target.
    pub fn observe(&self, device: &Device) -> Result<Observed, HostError> {
        if let Some(dataset) = device.dataset() {
            let properties = self.properties(&dataset)?;
            let content = properties.map_or(Content::Blank, |properties| zfs::content(&dataset, &properties));
            return Ok(Observed { signatures: Vec::new(), content });
        }
        if self.is_blank(device)? {
            return Ok(Observed { signatures: Vec::new(), content: Content::Blank });
        }
        if let Some(marker) = self.marker(device)? {
            // Whatever else is left below it: it is ours, and it is no target.
            let formatted_as = target::from_marker(&marker, device.size_bytes);
            return Ok(Observed { signatures: Vec::new(), content: Content::Target(Box::new(formatted_as)) });
        }
        let signatures = crate::host::signatures::signatures(device)?;
        let content = self.content(device, &signatures)?;
        Ok(Observed { signatures, content })
    }

    fn content(&self, device: &Device, signatures: &[Signature]) -> Result<Content, HostError> {
        if signatures.is_empty() {
            return Ok(Content::Blank);
        }
        // A target is ext4 and nothing else: with a second signature next to it, nobody knows whose the data is.
        let is_ext = |signature: &Signature| signature.kind.starts_with("ext");
        let Some(superblock) = self.superblock(device)?.filter(|_| signatures.iter().all(is_ext)) else {
            return Ok(Content::Foreign(signatures.to_vec()));
        };
        Ok(self.ext4_content(device, &superblock)?.unwrap_or_else(|| Content::Foreign(signatures.to_vec())))
    }

    /// The target, finished or not, in an ext4 file system; none where there is another one in it.
    fn ext4_content(&self, device: &Device, superblock: &Superblock) -> Result<Option<Content>, HostError> {
        let label = superblock.label.parse::<Label>();
        let is_unfinished = superblock.label == UNFINISHED_LABEL;
        let unreadable = |why: String| {
            Ok(Some(Content::Unreadable { label: superblock.label.clone(), uuid: superblock.uuid.to_string(), why }))
        };
        let looks_like_lustre = label.is_ok() || is_unfinished;
        let bytes = match self.mountdata(device) {
            Ok(Some(bytes)) => bytes,
            Ok(None) if is_unfinished => return unreadable("unfinished, without mountdata".to_owned()),
            Ok(None) => return Ok(None),
            Err(HostError::ToolFailed { stderr, .. }) if looks_like_lustre => {
                return unreadable(format!("can't be read: {stderr}"));
            }
            // Some other ext4 that debugfs can't open is simply not ours.
            Err(HostError::ToolFailed { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let file = match Mountdata::decode(&bytes) {
            Ok(file) => file,
            Err(error) => return unreadable(chain(&error)),
        };
        match formatted_as(superblock, &file, is_unfinished) {
            Ok(formatted_as) => Ok(Some(Content::Target(Box::new(formatted_as)))),
            Err(why) => unreadable(why),
        }
    }

    /// What this agent has just made of a device. What [`observe`](Self::observe) found there `before` was erased, so the
    /// signatures whose loss would be worst are looked for once more, and libblkid isn't asked again; after a blank device
    /// nothing is, as its places for signatures were zero.
    pub fn read_back(&self, device: &Device, before: Option<&Content>) -> Result<Content, HostError> {
        if self.marker(device)?.is_some() {
            return Ok(self.observe(device)?.content);
        }
        if before != Some(&Content::Blank) {
            let left = crate::host::signatures::members(device)?;
            if !left.is_empty() {
                return Ok(Content::Foreign(left));
            }
        }
        match self.superblock(device)? {
            Some(superblock) => self.ext4_content(device, &superblock).map(|found| found.unwrap_or(Content::Blank)),
            None => Ok(Content::Blank),
        }
    }

    /// The mark of an unfinished format at the start of a device.
    pub fn marker(&self, device: &Device) -> Result<Option<Marker>, HostError> {
        if device.size_bytes < MARKER_LEN as u64 {
            return Ok(None);
        }
        let file = File::open(&device.path).map_err(HostError::io("open", &device.path))?;
        let mut bytes = [0; MARKER_LEN];
        file.read_exact_at(&mut bytes, 0).map_err(HostError::io("read", &device.path))?;
        Ok(Marker::decode(&bytes))
    }
}
