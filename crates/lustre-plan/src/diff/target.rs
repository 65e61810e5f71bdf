//! Targets.

use std::collections::BTreeMap;

use lustre_api::attributes::TARGET;
use lustre_api::device::Device;
use lustre_api::plan::{Action, DesiredTarget, Effect, FieldChange, ObjectKey, Place};
use lustre_api::target::{Target, TargetSpec, TargetState};
use lustre_types::{Dataset, SvName, TargetKind};
use serde_json::Value;

use super::device::{against, is_finished};
use super::{Say, Work, all_fields, fields, json};

/// What a plan writes where only the apply can tell.
pub const LATER: &str = "(known after apply)";

fn key(spec: &TargetSpec, svname: Option<SvName>) -> ObjectKey {
    match svname.or_else(|| spec.svname()) {
        Some(svname) => ObjectKey::Target { svname },
        None => ObjectKey::NewTarget { node: spec.node.clone(), device: spec.device.clone() },
    }
}

impl<'a> Work<'a> {
    pub(super) fn targets(&mut self) {
        let mut wanted: Vec<_> = self.desired.targets.iter().collect();
        // MDT0000 before the OSTs that register with it; those without index after those that have claimed one.
        wanted.sort_by_key(|wanted| (wanted.target.kind, wanted.target.index.is_none(), wanted.target.index));
        let mut places = BTreeMap::new();
        let mut names = BTreeMap::new();
        for wanted in wanted {
            let object = key(&wanted.target, None);
            let (changes, findings) = (self.changes.len(), self.findings.len());
            if self.is_possible(&object, &wanted.target)
                && self.is_only(&object, &wanted.target, &mut places, &mut names)
                && self.has_surroundings(&object, wanted)
            {
                self.target(wanted);
            }
            let place = Place { node: wanted.target.node.clone(), device: wanted.target.device.clone() };
            self.changes[changes..].iter_mut().for_each(|change| change.place = Some(place.clone()));
            self.findings[findings..].iter_mut().for_each(|finding| finding.place = Some(place.clone()));
        }
    }

    /// What can't be a target, whatever is there.
    fn is_possible(&mut self, object: &ObjectKey, spec: &TargetSpec) -> bool {
        let what = format!("the {} on {}:{}", spec.kind, spec.node, spec.device);
        let (attribute, message, remedy) = if spec.kind == TargetKind::Mgt && spec.index.is_some() {
            ("index", format!("{what} has an index; an MGT has none"), "leave the index out")
        } else if spec.kind != TargetKind::Mgt && spec.filesystem.is_none() {
            ("filesystem", format!("{what} needs a file system"), "say which file system it is for")
        } else if let Err(why) = is_place(&spec.device) {
            ("device", format!("{what}: {why}"), "correct the path")
        } else if let Some(why) = wrong_vdevs(spec) {
            ("vdevs", format!("{what}: {why}"), "correct the vdevs, or leave them out")
        } else if spec.comment.as_ref().is_some_and(|comment| comment.len() > 800) {
            ("comment", format!("{what} has a comment of more than 800 bytes"), "shorten it")
        } else {
            return true;
        };
        let say = Say { attribute: Some(attribute), code: "illegal_target", message, remedy: remedy.to_owned() };
        self.error(object, say);
        false
    }

    /// Whether nothing else that is desired has its name or its place.
    fn is_only(
        &mut self,
        object: &ObjectKey,
        spec: &TargetSpec,
        places: &mut BTreeMap<(String, String), ObjectKey>,
        names: &mut BTreeMap<SvName, ObjectKey>,
    ) -> bool {
        let node = self.snapshot.nodes.iter().find(|known| known.node.name == spec.node);
        let devices =
            node.and_then(|node| node.inventory.as_ref()).into_iter().flat_map(|inventory| &inventory.devices);
        let path = devices
            .into_iter()
            .find(|device| device.is_named(&spec.device))
            .map_or(&spec.device, |device| &device.path);
        if let Some(other) = places.insert((spec.node.to_string(), path.clone()), object.clone()) {
            let say = Say {
                attribute: Some("device"),
                code: "duplicate_device",
                message: format!("{}:{} is given to two targets ({other} is the other)", spec.node, spec.device),
                remedy: "give each target its own device".to_owned(),
            };
            self.error(object, say);
            return false;
        }
        let Some(svname) = spec.svname() else { return true };
        if names.insert(svname.clone(), object.clone()).is_none() {
            return true;
        }
        let say = Say {
            attribute: Some("index"),
            code: "duplicate_index",
            message: format!("{svname} is described twice"),
            remedy: "give each target an index of its own, or none".to_owned(),
        };
        self.error(object, say);
        false
    }

