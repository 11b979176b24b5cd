//! What the seals say of the best chain: the anchor and the plan of a round, and the state that a seal of a block would
//! have.

use std::rc::Rc;

use super::{Best, Chain};
use crate::machine::records::{self, Reader};
use crate::rules::plan::Plan;
use crate::rules::sealed::{Active, Anchor, SealedState};
use crate::rules::tally::Tally;
use crate::types::block::{Header, Point, SealRef};
use crate::types::clock::Round;
use crate::types::network::Listed;
use crate::types::seal::{Registered, Voter};
use crate::types::tx::Tx;

/// Blocks read for one question: after a long time without seals the answer takes several.
const FOLDED_MAX: usize = 256;

/// How far the blocks since the last seal have been summed up.
pub struct Fold {
    end: Point,
    tally: Tally,
}

impl Fold {
    /// Nothing since this seal.
    pub fn new(sealed: Rc<Anchor>) -> Fold {
        Fold { end: sealed.checkpoint.point(), tally: Tally::new(sealed) }
    }

    /// The last block summed up.
    pub fn end(&self) -> Point {
        self.end
    }

    /// Takes in the next block.
    pub fn apply(&mut self, point: Point, header: &Header, messages: &[Tx]) {
        self.tally.apply(header, messages);
        self.end = point;
    }
}

impl Chain {
    /// The newest seal whose block is on the best chain and whose state is ours.
    pub fn sealed(&self) -> &Rc<Anchor> {
        &self.sealed
    }

    /// The anchor of a round on the best chain, as far as the chain goes: later blocks can name later seals.
    pub fn anchor_of(&self, round: Round) -> Rc<Anchor> {
        let seal = self.state.anchor_of(round);
        // States are kept from the anchor of the last sealed round on. The plan of an older round tells nobody anything.
        self.plans.anchor(&seal).unwrap_or_else(|| self.sealed.clone())
    }

    /// The plan of a round on the best chain, likewise.
    pub fn plan(&self, round: Round) -> Rc<Plan> {
        self.plans.of(&self.anchor_of(round), round)
    }

    /// The plan of a round whose anchor is this seal, whatever the chain says; nothing when its state is not known here.
    pub fn plan_from(&self, seal: &SealRef, round: Round) -> Option<Rc<Plan>> {
        self.plans.at(seal, round)
    }

    /// The last block before a round on the best chain, or genesis.
    pub fn last_before(&self, round: Round, db: &dyn Reader) -> Option<Best> {
        let mut best = self.best;
        while best.at.is_some_and(|(of, _)| of >= round) {
            best = self.below(&best, db)?;
        }
        Some(best)
    }

    /// The state of a seal of this block, with the registry as it is.
    ///
    /// The block may be beside the best chain: voters can be locked on one that it has left. Nothing when it is not above the
    /// last seal or not here, and when there are more blocks to read than one event may: asked again, it goes on.
    pub fn state_at(&self, point: &Point, db: &dyn Reader) -> Option<SealedState> {
        self.state_with(point, &self.sealed.state.registry, db)
    }

    /// The checkpoint that a network file can list when voters are gone for good (§2): of the last block up to a round on
    /// the best chain, for the index after our seal's. It brings as voters those of its active who were seen in a block
    /// since another round; its state is the one with these voters. Nothing when there is no such block, or no such voter.
    pub fn listing(&self, round: Round, seen_since: Round, db: &dyn Reader) -> Option<Listed> {
        let point = self.last_before(round.next(), db)?.point;
        let Point { height, hash } = point;
        let blocks = height.0.checked_sub(self.sealed.checkpoint.height.0)?;
        let questions = blocks.div_ceil(FOLDED_MAX as u64);
        let mut state = (0..questions).find_map(|_| self.state_at(&point, db))?;
        let seen = state.active.iter().filter(|hn| hn.last_round >= seen_since);
        let voter = |hn: &Active| {
            let weight = state.registered(&hn.address)?.weight;
            Some(Voter { public_key: hn.public_key, weight })
        };
        let voters: Vec<Voter> = seen.filter_map(voter).collect();
        if voters.is_empty() {
            return None;
        }
        state.bring(&voters, &self.network);
        let checkpoint = state.checkpoint(self.sealed.seal.index + 1, height, hash);
        Some(Listed { checkpoint, voters: Some(voters) })
    }

