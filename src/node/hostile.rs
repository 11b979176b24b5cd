//! A node among peers that say anything at any time: it does not panic, its bounds hold, its timers rest, and its disk
//! opens as it was left.

use std::rc::Rc;

use super::{Node, Setup};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::event::{Effect, Event, Fault, PeerId, Request, RequestId};
use crate::machine::limits::Limits;
use crate::machine::records;
use crate::types::block::{Block, Point, messages_root};
use crate::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::key::Signature;
use crate::types::message::{ByeReason, Message, Tip};
use crate::types::rng::Rng;
use crate::types::seal::{Checkpoint, Quorum, Seal, Step, Vote};
use crate::types::tx::Tx;

const FOUNDERS: u8 = 4;
const SLOT_MS: u64 = 2_000;
/// Wakes that come at once one after the other: a chain of work ends some time.
const AT_ONCE_MAX: u32 = 500;

struct Bed {
    ground: Ground,
    node: Node,
    disk: Disk,
    rng: Rng,
    wall_ms: u64,
    mono_ms: u64,
    next_peer: u64,
    /// Connections, with what the greeting on them must sign.
    peers: Vec<(PeerId, Hash, bool)>,
    /// Blocks made, on whatever parent.
    blocks: Vec<Block>,
    requests: Vec<u32>,
    /// Who was asked for seals last, and under what number.
    asked: Option<(PeerId, u32)>,
    at_once: u32,
}

fn open(ground: &Ground, disk: &Disk, now: Now) -> Node {
    let setup = Setup {
        network: ground.network.clone(),
        key: bed::key(1),
        seed: Hash([1; 32]),
        built: Timestamp(0),
        signed: disk.signed,
        seen: disk.signed,
        verifier: ground.verifier.clone(),
        limits: Limits::default(),
    };
    Node::open(setup, now, disk).expect("the disk is whole")
}

impl Bed {
    fn new(seed: &str) -> Bed {
        let edits = [("slot_seconds = 180", "slot_seconds = 2"), ("slots = 19", "slots = 5")];
        let ground = Ground::new(bed::network(FOUNDERS, &edits));
        let disk = Disk::default();
        let wall_ms = ground.network.clock.origin.0 + 7 * 6 * SLOT_MS;
        let now = Now { wall: Timestamp(wall_ms), mono: Monotonic(0), synchronised: true };
        Bed {
            node: open(&ground, &disk, now),
            rng: Rng::from_text(seed),
            ground,
            disk,
            wall_ms,
            mono_ms: 0,
            next_peer: 1,
            peers: Vec::new(),
            blocks: Vec::new(),
            requests: vec![1],
            asked: None,
            at_once: 0,
        }
    }

    fn now(&self) -> Now {
        let (wall, mono) = (Timestamp(self.wall_ms), Monotonic(self.mono_ms));
        Now { wall, mono, synchronised: true }
    }

    fn handle(&mut self, event: Event) {
        for effect in self.node.handle(self.now(), event, &self.disk) {
            match effect {
                Effect::Guard(record) => {
                    let admitted = self.disk.signed.admit(record);
                    self.disk.signed = admitted.expect("nothing is signed twice");
                }
                Effect::Persist(batch) => self.disk.write(batch),
                Effect::Send { peers, message } => {
                    if let Message::WantSeals { request, .. } = &*message {
                        self.asked = Some((peers[0], *request));
                    }
                    let frame = message.to_frame();
                    let back = Message::from_body(frame[0], &frame[5..]);
                    assert_eq!(back, Ok(Some((*message).clone())), "what we send can be read");
                    self.remember_request(&message);
                }
                Effect::Close { peer, .. } => self.peers.retain(|(id, ..)| *id != peer),
                Effect::Dial { endpoint } => {
                    if self.rng.one_in(2) {
                        let event = Event::DialFailed { endpoint };
                        let _ = self.node.handle(self.now(), event, &self.disk);
                    }
                }
                Effect::Stop(_) => panic!("no peer has our key: {effect:?}"),
                Effect::Reply { .. } | Effect::Note(_) => {}
            }
        }
        self.check();
    }

    fn remember_request(&mut self, message: &Message) {
        if let Message::WantBodies { request, .. }
        | Message::Find { request, .. }
        | Message::WantSeals { request, .. }
        | Message::WantHeaders { request, .. } = message
        {
            self.requests.push(*request);
        }
        if self.requests.len() > 8 {
            self.requests.remove(0);
        }
    }

