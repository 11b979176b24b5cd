//! A node catches up through seals, with peers that serve, forge, lag, lack or leave.

mod halt;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::super::{Node, Setup};
use crate::machine::bed::village::Village;
use crate::machine::bed::{self, Disk, Ground, key};
use crate::machine::event::{Effect, Event, Fault, PeerId};
use crate::machine::limits::Limits;
use crate::machine::note::{Note, Ruling};
use crate::machine::seals::SealVerdict;
use crate::machine::serve;
use crate::machine::sync::WINDOW_MAX;
use crate::types::block::{Block, Point};
use crate::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use crate::types::hash::{BlockHash, Hash, TxId};
use crate::types::key::Verifier;
use crate::types::message::{ByeReason, Message, Tip};
use crate::types::network::Network;

const ALL: [u8; 5] = [1, 2, 3, 4, 5];
/// From a question to its answer.
const TRIP_MS: u64 = 50;

fn network() -> Rc<Network> {
    bed::network(
        5,
        &[
            ("slot_seconds = 180", "slot_seconds = 2"),
            ("slots = 19", "slots = 3"),
            ("activity_rounds = 3", "activity_rounds = 2"),
            ("active_min = 10", "active_min = 2"),
        ],
    )
}

/// A chain whose rounds are sealed, but for the last ones.
fn village(sealed: u64, unsealed: u64) -> Village {
    let mut village = Village::new(network());
    for round in 1..=sealed {
        village.round(round, &[0, 1, 2], &ALL);
        village.seal();
    }
    for round in sealed + 1..=sealed + unsealed {
        village.round(round, &[0, 1, 2], &ALL);
    }
    village
}

/// A peer, and what it does.
struct Server {
    village: Village,
    /// Its headers and bodies come from here instead.
    forged: Option<Village>,
    tip: Option<Tip>,
    gone: bool,
}

impl Server {
    fn honest(village: Village) -> Server {
        Server { village, forged: None, tip: None, gone: false }
    }

    fn tip(&self) -> Tip {
        let best = self.village.chain.best();
        let (round, slot) = best.at.unwrap_or_default();
        let (point, weight) = (best.point, best.weight);
        let seal = self.village.seals.certified().index;
        self.tip.unwrap_or(Tip { point, round, slot, weight, seal, forger: None })
    }

    fn answer(&mut self, message: &Message) -> Vec<Message> {
        let forged = self.forged.as_mut().filter(|_| !matches!(message, Message::WantSeals { .. }));
        let from = forged.unwrap_or(&mut self.village);
        let network = from.ground.network.clone();
        let mut turn = bed::turn(&network, 1, &from.disk);
        let peer = PeerId(0);
        if let Message::WantSeals { request, after } = message {
            serve::seals(&mut turn, peer, *request, *after);
        }
        if let Message::Find { request, .. }
        | Message::WantHeaders { request, .. }
        | Message::WantBodies { request, .. } = message
        {
            if self.gone {
                return vec![Message::Gone { request: *request }];
            }
        }
        if let Message::Find { request, locator } = message {
            serve::find(&mut turn, peer, *request, locator, &from.chain);
        }
        if let Message::WantHeaders { request, above } = message {
            let announced = from.chain.best().point;
            serve::headers(&mut turn, peer, *request, above, &announced, &from.chain);
        }
        if let Message::WantBodies { request, points } = message {
            serve::bodies(&mut turn, peer, *request, points);
        }
        bed::sent(&mut turn).into_iter().map(|(_, message)| message).collect()
    }
}

struct World {
    ground: Ground,
    node: Node,
    disk: Disk,
    servers: BTreeMap<PeerId, Server>,
    ms: u64,
    under_way: Vec<(u64, PeerId, Message)>,
    closed: Vec<(PeerId, ByeReason)>,
    bodies: BTreeMap<Point, u32>,
    headers_wanted: u32,
    /// Messages that it has told of.
    announced: BTreeSet<TxId>,
    /// Second certificates that it has told of.
    conflicts: Vec<(u64, Ruling)>,
}

fn open(ground: &Ground, disk: &Disk, now: Now) -> Node {
    let setup = Setup {
        network: ground.network.clone(),
        // Nobody who is registered.
        key: key(30),
        seed: Hash([1; 32]),
        built: Timestamp(0),
        signed: disk.signed,
        seen: disk.signed,
        verifier: ground.verifier.clone(),
        limits: Limits::default(),
    };
    Node::open(setup, now, disk).expect("the disk is whole")
}

fn at(network: &Network, ms: u64) -> Now {
    let wall = network.clock.start_of(Round(100_000), Slot(0)).plus(ms);
    Now { wall, mono: Monotonic(ms + 1_000), synchronised: true }
}

