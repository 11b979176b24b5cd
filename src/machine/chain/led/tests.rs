//! Blocks on the way to a listed checkpoint decide over what old keys have certified below it.

use std::rc::Rc;

use crate::machine::bed;
use crate::machine::bed::village::Village;
use crate::machine::chain::{Breach, Denied, HeaderVerdict};
use crate::machine::records::{Table, header};
use crate::machine::seals::SealVerdict;
use crate::rules::refusal::Refusal;
use crate::types::block::Block;
use crate::types::clock::Height;
use crate::types::hash::{BlockHash, hash};
use crate::types::network::{Listed, Network};
use crate::types::seal::{Checkpoint, Seal};

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
/// The listed one of six seals, three blocks each.
const LISTED: usize = 5;

fn network() -> Rc<Network> {
    bed::network(5, &[("slots = 19", "slots = 3"), ("activity_rounds = 3", "activity_rounds = 2")])
}

/// The network's past: six sealed rounds.
struct Past {
    village: Village,
    blocks: Vec<Block>,
    seals: Vec<Seal>,
}

impl Past {
    fn new() -> Past {
        let mut past =
            Past { village: Village::new(network()), blocks: Vec::new(), seals: Vec::new() };
        for round in 1..=6 {
            past.blocks.extend(past.village.round(round, &[0, 1, 2], &ALL));
            past.seals.push(past.village.seal());
        }
        past
    }

    fn checkpoint(&self, index: u64) -> Checkpoint {
        self.seals[usize::try_from(index).expect("few") - 1].certificate.checkpoint
    }

    /// The blocks up to the listed one.
    fn way(&self) -> &[Block] {
        &self.blocks[..3 * LISTED]
    }

    /// The same network, whose file lists the fifth seal.
    fn listing(&self) -> Rc<Network> {
        let mut network = Network::clone(&network());
        network.checkpoints = vec![Listed { checkpoint: self.checkpoint(5), voters: None }];
        Rc::new(network)
    }

    fn newcomer(&self) -> Village {
        Village::new(self.listing())
    }

    /// What the founders' keys, all of which vote in the first instances, certify of a checkpoint that never was.
    fn forged(&self, to: &Village, change: impl Fn(&mut Checkpoint)) -> Seal {
        let mut checkpoint = self.checkpoint(to.seals.certified().index + 1);
        change(&mut checkpoint);
        let (before, electorate) = (to.seals.certified(), to.seals.electorate());
        let state = &self.village.chain.sealed().state;
        to.ground.seal(before, electorate, checkpoint, (&state.registry, &state.voters))
    }

    /// The newcomer gets the true seals and is where the listed checkpoint is.
    fn arrives(&self, new: &mut Village) {
        for seal in &self.seals[..LISTED] {
            if seal.certificate.checkpoint.index > new.seals.certified().index {
                assert_eq!(new.certify(seal), SealVerdict::Added);
            }
        }
        assert_eq!(new.chain.breach(), None);
        assert_eq!(new.chain.take_denied(), None);
        assert_eq!(new.chain.sealed().checkpoint, self.checkpoint(5));
        assert_eq!(new.chain.best().point, self.checkpoint(5).point());
        assert!(!new.chain.awaits_seal());
        // From here on it is a node like any other.
        for block in &self.blocks[3 * LISTED..] {
            assert_eq!(new.take(block), HeaderVerdict::Added);
        }
        assert_eq!(new.certify(&self.seals[LISTED]), SealVerdict::Added);
        assert_eq!(new.chain.sealed().checkpoint, self.checkpoint(6));
    }
}

fn shown(index: u64) -> Option<Denied> {
    Some(Denied { index, is_shown: true })
}

/// Drops what the chain denies; the lowest of it.
fn drop_denied(new: &mut Village) -> Option<Denied> {
    let denied = new.chain.take_denied()?;
    let source = new.turn(|new, event| new.seals.deny(event, denied.index));
    assert_eq!(source, None, "no peer sent it");
    Some(denied)
}

fn seals_on_disk(new: &Village) -> usize {
    new.disk.entries.keys().filter(|(of, _)| *of == Table::Seals).count()
}

