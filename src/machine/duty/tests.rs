//! When we forge, and each reason why not.

use super::{DutyKeeper, Forged, View};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::chain::Chain;
use crate::machine::event::{Effect, PeerId};
use crate::machine::evidence::EvidenceKeeper;
use crate::machine::mempool::Mempool;
use crate::machine::note::{ClockDistrust, MissReason, Note};
use crate::machine::peers::Peers;
use crate::machine::turn::Turn;
use crate::types::block::Point;
use crate::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use crate::types::evidence::Evidence;
use crate::types::hash::{BlockHash, Hash};
use crate::types::message::Tip;
use crate::types::sign::SignState;
use crate::types::tx::Body;
use std::rc::Rc;

const SLOT_MS: u64 = 10_000;
/// Start of round 3.
const START: u64 = 3 * 20 * SLOT_MS;

struct Bed {
    ground: Ground,
    disk: Disk,
    chain: Chain,
    peers: Peers,
    mempool: Mempool,
    evidence: EvidenceKeeper,
    duty: DutyKeeper,
    signed: SignState,
    distrust: Option<ClockDistrust>,
    barred: Option<MissReason>,
    settled: bool,
}

impl Bed {
    /// The only founder, juror of every slot, on a network with these changes.
    fn new(edits: &[(&str, &str)]) -> Bed {
        Bed::among(1, edits)
    }

    fn among(founders: u8, edits: &[(&str, &str)]) -> Bed {
        let slots = [("slot_seconds = 180", "slot_seconds = 10")];
        let edits: Vec<_> = slots.iter().chain(edits).copied().collect();
        let ground = Ground::new(bed::network(founders, &edits));
        let disk = Disk::default();
        Bed {
            duty: open(&ground, 0, &disk),
            chain: ground.chain(&disk),
            peers: ground.peers(),
            mempool: Mempool::default(),
            evidence: EvidenceKeeper::default(),
            signed: SignState::default(),
            distrust: None,
            barred: None,
            settled: true,
            ground,
            disk,
        }
    }

    /// One look at the clock; the block, if there is one, is on the disk then, and so is the guard.
    fn tick(&mut self, ms: u64) -> (Option<Forged>, Vec<Effect>) {
        let disk = self.disk.clone();
        let mut turn = bed::turn(&self.ground.network, START + ms, &disk);
        let view = View {
            network: &self.ground.network,
            chain: &self.chain,
            peers: &self.peers,
            mempool: &self.mempool,
            evidence: &self.evidence,
            verifier: &self.ground.verifier,
            key: &bed::key(1),
            distrust: self.distrust,
            barred: self.barred,
            settled: self.settled,
        };
        let forged = self.duty.tick(&mut turn, &view, &self.signed);
        if let Some(Forged { block, .. }) = &forged {
            self.join(&mut turn, block);
            self.duty.settled(&mut turn, block, true);
        }
        let Turn { db, mut out, .. } = turn;
        let effects = out.take(db.into_batch());
        for effect in &effects {
            if let Effect::Guard(record) = effect {
                self.signed = self.signed.admit(*record).expect("nothing is signed twice");
            } else if let Effect::Persist(batch) = effect {
                self.disk.write(batch.clone());
            }
        }
        (forged, effects)
    }

    fn join(&mut self, turn: &mut Turn, block: &crate::types::block::Block) {
        self.chain.add_header(turn.now, Rc::new(block.header.clone()), false, &turn.db);
        let added = self.chain.add_body(&block.header.hash(), &block.messages, &mut turn.db);
        added.expect("it is ours");
        self.chain.advance(&mut turn.db);
    }

    fn missed(&mut self, ms: u64) -> Option<MissReason> {
        let (forged, effects) = self.tick(ms);
        assert!(forged.is_none());
        effects.iter().find_map(|effect| {
            if let Effect::Note(Note::SlotMissed { why, .. }) = effect { Some(*why) } else { None }
        })
    }

