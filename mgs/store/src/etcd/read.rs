//! Reading: from the mirror what is newest, from etcd what is older, and catching up with other instances.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::Shared;
use super::client::one;
use super::error::EtcdError;
use super::layout::{Name, Record, Version, damaged, decode_record, decode_version, number};
use super::mirror::Mirror;
use super::rpc::{KeyValue, RangeRequest};
use crate::{Change, Commit, Entry, KeyCommit, Meta, Page, Range, Revision, StoreError};

/// Commits read at a time.
const COMMITS: usize = 64;
/// Ranges in one transaction (etcd takes 128 operations).
const RANGES: usize = 100;
/// A listing that etcd's compaction overtakes is begun again so often.
const TRIES: usize = 5;

impl Shared {
    /// Asks etcd for the newest revision and takes in what is missing here. A linearizable read.
    pub(super) async fn catch_up(&self) -> Result<Revision, EtcdError> {
        let _turn = self.catching_up.lock().await;
        // Before the read: what the watch brings while it is under way may be newer than its answer.
        let before = self.mirror().revision;
        let (etcd, answers) = self.client.read(vec![one(self.layout.head()), one(self.layout.compacted())]).await?;
        let [head, compacted] = &answers[..] else {
            return Err(self.missing("its head"));
        };
        let (Some(head), Some(compacted)) = (head.kvs.first(), compacted.kvs.first()) else {
            return Err(self.missing("its head"));
        };
        let (newest, head_mod, compacted) = (number(head)?, head.mod_revision, number(compacted)?);
        if newest < before {
            // Somebody has put an older state under a running instance. What was acknowledged here is not there.
            return Err(damaged(head, format!("revision {newest}, but {before} was here already; restart this MGS")));
        }
        let read = if before < compacted { Err(EtcdError::Behind { compacted }) } else { self.absorb(newest).await };
        match read {
            // Another instance has compacted what is missing here: the state is listed again.
            Err(EtcdError::Behind { .. }) => {
                let loaded = self.load().await?;
                self.mirror().replace(loaded);
            }
            read => read?,
        }
        let revision = {
            let mut mirror = self.mirror();
            mirror.compact(compacted);
            mirror.found_head(newest, head_mod);
            mirror.etcd_revision = mirror.etcd_revision.max(etcd);
            mirror.revision
        };
        self.publish();
        Ok(revision)
    }

    /// Reads and takes in every commit up to `newest`.
    async fn absorb(&self, newest: Revision) -> Result<(), EtcdError> {
        let mut from = self.mirror().revision + 1;
        while from <= newest {
            let to = newest.min(from + COMMITS as u64 - 1);
            let commits = self.commits(from, to).await?;
            let absorbed = self.mirror().absorb(commits);
            if let Err(missing) = absorbed {
                let compacted = number_of(&self.client.range(one(self.layout.compacted())).await?.kvs)?;
                return Err(match compacted >= missing {
                    true => EtcdError::Behind { compacted },
                    false => self.missing(&format!("commit {missing}")),
                });
            }
            from = to + 1;
        }
        Ok(())
    }

    fn missing(&self, what: &str) -> EtcdError {
        EtcdError::Damaged { key: self.layout.prefix().to_owned(), reason: format!("{what} is missing") }
    }

    /// The commits `from..=to`, with their ids. Errors: [`EtcdError::Damaged`] when one is missing that is not compacted.
    async fn commits(&self, from: Revision, to: Revision) -> Result<Vec<(Commit, String)>, EtcdError> {
        let mut records = Vec::new();
        let end = self.layout.commit(to + 1);
        self.client
            .pages(self.layout.commit(from), &end, None, false, |page| {
                for kv in page {
                    let Name::Commit(revision) = self.layout.parse(&kv.key) else {
                        return Err(damaged(&kv, "a key that is none of ours"));
                    };
                    records.push((revision, decode_record(&kv)?));
                }
                Ok(true)
            })
            .await?;
        let wanted: Vec<(Revision, &String)> =
            records.iter().flat_map(|(at, record)| record.keys.iter().map(|key| (*at, key))).collect();
        let keys = wanted.iter().map(|(at, key)| (key.as_str(), *at));
        let mut versions = self.versions(keys.collect()).await?;
        let mut changes = BTreeMap::<Revision, Vec<Change>>::new();
        for ((at, key), change) in wanted.iter().zip(versions.drain(..)) {
            let Some(change) = change else {
                let compacted = number_of(&self.client.range(one(self.layout.compacted())).await?.kvs)?;
                // Versions that a compaction has dropped meanwhile belong to commits that it has dropped.
                return Err(match compacted >= *at {
                    true => EtcdError::Behind { compacted },
                    false => self.missing(&format!("the value of {key} at revision {at}")),
                });
            };
            changes.entry(*at).or_default().push(change);
        }
        let commit = |(revision, record): (Revision, Record)| {
            let changes = changes.remove(&revision).unwrap_or_default();
            (Commit { revision, meta: record.meta, changes }, record.id)
        };
        Ok(records.into_iter().map(commit).collect())
    }

