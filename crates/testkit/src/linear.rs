//! Whether a history of concurrent reads and writes can be explained by one order: linearizability of a map of registers.
//!
//! The search is that of Wing and Gong (1993) with Lowe's memory of configurations seen, each key by itself. Written values are
//! to be unique within a key. A write whose outcome nobody knows may have happened at any time after it was begun, or never.
//!
//! ```
//! use testkit::linear::{Kind, Operation, check};
//! let op = |invoked, returned, kind| Operation { key: "a".into(), invoked, returned: Some(returned), kind };
//! let stale = [op(1, 2, Kind::Write(7)), op(3, 4, Kind::Read(None))];
//! assert!(check(&stale).is_err(), "who reads after an acknowledged write sees it");
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// One operation as a client saw it. Times are of one clock, in any unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The register.
    pub key: String,
    /// When it was sent.
    pub invoked: u64,
    /// When its answer came; `None` where there was none, or one that leaves open whether it was done.
    pub returned: Option<u64>,
    /// What it did.
    pub kind: Kind,
}

/// What an operation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Wrote this value.
    Write(u64),
    /// Read this value; `None`: there was none.
    Read(Option<u64>),
}

/// Why a history is not linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// No order explains it.
    #[error(
        "no order of the operations on {key} explains what was read; {explained} of {count} were, stuck at {stuck:?}"
    )]
    Impossible {
        /// The register.
        key: String,
        /// The most operations that some order explains.
        explained: usize,
        /// Operations on it.
        count: usize,
        /// What could come next then, and contradicts.
        stuck: Vec<Operation>,
    },
    /// The search gave up.
    #[error("the operations on {0} have too many orders to try; make fewer of them unknown")]
    TooMany(String),
}

/// Configurations looked at before a key is given up.
const MAX_STEPS: usize = 2_000_000;

/// Checks a history. Errors: it is not linearizable.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut by_key: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    by_key.into_iter().try_for_each(|(key, operations)| one(key, operations))
}

fn one(key: &str, mut operations: Vec<&Operation>) -> Result<(), Violation> {
    let read: BTreeSet<u64> = operations
        .iter()
        .filter_map(|operation| match operation.kind {
            Kind::Read(value) => value,
            Kind::Write(_) => None,
        })
        .collect();
    // A write of unknown outcome that nobody read explains nothing: wherever it stands in an order, it can be left out.
    operations.retain(|operation| match operation.kind {
        Kind::Write(value) => operation.returned.is_some() || read.contains(&value),
        Kind::Read(_) => operation.returned.is_some(),
    });
    operations.sort_by_key(|operation| operation.invoked);
    Search::new(operations).run(key)
}

/// Which operations are in the order so far, as bits, and what the register holds then.
type Configuration = (Vec<u64>, Option<u64>);

struct Search<'a> {
    operations: Vec<&'a Operation>,
    done: Vec<u64>,
    value: Option<u64>,
    /// The order so far: each operation, and the value before it.
    order: Vec<(usize, Option<u64>)>,
    seen: HashSet<Configuration>,
}

impl<'a> Search<'a> {
    fn new(operations: Vec<&'a Operation>) -> Self {
        let words = operations.len().div_ceil(64);
        Self { operations, done: vec![0; words], value: None, order: Vec::new(), seen: HashSet::new() }
    }

    fn run(mut self, key: &str) -> Result<(), Violation> {
        let (mut from, mut best, mut stuck) = (0, 0, Vec::new());
        for _ in 0..MAX_STEPS {
            let candidates = self.candidates();
            if candidates.iter().all(|at| self.operations[*at].returned.is_none()) {
                return Ok(());
            }
            let next = candidates.iter().copied().filter(|at| *at >= from).find(|at| self.takes(*at));
            if let Some(at) = next {
                from = 0;
                if self.order.len() > best {
                    best = self.order.len();
                }
                debug_assert!(self.is_done(at));
                continue;
            }
            if self.order.len() >= best {
                best = self.order.len();
                stuck = candidates.iter().map(|at| self.operations[*at].clone()).collect();
            }
            let Some((at, before)) = self.order.pop() else {
                let (key, count) = (key.to_owned(), self.operations.len());
                return Err(Violation::Impossible { key, explained: best, count, stuck });
            };
            self.done[at / 64] &= !(1 << (at % 64));
            self.value = before;
            from = at + 1;
        }
        Err(Violation::TooMany(key.to_owned()))
    }

    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    /// What may come next: nothing that is left had returned before it was invoked.
    fn candidates(&self) -> Vec<usize> {
        let first = self.done.iter().position(|word| *word != u64::MAX).unwrap_or(0) * 64;
        let (mut found, mut bound) = (Vec::new(), u64::MAX);
        for at in first..self.operations.len() {
            let operation = self.operations[at];
            if operation.invoked > bound {
                break;
            }
            if !self.is_done(at) {
                bound = bound.min(operation.returned.unwrap_or(u64::MAX));
                found.push(at);
            }
        }
        found.retain(|at| self.operations[*at].invoked <= bound);
        found
    }