    /// Why the slot is missed that nothing changes in.
    fn why(&mut self) -> Option<MissReason> {
        for percent in (0..80).step_by(5) {
            assert_eq!(self.missed(percent * SLOT_MS / 100), None, "{percent} %");
        }
        self.missed(SLOT_MS * 80 / 100)
    }

    /// Founder `number` is connected and shows a tip, ours or another.
    fn peer(&mut self, number: u8, shares: bool) {
        let mut turn = bed::turn(&self.ground.network, START, &self.disk);
        let id = u64::from(number);
        assert!(self.ground.connect(&mut self.peers, &mut turn, id, number, true));
        let other = Point { height: Height(1), hash: BlockHash(Hash([1; 32])) };
        let point = if shares { self.chain.best().point } else { other };
        let tip = Tip { point, round: Round(0), slot: Slot(0), weight: 0, seal: 0, forger: None };
        self.peers.peer_mut(PeerId(id)).expect("connected").tip = Some(tip);
    }
}

fn open(ground: &Ground, ms: u64, disk: &Disk) -> DutyKeeper {
    let now = bed::turn(&ground.network, START + ms, disk).now;
    DutyKeeper::open(ground.address(&bed::key(1)), &ground.network, now, disk)
}

#[test]
fn a_slot_is_forged_in_from_10_to_80_percent_once() {
    for (ms, forges) in [(999, false), (1_000, true), (7_999, true), (8_000, false)] {
        let mut bed = Bed::new(&[]);
        assert_eq!(bed.tick(ms).0.is_some(), forges, "{ms}");
        assert!(bed.tick(ms + 1).0.is_none() || ms == 999, "{ms}: once");
    }
    let mut bed = Bed::new(&[]);
    bed.tick(0);
    let wall = |bed: &Bed, ms| Timestamp(bed.ground.network.clock.origin.0 + START + ms);
    assert_eq!(bed.duty.due_in_ms(wall(&bed, 0)), 1_000);
    let (forged, effects) = bed.tick(1_000);
    assert_eq!(forged.expect("its time").block.header.header.slot, Slot(0));
    assert!(matches!(effects[..2], [Effect::Guard(_), Effect::Persist(_)]), "before all else");
    bed.tick(1_001);
    assert_eq!(bed.duty.due_in_ms(wall(&bed, 1_001)), SLOT_MS - 1_001, "the next slot");
    assert!(bed.tick(SLOT_MS + 1_000).0.is_some());
    for slot in [19, 20] {
        // The seal slot, and then the next round.
        assert_eq!(bed.tick(slot * SLOT_MS + 1_000).0.is_some(), slot == 20);
    }
}

#[test]
fn who_has_just_started_forges_with_company_or_with_nobody_to_dial() {
    let dial = |bed: &mut Bed| {
        let endpoint = bed.ground.network.founders[0].endpoint();
        bed.peers.set_targets(vec![(bed::key(2).public(), endpoint)], Monotonic(0));
    };
    for (targets, connected, settled, forges) in [
        (false, false, false, true),
        (true, false, false, false),
        (true, true, false, true),
        (true, false, true, true),
    ] {
        let mut bed = Bed::among(1, &[]);
        bed.settled = settled;
        if targets {
            dial(&mut bed);
        }
        if connected {
            bed.peer(2, true);
        }
        let forged = bed.tick(1_000).0.is_some();
        assert_eq!(forged, forges, "{targets} {connected} {settled}");
    }
}

/// Changes to the network, founders, what is arranged, and the reason due.
type Case = (&'static str, &'static [(&'static str, &'static str)], u8, fn(&mut Bed), MissReason);

