//! Halt: what this node will not go on from (`docs/protocol.md` §10). It forges and votes no more, serves status and
//! evidence, and needs its operator.
//!
//! The first reason stays, on disk, until the operator clears it: what comes after it may follow from it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::note::Note;
use super::records::{self, Batch, Reader, Table};
use super::status::HaltStatus;
use super::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::clock::Timestamp;
use crate::types::hash::Hash;
use crate::types::seal::{Checkpoint, Quorum, Voter};

/// The one key of its table.
const KEY: &[u8] = b"halt";

/// Whether we have halted.
#[derive(Debug, Default)]
pub struct Halt {
    record: Option<HaltRecord>,
}

/// What is on disk of it: at most two certificates and 4,096 voters, about 700 KiB.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltRecord {
    pub at: Timestamp,
    pub reason: HaltReason,
    /// The voters of the instance, by position: who signed what can be checked without this node.
    pub voters: Vec<Voter>,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaltReason {
    /// Two checkpoints are certified for one index: our last seal or a later one.
    Certificates { held: Box<Quorum>, other: Box<Quorum> },
    /// A sealed block that our rules refuse.
    Refused { certificate: Box<Quorum>, why: Refusal },
    /// At a sealed block our state is another.
    State { certificate: Box<Quorum>, ours: Hash },
    /// A listed checkpoint contradicts a seal of ours.
    Listed { held: Box<Quorum>, listed: Checkpoint },
}

impl Halt {
    /// As it was left. A record that cannot be read is no reason to go on.
    pub fn open(db: &dyn Reader) -> Result<Halt, &'static str> {
        let record = read(db);
        let is_there = db.get(Table::Halt, KEY).is_some();
        if is_there && record.is_none() { Err("the record of a halt") } else { Ok(Halt { record }) }
    }

    /// Whether nothing is forged and voted any more.
    pub fn is_halted(&self) -> bool {
        self.record.is_some()
    }

    /// The reason, with its evidence.
    pub fn record(&self) -> Option<&HaltRecord> {
        self.record.as_ref()
    }

    /// Halts, unless we have halted before. The voters are those of the instance that the reason is about.
    pub fn halt(&mut self, turn: &mut Turn, reason: HaltReason, voters: &[Voter]) {
        if self.record.is_some() {
            return;
        }
        let record = HaltRecord { at: turn.now.wall, reason, voters: voters.to_vec() };
        turn.db.put(Table::Halt, KEY.to_vec(), &record);
        turn.out.note(Note::Halted { code: record.reason.code(), index: record.reason.index() });
        self.record = Some(record);
    }

    /// For people.
    pub fn status(&self) -> Option<HaltStatus> {
        self.record.as_ref().map(|record| HaltStatus {
            code: record.reason.code().to_owned(),
            message: record.reason.to_string(),
            at: record.at,
            index: record.reason.index(),
        })
    }
}

/// The record in a database.
pub fn read(db: &dyn Reader) -> Option<HaltRecord> {
    db.get(Table::Halt, KEY).as_deref().and_then(records::parse)
}

/// What makes a node forget that it has halted. For its operator, while it does not run.
pub fn clear() -> Batch {
    Batch([((Table::Halt, KEY.to_vec()), None)].into())
}

