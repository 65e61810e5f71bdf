//! The simplest store that could be right: a list of what was asked. Every read computes its answer from that list.

use crate::Backend;
use lustre_mgs_store::{Change, Commit, Entry, Meta, Op, Range, Revision, StoreError, Txn};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// One step of a history.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Commit these, with compares that expect the key as it was `stale` writes of the store ago.
    Commit { ops: Vec<(usize, Option<u8>)>, expect: Option<(usize, u64, bool)> },
    /// Read everything at a revision this far back.
    Read { back: u64, prefix: usize, limit: usize },
    /// Compact to a revision this far back.
    Compact { back: u64 },
    /// Follow the store from a revision this far back to its head.
    Watch { back: u64 },
    /// Close and open.
    Reopen,
}

/// Keys that are prefixes of each other, and neighbours in order.
const KEYS: [&str; 6] = ["a", "a/", "a/b", "a/c", "a0", "b"];
const PREFIXES: [&str; 4] = ["", "a", "a/", "b"];

/// Histories of up to `len` steps.
pub(crate) fn steps(len: usize) -> impl Strategy<Value = Vec<Step>> {
    let ops = prop::collection::vec((0..KEYS.len(), prop::option::weighted(0.7, any::<u8>())), 1..4);
    let expect = prop::option::weighted(0.5, (0..KEYS.len(), 0..3u64, any::<bool>()));
    let step = prop_oneof![
        10 => (ops, expect).prop_map(|(ops, expect)| Step::Commit { ops, expect }),
        4 => (0..6u64, 0..PREFIXES.len(), 0..4usize).prop_map(|(back, prefix, limit)| Step::Read { back, prefix, limit }),
        1 => (0..6u64).prop_map(|back| Step::Compact { back }),
        1 => (0..6u64).prop_map(|back| Step::Watch { back }),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..len)
}

#[derive(Default)]
struct Model {
    commits: Vec<Txn>,
    compacted: Revision,
}

impl Model {
    fn head(&self) -> Revision {
        self.commits.len() as Revision
    }

    fn entry(&self, key: &str, at: Revision) -> Option<Entry> {
        let mut entry: Option<Entry> = None;
        for (revision, txn) in (1..=at).zip(&self.commits) {
            for op in &txn.ops {
                match op {
                    Op::Delete { key: k } if k == key => entry = None,
                    Op::Put { key: k, value, lease } if k == key => {
                        entry = Some(Entry {
                            key: k.clone(),
                            value: value.clone(),
                            create_revision: entry.as_ref().map_or(revision, |e| e.create_revision),
                            mod_revision: revision,
                            version: entry.as_ref().map_or(1, |e| e.version + 1),
                            lease: *lease,
                        });
                    }
                    _ => {}
                }
            }
        }
        entry
    }

    fn commit_at(&self, revision: Revision) -> Commit {
        let txn = &self.commits[usize::try_from(revision).unwrap() - 1];
        let changes = txn.ops.iter().filter_map(|op| match op {
            Op::Put { key, .. } => self.entry(key, revision).map(Change::Put),
            Op::Delete { key } => self.entry(key, revision - 1).map(|_| Change::Delete { key: key.clone() }),
        });
        Commit { revision, meta: txn.meta.clone(), changes: changes.collect() }
    }
}

/// Does the steps on the store and on the model. Errors: the first difference.
pub(crate) fn run<B: Backend>(open: impl AsyncFn() -> B, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut backend = runtime.block_on(open());
    let mut model = Model::default();
    for step in steps {
        if matches!(step, Step::Reopen) {
            runtime.block_on(backend.reopen());
        }
        runtime.block_on(one(&backend, &mut model, step))?;
        prop_assert_eq!(backend.store().head(), model.head());
        prop_assert_eq!(backend.store().compacted(), model.compacted);
    }
    Ok(())
}

