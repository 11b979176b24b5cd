//! What makes a certificate one, once more: the chain of seals, each with its state (`docs/protocol.md` §10).

use std::rc::Rc;

use super::Oracle;
use super::listed::Listing;
use super::state::{genesis_state, state_after};
use crate::rules::sealed::SealedState;
use crate::types::block::{Point, SealRef, genesis};
use crate::types::clock::Round;
use crate::types::codec;
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Quorum, Registered, Step, Voter};

/// A seal that holds.
#[derive(Debug, Clone)]
pub struct Sealed {
    pub checkpoint: Checkpoint,
    /// Identity of the seal before; of itself for genesis.
    pub before: Hash,
    pub state: Rc<SealedState>,
}

impl Sealed {
    /// Whether a seal of this round may come after it: genesis is before all rounds.
    pub fn may_precede(&self, round: Round) -> bool {
        self.checkpoint.index == 0 || self.checkpoint.round < round
    }
}

/// What is known of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certified {
    /// It holds.
    Yes,
    /// Something below it is not known yet.
    Unknown,
    No(&'static str),
}

/// Seal 0.
pub(super) fn genesis_seal(network: &Network) -> Sealed {
    let state = Rc::new(genesis_state(network));
    let point = genesis(network);
    let checkpoint = checkpoint_of(&state, 0, point);
    Sealed { before: checkpoint.id(), checkpoint, state }
}

/// The checkpoint of a state after a block.
pub(super) fn checkpoint_of(state: &SealedState, index: u64, point: Point) -> Checkpoint {
    Checkpoint {
        index,
        round: state.round,
        height: point.height,
        block: point.hash,
        state: hash("state", &[&codec::encode(state)]),
        registry: hash("registry", &[&codec::encode(&state.registry)]),
        voters: hash("voters", &[&codec::encode(&state.voters)]),
    }
}

impl Oracle {
    /// A seal that holds, by the identity of its checkpoint.
    pub fn sealed(&self, id: &Hash) -> Option<&Sealed> {
        self.seals.get(id)
    }

    /// The seals that hold, by index: more than one for an index is the end of agreement.
    pub fn seals_at(&self, index: u64) -> impl Iterator<Item = &Sealed> {
        self.seals.values().filter(move |seal| seal.checkpoint.index == index)
    }

    /// Takes in a certificate, and says what is to say of it now.
    pub fn certify(&mut self, certificate: &Quorum) -> Certified {
        let id = certificate.checkpoint.id();
        if self.seals.contains_key(&id) {
            return Certified::Yes;
        }
        let verdict = self.check_certificate(certificate);
        match verdict {
            Certified::Unknown => {
                self.waiting.insert(id, certificate.clone());
            }
            Certified::Yes => self.retry_seals(),
            Certified::No(_) => {}
        }
        verdict
    }

    /// Looks again at the certificates of which something was missing.
    pub(super) fn retry_seals(&mut self) {
        let mut again = !self.waiting.is_empty();
        while again {
            again = false;
            for (id, certificate) in self.waiting.clone() {
                let verdict = self.check_certificate(&certificate);
                if verdict == Certified::Unknown {
                    continue;
                }
                self.waiting.remove(&id);
                again = true;
                if let Certified::No(why) = verdict {
                    self.wrong.push((id, why));
                }
            }
        }
    }

    /// What was found wrong with certificates since the last call.
    pub fn take_wrong(&mut self) -> Vec<(Hash, &'static str)> {
        std::mem::take(&mut self.wrong)
    }

    fn check_certificate(&mut self, certificate: &Quorum) -> Certified {
        let checkpoint = &certificate.checkpoint;
        let Some(block) = self.blocks.get(&checkpoint.block) else { return Certified::Unknown };
        if block.fault.is_some() {
            return Certified::No("of a block that is not valid");
        }
        let Some(before) = self.seal_below(checkpoint) else { return Certified::Unknown };
        let before_id = before.checkpoint.id();
        let voters = before.state.voters.clone();
        if !before.may_precede(checkpoint.round) {
            return Certified::No("of a round that is sealed already");
        }
        if !self.has_two_thirds(certificate, &voters) {
            return Certified::No("without two thirds of its voters");
        }
        let states = self.states_at(&checkpoint.block, &before_id);
        if states.is_empty() {
            return Certified::Unknown;
        }
        let point = checkpoint.point();
        let is_sealed =
            |state: &Rc<SealedState>| checkpoint_of(state, checkpoint.index, point) == *checkpoint;
        let Some(state) = states.into_iter().find(is_sealed) else {
            return Certified::No("of another state than its block's");
        };
        let checkpoint = *checkpoint;
        self.seals.insert(checkpoint.id(), Sealed { checkpoint, before: before_id, state });
        Certified::Yes
    }

