//! What the functions give, and how they refuse.

use super::*;

fn call(name: &str, arguments: &[Value]) -> Result<Value, FunctionError> {
    let (_, function) = all().into_iter().find(|(known, _)| known == name).expect("a function");
    function.call(arguments)
}

fn refusal(name: &str, arguments: &[Value]) -> (String, Option<usize>) {
    let FunctionError { text, argument } = call(name, arguments).expect_err("refused");
    (text, argument)
}

#[test]
fn a_nid_is_taken_apart_and_completed() {
    let nid = call("nid_parse", &["10.0.0.1".into()]).expect("a NID");
    assert_eq!(nid.get("nid"), &Value::from("10.0.0.1@tcp"));
    let nid = call("nid_parse", &["12@gni3".into()]).expect("a NID");
    assert_eq!(nid.get("network_type"), &Value::from("gni"));
    assert_eq!(nid.get("network_number"), &Value::from(3_i64));
    let (text, argument) = refusal("nid_parse", &["oss1@tcp".into()]);
    assert!(text.contains("oss1"), "{text}");
    assert_eq!(argument, Some(0));
}

#[test]
fn a_mount_source_joins_the_nodes_of_the_mgs() {
    let nids = Value::List(vec!["10.0.0.1@tcp,10.1.0.1@o2ib".into(), "10.0.0.2@tcp".into()]);
    let source = call("mount_source", &[nids.clone(), "scratch".into()]);
    assert_eq!(source, Ok("10.0.0.1@tcp,10.1.0.1@o2ib:10.0.0.2@tcp:/scratch".into()));
    assert_eq!(refusal("mount_source", &[Value::List(vec![]), "scratch".into()]).1, Some(0));
    assert_eq!(refusal("mount_source", &[nids, "much too long".into()]).1, Some(1));
}

#[test]
fn a_node_list_expands() {
    let names = call("nodelist_expand", &["oss[01-03],mds1".into()]);
    assert_eq!(names, Ok(Value::List(["oss01", "oss02", "oss03", "mds1"].map(Value::from).to_vec())));
    assert!(refusal("nodelist_expand", &["oss[1-".into()]).0.contains("brackets"));
    assert!(refusal("nodelist_expand", &["n[1-999999]".into()]).0.contains("more than"));
}

#[test]
fn a_target_label_has_four_hex_digits() {
    let label = |kind: &str, index: i64| call("target_label", &["scratch".into(), kind.into(), index.into()]);
    assert_eq!(label("ost", 31), Ok("scratch-OST001f".into()));
    assert_eq!(label("mgt", 0), Ok("MGS".into()));
    assert_eq!(label("oss", 0).expect_err("no kind").argument, Some(1));
    assert_eq!(label("ost", 65_504).expect_err("too large").argument, Some(2));
    assert_eq!(label("ost", -1).expect_err("negative").argument, Some(2));
}

#[test]
fn sizes_are_powers_of_1024() {
    assert_eq!(call("size_parse", &["64M".into()]), Ok((64_u64 << 20).into()));
    assert_eq!(call("size_parse", &["15E".into()]), Ok((15_u64 << 60).into()));
    assert!(refusal("size_parse", &["a lot".into()]).0.contains("not a size"));
}

#[test]
fn every_function_is_described() {
    for (name, function) in all() {
        let signature = function.signature();
        assert!(!signature.summary.is_empty() && signature.description.ends_with('.'), "{name}");
        assert!(signature.parameters.iter().all(|parameter| parameter.description.ends_with('.')), "{name}");
    }
}
