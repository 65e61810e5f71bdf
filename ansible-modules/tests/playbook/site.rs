//! The MGS, the agents of `mds1` and `oss1`, and Ansible with the collection.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use testkit::Cluster;

const IMAGE_BYTES: u64 = 256 << 20;

/// Large enough for a format to be found at work. Sparse.
pub(crate) const HUGE_BYTES: u64 = 1 << 40;

/// A cluster of two nodes with three blank devices, and a directory in which Ansible finds the collection and an inventory.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) dir: tempfile::TempDir,
}

/// What a playbook run printed as JSON.
pub(crate) struct Played {
    pub(crate) output: Output,
    result: Value,
}

impl Played {
    pub(crate) fn stat(&self, host: &str, what: &str) -> u64 {
        self.result["stats"][host][what].as_u64().unwrap_or_else(|| panic!("no {what} of {host}: {}", self.text()))
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.output.status.success()
    }

    /// What changed on both nodes.
    pub(crate) fn changed(&self) -> (u64, u64) {
        (self.stat("mds1", "changed"), self.stat("oss1", "changed"))
    }

    /// Results of all tasks in the order in which they ended.
    pub(crate) fn results(&self) -> Vec<&Value> {
        let results = self.result["results"].as_array().unwrap_or_else(|| panic!("no results: {}", self.text()));
        results.iter().map(|task| &task["result"]).collect()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&[&self.output.stdout[..], &self.output.stderr[..]].concat()).into_owned()
    }
}

impl Site {
    pub(crate) fn start() -> Self {
        Self::of(Cluster::start(&["mds1", "oss1"]).unwrap())
    }

    /// Its targets are started, towards their MGS.
    pub(crate) fn with_started_targets() -> Self {
        Self::of(Cluster::start_userspace(&["mds1", "oss1"]).unwrap())
    }

    /// The same, and each node has a ZFS of its own.
    pub(crate) fn with_zfs() -> Self {
        Self::of(Cluster::start_zfs(&["mds1", "oss1"]).unwrap())
    }

    fn of(cluster: Cluster) -> Self {
        let site = Self { cluster, dir: tempfile::tempdir().unwrap() };
        let collection = testkit::repository().join("ansible-modules/collection");
        assert!(
            collection.join("plugins/bin").exists(),
            "the collection has no program; run ansible-modules/ci.sh build"
        );
        let namespace = site.dir.path().join("ansible_collections/chandelier");
        std::fs::create_dir_all(&namespace).unwrap();
        std::os::unix::fs::symlink(collection, namespace.join("lustre")).unwrap();
        let mdt = site.cluster.agent("mds1").image("mdt0", IMAGE_BYTES).unwrap();
        let osts = ["ost0", "ost1"].map(|name| site.cluster.agent("oss1").image(name, IMAGE_BYTES).unwrap());
        let host = |node: &str, targets: Value| json!({ "filesystem_agent_socket": site.cluster.agent(node).socket(), "lustre_targets": targets });
        site.inventory(&json!({ "lustre_servers": {
            "vars": { "ansible_connection": "local", "ansible_become": false, "lustre_fsname": "work" },
            "hosts": {
                "mds1": host("mds1", json!([{ "kind": "mdt", "index": 0, "device": mdt }])),
                "oss1": host("oss1", json!([
                    { "kind": "ost", "index": 0, "device": osts[0] }, { "kind": "ost", "index": 1, "device": osts[1] },
                ])),
            },
        }}));
        site
    }

    /// Replaces the inventory.
    pub(crate) fn inventory(&self, inventory: &Value) {
        std::fs::write(self.dir.path().join("inventory.yml"), inventory.to_string()).unwrap();
    }

