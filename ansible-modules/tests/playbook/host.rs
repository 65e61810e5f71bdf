//! oss1 behind a real sshd, with and without sudo: what an action plugin does there. As root, or the mounts can't be made.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::site::{Played, Site, message};

/// A user of the host who is not root, and the password.
const OPERATOR: &str = "operator1";
const OPERATOR_UID: u32 = 4711;
const PASSWORD: &str = "correct horse";

/// A site whose oss1 is reached by ssh; see `host.sh`.
struct Host {
    site: Site,
    dir: tempfile::TempDir,
}

impl Host {
    /// With a line of sudoers for the operator.
    fn start(sudoers: &str) -> Self {
        assert!(is_root(), "these tests make mounts in a namespace; run them as root");
        for program in ["/usr/sbin/sshd", "/usr/bin/ssh", "/usr/bin/sudo"] {
            assert!(Path::new(program).exists(), "there is no {program}; tools/setup installs it");
        }
        let host = Self { site: Site::start(), dir: tempfile::tempdir().unwrap() };
        // The operator comes by here to the home directory.
        fs::set_permissions(host.dir.path(), Permissions::from_mode(0o755)).unwrap();
        for name in ["lib", "home"] {
            fs::create_dir(host.path(name)).unwrap();
        }
        chown(host.path("home"), Some(OPERATOR_UID), Some(OPERATOR_UID)).unwrap();
        let hash = testkit::run(Command::new("openssl").args(["passwd", "-6", PASSWORD])).unwrap();
        let home = host.path("home").display().to_string();
        host.etc("passwd", 0o644, &format!("{OPERATOR}:x:{OPERATOR_UID}:{OPERATOR_UID}::{home}:/bin/sh\n"));
        host.etc("group", 0o644, &format!("{OPERATOR}:x:{OPERATOR_UID}:\n"));
        host.etc("shadow", 0o640, &format!("{OPERATOR}:{}:19000:0:99999:7:::\n", hash.trim()));
        host.write("sudoers", 0o440, &format!("Defaults !lecture\nroot ALL=(ALL:ALL) ALL\n{sudoers}\n"));
        for key in ["host_key", "key"] {
            testkit::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(host.path(key)))
                .unwrap();
        }
        fs::set_permissions(host.path("key.pub"), Permissions::from_mode(0o644)).unwrap();
        let config = format!(
            "HostKey {0}/host_key\nAuthorizedKeysFile {0}/key.pub\nStrictModes no\nUsePAM no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n",
            host.dir.path().display()
        );
        host.write("sshd_config", 0o600, &config);
        let script = testkit::repository().join("ansible-modules/tests/playbook/host.sh");
        // No connection is kept: each round trip is a login of its own, which the log counts.
        let ssh = format!(
            "-o ControlMaster=no -o ControlPath=none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o 'ProxyCommand={} {}'",
            script.display(),
            host.dir.path().display()
        );
        host.site.inventory(&json!({ "all": { "hosts": { "oss1": {
            "ansible_connection": "ssh", "ansible_host": "oss1.test", "ansible_ssh_args": "",
            "ansible_ssh_common_args": ssh, "ansible_ssh_private_key_file": host.path("key"),
        }}}}));
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, mode: u32, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), Permissions::from_mode(mode)).unwrap();
    }

    /// This machine's file with more lines.
    fn etc(&self, name: &str, mode: u32, more: &str) {
        let own = fs::read_to_string(Path::new("/etc").join(name)).unwrap();
        self.write(name, mode, &(own + more));
    }

    /// Plays one task by ssh, with more variables for the host.
    fn task(&self, module: &str, variables: &Value) -> Played {
        self.task_with(module, variables, &json!({}))
    }

    /// With more keywords of the task.
    fn task_with(&self, module: &str, variables: &Value, keywords: &Value) -> Played {
        let mut task = keywords.clone();
        task[format!("chandelier.lustre.{module}")] =
            json!({ "agent_socket": self.site.cluster.agent("oss1").socket() });
        let play = json!([{ "hosts": "oss1", "gather_facts": false, "vars": variables, "tasks": [task] }]);
        self.site.play(&play, &[])
    }

    /// The facts that a task finds there.
    fn node(&self, variables: &Value) -> Value {
        let played = self.task("lustre_facts", variables);
        let results = played.results();
        let node =
            results.first().unwrap_or_else(|| panic!("{}", played.text()))["ansible_facts"]["lustre"]["node"].clone();
        assert!(node.is_string(), "{}\n{}", played.text(), self.log());
        node
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("sshd.log")).unwrap_or_default()
    }

    fn logins(&self) -> usize {
        self.log().matches("Accepted publickey").count()
    }

    /// What is left of a task in the home of the one who logged in.
    fn left_behind(&self, home: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(home.join(".ansible/tmp")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn is_root() -> bool {
    testkit::run(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_host_gets_the_program_once_and_a_task_is_then_one_round_trip() {
    let host = Host::start("");
    let root = json!({ "ansible_user": "root", "ansible_pipelining": true });
    assert_eq!(host.node(&root), "oss1");
    let first = host.logins();
    assert!(first > 1, "the program had to get there: {}", host.log());
    assert_eq!(host.node(&root), "oss1");
    assert_eq!(host.logins(), first + 1, "{}", host.log());

    // It is there under the name of its contents, root's, and for everybody to read.
    let cache = host.path("lib/lustre-modules");
    let names: Vec<_> = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let arch = std::env::consts::ARCH;
    let bin = testkit::repository().join("ansible-modules/collection/plugins/bin");
    let sum = fs::read_to_string(bin.join(format!("lustre-modules.{arch}.sha256"))).unwrap();
    assert_eq!(names, [sum.trim()]);
    // Another user's directory is not taken for it, whoever made it.
    chown(&cache, Some(OPERATOR_UID), None).unwrap();
    let refused = host.task("lustre_facts", &root);
    assert!(message(refused.results()[0]).contains("must belong to root"), "{}", refused.text());
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn an_operator_becomes_root_by_sudo() {
    let host = Host::start(&format!("{OPERATOR} ALL=(ALL) NOPASSWD: ALL"));
    let mut variables = json!({ "ansible_user": OPERATOR, "ansible_pipelining": true });
    let refused = host.task("lustre_facts", &variables);
    let said = message(refused.results()[0]).to_owned();
    assert!(said.contains("does the task run as root (become: true)"), "{said}");
    variables["ansible_become"] = true.into();
    assert_eq!(host.node(&variables), "oss1");
    let logins = host.logins();
    assert_eq!(host.node(&variables), "oss1");
    assert_eq!(host.logins(), logins + 1, "sudo costs no round trip");
    variables["ansible_pipelining"] = false.into();
    assert_eq!(host.node(&variables), "oss1");
    assert_eq!(host.left_behind(&host.path("home")), [""; 0].map(PathBuf::from), "no options stay on the disk");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn sudo_may_want_a_password() {
    let host = Host::start(&format!("{OPERATOR} ALL=(ALL) ALL"));
    let mut variables = json!({ "ansible_user": OPERATOR, "ansible_pipelining": true, "ansible_become": true });
    variables["ansible_become_password"] = PASSWORD.into();
    assert_eq!(host.node(&variables), "oss1");
    variables["ansible_become_password"] = "wrong".into();
    let refused = host.task("lustre_facts", &variables);
    assert!(refused.text().contains("Incorrect sudo password"), "{}", refused.text());
    assert!(!refused.text().contains(PASSWORD));
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn sudo_may_want_a_terminal() {
    let host = Host::start(&format!("Defaults requiretty\n{OPERATOR} ALL=(ALL) NOPASSWD: ALL"));
    for pipelining in [true, false] {
        let variables = json!({ "ansible_user": OPERATOR, "ansible_pipelining": pipelining, "ansible_become": true });
        assert_eq!(host.node(&variables), "oss1", "pipelining {pipelining}");
    }
    assert_eq!(host.left_behind(&host.path("home")), [""; 0].map(PathBuf::from), "no options stay on the disk");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn a_task_with_async_outlives_its_connection() {
    for sudoers in ["", "Defaults requiretty\n", "Defaults use_pty\n"] {
        let host = Host::start(&format!("{sudoers}{OPERATOR} ALL=(ALL) NOPASSWD: ALL"));
        let results = host.path("home/async");
        let mut variables = json!({ "ansible_user": OPERATOR, "ansible_become": true, "ansible_async_dir": results });
        for pipelining in [true, false] {
            if pipelining && sudoers.contains("requiretty") {
                continue; // That core's own async_status has no terminal then is between core and sudo.
            }
            variables["ansible_pipelining"] = pipelining.into();
            let played = host.task_with("lustre_facts", &variables, &json!({ "async": 60, "poll": 1 }));
            let found = played.results().first().map(|result| result["ansible_facts"]["lustre"]["node"].clone());
            assert_eq!(found, Some("oss1".into()), "{sudoers:?}, pipelining {pipelining}: {}", played.text());
        }
        assert_eq!(host.left_behind(&host.path("home")), [""; 0].map(PathBuf::from), "no options stay on the disk");
        let left: Vec<_> = fs::read_dir(&results).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(left.is_empty(), "results that were read are gone: {left:?}");
    }
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_program_alone_is_a_binary_module_too() {
    let site = Site::start();
    let library = site.dir.path().join("library");
    fs::create_dir(&library).unwrap();
    let arch = std::env::consts::ARCH;
    let bin = testkit::repository().join("ansible-modules/collection/plugins/bin");
    // In a role's library/, under the module's name: no collection, no action plugin, the options in a file.
    fs::copy(bin.join(format!("lustre-modules.{arch}")), library.join("lustre_facts")).unwrap();
    let socket = site.cluster.agent("oss1").socket();
    let play = json!([{ "hosts": "oss1", "gather_facts": false, "tasks": [
        { "lustre_facts": { "agent_socket": socket } },
        { "lustre_facts": { "agent_socket": socket }, "async": 30, "poll": 1 },
        { "lustre_facts": { "agent_sockets": socket } },
    ]}]);
    let playbook = site.playbook(&play);
    let played = Site::played(
        site.command(&playbook)
            .env("ANSIBLE_LIBRARY", &library)
            .env("ANSIBLE_COLLECTIONS_PATH", site.dir.path().join("none")),
    );
    let results = played.results();
    for found in &results[..2] {
        assert_eq!(found["ansible_facts"]["lustre"]["node"], "oss1", "{}", played.text());
    }
    let refused = message(results[2]);
    assert!(refused.starts_with("Unsupported parameters for (lustre_facts) module: agent_sockets"), "{refused}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_program_needs_nothing_of_the_host() {
    let arch = std::env::consts::ARCH;
    let bin = testkit::repository().join("ansible-modules/collection/plugins/bin");
    let root = tempfile::tempdir().unwrap();
    fs::copy(bin.join(format!("lustre-modules.{arch}")), root.path().join("lustre-modules")).unwrap();
    // A root directory with nothing else in it: no loader, no library.
    let output = Command::new("/usr/sbin/chroot").arg(root.path()).arg("/lustre-modules").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("it holds the modules lustre_facts, lustre_filesystem"), "{output:?}");
}

#[test]
#[ignore = "needs ansible-core in a venv: run by ansible-modules/ci.sh"]
fn the_program_for_the_other_architecture_talks_to_the_same_mgs() {
    let other = if cfg!(target_arch = "x86_64") { "aarch64" } else { "x86_64" };
    let program = testkit::repository().join(format!("ansible-modules/collection/plugins/bin/lustre-modules.{other}"));
    let mgs = testkit::Mgs::start().unwrap();
    let arguments = tempfile::NamedTempFile::new().unwrap();
    let task = json!({ "_ansible_module_name": "chandelier.lustre.lustre_info", "api_url": mgs.endpoint() });
    fs::write(arguments.path(), task.to_string()).unwrap();
    let mut qemu = Command::new(format!("qemu-{other}-static"));
    let ran = testkit::run(qemu.arg(&program).arg(arguments.path()));
    let said = ran.unwrap_or_else(|error| {
        panic!("{error:#}; tools/setup installs qemu-user-static, ci.sh build makes the program")
    });
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (said["changed"].as_bool(), said["mgs"]["nids"].as_str()),
        (Some(false), Some("10.9.0.1@tcp")),
        "{said}"
    );
}
