//! A checkpoint that network files list and that brings voters (`docs/protocol.md` §2). Not every host has such a file: a
//! block above it is judged by the one that it was made with, which shows in the seals that its chain names.

use super::seals::{Sealed, checkpoint_of};
use super::state::state_after;
use super::{Judged, Oracle};
use crate::types::block::{Header, SealRef};
use crate::types::clock::Round;
use crate::types::hash::BlockHash;
use crate::types::network::Listed;
use crate::types::seal::{Checkpoint, Voter};

/// The listed checkpoint that brings voters.
#[derive(Debug, Clone)]
pub struct Listing {
    pub seal: SealRef,
    block: BlockHash,
    round: Round,
    voters: Vec<Voter>,
}

impl Listing {
    /// What the states after it count from.
    pub fn brings(&self) -> (Round, &[Voter]) {
        (self.round, &self.voters)
    }
}

impl Oracle {
    /// A checkpoint will be listed. What it must be, computed anew from its block and its voters; nothing when the seal
    /// before it is not known.
    pub fn list(&mut self, listed: &Listed) -> Option<Checkpoint> {
        let Checkpoint { index, round, block, .. } = listed.checkpoint;
        let voters = listed.voters.clone()?;
        let before = self.seal_below(&listed.checkpoint)?.checkpoint.id();
        let (chain, seals) = (self.chain(&block), self.seals_down(&before)?);
        let point = chain.last()?.point;
        let registry = seals.last()?.state.registry.clone();
        let mut state =
            state_after(&self.network, &registry, &chain, &seals, Some((round, &voters)));
        state.voters.clone_from(&voters);
        let checkpoint = checkpoint_of(&state, index, point);
        self.seals.insert(checkpoint.id(), Sealed { checkpoint, before, state: state.into() });
        self.listed = Some(Listing { seal: checkpoint.seal(), block, round, voters });
        Some(checkpoint)
    }

    /// Whether some hosts follow a listed checkpoint that others do not know of: each of them has a chain that the others
    /// refuse.
    pub fn is_parted(&self) -> bool {
        self.listed.is_some()
    }

    /// Whether a block stands above the listed one as its network file has it.
    pub(super) fn is_renamed(&self, header: &Header) -> bool {
        let Some(listed) = &self.listed else { return false };
        let on_it = header.previous == listed.block && header.seal == listed.seal;
        on_it || self.renamed.contains(&header.previous)
    }

    /// The seal that a block counts as naming, for a chain above it.
    pub(super) fn counts_as_naming(&self, block: &Judged, renamed: bool) -> SealRef {
        let listed = self.listed.as_ref();
        let listed = listed.filter(|listed| renamed && listed.block == block.point.hash);
        listed.map_or(block.seal, |listed| listed.seal)
    }

    /// Whether the chain of a block goes through that of a seal, as whoever holds the seal has it.
    pub(super) fn rests_on(&self, block: &BlockHash, seal: &Checkpoint) -> bool {
        let is_meant = self.listed.as_ref().is_none_or(|listed| {
            let renamed = *block == listed.block || self.renamed.contains(block);
            // Another one for its index may be of the same block.
            seal.index != listed.seal.index || renamed == (seal.seal() == listed.seal)
        });
        is_meant && self.goes_through(block, &seal.point())
    }
}
