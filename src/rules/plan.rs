//! The plan of a round: jurors, tests, and whom to dial (`docs/protocol.md` §6).
//!
//! A function of the anchor's state and the round alone: forks of one round share it, and nobody can try many blocks to
//! move it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::rules::sealed::{Anchor, SealedState};
use crate::types::address::Address;
use crate::types::block::SealRef;
use crate::types::clock::{Height, Round, Slot};
use crate::types::hash::{BlockHash, Hash, Hasher};
use crate::types::network::{Network, TestKind};

/// Plans kept: the present round, its neighbours, and those of blocks being fetched.
const PLANS_MAX: usize = 16;

/// Who does what in a round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub round: Round,
    /// The juror of each forging slot; empty when nobody is registered.
    pub jurors: Vec<Address>,
    /// The tests of each forging slot, in the order drawn.
    pub tests: Vec<Vec<Test>>,
}

/// One HN tests another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    pub tester: Address,
    pub tested: Address,
    pub kind: TestKind,
}

impl Plan {
    /// plan(round) from the anchor's state.
    pub fn new(network: &Network, state: &SealedState, round: Round) -> Plan {
        let jurors = jurors(state, round, network.clock.slots as usize);
        let tests = (0..network.clock.slots)
            .map(|slot| {
                let forger = jurors.get(slot as usize);
                tests(network, state, round, Slot(slot), forger)
            })
            .collect();
        Plan { round, jurors, tests }
    }

    /// The juror of a slot; nobody in seal slots.
    pub fn juror(&self, slot: Slot) -> Option<&Address> {
        self.jurors.get(slot.0 as usize)
    }

    /// A test by slot and place.
    pub fn test(&self, slot: Slot, index: u32) -> Option<&Test> {
        self.tests.get(slot.0 as usize)?.get(index as usize)
    }
}

/// The tickets with the lowest scores, as many as there are slots, in their order.
fn jurors(state: &SealedState, round: Round, slots: usize) -> Vec<Address> {
    let drawing = drawing(state, round);
    let total: u64 = drawing.iter().map(|(_, weight)| weight).sum();
    if total == 0 {
        return Vec::new();
    }
    // With fewer tickets than slots the whole list is added again with higher numbers: the same chance for all.
    let times = (slots as u64).div_ceil(total).max(1);
    let mut prefix = Hasher::new("ticket");
    prefix.update(&state.beacon.0);
    prefix.update(&round.0.to_be_bytes());
    let mut tickets: Vec<(Hash, Address, u64)> = Vec::new();
    for (address, weight) in &drawing {
        for number in 0..weight * times {
            let mut score = prefix.clone();
            score.update(&address.0);
            score.update(&number.to_be_bytes());
            tickets.push((score.finish(), *address, number));
        }
    }
    if tickets.len() > slots {
        tickets.select_nth_unstable(slots);
        tickets.truncate(slots);
    }
    tickets.sort_unstable();
    tickets.into_iter().map(|(_, address, _)| address).collect()
}

/// Who draws, and with how many tickets: the active without penalty; with nobody active, everyone registered; with
/// nobody free of penalty, those who have one.
fn drawing(state: &SealedState, round: Round) -> Vec<(Address, u64)> {
    let weight_of =
        |address: &Address| state.registered(address).map_or(0, |hn| u64::from(hn.weight));
    let all: Vec<(Address, u64)> = match state.active.is_empty() {
        true => state.registry.iter().map(|hn| (hn.address, u64::from(hn.weight))).collect(),
        false => state.active.iter().map(|hn| (hn.address, weight_of(&hn.address))).collect(),
    };
    let free = |(address, _): &&(Address, u64)| !state.is_penalised(address, round);
    let innocent: Vec<(Address, u64)> = all.iter().filter(free).copied().collect();
    if innocent.is_empty() { all } else { innocent }
}

fn tests(
    network: &Network,
    state: &SealedState,
    round: Round,
    slot: Slot,
    forger: Option<&Address>,
) -> Vec<Test> {
    let values = network.values_at(round);
    let (most, kinds, registry) =
        (values.tests_per_slot as usize, &values.test_kinds, &state.registry);
    let mut tests = Vec::new();
    if registry.len() < 2 {
        return tests;
    }
    let mut prefix = Hasher::new("test");
    prefix.update(&state.beacon.0);
    prefix.update(&round.0.to_be_bytes());
    prefix.update(&u64::from(slot.0).to_be_bytes());
    let mut taken = BTreeSet::new();
    for draw in 0..10 * most as u64 {
        if tests.len() == most {
            break;
        }
        let mut score = prefix.clone();
        score.update(&draw.to_be_bytes());
        let score = score.finish();
        let pick = |place: usize, of: usize| {
            usize::try_from(score.u64_at(place) % of as u64).expect("below a length")
        };
        let tester = registry[pick(0, registry.len())].address;
        let tested = registry[pick(1, registry.len())].address;
        let busy = forger.is_some_and(|forger| *forger == tester || *forger == tested);
        if tester == tested || busy || !taken.insert((tester, tested)) {
            continue;
        }
        tests.push(Test { tester, tested, kind: kinds[pick(2, kinds.len())] });
    }
    tests
}

