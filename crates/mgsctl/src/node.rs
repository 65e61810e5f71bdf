//! `mgsctl node`

use std::fmt::Write;

use lustre_api::ability::ABILITIES;
use lustre_api::agent::NodeInfo;
use lustre_api::device::Device;
use lustre_api::node::{
    DeleteNode, GetNode, GetNodeInventory, ListNodes, LiveNode, Node, NodePath, NodeSettings, PutNodeSettings,
};
use lustre_api::operation::{
    FailbackTargets, FailoverTargets, PostFailback, PostFailover, PostScan, PostScanNodes, ScanNode, ScanNodes,
};
use lustre_api::{Nothing, PageQuery, WriteQuery};
use lustre_types::{Nid, NodeName};

use crate::cli::NodeCommand;
use crate::output::{Table, fields, or_dash, size};
use crate::status::all;
use crate::{Context, Failure, operation};

pub(crate) async fn run(context: &Context, command: NodeCommand) -> Result<(), Failure> {
    let client = &context.client;
    match command {
        NodeCommand::List => {
            let list = all::<ListNodes, _>(context, PageQuery::default()).await?;
            context.output.show(&list, |list| table(list));
        }
        NodeCommand::Show { node } => {
            let node = client.call::<GetNode>(&NodePath { node }, &Nothing {}, &Nothing {}).await?;
            context.output.show(&node, details);
        }
        NodeCommand::Devices { node } => {
            let live = client.call::<GetNodeInventory>(&NodePath { node }, &Nothing {}, &Nothing {}).await?;
            if let Some(reason) = &live.unreachable {
                let node = &live.node.name;
                let remedy = format!("look at its agent: systemctl status lustre-agent on {node}");
                return Err(Failure::Local(format!("node {node} does not answer: {reason}\n  remedy: {remedy}")));
            }
            context.output.show(&live, devices);
        }
        NodeCommand::Failover { node, to, node_is_down, leave_others, at_once, start } => {
            let body = FailoverTargets { to, node_is_down, leave_others, at_once };
            let written = client.call::<PostFailover>(&NodePath { node }, &start.query(), &body).await?;
            operation::show(context, &written, &start).await?;
        }
        NodeCommand::Failback { node, leave_others, at_once, start } => {
            let body = FailbackTargets { leave_others, at_once };
            let written = client.call::<PostFailback>(&NodePath { node }, &start.query(), &body).await?;
            operation::show(context, &written, &start).await?;
        }
        NodeCommand::Scan { mut nodes, all: _, device_timeout: device_timeout_s, at_once, start } => {
            let written = match nodes.pop() {
                Some(node) if nodes.is_empty() => {
                    let body = ScanNode { device_timeout_s };
                    client.call::<PostScan>(&NodePath { node }, &start.query(), &body).await?
                }
                last => {
                    nodes.extend(last);
                    let body = ScanNodes { nodes, device_timeout_s, at_once };
                    client.call::<PostScanNodes>(&Nothing {}, &start.query(), &body).await?
                }
            };
            operation::show(context, &written, &start).await?;
        }
        NodeCommand::Drain { node, reason } => {
            settle(context, node, |settings| NodeSettings { drained: Some(reason), ..settings }).await?;
        }
        NodeCommand::Undrain { node } => {
            settle(context, node, |settings| NodeSettings { drained: None, ..settings }).await?;
        }
        NodeCommand::Schedule { node, window, enclosure } => {
            let change = |settings: NodeSettings| NodeSettings { windows: window, enclosure, ..settings };
            settle(context, node, change).await?;
        }
        NodeCommand::Delete { node, write } => {
            let written = client.call::<DeleteNode>(&NodePath { node }, &write.query(), &Nothing {}).await?;
            context.show_written(&written, &write, |node| format!("node {}", node.name), "is forgotten");
        }
    }
    Ok(())
}

