//! Old keys certify another past (`docs/protocol.md` §10): more than two thirds of the voters of old instances, whose keys
//! somebody has got since, sign other checkpoints for them. Who has newer seals goes on.

use std::cell::Cell;
use std::rc::Rc;

use super::stage;
use crate::machine::event::{Effect, Event, PeerId};
use crate::machine::records::{self, StoredSeal, Table};
use crate::rules::quorum::Electorate;
use crate::sim::cast::Cast;
use crate::sim::checks::Violation;
use crate::sim::script::{Scene, Script};
use crate::sim::world::World;
use crate::types::clock::{Height, Round};
use crate::types::hash::{BlockHash, hash};
use crate::types::message::{Message, Tip};
use crate::types::network::Listed;
use crate::types::seal::{Checkpoint, Quorum, Seal, Step, Vote};

/// Rounds before the attack, and of the run.
const BEFORE: u64 = 30;
const ROUNDS: u64 = 36;
/// The old instances: their last index is far below the newest seal.
const OLD: u64 = 5;
/// Rounds in which a newcomer hears of nobody but the attacker.
const ALONE: u64 = 2;
/// Index of the checkpoint that a newcomer's network file may list.
const LISTED: u64 = 20;
const ATTACKER: usize = 0;
const NEWCOMER: usize = 1;
/// A seal that the attacker claims to have: everybody asks it for newer ones.
const CLAIMED: u64 = 1_000;

/// Whether somebody comes who has no seals yet, and meets the attacker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newcomer {
    Nobody,
    /// With nothing but genesis.
    Unlisted,
    /// With a checkpoint above the old ones in its network file.
    Listed,
}

/// What became of another past.
#[derive(Debug)]
pub struct Past {
    /// Requests that were answered with false certificates, and those by the newcomer.
    pub answered: u64,
    pub answered_newcomer: u64,
    /// Hosts with newer seals that noticed a conflict, that halted, and that hold a false certificate.
    pub noticed: u64,
    pub halted: u64,
    pub deceived: u64,
    /// The newest seal of all of them, when the attack began and in the end.
    pub seals_before: u64,
    pub seals: u64,
    /// Of the newcomer: false certificates that it holds, whether it has noticed a conflict and whether it halted, and
    /// whether it follows the others in the end.
    pub held: u64,
    pub newcomer_noticed: bool,
    pub newcomer_halted: bool,
    pub newcomer_follows: bool,
    pub violations: Vec<Violation>,
}

/// Serves the false certificates from a time on.
struct Forger {
    from: u64,
    seals: Vec<Seal>,
    answered: Rc<Cell<(u64, u64)>>,
}

impl Forger {
    fn asked(&self, event: &Event, scene: &Scene) -> Option<(PeerId, u32, u64)> {
        let Event::Received { peer, message, .. } = event else { return None };
        let Message::WantSeals { request, after } = &**message else { return None };
        (scene.view.time >= self.from).then_some((*peer, *request, *after))
    }
}

impl Script for Forger {
    fn hides(&mut self, event: &Event, scene: &Scene) -> bool {
        self.asked(event, scene).is_some()
    }

    fn bend(&mut self, event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let mut bent = effects;
        for effect in bent.iter_mut().filter(|_| scene.view.time >= self.from) {
            let Effect::Send { message, .. } = effect else { continue };
            if let Message::Tip(tip) = &**message {
                *message = Rc::new(Message::Tip(Tip { seal: CLAIMED, ..*tip }));
            }
        }
        if let Some((peer, request, after)) = self.asked(event, scene) {
            // Whoever has newer seals gets the old ones all the same: nothing else is signed.
            let skipped = usize::try_from(if after < OLD { after } else { 0 }).unwrap_or(0);
            let seals = self.seals[skipped..].to_vec();
            let (all, newcomer) = self.answered.get();
            let is_newcomer = scene.view.net.host_of(peer) == NEWCOMER;
            self.answered.set((all + 1, newcomer + u64::from(is_newcomer)));
            let message = Rc::new(Message::Seals { request, seals });
            bent.push(Effect::Send { peers: vec![peer], message });
        }
        bent
    }
}

