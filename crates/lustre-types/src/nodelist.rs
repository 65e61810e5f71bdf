//! Bracketed lists, as in `oss[01-16,20],mds1`.

/// The most names that one expression may expand to.
pub const NODELIST_MAX: usize = 65_536;

/// Why an expression can't be expanded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodelistError {
    /// A bracket without its partner, or brackets in brackets.
    #[error("node list \"{0}\": brackets do not match; write ranges like \"oss[01-16,20]\"")]
    Brackets(String),
    /// What is between the brackets is no number or range.
    #[error("node list \"{list}\": \"{range}\" is not a number or a range like \"01-16\"")]
    Range {
        /// The expression, shortened.
        list: String,
        /// The part that is wrong.
        range: String,
    },
    /// An empty name between commas.
    #[error("node list \"{0}\" has an empty element")]
    Empty(String),
    /// More than [`NODELIST_MAX`] names.
    #[error("node list \"{0}\" expands to more than {max} names", max = NODELIST_MAX)]
    Large(String),
}

/// Expands `oss[01-03],mds1` to `oss01 oss02 oss03 mds1`, in the order written, each name once.
///
/// Leading zeros of a range's first number give its width. Several brackets in one name multiply (`r[1-2]n[1-2]`).
/// Errors: [`NodelistError`]; at most [`NODELIST_MAX`] names, counted before anything is built.
pub fn expand_nodelist(list: &str) -> Result<Vec<String>, NodelistError> {
    let mut names = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for element in split_outside_brackets(list)? {
        if element.is_empty() {
            return Err(NodelistError::Empty(crate::text::excerpt(list)));
        }
        for name in expand_one(list, element)? {
            if seen.insert(name.clone()) {
                names.push(name);
            }
        }
        if names.len() > NODELIST_MAX {
            return Err(NodelistError::Large(crate::text::excerpt(list)));
        }
    }
    Ok(names)
}

fn split_outside_brackets(list: &str) -> Result<Vec<&str>, NodelistError> {
    let brackets = || NodelistError::Brackets(crate::text::excerpt(list));
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in list.char_indices() {
        match c {
            '[' if inside => return Err(brackets()),
            ']' if !inside => return Err(brackets()),
            '[' | ']' => inside = !inside,
            ',' if !inside => {
                parts.push(list[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    if inside {
        return Err(brackets());
    }
    parts.push(list[start..].trim());
    Ok(parts)
}

fn expand_one(list: &str, element: &str) -> Result<Vec<String>, NodelistError> {
    let mut names = vec![String::new()];
    let mut rest = element;
    while let Some((before, behind)) = rest.split_once('[') {
        let (ranges, after) =
            behind.split_once(']').ok_or_else(|| NodelistError::Brackets(crate::text::excerpt(list)))?;
        let numbers = numbers(list, ranges, names.len())?;
        names =
            names.iter().flat_map(|name| numbers.iter().map(move |number| format!("{name}{before}{number}"))).collect();
        rest = after;
    }
    for name in &mut names {
        name.push_str(rest);
    }
    Ok(names)
}

fn numbers(list: &str, ranges: &str, factor: usize) -> Result<Vec<String>, NodelistError> {
    let mut numbers = Vec::new();
    for range in ranges.split(',') {
        let wrong = || NodelistError::Range { list: crate::text::excerpt(list), range: crate::text::excerpt(range) };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let digits = |text: &str| (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Err(wrong());
        }
        let (from, to): (u32, u32) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
        if from > to {
            return Err(wrong());
        }
        let count = (to - from) as usize + 1;
        if (numbers.len() + count).saturating_mul(factor) > NODELIST_MAX {
            return Err(NodelistError::Large(crate::text::excerpt(list)));
        }
        numbers.extend((from..=to).map(|number| format!("{number:0width$}", width = first.len())));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_keep_width_and_order() {
        assert_eq!(expand_nodelist("oss[08-10,2],mds1,mds1").unwrap(), ["oss08", "oss09", "oss10", "oss2", "mds1"]);
        assert_eq!(expand_nodelist("r[1-2]n[1-2]x").unwrap(), ["r1n1x", "r1n2x", "r2n1x", "r2n2x"]);
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_built() {
        assert!(matches!(expand_nodelist("n[0-999999999]"), Err(NodelistError::Large(_))));
        assert!(matches!(expand_nodelist("n[0-999][0-999][0-999][0-999]"), Err(NodelistError::Large(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(matches!(expand_nodelist("oss[1-2"), Err(NodelistError::Brackets(_))));
        assert!(matches!(expand_nodelist("oss1]"), Err(NodelistError::Brackets(_))));
        assert!(matches!(expand_nodelist("oss[a-b]"), Err(NodelistError::Range { .. })));
        assert!(matches!(expand_nodelist("oss[3-1]"), Err(NodelistError::Range { .. })));
        assert!(matches!(expand_nodelist("a,,b"), Err(NodelistError::Empty(_))));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c0-9,\\[\\]-]{0,30}|\\PC{0,20}") {
            let _ = expand_nodelist(&text);
        }
    }
}