    /// The seal before, on the chain of a checkpoint's block.
    pub(super) fn seal_below(&self, checkpoint: &Checkpoint) -> Option<&Sealed> {
        let index = checkpoint.index.checked_sub(1)?;
        let mut found = self.seals_at(index);
        found.find(|seal| self.rests_on(&checkpoint.block, &seal.checkpoint))
    }

    fn has_two_thirds(&self, certificate: &Quorum, voters: &[Voter]) -> bool {
        let total: u64 = voters.iter().map(|voter| u64::from(voter.weight)).sum();
        let voter_at = |at: u16| voters.get(usize::from(at));
        let key_at = |at: u16| voter_at(at).map(|voter| voter.public_key);
        let weight: u64 = certificate
            .positions()
            .filter_map(|at| voter_at(at).map(|voter| u64::from(voter.weight)))
            .sum();
        let votes: Vec<_> = certificate.votes(Step::Commit, key_at).collect();
        let all = votes.len() == certificate.signatures.len()
            && votes.iter().all(|vote| vote.is_signed(&self.network, &self.verifier));
        all && 3 * weight > 2 * total
    }

    /// The state that a seal of this block after that seal would seal; nothing while the seal is not known.
    pub fn state_at(&mut self, block: &BlockHash, before: &Hash) -> Option<Rc<SealedState>> {
        let key = (*block, *before);
        if let Some(state) = self.states.get(&key) {
            return Some(state.clone());
        }
        let state = Rc::new(self.recompute(block, before)?);
        self.states.insert(key, state.clone());
        Some(state)
    }

    /// All states that a seal of this block after that seal may seal: with the registry as it is, and with that of the
    /// PoW ledger.
    fn states_at(&mut self, block: &BlockHash, before: &Hash) -> Vec<Rc<SealedState>> {
        let present = self.state_at(block, before);
        let ledger = self.ledger.as_ref();
        let renewed = ledger.and_then(|ledger| self.recompute_with(block, before, Some(ledger)));
        present.into_iter().chain(renewed.map(Rc::new)).collect()
    }

    fn recompute(&self, block: &BlockHash, before: &Hash) -> Option<SealedState> {
        self.recompute_with(block, before, None)
    }

    fn recompute_with(
        &self,
        block: &BlockHash,
        before: &Hash,
        registry: Option<&Vec<Registered>>,
    ) -> Option<SealedState> {
        let seals = self.seals_down(before)?;
        let is_below = |seal: SealRef| seals.iter().any(|it| it.checkpoint.seal() == seal);
        let listed = self.listed.as_ref().filter(|listed| is_below(listed.seal));
        let brought = listed.map(Listing::brings);
        let present = &seals.last()?.state.registry;
        let registry = registry.unwrap_or(present);
        Some(state_after(&self.network, registry, &self.chain(block), &seals, brought))
    }

    /// A seal and those below it, from genesis on.
    pub(super) fn seals_down(&self, newest: &Hash) -> Option<Vec<&Sealed>> {
        let mut seals = Vec::new();
        let mut at = self.seals.get(newest)?;
        while at.checkpoint.index > 0 {
            seals.push(at);
            at = self.seals.get(&at.before)?;
        }
        seals.push(at);
        seals.reverse();
        Some(seals)
    }

    /// The checkpoint that a seal of this block after that seal would have, computed anew.
    pub fn compute(&self, block: &BlockHash, before: &Hash) -> Option<Checkpoint> {
        let index = self.seals.get(before)?.checkpoint.index + 1;
        let point = self.blocks.get(block)?.point;
        Some(checkpoint_of(&self.recompute(block, before)?, index, point))
    }

    /// All checkpoints that a seal of this block after that seal may have.
    pub fn checkpoints_at(&mut self, block: &BlockHash, before: &Hash) -> Vec<Checkpoint> {
        let index = self.seals.get(before).map(|seal| seal.checkpoint.index + 1);
        let point = self.blocks.get(block).map(|block| block.point);
        let (Some(index), Some(point)) = (index, point) else { return Vec::new() };
        let states = self.states_at(block, before);
        states.iter().map(|state| checkpoint_of(state, index, point)).collect()
    }

    /// The voters of an instance, by what could be the seal before.
    pub fn voters_of(&self, index: u64) -> Vec<&[Voter]> {
        let before = index.checked_sub(1).map(|before| self.seals_at(before));
        before.into_iter().flatten().map(|seal| seal.state.voters.as_slice()).collect()
    }
}
