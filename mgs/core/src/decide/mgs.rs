//! The MGS's own identity.

use crate::decide::{Decision, Request, absent, put};
use crate::key::Key;
use crate::record::{MgsRecord, Record};
use crate::state::State;

/// Gives a new store its UUID (version 4, from the seed). Nothing changes in a store that has one.
pub fn init(state: &State, req: &Request<'_>) -> Decision<()> {
    if state.mgs.is_some() {
        return Decision { compare: Vec::new(), changes: Vec::new(), what: String::new(), reply: () };
    }
    let record = MgsRecord { uuid: uuid_v4(req.seed), created: req.now, epoch: 0 };
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
