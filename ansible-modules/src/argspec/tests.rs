use serde_json::{Map, Value, json};

use super::{Argument, ArgumentSpec, ArgumentType, Relations};

fn target_like() -> ArgumentSpec {
    let target = ArgumentSpec::new(vec![
        Argument::new("kind", ArgumentType::Str).choices(["mgt", "mdt", "ost"]).required(),
        Argument::new("index", ArgumentType::Int),
        Argument::new("key", ArgumentType::Str).alias("k").secret(),
    ]);
    ArgumentSpec::new(vec![
        Argument::new("fsname", ArgumentType::Str).alias("fs").required(),
        Argument::list_of("targets", target),
        Argument::new("state", ArgumentType::Str).choices(["present", "absent"]).default("present"),
        Argument::new("value", ArgumentType::Str),
        Argument::list("values", ArgumentType::Str),
    ])
    .with(Relations { mutually_exclusive: vec![vec!["value".into(), "values".into()]], ..Relations::default() })
}

fn check(options: Value) -> Result<Map<String, Value>, String> {
    let Value::Object(options) = options else { panic!("options are a mapping") };
    match target_like().validate("chandelier.lustre.lustre_target", options, false) {
        Ok(validated) => Ok(validated.params),
        Err(rejection) => Err(rejection.message),
    }
}

#[test]
fn options_are_converted_and_every_one_is_there() {
    let params = check(json!({"fs": "demo", "targets": [{"kind": "ost", "index": "7"}]})).unwrap();
    let expected = json!({
        "fs": "demo", "fsname": "demo", "state": "present", "value": null, "values": null,
        "targets": [{"kind": "ost", "index": 7, "key": null}],
    });
    assert_eq!(Value::Object(params), expected);
}

#[test]
fn the_first_error_is_the_one_that_ansible_shows_first() {
    let wrong = json!({"value": 1, "values": [], "state": "maybe", "bogus": 1});
    assert_eq!(check(wrong).unwrap_err(), "parameters are mutually exclusive: value|values");
    assert_eq!(check(json!({"state": "maybe"})).unwrap_err(), "missing required arguments: fsname");
    assert_eq!(
        check(json!({"fsname": "demo", "state": "maybe", "bogus": 1})).unwrap_err(),
        "value of state must be one of: present, absent, got: maybe"
    );
    assert_eq!(
        check(json!({"fsname": "demo", "bogus": 1})).unwrap_err(),
        "Unsupported parameters for (chandelier.lustre.lustre_target) module: bogus. \
         Supported parameters include: fsname, state, targets, value, values (fs)."
    );
}

#[test]
fn errors_in_suboptions_say_where() {
    assert_eq!(
        check(json!({"fsname": "demo", "targets": [{"kind": "ost"}, {"kind": "tape"}]})).unwrap_err(),
        "value of kind must be one of: mgt, mdt, ost, got: tape found in targets"
    );
    assert_eq!(
        check(json!({"fsname": "demo", "targets": [{"kind": "ost", "index": "x"}]})).unwrap_err(),
        "argument 'index' is of type str found in 'targets'. and we were unable to convert to int: \"'x'\" cannot be converted to an int"
    );
}

#[test]
fn huge_exponents_are_refused_at_once() {
    let targets = json!([{"kind": "ost", "index": "1e2000000000"}]);
    assert!(
        check(json!({"fsname": "demo", "targets": targets})).unwrap_err().contains("cannot be converted to an int")
    );
}

#[test]
fn secrets_are_known_also_when_the_options_are_refused() {
    let options = json!({"targets": [{"k": "hunter2"}, {"key": 4711}]});
    let rejection = target_like().validate("m", options.as_object().unwrap().clone(), false).unwrap_err();
    assert_eq!(rejection.secrets.into_iter().collect::<Vec<_>>(), ["4711", "hunter2"]);
}
