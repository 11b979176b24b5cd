//! The plan against a slow one that is written down as `docs/protocol.md` §6 has it.

use std::collections::BTreeSet;

use hypernode::rules::plan::{Plan, dial_list};
use hypernode::types::address::Address;
use hypernode::types::clock::{Round, Slot};
use hypernode::types::hash::{Hash, hash};
use proptest::collection::vec;
use proptest::prelude::*;

use super::cases;
use crate::sample::{Sample, key};

/// Number `place` of the eight-byte numbers of a hash, modulo.
fn pick(score: &Hash, place: usize, of: usize) -> usize {
    let bytes: [u8; 8] = score.0[8 * place..8 * place + 8].try_into().expect("8 bytes");
    let number = u64::from_be_bytes(bytes) % u64::try_from(of).expect("a length");
    usize::try_from(number).expect("below a length")
}

struct Slow<'a> {
    sample: &'a Sample,
    round: u64,
    slots: u32,
}

impl Slow<'_> {
    fn score(&self, tag: &str, parts: &[&[u8]]) -> Hash {
        let mut bytes = self.sample.anchor.state.beacon.0.to_vec();
        bytes.extend_from_slice(&self.round.to_be_bytes());
        bytes.extend(parts.concat());
        hash(tag, &[&bytes])
    }

    fn jurors(&self) -> Vec<Address> {
        let registry = &self.sample.anchor.state.registry;
        let mut tickets = Vec::new();
        let mut times = 0;
        while tickets.len() < self.slots as usize && !registry.is_empty() {
            for hn in registry {
                for number in 0..u64::from(hn.weight) {
                    let number = times * u64::from(hn.weight) + number;
                    let score = self.score("ticket", &[&hn.address.0, &number.to_be_bytes()]);
                    tickets.push((score, hn.address, number));
                }
            }
            times += 1;
        }
        tickets.sort();
        tickets.into_iter().take(self.slots as usize).map(|(_, address, _)| address).collect()
    }

    fn tests(&self, slot: u32, forger: Option<&Address>) -> Vec<(Address, Address, usize)> {
        let registry = &self.sample.anchor.state.registry;
        let most = self.sample.network.values_at(Round(self.round)).tests_per_slot as usize;
        let mut tests: Vec<(Address, Address, usize)> = Vec::new();
        for draw in 0..10 * most as u64 {
            if tests.len() == most || registry.len() < 2 {
                break;
            }
            let score = self.score("test", &[&u64::from(slot).to_be_bytes(), &draw.to_be_bytes()]);
            let tester = registry[pick(&score, 0, registry.len())].address;
            let tested = registry[pick(&score, 1, registry.len())].address;
            let busy = Some(&tester) == forger || Some(&tested) == forger;
            let taken = tests.iter().any(|test| (test.0, test.1) == (tester, tested));
            if tester != tested && !busy && !taken {
                tests.push((tester, tested, pick(&score, 2, 5)));
            }
        }
        tests
    }

    fn dial_list(&self, own: &Address, jurors: &[Address]) -> BTreeSet<Address> {
        let state = &self.sample.anchor.state;
        let count = self.sample.network.values_at(Round(self.round)).dial_count as usize;
        let others = state.active.iter().map(|hn| hn.address).filter(|other| other != own);
        let mut others: Vec<_> =
            others.map(|other| (self.score("dial", &[&own.0, &other.0]), other)).collect();
        others.sort();
        let mut list: BTreeSet<Address> =
            others.into_iter().take(count).map(|(_, hn)| hn).collect();
        if jurors.contains(own) {
            list.extend(jurors);
            list.remove(own);
        }
        list
    }
}

proptest! {
    #![proptest_config(cases(120))]

    #[test]
    fn the_plan_is_what_the_protocol_says(
        // Three HNs and one test: the draws run out now and then.
        weights in prop_oneof![vec(1_u8..4, 0..14), vec(1_u8..4, 3)],
        round in super::arbitrary::number(),
        (slots, tests) in (1_u32..20, prop_oneof![0_u32..12, Just(1)]),
    ) {
        let edits = [format!("\nslots = {slots}\n"), format!("tests_per_slot = {tests}")];
        let sample = Sample::edited(&weights, &[
            ("\nslots = 5\n", &edits[0]),
            ("tests_per_slot = 2", &edits[1]),
        ]);
        let state = &sample.anchor.state;
        let plan = Plan::new(&sample.network, state, Round(round));
        let slow = Slow { sample: &sample, round, slots };

        prop_assert_eq!(&plan.jurors, &slow.jurors());
        prop_assert_eq!(plan.jurors.len(), if weights.is_empty() { 0 } else { slots as usize });
        prop_assert_eq!(plan.tests.len(), slots as usize);
        for slot in 0..slots {
            let kinds = &sample.network.values_at(Round(round)).test_kinds;
            let expected = slow.tests(slot, plan.juror(Slot(slot)));
            let made: Vec<_> = plan.tests[slot as usize]
                .iter()
                .map(|test| {
                    let kind = kinds.iter().position(|kind| *kind == test.kind);
                    (test.tester, test.tested, kind.expect("a kind of the network"))
                })
                .collect();
            prop_assert_eq!(made, expected);
        }
        prop_assert_eq!(plan.juror(Slot(slots)), None);
        let observer = sample.network.address_of(&key(1000).public());
        for own in state.registry.iter().map(|hn| hn.address).chain([observer]) {
            let list = dial_list(&sample.network, state, &plan, &own);
            let expected: Vec<_> = slow.dial_list(&own, &plan.jurors).into_iter().collect();
            prop_assert_eq!(list, expected);
        }
    }
}
