//! Starts a program in a session of its own, in one step: who has its id can signal its whole group at once.
//!
//! With the program `setsid` in between there was a moment in which the process existed and its group did not: a signal to
//! the group of one that was halted right then reached nobody, and a cancel waited for ever.

use nix::{
    errno::Errno,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp},
    sys::signal::{SigSet, Signal},
    unistd::Pid,
};
use std::{
    env,
    ffi::{CString, OsString},
    fs::File,
    os::{fd::AsRawFd, unix::ffi::OsStrExt},
};

/// Where programs are found if the environment doesn't say.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts `command`, found in the `PATH`, with these files as standard input, output and errors. Its environment is `PATH`,
/// `LC_ALL=C` and `variables`, each as in `NAME=value`.
///
/// Errors: it can't be run.
pub(super) fn spawn(command: &[OsString], variables: &[String], standard: [&File; 3]) -> nix::Result<Pid> {
    let text = |word: &[u8]| CString::new(word).map_err(|_| Errno::EINVAL);
    let words = command.iter().map(|word| text(word.as_bytes())).collect::<nix::Result<Vec<_>>>()?;
    let program = words.first().ok_or(Errno::EINVAL)?;
    let mut path = OsString::from("PATH=");
    path.push(env::var_os("PATH").unwrap_or_else(|| PATH.into()));
    let mut environment = vec![text(path.as_bytes())?, text(b"LC_ALL=C")?];
    for variable in variables {
        environment.push(text(variable.as_bytes())?);
    }

    let mut files = PosixSpawnFileActions::init()?;
    for (file, number) in standard.into_iter().zip(0..) {
        files.add_dup2(file.as_raw_fd(), number)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    // nix has no name for this flag yet; glibc and musl do it between fork and exec, as the others.
    let session = PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID.into());
    attributes.set_flags(session | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
    // Rust programs ignore it; what they start shall not.
    let mut pipe = SigSet::empty();
    pipe.add(Signal::SIGPIPE);
    attributes.set_sigdefault(&pipe)?;
    attributes.set_sigmask(&SigSet::empty())?;
    posix_spawnp(program, &files, &attributes, &words, &environment)
}
