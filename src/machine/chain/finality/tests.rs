//! What is sealed stays, whatever comes in whatever order.

mod aside;

use std::rc::Rc;

use super::Breach;
use crate::machine::bed::village::Village;
use crate::machine::bed::{self, Disk, key};
use crate::machine::chain::HeaderVerdict;
use crate::machine::note::Ruling;
use crate::machine::records::{Reader, Table, index_key, main_record, point_key};
use crate::machine::seals::SealVerdict;
use crate::rules::refusal::Refusal;
use crate::types::block::{Block, Point};
use crate::types::clock::{Height, Round, Slot};
use crate::types::hash::Hash;
use crate::types::network::{Listed, Network};
use crate::types::rng::Rng;
use crate::types::seal::{Seal, Voter, voters_digest};

const FOUNDERS: u8 = 5;
const ALL: [u8; 5] = [1, 2, 3, 4, 5];

fn network() -> Rc<Network> {
    bed::network(
        FOUNDERS,
        &[
            ("slots = 19", "slots = 3"),
            ("activity_rounds = 3", "activity_rounds = 2"),
            ("active_min = 10", "active_min = 2"),
        ],
    )
}

fn of_table(disk: &Disk, table: Table) -> usize {
    disk.entries.keys().filter(|(of, _)| *of == table).count()
}

fn holds(disk: &Disk, block: &Block) -> bool {
    let key = point_key(&block.header.point());
    disk.get(Table::Headers, &key).is_some() || disk.get(Table::Bodies, &key).is_some()
}

/// Two nodes that share three sealed rounds.
fn two() -> (Village, Village) {
    let (mut one, mut other) = (Village::new(network()), Village::new(network()));
    for round in 1..=3 {
        for block in one.round(round, &[0, 1, 2], &ALL) {
            assert_eq!(other.take(&block), HeaderVerdict::Added);
        }
        let seal = one.seal();
        assert_eq!(other.certify(&seal), SealVerdict::Added);
    }
    assert_eq!(one.chain.sealed(), other.chain.sealed());
    (one, other)
}

#[test]
fn thirty_seals_are_adopted_and_a_restart_changes_nothing() {
    let mut village = Village::new(network());
    let mut beacon = village.chain.sealed().state.beacon;
    for round in 1..=30 {
        // Somebody is away for some rounds, so that voters change.
        let is_there = |it: &u8| round % 10 < 6 || *it != 2;
        let senders: Vec<u8> = ALL.into_iter().filter(is_there).collect();
        let plan = village.chain.plan(Round(round));
        let away = village.ground.address(&key(2));
        let forges = |slot: &u32| is_there(&2) || plan.juror(Slot(*slot)) != Some(&away);
        let slots: Vec<u32> = (0..3).filter(forges).collect();
        village.round(round, &slots, &senders);
        let seal = village.seal();
        let state = &village.chain.sealed().state;
        assert_eq!(state.digest(), seal.certificate.checkpoint.state);
        assert!(round < 3 || state.beacon != beacon, "secrets are revealed in each round");
        beacon = state.beacon;
        if round % 3 == 0 {
            let before = village.chain.state().clone();
            village.restart();
            assert_eq!(*village.chain.state(), before);
        }
        assert!(of_table(&village.disk, Table::States) <= 3, "older states are forgotten");
    }
    assert_eq!(village.chain.sealed().seal.index, 30);
    assert_eq!(village.change.undone.len(), 0);
    assert_eq!(of_table(&village.disk, Table::Seals), 30);
    let brought = (1..=30).filter(|index| {
        let seal = crate::machine::records::seal(&village.disk, *index).expect("it is there");
        seal.seal.voters.is_some()
    });
    assert!(brought.count() >= 4, "voters came and went");
}

