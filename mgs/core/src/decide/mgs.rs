//! The MGS's own identity.

use lustre_api::Problem;

use crate::decide::{Compare, Decision, Request, absent, as_read, put};
use crate::key::Key;
use crate::record::{MgsRecord, OwnerRecord, Record};
use crate::state::State;

/// The newest version of the state that this program can read and write.
///
/// It grows with every change that an older program would refuse, misread or drop: another kind of object, another field.
/// [`Change::needs`] says since which version each is there. What a store has is raised by [`raise`] before anything is
/// written that needs more, so instances of the version before run beside this one until then, and end with it.
pub const STATE_VERSION: u32 = 2;

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

/// Raises the version of the state, in a commit of its own: instances that know none so high end with it, before they could
/// misread what comes.
///
/// Errors: where `is_shared`, an instance that is alive and would end; it is to be upgraded first.
pub fn raise(state: &State, req: &Request<'_>, version: u32, is_shared: bool) -> Result<Decision<()>, Problem> {
    let nothing = Decision { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply: () };
    let Some(mgs) = state.mgs.as_ref().filter(|mgs| mgs.value.version < version) else { return Ok(nothing) };
    if let Some((instance, owner)) = older(state, version).filter(|_| is_shared) {
        let place = owner.url.as_ref().map_or_else(String::new, |url| format!(" at {url}"));
        let message = format!(
            "this needs version {version} of the state, and MGS instance {instance}{place} is of an older program that does not \
             know it"
        );
        let remedy = "upgrade lustre-mgs there first; an instance that is gone is forgotten within seconds";
        return Err(Problem::refused(message).remedy(remedy));
    }
    let record = MgsRecord { version, ..mgs.value.clone() };
    Ok(Decision {
        // An instance that comes meanwhile is seen.
        compare: vec![as_read(Key::Mgs, mgs.revision), Compare::Prefix(Key::OWNERS.to_owned(), state.revision)],
        changes: vec![put(Key::Mgs, Record::Mgs(record))],
        what: req.describe(format!("raise the version of the state from {} to {version}", mgs.value.version)),
        reply: (),
    })
}

/// An instance that is alive and does not say that it knows this version of the state.
fn older(state: &State, version: u32) -> Option<(&str, &OwnerRecord)> {
    let owners = || state.owners.values().map(|owner| &owner.value);
    let knows = |instance: &str| {
        owners().filter(|owner| owner.instance == instance).filter_map(|owner| owner.knows).max().unwrap_or(1)
            >= version
    };
    owners().map(|owner| (owner.instance.as_str(), owner)).find(|(instance, _)| !knows(instance))
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
