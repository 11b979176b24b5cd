//! Who votes, with what weight, who proposes, and whether a quorum of votes is one (`docs/protocol.md` §10).
//!
//! One third and two thirds are always by weight.

use std::collections::BTreeMap;
use std::fmt;

use crate::types::hash::{Hash, hash};
use crate::types::key::{PublicKey, Verifier};
use crate::types::network::Network;
use crate::types::seal::{Quorum, Step, Vote, Voter, voters_digest};

/// The voters of one instance, by their positions in the sealed list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Electorate {
    voters: Vec<Voter>,
    positions: BTreeMap<PublicKey, u16>,
    total: u64,
}

/// Why a quorum is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuorumError {
    /// A position without a voter, or not one signature for each.
    Shape,
    /// Two thirds of the weight or less.
    Weight,
    /// A signature that does not hold.
    Signature,
}

impl Electorate {
    /// The electorate of a sealed list of voters; what is beyond 4,096 does not vote.
    pub fn new(voters: &[Voter]) -> Electorate {
        let voters: Vec<Voter> = voters.iter().take(crate::types::seal::HNS_MAX).copied().collect();
        let positions = (0..).zip(&voters).map(|(at, voter)| (voter.public_key, at)).collect();
        let total = voters.iter().map(|voter| u64::from(voter.weight)).sum();
        Electorate { voters, positions, total }
    }

    /// All voters, by position.
    pub fn voters(&self) -> &[Voter] {
        &self.voters
    }

    /// Sum of all weights.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The position of a voter.
    pub fn position(&self, key: &PublicKey) -> Option<u16> {
        self.positions.get(key).copied()
    }

    /// The voter at a position.
    pub fn voter(&self, position: u16) -> Option<&Voter> {
        self.voters.get(usize::from(position))
    }

    /// The weight at a position, 0 without a voter.
    pub fn weight(&self, position: u16) -> u64 {
        self.voter(position).map_or(0, |voter| u64::from(voter.weight))
    }

    /// Whether this weight is more than two thirds.
    pub fn is_quorum(&self, weight: u64) -> bool {
        3 * weight > 2 * self.total
    }

    /// Whether this weight is more than one third: an honest voter is among it.
    pub fn is_third(&self, weight: u64) -> bool {
        3 * weight > self.total
    }

    /// The proposer of a view: lowest H("proposer", beacon ‖ index ‖ view ‖ address), the beacon being that of the seal
    /// before. Nobody without voters.
    pub fn proposer(&self, network: &Network, beacon: &Hash, index: u64, view: u32) -> Option<u16> {
        let score = |voter: &Voter| {
            let address = network.address_of(&voter.public_key);
            let view = u64::from(view).to_be_bytes();
            let parts: [&[u8]; 4] = [&beacon.0, &index.to_be_bytes(), &view, &address.0];
            (hash("proposer", &parts), address)
        };
        (0..).zip(&self.voters).min_by_key(|(_, voter)| score(voter)).map(|(at, _)| at)
    }

    /// Whether a quorum is one of these voters for this step: shape and weight first, then each signature.
    pub fn check(
        &self,
        quorum: &Quorum,
        step: Step,
        network: &Network,
        verifier: &Verifier,
    ) -> Result<(), QuorumError> {
        self.check_weight(quorum)?;
        let all = self.votes(quorum, step).all(|vote| vote.is_signed(network, verifier));
        if all { Ok(()) } else { Err(QuorumError::Signature) }
    }

    /// The votes of a quorum, by what it says its voters are.
    pub fn votes<'a>(&'a self, quorum: &'a Quorum, step: Step) -> impl Iterator<Item = Vote> + 'a {
        quorum.votes(step, |at| self.voter(at).map(|voter| voter.public_key))
    }

    /// Shape and weight of a quorum, not its signatures.
    pub fn check_weight(&self, quorum: &Quorum) -> Result<(), QuorumError> {
        if quorum.voters.last() == Some(&0) {
            return Err(QuorumError::Shape);
        }
        let count = quorum.voters.iter().map(|byte| byte.count_ones() as usize).sum::<usize>();
        let known = quorum.positions().filter(|at| self.voter(*at).is_some()).count();
        if count != quorum.signatures.len() || known != count {
            return Err(QuorumError::Shape);
        }
        if !self.is_quorum(quorum.positions().map(|at| self.weight(at)).sum()) {
            return Err(QuorumError::Weight);
        }
        Ok(())
    }

    /// H("voters", …).
    pub fn digest(&self) -> Hash {
        voters_digest(&self.voters)
    }
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            QuorumError::Shape => "voters and signatures do not belong together",
            QuorumError::Weight => "its voters have two thirds of the weight or less",
            QuorumError::Signature => "a signature does not hold",
        })
    }
}

impl std::error::Error for QuorumError {}
