//! What is known of tunables: names, types, ranges, when they take effect.
//!
//! The data are in `tunables.txt`, which says how to extend it. It is advice and validation, never the last word: a name that
//! it doesn't know can be set with `allow_unknown`, and never stands against a mount, an import or a replay.

mod entry;
mod fault;
mod near;
pub(crate) mod pattern;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::LazyLock;

use lustre_api::param::{CatalogueEntry, ParamSpec, SetBy};
use lustre_types::{LustreVersion, ParamScope};

pub(crate) use entry::{Kind, Known, Step};
pub use fault::ParamFault;

use crate::naming;
use crate::value::{self, Side};

pub use crate::value::Agreement;

/// The longest value in bytes. Source: tunables specification, section 1.2.
const VALUE_MAX: usize = 4095;

static KNOWN: LazyLock<Catalogue> = LazyLock::new(|| {
    let lines = include_str!("tunables.txt").lines().filter(|line| !line.starts_with('#'));
    let entries = lines.map(|line| entry::parse(line).expect("the file is tested")).collect();
    Catalogue::new(entries)
});

struct Catalogue {
    known: Vec<Known>,
    entries: Vec<CatalogueEntry>,
    /// Places in `known`, by the last part of the name, so that a plan of thousands doesn't go through all for each.
    by_last: HashMap<String, Vec<usize>>,
    /// Places of names whose last part has a `*`.
    open_ended: Vec<usize>,
}

impl Catalogue {
    fn new(known: Vec<Known>) -> Self {
        let (mut by_last, mut open_ended) = (HashMap::<String, Vec<usize>>::new(), Vec::new());
        for (at, known) in known.iter().enumerate() {
            match last(&known.entry.name) {
                part if part.contains('*') => open_ended.push(at),
                part => by_last.entry(part.to_owned()).or_default().push(at),
            }
        }
        let entries = known.iter().map(|known| known.entry.clone()).collect();
        Self { known, entries, by_last, open_ended }
    }

    fn find(&self, name: &str) -> Option<&Known> {
        let is_it = |known: &&Known| pattern::overlap(&known.entry.name, name);
        // `osc.*` is a pattern for many tunables, none of them in particular.
        let exact = self.by_last.get(last(name)).into_iter().flatten();
        exact.chain(&self.open_ended).map(|at| &self.known[*at]).find(is_it)
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

/// Everything that is known, by name.
pub fn entries() -> &'static [CatalogueEntry] {
    &KNOWN.entries
}

/// What is known of a tunable, by its name as `lctl set_param` takes it: `osc.*.max_dirty_mb`,
/// `osc.scratch-OST0001*.max_dirty_mb`.
pub fn lookup(name: &str) -> Option<&'static CatalogueEntry> {
    KNOWN.find(name).map(|known| &known.entry)
}

/// The known names that are spelled much like this one, the nearest first.
pub fn near(name: &str) -> Vec<String> {
    near::nearest(KNOWN.entries.iter(), name)
}

/// Whether a tunable can be set permanently.
///
/// Errors: a value that no node would take, a scope without devices of its layer, a tunable that is not set this way; a name
/// that the catalogue doesn't know, unless `allow_unknown`.
pub fn check(spec: &ParamSpec) -> Result<(), ParamFault> {
    let name = spec.name.as_str();
    storable(name, &spec.value)?;
    let Some(known) = KNOWN.find(name) else {
        let unknown = || ParamFault::UnknownName { name: name.to_owned(), near: near(name) };
        return if spec.allow_unknown { Ok(()) } else { Err(unknown()) };
    };
    let entry = &known.entry;
    if !matches!(entry.set_by, SetBy::Any | SetBy::ConfParam) {
        let (name, note) = (name.to_owned(), entry.description.clone());
        return Err(ParamFault::NotSettable { name, set_by: entry.set_by, note });
    }
    in_scope(name, &spec.scope)?;
    value_of(known, name, &spec.value)
}

