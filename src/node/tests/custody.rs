//! A node that may not sign, or has halted, or whose key is used elsewhere: it follows, and signs nothing.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::{SLOT_MS, World, network};
use crate::machine::bed::{self, Disk, Ground};
use crate::machine::event::{Effect, Event, Fault, PeerId, StopReason};
use crate::machine::halt::{self, HaltReason};
use crate::machine::note::MissReason;
use crate::machine::records::{Draft, Table};
use crate::machine::turn::Turn;
use crate::types::block::{Header, SealRef, SignedHeader};
use crate::types::clock::{Height, Round, Slot};
use crate::types::codec;
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::{PublicKey, SecretKey, Verifier};
use crate::types::message::{ByeReason, Message};
use crate::types::network::Endpoint;
use crate::types::seal::{Checkpoint, Quorum, Step, Vote};
use crate::types::sign::{Doubt, SignRecord, SignState, Standing};
use crate::types::tx::Tx;

const ROUND_MS: u64 = 6 * SLOT_MS;

/// Two nodes, the first with a sign state of this standing.
fn world(standing: Standing) -> World {
    let mut world = World::of(network(2), 2);
    world.disks[0].signed = SignState { standing, ..SignState::default() };
    world.nodes[0] = world.open(0);
    world
}

/// Who has signed what is on a disk: blocks, and messages in them.
fn signers(disk: &Disk) -> BTreeSet<PublicKey> {
    let values = |of| disk.entries.iter().filter(move |((table, _), _)| *table == of);
    let headers = values(Table::Headers).map(|(_, value)| {
        let stored: crate::machine::records::StoredHeader =
            codec::decode(value, value.len()).expect("a header");
        stored.header.header.forger
    });
    let bodies = values(Table::Bodies).flat_map(|(_, value)| {
        let messages: Vec<Tx> = codec::decode(value, value.len()).expect("a body");
        messages.into_iter().map(|tx| tx.sender)
    });
    headers.chain(bodies).collect()
}

fn missed(world: &World, index: usize) -> BTreeSet<MissReason> {
    let duties = world.nodes[index].status(world.now()).duties;
    duties.recent.iter().filter_map(|duty| duty.missed).collect()
}

#[test]
fn who_may_not_sign_follows_the_chain_in_silence() {
    for doubt in [Doubt::Missing, Doubt::Older, Doubt::Copied, Doubt::Retired, Doubt::Elsewhere] {
        let mut world = world(Standing::Unproven(doubt));
        world.run_until(5 * ROUND_MS);
        assert_eq!(signers(&world.disks[1]), [bed::key(2).public()].into(), "{doubt:?}");
        assert_eq!(missed(&world, 0), [MissReason::SignState].into());
        let statuses = [0, 1].map(|index| world.nodes[index].status(world.now()));
        assert_eq!(statuses[0].tip, statuses[1].tip);
        assert!(statuses[0].tip.point.height > Height(3));
        assert_eq!(statuses[0].sign_state.doubt, Some(doubt));
        assert_eq!(world.disks[0].signed.standing, Standing::Unproven(doubt));
        assert_eq!(world.disks[0].signed.vote, None, "nor does it vote");
    }
}

#[test]
fn who_has_waited_signs_and_does_not_wait_again_after_a_restart() {
    for standing in [Standing::New, Standing::Waiting] {
        let mut world = world(standing);
        world.run_until(3 * ROUND_MS);
        assert_eq!(signers(&world.disks[1]), [bed::key(2).public()].into(), "{standing:?}");
        world.run_until(5 * ROUND_MS);
        assert_eq!(world.disks[0].signed.standing, Standing::Proven);
        let both = [bed::key(1).public(), bed::key(2).public()];
        assert_eq!(signers(&world.disks[1]), both.into(), "{standing:?}");
        world.nodes[0] = world.open(0);
        assert!(world.nodes[0].status(world.now()).sign_state.proven);
        // Without its vote there is no quorum.
        assert!(world.disks[0].signed.vote.is_some(), "it votes in the instance that was open");
        assert!(world.nodes[1].status(world.now()).seal.index > 0, "{standing:?}");
    }
}

