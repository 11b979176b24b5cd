//! A node that learns what it must not go on from, in each of the ways there are, and of what it must only keep.

use super::*;
use crate::machine::halt::{self, HaltReason};
use crate::machine::records::{self, Draft, Reader, Table};
use crate::machine::rivals::Rival;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::evidence::OffenceKind;
use crate::types::network::Listed;
use crate::types::seal::{Checkpoint, Seal};

impl World {
    /// Something is done to the node, as an event would.
    fn act<T>(&mut self, act: impl FnOnce(&mut Node, &mut Turn) -> T) -> T {
        let before = self.disk.clone();
        let now = at(&self.ground.network, self.ms);
        let mut turn = Turn { now, db: Draft::new(&before), out: Default::default() };
        let done = act(&mut self.node, &mut turn);
        let effects = turn.out.take(turn.db.into_batch());
        self.perform(effects);
        done
    }

    /// Lets it halt, and looks whether it says so, now and after a restart.
    fn halts(&mut self, code: &str, index: u64) -> HaltReason {
        assert!(self.run(20_000, |world| world.node.halted().is_some()), "{code}");
        assert_eq!(self.blamed(), []);
        let record = self.node.halted().cloned().expect("it has");
        assert_eq!(halt::read(&self.disk).as_ref(), Some(&record), "on disk");
        self.restart();
        let status = self.node.status(at(&self.ground.network, self.ms));
        let halt = status.halt.expect("after a restart too");
        assert_eq!((halt.code.as_str(), halt.index), (code, index));
        let founders = ALL.map(|number| key(number).public());
        assert_eq!(record.voters.len(), ALL.len(), "who signed what can be checked");
        assert!(record.voters.iter().all(|voter| founders.contains(&voter.public_key)));
        record.reason
    }

    /// A second certificate is kept, shown, and told of once, over a restart; and nothing else comes of it.
    fn keeps(&mut self, held: Checkpoint, rival: &Seal, ruling: Ruling) {
        let certificate = rival.certificate.clone();
        let index = certificate.checkpoint.index;
        assert_eq!(self.conflicts, [(index, ruling)]);
        let kept = self.disk.get(Table::Evidence, &records::rival_key(index));
        let kept: Rival = kept.as_deref().and_then(records::parse).expect("on disk");
        assert_eq!(kept, Rival { at: kept.at, held, ruling, certificate });
        for _ in 0..2 {
            let status = self.node.status(at(&self.ground.network, self.ms));
            assert_eq!(status.halt, None);
            let [shown] = status.seal_conflicts[..] else { panic!("{:?}", status.seal_conflicts) };
            assert_eq!((shown.index, shown.ruling, shown.at), (index, ruling, kept.at));
            assert_eq!((shown.held, shown.rival), (held.id(), kept.certificate.checkpoint.id()));
            self.restart();
        }
    }
}

/// Two that share five seals and the blocks of a round after them.
fn twins() -> (Village, Village) {
    let (mut one, mut other) = (village(5, 0), village(5, 0));
    for block in one.round(6, &[0, 1, 2], &ALL) {
        other.take(&block);
    }
    (one, other)
}

/// The seal that all voters make of whatever checkpoint.
fn sealed(village: &Village, checkpoint: Checkpoint) -> Seal {
    let electorate = village.seals.electorate();
    village.ground.seal(village.seals.certified(), electorate, checkpoint, (&[], &[]))
}

/// The network with a checkpoint listed.
fn listing(checkpoint: Checkpoint) -> Rc<Network> {
    let mut network = Network::clone(&network());
    network.checkpoints = vec![Listed { checkpoint, voters: None }];
    Rc::new(network)
}

#[test]
fn two_certificates_of_the_last_seal() {
    let (mut one, mut other, blocks) = parted();
    let theirs = *one.seals.certified();
    let ours = other.seal();
    // Who shows no newer seal is not asked for any.
    one.round(100_000, &[0], &ALL);
    one.seal();
    let mut world = World::new(other.disk);
    world.join(1, Server::honest(one));
    let reason = world.halts("certificates", 6);
    let HaltReason::Certificates { held, other } = reason else { panic!("{reason:?}") };
    assert_eq!((&*held, other.checkpoint), (&ours.certificate, theirs));
    // The other one does not replace ours.
    assert_eq!(world.node.chain.sealed().checkpoint, ours.certificate.checkpoint);
    assert!(!world.node.chain.knows(&blocks[0].header.point(), &world.disk));
    let mut again = Village::on(network(), world.disk.clone()).expect("whole");
    assert_eq!(again.certify(&ours), SealVerdict::Known);
    // Who has signed both is known, and that there are two is said once.
    world.run(60_000, |_| false);
    let status = world.node.status(at(&network(), world.ms));
    assert!(status.evidence.iter().all(|it| it.kind == OffenceKind::Votes { index: 6 }));
    assert_eq!(status.evidence.len(), ALL.len());
    assert_eq!(world.conflicts, [(6, Ruling::Halts)]);
}

