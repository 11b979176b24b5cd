//! Fetching from peers that answer, lack, lie, stall or leave.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::{Sync, View, WINDOW_MAX};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::chain::Chain;
use crate::machine::event::{Fault, PeerId};
use crate::machine::limits::Limits;
use crate::machine::peers::Peers;
use crate::machine::relay::Relay;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::block::{Block, Point, genesis};
use crate::types::clock::{Height, Monotonic, Round, Slot};
use crate::types::hash::{BlockHash, Hash};
use crate::types::message::{ByeReason, HEADERS_MAX, Message, Tip};

const SLOT_MS: u64 = 2_000;
const ANSWER_MS: u64 = 4_000;
/// Round 1,000: later than all blocks.
const START: u64 = 1_000 * 20 * SLOT_MS;
/// From asking to the answer.
const TRIP_MS: u64 = 50;

/// What a peer does with what it is asked.
#[derive(Clone)]
enum Nature {
    /// Serves these blocks.
    Honest(Rc<Vec<Block>>),
    /// The same, but one header and one body at a time, and late.
    Drips(Rc<Vec<Block>>),
    /// Serves headers, and has no bodies.
    Hollow(Rc<Vec<Block>>),
    /// Has nothing.
    Gone,
    /// Never answers.
    Stalls,
}

struct Bed {
    ground: Ground,
    disk: Disk,
    chain: Chain,
    peers: Peers,
    relay: Relay,
    sync: Sync,
    natures: BTreeMap<PeerId, Nature>,
    ms: u64,
    blamed: Vec<(u64, ByeReason)>,
    /// Bodies asked for: how often each, and by how many.
    asked: BTreeMap<Point, u32>,
    asked_of: BTreeSet<PeerId>,
    under_way: Vec<(u64, PeerId, Message)>,
}

fn tip_at(point: Point, weight: u64) -> Tip {
    Tip { point, round: Round(0), slot: Slot(0), weight, seal: 0, forger: None }
}

fn tip_of(blocks: &[Block]) -> Tip {
    let last = blocks.last().expect("some").header.point();
    tip_at(last, last.height.0)
}

impl Bed {
    fn new() -> Bed {
        let ground = Ground::new(bed::network(9, &[("slot_seconds = 180", "slot_seconds = 2")]));
        let disk = Disk::default();
        Bed {
            chain: ground.chain(&disk),
            peers: ground.peers(),
            relay: Relay::new(SLOT_MS),
            sync: Sync::new(SLOT_MS, Limits::default().asked),
            natures: BTreeMap::new(),
            ms: START,
            blamed: Vec::new(),
            asked: BTreeMap::new(),
            asked_of: BTreeSet::new(),
            under_way: Vec::new(),
            ground,
            disk,
        }
    }

    fn line(&self, first: u64, step: usize, count: usize) -> Rc<Vec<Block>> {
        let disk = Disk::default();
        Rc::new(self.ground.line(self.ground.chain(&disk).best(), first, step, count))
    }

    fn event(&mut self, act: impl FnOnce(&mut Bed, &mut Turn)) {
        let disk = std::mem::take(&mut self.disk);
        let network = self.ground.network.clone();
        let mut turn = bed::turn(&network, self.ms, &disk);
        act(self, &mut turn);
        let blamed = self.sync.check_headers(&mut turn, &self.peers, &mut self.chain);
        blamed.into_iter().for_each(|(peer, reason)| self.blame(&mut turn, peer, reason));
        if self.chain.has_work() {
            assert!(self.chain.advance(&mut turn.db).refused.is_empty());
            self.sync.wake();
        }
        let view = View { chain: &self.chain, relay: &self.relay };
        self.sync.tick(&mut turn, &view, &self.peers);
        for peer in self.peers.take_gone() {
            self.sync.disconnected(peer);
        }
        let sent = bed::sent(&mut turn);
        let batch = turn.db.into_batch();
        self.disk = disk;
        self.disk.write(batch);
        for (peer, message) in sent {
            self.ask(peer, &message);
        }
    }

    fn blame(&mut self, turn: &mut Turn, peer: PeerId, reason: ByeReason) {
        self.blamed.push((peer.0, reason));
        self.peers.blame(turn, peer, reason);
    }