    /// What happened to keys at revisions; `None` where there is no such version.
    async fn versions(&self, keys: Vec<(&str, Revision)>) -> Result<Vec<Option<Change>>, EtcdError> {
        let mut found = Vec::with_capacity(keys.len());
        for some in keys.chunks(RANGES) {
            let ranges = some.iter().map(|(key, at)| one(self.layout.version(key, *at))).collect();
            let (_, answers) = self.client.read(ranges).await?;
            for ((key, at), answer) in some.iter().zip(answers) {
                found.push(answer.kvs.first().map(|kv| decode_version(kv, key, *at)).transpose()?);
            }
        }
        let entries = self.fill(found.iter().flatten().cloned().collect(), None).await?;
        let mut entries = entries.into_iter();
        let change = |(version, (key, _)): (Option<Version>, &(&str, Revision))| {
            version.map(|_| match entries.next().flatten() {
                Some(entry) => Change::Put(entry),
                None => Change::Delete { key: (*key).to_owned() },
            })
        };
        Ok(found.into_iter().zip(&keys).map(change).collect())
    }

    /// Versions with their values, also those in blobs; `None` for deletions.
    pub(super) async fn fill(&self, versions: Vec<Version>, at: Option<i64>) -> Result<Vec<Option<Entry>>, EtcdError> {
        let ids: Vec<&str> = versions
            .iter()
            .filter_map(|version| match version {
                Version::InBlob(_, id) => Some(id.as_str()),
                _ => None,
            })
            .collect();
        let mut blobs = self.read_blobs(&ids, at).await?.into_iter();
        let entry = |version| match version {
            Version::Deleted => None,
            Version::Inline(entry) => Some(entry),
            Version::InBlob(entry, _) => {
                Some(Entry { value: blobs.next().expect("one value for each id was asked for"), ..entry })
            }
        };
        Ok(versions.into_iter().map(entry).collect())
    }

    /// The whole state, as it is in etcd now.
    pub(super) async fn load(&self) -> Result<Mirror, EtcdError> {
        let mut tries = 0;
        loop {
            match self.load_once().await {
                Err(EtcdError::Compacted { .. } | EtcdError::Behind { .. }) if tries < TRIES => tries += 1,
                loaded => return loaded,
            }
        }
    }

    async fn load_once(&self) -> Result<Mirror, EtcdError> {
        let (lease_from, lease_to) = self.layout.leases();
        let (etcd, answers) = self.client.read(vec![one(self.layout.head()), one(self.layout.compacted())]).await?;
        let [head, compacted] = &answers[..] else { return Err(self.missing("its head")) };
        let (Some(head), Some(compacted)) = (head.kvs.first(), compacted.kvs.first()) else {
            return Err(self.missing("its head"));
        };
        let revision = number(head)?;
        let mut mirror = Mirror::at(revision, head.mod_revision, etcd);
        mirror.compacted = number(compacted)?;
        self.client
            .pages(lease_from, &lease_to, Some(etcd), true, |page| {
                for kv in page {
                    if let Name::Lease(lease) = self.layout.parse(&kv.key) {
                        mirror.leases.insert(lease);
                    }
                }
                Ok(true)
            })
            .await?;
        let mut newest = Newest::new(revision, usize::MAX);
        self.client
            .pages(self.layout.versions_of(""), &self.layout.versions_end(), Some(etcd), false, |page| {
                page.iter().try_for_each(|kv| newest.take(self, kv))?;
                Ok(true)
            })
            .await?;
        for entry in self.fill(newest.finish().0, Some(etcd)).await?.into_iter().flatten() {
            mirror.head.insert(entry.key.clone(), entry);
        }
        Ok(mirror)
    }

