//! The MGS's own identity.

use crate::decide::{Decision, Request, absent, put};
use crate::key::Key;
use crate::record::{MgsRecord, Record};
use crate::state::State;

/// The version of the state that this program writes, and the newest that it can read.
///
/// It grows with every change that an older program would refuse or misread: another kind of object, another field. An
/// instance must not write any such thing before the version is in the store, in a commit before it: that is how instances of
/// the version before learn that their time is over.
pub const STATE_VERSION: u32 = 1;

/// A state that only a newer program can read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the state in this store is of version {found}, and this program ({program}) knows none beyond {STATE_VERSION}: another \
     MGS with a newer program uses the store; install that program here, too"
)]
pub struct TooNew {
    /// The state's version.
    pub found: u32,
    /// This program's.
    pub program: String,
}

/// Refuses a state that this program may misread. `program` is its version, for the message.
pub fn check_version(found: u32, program: &str) -> Result<(), TooNew> {
    if found > STATE_VERSION {
        return Err(TooNew { found, program: program.to_owned() });
    }
    Ok(())
}

/// Gives a new store its UUID (version 4, from the seed). Nothing changes in a store that has one.
pub fn init(state: &State, req: &Request<'_>) -> Decision<()> {
    if state.mgs.is_some() {
        return Decision { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply: () };
    }
    let record = MgsRecord { uuid: uuid_v4(req.seed), created: req.now, epoch: 0, version: STATE_VERSION };
    Decision {
        compare: vec![absent(Key::Mgs)],
        changes: vec![put(Key::Mgs, Record::Mgs(record))],
        what: req.describe("new MGS".into()),
        reply: (),
    }
}

/// RFC 9562, section 5.4.
fn uuid_v4(seed: [u8; 16]) -> String {
    let mut bytes = seed;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_says_that_it_is_random() {
        assert_eq!(uuid_v4([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(uuid_v4([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
