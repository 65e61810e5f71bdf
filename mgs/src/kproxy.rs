//! The kernel proxy: the daemon's end of the module lustre_mgs_proxy.
//!
//! What frames mean for LNet, and that the device comes and goes with its module, is `lnet`'s business, as for its TCP
//! connections; here is whether the device may be used.

use std::path::{Path, PathBuf};

use ::kproxy::Role;
use lnet::KernelProxy;

/// Modules of Lustre servers: each takes portals that an MGS needs, a kernel MGS that of requests, all others that of lock
/// cancels. Two that share a portal share its messages, silently.
const SERVERS: [&str; 6] = ["mgs", "mdt", "mdd", "ost", "ofd", "osp"];

/// The proxy's device at `path`, refused while services of Lustre in this kernel own the portals.
pub(crate) fn of_this_kernel(path: PathBuf) -> KernelProxy {
    KernelProxy { path, role: Role::Mgs, may_open: || refuse_beside_servers(Path::new("/sys/module")) }
}

fn refuse_beside_servers(modules: &Path) -> Result<(), String> {
    let loaded: Vec<&str> = SERVERS.into_iter().filter(|name| modules.join(name).exists()).collect();
    if loaded.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the kernel of this node has Lustre's server modules loaded ({}), which own the portals of an MGS; unload them, or run the \
         MGS on a node that is no Lustre server",
        loaded.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_with_lustre_servers_is_refused_by_the_names_of_their_modules() {
        let modules = tempfile::tempdir().expect("a directory");
        refuse_beside_servers(modules.path()).expect("no module is loaded");
        for name in ["lnet", "ptlrpc", "mgs", "ofd"] {
            std::fs::create_dir(modules.path().join(name)).expect("a module");
        }
        let error = refuse_beside_servers(modules.path()).expect_err("an MGS and an OST are there");
        assert!(error.contains("(mgs, ofd)"), "{error}");
    }
}
