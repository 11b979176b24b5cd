//! Evidence: two things that one key signed and that exclude each other (`docs/protocol.md` §7, §10).
//!
//! It proves itself: whoever has it can show it to everyone, whatever chain they stand on. One pair has one form.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::block::SignedHeader;
use super::clock::Round;
use super::key::{PublicKey, Verifier};
use super::network::Network;
use super::seal::Vote;

/// Two signatures of one key that exclude each other, the lower first: blocks by their hashes, votes by their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::large_enum_variant, reason = "there is little evidence, and it is mostly on disk")]
pub enum Evidence {
    /// Two blocks for one slot.
    Blocks(SignedHeader, SignedHeader),
    /// Two votes for one step of a view.
    Votes(Vote, Vote),
}

/// What evidence is about: a chain holds at most one piece of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offence {
    pub kind: OffenceKind,
    pub offender: PublicKey,
}

/// Signing twice in a round, or for a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OffenceKind {
    Blocks { round: Round },
    Votes { index: u64 },
}

impl Evidence {
    /// Evidence of two headers; nothing when they exclude nothing. Says nothing of signatures.
    pub fn of_blocks(a: &SignedHeader, b: &SignedHeader) -> Option<Evidence> {
        let (low, high) = if a.hash() < b.hash() { (a, b) } else { (b, a) };
        Some(Evidence::Blocks(low.clone(), high.clone())).filter(Evidence::is_proof)
    }

    /// Evidence of two votes; nothing when they exclude nothing. Says nothing of signatures.
    pub fn of_votes(a: &Vote, b: &Vote) -> Option<Evidence> {
        Some(Evidence::Votes(*a.min(b), *a.max(b))).filter(Evidence::is_proof)
    }

    /// What it is about.
    pub fn offence(&self) -> Offence {
        match self {
            Evidence::Blocks(low, _) => Offence {
                kind: OffenceKind::Blocks { round: low.header.round },
                offender: low.header.forger,
            },
            Evidence::Votes(low, _) => {
                Offence { kind: OffenceKind::Votes { index: low.index }, offender: low.voter }
            }
        }
    }

    /// Whether the two exclude each other and stand in their order. Two signatures under one content prove nothing.
    pub fn is_proof(&self) -> bool {
        match self {
            Evidence::Blocks(low, high) => {
                let (a, b) = (&low.header, &high.header);
                let same = a.forger == b.forger && (a.round, a.slot) == (b.round, b.slot);
                same && a != b && low.hash() < high.hash()
            }
            Evidence::Votes(low, high) => {
                let same = low.voter == high.voter
                    && (low.index, low.view, low.step) == (high.index, high.view, high.step);
                same && low.value < high.value
            }
        }
    }

    /// Whether both signatures hold, for this network.
    pub fn is_signed(&self, network: &Network, verifier: &Verifier) -> bool {
        match self {
            Evidence::Blocks(low, high) => {
                low.is_signed(network, verifier) && high.is_signed(network, verifier)
            }
            Evidence::Votes(low, high) => {
                low.is_signed(network, verifier) && high.is_signed(network, verifier)
            }
        }
    }
}

impl fmt::Display for OffenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OffenceKind::Blocks { round } => write!(f, "two blocks for a slot of round {round}"),
            OffenceKind::Votes { index } => write!(f, "two votes in a step for seal {index}"),
        }
    }
}