impl World {
    /// Node 0 starts again, and node 1 notices.
    fn restart(&mut self) {
        self.nodes[0] = self.open(0);
        self.deliver(1, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
    }
}

#[test]
fn a_sign_state_older_than_our_vote_in_the_newest_seal_is_noticed_at_once() {
    for forget in [(|signed| signed.vote = None) as fn(&mut SignState), |signed| {
        if let Some(vote) = &mut signed.vote {
            vote.index = 1;
        }
    }] {
        let mut world = World::new(2);
        world.run_until(3 * ROUND_MS);
        assert!(world.nodes[0].status(world.now()).seal.index > 1);
        world.restart();
        world.deliver(0, Event::Wake);
        assert_eq!(world.disks[0].signed.standing, Standing::Proven, "it is up to date");
        let sealed = world.nodes[0].status(world.now()).seal.index;
        forget(&mut world.disks[0].signed);
        world.restart();
        world.deliver(0, Event::Wake);
        let signed = world.disks[0].signed;
        assert_eq!(signed.standing, Standing::Unproven(Doubt::Older));
        let held = signed.vote.map(|vote| vote.index);
        assert!(held >= Some(sealed), "what it showed is held");
    }
}

#[test]
fn a_key_used_elsewhere_ends_the_node_after_all_is_on_disk() {
    let mut world = World::new(1);
    world.run_until(ROUND_MS + SLOT_MS * 3 / 2);
    let (round, slot) = (Round(1), Slot(1));
    let height = Height(world.nodes[0].status(world.now()).tip.point.height.0 + 1);
    let header = Header {
        version: 0,
        height,
        round,
        slot,
        timestamp: world.now().wall,
        previous: BlockHash(Hash([1; 32])),
        messages_root: crate::types::block::messages_root(&[]),
        seal: SealRef { index: 0, checkpoint: Hash::default() },
        reveal: None,
        forger: bed::key(1).public(),
    };
    let header = header.sign(&bed::key(1), &world.network, &world.verifier);
    let effects = hear(&mut world, header);
    let Some(Effect::Guard(SignRecord::Correction(state))) = effects.first() else {
        panic!("on disk before all else: {effects:?}")
    };
    assert_eq!(state.standing, Standing::Unproven(Doubt::Elsewhere));
    assert!(matches!(effects.last(), Some(Effect::Stop(StopReason::KeyElsewhere))), "{effects:?}");
    assert!(!world.nodes[0].status(world.now()).sign_state.proven);
    // Should the shell go on all the same: there is no block of the slots to come.
    let forged = world.nodes[0].status(world.now()).duties.forged;
    for _ in 0..30 {
        world.now_ms += SLOT_MS / 2;
        let now = world.now();
        let effects = world.nodes[0].handle(now, Event::Wake, &world.disks[0]);
        let signs = |effect: &Effect| {
            matches!(effect, Effect::Guard(SignRecord::Block(_) | SignRecord::Vote(_)))
        };
        assert!(!effects.iter().any(signs), "{effects:?}");
    }
    assert_eq!(world.nodes[0].status(world.now()).duties.forged, forged);
}

/// What node 0 does that hears of a block from somebody who has just connected.
fn hear(world: &mut World, header: SignedHeader) -> Vec<Effect> {
    greet(world, 9, 3);
    say(world, 9, Message::NewBlock { header, ids: vec![] })
}

/// Somebody connects to node 0: a founder, or an observer with any other number.
fn greet(world: &mut World, peer: u64, number: u8) {
    let (peer, dialled, channel) = (PeerId(peer), false, Hash([7; 32]));
    let endpoint = Endpoint { port: 9, ..bed::endpoint(2) };
    let connected = Event::Connected { peer, endpoint, dialled, channel };
    let hello = Ground::new(world.network.clone()).hello(&bed::key(number), channel, dialled);
    let now = world.now();
    let _ = world.nodes[0].handle(now, connected, &world.disks[0]);
    let _ = say(world, peer.0, Message::Hello(hello));
}

/// What node 0 does about a message.
fn say(world: &mut World, peer: u64, message: Message) -> Vec<Effect> {
    let bytes = u32::try_from(message.to_frame().len()).expect("short");
    let event = Event::Received { peer: PeerId(peer), message: Rc::new(message), bytes };
    let now = world.now();
    world.nodes[0].handle(now, event, &world.disks[0])
}

/// Who is closed, and why.
fn closed(effects: &[Effect]) -> Vec<(PeerId, ByeReason)> {
    let closed = effects.iter().filter_map(|effect| {
        if let Effect::Close { peer, reason } = effect { Some((*peer, *reason)) } else { None }
    });
    closed.collect()
}

#[test]
fn who_shows_a_forged_vote_of_ours_is_blamed_and_in_a_quorum_no_more_heard() {
    let mut world = World::of(network(2), 1);
    world.down = Some(1);
    world.run_until(ROUND_MS);
    let (key, network, verifier) = (bed::key(1), world.network.clone(), Verifier::default());
    let index = world.nodes[0].status(world.now()).seal.index + 1;
    let hash = Hash([1; 32]);
    let checkpoint = Checkpoint { round: Round(1), height: Height(9), ..bed::checkpoint(index, 1) };
    let sign = |view, value, key: &SecretKey| {
        Vote::sign((index, view, Step::Prepare), value, key, &network, &verifier)
    };
    let mut forged = sign(90, Some(hash), &key);
    forged.signature.0[5] ^= 1;
    // An observer and a masternode, whom nobody else of the node would listen to, or would.
    for (peer, number) in [(9, 77), (10, 2)] {
        greet(&mut world, peer, number);
        let effects = say(&mut world, peer, Message::Votes(vec![forged; 256]));
        assert_eq!(closed(&effects), [(PeerId(peer), ByeReason::Invalid)]);
    }
    // Of a quorum nobody knows by whose voters it is one.
    greet(&mut world, 11, 78);
    let electorate = world.nodes[0].seals.electorate().clone();
    let prepared = |world: &mut World, view: u32, is_good: bool| {
        let votes: Vec<_> = [1, 2]
            .map(|number| {
                let key = bed::key(number);
                let mut signature = sign(view, Some(checkpoint.id()), &key).signature;
                signature.0[5] ^= u8::from(!is_good);
                (electorate.position(&key.public()).expect("a voter"), signature)
            })
            .into_iter()
            .collect::<std::collections::BTreeMap<_, _>>()
            .into_iter()
            .collect();
        say(world, 11, Message::Prepared(Box::new(Quorum::new(checkpoint, view, &votes))))
    };
    assert_eq!(closed(&prepared(&mut world, 50, false)), []);
    assert_eq!(closed(&prepared(&mut world, 51, true)), []);
    let seen = |world: &World| world.nodes[0].status(world.now()).sign_state;
    assert!(seen(&world).proven, "{:?}", seen(&world));
    world.nodes[0].peers.peer_mut(PeerId(11)).expect("still there").misquotes = false;
    prepared(&mut world, 51, true);
    assert!(!seen(&world).proven, "from others it would be heard");
}

/// Node 0 halts, for a reason made up.
fn halt_first(world: &mut World) {
    let checkpoint = Checkpoint { round: Round(0), ..bed::checkpoint(1, 1) };
    let certificate = Box::new(Quorum::new(checkpoint, 0, &[]));
    let reason = HaltReason::State { certificate, ours: Hash([2; 32]) };
    let before = world.disks[0].clone();
    let mut turn = Turn { now: world.now(), db: Draft::new(&before), out: Default::default() };
    world.nodes[0].halt(&mut turn, reason, &[]);
    world.disks[0].write(turn.db.into_batch());
}

#[test]
fn who_has_halted_votes_no_more() {
    let mut world = World::new(2);
    world.run_until(ROUND_MS + 2 * SLOT_MS);
    let signed = world.disks[0].signed;
    assert!(signed.vote.is_some(), "it voted in the round before");
    assert_eq!(world.nodes[1].status(world.now()).seal.index, 1);
    halt_first(&mut world);
    world.run_until(3 * ROUND_MS);
    assert_eq!(world.disks[0].signed, signed, "neither a vote nor a block");
    let status = world.nodes[1].status(world.now());
    assert_eq!(status.seal.index, 1, "without it there is no quorum");
    let open = status.seal.open.expect("the other one waits");
    assert_eq!((open.index, open.late, open.missing_count), (2, true, 1));
    // When it is cleared it goes on where it was.
    world.disks[0].write(halt::clear());
    world.restart();
    world.run_until(5 * ROUND_MS);
    assert!(world.nodes[1].status(world.now()).seal.index > 1);
    let index = |signed: &SignState| signed.vote.map(|vote| vote.index);
    assert!(index(&world.disks[0].signed) > index(&signed));
}

#[test]
fn who_has_halted_forges_nothing_until_it_is_cleared() {
    let mut world = World::new(1);
    world.run_until(ROUND_MS);
    halt_first(&mut world);
    let height = world.nodes[0].status(world.now()).tip.point.height;

    for restart in [false, true] {
        if restart {
            world.nodes[0] = world.open(0);
        }
        let now_ms = world.now_ms - world.network.clock.origin.0;
        world.run_until(now_ms + ROUND_MS);
        let status = world.nodes[0].status(world.now());
        assert_eq!(status.tip.point.height, height, "after a restart: {restart}");
        assert_eq!(status.halt.map(|halt| halt.code).as_deref(), Some("state_differs"));
        assert!(missed(&world, 0).contains(&MissReason::Halted));
        assert!(world.nodes[0].halted().is_some());
    }
    world.disks[0].write(halt::clear());
    world.nodes[0] = world.open(0);
    let now_ms = world.now_ms - world.network.clock.origin.0;
    world.run_until(now_ms + ROUND_MS);
    assert!(world.nodes[0].status(world.now()).tip.point.height > height);
}
