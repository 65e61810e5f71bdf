//! OST pools.

use std::collections::BTreeSet;

use lustre_api::attributes::POOL;
use lustre_api::plan::{Action, ObjectKey};
use lustre_api::pool::PoolSpec;
use lustre_types::{SvName, TargetKind};
use serde_json::{Value, json};

use super::{Say, Work, all_fields, fields};
use crate::members::pool_members;

impl Work<'_> {
    pub(super) fn pools(&mut self) {
        for spec in &self.desired.pools {
            let object = ObjectKey::Pool { filesystem: spec.filesystem.clone(), name: spec.name.clone() };
            let members = match pool_members(&spec.filesystem, &spec.members) {
                Ok(members) => members,
                Err(err) => {
                    let say = Say {
                        attribute: Some("members"),
                        code: "illegal_member",
                        message: format!("pool {}.{}: {err}", spec.filesystem, spec.name),
                        remedy: "correct the member".to_owned(),
                    };
                    self.error(&object, say);
                    continue;
                }
            };
            if !self.has_filesystem(&object, &spec.filesystem) || !self.has_members(&object, spec, &members) {
                continue;
            }
            let after = as_json(spec, &members);
            let mut known = self.snapshot.pools.iter();
            let blast_radius = format!("new files in pool {} of {}; existing files stay", spec.name, spec.filesystem);
            match known.find(|known| known.filesystem == spec.filesystem && known.name == spec.name) {
                None => {
                    self.change(&object, Action::Create, all_fields(&POOL, &after), "it does not exist", blast_radius)
                }
                Some(known) => {
                    let fields = fields(&POOL, &as_json(spec, &known.members), &after, |_, _, _| false);
                    if !fields.is_empty() {
                        self.change(&object, Action::Update, fields, "it has other members", blast_radius);
                    }
                }
            }
        }
    }

    /// Whether each member is an OST that is registered, or will be when this plan is done.
    fn has_members(&mut self, object: &ObjectKey, spec: &PoolSpec, members: &BTreeSet<SvName>) -> bool {
        let observed = self.snapshot.targets.iter().filter(|target| target.state.is_registered());
        let mut osts: BTreeSet<SvName> = observed.map(|target| target.svname.clone()).collect();
        for wanted in self.desired.targets.iter().map(|wanted| &wanted.target) {
            if let (TargetKind::Ost, Some(fsname), Some(index)) = (wanted.kind, &wanted.filesystem, wanted.index) {
                osts.insert(SvName::new(fsname.clone(), wanted.kind, index));
            }
        }
        let missing: Vec<_> = members.difference(&osts).map(SvName::to_string).collect();
        if missing.is_empty() {
            return true;
        }
        let shown = missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
        let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
        let say = Say {
            attribute: Some("members"),
            code: "unknown_ost",
            message: format!("{shown}{more}: not registered in {}", spec.filesystem),
            remedy: "create the OST first, or correct the member".to_owned(),
        };
        self.error(object, say);
        false
    }
}

fn as_json(spec: &PoolSpec, members: &BTreeSet<SvName>) -> Value {
    json!({ "filesystem": spec.filesystem, "name": spec.name, "members": members })
}