#[test]
fn each_reason_is_reached() {
    let cases: [Case; 9] = [
        ("peers", &[("forge_peers_min = 0", "forge_peers_min = 1")], 1, |_| {}, MissReason::Peers),
        ("messages", &[("messages_min = 0", "messages_min = 1")], 1, |_| {}, MissReason::Messages),
        ("senders", &[("senders_min = 0", "senders_min = 1")], 1, |_| {}, MissReason::Messages),
        (
            "unsynchronised",
            &[],
            1,
            |bed| bed.distrust = Some(ClockDistrust::Unsynchronised),
            MissReason::Clock(ClockDistrust::Unsynchronised),
        ),
        (
            "stepped",
            &[],
            1,
            |bed| bed.distrust = Some(ClockDistrust::Stepped),
            MissReason::Clock(ClockDistrust::Stepped),
        ),
        ("half on another tip", &[], 5, |bed| half(bed, 1), MissReason::TipsDiffer),
        (
            "fewer share the tip than must",
            &[("forge_peers_min = 0", "forge_peers_min = 4")],
            5,
            |bed| half(bed, 3),
            MissReason::TipsDiffer,
        ),
        ("a seal without its block", &[], 1, behind, MissReason::Behind),
        ("a block of a later slot", &[], 1, taken, MissReason::SlotTaken),
    ];
    for (name, edits, founders, arrange, expected) in cases {
        let mut bed = Bed::among(founders, edits);
        arrange(&mut bed);
        if founders > 1 {
            let slot = own_slot(&bed);
            let view_ms = u64::from(slot.0) * SLOT_MS;
            assert_eq!(bed.missed(view_ms + 1_000), None, "{name}");
            assert_eq!(bed.missed(view_ms + 8_000), Some(expected), "{name}");
        } else {
            assert_eq!(bed.why(), Some(expected), "{name}");
        }
        assert_eq!(bed.duty.status(Timestamp(0), &bed.ground.network, &bed.chain).missed, 1);
    }
}

fn own_slot(bed: &Bed) -> Slot {
    let (plan, own) = (bed.ground.plan(Round(3)), bed.ground.address(&bed::key(1)));
    (0..19).map(Slot).find(|slot| plan.juror(*slot) == Some(&own)).expect("one of nineteen")
}

/// Of our dial list, this many share our tip, and the rest does not.
fn half(bed: &mut Bed, sharing: u8) {
    let list = (2..=5).map(|it| (bed::key(it).public(), bed::endpoint(it))).collect();
    bed.peers.set_targets(list, Monotonic(u64::MAX));
    let connected = if sharing == 1 { 2 } else { 4 };
    (0..connected).for_each(|index| bed.peer(2 + index, index < sharing));
}

fn behind(bed: &mut Bed) {
    let mut seal = bed.chain.sealed().checkpoint;
    (seal.index, seal.height, seal.block) = (1, Height(1), BlockHash(Hash([1; 32])));
    bed.chain.certified(&seal, &bed.disk);
}

fn behind_since(bed: &mut Bed, ms: u64) {
    let block = bed.ground.line(bed.chain.best(), 0, 1, 1).remove(0);
    let disk = bed.disk.clone();
    let turn = bed::turn(&bed.ground.network, START + ms, &disk);
    bed.chain.add_header(turn.now, Rc::new(block.header), false, &turn.db);
}

fn taken(bed: &mut Bed) {
    // Forged by ourselves with another clock, a slot later.
    let block = bed.ground.line(bed.chain.best(), 3 * 19 + 1, 1, 1).remove(0);
    let disk = bed.disk.clone();
    let mut turn = bed::turn(&bed.ground.network, START + SLOT_MS, &disk);
    bed.join(&mut turn, &block);
    bed.disk.write(turn.db.into_batch());
}

#[test]
fn what_passes_with_time_is_tried_again_without_any_other_event() {
    let mut bed = Bed::new(&[]);
    behind_since(&mut bed, 2_000);
    // Its body never comes. In the second half of our slot we do not wait for it any more, however new it is.
    let mut ms = 0;
    let mut forged = None;
    while forged.is_none() && ms < 3 * SLOT_MS {
        forged = bed.tick(ms).0;
        let wall = Timestamp(bed.ground.network.clock.origin.0 + START + ms);
        ms += bed.duty.due_in_ms(wall).max(1);
    }
    let header = forged.expect("in the same slot").block.header.header;
    assert_eq!(header.slot, Slot(0));
    let half = Timestamp(bed.ground.network.clock.origin.0 + START + SLOT_MS / 2);
    assert!(header.timestamp >= half, "{:?}", header.timestamp);
}

