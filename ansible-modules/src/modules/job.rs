//! `lustre_job`: operations on what exists, each a job.

use lustre_api::filesystem::FilesystemPath;
use lustre_api::job::{CancelJob, GetJob, Job, JobId, JobPath, WaitQuery};
use lustre_api::node::NodePath;
use lustre_api::operation::{
    EvacuateTarget, FailbackTargets, FailoverNode, FailoverTargets, MoveTarget, PauseJob, PostAddFailoverNode,
    PostEvacuate, PostFailback, PostFailover, PostMove, PostRelabel, PostRemoveFailoverNode, PostReplaceNids, PostScan,
    PostScanNodes, PostWriteconf, RelabelTarget, ReplaceNids, ResumeJob, ScanNode, ScanNodes, WriteconfFilesystem,
};
use lustre_api::target::TargetPath;
use lustre_api::{Endpoint, Nothing, WriteQuery, Written};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::session::{Session, json_of};
use super::{Module, ReturnValue, Task, block_on, common, confirm, jobs};
use crate::argspec::{Argument, ArgumentSpec, ArgumentType};
use crate::contract::{Failure, Outcome};

const OPERATIONS: [&str; 14] = [
    "writeconf",
    "move",
    "replace_nids",
    "evacuate",
    "relabel",
    "add_failover_node",
    "remove_failover_node",
    "failover",
    "failback",
    "scan",
    "pause",
    "resume",
    "cancel",
    "wait",
];

pub(super) fn module() -> Module {
    let text = |name: &str, doc: &str| Argument::new(name, ArgumentType::Str).doc(doc);
    let mut arguments = vec![
        Argument::new("operation", ArgumentType::Str).required().choices(OPERATIONS).doc(
            "What to do: V(writeconf) a O(filesystem); V(move), V(evacuate), V(relabel) or V(replace_nids) of a O(target), or \
             V(add_failover_node) or V(remove_failover_node); V(failover) of all targets that a O(node) runs, or V(failback) of \
             all that are its own; V(scan) of the devices of a O(node), or of all nodes; V(pause), V(resume), V(cancel) or \
             V(wait) for the job O(id).",
        ),
        text("filesystem", "The file system, for V(writeconf)."),
        text("target", "The target, for V(move), V(replace_nids), V(evacuate), V(relabel), V(add_failover_node) and V(remove_failover_node)."),
        text("id", "A job, for V(pause), V(resume), V(cancel) and V(wait)."),
        text("name", "A name of one's own for the job that is started. The same task again with the same name starts no second one: it \
             answers the first, whatever became of it. 1 to 52 of C(a-z 0-9 -)."),
        text("node", "For V(move): where to; the other one of two nodes when not given. For V(add_failover_node) and V(remove_failover_node): \
             the partner, where O(nids) are not given. For V(failover), V(failback): whose targets. For V(scan): whose devices; those of all nodes when not given."),
        text("to", "For V(failover): move all targets to this node; each to its partner when not given."),
        Argument::new("leave_others", ArgumentType::Bool).default(false).doc(
            "For V(failover) and V(failback): leave those where they are that can't be moved, instead of moving none.",
        ),
        Argument::new("write_device", ArgumentType::Bool).default(false).doc(
            "For V(add_failover_node) and V(remove_failover_node): also write the device of a target that is started, which is stopped and started for that.",
        ),
        Argument::new("node_is_down", ArgumentType::Bool).default(false).doc(
            "For V(move) and V(failover): the node where the target runs is switched off: don't stop it there. Two nodes with one target destroy it.",
        ),
        Argument::new("whole_pool", ArgumentType::Bool).default(false).doc(
            "For V(move) of a target on ZFS: move everything that is in use in its pool with it. Without this, a target whose pool has others in use is refused.",
        ),
        text("nids", "For V(replace_nids): NIDs of the target's node, then of each partner, as in V(10.0.0.5@tcp:10.0.0.6@tcp). \
             For V(add_failover_node) and V(remove_failover_node): those of the one partner."),
        confirm::argument("what the target had")
            .doc("For V(replace_nids), V(add_failover_node) and V(remove_failover_node); counted from the end of the job. M(chandelier.lustre.lustre_target) confirms, with O(chandelier.lustre.lustre_target#module:state=confirmed)."),
        Argument::new("set_mgs_nids", ArgumentType::Bool)
            .default(false)
            .doc("For V(writeconf): also write the MGS's NIDs onto the targets."),
        text("client", "For V(evacuate): the node that moves the files; it has an agent and the file system mounted."),
        text("mountpoint", "Where the client has it mounted; looked up when not given."),
        Argument::new("rate_bytes_per_s", ArgumentType::Int).doc("For V(evacuate): at most so many bytes a second."),
        text("window", "For V(evacuate): only in this time of the day, UTC, as in V(22:00-06:00)."),
    ];
    arguments.extend(common::waiting());
    arguments.extend(common::connection());
    Module {
        name: "lustre_job",
        summary: "Start, rest and stop operations on Lustre file systems",
        description: vec![
            "Starts an operation as a job of the MGS, and waits for its end unless told not to. In check mode the job is shown with its \
             steps and not started."
                .to_owned(),
        ],
        notes: vec![
            "An operation is done each time that the task runs; with O(name) it is done once.",
            "What a cancel leaves behind says docs/operations.md of the project.",
        ],
        see_also: &["lustre_job_info", "lustre_info", "lustre_target"],
        is_read_only: false,
        is_facts: false,
        spec: ArgumentSpec::new(arguments),
        examples: r#"- name: Empty an OST by night, once
  chandelier.lustre.lustre_job:
    api_url: http://10.0.0.1:7070
    operation: evacuate
    target: scratch-OST0001
    client: login1
    rate_bytes_per_s: 200000000
    window: 22:00-06:00
    name: empty-ost1-2026
    wait: false
  delegate_to: localhost
"#,
        returns: vec![
            ReturnValue {
                name: "job",
                kind: "dict",
                elements: None,
                returned: "success",
                description: "The job with its steps, as it was last seen; as it would be started in check mode.",
                sample: json!({"id": "writeconf-scratch-71", "kind": "writeconf", "state": "done", "steps": []}),
            },
            common::jobs(),
        ],
        run: |task| block_on(run(task)),
    }
}

