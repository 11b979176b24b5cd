//! What has been seen of a devnet, and the sum of it: which slots have a block, and why the others have none.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::recipe::Recipe;
use super::watch::Answer;
use crate::machine::status::{Duty, OpenSeal, Status};
use crate::shell::document::HeaderDocument;
use crate::shell::engine::RecentBlock;
use crate::types::address::Address;
use crate::types::block::Point;
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::hash::BlockHash;
use crate::types::network::Network;

mod seals;

pub use seals::{SealRecord, SeenSeal};

/// Slots and blocks remembered: days of the shortest slots, in a few tens of MiB. The oldest rounds leave first and are
/// no longer counted.
const KEPT_MAX: usize = 200_000;

/// Missed, though its juror forged: the block is not under the final tip.
const ORPHANED: &str = "orphaned";
/// Missed, and the juror did not answer during its slot.
const NOT_RUNNING: &str = "not_running";
/// Missed, and the juror that answered during its slot has not said why.
const UNKNOWN: &str = "unknown";

/// Everything seen.
pub struct Record {
    network: Network,
    members: Vec<(String, Address)>,
    statuses: Vec<Option<Box<Status>>>,
    blocks: BTreeMap<(Round, Slot, BlockHash), RecentBlock>,
    duties: BTreeMap<(Round, Slot), Duty>,
    /// Whose slots are whose, as the nodes said during them.
    jurors: BTreeMap<(Round, Slot), usize>,
    /// Slots during which a node answered.
    heard: BTreeSet<(Round, Slot, usize)>,
    seals: SealRecord,
}

/// What an answer brought that nobody had before.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// In the order of their slots.
    pub blocks: Vec<RecentBlock>,
    pub seal: Option<SeenSeal>,
}

/// What was seen of a slot.
#[derive(Debug, PartialEq, Eq)]
pub enum SeenSlot<'a> {
    Block(&'a RecentBlock),
    /// It is over, and nobody has shown a block of it; `why` as in the summary, as far as that is known by now.
    Missed {
        round: Round,
        slot: Slot,
        juror: usize,
        why: &'static str,
    },
}

/// The sum over some rounds.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub nodes: usize,
    /// Rounds that the devnet ran; the first one is not counted below.
    pub rounds: u64,
    pub forging_slots: u64,
    pub blocks: u64,
    /// Slots without a block under the final tip, by reason.
    pub missed: BTreeMap<String, u64>,
    /// Valid blocks seen that are not under the final tip.
    pub forks: u64,
    /// Rounds counted whose last block under the final tip is at or below a sealed height.
    pub sealed_rounds: u64,
    /// From the end of the last forging slot to the certificate at the fastest node: median over the seals of the rounds
    /// counted; null without one.
    pub seal_delay_ms: Option<u64>,
    /// The same for the round that waited longest for a certificate that covers it.
    pub seal_delay_max_ms: Option<u64>,
    /// Null for a node that is dead or stopped.
    pub final_tip: BTreeMap<String, Option<Point>>,
}

impl Record {
    /// Nothing seen yet.
    pub fn new(recipe: &Recipe) -> Record {
        let network = recipe.network.clone();
        Record {
            members: recipe.nodes.iter().map(|node| (node.name.clone(), node.address)).collect(),
            statuses: recipe.nodes.iter().map(|_| None).collect(),
            network,
            blocks: BTreeMap::new(),
            duties: BTreeMap::new(),
            jurors: BTreeMap::new(),
            heard: BTreeSet::new(),
            seals: SealRecord::new(recipe.network.clock),
        }
    }

    /// Takes an answer in; what nobody had before comes back.
    pub fn take(&mut self, answer: Answer) -> News {
        let mut news = News::default();
        if let Some(status) = &answer.status {
            self.hear(answer.node, status);
            news.seal = self.seals.take(status.time, &status.seal);
        }
        if let Some(place) = self.statuses.get_mut(answer.node) {
            *place = answer.status;
        }
        for block in answer.blocks {
            let key = (block.round, block.slot, block.point.hash);
            if self.blocks.insert(key, block).is_none() {
                news.blocks.push(block);
            }
        }
        self.forget();
        news.blocks.sort_by_key(|block| (block.round, block.slot));
        news
    }

