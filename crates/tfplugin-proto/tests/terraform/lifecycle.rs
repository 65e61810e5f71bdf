//! What terraform does with resources.

use std::fs;

use crate::workspace::Workspace;

const ONE_FILE: &str = r#"
resource "tiny_file" "a" {
  name = "a"
  text = "hello"
}
"#;

#[test]
fn apply_drift_change_replace_and_destroy() {
    let ws = Workspace::new();
    ws.config(ONE_FILE);
    ws.apply();
    assert_eq!(fs::read_to_string(ws.file("a")).expect("the file"), "hello");
    assert_eq!(ws.state("tiny_file.a")["size"], 5);
    ws.expect_empty_plan();

    fs::write(ws.file("a"), "changed by hand").expect("write");
    let said = ws.plan();
    assert_eq!(said.code, 2);
    assert!(said.text.contains(r#"~ text = "changed by hand" -> "hello""#), "{}", said.text);
    assert!(said.text.contains("~ size = 15 -> (known after apply)"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();

    fs::remove_file(ws.file("a")).expect("remove");
    assert!(ws.plan().text.contains("will be created"));
    ws.apply();

    ws.config(&ONE_FILE.replace(r#"name = "a""#, r#"name = "b""#));
    let said = ws.plan();
    assert!(said.text.contains(r#"~ name = "a" -> "b" # forces replacement"#), "{}", said.text);
    ws.apply();
    assert!(!ws.file("a").exists() && ws.file("b").exists());

    let said = ws.run(&["plan", "-destroy"]);
    assert!(said.text.contains("Warning: A file goes"), "{}", said.text);
    assert_eq!(ws.run(&["destroy", "-auto-approve"]).code, 0);
    assert!(!ws.file("b").exists());
}

#[test]
fn numbers_sets_and_blocks_survive_and_the_plan_stays_empty() {
    let ws = Workspace::new();
    ws.config(
        r#"
        resource "tiny_file" "a" {
          for_each = toset(["0.1", "1e3", "12345678901234567890123", "-7.25"])
          name     = "n${each.key}"
          weight   = tonumber(each.key)
          labels   = ["b", "a", "é"]
          timeouts {
            create = "5m"
          }
        }
        "#,
    );
    ws.apply();
    ws.expect_empty_plan();
}

#[test]
fn values_known_only_after_apply_arrive() {
    let ws = Workspace::new();
    ws.config(
        r#"
        resource "tiny_file" "a" {
          name = "a"
          text = "hello"
        }
        resource "tiny_file" "b" {
          name   = "b"
          text   = "a has ${tiny_file.a.size} bytes"
          labels = ["x", tostring(tiny_file.a.size)]
        }
        data "tiny_file" "b" {
          name = tiny_file.b.name
        }
        output "loud" {
          value = provider::tiny::shout(data.tiny_file.b.text)
        }
        "#,
    );
    let said = ws.apply();
    assert!(said.text.contains(r#"loud = "A HAS 5 BYTES""#), "{}", said.text);
    ws.expect_empty_plan();
}

#[test]
fn import_by_command_and_by_block_with_generated_configuration() {
    let ws = Workspace::new();
    ws.config(ONE_FILE);
    fs::write(ws.file("a"), "hello").expect("write");
    assert_eq!(ws.run(&["import", "tiny_file.a", "a"]).code, 0);
    ws.expect_empty_plan();

    let ws = Workspace::new();
    fs::write(ws.file("x"), "imported").expect("write");
    ws.config("import {\n  to = tiny_file.x\n  id = \"x\"\n}\n");
    let said = ws.run(&["plan", "-generate-config-out=generated.tf"]);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("1 to import, 0 to add, 0 to change"), "{}", said.text);
    ws.apply();
    ws.expect_empty_plan();
}

#[test]
fn what_is_not_there_can_not_be_imported() {
    let ws = Workspace::new();
    ws.config(ONE_FILE);
    let said = ws.run(&["import", "tiny_file.a", "nothing"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("Cannot import non-existent remote object"), "{}", said.text);
}

#[test]
fn a_create_that_fails_in_any_way_leaves_nothing_tainted() {
    for (trouble, message) in
        [("error", "Error: Trouble"), ("panic", "The provider crashed"), ("inconsistent", "text: other than planned")]
    {
        let ws = Workspace::new();
        let config =
            format!("resource \"tiny_file\" \"a\" {{\n  name = \"a\"\n  text = \"x\"\n  trouble = {trouble:?}\n}}\n");
        ws.config(&config);
        let said = ws.run(&["apply", "-auto-approve"]);
        assert_eq!(said.code, 1, "{trouble}");
        assert!(said.text.contains(message), "{trouble}: {}", said.text);
        assert!(ws.state("tiny_file.a").is_null(), "{trouble}");
        ws.config(&config.replace(trouble, "none"));
        let said = ws.apply();
        assert!(said.text.contains("1 added, 0 changed, 0 destroyed"), "{trouble}: {}", said.text);
    }
}

#[test]
fn errors_point_at_the_line() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n  text = \"\"\n}\n");
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    assert!(
        said.text.contains(r#"with tiny_file.a, on main.tf line 11, in resource "tiny_file" "a": 11: text = """#),
        "{}",
        said.text
    );

    ws.config("output \"x\" {\n  value = provider::tiny::shout(\"\")\n}\n");
    let said = ws.run(&["plan"]);
    assert!(said.text.contains(r#"Invalid value for "text" parameter: nothing to shout"#), "{}", said.text);
}

#[test]
fn state_of_an_older_release_is_upgraded() {
    let ws = Workspace::new();
    ws.config(ONE_FILE);
    fs::write(ws.file("a"), "hello").expect("write");
    fs::write(
        ws.path("terraform.tfstate"),
        r#"{"version": 4, "terraform_version": "1.5.0", "serial": 1, "lineage": "l", "outputs": {}, "resources": [{
            "mode": "managed", "type": "tiny_file", "name": "a", "provider": "provider[\"registry.terraform.io/example/tiny\"]",
            "instances": [{"schema_version": 0, "attributes": {"name": "a", "line": "hello", "gone": [1]}}]}]}"#,
    )
    .expect("state");
    let said = ws.run(&["plan", "-detailed-exitcode"]);
    assert_eq!(said.code, 0, "{}", said.text);
}

#[test]
fn the_schema_passes_terraforms_own_check() {
    let ws = Workspace::new();
    ws.config("");
    let output = ws.command(&["providers", "schema", "-json"]).output().expect("terraform");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let provider = &schema["provider_schemas"]["registry.terraform.io/example/tiny"];
    assert_eq!(provider["resource_schemas"]["tiny_file"]["block"]["attributes"]["labels"]["type"][0], "set");
    assert_eq!(provider["functions"]["shout"]["return_type"], "string");
}

#[test]
fn an_attribute_of_five_megabytes_passes() {
    let ws = Workspace::new();
    ws.config("resource \"tiny_file\" \"a\" {\n  name = \"a\"\n  text = file(\"big.txt\")\n}\n");
    fs::write(ws.path("big.txt"), "x".repeat(5 << 20)).expect("write");
    ws.apply();
    ws.expect_empty_plan();
}