#[test]
fn the_best_chain_goes_to_the_sealed_block_and_what_is_beside_it_leaves() {
    let (mut one, mut other) = two();
    let light = one.round(4, &[0], &ALL);
    let heavy = other.round(4, &[1, 2], &[1, 2]);
    for block in &heavy {
        one.take(block);
    }
    for block in &light {
        other.take(block);
    }
    // Both know both, and the heavier is the best.
    one.change.undone.clear();
    other.change.undone.clear();
    assert_eq!(one.chain.best(), other.chain.best());
    let state = Village::on(network(), other.disk.clone()).expect("whole");
    assert_eq!(state.chain.best(), other.chain.best());
    // The lighter one is sealed: by somebody who has never seen the other.
    let (mut third, _) = two();
    light.iter().for_each(|block| assert_eq!(third.take(block), HeaderVerdict::Added));
    let seal = third.seal();
    assert_eq!(other.certify(&seal), SealVerdict::Added);
    assert_eq!(other.chain.best().point, light[0].header.point());
    assert_eq!(other.chain.sealed(), third.chain.sealed());
    assert_eq!(other.change.undone.len(), 2);
    let messages: usize = other.change.undone.iter().map(|it| it.messages.len()).sum();
    assert_eq!(messages, 2, "they come back to who keeps messages");
    assert!(heavy.iter().all(|block| !holds(&other.disk, block)));
    assert!(other.change.refused.is_empty());
    // Whatever comes of it later is not followed any more.
    let beside = HeaderVerdict::Refused(Refusal::BesideSeal);
    assert_eq!(other.take(&heavy[0]), beside);
    assert_eq!(other.take(&heavy[1]), HeaderVerdict::Orphan);
    other.restart();
    assert_eq!(other.take(&heavy[0]), beside);
    assert!(other.disk.entries == third.disk.entries, "as if it had never been there");
}

#[test]
fn a_sealed_block_whose_body_is_missing_takes_the_chain_back_at_once() {
    let (mut one, mut other) = two();
    let sealed = one.round(4, &[0, 1], &ALL);
    let seal = one.seal();
    let ours = other.round(4, &[2], &[]);
    let fork = other.chain.sealed().checkpoint.point();
    for block in &sealed {
        assert_eq!(other.header(block), HeaderVerdict::Added);
    }
    assert_eq!(other.certify(&seal), SealVerdict::Added);
    assert_eq!(other.chain.best().point, fork, "nobody follows a chain beside the seal");
    assert!(other.chain.awaits_seal() && !holds(&other.disk, &ours[0]));
    other.restart();
    for block in &sealed {
        assert_eq!(other.take(block), HeaderVerdict::Added, "headers without bodies are forgotten");
    }
    assert_eq!(other.chain.sealed(), one.chain.sealed());
}

#[test]
fn beside_an_unknown_block_only_its_height_tells_what_leaves() {
    let (mut one, mut other) = two();
    let sealed = one.round(4, &[0, 2], &ALL);
    let seal = one.seal();
    let ours = other.round(4, &[0, 1], &[]);
    assert_eq!(other.certify(&seal), SealVerdict::Added);
    // The first of ours may still be below it, the second stands in its place.
    assert_eq!(other.chain.best().point, ours[0].header.point());
    assert!(holds(&other.disk, &ours[0]) && !holds(&other.disk, &ours[1]));
    assert_eq!(other.take(&ours[1]), HeaderVerdict::Refused(Refusal::BesideSeal));
    other.restart();
    for block in &sealed {
        assert_eq!(other.take(block), HeaderVerdict::Added);
    }
    assert_eq!(other.chain.sealed(), one.chain.sealed());
    assert!(other.disk.entries == one.disk.entries, "the first of ours is gone too");
}

#[test]
fn a_seal_closes_its_round_for_those_who_came_later_and_earlier() {
    let (mut one, mut other) = two();
    let sealed = one.round(4, &[0, 1], &ALL);
    let late = one.forge((Round(4), Slot(2)), Vec::new(), 1);
    for block in sealed.iter().chain([&late]) {
        assert_eq!(other.take(block), HeaderVerdict::Added);
    }
    let seal = one.seal();
    assert_eq!(other.certify(&seal), SealVerdict::Added);
    assert_eq!(other.chain.best().point, sealed[1].header.point(), "one block back");
    assert!(!holds(&other.disk, &late));
    for village in [&mut one, &mut other] {
        assert_eq!(village.take(&late), HeaderVerdict::Refused(Refusal::RoundSealed));
    }
    // Known to be closed before the sealed block is whole, too.
    let (_, mut third) = two();
    assert_eq!(third.take(&sealed[0]), HeaderVerdict::Added);
    assert_eq!(third.header(&sealed[1]), HeaderVerdict::Added);
    assert_eq!(third.certify(&seal), SealVerdict::Added);
    assert_eq!(third.header(&late), HeaderVerdict::Refused(Refusal::RoundSealed));
}

