//! Tunables.

use lustre_api::attributes::PARAM;
use lustre_api::param::Effective;
use lustre_api::param::ParamSpec;
use lustre_api::plan::{Action, Change, Effect, FieldChange, ObjectKey};
use lustre_types::{LustreVersion, NodeName, ParamKey, ParamScope, TargetKind};

use super::{Say, Work, all_fields, fields, json};
use crate::catalogue::{self, ParamFault};
use crate::naming;

/// What paths of fields begin with that say what a node has instead.
const ON_NODES: &str = "nodes.";

/// The nodes on which a change sets a tunable again, where that is all that it does: the tunable is set as described, and they
/// have something else. None for any other change.
pub fn nodes_to_set_again(change: &Change) -> Option<Vec<NodeName>> {
    let is_param = matches!(change.object, ObjectKey::Param { .. }) && change.action == Action::Update;
    let nodes = change.fields.iter().map(|field| field.path.strip_prefix(ON_NODES)?.parse().ok());
    nodes.collect::<Option<Vec<NodeName>>>().filter(|nodes| is_param && !nodes.is_empty())
}

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
            if !self.has_scope(&object, spec) || !self.every_version_takes(&object, spec) {
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
                    if fields.is_empty() {
                        self.drifted(&object, spec);
                    } else {
                        self.change(&object, Action::Update, fields, "it is set differently", who(spec));
                    }
                }
            }
        }
    }

    /// A tunable that is set as described, and that nodes have otherwise: it is set there again.
    fn drifted(&mut self, object: &ObjectKey, spec: &ParamSpec) {
        let key = ParamKey { filesystem: spec.filesystem.clone(), scope: spec.scope.clone(), name: spec.name.clone() };
        let Some(drift) = self.snapshot.param_proofs.get(&key).map(|proof| &proof.drift) else { return };
        if drift.is_empty() {
            return;
        }
        let field = |(node, what): (&NodeName, &String)| FieldChange {
            path: format!("{ON_NODES}{node}"),
            before: what.as_str().into(),
            after: spec.value.as_str().into(),
            effect: Effect::InPlace,
        };
        let fields = drift.iter().map(field).collect();
        let nodes: Vec<String> = drift.keys().map(ToString::to_string).collect();
        let blast_radius = format!("{}: it is set there again", few(&nodes));
        self.change(object, Action::Update, fields, "nodes have something else than what is set", blast_radius);
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

    /// Whether the nodes concerned take the value, whatever their releases are; an error that names those which don't.
    fn every_version_takes(&mut self, object: &ObjectKey, spec: &ParamSpec) -> bool {
        let Some(entry) = catalogue::lookup(spec.name.as_str()) else { return true };
        let (mut refusing, mut taking, mut why) = (Vec::new(), Vec::new(), None);
        for node in &self.snapshot.nodes {
            let Some(version) = &node.node.info.lustre else { continue };
            if !self.is_on(&node.node.name, &entry.nodes, spec) {
                continue;
            }
            let shown = format!("{} ({version})", node.node.name);
            match catalogue::older_fault(spec.name.as_str(), &spec.value, version) {
                Some(fault) => {
                    refusing.push(shown);
                    why = Some(fault);
                }
                None => taking.push(shown),
            }
        }
        let Some(why) = why else { return true };
        let others = if taking.is_empty() { String::new() } else { format!("; {} would", few(&taking)) };
        let say = Say {
            attribute: Some("value"),
            code: "mixed_versions",
            message: format!("{} would not take it: {why}{others}", few(&refusing)),
            remedy: "give a value that every release takes, or upgrade those nodes first".to_owned(),
        };
        self.error(object, say);
        false
    }

    /// Whether a node is of a kind that has the tunable. Clients are not known from here: any node may be one.
    fn is_on(&self, node: &NodeName, kinds: &[String], spec: &ParamSpec) -> bool {
        if kinds.iter().any(|kind| kind == "all" || kind == "client") {
            return true;
        }
        let mut served = self.snapshot.targets.iter().map(|target| &target.spec).filter(|target| target.node == *node);
        served.any(|target| {
            let is_of = spec.filesystem.is_none() || target.filesystem == spec.filesystem;
            let kind = match target.kind {
                TargetKind::Mgt => "mgs",
                TargetKind::Mdt => "mds",
                TargetKind::Ost => "oss",
            };
            is_of && kinds.iter().any(|known| known == kind)
        })
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
        if let Some(fsname) = &spec.filesystem
            && !self.has_filesystem(object, fsname)
        {
            return false;
        }
        self.has_device(object, spec)
    }

    /// Whether a device that the name gives can be there.
    fn has_device(&mut self, object: &ObjectKey, spec: &ParamSpec) -> bool {
        let known = self.snapshot.filesystems.iter().map(|known| &known.spec.name);
        let all = known.chain(self.desired.filesystems.iter().map(|wanted| &wanted.name)).chain(&spec.filesystem);
        let Some(device) = naming::matches_nothing(spec, all).filter(|_| !spec.allow_unknown) else { return true };
        let say = Say {
            attribute: Some("name"),
            code: "matches_nothing",
            message: format!("{} matches nothing: no file system has a device called {device}", spec.name),
            remedy: "leave * for the device, and say by filesystem and scope whom it concerns".to_owned(),
        };
        self.error(object, say);
        false
    }
}

/// The first five.
fn few(names: &[String]) -> String {
    let more = if names.len() > 5 { format!(" and {} more", names.len() - 5) } else { String::new() };
    format!("{}{more}", names[..names.len().min(5)].join(", "))
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
