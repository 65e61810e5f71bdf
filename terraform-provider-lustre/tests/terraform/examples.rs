//! Every example is valid, formatted, and does what its page says, as far as it needs no servers.

use std::path::{Path, PathBuf};

use testkit::{Terraform, repository};

/// Directories with `.tf` files below `root`.
fn directories_with_tf(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        let mut has_tf = false;
        for entry in std::fs::read_dir(&dir).expect("examples") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "tf") {
                has_tf = true;
            }
        }
        if has_tf {
            found.push(dir);
        }
    }
    assert!(!found.is_empty(), "{} has no examples", root.display());
    found
}

const REQUIRED: &str = "terraform {\n  required_providers {\n    lustre = { source = \"chandelier/lustre\" }\n  }\n}\n";

fn assert_valid(ws: &Terraform, what: &Path) {
    let said = ws.json(&["validate"]);
    let errors = said["diagnostics"].as_array().expect("diagnostics").iter();
    let errors: Vec<_> = errors.filter(|diag| diag["severity"] == "error").collect();
    assert!(errors.is_empty(), "{}: {errors:#?}", what.display());
}

#[test]
fn whole_examples_are_valid() {
    for dir in directories_with_tf(&repository().join("examples/terraform")) {
        let ws = Terraform::new();
        ws.copy(&dir);
        assert_valid(&ws, &dir);
    }
}

#[test]
fn examples_of_the_documentation_are_valid() {
    for dir in directories_with_tf(&repository().join("terraform-provider-lustre/examples")) {
        let ws = Terraform::new();
        ws.copy(&dir);
        if !dir.ends_with("provider") {
            ws.write("required.tf", REQUIRED);
        }
        assert_valid(&ws, &dir);
    }
}

#[test]
fn examples_are_formatted() {
    let ws = Terraform::new();
    for root in ["examples/terraform", "terraform-provider-lustre/examples"] {
        let root = repository().join(root);
        let said = ws.run(&["fmt", "-check", "-recursive", root.to_str().expect("UTF-8")]);
        assert_eq!(said.code, 0, "not formatted: {}", said.text);
    }
}

#[test]
fn functions_need_no_server_and_no_configuration() {
    let ws = Terraform::new();
    ws.write(
        "main.tf",
        &(REQUIRED.to_owned()
            + r#"
            output "nid"    { value = provider::lustre::nid_parse("10.0.0.1@o2ib1") }
            output "source" { value = provider::lustre::mount_source(["10.0.0.1@tcp", "10.0.0.2@tcp"], "scratch") }
            output "nodes"  { value = provider::lustre::nodelist_expand("oss[08-10]") }
            output "label"  { value = provider::lustre::target_label("scratch", "ost", 31) }
            output "bytes"  { value = provider::lustre::size_parse("64M") }
            "#),
    );
    let said = ws.run(&["apply", "-auto-approve"]);
    assert_eq!(said.code, 0, "{}", said.text);
    let out = ws.outputs();
    assert_eq!(out["nid"]["value"]["network"], "o2ib1");
    assert_eq!(out["source"]["value"], "10.0.0.1@tcp:10.0.0.2@tcp:/scratch");
    assert_eq!(out["nodes"]["value"], serde_json::json!(["oss08", "oss09", "oss10"]));
    assert_eq!(out["label"]["value"], "scratch-OST001f");
    assert_eq!(out["bytes"]["value"], 64 << 20);

    ws.write("main.tf", &format!("{REQUIRED}output \"x\" {{ value = provider::lustre::size_parse(\"a lot\") }}\n"));
    let said = ws.run(&["plan"]);
    assert!(said.text.contains(r#"Invalid value for "size" parameter: "a lot" is not a size"#), "{}", said.text);
}

#[test]
fn wrong_values_are_refused_at_their_line_before_anybody_is_asked() {
    let ws = Terraform::new();
    for (attribute, value, message) in [
        ("filesystem", r#""much-too-long""#, "much-too-long"),
        ("index", "65504", "65504 is out of range"),
        ("index", "-1", "not a whole number"),
        ("kind", r#""oss""#, r#""oss" is none of mgt, mdt, ost"#),
        ("failover_nodes", r#"["oss2@ether"]"#, "not an LNet network"),
        ("deletion_policy", r#""DELETE""#, "none of PREVENT, ABANDON, DEREGISTER"),
        ("node", r#""oss 1""#, "oss 1"),
    ] {
        let mut lines = vec![
            ("kind", r#""ost""#),
            ("filesystem", r#""scratch""#),
            ("node", r#""oss1""#),
            ("device", r#""/dev/sdb""#),
        ];
        lines.retain(|(name, _)| *name != attribute);
        lines.push((attribute, value));
        let body: String = lines.iter().map(|(name, value)| format!("  {name} = {value}\n")).collect();
        ws.write("main.tf", &format!("{REQUIRED}resource \"lustre_target\" \"t\" {{\n{body}}}\n"));
        let said = ws.json(&["validate"]);
        let error = &said["diagnostics"][0];
        assert_eq!(error["severity"], "error", "{attribute} = {value}: {said:#}");
        assert!(error["detail"].as_str().expect("text").contains(message), "{attribute} = {value}: {error:#}");
        assert_eq!(error["snippet"]["code"], format!("  {attribute} = {value}"), "{error:#}");
    }
}

#[test]
fn a_timeout_that_is_none_is_refused() {
    let ws = Terraform::new();
    ws.write(
        "main.tf",
        &format!(
            "{REQUIRED}resource \"lustre_target\" \"t\" {{\n  kind = \"mgt\"\n  node = \"m\"\n  device = \"/dev/x\"\n  \
             timeouts {{\n    create = \"soon\"\n  }}\n}}\n"
        ),
    );
    let said = ws.json(&["validate"]);
    assert_eq!(said["diagnostics"][0]["summary"], "Not a duration", "{said:#}");
}

#[test]
fn without_an_endpoint_nothing_is_guessed() {
    let ws = Terraform::new();
    ws.write("main.tf", &format!("{REQUIRED}resource \"lustre_filesystem\" \"f\" {{\n  name = \"x\"\n}}\n"));
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 1);
    assert!(said.text.contains("Error: No endpoint"), "{}", said.text);

    ws.write(
        "provider.tf",
        "resource \"terraform_data\" \"d\" {}\nprovider \"lustre\" {\n  endpoint = terraform_data.d.id\n}\n",
    );
    let said = ws.run(&["plan"]);
    assert_eq!(said.code, 0, "an endpoint known after apply is no error in a plan: {}", said.text);
    assert!(said.text.contains("2 to add"), "{}", said.text);
}