    /// Whether what a target needs is there: file system, node, a NID of the MGS.
    fn has_surroundings(&mut self, object: &ObjectKey, wanted: &DesiredTarget) -> bool {
        let spec = &wanted.target;
        let mut has_all = true;
        if let Some(fsname) = spec.filesystem.as_ref().filter(|_| spec.kind != TargetKind::Mgt) {
            has_all &= self.has_filesystem(object, fsname);
        }
        if self.node(wanted).is_none() {
            let known: Vec<_> = self.snapshot.nodes.iter().map(|known| known.node.name.as_str()).collect();
            let known =
                if known.is_empty() { "none has".to_owned() } else { format!("known are {}", known.join(", ")) };
            let say = Say {
                attribute: Some("node"),
                code: "unknown_node",
                message: format!("no node {} has enrolled with the MGS; {known}", spec.node),
                remedy: format!("start lustre-agent on {}, or correct the name", spec.node),
            };
            self.error(object, say);
            has_all = false;
        }
        if spec.kind != TargetKind::Mgt && self.snapshot.mgs.nids.is_none() {
            let say = Say {
                attribute: None,
                code: "mgs_without_nid",
                message: "the MGS has no NID, so a target could not be told where to register".to_owned(),
                remedy: "start lustre-mgs with --nid, as in --nid 10.0.0.1@tcp".to_owned(),
            };
            self.error(object, say);
            has_all = false;
        }
        has_all
    }

    fn target(&mut self, wanted: &DesiredTarget) {
        let spec = &wanted.target;
        let here = self.on(spec, None);
        if let Some(known) = here.filter(|known| spec.describes(&known.svname)) {
            return self.known(wanted, known);
        }
        let Some(node) = self.node(wanted) else { return };
        let object = key(spec, None);
        let Ok(device) = self.look(&object, wanted, node) else { return };
        let device = device.as_deref();
        match self.on(spec, device) {
            Some(known) if spec.describes(&known.svname) => self.known(wanted, known),
            Some(other) => {
                let say = Say {
                    attribute: Some("device"),
                    code: "device_taken",
                    message: format!(
                        "{}:{} already belongs to target {}{}",
                        spec.node,
                        spec.device,
                        other.svname,
                        made_by(other)
                    ),
                    remedy: format!(
                        "name another device, or deregister {} first; its data stays on the device",
                        other.svname
                    ),
                };
                self.error(&object, say);
            }
            None => match spec.svname().and_then(|svname| self.observed(&svname)) {
                Some(known) => self.moved(wanted, known, device),
                None => self.new_target(wanted, device),
            },
        }
    }

