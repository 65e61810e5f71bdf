//! Which node this is, and which software is on it.

use super::{Host, devices::names_in, tool};
use lustre_types::LustreVersion;
use std::{fs, path::Path};

/// Node name and kernel release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `uname -n`.
    pub node: String,
    /// `uname -r`.
    pub release: String,
}

impl Kernel {
    /// Of this machine.
    pub fn of_this_node() -> Self {
        let part = |name: &str| {
            let path = Path::new("/proc/sys/kernel").join(name);
            fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        Self { node: part("hostname"), release: part("osrelease") }
    }
}

impl Host {
    /// Whether the kernel can mount Lustre targets: the module is loaded, or is there to be loaded.
    pub fn has_kernel_lustre(&self) -> bool {
        let loaded = fs::read_to_string(self.root.proc.join("filesystems")).unwrap_or_default();
        if loaded
            .lines()
            .any(|line| line.split_whitespace().last() == Some("lustre_tgt") || line.trim_end().ends_with("lustre"))
        {
            return true;
        }
        let release = Kernel::of_this_node().release;
        let modules =
            fs::read_to_string(Path::new("/lib/modules").join(release).join("modules.dep")).unwrap_or_default();
        modules.lines().filter_map(|line| line.split(':').next()).any(|file| file.contains("/lustre.ko"))
    }

    /// Version of Lustre, from the loaded module or else from its tools.
    pub fn lustre_version(&self) -> Option<LustreVersion> {
        let places = [self.root.sys.join("fs/lustre/version"), self.root.proc.join("fs/lustre/version")];
        let from_kernel = places.iter().find_map(|path| parse_version(&fs::read_to_string(path).ok()?));
        from_kernel.or_else(|| {
            let output = tool::run("lctl", "lustre", ["--version"]).ok()?;
            parse_version(&String::from_utf8_lossy(&output.stdout))
        })
    }

    /// Names of network interfaces that are there.
    pub fn interfaces(&self) -> Vec<String> {
        names_in(&self.root.sys.join("class/net")).unwrap_or_default()
    }
}

/// `2.15.5` of `lustre: 2.15.5` or `lctl 2.15.5`.
fn parse_version(text: &str) -> Option<LustreVersion> {
    text.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_among_words() {
        assert_eq!(parse_version("lustre: 2.15.5\nkernel: patchless\n").unwrap().to_string(), "2.15.5");
        assert_eq!(parse_version("lctl 2.17.57").unwrap().to_string(), "2.17.57");
        assert_eq!(parse_version("nothing here"), None);
    }
}
