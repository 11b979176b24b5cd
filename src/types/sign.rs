//! What a node has signed: the record on disk before anything leaves, so that no restart signs twice
//! (`docs/protocol.md` §8, §10, `docs/architecture.md`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::{Round, Slot};
use super::hash::{BlockHash, Hash};
use super::seal::Step;

/// One signature about to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SignRecord {
    Block(BlockRecord),
    Vote(VoteRecord),
}

/// A block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    pub round: Round,
    pub slot: Slot,
    pub hash: BlockHash,
}

/// A vote, or a proposal as step 0, with the lock that holds once it is cast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoteRecord {
    pub index: u64,
    pub view: u32,
    pub step: Step,
    /// Identity of the checkpoint; nothing is a vote for nothing.
    pub value: Option<Hash>,
    pub lock: Option<Lock>,
}

/// The checkpoint that a voter has committed to, and the view of the prepare quorum that let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    pub view: u32,
    pub value: Hash,
}

/// The newest record of each kind: all that is needed, since slots and steps only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignState {
    pub block: Option<BlockRecord>,
    pub vote: Option<VoteRecord>,
}

/// A signature that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conflict {
    pub held: SignRecord,
    pub asked: SignRecord,
}

impl SignState {
    /// The state after signing `asked`; refused at or below what is held, except for the identical record.
    pub fn admit(&self, asked: SignRecord) -> Result<SignState, Box<Conflict>> {
        match (asked, self.block, self.vote) {
            (SignRecord::Block(block), Some(held), _)
                if block != held && block.at() <= held.at() =>
            {
                Err(Box::new(Conflict { held: SignRecord::Block(held), asked }))
            }
            (SignRecord::Vote(vote), _, Some(held)) if vote != held && vote.at() <= held.at() => {
                Err(Box::new(Conflict { held: SignRecord::Vote(held), asked }))
            }
            (SignRecord::Block(block), _, _) => Ok(SignState { block: Some(block), ..*self }),
            (SignRecord::Vote(vote), _, _) => Ok(SignState { vote: Some(vote), ..*self }),
        }
    }
}

impl BlockRecord {
    fn at(&self) -> (Round, Slot) {
        (self.round, self.slot)
    }
}

impl VoteRecord {
    fn at(&self) -> (u64, u32, Step) {
        (self.index, self.view, self.step)
    }
}

impl fmt::Display for SignRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignRecord::Block(block) => write!(f, "round {} slot {}", block.round, block.slot),
            SignRecord::Vote(vote) => {
                let step = match vote.step {
                    Step::Propose => "proposal",
                    Step::Prepare => "prepare",
                    Step::Commit => "commit",
                };
                write!(f, "the {step} of seal {} view {}", vote.index, vote.view)
            }
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a signature for {} is refused: {} is signed already", self.asked, self.held)
    }
}

impl std::error::Error for Conflict {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_later_or_identical_is_admitted() {
        let record = |round, slot, byte| {
            SignRecord::Block(BlockRecord {
                round: Round(round),
                slot: Slot(slot),
                hash: BlockHash(Hash([byte; 32])),
            })
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

    #[test]
    fn votes_only_go_forward_and_know_nothing_of_blocks() {
        let record = |index, view, step, byte| {
            let value = (byte != 0).then_some(Hash([byte; 32]));
            SignRecord::Vote(VoteRecord { index, view, step, value, lock: None })
        };
        let block = BlockRecord { round: Round(9), slot: Slot(0), hash: BlockHash(Hash([1; 32])) };
        let state = SignState { block: Some(block), vote: None };
        let state = state.admit(record(5, 2, Step::Prepare, 1)).expect("no vote was cast before");
        assert_eq!(state.block, Some(block));
        for (asked, admitted) in [
            (record(5, 2, Step::Prepare, 1), true),
            (record(5, 2, Step::Prepare, 2), false),
            (record(5, 2, Step::Prepare, 0), false),
            (record(5, 2, Step::Propose, 1), false),
            (record(5, 1, Step::Commit, 1), false),
            (record(4, 9, Step::Commit, 1), false),
            (record(5, 2, Step::Commit, 0), true),
            (record(5, 3, Step::Propose, 2), true),
            (record(6, 0, Step::Propose, 2), true),
        ] {
            assert_eq!(state.admit(asked).is_ok(), admitted, "{asked:?}");
        }
    }
}
