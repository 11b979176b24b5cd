//! What of our own signatures, seen elsewhere, means what.

mod forged;

use std::rc::Rc;

use super::{Custody, Trace, View};
use crate::machine::bed::{self, Disk};
use crate::machine::event::{Effect, StopReason};
use crate::machine::note::{ClockDistrust, Note};
use crate::machine::records::{DutyRecord, StoredHeader, Table, duty_key, point_key};
use crate::machine::status::SignStanding;
use crate::machine::turn::Turn;
use crate::rules::quorum::Electorate;
use crate::types::block::{Header, Point, SealRef, SignedHeader, genesis};
use crate::types::clock::{Height, Round, Slot, Timestamp};
use crate::types::codec;
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::{SecretKey, Verifier};
use crate::types::message::Message;
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Quorum, Step, Vote, Voter};
use crate::types::sign::{BlockRecord, Doubt, Lock, SignRecord, SignState, Standing, VoteRecord};
use crate::types::tx::{Body, Tx};

const OWN: u8 = 1;
/// The round in which the node of these tests starts, in its slot 5.
const START: u64 = 10;

struct Bed {
    network: Rc<Network>,
    verifier: Verifier,
    custody: Custody,
    signed: SignState,
    view: View,
    heartbeat: Option<Round>,
}

/// What an event led to.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    guarded: Option<SignState>,
    notes: Vec<Note>,
    stop: Option<StopReason>,
}

impl Bed {
    fn new(signed: SignState) -> Bed {
        Bed::on(bed::network(2, &[]), &Disk::default(), signed)
    }

    /// A node that starts now, and has looked at its clock once.
    fn on(network: Rc<Network>, disk: &Disk, mut signed: SignState) -> Bed {
        let verifier = Verifier::default();
        let own = bed::key(OWN).public();
        let tip = genesis(&network);
        let custody = Custody::open(
            own,
            network.clone(),
            verifier.clone(),
            &tip,
            (&mut signed, &SignState::default()),
            disk,
        );
        let (built, distrust, is_listening, is_behind) = (Timestamp(0), None, true, false);
        let view = View { built, distrust, is_listening, is_behind };
        Bed { network, verifier, custody, signed, view, heartbeat: None }
    }

    /// One event: what is done in it, and the look that ends it.
    fn event(
        &mut self,
        at: (u64, u32),
        act: impl FnOnce(&mut Custody, &mut Turn, &mut SignState),
    ) -> Outcome {
        let start = self.network.clock.start_of(Round(at.0), Slot(at.1));
        let disk = Disk::default();
        let ms = start.since(self.network.clock.origin) + 1;
        let mut turn = bed::turn(&self.network, ms, &disk);
        act(&mut self.custody, &mut turn, &mut self.signed);
        self.custody.tick(&mut turn, &self.view, &mut self.signed);
        let mut outcome = Outcome::default();
        for effect in turn.out.take(turn.db.into_batch()) {
            match effect {
                Effect::Guard(SignRecord::Correction(state)) => outcome.guarded = Some(state),
                Effect::Note(note) => outcome.notes.push(note),
                Effect::Stop(reason) => outcome.stop = Some(reason),
                Effect::Guard(SignRecord::Block(_) | SignRecord::Vote(_))
                | Effect::Persist(_)
                | Effect::Send { .. }
                | Effect::Dial { .. }
                | Effect::Close { .. }
                | Effect::Reply { .. } => panic!("custody only watches: {effect:?}"),
            }
        }
        assert!(outcome.guarded.is_none_or(|state| state == self.signed), "on disk as in memory");
        outcome
    }

    fn look(&mut self, at: (u64, u32)) -> Outcome {
        self.event(at, |_, _, _| {})
    }

    fn hear(&mut self, at: (u64, u32), message: &Message) -> Outcome {
        let heartbeat = self.heartbeat;
        self.event(at, |custody, turn, signed| {
            custody.hear(turn, message, heartbeat, signed);
        })
    }

    fn header(&self, key: &SecretKey, at: (u64, u32), byte: u8) -> SignedHeader {
        let seal = SealRef { index: 0, checkpoint: Hash::default() };
        let header = Header {
            version: 0,
            height: Height(1),
            round: Round(at.0),
            slot: Slot(at.1),
            timestamp: Timestamp(0),
            previous: BlockHash(Hash::default()),
            messages_root: Hash([byte; 32]),
            seal,
            reveal: None,
            forger: key.public(),
        };
        header.sign(key, &self.network, &self.verifier)
    }