impl World {
    fn new(disk: Disk) -> World {
        World::on(network(), disk)
    }

    fn on(network: Rc<Network>, disk: Disk) -> World {
        let ground = Ground::new(network);
        let node = open(&ground, &disk, at(&ground.network, 0));
        World {
            node,
            disk,
            servers: BTreeMap::new(),
            ms: 0,
            under_way: Vec::new(),
            closed: Vec::new(),
            bodies: BTreeMap::new(),
            headers_wanted: 0,
            announced: BTreeSet::new(),
            conflicts: Vec::new(),
            ground,
        }
    }

    /// Stops and starts again; the peers come back.
    fn restart(&mut self) {
        self.ground.verifier = Verifier::default();
        self.node = open(&self.ground, &self.disk, at(&self.ground.network, self.ms));
        self.under_way.clear();
        for peer in self.servers.keys().copied().collect::<Vec<_>>() {
            self.greet(peer);
        }
    }

    fn handle(&mut self, event: Event) {
        let now = at(&self.ground.network, self.ms);
        let effects = self.node.handle(now, event, &self.disk);
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Guard(record) => {
                    self.disk.signed.admit(record).expect("nothing is signed twice");
                }
                Effect::Persist(batch) => self.disk.write(batch),
                Effect::Send { peers, message } => {
                    for peer in peers {
                        self.send(peer, &message);
                    }
                }
                Effect::Close { peer, reason } => self.closed.push((peer, reason)),
                Effect::Stop(_) => panic!("no peer has our key: {effect:?}"),
                Effect::Note(Note::SealConflict { index, ruling }) => {
                    self.conflicts.push((index, ruling));
                }
                Effect::Dial { .. } | Effect::Reply { .. } | Effect::Note(_) => {}
            }
        }
        assert!(
            self.node.chain.unfull_count() <= WINDOW_MAX + 512,
            "a window, and what came with it"
        );
    }

    fn send(&mut self, peer: PeerId, message: &Message) {
        if let Message::WantBodies { points, .. } = message {
            points.iter().for_each(|point| *self.bodies.entry(*point).or_default() += 1);
        }
        if let Message::Have(ids) = message {
            self.announced.extend(ids);
        }
        self.headers_wanted += u32::from(matches!(message, Message::WantHeaders { .. }));
        if let Some(server) = self.servers.get_mut(&peer) {
            let answers = server.answer(message).into_iter();
            self.under_way.extend(answers.map(|answer| (self.ms + TRIP_MS, peer, answer)));
        }
    }

    fn receive(&mut self, peer: PeerId, message: Message) {
        if self.closed.iter().all(|(other, _)| *other != peer) {
            let bytes = u32::try_from(message.to_frame().len()).expect("short");
            self.handle(Event::Received { peer, message: Rc::new(message), bytes });
        }
    }

    /// A founder connects and shows its tip.
    fn join(&mut self, number: u8, server: Server) -> PeerId {
        let peer = PeerId(u64::from(number));
        self.servers.insert(peer, server);
        self.greet(peer);
        peer
    }

    fn greet(&mut self, peer: PeerId) {
        let number = u8::try_from(peer.0).expect("few");
        let channel = Hash([number; 32]);
        let endpoint = bed::endpoint(number);
        self.handle(Event::Connected { peer, endpoint, dialled: false, channel });
        let hello = self.ground.hello(&key(number), channel, false);
        self.receive(peer, Message::Hello(hello));
        self.show(peer);
    }

    fn show(&mut self, peer: PeerId) {
        let tip = self.servers[&peer].tip();
        self.receive(peer, Message::Tip(tip));
    }

    fn leave(&mut self, peer: PeerId) {
        self.servers.remove(&peer);
        self.handle(Event::Disconnected { peer, fault: Fault::None });
    }

    /// Lets time pass until something holds; whether it came to that.
    fn run(&mut self, most_ms: u64, until: impl Fn(&World) -> bool) -> bool {
        let end = self.ms + most_ms;
        while self.ms < end {
            if until(self) {
                return true;
            }
            let due = self.node.next_wake().0.saturating_sub(1_000);
            let next = self.under_way.iter().map(|(ms, ..)| *ms).min();
            self.ms = due.min(next.unwrap_or(end)).clamp(self.ms, end);
            match self.under_way.iter().position(|(ms, ..)| *ms <= self.ms) {
                Some(first) if due > self.ms || next <= Some(due) => {
                    let (_, peer, message) = self.under_way.remove(first);
                    self.receive(peer, message);
                }
                _ => self.handle(Event::Wake),
            }
        }
        until(self)
    }

    fn is_at(&self, tip: &Tip) -> bool {
        let chain = &self.node.chain;
        chain.best().point == tip.point && chain.sealed().seal.index == tip.seal
    }

    /// Why peers were closed, but for being late with a ping.
    fn blamed(&self) -> Vec<(PeerId, ByeReason)> {
        let closed = self.closed.iter().copied();
        closed.filter(|(_, reason)| *reason != ByeReason::Timeout).collect()
    }
}

