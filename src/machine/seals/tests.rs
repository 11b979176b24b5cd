//! Chains of certificates: fetched, forged, split, listed.

use std::rc::Rc;

use super::{Checked, SealError, SealVerdict, Seals};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::event::{Fault, PeerId};
use crate::machine::note::Ruling;
use crate::machine::peers::Peers;
use crate::machine::records::{Table, index_key};
use crate::machine::serve;
use crate::machine::turn::Turn;
use crate::rules::quorum::{Electorate, QuorumError};
use crate::rules::sealed::Anchor;
use crate::types::block::Point;
use crate::types::clock::{Height, Round, Slot};
use crate::types::hash::{BlockHash, Hash, hash};
use crate::types::message::{ByeReason, Message, STATE_PART_BYTES, Tip};
use crate::types::network::{Listed, Network};
use crate::types::seal::{Checkpoint, Seal, Voter, voters_digest};

const FOUNDERS: u8 = 7;
const ANSWER_MS: u64 = 15_000;

/// Seals about blocks that nobody has, and who certifies the next.
struct Line {
    seals: Vec<Seal>,
    last: Checkpoint,
    electorate: Electorate,
}

fn network() -> Rc<Network> {
    bed::network(FOUNDERS, &[])
}

fn voters(network: &Network, numbers: &[u8]) -> Vec<Voter> {
    let mut voters: Vec<Voter> =
        numbers.iter().map(|it| Voter { public_key: bed::key(*it).public(), weight: 1 }).collect();
    voters.sort_by_key(|voter| network.address_of(&voter.public_key));
    voters
}

impl Line {
    fn new(ground: &Ground) -> Line {
        let genesis = Anchor::genesis(&ground.network).state;
        let last = genesis.checkpoint(0, Height(0), BlockHash(Hash([0; 32])));
        Line { seals: Vec::new(), last, electorate: Electorate::new(&genesis.voters) }
    }

    /// The next checkpoint; `about` makes it differ from others of its index.
    fn next(&self, about: &str) -> Checkpoint {
        let index = self.last.index + 1;
        let block = BlockHash(hash("block", &[about.as_bytes(), &index.to_be_bytes()]));
        Checkpoint {
            index,
            round: Round(index),
            height: Height(3 * index),
            block,
            state: block.0,
            ..self.last
        }
    }

    /// Seals it, by all voters; the next ones are `voters`, or the same.
    fn push(&mut self, ground: &Ground, mut checkpoint: Checkpoint, next: Option<Vec<Voter>>) {
        if let Some(voters) = &next {
            checkpoint.voters = voters_digest(voters);
        }
        let next = next.unwrap_or_default();
        let seal = ground.seal(&self.last, &self.electorate, checkpoint, (&[], &next));
        if seal.voters.is_some() {
            self.electorate = Electorate::new(&next);
        }
        self.last = checkpoint;
        self.seals.push(seal);
    }

    /// Another voter every third seal.
    fn grow(&mut self, ground: &Ground, count: u64, about: &str) {
        for _ in 0..count {
            let checkpoint = self.next(about);
            let other = u8::try_from(1 + checkpoint.index % 50).expect("small");
            let next = [1, 2, 3, 4, 5 + other];
            let next = voters(&ground.network, &next);
            let changes = checkpoint.index % 3 == 0;
            self.push(ground, checkpoint, changes.then_some(next));
        }
    }
}

struct Bed {
    ground: Ground,
    disk: Disk,
    seals: Seals,
    peers: Peers,
    ms: u64,
    /// The last question, of whatever event.
    question: Option<(PeerId, u32, u64)>,
}

impl Bed {
    fn new(network: Rc<Network>) -> Bed {
        let (ground, disk) = (Ground::new(network), Disk::default());
        let seals = open(&ground, &disk).expect("an empty disk");
        Bed { peers: ground.peers(), seals, ground, disk, ms: 1_000, question: None }
    }

    fn event<T>(
        &mut self,
        act: impl FnOnce(&mut Bed, &mut Turn) -> T,
    ) -> (T, Vec<(PeerId, Message)>) {
        let disk = std::mem::take(&mut self.disk);
        let network = self.ground.network.clone();
        let mut turn = bed::turn(&network, self.ms, &disk);
        let done = act(self, &mut turn);
        self.seals.tick(&mut turn, &self.peers);
        for peer in self.peers.take_gone() {
            self.seals.disconnected(peer);
        }
        let sent = bed::sent(&mut turn);
        self.question = asked(&sent).or(self.question);
        let batch = turn.db.into_batch();
        self.disk = disk;
        self.disk.write(batch);
        (done, sent)
    }