    fn block(&self, at: (u64, u32), byte: u8) -> Message {
        Message::NewBlock { header: self.header(&bed::key(OWN), at, byte), ids: vec![] }
    }

    fn block_record(&self, at: (u64, u32), byte: u8) -> BlockRecord {
        let hash = self.header(&bed::key(OWN), at, byte).hash();
        BlockRecord { round: Round(at.0), slot: Slot(at.1), hash }
    }

    fn vote(&self, view: u32, step: Step, byte: u8) -> Vote {
        let value = (byte != 0).then_some(Hash([byte; 32]));
        Vote::sign((5, view, step), value, &bed::key(OWN), &self.network, &self.verifier)
    }

    fn heartbeat_of(&self, round: u64) -> Message {
        let body = Body::Heartbeat { version: 1, commitment: Hash::default(), capacity: 1 };
        let key = &bed::key(OWN);
        Message::Messages(vec![Tx::sign(Round(round), body, key, &self.network, &self.verifier)])
    }
}

fn standing(standing: Standing) -> SignState {
    SignState { standing, ..SignState::default() }
}

fn with_vote(view: u32, step: Step, byte: u8) -> SignState {
    let value = (byte != 0).then_some(Hash([byte; 32]));
    let vote = Some(VoteRecord { index: 5, view, step, value, lock: None });
    SignState { vote, ..SignState::default() }
}

#[test]
fn a_block_of_before_that_the_state_lacks_leaves_it_to_the_operator() {
    let doubted = |from, to: Standing| {
        let mut bed = Bed::new(standing(from));
        bed.look((START, 5));
        let outcome = bed.hear((START, 6), &bed.block((START, 4), 1));
        let block = Some(bed.block_record((START, 4), 1));
        assert_eq!(
            outcome.guarded,
            Some(SignState { block, vote: None, standing: to }),
            "{from:?}"
        );
        assert_eq!(outcome.stop, None);
        let again = bed.hear((START, 6), &bed.block((START, 4), 1));
        assert_eq!(again, Outcome::default(), "once is enough");
        outcome.notes.len()
    };
    let unproven = Standing::Unproven;
    assert_eq!(doubted(Standing::Proven, unproven(Doubt::Older)), 1);
    assert_eq!(doubted(Standing::New, unproven(Doubt::Missing)), 1);
    // The operator knows, and waits to learn just this.
    assert_eq!(doubted(Standing::Waiting, Standing::Waiting), 0);
    assert_eq!(doubted(unproven(Doubt::Copied), unproven(Doubt::Copied)), 0);
}

#[test]
fn a_block_made_since_we_watch_is_not_ours() {
    for before in
        [Standing::Proven, Standing::New, Standing::Waiting, Standing::Unproven(Doubt::Older)]
    {
        let mut bed = Bed::new(standing(before));
        bed.look((START, 5));
        let outcome = bed.hear((START, 6), &bed.block((START, 6), 1));
        let trace = Trace::Record(SignRecord::Block(bed.block_record((START, 6), 1)));
        assert_eq!(outcome.notes[0], Note::KeyElsewhere { trace }, "{before:?}");
        assert_eq!(outcome.stop, Some(StopReason::KeyElsewhere));
        let state = outcome.guarded.expect("it is remembered before the end");
        assert_eq!(state.standing, Standing::Unproven(Doubt::Elsewhere));
        assert_eq!(state.block, Some(bed.block_record((START, 6), 1)));
    }
}

#[test]
fn our_own_blocks_come_back_and_mean_nothing() {
    let mut bed = Bed::new(SignState::default());
    bed.look((START, 5));
    bed.signed.block = Some(bed.block_record((START, 7), 1));
    for (at, byte) in [((START, 7), 1), ((START, 6), 9), ((START - 1, 18), 1)] {
        assert_eq!(bed.hear((START, 8), &bed.block(at, byte)), Outcome::default(), "{at:?}");
    }
    // But not another one in the place of what we hold, however old it is.
    let mut bed = Bed::new(SignState::default());
    bed.signed.block = Some(bed.block_record((START - 2, 7), 1));
    bed.look((START, 5));
    let outcome = bed.hear((START, 8), &bed.block((START - 2, 7), 2));
    assert_eq!(outcome.stop, Some(StopReason::KeyElsewhere));
}

