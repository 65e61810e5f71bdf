//! Names with `*`.

/// Whether two names can mean the same tunable: part by part; in either a `*` stands for anything.
pub(crate) fn overlap(known: &str, name: &str) -> bool {
    let (mut known, mut name) = (known.split('.'), name.split('.'));
    loop {
        match (known.next(), name.next()) {
            (None, None) => return true,
            (Some(known), Some(name)) if glob(known, name) || glob(name, known) => {}
            _ => return false,
        }
    }
}

/// Whether `text` is one that `pattern` stands for.
pub(crate) fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_stands_for_anything() {
        assert!(glob("*", "") && glob("a*c", "abc") && glob("a*", "a") && glob("osd-*", "osd-zfs"));
        assert!(!glob("a*c", "ab") && !glob("ab*ba", "aba") && !glob("a", "ab"));
    }
}
