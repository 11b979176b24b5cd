//! The draw of a round once more: all tickets made and sorted, tests one after the other (`docs/protocol.md` §6).

use std::collections::BTreeSet;

use crate::rules::sealed::SealedState;
use crate::types::address::Address;
use crate::types::clock::{Round, Slot};
use crate::types::hash::{Hash, hash};
use crate::types::network::Network;
use crate::types::tx::TestRole;

/// One HN tests another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    pub tester: Address,
    pub tested: Address,
}

/// The draw of a round.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Of each forging slot; none when nobody is registered.
    pub jurors: Vec<Address>,
    pub tests: Vec<Vec<Test>>,
}

impl Draw {
    /// Everything drawn for a round from the state of its anchor.
    pub fn new(network: &Network, state: &SealedState, round: Round) -> Draw {
        let jurors = jurors(network, state, round);
        let slots = (0..network.clock.slots).map(Slot);
        let of = |slot: Slot| tests(network, state, round, slot, jurors.get(slot.0 as usize));
        let tests = slots.map(of).collect();
        Draw { jurors, tests }
    }

    /// Whether an HN takes this part in the test of a slot and place.
    pub fn is_in(&self, hn: &Address, slot: Slot, index: u32, role: TestRole) -> bool {
        let test = self.tests.get(slot.0 as usize).and_then(|tests| tests.get(index as usize));
        test.is_some_and(|test| match role {
            TestRole::Tester => test.tester == *hn,
            TestRole::Tested => test.tested == *hn,
        })
    }
}

fn jurors(network: &Network, state: &SealedState, round: Round) -> Vec<Address> {
    let weight = |address: &Address| {
        let entry = state.registry.iter().find(|entry| entry.address == *address);
        entry.map_or(0, |entry| u64::from(entry.weight))
    };
    let mut drawing: Vec<Address> = state.active.iter().map(|hn| hn.address).collect();
    if drawing.is_empty() {
        drawing = state.registry.iter().map(|entry| entry.address).collect();
    }
    let punished = |address: &Address| {
        state.penalties.iter().any(|it| it.address == *address && it.last_round >= round)
    };
    let free: Vec<Address> = drawing.iter().copied().filter(|it| !punished(it)).collect();
    let drawing = if free.is_empty() { drawing } else { free };
    let slots = network.clock.slots as usize;
    let mut tickets = Vec::new();
    let mut times = 0;
    while !drawing.is_empty() && tickets.len() < slots {
        for address in &drawing {
            for number in times * weight(address)..(times + 1) * weight(address) {
                let round = round.0.to_be_bytes();
                let number_bytes = number.to_be_bytes();
                let parts: [&[u8]; 4] = [&state.beacon.0, &round, &address.0, &number_bytes];
                tickets.push((hash("ticket", &parts), *address, number));
            }
        }
        times += 1;
    }
    tickets.sort();
    tickets.into_iter().take(slots).map(|(_, address, _)| address).collect()
}

fn tests(
    network: &Network,
    state: &SealedState,
    round: Round,
    slot: Slot,
    forger: Option<&Address>,
) -> Vec<Test> {
    let most = network.values_at(round).tests_per_slot as usize;
    let hns: Vec<Address> = state.registry.iter().map(|entry| entry.address).collect();
    let mut tests = Vec::new();
    let mut pairs = BTreeSet::new();
    for draw in 0..10 * most as u64 {
        if tests.len() == most || hns.len() < 2 {
            break;
        }
        let (round, slot) = (round.0.to_be_bytes(), u64::from(slot.0).to_be_bytes());
        let draw = draw.to_be_bytes();
        let drawn = hash("test", &[&state.beacon.0, &round, &slot, &draw]);
        let (tester, tested) = (pick(&hns, &drawn, 0), pick(&hns, &drawn, 8));
        let is_forger = forger.is_some_and(|forger| [tester, tested].contains(forger));
        if tester != tested && !is_forger && pairs.insert((tester, tested)) {
            tests.push(Test { tester, tested });
        }
    }
    tests
}

fn pick(hns: &[Address], drawn: &Hash, from: usize) -> Address {
    let bytes = drawn.0[from..from + 8].try_into().expect("eight bytes");
    let at = u64::from_be_bytes(bytes) % hns.len() as u64;
    hns[usize::try_from(at).expect("below a length")]
}
