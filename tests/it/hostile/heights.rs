//! Peers that promise a chain of a million blocks.

use std::collections::BTreeMap;

use hypernode::machine::sync::WINDOW_MAX;
use hypernode::types::block::{Header, Point, SignedHeader, genesis, messages_root};
use hypernode::types::clock::{Height, Round, Slot};
use hypernode::types::hash::BlockHash;
use hypernode::types::key::SecretKey;
use hypernode::types::message::{ByeReason, HEADERS_MAX, Message, Tip};

use super::stage::{Scene, Stage};
use super::stranger::{Stranger, connect};
use crate::sample::{Sample, any_hash, key};

const MILLION: u64 = 1_000_000;
/// Rounds since the network began, without a block: enough for a long chain of one founder alone.
const ROUNDS: u64 = 400_000;
/// Three who are honest, and have too little weight to seal; and one who is not.
const WEIGHTS: [u8; 4] = [1, 1, 1, 3];
const FOUNDER: usize = 3;
/// How often each of those tries who have nothing.
const TIMES: u32 = 20;

/// A chain of one founder alone, made as it is asked for.
struct Chain {
    headers: Vec<SignedHeader>,
    heights: BTreeMap<BlockHash, usize>,
    next: (u64, u32),
}

impl Chain {
    fn new(sample: &Sample) -> Chain {
        let start = genesis(&sample.network);
        Chain { headers: Vec::new(), heights: BTreeMap::from([(start.hash, 0)]), next: (0, 0) }
    }

    /// The headers above a point of it.
    fn above(&mut self, sample: &Sample, point: &Point) -> Vec<SignedHeader> {
        let from = self.heights[&point.hash];
        while self.headers.len() < from + HEADERS_MAX {
            self.add(sample);
        }
        self.headers[from..from + HEADERS_MAX].to_vec()
    }

    fn add(&mut self, sample: &Sample) {
        let own = &sample.keys()[FOUNDER];
        let address = sample.network.address_of(&own.public());
        loop {
            let (round, slot) = self.next;
            self.next = if slot + 1 < 4 { (round, slot + 1) } else { (round + 1, 0) };
            if sample.plan(round).juror(Slot(slot)) != Some(&address) {
                continue;
            }
            let before = self.headers.last().map_or(genesis(&sample.network), SignedHeader::point);
            let header = Header {
                version: 1,
                height: before.height.next(),
                round: Round(round),
                slot: Slot(slot),
                timestamp: sample.time(round, slot),
                previous: before.hash,
                messages_root: messages_root(&[]),
                seal: sample.anchor.seal,
                reveal: None,
                forger: own.public(),
            };
            let header = header.sign(own, &sample.network, &sample.verifier);
            self.headers.push(header);
            self.heights.insert(self.headers[self.headers.len() - 1].hash(), self.headers.len());
            return;
        }
    }
}

/// A connection that shows a tip at height 1,000,000, and is asked for its headers.
fn promise(scene: &Scene<'_>, key: &SecretKey) -> (Stranger, u32, Point) {
    let stranger = Stranger::shake(connect(scene.from, scene.at()), scene.network()).unwrap();
    let mut stranger = stranger.greet(key).unwrap();
    let hash = BlockHash(any_hash("far"));
    let point = Point { height: Height(MILLION), hash };
    let (round, slot) = (Round(ROUNDS), Slot(0));
    let tip = Tip { point, round, slot, weight: MILLION, seal: 0, forger: None };
    stranger.send(&Message::Tip(tip));
    let find = stranger.hear(|message| matches!(message, Message::Find { .. })).unwrap();
    let Message::Find { request, .. } = find else { unreachable!("it is one") };
    stranger.send(&Message::Intersect { request, point: genesis(scene.network()) });
    let (request, above) = wanted(&mut stranger).unwrap();
    (stranger, request, above)
}

fn wanted(stranger: &mut Stranger) -> Option<(u32, Point)> {
    let asked = stranger.hear(|message| matches!(message, Message::WantHeaders { .. }))?;
    let Message::WantHeaders { request, above } = asked else { return None };
    Some((request, above))
}

#[test]
fn a_million_headers_are_not_held_and_an_empty_promise_is_named() {
    let mut stage = Stage::start(4, &WEIGHTS, FOUNDER, ROUNDS);
    stage.attack("a million heights, and no header", |scene| {
        for number in 0..TIMES {
            let (mut stranger, request, _) = promise(scene, &key(1_000 + number));
            stranger.send(&Message::Headers { request, headers: Vec::new() });
            assert_eq!(stranger.wait_for_bye(), Some(ByeReason::Promise));
        }
        scene.wait_for_ends("promise", u64::from(TIMES));
    });
    stage.attack("a million heights, and headers of another chain", |scene| {
        let previous = BlockHash(any_hash("elsewhere"));
        let header = Header { previous, ..scene.stage.sample.header(1) };
        let signature = hypernode::types::key::Signature([7; 64]);
        let headers = vec![SignedHeader { header, signature }; HEADERS_MAX];
        for number in 0..TIMES {
            let (mut stranger, request, _) = promise(scene, &key(2_000 + number));
            stranger.send(&Message::Headers { request, headers: headers.clone() });
            assert_eq!(stranger.wait_for_bye(), Some(ByeReason::Invalid));
        }
        scene.wait_for_ends("invalid", u64::from(TIMES));
    });
    stage.attack("a million headers, without a body", |scene| {
        let sample = &scene.stage.sample;
        let mut chain = Chain::new(sample);
        let founder = &sample.keys()[FOUNDER];
        let (mut stranger, mut request, mut above) = promise(scene, founder);
        let mut taken = 0;
        loop {
            let headers = chain.above(sample, &above);
            taken += headers.len();
            stranger.send(&Message::Headers { request, headers });
            // It asks for more, or for bodies when it has enough headers.
            let is_next = |it: &Message| {
                matches!(it, Message::WantHeaders { .. })
                    || taken >= WINDOW_MAX && matches!(it, Message::WantBodies { .. })
            };
            match stranger.hear(is_next).unwrap() {
                Message::WantHeaders { request: number, above: point } => {
                    (request, above) = (number, point);
                }
                _ => break,
            }
            assert!(taken <= WINDOW_MAX, "{taken} headers, and it asks for more");
        }
        println!("it took {taken} headers");
        scene.wait_for_growth();
        stranger
    });
}
