//! What all resources have in common: values by the attribute table, drift, plan, and who may be replaced.

use std::sync::{Arc, Mutex, PoisonError};

use lustre_api::Written;
use lustre_api::attributes::{ChangeEffect, Resource as Table};
use lustre_api::job::Move;
use lustre_api::mgs::{LiveParams, Snapshot};
use lustre_api::plan::{Change, Desired, Finding, ObjectKey};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use tfplugin_proto::{
    Attribute, Diagnostic, Diagnostics, Listed, Mode, Plan, PlanKind, Resource, Schema, Severity, Type, Value,
    async_trait,
};

use crate::findings;
use crate::mgs::{Failure, Mgs};
use crate::session::Session;
use crate::{attributes, timeouts};

/// The attributes of a change that goes back by itself.
const CONFIRM_WITHIN: &str = "confirm_within_s";
const CONFIRM_UNTIL: &str = "confirm_until";
/// The argument of a list that says of which file system.
const FILTER: &str = "filesystem";

/// A kind of object: what differs between file systems, targets, tunables and pools.
#[async_trait]
pub(crate) trait Kind: Send + Sync + 'static {
    /// Its attributes.
    const TABLE: &'static Table;
    /// Operations that run a job, and so have a timeout.
    const TIMEOUTS: &'static [&'static str] = &[];
    /// The attribute that tells it from others before the MGS named it.
    const TOLD_BY: &'static str = "name";
    /// What a person describes, as the MGS takes it.
    type Spec: DeserializeOwned + Clone + Send + Sync + 'static;

    /// Name of the object, for messages and to find the same object described twice; `None` while unknown.
    fn name(object: &Value) -> Option<String>;

    /// The object as the MGS has it.
    fn find(snapshot: &Snapshot, state: &Value) -> Option<Json>;

    /// What to ask the plan for.
    fn desired(spec: &Self::Spec, object: &Value) -> Desired;

    /// True if a finding or change is about the object described.
    fn is_about(spec: &Self::Spec, key: &ObjectKey) -> bool;

    /// Makes the object part of what later plans of this run take for granted.
    fn assume(_spec: &Self::Spec, _snapshot: &mut Snapshot) {}

    /// Makes what was just made known to the plans that follow in this run, with what only the apply could tell.
    fn made(_view: &Json, _snapshot: &mut Snapshot) {}

    /// True if the plan must know what is on the devices.
    fn needs_devices(_spec: &Self::Spec) -> bool {
        false
    }

    /// Plans to bring into order what is there, but not as it should be, by making attributes unknown.
    fn repair(_plan: &mut Plan) {}

    /// Completes a plan with what only this kind knows; `live` if the MGS could be asked.
    fn complete(_spec: Option<&Self::Spec>, _plan: &mut Plan, _live: Option<Live<'_>>) {}

    /// Whether a refresh asks the nodes what they have of tunables.
    const ASKS_NODES: bool = false;

    /// What a person should know of a plan, beyond what everybody is told.
    fn warn(_spec: &Self::Spec, _plan: &Plan, _live: Live<'_>, _diags: &mut Diagnostics) {}

    /// Refuses or warns of a removal at plan time, and refuses it at apply time.
    fn check_removal(prior: &Value, diags: &mut Diagnostics);

    /// Refuses or warns of a replacement.
    fn check_replacement(prior: &Value, diags: &mut Diagnostics) {
        Self::check_removal(prior, diags);
    }

    /// Makes the object as described, and returns what then is there.
    async fn put(mgs: &Mgs, spec: Self::Spec, put: &Put<'_>) -> Result<Json, Failure>;

    /// What else changes its state with a removal.
    async fn moved_by_removal(_mgs: &Mgs, _prior: &Value) -> Vec<Move> {
        Vec::new()
    }

    /// Removes it, as its deletion policy says.
    async fn remove(mgs: &Mgs, prior: &Value) -> Result<(), Failure>;

    /// The attributes that name it, from the name that a person gives.
    fn import(id: &str) -> Result<Value, String>;

    /// Names of the attributes that name it for good; false: an import can do without.
    const IDENTITY: &'static [(&'static str, bool)];

    /// Every object of this kind that the MGS has, of one file system or of all, by its name.
    fn list(snapshot: &Snapshot, filesystem: Option<&str>) -> Vec<(String, Json)>;

    /// The attribute that findings about parts of the object are shown at, where it has parts.
    const PARTS_AT: Option<&'static str> = None;

    /// Whether a plan says who notices the change.
    const SAYS_WHO_NOTICES: bool = false;

    /// The command that confirms a change of an object that would go back by itself.
    fn confirm_command(_object: &Value) -> String {
        String::new()
    }

    /// True if both mean the same; beyond what the table knows.
    fn means_the_same(_attribute: &str, _object: &Value, _a: &Value, _b: &Value) -> bool {
        false
    }
}

