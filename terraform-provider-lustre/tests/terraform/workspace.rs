//! A directory with a configuration, and terraform in it.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// A fresh directory with a CLI configuration that finds the provider of this build.
pub(crate) struct Workspace {
    dir: TempDir,
    /// `LUSTRE_MGS_ENDPOINT`, where a test says so.
    endpoint: RefCell<Option<String>>,
}

/// What a run of terraform said.
pub(crate) struct Said {
    pub(crate) code: i32,
    /// Without line breaks and frames: messages are wrapped at the terminal's width.
    pub(crate) text: String,
}

/// The top of the repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a member of the workspace")
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let provider = Path::new(env!("CARGO_BIN_EXE_terraform-provider-lustre"));
        let bin = provider.parent().expect("target/debug");
        let cli = format!(
            "provider_installation {{\n  dev_overrides {{ \"chandelier/lustre\" = {bin:?} }}\n  direct {{}}\n}}\n"
        );
        std::fs::write(dir.path().join("cli.tfrc"), cli).expect("cli config");
        Self { dir, endpoint: RefCell::new(None) }
    }

    /// Sets the environment variable that names the MGS.
    pub(crate) fn set_endpoint(&self, endpoint: &str) {
        *self.endpoint.borrow_mut() = Some(endpoint.to_owned());
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// Copies the `.tf` files of a directory of the repository.
    pub(crate) fn copy(&self, example: &Path) {
        for entry in std::fs::read_dir(example).expect("the example") {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|extension| extension == "tf") {
                std::fs::copy(&path, self.path(&path.file_name().expect("name").to_string_lossy())).expect("copied");
            }
        }
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
            .env_remove("TF_LOG")
            .env_remove("LUSTRE_MGS_ENDPOINT")
            .env_remove("LUSTRE_MGS_TOKEN");
        if let Some(endpoint) = &*self.endpoint.borrow() {
            command.env("LUSTRE_MGS_ENDPOINT", endpoint);
        }
        command
    }

    /// Runs a command of terraform to its end.
    pub(crate) fn said(command: &mut Command) -> Said {
        let Output { status, stdout, stderr } =
            command.output().expect("terraform; is it installed and in PATH? `make test` installs it");
        let text = format!("{}\n{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let words = text.split_whitespace().filter(|word| !matches!(*word, "│" | "╷" | "╵"));
        Said { code: status.code().expect("an exit code"), text: words.collect::<Vec<_>>().join(" ") }
    }

    /// Runs terraform with `-no-color`.
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        Self::said(self.terraform(args).arg("-no-color"))
    }

    /// Runs terraform with `-json` (one document), and gives that.
    pub(crate) fn json(&self, args: &[&str]) -> Json {
        let output = self.terraform(args).arg("-json").output().expect("terraform");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|err| panic!("{args:?} said no JSON ({err}): {}", String::from_utf8_lossy(&output.stderr)))
    }
}
