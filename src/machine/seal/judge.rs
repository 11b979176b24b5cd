//! What may be sealed: our own candidate, and what we think of another's (`docs/protocol.md` §10).

use std::collections::VecDeque;
use std::rc::Rc;

use crate::machine::chain::Chain;
use crate::machine::records::Reader;
use crate::machine::seal::proposals::Verdict;
use crate::rules::sealed::SealedState;
use crate::rules::validity::FUTURE_MS;
use crate::types::block::Point;
use crate::types::clock::{Now, Round};
use crate::types::network::Network;
use crate::types::seal::Checkpoint;

/// States kept, of up to 2 MiB.
const MADE_MAX: usize = 4;

/// What a verdict depends on beside the proposal. While it is the same, so is the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Basis {
    /// The end of our best chain.
    tip: Point,
    /// A block that was unknown, or its body, may be here now.
    revision: u64,
    /// Rounds up to this one are finished; nothing before the first is.
    finished: Option<Round>,
}

/// Remembers our candidate while what it depends on stays.
#[derive(Debug, Default)]
pub struct Judge {
    candidate: Option<(Basis, Option<Checkpoint>)>,
    /// The last states, by their blocks, newest last: one takes milliseconds to sum up and hash, and who has voted for a
    /// checkpoint must know its voters even when the best chain has left its block.
    made: VecDeque<(Checkpoint, Rc<SealedState>)>,
    /// Whether the state of our candidate is still being summed up.
    is_summing: bool,
}

impl Basis {
    /// The basis at this moment.
    pub fn new(now: Now, network: &Network, chain: &Chain) -> Basis {
        Basis {
            tip: chain.best().point,
            revision: chain.revision(),
            finished: last_finished(now, network),
        }
    }
}

impl Judge {
    /// The checkpoint that we would propose: of the last block of finished rounds later than the seal's, on our best
    /// chain. Nothing when there is none, or when our chain does not go through the newest seal.
    pub fn candidate(
        &mut self,
        basis: &Basis,
        chain: &Chain,
        db: &dyn Reader,
    ) -> Option<Checkpoint> {
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
            let mut made = self.made.iter();
            if let Some((made, _)) = made.find(|(made, _)| made.point() == last.point) {
                return Some(*made);
            }
            let Some(state) = chain.state_at(&last.point, db) else {
                self.is_summing = true;
                return None;
            };
            let (height, hash) = (last.point.height, last.point.hash);
            let made = state.checkpoint(sealed.seal.index + 1, height, hash);
            if self.made.len() == MADE_MAX {
                self.made.pop_front();
            }
            self.made.push_back((made, Rc::new(state)));
            Some(made)
        });
        self.candidate = Some((*basis, found));
        found
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

    /// What we think of a checkpoint proposed for the index after our seal's.
    pub fn verdict(
        &mut self,
        checkpoint: &Checkpoint,
        basis: &Basis,
        now: Now,
        chain: &Chain,
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
        match self.candidate(basis, chain, db) {
            Some(ours) if ours == *checkpoint => Verdict::Acceptable,
            None if self.is_summing => Verdict::Unknown,
            _ => Verdict::Sound,
        }
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