/// What is there, for the plan of one object.
pub(crate) struct Live<'a> {
    /// Everything, and what was planned before in this run.
    pub(crate) snapshot: &'a Snapshot,
    /// What has to change.
    pub(crate) change: Option<&'a Change>,
}

/// What a `put` may want to know besides the spec, and what it has to say although it succeeds.
pub(crate) struct Put<'a> {
    /// What is planned.
    pub(crate) planned: &'a Value,
    /// What was there.
    pub(crate) prior: Option<&'a Value>,
    warnings: Mutex<Vec<Diagnostic>>,
}

impl<'a> Put<'a> {
    fn new(planned: &'a Value, prior: Option<&'a Value>) -> Self {
        Self { planned, prior, warnings: Mutex::default() }
    }

    /// Something for a person to look at when the apply is over.
    pub(crate) fn warn(&self, warning: Diagnostic) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Keeps what the MGS said of a write although it did it.
    pub(crate) fn heard<T>(&self, written: Written<T>) -> Written<T> {
        written
            .warnings
            .iter()
            .for_each(|said| self.warn(Diagnostic::warning("The MGS warns", findings::sentence(said))));
        written
    }

    /// The revision that a change is made against; none for a create, which takes up what it finds.
    pub(crate) async fn if_revision(&self, mgs: &Mgs) -> Result<Option<u64>, Failure> {
        match self.prior {
            Some(_) => Ok(Some(mgs.snapshot().await?.revision)),
            None => Ok(None),
        }
    }
}

/// A [`Kind`] as a resource of terraform.
pub(crate) struct Managed<K> {
    session: Arc<Session>,
    kind: std::marker::PhantomData<K>,
}

impl<K: Kind> Managed<K> {
    pub(crate) fn resource(session: &Arc<Session>) -> Arc<dyn Resource> {
        Arc::new(Self { session: Arc::clone(session), kind: std::marker::PhantomData })
    }

    /// The spec, if everything that is needed for it is known.
    fn spec(object: &Value, diags: &mut Diagnostics) -> Option<K::Spec> {
        let json = attributes::spec_json(K::TABLE, object)?;
        match serde_json::from_value(json) {
            Ok(spec) => Some(spec),
            // Single attributes were checked by validate: what is left is how they go together.
            Err(err) => {
                diags.error(format!("Invalid {}", K::TABLE.name), findings::sentence(&err.to_string()));
                None
            }
        }
    }

    fn same(entry: &lustre_api::attributes::Attribute, object: &Value, a: &Value, b: &Value) -> bool {
        attributes::means_the_same(entry, a, b) || K::means_the_same(entry.name, object, a, b)
    }