    fn add(&mut self, seal: &Seal) -> SealVerdict {
        self.event(|bed, turn| bed.seals.add(turn, seal.clone())).0
    }

    /// A peer that shows this seal comes; what we ask whom.
    fn join(&mut self, number: u8, seal: u64) -> Option<(PeerId, u32, u64)> {
        let id = u64::from(number);
        let (_, sent) = self.event(|bed, turn| {
            assert!(bed.ground.connect(&mut bed.peers, turn, id, number, true));
            let point = Point { height: Height(0), hash: BlockHash(Hash([0; 32])) };
            let (round, slot) = (Round(0), Slot(0));
            let tip = Tip { point, round, slot, weight: 0, seal, forger: None };
            bed.peers.peer_mut(PeerId(id)).expect("connected").tip = Some(tip);
            bed.seals.tip_moved();
        });
        asked(&sent)
    }

    /// An answer, and all events until it is checked; how many events that took and what came of it.
    fn answer(&mut self, from: PeerId, number: u32, seals: &[Seal]) -> (usize, Checked) {
        let taken = self.event(|bed, turn| bed.seals.seals(turn, from, number, seals)).0;
        if let Err(reason) = taken {
            return (0, Checked { blamed: Some((from, reason)), conflict: None });
        }
        let mut events = 0;
        while self.seals.has_work() {
            events += 1;
            let (checked, _) = self.event(|bed, turn| bed.seals.check(turn));
            if checked != Checked::default() {
                return (events, checked);
            }
        }
        (events, Checked::default())
    }

    /// What we ask after some time.
    fn later(&mut self, ms: u64) -> Option<(PeerId, u32, u64)> {
        self.ms += ms;
        asked(&self.event(|_, _| {}).1)
    }
}

fn open(ground: &Ground, disk: &Disk) -> Result<Seals, &'static str> {
    Seals::open(ground.network.clone(), ground.verifier.clone(), disk)
}

fn asked(sent: &[(PeerId, Message)]) -> Option<(PeerId, u32, u64)> {
    sent.iter().find_map(|(peer, message)| {
        let Message::WantSeals { request, after } = message else { return None };
        Some((*peer, *request, *after))
    })
}

#[test]
fn a_seal_is_taken_when_it_is_the_next_and_well_certified() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 4, "a");
    let [first, second, third, fourth] = &line.seals[..] else { panic!("four seals") };
    assert_eq!(bed.add(second), SealVerdict::Gap);
    assert_eq!(bed.add(first), SealVerdict::Added);
    assert_eq!(bed.add(first), SealVerdict::Known);
    assert_eq!(bed.add(second), SealVerdict::Added);
    let refused = |why| SealVerdict::Refused(why);
    let mut bad = third.clone();
    bad.voters = None;
    assert_eq!(bed.add(&bad), refused(SealError::Contents));
    bad = third.clone();
    bad.voters.as_mut().expect("they change").pop();
    assert_eq!(bed.add(&bad), refused(SealError::Contents));
    bad = third.clone();
    bad.certificate.signatures.swap(0, 1);
    assert_eq!(bed.add(&bad), refused(SealError::Quorum(QuorumError::Signature)));
    bad = third.clone();
    let founders = Electorate::new(&Anchor::genesis(&bed.ground.network).state.voters);
    // 4 of 7 are less than two thirds, 5 are more.
    bad.certificate = bed.ground.certificate(third.certificate.checkpoint, &founders, 4);
    assert_eq!(bed.add(&bad), refused(SealError::Quorum(QuorumError::Weight)));
    bad.certificate = bed.ground.certificate(third.certificate.checkpoint, &founders, 5);
    assert_eq!(bed.add(&bad), SealVerdict::Added);
    assert_eq!(bed.seals.electorate().voters().len(), 5, "the voters that the third brings");
    bad = fourth.clone();
    bad.voters = third.voters.clone();
    assert_eq!(bed.add(&bad), refused(SealError::Contents), "what did not change is not brought");
    assert_eq!(bed.add(fourth), SealVerdict::Added);
    let again = open(&bed.ground, &bed.disk).expect("whole");
    assert_eq!(again.certified(), bed.seals.certified());
    assert_eq!(again.electorate(), bed.seals.electorate());
}