    fn observed(&self, svname: &SvName) -> Option<&'a Target> {
        let snapshot = self.snapshot;
        snapshot.targets.iter().find(|known| known.svname == *svname)
    }

    /// The target on the place of a description, by any name of its device.
    fn on(&self, spec: &TargetSpec, device: Option<&Device>) -> Option<&'a Target> {
        let snapshot = self.snapshot;
        let is_there = |path: &str| path == spec.device || device.is_some_and(|device| device.is_named(path));
        snapshot.targets.iter().find(|known| known.spec.node == spec.node && is_there(&known.spec.device))
    }

    /// The same target on the same device: nothing, a change in place, or another try.
    fn known(&mut self, wanted: &DesiredTarget, known: &Target) {
        let spec = TargetSpec { index: known.svname.index(), ..wanted.target.clone() };
        let object = key(&spec, Some(known.svname.clone()));
        let mut fields = fields(&TARGET, &json(&known.spec), &json(&spec), |_, _, _| false);
        if known.label.is_some() && !self.is_in_place(&object, &known.svname, &fields) {
            return;
        }
        if known.state.is_registered() {
            if !fields.is_empty() {
                let blast_radius = format!("nobody until {} is restarted", known.svname);
                self.change(&object, Action::Update, fields, "it is described differently", blast_radius);
            }
            return;
        }
        // Its job is to be taken up again: what is on the device now decides, as for a new one. While it is being formatted
        // the device holds half of a format, which says nothing; nobody shall be asked to give up "data" there.
        let mut device = None;
        if known.state != TargetState::Formatting
            && let Some(node) = self.node(wanted)
        {
            let Ok(seen) = self.look(&object, wanted, node) else { return };
            if let Some(seen) = &seen
                && !self.may_become(&object, wanted, Some(&known.svname), seen)
            {
                return;
            }
            device = seen;
        }
        fields.push(FieldChange {
            path: "state".to_owned(),
            before: known.state.as_str().into(),
            after: "registered".into(),
            effect: Effect::InPlace,
        });
        let reason = format!("it is {}: {}", known.state.as_str(), known.state_reason);
        let blast_radius = grows(&known.svname.short(), &spec);
        self.change(&object, Action::Update, fields, &reason, blast_radius);
        self.mark_loss(device.as_deref(), Some(&known.svname));
    }

    /// Refuses what only a new format could change.
    fn is_in_place(&mut self, object: &ObjectKey, svname: &SvName, fields: &[FieldChange]) -> bool {
        let Some(field) = fields.iter().find(|field| field.effect == Effect::Reformat) else { return true };
        let say = Say {
            attribute: Some(&field.path),
            code: "needs_format",
            message: format!("{} of {svname} can't be changed: its device is formatted with the old value", field.path),
            remedy: format!(
                "put the old value back; a new format means to deregister {svname}, which gives up its data"
            ),
        };
        self.error(object, say);
        false
    }

    /// A target that is known elsewhere: it has to be that very one that is found here.
    fn moved(&mut self, wanted: &DesiredTarget, known: &Target, device: Option<&Device>) {
        let (spec, svname) = (&wanted.target, &known.svname);
        let object = key(spec, None);
        let found = device.and_then(|device| device.formatted_as.as_ref());
        let is_it = found.is_some_and(|found| found.svname == *svname && known.uuid.as_ref() == Some(&found.uuid));
        if is_it {
            let fields = fields(&TARGET, &json(&known.spec), &json(spec), |_, _, _| false);
            if self.is_in_place(&object, svname, &fields) {
                let blast_radius = format!("nobody until {svname} is restarted");
                self.change(&object, Action::Update, fields, "it was found at another place", blast_radius);
            }
            return;
        }
        let there = match device {
            Some(device) => format!("there is {} now", device.content),
            None => "nobody can say what is there now".to_owned(),
        };
        let say = Say {
            attribute: Some("index"),
            code: "index_taken",
            message: format!("{svname} is taken: it is the target on {}:{}", known.spec.node, known.spec.device),
            remedy: format!(
                "choose another index or none; to move {svname}, bring its disk to {}:{} ({there})",
                spec.node, spec.device
            ),
        };
        self.error(&object, say);
    }

    fn new_target(&mut self, wanted: &DesiredTarget, device: Option<&Device>) {
        let spec = &wanted.target;
        // What is there already under a name that fits keeps it: it may hold data.
        let on_disk = device.and_then(|device| device.formatted_as.as_ref()).filter(|found| !found.incomplete);
        let on_disk = on_disk.map(|found| &found.svname).filter(|svname| spec.describes(svname));
        if let Some(other) = on_disk.and_then(|svname| self.observed(svname)) {
            let say = Say {
                attribute: Some("device"),
                code: "device_holds_target",
                message: format!(
                    "{}:{} holds {}, which is in the configuration on {}:{}",
                    spec.node, spec.device, other.svname, other.spec.node, other.spec.device
                ),
                remedy: "if the device moved, give the target's index; else name another device".to_owned(),
            };
            return self.error(&key(spec, None), say);
        }
        let svname = spec.svname().or_else(|| on_disk.cloned());
        let object = key(spec, svname.clone());
        if let Some(device) = device
            && !self.may_become(&object, wanted, svname.as_ref(), device)
        {
            return;
        }
        let is_there = device.zip(svname.as_ref()).is_some_and(|(device, svname)| is_finished(device, svname));
        let mut after = json(spec);
        if spec.kind != TargetKind::Mgt && spec.index.is_none() {
            let index = svname.as_ref().and_then(SvName::index);
            after["index"] = index.map_or_else(|| LATER.into(), |index| json(&index));
        }
        let mut fields = all_fields(&TARGET, &after);
        if !is_there {
            fields.push(FieldChange {
                path: "formatted_over".to_owned(),
                before: Value::Null,
                after: device.map_or(LATER, |device| &device.content).into(),
                effect: Effect::Reformat,
            });
            fields.sort_by(|a, b| a.path.cmp(&b.path));
        }
        let (action, reason) = if is_there {
            (Action::Adopt, "it is on its device already, and not in the configuration")
        } else {
            (Action::Create, "it does not exist")
        };
        let short = svname.as_ref().map_or_else(|| spec.kind.letters().to_owned(), SvName::short);
        self.change(&object, action, fields, reason, grows(&short, spec));
        if !is_there {
            self.mark_loss(device, svname.as_ref());
        }
    }

    /// Says of the last change that it destroys data, if it does: nothing but allowed refusals are left by now.
    fn mark_loss(&mut self, device: Option<&Device>, svname: Option<&SvName>) {
        if let (Some(device), Some(change)) = (device, self.changes.last_mut()) {
            change.destroys_data = against(device, svname).next().is_some();
        }
    }
}