/// Certificates of checkpoints that never were, by all voters of the old instances.
fn false_seals(cast: &Cast, of: &[Checkpoint]) -> Vec<Seal> {
    let electorate = Electorate::new(&cast.anchor.state.voters);
    let forge = |index: u64| {
        let old = of[usize::try_from(index).expect("few")];
        let height = Height(2 * index);
        let block = BlockHash(hash("another past", &[&index.to_be_bytes()]));
        let state = hash("another state", &[&index.to_be_bytes()]);
        let checkpoint = Checkpoint { round: Round(index - 1), height, block, state, ..old };
        let votes = (0..).zip(electorate.voters()).filter_map(|(at, voter)| {
            let key = &cast.keys[cast.host_of(&voter.public_key)?];
            let step = (index, 0, Step::Commit);
            let value = Some(checkpoint.id());
            Some((at, Vote::sign(step, value, key, &cast.network, &cast.verifier).signature))
        });
        let votes: Vec<_> = votes.collect();
        let certificate = Quorum::new(checkpoint, 0, &votes);
        Seal { certificate, registry: None, voters: None }
    };
    (1..=OLD).map(forge).collect()
}

/// False certificates on a host's disk.
fn held(world: &World, host: usize, of: &[Seal]) -> u64 {
    let rows = world.hosts[host].disk.rows(Table::Seals);
    let held = rows.filter_map(|(_, row)| records::parse::<StoredSeal>(row));
    held.filter(|held| of.iter().any(|it| it.certificate.checkpoint == *held.checkpoint())).count()
        as u64
}

/// The newest seal that a host rests on, as its disk has it.
fn adopted(world: &World, host: usize) -> u64 {
    let last = world.hosts[host].disk.rows(Table::States).last();
    last.and_then(|(key, _)| key.as_slice().try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// The newcomer hears only the attacker, or everybody again.
fn isolate(world: &mut World, alone: bool) {
    for host in NEWCOMER + 1..world.cast.nodes {
        for (from, to) in [(NEWCOMER, host), (host, NEWCOMER)] {
            match alone {
                true => world.net.cut(from, to),
                false => {
                    world.net.mend(from, to);
                }
            }
        }
    }
}

/// Eight HNs; one of them has got the old keys of all.
pub fn old_keys(seed: &str, newcomer: Newcomer) -> Past {
    let mut shape = stage::shape(8, 3);
    (shape.slot_seconds, shape.activity_rounds) = (6, 1_000);
    let cast = stage::cast(seed, &shape, |_| true);
    let (mut world, notes) = stage::world(seed, cast.clone(), NEWCOMER + 1);
    world.start_at(ATTACKER, 0);
    world.hosts[NEWCOMER].honest = false;
    world.checks.distrust(&cast.keys[NEWCOMER].public());
    world.checks.seals.may_break = newcomer != Newcomer::Nobody;
    world.run_until(world.start_of(BEFORE));
    let past = stage::seals(&world);
    let (seals, answered) = (false_seals(&cast, &past), Rc::new(Cell::new((0, 0))));
    let forger = Forger { from: world.now, seals: seals.clone(), answered: answered.clone() };
    world.corrupt(ATTACKER, Box::new(forger));
    if newcomer != Newcomer::Nobody {
        isolate(&mut world, true);
        if newcomer == Newcomer::Listed {
            let checkpoint = past[usize::try_from(LISTED).expect("few")];
            let mut network = (*cast.network).clone();
            network.checkpoints.push(Listed { checkpoint, voters: None });
            world.hosts[NEWCOMER].network = Some(Rc::new(network));
        }
        world.start_at(NEWCOMER, world.now);
        world.run_until(world.start_of(BEFORE + ALONE));
        isolate(&mut world, false);
    }
    let seals_before = past.last().map_or(0, |seal| seal.index);
    stage::finish(&mut world, ROUNDS);

    let notes = notes.borrow();
    let above = NEWCOMER + 1..world.cast.nodes;
    let noticed = |host: &usize| notes.conflicts.iter().any(|(of, ..)| of == host);
    let halted = |host: &usize| world.checks.seals.halted.contains(host);
    let tip = world.best_honest();
    Past {
        answered: answered.get().0,
        answered_newcomer: answered.get().1,
        noticed: above.clone().filter(noticed).count() as u64,
        halted: above.clone().filter(halted).count() as u64,
        deceived: above.map(|host| held(&world, host, &seals)).sum(),
        seals_before,
        seals: world.seals(),
        held: held(&world, NEWCOMER, &seals),
        newcomer_noticed: noticed(&NEWCOMER),
        newcomer_halted: halted(&NEWCOMER),
        newcomer_follows: Some(world.checks.tips[NEWCOMER]) == tip
            && adopted(&world, NEWCOMER) == world.seals(),
        violations: world.checks.violations.clone(),
    }
}
