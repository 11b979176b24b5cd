//! What may be sealed: our own candidate, and what we think of another's (`docs/protocol.md` §10).

use std::collections::VecDeque;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::machine::chain::Chain;
use crate::machine::ledger::{Follower, Known};
use crate::machine::records::Reader;
use crate::machine::seal::proposals::Verdict;
use crate::rules::sealed::SealedState;
use crate::rules::validity::FUTURE_MS;
use crate::types::block::Point;
use crate::types::clock::{Now, Round};
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Registered};

/// States kept, of up to 2 MiB.
const MADE_MAX: usize = 6;

/// What a verdict depends on beside the proposal. While it is the same, so is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The end of our best chain.
    tip: Point,
    /// A block that was unknown, or its body, may be here now.
    revision: u64,
    /// Rounds up to this one are finished; nothing before the first is.
    finished: Option<Round>,
    /// What the PoW ledger says may be another registry now.
    ledger: u64,
}

/// What we would propose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// With the registry as it is.
    pub present: Checkpoint,
    /// With that of the next round, where that is known here and another one (§5).
    pub renewed: Option<Checkpoint>,
}

/// What a voter thinks of a registry that was proposed and is not the present one (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryDoubt {
    /// Our ledger does not reach so far, or we have none.
    NotYetKnown,
    /// Our ledger says something else.
    Differs,
}

/// Remembers our candidate while what it depends on stays.
#[derive(Debug, Default)]
pub struct Judge {
    candidate: Option<(Basis, Option<Candidate>)>,
    /// The last states, by their blocks, newest last: one takes milliseconds to sum up and hash, and who has voted for a
    /// checkpoint must know its voters even when the best chain has left its block.
    made: VecDeque<(Checkpoint, Rc<SealedState>)>,
    /// Whether the state of our candidate is still being summed up.
    is_summing: bool,
    /// Of the last registry that was proposed and not taken.
    doubt: Option<RegistryDoubt>,
}

impl Basis {
    /// The basis at this moment.
    pub fn new(now: Now, network: &Network, chain: &Chain, ledger: &Follower) -> Basis {
        Basis {
            tip: chain.best().point,
            revision: chain.revision(),
            finished: last_finished(now, network),
            ledger: ledger.revision(),
        }
    }
}

impl Candidate {
    /// What is proposed in a view: nobody has to know another registry, so every second one goes without.
    pub fn in_view(&self, view: u32) -> Checkpoint {
        self.renewed.filter(|_| view % 2 == 0).unwrap_or(self.present)
    }
}

impl Judge {
    /// The checkpoints that we would propose: of the last block of finished rounds later than the seal's, on our best
    /// chain. Nothing when there is none, or when our chain does not go through the newest seal.
    pub fn candidate(
        &mut self,
        basis: &Basis,
        (chain, ledger): (&Chain, &Follower),
        db: &dyn Reader,
    ) -> Option<Candidate> {
        if let Some((held, candidate)) = &self.candidate {
            if held == basis && !self.is_summing {
                return *candidate;
            }
        }
        self.is_summing = false;
        let found = basis.finished.and_then(|finished| {
            let sealed = chain.sealed();
            let last = chain.last_before(finished.next(), db)?;
            let (round, _) = last.at?;
            if sealed.checkpoint.closes(round) {
                return None;
            }
            let before = &sealed.state.registry;
            let Some(present) = self.made(&last.point, before, chain, db) else {
                self.is_summing = true;
                return None;
            };
            let renewed = match ledger.registry_of(round.next()) {
                Known::Registry(registry) if *registry != *before => {
                    let renewed = self.made(&last.point, &registry, chain, db);
                    // One that leaves nobody active counts as not known: nothing could ever be sealed again.
                    renewed.filter(|it| self.state_of(it).is_some_and(|it| !it.active.is_empty()))
                }
                Known::Registry(_) | Known::NotYet => None,
            };
            Some(Candidate { present, renewed })
        });
        self.candidate = Some((*basis, found));
        found
    }

    /// The checkpoint of a block with a registry, made once.
    fn made(
        &mut self,
        point: &Point,
        registry: &[Registered],
        chain: &Chain,
        db: &dyn Reader,
    ) -> Option<Checkpoint> {
        let mut made = self.made.iter();
        let same = |made: &Checkpoint, state: &SealedState| {
            made.point() == *point && state.registry == *registry
        };
        if let Some((made, _)) = made.find(|(made, state)| same(made, state)) {
            return Some(*made);
        }
        let state = chain.state_with(point, registry, db)?;
        let made = state.checkpoint(chain.sealed().seal.index + 1, point.height, point.hash);
        if self.made.len() == MADE_MAX {
            self.made.pop_front();
        }
        self.made.push_back((made, Rc::new(state)));
        Some(made)
    }

    /// Whether the candidate is asked for again at once: its state takes several events.
    pub fn is_summing(&self) -> bool {
        self.is_summing
    }

    /// The state of a checkpoint that was our candidate lately.
    pub fn state_of(&self, checkpoint: &Checkpoint) -> Option<Rc<SealedState>> {
        let made = self.made.iter().find(|(made, _)| made == checkpoint);
        made.map(|(_, state)| state.clone())
    }

    /// Why the last registry that was proposed is not taken; nothing when it was, or was the present one.
    pub fn doubt(&self) -> Option<RegistryDoubt> {
        self.doubt
    }

    /// What we think of a checkpoint proposed for the index after our seal's.
    pub fn verdict(
        &mut self,
        checkpoint: &Checkpoint,
        basis: &Basis,
        now: Now,
        (chain, ledger): (&Chain, &Follower),
        db: &dyn Reader,
    ) -> Verdict {
        let sealed = chain.sealed();
        if sealed.checkpoint.closes(checkpoint.round)
            || checkpoint.height <= sealed.checkpoint.height
        {
            return Verdict::Wrong;
        }
        if basis.finished.is_none_or(|finished| checkpoint.round > finished) {
            // By a clock a little ahead of ours it may be finished; by none can it be much later.
            let end = chain.network().clock.end_of_forging(checkpoint.round);
            let soon = end <= now.wall.plus(FUTURE_MS);
            return if soon { Verdict::Unknown } else { Verdict::Wrong };
        }
        let point = checkpoint.point();
        if chain.entry(&point.hash).is_some_and(|entry| entry.point != point) {
            return Verdict::Wrong;
        }
        match chain.round_of_full(&point, db) {
            None => return Verdict::Unknown,
            Some(round) if round != checkpoint.round => return Verdict::Wrong,
            Some(_) => {}
        }
        let Some(ours) = self.candidate(basis, (chain, ledger), db) else {
            return if self.is_summing { Verdict::Unknown } else { Verdict::Sound };
        };
        let is_ours = ours.present == *checkpoint || ours.renewed == Some(*checkpoint);
        let of_our_block = ours.present.point() == point;
        if of_our_block {
            let is_known = ledger.height_of(checkpoint.round.next()).is_some();
            let doubt = if is_known { RegistryDoubt::Differs } else { RegistryDoubt::NotYetKnown };
            let is_other = !is_ours && ours.present.registry != checkpoint.registry;
            self.doubt = is_other.then_some(doubt);
        }
        if is_ours { Verdict::Acceptable } else { Verdict::Sound }
    }
}

/// The last round whose forging slots are all over.
fn last_finished(now: Now, network: &Network) -> Option<Round> {
    let (round, _) = network.clock.at(now.wall)?;
    if network.clock.is_finished(round, now.wall) {
        return Some(round);
    }
    round.0.checked_sub(1).map(Round)
}
