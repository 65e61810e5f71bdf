//! Which version of the state a change needs: what a program has to know that is to read it, and to write it back whole.
//!
//! The patterns name every variant and every field, so who adds one has to say here since which version it is there. A row
//! of an object of which a version has no kind, and a field that a program of that version would refuse or drop, needs the
//! next one. What an agent says of its node needs none: where it was dropped, the agent says it again.

use lustre_api::agent::{AgentOp, FormatOp, StartOp, StopOp};
use lustre_api::agent_ops::StopForce;
use lustre_api::job::{JobKind, JobObject, StepKind};
use lustre_api::node::NodeSettings;
use lustre_api::target::TargetSpec;

use crate::key::Key;
use crate::record::{Change, JobRecord, NodeRecord, OwnAct, OwnerRecord, Record, TargetRecord};

/// The first version.
const FIRST: u32 = 1;
/// Operations on whole file systems, parts of jobs, nodes that people drain, removals that come back, targets on ZFS.
const OPERATIONS: u32 = 2;

impl Change {
    /// The lowest version of the state whose programs read this and keep all of it. Removals need none.
    pub fn needs(&self) -> u32 {
        self.record.as_ref().map_or(FIRST, |record| of_key(&self.key).max(of_record(record)))
    }
}

fn since(is_there: bool, version: u32) -> u32 {
    if is_there { version } else { FIRST }
}

fn of_key(key: &Key) -> u32 {
    match key {
        Key::Mgs
        | Key::Filesystem(_)
        | Key::Retired(_)
        | Key::Target(_)
        | Key::Device(..)
        | Key::Param(_)
        | Key::Nodemap(_)
        | Key::NodemapsActive
        | Key::Temporary(_)
        | Key::Pool(..)
        | Key::Node(_)
        | Key::Job(_)
        | Key::Owner(_)
        | Key::Webhook(_)
        | Key::Log(..)
        | Key::NidTable(_)
        | Key::NidRow(_)
        | Key::Source => FIRST,
        Key::Hold(object) => of_object(object),
        Key::Removed(_) => OPERATIONS,
    }
}

fn of_record(record: &Record) -> u32 {
    match record {
        Record::Target(target) => of_target(target),
        Record::Node(node) => {
            let NodeRecord { api_url: _, info: _, enrolled: _, settings } = &**node;
            since(*settings != NodeSettings::default(), OPERATIONS)
        }
        Record::Job(job) => of_job(job),
        Record::Removed(_) => OPERATIONS,
        Record::Owner(owner) => {
            // Nobody but the owner writes it, and others need none of it.
            let OwnerRecord { instance: _, url: _, knows: _ } = owner;
            FIRST
        }
        Record::Mgs(_)
        | Record::Filesystem(_)
        | Record::Retired(_)
        | Record::Device(_)
        | Record::Param(_)
        | Record::Temporary(_)
        | Record::Nodemap(_)
        | Record::NodemapsActive(_)
        | Record::Pool(_)
        | Record::Hold(_)
        | Record::Webhook(_)
        | Record::Log(_)
        | Record::NidTable(_)
        | Record::NidRow(_)
        | Record::Source(_) => FIRST,
    }
}

fn of_object(object: &JobObject) -> u32 {
    match object {
        JobObject::Filesystem(_) | JobObject::Target(_) | JobObject::Node(_) => FIRST,
        JobObject::Param(_) | JobObject::Nodes(_) => OPERATIONS,
    }
}

fn of_target(target: &TargetRecord) -> u32 {
    let TargetRecord {
        spec,
        state: _,
        state_reason: _,
        was_registered: _,
        device_key: _,
        label: _,
        uuid: _,
        size_bytes: _,
        formatted_over: _,
        nids: _,
        registrant: _,
        runs_on,
        job: _,
        reserved_until: _,
        confirm: _,
        confirm_nids,
        token_sha256: _,
    } = target;
    since(runs_on.is_some() || confirm_nids.is_some(), OPERATIONS).max(of_spec(spec))
}

fn of_spec(spec: &TargetSpec) -> u32 {
    let TargetSpec {
        kind: _,
        filesystem: _,
        index: _,
        node: _,
        device: _,
        vdevs,
        failover_nodes: _,
        mkfs_options: _,
        mount_options: _,
        format_params: _,
        comment: _,
    } = spec;
    since(!vdevs.is_empty(), OPERATIONS)
}

fn of_job(record: &JobRecord) -> u32 {
    let JobRecord { job, ops, own, holds, evacuation, at_once, confirm_within_s } = record;
    let of_kind = match job.kind {
        JobKind::EnsureTarget | JobKind::StartTarget | JobKind::StopTarget | JobKind::DeregisterTarget => FIRST,
        JobKind::EnsureProxy
        | JobKind::RemoveProxy
        | JobKind::Writeconf
        | JobKind::MoveTarget
        | JobKind::ReplaceNids
        | JobKind::Evacuate
        | JobKind::SetParam
        | JobKind::Grow
        | JobKind::Relabel
        | JobKind::AddFailoverNode
        | JobKind::RemoveFailoverNode
        | JobKind::Failover
        | JobKind::Failback
        | JobKind::Scan => OPERATIONS,
    };
    let has_more = evacuation.is_some() || at_once.is_some() || confirm_within_s.is_some();
    let parts = [of_kind, of_object(&job.object), since(has_more, OPERATIONS)].into_iter();
    let steps = job.steps.iter().map(|step| of_step(step.kind));
    let asked = ops.iter().flatten().map(of_op).chain(own.values().map(of_act));
    parts.chain(steps).chain(asked).chain(holds.iter().map(of_object)).max().unwrap_or(FIRST)
}