#[test]
fn what_is_not_signed_by_us_for_this_network_and_its_time_is_no_evidence() {
    let mut bed = Bed::new(SignState::default());
    bed.look((START, 5));
    let own = bed.header(&bed::key(OWN), (START, 6), 1);
    let mut altered = own.clone();
    altered.header.messages_root = Hash([2; 32]);
    let mut claimed = bed.header(&bed::key(2), (START, 6), 1);
    claimed.header.forger = bed::key(OWN).public();
    let other = Bed::on(bed::network(3, &[]), &Disk::default(), SignState::default());
    let foreign = other.header(&bed::key(OWN), (START, 6), 1);
    let of_peer = bed.header(&bed::key(2), (START, 6), 1);
    // In the clock of a forger that was ahead, or in a slot that nobody forges in.
    let early = bed.header(&bed::key(OWN), (START, 7), 1);
    let last = bed.header(&bed::key(OWN), (u64::MAX, 3), 1);
    let sealing = bed.header(&bed::key(OWN), (START - 1, 19), 1);
    for header in [altered, claimed, foreign, of_peer, early, last, sealing] {
        let message = Message::Headers { request: 1, headers: vec![header] };
        assert_eq!(bed.hear((START, 6), &message), Outcome::default());
    }
    let message = Message::Headers { request: 1, headers: vec![own] };
    assert_eq!(bed.hear((START, 6), &message).stop, Some(StopReason::KeyElsewhere));
}

#[test]
fn votes_are_held_against_what_was_voted() {
    let held = with_vote(3, Step::Prepare, 1);
    // Later ones: from before we watched as long as such may come, then not ours.
    let elsewhere = (Standing::Unproven(Doubt::Elsewhere), true);
    let older = (Standing::Unproven(Doubt::Older), false);
    let proven = (Standing::Proven, false);
    for (at, view, step, byte, expected) in [
        (START + 1, 3, Step::Prepare, 1, proven),
        (START + 1, 3, Step::Propose, 2, proven),
        (START + 1, 2, Step::Commit, 2, proven),
        (START + 1, 3, Step::Prepare, 2, elsewhere),
        (START + 1, 3, Step::Prepare, 0, elsewhere),
        (START + 1, 3, Step::Commit, 0, older),
        (START + 2, 4, Step::Propose, 1, older),
        (START + 3, 3, Step::Commit, 0, elsewhere),
        (START + 9, 4, Step::Propose, 1, elsewhere),
    ] {
        let mut bed = Bed::new(held);
        bed.look((START, 5));
        let vote = bed.vote(view, step, byte);
        for message in [Message::Vote(vote), Message::Votes(vec![vote])] {
            let mut bed = Bed::new(held);
            bed.look((START, 5));
            let outcome = bed.hear((at, 0), &message);
            let found = (bed.signed.standing, outcome.stop.is_some());
            assert_eq!(found, expected, "view {view} {step:?} {byte} in round {at}");
            assert_eq!(outcome.guarded.is_some(), found != proven);
        }
    }
}

#[test]
fn votes_that_come_late_because_nobody_was_there_are_of_before() {
    let mut bed = Bed::new(with_vote(3, Step::Prepare, 1));
    bed.look((START, 5));
    bed.view.is_listening = false;
    bed.look((START + 1, 0));
    bed.view.is_listening = true;
    let outcome = bed.hear((START + 5, 0), &Message::Vote(bed.vote(4, Step::Prepare, 2)));
    assert_eq!((bed.signed.standing, outcome.stop), (Standing::Unproven(Doubt::Older), None));
}

#[test]
fn a_vote_for_zeros_is_no_second_vote() {
    let mut bed = Bed::new(with_vote(3, Step::Prepare, 0));
    bed.look((START, 5));
    let zeros = Vote { value: Some(Hash::default()), ..bed.vote(3, Step::Prepare, 0) };
    assert_eq!(bed.hear((START, 6), &Message::Vote(zeros)), Outcome::default());
    let forged = Vote { value: Some(Hash([7; 32])), ..bed.vote(3, Step::Prepare, 0) };
    assert_eq!(bed.hear((START, 6), &Message::Vote(forged)), Outcome::default());
}

#[test]
fn who_waits_learns_its_last_vote_and_its_lock_from_others() {
    let mut bed = Bed::new(standing(Standing::Waiting));
    bed.look((START, 5));
    let lock = |view, byte| Some(Lock { view, value: Hash([byte; 32]) });
    let place = |signed: &SignState| signed.vote.map(|vote| (vote.view, vote.step, vote.lock));
    bed.hear((START, 6), &Message::Vote(bed.vote(4, Step::Prepare, 2)));
    assert_eq!(place(&bed.signed), Some((4, Step::Prepare, None)));
    bed.hear((START, 6), &Message::Vote(bed.vote(2, Step::Commit, 1)));
    assert_eq!(place(&bed.signed), Some((4, Step::Prepare, lock(2, 1))));
    // A commit for nothing locks nothing, an earlier one says nothing new.
    bed.hear((START, 6), &Message::Vote(bed.vote(3, Step::Commit, 0)));
    let outcome = bed.hear((START, 6), &Message::Vote(bed.vote(1, Step::Commit, 3)));
    assert_eq!(
        (place(&bed.signed), outcome),
        (Some((4, Step::Prepare, lock(2, 1))), Outcome::default())
    );
}

