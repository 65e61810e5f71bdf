//! `lustre_mgs_proxy`: a real MGS, and a node that loads and unloads when it is told.

use testkit::{Mgs, Terraform};

use crate::node::{Node, build};

const PROXY: &str = "resource \"lustre_mgs_proxy\" \"p\" {\n  node = \"mgs1\"\n}\n";

#[test]
fn a_proxy_is_loaded_exchanged_for_a_newer_build_imported_and_unloaded() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("mgs1", mgs.endpoint(), Vec::new());
    node.change_proxy(|proxy| proxy.installed = Some(build("AAAA")));
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", PROXY);
    ws.apply();
    let state = ws.state("lustre_mgs_proxy.p");
    assert_eq!((&state["srcversion"], &state["transport"]), (&"AAAA".into(), &"lnet".into()));
    assert_eq!((&state["is_current"], &state["protocol"]), (&true.into(), &1.into()));
    ws.expect_empty_plan();

    // A newer build is installed: the plan says so, an apply exchanges it, and that is all.
    node.change_proxy(|proxy| proxy.installed = Some(build("BBBB")));
    let said = ws.plan();
    assert!(said.text.contains("lustre_mgs_proxy.p will be updated in-place"), "{}", said.text);
    ws.apply();
    assert_eq!(ws.state("lustre_mgs_proxy.p")["srcversion"], "BBBB");
    ws.expect_empty_plan();

    // Somebody unloads it by hand: it is planned again.
    node.change_proxy(|proxy| (proxy.loaded, proxy.at_boot) = (None, false));
    let said = ws.plan();
    assert!(said.text.contains("lustre_mgs_proxy.p will be created"), "{}", said.text);
    ws.apply();

    let imported = Terraform::at(mgs.endpoint());
    imported.write("import.tf", "import {\n  to = lustre_mgs_proxy.i\n  id = \"mgs1\"\n}\n");
    imported.write("main.tf", &PROXY.replace("\"p\"", "\"i\""));
    let said = imported.plan();
    assert!(said.text.contains("1 to import, 0 to add, 0 to change"), "{}", said.text);

    ws.write("main.tf", "");
    ws.apply();
    node.change_proxy(|proxy| assert!(proxy.is_absent(), "{proxy:?}"));
    ws.expect_empty_plan();
}

#[test]
fn what_stands_against_a_proxy_is_said_by_the_plan() {
    let mgs = Mgs::start().expect("an MGS");
    let node = Node::start("mgs1", mgs.endpoint(), Vec::new());
    let ws = Terraform::at(mgs.endpoint());
    ws.write("main.tf", PROXY);
    let refused = |what: &str| {
        let said = ws.run(&["plan"]);
        let text = said.text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.code == 1 && text.contains(what), "{what}: {}", said.text);
    };
    refused("is not installed for the kernel that runs on mgs1");
    node.change_proxy(|proxy| {
        proxy.installed = Some(build("AAAA"));
        proxy.servers = vec!["mgs".to_owned(), "ofd".to_owned()];
    });
    refused("Lustre's server modules loaded (mgs, ofd)");
    node.change_proxy(|proxy| proxy.servers.clear());
    ws.write("main.tf", &PROXY.replace("mgs1", "mgs9"));
    refused("no node mgs9 has enrolled");
}
