//! A node for tests: the real daemon, with image files and loop devices for disks. Needs root.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test that can't go on shall say so by failing"
)]

pub(crate) mod killed;

use lustre_api::{
    Nothing, Problem,
    agent::{
        AgentJob, AgentOp, CancelAgentJob, CheckFormat, FormatCheck, FormatOp, FormattedDevices, GetAgentJob,
        GetFormatted, GetInventory, Inventory, PutAgentJob,
    },
    device::Device,
    job::{JobId, JobPath, JobState, WaitQuery},
    node_param::{NodeParamSetting, NodeParams, NodeParamsSet, ReadNodeParams, ReadParams, SetNodeParams, SetParams},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use rest::{Client, ClientError};
use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take here before the test says that it hangs: much longer than on a machine that does many times
/// more than it can.
const DEADLINE: Duration = Duration::from_secs(180);

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const TIB: u64 = 1 << 40;

/// A node with a running agent.
pub(crate) struct Node {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
    client: Client,
    mgs: Option<String>,
    /// Environment of the agent, and so of the programs that it runs.
    env: Vec<(String, String)>,
    /// Where its agents run, if not in the mount namespace of the test.
    kernel: Option<LustreKernel>,
    /// Its own ZFS, where it has one.
    pub(crate) zfs: Option<testkit::ZfsNode>,
}

impl Node {
    pub(crate) fn start() -> Self {
        Self::start_with(None)
    }

    /// A node with a ZFS and a host id of its own.
    pub(crate) fn with_zfs(hostid: u32) -> Self {
        let mut node = Self::prepared(None);
        node.zfs = Some(testkit::ZfsNode::start(hostid).unwrap());
        node.restart();
        node
    }

    /// Its own ZFS.
    pub(crate) fn zfs(&self) -> &testkit::ZfsNode {
        self.zfs.as_ref().unwrap()
    }

    /// A node whose agent enrols at an MGS.
    pub(crate) fn start_with(mgs: Option<String>) -> Self {
        let mut node = Self::prepared(mgs);
        node.restart();
        node
    }

    /// A node whose agent isn't started yet.
    fn prepared(mgs: Option<String>) -> Self {
        assert!(nix::unistd::geteuid().is_root(), "this test needs root: it works on loop devices");
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("images")).unwrap();
        let client = Client::new("http://127.0.0.1:1", None).unwrap();
        Self { dir, daemon: None, client, mgs, env: Vec::new(), kernel: None, zfs: None }
    }

    /// Has the agent run its programs with this variable, from now on.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
        self.restart();
    }

    /// Has the next agents run where the kernel seems to have Lustre, with a program of the tests' own for mount(8).
    pub(crate) fn with_lustre_kernel(&mut self, mount: &str) {
        // Not beside other stand-ins, which look for the programs that they stand for in the PATH.
        std::fs::create_dir(self.path("mounting")).unwrap();
        for name in ["mount", "mount.lustre"] {
            self.link_program(mount, &format!("mounting/{name}"));
        }
        self.kernel = Some(LustreKernel::start(&self.path("filesystems")));
        let path = format!("{}:{}", self.path("mounting").display(), std::env::var("PATH").unwrap());
        self.env.push(("PATH".to_owned(), path));
    }

    /// How often mount(8) was started to mount a target, and by which processes or with which arguments.
    pub(crate) fn mounts(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("mounting/mounts")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Starts the agent anew, on the state that the one before left.
    pub(crate) fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|line| panic!("the agent said {line:?}"));
    }

    /// As [`restart`](Self::restart). Errors: what it said where it doesn't listen; it has ended then.
    fn try_restart(&mut self) -> Result<(), String> {
        self.kill_agent();
        let mut daemon = self.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.daemon = Some(daemon);
        match line.trim().strip_prefix("listening on ") {
            Some(url) => {
                self.client = Client::new(url, None).unwrap();
                Ok(())
            }
            None => {
                self.kill_agent();
                Err(line)
            }
        }
    }

    /// Starts an agent that must end at once by itself; gives what it says.
    pub(crate) fn fails_to_start(&self) -> String {
        let output = self.command().output().unwrap();
        assert!(!output.status.success(), "it started");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn command(&self) -> Command {
        let program = env!("CARGO_BIN_EXE_lustre-agent");
        let mut command = match &self.kernel {
            None => self.zfs.as_ref().map_or_else(|| Command::new(program), |zfs| zfs.command(program)),
            Some(kernel) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--mount=/proc/{}/ns/mnt", kernel.0.id())).arg(program);
                command
            }
        };
        command.args(["--node", "oss1", "--listen", "127.0.0.1:0", "--nid", "127.0.0.1@tcp", "--log", "warn"]);
        command.arg("--state-dir").arg(self.path("state")).arg("--image-dir").arg(self.path("images"));
        command.arg("--socket").arg(self.path("agent.sock")).arg("--param-root").arg(self.path("root"));
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        if let Some(mgs) = &self.mgs {
            command.args(["--mgs", mgs]);
        }
        command
    }

    /// SIGKILL, to the agent alone.
    pub(crate) fn kill_agent(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    /// A tunable of the node, as the kernel would show it.
    pub(crate) fn tunable(&self, path: &str, value: &str) {
        let path = self.path("root/sys/fs/lustre").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{value}\n")).unwrap();
    }

    /// Reads tunables.
    pub(crate) async fn params(&self, patterns: &[&str]) -> NodeParams {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let wanted = ReadNodeParams { patterns, ..ReadNodeParams::default() };
        self.client.call::<ReadParams>(&Nothing {}, &Nothing {}, &wanted).await.unwrap()
    }

    /// Sets a tunable.
    pub(crate) async fn set_param(&self, pattern: &str, value: &str) -> Result<NodeParamsSet, Problem> {
        let setting = NodeParamSetting { pattern: pattern.into(), value: value.into() };
        let wanted = SetNodeParams { settings: vec![setting] };
        refusal(self.client.call::<SetParams>(&Nothing {}, &Nothing {}, &wanted).await)
    }

    /// A sparse image file that the agent takes as a device.
    pub(crate) fn image(&self, name: &str, size: u64) -> PathBuf {
        let path = self.path("images").join(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        path
    }

    /// A loop device on a sparse file.
    pub(crate) fn loop_device(&self, name: &str, size: u64) -> LoopDevice {
        let path = self.path(name);
        File::create(&path).unwrap().set_len(size).unwrap();
        LoopDevice::on(&path)
    }

    pub(crate) async fn put(&self, id: &str, op: &FormatOp) -> Result<AgentJob, Problem> {
        self.put_op(id, &AgentOp::Format(op.clone())).await
    }

    pub(crate) async fn put_op(&self, id: &str, op: &AgentOp) -> Result<AgentJob, Problem> {
        let path = JobPath { id: id.parse().unwrap() };
        refusal(self.client.call::<PutAgentJob>(&path, &Nothing {}, op).await)
    }

    pub(crate) async fn cancel(&self, id: &str) -> AgentJob {
        self.try_cancel(id).await.unwrap()
    }

    pub(crate) async fn try_cancel(&self, id: &str) -> Result<AgentJob, Problem> {
        let path = JobPath { id: id.parse().unwrap() };
        refusal(self.client.call::<CancelAgentJob>(&path, &Nothing {}, &Nothing {}).await)
    }

    pub(crate) async fn job(&self, id: &str) -> AgentJob {
        let path = JobPath { id: id.parse::<JobId>().unwrap() };
        self.client.call::<GetAgentJob>(&path, &WaitQuery::default(), &Nothing {}).await.unwrap()
    }

    /// Waits for news of a job until `is_it` says that it is as expected.
    pub(crate) async fn wait_for(&self, id: &str, is_it: impl Fn(&AgentJob) -> bool) -> AgentJob {
        let path = JobPath { id: id.parse().unwrap() };
        let begun = Instant::now();
        let mut job = self.job(id).await;
        while !is_it(&job) {
            assert!(!job.state.is_final() && begun.elapsed() < DEADLINE, "not as expected: {job:#?}");
            let query = WaitQuery { wait_s: Some(5), seen: Some(job.version) };
            job = self.client.call::<GetAgentJob>(&path, &query, &Nothing {}).await.unwrap();
        }
        job
    }

    pub(crate) async fn end_of(&self, id: &str) -> AgentJob {
        self.wait_for(id, |job| job.state.is_final()).await
    }

    /// Formats, to the end.
    pub(crate) async fn format(&self, id: &str, op: &FormatOp) -> AgentJob {
        self.put(id, op).await.unwrap();
        self.end_of(id).await
    }

    /// Formats and expects that it worked.
    pub(crate) async fn formatted(&self, id: &str, op: &FormatOp) -> lustre_api::job::FormatResult {
        let job = self.format(id, op).await;
        assert_eq!(job.state, JobState::Done, "{job:#?}");
        job.formatted.unwrap()
    }

    /// Formats and expects a refusal; gives its message.
    pub(crate) async fn refused(&self, id: &str, op: &FormatOp) -> String {
        let job = self.format(id, op).await;
        assert_eq!(job.state, JobState::Failed, "{job:#?}");
        assert!(!job.retryable && job.formatted.is_none(), "{job:#?}");
        job.message.unwrap()
    }

    pub(crate) async fn check(&self, op: &FormatOp) -> Result<FormatCheck, Problem> {
        refusal(self.client.call::<CheckFormat>(&Nothing {}, &Nothing {}, op).await)
    }

    pub(crate) async fn targets(&self) -> FormattedDevices {
        self.client.call::<GetFormatted>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap()
    }

    pub(crate) async fn inventory(&self) -> Inventory {
        self.client.call::<GetInventory>(&Nothing {}, &Nothing {}, &Nothing {}).await.unwrap()
    }

    pub(crate) async fn device(&self, path: &Path) -> Device {
        let path = path.to_str().unwrap();
        let inventory = self.inventory().await;
        inventory
            .devices
            .into_iter()
            .find(|device| device.is_named(path))
            .unwrap_or_else(|| panic!("{path} isn't there"))
    }

    /// Waits until the job's `mke2fs` runs, and stops it there: nothing goes on until it is killed or continued.
    pub(crate) async fn halted_mke2fs(&self, id: &str) -> Pid {
        let job = self.wait_for(id, |job| !job.command.is_empty()).await;
        let uuid = &uuid_of(&job);
        let begun = Instant::now();
        loop {
            if let Some(process) = lustre_agent::host::detached::find_by_argument(uuid) {
                let pid = Pid::from_raw(process.pid);
                kill(pid, Signal::SIGSTOP).unwrap();
                return pid;
            }
            assert!(begun.elapsed() < DEADLINE, "mke2fs of {id} never ran: {:#?}", self.job(id).await);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The UUID that a format chose: its `mke2fs` has it among its arguments.
pub(crate) fn uuid_of(job: &AgentJob) -> String {
    job.command[job.command.iter().position(|word| word == "-U").unwrap() + 1].clone()
}

/// The running `mke2fs` of a job, whoever started it.
pub(crate) fn mke2fs_of(job: &AgentJob) -> Option<Pid> {
    lustre_agent::host::detached::find_by_argument(&uuid_of(job)).map(|process| Pid::from_raw(process.pid))
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill_agent();
    }
}

/// A mount namespace in which the kernel seems to have Lustre. It ends with its last process.
struct LustreKernel(Child);

impl LustreKernel {
    fn start(filesystems: &Path) -> Self {
        std::fs::write(filesystems, "\text4\nnodev\tlustre_tgt\n").unwrap();
        let script = "/bin/mount --bind \"$1\" /proc/filesystems && echo ready && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(filesystems);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "this test needs root: it makes a mount namespace");
        Self(child)
    }
}

impl Drop for LustreKernel {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loop device, detached at the end of the test.
pub(crate) struct LoopDevice(pub(crate) PathBuf);

impl LoopDevice {
    pub(crate) fn on(file: &Path) -> Self {
        let output = run("losetup", &["--find", "--show", file.to_str().unwrap()]);
        Self(String::from_utf8(output.stdout).unwrap().trim().into())
    }

    /// With logical sectors of so many bytes.
    pub(crate) fn with_sectors(file: &Path, bytes: &str) -> Self {
        let output = run("losetup", &["--find", "--show", "--sector-size", bytes, file.to_str().unwrap()]);
        Self(String::from_utf8(output.stdout).unwrap().trim().into())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// A mount, undone at the end of the test.
pub(crate) struct Mount(PathBuf);

impl Mount {
    pub(crate) fn of(device: &Path, at: &Path) -> Self {
        std::fs::create_dir_all(at).unwrap();
        run("mount", &[device.to_str().unwrap(), at.to_str().unwrap()]);
        Self(at.to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Runs a program that must be there and must succeed.
pub(crate) fn run(tool: &str, args: &[&str]) -> Output {
    let output = Command::new(tool)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("{tool}: {error}; apt-get install xfsprogs lvm2 mdadm fdisk gdisk e2fsprogs"));
    assert!(output.status.success(), "{tool} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// A file in a device's file system, without mounting it.
pub(crate) fn read_file(device: &Path, file: &str) -> Vec<u8> {
    run("debugfs", &["-R", &format!("cat {file}"), device.to_str().unwrap()]).stdout
}

/// The bytes that a format must never touch when it refuses.
pub(crate) fn ends_of(device: &Path) -> Vec<u8> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = File::open(device).unwrap();
    let mut bytes = vec![0; MIB as usize];
    file.read_exact(&mut bytes).unwrap();
    let mut tail = vec![0; MIB as usize];
    file.seek(SeekFrom::End(-(MIB as i64))).unwrap();
    file.read_exact(&mut tail).unwrap();
    bytes.extend(tail);
    bytes
}

/// A plain target on a device.
pub(crate) fn op(svname: &str, device: &Path) -> FormatOp {
    serde_json::from_value(serde_json::json!({
        "svname": svname, "device": device, "mgs_nids": "10.9.0.1@tcp",
    }))
    .unwrap()
}

fn refusal<T>(answer: Result<T, ClientError>) -> Result<T, Problem> {
    answer.map_err(|error| match error {
        ClientError::Problem(problem) => problem,
        other => panic!("{other}"),
    })
}