    fn check(&mut self) {
        let status = self.node.status(self.now());
        assert!(status.chain_tips <= 65 && status.mempool.messages <= 16_384);
        assert!(self.node.peers(self.now()).len() <= 200);
        assert!(self.node.early.len() <= 16);
        self.at_once =
            if self.node.next_wake() <= Monotonic(self.mono_ms) { self.at_once + 1 } else { 0 };
        assert!(self.at_once < AT_ONCE_MAX, "a timer that never rests");
    }

    fn step(&mut self) {
        if self.node.next_wake() <= Monotonic(self.mono_ms) && !self.rng.one_in(4) {
            return self.handle(Event::Wake);
        }
        if let Some((peer, request)) = self.asked.take() {
            // Most answers to the point: seals that come unasked end the connection.
            if self.peers.iter().any(|(id, ..)| *id == peer) && !self.rng.one_in(4) {
                let message = Message::Seals { request, seals: self.seals() };
                let bytes = u32::try_from(message.to_frame().len()).expect("short");
                return self.handle(Event::Received { peer, message: Rc::new(message), bytes });
            }
        }
        match self.rng.below(40) {
            0 | 1 => self.connect(),
            2..=5 => self.greet(),
            6 => {
                if let Some((peer, ..)) = self.pick_peer() {
                    self.peers.retain(|(id, ..)| *id != peer);
                    let faults = [Fault::None, Fault::Malformed, Fault::Stuck];
                    let fault = faults[self.rng.index(3)];
                    self.handle(Event::Disconnected { peer, fault });
                }
            }
            7..=11 => {
                let ms = self.rng.below(700);
                self.wall_ms += ms;
                self.mono_ms += ms;
                self.handle(Event::Wake);
            }
            12 => {
                // A clock set now and then, and a pause.
                let (step, pause) = (self.rng.below(4_000), self.rng.below(30_000));
                self.wall_ms = self.wall_ms + step + pause - 2_000;
                self.mono_ms += pause;
                self.handle(Event::Wake);
            }
            13 => {
                let tx = self.message();
                let (id, request) = (RequestId(1), Request::Submit(Box::new(tx)));
                self.handle(Event::Request { id, request });
            }
            14 => self.restart(),
            15..=19 => self.forge(),
            _ => {
                if let Some((peer, ..)) = self.pick_peer() {
                    let message = self.say();
                    let bytes = u32::try_from(message.to_frame().len()).expect("short");
                    self.handle(Event::Received { peer, message: Rc::new(message), bytes });
                }
            }
        }
    }

    fn pick_peer(&mut self) -> Option<(PeerId, Hash, bool)> {
        let length = self.peers.len();
        (length > 0).then(|| self.peers[self.rng.index(length)])
    }

    fn connect(&mut self) {
        let peer = PeerId(self.next_peer);
        self.next_peer += 1;
        let (channel, dialled) = (Hash([self.byte(250); 32]), self.rng.one_in(2));
        let endpoint = bed::endpoint(2 + self.byte(8));
        self.peers.push((peer, channel, dialled));
        self.handle(Event::Connected { peer, endpoint, dialled, channel });
    }

    fn greet(&mut self) {
        let Some((peer, channel, dialled)) = self.pick_peer() else { return };
        let key = bed::key(1 + self.byte(10));
        let role = if self.rng.one_in(8) { !dialled } else { dialled };
        let hello = self.ground.hello(&key, channel, role);
        let message = Rc::new(Message::Hello(hello));
        self.handle(Event::Received { peer, message, bytes: 150 });
    }

    fn restart(&mut self) {
        let (before, busy) = (*self.node.chain.best(), self.node.chain.has_work());
        self.node = open(&self.ground, &self.disk, self.now());
        assert_eq!(*self.node.chain.best(), before, "the disk opens as it was left");
        assert!(busy || !self.node.chain.has_work(), "and nothing better was forgotten before");
        self.peers.clear();
        self.at_once = 0;
    }

