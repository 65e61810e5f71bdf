//! File systems, tunables and pools against a real MGS.

use testkit::{Mgs, Terraform};

const OBJECTS: &str = r#"
resource "lustre_filesystem" "scratch" {
  name            = "scratch"
  description     = "for all"
  deletion_policy = "DEREGISTER"
}

resource "lustre_param" "dirty" {
  filesystem = lustre_filesystem.scratch.name
  scope      = "clients"
  name       = "osc.*.max_dirty_mb"
  value      = "512M"
}

resource "lustre_pool" "empty" {
  filesystem = lustre_filesystem.scratch.name
  name       = "empty"
}

output "mount" {
  value = lustre_filesystem.scratch.mount_source
}
"#;

#[test]
fn apply_second_plan_drift_repair_and_destroy() {
    let mut mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", OBJECTS);
    ws.apply();
    assert_eq!(ws.outputs()["mount"]["value"], "10.9.0.1@tcp:/scratch");
    assert_eq!(ws.state("lustre_param.dirty")["canonical_name"], "osc.scratch-OST*-osc-*.max_dirty_mb");
    ws.expect_empty_plan();

    // What was acknowledged is still there after a crash.
    mgs.crash_and_restart().expect("the MGS again");
    ws.expect_empty_plan();

    // Somebody else changes things: another configuration without this state.
    let other = Terraform::at(mgs.endpoint());
    other.write("main.tf", &OBJECTS.replace("512M", "1G").replace("for all", "for me"));
    other.apply();
    let said = ws.plan();
    assert_eq!(said.code, 2);
    assert!(said.text.contains(r#"~ value = "1G" -> "512M""#), "{}", said.text);
    assert!(said.text.contains(r#"~ description = "for me" -> "for all""#), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();

    // Another spelling of the same is no change.
    ws.write("main.tf", &OBJECTS.replace("512M", "512"));
    ws.expect_empty_plan();

    let said = ws.run(&["destroy", "-auto-approve"]);
    assert_eq!(said.code, 0, "{}", said.text);
    // What is gone is planned anew.
    let said = other.plan();
    assert!(said.text.contains("Plan: 3 to add"), "{}", said.text);
}

#[test]
fn imported_objects_plan_empty_with_generated_configuration() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", OBJECTS);
    ws.apply();

    let ws = Terraform::at(mgs.endpoint());
    ws.write(
        "import.tf",
        r#"
        import {
          to = lustre_filesystem.f
          id = "scratch"
        }
        import {
          to = lustre_param.p
          id = "scratch/clients/osc.*.max_dirty_mb"
        }
        import {
          to = lustre_pool.p
          id = "scratch.empty"
        }
        "#,
    );
    let said = ws.run(&["plan", "-generate-config-out=generated.tf"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("3 to import, 0 to add, 0 to change, 0 to destroy"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();

    // By command, into a configuration written by hand.
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", OBJECTS);
    for (address, id) in [
        ("lustre_filesystem.scratch", "scratch"),
        ("lustre_param.dirty", "scratch/clients/osc.*.max_dirty_mb"),
        ("lustre_pool.empty", "scratch.empty"),
    ] {
        let said = ws.run(&["import", address, id]);
        assert_eq!(said.code, 0, "{}", said.text);
    }
    let said = ws.plan();
    // The policy is not stored by the MGS: an import starts with the default.
    assert!(said.text.contains(r#"~ deletion_policy = "PREVENT" -> "DEREGISTER""#), "{}", said.text);
    assert!(said.text.contains("0 to add, 1 to change, 0 to destroy"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();
}

#[test]
fn a_file_system_is_neither_destroyed_nor_renamed_by_default() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    let config = "resource \"lustre_filesystem\" \"f\" {\n  name = \"home\"\n}\n";
    ws.write("main.tf", config);
    ws.apply();
    for said in [ws.run(&["plan", "-destroy"]), {
        ws.write("main.tf", &config.replace("home", "house"));
        ws.run(&["plan"])
    }] {
        assert_eq!(said.code, 1, "{}", said.text);
        assert!(said.text.contains("Removal prevented"), "{}", said.text);
    }
    // Forgotten, and still there.
    ws.write("main.tf", &config.replace("}", "  deletion_policy = \"ABANDON\"\n}"));
    ws.apply();
    ws.write("main.tf", "");
    ws.apply();
    ws.write("main.tf", config);
    let said = ws.run(&["import", "lustre_filesystem.f", "home"]);
    assert_eq!(said.code, 0, "{}", said.text);
    ws.expect_empty_plan();
}

#[test]
fn what_is_wrong_is_refused_at_plan_time_at_its_line() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    let param = |name: &str, value: &str| {
        format!("resource \"lustre_param\" \"p\" {{\n  name  = {name:?}\n  value = {value:?}\n}}\n")
    };
    for (config, line, message) in [
        (param("osc.*.max_rpcs_in_flight", "9999"), "value = \"9999\"", "its range is 1 to 256"),
        (param("osc.*.max_dirty_md", "5"), "name = \"osc.*.max_dirty_md\"", "\"osc.*.max_dirty_mb\" is"),
        (
            "resource \"lustre_pool\" \"p\" {\n  filesystem = \"nosuch\"\n  name = \"p\"\n}\n".to_owned(),
            "filesystem = \"nosuch\"",
            "the MGS has no file system nosuch",
        ),
        (
            "resource \"lustre_target\" \"t\" {\n  kind = \"mgt\"\n  node = \"oss9\"\n  device = \"/dev/sdb\"\n}\n"
                .to_owned(),
            "node = \"oss9\"",
            "no node oss9 has enrolled",
        ),
    ] {
        ws.write("main.tf", &config);
        let said = ws.run(&["plan"]);
        assert_eq!(said.code, 1, "{config}: {}", said.text);
        assert!(said.text.contains(message), "{config}: {}", said.text);
        assert!(said.text.contains(line), "{config}: {}", said.text);
    }
}

#[test]
fn the_same_object_twice_is_refused() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    ws.write(
        "main.tf",
        "resource \"lustre_filesystem\" \"a\" {\n  name = \"x\"\n}\nresource \"lustre_filesystem\" \"b\" {\n  name = \"x\"\n}\n",
    );
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("Described twice"), "{}", said.text);
}

#[test]
fn a_change_between_plan_and_apply_is_a_conflict_and_names_the_object() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", OBJECTS);
    ws.apply();
    ws.write("main.tf", &OBJECTS.replace("512M", "256M"));
    assert_eq!(ws.run(&["plan", "-out=saved"]).code, 0);

    // Terraform's own check of a saved plan sees its state only, and that is the same.
    let other = Terraform::at(mgs.endpoint());
    other.write("main.tf", &OBJECTS.replace("512M", "1G"));
    let said = other.apply();
    assert!(said.text.contains("Exists already"), "taking over is said: {}", said.text);
    let said = ws.run(&["apply", "saved"]);
    assert_eq!(said.code, 1, "{}", said.text);
    assert!(said.text.contains("Changed since the plan"), "{}", said.text);
    assert!(said.text.contains(r#"value was "512M" and is "1G""#), "{}", said.text);
    ws.apply();
    assert_eq!(ws.state("lustre_param.dirty")["value"], "256M");
}

#[test]
fn an_mgs_that_is_away_is_named_and_asked_once() {
    let ws = Terraform::new();
    ws.write(
        "main.tf",
        "terraform {\n  required_providers {\n    lustre = { source = \"chandelier/lustre\" }\n  }\n}\n\
         provider \"lustre\" {\n  endpoint = \"http://127.0.0.1:9\"\n}\n\
         resource \"lustre_filesystem\" \"f\" {\n  count = 50\n  name  = \"fs${count.index}\"\n}\n",
    );
    let start = std::time::Instant::now();
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("http://127.0.0.1:9 can't be reached"), "{}", said.text);
    assert!(start.elapsed().as_secs() < 20, "each resource waited for it: {:?}", start.elapsed());
}

#[test]
fn endpoint_and_token_come_from_the_environment_too() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::new();
    ws.write(
        "main.tf",
        "terraform {\n  required_providers {\n    lustre = { source = \"chandelier/lustre\" }\n  }\n}\n\
         resource \"lustre_filesystem\" \"f\" {\n  name = \"env\"\n}\n",
    );
    let mut command = ws.command(&["apply", "-auto-approve", "-no-color"]);
    let said = Terraform::said(
        command.env("LUSTRE_MGS_ENDPOINT", mgs.endpoint()).env("LUSTRE_MGS_TOKEN", "secret-of-this-test"),
    );
    assert_eq!(said.code, 0, "{}", said.text);
    let state = std::fs::read_to_string(ws.path("terraform.tfstate")).expect("state");
    assert!(!state.contains("secret-of-this-test"), "no secret in state");
}

#[test]
fn data_sources_show_what_is_there() {
    let mgs = Mgs::start().expect("an MGS");
    let ws = Terraform::at(mgs.endpoint());
    ws.write(
        "main.tf",
        &(OBJECTS.to_owned()
            + r#"
            data "lustre_filesystem" "scratch" {
              name       = "scratch"
              depends_on = [lustre_filesystem.scratch]
            }
            data "lustre_targets" "all" {
              depends_on = [lustre_filesystem.scratch]
            }
            output "state" {
              value = data.lustre_filesystem.scratch.state
            }
            output "targets" {
              value = length(data.lustre_targets.all.targets)
            }
            "#),
    );
    ws.apply();
    let out = ws.outputs();
    assert_eq!(out["state"]["value"], "empty");
    assert_eq!(out["targets"]["value"], 0);
    ws.expect_empty_plan();

    ws.write("main.tf", "data \"lustre_filesystem\" \"x\" {\n  name = \"nosuch\"\n}\n");
    let said = ws.run(&["plan"]);
    assert!(said.text.contains("The MGS has no file system nosuch; it has scratch"), "{}", said.text);
}
