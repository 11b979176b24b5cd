//! A private chain of a fifth of the HNs while seals stall for 200 rounds (`docs/protocol.md` §6, §9): plans come from the
//! last seal, so it draws no more slots than were its own, and the chain of the others stays the better one.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::stage::{self, Notes};
use crate::machine::event::{Effect, Event, PeerId};
use crate::machine::records;
use crate::sim::cast::Cast;
use crate::sim::checks::Violation;
use crate::sim::script::{Scene, Script};
use crate::sim::world::World;
use crate::types::block::{Header, Point, SealRef, SignedHeader, messages_root};
use crate::types::clock::{Round, Slot};
use crate::types::hash::BlockHash;
use crate::types::key::{PublicKey, SecretKey};
use crate::types::message::{HEADERS_MAX, Message, Tip};

/// The first round that is not sealed in time, and the rounds that wait.
const STALL: u64 = 3;
const STALLED: u64 = 200;
/// The private chain leaves the other one so many rounds later: until then its forgers owe secrets.
const OWED: u64 = 2;
/// Rounds in which everybody may look at the private chain, before votes flow again; and rounds after that.
const SHOWN: u64 = 2;
const RESUMED: u64 = 3;

/// What became of a private chain.
#[derive(Debug)]
pub struct PrivateChain {
    pub honest: u64,
    /// Rounds without a seal when the chain was shown, its blocks, and those of the public chain in the same rounds.
    pub stalled: u64,
    pub private: u64,
    pub public: u64,
    /// Slots of those rounds that were its forgers', and what the checks find wrong with the chain.
    pub slots: u64,
    pub fault: Option<&'static str>,
    /// Honest hosts that received its last header, and that followed a block of it.
    pub received: u64,
    pub followed: u64,
    /// Whether the anchor of the rounds to come stayed the same for every honest host when it was shown, how often one
    /// was asked whose slot it was, and how often it said something else than that anchor draws.
    pub same_anchor: bool,
    pub asked: u64,
    pub drawn_otherwise: u64,
    /// Rounds after the votes flowed until all had sealed, and the seals in the end.
    pub resumed_within: u64,
    pub seals: u64,
    pub violations: Vec<Violation>,
}

/// Withholds its votes for a while, and hears none: with those of the others its node would have a certificate to show.
#[derive(Clone, Copy)]
struct Mute {
    from: u64,
    until: u64,
}

impl Mute {
    fn withholds(&self, message: &Message, scene: &Scene) -> bool {
        let is_vote = !message.votes().is_empty() || matches!(message, Message::Prepared(_));
        is_vote && (self.from..self.until).contains(&scene.view.time)
    }
}

impl Script for Mute {
    fn hides(&mut self, event: &Event, scene: &Scene) -> bool {
        let Event::Received { message, .. } = event else { return false };
        self.withholds(message, scene)
    }

    fn bend(&mut self, _event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let passes = |effect: &Effect| match effect {
            Effect::Send { message, .. } => !self.withholds(message, scene),
            Effect::Guard(_)
            | Effect::Persist(_)
            | Effect::Dial { .. }
            | Effect::Close { .. }
            | Effect::Reply { .. }
            | Effect::Stop(_)
            | Effect::Note(_) => true,
        };
        effects.into_iter().filter(passes).collect()
    }
}

/// The chain of those who forge in private, from the first block up, once it is to be shown.
type Shown = Rc<RefCell<Vec<SignedHeader>>>;

/// Claims the private chain as its own best one, and serves it to whoever asks.
struct Shower {
    mute: Mute,
    chain: Shown,
    claimed: BTreeSet<PeerId>,
}

impl Shower {
    fn answer(&self, message: &Message) -> Option<Message> {
        let chain = self.chain.borrow();
        let mine = |point: &&Point| chain.iter().any(|header| header.point() == **point);
        if let Message::Find { request, locator } = message {
            let point = *locator.iter().find(mine)?;
            return Some(Message::Intersect { request: *request, point });
        }
        if let Message::WantHeaders { request, above } = message {
            let at = chain.iter().position(|header| header.header.previous == above.hash)?;
            let headers = chain[at..].iter().take(HEADERS_MAX).cloned().collect();
            return Some(Message::Headers { request: *request, headers });
        }
        let Message::WantBodies { request, points } = message else { return None };
        let bodies: Vec<_> = points.iter().take_while(mine).map(|_| Vec::new()).collect();
        (!bodies.is_empty()).then_some(Message::Bodies { request: *request, bodies })
    }
}

