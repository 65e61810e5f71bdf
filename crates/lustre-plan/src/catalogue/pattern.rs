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

/// Whether there is a text that both patterns stand for.
pub(crate) fn meet(a: &str, b: &str) -> bool {
    // `can[j]`: what was read of `a` so far, and `b` up to `j`, can mean the same.
    let b = b.as_bytes();
    let mut can: Vec<bool> = (0..=b.len()).map(|j| b[..j].iter().all(|byte| *byte == b'*')).collect();
    for byte in a.bytes() {
        let mut next = vec![byte == b'*' && can[0]; b.len() + 1];
        for j in 1..=b.len() {
            next[j] = match (byte, b[j - 1]) {
                (b'*', b'*') => can[j - 1] || can[j] || next[j - 1],
                (b'*', _) => can[j] || next[j - 1] || can[j - 1],
                (_, b'*') => can[j] || next[j - 1] || can[j - 1],
                (one, other) => can[j - 1] && one == other,
            };
        }
        can = next;
    }
    can[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_stands_for_anything() {
        assert!(glob("*", "") && glob("a*c", "abc") && glob("a*", "a") && glob("osd-*", "osd-zfs"));
        for (a, b) in
            [("scratch-*", "*ratch-OST*"), ("scratch-*", "scratch-OST0001"), ("*", "scratch-*"), ("a*c", "ab*")]
        {
            assert!(meet(a, b) && meet(b, a), "{a} {b}");
        }
        for (a, b) in
            [("scratch-*", "home-OST*"), ("scratch-*", "scratch"), ("a*c", "*b"), ("", "a"), ("scr-*", "scratch-*")]
        {
            assert!(!meet(a, b) && !meet(b, a), "{a} {b}");
        }
        assert!(!glob("a*c", "ab") && !glob("ab*ba", "aba") && !glob("a", "ab"));
    }
}
