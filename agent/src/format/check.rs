//! The checks right before the first write.

use super::{Begun, Format, FormatEnd, guard};
use crate::host::{Device, lock::DeviceLock, signatures};
use crate::observe::{Content, Observed, UNFINISHED_LABEL};
use lustre_api::device::{Refusal, RefusalCode};

impl Format<'_> {
    /// Everything that must be true right before the first write, in this order: use, size, contents, other nodes,
    /// and that it is still what the plan saw.
    pub(super) fn check(
        &self,
        device: &Device,
        lock: &DeviceLock,
        observed: &Observed,
        begun: Option<&Begun>,
    ) -> Result<(), FormatEnd> {
        let found = observed.content.to_string();
        let mut refusals = guard::against(self.host, device, observed, self.wanted, Some(lock))?;
        refusals.retain(|refusal| !(self.op.allow_reformat && refusal.code.is_overridable()));
        if let Some(begun) = begun {
            if !is_left_by_us(&observed.content) && found != begun.formatted_over {
                // Somebody made use of the device while nobody worked on it. No flag was given for that.
                return Err(FormatEnd::Changed(format!(
                    "{} holds {found} now, which came after the format had begun",
                    device.path.display()
                )));
            }
            if is_left_by_us(&observed.content) {
                refusals.retain(|refusal| !refusal.code.is_overridable());
            }
        }
        if !refusals.is_empty() {
            return Err(FormatEnd::Refused(refusals));
        }
        if let Some(expected) = self.op.expect_size_bytes.filter(|expected| *expected != device.size_bytes) {
            return Err(FormatEnd::Changed(format!(
                "{} has {} bytes now, the plan saw {expected}",
                device.path.display(),
                device.size_bytes
            )));
        }
        let is_ours = begun.is_some() || matches!(&observed.content, Content::Target(target) if target.incomplete);
        if let Some(expected) = self.op.expect_content.as_ref().filter(|expected| **expected != found && !is_ours) {
            return Err(FormatEnd::Changed(format!(
                "{} holds {found} now, the plan saw {expected}",
                device.path.display()
            )));
        }
        // Where there is nothing, there is no superblock either.
        let superblock = if observed.content == Content::Blank { None } else { self.host.superblock(device)? };
        if superblock.is_some_and(|superblock| superblock.has_mmp) && self.host.is_mounted_elsewhere(device)? {
            return Err(FormatEnd::Refused(vec![Refusal {
                code: RefusalCode::Mounted,
                message: format!(
                    "{} is mounted on another node, says its multi-mount protection",
                    device.path.display()
                ),
            }]));
        }
        Ok(())
    }
}

/// What a killed `mke2fs` of ours may leave: nothing, our mark, or bytes that nobody recognises.
fn is_left_by_us(content: &Content) -> bool {
    match content {
        Content::Blank => true,
        Content::Target(target) => target.incomplete,
        Content::Unreadable { label, .. } => label == UNFINISHED_LABEL,
        Content::Foreign(found) => found.iter().all(|signature| signature.kind == signatures::UNKNOWN_DATA),
    }
}