    /// State from what the MGS answered; what `known` says in other words stays in those words.
    fn state(view: &Json, known: &Value) -> Value {
        let mut state = known.clone();
        for entry in K::TABLE.attributes {
            let before = known.get(entry.name);
            if entry.presence == lustre_api::attributes::Presence::Request {
                // The MGS doesn't store it; after an import it is what the default says.
                if before.is_null() {
                    state.put(entry.name, attributes::default(entry).unwrap_or_default());
                }
                continue;
            }
            let mut value = attributes::from_json(entry, &view[entry.name]);
            // What the answer leaves out is at its default.
            if value.is_null()
                && let Some(default) = attributes::default(entry)
            {
                value = default;
            }
            // Unset is not the same as empty where there is a default: that is what a plan has.
            let is_kept = (!before.is_null() || entry.default.is_empty()) && Self::same(entry, known, before, &value);
            if !is_kept {
                state.put(entry.name, value);
            }
        }
        state
    }

    /// State after an apply: what was planned, and what only the answer knows.
    ///
    /// A computed value that changed since the plan is left for the next refresh: terraform would call it a bug.
    fn filled(view: &Json, planned: &Value) -> Value {
        let mut state = planned.clone();
        for entry in K::TABLE.attributes {
            if planned.get(entry.name).is_unknown() {
                state.put(entry.name, attributes::from_json(entry, &view[entry.name]));
            }
        }
        state
    }

    /// Defaults where nothing is configured, and the old words where the new ones mean the same.
    fn settle(plan: &mut Plan) {
        for entry in K::TABLE.attributes {
            if let Some(default) = attributes::default(entry)
                && plan.config.get(entry.name).is_null()
            {
                plan.planned.put(entry.name, default);
            }
            let (prior, planned) = (plan.prior.get(entry.name), plan.planned.get(entry.name));
            // Core takes the prior form for the configured one only where both are set.
            if prior != planned
                && !prior.is_null()
                && !planned.is_null()
                && Self::same(entry, &plan.prior, prior, planned)
            {
                let prior = prior.clone();
                plan.planned.put(entry.name, prior);
            }
        }
    }

    /// When a change that is to be confirmed goes back is known after the apply; what waited before a change does not wait
    /// any longer.
    fn settle_confirmation(plan: &mut Plan) {
        if K::TABLE.attribute(CONFIRM_UNTIL).is_none() {
            return;
        }
        let is_asked = !plan.planned.get(CONFIRM_WITHIN).is_null();
        if is_asked || !plan.prior.get(CONFIRM_UNTIL).is_null() {
            plan.planned.put(CONFIRM_UNTIL, Value::Unknown);
        }
    }

    /// Attributes that name the object and change: it is another object then.
    fn check_identity(plan: &mut Plan, diags: &mut Diagnostics) {
        let named = K::TABLE.attributes.iter().filter(|entry| entry.change == ChangeEffect::Identity);
        let changed: Vec<_> = named.filter(|entry| plan.changes(entry.name)).map(|entry| entry.name.into()).collect();
        plan.requires_replace.extend(changed);
        if !plan.requires_replace.is_empty() {
            K::check_replacement(&plan.prior, diags);
        }
    }

    /// Attributes that can't be changed are refused, whatever the MGS would say.
    fn check_unchangeable(plan: &Plan, diags: &mut Diagnostics) {
        let fixed = K::TABLE.attributes.iter().filter(|entry| entry.change == ChangeEffect::Reformat);
        for entry in fixed.filter(|entry| plan.changes(entry.name)) {
            diags.error_at(
                entry.name,
                "Can't be changed",
                format!(
                    "{} is only used when the device of {} is formatted, and it is formatted. Put the old value back; to \
                     format anew, remove the target first.",
                    entry.name,
                    K::name(&plan.prior).unwrap_or_default(),
                ),
            );
        }
    }