#[test]
fn another_past_of_old_keys_is_denied_where_the_way_names_the_true_one() {
    let past = Past::new();
    let another_block = |it: &mut Checkpoint| it.block = BlockHash(hash("another", &[]));
    // A true block, in the midst of its round.
    let another_end = |it: &mut Checkpoint| {
        let block = &past.blocks[1];
        (it.height, it.block) = (block.header.header.height, block.header.hash());
    };
    let another_state = |it: &mut Checkpoint| it.state = hash("another", &[]);
    let far_above = |it: &mut Checkpoint| it.height = Height(14);
    let forgeries: [&dyn Fn(&mut Checkpoint); 4] =
        [&another_block, &another_end, &another_state, &far_above];
    for (number, forge) in forgeries.into_iter().enumerate() {
        for blocks_first in [false, true] {
            let mut new = past.newcomer();
            if blocks_first {
                new.prove(past.way());
                assert_eq!(new.chain.best().point.height, Height(3), "the next names a seal");
                assert!(!new.chain.has_work(), "and waits for it");
            }
            let seal = past.forged(&new, forge);
            assert_eq!(new.certify(&seal), SealVerdict::Added, "{number}");
            if !blocks_first {
                assert_eq!(new.chain.take_denied(), None, "nothing speaks against it yet");
                new.prove(past.way());
            }
            assert_eq!(new.chain.sealed().seal.index, 0, "{number}");
            assert_eq!((new.chain.breach(), new.chain.certified_index()), (None, 0), "{number}");
            assert_eq!(drop_denied(&mut new), shown(1), "{number}");
            assert_eq!((seals_on_disk(&new), new.seals.certified().index), (0, 0), "{number}");
            past.arrives(&mut new);
        }
    }
}

#[test]
fn a_long_false_past_goes_as_a_whole() {
    let past = Past::new();
    let mut new = past.newcomer();
    for number in 0_u64..3 {
        let false_block = |it: &mut Checkpoint| {
            it.block = BlockHash(hash("another", &[&number.to_be_bytes()]));
            it.height = Height(number + 1);
        };
        let seal = past.forged(&new, false_block);
        assert_eq!(new.certify(&seal), SealVerdict::Added);
    }
    new.prove(past.way());
    assert_eq!(drop_denied(&mut new), shown(1));
    assert_eq!((seals_on_disk(&new), new.chain.breach()), (0, None));
    past.arrives(&mut new);
}

/// The second seal came after the third round, so that no block names it.
fn with_an_unnamed_seal() -> Past {
    let mut past = Past { village: Village::new(network()), blocks: Vec::new(), seals: Vec::new() };
    let mut ends = Vec::new();
    for round in 1..=6 {
        past.blocks.extend(past.village.round(round, &[0, 1, 2], &ALL));
        ends.push(past.village.chain.best().point);
        if round == 2 {
            continue;
        }
        for end in std::mem::take(&mut ends) {
            let seal = past.village.seal_of(&end);
            assert_eq!(past.village.certify(&seal), SealVerdict::Added);
            past.seals.push(seal);
        }
    }
    past
}

#[test]
fn a_false_past_that_leads_nowhere_goes_when_another_one_is_shown() {
    let past = with_an_unnamed_seal();
    let mut new = past.newcomer();
    new.prove(past.way());
    new.chain.doubt();
    assert_eq!(new.chain.take_denied(), None, "nothing is held that could be wrong");
    assert_eq!(new.certify(&past.seals[0]), SealVerdict::Added);
    let another_block = |it: &mut Checkpoint| it.block = BlockHash(hash("another", &[]));
    let seal = past.forged(&new, another_block);
    assert_eq!(new.certify(&seal), SealVerdict::Added);
    // The next block names the third one, and whether what is held leads there nobody knows.
    assert_eq!((new.chain.sealed().seal.index, new.chain.certified_index()), (1, 2));
    assert_eq!(new.chain.best().point.height, Height(9));
    assert!(!new.chain.has_work());
    assert_eq!(new.chain.take_denied(), None);
    new.chain.doubt();
    assert_eq!(drop_denied(&mut new), Some(Denied { index: 2, is_shown: false }));
    past.arrives(&mut new);
}

/// What nothing names only its certificate and its state show: it has to be of a true block, and to lead to those after it.
#[test]
fn an_unnamed_seal_of_old_keys_can_only_seal_what_is_true() {
    let past = with_an_unnamed_seal();
    let mut new = past.newcomer();
    new.prove(past.way());
    assert_eq!(new.certify(&past.seals[0]), SealVerdict::Added);
    let middle = past.blocks[4].header.point();
    let state = new.chain.state_at(&middle, &new.disk).expect("it is on the chain");
    let seal = past.forged(&new, |it| *it = state.checkpoint(2, middle.height, middle.hash));
    assert_eq!(new.certify(&seal), SealVerdict::Added);
    past.arrives(&mut new);
}

