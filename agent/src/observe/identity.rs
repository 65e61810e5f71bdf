//! Who a finished target says it is: what its start reads, and what is written when it has started.

use super::zfs::{self, CHANGING, PREFIX, SVNAME};
use crate::host::{Device, Host, HostError, chain};
use lustre_wire::mountdata::{Flags, Label, LabelError, LabelState, Mountdata};
use thiserror::Error;

/// Label and `CONFIGS/mountdata` of a target, or what a ZFS dataset has in their place.
#[derive(Debug, Clone, PartialEq)]
pub struct Identity {
    /// Its label.
    pub label: Label,
    /// Its file.
    pub file: Mountdata,
}

/// Why a device doesn't say who it is.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The device can't be read, or written.
    #[error(transparent)]
    Host(#[from] HostError),
    /// What it says is no target.
    #[error("{device}: {why}")]
    Unreadable {
        /// The device.
        device: String,
        /// What is wrong.
        why: String,
    },
    /// On ZFS: properties that belong together are not all set.
    #[error(
        "a change of {device} is half done; ask for it again, as by mgsctl fs writeconf, or say that it is as it should be: \
         zfs inherit {CHANGING} {device}"
    )]
    HalfChanged {
        /// The dataset.
        device: String,
    },
}

impl Host {
    /// Who the target on a device says it is. Errors: [`IdentityError`].
    pub fn identity(&self, device: &Device) -> Result<Identity, IdentityError> {
        let place = device.path.display().to_string();
        let wrong = |why: String| IdentityError::Unreadable { device: place.clone(), why };
        let (label, file) = match device.dataset() {
            Some(dataset) => {
                let properties = self.properties(&dataset)?.unwrap_or_default();
                if properties.own.contains_key(CHANGING) {
                    return Err(IdentityError::HalfChanged { device: place });
                }
                let file = zfs::mountdata(&properties).map_err(wrong)?;
                (file.svname.to_string_lossy(), file)
            }
            None => {
                let label = self.superblock(device)?.map(|superblock| superblock.label).unwrap_or_default();
                let bytes = self.mountdata(device)?.unwrap_or_default();
                (label, Mountdata::decode(&bytes).map_err(|error| wrong(chain(&error)))?)
            }
        };
        let label = label.parse().map_err(|error: LabelError| wrong(chain(&error)))?;
        Ok(Identity { label, file })
    }

    /// Sets the label to registered and takes UPDATE out of the mountdata, as `mount.lustre` does when a target has started.
    /// Durable on return.
    pub fn mark_registered(&self, device: &Device, identity: &Identity) -> Result<(), HostError> {
        let flags = identity.file.flags;
        let is_told = flags.contains(Flags::UPDATE);
        let is_new = identity.label.state() != Some(LabelState::Registered);
        let label = Label::with_state(identity.label.svname(), LabelState::Registered).to_string();
        if let Some(dataset) = device.dataset() {
            if is_told {
                let flags = flags.without(Flags::UPDATE).0.to_string();
                self.set_property(&dataset, &format!("{PREFIX}flags"), &flags)?;
            }
            return if is_new { self.set_property(&dataset, SVNAME, &label) } else { Ok(()) };
        }
        if is_told {
            self.set_mountdata_flags(device, flags.without(Flags::UPDATE))?;
        }
        if is_new {
            self.set_label_at_rest(device, None, &label)?;
        }
        self.sync(device)
    }
}