    /// Asks `lustre-plan` what the change takes, against what is there now.
    async fn check_against_live(&self, plan: &mut Plan, diags: &mut Diagnostics) {
        let spec = Self::spec(&plan.planned, diags);
        let Some(mgs) = self.session.mgs_if_known() else {
            return K::complete(spec.as_ref(), plan, None);
        };
        let needs_devices = spec.as_ref().is_some_and(K::needs_devices);
        let live = match &spec {
            Some(spec) => mgs.live_params(K::desired(spec, &plan.planned).params).await,
            None => Ok(LiveParams::new()),
        };
        let mut snapshot = match mgs.assumed(needs_devices).await {
            Ok(snapshot) => snapshot,
            Err(failure) => return failure.report(K::TABLE, "Can't check the plan", diags),
        };
        match live {
            Ok(live) => snapshot.live_params.extend(live),
            Err(failure) => return failure.report(K::TABLE, "Can't check the plan", diags),
        }
        let mut change = None;
        if let Some(spec) = &spec {
            let found = lustre_plan::diff(&K::desired(spec, &plan.planned), &snapshot);
            let mine = found.findings.iter().filter(|finding| K::is_about(spec, &finding.object));
            diags.extend(mine.map(|finding| match (K::PARTS_AT, finding.attribute.as_deref()) {
                (Some(parts), Some(of)) if K::TABLE.attribute(of).is_none() => {
                    let finding = Finding { attribute: Some(parts.to_owned()), ..finding.clone() };
                    findings::finding(K::TABLE, &finding)
                }
                _ => findings::finding(K::TABLE, finding),
            }));
            if K::SAYS_WHO_NOTICES && !found.has_errors() {
                let mine = found.changes.iter().filter(|change| K::is_about(spec, &change.object));
                // What they share is said once.
                let mut said: Vec<&str> = Vec::new();
                for change in mine {
                    if !said.contains(&change.blast_radius.as_str()) {
                        said.push(&change.blast_radius);
                        diags.push(findings::who_notices(change));
                    }
                }
            }
            if plan.kind() == PlanKind::Create {
                let mine = found.changes.iter().filter(|change| K::is_about(spec, &change.object));
                diags.extend(mine.filter_map(findings::taken_up));
            }
            change = found.changes.into_iter().find(|change| K::is_about(spec, &change.object));
            K::warn(spec, plan, Live { snapshot: &snapshot, change: change.as_ref() }, diags);
        }
        K::complete(spec.as_ref(), plan, Some(Live { snapshot: &snapshot, change: change.as_ref() }));
        // By now the plan may know more of it than the configuration said.
        if !diags.has_errors()
            && let Some(spec) = Self::spec(&plan.planned, diags)
        {
            K::assume(&spec, &mut snapshot);
        }
    }

    /// Refuses to go on if the object isn't any more what the plan was made against: terraform itself only notices that
    /// its state changed, not that the object did.
    fn check_unchanged(snapshot: &Snapshot, prior: &Value, diags: &mut Diagnostics) {
        let Some(view) = K::find(snapshot, prior) else { return };
        let now = Self::state(&view, prior);
        let in_spec = K::TABLE.attributes.iter().filter(|entry| entry.is_in_spec());
        let changed: Vec<_> = in_spec.filter(|entry| now.get(entry.name) != prior.get(entry.name)).collect();
        let Some(first) = changed.first() else { return };
        let what = changed.iter().map(|entry| {
            format!("{} was {} and is {}", entry.name, show(prior.get(entry.name)), show(now.get(entry.name)))
        });
        let detail = format!(
            "{} {} was changed by somebody else after this plan was made: {}.\n\nPlan again, look at what changed, and apply \
             the new plan.",
            K::TABLE.name,
            K::name(prior).unwrap_or_default(),
            what.collect::<Vec<_>>().join("; "),
        );
        diags.error_at(first.name, "Changed since the plan", detail);
    }

    /// As [`Self::check_unchanged`], against what is there now.
    async fn is_unchanged(&self, prior: &Value, what: &str, diags: &mut Diagnostics) -> bool {
        let snapshot = match self.session.mgs() {
            Ok(mgs) => mgs.snapshot().await,
            Err(failure) => Err(failure),
        };
        match snapshot {
            Ok(snapshot) => Self::check_unchanged(&snapshot, prior, diags),
            Err(failure) => failure.report(K::TABLE, what, diags),
        }
        !diags.has_errors()
    }

