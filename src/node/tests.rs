//! Two nodes and a map for a disk: the whole core in a few hundred events. Faults are the simulator's business, but for
//! one, of which every case is tried: see `twice`.

mod agreed;
mod catchup;
mod custody;
mod sealing;
mod told;
mod twice;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use super::{Node, Setup};
use crate::machine::bed::{self, Disk};
use crate::machine::event::{Effect, Event, PeerId};
use crate::machine::limits::Limits;
use crate::machine::note::Note;
use crate::types::block::SignedHeader;
use crate::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::key::{PublicKey, Verifier};
use crate::types::message::Message;
use crate::types::network::{Endpoint, Network};
use crate::types::seal::Step;
use crate::types::sign::SignRecord;

const SLOT_MS: u64 = 2_000;

fn network(nodes: u8) -> Rc<Network> {
    bed::network(nodes, &[("slot_seconds = 180", "slot_seconds = 2"), ("slots = 19", "slots = 5")])
}

struct World {
    network: Rc<Network>,
    nodes: Vec<Node>,
    disks: Vec<Disk>,
    verifier: Verifier,
    now_ms: u64,
    /// This node hears nothing.
    down: Option<usize>,
    /// Blocks that any node has shown to the other.
    shown: BTreeMap<(Round, Slot), BTreeSet<BlockHash>>,
    /// When node 0 is to die.
    death: Option<Death>,
    /// Votes that any node has shown, by voter and place.
    voted: BTreeMap<(PublicKey, u64, u32, Step), BTreeSet<Option<Hash>>>,
    /// Blocks that node 1 has said it holds.
    stored: Vec<BlockHash>,
    /// Views after the first that node 0 has said it enters, with their indices.
    entered: Vec<(u64, u32)>,
}

/// In the event of its so manieth vote from now on, after so many of the effects.
struct Death {
    vote: usize,
    effects: usize,
}

impl World {
    fn new(count: u8) -> World {
        World::of(network(count), count)
    }

    /// The first founders run, one or two of them.
    fn of(network: Rc<Network>, count: u8) -> World {
        let mut world = World {
            nodes: Vec::new(),
            disks: (0..count).map(|_| Disk::default()).collect(),
            verifier: Verifier::default(),
            now_ms: network.clock.origin.0,
            network,
            down: None,
            shown: BTreeMap::new(),
            voted: BTreeMap::new(),
            death: None,
            stored: Vec::new(),
            entered: Vec::new(),
        };
        for index in 0..usize::from(count) {
            let node = world.open(index);
            world.nodes.push(node);
        }
        world
    }

    fn now(&self) -> Now {
        let mono = Monotonic(self.now_ms + 100_000 - self.network.clock.origin.0);
        Now { wall: Timestamp(self.now_ms), mono, synchronised: true }
    }

    fn open(&self, index: usize) -> Node {
        let setup = Setup {
            network: self.network.clone(),
            key: bed::key(u8::try_from(index).expect("few nodes") + 1),
            seed: hash("test", &[&[u8::try_from(index).expect("few nodes")]]),
            built: Timestamp(0),
            signed: self.disks[index].signed,
            seen: self.disks[index].signed,
            verifier: self.verifier.clone(),
            limits: Limits::default(),
        };
        Node::open(setup, self.now(), &self.disks[index]).expect("the disk is whole")
    }

    /// Whether node 0 is to die in the event with these effects.
    fn dies(&mut self, index: usize, effects: &[Effect]) -> bool {
        let votes = matches!(effects.first(), Some(Effect::Guard(SignRecord::Vote(_))));
        let Some(death) = self.death.as_mut().filter(|_| index == 0 && votes) else { return false };
        // Once that vote is over, no other is it.
        death.vote = death.vote.wrapping_sub(1);
        death.vote == 0 && effects.len() >= death.effects
    }

    /// Runs an event and all that follows from it; messages and dials arrive at once.
    fn deliver(&mut self, index: usize, event: Event) {
        let mut events = VecDeque::from([(index, event)]);
        while let Some((index, event)) = events.pop_front() {
            if self.down == Some(index) {
                continue;
            }
            let now = self.now();
            let mut effects = self.nodes[index].handle(now, event, &self.disks[index]);
            if self.dies(index, &effects) {
                let count = self.death.take().map_or(0, |death| death.effects);
                effects.truncate(count);
                self.down = Some(index);
            }
            for effect in effects {
                events.extend(self.perform(index, effect));
            }
        }
    }