    /// The last status of a node; nothing when it did not answer.
    pub fn status(&self, node: usize) -> Option<&Status> {
        self.statuses.get(node).and_then(|status| status.as_deref())
    }

    /// Whether every node has answered.
    pub fn is_complete(&self) -> bool {
        self.statuses.iter().all(Option::is_some)
    }

    fn hear(&mut self, node: usize, status: &Status) {
        if let Some(place) = status.round.zip(status.slot) {
            self.heard.insert((place.0, place.1, node));
            let address = status.juror.map(|key| self.network.address_of(&key));
            let of = |address| self.members.iter().position(|(_, member)| *member == address);
            // A node that lacks blocks may not know the newest seal, nor the jurors that follow from it.
            let sure = !status.sync.behind || !self.jurors.contains_key(&place);
            if let Some(juror) = address.and_then(of).filter(|_| sure) {
                self.jurors.insert(place, juror);
            }
        }
        for duty in &status.duties.recent {
            let place = (duty.round, duty.slot);
            if self.jurors.get(&place).is_none_or(|juror| *juror == node) {
                self.duties.insert(place, *duty);
            }
        }
    }

    /// The node whose slot it is, as far as anybody has said; nobody in seal slots.
    pub fn juror(&self, round: Round, slot: Slot) -> Option<usize> {
        self.jurors.get(&(round, slot)).copied()
    }

    /// The name of a node.
    pub fn name(&self, node: usize) -> &str {
        self.members.get(node).map_or("?", |(name, _)| name)
    }

    /// The name of the node that forged a block.
    pub fn forger(&self, block: &RecentBlock) -> &str {
        let address = self.network.address_of(&block.forger);
        let node = self.members.iter().position(|(_, member)| *member == address);
        node.map_or("?", |node| self.name(node))
    }

    /// Whether a block of this slot was seen.
    pub fn is_filled(&self, round: Round, slot: Slot) -> bool {
        let lowest = BlockHash(crate::types::hash::Hash([0; 32]));
        let mut from = self.blocks.range((round, slot, lowest)..);
        from.next().is_some_and(|((r, s, _), _)| (*r, *s) == (round, slot))
    }

    /// The seals seen.
    pub fn seals(&self) -> &SealRecord {
        &self.seals
    }

    /// The instance that is late, as the node sees it that is furthest in it, and the names of those it has not heard.
    pub fn waiting(&self) -> Option<(&OpenSeal, Vec<String>)> {
        let sealed = self.seals.newest().map_or(0, |seal| seal.index);
        let statuses = self.statuses.iter().flatten();
        let open = statuses.filter_map(|status| status.seal.open.as_ref());
        let late = open.filter(|open| open.late && open.index > sealed);
        let open = late.max_by_key(|open| (open.view, open.open_ms))?;
        let missing = |address: &Address| open.missing.contains(&address.to_string());
        let names = self.members.iter().filter(|(_, address)| missing(address));
        Some((open, names.map(|(name, _)| name.clone()).collect()))
    }

    /// The newest blocks, and slots before this one that have none, newest first.
    pub fn newest(&self, now: (Round, Slot), most: usize) -> Vec<SeenSlot<'_>> {
        let blocks = self.blocks.iter().rev().take(most);
        let blocks = blocks.map(|((round, slot, _), it)| ((*round, *slot), SeenSlot::Block(it)));
        let before = self.jurors.range(..now).rev();
        let empty = before.filter(|((round, slot), _)| !self.is_filled(*round, *slot)).take(most);
        let missed = empty.map(|(place @ &(round, slot), juror)| {
            (*place, SeenSlot::Missed { round, slot, juror: *juror, why: self.reason(place) })
        });
        let mut all: Vec<((Round, Slot), SeenSlot<'_>)> = blocks.chain(missed).collect();
        all.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
        all.truncate(most);
        all.into_iter().map(|(_, seen)| seen).collect()
    }

