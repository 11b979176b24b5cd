//! Each body is asked for once, and again only when it must be.

use super::{REFUSED_MAX, Relay, UNANSWERED_MAX, WANTED_OF_PEER_MAX};
use crate::machine::bed::{self, Disk, Ground, sent};
use crate::machine::event::PeerId;
use crate::machine::mempool::Mempool;
use crate::machine::peers::Peers;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::block::Point;
use crate::types::clock::{Height, Monotonic, Round};
use crate::types::hash::{BlockHash, Hash, TxId, hash};
use crate::types::message::{IDS_MAX, Message};
use crate::types::tx::Tx;

const SLOT_MS: u64 = 2_000;
const ANSWER_MS: u64 = 500;
const BATCH_MS: u64 = 20;
/// The time of round 5.
const START: u64 = 5 * 20 * SLOT_MS;

struct Bed {
    ground: Ground,
    disk: Disk,
    peers: Peers,
    mempool: Mempool,
    relay: Relay,
}

impl Bed {
    /// With peers 2 to 5, masternodes all.
    fn new() -> Bed {
        let ground = Ground::new(bed::network(9, &[("slot_seconds = 180", "slot_seconds = 2")]));
        let (disk, mut peers) = (Disk::default(), ground.peers());
        for number in 2..=5 {
            let mut turn = bed::turn(&ground.network, START, &disk);
            assert!(ground.connect(&mut peers, &mut turn, u64::from(number), number, true));
        }
        Bed { peers, disk, ground, mempool: Mempool::default(), relay: Relay::new(SLOT_MS) }
    }

    fn at(
        &mut self,
        ms: u64,
        act: impl FnOnce(&mut Relay, &mut Turn, &mut Mempool, &mut Peers),
    ) -> Vec<(u64, Message)> {
        let mut turn = bed::turn(&self.ground.network, START + ms, &self.disk);
        act(&mut self.relay, &mut turn, &mut self.mempool, &mut self.peers);
        sent(&mut turn).into_iter().map(|(peer, message)| (peer.0, message)).collect()
    }

    fn have(&mut self, ms: u64, from: u64, ids: &[TxId]) -> Vec<(u64, Message)> {
        self.at(ms, |relay, turn, mempool, peers| {
            relay.announced(turn, PeerId(from), ids, mempool, peers)
        })
    }

    fn tick(&mut self, ms: u64) -> Vec<(u64, Message)> {
        self.at(ms, |relay, turn, mempool, peers| relay.tick(turn, mempool, peers))
    }

    fn tx(&self, number: u8) -> Tx {
        self.ground.heartbeat(&bed::key(number), Round(5), 1)
    }

    /// As the node does with a body that is good.
    fn take(&mut self, ms: u64, tx: &Tx, from: Option<u64>) {
        let wall = bed::turn(&self.ground.network, START + ms, &self.disk).now.wall;
        let (id, rules) = (tx.id(), self.ground.rules());
        let taken = self.mempool.accept(id, tx.clone(), wall, &self.ground.state(), &rules);
        taken.expect("it is valid");
        self.relay.accepted(Monotonic(START + ms), id);
        if let Some(peer) = from {
            self.relay.holds(id, PeerId(peer));
        }
    }
}

fn id(number: u32) -> TxId {
    TxId(hash("id", &[&number.to_be_bytes()]))
}

fn want(peer: u64, ids: &[TxId]) -> (u64, Message) {
    (peer, Message::Want(ids.to_vec()))
}

#[test]
fn a_body_is_asked_once_and_from_a_second_only_when_the_first_is_late() {
    let mut bed = Bed::new();
    assert_eq!(bed.have(0, 2, &[id(1)]), [want(2, &[id(1)])]);
    assert_eq!(bed.have(1, 3, &[id(1)]), []);
    assert_eq!(bed.have(2, 4, &[id(1)]), []);
    assert_eq!(bed.tick(ANSWER_MS - 1), []);
    assert_eq!(bed.tick(ANSWER_MS), [want(3, &[id(1)])]);
    assert_eq!(bed.tick(2 * ANSWER_MS), [], "two are enough");
    assert!(bed.relay.wanted.is_empty() && bed.relay.first_heard.is_empty());
    assert_eq!(bed.relay.due(), None, "nothing is left to wait for");
}

#[test]
fn the_timer_stops_when_the_last_body_is_here() {
    let mut bed = Bed::new();
    let tx = bed.tx(2);
    bed.have(0, 2, &[tx.id()]);
    bed.take(10, &tx, Some(2));
    bed.tick(10 + BATCH_MS);
    bed.tick(ANSWER_MS);
    assert_eq!(bed.relay.due(), None);
    assert_eq!(bed.have(600, 3, &[tx.id()]), [], "it is held");
}

#[test]
fn when_a_peer_goes_another_holder_is_asked_at_once() {
    let mut bed = Bed::new();
    bed.have(0, 2, &[id(1)]);
    bed.have(1, 3, &[id(1)]);
    let asked = bed.at(2, |relay, turn, mempool, peers| {
        peers.disconnected(turn, PeerId(2), crate::machine::event::Fault::None);
        relay.disconnected(turn.now.mono, PeerId(2));
        relay.tick(turn, mempool, peers);
    });
    assert_eq!(asked, [want(3, &[id(1)])]);
}

