//! The contract of [`Store`], run by every backend.
// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

mod contract {
    pub(crate) mod claims;
    pub(crate) mod model;
}

use std::time::Duration;

use lustre_mgs_store::{EtcdStore, MemoryStore, RedbStore, Store};

/// An empty store of one backend, and a way to close and open it again.
pub(crate) trait Backend {
    /// The store.
    fn store(&self) -> &dyn Store;
    /// Closes and opens the store; does nothing where nothing survives that.
    async fn reopen(&mut self);
    /// A time to live for leases that is soon over, and a longer one that so many of the short ones outlast.
    fn ttls(&self) -> (Duration, Duration, u32) {
        (Duration::from_millis(400), Duration::from_secs(3), 10)
    }
}

struct Memory(MemoryStore);

impl Backend for Memory {
    fn store(&self) -> &dyn Store {
        &self.0
    }
    async fn reopen(&mut self) {}
}

struct Redb {
    store: Option<RedbStore>,
    directory: tempfile::TempDir,
}

impl Backend for Redb {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }
    async fn reopen(&mut self) {
        self.store = None;
        self.store = Some(RedbStore::open(self.directory.path().join("mgs.redb")).unwrap());
    }
}

struct Etcd {
    store: Option<EtcdStore>,
    server: testkit::Etcd,
}

impl Backend for Etcd {
    fn store(&self) -> &dyn Store {
        self.store.as_ref().unwrap()
    }
    async fn reopen(&mut self) {
        self.store = None;
        let url = self.server.url("lmgs/contract").parse().unwrap();
        self.store = Some(EtcdStore::open(&url).await.unwrap());
    }
    /// etcd counts in seconds.
    fn ttls(&self) -> (Duration, Duration, u32) {
        (Duration::from_secs(1), Duration::from_secs(5), 4)
    }
}

async fn memory() -> Memory {
    Memory(MemoryStore::new())
}

async fn redb() -> Redb {
    let mut backend = Redb { store: None, directory: tempfile::tempdir().unwrap() };
    backend.reopen().await;
    backend
}

async fn etcd() -> Etcd {
    let mut backend = Etcd { store: None, server: testkit::Etcd::start().unwrap() };
    backend.reopen().await;
    backend
}

/// One test per claim and backend, so that a failure names both.
macro_rules! contract {
    ($($claim:ident)*) => {
        mod memory_store { $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::contract::claims::$claim(crate::memory().await).await } )* }
        mod redb_store { $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::contract::claims::$claim(crate::redb().await).await } )* }
        mod etcd_store { $( #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() { crate::contract::claims::$claim(crate::etcd().await).await } )* }
    };
}

contract! {
    an_empty_store_is_at_revision_0
    revisions_count_commits_without_gaps
    a_commit_carries_who_when_and_why
    a_conflict_changes_nothing_and_names_the_key
    a_key_that_was_made_again_has_a_new_create_revision
    a_prefix_compare_sees_every_newer_write_below_it
    deleting_an_absent_key_changes_no_key
    a_bad_transaction_is_refused_and_changes_nothing
    a_transaction_as_large_as_allowed_is_committed_whole
    a_range_is_paged_at_one_revision
    reading_the_future_or_the_compacted_past_is_refused
    watch_from_old_revision_sees_every_change
    watch_from_a_future_revision_delivers_nothing_older
    a_watch_that_compaction_overtook_is_told
    key_history_shows_every_step_of_one_key
    compaction_keeps_what_is_visible_at_its_revision
    of_64_racing_creators_one_wins
    an_expired_lease_takes_its_keys_along
    a_lease_that_is_kept_alive_lives_on
    a_revoked_lease_takes_its_keys_along_and_is_gone
    a_key_written_again_without_lease_outlives_it
    what_was_committed_is_there_after_opening_again
}

mod model_equality {
    use crate::contract::model;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_history_in_memory_reads_like_the_model(steps in model::steps(60)) {
            model::run(crate::memory, steps)?;
        }

        #[test]
        fn any_history_in_redb_reads_like_the_model(steps in model::steps(40)) {
            model::run(crate::redb, steps)?;
        }
    }

    proptest! {
        // Each starts an etcd of its own.
        #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_history_in_etcd_reads_like_the_model(steps in model::steps(60)) {
            model::run(crate::etcd, steps)?;
        }
    }
}