    async fn put(&self, prior: Option<&Value>, planned: &Value, diags: &mut Diagnostics) -> Option<Value> {
        let what = if prior.is_none() { "Not created" } else { "Not changed" };
        let spec = match Self::spec(planned, diags) {
            Some(spec) => spec,
            None => {
                if !diags.has_errors() {
                    diags.error(what, "Bug in the provider: something is still unknown at apply.");
                }
                return None;
            }
        };
        if let Some(prior) = prior
            && !self.is_unchanged(prior, what, diags).await
        {
            return None;
        }
        let put = Put::new(planned, prior);
        let result = match self.session.mgs() {
            Ok(mgs) => {
                let made = K::put(&mgs, spec, &put).await;
                if let Ok(view) = &made {
                    mgs.learn(|snapshot| K::made(view, snapshot));
                }
                made
            }
            Err(failure) => Err(failure),
        };
        diags.extend(put.warnings.into_inner().unwrap_or_else(PoisonError::into_inner));
        match result {
            Ok(view) => {
                if let Some(until) = view[CONFIRM_UNTIL].as_str() {
                    let name = K::name(planned).unwrap_or_default();
                    diags.push(findings::waits(K::TABLE, &name, until, &K::confirm_command(planned)));
                }
                Some(Self::filled(&view, planned))
            }
            Err(failure) => {
                failure.report(K::TABLE, what, diags);
                None
            }
        }
    }
}

#[async_trait]
impl<K: Kind> Resource for Managed<K> {
    fn schema(&self) -> Schema {
        let mut schema = attributes::resource_schema(K::TABLE);
        if !K::TIMEOUTS.is_empty() {
            schema.blocks.push(timeouts::block(K::TIMEOUTS));
        }
        schema
    }

    async fn validate(&self, config: &Value, diags: &mut Diagnostics) {
        for entry in K::TABLE.attributes {
            if let Some(fault) = attributes::fault(entry, config.get(entry.name)) {
                diags.error_at(entry.name, format!("Invalid {}", entry.name), findings::sentence(&fault));
            }
        }
        timeouts::validate(config, diags);
    }

    async fn read(&self, state: Value, diags: &mut Diagnostics) -> Option<Value> {
        let snapshot = match self.session.mgs() {
            Ok(mgs) if K::ASKS_NODES => mgs.snapshot_with_proofs().await,
            Ok(mgs) => mgs.snapshot().await,
            Err(failure) => Err(failure),
        };
        match snapshot {
            Ok(snapshot) => K::find(&snapshot, &state).map(|view| Self::state(&view, &state)),
            Err(failure) => {
                failure.report(K::TABLE, "Can't read", diags);
                Some(state)
            }
        }
    }

    async fn plan(&self, plan: &mut Plan, diags: &mut Diagnostics) {
        match plan.kind() {
            PlanKind::Destroy => {
                K::check_removal(&plan.prior, diags);
                if !diags.has_errors()
                    && let Some(mgs) = self.session.mgs_if_known()
                {
                    let moves = K::moved_by_removal(&mgs, &plan.prior).await;
                    diags.extend(findings::moves(&K::name(&plan.prior).unwrap_or_default(), &moves));
                }
                return;
            }
            PlanKind::Create => {
                Self::settle(plan);
                if let Some(name) = K::name(&plan.planned)
                    && !self.session.is_first_of(&format!("{} {name}", K::TABLE.name))
                {
                    let text = "the configuration describes it more than once; each object belongs to one resource";
                    return diags.error_at(K::TOLD_BY, "Described twice", format!("{} {name}: {text}.", K::TABLE.name));
                }
            }
            PlanKind::Update => {
                Self::settle(plan);
                K::repair(plan);
                if plan.planned == plan.prior {
                    return;
                }
                Self::settle_confirmation(plan);
                Self::check_identity(plan, diags);
                if diags.has_errors() || !plan.requires_replace.is_empty() {
                    return;
                }
            }
        }
        self.check_against_live(plan, diags).await;
        // What the MGS has seen says it better.
        if plan.kind() == PlanKind::Update && !diags.has_errors() {
            Self::check_unchangeable(plan, diags);
        }
    }

