//! What somebody signed twice becomes known to those who have seen only one of the two: three nodes in a line, and a
//! fourth founder, who talks to the one in the middle.

use super::*;
use crate::machine::bed::Ground;
use crate::machine::limits::Limits;
use crate::machine::note::MissReason;
use crate::machine::status::Status;
use crate::types::evidence::OffenceKind;
use crate::types::message::Message;
use crate::types::seal::Vote;

const OFFENDER: u8 = 4;
const MIDDLE: usize = 1;
const END: usize = 2;
/// The offender's connection.
const STRANGER: PeerId = PeerId(9);

struct Line {
    network: Rc<Network>,
    verifier: Verifier,
    nodes: Vec<Node>,
    disks: Vec<Disk>,
    now_ms: u64,
    /// What the middle has sent to the end.
    sent: Vec<Message>,
}

impl Line {
    fn new() -> Line {
        let network = network(4);
        let (nodes, disks) = (Vec::new(), vec![Disk::default(); 3]);
        let (verifier, now_ms) = (Verifier::default(), network.clock.origin.0);
        let mut line = Line { network, verifier, nodes, disks, now_ms, sent: Vec::new() };
        for number in 1..=3 {
            let setup = Setup {
                network: line.network.clone(),
                key: bed::key(number),
                seed: hash("line", &[&[number]]),
                built: Timestamp(0),
                signed: line.disks[0].signed,
                seen: line.disks[0].signed,
                verifier: line.verifier.clone(),
                limits: Limits::default(),
            };
            let disk = &line.disks[0];
            line.nodes.push(Node::open(setup, line.now(), disk).expect("the disk is empty"));
        }
        line.run(500);
        let (endpoint, channel) = (bed::endpoint(OFFENDER), Hash([9; 32]));
        let connected = Event::Connected { peer: STRANGER, endpoint, dialled: false, channel };
        line.deliver(MIDDLE, connected);
        let hello = Ground::new(line.network.clone()).hello(&bed::key(OFFENDER), channel, false);
        line.say(Message::Hello(hello));
        line
    }

    fn now(&self) -> Now {
        let mono = Monotonic(self.now_ms + 100_000 - self.network.clock.origin.0);
        Now { wall: Timestamp(self.now_ms), mono, synchronised: true }
    }

    /// The offender says something to the middle.
    fn say(&mut self, message: Message) {
        let bytes = u32::try_from(message.to_frame().len()).expect("short");
        let message = Rc::new(message);
        self.deliver(MIDDLE, Event::Received { peer: STRANGER, message, bytes });
    }

    fn deliver(&mut self, index: usize, event: Event) {
        let mut events = VecDeque::from([(index, event)]);
        while let Some((index, event)) = events.pop_front() {
            let now = self.now();
            for effect in self.nodes[index].handle(now, event, &self.disks[index]) {
                events.extend(self.perform(index, effect));
            }
        }
    }

    /// Does what a node wants done. Each calls its neighbours by their places, from 1.
    fn perform(&mut self, index: usize, effect: Effect) -> Vec<(usize, Event)> {
        let name = |index: usize| PeerId(index as u64 + 1);
        match effect {
            Effect::Guard(record) => {
                let admitted = self.disks[index].signed.admit(record);
                self.disks[index].signed = admitted.expect("nothing is signed twice");
            }
            Effect::Persist(batch) => self.disks[index].write(batch),
            Effect::Send { peers, message } => {
                let bytes = u32::try_from(message.to_frame().len()).expect("short");
                let near = (0..3).filter(|other| peers.contains(&name(*other)));
                if index == MIDDLE && peers.contains(&name(END)) {
                    self.sent.push((*message).clone());
                }
                let event = |message| Event::Received { peer: name(index), message, bytes };
                return near.map(|other| (other, event(message.clone()))).collect();
            }
            Effect::Dial { endpoint } => {
                let right = u8::try_from(index + 2).expect("few");
                if index == END || endpoint != bed::endpoint(right) {
                    return vec![(index, Event::DialFailed { endpoint })];
                }
                let channel = Hash([right; 32]);
                let far = bed::endpoint(right - 1);
                let connected = |peer, endpoint, dialled| Event::Connected {
                    peer: name(peer),
                    endpoint,
                    dialled,
                    channel,
                };
                return vec![
                    (index, connected(index + 1, endpoint, true)),
                    (index + 1, connected(index, far, false)),
                ];
            }
            // It answers no ping.
            Effect::Close { peer: STRANGER, .. } => {}
            Effect::Close { .. } | Effect::Stop(_) => panic!("no reason to close: {effect:?}"),
            Effect::Reply { .. } | Effect::Note(_) => {}
        }
        Vec::new()
    }