/// The job that brings a target into being, while it does.
fn made_by(target: &Target) -> String {
    let is_made = matches!(target.state, TargetState::Reserved | TargetState::Formatting | TargetState::Formatted);
    match target.job.as_ref().filter(|_| is_made) {
        Some(job) => format!(", which job {job} makes"),
        None => String::new(),
    }
}

/// Whether a target can be there: an absolute path, or a ZFS dataset.
fn is_place(device: &str) -> Result<(), String> {
    if Dataset::is_meant(device) {
        return device.parse::<Dataset>().map(drop).map_err(|error| error.to_string());
    }
    if !device.starts_with('/') || device.len() > 512 || device.chars().any(char::is_control) {
        return Err("a device is an absolute path of at most 512 bytes, or a ZFS dataset as in tank/ost0".to_owned());
    }
    Ok(())
}

/// What is wrong with what a pool is to be made of.
fn wrong_vdevs(spec: &TargetSpec) -> Option<String> {
    if !spec.vdevs.is_empty() && !Dataset::is_meant(&spec.device) {
        return Some("only the pool of a ZFS dataset is made of vdevs".to_owned());
    }
    let wrong = spec.vdevs.iter().find(|word| !Dataset::is_vdev(word) || word.len() > 512)?;
    Some(format!("{wrong:?} is neither an absolute path nor a word of zpool-create, as in mirror"))
}

fn grows(short: &str, spec: &TargetSpec) -> String {
    match (spec.kind, &spec.filesystem) {
        (TargetKind::Ost, Some(fsname)) => format!("clients of {fsname} see 1 more OST"),
        (TargetKind::Mdt, Some(fsname)) if short == "MDT0000" => format!("{fsname} gets its root"),
        (TargetKind::Mdt, Some(fsname)) => format!("clients of {fsname} see 1 more MDT"),
        _ => "nobody".to_owned(),
    }
}