#[test]
fn two_halves_with_another_last_seal_each_notice_it_though_neither_can_go_on() {
    let (one, mut other, _) = parted();
    other.seal();
    let now = at(&network(), 0);
    let (round, _) = network().clock.at(now.wall).expect("after the origin");
    let theirs = one.forge((round, Slot(0)), Vec::new(), 1);
    let common = village(5, 0).forge((round, Slot(0)), Vec::new(), 1);
    let mut world = World::new(other.disk);
    let peer = world.join(1, Server::honest(one));
    world.run(5_000, |_| false);
    // A seal that we have says nothing.
    world.receive(peer, Message::NewBlock { header: common.header, ids: Vec::new() });
    world.run(5_000, |_| false);
    assert!(world.node.status(now).halt.is_none(), "nobody has shown a newer seal");
    world.receive(peer, Message::NewBlock { header: theirs.header, ids: Vec::new() });
    world.run(5_000, |_| false);
    assert!(
        world.node.status(now).halt.is_some(),
        "it has asked for the seal that the block names"
    );
    assert!(world.disk.entries.keys().any(|(table, _)| *table == Table::Halt));
    assert_eq!(world.blamed(), []);
}

#[test]
fn another_state_than_the_sealed_one() {
    let (mut one, other) = twins();
    let point = one.chain.best().point;
    let mut state = one.chain.state_at(&point, &one.disk).expect("on the chain");
    let ours = state.checkpoint(6, point.height, point.hash);
    state.beacon = Hash([9; 32]);
    let seal = sealed(&one, state.checkpoint(6, point.height, point.hash));
    assert_eq!(one.certify(&seal), SealVerdict::Added);
    let mut world = World::new(other.disk);
    world.join(1, Server::honest(one));
    let reason = world.halts("state_differs", 6);
    let certificate = Box::new(seal.certificate);
    assert_eq!(reason, HaltReason::State { certificate, ours: ours.state });
}

#[test]
fn a_sealed_block_against_our_rules() {
    let (mut one, other) = twins();
    // A body that repeats what the chain holds already.
    let again = one.heartbeat(&key(1), Round(7));
    let first = one.forge((Round(7), Slot(1)), vec![again.clone()], 1);
    let bad = one.forge((Round(7), Slot(2)), vec![again], 1);
    one.take(&first);
    let mut header = bad.header.header.clone();
    (header.previous, header.height) = (first.header.hash(), header.height.next());
    let forger = ALL.map(key).into_iter().find(|key| key.public() == header.forger);
    let (network, verifier) = (&one.ground.network, &one.ground.verifier);
    let header = header.sign(&forger.expect("a founder"), network, verifier);
    let bad = Block { header, messages: bad.messages };
    let point = bad.header.point();
    let checkpoint = Checkpoint {
        index: 6,
        round: Round(7),
        height: point.height,
        block: point.hash,
        ..*one.seals.certified()
    };
    let seal = sealed(&one, checkpoint);

    let mut world = World::new(other.disk);
    for block in [&first, &bad] {
        world.act(|node, turn| {
            let header = Rc::new(block.header.clone());
            node.chain.add_header(turn.now, header, true, &turn.db);
            let stored = node.chain.add_body(&block.header.hash(), &block.messages, &mut turn.db);
            stored.expect("the root fits");
        });
        world.handle(Event::Wake);
    }
    one.certify(&seal);
    world.join(1, Server::honest(one));
    let reason = world.halts("sealed_refused", 6);
    let (certificate, why) = (Box::new(seal.certificate), Refusal::DuplicateKey);
    assert_eq!(reason, HaltReason::Refused { certificate, why });
}

#[test]
fn a_listed_checkpoint_against_our_seal() {
    let (one, mut other, _) = parted();
    let (held, listed) = (other.seal(), *one.seals.certified());
    let mut world = World::on(listing(listed), other.disk);
    let reason = world.halts("listed_checkpoint", 6);
    assert_eq!(reason, HaltReason::Listed { held: Box::new(held.certificate), listed });
}

#[test]
fn a_certificate_against_a_listed_checkpoint() {
    let (one, mut other, _) = parted();
    let (theirs, listed) = (other.seal(), *one.seals.certified());
    let mut world = World::on(listing(listed), village(4, 0).disk);
    world.join(2, Server::honest(other));
    world.run(60_000, |_| false);
    world.keeps(listed, &theirs, Ruling::Listed);
}

#[test]
fn a_certificate_of_old_keys_for_an_older_seal() {
    let (mut one, mut other, _) = parted();
    let (held, theirs) = (*one.seals.certified(), other.seal());
    one.round(100_001, &[0], &ALL);
    one.seal();
    let mut world = World::new(one.disk);
    for _ in 0..3 {
        world.act(|node, turn| {
            let SealVerdict::Conflict(conflict) = node.seals.add(turn, theirs.clone()) else {
                panic!("it is well certified")
            };
            node.conflict(turn, &conflict);
        });
    }
    world.keeps(held, &theirs, Ruling::Older);
}
