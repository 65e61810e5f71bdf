//! The contract of an Ansible module that is a program: JSON in by a file or standard input, one line of JSON out.
//!
//! In: `lustre-modules ARGS_FILE`, as core calls a binary module, or `lustre-modules -` with the same JSON on standard
//! input, as our action plugin does. Which module it is says `_ansible_module_name`, or else the program's own name.
//!
//! `lustre-modules --async ...` answers at once and leaves the call to a process behind ([`background`]).
//!
//! Out: one line, the last thing written to standard output. Core ignores the exit code as long as that line is JSON, so
//! `failed` decides; the code is 1 on failure for people who call the program by hand.

pub(crate) mod background;
mod invocation;
mod outcome;
mod panic;
mod scrub;

pub use invocation::{Internals, Invocation, InvocationError};
pub(crate) use outcome::line;
pub use outcome::{Failure, Outcome};
pub use panic::report_panics_as_json;
pub use scrub::{Secrets, scrub};
