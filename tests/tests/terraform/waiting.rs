//! A long format: how far it is, how long one waits, and what is read of it meanwhile.

use std::process::Stdio;

use testkit::HaltedFormat;

use crate::site::{FILESYSTEM, MIB, Site, TIB, end_of, label, spawn, target};

#[test]
fn a_wait_that_is_over_says_how_far_it_is_and_the_next_apply_goes_on() -> anyhow::Result<()> {
    let site = Site::start()?;
    let mdt = site.image("mdt0", TIB)?;
    let config = FILESYSTEM.to_owned() + &target("mdt0", "mdt", &mdt, "timeouts {\n    create = \"1s\"\n  }");
    site.ws.write("main.tf", &config);
    let apply = spawn(&site.ws, &["apply", "-auto-approve"])?;
    let format = HaltedFormat::of(&mdt)?;
    let said = end_of(apply)?;
    assert_eq!(said.code, 1, "{}", said.text);
    for words in
        ["Error: Still at work", "Not done in 1 second.", "format on oss1", "raise `timeouts`", "mgsctl job cancel"]
    {
        assert!(said.text.contains(words), "{words}: {}", said.text);
    }
    assert!(site.ws.state("lustre_target.mdt0").is_null());

    // What the error named can be looked at, also from a configuration.
    let jobs = site.cluster.mgsctl(&["job", "list"])?;
    let id = jobs[0]["id"].as_str().unwrap_or_default().to_owned();
    assert!(said.text.contains(&id), "{id}: {}", said.text);
    let reader = site.somebody_else();
    reader.write(
        "main.tf",
        &format!(
            "data \"lustre_job\" \"it\" {{\n  id = {id:?}\n}}\noutput \"state\" {{\n  value = data.lustre_job.it.state\n}}\n\
             output \"svname\" {{\n  value = data.lustre_job.it.svname\n}}\n"
        ),
    );
    reader.apply();
    let outputs = reader.outputs();
    assert_eq!(
        (&outputs["state"]["value"], &outputs["svname"]["value"]),
        (&"running".into(), &"scratch-MDT0000".into())
    );

    site.ws.write("main.tf", &config.replace("\"1s\"", "\"5m\""));
    let again = spawn(&site.ws, &["apply", "-auto-approve"])?;
    format.go_on();
    let said = end_of(again)?;
    assert_eq!(said.code, 0, "{}", said.text);
    assert_eq!(label(&mdt)?, "scratch:MDT0000");
    assert_eq!(site.jobs()?, 1);
    site.ws.expect_empty_plan();
    Ok(())
}

#[test]
fn a_long_format_logs_how_far_it_is() -> anyhow::Result<()> {
    let site = Site::start()?;
    // mke2fs says once a second how far it is: it has to take several.
    let mdt = site.image("mdt0", 8 * TIB)?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("mdt0", "mdt", &mdt, "index = 0")));
    let mut command = site.ws.command(&["apply", "-auto-approve", "-no-color"]);
    let output = command.env("TF_LOG_PROVIDER", "INFO").stdin(Stdio::null()).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let log = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("[INFO]") && line.contains("progress=")).collect();
    assert!(lines.iter().any(|line| line.contains("object=scratch-MDT0000")), "{log}");
    assert!(lines.iter().any(|line| line.contains(" %")), "how far in percent: {lines:#?}");
    Ok(())
}

#[test]
fn nodes_and_devices_are_read_as_they_are_now() -> anyhow::Result<()> {
    let site = Site::start()?;
    let blank = site.image("blank", 300 * MIB)?;
    let taken = site.image("taken", 300 * MIB)?;
    site.ws.write("main.tf", &(FILESYSTEM.to_owned() + &target("ost0", "ost", &taken, "index = 0")));
    site.ws.apply();
    let reader = site.somebody_else();
    reader.write(
        "main.tf",
        r#"
        data "lustre_node" "oss1" {
          name = "oss1"
        }
        data "lustre_devices" "oss1" {
          node = "oss1"
        }
        output "alive" {
          value = data.lustre_node.oss1.is_alive
        }
        output "content" {
          value = { for device in data.lustre_devices.oss1.devices : device.path => device.content }
        }
        "#,
    );
    reader.apply();
    let outputs = reader.outputs();
    assert_eq!(outputs["alive"]["value"], true);
    let content = &outputs["content"]["value"];
    assert_eq!(content[blank.to_str().unwrap_or_default()], "blank", "{content:#}");
    let found = content[taken.to_str().unwrap_or_default()].as_str().unwrap_or_default();
    assert!(found.contains("scratch-OST0000"), "{content:#}");
    Ok(())
}
