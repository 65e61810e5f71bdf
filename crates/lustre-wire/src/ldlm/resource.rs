//! What a lock is on. Source: `struct ldlm_res_id`; ptlrpc specification, section 9.2.

use std::fmt;

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;

/// Name of a resource: four numbers. The first holds up to eight characters of a file system's name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId(pub [u64; 4]);

/// What a config lock guards: the second number of its resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceKind {
    /// The config and sptlrpc logs of a file system.
    Config,
    /// Its NID table.
    Recover,
    /// The params log of all file systems.
    Params,
    /// The nodemaps.
    Nodemap,
    /// A write barrier.
    Barrier,
}

/// A name that is too long for a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is longer than the 8 characters of a lock resource's name")]
pub struct ResourceIdError(pub String);

impl ResourceKind {
    const ALL: [Self; 5] = [Self::Config, Self::Recover, Self::Params, Self::Nodemap, Self::Barrier];

    /// Its number.
    pub fn number(self) -> u64 {
        match self {
            Self::Config => 0,
            Self::Recover => 2,
            Self::Params => 3,
            Self::Nodemap => 4,
            Self::Barrier => 5,
        }
    }
}

impl ResourceId {
    /// The resource of a log owner: a file system's name, `params` or `nodemap`.
    pub fn new(owner: &str, kind: ResourceKind) -> Result<Self, ResourceIdError> {
        if owner.len() > 8 {
            return Err(ResourceIdError(owner.chars().take(40).collect()));
        }
        let mut name = [0; 8];
        name[..owner.len()].copy_from_slice(owner.as_bytes());
        Ok(Self([u64::from_le_bytes(name), kind.number(), 0, 0]))
    }

    /// The resource that guards a log: its owner is what precedes the last dash, or all of it.
    pub fn of_log(log: &str, kind: ResourceKind) -> Result<Self, ResourceIdError> {
        Self::new(log.rsplit_once('-').map_or(log, |(owner, _)| owner), kind)
    }

    /// The owner's name; `None` when the bytes are no text.
    pub fn owner(&self) -> Option<String> {
        let bytes = self.0[0].to_le_bytes();
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let padding_is_zero = bytes[end..].iter().all(|byte| *byte == 0);
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        (padding_is_zero && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()))
            .then(|| text.to_owned())
    }

    /// What it guards; `None` for what this code doesn't know.
    pub fn kind(&self) -> Option<ResourceKind> {
        let known = ResourceKind::ALL.into_iter().find(|kind| kind.number() == self.0[1]);
        known.filter(|_| self.0[2] == 0 && self.0[3] == 0)
    }
}

impl Fixed for ResourceId {
    const WHAT: &'static str = "ldlm_res_id";
    const LEN: usize = 32;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self([r.u64("name[0]")?, r.u64("name[1]")?, r.u64("name[2]")?, r.u64("name[3]")?]))
    }

    fn write(&self, out: &mut Vec<u8>) {
        for number in self.0 {
            out.put_u64(number);
        }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.owner(), self.kind()) {
            (Some(owner), Some(kind)) => write!(f, "{owner}:{}", format!("{kind:?}").to_lowercase()),
            _ => write!(f, "{:#x}:{:#x}:{:#x}:{:#x}", self.0[0], self.0[1], self.0[2], self.0[3]),
        }
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stands_in_the_first_eight_bytes() {
        let id = ResourceId::of_log("gold-OST0001", ResourceKind::Recover).unwrap();
        assert_eq!(id, ResourceId([0x646C_6F67, 2, 0, 0]));
        assert_eq!((id.owner().unwrap().as_str(), id.kind()), ("gold", Some(ResourceKind::Recover)));
        assert_eq!(id.to_string(), "gold:recover");
        let params = ResourceId::of_log("params", ResourceKind::Params).unwrap();
        assert_eq!(params.owner().unwrap(), "params");
        assert!(ResourceId::of_log("scratch12-client", ResourceKind::Config).is_err());
    }

    #[test]
    fn foreign_resources_have_no_owner_and_no_kind() {
        assert_eq!(ResourceId([0xFF, 1, 0, 0]).owner(), None);
        assert_eq!(ResourceId([0x61_0061, 0, 0, 0]).owner(), None);
        assert_eq!(ResourceId([0x61, 1, 0, 0]).kind(), None);
        assert_eq!(ResourceId([0x61, 0, 7, 0]).kind(), None);
        assert_eq!(ResourceId([0xFF, 1, 0, 0]).to_string(), "0xff:0x1:0x0:0x0");
    }
}
