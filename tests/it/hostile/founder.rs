//! A founder who is registered and draws slots, and breaks his word: what he announces never comes, or is from the
//! future, or is another's.

use std::collections::BTreeSet;

use hypernode::machine::status::Status;
use hypernode::types::block::{Header, SignedHeader, messages_root};
use hypernode::types::clock::{Round, Slot, Timestamp};
use hypernode::types::hash::{TxId, hash};
use hypernode::types::message::{IDS_MAX, Message};

use super::stage::{Scene, Stage};
use super::stranger::{Stranger, connect};
use crate::cluster::wait_for;

/// Three who are honest, and have too little weight to seal: so genesis says whose slot it is. And one who is not.
const WEIGHTS: [u8; 4] = [1, 1, 1, 3];
const FOUNDER: usize = 3;
/// Announcements of messages, [`IDS_MAX`] in each: three times what a node waits for of one peer.
const ANNOUNCEMENTS: u64 = 200;
/// Wants that one peer may owe.
const UNANSWERED_MAX: usize = 10;
/// Blocks announced at once: as many as the budget lets pass.
const BLOCKS: u64 = 1_000;

#[test]
fn a_founder_who_breaks_his_word_stops_nobody() {
    let mut stage = Stage::start(5, &WEIGHTS, FOUNDER, 0);
    stage.attack("messages that never come", |scene| {
        let mut founder = founder(scene);
        for number in 0..ANNOUNCEMENTS {
            let ids = (0..IDS_MAX as u64).map(|it| any_id(number * IDS_MAX as u64 + it)).collect();
            founder.send(&Message::Have(ids));
        }
        let wants = said(&mut founder).into_iter().filter(|it| matches!(it, Message::Want(_)));
        assert_eq!(wants.count(), UNANSWERED_MAX);
        let peers = scene.stage.node().peers().peers;
        let owed = peers.iter().map(|peer| peer.unanswered).max();
        assert_eq!(owed, Some(10), "it can be seen who does not deliver");
        founder
    });
    stage.attack("blocks that never come", |scene| {
        let mut founder = founder(scene);
        let mut slots = BTreeSet::new();
        wait_for("slots of the founder", || {
            let (status, round, slot) = now(scene)?;
            if is_his(scene, round, slot) && slots.insert((round, slot)) {
                for number in 0..2 {
                    let ids = vec![any_id(number)];
                    let header = header(scene, &status, round, slot, number, &ids);
                    founder.send(&Message::NewBlock { header, ids });
                }
            }
            (slots.len() >= 3).then_some(())
        });
        let wants = said(&mut founder).into_iter().filter(|it| matches!(it, Message::Want(_)));
        assert!((1..=UNANSWERED_MAX).contains(&wants.count()));
        founder
    });
    stage.attack("blocks from the future", |scene| {
        let mut founder = founder(scene);
        let (status, round, _) = wait_for("a round", || now(scene));
        for number in 0..BLOCKS {
            let later = Round(round.0 + 2 + number);
            let header = header(scene, &status, later, Slot(0), 0, &[]);
            founder.send(&Message::NewBlock { header, ids: Vec::new() });
        }
        said(&mut founder);
        let peers = scene.stage.node().peers().peers;
        let early = peers.iter().map(|peer| u64::from(peer.early_blocks)).max();
        assert_eq!(early, Some(BLOCKS), "it can be seen who shows them");
        let status = scene.stage.node().status().unwrap();
        assert!(status.tip.round <= status.round, "{:?}", status.tip);
        founder
    });
    stage.attack("blocks in slots of others", |scene| {
        let mut founder = founder(scene);
        let (status, round, slot) = wait_for("a slot of another", || {
            now(scene).filter(|(_, round, slot)| !is_his(scene, *round, *slot))
        });
        for number in 0..BLOCKS {
            let header = header(scene, &status, round, slot, number, &[]);
            founder.send(&Message::NewBlock { header, ids: Vec::new() });
        }
        said(&mut founder);
        let refused = scene.stage.node().status().unwrap().refused_blocks;
        assert!(refused.values().sum::<u64>() >= BLOCKS, "{refused:?}");
        founder
    });
}

fn founder(scene: &Scene<'_>) -> Stranger {
    let stranger = Stranger::shake(connect(scene.from, scene.at()), scene.network()).unwrap();
    stranger.greet(&scene.stage.sample.keys()[FOUNDER]).unwrap()
}

fn any_id(number: u64) -> TxId {
    TxId(hash("never", &[&number.to_be_bytes()]))
}

/// What the node has said, after it has taken in all that was sent.
fn said(stranger: &mut Stranger) -> Vec<Message> {
    const LAST: u64 = 77;
    stranger.send(&Message::Ping { nonce: LAST });
    let mut messages = Vec::new();
    loop {
        match stranger.next().unwrap() {
            Message::Pong { nonce: LAST, .. } => return messages,
            message => messages.push(message),
        }
    }
}

/// The node's state, in a forging slot.
fn now(scene: &Scene<'_>) -> Option<(Status, Round, Slot)> {
    let status = scene.stage.node().status()?;
    let (round, slot) = (status.round?, status.slot?);
    (!status.seal_slot).then_some((status, round, slot))
}

fn is_his(scene: &Scene<'_>, round: Round, slot: Slot) -> bool {
    let sample = &scene.stage.sample;
    sample.juror(round.0, slot.0).public() == sample.keys()[FOUNDER].public()
}

/// A header of his on the node's tip.
fn header(
    scene: &Scene<'_>,
    status: &Status,
    round: Round,
    slot: Slot,
    number: u64,
    ids: &[TxId],
) -> SignedHeader {
    let sample = &scene.stage.sample;
    let (tip, key) = (status.tip.point, &sample.keys()[FOUNDER]);
    let Timestamp(start) = sample.network.clock.start_of(round, slot);
    let header = Header {
        version: 1,
        height: tip.height.next(),
        round,
        slot,
        timestamp: Timestamp(start + number % 1_000),
        previous: tip.hash,
        messages_root: messages_root(ids),
        seal: sample.anchor.seal,
        reveal: None,
        forger: key.public(),
    };
    header.sign(key, &sample.network, &sample.verifier)
}
