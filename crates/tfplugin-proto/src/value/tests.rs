//! Round trips, hostile bytes, and what go-cty writes.

use proptest::prelude::*;

use super::*;
use crate::fuzz::fuzz_value;

fn round_trip(ty: &Type, bytes: &[u8]) -> Vec<u8> {
    encode(ty, &decode(ty, bytes).expect("decodes")).expect("encodes")
}

#[test]
fn numbers_go_back_as_they_came() {
    let cases: [(&[u8], Number); 6] = [
        (b"\x05", Number::Int(5)),
        (b"\xcd\x03\xe8", Number::Int(1000)),
        (b"\xd1\xfc\x18", Number::Int(-1000)),
        (b"\xcb\x3f\xe0\0\0\0\0\0\0", Number::Float(0.5)),
        (b"\xa30.1", Number::Decimal("0.1".into())),
        (b"\xb712345678901234567890123", Number::Decimal("12345678901234567890123".into())),
    ];
    for (bytes, number) in cases {
        assert_eq!(decode(&Type::Number, bytes), Ok(Value::Number(number)));
        assert_eq!(round_trip(&Type::Number, bytes), bytes);
    }
}

#[test]
fn an_unknown_value_with_refinements_is_unknown() {
    // ext 8, 3 bytes, kind 12: {1: false}, "not null".
    let refined = b"\xc7\x03\x0c\x81\x01\xc2";
    assert_eq!(decode(&Type::String, refined), Ok(Value::Unknown));
    assert_eq!(encode(&Type::String, &Value::Unknown), Ok(vec![0xd4, 0, 0]));
}

#[test]
fn an_object_has_every_attribute_of_its_schema() {
    let ty = Type::object([("a", Type::String), ("b", Type::Bool)]);
    let value = Value::object([("b", Value::Bool(true))]);
    assert_eq!(encode(&ty, &value).expect("encodes"), b"\x82\xa1a\xc0\xa1b\xc3");
}

#[test]
fn an_absent_attribute_reads_as_null_and_stays_so() {
    let ty = Type::object([("a", Type::String), ("b", Type::Bool)]);
    let value = decode(&ty, b"\x80").expect("decodes");
    assert_eq!(value, Value::object([("a", Value::Null), ("b", Value::Null)]));
    assert_eq!(decode(&ty, &encode(&ty, &value).expect("encodes")), Ok(value));
}

#[test]
fn an_attribute_that_the_schema_lacks_is_named() {
    let ty = Type::object([("device", Type::object([("path", Type::String)]))]);
    let value = Value::object([("device", Value::object([("pth", "x".into())]))]);
    let err = encode(&ty, &value).expect_err("no attribute pth");
    assert_eq!(err.to_string(), "device.pth: no such attribute in the schema");
    let bytes = b"\x81\xa6device\x81\xa3pth\xa1x";
    assert_eq!(decode(&ty, bytes).expect_err("no attribute pth"), err);
}

#[test]
fn a_wrong_type_says_where() {
    let ty = Type::object([("nids", Type::list(Type::String))]);
    let err = decode(&ty, b"\x81\xa4nids\x92\xa1x\x05").expect_err("5 is no string");
    assert_eq!(err.to_string(), "nids[1]: string expected, number found");
}

#[test]
fn a_dynamic_value_carries_its_type() {
    let value = Value::Dynamic(Box::new((DynamicType(Type::list(Type::Number)), Value::List(vec![1_i64.into()]))));
    let bytes = encode(&Type::Dynamic, &value).expect("encodes");
    assert_eq!(bytes, b"\x92\xc4\x11[\"list\",\"number\"]\x91\x01");
    assert_eq!(decode(&Type::Dynamic, &bytes), Ok(value));
}

#[test]
fn lengths_that_lie_cost_nothing() {
    let huge_array = b"\xdd\xff\xff\xff\xff";
    assert!(matches!(decode(&Type::list(Type::String), huge_array), Err(ValueError::Short { .. })));
    let huge_map = b"\xdf\xff\xff\xff\xff";
    assert!(matches!(decode(&Type::map(Type::String), huge_map), Err(ValueError::Short { .. })));
    let huge_text = b"\xdb\xff\xff\xff\xff";
    assert!(matches!(decode(&Type::String, huge_text), Err(ValueError::Short { .. })));
    let huge_ext = b"\xc9\xff\xff\xff\xff\x00";
    assert!(matches!(decode(&Type::String, huge_ext), Err(ValueError::Short { .. })));
}