async fn run(task: &Task<'_>) -> Result<Outcome, Failure> {
    let session = Session::new(task)?;
    match task.text("operation").unwrap_or_default() {
        "writeconf" => {
            let path = FilesystemPath { fsname: parsed(task, "filesystem")? };
            let body = WriteconfFilesystem { set_mgs_nids: task.is("set_mgs_nids") };
            start::<PostWriteconf>(task, &session, &path, &body).await
        }
        "move" => {
            let body = MoveTarget {
                node: given(task, "node")?,
                node_is_down: task.is("node_is_down"),
                whole_pool: task.is("whole_pool"),
            };
            start::<PostMove>(task, &session, &target(task)?, &body).await
        }
        "replace_nids" => {
            let body = ReplaceNids { nids: parsed(task, "nids")?, confirm_within_s: confirm::within(task)? };
            start::<PostReplaceNids>(task, &session, &target(task)?, &body).await
        }
        "evacuate" => {
            let body = EvacuateTarget {
                client: parsed(task, "client")?,
                mountpoint: task.text("mountpoint").map(str::to_owned),
                rate_bytes_per_s: task.params.get("rate_bytes_per_s").and_then(Value::as_u64),
                window: given(task, "window")?,
            };
            start::<PostEvacuate>(task, &session, &target(task)?, &body).await
        }
        "relabel" => start::<PostRelabel>(task, &session, &target(task)?, &RelabelTarget {}).await,
        "add_failover_node" => start::<PostAddFailoverNode>(task, &session, &target(task)?, &partner(task)?).await,
        "remove_failover_node" => {
            start::<PostRemoveFailoverNode>(task, &session, &target(task)?, &partner(task)?).await
        }
        "failover" => {
            let body = FailoverTargets {
                to: given(task, "to")?,
                node_is_down: task.is("node_is_down"),
                leave_others: task.is("leave_others"),
                at_once: None,
            };
            start::<PostFailover>(task, &session, &NodePath { node: parsed(task, "node")? }, &body).await
        }
        "failback" => {
            let body = FailbackTargets { leave_others: task.is("leave_others"), at_once: None };
            start::<PostFailback>(task, &session, &NodePath { node: parsed(task, "node")? }, &body).await
        }
        "scan" => match given(task, "node")? {
            Some(node) => start::<PostScan>(task, &session, &NodePath { node }, &ScanNode::default()).await,
            None => start::<PostScanNodes>(task, &session, &Nothing {}, &ScanNodes::default()).await,
        },
        other => on_job(task, &session, other).await,
    }
}

