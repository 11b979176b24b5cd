//! What a node tells of its PoW ledger.

use super::{Follower, LedgerFault};
use crate::machine::seal::RegistryDoubt;
use crate::machine::status::{LedgerState, LedgerStatus};
use crate::types::clock::Round;
use crate::types::network::Source;

impl Follower {
    /// How it is followed in a round, and why the registry proposed last is not taken; nothing where there is no ledger.
    pub fn status(
        &self,
        round: Option<Round>,
        proposed: Option<RegistryDoubt>,
    ) -> Option<LedgerStatus> {
        if self.network.source != Source::Ledger {
            return None;
        }
        let tip = self.tip();
        let state = match (&self.fault, &self.damage) {
            (Some(_), _) => LedgerState::Fault,
            (None, Some(_)) => LedgerState::Damaged,
            (None, None) if self.is_current => LedgerState::Following,
            (None, None) if tip.is_some() => LedgerState::Reading,
            (None, None) => LedgerState::None,
        };
        let damage = |(height, what): &(u64, String)| {
            LedgerFault::Damaged(format!("from block {height} on: {what}"))
        };
        let wrong = self.fault.clone().or(self.damage.as_ref().map(damage));
        let known = |round: Round| self.height_of(round).map(|height| (round, height));
        let known = round.and_then(|round| known(round.next()).or_else(|| known(round)));
        Some(LedgerStatus {
            state,
            height: tip.map(|tip| tip.height),
            registered: u32::try_from(self.registry.by_owner().len()).unwrap_or(u32::MAX),
            known_round: known.map(|(round, _)| round),
            known_height: known.map(|(_, height)| height),
            code: wrong.as_ref().map(|wrong| wrong.code().to_owned()),
            message: wrong.as_ref().map(LedgerFault::to_string),
            action: wrong.map(|wrong| wrong.action().to_owned()),
            proposed,
        })
    }
}
