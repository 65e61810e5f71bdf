//! Following a config log: its records now, and those that come.

use crate::{client::Mgc, error::MgcError, standing::Standing};
use lustre_wire::{
    ldlm::{ResourceId, ResourceKind},
    llog::Record,
};

/// Who follows a config log: holds its lock, and reads on when the lock is revoked.
pub struct Follower {
    mgc: Mgc,
    log: String,
    /// Index of the last record seen.
    after: u32,
    /// Which log that was: after a writeconf or a restore of the MGS, another one has the name.
    log_id: Option<[u64; 2]>,
    /// None before the first call.
    standing: Option<Standing>,
    /// True once the records that there were have been given.
    has_begun: bool,
}

impl Mgc {
    /// Follows a config log behind index `after`; 0 for all of it.
    pub fn follow(&self, log: &str, after: u32) -> Follower {
        Follower { mgc: self.clone(), log: log.to_owned(), after, log_id: None, standing: None, has_begun: false }
    }

    /// The lock that guards a config log.
    ///
    /// Errors: a name that no log has: its file system's name is longer than 8 characters.
    pub(crate) fn resource_of(log: &str) -> Result<ResourceId, MgcError> {
        let kind = if log == "params" { ResourceKind::Params } else { ResourceKind::Config };
        ResourceId::of_log(log, kind).map_err(|error| MgcError::Name(error.to_string()))
    }
}

impl Follower {
    /// The log's name.
    pub fn log(&self) -> &str {
        &self.log
    }

    /// Index of the last record that [`Follower::next`] gave.
    pub fn after(&self) -> u32 {
        self.after
    }

    /// The live records that are new: those that there are at the first call, even if none; later as soon as there are some.
    ///
    /// A log that was written anew (a writeconf, an MGS restored from a backup) is told from its beginning.
    /// A log that doesn't exist yet has none. Errors: the MGS isn't there or refuses; call again to go on.
    pub async fn next(&mut self) -> Result<Vec<Record>, MgcError> {
        let standing = match &mut self.standing {
            Some(standing) => standing,
            None => self.standing.insert(Standing::new(&self.mgc, Mgc::resource_of(&self.log)?)),
        };
        loop {
            // The lock first: a change after the reading must not go unseen.
            let lock = standing.take().await?;
            let read = self.mgc.news(&self.log, self.after, self.log_id).await?;
            standing.keep(lock);
            let mut records = Vec::new();
            if let Some(news) = read {
                (self.after, self.log_id, records) = (news.last, Some(news.log_id), news.records);
            }
            if !records.is_empty() || !self.has_begun {
                self.has_begun = true;
                return Ok(records);
            }
        }
    }
}
