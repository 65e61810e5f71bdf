//! What leaves a configuration keeps its data, and a target leaves only when that was said.

use crate::site::{FILESYSTEM, MIB, Site, target};

#[test]
fn by_default_a_target_is_neither_destroyed_nor_replaced() -> anyhow::Result<()> {
    let site = Site::start()?;
    let devices = [site.image("ost0", 300 * MIB)?, site.image("ost1", 300 * MIB)?];
    let config = FILESYSTEM.to_owned() + &target("ost0", "ost", &devices[0], "index = 0");
    site.ws.write("main.tf", &config);
    site.ws.apply();
    site.ws.refused(&["plan", "-destroy"]).assert(
        "lustre_target.ost0",
        "resource \"lustre_target\" \"ost0\" {",
        &["Removal prevented", "The deletion_policy of target scratch-OST0000 is PREVENT", "DEREGISTER"],
    );
    site.ws.write("main.tf", &config.replace("index = 0", "index = 7"));
    let refused = site.ws.refused(&["plan"]);
    assert_eq!(refused.summary, "A target with data is not replaced", "{refused:#?}");
    // Taken out of the file, there is no line to point at: the text names it.
    site.ws.write("main.tf", FILESYSTEM);
    site.ws.refused(&["plan"]).assert("", "", &["Removal prevented", "target scratch-OST0000"]);
    Ok(())
}

#[test]
fn a_target_that_is_deregistered_keeps_every_byte() -> anyhow::Result<()> {
    let site = Site::start()?;
    let device = site.image("ost0", 300 * MIB)?;
    let config = target("ost0", "ost", &device, "index = 0\n  deletion_policy = \"DEREGISTER\"");
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &config));
    let applied = site.ws.apply();
    for words in ["Warning: Not started", "scratch-OST0000 is in the configuration; oss1 has no Lustre to start it"] {
        assert!(applied.text.contains(words), "{words}: {}", applied.text);
    }
    let before = std::fs::read(&device)?;
    let warned = site.ws.diagnostics(&["plan", "-destroy"]);
    let [warning, moves] = warned.as_slice() else { panic!("two warnings expected: {warned:#?}") };
    assert!(!warning.is_error && !moves.is_error, "{warned:#?}");
    moves.assert(
        "lustre_target.ost0",
        "resource \"lustre_target\" \"ost0\" {",
        &["What else moves", "With scratch-OST0000:", "filesystem scratch: available -> incomplete", "is its last"],
    );
    warning.assert(
        "lustre_target.ost0",
        "resource \"lustre_target\" \"ost0\" {",
        &["A target with data leaves the file system", "scratch-OST0000", "is left as it is"],
    );
    let said = site.ws.run(&["destroy", "-auto-approve"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(std::fs::read(&device)? == before, "not a byte of it changed");
    assert_eq!(site.cluster.mgsctl(&["target", "list"])?.as_array().map(Vec::len), Some(0));
    Ok(())
}