    /// A block by whoever is juror, on our tip, on another block, or on nothing.
    fn forge(&mut self) {
        let best = *self.node.chain.best();
        let (parent, state) = match self.rng.below(3) {
            0 if !self.blocks.is_empty() => {
                let at = self.rng.index(self.blocks.len());
                (bed::end_of(&self.blocks[at]), self.ground.state())
            }
            _ => (best, self.node.chain.state().clone()),
        };
        let Some((round, slot)) = self.ground.network.clock.at(Timestamp(self.wall_ms)) else {
            return;
        };
        let (round, slot) = match self.rng.below(6) {
            0 => (Round(round.0 + self.rng.below(2)), Slot(u32::from(self.byte(5)))),
            1 => (Round(round.0.saturating_sub(self.rng.below(4))), Slot(u32::from(self.byte(5)))),
            _ => (round, slot),
        };
        if slot.0 >= 5 || parent.at.is_some_and(|at| at >= (round, slot)) {
            return;
        }
        // Nobody has the key of the node: who had it would end it.
        let own = self.ground.address(&bed::key(1));
        let plan = self.ground.plans.at(&self.ground.anchor.seal, round).expect("genesis is known");
        if plan.juror(slot) == Some(&own) {
            return;
        }
        let key = bed::key(2 + self.byte(3));
        let capacity = u16::from(self.byte(3));
        let messages = vec![self.ground.heartbeat(&key, round, capacity)];
        let after = 1 + self.rng.below(1_900);
        self.blocks.push(self.ground.block(&parent, &state, (round, slot), messages, after));
    }

    fn byte(&mut self, below: u64) -> u8 {
        u8::try_from(self.rng.below(below)).expect("below 256")
    }

    fn message(&mut self) -> Tx {
        let now = self.ground.network.clock.at(Timestamp(self.wall_ms));
        let round =
            Round(now.map_or(0, |(round, _)| round.0 + 1).saturating_sub(self.rng.below(4)));
        let key = bed::key(2 + self.byte(5));
        let capacity = u16::from(self.byte(3));
        let mut tx = self.ground.heartbeat(&key, round, capacity);
        match self.rng.below(12) {
            0 => tx.sender = bed::key(2).public(),
            1 => tx.round = Round(u64::MAX),
            _ => {}
        }
        tx
    }

    fn ids(&mut self) -> Vec<TxId> {
        (0..=self.rng.below(4)).map(|_| self.message().id()).collect()
    }

    fn point(&mut self) -> Point {
        let height = [0, 1, 3, u64::MAX][self.rng.index(4)];
        let any = Point { height: Height(height), hash: BlockHash(Hash([self.byte(9); 32])) };
        match self.rng.below(4) {
            0 => any,
            1 => self.node.chain.best().point,
            _ => self.block().map_or(any, |block| block.header.point()),
        }
    }

    fn block(&mut self) -> Option<Block> {
        let length = self.blocks.len();
        let recent = length.saturating_sub(12);
        (length > 0).then(|| self.blocks[recent + self.rng.index(length - recent)].clone())
    }

    fn tip(&mut self) -> Tip {
        let weight = [0, 5, 40, u64::MAX][self.rng.index(4)];
        let slot = Slot([0, 3, u32::MAX][self.rng.index(3)]);
        let round = Round([0, 8, u64::MAX][self.rng.index(3)]);
        let seal = [0, 1, 4, u64::MAX][self.rng.index(4)];
        Tip { point: self.point(), round, slot, weight, seal, forger: None }
    }

