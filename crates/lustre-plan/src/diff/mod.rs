//! Desired against observed.

mod absent;
mod device;
mod filesystem;
mod nodemap;
mod param;
mod pool;
mod proxy;
mod target;

pub use nodemap::{FILESET_FRAGMENT, nodemap_records};
pub use param::nodes_to_set_again;
pub use target::LATER;

use lustre_api::attributes::{ChangeEffect, Resource as Table};
use lustre_api::mgs::Snapshot;
use lustre_api::plan::{Action, Change, Desired, Effect, FieldChange, Finding, ObjectKey, Plan, Severity};
use lustre_types::FsName;
use serde_json::Value;

/// What has to change so that everything is as desired, in the order in which to do it: what others need comes first, what
/// others need is removed last. Nothing is changed by asking.
pub fn diff(desired: &Desired, snapshot: &Snapshot) -> Plan {
    let mut work = Work { desired, snapshot, changes: Vec::new(), findings: Vec::new() };
    work.filesystems();
    work.targets();
    work.params();
    work.pools();
    work.nodemaps();
    work.mgs_proxies();
    work.absent();
    Plan { revision: snapshot.revision, changes: work.changes, findings: work.findings }
}

/// A plan in the making.
struct Work<'a> {
    desired: &'a Desired,
    snapshot: &'a Snapshot,
    changes: Vec<Change>,
    findings: Vec<Finding>,
}

/// What to say about a finding: code, what was found, what to do.
struct Say<'a> {
    attribute: Option<&'a str>,
    code: &'a str,
    message: String,
    remedy: String,
}

impl Say<'_> {
    fn finding(self, severity: Severity, object: &ObjectKey) -> Finding {
        Finding {
            severity,
            object: object.clone(),
            attribute: self.attribute.map(str::to_owned),
            code: self.code.to_owned(),
            message: self.message,
            remedy: Some(self.remedy).filter(|remedy| !remedy.is_empty()),
            place: None,
        }
    }
}

impl Work<'_> {
    fn error(&mut self, object: &ObjectKey, say: Say<'_>) {
        self.findings.push(say.finding(Severity::Error, object));
    }

    fn warning(&mut self, object: &ObjectKey, say: Say<'_>) {
        self.findings.push(say.finding(Severity::Warning, object));
    }

    /// Whether the file system is there, or will be when this plan is done; an error if it isn't.
    fn has_filesystem(&mut self, object: &ObjectKey, fsname: &FsName) -> bool {
        let is_there = self.snapshot.filesystems.iter().any(|known| known.spec.name == *fsname);
        if is_there || self.desired.filesystems.iter().any(|wanted| wanted.name == *fsname) {
            return true;
        }
        let known: Vec<_> = self.snapshot.filesystems.iter().map(|known| known.spec.name.as_str()).collect();
        let known = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
        self.error(
            object,
            Say {
                attribute: Some("filesystem"),
                code: "unknown_filesystem",
                message: format!("the MGS has no file system {fsname}; {known}"),
                remedy: format!("create the file system {fsname} first"),
            },
        );
        false
    }

    /// A change of one object, unless no field differs.
    fn change(
        &mut self,
        object: &ObjectKey,
        action: Action,
        fields: Vec<FieldChange>,
        reason: &str,
        blast_radius: String,
    ) {
        let change = Change {
            object: object.clone(),
            action,
            fields,
            reason: reason.to_owned(),
            destroys_data: false,
            blast_radius,
            place: None,
        };
        self.changes.push(change);
    }
}

/// The fields of a table that differ between two objects in JSON, sorted by name; `same` knows what means the same.
fn fields(
    table: &Table,
    before: &Value,
    after: &Value,
    same: impl Fn(&str, &Value, &Value) -> bool,
) -> Vec<FieldChange> {
    let in_spec = table.attributes.iter().filter(|entry| entry.is_in_spec());
    let changed = in_spec.filter_map(|entry| {
        let (before, after) = (&before[entry.name], &after[entry.name]);
        (before != after && !same(entry.name, before, after)).then(|| FieldChange {
            path: entry.name.to_owned(),
            before: before.clone(),
            after: after.clone(),
            effect: match entry.change {
                ChangeEffect::InPlace | ChangeEffect::None => Effect::InPlace,
                ChangeEffect::Identity => Effect::Immutable,
                ChangeEffect::Reformat => Effect::Reformat,
            },
        })
    });
    let mut changed: Vec<_> = changed.collect();
    changed.sort_by(|a, b| a.path.cmp(&b.path));
    changed
}

/// All fields of a new object; how they could be changed later doesn't matter yet.
fn all_fields(table: &Table, after: &Value) -> Vec<FieldChange> {
    let mut fields = fields(table, &Value::Null, after, |_, _, _| false);
    for field in &mut fields {
        field.effect = Effect::InPlace;
    }
    fields
}

/// A spec as JSON: by the attribute table's names.
fn json<T: serde::Serialize>(spec: &T) -> Value {
    serde_json::to_value(spec).expect("specs are plain data with text keys")
}
