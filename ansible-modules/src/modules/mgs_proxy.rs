//! `lustre_mgs_proxy`.

use lustre_api::attributes::MGS_PROXY;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, ObjectKey};
use lustre_api::proxy::{Proxy, ProxySpec};
use lustre_types::NodeName;
use serde_json::{Value, json};

use super::plan::{Wanted, ensure, no_more, unreachable_in_check_mode};
use super::session::{CallError, Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, table};
use crate::argspec::ArgumentSpec;
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = table::options(&MGS_PROXY);
    for option in arguments.iter_mut().filter(|option| option.name == "node") {
        option.required = false;
        option.description.push("The host of the task when not given; required with O(api_url).".to_owned());
    }
    arguments.push(common::state(
        "the module that is installed is loaded, now and at boot.",
        "it is not loaded. Refused while an MGS daemon serves through it.",
    ));
    arguments.push(common::fingerprint());
    arguments.extend(common::waiting());
    arguments.extend(common::connection());
    Module {
        name: "lustre_mgs_proxy",
        summary: "Manage the kernel proxy of an MGS, for networks that only the kernel drives",
        description: vec![table::markup(MGS_PROXY.description)],
        notes: vec![
            "The module is built and installed by DKMS, as any package is; this task says so where it is missing.",
        ],
        see_also: &["lustre_info", "lustre_facts"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: The MGS of this host serves InfiniBand
  chandelier.lustre.lustre_mgs_proxy:

- name: It no longer does
  chandelier.lustre.lustre_mgs_proxy:
    state: absent

- name: Is the module up to date? Nothing is touched
  chandelier.lustre.lustre_mgs_proxy:
    node: mgs1
    api_url: http://10.0.0.1:7070
  delegate_to: localhost
  check_mode: true
  diff: true
"#,
        returns: {
            let mut returns = common::planned(ReturnValue {
                name: "resource",
                kind: "dict",
                elements: None,
                returned: "always, but not in check mode",
                description: "The proxy after the task; null when it is absent.",
                sample: json!({
                    "node": "mgs1", "id": "mgs1", "version": "0.1.0", "srcversion": "3D2F1C0B9A8E7D6C5B4A392", "protocol": 1,
                    "transport": "lnet", "is_current": true,
                }),
            });
            returns.push(common::jobs());
            returns
        },
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let given: Option<NodeName> =
        task.text("node").map(str::parse).transpose().map_err(|error| Failure::from(format!("node: {error}")))?;
    let session = Session::new(task)?;
    let (node, snapshot) = match observe(&session, given).await {
        Ok(observed) => observed,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    let Some(node) = node else {
        return Err("missing required arguments: node (with api_url there is no host to take it from)".into());
    };
    let mut desired = Desired::default();
    if task.is_absent() {
        desired.absent.push(ObjectKey::MgsProxy { node: node.clone() });
    } else {
        desired.mgs_proxies.push(ProxySpec { node: node.clone() });
    }
    let view = |snapshot: &Snapshot| {
        let known = snapshot.nodes.iter().find(|known| known.node.name == node);
        known.and_then(Proxy::of).map_or(Value::Null, |proxy| json_of(&proxy))
    };
    ensure(task, &session, &snapshot, Wanted { desired, judge: &no_more, view: &view }).await
}

/// Which node it is about, and what is there now, asked of the node itself.
async fn observe(session: &Session, given: Option<NodeName>) -> Result<(Option<NodeName>, Snapshot), CallError> {
    let node = match given {
        Some(node) => Some(node),
        None => session.own_node().await?,
    };
    let mut snapshot = session.snapshot().await?;
    session.look_at_devices(&mut snapshot, node.clone()).await?;
    Ok((node, snapshot))
}
