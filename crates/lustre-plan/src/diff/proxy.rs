//! Kernel proxies of nodes.

use lustre_api::attributes::MGS_PROXY;
use lustre_api::plan::{Action, Effect, FieldChange, ObjectKey};
use lustre_api::proxy::{MODULE, PROTOCOL, ProxySpec, ProxyState};
use lustre_types::NodeName;
use serde_json::json;

use super::{Say, Work, all_fields, json as as_json};

impl<'a> Work<'a> {
    pub(super) fn mgs_proxies(&mut self) {
        for spec in &self.desired.mgs_proxies {
            let object = ObjectKey::MgsProxy { node: spec.node.clone() };
            if let Some(state) = self.proxy_of(&object, &spec.node) {
                self.mgs_proxy(&object, spec, state);
            }
        }
    }

    /// What a node has of it; an error if nobody knows.
    fn proxy_of(&mut self, object: &ObjectKey, name: &NodeName) -> Option<&'a ProxyState> {
        let snapshot = self.snapshot;
        let Some(node) = snapshot.nodes.iter().find(|node| node.node.name == *name) else {
            let say = Say {
                attribute: Some("node"),
                code: "unknown_node",
                message: format!("no node {name} has enrolled with the MGS"),
                remedy: format!("start lustre-agent on {name}, or correct the name"),
            };
            self.error(object, say);
            return None;
        };
        let state = node.info().kernel_proxy.as_ref();
        if state.is_none() {
            let say = Say {
                attribute: Some("node"),
                code: "agent_too_old",
                message: format!("the agent of {name} knows nothing of the kernel proxy"),
                remedy: format!("install this release of lustre-agent on {name}"),
            };
            self.error(object, say);
        }
        state
    }

    fn mgs_proxy(&mut self, object: &ObjectKey, spec: &ProxySpec, state: &ProxyState) {
        if state.is_current() {
            return;
        }
        if let Some(say) = stands_against(&spec.node, state) {
            return self.error(object, say);
        }
        if state.is_absent() {
            let fields = all_fields(&MGS_PROXY, &as_json(spec));
            let blast_radius = "nobody before an MGS daemon opens it".to_owned();
            return self.change(object, Action::Create, fields, "it is not loaded", blast_radius);
        }
        let (path, before, after, reason, blast_radius) = match (&state.loaded, &state.installed) {
            (Some(loaded), Some(installed)) if state.is_outdated() => (
                "srcversion",
                json!(loaded.srcversion),
                json!(installed.srcversion),
                "another build is installed than is loaded",
                "nodes on the kernel's networks of an MGS there wait for seconds",
            ),
            (Some(_), _) => {
                ("is_current", json!(false), json!(true), "it is not loaded at boot", "nobody before the next boot")
            }
            (None, _) => {
                ("is_current", json!(false), json!(true), "it is not loaded", "nobody before an MGS daemon opens it")
            }
        };
        let field = FieldChange { path: path.to_owned(), before, after, effect: Effect::InPlace };
        self.change(object, Action::Update, vec![field], reason, blast_radius.to_owned());
    }

    pub(super) fn absent_mgs_proxy(&mut self, object: &ObjectKey, node: &NodeName) {
        let known = self.snapshot.nodes.iter().find(|known| known.node.name == *node);
        let state = known.and_then(|known| known.info().kernel_proxy.as_ref());
        if state.is_some_and(|state| !state.is_absent()) {
            let blast_radius = "nodes on the kernel's networks can't reach an MGS there any more".to_owned();
            self.change(object, Action::Delete, Vec::new(), "it is to be absent", blast_radius);
        }
    }
}

/// Why the proxy can't be loaded.
fn stands_against(node: &NodeName, state: &ProxyState) -> Option<Say<'static>> {
    let attribute = Some("node");
    if !state.servers.is_empty() {
        let servers = state.servers.join(", ");
        return Some(Say {
            attribute,
            code: "lustre_servers",
            message: format!(
                "the kernel of {node} has Lustre's server modules loaded ({servers}), which own the portals of an MGS"
            ),
            remedy: "run the MGS on a node that is no Lustre server, or unload them".to_owned(),
        });
    }
    match &state.installed {
        None => Some(Say {
            attribute,
            code: "module_missing",
            message: format!("the module {MODULE} is not installed for the kernel that runs on {node}"),
            remedy: format!(
                "install it there with DKMS: dkms install lustre-mgs-proxy (docs/kernel-proxy.md), for {node}'s kernel"
            ),
        }),
        Some(installed) if installed.protocol != PROTOCOL => Some(Say {
            attribute,
            code: "module_protocol",
            message: format!(
                "the module {MODULE} that is installed on {node} speaks version {} of its protocol, this release version {PROTOCOL}",
                installed.protocol
            ),
            remedy: "install module and daemon of one release".to_owned(),
        }),
        Some(_) => None,
    }
}
