//! Evidence of what others signed twice: kept over restarts, put into the blocks that we forge until the chain holds it,
//! shown to people (`docs/protocol.md` §7).
//!
//! Only forgers bring it into the chain, and one piece each is enough. What makes it, votes and announced blocks, the
//! node passes on once; the pieces themselves are not sent around.

use std::collections::BTreeMap;

use super::records::{self, Reader, Table};
use super::status::EvidenceStatus;
use super::turn::Turn;
use crate::rules::state::{ChainState, may_be_proven};
use crate::types::block::SealRef;
use crate::types::clock::Round;
use crate::types::evidence::{Evidence, Offence, OffenceKind};
use crate::types::network::Network;
use crate::types::tx::TxKey;

/// Pieces kept of each kind, 600 KiB at most: a tenth of all HNs there can be, twice over. The oldest leave first.
const KEPT_MAX: usize = 1_024;
/// Pieces in one block of ours: the rest comes with later blocks.
const PER_BLOCK_MAX: usize = 32;

/// What is kept.
#[derive(Debug, Default)]
pub struct EvidenceKeeper {
    kept: BTreeMap<Offence, Evidence>,
}

impl EvidenceKeeper {
    /// What the database holds; what cannot be read is not evidence any more.
    pub fn open(db: &dyn Reader) -> EvidenceKeeper {
        let mut kept = BTreeMap::new();
        let (mut key, end) = (Vec::new(), records::rival_key(0));
        while let Some((found, value)) = db.next(Table::Evidence, &key).filter(|it| it.0 < end) {
            if let Some(evidence) = records::parse::<Evidence>(&value) {
                kept.insert(evidence.offence(), evidence);
            }
            key = found;
            key.push(0);
        }
        EvidenceKeeper { kept }
    }

    /// Keeps a piece whose signatures hold. Whether nothing was known of the offence.
    pub fn keep(&mut self, turn: &mut Turn, evidence: Evidence) -> bool {
        let offence = evidence.offence();
        if self.kept.contains_key(&offence) {
            return false;
        }
        turn.db.put(Table::Evidence, records::evidence_key(&offence), &evidence);
        self.kept.insert(offence, evidence);
        while let Some(oldest) = self.surplus(&offence.kind) {
            turn.db.delete(Table::Evidence, records::evidence_key(&oldest));
            self.kept.remove(&oldest);
        }
        true
    }

