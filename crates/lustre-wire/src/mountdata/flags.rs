//! `ldd_flags`: what a target is, and what its next mount shall do.

/// Bits of `ldd_flags`. Bits without a name here survive reading and writing.
///
/// [`Flags::VIRGIN`] and [`Flags::WRITECONF`] are ignored by a mount: there the separator in the volume label decides.
/// Source: lustre_disk.h, `LDD_F_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Metadata target.
    pub const MDT: Self = Self(0x0001);
    /// Object storage target.
    pub const OST: Self = Self(0x0002);
    /// Management target; together with [`Flags::MDT`] a combined one.
    pub const MGS: Self = Self(0x0004);
    /// An OST made without `--index`; a mount refuses it.
    pub const NEED_INDEX: Self = Self(0x0010);
    /// Never registered, as mkfs left it.
    pub const VIRGIN: Self = Self(0x0020);
    /// The next mount sends its parameters to the MGS; `mount.lustre` clears it.
    pub const UPDATE: Self = Self(0x0040);
    /// `tunefs --writeconf` was here.
    pub const WRITECONF: Self = Self(0x0100);
    /// Made with `--servicenode`: all NIDs are equal, none is the primary one.
    pub const NO_PRIMNODE: Self = Self(0x1000);
    /// Don't use the local copies of config logs.
    pub const NO_LOCAL_LOGS: Self = Self(0x10000);

    const NAMES: [(Self, &'static str); 9] = [
        (Self::MDT, "MDT"),
        (Self::OST, "OST"),
        (Self::MGS, "MGS"),
        (Self::NEED_INDEX, "need_index"),
        (Self::VIRGIN, "first_time"),
        (Self::UPDATE, "update"),
        (Self::WRITECONF, "writeconf"),
        (Self::NO_PRIMNODE, "no_primnode"),
        (Self::NO_LOCAL_LOGS, "nolocallogs"),
    ];

    /// True if every bit of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits without those of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl core::ops::BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// The names that `tunefs.lustre` prints, then unnamed bits in hex.
impl core::fmt::Display for Flags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut rest = *self;
        let mut gap = "";
        for (bit, name) in Self::NAMES {
            if self.contains(bit) {
                write!(f, "{gap}{name}")?;
                gap = " ";
                rest = rest.without(bit);
            }
        }
        if rest.0 != 0 {
            write!(f, "{gap}{:#x}", rest.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_read_like_tunefs_prints_them_and_unknown_bits_stay_visible() {
        assert_eq!(Flags(0x62).to_string(), "OST first_time update");
        assert_eq!(Flags(0x8000_0162).to_string(), "OST first_time update writeconf 0x80000000");
        assert_eq!(Flags(0).to_string(), "");
    }
}
