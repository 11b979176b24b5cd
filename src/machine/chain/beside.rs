//! Which blocks are beside a certified seal: not on the way to its block, or not above it, or of the round that it closed.

use super::path::{Path, previous_of};
use super::{Chain, Entry};
use crate::machine::records::{self, Reader};
use crate::types::block::{Header, Point};
use crate::types::clock::Height;
use crate::types::hash::BlockHash;
use crate::types::seal::Checkpoint;

impl Chain {
    /// Drops what is beside a certified seal.
    pub(super) fn enforce(&mut self, seal: &Checkpoint, db: &dyn Reader) {
        let path = self.path_to(&seal.point(), db);
        if let Some(to) = self.retreat_from(seal, path.as_ref(), db) {
            self.finality.retreat_to(to);
        }
        if let Some(path) = &path {
            self.finality.show(seal);
            if self.tree.get(&seal.block).is_none() && path.fork != seal.point() {
                // It was evicted beside a chain that was better then: what stands on it may be in the database only.
                self.load_tree(path.fork.height.next(), db);
            }
        }
        self.drop_beside(seal, path.as_ref(), db);
        // Not before: the sealed block may have been the one worth least.
        self.trim();
    }

    /// Drops the blocks in memory that are beside a seal, with all above them.
    fn drop_beside(&mut self, seal: &Checkpoint, path: Option<&Path>, db: &dyn Reader) {
        let beside = |entry: &&Entry| self.is_beside(entry, seal, path, db);
        let roots: Vec<BlockHash> =
            self.tree.entries().filter(beside).map(|entry| entry.point.hash).collect();
        if roots.is_empty() {
            return;
        }
        for root in roots {
            for gone in self.tree.remove_branch(&root) {
                // Those of the best chain are read once more to be taken back, and deleted then.
                if !self.is_main(&gone, db) {
                    self.finality.beat(gone);
                }
            }
        }
        self.target = None;
        if self.finality.retreat().is_none() {
            self.consider_all(db);
        }
    }

    /// Where the best chain has to go back to, if it leaves out the sealed block or goes on in its round.
    fn retreat_from(
        &self,
        seal: &Checkpoint,
        path: Option<&Path>,
        db: &dyn Reader,
    ) -> Option<Point> {
        let best = &self.best.point;
        let Some(path) = path else {
            // Known to be beside it from its height on.
            let below = Height(seal.height.0.checked_sub(1)?);
            return (best.height >= seal.height).then(|| self.main_at(below, db)).flatten();
        };
        if path.fork != seal.point() {
            return (best.height > path.fork.height).then_some(path.fork);
        }
        let after = self.main_at(seal.height.next(), db)?;
        let header = self.header_at(&after, db)?;
        self.may_not_follow(seal, &header.header).then_some(path.fork)
    }

    fn is_beside(
        &self,
        entry: &Entry,
        seal: &Checkpoint,
        path: Option<&Path>,
        db: &dyn Reader,
    ) -> bool {
        let height = entry.point.height;
        if height == seal.height {
            return entry.point.hash != seal.block;
        }
        let header = &entry.header.header;
        if height < seal.height {
            let Some(path) = path else { return false };
            let below = height <= path.fork.height && self.is_main(&entry.point, db);
            return !below && !path.holds(&entry.point);
        }
        if header.previous == seal.block {
            return self.may_not_follow(seal, header);
        }
        // The rest hangs on something in memory that is looked at itself, or has to be followed down.
        let below = previous_of(header).filter(|_| self.tree.get(&header.previous).is_none());
        below.is_some_and(|below| !self.passes(below, seal, db))
    }

    /// Whether the chain down from a block above a seal goes through it.
    fn passes(&self, mut point: Point, seal: &Checkpoint, db: &dyn Reader) -> bool {
        while point.height > seal.height {
            if self.is_main(&point, db) {
                let kept = self.finality.retreat().is_none_or(|to| point.height <= to.height);
                return kept && self.is_main(&seal.point(), db);
            }
            let below = self.header_at(&point, db).and_then(|header| previous_of(&header.header));
            let Some(below) = below else { return false };
            point = below;
        }
        point == seal.point()
    }

    /// Whether a child of a sealed block is none: of the round that the seal closes, or, where a listed checkpoint brings
    /// voters, one that does not know.
    pub(super) fn may_not_follow(&self, seal: &Checkpoint, child: &Header) -> bool {
        let listed = self.network.listed(seal.index).is_some_and(|it| it.voters.is_some());
        child.round <= seal.round || listed && child.seal.index < seal.index
    }

    /// The block of the best chain at a height.
    pub fn main_at(&self, height: Height, db: &dyn Reader) -> Option<Point> {
        if height == Height(0) {
            return Some(self.tree.genesis().point);
        }
        records::main_record(db, height).map(|record| Point { height, hash: record.hash })
    }
}