#[test]
fn a_long_way_back_goes_in_steps_and_over_a_restart() {
    let (mut one, mut other) = two();
    // While nothing is sealed, two halves go on for two hundred rounds.
    for round in 4..204 {
        let blocks = one.round(round, &[0], &[]);
        assert_eq!(other.take(&blocks[0]), HeaderVerdict::Added);
    }
    let (mut third, _) = two();
    let mut lighter = Vec::new();
    for round in 4..200 {
        lighter.extend(third.round(round, &[1], &[]));
    }
    for block in &lighter {
        assert_eq!(other.take(block), HeaderVerdict::Added);
    }
    assert_eq!(other.chain.best(), one.chain.best());
    third.restart();
    while third.chain.state_at(&third.chain.best().point, &third.disk).is_none() {}
    let seal = third.seal();
    assert_eq!(other.certify_within(1, &seal), SealVerdict::Added);
    assert!(other.chain.is_retreating() && other.chain.has_work());
    assert_eq!(other.chain.best().point.height, Height(9 + 200 - 128));
    other.restart();
    // What comes in between does not turn it round.
    let more = one.round(204, &[0], &[]);
    assert_eq!(other.take(&more[0]), HeaderVerdict::Orphan);
    assert_eq!(other.chain.sealed(), third.chain.sealed());
    assert_eq!(other.chain.best(), third.chain.best());
    assert!(other.disk.entries == third.disk.entries);
}

#[test]
fn a_seal_of_another_state_or_of_an_invalid_block_is_a_breach() {
    let (mut one, mut other) = two();
    one.round(4, &[0], &ALL)
        .iter()
        .for_each(|block| assert_eq!(other.take(block), HeaderVerdict::Added));
    let point = one.chain.best().point;
    let mut state = one.chain.state_at(&point, &one.disk).expect("on the chain");
    let ours = state.checkpoint(4, point.height, point.hash);
    state.beacon = Hash([9; 32]);
    let theirs = state.checkpoint(4, point.height, point.hash);
    let seal = one.ground.seal(one.seals.certified(), one.seals.electorate(), theirs, (&[], &[]));
    assert_eq!(one.certify(&seal), SealVerdict::Added);
    assert_eq!(one.chain.breach(), Some(&Breach::State { index: 4, ours }));
    assert_eq!((one.chain.sealed().seal.index, one.chain.has_work()), (3, false));
    one.restart();
    assert_eq!(one.certify(&seal), SealVerdict::Known);
    assert!(one.chain.breach().is_some(), "it is found again");
    // A body that repeats what the chain holds already: valid by itself, and refused where it stands.
    let (mut maker, _) = two();
    let again = maker.heartbeat(&key(1), Round(4));
    let first = maker.forge((Round(4), Slot(1)), vec![again.clone()], 1);
    let second = {
        let bad = maker.forge((Round(4), Slot(2)), vec![again], 1);
        assert_eq!(maker.take(&first), HeaderVerdict::Added);
        let mut header = bad.header.header.clone();
        header.previous = first.header.hash();
        header.height = header.height.next();
        let forger = ALL.map(key).into_iter().find(|key| key.public() == header.forger);
        let forger = forger.expect("a founder");
        let header = header.sign(&forger, &maker.ground.network, &maker.ground.verifier);
        Block { header, messages: bad.messages }
    };
    let (_, mut other) = two();
    assert_eq!(other.take(&first), HeaderVerdict::Added);
    assert_eq!(other.take(&second), HeaderVerdict::Added);
    assert_eq!(other.change.refused, [(second.header.point(), Refusal::DuplicateKey)]);
    let point = second.header.point();
    let index = 4;
    let checkpoint = crate::types::seal::Checkpoint {
        index,
        round: Round(4),
        height: point.height,
        block: point.hash,
        ..*other.seals.certified()
    };
    let electorate = other.seals.electorate().clone();
    let seal = other.ground.seal(other.seals.certified(), &electorate, checkpoint, (&[], &[]));
    assert_eq!(other.certify(&seal), SealVerdict::Added);
    let why = Refusal::DuplicateKey;
    assert_eq!(other.chain.breach(), Some(&Breach::Refused { index, why }));
    // When its body comes only after the seal: the same.
    let (_, mut late) = two();
    assert_eq!(late.take(&first), HeaderVerdict::Added);
    assert_eq!(late.header(&second), HeaderVerdict::Added);
    assert_eq!(late.certify(&seal), SealVerdict::Added);
    late.body(&second).expect("the root fits");
    assert_eq!(late.chain.breach(), Some(&Breach::Refused { index, why }));
}

