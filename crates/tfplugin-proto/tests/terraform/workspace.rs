//! A directory with a configuration of the tiny provider.

use std::ops::Deref;
use std::path::PathBuf;

use testkit::Terraform;

/// A fresh directory: `main.tf`, state, and the files that the tiny provider keeps.
pub(crate) struct Workspace {
    terraform: Terraform,
    /// The directory with nothing but the provider, so that its processes are told from those of other tests.
    bin: tempfile::TempDir,
}

/// The provider binary that cargo builds together with this test.
pub(crate) fn tiny() -> PathBuf {
    testkit::binary("examples/tiny").expect("cargo builds examples for tests")
}

impl Workspace {
    pub(crate) fn new() -> Self {
        let bin = tempfile::tempdir().expect("a directory");
        std::os::unix::fs::symlink(tiny(), bin.path().join("terraform-provider-tiny")).expect("provider");
        let terraform = Terraform::with_provider("example/tiny", bin.path());
        std::fs::create_dir(terraform.path("files")).expect("files");
        Self { terraform, bin }
    }

    /// Where this workspace's provider is.
    pub(crate) fn provider(&self) -> PathBuf {
        self.bin.path().join("terraform-provider-tiny")
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
        self.write("main.tf", &(preamble + body));
    }
}

impl Deref for Workspace {
    type Target = Terraform;

    fn deref(&self) -> &Terraform {
        &self.terraform
    }
}