#[test]
fn after_a_restart_in_the_slot_nothing_else_is_signed() {
    for persisted in [true, false] {
        let mut bed = Bed::new(&[]);
        let before = bed.disk.clone();
        assert!(bed.tick(1_000).0.is_some());
        if !persisted {
            // The guard was written, and then came the crash.
            bed.disk = before;
            bed.chain = bed.ground.chain(&bed.disk);
        }
        bed.duty = open(&bed.ground, 2_000, &bed.disk);
        let tx = bed.ground.heartbeat(&bed::key(1), Round(3), 1);
        bed.mempool.left(&tx);
        let missed = bed.missed(2_000);
        assert_eq!(missed, (!persisted).then_some(MissReason::AlreadySigned));
        assert_eq!(bed.duty.refused_signature(), u64::from(!persisted));
        assert_eq!(bed.missed(3_000), None, "it is done with");
        bed.duty = open(&bed.ground, 4_000, &bed.disk);
        assert_eq!(bed.missed(4_000), None, "also after one more restart");
        assert!(bed.tick(SLOT_MS + 1_000).0.is_some(), "the next slot is ours as ever");
    }
}

#[test]
fn what_others_signed_twice_goes_into_our_next_block_once() {
    let mut bed = Bed::new(&[]);
    let offender = bed::key(1);
    let sign = |ms| {
        let mut header = bed.ground.header(Round(2));
        (header.forger, header.timestamp) = (offender.public(), header.timestamp.plus(ms));
        header.sign(&offender, &bed.ground.network, &bed.ground.verifier)
    };
    let evidence = Evidence::of_blocks(&sign(1), &sign(2)).expect("they differ");
    let disk = bed.disk.clone();
    let mut turn = bed::turn(&bed.ground.network, START, &disk);
    assert!(bed.evidence.keep(&mut turn, evidence.clone()));
    let messages = |forged: Option<Forged>| {
        let Forged { block, left_out } = forged.expect("its time");
        assert_eq!(left_out, []);
        block.messages.into_iter().map(|tx| tx.body).collect::<Vec<_>>()
    };
    let first = messages(bed.tick(1_000).0);
    assert_eq!(first, [Body::Equivocation(Box::new(evidence))]);
    assert_eq!(messages(bed.tick(SLOT_MS + 1_000).0), [], "the chain has it");
}

#[test]
fn a_clock_that_was_a_day_ahead_costs_no_day() {
    let mut bed = Bed::new(&[]);
    let day = 24 * 3_600_000;
    assert!(bed.tick(1_000).0.is_some());
    bed.distrust = Some(ClockDistrust::Stepped);
    assert_eq!(bed.missed(day + 2_000), None);
    let missed = bed.missed(3_000);
    assert_eq!(missed, Some(MissReason::Clock(ClockDistrust::Stepped)), "of that slot");
    bed.distrust = None;
    assert_eq!(bed.missed(4_000), None, "forged in before");
    bed.duty = open(&bed.ground, 5_000, &bed.disk);
    assert!(bed.tick(SLOT_MS + 1_000).0.is_some(), "the next slot");
}

#[test]
fn a_heartbeat_goes_out_once_a_round_within_its_first_moments() {
    let bed = Bed::new(&[]);
    let network = &bed.ground.network;
    let mut duty = open(&bed.ground, 0, &bed.disk);
    for round in 3..6 {
        let sent: Vec<u64> = (0..20 * SLOT_MS)
            .step_by(50)
            .filter(|ms| {
                let wall = network.clock.start_of(Round(round), Slot(0)).plus(*ms);
                let now = Now { wall, mono: Monotonic(0), synchronised: true };
                !duty.has_sent(Round(round)) && duty.heartbeat(now, Round(round), network)
            })
            .collect();
        assert_eq!(sent.len(), 1, "round {round}");
        assert!(sent[0] <= SLOT_MS * 8 / 100, "in time for the first block");
    }
}