    /// Seals as they may follow on ours, or not at all: of our chain, or of anything.
    fn seals(&mut self) -> Vec<Seal> {
        let held = *self.node.seals.certified();
        let point = self.point();
        let state = self.node.chain.state_at(&point, &self.disk);
        let mut checkpoint = match state {
            Some(state) => state.checkpoint(held.index + 1, point.height, point.hash),
            None => Checkpoint { index: held.index + self.rng.below(3), ..held },
        };
        // Never the node itself; three of four are enough, and say nothing that is not so.
        let mut most = 4;
        match self.rng.below(8) {
            0 => (checkpoint.height, most) = (Height(u64::MAX), 3),
            1 => (checkpoint.voters, most) = (Hash([1; 32]), 3),
            2 => (checkpoint.index, most) = (u64::MAX, 3),
            _ => {}
        }
        let is_good = most == 4 && !self.rng.one_in(4);
        let count = if is_good { 3 } else { self.rng.index(most) };
        let electorate = self.node.seals.electorate().clone();
        let at = (checkpoint.index, 0, Step::Commit);
        let (network, verifier) = (&self.ground.network, &self.ground.verifier);
        let mut votes: Vec<(u16, Signature)> = (2..=FOUNDERS)
            .map(bed::key)
            .filter_map(|key| {
                let vote = Vote::sign(at, Some(checkpoint.id()), &key, network, verifier);
                Some((electorate.position(&key.public())?, vote.signature))
            })
            .take(count)
            .collect();
        votes.sort_unstable_by_key(|(at, _)| *at);
        let certificate = Quorum::new(checkpoint, 0, &votes);
        let voters = self.rng.one_in(6).then(|| electorate.voters().to_vec());
        let known = records::seal(&self.disk, held.index).map(|stored| stored.seal);
        let first = known.filter(|_| self.rng.one_in(2));
        first.into_iter().chain([Seal { certificate, registry: None, voters }]).collect()
    }

    fn say(&mut self) -> Message {
        let request = self.requests[self.rng.index(self.requests.len())];
        let points = (0..=self.rng.below(3)).map(|_| self.point()).collect();
        let first = self.rng.index(self.blocks.len().max(1));
        let some = self.blocks.iter().skip(first).take(1 + self.rng.index(6));
        let some: Vec<Block> = some.cloned().collect();
        match self.rng.below(25) {
            0 => Message::Ping { nonce: 1 },
            1 => Message::Pong { nonce: self.rng.below(3), clock: Timestamp(u64::MAX) },
            2..=4 => Message::Tip(self.tip()),
            5 => Message::Have(self.ids()),
            6 => Message::Want(self.ids()),
            7 => Message::Messages((0..self.rng.below(3)).map(|_| self.message()).collect()),
            8..=12 => match self.block() {
                Some(mut block) => {
                    let mut ids: Vec<TxId> = block.messages.iter().map(Tx::id).collect();
                    match self.rng.below(12) {
                        0 => ids.clear(),
                        1 => block.header.header.slot = Slot(u32::MAX),
                        2 => block.header.header.round = Round(u64::MAX),
                        3 => block.header.header.height = Height(u64::MAX),
                        4 => block.header.header.messages_root = messages_root(&[]),
                        _ => {}
                    }
                    Message::NewBlock { header: block.header, ids }
                }
                None => Message::Gone { request },
            },
            13 => Message::WantBodies { request, points },
            14 | 15 => {
                let bodies: Vec<_> = some.into_iter().map(|block| block.messages).collect();
                if bodies.is_empty() {
                    return Message::Gone { request };
                }
                Message::Bodies { request, bodies }
            }
            16 => Message::Find { request, locator: points },
            17 => Message::Intersect { request, point: self.point() },
            18 => Message::WantHeaders { request, above: self.point() },
            19 | 20 => {
                let headers = some.into_iter().map(|block| block.header).collect();
                Message::Headers { request, headers }
            }
            21 => Message::Seals { request, seals: self.seals() },
            22 => {
                let after = [0, 1, u64::MAX][self.rng.index(3)];
                Message::WantSeals { request, after }
            }
            23 => {
                let (index, part) = (self.rng.below(3), [0, 1, u32::MAX][self.rng.index(3)]);
                Message::WantState { request, index, part }
            }
            _ => match self.rng.below(2) {
                0 => Message::Gone { request },
                _ => Message::Bye(ByeReason::Stopping),
            },
        }
    }
}

#[test]
fn whatever_peers_say_the_node_goes_on() {
    let (mut grown, mut sealed) = (0, 0);
    for seed in 0..8 {
        let mut bed = Bed::new(&format!("hostile {seed}"));
        for _ in 0..1_500 {
            bed.step();
        }
        let mut last = *bed.node.chain.best();
        while bed.node.chain.has_work() {
            bed.handle(Event::Wake);
            last = *bed.node.chain.best();
        }
        bed.node = open(&bed.ground, &bed.disk, bed.now());
        assert_eq!(*bed.node.chain.best(), last, "seed {seed}");
        grown += last.point.height.0;
        sealed += bed.node.chain.sealed().seal.index;
    }
    assert!(grown > 25 && sealed > 0, "chains grow meanwhile: {grown} blocks, {sealed} seals");
}
