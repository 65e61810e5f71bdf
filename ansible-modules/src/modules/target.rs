//! `lustre_target`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use lustre_api::Nothing;
use lustre_api::agent::Inventory;
use lustre_api::attributes::{AttributeType, TARGET};
use lustre_api::device::Device;
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Desired, DesiredTarget, ObjectKey, Plan};
use lustre_api::target::{ConfirmTarget, Target, TargetPath, TargetSpec};
use lustre_types::{FsName, NodeName, SvName, TargetIndex, TargetKind};
use serde_json::{Map, Value, json};

use super::format_policy::{self, Consent};
use super::plan::{Wanted, ensure, unreachable_in_check_mode};
use super::session::{CallError, Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, confirm, table};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

pub(super) fn module() -> Module {
    let mut arguments = vec![
        Argument::new("filesystem", ArgumentType::Str)
            .doc("The file system of those O(targets) that do not say it themselves."),
        Argument::list_of("targets", ArgumentSpec::new(suboptions()))
            .required()
            .doc("The targets. One task for all targets of a host is one round trip, one plan and one diff."),
        format_policy::option(),
        confirm::state(
            "the targets are formatted, registered and, where the node has Lustre, started.",
            "they are stopped and taken out of the configuration. Their devices stay as they are.",
        ),
        confirm::argument("the changed O(targets[].failover_nodes) of registered targets"),
        common::fingerprint(),
    ];
    arguments.extend(common::waiting());
    arguments.extend(common::connection());
    Module {
        name: "lustre_target",
        summary: "Manage the targets of a Lustre file system: format, register, start",
        description: vec![
            "Targets on block devices or ZFS datasets of a node: the MGS assigns their indices, the node's agent formats the devices with \
             Lustre's on-disk format, starts them where the node has Lustre, and they are registered with the MGS."
                .to_owned(),
            "A device that holds the wanted target already is taken up without a format: the second run changes nothing."
                .to_owned(),
            "A device that is mounted or otherwise in use is refused, whatever the options. No option ever wipes a device."
                .to_owned(),
        ],
        notes: vec![
            "The work is done by jobs of the MGS and of the agents: it goes on when the play is interrupted, and running the \
             task again waits for it or takes it up.",
        ],
        see_also: &["lustre_filesystem", "lustre_pool", "lustre_facts", "lustre_info"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: The OSTs of this host
  chandelier.lustre.lustre_target:
    filesystem: scratch
    targets:
      - {kind: ost, device: /dev/disk/by-id/wwn-0x5000c500a1b2c3d4}
      - {kind: ost, device: /dev/disk/by-id/wwn-0x5000c500a1b2c3d5}

- name: What would be formatted? Nothing is touched
  chandelier.lustre.lustre_target:
    filesystem: scratch
    targets: "{{ lustre_targets }}"
  check_mode: true
  diff: true

- name: This one disk may lose what is on it
  chandelier.lustre.lustre_target:
    filesystem: scratch
    format: confirmed
    targets:
      - kind: ost
        index: 3
        device: /dev/disk/by-id/scsi-S3Z8NX0K
        confirm: scratch-OST0003@S3Z8NX0K

- name: An OST on a mirror of ZFS
  chandelier.lustre.lustre_target:
    filesystem: scratch
    targets:
      - kind: ost
        device: tank/ost0
        vdevs: [mirror, /dev/disk/by-id/wwn-0x5000c500a1b2c3d6, /dev/disk/by-id/wwn-0x5000c500a1b2c3d7]

- name: OST0003 leaves the configuration; its device keeps its data
  chandelier.lustre.lustre_target:
    filesystem: scratch
    targets:
      - {kind: ost, index: 3}
    state: absent
"#,
        returns: {
            let mut returns = common::planned(ReturnValue {
                name: "resource",
                kind: "list",
                elements: Some("dict"),
                returned: "always, but not in check mode",
                description: "The targets after the task, in the task's order; those that are absent are missing.",
                sample: json!([{
                    "kind": "ost", "filesystem": "scratch", "index": 0, "node": "oss1",
                    "device": "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "svname": "scratch-OST0000", "state": "registered",
                    "label": "scratch:OST0000", "size_bytes": 1_099_511_627_776u64, "formatted_over": "blank",
                }]),
            });
            returns.push(common::jobs());
            returns
        },
        run: |task| block_on(run(task)),
    }
}

fn suboptions() -> Vec<Argument> {
    let mut options = table::options(&TARGET);
    for option in &mut options {
        match option.name.as_str() {
            "filesystem" => {
                option.description = vec!["Its file system. The task's O(filesystem) when not given.".to_owned()]
            }
            "node" => {
                option.required = false;
                option.description.push("The host of the task when not given; required with O(api_url).".to_owned());
            }
            "device" => {
                option.required = false;
                option.description.push("Required with O(state=present).".to_owned());
            }
            _ => {}
        }
    }
    options.push(
        Argument::new("serial", ArgumentType::Str)
            .doc("Serial number or WWN that the device must have. Names like V(/dev/sdb) move between boots, and are formatted only with it."),
    );
    options.push(
        Argument::new("confirm", ArgumentType::Str)
            .doc("V(<svname>@<serial>): with O(format=confirmed), this very device may lose what is on it for this very target. A refused task says what to write."),
    );
    options
}

/// One element of `targets`.
#[derive(Debug)]
struct Described {
    /// Those of its options that were given and that describe the target.
    given: Map<String, Value>,
    kind: TargetKind,
    filesystem: Option<FsName>,
    index: Option<TargetIndex>,
    node: Option<NodeName>,
    device: Option<String>,
    consent: Consent,
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let mut described = read(task)?;
    let session = Session::new(task)?;
    let snapshot = match observe(&session, &mut described, task.is_absent() || confirm::is_wanted(task)).await {
        Ok(snapshot) => snapshot,
        Err(error) => return unreachable_in_check_mode(task, error),
    };
    if confirm::is_wanted(task) {
        return confirmed(task, &session, &snapshot, &described).await;
    }
    let mut desired = Desired::default();
    if task.is_absent() {
        for (n, target) in described.iter().enumerate() {
            let svname = match named(target) {
                Some(svname) => svname,
                None if target.device.is_none() || target.node.is_none() => {
                    return Err(at(n, "give its index, or its node and device, to say which target is to be absent"));
                }
                None => match find(&snapshot, target) {
                    Some(known) => known.svname.clone(),
                    None => continue,
                },
            };
            desired.absent.push(ObjectKey::Target { svname });
        }
    } else {
        for (n, target) in described.iter().enumerate() {
            let wanted = wanted(&snapshot, target).map_err(|message| at(n, &message))?;
            let allow_reformat = format_policy::allows_reformat(task, &snapshot, &wanted, &target.consent)
                .map_err(|message| at(n, &message))?;
            desired.targets.push(DesiredTarget { target: wanted, allow_reformat });
        }
    }
    let consents: Vec<_> = described.iter().map(|target| target.consent.clone()).collect();
    let view = |snapshot: &Snapshot| {
        let found = described.iter().filter_map(|target| find(snapshot, target));
        found.map(json_of).collect()
    };
    let judge = |desired: &Desired, plan: &mut Plan| {
        format_policy::speak_of_confirm(desired, &snapshot, plan);
        let more = format_policy::findings(task, desired, &consents, &snapshot, plan);
        plan.findings.extend(more);
    };
    ensure(task, &session, &snapshot, Wanted { desired, judge: &judge, view: &view }).await
}

/// Keeps partner nodes and NIDs that would go back.
async fn confirmed(
    task: &Task<'_>,
    session: &Session,
    snapshot: &Snapshot,
    described: &[Described],
) -> Result<Outcome, Failure> {
    let mut known = Vec::new();
    for (n, target) in described.iter().enumerate() {
        let missing = || at(n, "there is no such target; give its index, or its node and device");
        known.push(find(snapshot, target).ok_or_else(missing)?);
    }
    let waiting = known.iter().filter(|target| target.confirm_until.is_some());
    for target in waiting.filter(|_| !task.internals.check_mode) {
        let path = TargetPath { svname: target.svname.clone() };
        let written = session.mgs.call::<ConfirmTarget>(&path, &task.write_query(), &Nothing {}).await;
        written.map_err(|error| session.explain(error))?;
    }
    let shown = known.iter().map(json_of).collect();
    Ok(confirm::outcome(known.iter().map(|target| target.confirm_until), shown))
}

fn at(n: usize, message: &str) -> Failure {
    Failure::from(format!("targets[{n}]: {message}"))
}

fn read(task: &Task<'_>) -> Result<Vec<Described>, Failure> {
    let targets = task.params.get("targets").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    targets
        .iter()
        .enumerate()
        .map(|(n, target)| read_one(task, target.as_object().unwrap_or(&Map::new())).map_err(|message| at(n, &message)))
        .collect()
}

fn read_one(task: &Task<'_>, options: &Map<String, Value>) -> Result<Described, String> {
    let text = |name: &str| options.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let parse_error = |name: &str, error: &dyn std::fmt::Display| format!("{name}: {error}");
    let kind = text("kind").unwrap_or_default().parse().map_err(|e| parse_error("kind", &e))?;
    let filesystem = text("filesystem").or_else(|| task.text("filesystem").filter(|_| kind != TargetKind::Mgt));
    let index = match options.get("index").and_then(Value::as_i64) {
        None => None,
        Some(index) => Some(serde_json::from_value(json!(index)).map_err(|e| parse_error("index", &e))?),
    };
    let device = text("device").map(str::to_owned);
    if device.is_none() && !task.is_absent() && !confirm::is_wanted(task) {
        return Err("missing required arguments: device".to_owned());
    }
    let mut given = Map::new();
    for attribute in TARGET.attributes.iter().filter(|attribute| attribute.is_in_spec()) {
        match options.get(attribute.name) {
            None | Some(Value::Null) => {}
            // Parameters' values may be numbers in YAML; on disk they are texts.
            Some(Value::Object(map)) if attribute.kind == AttributeType::Map => {
                let texts = map.iter().map(|(key, value)| match value {
                    Value::String(text) => Ok((key.clone(), text.as_str().into())),
                    Value::Number(number) => Ok((key.clone(), number.to_string().into())),
                    _ => Err(format!("{}: the value of {key} must be a text or a number", attribute.name)),
                });
                given.insert(attribute.name.to_owned(), Value::Object(texts.collect::<Result<_, _>>()?));
            }
            Some(value) => {
                given.insert(attribute.name.to_owned(), value.clone());
            }
        }
    }
    Ok(Described {
        given,
        kind,
        filesystem: filesystem.map(str::parse).transpose().map_err(|e| parse_error("filesystem", &e))?,
        index,
        node: text("node").map(str::parse).transpose().map_err(|e| parse_error("node", &e))?,
        device,
        consent: Consent { serial: text("serial").map(str::to_owned), confirm: text("confirm").map(str::to_owned) },
    })
}

/// What is there now; fills in the host's own name where a target has no node.
async fn observe(session: &Session, described: &mut [Described], is_absent: bool) -> Result<Snapshot, CallError> {
    if described.iter().any(|target| target.node.is_none()) {
        let own = session.own_node().await?;
        for target in described.iter_mut().filter(|target| target.node.is_none()) {
            target.node.clone_from(&own);
        }
    }
    let mut snapshot = session.snapshot().await?;
    if !is_absent {
        let nodes: BTreeSet<NodeName> = described.iter().filter_map(|target| target.node.clone()).collect();
        session.look_at_devices(&mut snapshot, nodes).await?;
    }
    Ok(snapshot)
}

fn named(target: &Described) -> Option<SvName> {
    match (target.kind, &target.filesystem, target.index) {
        (TargetKind::Mgt, ..) => Some(SvName::mgs()),
        (kind, Some(fsname), Some(index)) => Some(SvName::new(fsname.clone(), kind, index)),
        _ => None,
    }
}

/// The known target that is described: by its name, else by its place.
fn find<'s>(snapshot: &'s Snapshot, target: &Described) -> Option<&'s Target> {
    if target.kind != TargetKind::Mgt
        && let Some(svname) = named(target)
    {
        return snapshot.targets.iter().find(|known| known.svname == svname);
    }
    let (node, path) = (target.node.as_ref()?, target.device.as_ref()?);
    let device = device_at(snapshot, node, path);
    let is_place = |known: &str| known == path || device.is_some_and(|device| device.is_named(known));
    let mut known = snapshot.targets.iter();
    known.find(|known| known.svname.kind() == target.kind && known.spec.node == *node && is_place(&known.spec.device))
}

