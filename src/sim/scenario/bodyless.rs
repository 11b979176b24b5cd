//! A header without a body at every slot of a round (`docs/protocol.md` §8): who waits for bodies must not wait for long,
//! or a third of the jurors could keep all others from forging.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::stage::{self, Notes};
use crate::machine::event::{Effect, Event};
use crate::sim::cast::Cast;
use crate::sim::checks::Violation;
use crate::sim::script::{Scene, Script};
use crate::types::block::{SignedHeader, messages_root};
use crate::types::clock::{Round, Slot};
use crate::types::hash::{BlockHash, TxId, hash};
use crate::types::key::SecretKey;
use crate::types::message::Message;

/// The round in which it happens. Its plan is that of genesis, known from the start.
const ROUND: Round = Round(1);
/// Rounds of a run.
const ROUNDS: u64 = 5;
/// Every so many slots one is a villain's.
const APART: u32 = 3;
/// Virtual milliseconds after the start of a slot, before its forger forges.
const EARLY_MS: u64 = 300;

/// When a header without a body is shown, and how many of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bait {
    /// In its own slot, as a block would be.
    InTime,
    /// At the start of the slot after it.
    Late,
    /// Two of a slot, at the start of each of the two slots after it: together they are there in all slots.
    Twins,
}

/// What a round came to.
#[derive(Debug)]
pub struct Bodyless {
    pub honest: u64,
    /// Headers shown, and honest hosts that received one, where they were fewest.
    pub shown: u64,
    pub received: u64,
    /// Slots of the round that are honest, and those filled in the final chain.
    pub slots: u64,
    pub filled: u64,
    /// Honest slots that were missed because bodies were missing.
    pub behind: u64,
    /// Slots after the end of the round until every honest host had its seal.
    pub sealed_within: u64,
    pub rounds: u64,
    pub sealed: u64,
    pub violations: Vec<Violation>,
}

/// Headers shown.
type Shown = Rc<RefCell<Vec<BlockHash>>>;

struct Baiter {
    key: SecretKey,
    bait: Bait,
    /// What is to be shown, and when.
    due: BTreeMap<u64, Rc<Message>>,
    shown: Shown,
    made: bool,
}

impl Baiter {
    /// Another header for the slot, of a message that nobody has.
    fn empty(&self, header: &SignedHeader, ids: &[TxId], number: u64, cast: &Cast) -> Message {
        let mut ids = ids.to_vec();
        ids.push(TxId(hash("nothing", &[&header.hash().0.0, &number.to_be_bytes()])));
        ids.sort();
        let mut fields = header.header.clone();
        fields.messages_root = messages_root(&ids);
        Message::NewBlock { header: fields.sign(&self.key, &cast.network, &cast.verifier), ids }
    }

    /// Plans what is shown instead of a block of the round.
    fn prepare(&mut self, header: &SignedHeader, ids: &[TxId], scene: &Scene) {
        let cast = scene.view.cast;
        let clock = cast.network.clock;
        let into =
            scene.view.now.wall.since(clock.start_of(header.header.round, header.header.slot));
        let next = scene.view.time - into + clock.slot_ms + EARLY_MS;
        let times = match self.bait {
            Bait::InTime => vec![scene.view.time],
            Bait::Late => vec![next],
            Bait::Twins => vec![next, next + clock.slot_ms],
        };
        for (number, at) in (0..).zip(times) {
            self.due.insert(at, Rc::new(self.empty(header, ids, number, cast)));
        }
    }
}

impl Script for Baiter {
    fn hides(&mut self, event: &Event, _scene: &Scene) -> bool {
        let Event::Received { message, .. } = event else { return false };
        let Message::NewBlock { header, .. } = &**message else { return false };
        header.header.forger == self.key.public()
    }

