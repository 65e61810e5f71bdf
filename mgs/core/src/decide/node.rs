//! Nodes: enrolment by announcement.

use lustre_api::node::{Announcement, Node, NodeSettings};
use lustre_api::target::TargetState;
use lustre_api::{Problem, Written};
use lustre_types::NodeName;

use crate::decide::{Compare, Decision, Request, absent, as_read, put, remove};
use crate::key::Key;
use crate::record::{NodeRecord, Record, TargetRecord};
use crate::state::{Object, State};
use crate::view;

/// More targets than any node serves; a commit takes 128 objects.
const TARGETS_MAX: usize = 120;

/// Enrols a node or renews what is known of it. Targets of a node that was booted anew don't count as started any more.
///
/// Errors: a path and a body that name two, an address that is none.
pub fn announce(
    state: &State,
    req: &Request<'_>,
    node: &NodeName,
    announcement: Announcement,
) -> Result<Decision<Written<Node>>, Problem> {
    let Announcement { api_url, info } = announcement;
    if info.node != *node {
        let message = format!("the path names node {node}, the body {}", info.node);
        return Err(Problem::invalid(message).attribute("info.node"));
    }
    if !["http://", "https://", "unix:///"].iter().any(|scheme| api_url.starts_with(scheme)) || api_url.len() > 512 {
        let problem = Problem::invalid(format!("node {node} can't be reached at {api_url:?}"));
        return Err(problem
            .remedy("give a URL like http://10.0.0.5:7080 or unix:///run/lustre-agent.sock")
            .attribute("api_url"));
    }
    let key = Key::Node(node.clone());
    let before = state.nodes.get(node);
    let enrolled = before.map_or(req.now, |before| before.value.enrolled);
    let settings = before.map(|before| before.value.settings.clone()).unwrap_or_default();
    let record = NodeRecord { api_url, info, enrolled, settings };
    if let Some(before) = before.filter(|before| before.value == record) {
        let object = view::node(node, &record, before.revision, Some(req.now), true);
        return Ok(Decision::unchanged(object, state.revision));
    }
    let object = view::node(node, &record, 0, Some(req.now), true);
    let (what, compare) = match before {
        Some(before) => ("update", as_read(key.clone(), before.revision)),
        None => ("enrol", absent(key.clone())),
    };
    let mut compare = vec![compare];
    let mut changes = vec![put(key.clone(), Record::Node(Box::new(record.clone())))];
    if before.is_some_and(|before| before.value.info.boot_id != record.info.boot_id) {
        let started = state.targets.iter().filter(|(_, target)| is_started_on(&target.value, node));
        for (svname, target) in started.take(TARGETS_MAX) {
            let key = Key::Target(svname.clone());
            compare.push(as_read(key.clone(), target.revision));
            changes.push(put(key, Record::Target(Box::new(not_started(&target.value, node)))));
        }
    }
    Ok(Decision::changed(req, format!("{what} {}", key.object()), object, compare, changes))
}

fn is_started_on(target: &TargetRecord, node: &NodeName) -> bool {
    *target.place() == *node && target.state == TargetState::Started
}

/// A boot starts no target by itself, and whatever does start them has not told: what was known is not known any more.
fn not_started(target: &TargetRecord, node: &NodeName) -> TargetRecord {
    TargetRecord {
        state: TargetState::Registered,
        state_reason: format!("{node} was booted since it was started there; start it again, or ask the node"),
        ..target.clone()
    }
}

/// Decides whether and when steps begin on a node. Errors: it never enrolled, too long a text.
pub fn settings(
    state: &State,
    req: &Request<'_>,
    node: &NodeName,
    settings: NodeSettings,
) -> Result<Decision<Written<Node>>, Problem> {
    let before = find(state, node)?;
    let key = Key::Node(node.clone());
    let texts = [("drained", &settings.drained), ("enclosure", &settings.enclosure)];
    if let Some((name, _)) = texts.iter().find(|(_, text)| text.as_ref().is_some_and(|text| text.chars().count() > 256))
    {
        return Err(Problem::invalid(format!("{name} has more than 256 characters")).attribute(*name));
    }
    if settings.windows.len() > 20 {
        return Err(Problem::invalid("a node has at most 20 windows").attribute("windows"));
    }
    let after = NodeRecord { settings, ..before.value.clone() };
    if after == before.value {
        return Ok(Decision::unchanged(view::node(node, &after, before.revision, None, false), state.revision));
    }
    req.check_revision(&key.object(), before.revision)?;
    let object = view::node(node, &after, 0, None, false);
    let compare = vec![as_read(key.clone(), before.revision)];
    let changes = vec![put(key.clone(), Record::Node(Box::new(after)))];
    Ok(Decision::changed(req, format!("settings of {}", key.object()), object, compare, changes))
}

/// Forgets a node. Errors: while it has targets, naming one.
pub fn delete(state: &State, req: &Request<'_>, node: &NodeName) -> Result<Decision<Written<Node>>, Problem> {
    let before = find(state, node)?;
    let key = Key::Node(node.clone());
    req.check_revision(&key.object(), before.revision)?;
    if let Some((svname, _)) = state.targets.iter().find(|(_, target)| target.value.spec.node == *node) {
        let problem = Problem::refused(format!("node {node} still has target {svname}"));
        return Err(problem.remedy("remove its targets, or move them to another node, first"));
    }
    let object = view::node(node, &before.value, before.revision, None, false);
    let compare = vec![as_read(key.clone(), before.revision), Compare::Prefix(Key::TARGETS.into(), state.revision)];
    Ok(Decision::changed(req, format!("forget {}", key.object()), object, compare, vec![remove(key)]))
}

/// The node. Errors: it never enrolled.
pub fn find<'a>(state: &'a State, node: &NodeName) -> Result<&'a Object<NodeRecord>, Problem> {
    state.nodes.get(node).ok_or_else(|| {
        Problem::not_found(format!("there is no node {node}")).remedy(format!(
            "start the agent on it with this MGS's address, or check the name; it announces itself as {node}"
        ))
    })
}
