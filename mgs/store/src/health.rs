//! Whether a store does its work at the moment.

/// What is known of a store's condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Changes are accepted, and what is read was the newest when it was last looked, at most a few seconds ago.
    Good,
    /// No change is accepted; what is read may be old.
    Lost {
        /// Why, with what to do about it where that is known.
        reason: String,
    },
}

impl Health {
    /// Whether changes are accepted.
    #[must_use]
    pub fn is_good(&self) -> bool {
        *self == Self::Good
    }

    /// Notes that the store was lost; says whether it was not before.
    pub(crate) fn lose(&mut self, reason: &str) -> bool {
        let was_good = self.is_good();
        *self = Self::Lost { reason: reason.to_owned() };
        was_good
    }

    /// Notes that the store answers; says whether it did not before.
    pub(crate) fn regain(&mut self) -> bool {
        let was_lost = !self.is_good();
        *self = Self::Good;
        was_lost
    }
}
