//! Whatever the order in which headers and bodies arrive, and however often the node restarts, the head is the same.

use std::rc::Rc;

use super::{Best, Chain, Change, HeaderVerdict};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::records::{Draft, Table, main_record, point_key};
use crate::rules::refusal::Refusal;
use crate::rules::state::ChainState;
use crate::types::block::{Block, SignedHeader, messages_root};
use crate::types::clock::{Height, Monotonic, Now, Round, Slot};
use crate::types::hash::Hash;
use crate::types::rng::Rng;

const FOUNDERS: u8 = 4;
const SLOTS: u32 = 3;

struct Bed {
    ground: Ground,
    now: Now,
}

impl Bed {
    fn new() -> Bed {
        let network = bed::network(FOUNDERS, &[("slots = 19", &format!("slots = {SLOTS}"))]);
        let wall = network.clock.start_of(Round(1_000), Slot(0));
        let now = Now { wall, mono: Monotonic(0), synchronised: true };
        Bed { ground: Ground::new(network), now }
    }

    fn open(&self, disk: &Disk) -> Chain {
        self.ground.chain(disk)
    }

    /// The block of a slot on a parent, by its juror, with the heartbeats of some founders.
    fn block(&self, parent: &Best, state: &ChainState, at: (Round, Slot), senders: u64) -> Block {
        let founders = (1..=FOUNDERS).filter(|number| senders >> (number - 1) & 1 == 1);
        let messages = founders.map(|it| self.ground.heartbeat(&bed::key(it), at.0, 1)).collect();
        self.ground.block(parent, state, at, messages, 1 + senders)
    }

    /// Takes blocks in, and goes towards the best chain once.
    fn feed(&self, chain: &mut Chain, disk: &mut Disk, blocks: &[Block]) -> Change {
        let before = disk.clone();
        let mut draft = Draft::new(&before);
        for block in blocks {
            let header = Rc::new(block.header.clone());
            let verdict = chain.add_header(self.now, header, false, &draft);
            assert_eq!(verdict, HeaderVerdict::Added);
            chain.add_body(&block.header.hash(), &block.messages, &mut draft).expect("root fits");
        }
        let change = chain.advance(&mut draft);
        disk.write(draft.into_batch());
        change
    }

    /// A random tree of blocks, parents before children.
    fn tree(&self, rng: &mut Rng, count: usize) -> Vec<Block> {
        let genesis = *self.open(&Disk::default()).best();
        let mut ends = vec![(genesis, self.ground.state())];
        let mut blocks: Vec<Block> = Vec::new();
        while blocks.len() < count {
            // Recent ends more often, so that chains grow.
            let back = rng.index(ends.len().min(4));
            let (parent, mut state) = ends[ends.len() - 1 - back].clone();
            let (round, slot) = parent.at.unwrap_or((Round(0), Slot(0)));
            let step = u32::try_from(1 + rng.below(3)).expect("small");
            let index = slot.0 + step;
            let at = (Round(round.0 + u64::from(index / SLOTS)), Slot(index % SLOTS));
            let block = self.block(&parent, &state, at, rng.below(16));
            state.apply(&block.header.header, &block.messages);
            let end = bed::end_of(&block);
            if blocks.iter().all(|other| other.header != block.header) {
                blocks.push(block);
                ends.push((end, state));
            }
        }
        blocks
    }
}

