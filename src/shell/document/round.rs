//! A round as JSON: whose slots it has, and what became of them on the best chain.

use serde::{Deserialize, Serialize};

use crate::machine::note::{MissReason, miss_name};
use crate::machine::records::{self, DutyRecord, MainRecord, Reader, StoredHeader, Table};
use crate::node::Node;
use crate::rules::plan::Plan;
use crate::rules::sealed::Anchor;
use crate::types::block::Point;
use crate::types::clock::{Height, Round, Slot, Timestamp};
use crate::types::hash::BlockHash;
use crate::types::network::{Network, TestKind};

/// `hypernode.round/1`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoundDocument {
    pub round: Round,
    pub starts_at: Timestamp,
    /// Of its last forging slot, after which it is sealed.
    pub forged_until: Timestamp,
    pub ends_at: Timestamp,
    /// The seal that jurors and tests are drawn from, as far as the chain goes; null when its state is not kept any more.
    pub drawn_from: Option<u64>,
    /// Whether a seal holds its blocks for good.
    pub sealed: bool,
    pub blocks: u32,
    /// Slots that are over without a block.
    pub missed: u32,
    pub slots: Vec<SlotDocument>,
}

/// A forging slot.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotDocument {
    pub slot: Slot,
    pub starts_at: Timestamp,
    pub state: SlotState,
    /// Null when the draw is not known, or nobody is registered.
    pub juror: Option<String>,
    /// Whether it is ours.
    pub own: bool,
    pub height: Option<Height>,
    pub hash: Option<BlockHash>,
    /// Of its block; null where the block is not here.
    pub messages: Option<u32>,
    /// Why we missed it; null for slots of others. Of a slot that is over and that this node has no record of, it is
    /// `not_running`.
    #[serde(with = "miss_name")]
    pub why: Option<MissReason>,
    pub tests: Vec<TestDocument>,
}

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotState {
    /// The best chain has its block.
    Forged,
    /// It is over without one.
    Missed,
    Now,
    ToCome,
}

/// One HN tests another.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestDocument {
    pub tester: String,
    pub tested: String,
    pub kind: TestKind,
}

/// A block of the best chain.
struct Held {
    point: Point,
    stored: StoredHeader,
}

impl RoundDocument {
    /// A round at a time of our clock, by a node and its database.
    pub fn at(
        db: &dyn Reader,
        (node, network): (&Node, &Network),
        now: Timestamp,
        round: Round,
    ) -> RoundDocument {
        let clock = &network.clock;
        let first = first_of(db, round);
        let before = first.0.checked_sub(1).and_then(|height| held(db, Height(height)));
        let seal = before.map_or(Anchor::genesis(network).seal, |it| it.stored.header.header.seal);
        let plan = node.plan(&seal, round);
        let heights = (first.0..).map(Height);
        let blocks = heights.map_while(|height| held(db, height));
        let blocks: Vec<Held> =
            blocks.take_while(|it| it.stored.header.header.round == round).collect();
        let slot = |slot| {
            let block = blocks.iter().find(|it| it.stored.header.header.slot == slot);
            SlotDocument::new(db, (node, network), now, (round, slot), plan.as_deref(), block)
        };
        let slots: Vec<SlotDocument> = (0..clock.slots).map(Slot).map(slot).collect();
        let missed = slots.iter().filter(|slot| slot.state == SlotState::Missed).count();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let newest = records::last_seal(db).ok().flatten();
        RoundDocument {
            round,
            starts_at: clock.start_of(round, Slot(0)),
            forged_until: clock.end_of_forging(round),
            ends_at: clock.start_of(round.next(), Slot(0)),
            drawn_from: plan.as_ref().map(|_| seal.index),
            sealed: newest.is_some_and(|seal| seal.checkpoint().round >= round),
            blocks: count(blocks.len()),
            missed: count(missed),
            slots,
        }
    }
}

impl SlotDocument {
    fn new(
        db: &dyn Reader,
        (node, network): (&Node, &Network),
        now: Timestamp,
        (round, slot): (Round, Slot),
        plan: Option<&Plan>,
        block: Option<&Held>,
    ) -> SlotDocument {
        let clock = &network.clock;
        let forger = block.map(|it| network.address_of(&it.stored.header.header.forger));
        let duty = db.get(Table::Duties, &records::duty_key(round, slot));
        let duty = duty.and_then(|bytes| records::parse(&bytes));
        // When the draw is gone, our record is what is left of it.
        let ours = (plan.is_none() && duty.is_some()).then(|| node.address());
        let juror = plan.and_then(|plan| plan.juror(slot)).copied().or(forger).or(ours);
        let own = juror == Some(node.address());
        let is_over = block.is_none() && clock.end_of(round, slot) <= now;
        let why = match duty.filter(|_| own) {
            Some(DutyRecord::Missed(why)) => Some(why),
            Some(DutyRecord::Forged(_)) => None,
            None => (own && is_over).then_some(MissReason::NotRunning),
        };
        let tests = plan.and_then(|plan| plan.tests.get(slot.0 as usize)).into_iter().flatten();
        SlotDocument {
            slot,
            starts_at: clock.start_of(round, slot),
            state: match block {
                Some(_) => SlotState::Forged,
                None if is_over => SlotState::Missed,
                None if clock.start_of(round, slot) <= now => SlotState::Now,
                None => SlotState::ToCome,
            },
            juror: juror.map(|address| address.to_string()),
            own,
            height: block.map(|it| it.point.height),
            hash: block.map(|it| it.point.hash),
            messages: block
                .and_then(|it| records::body(db, &it.point))
                .map(|messages| u32::try_from(messages.len()).unwrap_or(u32::MAX)),
            why,
            tests: tests
                .map(|test| TestDocument {
                    tester: test.tester.to_string(),
                    tested: test.tested.to_string(),
                    kind: test.kind,
                })
                .collect(),
        }
    }
}

fn held(db: &dyn Reader, height: Height) -> Option<Held> {
    let MainRecord { hash, .. } = records::main_record(db, height)?;
    let point = Point { height, hash };
    records::header(db, &point).map(|stored| Held { point, stored })
}

/// The height of the first block of a round or a later one on the best chain, which may be yet to come.
fn first_of(db: &dyn Reader, round: Round) -> Height {
    let (mut low, mut high) = (1, tip(db).0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // What was forgotten is old.
        let is_before =
            held(db, Height(middle)).is_none_or(|it| it.stored.header.header.round < round);
        match is_before {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Height(low)
}

/// The height of the best chain; 0 for genesis.
pub fn tip(db: &dyn Reader) -> Height {
    let last = db.last(Table::Main).and_then(|(key, _)| key.try_into().ok());
    Height(last.map_or(0, u64::from_be_bytes))
}
