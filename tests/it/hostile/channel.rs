//! Strangers with a channel and a throwaway identity: what they send in it, and what they have the node send.

use std::time::Duration;

use hypernode::shell::document::PeersDocument;
use hypernode::types::block::Point;
use hypernode::types::hash::TxId;
use hypernode::types::key::SecretKey;
use hypernode::types::message::{BODIES_MAX, ByeReason, Hello, Message};

use super::stage::{Scene, Stage};
use super::stranger::{Stranger, connect, connect_narrow};
use crate::cluster::wait_for;
use crate::sample::{any_hash, key};

/// How often each of them tries: many times what the log may say.
const TIMES: u64 = 150;
/// Ten times what a peer may send at once.
const FRAMES: u64 = 50_000;
/// Observers that send a byte a second.
const SLOW: u64 = 4;
/// Observers that a node lets in.
const OBSERVERS_MAX: usize = 24;
/// Requests in one go.
const ASKED_AT_ONCE: u32 = 8;

/// A key that nobody has seen before.
fn stranger_key(attack: u32, number: u64) -> SecretKey {
    key(1_000_000 * attack + u32::try_from(number).unwrap())
}

fn shake(scene: &Scene<'_>) -> Stranger {
    Stranger::shake(connect(scene.from, scene.at()), scene.network()).unwrap()
}

fn observer(scene: &Scene<'_>, key: &SecretKey) -> Stranger {
    shake(scene).greet(key).unwrap()
}

#[test]
fn strangers_that_send_what_no_node_sends_are_dropped_and_named() {
    let mut stage = Stage::start(2, &[1, 1], 2, 0);
    stage.attack("oversized frames", |scene| {
        for number in 0..TIMES {
            let mut stranger = observer(scene, &stranger_key(1, number));
            // A ping of 4 GiB.
            stranger.send_plain(&[2, 0xff, 0xff, 0xff, 0xff]);
            stranger.wait_for_end();
        }
        scene.wait_for_ends("malformed", TIMES);
        let PeersDocument { aside, .. } = scene.stage.node().peers();
        let last = stranger_key(1, TIMES - 1).public();
        assert_eq!(aside.iter().map(|it| it.public_key).find(|key| *key == last), Some(last));
        assert!(aside.len() <= 64, "{}", aside.len());
        // Whoever comes again with the same key is told why he may not.
        let mut again = shake(scene);
        let hello = again.hello(&stranger_key(1, TIMES - 1));
        again.send(&Message::Hello(hello));
        assert_eq!(again.wait_for_bye(), Some(ByeReason::SetAside));
    });
    stage.attack("garbage in the channel", |scene| {
        for number in 0..TIMES {
            let mut stranger = observer(scene, &stranger_key(2, number));
            stranger.send_bytes(&[0x5a; 512]);
            stranger.send_bytes(&[0x5a; 32_768]);
            stranger.wait_for_end();
        }
        scene.wait_for_ends("malformed", TIMES);
    });
    stage.attack("truncated frames", |scene| {
        for number in 0..TIMES {
            let mut stranger = observer(scene, &stranger_key(3, number));
            let frame = Message::WantSeals { request: 1, after: 0 }.to_frame();
            stranger.send_plain(&frame[..frame.len() - 1]);
        }
        scene.wait_for_ends("gone", TIMES);
    });
    stage.attack("reflected and borrowed identities", |scene| {
        let mut theirs = shake(scene);
        let of_node = hello(&mut theirs);
        let of_other = theirs.hello(&stranger_key(4, 0));
        for _ in 0..TIMES {
            for (hello, why) in [(&of_node, ByeReason::Own), (&of_other, ByeReason::Identity)] {
                let mut stranger = shake(scene);
                stranger.send(&Message::Hello(hello.clone()));
                assert_eq!(stranger.wait_for_bye(), Some(why));
            }
        }
        scene.wait_for_ends("own", TIMES);
        scene.wait_for_ends("identity", TIMES);
    });
}

/// Who the node says that it is.
fn hello(stranger: &mut Stranger) -> Hello {
    let hello = stranger.hear(|message| matches!(message, Message::Hello(_))).unwrap();
    let Message::Hello(hello) = hello else { unreachable!("it is one") };
    hello
}

