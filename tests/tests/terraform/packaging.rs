//! The provider as a site without internet installs it.

use std::path::Path;
use std::process::Command;

use testkit::{Mgs, Terraform, binary, run};

const CONFIG: &str = "terraform {\n  required_providers {\n    lustre = {\n      source  = \"chandelier/lustre\"\n      \
                      version = \"~> 0.1\"\n    }\n  }\n}\nresource \"lustre_filesystem\" \"f\" {\n  name = \"scratch\"\n}\n";

/// What `cargo xtask provider-mirror` makes of a program.
fn mirror(output: &Path, program: &Path) -> anyhow::Result<()> {
    let mut command = Command::new(binary("xtask")?);
    run(command.arg("provider-mirror").arg("--output").arg(output).arg("--binary").arg(program)).map(drop)
}

#[test]
fn terraform_init_installs_from_a_mirror_without_a_registry_and_the_provider_works() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    mirror(dir.path(), &binary("terraform-provider-lustre")?)?;
    let mgs = Mgs::start()?;
    let tree = dir.path().join("mirror");
    // No `direct {}`: whatever isn't in the mirror can't be had.
    let ws = Terraform::with_cli(&format!("filesystem_mirror {{\n    path = {tree:?}\n  }}"))
        .env("LUSTRE_MGS_ENDPOINT", mgs.endpoint());
    ws.write("main.tf", CONFIG);
    let said = ws.run(&["init"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("Installed chandelier/lustre v0.1.0"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();

    // The lock file that a site checks in holds for its other login nodes, too.
    let lock = std::fs::read_to_string(ws.path(".terraform.lock.hcl"))?;
    assert!(lock.contains("\"h1:"), "{lock}");
    let said = ws.run(&["providers", "lock", &format!("-fs-mirror={}", tree.display()), "-platform=linux_amd64"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!(std::fs::read_to_string(ws.path(".terraform.lock.hcl"))?, lock);
    Ok(())
}

#[test]
fn the_same_build_makes_the_same_package_and_its_sums_are_right() -> anyhow::Result<()> {
    let dirs = [tempfile::tempdir()?, tempfile::tempdir()?];
    for dir in &dirs {
        // Any program will do.
        mirror(dir.path(), &binary("mgsctl")?)?;
    }
    let sums = |dir: &Path| std::fs::read_to_string(dir.join("release/terraform-provider-lustre_0.1.0_SHA256SUMS"));
    assert_eq!(sums(dirs[0].path())?, sums(dirs[1].path())?);
    let release = dirs[0].path().join("release");
    let checked = run(Command::new("sha256sum")
        .args(["--check", "terraform-provider-lustre_0.1.0_SHA256SUMS"])
        .current_dir(&release))?;
    assert_eq!(checked.matches(": OK").count(), 2, "{checked}");
    Ok(())
}
