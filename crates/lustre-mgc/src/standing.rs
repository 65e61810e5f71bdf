//! A lock that its holder wants for as long as it runs: taken again, after a pause, whenever it is lost.

use crate::{
    client::{Mgc, random_up_to},
    error::MgcError,
    lock::Lock,
};
use lustre_wire::ldlm::ResourceId;
use std::time::Duration;

/// Who wants a lock for good. Every follower has one: it is told by the loss that there is something to read.
pub(crate) struct Standing {
    pub(crate) mgc: Mgc,
    resource: ResourceId,
    lock: Option<Lock>,
}

impl Standing {
    pub(crate) fn new(mgc: &Mgc, resource: ResourceId) -> Self {
        Self { mgc: mgc.clone(), resource, lock: None }
    }

    /// Waits until the lock is lost, if it is held, and some time more; then takes it.
    ///
    /// Give it to [`Standing::keep`] once what it guards is read: whoever fails in between begins here again, without
    /// waiting. Errors: the MGS isn't there or refuses.
    pub(crate) async fn take(&mut self) -> Result<Lock, MgcError> {
        if let Some(lock) = &mut self.lock {
            lock.lost().await;
            self.lock = None;
            tokio::time::sleep(self.pause()).await;
        }
        self.mgc.lock(self.resource).await
    }

    pub(crate) fn keep(&mut self, lock: Lock) {
        self.lock = Some(lock);
    }

    /// A random time of the configured range: thousands are told of a change at once.
    fn pause(&self) -> Duration {
        let range = &self.mgc.shared().config.requeue;
        range.start + random_up_to(range.end.saturating_sub(range.start))
    }
}

/// A lock that is held though its holder reads nothing: the write barrier's, which MDTs hold.
pub struct Keeper {
    standing: Standing,
}

impl Mgc {
    /// Wants a lock for as long as [`Keeper::again`] is called.
    pub fn keep_lock(&self, resource: ResourceId) -> Keeper {
        Keeper { standing: Standing::new(self, resource) }
    }
}

impl Keeper {
    /// Takes the lock at the first call; later waits until it is lost, and takes it again. Errors: the MGS isn't there or
    /// refuses; call again to go on.
    pub async fn again(&mut self) -> Result<(), MgcError> {
        let lock = self.standing.take().await?;
        self.standing.keep(lock);
        Ok(())
    }
}