fn of_step(kind: StepKind) -> u32 {
    match kind {
        StepKind::Format
        | StepKind::Start
        | StepKind::Stop
        | StepKind::Register
        | StepKind::Deregister
        | StepKind::Job => FIRST,
        StepKind::LoadProxy
        | StepKind::UnloadProxy
        | StepKind::Tune
        | StepKind::ReplaceNids
        | StepKind::NoCreate
        | StepKind::Migrate
        | StepKind::Deactivate
        | StepKind::Verify
        | StepKind::LeavePools
        | StepKind::SetParam
        | StepKind::KeepParam
        | StepKind::Relabel
        | StepKind::FailoverNodes
        | StepKind::Scan => OPERATIONS,
    }
}

fn of_op(op: &AgentOp) -> u32 {
    match op {
        AgentOp::Format(op) => {
            let FormatOp {
                svname: _,
                fsname: _,
                device: _,
                vdevs,
                mgs_nids: _,
                failover_nodes: _,
                mkfs_options: _,
                mount_options: _,
                params: _,
                comment: _,
                expect_content: _,
                expect_size_bytes: _,
                allow_reformat: _,
            } = op;
            since(!vdevs.is_empty(), OPERATIONS)
        }
        AgentOp::Start(op) => {
            let StartOp { svname: _, device: _, mountpoint: _, pool_of } = op;
            since(pool_of.is_some(), OPERATIONS)
        }
        AgentOp::Stop(op) => {
            let StopOp { svname: _, device: _, timeout_s: _, force, export_pool } = op;
            since(*force != StopForce::Never || *export_pool, OPERATIONS)
        }
        AgentOp::Tune(_)
        | AgentOp::Relabel(_)
        | AgentOp::Scan(_)
        | AgentOp::Migrate(_)
        | AgentOp::FindFiles(_)
        | AgentOp::SetParam(_)
        | AgentOp::LoadProxy
        | AgentOp::UnloadProxy => OPERATIONS,
    }
}

fn of_act(act: &OwnAct) -> u32 {
    match act {
        OwnAct::Register | OwnAct::Deregister | OwnAct::Job(_) => FIRST,
        OwnAct::Ensure(_)
        | OwnAct::SetPart(_)
        | OwnAct::ReplaceNids(_)
        | OwnAct::Tunable(..)
        | OwnAct::LeavePools
        | OwnAct::Evacuate(_)
        | OwnAct::KeepParam(_)
        | OwnAct::Move(_)
        | OwnAct::FailoverNodes(_) => OPERATIONS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn needs(key: &str, record: &Value) -> u32 {
        Change::decode(key, Some(record.to_string().as_bytes())).unwrap().needs()
    }

    fn job(kind: &str, more: &Value) -> Value {
        let mut record = json!({
            "job": {"id": "j1", "kind": kind, "svname": "gold-OST0000", "state": "queued", "digest": "d",
                    "steps": [{"kind": "stop", "node": "oss1", "state": "queued"}], "who": "mgs",
                    "created": "2026-01-01T00:00:00Z", "version": 0},
            "ops": [{"kind": "stop", "svname": "gold-OST0000", "device": "/dev/sda"}],
        });
        record.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        record
    }

    #[test]
    fn what_version_1_wrote_needs_no_more() {
        assert_eq!(needs("job/j1", &job("stop_target", &json!({}))), 1);
        assert_eq!(needs("hold/fs/gold", &json!("j1")), 1);
        assert_eq!(
            needs("owner/jobs", &json!({"instance": "a", "url": "http://a", "knows": 2})),
            1,
            "its owner's alone"
        );
    }

    #[test]
    fn what_version_1_would_refuse_or_drop_needs_version_2() {
        let forced =
            json!({"ops": [{"kind": "stop", "svname": "gold-OST0000", "device": "/dev/sda", "force": "lazy"}]});
        for (kind, more) in [
            ("writeconf", json!({})),
            ("failover", json!({})),
            ("relabel", json!({})),
            ("stop_target", forced),
            ("stop_target", json!({"at_once": 3})),
            ("stop_target", json!({"confirm_within_s": 3})),
            ("stop_target", json!({"own": {"0": "leave_pools"}})),
            ("stop_target", json!({"holds": [{"param": "gold/osts/obdfilter.*.brw_size"}]})),
        ] {
            assert_eq!(needs("job/j1", &job(kind, &more)), 2, "{kind} {more}");
        }
        assert_eq!(needs("hold/param/gold/osts/obdfilter.*.brw_size", &json!("j1")), 2);
        let nodemap =
            json!({"until": "2026-01-01T00:00:00Z", "before": {"nodemap": {"id": 1, "spec": {"name": "lab"}}}});
        assert_eq!(needs("removed/nodemap/lab", &nodemap), 2);
        let info = json!({"node": "oss1", "agent_version": "0", "boot_id": "b", "kernel": "k", "start_driver": "none",
                          "nids": [], "abilities": ["format"]});
        let node = |settings: Value| json!({"api_url": "http://a", "info": info, "enrolled": "2026-01-01T00:00:00Z", "settings": settings});
        assert_eq!(needs("node/oss1", &node(json!({}))), 1, "the agent says again what is dropped");
        assert_eq!(needs("node/oss1", &node(json!({"drained": ""}))), 2);
    }
}