    fn ask(&mut self, peer: PeerId, message: &Message) {
        if let Message::WantBodies { points, .. } = message {
            points.iter().for_each(|point| *self.asked.entry(*point).or_default() += 1);
            self.asked_of.insert(peer);
        }
        let nature = self.natures.get(&peer).cloned().unwrap_or(Nature::Stalls);
        let late = matches!(nature, Nature::Drips(_));
        if let Some(answer) = answer(&self.ground, &nature, message) {
            let trip = if late { ANSWER_MS - 100 } else { TRIP_MS };
            self.under_way.push((self.ms + trip, peer, answer));
        }
    }

    fn join(&mut self, id: u64, number: u8, tip: Tip, nature: Nature) {
        self.natures.insert(PeerId(id), nature);
        self.event(|bed, turn| {
            assert!(bed.ground.connect(&mut bed.peers, turn, id, number, true));
            bed.show(id, tip);
        });
    }

    fn show(&mut self, id: u64, tip: Tip) {
        self.peers.peer_mut(PeerId(id)).expect("connected").tip = Some(tip);
        self.sync.tip_moved(PeerId(id));
    }

    fn receive(&mut self, from: PeerId, message: &Message) {
        if self.peers.get(from).is_none() {
            return;
        }
        self.event(|bed, turn| match message {
            Message::Intersect { request, point } => {
                let wrong = bed.sync.intersect(turn, from, *request, *point, &bed.chain);
                wrong.into_iter().for_each(|reason| bed.blame(turn, from, reason));
            }
            Message::Headers { request, headers } => {
                bed.sync.headers(from, *request, headers);
            }
            Message::Bodies { request, bodies } => {
                if bed.sync.bodies(turn, from, *request, bodies, &mut bed.chain).is_err() {
                    bed.blame(turn, from, ByeReason::Invalid);
                }
            }
            Message::Gone { request } => {
                bed.sync.headers_gone(turn.now, from, *request);
                bed.sync.bodies_gone(from, *request);
            }
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::NewBlock { .. }
            | Message::Proposal(_)
            | Message::Vote(_)
            | Message::WantVotes { .. }
            | Message::Votes(_)
            | Message::Prepared(_)
            | Message::WantSeals { .. }
            | Message::Seals { .. }
            | Message::WantState { .. }
            | Message::State { .. }
            | Message::Bye(_)
            | Message::WantBodies { .. }
            | Message::Find { .. }
            | Message::WantHeaders { .. } => panic!("{message:?} is no answer"),
        });
    }

    /// Lets time pass until the chain ends at `goal`; how long that took.
    fn run(&mut self, goal: &[Block], most_ms: u64) -> Option<u64> {
        let goal = goal.last().map(|block| block.header.point());
        let since = self.ms;
        while self.ms < since + most_ms {
            if goal == Some(self.chain.best().point) {
                return Some(self.ms - since);
            }
            let busy = self.sync.has_headers() || self.chain.has_work();
            let next = self.under_way.iter().map(|(ms, ..)| *ms).min().unwrap_or(u64::MAX);
            if busy || next > self.ms {
                let wake = if busy { self.ms } else { self.sync.due().0.max(self.ms + 1) };
                self.ms = next.min(wake).min(since + most_ms);
            }
            let due = self.under_way.iter().position(|(ms, ..)| *ms <= self.ms);
            match due.filter(|_| !busy) {
                Some(at) => {
                    let (_, peer, message) = self.under_way.remove(at);
                    self.receive(peer, &message);
                }
                None => self.event(|_, _| {}),
            }
        }
        None
    }
}

