//! Options and return values that several modules have.

use serde_json::json;

use super::ReturnValue;
use crate::argspec::{Argument, ArgumentType};

/// Where a node agent listens for local root.
pub(super) const AGENT_SOCKET: &str = "/run/lustre-agent/api.sock";

/// How to reach the MGS: by the agent of the host, or from the controller.
pub(crate) fn connection() -> Vec<Argument> {
    vec![
        Argument::new("api_url", ArgumentType::Str)
            .doc("Address of the MGS's API, as in V(http://10.0.0.1:7070). The task then runs on the controller and needs no host.")
            .doc("Of several MGSs that share a store, give all, with commas between.")
            .doc("Without it the task runs on its host, and the agent there passes the calls on to the MGS that it enrolled with."),
        Argument::new("api_token", ArgumentType::Str)
            .secret()
            .env("LUSTRE_API_TOKEN")
            .doc("Token for the API.")
            .doc("Where the task does not give it, the environment variable E(LUSTRE_API_TOKEN) does."),
        agent_socket(),
    ]
}

/// The agent's socket.
pub(super) fn agent_socket() -> Argument {
    Argument::new("agent_socket", ArgumentType::Path)
        .default(AGENT_SOCKET)
        .doc("The agent's unix socket on the host. Only root may use it: the task needs C(become: true).")
}

/// `state`.
pub(super) fn state(present: &str, absent: &str) -> Argument {
    Argument::new("state", ArgumentType::Str)
        .choices(["present", "absent"])
        .default("present")
        .doc(&format!("V(present): {present}"))
        .doc(&format!("V(absent): {absent}"))
}

/// `mode`, of `what`.
pub(super) fn mode(what: &str) -> Argument {
    Argument::new("mode", ArgumentType::Str)
        .choices(["exact", "add", "remove"])
        .default("exact")
        .doc(&format!("What {what} mean."))
        .doc("V(exact): these, and no other.")
        .doc("V(add): these too; what is there already is no error.")
        .doc("V(remove): none of these; what is not there is no error.")
}

/// `fingerprint`.
pub(super) fn fingerprint() -> Argument {
    Argument::new("fingerprint", ArgumentType::Str)
        .doc("RV(fingerprint) of an earlier run in check mode. The task fails, and changes nothing, if its plan is another one by now.")
}

/// `wait` and `wait_timeout`, for what is done by jobs.
pub(crate) fn waiting() -> Vec<Argument> {
    vec![
        Argument::new("wait", ArgumentType::Bool)
            .default(true)
            .doc("Wait until the jobs are done. V(false) returns at once with their ids in RV(jobs); M(chandelier.lustre.lustre_info) shows them."),
        Argument::new("wait_timeout", ArgumentType::Int)
            .default(3600)
            .doc("Give up waiting after so many seconds. The jobs go on all the same."),
    ]
}

/// What every module returns that plans.
pub(super) fn planned(resource: ReturnValue) -> Vec<ReturnValue> {
    let previous = ReturnValue {
        name: "previous",
        returned: "always",
        description: "The same before the task, null for what did not exist.",
        ..resource.clone()
    };
    vec![
        resource,
        previous,
        ReturnValue {
            name: "plan",
            kind: "list",
            elements: Some("dict"),
            returned: "always",
            description: "What had to be changed, in order; what would have to be in check mode. Empty if nothing had to be. \
                The same that C(terraform plan) shows.",
            sample: json!([{
                "object": {"kind": "pool", "filesystem": "scratch", "name": "flash"}, "action": "create",
                "fields": [{"path": "members", "before": null, "after": ["scratch-OST0000"], "effect": "in_place"}],
                "reason": "it does not exist", "destroys_data": false,
                "blast_radius": "new files in pool flash of scratch; existing files stay",
            }]),
        },
        ReturnValue {
            name: "fingerprint",
            kind: "str",
            elements: None,
            returned: "always",
            description: "Names the plan: the same changes have the same fingerprint. See O(fingerprint).",
            sample: json!("6b1f0c2a9d3e4f58"),
        },
        ReturnValue {
            name: "plan_incomplete",
            kind: "bool",
            elements: None,
            returned: "in check mode, when something is missing that an earlier task may have been going to make",
            description: "Whether the plan had to assume something, or could not be made at all; RV(warnings) say what.",
            sample: json!(true),
        },
        warnings(),
    ]
}

/// What one should know.
pub(super) fn warnings() -> ReturnValue {
    ReturnValue {
        name: "warnings",
        kind: "list",
        elements: Some("str"),
        returned: "when there are any",
        description: "What one should know although the task did not fail.",
        sample: json!([]),
    }
}

/// The jobs that were started.
pub(super) fn jobs() -> ReturnValue {
    ReturnValue {
        name: "jobs",
        kind: "list",
        elements: Some("str"),
        returned: "when jobs were started",
        description: "Ids of the jobs that carry the plan out on the nodes.",
        sample: json!(["ensure-scratch-ost0001-7"]),
    }
}
