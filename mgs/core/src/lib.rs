//! The deterministic MGS: what it knows ([`State`]), what it answers to a request ([`decide`]), and the one function that
//! changes what it knows ([`State::apply`]).
//!
//! `decide` reads the state and gives a [`Decision`]: what must still hold when it is committed, what changes then, and the
//! reply. A driver commits it to a store and feeds what the store's watch delivers, in revision order, to `apply`. When a
//! compare fails, somebody was faster: the driver decides again on the newer state. Nothing in here awaits, reads a clock or a
//! random number, or does I/O: times, seeds and what a node's agent saw are passed in, so a failing seed is a test case.

mod apply;
mod by_revision;
pub mod configlog;
pub mod decide;
mod key;
mod needs;
mod record;
pub mod serve;
mod state;
pub mod view;

pub use decide::{Compare, Decision, Env, Request};
pub use key::{Key, KeyError, ParamKey, RemovedKey};
pub use record::{
    ActiveRecord, Change, JobRecord, MgsRecord, NidRow, NidTableRecord, NodeRecord, NodemapRecord, OwnAct, OwnerRecord,
    ParamRecord, Pending, PlannedTarget, PoolRecord, Record, RecordError, TargetRecord, TemporaryPlace,
    TemporaryRecord,
};
pub use state::{NidTable, Object, State};