#[test]
fn a_set_has_no_order_and_no_doubles_but_unknown_elements_stay_apart() {
    assert_eq!(Value::set(["b".into(), "a".into(), "b".into()]), Value::set(["a".into(), "b".into()]));
    let Value::Set(set) = Value::set([Value::Unknown, "a".into(), Value::Unknown]) else { panic!("a set") };
    assert_eq!(set.elements().len(), 3);
}

#[test]
fn state_from_json_fills_what_is_absent_and_drops_what_was_removed() {
    let ty = Type::object([("size", Type::Number), ("name", Type::String), ("new", Type::Bool)]);
    let value = decode_json(&ty, br#"{"size": 12345678901234567890123, "name": "x\u00e9", "removed": [1]}"#);
    let value = value.expect("decodes");
    assert_eq!(value.get("size"), &Value::Number(Number::Decimal("12345678901234567890123".into())));
    assert_eq!(value.get("name"), &Value::string("xé"));
    assert!(value.get("new").is_null());
    assert!(value.get("removed").is_null());
    assert!(encode(&ty, &value).is_ok());
}

#[test]
fn state_from_json_of_a_wrong_type_says_where() {
    let ty = Type::object([("nids", Type::list(Type::String))]);
    let err = decode_json(&ty, br#"{"nids": ["a", 5]}"#).expect_err("5 is no string");
    assert_eq!(err.to_string(), "nids[1]: string expected, 5 found");
    assert!(matches!(decode_json(&ty, b"{"), Err(ValueError::NotJson { .. })));
}

fn any_type() -> impl Strategy<Value = Type> {
    let leaf = prop_oneof![Just(Type::String), Just(Type::Number), Just(Type::Bool), Just(Type::Dynamic)];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(Type::list),
            inner.clone().prop_map(Type::set),
            inner.clone().prop_map(Type::map),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Type::Tuple),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4).prop_map(Type::Object),
        ]
    })
}

fn any_number() -> impl Strategy<Value = Number> {
    prop_oneof![
        any::<i64>().prop_map(Number::Int),
        any::<u64>().prop_map(Number::from_u64),
        any::<f64>().prop_map(Number::from_f64),
        "-?[0-9]{1,30}\\.[0-9]{1,10}(e[0-9]{1,3})?".prop_map(|text| Number::parse(&text).expect("a number")),
    ]
}

/// A value of type `ty`: sometimes null or unknown, anywhere.
fn value_of(ty: Type) -> BoxedStrategy<Value> {
    let known: BoxedStrategy<Value> = match ty {
        Type::Bool => any::<bool>().prop_map(Value::Bool).boxed(),
        Type::String => any::<String>().prop_map(Value::String).boxed(),
        Type::Number => any_number().prop_map(Value::Number).boxed(),
        Type::List(element) => prop::collection::vec(value_of(*element), 0..3).prop_map(Value::List).boxed(),
        Type::Set(element) => prop::collection::vec(value_of(*element), 0..3).prop_map(Value::set).boxed(),
        Type::Map(element) => {
            prop::collection::btree_map("[a-z]{1,4}", value_of(*element), 0..3).prop_map(Value::Map).boxed()
        }
        Type::Tuple(types) => types.into_iter().map(value_of).collect::<Vec<_>>().prop_map(Value::List).boxed(),
        Type::Object(types) => types
            .into_iter()
            .map(|(name, ty)| value_of(ty).prop_map(move |value| (name.clone(), value)))
            .collect::<Vec<_>>()
            .prop_map(Value::object)
            .boxed(),
        Type::Dynamic => Just(Type::list(Type::String))
            .prop_flat_map(|ty| {
                value_of(ty.clone()).prop_map(move |value| Value::Dynamic(Box::new((DynamicType(ty.clone()), value))))
            })
            .boxed(),
    };
    prop_oneof![8 => known, 1 => Just(Value::Null), 1 => Just(Value::Unknown)].boxed()
}

proptest! {
    #[test]
    fn every_value_survives_a_round_trip((ty, value) in any_type().prop_flat_map(|ty| (Just(ty.clone()), value_of(ty)))) {
        let bytes = encode(&ty, &value).expect("encodes");
        prop_assert_eq!(decode(&ty, &bytes), Ok(value));
        for cut in 0..bytes.len() {
            prop_assert!(decode(&ty, &bytes[..cut]).is_err(), "cut at {}", cut);
        }
    }

    #[test]
    fn a_type_survives_a_round_trip(ty in any_type()) {
        prop_assert_eq!(Type::parse_json(ty.to_json().to_string().as_bytes()), Ok(ty));
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        fuzz_value(&bytes);
    }
}