/// Whether a tunable can be set on a node, until that restarts. `is_there`: the node itself says that it has it.
///
/// Errors: a value that no node would take; a tunable that is only read, or read only when a module is loaded or a target
/// formatted; a name that neither the catalogue nor the node knows.
pub fn check_temporary(name: &str, value: &str, is_there: bool) -> Result<(), ParamFault> {
    storable(name, value)?;
    let Some(known) = KNOWN.find(name) else {
        let unknown = || ParamFault::UnknownName { name: name.to_owned(), near: near(name) };
        return if is_there { Ok(()) } else { Err(unknown()) };
    };
    let entry = &known.entry;
    if matches!(entry.set_by, SetBy::ReadOnly | SetBy::Mkfs | SetBy::Module | SetBy::Nodemap) {
        let (name, note) = (name.to_owned(), entry.description.clone());
        return Err(ParamFault::NotSettable { name, set_by: entry.set_by, note });
    }
    value_of(known, name, value)
}

fn storable(name: &str, value: &str) -> Result<(), ParamFault> {
    if value.is_empty() {
        return Err(ParamFault::Empty(name.to_owned()));
    }
    let what = match value.len() + name.len() + 1 {
        _ if value.contains(['\n', '\0', '\r']) => "has a line break".to_owned(),
        length if length > VALUE_MAX => {
            format!("is too long: with its name it has {length} bytes, a log takes {VALUE_MAX}")
        }
        _ => return Ok(()),
    };
    Err(ParamFault::Text { name: name.to_owned(), what })
}

fn in_scope(name: &str, scope: &ParamScope) -> Result<(), ParamFault> {
    let Some(why) = naming::misses(name, scope) else { return Ok(()) };
    Err(ParamFault::Scope { name: name.to_owned(), scope: scope.to_string(), why })
}

fn value_of(known: &Known, name: &str, text: &str) -> Result<(), ParamFault> {
    let (name, shown) = (name.to_owned(), lustre_types::shortened(text, 60));
    match value::read(known, text, Side::Wanted) {
        Err(expected) => Err(ParamFault::Type { name, value: shown, expected }),
        Ok(meaning) => match value::range_fault(known, &meaning) {
            Some(range) => Err(ParamFault::Range { name, value: shown, range }),
            None => Ok(()),
        },
    }
}

/// Whether older releases take other values of a tunable than newer ones.
pub fn is_otherwise_in_older(name: &str) -> bool {
    KNOWN.find(name).is_some_and(|known| known.before.is_some())
}

/// Why nodes of this release would not take a value that newer ones take. None: they take it, or nobody knows.
pub fn older_fault(name: &str, value: &str, release: &LustreVersion) -> Option<ParamFault> {
    let (since, older) = KNOWN.find(name)?.before.as_ref()?;
    if release.release() >= since.release() {
        return None;
    }
    value_of(older, name, value).err()
}

/// Whether two values of a tunable mean the same: `64M` and `67108864`, `1` and `on`.
pub fn same_value(name: &str, a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    let Some(known) = KNOWN.find(name) else { return false };
    matches!((value::read(known, a, Side::Wanted), value::read(known, b, Side::Wanted)), (Ok(a), Ok(b)) if a == b)
}

/// Whether what a node prints is what was wanted.
pub fn agreement(name: &str, wanted: &str, printed: &str) -> Agreement {
    match KNOWN.find(name) {
        Some(known) => value::agreement(known, wanted, printed),
        None if wanted.trim() == printed.trim() => Agreement::Same,
        None => Agreement::Different,
    }
}

/// What to set for a node to print again what it prints; none where that can't be told.
pub fn settable(name: &str, printed: &str) -> Option<String> {
    match KNOWN.find(name) {
        Some(known) => value::settable(known, printed),
        None => Some(printed.trim().to_owned()).filter(|text| !text.is_empty() && !text.contains('\n')),
    }
}

/// Whether a name with stars stands for a tunable of a node.
pub fn stands_for(pattern: &str, name: &str) -> bool {
    pattern::glob(pattern, name)
}
