//! Nodemaps, and whether they are in force.

use std::collections::BTreeSet;

use lustre_api::attributes::{NODEMAP, NODEMAPS};
use lustre_api::nodemap::{NodemapSpec, NodemapsSpec};
use lustre_api::plan::{Action, ObjectKey};
use lustre_types::{NidRange, NodeName, NodemapName};

use super::{Say, Work, all_fields, fields, json};

/// The most records of all nodemaps together: what fits into the megabyte that a target reads at once.
const MAX_NODEMAP_RECORDS: usize = 25_000;
/// The longest path of a fileset, bytes.
const MAX_FILESET: usize = 4095;
/// Bytes of a fileset's path in one record.
pub const FILESET_FRAGMENT: usize = 28;

/// How many records a nodemap takes in what targets are sent.
pub fn nodemap_records(spec: &NodemapSpec) -> usize {
    let fragments = spec.fileset.as_ref().map_or(0, |path| path.len().div_ceil(FILESET_FRAGMENT));
    let ids = spec.uids.len() + spec.gids.len() + spec.projids.len();
    1 + spec.ranges.len() + spec.banned_ranges.len() + ids + fragments
}

impl Work<'_> {
    pub(super) fn nodemaps(&mut self) {
        for (n, spec) in self.desired.nodemaps.iter().enumerate() {
            let object = ObjectKey::Nodemap { name: spec.name.clone() };
            if self.desired.nodemaps[..n].iter().any(|other| other.name == spec.name) {
                let say = Say {
                    attribute: Some("name"),
                    code: "described_twice",
                    message: format!("nodemap {} is described more than once", spec.name),
                    remedy: "describe it once, with all that it has".to_owned(),
                };
                self.error(&object, say);
                continue;
            }
            if !self.is_legal_nodemap(&object, n) {
                continue;
            }
            self.warn_of_nodemap(&object, spec);
            let known = self.snapshot.nodemaps.iter().map(|known| &known.spec).find(|known| known.name == spec.name);
            // A nodemap that nobody made yet has every default: so the default one always is.
            let is_new = known.is_none();
            let before = known.cloned().unwrap_or_else(|| NodemapSpec::new(spec.name.clone()));
            let fields = match is_new {
                true => all_fields(&NODEMAP, &json(spec)),
                false => fields(&NODEMAP, &json(&before), &json(spec), |_, _, _| false),
            };
            let who = self.whom(spec, &before);
            if is_new {
                let reason = if spec.name.is_default() { "it has its defaults" } else { "it does not exist" };
                self.change(&object, Action::Create, fields, reason, who);
            } else if !fields.is_empty() {
                self.change(&object, Action::Update, fields, "it is described differently", who);
            }
        }
        if let Some(wanted) = self.desired.nodemaps_active {
            self.nodemaps_active(wanted);
        }
    }

    fn nodemaps_active(&mut self, wanted: NodemapsSpec) {
        let object = ObjectKey::Nodemaps {};
        let before = NodemapsSpec { active: self.snapshot.nodemaps_active };
        if wanted == before {
            return;
        }
        if wanted.active {
            self.warn_of_squashed_servers(&object);
        }
        let fields = fields(&NODEMAPS, &json(&before), &json(&wanted), |_, _, _| false);
        let reason = if wanted.active { "nodemaps are not in force" } else { "nodemaps are in force" };
        let blast_radius = "every client and server of this MGS: their ids may be others from then on".to_owned();
        self.change(&object, Action::Update, fields, reason, blast_radius);
    }

    /// Whether a nodemap can be told to targets, and has no NIDs of another one.
    fn is_legal_nodemap(&mut self, object: &ObjectKey, n: usize) -> bool {
        let spec = &self.desired.nodemaps[n];
        let before = self.findings.len();
        if spec.name.is_default() && !spec.ranges.is_empty() {
            let say = Say {
                attribute: Some("ranges"),
                code: "ranges_of_default",
                message: "the default nodemap has all NIDs that no other has; it can't be given some".to_owned(),
                remedy: "give them to a nodemap of another name".to_owned(),
            };
            self.error(object, say);
        }
        for (attribute, ranges) in [("ranges", &spec.ranges), ("banned_ranges", &spec.banned_ranges)] {
            let own: Vec<&NidRange> = ranges.iter().collect();
            let twice = own
                .iter()
                .enumerate()
                .find_map(|(n, range)| Some((range, own[n + 1..].iter().find(|other| range.overlaps(other))?)));
            if let Some((range, other)) = twice {
                let say = Say {
                    attribute: Some(attribute),
                    code: "ranges_overlap",
                    message: format!("ranges {range} and {other} of nodemap {} have NIDs in common", spec.name),
                    remedy: "write each NID in one of them".to_owned(),
                };
                self.error(object, say);
            }
        }
        if let Some((range, other, taken)) = self.taken_range(n) {
            let say = Say {
                attribute: Some("ranges"),
                code: "range_taken",
                message: format!("nodemap {other} has NIDs of {range}: its range {taken}"),
                remedy: format!("take them from nodemap {other} first"),
            };
            self.error(object, say);
        }
        if let Some(fault) = spec.fileset.as_deref().and_then(fileset_fault) {
            let say = Say {
                attribute: Some("fileset"),
                code: "illegal_fileset",
                message: format!("fileset of nodemap {}: {fault}", spec.name),
                remedy: "write it like \"/projects/a\", as seen from the root of the file system".to_owned(),
            };
            self.error(object, say);
        }
        let all = nodemap_records(spec) + self.others_before(n).map(nodemap_records).sum::<usize>();
        if all > MAX_NODEMAP_RECORDS {
            let say = Say {
                attribute: None,
                code: "too_many_records",
                message: format!("all nodemaps would have {all} records; targets can be told {MAX_NODEMAP_RECORDS}"),
                remedy: "join ranges, or map fewer ids".to_owned(),
            };
            self.error(object, say);
        }
        self.findings.len() == before
    }

    /// All other nodemaps as they are when the nth described one is made: those before it as described, the rest as it is.
    fn others_before(&self, n: usize) -> impl Iterator<Item = &NodemapSpec> {
        let (before, name) = (&self.desired.nodemaps[..n], &self.desired.nodemaps[n].name);
        let known = self.snapshot.nodemaps.iter().map(|known| &known.spec);
        let known =
            known.filter(move |known| known.name != *name && before.iter().all(|other| other.name != known.name));
        before.iter().chain(known)
    }

    /// A range that another nodemap has NIDs of: it, that nodemap and its range.
    fn taken_range(&self, n: usize) -> Option<(NidRange, NodemapName, NidRange)> {
        self.desired.nodemaps[n].ranges.iter().find_map(|range| {
            self.others_before(n).find_map(|other| {
                let taken = other.ranges.iter().find(|taken| taken.overlaps(range))?;
                Some((range.clone(), other.name.clone(), taken.clone()))
            })
        })
    }

    fn warn_of_nodemap(&mut self, object: &ObjectKey, spec: &NodemapSpec) {
        let is_for_servers = spec.admin && spec.trusted;
        let squashed = match is_for_servers {
            true => Vec::new(),
            false => self.servers(|nids| nids.iter().any(|nid| spec.ranges.iter().any(|range| range.contains(nid)))),
        };
        if !squashed.is_empty() {
            let say = Say {
                attribute: Some("ranges"),
                code: "nodemap_of_servers",
                message: format!(
                    "nodemap {} has NIDs of servers and is not both admin and trusted: {}",
                    spec.name,
                    names(&squashed)
                ),
                remedy: "give servers a nodemap of their own that is admin and trusted, or their file systems fail while nodemaps are in force"
                    .to_owned(),
            };
            self.warning(object, say);
        }
        let will_be_active = self.desired.nodemaps_active.map_or(self.snapshot.nodemaps_active, |wanted| wanted.active);
        if !will_be_active && !self.snapshot.nodemaps.iter().any(|known| known.spec == *spec) {
            let say = Say {
                attribute: None,
                code: "nodemaps_inactive",
                message: format!("nodemaps are not in force, so nodemap {} changes nothing yet", spec.name),
                remedy: "put them in force once servers have a nodemap that is admin and trusted".to_owned(),
            };
            self.warning(object, say);
        }
    }

    fn warn_of_squashed_servers(&mut self, object: &ObjectKey) {
        let nobody: NodemapName = NodemapName::DEFAULT.parse().expect("it is a name");
        let unnamed = NodemapSpec::new(nobody.clone());
        let all = || self.desired.nodemaps.iter().chain(self.snapshot.nodemaps.iter().map(|known| &known.spec));
        let squashed = self.servers(|nids| {
            nids.iter().any(|nid| {
                let of_range = all().find(|spec| spec.ranges.iter().any(|range| range.contains(nid)));
                let spec = of_range.or_else(|| all().find(|spec| spec.name == nobody)).unwrap_or(&unnamed);
                !(spec.admin && spec.trusted)
            })
        });
        if squashed.is_empty() {
            return;
        }
        let say = Say {
            attribute: Some("active"),
            code: "servers_squashed",
            message: format!("servers are in no nodemap that is admin and trusted: {}", names(&squashed)),
            remedy: "give their NIDs to such a nodemap first, or their file systems fail; confirm_within_s puts it back by itself"
                .to_owned(),
        };
        self.warning(object, say);
    }

    /// Nodes that serve targets and whose NIDs are as asked.
    fn servers(&self, is_meant: impl Fn(&[lustre_types::Nid]) -> bool) -> Vec<NodeName> {
        let serves = |node: &NodeName| self.snapshot.targets.iter().any(|target| target.spec.node == *node);
        let nodes = self.snapshot.nodes.iter().map(|node| &node.node);
        nodes.filter(|node| serves(&node.name) && is_meant(&node.info.nids)).map(|node| node.name.clone()).collect()
    }

    /// Who notices a change of a nodemap: also those whose NIDs leave it.
    fn whom(&self, after: &NodemapSpec, before: &NodemapSpec) -> String {
        let ranges: BTreeSet<&NidRange> = after.ranges.union(&before.ranges).collect();
        let shown: Vec<String> = ranges.iter().take(3).map(ToString::to_string).collect();
        let more = if ranges.len() > 3 { format!(" and {} more ranges", ranges.len() - 3) } else { String::new() };
        let who = match (after.name.is_default(), shown.is_empty()) {
            (true, _) => "every client that no other nodemap has".to_owned(),
            (false, true) => "nobody: it has no NIDs".to_owned(),
            (false, false) => format!("clients at {}{more}", shown.join(", ")),
        };
        if self.snapshot.nodemaps_active { who } else { format!("{who}, once nodemaps are in force") }
    }

    pub(super) fn absent_nodemap(&mut self, key: &ObjectKey, name: &NodemapName) {
        if self.snapshot.nodemaps.iter().any(|known| known.spec.name == *name) {
            let who = match name.is_default() {
                true => "clients that no other nodemap has: its defaults come back",
                false => "its clients: their NIDs belong to the nodemap default then",
            };
            self.change(key, Action::Delete, Vec::new(), "it is to be absent", who.to_owned());
        }
    }

    pub(super) fn absent_nodemaps(&mut self, key: &ObjectKey) {
        if self.snapshot.nodemaps_active {
            let who = "every client and server of this MGS: their ids are taken as they are".to_owned();
            self.change(key, Action::Delete, Vec::new(), "nodemaps are to be out of force", who);
        }
    }
}

fn names(nodes: &[NodeName]) -> String {
    let shown: Vec<&str> = nodes.iter().take(5).map(NodeName::as_str).collect();
    let more = if nodes.len() > 5 { format!(" and {} more", nodes.len() - 5) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn fileset_fault(path: &str) -> Option<String> {
    if path.len() > MAX_FILESET {
        return Some(format!("a path of {} bytes; {MAX_FILESET} are possible", path.len()));
    }
    let is_whole = path.starts_with('/') && !path.contains(['\0', '\n']);
    let is_plain = path.split('/').all(|part| part != ".." && part != ".");
    (!is_whole || !is_plain).then(|| format!("{:?} is no absolute path", path.chars().take(60).collect::<String>()))
}