/// What is wanted: what the task gives, and else what is known of the target.
fn wanted(snapshot: &Snapshot, target: &Described) -> Result<TargetSpec, String> {
    let node = target
        .node
        .as_ref()
        .ok_or("missing required arguments: node (with api_url there is no host to take it from)")?;
    let mut spec = Map::new();
    if let Some(known) = find(snapshot, target)
        && let Value::Object(known) = json_of(&known.spec)
    {
        spec = known;
        spec.remove("index");
    }
    for (name, value) in &target.given {
        // An empty text takes the attribute away.
        if value.as_str() == Some("") {
            spec.remove(name)
        } else {
            spec.insert(name.clone(), value.clone())
        };
    }
    spec.insert("node".to_owned(), json_of(node));
    if let Some(filesystem) = &target.filesystem {
        spec.insert("filesystem".to_owned(), json_of(filesystem));
    }
    serde_json::from_value(Value::Object(spec)).map_err(|error| error.to_string())
}

/// The device that a description names, where its node was looked at.
pub(super) fn device_of<'s>(snapshot: &'s Snapshot, spec: &TargetSpec) -> Option<Cow<'s, Device>> {
    lustre_plan::device_of(inventory(snapshot, &spec.node)?, spec)
}

fn inventory<'s>(snapshot: &'s Snapshot, node: &NodeName) -> Option<&'s Inventory> {
    let node = snapshot.nodes.iter().find(|known| known.node.name == *node)?;
    node.inventory.as_ref()
}

fn device_at<'s>(snapshot: &'s Snapshot, node: &NodeName, path: &str) -> Option<&'s Device> {
    inventory(snapshot, node)?.devices.iter().find(|device| device.is_named(path))
}
