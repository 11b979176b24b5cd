//! Checks of chains: what each host holds and follows, against the oracle.

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::machine::records::{self, Reader};
use crate::sim::disk::Disk;
use crate::sim::host::Host;
use crate::sim::oracle::{Judged, Oracle};
use crate::types::block::{Point, SealRef, SignedHeader};
use crate::types::clock::{Height, Round};
use crate::types::hash::BlockHash;
use crate::types::seal::Checkpoint;
use crate::types::tx::Tx;

/// The blocks that a host holds whole and may follow: those on chains through its newest seal.
pub struct Held {
    /// The sealed block, and its round: no block of that round may stand on it.
    base: Point,
    round: Option<Round>,
    /// The seal that a block on it has to name: its block counts as naming it already.
    named: Option<SealRef>,
    through: BTreeSet<BlockHash>,
    by_worth: BTreeMap<(u64, u64), BTreeSet<BlockHash>>,
}

impl Held {
    /// Nothing but genesis.
    pub fn new(genesis: Point) -> Held {
        Held {
            base: genesis,
            round: None,
            named: None,
            through: BTreeSet::from([genesis.hash]),
            by_worth: BTreeMap::new(),
        }
    }

    /// A block is held; what is below it was before.
    fn insert(&mut self, block: &Judged) {
        let closed = block.previous == self.base.hash && self.is_closed_to(block);
        let on_base = block.point == self.base;
        if on_base || self.through.contains(&block.previous) && !closed {
            self.through.insert(block.point.hash);
            let worth = (block.weight, block.point.height.0);
            self.by_worth.entry(worth).or_default().insert(block.point.hash);
        }
    }

    /// Whether this block may not stand on the sealed one.
    fn is_closed_to(&self, block: &Judged) -> bool {
        Some(block.round) == self.round || self.named.is_some_and(|named| block.seal != named)
    }

    /// Whether a host follows a chain that it may not follow any more.
    pub(super) fn is_beside(&self, tip: &Point, is_led: bool, oracle: &Oracle) -> bool {
        if tip.height < self.base.height {
            // As far as it goes until the sealed block is there; on the way to a listed one step by step.
            let on_the_way = is_led && oracle.goes_through(&self.base.hash, tip);
            return self.through.contains(&self.base.hash) && !on_the_way;
        }
        let mut above = oracle.down(&tip.hash);
        let above = above.find(|block| block.point.height == self.base.height.next());
        let closed = above.is_some_and(|block| self.is_closed_to(block));
        closed || !oracle.goes_through(&tip.hash, &self.base)
    }

    /// The newest seal of the host is this one; when its network file lists it with voters, its block counts as naming it.
    pub fn rest_on(&mut self, seal: &Checkpoint, is_listed: bool, oracle: &Oracle) {
        let old = std::mem::replace(self, Held::new(seal.point()));
        self.round = Some(seal.round);
        self.named = is_listed.then(|| seal.seal());
        // Until it is held the host has nothing to follow.
        self.through.clear();
        let mut blocks: Vec<&Judged> =
            old.through.iter().filter_map(|hash| oracle.get(hash)).collect();
        blocks.sort_by_key(|block| block.point);
        blocks.into_iter().for_each(|block| self.insert(block));
    }
}

impl Checks {
    /// A host holds this block whole now, and perhaps what was below it before.
    pub fn stored(&mut self, index: usize, host: &Host, point: &Point) {
        let mut waiting = std::mem::take(&mut self.waiting[index]);
        waiting.insert(*point);
        // A header on disk has everything below it there.
        waiting.retain(|point| {
            records::header(&host.disk, point).is_none() || !self.hold(index, host, point)
        });
        self.waiting[index] = waiting;
    }

    fn hold(&mut self, index: usize, host: &Host, point: &Point) -> bool {
        if self.learn(&host.disk, point).is_err() {
            return false;
        }
        if let Some(judged) = self.oracle.get(&point.hash).filter(|it| it.fault.is_none()) {
            self.held[index].insert(judged);
        }
        true
    }

    /// A host's best chain ends here: every block of it is valid, and it goes through the host's newest seal.
    pub fn tip_changed(&mut self, time: u64, index: usize, host: &Host, tip: Point) {
        self.tips[index] = tip;
        if let Err(missing) = self.learn(&host.disk, &tip) {
            self.violation(time, Some(index), format!("block {} is not on disk", missing.hash));
        }
        let fault = self.oracle.get(&tip.hash).and_then(|judged| judged.fault);
        if let Some(fault) = fault.filter(|_| host.honest) {
            self.violation(time, Some(index), format!("chain with a block {fault}: {}", tip.hash));
        }
        let adopted = self.seals.adopted(index).map_or(0, |seal| seal.index);
        let is_led = host.is_led(adopted);
        if host.honest && self.held[index].is_beside(&tip, is_led, &self.oracle) {
            let tip = self.oracle.describe(&tip.hash);
            self.violation(time, Some(index), format!("follows {tip}, which is beside its seal"));
        }
    }

    /// Judges a block on a host's disk, and first what is below it; fails with the block that is not there.
    pub(super) fn learn(&mut self, disk: &Disk, point: &Point) -> Result<(), Point> {
        let mut unknown = Vec::new();
        let mut at = *point;
        while !self.oracle.is_genesis(&at.hash) && self.oracle.get(&at.hash).is_none() {
            let (header, messages) = read(disk, &at).ok_or(at)?;
            let height = Height(at.height.0.saturating_sub(1));
            at = Point { height, hash: header.header.previous };
            unknown.push((header, messages));
        }
        for (header, messages) in unknown.iter().rev() {
            self.oracle.judge(header, messages);
        }
        Ok(())
    }

    /// Reads again what a host holds: it has come up, perhaps with an old disk.
    pub fn came_up(&mut self, time: u64, index: usize, host: &Host) {
        self.held[index] = Held::new(self.oracle.genesis());
        self.waiting[index].clear();
        let points: Vec<Point> = host
            .disk
            .rows(records::Table::Headers)
            .filter_map(|(key, _)| records::parse_point_key(key))
            .collect();
        for point in points {
            self.hold(index, host, &point);
        }
        self.seals_came_up(time, index, host);
        let tip = self.tip_on(&host.disk);
        self.tip_changed(time, index, host, tip);
    }

    /// The end of the best chain on a disk.
    pub(super) fn tip_on(&self, disk: &Disk) -> Point {
        let tip = disk.last(records::Table::Main).and_then(|(key, _)| {
            let height = u64::from_be_bytes(key.try_into().ok()?);
            let record = records::main_record(disk, Height(height))?;
            Some(Point { height: Height(height), hash: record.hash })
        });
        tip.unwrap_or(self.oracle.genesis())
    }

    /// A block that a host holds whole and that would make a better chain than the one it follows.
    pub fn better_held(&self, index: usize) -> Option<BlockHash> {
        let tip = self.tips[index].hash;
        let worth = match self.oracle.get(&tip) {
            Some(judged) => (judged.weight, judged.point.height.0),
            None => (0, 0),
        };
        self.held[index]
            .by_worth
            .range(worth..)
            .flat_map(|(_, hashes)| hashes)
            .find(|hash| self.oracle.compare(hash, &tip).is_gt())
            .copied()
    }
}

/// A block from a host's disk.
fn read(disk: &Disk, point: &Point) -> Option<(SignedHeader, Vec<Tx>)> {
    let header = records::header(disk, point)?.header;
    Some((header, records::body(disk, point)?))
}