async fn one(backend: &impl Backend, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    let store = backend.store();
    let back_to = |back: u64| model.head().saturating_sub(back);
    match step {
        Step::Reopen => {}
        Step::Commit { mut ops, expect } => {
            let mut seen = std::collections::BTreeSet::new();
            ops.retain(|(key, _)| seen.insert(*key));
            let why = format!("step {}", model.head());
            let mut txn = Txn::new(Meta { time_ms: model.head(), who: "model".into(), why });
            for (key, value) in ops {
                txn = match value {
                    Some(value) => txn.put(KEYS[key], [value]),
                    None => txn.delete(KEYS[key]),
                };
            }
            let mut holds = true;
            if let Some((key, stale, by_create)) = expect {
                let then = model.entry(KEYS[key], model.head().saturating_sub(stale));
                let now = model.entry(KEYS[key], model.head());
                let field = |e: &Entry| if by_create { e.create_revision } else { e.mod_revision };
                let expected = then.as_ref().map_or(0, field);
                holds = expected == now.as_ref().map_or(0, field);
                txn = match by_create {
                    true => txn.if_create_revision(KEYS[key], expected),
                    false => txn.if_mod_revision(KEYS[key], expected),
                };
            }
            let outcome = store.commit(txn.clone()).await;
            if holds {
                model.commits.push(txn);
                prop_assert_eq!(outcome, Ok(model.head()));
            } else {
                prop_assert!(matches!(outcome, Err(StoreError::Conflict { .. })), "{outcome:?}");
            }
        }
        Step::Read { back, prefix, limit } => {
            let at = back_to(back);
            for key in KEYS {
                let got = store.get(key, Some(at)).await;
                if at < model.compacted {
                    let compacted = StoreError::Compacted { asked: at, compacted: model.compacted };
                    prop_assert_eq!(got, Err(compacted));
                } else {
                    prop_assert_eq!(got, Ok(model.entry(key, at)));
                }
                let steps = store.key_history(key, at + 1, 100).await.unwrap();
                let expected: Vec<_> = (at.max(model.compacted) + 1..=model.head())
                    .flat_map(|revision| {
                        let changes = model.commit_at(revision).changes;
                        changes.into_iter().filter(|c| c.key() == key).map(move |change| (revision, change))
                    })
                    .collect();
                let steps = steps.into_iter().map(|step| (step.revision, step.change));
                prop_assert_eq!(
                    steps.filter(|(revision, _)| *revision > model.compacted).collect::<Vec<_>>(),
                    expected
                );
            }
            if at >= model.compacted {
                let mut range = Range { limit, at: Some(at), ..Range::prefix(PREFIXES[prefix]) };
                let mut got = Vec::new();
                loop {
                    let page = store.range(range.clone()).await.unwrap();
                    prop_assert_eq!(page.revision, at);
                    got.extend(page.entries);
                    if !page.more {
                        break;
                    }
                    prop_assert!(limit > 0);
                    range.after = got.last().map(|entry| entry.key.clone());
                }
                let mut expected: Vec<_> = KEYS.iter().filter_map(|key| model.entry(key, at)).collect();
                expected.retain(|entry| entry.key.starts_with(PREFIXES[prefix]));
                expected.sort_by(|a, b| a.key.cmp(&b.key));
                prop_assert_eq!(got, expected);
            }
        }
        Step::Compact { back } => {
            let revision = back_to(back);
            let outcome = store.compact(revision).await;
            if revision < model.compacted {
                let compacted = StoreError::Compacted { asked: revision, compacted: model.compacted };
                prop_assert_eq!(outcome, Err(compacted));
            } else {
                prop_assert_eq!(outcome, Ok(()));
                model.compacted = revision;
            }
        }
        Step::Watch { back } => {
            let from = back_to(back).max(model.compacted) + 1;
            let mut watch = store.watch(from).await.unwrap();
            for revision in from..=model.head() {
                prop_assert_eq!(watch.next().await, Ok(model.commit_at(revision)));
            }
        }
    }
    Ok(())
}