    /// `ansible-playbook` with this inventory, not yet started.
    pub(crate) fn command(&self, playbook: &Path) -> Command {
        let mut command = Command::new(venv().join("bin/ansible-playbook"));
        command.arg("-i").arg(self.dir.path().join("inventory.yml")).arg(playbook).current_dir(self.dir.path());
        command.env("ANSIBLE_COLLECTIONS_PATH", self.dir.path()).env("ANSIBLE_HOME", self.dir.path().join("home"));
        command.env("ANSIBLE_CALLBACK_PLUGINS", testkit::repository().join("ansible-modules/tests/callback"));
        command.env("ANSIBLE_STDOUT_CALLBACK", "report").env_remove("LUSTRE_API_TOKEN");
        // For what core itself runs there: async_status. The one that it would discover may be any.
        command.env("ANSIBLE_PYTHON_INTERPRETER", venv().join("bin/python3"));
        command.env("ANSIBLE_ASYNC_DIR", self.dir.path().join("async"));
        command
    }

    pub(crate) fn played(command: &mut Command) -> Played {
        let output = command.output().unwrap_or_else(|error| {
            panic!("no ansible-playbook in {}: {error}; run ansible-modules/ci.sh venv", venv().display())
        });
        let result = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        Played { output, result }
    }

    /// Plays examples/ansible/site.yml.
    pub(crate) fn example(&self, more: &[&str]) -> Played {
        let playbook = testkit::repository().join("examples/ansible/site.yml");
        Self::played(self.command(&playbook).args(more))
    }

    /// Writes a playbook and plays it.
    pub(crate) fn play(&self, plays: &Value, more: &[&str]) -> Played {
        Self::played(self.command(&self.playbook(plays)).args(more))
    }

    /// Writes a playbook.
    pub(crate) fn playbook(&self, plays: &Value) -> PathBuf {
        let file = self.dir.path().join("play.yml");
        std::fs::write(&file, plays.to_string()).unwrap();
        file
    }

    /// Plays one task on oss1, by the agent there.
    pub(crate) fn task(&self, module: &str, options: &Value, more: &[&str]) -> Value {
        let mut options = options.clone();
        if options.get("api_url").is_none() {
            options["agent_socket"] = self.cluster.agent("oss1").socket().to_str().unwrap().into();
        }
        let task = json!({ format!("chandelier.lustre.{module}"): options });
        let played = self.play(&json!([{ "hosts": "oss1", "gather_facts": false, "tasks": [task] }]), more);
        played.results().first().unwrap_or_else(|| panic!("no result: {}", played.text())).to_owned().clone()
    }

    /// Plays tasks on oss1, by the agent there. Gives their results.
    pub(crate) fn tasks(&self, tasks: &[Value]) -> Vec<Value> {
        let socket = self.cluster.agent("oss1").socket();
        let defaults = json!({ "group/chandelier.lustre.all": { "agent_socket": socket } });
        let play = json!([{ "hosts": "oss1", "gather_facts": false, "module_defaults": defaults, "tasks": tasks }]);
        let played = self.play(&play, &[]);
        let results: Vec<Value> = played.results().into_iter().cloned().collect();
        assert!(!results.is_empty(), "no result: {}", played.text());
        results
    }

    /// Where an image of a node is.
    pub(crate) fn image(&self, node: &str, image: &str) -> PathBuf {
        self.cluster.dir().join(node).join("images").join(image)
    }

    pub(crate) fn bytes(&self, node: &str, image: &str) -> Vec<u8> {
        std::fs::read(self.image(node, image)).unwrap()
    }

    /// How many objects `mgsctl KIND list` lists.
    pub(crate) fn count(&self, kind: &str) -> usize {
        let list = self.cluster.mgsctl(&[kind, "list"]).unwrap();
        list.as_array().map_or_else(|| panic!("no list of {kind}: {list}"), Vec::len)
    }
}

/// A failed task's message.
pub(crate) fn message(result: &Value) -> &str {
    assert_eq!(result["failed"], true, "{result}");
    result["msg"].as_str().unwrap_or_else(|| panic!("no message: {result}"))
}

/// Where the real Ansible is.
pub(crate) fn venv() -> PathBuf {
    std::env::var_os("LUSTRE_ANSIBLE_VENV").map_or_else(|| testkit::repository().join(".venv"), PathBuf::from)
}