    /// The state at a block as `state_at` has it, with another registry, sorted by address.
    pub fn state_with(
        &self,
        point: &Point,
        registry: &[Registered],
        db: &dyn Reader,
    ) -> Option<SealedState> {
        if point.height <= self.sealed.checkpoint.height {
            return None;
        }
        let path = self.path_to(point, db)?;
        let on_way = |block: &Point| {
            path.holds(block) || block.height <= path.fork.height && self.is_main(block, db)
        };
        let mut fold = self.fold.borrow_mut();
        let goes_on = fold.tally.before().seal == self.sealed.seal
            && fold.end.height <= point.height
            && on_way(&fold.end);
        if !goes_on {
            *fold = Fold::new(self.sealed.clone());
        }
        for _ in 0..FOLDED_MAX {
            if fold.end == *point {
                break;
            }
            let height = fold.end.height.next();
            let next = if height <= path.fork.height {
                Point { height, hash: records::main_record(db, height)?.hash }
            } else {
                path.at(height)?
            };
            let (stored, messages) = self.read_block(&next, db)?;
            fold.apply(next, &stored.header.header, &messages);
        }
        (fold.end == *point).then(|| fold.tally.seal(&self.network, registry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::bed::{self, Disk, Ground};
    use crate::machine::records::Draft;
    use crate::types::block::Block;
    use crate::types::clock::{Monotonic, Now, Slot};

    fn ground() -> Ground {
        Ground::new(bed::network(4, &[("slots = 19", "slots = 3")]))
    }

    fn feed(chain: &mut Chain, disk: &mut Disk, blocks: &[Block]) {
        let wall = chain.network.clock.start_of(Round(1_000), Slot(0));
        let now = Now { wall, mono: Monotonic(0), synchronised: true };
        let before = disk.clone();
        let mut draft = Draft::new(&before);
        for block in blocks {
            chain.add_header(now, Rc::new(block.header.clone()), false, &draft);
            let added = chain.add_body(&block.header.hash(), &block.messages, &mut draft);
            added.expect("they belong together");
        }
        chain.advance(&mut draft);
        disk.write(draft.into_batch());
        while chain.has_work() {
            feed(chain, disk, &[]);
        }
    }

    /// The state of a seal of the last of these blocks, summed up from genesis.
    fn slow(ground: &Ground, blocks: &[Block]) -> SealedState {
        let mut tally = Tally::new(ground.anchor.clone());
        blocks.iter().for_each(|block| tally.apply(&block.header.header, &block.messages));
        tally.seal(&ground.network, &ground.anchor.state.registry)
    }

    #[test]
    fn the_state_at_a_block_is_the_sum_of_its_chain_whatever_was_asked_before() {
        let ground = ground();
        let (mut disk, genesis) = (Disk::default(), *ground.chain(&Disk::default()).best());
        let mut chain = ground.chain(&disk);
        let lighter = ground.line(&genesis, 3, 3, 10);
        feed(&mut chain, &mut disk, &lighter);
        let point = |block: &Block| block.header.point();
        let check = |chain: &Chain, disk: &Disk, blocks: &[Block], at: usize| {
            let expected = slow(&ground, &blocks[..=at]);
            assert_eq!(chain.state_at(&point(&blocks[at]), disk), Some(expected), "block {at}");
        };
        // Forward, back, and at the end.
        for at in [2, 5, 5, 1, 9, 0, 9] {
            check(&chain, &disk, &lighter, at);
        }
        assert_eq!(chain.state_at(&genesis.point, &disk), None, "that is the last seal itself");
        let heavier = ground.line(&genesis, 4, 3, 12);
        feed(&mut chain, &mut disk, &heavier);
        assert_eq!(chain.best().point, point(&heavier[11]));
        check(&chain, &disk, &lighter, 9);
        for at in [9, 11, 3] {
            check(&chain, &disk, &heavier, at);
        }
        let opened = ground.chain(&disk);
        for at in [11, 4] {
            check(&opened, &disk, &heavier, at);
        }
        assert_eq!(opened.state(), chain.state(), "also what blocks change between seals");
    }

    #[test]
    fn after_a_long_time_without_seals_the_answer_takes_several_questions() {
        let ground = ground();
        let (mut disk, genesis) = (Disk::default(), *ground.chain(&Disk::default()).best());
        let mut chain = ground.chain(&disk);
        let blocks = ground.line(&genesis, 3, 1, FOLDED_MAX + 20);
        feed(&mut chain, &mut disk, &blocks);
        let last = blocks.last().expect("many").header.point();
        assert_eq!(chain.state_at(&last, &disk), None);
        assert_eq!(chain.state_at(&last, &disk), Some(slow(&ground, &blocks)));
        // Who starts has read all of it, up to the round that runs.
        assert!(ground.chain(&disk).state_at(&last, &disk).is_some());
    }

    #[test]
    fn what_may_be_listed_brings_those_who_were_seen_and_the_state_with_them() {
        let ground = ground();
        let (mut disk, genesis) = (Disk::default(), *ground.chain(&Disk::default()).best());
        let mut chain = ground.chain(&disk);
        let blocks = ground.line(&genesis, 3, 1, FOLDED_MAX + 20);
        feed(&mut chain, &mut disk, &blocks);
        let last = &blocks.last().expect("many").header;
        let round = last.header.round;
        // Longer than one question may take.
        let listed = chain.listing(round, Round(1), &disk).expect("they are seen");
        let natural = slow(&ground, &blocks);
        let voters: Vec<Voter> = ground
            .anchor
            .state
            .voters
            .iter()
            .filter(|voter| {
                natural
                    .active
                    .iter()
                    .any(|hn| hn.public_key == voter.public_key && hn.last_round >= Round(1))
            })
            .copied()
            .collect();
        let mut state = natural;
        state.bring(&voters, &ground.network);
        let point = last.point();
        assert_eq!(listed.checkpoint, state.checkpoint(1, point.height, point.hash));
        assert_eq!(listed.voters, Some(voters));
        assert_ne!(listed.voters.as_ref().map(Vec::len), Some(0));
        assert_eq!(chain.listing(round, round.next(), &disk), None, "nobody was seen since");
        assert_eq!(chain.listing(Round(0), Round(0), &disk), None, "that is genesis");
    }

    #[test]
    fn the_last_block_before_a_round_is_looked_for_on_the_best_chain() {
        let ground = ground();
        let (mut disk, genesis) = (Disk::default(), *ground.chain(&Disk::default()).best());
        let mut chain = ground.chain(&disk);
        // Rounds 1 and 3, of 3 slots each.
        let first = ground.line(&genesis, 3, 1, 3);
        let second = ground.line(&bed::end_of(&first[2]), 9, 1, 2);
        feed(&mut chain, &mut disk, &first);
        feed(&mut chain, &mut disk, &second);
        let before = |round| chain.last_before(Round(round), &disk).map(|best| best.point);
        assert_eq!(before(1), Some(genesis.point));
        for round in [2, 3] {
            assert_eq!(before(round), Some(first[2].header.point()), "before round {round}");
        }
        for round in [4, 40] {
            assert_eq!(before(round), Some(second[1].header.point()), "before round {round}");
        }
    }
}
