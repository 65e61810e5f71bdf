//! The corpus of plans that Ansible's adapter reads, too: terraform shows the same changes, and refuses for the same reasons
//! in the same words at the same attributes.
//!
//! Terraform plans object by object, in the order of references; an MGS that has what a scenario observed answers. Removals
//! aren't here: a plan of terraform's asks its deletion policy, and the MGS decides about the rest when it is applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lustre_api::attributes::{
    FILESYSTEM, MGS_PROXY, NODEMAP, NODEMAPS, PARAM, POOL, Presence, RESOURCES, Resource as Table, TARGET,
};
use lustre_api::mgs::{GetSnapshot, Snapshot};
use lustre_api::plan::{Action, Desired, ObjectKey};
use lustre_api::proof::{ExplainParam, Explanation, ParamProofs, PostProveParams};
use lustre_plan::{LATER, diff};
use rest::{Client, Listener, Server};
use serde_json::{Value as Json, json};
use tfplugin_proto::{Diagnostics, Path, Plan, Resource, Severity, Value};
use tokio::sync::watch;

use super::all;
use super::pool::Pool;
use crate::attributes;
use crate::findings::sentence;
use crate::managed::Kind;
use crate::mgs::Mgs;
use crate::session::Session;

#[path = "../../../crates/lustre-plan/tests/corpus/mod.rs"]
mod scenarios;

/// Two that go for the same: the whole plan says so of one of them. Terraform has seen only the other by then, and says of the
/// second that it is taken.
const TWICE: &[&str] = &["duplicate_device", "duplicate_index"];

/// An object that a person describes, as its resource gets it.
struct Described {
    table: &'static Table,
    key: ObjectKey,
    config: Value,
    /// What terraform has in its state, before a refresh.
    state: Option<Value>,
}

fn described(desired: &Desired, observed: &Snapshot) -> Vec<Described> {
    let mut all = Vec::new();
    let mut push = |table: &'static Table, key: ObjectKey, spec: Json, named: &[(&str, Json)]| {
        let config = table.attributes.iter().map(|entry| (entry.name, attributes::from_json(entry, &spec[entry.name])));
        let config = Value::object(config.chain([("timeouts", Value::Null)]));
        let state = (!named.is_empty()).then(|| {
            let mut state = blank(table);
            for (name, value) in named {
                let entry = table.attribute(name).expect("an attribute");
                state.put(name, attributes::from_json(entry, value));
            }
            state
        });
        all.push(Described { table, key, config, state });
    };
    for spec in &desired.filesystems {
        let key = ObjectKey::Filesystem { name: spec.name.clone() };
        push(&FILESYSTEM, key, json!(spec), &[("name", json!(spec.name))]);
    }
    for wanted in &desired.targets {
        let spec = &wanted.target;
        let place = |target: &&lustre_api::target::Target| {
            (&target.spec.node, &target.spec.device) == (&spec.node, &spec.device) && target.spec.kind == spec.kind
        };
        let name = match (&spec.filesystem, spec.index) {
            (Some(filesystem), Some(index)) => Some(lustre_types::SvName::new(filesystem.clone(), spec.kind, index)),
            _ => observed.targets.iter().find(place).map(|target| target.svname.clone()),
        };
        let key = match (&name, spec.index) {
            (Some(svname), _) => ObjectKey::Target { svname: svname.clone() },
            _ => ObjectKey::NewTarget { node: spec.node.clone(), device: spec.device.clone() },
        };
        let mut json = json!(spec);
        json["allow_reformat"] = wanted.allow_reformat.then_some(true).into();
        let named = name.map(|name| ("svname", json!(name)));
        push(&TARGET, key, json, named.as_slice());
    }
    for spec in &desired.params {
        let key = ObjectKey::Param {
            filesystem: spec.filesystem.clone(),
            scope: spec.scope.clone(),
            name: spec.name.clone(),
        };
        let named = [("filesystem", json!(spec.filesystem)), ("scope", json!(spec.scope)), ("name", json!(spec.name))];
        push(&PARAM, key, json!(spec), &named);
    }
    for spec in &desired.pools {
        let key = ObjectKey::Pool { filesystem: spec.filesystem.clone(), name: spec.name.clone() };
        push(&POOL, key, json!(spec), &[("filesystem", json!(spec.filesystem)), ("name", json!(spec.name))]);
    }
    for spec in &desired.nodemaps {
        let key = ObjectKey::Nodemap { name: spec.name.clone() };
        push(&NODEMAP, key, json!(spec), &[("name", json!(spec.name))]);
    }
    if let Some(spec) = &desired.nodemaps_active {
        push(&NODEMAPS, ObjectKey::Nodemaps {}, json!(spec), &[("id", json!("nodemaps"))]);
    }
    for spec in &desired.mgs_proxies {
        push(&MGS_PROXY, ObjectKey::MgsProxy { node: spec.node.clone() }, json!(spec), &[("node", json!(spec.node))]);
    }
    all
}

