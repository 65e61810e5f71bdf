//! Entry points for fuzzing.

use crate::ty::Type;
use crate::value::{decode, decode_json, encode};

/// Feeds bytes to both decoders; what the first byte selects is the type. What is read must be writable, and the
/// same when read again.
pub fn fuzz_value(data: &[u8]) {
    let Some((selector, bytes)) = data.split_first() else { return };
    let ty = match selector % 6 {
        0 => Type::Dynamic,
        1 => Type::Number,
        2 => Type::list(Type::map(Type::String)),
        3 => Type::set(Type::Dynamic),
        4 => Type::object([("a", Type::String), ("b", Type::Tuple(vec![Type::Bool, Type::Number]))]),
        _ => Type::map(Type::set(Type::Number)),
    };
    if let Ok(value) = decode(&ty, bytes) {
        let again = encode(&ty, &value).expect("what was read can be written");
        assert_eq!(decode(&ty, &again).as_ref(), Ok(&value));
    }
    if let Ok(value) = decode_json(&ty, bytes) {
        assert!(encode(&ty, &value).is_ok());
    }
    let _ = Type::parse_json(bytes);
}
