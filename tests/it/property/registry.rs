//! Registration on random ledgers, in a file and read from it, against slow rules that are written down as
//! `docs/protocol.md` §5 has them: at once, block by block, over restarts, and when the ledger rolls back.

mod made;
mod slow;
mod world;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hypernode::machine::ledger::LedgerNews;
use hypernode::rules::registry::{Applied, Registry, Scope};
use hypernode::shell::ledger::LedgerFile;
use hypernode::types::clock::Round;
use hypernode::types::network::Network;
use hypernode::types::seal::Registered;
use proptest::prelude::*;

use super::cases;
use made::{Act, Maker, Written, blocks, controller, shuffle};
use slow::{Deeds, Form, Hn, Law, Money, Row, Truth, replay};
use world::{LOOKS_MAX, Reader, World, steps};

/// More blocks than the follower can take back.
const LONG: u64 = 8_200;

/// A network with the main network's rules but for the height, depth and step; and what counts there.
fn network(is_main: bool) -> (Rc<Network>, Law) {
    let mut text = Network::main().to_toml();
    let name = if is_main { "main" } else { "other" };
    for (from, to) in [
        ("name = \"main\"".to_owned(), format!("name = \"{name}\"")),
        ("first_height = 773801".to_owned(), "first_height = 5".to_owned()),
        ("depth = 30".to_owned(), "depth = 2".to_owned()),
        ("step = 60".to_owned(), "step = 3".to_owned()),
    ] {
        assert!(text.contains(&from), "{from}");
        text = text.replace(&from, &to);
    }
    let law = Law {
        public_only: is_main,
        prefix: 0x19,
        first_height: 5,
        controller: controller(),
        depth: 2,
        step: 3,
        origin_ms: 1_534_716_000_000,
        round_ms: 3_600_000,
    };
    (Rc::new(Network::parse(&text).expect("a valid file")), law)
}

fn hn(of: &Registered) -> Hn {
    Hn {
        owner: of.owner.to_string(),
        ip: of.ip.to_string(),
        port: of.port.to_string(),
        address: of.address.to_string(),
        weight: i128::from(of.weight),
        reward: of.reward.to_string(),
        since: of.since,
    }
}

fn deeds(applied: &Applied) -> Deeds {
    Deeds {
        verdicts: applied.verdicts.iter().map(|it| it.code()).collect(),
        dropped: applied.dropped.iter().map(hn).collect(),
    }
}

/// Notes what a block did, where it did something.
fn note(said: &mut BTreeMap<u64, Deeds>, height: u64, applied: &Applied) {
    let deeds = deeds(applied);
    if deeds != Deeds::default() {
        said.insert(height, deeds);
    }
}

fn compare(registry: &Registry, said: &BTreeMap<u64, Deeds>, truth: &Truth) {
    assert_eq!(said, &truth.deeds);
    assert_eq!(registry.by_owner().map(hn).collect::<Vec<_>>(), truth.registry());
    let balances = registry.balances().map(|(of, units)| (of.to_string(), units));
    assert_eq!(balances.collect::<BTreeMap<_, _>>(), truth.balances);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_ledger_read_at_once_has_the_verdicts_drops_and_registry_of_the_protocol(
        blocks in blocks(0..30),
        (is_main, keeps_text, has_index) in any::<(bool, bool, bool)>(),
        disorder in proptest::option::of(any::<u64>()),
        budget_ms in prop_oneof![Just(0_u64), Just(1_000)],
    ) {
        let (network, law) = network(is_main);
        let mut maker = Maker::new(&law);
        let mut rows: Vec<Row> = blocks.iter().flat_map(|draw| maker.block(draw)).collect();
        if let Some(seed) = disorder {
            shuffle(&mut rows, seed);
        }
        let written = Written::new(keeps_text, has_index);
        written.append(&rows);
        let scope = Scope::new(&network, &network.values_at(Round(0)).ledger);
        let (mut registry, mut said) = (Registry::new(scope.clone()), BTreeMap::new());
        let mut file = LedgerFile::new(&written.path());
        let (mut tip, mut damage) = (None, None);
        let is_read = (0..LOOKS_MAX).any(|_| match file.read(tip, Duration::from_millis(budget_ms)) {
            LedgerNews::Blocks { blocks, end, .. } => {
                for block in &blocks {
                    if damage.is_none() && block.damage.is_some() {
                        damage = Some(block.height);
                    }
                    if damage.is_none() {
                        note(&mut said, block.height, &registry.apply(block).1);
                    }
                    tip = Some(block.mark());
                }
                end
            }
            LedgerNews::Anew => {
                (tip, damage) = (None, None);
                registry = Registry::new(scope.clone());
                said.clear();
                false
            }
            other => panic!("{other:?}"),
        });
        prop_assert!(is_read);
        let truth = replay(&law, &rows);
        prop_assert_eq!(damage, truth.damage);
        compare(&registry, &said, &truth);
    }

    #[test]
    fn a_follower_has_what_the_protocol_says_whatever_happens_to_its_ledger(
        first in blocks(0..12),
        steps in steps(),
        (is_main, keeps_text, has_index) in any::<(bool, bool, bool)>(),
        disorder in proptest::option::weighted(0.4, any::<u64>()),
        budget_ms in prop_oneof![Just(0_u64), Just(1_000)],
    ) {
        let rules = network(is_main);
        let (written, maker) = (Written::new(keeps_text, has_index), Maker::new(&rules.1));
        let mut world = World { written, rows: Vec::new(), maker };
        let mut reader = Reader::new(&world.written, &rules, Duration::from_millis(budget_ms));
        if let Some(seed) = disorder {
            let maker = &mut world.maker;
            let mut rows: Vec<Row> = first.iter().flat_map(|draw| maker.block(draw)).collect();
            shuffle(&mut rows, seed);
            world.append(rows);
        } else {
            world.follow(&first, &mut reader);
        }
        for step in &steps {
            world.take(step, &mut reader);
        }
    }
}

