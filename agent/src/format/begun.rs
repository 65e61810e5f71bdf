//! How far a format has come, as it is journaled, and whether the device is still the one that it was begun on.

use super::FormatEnd;
use crate::host::Device;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is journaled before the first write to the device, and what a restarted agent goes on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begun {
    /// UUID of the file system, chosen here: by it the process and its result are recognised.
    pub uuid: Uuid,
    /// The device by what doesn't change when it gets another name: size, serial number, WWN.
    pub identity: String,
    /// What was on it.
    pub formatted_over: String,
    /// Features that it is made without.
    pub missing_features: Vec<String>,
    /// Program and arguments. The process is found by the UUID in them.
    pub command: Vec<String>,
    /// How often `mke2fs` was started for it.
    pub attempts: u32,
}

pub(super) fn identity(device: &Device) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("size={} wwn={} serial={}", device.size_bytes, text(&device.wwn), text(&device.serial))
}

pub(super) fn check_identity(device: &Device, begun: &Begun) -> Result<(), FormatEnd> {
    let now = identity(device);
    if now == begun.identity {
        return Ok(());
    }
    Err(FormatEnd::Changed(format!(
        "{} is another device than the one whose format had begun: now {now}, then {}",
        device.path.display(),
        begun.identity
    )))
}