fn answer(ground: &Ground, nature: &Nature, message: &Message) -> Option<Message> {
    let (blocks, most, hollow) = match nature {
        Nature::Honest(blocks) => (blocks, HEADERS_MAX, false),
        Nature::Drips(blocks) => (blocks, 1, false),
        Nature::Hollow(blocks) => (blocks, HEADERS_MAX, true),
        Nature::Gone => (&Rc::default(), 0, true),
        Nature::Stalls => return None,
    };
    let index_of = |point: &Point| {
        let index = usize::try_from(point.height.0).ok()?.checked_sub(1)?;
        blocks.get(index).filter(|block| block.header.point() == *point).map(|_| index)
    };
    let first = genesis(&ground.network);
    Some(match message {
        Message::Find { request, locator } => {
            let point = *locator.iter().find(|point| index_of(point).is_some()).unwrap_or(&first);
            Message::Intersect { request: *request, point }
        }
        Message::WantHeaders { request, above } => {
            let from = if *above == first { Some(0) } else { index_of(above).map(|it| it + 1) };
            match from.filter(|_| most > 0) {
                Some(from) => {
                    let headers = blocks[from..].iter().take(most).map(|it| it.header.clone());
                    Message::Headers { request: *request, headers: headers.collect() }
                }
                None => Message::Gone { request: *request },
            }
        }
        Message::WantBodies { request, points } => {
            let found = points.iter().map_while(|point| index_of(point).filter(|_| !hollow));
            let bodies: Vec<_> = found.take(most).map(|it| blocks[it].messages.clone()).collect();
            match bodies.is_empty() {
                true => Message::Gone { request: *request },
                false => Message::Bodies { request: *request, bodies },
            }
        }
        Message::Hello(_)
        | Message::Ping { .. }
        | Message::Pong { .. }
        | Message::Proposal(_)
        | Message::Vote(_)
        | Message::WantVotes { .. }
        | Message::Votes(_)
        | Message::Prepared(_)
        | Message::WantSeals { .. }
        | Message::Seals { .. }
        | Message::WantState { .. }
        | Message::State { .. }
        | Message::Tip(_)
        | Message::Have(_)
        | Message::Want(_)
        | Message::Messages(_)
        | Message::NewBlock { .. }
        | Message::Bye(_)
        | Message::Bodies { .. }
        | Message::Intersect { .. }
        | Message::Headers { .. }
        | Message::Gone { .. } => return None,
    })
}

#[test]
fn a_chain_is_fetched_once_from_all_who_have_it() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 700);
    for id in 2..=4 {
        let number = u8::try_from(id).expect("few");
        bed.join(id, number, tip_of(&blocks), Nature::Honest(blocks.clone()));
    }
    assert!(bed.run(&blocks, 60_000).is_some());
    assert!(bed.asked.values().all(|times| *times == 1), "nothing is fetched twice");
    assert_eq!((bed.asked.len(), bed.asked_of.len()), (700, 3));
    assert_eq!(bed.blamed, []);
    assert!(!bed.sync.is_running());
    assert!(bed.sync.due() > Monotonic(bed.ms), "no timer runs on");
}

#[test]
fn who_has_nothing_is_passed_over_and_nobody_blamed() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 100);
    bed.join(2, 2, tip_at(tip_of(&blocks).point, 900), Nature::Gone);
    bed.join(3, 3, tip_of(&blocks), Nature::Honest(blocks.clone()));
    assert!(bed.run(&blocks, 20_000).is_some());
    assert_eq!(bed.blamed, []);
}

#[test]
fn a_promise_is_broken_only_by_a_peer_whose_tip_has_not_moved() {
    for moves in [false, true] {
        let mut bed = Bed::new();
        let blocks = bed.line(0, 1, 30);
        let lie = Point { height: Height(99), hash: BlockHash(Hash([9; 32])) };
        bed.join(2, 2, tip_at(lie, 99), Nature::Honest(blocks.clone()));
        if moves {
            bed.event(|bed, _| bed.show(2, tip_of(&blocks)));
        }
        bed.join(3, 3, tip_of(&blocks), Nature::Honest(blocks.clone()));
        assert!(bed.run(&blocks, 20_000).is_some());
        assert_eq!(bed.blamed, if moves { vec![] } else { vec![(2, ByeReason::Promise)] });
    }
}

#[test]
fn what_does_not_follow_or_belong_is_blamed() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 30);
    bed.join(2, 2, tip_of(&blocks), Nature::Stalls);
    let headers: Vec<_> = blocks.iter().skip(1).map(|block| block.header.clone()).collect();
    let start = genesis(&bed.ground.network);
    bed.receive(PeerId(2), &Message::Intersect { request: 1, point: start });
    bed.receive(PeerId(2), &Message::Headers { request: 2, headers });
    assert_eq!(bed.blamed, [(2, ByeReason::Invalid)], "the first header is left out");

    bed.blamed.clear();
    bed.join(3, 3, tip_of(&blocks), Nature::Stalls);
    let elsewhere = Point { height: Height(1), hash: BlockHash(Hash([9; 32])) };
    bed.receive(PeerId(3), &Message::Intersect { request: 3, point: elsewhere });
    assert_eq!(bed.blamed, [(3, ByeReason::Protocol)], "a point that was not among those sent");
}