/// Delivers headers in any order that keeps parents first, bodies in any order at all, restarting at times.
fn head_of(bed: &Bed, blocks: &[Block], rng: &mut Rng) -> (Best, Disk) {
    let mut disk = Disk::default();
    let mut chain = bed.open(&disk);
    let mut waiting: Vec<&Block> = blocks.iter().collect();
    let mut bodies: Vec<&Block> = Vec::new();
    while !waiting.is_empty() || !bodies.is_empty() || chain.has_work() {
        let mut draft = Draft::new(&disk);
        if !waiting.is_empty() && (bodies.is_empty() || rng.one_in(2)) {
            let block = waiting.remove(rng.index(waiting.len()));
            let header = Rc::new(block.header.clone());
            match chain.add_header(bed.now, header, true, &draft) {
                HeaderVerdict::Added | HeaderVerdict::Known => bodies.push(block),
                HeaderVerdict::Orphan => waiting.push(block),
                other => panic!("{other:?}"),
            }
        } else if !bodies.is_empty() {
            let block = bodies.remove(rng.index(bodies.len()));
            let hash = block.header.hash();
            chain.add_body(&hash, &block.messages, &mut draft).expect("they belong together");
        }
        let change = chain.advance(&mut draft);
        assert!(change.refused.is_empty(), "{:?}", change.refused);
        disk.write(draft.into_batch());
        if rng.one_in(12) {
            let before = *chain.best();
            chain = bed.open(&disk);
            assert_eq!(*chain.best(), before, "a restart changes nothing");
            // What was only in memory comes again, as sync would fetch it.
            waiting = blocks.iter().filter(|it| !chain.knows(&it.header.point(), &disk)).collect();
            bodies.clear();
        }
    }
    (*chain.best(), disk)
}

#[test]
fn the_order_of_arrival_does_not_change_the_head() {
    let bed = Bed::new();
    for seed in 0..12 {
        let mut rng = Rng::from_text(&format!("tree {seed}"));
        let blocks = bed.tree(&mut rng, 40);
        let (head, first) = head_of(&bed, &blocks, &mut rng);
        assert!(head.point.height.0 >= 4, "seed {seed} grows a chain");
        for _ in 0..6 {
            let (other, disk) = head_of(&bed, &blocks, &mut rng);
            assert_eq!(other, head, "seed {seed}");
            // The records of the best chain too, undo and all, as if nothing else had ever been there.
            let mains = |disk: &Disk| {
                (1..=head.point.height.0)
                    .map(|it| main_record(disk, Height(it)))
                    .collect::<Vec<_>>()
            };
            assert_eq!(mains(&disk), mains(&first), "seed {seed}");
        }
    }
}

#[test]
fn an_invalid_body_leaves_the_chain_as_it_was() {
    let bed = Bed::new();
    let genesis = *bed.open(&Disk::default()).best();
    let good = bed.block(&genesis, &bed.ground.state(), (Round(1), Slot(0)), 0b0011);
    let end = Best { point: good.header.point(), at: Some((Round(1), Slot(0))), ..genesis };
    // Built as if the first block had not held the heartbeats that this one repeats.
    let bad = bed.block(&end, &bed.ground.state(), (Round(1), Slot(1)), 0b0001);
    let mut disk = Disk::default();
    let mut chain = bed.open(&disk);
    let mut refused = Vec::new();
    for block in [&good, &bad] {
        let mut draft = Draft::new(&disk);
        let header = Rc::new(block.header.clone());
        assert_eq!(chain.add_header(bed.now, header, false, &draft), HeaderVerdict::Added);
        chain.add_body(&block.header.hash(), &block.messages, &mut draft).expect("root fits");
        refused.extend(chain.advance(&mut draft).refused);
        disk.write(draft.into_batch());
    }
    assert_eq!(refused, [(bad.header.point(), Refusal::DuplicateKey)]);
    assert_eq!(chain.best().point, good.header.point());
    assert_eq!(bed.open(&disk).best().point, good.header.point());
    let header = Rc::new(bad.header.clone());
    let again = chain.add_header(bed.now, header, false, &Draft::new(&disk));
    assert_eq!(again, HeaderVerdict::Invalid);
}

