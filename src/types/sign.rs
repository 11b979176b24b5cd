//! What a node has signed: the record on disk before anything leaves, so that no restart signs twice
//! (`docs/protocol.md` §8, §10, `docs/architecture.md`).

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::{Round, Slot};
use super::hash::{BlockHash, Hash};
use super::seal::Step;

/// A change of the sign state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and a plain value")]
pub enum SignRecord {
    /// A block about to leave.
    Block(BlockRecord),
    /// A vote or a proposal about to leave.
    Vote(VoteRecord),
    /// Nothing is signed: what others have shown of our signatures is taken in, and how far the state is to be trusted.
    Correction(SignState),
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
    pub standing: Standing,
}

/// Whether a sign state is known to hold everything that its key has signed (`docs/adr/0009-sign-state-custody.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It is: the only one in which anything is signed.
    #[default]
    Proven,
    /// Made at a first start. Whether the key was used elsewhere before is not known: two rounds of listening tell.
    New,
    /// The operator has asked for these two rounds.
    Waiting,
    /// It is not, or may not be: its operator decides.
    Unproven(Doubt),
}

/// Why a sign state is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Doubt {
    /// The file was gone, and the key was used before.
    Missing,
    /// Somebody holds a signature of ours that is newer.
    Older,
    /// The file is a copy of another.
    Copied,
    /// It was exported to go on elsewhere.
    Retired,
    /// Somebody else signs with our key.
    Elsewhere,
}

/// How a signature stands to a sign state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before what is held: whether we made it is not known any more.
    Earlier,
    /// What is held.
    Same,
    /// In the place of what is held, for something else: not one node made both.
    Other,
    /// After what is held.
    Later,
}

/// A signature that must not leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "always boxed")]
pub enum SignError {
    /// It is at or below what was signed, and not the same.
    Conflict { held: SignRecord, asked: SignRecord },
    /// The sign state may lack something.
    Unproven { standing: Standing, asked: SignRecord },
}

impl SignState {
    /// The state after a change. A signature is refused at or below what is held, except for the identical one, and
    /// while the state is not proven. A correction never takes anything back.
    pub fn admit(&self, asked: SignRecord) -> Result<SignState, Box<SignError>> {
        if let SignRecord::Correction(other) = asked {
            return Ok(SignState { standing: other.standing, ..self.raised(&other) });
        }
        if self.standing != Standing::Proven {
            return Err(Box::new(SignError::Unproven { standing: self.standing, asked }));
        }
        if let (Place::Earlier | Place::Other, Some(held)) = (self.place(&asked), self.held(&asked))
        {
            return Err(Box::new(SignError::Conflict { held, asked }));
        }
        // A lock is kept for its instance, and only moves on.
        if let (SignRecord::Vote(vote), Some(held)) = (asked, self.vote) {
            let view = |lock: Option<Lock>| lock.map(|lock| lock.view);
            if vote.index == held.index && view(vote.lock) < view(held.lock) {
                return Err(Box::new(SignError::Conflict { held: SignRecord::Vote(held), asked }));
            }
        }
        match asked {
            SignRecord::Block(block) => Ok(SignState { block: Some(block), ..*self }),
            SignRecord::Vote(vote) => Ok(SignState { vote: Some(vote), ..*self }),
            SignRecord::Correction(_) => Ok(*self),
        }
    }

    /// How a signature stands to this state. The lock is no part of a vote.
    pub fn place(&self, record: &SignRecord) -> Place {
        let (order, same) = match (record, &self.block, &self.vote) {
            (SignRecord::Block(block), Some(held), _) => {
                (block.at().cmp(&held.at()), block.hash == held.hash)
            }
            (SignRecord::Vote(vote), _, Some(held)) => {
                (vote.at().cmp(&held.at()), vote.value == held.value)
            }
            (SignRecord::Block(_) | SignRecord::Vote(_) | SignRecord::Correction(_), _, _) => {
                (Ordering::Greater, false)
            }
        };
        match (order, same) {
            (Ordering::Less, _) => Place::Earlier,
            (Ordering::Equal, true) => Place::Same,
            (Ordering::Equal, false) => Place::Other,
            (Ordering::Greater, _) => Place::Later,
        }
    }

    /// The later records of both, with this one's standing; of records in one place this one's stays. The lock is the
    /// later of an instance's.
    pub fn raised(&self, other: &SignState) -> SignState {
        let block = match (self.block, other.block) {
            (Some(held), Some(new)) if new.at() <= held.at() => Some(held),
            (held, new) => new.or(held),
        };
        let vote = match (self.vote, other.vote) {
            (Some(held), Some(new)) => {
                let later = if new.at() <= held.at() { held } else { new };
                let locks = [held, new].into_iter().filter(|vote| vote.index == later.index);
                let lock = locks.filter_map(|vote| vote.lock).max_by_key(|lock| lock.view);
                Some(VoteRecord { lock, ..later })
            }
            (held, new) => new.or(held),
        };
        SignState { block, vote, standing: self.standing }
    }

    /// The same, unless the two have signed different things in one place.
    pub fn joined(&self, other: &SignState) -> Result<SignState, Box<SignError>> {
        let records = [other.block.map(SignRecord::Block), other.vote.map(SignRecord::Vote)];
        for asked in records.into_iter().flatten() {
            if let (Place::Other, Some(held)) = (self.place(&asked), self.held(&asked)) {
                return Err(Box::new(SignError::Conflict { held, asked }));
            }
        }
        Ok(self.raised(other))
    }

    fn held(&self, like: &SignRecord) -> Option<SignRecord> {
        match like {
            SignRecord::Block(_) => self.block.map(SignRecord::Block),
            SignRecord::Vote(_) => self.vote.map(SignRecord::Vote),
            SignRecord::Correction(_) => None,
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

impl Doubt {
    /// Its name in JSON and logs.
    pub fn name(self) -> &'static str {
        match self {
            Doubt::Missing => "missing",
            Doubt::Older => "older",
            Doubt::Copied => "copied",
            Doubt::Retired => "retired",
            Doubt::Elsewhere => "elsewhere",
        }
    }
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Doubt::Missing => "the sign state was gone, and this key has signed before",
            Doubt::Older => "the sign state is older than signatures that others hold",
            Doubt::Copied => "the sign state is a copy of another file",
            Doubt::Retired => "the sign state was exported to go on elsewhere",
            Doubt::Elsewhere => "somebody else signs with this key",
        })
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Standing::Proven => f.write_str("the sign state is proven"),
            Standing::New => {
                f.write_str("the sign state is new: two rounds of listening come first")
            }
            Standing::Waiting => f.write_str("two rounds of listening come first"),
            Standing::Unproven(doubt) => doubt.fmt(f),
        }
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
            SignRecord::Correction(_) => f.write_str("a correction"),
        }
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignError::Conflict { held, asked } => {
                write!(f, "a signature for {asked} is refused: {held} is signed already")
            }
            SignError::Unproven { standing, asked } => {
                write!(f, "a signature for {asked} is refused: {standing}")
            }
        }
    }
}

impl std::error::Error for SignError {}
