//! Objects that are to be gone.

use lustre_api::plan::{Action, ObjectKey};
use lustre_types::FsName;

use super::{Say, Work};

impl Work<'_> {
    pub(super) fn absent(&mut self) {
        // What others need goes last.
        let rank = |key: &&ObjectKey| match key {
            // Before the nodemaps themselves go, nobody depends on them any more.
            ObjectKey::Nodemaps {} => 0,
            ObjectKey::Pool { .. } | ObjectKey::Nodemap { .. } => 1,
            ObjectKey::Param { .. } => 2,
            ObjectKey::Target { .. } | ObjectKey::NewTarget { .. } => 3,
            ObjectKey::Filesystem { .. } => 4,
            ObjectKey::MgsProxy { .. } => 5,
        };
        let mut keys: Vec<_> = self.desired.absent.iter().collect();
        keys.sort_by_key(rank);
        for key in keys {
            match key {
                ObjectKey::Filesystem { name } => self.absent_filesystem(key, name),
                ObjectKey::Target { svname } => {
                    if let Some(known) = self.snapshot.targets.iter().find(|known| known.svname == *svname) {
                        let blast_radius = if known.state.is_registered() {
                            format!("files with data on {svname} can't be read until it is back")
                        } else {
                            "nobody".to_owned()
                        };
                        self.change(key, Action::Delete, Vec::new(), "it is to be absent", blast_radius);
                    }
                }
                ObjectKey::Nodemap { name } => self.absent_nodemap(key, name),
                ObjectKey::Nodemaps {} => self.absent_nodemaps(key),
                ObjectKey::MgsProxy { node } => self.absent_mgs_proxy(key, node),
                // What never got an index is in no configuration.
                ObjectKey::NewTarget { .. } => {}
                ObjectKey::Param { filesystem, scope, name } => {
                    let mut known = self.snapshot.params.iter().map(|known| &known.spec);
                    if known
                        .any(|known| known.filesystem == *filesystem && known.scope == *scope && known.name == *name)
                    {
                        self.change(
                            key,
                            Action::Delete,
                            Vec::new(),
                            "it is to be absent",
                            "its default comes back".to_owned(),
                        );
                    }
                }
                ObjectKey::Pool { filesystem, name } => {
                    let mut known = self.snapshot.pools.iter();
                    if known.any(|known| known.filesystem == *filesystem && known.name == *name) {
                        let blast_radius = "new files that ask for it; existing files stay".to_owned();
                        self.change(key, Action::Delete, Vec::new(), "it is to be absent", blast_radius);
                    }
                }
            }
        }
    }

    fn absent_filesystem(&mut self, key: &ObjectKey, name: &FsName) {
        if self.snapshot.filesystems.iter().all(|known| known.spec.name != *name) {
            return;
        }
        let targets = self.snapshot.targets.iter().filter(|known| known.spec.filesystem.as_ref() == Some(name));
        let targets = targets.map(|known| ObjectKey::Target { svname: known.svname.clone() });
        let pools = self.snapshot.pools.iter().filter(|known| known.filesystem == *name);
        let pools = pools.map(|known| ObjectKey::Pool { filesystem: name.clone(), name: known.name.clone() });
        let params = self.snapshot.params.iter().filter(|known| known.spec.filesystem.as_ref() == Some(name));
        let params = params.map(|known| ObjectKey::Param {
            filesystem: Some(name.clone()),
            scope: known.spec.scope.clone(),
            name: known.spec.name.clone(),
        });
        let holders = targets.chain(pools).chain(params).filter(|holder| !self.desired.absent.contains(holder));
        let holders: Vec<_> = holders.map(|holder| holder.to_string()).collect();
        match holders.first() {
            None => self.change(
                key,
                Action::Delete,
                Vec::new(),
                "it is to be absent",
                "nobody; nothing of it is left".to_owned(),
            ),
            Some(first) => {
                let more = if holders.len() > 1 { format!(" and {} more", holders.len() - 1) } else { String::new() };
                let say = Say {
                    attribute: None,
                    code: "filesystem_in_use",
                    message: format!("file system {name} still has {first}{more}"),
                    remedy: "remove its targets, pools and tunables first; devices keep their data".to_owned(),
                };
                self.error(key, say);
            }
        }
    }
}
