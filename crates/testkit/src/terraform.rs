//! The real `terraform`, in a directory of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value as Json;
use tempfile::TempDir;

/// What names the provider in a configuration.
const REQUIRED: &str = "terraform {\n  required_providers {\n    lustre = { source = \"chandelier/lustre\" }\n  }\n}\n";

/// A fresh directory in which `terraform` runs, with a CLI configuration that finds a provider of this build.
///
/// Its environment is clean: no `TF_LOG`, no endpoint or token, no call home. What can't be done panics: a test has nothing
/// better to do.
pub struct Terraform {
    dir: TempDir,
    program: PathBuf,
    environment: BTreeMap<String, String>,
}

/// What a run of `terraform` said.
#[derive(Debug)]
pub struct Said {
    /// Exit code; of a plan 0 is "nothing to do", 2 is changes, 1 an error.
    pub code: i32,
    /// Without line breaks and frames: messages are wrapped at the terminal's width.
    pub text: String,
}

/// A problem that terraform reported, as `-json` gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// True for an error, false for a warning.
    pub is_error: bool,
    /// Headline.
    pub summary: String,
    /// The text below it.
    pub detail: String,
    /// Resource that it is about; empty where it is about none.
    pub address: String,
    /// The line of the configuration at which it points, without indentation: shows the attribute of the diagnostic's path.
    pub line: String,
}

impl Terraform {
    /// With this build's provider of Lustre. No endpoint is configured.
    pub fn new() -> Self {
        let provider = crate::binary("terraform-provider-lustre").unwrap_or_else(|err| panic!("{err:#}"));
        Self::with_provider("chandelier/lustre", provider.parent().expect("a binary is in a directory"))
    }

    /// With the provider `source`, whose binary is in `bin`.
    pub fn with_provider(source: &str, bin: &Path) -> Self {
        Self::with_cli(&format!("dev_overrides {{ {source:?} = {bin:?} }}\n  direct {{}}"))
    }

    /// With a `provider_installation` of one's own.
    pub fn with_cli(installation: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let ws = Self { dir, program: "terraform".into(), environment: BTreeMap::new() };
        ws.write("cli.tfrc", &format!("provider_installation {{\n  {installation}\n}}\n"));
        ws
    }

    /// With a provider block for an MGS, in `provider.tf`.
    pub fn at(endpoint: &str) -> Self {
        let ws = Self::new();
        ws.write("provider.tf", &format!("{REQUIRED}provider \"lustre\" {{\n  endpoint = {endpoint:?}\n}}\n"));
        ws
    }

    /// With the configuration in a directory, whose provider finds the MGS in the environment.
    pub fn of_example(example: &Path, endpoint: &str) -> Self {
        let ws = Self::new().env("LUSTRE_MGS_ENDPOINT", endpoint);
        ws.copy(example);
        ws
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Runs the newer Terraform that `tools/terraform-next` fetches, instead of the one on PATH.
    #[must_use]
    pub fn next(mut self) -> Self {
        let said = crate::run(&mut Command::new(crate::repository().join("tools/terraform-next")));
        self.program = said.unwrap_or_else(|err| panic!("{err:#}")).trim().into();
        self
    }

    /// A path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file there.
    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("written");
    }