impl Script for Shower {
    fn hides(&mut self, event: &Event, scene: &Scene) -> bool {
        let Event::Received { message, .. } = event else { return false };
        self.mute.withholds(message, scene) || self.answer(message).is_some()
    }

    fn bend(&mut self, event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect> {
        let mut bent = self.mute.bend(event, effects, scene);
        if let Event::Received { peer, message, .. } = event {
            let answer = self.answer(message).map(Rc::new);
            bent.extend(answer.map(|message| Effect::Send { peers: vec![*peer], message }));
        }
        let Some(last) = self.chain.borrow().last().cloned() else { return bent };
        // From now on it says nothing of the chain of the others.
        bent.retain(|effect| !says_tip(effect));
        let fields = &last.header;
        let new = scene.ready.iter().filter(|peer| !self.claimed.contains(peer));
        let peers: Vec<_> = new.copied().collect();
        if !peers.is_empty() {
            self.claimed.extend(&peers);
            let (point, round, slot) = (last.point(), fields.round, fields.slot);
            // More than it is worth: otherwise nobody would ask for it.
            let weight = u64::from(u32::MAX);
            let tip = Tip { point, round, slot, weight, seal: fields.seal.index, forger: None };
            bent.push(Effect::Send { peers, message: Rc::new(Message::Tip(tip)) });
        }
        bent
    }
}

fn says_tip(effect: &Effect) -> bool {
    let Effect::Send { message, .. } = effect else { return false };
    matches!(**message, Message::Tip(_) | Message::NewBlock { .. })
}

/// All blocks that these keys can forge in rounds after one of the public chain, as drawn by the seal that it names.
fn forge(
    world: &mut World,
    keys: &[SecretKey],
    root: Point,
    rounds: std::ops::Range<u64>,
) -> Vec<SignedHeader> {
    let cast = world.cast.clone();
    let Cast { network, verifier, .. } = &*cast;
    let seal = world.checks.oracle.named_by(&root.hash);
    let mut chain: Vec<SignedHeader> = Vec::new();
    let mut parent = root;
    for (round, slot, juror) in slots(world, root, rounds) {
        let Some(key) = keys.iter().find(|key| key.public() == juror) else { continue };
        let header = Header {
            version: network.version_at(round),
            height: parent.height.next(),
            round,
            slot,
            timestamp: network.clock.start_of(round, slot).plus(network.clock.slot_ms / 5),
            previous: parent.hash,
            messages_root: messages_root(&[]),
            seal,
            reveal: None,
            forger: juror,
        };
        let signed = header.sign(key, network, verifier);
        parent = signed.point();
        world.checks.oracle.judge(&signed, &[]);
        chain.push(signed);
    }
    chain
}

/// Whose each slot of these rounds is on a chain.
fn slots(
    world: &mut World,
    tip: Point,
    rounds: std::ops::Range<u64>,
) -> Vec<(Round, Slot, PublicKey)> {
    let cast = world.cast.clone();
    let mut slots = Vec::new();
    for round in rounds.map(Round) {
        let draw = world.checks.oracle.draw(&tip.hash, round).expect("its seal is known");
        for (slot, juror) in (0..).map(Slot).zip(&draw.jurors) {
            let owner = |key: &&SecretKey| cast.network.address_of(&key.public()) == *juror;
            let key = cast.keys.iter().find(owner).expect("jurors are of the cast");
            slots.push((round, slot, key.public()));
        }
    }
    slots
}

/// Asks every honest host in the middle of each slot whose it is: how often, and how often it was not as drawn.
fn ask(world: &mut World, tip: Point, rounds: std::ops::Range<u64>) -> (u64, u64) {
    let clock = world.cast.network.clock;
    let (mut asked, mut otherwise) = (0, 0);
    for (round, slot, juror) in slots(world, tip, rounds) {
        world.run_until(world.start_of(round.0) + clock.slot_ms * (2 * u64::from(slot.0) + 1) / 2);
        for host in honest(world) {
            let said = world.status(host).and_then(|status| status.juror);
            asked += 1;
            otherwise += u64::from(said != Some(juror));
        }
    }
    (asked, otherwise)
}

fn honest(world: &World) -> Vec<usize> {
    (0..world.hosts.len()).filter(|host| world.hosts[*host].honest).collect()
}

/// The seals that honest hosts would draw a round from.
fn anchors(world: &World, round: Round) -> BTreeSet<SealRef> {
    let tips = honest(world).into_iter().map(|host| world.checks.tips[host].hash);
    tips.map(|tip| world.checks.oracle.anchor(&tip, round)).collect()
}

/// One in five HNs forges in private, as many withhold their votes for 200 rounds; then the private chain is shown.
pub fn private_chain(seed: &str, nodes: usize) -> PrivateChain {
    let mut shape = stage::shape(nodes, 4);
    // Short slots, for 200 rounds; those who forge in private stay active, as founders.
    (shape.slot_seconds, shape.activity_rounds) = (4, 1_000);
    let cast = stage::cast(seed, &shape, |_| true);
    let fifth = nodes / 5;
    let (mut world, notes) = stage::world(seed, cast.clone(), fifth);
    let back = STALL + STALLED;
    let slot_ms = cast.network.clock.slot_ms;
    let until = world.start_of(back + SHOWN);
    let shown = Shown::default();
    for host in 0..fifth {
        let mute = Mute { from: world.start_of(STALL), until };
        let (chain, claimed) = (shown.clone(), BTreeSet::new());
        world.corrupt(host, Box::new(Shower { mute, chain, claimed }));
        // Before that only its key was at work, where nobody saw it.
        world.start_at(host, world.start_of(back - 1));
        world.corrupt(fifth + host, Box::new(mute));
    }
    world.run_until(world.start_of(back) - slot_ms / 2);
    let tip = world.best_honest().expect("somebody is honest");
    let before = anchors(&world, Round(back));
    let sealed = world.checks.seals.adopted(nodes - 1).map_or(0, |seal| seal.round.0);
    let rounds = STALL + OWED..back;
    let oracle = &world.checks.oracle;
    let root = oracle.last_before(&tip.hash, Round(rounds.start)).map(|block| block.point);
    let root = root.expect("rounds went by");
    let public = oracle.down(&tip.hash).filter(|block| block.round.0 >= rounds.start).count();
    let keys = &cast.keys[..fifth];
    let chain = forge(&mut world, keys, root, rounds.clone());
    let own = |owner: &PublicKey| keys.iter().any(|key| key.public() == *owner);
    let owned = slots(&mut world, tip, rounds).iter().filter(|(.., owner)| own(owner)).count();
    let (below, disk) = (world.checks.oracle.chain(&root.hash), &world.hosts[nodes - 1].disk);
    let below = below.iter().filter_map(|block| records::header(disk, &block.point));
    let whole = below.map(|stored| stored.header).chain(chain.iter().cloned()).collect();
    *shown.borrow_mut() = whole;
    let (asked, drawn_otherwise) = ask(&mut world, tip, back..back + SHOWN);
    let same_anchor = before.len() == 1 && anchors(&world, Round(back + SHOWN)) == before;
    world.run_until(until);
    while world.now < until + 10 * 5 * slot_ms && !world.all_have_sealed(Round(back)) {
        world.run_until(world.now + slot_ms);
    }
    let resumed_within = (world.now - until).div_ceil(5 * slot_ms);
    stage::finish(&mut world, back + SHOWN + RESUMED);

    let notes = notes.borrow();
    let last = chain.last().map(SignedHeader::hash);
    let hashes: Vec<BlockHash> = chain.iter().map(SignedHeader::hash).collect();
    let followed = hashes.iter().filter_map(|hash| notes.followed.get(hash)).flatten();
    let followed: BTreeSet<usize> = followed.copied().collect();
    PrivateChain {
        honest: honest(&world).len() as u64,
        stalled: back - 1 - sealed,
        private: chain.len() as u64,
        public: public as u64,
        slots: owned as u64,
        fault: last.and_then(|last| world.checks.oracle.get(&last)).and_then(|it| it.fault),
        received: Notes::honest(last.and_then(|last| notes.headers.get(&last)), &world),
        followed: Notes::honest(Some(&followed), &world),
        same_anchor,
        asked,
        drawn_otherwise,
        resumed_within,
        seals: stage::seals(&world).len().saturating_sub(1) as u64,
        violations: world.checks.violations.clone(),
    }
}
