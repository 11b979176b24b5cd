//! What a node has signed: the record on disk before anything leaves, so that no restart signs twice
//! (`docs/protocol.md` §8, `docs/architecture.md`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::{Round, Slot};
use super::hash::BlockHash;

/// One signature about to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignRecord {
    pub round: Round,
    pub slot: Slot,
    pub hash: BlockHash,
}

/// The newest record: all that is needed, since rounds and slots only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignState {
    pub block: Option<SignRecord>,
}

/// A signature that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    pub held: SignRecord,
    pub asked: SignRecord,
}

impl SignState {
    /// The state after signing `asked`; refused at or below what is held, except for the identical record.
    pub fn admit(&self, asked: SignRecord) -> Result<SignState, Conflict> {
        if let Some(held) = self.block {
            let later = (asked.round, asked.slot) > (held.round, held.slot);
            if !later && asked != held {
                return Err(Conflict { held, asked });
            }
        }
        Ok(SignState { block: Some(asked) })
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a signature for round {} slot {} is refused: round {} slot {} is signed already",
            self.asked.round, self.asked.slot, self.held.round, self.held.slot
        )
    }
}

impl std::error::Error for Conflict {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::Hash;

    #[test]
    fn only_what_is_later_or_identical_is_admitted() {
        let record = |round, slot, byte| SignRecord {
            round: Round(round),
            slot: Slot(slot),
            hash: BlockHash(Hash([byte; 32])),
        };
        let state = SignState::default().admit(record(5, 3, 1)).expect("nothing was signed before");
        for (asked, admitted) in [
            (record(5, 3, 1), true),
            (record(5, 3, 2), false),
            (record(5, 2, 1), false),
            (record(4, 9, 1), false),
            (record(5, 4, 2), true),
            (record(6, 0, 2), true),
        ] {
            assert_eq!(state.admit(asked).is_ok(), admitted, "{asked:?}");
        }
    }
}