fn blank(table: &Table) -> Value {
    let mut blank = attributes::blank(table);
    blank.put("timeouts", Value::Null);
    blank
}

/// What an MGS has seen, and how often it was asked.
struct Seen {
    observed: Snapshot,
    asked: AtomicUsize,
}

/// An MGS that has seen what a scenario observed.
async fn session(observed: Snapshot) -> (Arc<Session>, Arc<Seen>, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let seen = Arc::new(Seen { observed, asked: AtomicUsize::new(0) });
    let router = Server::new(Arc::clone(&seen), "mgs", "0")
        .route::<GetSnapshot, _, _>(|seen, _| async move {
            seen.asked.fetch_add(1, Ordering::Relaxed);
            Ok(seen.observed.clone())
        })
        // No node has what the catalogue does not know.
        .route::<ExplainParam, _, _>(|_, call| async move {
            Ok(Explanation {
                id: format!("{}/{}/{}", call.path.fsname, call.path.scope, call.path.name),
                canonical_name: call.path.name.to_string(),
                conf_param_name: None,
                wanted: None,
                author: None,
                catalogue: None,
                temporary: vec![],
                nodes: vec![],
                is_proven: true,
            })
        })
        .route::<PostProveParams, _, _>(|seen, _| async move {
            Ok(ParamProofs { items: seen.observed.param_proofs.values().cloned().collect() })
        })
        .router();
    let listener = Listener::tcp("127.0.0.1:0".parse().expect("an address")).await.expect("a listener");
    let client = Client::new(&listener.url(), None).expect("a client");
    tokio::spawn(listener.serve(router, stopped));
    let session = Session::new();
    session.configure(Some(Mgs::new(client, session.stopped())));
    (session, seen, stop)
}

/// As terraform does it: refresh, propose, plan. Gives the plan, and what was said.
async fn plan(resource: &dyn Resource, object: &Described) -> (Plan, Diagnostics) {
    let mut diags = Diagnostics::default();
    let prior = match object.state.clone() {
        Some(state) => resource.read(state, &mut diags).await.unwrap_or_default(),
        None => Value::Null,
    };
    let mut planned = object.config.clone();
    for attribute in resource.schema().attributes {
        if attribute.mode.is_computed() && object.config.get(&attribute.name).is_null() {
            let open = if prior.is_null() { Value::Unknown } else { prior.get(&attribute.name).clone() };
            planned.put(&attribute.name, open);
        }
    }
    let mut plan = Plan { prior, config: object.config.clone(), planned, requires_replace: Vec::new() };
    resource.validate(&object.config, &mut diags).await;
    if !diags.has_errors() {
        resource.plan(&mut plan, &mut diags).await;
    }
    (plan, diags)
}

/// An object that the configuration leaves without a name, and the plan found on its device.
fn named_by_its_device(plan: &Plan, key: &ObjectKey) -> bool {
    let svname = plan.planned.get("svname").as_str();
    matches!(key, ObjectKey::Target { svname: key } if svname.known() == Some(key.to_string().as_str()))
}

/// What a diagnostic says of an object, where: what a finding says, too.
fn said(diags: &Diagnostics) -> Vec<(bool, String, Option<Path>)> {
    let said = diags.iter().map(|diag| {
        let message = diag.detail.split("\n\n").next().unwrap_or_default().to_owned();
        (diag.severity == Severity::Error, message, diag.path.clone())
    });
    said.collect()
}

