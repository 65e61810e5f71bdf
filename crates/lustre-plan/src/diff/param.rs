//! Tunables.

use lustre_api::attributes::PARAM;
use lustre_api::param::ParamSpec;
use lustre_api::plan::{Action, ObjectKey};
use lustre_types::ParamScope;

use super::{Say, Work, all_fields, fields, json};
use crate::catalogue;

impl Work<'_> {
    pub(super) fn params(&mut self) {
        for spec in &self.desired.params {
            let object = ObjectKey::Param {
                filesystem: spec.filesystem.clone(),
                scope: spec.scope.clone(),
                name: spec.name.clone(),
            };
            if let Err(fault) = catalogue::check(spec) {
                let say = Say {
                    attribute: Some(fault.attribute()),
                    code: fault.code(),
                    message: fault.to_string(),
                    remedy: fault.remedy().to_owned(),
                };
                self.error(&object, say);
                continue;
            }
            if !self.has_scope(&object, spec) {
                continue;
            }
            let known = self.snapshot.params.iter().map(|known| &known.spec);
            let mut known = known.filter(|known| {
                known.filesystem == spec.filesystem && known.scope == spec.scope && known.name == spec.name
            });
            match known.next() {
                None => {
                    self.change(&object, Action::Create, all_fields(&PARAM, &json(spec)), "it is not set", who(spec));
                }
                Some(known) => {
                    let same = |field: &str, _: &_, _: &_| {
                        field == "value" && catalogue::same_value(spec.name.as_str(), &known.value, &spec.value)
                    };
                    let fields = fields(&PARAM, &json(known), &json(spec), same);
                    if !fields.is_empty() {
                        self.change(&object, Action::Update, fields, "it is set differently", who(spec));
                    }
                }
            }
        }
    }

    /// Whether what the tunable concerns is there.
    fn has_scope(&mut self, object: &ObjectKey, spec: &ParamSpec) -> bool {
        if let ParamScope::Target(svname) = &spec.scope
            && svname.fsname() != spec.filesystem.as_ref()
        {
            let fsname = spec.filesystem.as_ref().map_or("every file system", |fsname| fsname.as_str());
            let say = Say {
                attribute: Some("scope"),
                code: "wrong_scope",
                message: format!("target {svname} is not of {fsname}"),
                remedy: "give the target's own file system, or another scope".to_owned(),
            };
            self.error(object, say);
            return false;
        }
        match &spec.filesystem {
            Some(fsname) => self.has_filesystem(object, fsname),
            None => true,
        }
    }
}

fn who(spec: &ParamSpec) -> String {
    let fsname = spec.filesystem.as_ref().map_or_else(|| "every file system".to_owned(), ToString::to_string);
    match &spec.scope {
        ParamScope::Filesystem => format!("every node of {fsname}"),
        ParamScope::Mdts => format!("the MDTs of {fsname}"),
        ParamScope::Osts => format!("the OSTs of {fsname}"),
        ParamScope::Clients => format!("the clients of {fsname}"),
        ParamScope::Target(svname) => format!("{svname}"),
    }
}