/// Changes a node's settings, as long as nobody else did meanwhile.
async fn settle(
    context: &Context,
    node: NodeName,
    change: impl FnOnce(NodeSettings) -> NodeSettings,
) -> Result<(), Failure> {
    let path = NodePath { node };
    let before = context.client.call::<GetNode>(&path, &Nothing {}, &Nothing {}).await?;
    let query = WriteQuery { if_revision: Some(before.revision), ..WriteQuery::default() };
    let settings = change(before.settings);
    let written = context.client.call::<PutNodeSettings>(&path, &query, &settings).await?;
    context.output.show(&written.object, details);
    Ok(())
}

fn table(list: &[Node]) -> String {
    let mut table = Table::new(&["NODE", "ALIVE", "LAST SEEN", "LUSTRE", "NIDS", "AGENT"]);
    for node in list {
        table.row([
            node.name.to_string(),
            if node.is_alive { "yes" } else { "no" }.into(),
            or_dash(node.last_seen.as_ref()),
            or_dash(node.info.lustre.as_ref()),
            nids(&node.info.nids),
            node.api_url.clone(),
        ]);
    }
    table.text("no nodes")
}

fn nids(nids: &[Nid]) -> String {
    nids.iter().map(Nid::to_string).collect::<Vec<_>>().join(",")
}

fn details(node: &Node) -> String {
    let info = &node.info;
    fields(&[
        ("name", node.name.to_string()),
        ("alive", if node.is_alive { "yes" } else { "no" }.into()),
        ("last seen", or_dash(node.last_seen.as_ref())),
        ("enrolled", node.enrolled.to_string()),
        ("agent", format!("{} (version {})", node.api_url, info.agent_version)),
        ("nids", nids(&info.nids)),
        ("kernel", info.kernel.clone()),
        ("lustre", or_dash(info.lustre.as_ref())),
        ("e2fsprogs", or_dash(info.e2fsprogs.as_ref())),
        ("host id", or_dash(info.hostid.as_ref())),
        ("agent lacks", or_dash(missing_abilities(info).as_ref())),
        ("lacks", if info.missing_features.is_empty() { "-".into() } else { info.missing_features.join(",") }),
        ("drained", node.settings.drained.as_ref().map_or("no".into(), |why| format!("yes {why}"))),
        ("enclosure", or_dash(node.settings.enclosure.as_ref())),
        ("windows", node.settings.windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ("revision", node.revision.to_string()),
    ])
}

/// What an agent of this version can be asked for, and this node's can't.
fn missing_abilities(info: &NodeInfo) -> Option<String> {
    let missing: Vec<_> = ABILITIES.iter().filter(|ability| info.lacks(&[ability]).is_some()).copied().collect();
    (!missing.is_empty()).then(|| format!("{}; upgrade lustre-agent", missing.join(", ")))
}

fn devices(live: &LiveNode) -> String {
    let mut table = Table::new(&["DEVICE", "SIZE", "KIND", "CONTENT", "MAY BE FORMATTED"]);
    let devices: &[Device] = live.inventory.as_ref().map_or(&[], |inventory| &inventory.devices);
    for device in devices {
        let refusals = device.refusals.iter().map(|refusal| refusal.message.clone()).collect::<Vec<_>>().join("; ");
        table.row([
            device.path.clone(),
            size(device.size_bytes),
            device.kind.clone(),
            device.content.clone(),
            if refusals.is_empty() { "yes".into() } else { format!("no: {refusals}") },
        ]);
    }
    let mut text = live.inventory.as_ref().map(|seen| format!("looked at {}\n", seen.at)).unwrap_or_default();
    text.push_str(&table.text("no devices"));
    if let Some(zfs) = live.inventory.as_ref().and_then(|inventory| inventory.zfs.as_ref()) {
        let pools: Vec<_> = zfs.pools.iter().map(|pool| format!("{} ({})", pool.name, pool.health)).collect();
        let pools = if pools.is_empty() { "none is imported".to_owned() } else { pools.join(", ") };
        let _ = write!(text, "\nZFS pools: {}\n", zfs.problem.clone().unwrap_or(pools));
    }
    text
}
