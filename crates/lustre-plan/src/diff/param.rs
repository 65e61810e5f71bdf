//! Tunables.

use lustre_api::attributes::PARAM;
use lustre_api::param::Effective;
use lustre_api::param::ParamSpec;
use lustre_api::plan::{Action, ObjectKey};
use lustre_types::{LustreVersion, NodeName, ParamScope};

use super::{Say, Work, all_fields, fields, json};
use crate::catalogue::{self, ParamFault};
use crate::naming;

impl Work<'_> {
    pub(super) fn params(&mut self) {
        for spec in &self.desired.params {
            let object = ObjectKey::Param {
                filesystem: spec.filesystem.clone(),
                scope: spec.scope.clone(),
                name: spec.name.clone(),
            };
            let mut checked = catalogue::check(spec);
            // The catalogue is advice: what nodes have exists.
            if let Err(ParamFault::UnknownName { .. }) = &checked
                && let Some(nodes) = self.snapshot.live_params.get(&spec.name).filter(|nodes| !nodes.is_empty())
            {
                checked = catalogue::check(&ParamSpec { allow_unknown: true, ..spec.clone() });
                let shown: Vec<&str> = nodes.iter().take(5).map(NodeName::as_str).collect();
                let say = Say {
                    attribute: Some("name"),
                    code: "not_in_catalogue",
                    message: format!("{} is not in the catalogue; {} has it", spec.name, shown.join(", ")),
                    remedy: "nobody can check its value before the nodes do".to_owned(),
                };
                self.warning(&object, say);
            }
            if let Err(fault) = checked {
                let say = Say {
                    attribute: Some(fault.attribute()),
                    code: fault.code(),
                    message: fault.to_string(),
                    remedy: fault.remedy(),
                };
                self.error(&object, say);
                continue;
            }
            if !self.has_scope(&object, spec) {
                continue;
            }
            self.warn_of_param(&object, spec);
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

    /// What a person should know of a tunable that can be set.
    fn warn_of_param(&mut self, object: &ObjectKey, spec: &ParamSpec) {
        let snapshot = self.snapshot;
        let all = snapshot.filesystems.iter().map(|known| &known.spec.name);
        let others: Vec<String> = naming::others_hit(spec, all).into_iter().map(ToString::to_string).collect();
        // Without a file system every one of the MGS is meant.
        if !others.is_empty() && spec.filesystem.is_some() {
            let name = naming::set_param(spec.filesystem.as_ref(), &spec.scope, &spec.name);
            let say = Say {
                attribute: Some("name"),
                code: "hits_other_filesystems",
                message: format!("every node of this MGS applies {name}, also those of {}", others.join(", ")),
                remedy: "if that is not wanted, use a tunable with a device of its own for each file system".to_owned(),
            };
            self.warning(object, say);
        }
        let Some(entry) = catalogue::lookup(spec.name.as_str()) else { return };
        let release = |text: &str| text.parse::<LustreVersion>().ok().map(|version| version.release());
        let (since, until) = (entry.since.as_deref().and_then(release), entry.until.as_deref().and_then(release));
        let lacks = |version: &LustreVersion| {
            since.is_some_and(|since| version.release() < since) || until.is_some_and(|until| version.release() > until)
        };
        let nodes = snapshot.nodes.iter().filter_map(|node| Some((&node.node.name, node.node.info.lustre.as_ref()?)));
        let lacking: Vec<String> =
            nodes.filter(|(_, version)| lacks(version)).map(|(name, version)| format!("{name} ({version})")).collect();
        if !lacking.is_empty() {
            let from = entry.since.as_deref().unwrap_or("an older release");
            let say = Say {
                attribute: Some("name"),
                code: "not_in_every_version",
                message: format!("{} is there since Lustre {from}; without it: {}", spec.name, lacking.join(", ")),
                remedy: "those nodes ignore it; nothing is read back from them".to_owned(),
            };
            self.warning(object, say);
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
    let who = match &spec.scope {
        ParamScope::Filesystem => format!("every node of {fsname}"),
        ParamScope::Mdts => format!("the MDTs of {fsname}"),
        ParamScope::Osts => format!("the OSTs of {fsname}"),
        ParamScope::Clients => format!("the clients of {fsname}"),
        ParamScope::Target(svname) => format!("{svname}"),
    };
    let effective = catalogue::lookup(spec.name.as_str()).map_or(Effective::Live, |entry| entry.effective);
    let when = match effective {
        Effective::Live => return who,
        Effective::NewMounts => "clients mount anew",
        Effective::TargetRemount => "the target is mounted anew",
        Effective::EverythingDown => "everything was down",
        Effective::ModuleLoad => "the kernel module is loaded anew",
        Effective::Format => "the target is formatted",
    };
    format!("{who}, once {when}")
}