#[test]
fn observers_that_flood_are_dropped_and_hold_little() {
    let mut stage = Stage::start(3, &[1, 1], 2, 0);
    stage.attack("ten times the budget", |scene| {
        // Nobody answers it.
        let burst = Message::Gone { request: 0 }.to_frame().repeat(1_000);
        for number in 0..OBSERVERS_MAX {
            let mut stranger = observer(scene, &stranger_key(5, number as u64));
            let bursts = (0..FRAMES / 1_000).take_while(|_| stranger.send_plain(&burst)).count();
            assert!(bursts > 0);
            stranger.wait_for_end();
        }
        scene.wait_for_ends("budget", OBSERVERS_MAX as u64);
    });
    stage.attack("answers that nobody reads", |scene| {
        let block = full_block(scene);
        // The first one shows how much a peer may have the node hold; the others stay below that.
        let mut first = deaf_observer(scene, 0);
        let most = (1..).find(|_| !ask(scene, &mut first, &block, 1)).unwrap();
        let mut held = Vec::new();
        for number in 1..OBSERVERS_MAX {
            let mut stranger = deaf_observer(scene, number);
            ask(scene, &mut stranger, &block, most - 2);
            held.push(stranger);
        }
        let ends = scene.ends();
        let stuck = usize::try_from(ends["stuck"]).unwrap();
        println!(
            "{most} times {ASKED_AT_ONCE} requests for one, {stuck} of {OBSERVERS_MAX} dropped"
        );
        assert!(stuck > OBSERVERS_MAX / 2, "the node holds what all others wait for: {ends:?}");
        held
    });
    stage.attack("a byte a second of a frame", |scene| {
        let frame = Message::Have(vec![TxId(any_hash("nowhere")); 64]).to_frame();
        let mut slow: Vec<Stranger> =
            (0..SLOW).map(|number| observer(scene, &stranger_key(8, number))).collect();
        // Until the node has had enough, long before the frame is whole; the pace is the attack.
        for byte in frame {
            if scene.ends().values().sum::<u64>() >= SLOW {
                break;
            }
            for stranger in &mut slow {
                stranger.send_plain(&[byte]);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        scene.wait_for_ends("timeout", SLOW);
    });
    stage.attack("more observers than there is place for", |scene| {
        let mut held = Vec::new();
        for number in 0..3 * OBSERVERS_MAX as u64 {
            held.extend(shake(scene).greet(&stranger_key(7, number)));
        }
        assert_eq!(held.len(), OBSERVERS_MAX);
        scene.wait_for_ends("full", 2 * OBSERVERS_MAX as u64);
        held
    });
}

/// One that reads nothing any more.
fn deaf_observer(scene: &Scene<'_>, number: usize) -> Stranger {
    let stream = connect_narrow(scene.from, scene.at());
    let stranger = Stranger::shake(stream, scene.network()).unwrap();
    stranger.greet(&stranger_key(6, number as u64)).unwrap()
}

/// Asks for a block again and again, and waits until the node has heard it; false when it has dropped the peer.
fn ask(scene: &Scene<'_>, stranger: &mut Stranger, block: &Point, times: u32) -> bool {
    let points = vec![*block; BODIES_MAX];
    for request in 0..times * ASKED_AT_ONCE {
        stranger.send(&Message::WantBodies { request, points: points.clone() });
    }
    let endpoint = stranger.endpoint();
    wait_for("that it is heard", || {
        let peers = scene.stage.node().peers().peers;
        match peers.iter().find(|peer| peer.endpoint == endpoint) {
            Some(peer) => (peer.bytes_received >= stranger.frame_bytes).then_some(true),
            None => Some(false),
        }
    })
}

/// A block of the chain with messages in it, once there is one.
fn full_block(scene: &Scene<'_>) -> Point {
    wait_for("a block with messages", || {
        let recent = scene.stage.node().recent().into_iter();
        let found = recent.filter(|block| block.messages > 0).max_by_key(|block| block.messages)?;
        Some(found.point)
    })
}
