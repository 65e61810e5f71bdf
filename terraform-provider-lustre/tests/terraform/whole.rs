//! The examples, whole: terraform, a real MGS, a real agent, and image files as devices.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::cluster::{Mgs, binary};
use crate::objects::{apply, expect_empty_plan, workspace};
use crate::workspace::{Workspace, repository};

/// A real agent whose devices are image files; stopped when dropped.
struct Agent {
    process: Child,
    dir: TempDir,
}

impl Agent {
    fn start(name: &str, mgs: &Mgs, images: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for image in images {
            let file = std::fs::File::create(dir.path().join(image)).expect("an image");
            file.set_len(512 << 20).expect("sparse");
        }
        let mut process = Command::new(binary("lustre-agent"))
            .args(["--node", name, "--listen", "127.0.0.1:0", "--mgs", &mgs.endpoint, "--nid", "10.0.0.5@tcp"])
            .arg("--state-dir")
            .arg(dir.path().join("state"))
            .arg("--image-dir")
            .arg(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("lustre-agent");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        assert!(lines.any(|line| line.expect("UTF-8").starts_with("listening on ")), "the agent listens");
        std::thread::spawn(move || lines.count());
        let agent = Self { process, dir };
        agent.wait_until_enrolled(name, mgs);
        agent
    }

    /// Enrolment is what the agent does next; until then the MGS doesn't know the node.
    fn wait_until_enrolled(&self, name: &str, mgs: &Mgs) {
        let ws = workspace(mgs);
        ws.write("main.tf", &format!("data \"lustre_node\" \"n\" {{\n  name = {name:?}\n}}\n"));
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while ws.run(&["plan"]).code != 0 {
            assert!(std::time::Instant::now() < deadline, "{name} did not enrol");
        }
    }

    fn device(&self, image: &str) -> String {
        self.dir.path().join(image).to_str().expect("UTF-8").to_owned()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// An example of the repository, whose provider finds the MGS in the environment.
fn example(name: &str, mgs: &Mgs, variables: &str) -> Workspace {
    let ws = workspace(mgs);
    std::fs::remove_file(ws.path("provider.tf")).expect("the example has its own");
    ws.copy(&repository().join("examples/terraform").join(name));
    ws.set_endpoint(&mgs.endpoint);
    ws.write("terraform.tfvars", variables);
    ws
}

#[test]
fn each_example_applies_and_then_plans_empty() {
    let mgs = Mgs::start();
    let images = ["a.img", "b.img", "c.img", "d.img", "e.img", "f.img", "g.img"];
    let agent = Agent::start("oss1", &mgs, &images);

    let variables = format!(
        "node = \"oss1\"\nmdt_device = {:?}\nost_device = {:?}\n",
        agent.device("a.img"),
        agent.device("b.img")
    );
    let minimal = example("minimal", &mgs, &variables);
    apply(&minimal);
    expect_empty_plan(&minimal);
    assert_eq!(minimal.json(&["output"])["mount_source"]["value"], "10.0.0.1@tcp:/tiny");

    let osts = ["d.img", "e.img", "f.img", "g.img"].map(|image| format!("{:?}", agent.device(image))).join(", ");
    let variables =
        format!("mds = {{ node = \"oss1\", device = {:?} }}\noss = {{ oss1 = [{osts}] }}\n", agent.device("c.img"));
    let scratch = example("scratch-4-ost", &mgs, &variables);
    apply(&scratch);
    expect_empty_plan(&scratch);
    let out = scratch.json(&["output"]);
    assert_eq!(out["state"]["value"], "ready");
    assert_eq!(out["osts"]["value"].as_object().expect("OSTs").len(), 4);

    let tuned = example("pools-and-params", &mgs, "flash_osts = [\"OST[0-1]\"]\n");
    apply(&tuned);
    expect_empty_plan(&tuned);
    expect_empty_plan(&scratch);
}