#[test]
fn our_vote_is_found_in_a_certificate() {
    let mut bed = Bed::new(SignState::default());
    bed.look((START, 5));
    let keys = [bed::key(3), bed::key(OWN), bed::key(4)];
    let voters = keys.each_ref().map(|key| Voter { public_key: key.public(), weight: 1 });
    let electorate = Electorate::new(&voters);
    let checkpoint = Checkpoint { round: Round(START), height: Height(1), ..bed::checkpoint(5, 1) };
    let sign = |at: u16| {
        let (key, place) = (&keys[usize::from(at)], (5, 2, Step::Commit));
        (at, Vote::sign(place, Some(checkpoint.id()), key, &bed.network, &bed.verifier).signature)
    };
    let without = Quorum::new(checkpoint, 2, &[sign(0), sign(2)]);
    let with = Quorum::new(checkpoint, 2, &[sign(0), sign(1)]);
    let look = |bed: &mut Bed, quorum: &Quorum, step| {
        bed.event((START, 6), |custody, turn, signed| {
            custody.seen_quorum(turn, quorum, step, &electorate, signed);
        })
    };
    assert_eq!(look(&mut bed, &without, Step::Commit), Outcome::default());
    assert_eq!(look(&mut bed, &with, Step::Prepare), Outcome::default(), "signed for another step");
    look(&mut bed, &with, Step::Commit);
    assert_eq!(bed.signed.standing, Standing::Unproven(Doubt::Older));
    assert_eq!(bed.signed.vote.map(|vote| (vote.index, vote.view)), Some((5, 2)));
}

#[test]
fn a_heartbeat_that_we_did_not_send_shows_another_node() {
    for (sent, of, at, stops) in [
        // Of the rounds about our start it may be from before.
        (None, START, START, false),
        (None, START + 1, START + 1, false),
        (None, START + 2, START + 2, true),
        (Some(START + 1), START + 2, START + 2, true),
        (Some(START + 2), START + 2, START + 2, false),
        (Some(START + 3), START + 2, START + 3, false),
        // Of a clock far ahead.
        (None, START + 9, START + 2, false),
    ] {
        let mut bed = Bed::new(SignState::default());
        bed.look((START, 5));
        bed.heartbeat = sent.map(Round);
        let outcome = bed.hear((at, 1), &bed.heartbeat_of(of));
        assert_eq!(outcome.stop.is_some(), stops, "sent {sent:?}, heard {of} in {at}");
        let Message::Messages(mut list) = bed.heartbeat_of(of) else { panic!("a list") };
        list[0].signature.0[5] ^= 1;
        let mut bed = Bed::new(SignState::default());
        bed.look((START, 5));
        assert_eq!(bed.hear((at, 1), &Message::Messages(list)), Outcome::default());
    }
}

#[test]
fn two_full_rounds_of_listening_prove_a_state() {
    for before in [Standing::New, Standing::Waiting] {
        let mut bed = Bed::new(standing(before));
        let note = Note::SignState { standing: before, record: None };
        assert_eq!(bed.look((START, 4)).notes, [note], "why nothing is signed");
        for at in [(START, 5), (START + 1, 0), (START + 2, 0), (START + 2, 19)] {
            assert_eq!(bed.look(at), Outcome::default(), "{at:?}");
            let status = bed.custody.status(&bed.signed);
            assert_eq!(status.ready_in, Some(Round(START + 3)));
            let told_apart = match before {
                Standing::New => SignStanding::New,
                _ => SignStanding::Waiting,
            };
            assert_eq!(status.standing, told_apart);
        }
        let outcome = bed.look((START + 3, 0));
        assert_eq!(outcome.guarded, Some(standing(Standing::Proven)));
        let (standing, record) = (Standing::Proven, None);
        assert_eq!(outcome.notes, [Note::SignState { standing, record }]);
        assert_eq!(bed.look((START + 3, 1)), Outcome::default());
        assert!(bed.custody.status(&bed.signed).proven);
    }
    let mut bed = Bed::new(standing(Standing::Waiting));
    bed.look((START, 5));
    bed.view.is_behind = true;
    assert_eq!(bed.look((START + 3, 0)), Outcome::default(), "our blocks may still come");
    bed.view.is_behind = false;
    assert!(bed.look((START + 3, 0)).guarded.is_some());
    let mut bed = Bed::new(standing(Standing::Unproven(Doubt::Older)));
    bed.look((START, 5));
    assert_eq!(bed.look((START + 99, 0)), Outcome::default(), "time alone heals nothing");
}

