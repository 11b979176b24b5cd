//! Checks of chains: what each host holds and follows, against the oracle.

use super::Checks;
use crate::machine::records::{self, Reader};
use crate::sim::host::Host;
use crate::types::block::{Point, SignedHeader, genesis};
use crate::types::clock::Height;
use crate::types::hash::BlockHash;
use crate::types::tx::Tx;

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
        if self.learn(host, point).is_err() {
            return false;
        }
        if let Some(judged) = self.oracle.get(&point.hash).filter(|it| it.fault.is_none()) {
            let worth = (judged.weight, point.height.0);
            self.held[index].entry(worth).or_default().insert(point.hash);
        }
        true
    }

    /// A host's best chain ends here: every block of it is valid.
    pub fn tip_changed(&mut self, time: u64, index: usize, host: &Host, tip: Point) {
        self.tips[index] = tip;
        if let Err(missing) = self.learn(host, &tip) {
            self.violation(time, Some(index), format!("block {} is not on disk", missing.hash));
        }
        let fault = self.oracle.get(&tip.hash).and_then(|judged| judged.fault);
        if let Some(fault) = fault.filter(|_| host.honest) {
            self.violation(time, Some(index), format!("chain with a block {fault}: {}", tip.hash));
        }
    }

    /// Judges a block on a host's disk, and first what is below it; fails with the block that is not there.
    fn learn(&mut self, host: &Host, point: &Point) -> Result<(), Point> {
        let mut unknown = Vec::new();
        let mut at = *point;
        while !self.oracle.is_genesis(&at.hash) && self.oracle.get(&at.hash).is_none() {
            let (header, messages) = read(host, &at).ok_or(at)?;
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
        self.held[index].clear();
        self.waiting[index].clear();
        let points: Vec<Point> = host
            .disk
            .rows(records::Table::Headers)
            .filter_map(|(key, _)| records::parse_point_key(key))
            .collect();
        for point in points {
            self.hold(index, host, &point);
        }
        let start = genesis(&self.cast.network);
        let tip = host.disk.last(records::Table::Main).and_then(|(key, _)| {
            let height = u64::from_be_bytes(key.try_into().ok()?);
            let record = records::main_record(&host.disk, Height(height))?;
            Some(Point { height: Height(height), hash: record.hash })
        });
        self.tip_changed(time, index, host, tip.unwrap_or(start));
    }

    /// A block that a host holds whole and that would make a better chain than the one it follows.
    pub fn better_held(&self, index: usize) -> Option<BlockHash> {
        let tip = self.tips[index].hash;
        let worth = match self.oracle.get(&tip) {
            Some(judged) => (judged.weight, judged.point.height.0),
            None => (0, 0),
        };
        self.held[index]
            .range(worth..)
            .flat_map(|(_, hashes)| hashes)
            .find(|hash| self.oracle.compare(hash, &tip).is_gt())
            .copied()
    }
}

/// A block from a host's disk.
fn read(host: &Host, point: &Point) -> Option<(SignedHeader, Vec<Tx>)> {
    let header = records::header(&host.disk, point)?.header;
    Some((header, records::body(&host.disk, point)?))
}