    /// What a block of this round that names this seal can bring into the chain, at most as much as one block should.
    pub fn due<'a>(
        &'a self,
        state: &'a ChainState,
        round: Round,
        seal: SealRef,
    ) -> impl Iterator<Item = &'a Evidence> {
        let due = self.kept.iter().filter(move |(offence, _)| {
            may_be_proven(&offence.kind, round, &seal) && !state.holds(&TxKey::Offence(**offence))
        });
        due.take(PER_BLOCK_MAX).map(|(_, evidence)| evidence)
    }

    /// Pieces kept.
    pub fn count(&self) -> usize {
        self.kept.len()
    }

    /// For people, at most `limit`: the newest votes and the newest blocks in turn, since an index and a round cannot be
    /// compared here.
    pub fn list(&self, state: &ChainState, network: &Network, limit: usize) -> Vec<EvidenceStatus> {
        let newest = |votes: bool| {
            let is_meant = move |offence: &&Offence| {
                matches!(offence.kind, OffenceKind::Votes { .. }) == votes
            };
            self.kept.keys().rev().filter(is_meant).enumerate()
        };
        let mut in_turn: Vec<(usize, &Offence)> =
            newest(true).take(limit).chain(newest(false).take(limit)).collect();
        in_turn.sort_by_key(|(place, _)| *place);
        let status = in_turn.into_iter().take(limit).map(|(_, offence)| EvidenceStatus {
            kind: offence.kind,
            offender: network.address_of(&offence.offender).to_string(),
            in_chain: state.holds(&TxKey::Offence(*offence)),
        });
        status.collect()
    }

    /// The oldest piece of a kind of which there are too many.
    fn surplus(&self, kind: &OffenceKind) -> Option<Offence> {
        let alike = |offence: &&Offence| {
            std::mem::discriminant(&offence.kind) == std::mem::discriminant(kind)
        };
        let mut all = self.kept.keys().filter(alike);
        let oldest = all.next().copied();
        if all.count() >= KEPT_MAX { oldest } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bed::{self, Disk, Ground};
    use crate::types::hash::Hash;
    use crate::types::key::SecretKey;
    use crate::types::seal::{Step, Vote};
    use crate::types::tx::{Body, Tx};

    fn blocks(ground: &Ground, offender: &SecretKey, round: u64) -> Evidence {
        let sign = |ms| {
            let mut header = ground.header(Round(round));
            (header.forger, header.timestamp) = (offender.public(), header.timestamp.plus(ms));
            header.sign(offender, &ground.network, &ground.verifier)
        };
        Evidence::of_blocks(&sign(1), &sign(2)).expect("they differ")
    }

    fn votes(ground: &Ground, offender: &SecretKey, index: u64) -> Evidence {
        let sign = |value| {
            let at = (index, 0, Step::Commit);
            Vote::sign(at, value, offender, &ground.network, &ground.verifier)
        };
        Evidence::of_votes(&sign(None), &sign(Some(Hash([1; 32])))).expect("they differ")
    }

    fn keep(keeper: &mut EvidenceKeeper, ground: &Ground, disk: &mut Disk, it: Evidence) -> bool {
        let before = disk.clone();
        let mut turn = bed::turn(&ground.network, 0, &before);
        let is_new = keeper.keep(&mut turn, it);
        disk.write(turn.db.into_batch());
        is_new
    }

    #[test]
    fn what_is_kept_is_due_until_the_chain_has_it_or_it_is_too_late() {
        let ground = Ground::new(bed::network(3, &[]));
        let (mut disk, mut keeper) = (Disk::default(), EvidenceKeeper::default());
        let offender = bed::key(2);
        let (of_blocks, of_votes) = (blocks(&ground, &offender, 5), votes(&ground, &offender, 1));
        assert!(keep(&mut keeper, &ground, &mut disk, of_blocks.clone()));
        assert!(keep(&mut keeper, &ground, &mut disk, of_votes.clone()));
        assert!(!keep(&mut keeper, &ground, &mut disk, of_blocks.clone()), "it is known");
        let mut state = ground.state();
        let seal = |index| SealRef { index, checkpoint: Hash::default() };
        // Also after a restart.
        for keeper in [&keeper, &EvidenceKeeper::open(&disk)] {
            let due = |state: &ChainState, round, index| {
                keeper.due(state, Round(round), seal(index)).cloned().collect::<Vec<_>>()
            };
            assert_eq!(due(&state, 29, 24), [of_blocks.clone(), of_votes.clone()]);
            assert_eq!(due(&state, 30, 24), std::slice::from_ref(&of_votes));
            assert_eq!(due(&state, 29, 25), std::slice::from_ref(&of_blocks));
        }
        let body = Body::Equivocation(Box::new(of_blocks.clone()));
        let tx = Tx::sign(Round(6), body, &bed::key(3), &ground.network, &ground.verifier);
        state.apply(&ground.header(Round(6)), &[tx]);
        let due: Vec<_> = keeper.due(&state, Round(7), seal(0)).collect();
        assert_eq!(due, [&of_votes], "somebody else has brought the other");
        let later = [(2, 6), (3, 7), (4, 8)];
        for (index, round) in later {
            assert!(keep(&mut keeper, &ground, &mut disk, votes(&ground, &offender, index)));
            assert!(keep(&mut keeper, &ground, &mut disk, blocks(&ground, &offender, round)));
        }
        let kinds = |limit| {
            let shown = keeper.list(&state, &ground.network, limit).into_iter();
            shown.map(|it| it.kind).collect::<Vec<_>>()
        };
        let (index, round) = (4, Round(8));
        let newest = [OffenceKind::Votes { index }, OffenceKind::Blocks { round }];
        assert_eq!(kinds(2), newest, "both kinds in turn");
        assert_eq!((kinds(3).len(), kinds(99).len(), keeper.count()), (3, 8, 8));
        let shown = keeper.list(&state, &ground.network, 8);
        let shown = &shown[6..];
        let shown: Vec<_> = shown.iter().map(|it| (it.kind, it.in_chain)).collect();
        let (index, round) = (1, Round(5));
        assert_eq!(
            shown,
            [(OffenceKind::Votes { index }, false), (OffenceKind::Blocks { round }, true),]
        );
    }

    #[test]
    fn the_oldest_of_a_kind_leaves_first_and_a_block_does_not_take_all() {
        let ground = Ground::new(bed::network(1, &[]));
        let (mut disk, mut keeper) = (Disk::default(), EvidenceKeeper::default());
        let (first, offender) = (votes(&ground, &bed::key(1), 1), bed::key(1));
        assert!(keep(&mut keeper, &ground, &mut disk, first.clone()));
        for round in 1..=KEPT_MAX as u64 + 2 {
            assert!(keep(&mut keeper, &ground, &mut disk, blocks(&ground, &offender, round)));
        }
        for keeper in [&keeper, &EvidenceKeeper::open(&disk)] {
            assert_eq!(keeper.kept.len(), KEPT_MAX + 1);
            assert!(keeper.kept.contains_key(&first.offence()), "of another kind");
            let oldest = keeper.kept.keys().next().expect("many");
            assert_eq!(oldest.kind, OffenceKind::Blocks { round: Round(3) });
        }
        let newest = Round(KEPT_MAX as u64 - 20);
        let state = ground.state();
        assert_eq!(keeper.due(&state, newest, state.named()).count(), PER_BLOCK_MAX);
    }
}
