//! A file system on two nodes whose targets register over LNet.

use std::path::{Path, PathBuf};

use lustre_api::agent::{FormattedDevice, GetAgentJob, GetFormatted, PutAgentJob};
use lustre_api::job::{JobPath, WaitQuery};
use lustre_api::target::{EnsureTarget, PostTarget};
use lustre_api::{Nothing, WriteQuery};
use rest::Client;
use serde_json::{Value, json};
use testkit::Cluster;

pub(crate) const MIB: u64 = 1 << 20;

/// An MGS with nodes `mds1` and `oss1`, and file system `scratch` with an MDT and OSTs.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Site {
    /// Without any target.
    pub(crate) fn start() -> Self {
        Self::on(&["mds1", "oss1"])
    }

    /// Without any target, on these nodes.
    pub(crate) fn on(nodes: &[&str]) -> Self {
        let cluster = Cluster::start_userspace(nodes).unwrap();
        cluster.mgsctl(&["fs", "create", "scratch"]).unwrap();
        Self { cluster, runtime: tokio::runtime::Runtime::new().unwrap() }
    }

    /// With MDT0000 and so many OSTs, all started.
    pub(crate) fn with_osts(osts: usize) -> Self {
        let site = Self::start();
        site.ensure("mds1", "mdt", "mdt0", 300 * MIB);
        for ost in 0..osts {
            site.ensure("oss1", "ost", &format!("ost{ost}"), 80 * MIB);
        }
        site
    }

    /// Ensures a target on an image file of its node and waits until it is started. Gives the file.
    pub(crate) fn ensure(&self, node: &str, kind: &str, image: &str, size_bytes: u64) -> PathBuf {
        let path = self.cluster.agent(node).image(image, size_bytes).unwrap();
        self.ensure_on(node, kind, &path, &json!({}));
        path
    }

    /// As [`Site::ensure`], on a device that is there, with more attributes.
    pub(crate) fn ensure_on(&self, node: &str, kind: &str, device: &Path, more: &Value) {
        let (svname, _) = self.ask_for(node, kind, device, more);
        self.reaches(&svname, "started");
    }

    /// Has a target made on a device; gives its name and its job's, which has just begun.
    pub(crate) fn begin_ensure(&self, node: &str, kind: &str, device: &Path) -> (String, String) {
        self.ask_for(node, kind, device, &json!({}))
    }

    fn ask_for(&self, node: &str, kind: &str, device: &Path, more: &Value) -> (String, String) {
        let mut target = json!({"kind": kind, "filesystem": "scratch", "node": node, "device": device});
        for (name, value) in more.as_object().unwrap() {
            target[name] = value.clone();
        }
        let body: EnsureTarget = serde_json::from_value(json!({"target": target})).unwrap();
        let client = Client::new(self.cluster.mgs.endpoint(), None).unwrap();
        let query = WriteQuery::default();
        let call = client.call::<PostTarget>(&Nothing {}, &query, &body);
        let written = self.runtime.block_on(call).unwrap();
        (written.object.svname.to_string(), written.job.unwrap().to_string())
    }

    /// Waits until a target is in a state.
    pub(crate) fn reaches(&self, svname: &str, state: &str) {
        let what = format!("{svname} to be {state}");
        let is_there = || {
            let target = self.target(svname);
            assert_ne!(target["state"], "failed", "{}", target["state_reason"]);
            let has_job = target["job"]
                .as_str()
                .is_some_and(|job| self.cluster.mgsctl(&["job", "show", job]).is_ok_and(|job| job["ended"].is_null()));
            Ok(target["state"] == state && !has_job)
        };
        self.cluster.wait_for(&what, is_there).unwrap();
    }

    pub(crate) fn target(&self, svname: &str) -> Value {
        self.cluster.mgsctl(&["target", "show", svname]).unwrap()
    }

    /// What an agent says of a target.
    pub(crate) fn on_node(&self, node: &str, svname: &str) -> FormattedDevice {
        let client = Client::new(self.cluster.agent(node).endpoint(), None).unwrap();
        let call = client.call::<GetFormatted>(&Nothing {}, &Nothing {}, &Nothing {});
        let all = self.runtime.block_on(call).unwrap().targets;
        // Loop devices are the machine's: tests beside this one may have a target of that name, too.
        let described = self.cluster.mgsctl(&["target", "show", svname]).ok();
        let is_its = |device: &str| described.as_ref().is_none_or(|described| described["device"] == device);
        let is_it =
            |target: &FormattedDevice| target.formatted_as.svname.to_string() == svname && is_its(&target.device);
        all.into_iter().find(is_it).unwrap()
    }

    /// Asks a node's agent to make another target on a device, whatever is on it. Gives why that failed.
    pub(crate) fn format_over(&self, node: &str, svname: &str, device: &str) -> String {
        let client = Client::new(self.cluster.agent(node).endpoint(), None).unwrap();
        let op = json!({
            "kind": "format", "svname": svname, "fsname": "scratch", "device": device,
            "mgs_nids": "127.0.0.1@tcp", "allow_reformat": true,
        });
        let (op, path) = (serde_json::from_value(op).unwrap(), JobPath { id: "over".parse().unwrap() });
        self.runtime.block_on(client.call::<PutAgentJob>(&path, &Nothing {}, &op)).unwrap();
        let mut wait = WaitQuery { wait_s: Some(30), seen: None };
        loop {
            let job = self.runtime.block_on(client.call::<GetAgentJob>(&path, &wait, &Nothing {})).unwrap();
            if job.state.is_final() {
                return job.message.unwrap_or_else(|| panic!("the job is {:?}", job.state));
            }
            wait.seen = Some(job.version);
        }
    }

    /// Waits until a running target has a parameter.
    pub(crate) fn has_param(&self, node: &str, svname: &str, key: &str, value: &str) {
        let is_set = || {
            let running = self.on_node(node, svname).running;
            Ok(running.is_some_and(|running| running.params.get(key).is_some_and(|found| found == value)))
        };
        self.cluster.wait_for(&format!("{svname} to have {key}={value}"), is_set).unwrap();
    }

    /// What `mgsctl mgs read` finds over the network.
    pub(crate) fn read(&self) -> Value {
        let address = format!("tcp://{}", self.cluster.mgs.lnet().unwrap());
        self.cluster.mgsctl(&["mgs", "read", &address, "--nid", "127.0.0.9@tcp", "--fsname", "scratch"]).unwrap()
    }
}
