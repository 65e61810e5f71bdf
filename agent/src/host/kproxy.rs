//! The kernel proxy's module: what is loaded, what is installed, who uses it; loading, exchanging and unloading it.
//!
//! `/sys/module` says what is loaded, `modinfo` what would be, `modprobe` loads and unloads. Building the module for a kernel
//! is DKMS's business: here it is only asked how that went.

use super::{Host, HostError, tool};
use lustre_api::proxy::{MODULE, PROTOCOL, ProxyModule, ProxyState, ProxyUse};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use thiserror::Error;

/// Modules of Lustre servers: each takes portals that an MGS needs, a kernel MGS that of requests, all others that of lock
/// cancels. As in the MGS daemon, which refuses to start beside them.
const SERVERS: [&str; 6] = ["mgs", "mdt", "mdd", "ost", "ofd", "osp"];
/// How long a daemon may take to let the device go.
const LETTING_GO: Duration = Duration::from_secs(10);
/// The package that has the module.
const PACKAGE: &str = "lustre-mgs-proxy";
/// What is read of a file in `/sys` at most.
const LINE_MAX: usize = 4096;

/// Why the proxy can't be loaded or unloaded.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// Servers own the portals.
    #[error(
        "the kernel of this node has Lustre's server modules loaded ({0}), which own the portals of an MGS; run the MGS on a node that \
         is no Lustre server, or unload them"
    )]
    Servers(String),
    /// It isn't installed.
    #[error("the module {MODULE} is not installed for the kernel that runs ({kernel}); {dkms}")]
    NotInstalled {
        /// `uname -r`.
        kernel: String,
        /// What DKMS says, and what to do.
        dkms: String,
    },
    /// What is installed is of another release.
    #[error(
        "the module {MODULE} that is installed speaks version {0} of its protocol, this release version {PROTOCOL}; install module and \
         daemon of one release"
    )]
    Protocol(u32),
    /// Somebody has the device open.
    #[error("{} has the device open, and nodes reach it through the module; stop it first", .0.join(", "))]
    InUse(Vec<String>),
    /// The module was told to go, and somebody holds on to it.
    #[error(
        "the module {MODULE} could not be exchanged: {} did not let it go within {} s; restart that daemon and try again",
        .0.join(", "), LETTING_GO.as_secs()
    )]
    Held(Vec<String>),
    /// The kernel has something else now than what was asked for.
    #[error("the module {MODULE} was {0}, and the kernel does not show it")]
    NotShown(&'static str),
    /// `modprobe` said no.
    #[error("modprobe {what}{MODULE} ended with {status}: {stderr}")]
    Modprobe {
        /// `-r `, or nothing.
        what: &'static str,
        /// Exit status in words.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// Anything else.
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Host {
    /// What the node has of the proxy. What can't be read is not there.
    pub fn proxy(&self) -> ProxyState {
        let in_kernel = |name: &&str| self.root.sys.join("module").join(name).join("initstate").exists();
        ProxyState {
            loaded: self.loaded_proxy(),
            transport: self.proxy_file("parameters/transport"),
            installed: self.installed_proxy(),
            at_boot: self.proxy_at_boot().exists(),
            servers: SERVERS.into_iter().filter(in_kernel).map(str::to_owned).collect(),
        }
    }

    /// What the proxy does, where it is loaded.
    pub fn proxy_use(&self) -> Option<ProxyUse> {
        self.loaded_proxy()?;
        let stats =
            fs::read_to_string(self.root.sys.join("kernel/debug").join(MODULE).join("stats")).unwrap_or_default();
        Some(ProxyUse {
            users: self.proxy_users(),
            is_retired: self.proxy_file("parameters/retired").as_deref() == Some("Y"),
            dkms: self.proxy_dkms(),
            statistics: statistics(&stats),
        })
    }

    /// Loads the build that is installed, now and at boot. Gives what was done; nothing where all was so already.
    pub fn load_proxy(&self) -> Result<Option<&'static str>, ProxyError> {
        let before = self.proxy();
        if !before.servers.is_empty() {
            return Err(ProxyError::Servers(before.servers.join(", ")));
        }
        if before.is_current() {
            return Ok(None);
        }
        let Some(installed) = before.installed.clone() else {
            let (kernel, dkms) = (super::versions::Kernel::of_this_node().release, self.proxy_dkms());
            let said = if dkms.is_empty() {
                "DKMS does not know it".to_owned()
            } else {
                format!("DKMS says: {}", dkms.join("; "))
            };
            let dkms = format!("{said}; install {PACKAGE} with DKMS for it");
            return Err(ProxyError::NotInstalled { kernel, dkms });
        };
        if installed.protocol != PROTOCOL {
            return Err(ProxyError::Protocol(installed.protocol));
        }
        let done = match (&before.loaded, before.is_outdated()) {
            (Some(_), true) => {
                self.retire_proxy()?;
                self.modprobe("-r ")?;
                self.modprobe("")?;
                "exchanged for the build that is installed"
            }
            (Some(_), false) => "set to be loaded at boot",
            (None, _) => {
                self.modprobe("")?;
                "loaded"
            }
        };
        let path = self.proxy_at_boot();
        fs::create_dir_all(path.parent().expect("a file in a directory"))
            .and_then(|()| {
                fs::write(&path, format!("# Written by lustre-agent: the kernel proxy of the MGS.\n{MODULE}\n"))
            })
            .map_err(HostError::io("write", &path))?;
        // Loaded at boot, and of the build that is installed: what a next plan will look for.
        if !self.proxy().is_current() {
            return Err(ProxyError::NotShown("loaded"));
        }
        Ok(Some(done))
    }

    /// Unloads it, and has it not loaded at boot. Gives whether there was anything to do. Errors: somebody has it open.
    pub fn unload_proxy(&self) -> Result<bool, ProxyError> {
        let before = self.proxy();
        if before.loaded.is_some() {
            let users = self.proxy_users();
            if !users.is_empty() {
                return Err(ProxyError::InUse(users));
            }
            self.modprobe("-r ")?;
            if self.loaded_proxy().is_some() {
                return Err(ProxyError::NotShown("unloaded"));
            }
        }
        let path = self.proxy_at_boot();
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(HostError::io("remove", &path)(error).into())
            }
            _ => Ok(!before.is_absent()),
        }
    }

    /// Has whoever has the device open let it go. Errors: somebody does not; then the module goes on as before.
    fn retire_proxy(&self) -> Result<(), ProxyError> {
        let path = self.proxy_dir().join("parameters/retired");
        let write = |value: &str| fs::write(&path, value).map_err(HostError::io("write", &path));
        write("1")?;
        let began = Instant::now();
        while self.proxy_file("refcnt").is_some_and(|count| count != "0") {
            if began.elapsed() > LETTING_GO {
                write("0")?;
                return Err(ProxyError::Held(self.proxy_users()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn modprobe(&self, what: &'static str) -> Result<(), ProxyError> {
        let args = [what.trim(), MODULE].into_iter().filter(|arg| !arg.is_empty());
        let output = tool::run(&self.tools.modprobe, "kmod", args)?;
        if output.status.success() {
            return Ok(());
        }
        let (status, stderr) = (output.status.to_string(), tool::complaint(&output.stderr));
        Err(ProxyError::Modprobe { what, status, stderr })
    }

    fn proxy_dir(&self) -> PathBuf {
        self.root.sys.join("module").join(MODULE)
    }

    fn proxy_at_boot(&self) -> PathBuf {
        self.root.etc.join("modules-load.d").join(format!("{MODULE}.conf"))
    }

    /// A file of the loaded module that holds one line.
    fn proxy_file(&self, name: &str) -> Option<String> {
        let text = fs::read_to_string(self.proxy_dir().join(name)).ok()?;
        Some(text.trim().to_owned()).filter(|line| !line.is_empty() && line.len() < LINE_MAX)
    }

    fn loaded_proxy(&self) -> Option<ProxyModule> {
        let srcversion = self.proxy_file("srcversion")?;
        let protocol =
            self.proxy_file("parameters/protocol").and_then(|number| number.parse().ok()).unwrap_or_default();
        Some(ProxyModule { version: self.proxy_file("version").unwrap_or_default(), srcversion, protocol })
    }

    fn installed_proxy(&self) -> Option<ProxyModule> {
        // A node without kmod, such as a container, has no modules either.
        let output = tool::run(&self.tools.modinfo, "kmod", [MODULE]).ok().filter(|output| output.status.success())?;
        module_of(&String::from_utf8_lossy(&output.stdout))
    }

    fn proxy_dkms(&self) -> Vec<String> {
        let output =
            tool::run(&self.tools.dkms, "dkms", ["status", PACKAGE]).ok().filter(|output| output.status.success());
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).take(20).map(str::to_owned).collect()
    }

    /// Programs that have one of the module's devices open.
    fn proxy_users(&self) -> Vec<String> {
        let Ok(processes) = fs::read_dir(&self.root.proc) else { return Vec::new() };
        let mut users: Vec<String> = processes
            .flatten()
            .filter(|process| process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
            .filter(|process| has_open(&process.path(), &self.root.dev))
            .map(|process| {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                format!("{} (process {})", name.trim(), process.file_name().to_string_lossy())
            })
            .collect();
        users.sort();
        users
    }
}

fn has_open(process: &Path, dev: &Path) -> bool {
    let Ok(files) = fs::read_dir(process.join("fd")) else { return false };
    let is_ours = |path: PathBuf| {
        path.parent() == Some(dev) && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(MODULE))
    };
    files.flatten().any(|file| fs::read_link(file.path()).is_ok_and(is_ours))
}

/// A module as `modinfo` describes it: lines of `name:   value`.
fn module_of(text: &str) -> Option<ProxyModule> {
    let field = |name: &str| {
        let of = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        text.lines().find_map(of)
    };
    Some(ProxyModule {
        version: field("version").unwrap_or_default(),
        srcversion: field("srcversion")?,
        protocol: field("protocol").and_then(|number| number.parse().ok()).unwrap_or_default(),
    })
}

/// Lines of a name and a number.
fn statistics(text: &str) -> BTreeMap<String, u64> {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Sysroot, Tools, chain};
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// A host whose `modprobe` loads and unloads the module in a directory, as the kernel would show it.
    struct Pretended {
        dir: tempfile::TempDir,
        host: Host,
    }

    impl Pretended {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let at = |name: &str| dir.path().join(name);
            for folder in ["sys/module", "proc", "dev", "etc", "disk", "bin"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            let root =
                Sysroot { sys: at("sys"), proc: at("proc"), dev: at("dev"), etc: at("etc"), ..Sysroot::default() };
            let tool = |name: &str, script: String| {
                fs::write(at("bin").join(name), format!("#!/bin/sh\ncd {}\n{script}\n", dir.path().display())).unwrap();
                fs::set_permissions(at("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
                at("bin").join(name).to_string_lossy().into_owned()
            };
            let tools = Tools {
                modinfo: tool("modinfo", format!("test \"$1\" = {MODULE} && cat disk/modinfo 2>/dev/null")),
                modprobe: tool(
                    "modprobe",
                    format!(
                        "echo \"$*\" >>calls; if [ \"$1\" = -r ]; then rm -r sys/module/{MODULE}; else \
                         test -f disk/broken && echo 'Invalid argument' >&2 && exit 1; cp -r disk/loaded sys/module/{MODULE}; fi"
                    ),
                ),
                dkms: tool("dkms", "echo 'lustre-mgs-proxy/0.1.0, 6.1.0-56-amd64, x86_64: built'".to_owned()),
                ..Tools::from_dir(None)
            };
            let host = Host::new(root, tools);
            Self { dir, host }
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// Installs a build: what `modinfo` shows, and what the kernel will once it is loaded.
        fn install(&self, srcversion: &str, protocol: u32) {
            let modinfo = format!(
                "filename:       /lib/modules/x.ko\nprotocol:       {protocol}\nversion:        0.1.0\nsrcversion:     {srcversion}\n"
            );
            self.write("disk/modinfo", &modinfo);
            self.write("disk/loaded/srcversion", &format!("{srcversion}\n"));
            self.write("disk/loaded/version", "0.1.0\n");
            self.write("disk/loaded/refcnt", "0\n");
            self.write("disk/loaded/parameters/protocol", &format!("{protocol}\n"));
            self.write("disk/loaded/parameters/transport", "lnet\n");
            self.write("disk/loaded/parameters/retired", "N\n");
        }

        fn calls(&self) -> String {
            fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default()
        }
    }

    #[test]
    fn it_is_loaded_once_and_at_boot_and_unloaded_once() {
        let node = Pretended::new();
        node.install("AAAA", PROTOCOL);
        assert!(node.host.proxy().is_absent() && node.host.proxy_use().is_none());
        assert_eq!(node.host.load_proxy().unwrap(), Some("loaded"));
        assert_eq!(node.host.load_proxy().unwrap(), None);
        let state = node.host.proxy();
        assert!(state.is_current() && state.transport.as_deref() == Some("lnet"), "{state:?}");
        let at_boot = node.dir.path().join("etc/modules-load.d/lustre_mgs_proxy.conf");
        assert!(fs::read_to_string(&at_boot).unwrap().lines().any(|line| line == MODULE));
        assert!(node.host.unload_proxy().unwrap());
        assert!(!node.host.unload_proxy().unwrap());
        assert!(node.host.proxy().is_absent() && !at_boot.exists());
        assert_eq!(node.calls(), "lustre_mgs_proxy\n-r lustre_mgs_proxy\n");
    }

    #[test]
    fn another_build_is_exchanged_after_its_users_were_told_to_let_go() {
        let node = Pretended::new();
        node.install("AAAA", PROTOCOL);
        node.host.load_proxy().unwrap();
        node.install("BBBB", PROTOCOL);
        assert!(node.host.proxy().is_outdated());
        // The daemon lets go once the module is retired.
        let module = node.dir.path().join("sys/module").join(MODULE);
        fs::write(module.join("refcnt"), "1\n").unwrap();
        let daemon = std::thread::spawn(move || {
            while fs::read_to_string(module.join("parameters/retired")).unwrap() != "1" {
                thread::sleep(Duration::from_millis(5));
            }
            fs::write(module.join("refcnt"), "0\n").unwrap();
        });
        assert_eq!(node.host.load_proxy().unwrap(), Some("exchanged for the build that is installed"));
        daemon.join().unwrap();
        assert_eq!(node.host.proxy().loaded.unwrap().srcversion, "BBBB");
    }

    #[test]
    fn what_stands_against_it_is_named_with_the_remedy_and_nothing_is_touched() {
        let node = Pretended::new();
        let refused = |node: &Pretended| chain(&node.host.load_proxy().expect_err("it is refused"));
        let missing = refused(&node);
        assert!(missing.contains("not installed") && missing.contains("6.1.0-56-amd64, x86_64: built"), "{missing}");
        node.install("AAAA", PROTOCOL + 1);
        assert!(refused(&node).contains(&format!("speaks version {}", PROTOCOL + 1)));
        node.install("AAAA", PROTOCOL);
        for server in ["mgs", "ofd", "lnet"] {
            node.write(&format!("sys/module/{server}/initstate"), "live\n");
        }
        assert!(refused(&node).contains("(mgs, ofd)"), "{}", refused(&node));
        assert_eq!(node.calls(), "");
        fs::remove_dir_all(node.dir.path().join("sys/module")).unwrap();
        fs::create_dir(node.dir.path().join("sys/module")).unwrap();
        node.write("disk/broken", "");
        assert!(
            refused(&node).contains("modprobe lustre_mgs_proxy ended with exit status: 1: Invalid argument"),
            "{}",
            refused(&node)
        );
    }

    #[test]
    fn it_stays_while_a_daemon_has_it_open() {
        let node = Pretended::new();
        node.install("AAAA", PROTOCOL);
        node.host.load_proxy().unwrap();
        node.write("proc/77/comm", "lustre-mgs\n");
        fs::create_dir_all(node.dir.path().join("proc/77/fd")).unwrap();
        symlink(node.dir.path().join("dev/lustre_mgs_proxy"), node.dir.path().join("proc/77/fd/9")).unwrap();
        let error = chain(&node.host.unload_proxy().expect_err("it is in use"));
        assert!(error.contains("lustre-mgs (process 77) has the device open"), "{error}");
        assert!(node.host.proxy().is_current());
        node.write(&format!("sys/kernel/debug/{MODULE}/stats"), "opens 3\nwakeups 12\nnonsense\n");
        let in_use = node.host.proxy_use().unwrap();
        assert_eq!((in_use.statistics["opens"], in_use.statistics.len(), in_use.is_retired), (3, 2, false));
        assert_eq!(in_use.users, ["lustre-mgs (process 77)"]);
    }

    #[test]
    fn this_release_and_its_module_speak_one_protocol() {
        let header = include_str!("../../../kmod/uapi/lustre_mgs_proxy.h");
        assert!(header.contains(&format!("#define LMGP_VERSION\t\t{PROTOCOL}\n")));
    }
}