    async fn create(&self, planned: &Value, _: &Value, diags: &mut Diagnostics) -> Option<Value> {
        self.put(None, planned, diags).await
    }

    async fn update(&self, prior: &Value, planned: &Value, _: &Value, diags: &mut Diagnostics) -> Value {
        match self.put(Some(prior), planned, diags).await {
            Some(state) => state,
            None => prior.clone(),
        }
    }

    async fn delete(&self, prior: &Value, diags: &mut Diagnostics) {
        // Again, not only in the plan: a tainted object, and one that is replaced, is destroyed without a plan for it.
        // The warnings were shown with the plan.
        let mut found = Diagnostics::default();
        K::check_removal(prior, &mut found);
        diags.extend(found.into_iter().filter(|diag| diag.severity == Severity::Error));
        if diags.has_errors() || !self.is_unchanged(prior, "Not removed", diags).await {
            return;
        }
        let result = match self.session.mgs() {
            Ok(mgs) => K::remove(&mgs, prior).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = result {
            failure.report(K::TABLE, "Not removed", diags);
        }
    }

    async fn import(&self, id: &str, diags: &mut Diagnostics) -> Option<Value> {
        K::import(id).map_err(|err| diags.error("Can't import", findings::sentence(&err))).ok()
    }

    fn identity(&self) -> Option<Schema> {
        Some(attributes::identity_schema(K::TABLE, K::IDENTITY))
    }

    async fn import_identity(&self, identity: &Value, diags: &mut Diagnostics) -> Option<Value> {
        // What names it is what its name is made of.
        match K::name(identity) {
            Some(name) => self.import(&name, diags).await,
            None => {
                diags.error("Can't import", format!("The identity names no {}.", K::TABLE.name));
                None
            }
        }
    }

    fn list_schema(&self) -> Option<Schema> {
        let filesystem = Attribute::new(
            FILTER,
            Type::String,
            Mode::Optional,
            "Only what belongs to this file system. Default: all.",
        );
        let description = format!("Lists what the MGS has: each {}.", K::TABLE.name);
        Some(Schema { description, attributes: vec![filesystem], ..Schema::default() })
    }

    async fn list(&self, config: &Value, limit: usize, diags: &mut Diagnostics) -> Vec<Listed> {
        let snapshot = match self.session.mgs() {
            Ok(mgs) => mgs.snapshot().await,
            Err(failure) => Err(failure),
        };
        match snapshot {
            Ok(snapshot) => {
                let found = K::list(&snapshot, config.get(FILTER).as_str().known()).into_iter().take(limit);
                let listed = found.map(|(display_name, view)| {
                    let mut state = Self::state(&view, &attributes::blank(K::TABLE));
                    if !K::TIMEOUTS.is_empty() {
                        state.put(timeouts::BLOCK, Value::Null);
                    }
                    Listed { display_name, state }
                });
                listed.collect()
            }
            Err(failure) => {
                failure.report(K::TABLE, "Can't list", diags);
                Vec::new()
            }
        }
    }
}

/// A value in a message.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "unset".to_owned(),
        Value::String(text) => format!("{text:?}"),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::List(elements) => format!("[{}]", elements.iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Set(set) => format!("[{}]", set.elements().iter().map(show).collect::<Vec<_>>().join(", ")),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|(key, value)| format!("{key} = {}", show(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Unknown | Value::Object(_) | Value::Dynamic(_) => "something else".to_owned(),
    }
}
