//! A lock's description. Source: `struct ldlm_lock_desc`; ptlrpc specification, section 9.1.

use crate::bytes::{Reader, WireError, Writer};
use crate::fixed::Fixed;
use crate::ldlm::ResourceId;

/// Type of a lock without policy: the only one of an MGS.
pub const PLAIN: u32 = 10;

/// Bits of `lock_flags`.
pub mod lock_flag {
    /// Granted, but blocked.
    pub const BLOCK_GRANTED: u64 = 0x2;
    /// Not granted yet: a completion callback follows.
    pub const BLOCK_WAIT: u64 = 0x8;
    /// Somebody waits for it already.
    pub const AST_SENT: u64 = 0x20;
}

/// Mode of a lock. Unknown ones survive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LockMode(pub u32);

impl LockMode {
    /// None: not granted.
    pub const NONE: Self = Self(0);
    /// Exclusive: what a server takes to have all others given back.
    pub const EX: Self = Self(1);
    /// Concurrent read: what readers of config logs take. Conflicts with EX only.
    pub const CR: Self = Self(16);
}

/// A lock: what it is on and how. 80 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockDesc {
    /// Type, see [`PLAIN`].
    pub kind: u32,
    /// What it is on.
    pub resource: ResourceId,
    /// Mode asked for.
    pub requested: LockMode,
    /// Mode granted.
    pub granted: LockMode,
    /// Policy; zeros for plain locks.
    pub policy: [u8; 32],
}

impl LockDesc {
    /// A plain lock.
    pub fn plain(resource: ResourceId, requested: LockMode, granted: LockMode) -> Self {
        Self { kind: PLAIN, resource, requested, granted, policy: [0; 32] }
    }
}

impl Fixed for LockDesc {
    const WHAT: &'static str = "ldlm_lock_desc";
    const LEN: usize = 80;

    fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let kind = r.u32("lr_type")?;
        r.u32("lr_pad")?;
        Ok(Self {
            kind,
            resource: ResourceId::read(r)?,
            requested: LockMode(r.u32("l_req_mode")?),
            granted: LockMode(r.u32("l_granted_mode")?),
            policy: r.array("l_policy_data")?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.put_u32(self.kind);
        out.put_u32(0);
        self.resource.write(out);
        out.put_u32(self.requested.0);
        out.put_u32(self.granted.0);
        out.extend_from_slice(&self.policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixed::testing::field_is_at;

    #[test]
    fn layout_matches_the_specification() {
        let at = field_is_at::<LockDesc>;
        at("lr_type", 0, 4, |d| d.kind = !0);
        at("lr_name", 8, 32, |d| d.resource = ResourceId([!0; 4]));
        at("l_req_mode", 40, 4, |d| d.requested = LockMode(!0));
        at("l_granted_mode", 44, 4, |d| d.granted = LockMode(!0));
        at("l_policy_data", 48, 32, |d| d.policy = [!0; 32]);
    }
}