    /// Does what a node wants done; what comes of it, and for whom.
    fn perform(&mut self, index: usize, effect: Effect) -> Vec<(usize, Event)> {
        match effect {
            Effect::Guard(record) => {
                let admitted = self.disks[index].signed.admit(record);
                self.disks[index].signed = admitted.expect("nothing is signed twice");
            }
            Effect::Persist(batch) => self.disks[index].write(batch),
            Effect::Send { message, .. } => {
                self.note_shown(&message);
                let bytes = u32::try_from(message.to_frame().len()).expect("short");
                return vec![(1 - index, Event::Received { peer: PeerId(1), message, bytes })];
            }
            // One connection is enough, and this world has but one.
            Effect::Dial { .. } if index == 1 => {}
            Effect::Dial { endpoint } if self.down.is_some() || endpoint != bed::endpoint(2) => {
                return vec![(index, Event::DialFailed { endpoint })];
            }
            Effect::Dial { endpoint } => {
                let connected = |(side, dialled)| {
                    let far = Endpoint { port: 9, ..endpoint };
                    let event = Event::Connected {
                        peer: PeerId(1),
                        endpoint: if dialled { endpoint } else { far },
                        dialled,
                        channel: Hash([7; 32]),
                    };
                    (side, event)
                };
                return [(index, true), (1 - index, false)].map(connected).into();
            }
            Effect::Close { .. } | Effect::Stop(_) => {
                panic!("nobody has a reason to close: {effect:?}")
            }
            Effect::Note(note) if index == 1 => {
                if let Note::BlockStored { point, .. } = note {
                    self.stored.push(point.hash);
                }
            }
            Effect::Note(note) => {
                if let Note::ViewEntered { index, view } = note {
                    self.entered.push((index, view));
                }
            }
            Effect::Reply { .. } => {}
        }
        Vec::new()
    }

    fn note_shown(&mut self, message: &Message) {
        let mut show = |header: &SignedHeader| {
            let at = (header.header.round, header.header.slot);
            self.shown.entry(at).or_default().insert(header.hash());
        };
        for vote in message.votes() {
            let place = (vote.voter, vote.index, vote.view, vote.step);
            self.voted.entry(place).or_default().insert(vote.value);
        }
        if let Message::NewBlock { header, .. } = message {
            show(header);
        }
        if let Message::Headers { headers, .. } = message {
            headers.iter().for_each(show);
        }
    }

    fn run_until(&mut self, ms: u64) {
        while self.now_ms < self.network.clock.origin.0 + ms {
            self.now_ms += 100;
            for index in 0..self.nodes.len() {
                self.deliver(index, Event::Wake);
            }
        }
    }
}

#[test]
fn one_node_fills_every_forging_slot_and_goes_on_after_a_restart() {
    let mut world = World::new(1);
    world.run_until(2 * 6 * SLOT_MS);
    assert_eq!(world.nodes[0].status(world.now()).tip.point.height, Height(10));
    let before = world.nodes[0].status(world.now()).tip;
    world.nodes[0] = world.open(0);
    assert_eq!(world.nodes[0].status(world.now()).tip, before);
    world.run_until(3 * 6 * SLOT_MS);
    let status = world.nodes[0].status(world.now());
    assert_eq!(status.tip.point.height, Height(15));
    assert_eq!(status.tip.weight, 3, "one forger in each of three rounds");
    assert_eq!(status.duties.missed, 0);
}

#[test]
fn two_nodes_share_one_chain_with_their_heartbeats() {
    let mut world = World::new(2);
    world.run_until(3 * 6 * SLOT_MS);
    let statuses: Vec<_> = world.nodes.iter().map(|node| node.status(world.now())).collect();
    assert_eq!(statuses[0].tip, statuses[1].tip);
    assert_eq!(statuses[0].tip.point.height, Height(15));
    assert_eq!(statuses[0].mempool.messages, 0, "all heartbeats are in blocks");
}

#[test]
fn nothing_is_due_before_the_origin_but_a_look_at_the_clocks() {
    let mut world = World::new(1);
    world.now_ms -= 60_000;
    world.nodes[0] = world.open(0);
    for _ in 0..3 {
        world.deliver(0, Event::Wake);
        let now = world.now().mono;
        assert_eq!(world.nodes[0].next_wake(), now.plus(1_000));
        world.now_ms += 1_000;
    }
}