#[test]
fn rounds_without_peers_or_without_a_clock_do_not_count() {
    for disturb in [(|view| view.is_listening = false) as fn(&mut View), |view| {
        view.distrust = Some(ClockDistrust::Stepped)
    }] {
        let mut bed = Bed::new(standing(Standing::Waiting));
        let good = bed.view;
        bed.look((START, 5));
        disturb(&mut bed.view);
        bed.look((START + 2, 3));
        assert_eq!(bed.custody.status(&bed.signed).ready_in, None);
        bed.view = good;
        bed.look((START + 2, 4));
        assert_eq!(bed.look((START + 4, 19)), Outcome::default());
        assert!(bed.look((START + 5, 0)).guarded.is_some());
    }
}

#[test]
fn before_the_first_round_nobody_has_signed_anything() {
    let network = bed::network(2, &[("first_round = 0", "first_round = 7")]);
    let first = network.first_round.0;
    for (before, at, built, proven) in [
        (Standing::New, (first - 1, 19), Timestamp(0), true),
        (Standing::New, (first, 0), Timestamp(0), false),
        // By a clock that is known to be wrong.
        (Standing::New, (first - 1, 19), Timestamp(u64::MAX), false),
        // A state that is lacking something does not get it by that.
        (Standing::Waiting, (first - 1, 19), Timestamp(0), false),
        (Standing::Unproven(Doubt::Missing), (first - 1, 19), Timestamp(0), false),
    ] {
        let mut bed = Bed::on(network.clone(), &Disk::default(), standing(before));
        bed.view.built = built;
        bed.look(at);
        assert_eq!(bed.signed.standing == Standing::Proven, proven, "{before:?} {at:?}");
    }
}

#[test]
fn what_the_database_knows_of_our_blocks_is_known_at_the_start() {
    let maker = Bed::new(SignState::default());
    let header = |of: u8, at, byte| {
        let header = maker.header(&bed::key(of), at, byte);
        let anchor = header.header.seal;
        StoredHeader { header, weight: 1, anchor }
    };
    let mut disk = Disk::default();
    for stored in [header(2, (START, 9), 1), header(OWN, (START, 3), 1), header(OWN, (START, 1), 2)]
    {
        let point = Point { height: Height(1), hash: stored.header.hash() };
        disk.entries.insert((Table::Headers, point_key(&point)), codec::encode(&stored));
    }
    let open = |disk: &Disk, signed| Bed::on(maker.network.clone(), disk, signed).signed;
    let held = |at, byte| {
        let block = Some(maker.block_record(at, byte));
        SignState { block, ..SignState::default() }
    };
    assert_eq!(open(&disk, held((START, 3), 1)).standing, Standing::Proven);
    assert_eq!(open(&disk, held((START, 8), 1)).standing, Standing::Proven);
    let older = open(&disk, held((START, 2), 1));
    assert_eq!(older.standing, Standing::Unproven(Doubt::Older));
    assert_eq!(older.block, held((START, 3), 1).block);
    let other = open(&disk, held((START, 3), 2)).standing;
    assert_eq!(other, Standing::Unproven(Doubt::Elsewhere));
    let new = open(&disk, standing(Standing::New)).standing;
    assert_eq!(new, Standing::Unproven(Doubt::Missing));

    // The block itself may be gone; that we made it is not.
    let mut disk = Disk::default();
    let forged = DutyRecord::Forged(maker.block_record((START, 6), 1).hash);
    let missed = DutyRecord::Missed(crate::machine::note::MissReason::Peers);
    for (slot, record) in [(6, forged), (8, missed)] {
        let key = duty_key(Round(START), Slot(slot));
        disk.entries.insert((Table::Duties, key), codec::encode(&record));
    }
    assert_eq!(open(&disk, held((START, 6), 1)).standing, Standing::Proven);
    let older = open(&disk, held((START, 5), 1));
    assert_eq!(older.standing, Standing::Unproven(Doubt::Older));
    assert_eq!(older.block, held((START, 6), 1).block);
}