#[test]
fn wrong_bodies_are_an_error_late_ones_are_not() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 30);
    bed.join(2, 2, tip_of(&blocks), Nature::Hollow(blocks.clone()));
    bed.join(3, 3, tip_of(&blocks), Nature::Stalls);
    assert_eq!(bed.run(&blocks, 3_000), None);
    let number = bed.sync.bodies.get(&PeerId(3)).expect("asked").number();
    let wrong = vec![vec![bed.ground.heartbeat(&bed::key(2), Round(0), 1)]];
    bed.event(|bed, turn| {
        let late = bed.sync.bodies(turn, PeerId(3), number + 1, &wrong, &mut bed.chain);
        assert_eq!(late, Ok(false), "another request");
        let verdict = bed.sync.bodies(turn, PeerId(3), number, &wrong, &mut bed.chain);
        assert_eq!(verdict, Err(Refusal::MessagesRoot));
        let again = bed.sync.bodies(turn, PeerId(3), number, &wrong, &mut bed.chain);
        assert_eq!(again, Ok(false), "it is answered");
    });
}

#[test]
fn what_a_peer_owed_when_it_went_is_asked_from_others() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 300);
    bed.join(2, 2, tip_of(&blocks), Nature::Honest(blocks.clone()));
    bed.join(3, 3, tip_at(tip_of(&blocks).point, 300), Nature::Stalls);
    bed.run(&blocks, 1_000);
    assert!(bed.sync.bodies.contains_key(&PeerId(3)));
    bed.event(|bed, turn| bed.peers.disconnected(turn, PeerId(3), Fault::None));
    let took = bed.run(&blocks, 60_000).expect("the other has them");
    assert!(took < ANSWER_MS, "without waiting for the time to be up: {took}");
}

#[test]
fn three_that_claim_most_and_stall_do_not_stop_it() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 2_400);
    for id in 2..=4 {
        let lie = Point { height: Height(9_999), hash: BlockHash(Hash([9; 32])) };
        bed.join(id, u8::try_from(id).expect("few"), tip_at(lie, 9_999), Nature::Stalls);
    }
    bed.join(5, 5, tip_of(&blocks), Nature::Honest(blocks.clone()));
    let took = bed.run(&blocks, 10 * 60_000).expect("one is honest");
    assert!(took < 12 * ANSWER_MS, "each costs its waiting time a few times only: {took}");
}

#[test]
fn crumbs_do_not_keep_it_from_others() {
    let mut bed = Bed::new();
    let blocks = bed.line(0, 1, 400);
    let lie = tip_at(Point { height: Height(9_999), hash: BlockHash(Hash([9; 32])) }, 9_999);
    bed.join(2, 2, lie, Nature::Drips(blocks.clone()));
    bed.join(3, 3, tip_of(&blocks), Nature::Honest(blocks.clone()));
    let took = bed.run(&blocks, 10 * 60_000).expect("one is honest");
    assert!(took < 6 * ANSWER_MS, "{took}");
}

#[test]
fn headers_whose_bodies_are_nowhere_fill_one_window_and_leave_room_for_a_better_chain() {
    let mut bed = Bed::new();
    // Every other slot, and then every slot: longer, and other blocks from the first on.
    let hollow = bed.line(1, 2, WINDOW_MAX + 100);
    let better = bed.line(0, 1, hollow.len() + 100);
    bed.join(2, 2, tip_at(tip_of(&hollow).point, 99_999), Nature::Hollow(hollow.clone()));
    assert_eq!(bed.run(&better, 8 * ANSWER_MS), None);
    assert_eq!(bed.chain.unfull_count(), WINDOW_MAX, "no more than a window");
    bed.event(|bed, turn| bed.peers.disconnected(turn, PeerId(2), Fault::None));
    bed.join(3, 3, tip_of(&better), Nature::Honest(better.clone()));
    assert!(bed.run(&better, 10 * 60_000).is_some());
    assert!(bed.chain.unfull_count() <= WINDOW_MAX);
}

#[test]
fn of_two_chains_worth_the_same_the_better_is_fetched() {
    let mut bed = Bed::new();
    // The same number of slots in the same rounds, the better ones earlier.
    let (better, ours) = (bed.line(0, 19, 8), bed.line(1, 19, 8));
    bed.join(2, 2, tip_of(&ours), Nature::Honest(ours.clone()));
    assert!(bed.run(&ours, 20_000).is_some());
    let weight = bed.chain.best().weight;
    bed.join(3, 3, tip_at(tip_of(&better).point, weight), Nature::Honest(better.clone()));
    assert!(bed.run(&better, 20_000).is_some());
}