#[test]
fn a_seal_that_is_not_later_than_the_one_before_is_none() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 1, "a");
    assert_eq!(bed.add(&line.seals[0]), SealVerdict::Added);
    let electorate = bed.seals.electorate().clone();
    let last = line.last;
    for same in [
        Checkpoint { round: last.round, ..line.next("b") },
        Checkpoint { height: last.height, ..line.next("b") },
    ] {
        let seal = bed.ground.seal(&last, &electorate, same, (&[], &[]));
        assert_eq!(bed.add(&seal), SealVerdict::Refused(SealError::Order));
    }
}

#[test]
fn a_damaged_record_is_found_at_open() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 4, "a");
    for seal in &line.seals {
        assert_eq!(bed.add(seal), SealVerdict::Added);
    }
    assert!(open(&bed.ground, &bed.disk).is_ok());
    // The last one, and the one that brought the voters of the last one.
    for index in [4, 3] {
        let mut disk = bed.disk.clone();
        let record = disk.entries.get_mut(&(Table::Seals, index_key(index))).expect("there");
        record.truncate(40);
        assert!(open(&bed.ground, &disk).is_err(), "{index}");
    }
}

#[test]
fn a_newcomer_gets_all_seals_in_pages() {
    let mut server = Bed::new(network());
    let mut line = Line::new(&server.ground);
    line.grow(&server.ground, 200, "a");
    for seal in &line.seals {
        assert_eq!(server.add(seal), SealVerdict::Added);
    }
    let mut bed = Bed::new(network());
    bed.join(2, 200);
    let mut pages = 0;
    while let Some((peer, number, after)) = bed.question.take() {
        let (_, sent) = server.event(|_, turn| serve::seals(turn, peer, number, after));
        let [(_, Message::Seals { request, seals })] = &sent[..] else { panic!("{sent:?}") };
        let (events, checked) = bed.answer(peer, *request, seals);
        assert_eq!(checked, Checked::default());
        let signatures: usize = seals.iter().map(|it| it.certificate.signatures.len()).sum();
        assert!(events >= signatures.div_ceil(64), "{signatures} in {events} events");
        pages += 1;
        // In the middle of it all the node restarts.
        if pages == 2 {
            bed.seals = open(&bed.ground, &bed.disk).expect("whole");
            bed.later(1);
        }
    }
    assert_eq!(bed.seals.certified(), &line.last);
    assert_eq!(bed.seals.electorate().digest(), line.electorate.digest());
    assert_eq!(pages, 4, "64 in each, one of them the last of the page before");
    assert!(bed.disk.entries == server.disk.entries, "the same records");
}

#[test]
fn who_is_late_is_passed_over_and_who_leaves_is_forgotten() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 2, "a");
    let (first, ..) = bed.join(2, 2).expect("it has newer ones");
    assert_eq!((first, bed.join(3, 2)), (PeerId(2), None), "one at a time");
    let (second, number, _) = bed.later(ANSWER_MS).expect("another");
    assert_eq!(second, PeerId(3));
    // What comes too late is nobody's fault, and nothing.
    assert_eq!(bed.answer(first, number - 1, &line.seals), (0, Checked::default()));
    assert_eq!(bed.seals.certified().index, 0);
    bed.event(|bed, turn| bed.peers.disconnected(turn, second, Fault::None));
    let (third, number, after) = bed.later(2 * ANSWER_MS).expect("the first one again");
    assert_eq!((third, after), (PeerId(2), 0));
    assert_eq!(bed.answer(third, number, &line.seals).1, Checked::default());
    assert_eq!(bed.seals.certified().index, 2);
}

#[test]
fn an_empty_answer_costs_a_peer_its_turn_and_an_answer_out_of_order_more() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 2, "a");
    let (peer, number, _) = bed.join(2, 2).expect("it has newer ones");
    assert_eq!(bed.answer(peer, number, &[]).1, Checked::default());
    assert_eq!(bed.later(1), None, "nobody else");
    let (peer, number, _) = bed.join(3, 2).expect("somebody else");
    let (_, checked) = bed.answer(peer, number, &line.seals[1..]);
    assert_eq!(checked.blamed, Some((peer, ByeReason::Invalid)));
}