fn partner(task: &Task<'_>) -> Result<FailoverNode, Failure> {
    Ok(FailoverNode {
        node: given(task, "node")?,
        nids: given(task, "nids")?,
        write_device: task.is("write_device"),
        confirm_within_s: confirm::within(task)?,
    })
}

/// An option that may be left out.
fn given<T>(task: &Task<'_>, name: &str) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    task.text(name).map(|_| parsed(task, name)).transpose()
}

fn target(task: &Task<'_>) -> Result<TargetPath, Failure> {
    Ok(TargetPath { svname: parsed(task, "target")? })
}

/// An option that the operation needs.
fn parsed<T>(task: &Task<'_>, name: &str) -> Result<T, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let operation = task.text("operation").unwrap_or_default();
    let text = task.text(name).ok_or_else(|| Failure::from(format!("operation {operation} needs {name}")))?;
    text.parse().map_err(|error| Failure::from(format!("{name}: {error}")))
}

async fn start<E>(task: &Task<'_>, session: &Session, path: &E::Path, body: &E::Body) -> Result<Outcome, Failure>
where
    E: Endpoint<Query = WriteQuery, Reply = Written<Job>>,
    Written<Job>: DeserializeOwned,
{
    let job = task.text("name").map(|_| parsed(task, "name")).transpose()?;
    let is_check = task.internals.check_mode;
    let query = WriteQuery { dry_run: is_check, job, ..WriteQuery::default() };
    let written = session.mgs.call::<E>(path, &query, body).await.map_err(|error| session.explain(error))?;
    let outcome = Outcome { changed: written.changed, warnings: written.warnings, ..Outcome::default() };
    if is_check {
        return Ok(with(outcome, &written.object, false));
    }
    ended(task, session, outcome, written.object).await
}

/// Waits, where it shall; gives the job as it was last seen.
async fn ended(task: &Task<'_>, session: &Session, outcome: Outcome, job: Job) -> Result<Outcome, Failure> {
    if !task.is("wait") {
        return Ok(with(outcome, &job, true));
    }
    jobs::wait(task, session, std::slice::from_ref(&job.id)).await?;
    let job = read(session, job.id).await?;
    Ok(with(outcome, &job, true))
}

async fn on_job(task: &Task<'_>, session: &Session, operation: &str) -> Result<Outcome, Failure> {
    let path = JobPath { id: parsed(task, "id")? };
    let before = read(session, path.id.clone()).await?;
    let query = WriteQuery { dry_run: task.internals.check_mode, ..WriteQuery::default() };
    let nothing = Nothing {};
    let changed = match operation {
        "pause" | "resume" => {
            let written = match operation {
                "pause" => session.mgs.call::<PauseJob>(&path, &query, &nothing).await,
                _ => session.mgs.call::<ResumeJob>(&path, &query, &nothing).await,
            };
            written.map_err(|error| session.explain(error))?.changed
        }
        "cancel" => {
            let is_open = !before.state.is_final();
            if is_open && !task.internals.check_mode {
                let asked = session.mgs.call::<CancelJob>(&path, &nothing, &nothing).await;
                asked.map_err(|error| session.explain(error))?;
            }
            is_open
        }
        _ => {
            if !task.internals.check_mode {
                return ended(task, session, Outcome::default(), before).await;
            }
            false
        }
    };
    let job = read(session, path.id).await?;
    Ok(with(Outcome { changed, ..Outcome::default() }, &job, false))
}

async fn read(session: &Session, id: JobId) -> Result<Job, Failure> {
    let job = session.mgs.call::<GetJob>(&JobPath { id }, &WaitQuery::default(), &Nothing {}).await;
    Ok(job.map_err(|error| session.explain(error))?)
}

fn with(outcome: Outcome, job: &Job, is_started: bool) -> Outcome {
    let mut values = Map::new();
    values.insert("job".to_owned(), json_of(job));
    if is_started {
        values.insert("jobs".to_owned(), json!([job.id]));
    }
    Outcome { values, ..outcome }
}