/// Blocks of some rounds, with forks in each, and the seals of each round.
fn story(rng: &mut Rng, rounds: u64) -> (Village, Vec<Block>, Vec<Seal>) {
    let mut village = Village::new(network());
    let (mut blocks, mut seals) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        for slot in 0..3 {
            // Some beside each other, each by the juror, with other messages.
            let count = 1 + rng.below(2);
            let siblings: Vec<Block> = (0..count)
                .map(|it| {
                    let senders = ALL.iter().filter(|_| it == 0 || rng.one_in(2));
                    let messages: Vec<_> = senders
                        .map(|sender| village.heartbeat(&key(*sender), Round(round)))
                        .filter(|tx| !village.chain.state().holds(&tx.key()))
                        .collect();
                    village.forge((Round(round), Slot(slot)), messages, 1 + it)
                })
                .collect();
            for block in siblings {
                village.take(&block);
                blocks.push(block);
            }
        }
        if rng.below(4) > 0 {
            let last = village.chain.best().point;
            let before = village.chain.sealed().checkpoint;
            // Not always the last one: a late block is cut off.
            let below = village.chain.main_at(Height(last.height.0 - 1), &village.disk);
            let point = below.filter(|it| rng.one_in(3) && it.height > before.height);
            let in_round = point.filter(|it| {
                let entry = village.chain.entry(&it.hash).expect("recent");
                entry.header.header.round == Round(round)
            });
            let seal = village.seal_of(&in_round.unwrap_or(last));
            assert_eq!(village.certify(&seal), SealVerdict::Added);
            seals.push(seal);
        }
    }
    (village, blocks, seals)
}

#[test]
fn whatever_the_order_of_blocks_and_seals_the_end_is_the_same() {
    for seed in 0..12 {
        let mut rng = Rng::from_text(&format!("seals {seed}"));
        let (village, blocks, seals) = story(&mut rng, 8);
        for _ in 0..4 {
            let mut other = Village::new(network());
            let mut waiting: Vec<&Block> = blocks.iter().collect();
            let mut to_come = seals.iter();
            let mut left = 4_000;
            while other.chain.sealed() != village.chain.sealed()
                || other.chain.best() != village.chain.best()
            {
                left -= 1;
                assert!(left > 0, "seed {seed} ends");
                if rng.one_in(12) {
                    if let Some(seal) = to_come.next() {
                        assert_eq!(other.certify(seal), SealVerdict::Added);
                    }
                } else if !waiting.is_empty() {
                    // Roughly in order, as blocks come.
                    let at = rng.index(waiting.len().min(6));
                    let block = waiting.remove(at);
                    match other.take(block) {
                        HeaderVerdict::Orphan | HeaderVerdict::Refused(Refusal::UnknownSeal) => {
                            waiting.push(block)
                        }
                        HeaderVerdict::Added | HeaderVerdict::Known => {}
                        HeaderVerdict::Refused(why) => assert!(
                            matches!(why, Refusal::BesideSeal | Refusal::RoundSealed),
                            "seed {seed}: {why:?}"
                        ),
                        verdict => panic!("seed {seed}: {verdict:?}"),
                    }
                }
                assert_eq!(other.chain.breach(), None);
                if rng.one_in(15) {
                    other.restart();
                }
            }
            for seal in to_come {
                other.certify(seal);
            }
            for table in [Table::Main, Table::Headers, Table::Bodies, Table::States, Table::Seals] {
                let of = |disk: &Disk| -> Vec<Vec<u8>> {
                    let of_table = disk.entries.keys().filter(|(of, _)| *of == table);
                    // Above the last seal, forks come and go.
                    let last = village.chain.sealed().checkpoint.height;
                    let keys = of_table.map(|(_, key)| key.clone());
                    keys.filter(|key| key[..8] <= last.0.to_be_bytes()[..]).collect()
                };
                assert_eq!(of(&other.disk), of(&village.disk), "seed {seed}, {table:?}");
            }
        }
    }
}