#[test]
fn a_listed_state_that_is_not_that_of_its_past_is_a_breach() {
    let past = Past::new();
    let mut listing = Network::clone(&past.listing());
    listing.checkpoints[0].checkpoint.state = hash("another", &[]);
    let mut new = Village::new(Rc::new(listing));
    new.prove(past.way());
    for seal in &past.seals[..LISTED - 1] {
        assert_eq!(new.certify(seal), SealVerdict::Added);
    }
    assert_eq!((new.chain.sealed().seal.index, new.chain.breach()), (4, None));
    new.take_listed();
    assert!(matches!(new.chain.breach(), Some(Breach::State { index: 5, .. })));
    assert_eq!(new.chain.sealed().seal.index, 4);
}

#[test]
fn only_what_the_listed_block_proves_is_followed_below_it() {
    let past = Past::new();
    let mut new = past.newcomer();
    let mut other = Village::new(network());
    let beside = other.round(1, &[0, 2], &[1]);
    assert_eq!(new.take(&beside[0]), HeaderVerdict::Orphan);
    assert_eq!(new.take(&past.blocks[0]), HeaderVerdict::Orphan, "whatever it is");
    new.prove(past.way());
    assert_eq!(new.take(&beside[0]), HeaderVerdict::Refused(Refusal::BesideSeal));
    assert_eq!(new.chain.tip_count(), 1);
    past.arrives(&mut new);
}

#[test]
fn what_was_held_before_counts_when_it_is_on_the_way_and_leaves_when_it_is_beside() {
    let past = Past::new();
    for on_the_way in [true, false] {
        let mut before = Village::new(network());
        for (number, seal) in past.seals[..3].iter().enumerate() {
            for block in &past.blocks[3 * number..][..3] {
                assert_eq!(before.take(block), HeaderVerdict::Added);
            }
            assert_eq!(before.certify(seal), SealVerdict::Added);
        }
        let above = match on_the_way {
            true => past.blocks[9..11].to_vec(),
            false => before.round(4, &[0, 2], &[1]),
        };
        for block in &above {
            before.take(block);
        }
        assert_eq!(before.chain.best().point.height, Height(11));
        let mut new = Village::on(past.listing(), before.disk.clone()).expect("whole");
        new.event(100, |_, _| {});
        assert_eq!(new.chain.best().point.height, Height(9), "nobody knows yet");
        assert!(new.chain.awaits_seal() && !new.chain.is_retreating());
        for block in &above {
            assert!(header(&new.disk, &block.header.point()).is_some(), "but nothing is lost");
        }
        // With another file the same disk is as it was.
        let again = Village::on(network(), new.disk.clone()).expect("whole");
        assert!(again.chain.has_work() || again.chain.best().point.height == Height(11));
        if on_the_way {
            // What is here is not fetched again.
            let headers = past.way()[9..].iter().map(|block| block.header.clone()).collect();
            new.event(100, |it, draft| it.chain.add_proven(it.now.mono, headers, draft));
            assert_eq!(new.chain.best().point.height, Height(11));
        }
        new.prove(&past.way()[9..]);
        let held = header(&new.disk, &above[0].header.point()).is_some();
        assert_eq!(held, on_the_way);
        past.arrives(&mut new);
    }
}

#[test]
fn a_restart_on_the_way_goes_on_from_its_last_seal() {
    let past = Past::new();
    for bodies in 0..=3 * LISTED {
        let mut new = past.newcomer();
        for seal in &past.seals[..2] {
            assert_eq!(new.certify(seal), SealVerdict::Added);
        }
        let headers = past.way().iter().map(|block| block.header.clone()).collect();
        new.event(100, |it, draft| it.chain.add_proven(it.now.mono, headers, draft));
        for block in &past.way()[..bodies] {
            new.body(block).expect("they belong together");
        }
        let sealed = new.chain.sealed().checkpoint;
        let mut new = Village::on(past.listing(), new.disk.clone()).expect("whole");
        new.event(100, |_, _| {});
        assert_eq!(new.chain.sealed().checkpoint, sealed);
        new.prove(&past.way()[3 * usize::try_from(sealed.index).expect("few")..]);
        past.arrives(&mut new);
    }
}
