//! Decisions: what a request changes, what must hold for that, and what it is answered.
//!
//! One file per subject. A decision never looks at anything but its arguments; what it read and relies on is in its
//! [`Decision::compare`], so a commit that came in between makes the driver decide again instead of being overwritten.

pub mod confirm;
pub mod evacuate;
pub mod filesystem;
pub mod job;
pub mod lifecycle;
pub mod log;
pub mod mgs;
pub mod nidtbl;
pub mod node;
pub mod nodemap;
pub mod operate;
pub mod param;
pub mod param_set;
pub mod pool;
pub mod proxy;
pub mod register;
mod removal;
pub mod reserve;
mod rules;
pub mod source;
pub mod target;
pub mod target_reg;
pub mod temporary;

use lustre_api::job::JobId;
use lustre_api::{Problem, Time, Written};
use lustre_types::NidList;

use crate::key::Key;
use crate::record::Change;

/// What an instance of the MGS was configured with.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// The NIDs that targets and clients use.
    pub mgs_nids: Option<NidList>,
    /// Version of the program.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// What holds its state.
    pub store: String,
    /// How many steps of jobs are at work at once.
    pub limits: job::Limits,
    /// Targets register only when they were described or reserved before (`allow_register=0` of a kernel MGS).
    pub refuse_unknown_targets: bool,
}

/// What every request brings along.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Now, by the driver's clock.
    pub now: Time,
    /// Random bytes, fresh for this request: tokens and UUIDs are made of them.
    pub seed: [u8; 16],
    /// Who asks, as in `uid:0`.
    pub who: &'a str,
    /// Why, in the caller's words.
    pub why: Option<&'a str>,
    /// The revision at which the caller's plan was made.
    pub if_revision: Option<u64>,
    /// The caller's name for the job that this starts.
    pub job: Option<&'a JobId>,
    /// Digest of the job that the caller was shown.
    pub plan: Option<&'a str>,
    /// This instance.
    pub env: &'a Env,
}

/// What must hold when a decision is committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The object was last changed by this revision; 0: there is no such object.
    Object(Key, u64),
    /// Nothing whose key begins like this was written after this revision.
    Prefix(String, u64),
}

/// What a request comes to.
#[derive(Clone, Debug)]
pub struct Decision<R> {
    /// What must hold for it.
    pub compare: Vec<Compare>,
    /// What changes; empty when everything is as asked.
    pub changes: Vec<Change>,
    /// What is done, for the history: `ensure scratch-OST0001`, with the caller's reason behind it.
    pub what: String,
    /// The answer. See [`crate::view::Stamp`] for what it lacks yet.
    pub reply: R,
}

impl<R> Decision<R> {
    /// The same decision with another answer.
    pub fn map<S>(self, reply: impl FnOnce(R) -> S) -> Decision<S> {
        Decision { compare: self.compare, changes: self.changes, what: self.what, reply: reply(self.reply) }
    }
}

impl<T> Decision<Written<T>> {
    /// A decision that changes nothing.
    fn unchanged(object: T, revision: u64) -> Self {
        let reply = Written { object, changed: false, revision, job: None, plan: None, warnings: Vec::new() };
        Self { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply }
    }

    /// A decision that makes `changes` if `compare` holds.
    fn changed(req: &Request<'_>, what: String, object: T, compare: Vec<Compare>, changes: Vec<Change>) -> Self {
        let reply = Written { object, changed: true, revision: 0, job: None, plan: None, warnings: Vec::new() };
        Self { compare, changes, what: req.describe(what), reply }
    }
}

impl Request<'_> {
    /// What is done with the caller's reason behind it, for the history.
    fn describe(&self, what: String) -> String {
        match self.why {
            Some(why) => format!("{what}: {why}"),
            None => what,
        }
    }

    /// Refuses when the object is newer than the caller's plan.
    fn check_revision(&self, object: &str, revision: u64) -> Result<(), Problem> {
        match self.if_revision {
            Some(planned) if revision > planned => Err(Problem::conflict(format!(
                "{object} was changed at revision {revision}, after the plan was made at revision {planned}"
            ))
            .remedy("plan again, look at what changed, and apply the new plan")),
            _ => Ok(()),
        }
    }
}

/// An object's compare: as it was read.
fn as_read(key: Key, revision: u64) -> Compare {
    Compare::Object(key, revision)
}

/// An object's compare: it does not exist.
fn absent(key: Key) -> Compare {
    Compare::Object(key, 0)
}

/// A change to a new value.
fn put(key: Key, record: crate::record::Record) -> Change {
    Change { key, record: Some(record) }
}

/// A removal.
fn remove(key: Key) -> Change {
    Change { key, record: None }
}
