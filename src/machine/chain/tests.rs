//! Whatever the order in which headers and bodies arrive, and however often the node restarts, the head is the same.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Best, Chain, HeaderVerdict};
use crate::machine::records::{Batch, Draft, Reader, Table, main_record};
use crate::rules::plan::Plans;
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::rules::validity::{IdentifiedTx, Parent};
use crate::types::block::Block;
use crate::types::clock::{Height, Monotonic, Now, Round, Slot};
use crate::types::hash::Hash;
use crate::types::key::{SecretKey, Verifier};
use crate::types::network::Network;
use crate::types::rng::Rng;
use crate::types::tx::{Body, Tx};

const FOUNDERS: u8 = 4;
const SLOTS: u32 = 3;

#[derive(Default, Clone)]
struct Disk(BTreeMap<(Table, Vec<u8>), Vec<u8>>);

impl Disk {
    fn write(&mut self, batch: Batch) {
        for (key, value) in batch.0 {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl Reader for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(&(table, key.to_vec())).cloned()
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let ((of, key), value) = self.0.range((table, from.to_vec())..).next()?;
        (*of == table).then(|| (key.clone(), value.clone()))
    }

    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut of_table = self.0.iter().filter(|((of, _), _)| *of == table);
        of_table.next_back().map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

struct Bed {
    network: Rc<Network>,
    plans: Rc<Plans>,
    verifier: Verifier,
    now: Now,
}

impl Bed {
    fn new() -> Bed {
        let mut text = include_str!("../../../config/main.toml")
            .replace("source = \"ledger\"", "source = \"list\"")
            .replace("slots = 19", &format!("slots = {SLOTS}"))
            .replace("messages_min = 1", "messages_min = 0")
            .replace("senders_min = 1", "senders_min = 0");
        for number in 1..=FOUNDERS {
            let key = SecretKey::from_seed([number; 32]).public();
            text += &format!(
                "\n[[founders]]\npublic_key = \"{key}\"\nweight = 1\nip = \"10.0.0.{number}\"\nport = 1\n"
            );
        }
        let network = Rc::new(Network::parse(&text).expect("the network is valid"));
        let anchor = Rc::new(Anchor::genesis(&network));
        let plans = Rc::new(Plans::new(network.clone(), anchor));
        let wall = network.clock.start_of(Round(1_000), Slot(0));
        let now = Now { wall, mono: Monotonic(0), synchronised: true };
        Bed { network, plans, verifier: Verifier::default(), now }
    }

    fn open(&self, disk: &Disk) -> Chain {
        let (network, plans) = (self.network.clone(), self.plans.clone());
        let opened = Chain::open(network, plans, self.verifier.clone(), disk);
        opened.expect("the disk is whole").0
    }

    /// The block of a slot on a parent, by its juror, with the heartbeats of some founders.
    fn block(&self, parent: &Best, state: &ChainState, at: (Round, Slot), senders: u64) -> Block {
        let juror = *self.plans.at(at.0).juror(at.1).expect("a forging slot");
        let keys = (1..=FOUNDERS).map(|number| SecretKey::from_seed([number; 32]));
        let forger = keys
            .clone()
            .find(|key| self.network.address_of(&key.public()) == juror)
            .expect("a founder");
        let candidates =
            keys.enumerate().filter(|(index, _)| senders >> index & 1 == 1).map(|(_, key)| {
                let body = Body::Heartbeat { version: 1, commitment: Hash::default(), capacity: 1 };
                let tx = Tx::sign(at.0, body, &key, &self.network, &self.verifier);
                IdentifiedTx { id: tx.id(), tx }
            });
        let parent = Parent { point: parent.point, at: parent.at, seal: parent.seal };
        let chain = self.open(&Disk::default());
        let time = self.network.clock.start_of(at.0, at.1).plus(1 + senders);
        let built = chain.rules().build_block(&parent, state, candidates, time, &forger);
        built.expect("an empty block is allowed").0
    }

    /// A random tree of blocks, parents before children.
    fn tree(&self, rng: &mut Rng, count: usize) -> Vec<Block> {
        let genesis = *self.open(&Disk::default()).best();
        let mut ends = vec![(genesis, ChainState::new(Round(0)))];
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
            state.apply(at.0, &block.messages);
            let end =
                Best { point: block.header.point(), at: Some(at), weight: 0, seal: parent.seal };
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
    let good = bed.block(&genesis, &ChainState::new(Round(0)), (Round(1), Slot(0)), 0b0011);
    let end = Best { point: good.header.point(), at: Some((Round(1), Slot(0))), ..genesis };
    // Built as if the first block had not held the heartbeats that this one repeats.
    let bad = bed.block(&end, &ChainState::new(Round(0)), (Round(1), Slot(1)), 0b0001);
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
    assert_eq!(refused, [(bad.header.point(), crate::rules::refusal::Refusal::DuplicateKey)]);
    assert_eq!(chain.best().point, good.header.point());
    assert_eq!(bed.open(&disk).best().point, good.header.point());
    let header = Rc::new(bad.header.clone());
    let again = chain.add_header(bed.now, header, false, &Draft::new(&disk));
    assert_eq!(again, HeaderVerdict::Invalid);
}