    /// The tip of a node as it was at `since` or later.
    pub fn tip(&self, node: usize, since: Timestamp) -> Option<Point> {
        self.status(node).filter(|status| status.time >= since).map(|status| status.tip.point)
    }

    /// The sum over `rounds` rounds that began with `base`, which itself is not counted. `chain` is what lies under the
    /// final tip, `tips` the last tip of each node.
    pub fn sum(
        &mut self,
        base: Round,
        rounds: u64,
        chain: &[HeaderDocument],
        tips: &[Option<Point>],
    ) -> Summary {
        let from = Round(base.0 + 1).max(self.first_kept());
        let until = Round(base.0 + rounds);
        let on_chain: BTreeSet<BlockHash> = chain.iter().filter_map(|link| link.hash).collect();
        let filled: BTreeSet<(Round, Slot)> =
            chain.iter().filter_map(|link| link.round.zip(link.slot)).collect();
        let counted: Vec<(Round, Slot)> = (from.0..until.0)
            .flat_map(|round| {
                (0..self.network.clock.slots).map(move |slot| (Round(round), Slot(slot)))
            })
            .collect();
        let mut missed = BTreeMap::new();
        for place in counted.iter().filter(|place| !filled.contains(place)) {
            *missed.entry(self.reason(place).to_owned()).or_insert(0) += 1;
        }
        let blocks = counted.iter().filter(|place| filled.contains(place)).count() as u64;
        let is_fork = |seen: &&RecentBlock| {
            (from..until).contains(&seen.round) && !on_chain.contains(&seen.point.hash)
        };
        let seals = self.seals.sum(from..until, chain);
        let names = self.members.iter().map(|(name, _)| name.clone());
        Summary {
            nodes: self.members.len(),
            rounds,
            forging_slots: counted.len() as u64,
            blocks,
            missed,
            forks: self.blocks.values().filter(is_fork).count() as u64,
            sealed_rounds: seals.rounds,
            seal_delay_ms: seals.delay_ms,
            seal_delay_max_ms: seals.delay_max_ms,
            final_tip: names.zip(tips.iter().copied()).collect(),
        }
    }

    fn reason(&self, place: &(Round, Slot)) -> &'static str {
        match self.duties.get(place) {
            Some(Duty { missed: Some(why), .. }) => why.name(),
            Some(Duty { forged: Some(_), .. }) => ORPHANED,
            Some(_) | None if self.has_heard_juror(place) => UNKNOWN,
            Some(_) | None => NOT_RUNNING,
        }
    }

    fn has_heard_juror(&self, (round, slot): &(Round, Slot)) -> bool {
        let juror = self.juror(*round, *slot);
        juror.is_some_and(|juror| self.heard.contains(&(*round, *slot, juror)))
    }

    fn first_kept(&self) -> Round {
        match self.blocks.len() < KEPT_MAX {
            true => Round(0),
            false => {
                self.blocks.first_key_value().map_or(Round(0), |((round, ..), _)| round.next())
            }
        }
    }

    fn forget(&mut self) {
        while self.blocks.len() > KEPT_MAX {
            self.blocks.pop_first();
        }
        while self.duties.len() > KEPT_MAX {
            self.duties.pop_first();
        }
        while self.jurors.len() > KEPT_MAX {
            self.jurors.pop_first();
        }
        while self.heard.len() > KEPT_MAX {
            self.heard.pop_first();
        }
    }
}

/// The tip of most of those that have one; of two with as many, the higher.
pub fn common_tip(tips: &[Option<Point>]) -> Option<Point> {
    let mut counts: BTreeMap<Point, usize> = BTreeMap::new();
    for tip in tips.iter().flatten() {
        *counts.entry(*tip).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(tip, count): &(Point, usize)| (*count, tip.height));
    most.map(|(tip, _): (Point, usize)| tip)
}

#[cfg(test)]
mod tests;