#[test]
fn a_block_of_more_messages_than_can_be_remembered_is_refused_at_once() {
    let bed = Bed::new();
    let mut disk = Disk::default();
    let genesis = *bed.open(&disk).best();
    let at = (Round(1), Slot(0));
    let mut block = bed.block(&genesis, &bed.ground.state(), at, 0);
    // Each well signed, so that each signature would have to be looked at.
    block.messages = (0..1_100).map(|it| bed.ground.heartbeat(&bed::key(9), at.0, it)).collect();
    block.messages.sort_by_key(|tx| tx.id());
    let ids: Vec<_> = block.messages.iter().map(|tx| tx.id()).collect();
    block.header = resigned(&bed, &block, messages_root(&ids));
    // With nothing remembered.
    let mut chain = Ground::new(bed.ground.network.clone()).chain(&disk);
    let change = bed.feed(&mut chain, &mut disk, &[block]);
    assert_eq!(change.refused.len(), 1, "in the first event, not one of seventeen");
    assert_eq!(change.refused[0].1, Refusal::TooMany);
    assert!(!chain.has_work());
}

fn resigned(bed: &Bed, block: &Block, root: Hash) -> SignedHeader {
    let mut header = block.header.header.clone();
    header.messages_root = root;
    let forger = (1..=FOUNDERS).map(bed::key).find(|key| key.public() == header.forger);
    header.sign(&forger.expect("a founder"), &bed.ground.network, &bed.ground.verifier)
}

#[test]
fn a_header_that_wins_only_by_where_it_parts_is_fetched_too() {
    let bed = Bed::new();
    let genesis = *bed.open(&Disk::default()).best();
    let state = bed.ground.state();
    // One block each, by one forger each: the same worth.
    let early = bed.block(&genesis, &state, (Round(1), Slot(0)), 0);
    let late = bed.block(&genesis, &state, (Round(1), Slot(1)), 0);
    for (ours, theirs, fetched) in [(&late, &early, true), (&early, &late, false)] {
        let mut disk = Disk::default();
        let mut chain = bed.open(&disk);
        bed.feed(&mut chain, &mut disk, std::slice::from_ref(ours));
        let header = Rc::new(theirs.header.clone());
        chain.add_header(bed.now, header, false, &Draft::new(&disk));
        let found = chain.heading(|_| false, &disk).map(|entry| entry.point);
        assert_eq!(found, fetched.then(|| theirs.header.point()));
    }
}

/// A chain of 140 blocks on the disk and a heavier one beside it from genesis on, towards which one event has gone.
fn on_the_way(bed: &Bed) -> (Chain, Disk, Vec<Block>, Vec<Block>) {
    let mut disk = Disk::default();
    let mut chain = bed.open(&disk);
    let genesis = *chain.best();
    let slots = SLOTS as usize;
    let lighter = bed.ground.line(&genesis, u64::from(SLOTS), slots, 140);
    let heavier = bed.ground.line(&genesis, u64::from(SLOTS) + 1, slots, 145);
    bed.feed(&mut chain, &mut disk, &lighter);
    while chain.has_work() {
        bed.feed(&mut chain, &mut disk, &[]);
    }
    assert_eq!(chain.best().point, lighter[139].header.point());
    let change = bed.feed(&mut chain, &mut disk, &heavier);
    assert_eq!((change.undone.len(), change.applied.len()), (128, 0), "a step of the way");
    (chain, disk, lighter, heavier)
}

#[test]
fn a_restart_on_the_way_to_a_chain_that_parted_long_ago_does_not_forget_it() {
    let bed = Bed::new();
    let (_, mut disk, _, heavier) = on_the_way(&bed);
    let mut chain = bed.open(&disk);
    while chain.has_work() {
        bed.feed(&mut chain, &mut disk, &[]);
    }
    assert_eq!(chain.best().point, heavier[144].header.point());
}

#[test]
fn a_way_with_a_block_missing_is_given_up_for_the_next_best() {
    let bed = Bed::new();
    let (_, mut disk, lighter, heavier) = on_the_way(&bed);
    for (table, at) in [(Table::Headers, 5), (Table::Bodies, 5)] {
        disk.entries.remove(&(table, point_key(&heavier[at].header.point())));
    }
    let mut chain = bed.open(&disk);
    for _ in 0..40 {
        bed.feed(&mut chain, &mut disk, &[]);
    }
    assert!(!chain.has_work());
    assert_eq!(chain.best().point, lighter[139].header.point());
}