    /// Copies the `.tf` files of a directory.
    pub fn copy(&self, example: &Path) {
        for entry in std::fs::read_dir(example).unwrap_or_else(|err| panic!("{}: {err}", example.display())) {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|extension| extension == "tf") {
                std::fs::copy(&path, self.path(&path.file_name().expect("name").to_string_lossy())).expect("copied");
            }
        }
    }

    /// The command, not yet started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(self.dir.path());
        command.env("TF_CLI_CONFIG_FILE", self.path("cli.tfrc")).env("TF_IN_AUTOMATION", "1");
        command.env("CHECKPOINT_DISABLE", "1");
        for name in ["TF_LOG", "LUSTRE_MGS_ENDPOINT", "LUSTRE_MGS_TOKEN"] {
            command.env_remove(name);
        }
        command.envs(&self.environment);
        command
    }

    /// Runs a command to its end.
    pub fn said(command: &mut Command) -> Said {
        Self::said_of(&output(command))
    }

    /// What a run that is over said.
    pub fn said_of(Output { status, stdout, stderr }: &Output) -> Said {
        Said {
            code: status.code().expect("an exit code"),
            text: plain(&format!("{}\n{}", String::from_utf8_lossy(stdout), String::from_utf8_lossy(stderr))),
        }
    }

    /// Runs terraform with `-no-color`.
    pub fn run(&self, arguments: &[&str]) -> Said {
        Self::said(self.command(arguments).arg("-no-color"))
    }

    /// `apply -auto-approve`, which must succeed.
    pub fn apply(&self) -> Said {
        let said = self.run(&["apply", "-auto-approve"]);
        assert_eq!(said.code, 0, "{}", said.text);
        said
    }

    /// `plan -detailed-exitcode`.
    pub fn plan(&self) -> Said {
        self.run(&["plan", "-detailed-exitcode"])
    }

    /// Insists that there is nothing to do.
    pub fn expect_empty_plan(&self) {
        let said = self.plan();
        assert_eq!(said.code, 0, "the plan is not empty: {}", said.text);
    }

    /// Runs terraform with `-json` (one document), and gives that.
    pub fn json(&self, arguments: &[&str]) -> Json {
        let output = output(self.command(arguments).arg("-json"));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|err| {
            panic!("{arguments:?} said no JSON ({err}): {}", String::from_utf8_lossy(&output.stderr))
        })
    }

    /// The outputs, by name.
    pub fn outputs(&self) -> Json {
        self.json(&["output"])
    }

    /// The attributes of a resource in state; null if it isn't there.
    pub fn state(&self, address: &str) -> Json {
        let state = self.json(&["show"]);
        let resources = state["values"]["root_module"]["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.into_iter().find(|resource| resource["address"] == address);
        found.map(|mut resource| resource["values"].take()).unwrap_or_default()
    }

    /// Runs `plan` or `apply` with `-json`, and gives what it reported. The warning about development overrides is left out.
    pub fn diagnostics(&self, arguments: &[&str]) -> Vec<Diagnostic> {
        // Before the name of a saved plan: terraform takes no options behind it.
        let (command, rest) = arguments.split_first().expect("a command of terraform");
        let output = output(self.command(&[command, "-json"]).args(rest));
        diagnostics(&String::from_utf8_lossy(&output.stdout))
    }

    /// Like [`Self::diagnostics`], for a run that must fail with one error, and gives that.
    pub fn refused(&self, arguments: &[&str]) -> Diagnostic {
        let all = self.diagnostics(arguments);
        let mut errors = all.iter().filter(|found| found.is_error);
        match (errors.next(), errors.next()) {
            (Some(only), None) => only.clone(),
            _ => panic!("one error expected from {arguments:?}: {all:#?}"),
        }
    }
}

impl Default for Terraform {
    fn default() -> Self {
        Self::new()
    }
}

impl Diagnostic {
    /// Insists on where it points and what it says.
    #[track_caller]
    pub fn assert(&self, address: &str, line: &str, words: &[&str]) {
        assert_eq!((self.address.as_str(), self.line.as_str()), (address, line), "{self:#?}");
        for word in words {
            assert!(self.detail.contains(word) || self.summary.contains(word), "{word:?} is not said: {self:#?}");
        }
    }
}

/// The diagnostics among the lines that `-json` prints.
pub fn diagnostics(lines: &str) -> Vec<Diagnostic> {
    let events = lines.lines().filter_map(|line| serde_json::from_str::<Json>(line).ok());
    let found = events.filter_map(|mut event| (event["type"] == "diagnostic").then(|| event["diagnostic"].take()));
    let text = |json: &Json| json.as_str().unwrap_or_default().trim().to_owned();
    let found = found.map(|diag| Diagnostic {
        is_error: diag["severity"] == "error",
        summary: text(&diag["summary"]),
        detail: text(&diag["detail"]),
        address: text(&diag["address"]),
        line: text(&diag["snippet"]["code"]),
    });
    found.filter(|diag| diag.summary != "Provider development overrides are in effect").collect()
}

fn output(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|err| {
        panic!("{}: {err}; is it installed and in PATH? `make test` installs it", command.get_program().display())
    })
}

fn plain(text: &str) -> String {
    text.split_whitespace().filter(|word| !matches!(*word, "│" | "╷" | "╵")).collect::<Vec<_>>().join(" ")
}
