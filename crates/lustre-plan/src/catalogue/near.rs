//! "Did you mean": known names that are spelled much like a wrong one.

use lustre_api::param::CatalogueEntry;

/// The known names of which a few letters differ, the nearest first; at most three.
pub(crate) fn nearest<'a>(entries: impl Iterator<Item = &'a CatalogueEntry>, name: &str) -> Vec<String> {
    let last = |name: &'_ str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let (wanted, layer) = (last(name), name.split('.').next());
    let mut near: Vec<(usize, bool, &str)> = entries
        .map(|entry| {
            (distance(&wanted, &last(&entry.name)), entry.name.split('.').next() != layer, entry.name.as_str())
        })
        .filter(|(distance, ..)| *distance <= 2)
        .collect();
    near.sort_unstable();
    // A name of the layer that was written beats the same name of others.
    if near.first().is_some_and(|(_, is_elsewhere, _)| !is_elsewhere) {
        near.retain(|(_, is_elsewhere, _)| !is_elsewhere);
    }
    near.into_iter().take(3).map(|(.., name)| name.to_owned()).collect()
}

/// Levenshtein's: how many letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
