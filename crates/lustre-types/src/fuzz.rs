//! Names from anywhere, for fuzzers.

use crate::{ByteSize, FsName, LustreVersion, Nid, NidList, NodeName, ParamName, PoolName, SvName, expand_nodelist};
use std::{fmt, str::FromStr};

/// What parses is printed as text that parses to the same.
fn round<T: FromStr + fmt::Display + PartialEq + fmt::Debug>(text: &str) {
    if let Ok(value) = text.parse::<T>() {
        let again = value.to_string().parse::<T>().ok();
        assert_eq!(again.as_ref(), Some(&value), "{text:?} was printed as {value}");
    }
}

/// Reads a text as every kind of name.
pub fn fuzz_names(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A size is printed rounded.
    let _ = text.parse::<ByteSize>().map(|size| size.to_string());
    round::<FsName>(text);
    round::<LustreVersion>(text);
    round::<Nid>(text);
    round::<NidList>(text);
    round::<NodeName>(text);
    round::<ParamName>(text);
    round::<PoolName>(text);
    round::<SvName>(text);
    if let Ok(nodes) = expand_nodelist(text) {
        assert!(nodes.len() <= crate::NODELIST_MAX);
    }
}
