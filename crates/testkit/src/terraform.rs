//! The real `terraform` with this build's provider.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// A directory in which `terraform` runs with the provider of this build.
pub struct Terraform {
    dir: TempDir,
    endpoint: String,
}

/// What a run of `terraform` gave.
pub struct Ran {
    /// Exit code; 2 of `plan -detailed-exitcode` means that there are changes.
    pub code: i32,
    /// Standard output and standard error.
    pub text: String,
}

impl Terraform {
    /// Takes the configuration from the files of `example` (a directory).
    pub fn of_example(example: &Path, endpoint: &str) -> anyhow::Result<Self> {
        let main = std::fs::read_to_string(example.join("main.tf")).with_context(|| example.display().to_string())?;
        Self::of_text(&main, endpoint)
    }

    /// Takes the configuration from a text.
    pub fn of_text(main: &str, endpoint: &str) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let provider = crate::binary("terraform-provider-lustre")?;
        let bin = provider.parent().context("a binary is in a directory")?;
        let config = format!(
            "provider_installation {{\n  dev_overrides {{\n    \"chandelier/lustre\" = \"{}\"\n  }}\n  direct {{}}\n}}\n",
            bin.display()
        );
        std::fs::write(dir.path().join("terraform.rc"), config)?;
        std::fs::write(dir.path().join("main.tf"), main)?;
        Ok(Self { dir, endpoint: endpoint.to_owned() })
    }

    /// Replaces the configuration.
    pub fn edit(&self, main: &str) -> anyhow::Result<()> {
        Ok(std::fs::write(self.dir.path().join("main.tf"), main)?)
    }

    /// The command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.args(arguments).current_dir(self.dir.path());
        command.env("TF_CLI_CONFIG_FILE", self.path("terraform.rc")).env("LUSTRE_MGS_ENDPOINT", &self.endpoint);
        command.env("TF_IN_AUTOMATION", "1").env("CHECKPOINT_DISABLE", "1");
        command
    }

    /// Runs it to its end.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Ran> {
        let output = self.command(arguments).output().context("can't run terraform; is it on PATH?")?;
        let text = [output.stdout, output.stderr].concat();
        Ok(Ran { code: output.status.code().unwrap_or(-1), text: String::from_utf8_lossy(&text).into_owned() })
    }

    /// `apply -auto-approve` that must succeed.
    pub fn apply(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let ran = self.run(&[&["apply", "-auto-approve", "-no-color"], arguments].concat())?;
        ensure!(ran.code == 0, "terraform apply: {}", ran.text);
        Ok(ran.text)
    }

    /// `plan -detailed-exitcode`: whether there are changes, and the text.
    pub fn plan(&self, arguments: &[&str]) -> anyhow::Result<(bool, String)> {
        let ran = self.run(&[&["plan", "-detailed-exitcode", "-no-color"], arguments].concat())?;
        ensure!(matches!(ran.code, 0 | 2), "terraform plan: {}", ran.text);
        Ok((ran.code == 2, ran.text))
    }

    /// The outputs, by name.
    pub fn outputs(&self) -> anyhow::Result<Value> {
        let ran = self.run(&["output", "-json"])?;
        ensure!(ran.code == 0, "terraform output: {}", ran.text);
        Ok(serde_json::from_str(&ran.text)?)
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
