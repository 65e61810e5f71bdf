//! What the tests here begin with: a site of one node, and configurations for it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::os::unix::process::CommandExt;
use testkit::{Agent, Cluster, HaltedFormat, Said, Terraform, run};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const TIB: u64 = 1 << 40;

/// The file system that everything here belongs to.
pub(crate) const FILESYSTEM: &str =
    "resource \"lustre_filesystem\" \"scratch\" {\n  name = \"scratch\"\n  deletion_policy = \"DEREGISTER\"\n}\n";

/// A resource for a target on node `oss1`. `more` is further lines.
pub(crate) fn target(name: &str, kind: &str, device: &Path, more: &str) -> String {
    format!(
        "resource \"lustre_target\" \"{name}\" {{\n  kind = \"{kind}\"\n  filesystem = lustre_filesystem.scratch.name\n  \
         node = \"oss1\"\n  device = {device:?}\n  {more}\n}}\n"
    )
}

/// A resource for a tunable of the clients.
pub(crate) fn dirty(megabytes: &str, more: &str) -> String {
    format!(
        "resource \"lustre_param\" \"dirty\" {{\n  filesystem = lustre_filesystem.scratch.name\n  scope = \"clients\"\n  \
         name = \"osc.*.max_dirty_mb\"\n  value = {megabytes:?}\n  {more}\n}}\n"
    )
}

/// An MGS, node `oss1`, and a directory for terraform.
pub(crate) struct Site {
    pub(crate) cluster: Cluster,
    pub(crate) ws: Terraform,
}

impl Site {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start(&["oss1"])?;
        let ws = Terraform::at(cluster.mgs.endpoint());
        Ok(Self { cluster, ws })
    }

    pub(crate) fn agent(&self) -> &Agent {
        self.cluster.agent("oss1")
    }

    /// A blank image file on the node.
    pub(crate) fn image(&self, name: &str, size_bytes: u64) -> anyhow::Result<PathBuf> {
        self.agent().image(name, size_bytes)
    }

    /// Another person's directory: same MGS, no state.
    pub(crate) fn somebody_else(&self) -> Terraform {
        Terraform::at(self.cluster.mgs.endpoint())
    }

    /// How many jobs the MGS ever had.
    pub(crate) fn jobs(&self) -> anyhow::Result<usize> {
        Ok(self.cluster.mgsctl(&["job", "list", "--all"])?.as_array().map_or(0, Vec::len))
    }
}

/// A site, an apply that runs, and the format of MDT0000 that it waits for, stopped in the middle.
pub(crate) struct Formatting {
    pub(crate) site: Site,
    pub(crate) mdt: PathBuf,
    pub(crate) apply: Child,
    pub(crate) format: HaltedFormat,
}

impl Formatting {
    pub(crate) fn begin() -> anyhow::Result<Self> {
        let site = Site::start()?;
        let mdt = site.image("mdt0", TIB)?;
        site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("mdt0", "mdt", &mdt, "index = 0")));
        let apply = spawn(&site.ws, &["apply", "-auto-approve"])?;
        let format = HaltedFormat::of(&mdt)?;
        Ok(Self { site, mdt, apply, format })
    }
}

/// A terraform that runs beside the test, in a process group of its own, as at a terminal.
pub(crate) fn spawn(ws: &Terraform, arguments: &[&str]) -> anyhow::Result<Child> {
    let mut command = ws.command(arguments);
    command.arg("-no-color").stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    Ok(command.spawn()?)
}

/// Ctrl-C at its terminal.
pub(crate) fn interrupt(child: &Child) -> anyhow::Result<()> {
    run(Command::new("kill").args(["-INT", "--", &format!("-{}", child.id())])).map(drop)
}

/// Waits for its end.
pub(crate) fn end_of(child: Child) -> anyhow::Result<Said> {
    Ok(Terraform::said_of(&child.wait_with_output()?))
}

/// The label of the ext4 file system on a device.
pub(crate) fn label(device: &Path) -> anyhow::Result<String> {
    Ok(run(Command::new("/usr/sbin/e2label").arg(device))?.trim().to_owned())
}

/// The UUID of the ext4 file system on a device: another one was another format.
pub(crate) fn uuid(device: &Path) -> anyhow::Result<String> {
    let text = run(Command::new("/usr/sbin/dumpe2fs").arg("-h").arg(device))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Filesystem UUID:"));
    Ok(line.map(|uuid| uuid.trim().to_owned()).unwrap_or_default())
}
