//! The mark of an unfinished format on the device: set before the first write of `mke2fs` and after every end that is no good
//! one, taken away when everything else is there.

use super::{Begun, Format, FormatEnd};
use crate::host::{Device, HostError, Signature, chain, signatures};
use crate::observe::{MARKER_LEN, Marker};
use std::{fs::File, os::unix::fs::FileExt};
use uuid::Uuid;

impl Format<'_> {
    /// Says on the device that it is unfinished, and removes what else it said. Durable when it returns; the gigabytes that
    /// a killed `mke2fs` may have left on their way to the medium are not waited for.
    pub(super) fn mark(&self, device: &Device, uuid: Uuid, others: &[Signature]) -> Result<(), HostError> {
        let file = device.open_for_durable_writing().map_err(HostError::io("open", &device.path))?;
        self.write_mark(device, &file, uuid, others)
    }

    /// As [`mark`](Self::mark), before the first `mke2fs` of all. Nobody's writes are on their way, and the device is not kept
    /// open exclusively while the medium takes its time: no program could be started meanwhile, the other formats' either.
    pub(super) fn mark_first(&self, device: &Device, uuid: Uuid, others: &[Signature]) -> Result<(), HostError> {
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        self.write_mark(device, &file, uuid, others)?;
        drop(file);
        self.host.sync(device)
    }

    fn write_mark(&self, device: &Device, file: &File, uuid: Uuid, others: &[Signature]) -> Result<(), HostError> {
        let marker = Marker { svname: self.wanted.svname.clone(), uuid };
        file.write_all_at(&marker.encode(), 0).map_err(HostError::io("write", &device.path))?;
        let behind: Vec<_> = others.iter().filter(|signature| signature.offset >= MARKER_LEN as u64).cloned().collect();
        signatures::erase(&device.path, file, device.size_bytes, &behind)
    }

    /// Takes the mark away. Not durable by itself.
    pub(super) fn unmark(&self, device: &Device) -> Result<(), HostError> {
        let file = device.open_for_writing().map_err(HostError::io("open", &device.path))?;
        file.write_all_at(&[0; MARKER_LEN], 0).map_err(HostError::io("write", &device.path))
    }

    /// [`mark`](Self::mark)s what a format left that came to no good end; what to say of that.
    pub(super) fn leave_marked(&self, device: &Device, uuid: Uuid, others: &[Signature]) -> String {
        match self.mark(device, uuid, others) {
            Ok(()) => "the device is left marked unfinished".to_owned(),
            Err(error) => {
                let path = device.path.display();
                format!(
                    "{path} can't be marked unfinished ({}) and is to be formatted again before any use",
                    chain(&error)
                )
            }
        }
    }

    /// What a host that fails behind the first write to the device means.
    pub(super) fn cut_off(&self, device: &Device, uuid: Uuid, end: FormatEnd) -> FormatEnd {
        let FormatEnd::Host(error) = end else { return end };
        let left = self.leave_marked(device, uuid, &[]);
        FormatEnd::Failed {
            message: format!("the format of {} was cut off: {}; {left}", self.wanted.svname, chain(&error)),
            retryable: true,
        }
    }

    /// The end of a format that is cancelled after it had begun.
    pub(super) fn cancelled(&self, device: &Device, begun: &Begun, others: &[Signature]) -> FormatEnd {
        let path = device.path.display();
        FormatEnd::Cancelled(match self.mark(device, begun.uuid, others) {
            Ok(()) => format!(
                "cancelled; {path} is left marked as an unfinished format of {}, what was on it is lost",
                self.wanted.svname
            ),
            Err(error) => format!(
                "cancelled; {path} can't be marked as an unfinished format of {} ({}) and is to be formatted again before \
                 any use",
                self.wanted.svname,
                chain(&error)
            ),
        })
    }
}
