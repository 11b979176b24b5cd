//! What the scenarios of attacks share: a network in which nothing goes wrong but the attack, what a witness notes of it,
//! and how it ends.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::machine::event::{Effect, Event};
use crate::machine::note::{Note, Ruling};
use crate::sim::cast::{Cast, Shape};
use crate::sim::script::Sight;
use crate::sim::world::{Task, World};
use crate::types::clock::{Round, Timestamp};
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::PublicKey;
use crate::types::message::{ByeReason, Message};
use crate::types::rng::Rng;
use crate::types::seal::{Checkpoint, Step};

/// Virtual time before round 0, in which hosts find each other.
const LEAD_MS: u64 = 20_000;
/// Slots in which the last round may be sealed.
const LAST_SEAL_SLOTS: u64 = 5;
/// Casts drawn until one suits.
const DRAWS_MAX: u32 = 200;

/// Who said what, and what became of it, as far as a scenario may ask.
#[derive(Default)]
pub struct Notes {
    /// Who charged whom, and for what.
    pub charged: Vec<(usize, Option<PublicKey>, ByeReason)>,
    /// Blocks that hosts hold whole, and ends of chains that they followed, with the hosts.
    pub stored: BTreeMap<BlockHash, BTreeSet<usize>>,
    pub followed: BTreeMap<BlockHash, BTreeSet<usize>>,
    /// Blocks that hosts refused, by code.
    pub refused: BTreeMap<(BlockHash, &'static str), BTreeSet<usize>>,
    /// Hosts that heard a proposal of a value.
    pub proposals: BTreeMap<Hash, BTreeSet<usize>>,
    /// Hosts to which a block was announced, and that received a header at the end of an answer.
    pub announced: BTreeMap<BlockHash, BTreeSet<usize>>,
    pub headers: BTreeMap<BlockHash, BTreeSet<usize>>,
    /// Hosts that sent a prepare of their own, by index, view and value.
    pub prepares: BTreeMap<(u64, u32, Option<Hash>), BTreeSet<usize>>,
    /// Two checkpoints for an index: who noticed, and whether it halted.
    pub conflicts: BTreeSet<(usize, u64, bool)>,
    /// When each host had each seal.
    pub sealed: BTreeMap<(usize, u64), u64>,
    keys: Vec<PublicKey>,
}

impl Notes {
    fn take(&mut self, sight: &Sight) {
        if let Event::Received { message, .. } = sight.event {
            if let Message::Proposal(proposal) = &**message {
                let value = proposal.checkpoint.id();
                self.proposals.entry(value).or_default().insert(sight.host);
            } else if let Message::Headers { headers, .. } = &**message {
                if let Some(last) = headers.last() {
                    self.headers.entry(last.hash()).or_default().insert(sight.host);
                }
            } else if let Message::NewBlock { header, .. } = &**message {
                self.announced.entry(header.hash()).or_default().insert(sight.host);
            }
        }
        for effect in sight.effects {
            match effect {
                Effect::Note(note) => self.take_note(sight, note),
                Effect::Send { message, .. } => self.take_votes(sight.host, message),
                Effect::Guard(_)
                | Effect::Persist(_)
                | Effect::Dial { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. }
                | Effect::Stop(_) => {}
            }
        }
    }

    fn take_votes(&mut self, host: usize, message: &Message) {
        let own = message.votes().iter().filter(|vote| vote.voter == self.keys[host]);
        for vote in own.filter(|vote| vote.step == Step::Prepare) {
            let key = (vote.index, vote.view, vote.value);
            self.prepares.entry(key).or_default().insert(host);
        }
    }

    fn take_note(&mut self, sight: &Sight, note: &Note) {
        let host = sight.host;
        match note {
            Note::PeerClosed { key, reason, .. } | Note::PeerSetAside { key, reason, .. } => {
                if is_charge(*reason) {
                    self.charged.push((host, *key, *reason));
                }
            }
            Note::BlockStored { point, .. } | Note::Forged { point, .. } => {
                self.stored.entry(point.hash).or_default().insert(host);
            }
            Note::TipChanged { tip, .. } => {
                self.followed.entry(tip.hash).or_default().insert(host);
            }
            Note::BlockRefused { point, why } => {
                self.refused.entry((point.hash, why.code())).or_default().insert(host);
            }
            Note::SealConflict { index, ruling } => {
                self.conflicts.insert((host, *index, *ruling == Ruling::Halts));
            }
            Note::Sealed { seal, .. } => {
                self.sealed.entry((host, seal.index)).or_insert(sight.time);
            }
            Note::SlotMissed { .. }
            | Note::SignatureRefused { .. }
            | Note::ViewEntered { .. }
            | Note::SignState { .. }
            | Note::KeyElsewhere { .. }
            | Note::Halted { .. }
            | Note::Equivocation(_)
            | Note::MessageAccepted { .. }
            | Note::PeerReady { .. }
            | Note::ClockStepped { .. }
            | Note::ClockTrust { .. }
            | Note::SyncStarted { .. }
            | Note::SealDenied { .. }
            | Note::LedgerState { .. }
            | Note::LedgerRolledBack { .. }
            | Note::SyncFinished => {}
        }
    }

