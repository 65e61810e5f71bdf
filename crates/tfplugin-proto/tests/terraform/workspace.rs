//! A directory with a configuration, and terraform in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A fresh directory: `main.tf`, state, and the files that the tiny provider keeps.
pub(crate) struct Workspace {
    dir: TempDir,
}

/// What a run of terraform said.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) text: String,
}

/// The provider binary that cargo builds together with this test.
pub(crate) fn tiny() -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let target = test.parent().and_then(Path::parent).expect("target/debug/deps/test");
    target.join("examples/tiny")
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("bin");
        std::os::unix::fs::symlink(tiny(), bin.join("terraform-provider-tiny")).expect("provider");
        std::fs::create_dir(dir.path().join("files")).expect("files");
        let cli =
            format!("provider_installation {{\n  dev_overrides {{ \"example/tiny\" = {bin:?} }}\n  direct {{}}\n}}\n");
        std::fs::write(dir.path().join("cli.tfrc"), cli).expect("cli config");
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A file of the tiny provider.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path("files").join(name)
    }

    /// Writes `main.tf`: the usual preamble, and `body`.
    pub(crate) fn config(&self, body: &str) {
        let root = self.path("files");
        let preamble = format!(
            "terraform {{\n  required_providers {{\n    tiny = {{ source = \"example/tiny\" }}\n  }}\n}}\n\
             provider \"tiny\" {{\n  root = {root:?}\n}}\n"
        );
        std::fs::write(self.path("main.tf"), preamble + body).expect("main.tf");
    }

    /// terraform, ready to run here.
    pub(crate) fn terraform(&self, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("TF_CLI_CONFIG_FILE", self.path("cli.tfrc"))
            .env("TF_IN_AUTOMATION", "1")
            .env("CHECKPOINT_DISABLE", "1")
            .env_remove("TF_LOG");
        command
    }

    /// Runs terraform to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        let Output { status, stdout, stderr } =
            self.terraform(args).arg("-no-color").output().expect("terraform; is it installed and in PATH?");
        // Messages are wrapped at the terminal's width; tests look for words.
        let text = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let text =
            text.split_whitespace().filter(|word| !matches!(*word, "│" | "╷" | "╵")).collect::<Vec<_>>().join(" ");
        Said { code: status.code().expect("an exit code"), text }
    }

    /// Applies, and insists that it works.
    pub(crate) fn apply(&self) -> Said {
        let said = self.run(&["apply", "-auto-approve"]);
        assert_eq!(said.code, 0, "{}", said.text);
        said
    }

    /// Plans; 0 is an empty plan, 2 is changes, 1 an error.
    pub(crate) fn plan(&self) -> Said {
        self.run(&["plan", "-detailed-exitcode"])
    }

    /// Insists that there is nothing to do.
    pub(crate) fn expect_empty_plan(&self) {
        let said = self.plan();
        assert_eq!(said.code, 0, "the plan is not empty: {}", said.text);
    }

    /// The attributes of a resource in state; null if it isn't there.
    pub(crate) fn state(&self, address: &str) -> Json {
        let output = self.terraform(&["show", "-json"]).output().expect("terraform");
        let state: Json = serde_json::from_slice(&output.stdout).expect("JSON");
        let resources = state["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.into_iter().find(|resource| resource["address"] == address);
        found.map(|mut resource| resource["values"].take()).unwrap_or_default()
    }
}