#[test]
fn a_newcomer_catches_up_through_thirty_seals() {
    let mut world = World::new(Disk::default());
    let (first, second) = (village(30, 2), village(30, 2));
    let tip = Server::honest(village(30, 2)).tip();
    let check = |village: &Village, height: u64, verifier: &Verifier| {
        let point = village.chain.main_at(Height(height), &village.disk).expect("there");
        let body = crate::machine::records::body(&village.disk, &point).expect("there");
        body.iter().all(|tx| tx.is_known_signed(&village.ground.network, verifier))
    };
    let third = village(30, 2);
    world.join(1, Server::honest(first));
    world.join(2, Server::honest(second));
    assert!(world.run(20_000, |world| world.is_at(&tip)));
    assert!(world.ms < 3_000, "{} ms", world.ms);
    assert_eq!(world.blamed(), []);
    assert!(world.bodies.values().all(|times| *times == 1), "nothing is fetched twice");
    assert_eq!(world.bodies.len(), 96);
    assert!(world.headers_wanted <= 3, "{} questions", world.headers_wanted);
    // Below the seal hashes were enough; above it everything was looked at.
    let verifier = &world.ground.verifier;
    assert!(!check(&third, 88, verifier) && check(&third, 91, verifier));
    assert!(world.disk.entries == third.disk.entries, "the same records");
    assert!(!world.node.chain.awaits_seal());
}

#[test]
fn a_restart_on_the_way_goes_on_where_it_was() {
    let mut world = World::new(Disk::default());
    let server = Server::honest(village(30, 2));
    let tip = server.tip();
    world.join(1, server);
    let mut restarts = 0;
    for goal in [0, 5, 20, 50, 89, 92] {
        assert!(world.run(20_000, |world| world.node.chain.best().point.height.0 >= goal));
        world.restart();
        restarts += 1;
    }
    assert!(world.run(20_000, |world| world.is_at(&tip)));
    assert_eq!((restarts, world.blamed()), (6, vec![]));
}

/// A chain with one seal far above genesis.
fn stalled(rounds: u64) -> Village {
    let mut village = Village::new(network());
    for round in 1..=rounds {
        village.round(round, &[0, 1, 2], &[]);
    }
    let point = village.chain.best().point;
    while village.chain.state_at(&point, &village.disk).is_none() {}
    village.seal();
    village
}

#[test]
fn a_segment_longer_than_the_window_is_proven_from_its_end() {
    let mut world = World::new(Disk::default());
    let server = Server::honest(stalled(800));
    let tip = server.tip();
    world.join(1, server);
    // On the way the peer goes, and another takes its place.
    assert!(world.run(20_000, |world| world.node.chain.unfull_count() > 600));
    world.leave(PeerId(1));
    world.join(2, Server::honest(stalled(800)));
    assert!(world.run(60_000, |world| world.is_at(&tip)));
    assert_eq!(world.blamed(), []);
    assert_eq!(world.bodies.len(), 2_400);
    // 2,400 headers are five batches, twice.
    assert!(world.headers_wanted <= 14, "{} questions", world.headers_wanted);
}

/// A chain that leaves the sealed one in its 20th round and is longer.
fn fork() -> Village {
    let mut village = village(19, 0);
    for round in 20..60 {
        village.round(round, &[0, 1], &[]);
    }
    village
}

#[test]
fn who_serves_another_chain_than_it_showed_broke_a_promise() {
    for moves in [false, true] {
        let mut world = World::new(Disk::default());
        let forger = Server { forged: Some(fork()), ..Server::honest(village(30, 0)) };
        let tip = forger.tip();
        let forger = world.join(1, forger);
        if moves {
            // After it is asked for headers it shows another tip: it may have changed its chain.
            assert!(world.run(20_000, |world| world.headers_wanted > 0));
            let server = world.servers.get_mut(&forger).expect("there");
            server.tip = Some(Tip { point: fork().chain.best().point, ..tip });
            world.show(forger);
        }
        world.run(5_000, |_| false);
        assert_eq!(world.node.chain.sealed().seal.index, 0, "nothing of it is taken");
        let blamed = if moves { vec![] } else { vec![(forger, ByeReason::Promise)] };
        assert_eq!(world.blamed(), blamed);
        world.join(2, Server::honest(village(30, 0)));
        assert!(world.run(30_000, |world| world.is_at(&tip)));
    }
}