    fn bend(&mut self, _event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let mut bent = Vec::with_capacity(effects.len());
        for effect in effects {
            let Effect::Send { message, .. } = &effect else {
                bent.push(effect);
                continue;
            };
            let own = |header: &SignedHeader| {
                header.header.forger == self.key.public() && header.header.round == ROUND
            };
            if let Message::NewBlock { header, ids } = &**message {
                if own(header) {
                    if !std::mem::replace(&mut self.made, true) {
                        self.prepare(header, ids, scene);
                    }
                    continue;
                }
            } else if let Message::Tip(tip) = &**message {
                let hidden = scene.view.oracle.get(&tip.point.hash);
                if hidden.is_some_and(|it| it.forger == self.key.public() && it.round == ROUND) {
                    continue;
                }
            } else if let Message::Headers { headers, .. } = &**message {
                if headers.iter().any(own) {
                    continue;
                }
            }
            bent.push(effect);
        }
        while let Some(entry) = self.due.first_entry().filter(|it| *it.key() <= scene.view.time) {
            let message = entry.remove();
            if let Message::NewBlock { header, .. } = &*message {
                self.shown.borrow_mut().push(header.hash());
            }
            bent.push(Effect::Send { peers: scene.ready.clone(), message });
        }
        bent
    }
}

/// Ten HNs, nine of them with one slot each in round 1; every third slot is a villain's, who shows headers instead of its
/// block. The villains are fewer than a third of the voters.
pub fn bodyless(seed: &str, bait: Bait) -> Bodyless {
    let shape = stage::shape(10, 9);
    let cast = stage::cast(seed, &shape, |_| true);
    let (mut world, notes) = stage::world(seed, cast.clone(), 0);
    let shown = Shown::default();
    for (host, key) in cast.keys.iter().enumerate() {
        let address = cast.network.address_of(&key.public());
        let slot = cast.plan(ROUND).jurors.iter().position(|juror| *juror == address);
        if slot.is_some_and(|slot| slot % APART as usize == 0) {
            let (due, shown, key) = (BTreeMap::new(), shown.clone(), key.clone());
            world.corrupt(host, Box::new(Baiter { key, bait, due, shown, made: false }));
        }
    }
    stage::finish(&mut world, ROUNDS);

    let (notes, shown) = (notes.borrow(), shown.borrow());
    let honest: Vec<usize> =
        (0..world.hosts.len()).filter(|host| world.hosts[*host].honest).collect();
    let chain = world.best_honest().map(|tip| world.checks.oracle.chain(&tip.hash));
    let is_filled = |slot: &u32| {
        let mut chain = chain.iter().flatten();
        chain.any(|block| (block.round, block.slot) == (ROUND, Slot(*slot)))
    };
    let slots: Vec<u32> = (0..cast.network.clock.slots).filter(|it| it % APART != 0).collect();
    let missed = world.checks.duties.iter().filter(|((host, round, _), why)| {
        let behind = why.is_some_and(|why| why.name() == "behind");
        behind && *round == ROUND && world.hosts[*host].honest
    });
    let end = world.start_of(ROUND.0 + 1) - cast.network.clock.slot_ms;
    let index = stage::seals(&world).iter().find(|it| it.closes(ROUND)).map_or(0, |it| it.index);
    let last = honest.iter().map(|host| notes.sealed.get(&(*host, index)).copied());
    let last = last.map(|at| at.unwrap_or(u64::MAX)).max().unwrap_or(u64::MAX);
    Bodyless {
        honest: honest.len() as u64,
        shown: shown.len() as u64,
        received: shown
            .iter()
            .map(|hash| Notes::honest(notes.announced.get(hash), &world))
            .min()
            .unwrap_or(0),
        slots: slots.len() as u64,
        filled: slots.iter().filter(|slot| is_filled(slot)).count() as u64,
        behind: missed.count() as u64,
        sealed_within: last.saturating_sub(end).div_ceil(cast.network.clock.slot_ms),
        rounds: ROUNDS,
        sealed: stage::seals(&world).len().saturating_sub(1) as u64,
        violations: world.checks.violations.clone(),
    }
}