/// Whom an HN (or an observer, by the address of its key) dials in a round: `dial_count` of the active, those with the
/// lowest H("dial", beacon ‖ round ‖ own ‖ other); a juror dials the other jurors too. Sorted.
pub fn dial_list(
    network: &Network,
    state: &SealedState,
    plan: &Plan,
    own: &Address,
) -> Vec<Address> {
    let mut prefix = Hasher::new("dial");
    prefix.update(&state.beacon.0);
    prefix.update(&plan.round.0.to_be_bytes());
    prefix.update(&own.0);
    let mut others: Vec<(Hash, Address)> = state
        .active
        .iter()
        .filter(|hn| hn.address != *own)
        .map(|hn| {
            let mut score = prefix.clone();
            score.update(&hn.address.0);
            (score.finish(), hn.address)
        })
        .collect();
    others.sort_unstable();
    let count = network.values_at(plan.round).dial_count as usize;
    let mut list: BTreeSet<Address> =
        others.into_iter().take(count).map(|(_, address)| address).collect();
    if plan.jurors.contains(own) {
        list.extend(plan.jurors.iter().filter(|juror| *juror != own));
    }
    list.into_iter().collect()
}

/// The anchors whose states are known here, and the plans made of them.
///
/// Which anchor a round has, the chain says that one stands on; several are alive at once.
#[derive(Debug)]
pub struct Plans {
    network: Rc<Network>,
    /// By index. There is one seal for an index, or the network has stopped.
    anchors: RefCell<BTreeMap<u64, Rc<Anchor>>>,
    made: RefCell<Made>,
}

/// Plans by the identity of their anchor's checkpoint and round, each with the number of the question that it last
/// answered.
#[derive(Debug, Default)]
struct Made {
    plans: BTreeMap<(SealRef, Round), (u64, Rc<Plan>)>,
    asked: u64,
}

impl Plans {
    /// Knows one anchor.
    pub fn new(network: Rc<Network>, anchor: Rc<Anchor>) -> Plans {
        let plans = Plans { network, anchors: RefCell::default(), made: RefCell::default() };
        plans.add(anchor);
        plans
    }

    /// Learns the state of a seal.
    pub fn add(&self, anchor: Rc<Anchor>) {
        self.anchors.borrow_mut().insert(anchor.seal.index, anchor);
    }

    /// Forgets the anchors below an index.
    pub fn retain_from(&self, index: u64) {
        let mut anchors = self.anchors.borrow_mut();
        let keep = anchors.split_off(&index);
        *anchors = keep;
    }

    /// A seal with its state; nothing when it is not known here.
    pub fn anchor(&self, seal: &SealRef) -> Option<Rc<Anchor>> {
        self.anchors.borrow().get(&seal.index).filter(|anchor| anchor.seal == *seal).cloned()
    }

    /// The seal of an index, whatever its checkpoint.
    pub fn anchor_at(&self, index: u64) -> Option<Rc<Anchor>> {
        self.anchors.borrow().get(&index).cloned()
    }

    /// The newest seal whose block is at or below a height.
    pub fn newest_below(&self, height: Height) -> Option<Rc<Anchor>> {
        let anchors = self.anchors.borrow();
        anchors.values().rev().find(|anchor| anchor.checkpoint.height <= height).cloned()
    }

    /// Whether a block is the sealed one of a round: nothing of that round comes after it.
    pub fn closes(&self, block: &BlockHash, round: Round) -> bool {
        let anchors = self.anchors.borrow();
        let checkpoints = anchors.values().map(|anchor| &anchor.checkpoint);
        checkpoints.rev().any(|it| it.block == *block && it.round == round && it.index > 0)
    }

    /// The plan of a round whose anchor is this seal; nothing when its state is not known here.
    pub fn at(&self, seal: &SealRef, round: Round) -> Option<Rc<Plan>> {
        self.anchor(seal).map(|anchor| self.of(&anchor, round))
    }

    /// The plan of a round with this anchor.
    pub fn of(&self, anchor: &Anchor, round: Round) -> Rc<Plan> {
        let mut made = self.made.borrow_mut();
        made.asked += 1;
        let asked = made.asked;
        let key = (anchor.seal, round);
        if let Some((last, plan)) = made.plans.get_mut(&key) {
            *last = asked;
            return plan.clone();
        }
        let plan = Rc::new(Plan::new(&self.network, &anchor.state, round));
        if made.plans.len() >= PLANS_MAX {
            // The present round is asked for at each event, and stays while old rounds are being fetched.
            let oldest = made.plans.iter().min_by_key(|(_, (last, _))| *last).map(|(it, _)| *it);
            oldest.map(|key| made.plans.remove(&key));
        }
        made.plans.insert(key, (asked, plan.clone()));
        plan
    }
}