proptest! {
    #![proptest_config(cases(8))]

    #[test]
    fn a_start_from_a_summary_goes_on_as_if_there_had_been_none(
        (low, high, other) in (blocks(1..12), blocks(1..8), blocks(1..6)),
        gone in 0..12_usize,
        disorder in proptest::option::weighted(0.3, any::<u64>()),
    ) {
        let rules = network(true);
        let (written, maker) = (Written::new(false, true), Maker::new(&rules.1));
        let mut world = World { written, rows: Vec::new(), maker };
        let maker = &mut world.maker;
        let mut rows: Vec<Row> = low.iter().flat_map(|draw| maker.block(draw)).collect();
        if let Some(seed) = disorder {
            shuffle(&mut rows, seed);
        }
        world.append(rows);
        // Nothing in them matters to the slow rules, which are too slow for so many.
        world.written.fill(world.maker.height, LONG);
        world.maker.height += LONG;
        let mut reader = Reader::new(&world.written, &rules, Duration::from_secs(1));
        reader.read();
        world.follow(&high, &mut reader);

        let summary = reader.follower.summary();
        let is_damaged = replay(&rules.1, &world.rows).damage.is_some();
        prop_assert!(is_damaged || summary.is_some());
        let mut next = Reader::new(&world.written, &rules, Duration::from_secs(1));
        if let Some(summary) = &summary {
            next.follower.resume(summary);
            let height = next.follower.tip().map(|mark| mark.height);
            prop_assert!(height.is_some(), "it is taken");
            // What was told before the start is not told again.
            next.said = reader.said.clone();
            next.said.retain(|at, _| Some(*at) <= height);
        }
        next.read();
        next.check(&replay(&rules.1, &world.rows));
        let [tip, expected] = [&next, &reader].map(|it| it.follower.tip().map(|mark| mark.height));
        prop_assert_eq!(tip, expected);
        // Above what was summed up, or with it and all in between.
        world.roll_back(gone);
        for reader in [&mut reader, &mut next] {
            world.follow(&[], reader);
            reader.read();
            reader.check(&replay(&rules.1, &world.rows));
        }
        world.follow(&other, &mut next);
    }
}

#[test]
fn a_start_skips_no_block_that_stands_in_the_file_before_the_last_one_summed_up() {
    let rules = network(true);
    let (written, maker) = (Written::new(false, true), Maker::new(&rules.1));
    let mut world = World { written, rows: Vec::new(), maker };
    world.written.fill(0, 99);
    world.written.fill(100, 8_192);
    let money = |text: &str| Money { text: text.to_owned(), form: Form::Plain };
    let pay = |amount: &str| {
        let (from, to) = ("x".to_owned(), controller());
        [(Act::Pay { from, to, amount: money(amount), fee: money("0") }, false)]
    };
    // The last block of the summary has the last row of the file.
    for (height, amount) in [(5_000, "10000"), (100, "1")] {
        let rows = world.maker.rows(&pay(amount), height);
        world.append(rows);
    }
    let mut reader = Reader::new(&world.written, &rules, Duration::from_secs(1));
    reader.read();
    let truth = replay(&rules.1, &world.rows);
    reader.check(&truth);
    let mut next = Reader::new(&world.written, &rules, Duration::from_secs(1));
    next.follower.resume(&reader.follower.summary().expect("the journal ran over"));
    assert_eq!(next.follower.tip().map(|mark| mark.height), Some(100));
    next.read();
    next.check(&truth);
}