#[test]
fn a_broken_link_is_blamed_and_who_has_nothing_is_not() {
    let mut world = World::new(Disk::default());
    let gone = world.join(1, Server { gone: true, ..Server::honest(village(30, 0)) });
    assert!(world.run(20_000, |world| world.headers_wanted == 1));
    world.run(1_000, |_| false);
    assert_eq!(world.blamed(), []);
    world.leave(gone);
    let server = Server::honest(village(30, 0));
    let mut headers = {
        let chain = &server.village.chain;
        let genesis = chain.main_at(Height(0), &server.village.disk).expect("genesis");
        chain.headers_above(&genesis, &server.village.disk).expect("on the chain")
    };
    headers.remove(40);
    let silent = Tip { forger: None, ..server.tip() };
    // Somebody who answers by hand.
    world.servers.insert(PeerId(2), Server { gone: true, tip: Some(silent), ..server });
    world.greet(PeerId(2));
    assert!(world.run(20_000, |world| world.headers_wanted == 2));
    world.under_way.clear();
    let request = (1..20).find(|request| {
        world.receive(PeerId(2), Message::Headers { request: *request, headers: headers.clone() });
        !world.blamed().is_empty()
    });
    assert!(request.is_some());
    assert_eq!(world.blamed(), [(PeerId(2), ByeReason::Invalid)]);
}

#[test]
fn late_peers_beside_the_seal_are_ignored_and_nobody_is_blamed() {
    let honest = village(30, 0);
    let mut world = World::new(honest.disk.clone());
    let tip = Server::honest(honest).tip();
    // Longer ones, of peers that have not heard of the seals since the 19th round.
    let late = world.join(1, Server::honest(fork()));
    let mut heavier = Server::honest(fork());
    heavier.tip = Some(Tip { weight: 10_000, ..heavier.tip() });
    world.join(2, heavier);
    assert!(Server::honest(fork()).tip().point.height > tip.point.height);
    world.run(30_000, |_| false);
    assert!(world.is_at(&tip));
    assert_eq!(world.blamed(), []);
    // Their blocks as they come are ignored too.
    let fork = fork();
    let now = at(&world.ground.network, world.ms);
    let (round, _) = world.ground.network.clock.at(now.wall).expect("after the origin");
    let block = fork.forge((round, Slot(0)), Vec::new(), 1);
    let ids = Vec::new();
    world.receive(late, Message::NewBlock { header: block.header, ids });
    world.run(10_000, |_| false);
    assert!(world.is_at(&tip));
    assert_eq!(world.blamed(), []);
}

/// Two nodes that share five sealed rounds: in the round before this one the first sealed its own blocks, the other forged
/// one with messages of two.
fn parted() -> (Village, Village, Vec<Block>) {
    let (mut one, mut other) = (village(5, 0), village(5, 0));
    let blocks = one.round(99_999, &[0, 1], &[1, 2]);
    other.round(99_999, &[2], &[3, 4]);
    one.seal();
    (one, other, blocks)
}

#[test]
fn a_seal_takes_a_node_from_its_own_fork_and_its_messages_wait_again_and_are_told() {
    let (one, other, _) = parted();
    let tip = Server::honest(parted().0).tip();
    let mut world = World::new(other.disk);
    assert_eq!(world.node.chain.best().point, other.chain.best().point);
    assert_eq!(world.node.status(at(&network(), 0)).mempool.messages, 0);
    world.join(1, Server::honest(one));
    assert!(world.run(20_000, |world| world.is_at(&tip)));
    assert_eq!(world.blamed(), []);
    assert_eq!(world.node.chain.tip_count(), 1);
    let waiting: BTreeSet<TxId> = world.node.mempool(10).iter().map(|entry| entry.id).collect();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    // Who was never on that fork may not know them.
    assert!(world.run(20_000, |world| world.announced == waiting));
}

#[test]
fn who_shows_seals_and_blocks_that_it_does_not_have_holds_nobody_up() {
    let mut world = World::new(Disk::default());
    let liar = Server::honest(village(3, 0));
    let nowhere = Point { height: Height(900), hash: BlockHash(Hash([9; 32])) };
    let tip = Tip { seal: 900, point: nowhere, weight: 9_000, ..liar.tip() };
    let honest = village(4, 0);
    let goal = Server::honest(village(4, 0)).tip();
    world.join(1, Server { tip: Some(tip), ..liar });
    world.run(1_000, |_| false);
    assert_eq!(world.blamed(), [], "perhaps its newest seals are listed ones");
    world.join(2, Server::honest(honest));
    assert!(world.run(60_000, |world| world.is_at(&goal)));
    assert_eq!(world.node.seals.certified().index, 4);
    assert_eq!(world.blamed(), [(PeerId(1), ByeReason::Promise)], "the blocks of the fourth");
}
