//! The kernel proxy as userspace sees it: frames, and the device that carries them.
//!
//! The kernel module (`kmod/`) passes LNet messages through to the MGS daemon, one [`Frame`] per `read()` and `write()`
//! of `/dev/lustre_mgs_proxy`. Layout and meaning: `kmod/uapi/lustre_mgs_proxy.h`; a test compares both sides.

mod device;
mod frame;

pub use device::{DEVICE, Device, DeviceError, Limits, PEER_DEVICE, Role};
pub use frame::{Command, Event, Flags, Frame, FrameError, MAX_PAYLOAD, Process, VERSION, fuzz_proxy_frame, portal};
