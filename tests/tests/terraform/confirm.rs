//! What is taken away until somebody confirms that: by `mgsctl`, and by `terraform destroy`.

use serde_json::Value;
use testkit::{Cluster, Terraform};

const NAME: &str = "osc.*.max_dirty_mb";

/// An MGS with a file system.
fn cluster() -> anyhow::Result<Cluster> {
    let cluster = Cluster::start(&[])?;
    cluster.mgsctl(&["fs", "create", "scratch"])?;
    Ok(cluster)
}

fn nodemap(cluster: &Cluster, name: &str, range: &str) -> anyhow::Result<()> {
    let file = cluster.dir().join(name);
    std::fs::write(&file, format!("{{ \"name\": {name:?}, \"ranges\": [{range:?}] }}"))?;
    cluster.mgsctl(&["nodemap", "set", &file.display().to_string()]).map(drop)
}

/// The value of a tunable; empty where it is not set.
fn value(cluster: &Cluster, name: &str) -> anyhow::Result<String> {
    let list = cluster.mgsctl(&["param", "list"])?;
    let mut found = list.as_array().into_iter().flatten().filter(|param| param["name"] == name);
    Ok(found.next().and_then(|param| param["value"].as_str()).unwrap_or_default().to_owned())
}

fn nodemaps(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let list = cluster.mgsctl(&["nodemap", "list"])?;
    let items = list["items"].as_array().into_iter().flatten();
    Ok(items.filter_map(|one| one["spec"]["name"].as_str()).map(str::to_owned).collect())
}

fn is_active(cluster: &Cluster) -> anyhow::Result<Value> {
    Ok(cluster.mgsctl(&["nodemap", "list"])?["active"].clone())
}

#[test]
fn what_mgsctl_takes_away_comes_back_unless_that_is_confirmed() -> anyhow::Result<()> {
    let mut cluster = cluster()?;
    let (gone, kept) = ("osc.*.max_rpcs_in_flight", NAME);
    cluster.mgsctl(&["param", "set", "scratch", gone, "16"])?;
    cluster.mgsctl(&["param", "set", "scratch", kept, "64M"])?;
    nodemap(&cluster, "gone", "10.0.0.[1-9]@tcp")?;
    nodemap(&cluster, "kept", "10.0.1.[1-9]@tcp")?;
    cluster.mgsctl(&["nodemap", "activate"])?;

    let refused = cluster.mgsctl(&["param", "unset", "scratch", kept, "--confirm-within", "9"]).unwrap_err();
    assert!(refused.to_string().contains("confirm_within_s is 9; 10 to 86400 are possible"), "{refused:#}");
    for (what, name) in [("param", gone), ("param", kept)] {
        let unset = cluster.mgsctl(&[what, "unset", "scratch", name, "--confirm-within", "10"])?;
        assert!(unset["object"]["confirm_until"].is_string(), "{unset}");
    }
    for name in ["gone", "kept"] {
        let deleted = cluster.mgsctl(&["nodemap", "delete", name, "--confirm-within", "10"])?;
        assert!(deleted["object"]["confirm_until"].is_string(), "{deleted}");
    }
    cluster.mgsctl(&["nodemap", "deactivate", "--confirm-within", "10"])?;
    assert_eq!((value(&cluster, kept)?, nodemaps(&cluster)?.len()), (String::new(), 0));
    cluster.mgsctl(&["param", "confirm", "scratch", gone])?;
    cluster.mgsctl(&["nodemap", "confirm", "gone"])?;
    // What waits is in the store.
    cluster.mgs.crash_and_restart()?;
    cluster.wait_for("what nobody confirmed to be back", || {
        Ok(value(&cluster, kept)? == "64M"
            && nodemaps(&cluster)?.contains(&"kept".to_owned())
            && is_active(&cluster)? == true)
    })?;
    assert_eq!(value(&cluster, gone)?, "", "that was confirmed");
    assert!(!nodemaps(&cluster)?.contains(&"gone".to_owned()), "that was confirmed");
    Ok(())
}

const CONFIGURATION: &str = r#"
resource "lustre_param" "dirty" {
  filesystem       = "scratch"
  name             = "osc.*.max_dirty_mb"
  value            = "64M"
  confirm_within_s = 10
}

resource "lustre_params" "clients" {
  filesystem       = "scratch"
  scope            = "clients"
  params           = { "llite.*.max_read_ahead_mb" = "256" }
  confirm_within_s = 10
}

resource "lustre_nodemap" "computes" {
  name             = "computes"
  ranges           = ["10.0.1.[1-9]@tcp"]
  confirm_within_s = 10
}

resource "lustre_nodemaps" "this" {
  active           = true
  confirm_within_s = 10
}
"#;

fn is_there(cluster: &Cluster) -> anyhow::Result<[bool; 4]> {
    let params = [value(cluster, NAME)? == "64M", value(cluster, "llite.*.max_read_ahead_mb")? == "256"];
    Ok([params[0], params[1], nodemaps(cluster)?.contains(&"computes".to_owned()), is_active(cluster)? == true])
}

/// Confirms all of it.
fn confirm(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.mgsctl(&["param", "confirm", "scratch", NAME])?;
    cluster.mgsctl(&["param", "confirm", "scratch", "llite.*.max_read_ahead_mb", "--scope", "clients"])?;
    cluster.mgsctl(&["nodemap", "confirm", "computes"])?;
    cluster.mgsctl(&["nodemap", "confirm"]).map(drop)
}

#[test]
fn what_terraform_destroys_comes_back_unless_that_is_confirmed() -> anyhow::Result<()> {
    let cluster = cluster()?;
    let ws = Terraform::at(cluster.mgs.endpoint());
    ws.write("main.tf", CONFIGURATION);
    ws.apply();
    confirm(&cluster)?;
    assert_eq!(is_there(&cluster)?, [true; 4]);

    let destroyed = ws.run(&["destroy", "-auto-approve"]);
    assert_eq!(destroyed.code, 0, "{}", destroyed.text);
    let warned = destroyed.text.matches("Waits for confirmation").count();
    assert!(warned > 0 && destroyed.text.contains("It comes back 10 s after it was removed"), "{}", destroyed.text);
    assert_eq!(is_there(&cluster)?, [false; 4]);
    cluster.wait_for("what nobody confirmed to be back", || Ok(is_there(&cluster)? == [true; 4]))?;

    // What is back is taken up again, and gone for good when that is confirmed.
    ws.apply();
    ws.expect_empty_plan();
    ws.run(&["destroy", "-auto-approve"]);
    confirm(&cluster)?;
    assert_eq!(is_there(&cluster)?, [false; 4]);
    let snapshot = cluster.mgsctl(&["param", "list"])?;
    assert_eq!(snapshot.as_array().map(Vec::len), Some(0), "{snapshot}");
    Ok(())
}