impl HaltReason {
    /// Its name in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            HaltReason::Certificates { .. } => "certificates",
            HaltReason::Refused { .. } => "sealed_refused",
            HaltReason::State { .. } => "state_differs",
            HaltReason::Listed { .. } => "listed_checkpoint",
        }
    }

    /// The seal that it is about.
    pub fn index(&self) -> u64 {
        match self {
            HaltReason::Certificates { other: quorum, .. }
            | HaltReason::Refused { certificate: quorum, .. }
            | HaltReason::State { certificate: quorum, .. } => quorum.checkpoint.index,
            HaltReason::Listed { listed, .. } => listed.index,
        }
    }

    /// The certificates in it: ours, or the one in question, first.
    pub fn certificates(&self) -> Vec<&Quorum> {
        match self {
            HaltReason::Certificates { held, other } => vec![held, other],
            HaltReason::Refused { certificate, .. } | HaltReason::State { certificate, .. } => {
                vec![certificate]
            }
            HaltReason::Listed { held, .. } => vec![held],
        }
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = self.index();
        match self {
            HaltReason::Certificates { .. } => {
                write!(f, "two different checkpoints are certified for seal {index}")
            }
            HaltReason::Refused { certificate, why } => {
                let Checkpoint { height, .. } = certificate.checkpoint;
                write!(
                    f,
                    "the block of seal {index} at height {height} is against our rules: {why}"
                )
            }
            HaltReason::State { .. } => {
                write!(f, "the state that seal {index} names is not the one that we compute")
            }
            HaltReason::Listed { .. } => {
                write!(f, "a listed checkpoint contradicts seal {index}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bed::{self, Disk};
    use crate::machine::event::Effect;
    use crate::types::clock::{Height, Round};
    use crate::types::hash::BlockHash;
    use crate::types::key::{PublicKey, Signature};
    use crate::types::seal::HNS_MAX;

    fn certificate(byte: u8, voters: usize) -> Box<Quorum> {
        let checkpoint = Checkpoint {
            index: 7,
            round: Round(3),
            height: Height(9),
            block: BlockHash(Hash([byte; 32])),
            state: Hash([2; 32]),
            registry: Hash([3; 32]),
            voters: Hash([4; 32]),
        };
        let signatures = vec![Signature([9; 64]); voters];
        Box::new(Quorum { checkpoint, view: 0, voters: vec![0xff; voters / 8], signatures })
    }

    /// Lets a reason happen, and puts what is to be on disk there.
    fn happen(halt: &mut Halt, disk: &mut Disk, reason: HaltReason, voters: &[Voter]) -> Vec<Note> {
        let network = bed::network(1, &[]);
        let before = disk.clone();
        let mut turn = bed::turn(&network, 1_000, &before);
        halt.halt(&mut turn, reason, voters);
        let mut notes = Vec::new();
        for effect in turn.out.take(turn.db.into_batch()) {
            match effect {
                Effect::Persist(batch) => disk.write(batch),
                Effect::Note(note) => notes.push(note),
                Effect::Guard(_)
                | Effect::Send { .. }
                | Effect::Dial { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. }
                | Effect::Stop(_) => panic!("nothing leaves: {effect:?}"),
            }
        }
        notes
    }

    #[test]
    fn the_first_reason_stays_over_a_restart_until_it_is_cleared() {
        let mut disk = Disk::default();
        let mut halt = Halt::open(&disk).expect("an empty disk");
        assert!(!halt.is_halted() && halt.status().is_none());
        let voters = [Voter { public_key: PublicKey([5; 32]), weight: 2 }];
        let two = HaltReason::Certificates { held: certificate(1, 8), other: certificate(2, 8) };
        let notes = happen(&mut halt, &mut disk, two.clone(), &voters);
        assert_eq!(notes, [Note::Halted { code: "certificates", index: 7 }]);
        let state = HaltReason::State { certificate: certificate(1, 8), ours: Hash([1; 32]) };
        assert_eq!(happen(&mut halt, &mut disk, state, &voters), []);

        let halt = Halt::open(&disk).expect("as it was written");
        let record = halt.record().expect("it has halted");
        assert_eq!((&record.reason, record.voters.as_slice()), (&two, voters.as_slice()));
        let status = halt.status().expect("it has halted");
        assert_eq!((status.code.as_str(), status.index), ("certificates", 7));
        disk.write(clear());
        assert!(Halt::open(&disk).is_ok_and(|halt| !halt.is_halted()));
        disk.entries.insert((Table::Halt, KEY.to_vec()), vec![1]);
        assert!(Halt::open(&disk).is_err());
    }

    #[test]
    fn the_largest_evidence_fits_in_a_record() {
        let mut disk = Disk::default();
        let voters = vec![Voter { public_key: PublicKey([5; 32]), weight: 3 }; HNS_MAX];
        let (held, other) = (certificate(1, HNS_MAX), certificate(2, HNS_MAX));
        let reason = HaltReason::Certificates { held, other };
        happen(&mut Halt::default(), &mut disk, reason, &voters);
        let bytes = disk.get(Table::Halt, KEY).map(|value| value.len());
        assert!(bytes.is_some_and(|bytes| bytes < 750_000), "{bytes:?}");
        assert!(Halt::open(&disk).is_ok_and(|halt| halt.is_halted()));
    }
}
