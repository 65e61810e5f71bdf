//! What `examples/ha` shows.

use std::process::Command;

use testkit::repository;

#[test]
fn the_example_of_three_mgss_goes_on_after_each_kill() {
    let mut command = Command::new(repository().join("examples/ha/run"));
    let target = testkit::binary("lustre-mgs").unwrap();
    testkit::binary("mgsctl").unwrap();
    let output = command.env("LUSTRE_BIN", target.parent().unwrap()).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{errors}");
    assert!(said.contains("Everything acknowledged is there"), "{said}");
}