    /// Puts an operation behind the order so far, unless it contradicts or leads where the search has been.
    fn takes(&mut self, at: usize) -> bool {
        let value = match self.operations[at].kind {
            Kind::Write(value) => Some(value),
            Kind::Read(value) if value == self.value => value,
            Kind::Read(_) => return false,
        };
        self.done[at / 64] |= 1 << (at % 64);
        if !self.seen.insert((self.done.clone(), value)) {
            self.done[at / 64] &= !(1 << (at % 64));
            return false;
        }
        self.order.push((at, self.value));
        self.value = value;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(invoked: u64, returned: u64, kind: Kind) -> Operation {
        Operation { key: "a".into(), invoked, returned: (returned > 0).then_some(returned), kind }
    }

    #[test]
    fn concurrent_operations_may_take_either_order() {
        let write = [op(1, 10, Kind::Write(1)), op(2, 9, Kind::Write(2))];
        for last in [1, 2] {
            let history = [&write[..], &[op(11, 12, Kind::Read(Some(last)))]].concat();
            assert_eq!(check(&history), Ok(()));
        }
        let both = [&write[..], &[op(11, 12, Kind::Read(Some(1))), op(13, 14, Kind::Read(Some(2)))]].concat();
        let violation = check(&both).unwrap_err();
        assert!(matches!(violation, Violation::Impossible { explained: 3, count: 4, .. }), "{violation}");
    }

    #[test]
    fn a_lost_write_a_stale_read_and_a_value_from_nowhere_are_found() {
        let lost = [op(1, 2, Kind::Write(1)), op(3, 4, Kind::Read(None))];
        let stale = [op(1, 2, Kind::Write(1)), op(3, 4, Kind::Write(2)), op(5, 6, Kind::Read(Some(1)))];
        let early = [op(1, 2, Kind::Read(Some(1))), op(3, 4, Kind::Write(1))];
        let back = [op(1, 9, Kind::Write(1)), op(2, 3, Kind::Read(Some(1))), op(4, 5, Kind::Read(None))];
        for history in [&lost[..], &stale, &early, &back] {
            assert!(check(history).is_err(), "{history:?}");
        }
    }

    #[test]
    fn a_write_without_an_answer_may_happen_late_or_never_but_not_before_it_was_sent() {
        let unknown = op(5, 0, Kind::Write(7));
        let never = [unknown.clone(), op(20, 21, Kind::Read(None))];
        let late = [unknown.clone(), op(20, 21, Kind::Read(None)), op(30, 31, Kind::Read(Some(7)))];
        let before = [unknown, op(1, 2, Kind::Read(Some(7)))];
        assert_eq!((check(&never), check(&late)), (Ok(()), Ok(())));
        assert!(check(&before).is_err());
    }

    #[test]
    fn a_history_of_a_real_register_passes_and_fails_once_one_read_is_changed() {
        use std::sync::Mutex;
        use std::sync::atomic::{AtomicU64, Ordering};
        let (register, clock) = (Mutex::new(None), AtomicU64::new(1));
        let tick = || clock.fetch_add(1, Ordering::SeqCst);
        let client = |client: u64| {
            let mut own = Vec::new();
            for n in 0..200 {
                let invoked = tick();
                let kind = if (n + client).is_multiple_of(3) {
                    let value = client * 1000 + n;
                    *register.lock().expect("nobody panics") = Some(value);
                    Kind::Write(value)
                } else {
                    Kind::Read(*register.lock().expect("nobody panics"))
                };
                own.push(op(invoked, tick(), kind));
            }
            own
        };
        let mut history: Vec<Operation> = std::thread::scope(|scope| {
            let clients: Vec<_> = (1..=5).map(|n| scope.spawn(move || client(n))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("no client panics")).collect()
        });
        assert_eq!(check(&history), Ok(()));
        let last = history.iter().map(|op| op.returned.expect("all are answered")).max().expect("there are some");
        let first =
            history.iter().filter_map(|op| if let Kind::Write(v) = op.kind { Some((op.invoked, v)) } else { None });
        let first = first.min().expect("there are writes").1;
        history.push(op(last + 1, last + 2, Kind::Read(Some(first))));
        assert!(check(&history).is_err(), "the first value is long overwritten");
    }
}