#[tokio::test]
async fn terraform_shows_every_plan_of_the_corpus() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/lustre-plan/tests/scenarios");
    let (mut changed, mut refused, mut twice, mut wrong) = (0, 0, 0, Vec::new());
    for scenario in scenarios::scenarios(&dir) {
        let whole = diff(&scenario.desired, &scenario.observed);
        let (session, _, _stop) = session(scenario.observed.clone()).await;
        for object in described(&scenario.desired, &scenario.observed) {
            let type_name = format!("lustre_{}", object.table.name);
            let (_, resource) = all(&session).into_iter().find(|(name, _)| *name == type_name).expect("a resource");
            let (plan, diags) = plan(&*resource, &object).await;
            let mut fault = |what: String| {
                wrong.push(format!("{}: {}: {what}", scenario.out().display(), object.key));
            };

            // What stands against it, and what one should know.
            let mine = |key: &ObjectKey| *key == object.key || named_by_its_device(&plan, key);
            let findings = whole.findings.iter().filter(|finding| mine(&finding.object));
            let expected: Vec<_> = findings
                .map(|finding| {
                    let first = finding.attribute.as_deref().and_then(|path| path.split(['.', '[']).next());
                    let path = first.filter(|name| object.table.attribute(name).is_some()).map(Path::attribute);
                    let is_error = finding.severity == lustre_api::plan::Severity::Error;
                    (is_error, sentence(&finding.message), path)
                })
                .collect();
            let got = said(&diags);
            let is_twice = whole.findings.iter().any(|finding| TWICE.contains(&finding.code.as_str()));
            twice += usize::from(is_twice && diags.has_errors());
            for finding in expected.iter().filter(|finding| !is_twice && !got.contains(finding)) {
                fault(format!("not said: {finding:?}; said: {got:?}"));
            }
            if expected.iter().any(|(is_error, ..)| *is_error) {
                refused += 1;
                continue;
            }
            if diags.has_errors() && !is_twice {
                fault(format!("refused: {diags:?}"));
                continue;
            }

            // What changes.
            let change = whole.changes.iter().find(|change| mine(&change.object));
            let is_changed = plan.planned != plan.prior;
            if is_changed != change.is_some() {
                fault(format!("changed: {is_changed}; the plan: {change:?}; planned {:?}", plan.planned));
            }
            let Some(change) = change else { continue };
            changed += 1;
            let is_new = matches!(change.action, Action::Create | Action::Adopt);
            // Terraform does not know what is there without its name; the plan takes it over.
            let is_taken_over = change.action == Action::Update && named_by_its_device(&plan, &change.object);
            if is_new != plan.prior.is_null() && !is_taken_over {
                fault(format!("new: {is_new}, prior {:?}", plan.prior));
            }
            for field in &change.fields {
                let Some(entry) = object.table.attribute(&field.path) else { continue };
                let after = match &field.after {
                    Json::String(later) if later == LATER => Value::Unknown,
                    after => attributes::from_json(entry, after),
                };
                let planned = plan.planned.get(entry.name);
                let is_same = *planned == after
                    || attributes::means_the_same(entry, planned, &after)
                    || (object.table.name == POOL.name
                        && Pool::means_the_same(entry.name, &plan.planned, planned, &after));
                // The apply tells.
                let is_open = entry.presence == Presence::Computed && planned.is_unknown();
                if !is_same && !is_open {
                    fault(format!("{}: {planned:?} is planned, not {after:?}", entry.name));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(twice, 2, "a device and an index that are given twice are refused");
    assert!(changed > 5 && refused > 5, "{changed} changed, {refused} refused");
    // Of these `params` is what `param` is, several times.
    assert_eq!(RESOURCES.len(), 8, "a new kind belongs into `described`");
}

#[tokio::test]
async fn a_refresh_of_a_thousand_resources_asks_the_mgs_once() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/lustre-plan/tests/scenarios");
    let scenario = scenarios::scenarios(&dir).into_iter().find(|scenario| !scenario.observed.filesystems.is_empty());
    let observed = scenario.expect("one with a file system").observed;
    let mut state = blank(&FILESYSTEM);
    state.put("name", observed.filesystems[0].spec.name.to_string());
    let (session, seen, _stop) = session(observed).await;
    let (_, resource) = all(&session).into_iter().find(|(name, _)| name == "lustre_filesystem").expect("a resource");
    // At once, as terraform does it.
    let reads = (0..1000).map(|_| {
        let (resource, state) = (Arc::clone(&resource), state.clone());
        tokio::spawn(async move { resource.read(state, &mut Diagnostics::default()).await.is_some() })
    });
    for read in reads.collect::<Vec<_>>() {
        assert!(read.await.expect("no panic"));
    }
    assert_eq!(seen.asked.load(Ordering::Relaxed), 1);
}
