//! The unix socket: a private directory with a path short enough.

use std::fs::Permissions;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::UnixListener;

/// `sun_path` holds 108 bytes, the last of them NUL.
const MAX_PATH: usize = 107;

/// A listening socket; its directory goes when this is dropped.
pub(super) struct Socket {
    pub(super) listener: UnixListener,
    pub(super) path: PathBuf,
    /// Kept for its Drop: removes the directory.
    pub(super) dir: TempDir,
}

/// Listens in a new directory of mode 0700, in the first of `bases` that works.
///
/// Clusters set TMPDIR to something like `/scratch/users/…/job.123456/tmp`, too long for a socket.
/// Errors: the last one, if none works.
pub(super) fn listen(bases: impl IntoIterator<Item = PathBuf>) -> io::Result<Socket> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "no directory for a socket");
    for base in bases {
        match listen_in(&base) {
            Ok(socket) => return Ok(socket),
            Err(err) => last = io::Error::new(err.kind(), format!("{}: {err}", base.display())),
        }
    }
    Err(last)
}

fn listen_in(base: &Path) -> io::Result<Socket> {
    let dir = tempfile::Builder::new().prefix("plugin").permissions(Permissions::from_mode(0o700)).tempdir_in(base)?;
    let path = dir.path().join("s");
    if path.as_os_str().as_bytes().len() > MAX_PATH {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "path too long for a socket"));
    }
    Ok(Socket { listener: UnixListener::bind(&path)?, path, dir })
}

/// Where to try, best first.
pub(super) fn bases(var: impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let named = ["PLUGIN_UNIX_SOCKET_DIR", "TMPDIR", "XDG_RUNTIME_DIR"].into_iter().filter_map(var);
    named.filter(|dir| !dir.is_empty()).chain(["/tmp".to_owned()]).map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tmpdir_too_long_or_missing_is_passed_over() {
        let tmp = tempfile::tempdir().expect("tmp");
        let long = tmp.path().join("x".repeat(100));
        std::fs::create_dir(&long).expect("dir");
        let socket = listen([long.clone(), tmp.path().join("missing"), tmp.path().to_owned()]).expect("socket");
        assert!(socket.path.starts_with(tmp.path()) && !socket.path.starts_with(&long));
        let dir = socket.path.parent().expect("parent").to_owned();
        assert_eq!(dir.metadata().expect("dir").permissions().mode() & 0o777, 0o700);
        drop(socket);
        assert!(!dir.exists());
        let err = listen([tmp.path().join("missing")]).map(|_| ()).expect_err("nowhere");
        assert!(err.to_string().contains("missing"), "{err}");
    }
}
