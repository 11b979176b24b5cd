//! Seals: the checkpoint that voters agree on, their votes, and the quorum of votes that certifies it
//! (`docs/protocol.md` §10).

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::block::{Point, SealRef};
use super::clock::{Height, Round};
use super::codec;
use super::hash::{BlockHash, Hash, hash};
use super::key::{PublicKey, Purpose, SecretKey, Signature, Verifier};
use super::network::{Endpoint, Network};
use super::pow::PowAddress;

/// HNs in a registry, and so voters (§2).
pub const HNS_MAX: usize = 4096;

/// A registered HN (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    pub address: Address,
    pub ip: Ipv4Addr,
    pub port: u16,
    /// 1 to 3.
    pub weight: u8,
    /// PoW addresses; 28 zero bytes for founders.
    pub owner: PowAddress,
    pub reward: PowAddress,
    /// Ledger height of the registration; 0 for founders.
    pub since: u64,
}

/// A voter of the next instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voter {
    pub public_key: PublicKey,
    pub weight: u8,
}

/// What a seal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub index: u64,
    /// Round of its block.
    pub round: Round,
    pub height: Height,
    pub block: BlockHash,
    /// Digests of the state after the block, of its registry, and of the voters of the next instance.
    pub state: Hash,
    pub registry: Hash,
    pub voters: Hash,
}

/// A step of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    Propose,
    Prepare,
    Commit,
}

/// One voter's vote for a checkpoint, by its identity, or for nothing. A proposal carries one of step `Propose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vote {
    pub index: u64,
    pub view: u32,
    pub step: Step,
    pub value: Option<Hash>,
    pub voter: PublicKey,
    pub signature: Signature,
}

/// Votes of one step and view of more than two thirds of the voters for one checkpoint: of step `Commit` it is a
/// certificate, of step `Prepare` what a later proposal may rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quorum {
    pub checkpoint: Checkpoint,
    pub view: u32,
    /// Bit i of byte i / 8, lowest first: whether voter i, by address, is among them. As long as it must be.
    pub voters: Vec<u8>,
    /// One for each bit, in their order.
    pub signatures: Vec<Signature>,
}

/// A value proposed by the proposer of a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Of step `Propose`; its value is the identity of the checkpoint.
    pub vote: Vote,
    pub checkpoint: Checkpoint,
    /// The prepare quorum of an earlier view that the proposer holds for it.
    pub prepared: Option<Quorum>,
}

/// A seal as peers send it and as it is stored: with what its digests stand for, where that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    pub certificate: Quorum,
    /// The registry, when its digest is another than that of the seal before.
    pub registry: Option<Vec<Registered>>,
    /// The voters of the next instance, likewise.
    pub voters: Option<Vec<Voter>>,
}

/// H("voters", canonical list).
pub fn voters_digest(voters: &[Voter]) -> Hash {
    hash("voters", &[&codec::encode(&voters)])
}

/// H("registry", canonical entries, sorted by address).
pub fn registry_digest(registry: &[Registered]) -> Hash {
    hash("registry", &[&codec::encode(&registry)])
}

impl Registered {
    /// Where it listens.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { ip: self.ip, port: self.port }
    }
}

impl Checkpoint {
    /// H("checkpoint", …), the identity of a seal.
    pub fn id(&self) -> Hash {
        hash("checkpoint", &[&codec::encode(self)])
    }

    /// How blocks name it.
    pub fn seal(&self) -> SealRef {
        SealRef { index: self.index, checkpoint: self.id() }
    }

    /// Whether a round is over with it: no block of that round may follow, and no seal be about it. Genesis closes none,
    /// though its round is 0 on a network that begins with round 0.
    pub fn closes(&self, round: Round) -> bool {
        self.index > 0 && round <= self.round
    }

    /// The sealed block.
    pub fn point(&self) -> Point {
        Point { height: self.height, hash: self.block }
    }
}

impl Step {
    fn number(self) -> u64 {
        match self {
            Step::Propose => 0,
            Step::Prepare => 1,
            Step::Commit => 2,
        }
    }
}

