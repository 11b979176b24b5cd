//! Evidence of what others signed twice: kept over restarts, put into the blocks that we forge until the chain holds it,
//! shown to people (`docs/protocol.md` §7).
//!
//! Only forgers bring it into the chain: one piece each is enough, and nothing is sent around for it.

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
        let mut key = Vec::new();
        while let Some((found, value)) = db.next(Table::Evidence, &key) {
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

    /// For people, the newest of each kind first, at most `limit`.
    pub fn list(&self, state: &ChainState, network: &Network, limit: usize) -> Vec<EvidenceStatus> {
        let newest = self.kept.keys().rev().take(limit);
        let status = newest.map(|offence| EvidenceStatus {
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