    fn run(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now_ms += 100;
            for index in 0..self.nodes.len() {
                self.deliver(index, Event::Wake);
            }
        }
    }

    fn status(&self, index: usize) -> Status {
        self.nodes[index].status(self.now())
    }

    /// The offences that a node shows, and whether its chain holds them.
    fn evidence(&self, index: usize) -> Vec<(OffenceKind, bool)> {
        let evidence = self.status(index).evidence;
        let offender = self.network.address_of(&bed::key(OFFENDER).public()).to_string();
        assert!(evidence.iter().all(|it| it.offender == offender));
        evidence.into_iter().map(|it| (it.kind, it.in_chain)).collect()
    }

    /// The end knows of it at once, then the chain, and then it is in a seal.
    fn ends_in_a_penalty(&mut self, kind: OffenceKind) {
        for index in [0, MIDDLE, END] {
            assert_eq!(self.evidence(index), [(kind, false)], "node {index}");
        }
        self.run(3 * 6 * SLOT_MS);
        let address = self.network.address_of(&bed::key(OFFENDER).public());
        for index in [0, MIDDLE, END] {
            assert_eq!(self.evidence(index), [(kind, true)], "node {index}");
            let sealed = self.nodes[index].chain.sealed();
            assert!(sealed.seal.index > 0, "three of four are enough");
            assert!(sealed.state.penalties.iter().any(|it| it.address == address));
            assert_eq!(self.status(index).tip, self.status(0).tip);
            let recent = self.status(index).duties.recent;
            assert!(recent.iter().all(|it| it.missed != Some(MissReason::TipsDiffer)));
        }
    }
}

#[test]
fn two_votes_of_one_voter_are_told_to_who_saw_none() {
    let mut line = Line::new();
    line.run(2 * SLOT_MS);
    let vote = |byte: u8| {
        let value = Some(Hash([byte; 32]));
        let place = (1, 0, Step::Prepare);
        Vote::sign(place, value, &bed::key(OFFENDER), &line.network, &line.verifier)
    };
    let (first, second) = (vote(1), vote(2));
    line.say(Message::Vote(first));
    assert!(line.evidence(MIDDLE).is_empty());
    line.say(Message::Vote(second));
    let told = line.sent.len();
    line.say(Message::Vote(second));
    line.say(Message::Vote(first));
    assert_eq!(line.sent.len(), told, "once");
    line.ends_in_a_penalty(OffenceKind::Votes { index: 1 });
}

#[test]
fn two_blocks_of_one_slot_are_told_to_who_saw_one() {
    let mut line = Line::new();
    let offender = line.network.address_of(&bed::key(OFFENDER).public());
    let slots = (0..3).flat_map(|round| (1..5).map(move |slot| (Round(round), Slot(slot))));
    let plan = |round| line.nodes[MIDDLE].chain.plan(round);
    let mut its = slots.filter(|(round, slot)| plan(*round).juror(*slot) == Some(&offender));
    let (round, slot) = its.next().expect("a fourth of the tickets are its");
    let start = line.network.clock.start_of(round, slot).0;
    line.run(start + 100 - line.now_ms);
    let ground = Ground::new(line.network.clone());
    let chain = &line.nodes[MIDDLE].chain;
    let block = |ms| ground.block(chain.best(), chain.state(), (round, slot), Vec::new(), ms);
    // The lower hash stays the tip.
    let mut blocks = [block(1), block(2)];
    blocks.sort_by_key(|block| block.header.hash());
    let tip = blocks[0].header.point();
    let shown = blocks.map(|it| Message::NewBlock { header: it.header, ids: Vec::new() });
    line.say(shown[0].clone());
    assert!(line.evidence(MIDDLE).is_empty());
    assert_eq!(line.status(END).tip, line.status(MIDDLE).tip);
    line.say(shown[1].clone());
    let told = |line: &Line| line.sent.iter().filter(|it| **it == shown[1]).count();
    assert_eq!(told(&line), 1);
    line.say(shown[1].clone());
    assert_eq!(told(&line), 1, "once");
    let seen = line.nodes[END].peers.peer_mut(PeerId(2)).and_then(|peer| peer.tip);
    assert_eq!(seen.map(|seen| seen.point), Some(tip), "the other one is not the middle's tip");
    line.ends_in_a_penalty(OffenceKind::Blocks { round });
}