#[test]
fn only_after_a_common_seal_a_wrong_certificate_is_the_peers_fault() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 5, "a");
    for seal in &line.seals[..2] {
        assert_eq!(bed.add(seal), SealVerdict::Added);
    }
    let mut forged = line.seals.clone();
    forged[2].certificate.signatures[1] = forged[3].certificate.signatures[1];
    let (peer, number, after) = bed.join(2, 5).expect("it has newer ones");
    assert_eq!(after, 1, "our last one too");
    let (_, checked) = bed.answer(peer, number, &forged[1..]);
    assert_eq!(checked.blamed, Some((peer, ByeReason::Invalid)));
    assert_eq!(bed.seals.certified().index, 2);
    // Of another network of seals, whose voters are others: nothing shows whose chain is the right one.
    let mut other = Line::new(&bed.ground);
    other.push(&bed.ground, other.next("b"), Some(voters(&bed.ground.network, &[30, 31, 32, 33])));
    other.grow(&bed.ground, 3, "b");
    let (peer, number, _) = bed.join(3, 5).expect("it has newer ones");
    let (_, checked) = bed.answer(peer, number, &other.seals[1..]);
    assert_eq!(checked, Checked::default());
    assert_eq!(bed.later(1), None, "it is passed over");
    assert_eq!(bed.seals.certified().index, 2);
}

#[test]
fn two_whose_voters_have_come_to_differ_find_the_seal_at_which_they_parted() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 1, "a");
    let mut other =
        Line { seals: line.seals.clone(), last: line.last, electorate: line.electorate.clone() };
    line.grow(&bed.ground, 3, "a");
    for seal in &line.seals {
        assert_eq!(bed.add(seal), SealVerdict::Added);
    }
    // The first has voters of both; the next ones do not.
    other.push(&bed.ground, other.next("b"), Some(voters(&bed.ground.network, &[30, 31, 32, 33])));
    (0..4).for_each(|_| other.push(&bed.ground, other.next("b"), None));
    let (mut asked, mut found) = (bed.join(2, 6), None);
    for due in [3, 2, 0] {
        let (peer, number, after) = asked.expect("it has newer ones");
        assert_eq!((after, &found), (due, &None), "twice as far back each time");
        let from = usize::try_from(after).expect("few");
        let (_, checked) = bed.answer(peer, number, &other.seals[from..]);
        assert_eq!(checked.blamed, None);
        found = checked.conflict;
        assert_eq!(bed.later(1), None, "it is passed over");
        asked = bed.later(60_000);
    }
    let conflict = found.expect("both are well certified");
    assert_eq!((conflict.ruling, &conflict.other), (Ruling::Older, &other.seals[1]));
    assert_eq!(bed.seals.certified(), &line.last);
}

#[test]
fn a_second_checkpoint_halts_at_the_last_index_and_is_kept_below() {
    let mut bed = Bed::new(network());
    let mut line = Line::new(&bed.ground);
    line.grow(&bed.ground, 1, "a");
    let first = Line { seals: Vec::new(), last: line.last, electorate: line.electorate.clone() };
    line.grow(&bed.ground, 1, "a");
    let mut other = first;
    other.grow(&bed.ground, 2, "b");
    assert_eq!(bed.add(&line.seals[0]), SealVerdict::Added);
    assert_eq!(bed.add(&line.seals[1]), SealVerdict::Added);
    let (peer, number, _) = bed.join(2, 3).expect("it has newer ones");
    let (_, checked) = bed.answer(peer, number, &other.seals);
    let conflict = checked.conflict.expect("both are well certified");
    assert_eq!(conflict.ruling, Ruling::Halts);
    assert_eq!((&conflict.held, &conflict.other), (&line.last, &other.seals[0]));
    assert_eq!(checked.blamed, None, "who tells us did nothing wrong");
    line.grow(&bed.ground, 1, "a");
    assert_eq!(bed.add(&line.seals[2]), SealVerdict::Added);
    let SealVerdict::Conflict(conflict) = bed.add(&other.seals[0]) else { panic!("a conflict") };
    assert_eq!(conflict.ruling, Ruling::Older);
    let mut weak = other.seals[0].clone();
    weak.certificate =
        bed.ground.certificate(other.seals[0].certificate.checkpoint, &line.electorate, 2);
    assert!(matches!(bed.add(&weak), SealVerdict::Refused(_)), "old keys need a quorum too");
}

/// The network with a checkpoint listed, as the next of a line, that brings these voters.
fn listing(line: &Line, brought: &[u8]) -> (Rc<Network>, Checkpoint) {
    let mut network = Network::clone(&network());
    let brought = voters(&network, brought);
    let voters = voters_digest(&brought);
    let checkpoint = Checkpoint { voters, ..line.next("listed") };
    network.checkpoints = vec![Listed { checkpoint, voters: Some(brought) }];
    (Rc::new(network), checkpoint)
}