    /// Whether the state at `at` can be read; gives the revision. One beyond the mirror makes it catch up first.
    async fn readable(&self, at: Option<Revision>) -> Result<Revision, StoreError> {
        let bounds = || {
            let mirror = self.mirror();
            (mirror.revision, mirror.compacted)
        };
        let (mut head, mut compacted) = bounds();
        let at = at.unwrap_or(head);
        if at > head {
            self.catch_up().await?;
            (head, compacted) = bounds();
        }
        if at > head {
            return Err(StoreError::Future { asked: at, head });
        }
        if at < compacted {
            return Err(StoreError::Compacted { asked: at, compacted });
        }
        Ok(at)
    }

    /// As [`crate::Store::get`].
    pub(super) async fn get(&self, key: &str, at: Option<Revision>) -> Result<Option<Entry>, StoreError> {
        let newest = at.is_none();
        let at = self.readable(at).await?;
        {
            let mirror = self.mirror();
            let entry = mirror.head.get(key);
            if newest || at == mirror.revision || entry.is_some_and(|entry| entry.mod_revision <= at) {
                return Ok(entry.cloned());
            }
        }
        let mut versions = RangeRequest { key: self.layout.version(key, 0), ..RangeRequest::default() };
        versions.range_end = self.layout.version(key, at + 1);
        let (_, answers) = self.client.read(vec![one(self.layout.compacted()), versions]).await?;
        let [compacted, versions] = &answers[..] else { return Ok(None) };
        self.check_kept(at, &compacted.kvs)?;
        let Some(kv) = versions.kvs.last() else { return Ok(None) };
        let Name::Version(_, revision) = self.layout.parse(&kv.key) else {
            return Err(damaged(kv, "a key that is none of ours").into());
        };
        let version = decode_version(kv, key, revision)?;
        Ok(self.fill(vec![version], None).await?.into_iter().next().flatten())
    }

    /// Refuses what another instance has compacted in the meantime.
    fn check_kept(&self, at: Revision, compacted: &[KeyValue]) -> Result<(), StoreError> {
        let compacted = number_of(compacted)?;
        self.mirror().compact(compacted);
        if at < compacted { Err(StoreError::Compacted { asked: at, compacted }) } else { Ok(()) }
    }

    /// As [`crate::Store::range`].
    pub(super) async fn range(&self, range: &Range) -> Result<Page, StoreError> {
        let newest = range.at.is_none();
        let revision = self.readable(range.at).await?;
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        {
            let mirror = self.mirror();
            if newest || revision == mirror.revision {
                let start = match &range.after {
                    Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
                    _ => Bound::Included(range.prefix.as_str()),
                };
                let below = mirror.head.range::<str, _>((start, Bound::Unbounded));
                let mut found = below.take_while(|(key, _)| key.starts_with(&range.prefix)).map(|(_, entry)| entry);
                let entries = found.by_ref().take(limit).cloned().collect();
                return Ok(Page { revision: mirror.revision, entries, more: found.next().is_some() });
            }
        }
        let (etcd, answers) = self.client.read(vec![one(self.layout.compacted())]).await?;
        self.check_kept(revision, answers.first().map_or(&[], |answer| &answer.kvs))?;
        let start = match &range.after {
            Some(after) if *after >= range.prefix => self.layout.versions_of_key_end(after),
            _ => self.layout.versions_of(&range.prefix),
        };
        let mut found = Newest::new(revision, limit);
        let end = self.layout.versions_end();
        self.client
            .pages(start, &end, Some(etcd), false, |page| {
                for kv in &page {
                    match self.layout.parse(&kv.key) {
                        Name::Version(key, _) if !key.starts_with(&range.prefix) => return Ok(false),
                        _ => found.take(self, kv)?,
                    }
                }
                Ok(!found.is_full())
            })
            .await?;
        let (versions, more) = found.finish();
        let entries = self.fill(versions, Some(etcd)).await?.into_iter().flatten().collect();
        Ok(Page { revision, entries, more })
    }