    /// Honest hosts of a set.
    pub fn honest(set: Option<&BTreeSet<usize>>, world: &World) -> u64 {
        let hosts = set.into_iter().flatten();
        hosts.filter(|host| world.hosts[**host].honest).count() as u64
    }

    /// Charges by honest hosts, whoever was charged.
    pub fn charges(&self, world: &World) -> u64 {
        self.charged.iter().filter(|(host, ..)| world.hosts[*host].honest).count() as u64
    }
}

/// Whether a connection that ends for this reason is held against the peer.
fn is_charge(reason: ByeReason) -> bool {
    match reason {
        ByeReason::Invalid
        | ByeReason::Protocol
        | ByeReason::Identity
        | ByeReason::Budget
        | ByeReason::Promise => true,
        ByeReason::Stopping
        | ByeReason::Duplicate
        | ByeReason::Own
        | ByeReason::Full
        | ByeReason::Rotation
        | ByeReason::Timeout
        | ByeReason::SetAside => false,
    }
}

/// A short network: every HN is a juror of each round when there are as many slots.
pub fn shape(nodes: usize, slots: u32) -> Shape {
    let mut shape = Shape::new(nodes);
    (shape.slot_seconds, shape.slots) = (20, slots);
    shape
}

/// The first cast of the seed that suits a scenario.
pub fn cast(seed: &str, shape: &Shape, suits: impl Fn(&Cast) -> bool) -> Rc<Cast> {
    let mut rng = Rng::from_text(seed);
    let mut draws = (0..DRAWS_MAX).map(|_| {
        let mut draw = Rng::from_text(&format!("{seed} {}", rng.next_u64()));
        Cast::new(shape, &mut draw)
    });
    Rc::new(draws.find(suits).expect("one of many casts suits"))
}

/// A world of honest hosts that start a little before round 0, but for the first ones, which are `absent`; and what is
/// noted of it.
pub fn world(seed: &str, cast: Rc<Cast>, absent: usize) -> (World, Rc<RefCell<Notes>>) {
    let start = Timestamp(cast.network.clock.origin.0 - LEAD_MS);
    let keys = cast.keys.iter().map(|key| key.public()).collect();
    let mut rng = Rng::from_text(seed).fork("world");
    let mut world = World::new(cast, Vec::new(), start, rng.fork("world"));
    let notes = Rc::new(RefCell::new(Notes { keys, ..Notes::default() }));
    let taken = notes.clone();
    world.witness = Some(Box::new(move |sight| taken.borrow_mut().take(sight)));
    for host in absent..world.cast.nodes {
        let at = rng.below(LEAD_MS / 4);
        world.start_at(host, at);
    }
    world.add(LEAD_MS, Task::Inspect);
    (world, notes)
}

/// The host that proposes in the first view of the first instance.
pub fn first_proposer(cast: &Cast) -> usize {
    use crate::rules::quorum::Electorate;
    let state = &cast.anchor.state;
    let electorate = Electorate::new(&state.voters);
    let proposer = electorate.proposer(&cast.network, &state.beacon, 1, 0);
    let voter = proposer.and_then(|at| electorate.voter(at));
    voter.and_then(|voter| cast.host_of(&voter.public_key)).expect("founders vote")
}

/// Until every honest host has sealed the last of so many rounds, within a few slots; then all that must hold at the end.
pub fn finish(world: &mut World, rounds: u64) {
    let clock = world.cast.network.clock;
    let last = Round(rounds - 1);
    world.run_until(world.start_of(rounds) - clock.slot_ms / 2);
    let late = world.start_of(rounds) + LAST_SEAL_SLOTS * clock.slot_ms;
    while world.now < late && !world.checks.is_full() && !world.all_have_sealed(last) {
        world.run_until(world.now + clock.slot_ms / 4);
    }
    if !world.checks.is_full() {
        world.check_seals(last);
        world.check_disks();
    }
}

/// The seals that all honest hosts have, from genesis on: those of the first honest host.
pub fn seals(world: &World) -> Vec<Checkpoint> {
    let honest = world.hosts.iter().position(|host| host.honest);
    let mut at = honest.and_then(|host| world.checks.seals.adopted(host)).map(Checkpoint::id);
    let mut list = Vec::new();
    while let Some(sealed) = at.and_then(|id| world.checks.oracle.sealed(&id)) {
        list.push(sealed.checkpoint);
        at = (sealed.checkpoint.index > 0).then_some(sealed.before);
    }
    list.reverse();
    list
}