#[test]
fn a_listed_checkpoint_brings_voters_and_outranks_those_before() {
    let ground = Ground::new(network());
    let mut line = Line::new(&ground);
    line.grow(&ground, 2, "a");
    let (network, listed) = listing(&line, &[40, 41, 42]);
    let mut bed = Bed::new(network);
    for seal in &line.seals {
        assert_eq!(bed.add(seal), SealVerdict::Added);
    }
    assert_eq!(bed.seals.certified(), &listed, "it is next, so it is in force");
    assert_eq!(bed.seals.electorate().voters().len(), 3);
    // What the old voters say of its index is kept, and nothing more.
    let mut old = Line { seals: Vec::new(), last: line.last, electorate: line.electorate };
    old.grow(&bed.ground, 1, "old");
    let SealVerdict::Conflict(conflict) = bed.add(&old.seals[0]) else { panic!("a conflict") };
    assert_eq!((conflict.ruling, conflict.held), (Ruling::Listed, listed));
    // It is nothing to show to others; the seals of its voters are asked for after it.
    let (_, sent) = bed.event(|_, turn| serve::seals(turn, PeerId(9), 1, 0));
    assert!(matches!(&sent[0].1, Message::Seals { seals, .. } if seals.len() == 2), "{sent:?}");
    for after in [2, u64::MAX - 1, u64::MAX] {
        let (_, sent) = bed.event(|_, turn| serve::seals(turn, PeerId(9), 1, after));
        assert!(matches!(&sent[0].1, Message::Seals { seals, .. } if seals.is_empty()));
    }
    let (peer, number, after) = bed.join(2, 4).expect("it has newer ones");
    assert_eq!(after, 3);
    let electorate = bed.seals.electorate().clone();
    let mut new = Line { seals: Vec::new(), last: listed, electorate: (*electorate).clone() };
    new.grow(&bed.ground, 1, "new");
    assert_eq!(bed.answer(peer, number, &new.seals).1, Checked::default());
    let mut again = open(&bed.ground, &bed.disk).expect("whole");
    assert_eq!(again.contradiction(&bed.disk), None);
    assert_eq!(again.certified(), &new.last);
}

#[test]
fn seals_against_a_listed_checkpoint_are_found_before_and_after() {
    let ground = Ground::new(network());
    let mut line = Line::new(&ground);
    line.grow(&ground, 2, "a");
    let (network, listed) = listing(&line, &[40, 41, 42]);
    // Before: a seal that leaves it no place is not the next one.
    let mut bed = Bed::new(network);
    assert_eq!(bed.add(&line.seals[0]), SealVerdict::Added);
    let wide = Checkpoint { round: listed.round, height: listed.height, ..line.next("b") };
    let wide = Checkpoint { index: 2, ..wide };
    let last = *bed.seals.certified();
    let seal = bed.ground.seal(&last, bed.seals.electorate(), wide, (&[], &[]));
    let SealVerdict::Conflict(conflict) = bed.add(&seal) else { panic!("a conflict") };
    assert_eq!((conflict.ruling, conflict.held), (Ruling::Listed, listed));
    // After: the node that took the old voters' seal, restarted with the new file.
    let mut late = Bed::new(ground.network.clone());
    let mut old = line;
    old.grow(&ground, 1, "old");
    for seal in &old.seals {
        assert_eq!(late.add(seal), SealVerdict::Added);
    }
    let mut opened = open(&bed.ground, &late.disk).expect("whole");
    assert_eq!(opened.contradiction(&late.disk), Some((listed, old.last)));
}

#[test]
fn a_state_is_served_in_parts() {
    let mut bed = Bed::new(network());
    let whole: Vec<u8> = (0..=255).cycle().take(STATE_PART_BYTES + 10).collect();
    bed.disk.entries.insert((Table::States, index_key(7)), whole.clone());
    let mut part = |index, part| {
        let (_, sent) = bed.event(|_, turn| serve::state(turn, PeerId(2), 1, index, part));
        sent.into_iter().next().expect("an answer").1
    };
    let mut got = Vec::new();
    for number in 0..2 {
        let Message::State { bytes_total, bytes, .. } = part(7, number) else { panic!("a part") };
        assert_eq!(bytes_total as usize, whole.len());
        got.extend(bytes);
    }
    assert!(got == whole);
    for (index, number) in [(7, 2), (7, u32::MAX), (8, 0)] {
        assert!(matches!(part(index, number), Message::Gone { .. }), "{index} {number}");
    }
}