    /// As [`crate::Store::history`].
    pub(super) async fn history(&self, from: Revision, limit: usize) -> Result<Vec<Commit>, StoreError> {
        let from = from.max(1);
        let head = {
            let mirror = self.mirror();
            if from <= mirror.compacted {
                return Err(StoreError::Compacted { asked: from, compacted: mirror.compacted });
            }
            if let Some(commits) = mirror.recent(from, limit) {
                return Ok(commits);
            }
            mirror.revision
        };
        let mut commits: Vec<Commit> = Vec::new();
        let mut next = from;
        while next <= head && commits.len() < limit {
            let some = COMMITS.min(limit - commits.len()) as u64;
            let to = head.min(next + some - 1);
            commits.extend(self.commits(next, to).await?.into_iter().map(|(commit, _)| commit));
            next = to + 1;
        }
        let compacted = number_of(&self.client.range(one(self.layout.compacted())).await?.kvs)?;
        if from <= compacted {
            self.mirror().compact(compacted);
            return Err(StoreError::Compacted { asked: from, compacted });
        }
        Ok(commits)
    }

    /// As [`crate::Store::key_history`].
    pub(super) async fn key_history(
        &self,
        key: &str,
        from: Revision,
        limit: usize,
    ) -> Result<Vec<KeyCommit>, StoreError> {
        let head = self.mirror().revision;
        let (mut revisions, mut versions) = (Vec::new(), Vec::new());
        let (start, end) = (self.layout.version(key, from), self.layout.versions_of_key_end(key));
        self.client
            .pages(start, &end, None, false, |page| {
                for kv in &page {
                    if let Name::Version(_, revision) = self.layout.parse(&kv.key)
                        && revision <= head
                        && revisions.len() < limit
                    {
                        revisions.push(revision);
                        versions.push(decode_version(kv, key, revision)?);
                    }
                }
                Ok(revisions.len() < limit)
            })
            .await?;
        let entries = self.fill(versions, None).await?;
        let mut metas: Vec<Option<Meta>> = Vec::new();
        for some in revisions.chunks(RANGES) {
            let ranges = some.iter().map(|revision| one(self.layout.commit(*revision))).collect();
            let (_, answers) = self.client.read(ranges).await?;
            for answer in answers {
                metas.push(answer.kvs.first().map(decode_record).transpose()?.map(|record| record.meta));
            }
        }
        let steps = revisions.into_iter().zip(entries).zip(metas).map(|((revision, entry), meta)| {
            let change = entry.map_or_else(|| Change::Delete { key: key.to_owned() }, Change::Put);
            KeyCommit { revision, meta, change }
        });
        Ok(steps.collect())
    }
}

fn number_of(kvs: &[KeyValue]) -> Result<Revision, EtcdError> {
    kvs.first().map_or(Ok(0), number)
}

/// Picks from versions, in etcd's order, each key's newest one that is not after a revision.
struct Newest {
    at: Revision,
    limit: usize,
    current: Option<(String, Version)>,
    found: Vec<Version>,
    more: bool,
}

impl Newest {
    fn new(at: Revision, limit: usize) -> Self {
        Self { at, limit, current: None, found: Vec::new(), more: false }
    }

    fn take(&mut self, shared: &Shared, kv: &KeyValue) -> Result<(), EtcdError> {
        let Name::Version(key, revision) = shared.layout.parse(&kv.key) else {
            return Err(damaged(kv, "a key that is none of ours"));
        };
        if self.current.as_ref().is_some_and(|(current, _)| current != key) {
            self.settle();
        }
        if revision <= self.at {
            self.current = Some((key.to_owned(), decode_version(kv, key, revision)?));
        }
        Ok(())
    }

    fn settle(&mut self) {
        match self.current.take() {
            None | Some((_, Version::Deleted)) => {}
            Some(_) if self.found.len() == self.limit => self.more = true,
            Some((_, version)) => self.found.push(version),
        }
    }

    fn is_full(&self) -> bool {
        self.more
    }

    fn finish(mut self) -> (Vec<Version>, bool) {
        self.settle();
        (self.found, self.more)
    }
}