/// index ‖ view ‖ step ‖ value or zeros.
fn voted_bytes(index: u64, view: u32, step: Step, value: Option<Hash>) -> [u8; 56] {
    let mut bytes = [0; 56];
    bytes[..8].copy_from_slice(&index.to_be_bytes());
    bytes[8..16].copy_from_slice(&u64::from(view).to_be_bytes());
    bytes[16..24].copy_from_slice(&step.number().to_be_bytes());
    bytes[24..].copy_from_slice(&value.unwrap_or_default().0);
    bytes
}

impl Vote {
    /// Signs a vote.
    pub fn sign(
        (index, view, step): (u64, u32, Step),
        value: Option<Hash>,
        key: &SecretKey,
        network: &Network,
        verifier: &Verifier,
    ) -> Vote {
        let bytes = voted_bytes(index, view, step, value);
        let signature = verifier.sign(key, Purpose::Vote, &network.id(), &[&bytes]);
        Vote { index, view, step, value, voter: key.public(), signature }
    }

    /// Whether the voter it names signed it, for this network.
    ///
    /// A value of zeros has the bytes of a vote for nothing: taken as another value, anybody could make two votes of
    /// one, and a culprit of an honest voter.
    pub fn is_signed(&self, network: &Network, verifier: &Verifier) -> bool {
        if self.value == Some(Hash::default()) {
            return false;
        }
        let bytes = voted_bytes(self.index, self.view, self.step, self.value);
        verifier.verify(&self.voter, Purpose::Vote, &network.id(), &[&bytes], &self.signature)
    }
}

impl Quorum {
    /// A quorum of these voters' signatures, by position in ascending order.
    pub fn new(checkpoint: Checkpoint, view: u32, votes: &[(u16, Signature)]) -> Quorum {
        let bytes = votes.last().map_or(0, |(last, _)| usize::from(*last) / 8 + 1);
        let mut voters = vec![0; bytes];
        for (position, _) in votes {
            voters[usize::from(*position) / 8] |= 1 << (position % 8);
        }
        let signatures = votes.iter().map(|(_, signature)| *signature).collect();
        Quorum { checkpoint, view, voters, signatures }
    }

    /// The positions of its voters, ascending.
    pub fn positions(&self) -> impl Iterator<Item = u16> + '_ {
        let bits = self.voters.len().min(HNS_MAX / 8) * 8;
        let bits = u16::try_from(bits).expect("at most 4,096");
        (0..bits).filter(|at| self.voters[usize::from(*at) / 8] >> (at % 8) & 1 == 1)
    }

    /// Its votes one by one, given who the voters are by position; nothing for a position without a voter.
    pub fn votes<'a>(
        &'a self,
        step: Step,
        voter_at: impl Fn(u16) -> Option<PublicKey> + 'a,
    ) -> impl Iterator<Item = Vote> + 'a {
        let (index, view) = (self.checkpoint.index, self.view);
        let value = Some(self.checkpoint.id());
        self.positions().zip(&self.signatures).filter_map(move |(position, signature)| {
            let voter = voter_at(position)?;
            Some(Vote { index, view, step, value, voter, signature: *signature })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quorum_has_the_positions_it_was_made_of() {
        let checkpoint = Checkpoint {
            index: 1,
            round: Round(1),
            height: Height(1),
            block: BlockHash(Hash([1; 32])),
            state: Hash([2; 32]),
            registry: Hash([3; 32]),
            voters: Hash([4; 32]),
        };
        let votes: Vec<_> = [0, 7, 8, 300].into_iter().map(|at| (at, Signature([9; 64]))).collect();
        let quorum = Quorum::new(checkpoint, 3, &votes);
        assert_eq!(quorum.positions().collect::<Vec<_>>(), [0, 7, 8, 300]);
        assert_eq!(quorum.voters.len(), 38);
        assert_eq!(quorum.votes(Step::Commit, |_| Some(PublicKey([1; 32]))).count(), 4);
    }
}