#[test]
fn one_peer_owes_ten_wants_and_takes_no_more_than_its_share() {
    let mut bed = Bed::new();
    let ids: Vec<TxId> = (0..).map(id).take(WANTED_OF_PEER_MAX + 500).collect();
    let mut asked = 0;
    for part in ids.chunks(IDS_MAX) {
        asked += bed.have(0, 2, part).len();
    }
    assert_eq!(asked, UNANSWERED_MAX as usize);
    assert_eq!(bed.relay.wanted.len(), WANTED_OF_PEER_MAX);
    let last = *ids.last().expect("some");
    assert_eq!(bed.have(1, 3, &[last]), [want(3, &[last])], "others find room");
    // An answer, even an empty one, and there is room for another question.
    assert!(bed.relay.delivered(PeerId(2), &mut bed.peers));
    let again = bed.tick(ANSWER_MS);
    assert_eq!(again.iter().filter(|(peer, _)| *peer == 2).count(), 1);
    let gone = bed.at(ANSWER_MS + 1, |relay, turn, mempool, peers| {
        peers.disconnected(turn, PeerId(2), crate::machine::event::Fault::None);
        relay.disconnected(turn.now.mono, PeerId(2));
        relay.tick(turn, mempool, peers);
    });
    assert_eq!(gone, []);
    bed.tick(3 * ANSWER_MS);
    assert!(bed.relay.wanted.len() <= 1, "what only it claimed to hold is forgotten");
}

#[test]
fn a_delivery_that_nobody_asked_for_is_noticed() {
    let mut bed = Bed::new();
    assert!(!bed.relay.delivered(PeerId(2), &mut bed.peers));
    bed.have(0, 2, &[id(1)]);
    assert!(bed.relay.delivered(PeerId(2), &mut bed.peers));
    assert!(!bed.relay.delivered(PeerId(2), &mut bed.peers));
}

#[test]
fn what_was_refused_is_not_asked_again_unless_it_may_be_taken_later() {
    let mut bed = Bed::new();
    bed.have(0, 2, &[id(1), id(2)]);
    bed.relay.refused(&id(1), Refusal::KeyHeld);
    bed.relay.refused(&id(2), Refusal::PoolFull);
    assert_eq!(bed.have(1, 3, &[id(1), id(2)]), [want(3, &[id(2)])]);
    for number in 0..2 * u32::try_from(REFUSED_MAX).expect("small") {
        bed.relay.refused(&id(number / 2), Refusal::Expired);
    }
    assert_eq!(bed.relay.refused.len(), REFUSED_MAX);
}

#[test]
fn announcements_wait_for_company_and_do_not_go_back() {
    let mut bed = Bed::new();
    let (one, two) = (bed.tx(2), bed.tx(3));
    bed.take(0, &one, Some(2));
    bed.take(5, &two, Some(3));
    assert_eq!(bed.tick(BATCH_MS - 1), []);
    let mut told = bed.tick(BATCH_MS);
    told.sort_by_key(|(peer, _)| *peer);
    let both = Message::Have(vec![one.id(), two.id()]);
    let expected = [
        (2, Message::Have(vec![two.id()])),
        (3, Message::Have(vec![one.id()])),
        (4, both.clone()),
        (5, both),
    ];
    assert_eq!(told, expected);
    let answered = bed.at(30, |relay, turn, mempool, _| {
        relay.answer(turn, PeerId(4), &[one.id(), id(7)], mempool);
    });
    assert_eq!(answered, [(4, Message::Messages(vec![one.clone()]))], "what it holds of it");
}

#[test]
fn an_announced_block_is_completed_from_the_mempool_or_left_to_sync() {
    let mut bed = Bed::new();
    let (one, two) = (bed.tx(2), bed.tx(3));
    bed.take(0, &one, None);
    let point = Point { height: Height(1), hash: BlockHash(Hash([1; 32])) };
    let ids = vec![one.id(), two.id()];
    let whole = vec![one.clone()];
    let announce = |bed: &mut Bed, ms, ids: Vec<TxId>| {
        let mut found = None;
        let asked = bed.at(ms, |relay, turn, mempool, peers| {
            found = relay.block_announced(turn, PeerId(2), point, ids, mempool, peers);
        });
        (found, asked)
    };
    assert_eq!(announce(&mut bed, 1, vec![one.id()]), (Some(whole), vec![]));
    assert_eq!(announce(&mut bed, 2, ids.clone()), (None, vec![want(2, &[two.id()])]));
    assert!(bed.relay.is_pending(&point.hash));
    assert_eq!(bed.relay.completed(&bed.mempool), []);
    bed.take(100, &two, Some(2));
    assert_eq!(bed.relay.completed(&bed.mempool), [(point, vec![one, two.clone()])]);
    assert!(!bed.relay.has_pending());
    bed.mempool.remove(&two.id());
    announce(&mut bed, 1_000, ids);
    bed.tick(1_000 + 2 * ANSWER_MS - 1);
    assert!(bed.relay.is_pending(&point.hash));
    bed.tick(1_000 + 2 * ANSWER_MS);
    assert!(!bed.relay.is_pending(&point.hash), "sync takes over");
}
