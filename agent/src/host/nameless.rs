//! Sparse files without a name, for programs to be tried on: nothing of them is left, also where the agent is killed.

use super::HostError;
use std::{fs::File, os::fd::AsRawFd, path::PathBuf};

/// A sparse file that is gone with this.
#[derive(Debug)]
pub(super) struct Image {
    /// Where a program that this agent starts finds it.
    pub(super) path: PathBuf,
    _file: File,
}

/// A file of `size` bytes, all zero, in the directory for temporary files. Errors: there is no room, or it may not be so large.
pub(super) fn image(size: u64) -> Result<Image, HostError> {
    let dir = std::env::temp_dir();
    let file = tempfile::tempfile().map_err(HostError::io("make an image in", &dir))?;
    file.set_len(size).map_err(HostError::io("size an image in", &dir))?;
    // Not /proc/self: that is the program itself, which has none of our files open.
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    Ok(Image { path, _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_program_reads_an_image_that_is_in_no_directory() {
        let image = image(5000).unwrap();
        let link = std::fs::read_link(&image.path).unwrap();
        assert!(link.to_string_lossy().ends_with("(deleted)"), "{}", link.display());
        let counted = Command::new("wc").arg("-c").arg(&image.path).output().unwrap();
        assert!(counted.stdout.starts_with(b"5000 "), "{counted:?}");
        let path = image.path.clone();
        drop(image);
        assert!(File::open(path).is_err());
    }
}