#[test]
fn a_damaged_state_or_chain_is_found_at_open() {
    let (one, _) = two();
    let open = |disk: Disk| Village::on(network(), disk).map(|_| ());
    assert_eq!(open(one.disk.clone()), Ok(()));
    let mut disk = one.disk.clone();
    disk.entries.remove(&(Table::Seals, index_key(3)));
    assert!(open(disk).is_err(), "a state without its seal");
    let mut disk = one.disk.clone();
    disk.entries.get_mut(&(Table::States, index_key(3))).expect("there")[5] ^= 1;
    assert!(open(disk).is_err(), "another state");
    let mut disk = one.disk.clone();
    let record = main_record(&disk, Height(9)).expect("there");
    assert_eq!(Point { height: Height(9), hash: record.hash }, one.chain.best().point);
    disk.entries.remove(&(Table::Main, 9_u64.to_be_bytes().to_vec()));
    assert!(open(disk).is_err(), "a chain that ends below the seal");
}

#[test]
fn a_chain_without_the_listed_block_is_refused_from_its_height_on() {
    let (mut one, _) = two();
    let listed = one.round(4, &[0, 1], &[]);
    let checkpoint = one.seal_of(&listed[1].header.point()).certificate.checkpoint;
    let mut listing = Network::clone(&network());
    listing.checkpoints = vec![Listed { checkpoint, voters: None }];
    let (_, before) = two();
    let mut new = Village::on(Rc::new(listing), before.disk.clone()).expect("whole");
    let mut other = before;
    let beside = other.round(4, &[0, 2], &[1]);
    assert_eq!(new.take(&beside[0]), HeaderVerdict::Orphan, "whether it leads there nobody knows");
    new.prove(&listed);
    assert_eq!(new.take(&beside[0]), HeaderVerdict::Refused(Refusal::BesideSeal));
    // A seal of the same index for another block is not in force here.
    let seal = other.seal();
    assert!(matches!(new.certify(&seal), SealVerdict::Conflict(it) if it.ruling == Ruling::Listed));
    assert_eq!(new.chain.best().point, checkpoint.point());
}

#[test]
fn a_listed_checkpoint_brings_its_voters_and_the_chain_goes_on_with_them() {
    let (mut one, _) = two();
    let old = one.round(4, &[0, 1, 2], &ALL);
    let cut = old[1].header.point();
    // All but two are gone for good: their operators agree on a block and list it.
    let network = network();
    let mut brought: Vec<Voter> =
        [1, 2].map(|it| Voter { public_key: key(it).public(), weight: 1 }).to_vec();
    brought.sort_by_key(|voter| network.address_of(&voter.public_key));
    let mut state = one.chain.state_at(&cut, &one.disk).expect("on the chain");
    state.bring(&brought, &network);
    let checkpoint = state.checkpoint(4, cut.height, cut.hash);
    assert_eq!(checkpoint.voters, voters_digest(&brought));
    let mut listing = Network::clone(&network);
    listing.checkpoints = vec![Listed { checkpoint, voters: Some(brought) }];
    let mut new = Village::on(Rc::new(listing), one.disk.clone()).expect("whole");
    // It is taken as soon as the node runs.
    new.take_listed();
    assert_eq!(new.chain.sealed().checkpoint, checkpoint);
    assert_eq!(new.chain.best().point, cut);
    assert_eq!(new.chain.best().seal, checkpoint.seal(), "its own block counts as naming it");
    new.restart();
    // Two are the whole network now, and seal what they forge.
    for round in 10..13 {
        for block in new.round(round, &[0, 1, 2], &[1, 2]) {
            assert!([1, 2].iter().any(|it| key(*it).public() == block.header.header.forger));
        }
        new.seal();
    }
    assert_eq!(new.chain.sealed().state.voters.len(), 2);
    // The others' chain is refused, and who lists nothing follows neither.
    assert_eq!(new.take(&old[2]), HeaderVerdict::Refused(Refusal::BesideSeal));
    let block = new.round(13, &[0], &[]);
    assert_eq!(one.take(&block[0]), HeaderVerdict::Orphan);
}
