//! Ways through the tree: parents in memory or read back, the step to a better chain, locators.

use std::rc::Rc;

use super::{Best, Chain, Entry};
use crate::machine::records::{self, Draft, Reader, StoredHeader};
use crate::rules::chain::{Fork, compare_forks};
use crate::rules::validity::Parent;
use crate::types::block::{Header, Point, SignedHeader};
use crate::types::clock::{Height, Round};
use crate::types::message::{HEADERS_MAX, LOCATOR_MAX};
use crate::types::tx::Tx;

/// Bytes of headers in one answer, well under the limit of a frame.
const HEADERS_BYTES_MAX: usize = 768 * 1024;

/// The way from the best chain to a target beside or above it.
pub struct Way {
    pub target: Point,
    /// Down to here blocks are undone.
    pub fork: Point,
    /// From there on these are applied, the last one first.
    pub up: Vec<Point>,
}

/// How a block hangs on the best chain.
pub struct Path {
    /// Where the two part: the block itself when it is on the best chain.
    pub fork: Point,
    /// From there to the block, lowest first.
    pub blocks: Vec<Point>,
}

impl Path {
    /// The block of this height above the fork.
    pub fn at(&self, height: Height) -> Option<Point> {
        let above = height.0.checked_sub(self.fork.height.next().0)?;
        self.blocks.get(usize::try_from(above).ok()?).copied()
    }

    /// Whether a block is on the way.
    pub fn holds(&self, point: &Point) -> bool {
        self.at(point.height) == Some(*point)
    }
}

/// A block as the parent of another.
#[derive(Debug, Clone, Copy)]
pub struct Known(Best);

impl Known {
    pub fn as_parent(&self) -> Parent {
        self.0.as_parent()
    }

    pub fn as_best(&self) -> Best {
        self.0
    }
}

impl std::ops::Deref for Known {
    type Target = Best;

    fn deref(&self) -> &Best {
        &self.0
    }
}

pub(super) fn stored_best(point: Point, stored: &StoredHeader) -> Best {
    let header = &stored.header.header;
    Best {
        point,
        at: Some((header.round, header.slot)),
        weight: stored.weight,
        seal: header.seal,
        anchor: stored.anchor,
    }
}

pub(super) fn previous_of(header: &Header) -> Option<Point> {
    Some(Point { height: Height(header.height.0.checked_sub(1)?), hash: header.previous })
}

impl Chain {
    /// A block's place, weight and seal, from memory or read back.
    pub(super) fn best_at(&self, point: &Point, db: &dyn Reader) -> Option<Best> {
        if *point == self.tree.genesis().point {
            return Some(*self.tree.genesis());
        }
        let best = match self.tree.get(&point.hash) {
            Some(entry) if entry.point == *point => Some(entry.as_best()),
            Some(_) => None,
            None => records::header(db, point).map(|stored| stored_best(*point, &stored)),
        };
        best.map(|best| self.naming(best))
    }

    pub(super) fn header_at(&self, point: &Point, db: &dyn Reader) -> Option<Rc<SignedHeader>> {
        match self.tree.get(&point.hash) {
            Some(entry) => Some(entry.header.clone()),
            None => records::header(db, point).map(|stored| Rc::new(stored.header)),
        }
    }

    /// The parent of a header, if it is known here.
    pub(super) fn parent_of(&self, header: &Header, db: &dyn Reader) -> Option<Known> {
        self.best_at(&previous_of(header)?, db).map(Known)
    }

    pub(super) fn parent_is_full(&self, header: &Header, db: &dyn Reader) -> bool {
        let Some(point) = previous_of(header) else { return false };
        if point == self.tree.genesis().point {
            return true;
        }
        match self.tree.get(&point.hash) {
            Some(entry) => entry.full,
            // What is not in memory was evicted, and only full blocks are.
            None => records::header(db, &point).is_some(),
        }
    }

    /// Whether the forger of a header has forged in its round below it.
    pub(super) fn has_forged(&self, parent: &Known, header: &Header, db: &dyn Reader) -> bool {
        let mut point = parent.point;
        let mut at = parent.at;
        while at.is_some_and(|(round, _)| round == header.round) {
            let Some(below) = self.header_at(&point, db) else { return false };
            if below.header.forger == header.forger {
                return true;
            }
            let Some(parent) = self.parent_of(&below.header, db) else { return false };
            (point, at) = (parent.point, parent.at);
        }
        false
    }

    /// Fork choice (§9) between two full chains.
    pub(super) fn is_better(&self, a: &Best, b: &Best, db: &dyn Reader) -> bool {
        if a.worth() != b.worth() {
            return a.worth() > b.worth();
        }
        let (mut a, mut b) = (*a, *b);
        while a.point != b.point {
            let parents = (self.below(&a, db), self.below(&b, db));
            let (Some(below_a), Some(below_b)) = parents else { return false };
            if below_a.point == below_b.point {
                let fork = |best: &Best| {
                    let (round, slot) = best.at.expect("only genesis has no slot");
                    Fork { round, slot, hash: best.point.hash }
                };
                return compare_forks(&fork(&a), &fork(&b)).is_gt();
            }
            (a, b) = (below_a, below_b);
        }
        false
    }

    /// The best of the chains that would be better than ours and lack bodies; one whose lowest lacking body is `stalled`
    /// only when there is no other, or a forger that keeps a body back could hold up every other chain.
    pub fn heading(&self, stalled: impl Fn(&Point) -> bool, db: &dyn Reader) -> Option<&Entry> {
        let waits = |entry: &Entry| self.lacking(entry).first().is_some_and(&stalled);
        let mut found: Option<(u8, &Entry)> = None;
        for entry in self.tree.unfull_tips() {
            let chain = entry.as_best();
            if !self.is_better(&chain, &self.best, db) {
                continue;
            }
            let candidate = (u8::from(!waits(entry)), entry);
            let first = found.is_none_or(|other| {
                let same = candidate.0 == other.0;
                candidate.0 > other.0 || same && self.is_better(&chain, &other.1.as_best(), db)
            });
            if first {
                found = Some(candidate);
            }
        }
        // A block that voters have agreed on may stand beside every better chain.
        let wanted = self.wanted.and_then(|point| self.tree.get(&point.hash));
        let wanted = wanted.filter(|entry| !entry.full && !waits(entry));
        match found {
            Some((1.., entry)) => Some(entry),
            Some((0, entry)) => wanted.or(Some(entry)),
            None => wanted,
        }
    }

    /// The block whose body is to be fetched although no better chain leads through it.
    pub fn want(&mut self, point: Option<Point>) -> bool {
        std::mem::replace(&mut self.wanted, point) != point
    }

    /// The headers that lead to a block, lowest first: at most so many, and none at or below the newest seal.
    pub fn branch(&self, to: &Point, most: usize, db: &dyn Reader) -> Vec<Rc<SignedHeader>> {
        let mut headers = Vec::new();
        let mut at = Some(*to);
        while let Some(point) = at.filter(|_| headers.len() < most) {
            if point.height <= self.sealed.checkpoint.height {
                break;
            }
            let Some(header) = self.header_at(&point, db) else { break };
            at = previous_of(&header.header);
            headers.push(header);
        }
        headers.reverse();
        headers
    }

    pub(super) fn below(&self, best: &Best, db: &dyn Reader) -> Option<Best> {
        let header = self.header_at(&best.point, db)?;
        self.parent_of(&header.header, db).map(|known| known.as_best())
    }

    /// Whether a block is on the best chain.
    pub fn is_main(&self, point: &Point, db: &dyn Reader) -> bool {
        *point == self.best.point
            || *point == self.tree.genesis().point
            || records::main_record(db, point.height).is_some_and(|it| it.hash == point.hash)
    }

    /// The way to a full block; nothing when a block on it cannot be read.
    pub(super) fn way_to(&self, target: &Point, db: &dyn Reader) -> Option<Way> {
        let mut at = self.best_at(target, db)?;
        let mut up = Vec::new();
        while !self.is_main(&at.point, db) {
            up.push(at.point);
            at = self.below(&at, db)?;
        }
        Some(Way { target: *target, fork: at.point, up })
    }

    /// How a block hangs on the best chain; nothing when it is not known, or beside the seal.
    pub(super) fn path_to(&self, point: &Point, db: &dyn Reader) -> Option<Path> {
        let mut blocks = Vec::new();
        let mut fork = *point;
        while !self.is_main(&fork, db) {
            if fork.height <= self.sealed.checkpoint.height {
                return None;
            }
            blocks.push(fork);
            fork = previous_of(&self.header_at(&fork, db)?.header)?;
        }
        blocks.reverse();
        Some(Path { fork, blocks })
    }

    /// The round of a block that is here with all below it down to the newest seal, in memory or not.
    pub fn round_of_full(&self, point: &Point, db: &dyn Reader) -> Option<Round> {
        match self.tree.get(&point.hash) {
            Some(entry) => {
                (entry.full && entry.point == *point).then_some(entry.header.header.round)
            }
            // A header in the database has its body there, and so has all below it; but what was dropped may have left
            // something above it.
            None => {
                let stored = records::header(db, point)?;
                self.path_to(point, db).map(|_| stored.header.header.round)
            }
        }
    }

    /// A block with its messages, from the database.
    pub(super) fn read_block(
        &self,
        point: &Point,
        db: &dyn Reader,
    ) -> Option<(StoredHeader, Vec<Tx>)> {
        Some((records::header(db, point)?, records::body(db, point)?))
    }

    /// Points of the best header chain, newest first, at distances that double, down to the newest seal adopted: what is
    /// below it is the same for everybody whom we could follow.
    pub fn locator(&self, db: &dyn Reader) -> Vec<Point> {
        // Headers ahead of their bodies first, so that another peer goes on where the last one stopped.
        let ahead = self.points_ahead(db);
        let mut points = vec![ahead.first().copied().unwrap_or(self.best.point)];
        let mut height = points[0].height.0;
        let mut distance = 1;
        let lowest = self.sealed().checkpoint.point();
        while height > lowest.height.0 + distance && points.len() < LOCATOR_MAX - 1 {
            height -= distance;
            distance *= 2;
            let at = ahead.iter().find(|point| point.height.0 == height).copied();
            points.extend(at.or_else(|| {
                let hash = records::main_record(db, Height(height))?.hash;
                Some(Point { height: Height(height), hash })
            }));
        }
        points.push(lowest);
        points.dedup();
        points
    }

    /// The blocks of the best chain that lacks bodies, down to ours, newest first.
    fn points_ahead(&self, db: &dyn Reader) -> Vec<Point> {
        let mut points = Vec::new();
        let mut at = self.best_unfull().map(|entry| entry.point);
        while let Some(point) = at.filter(|point| !self.is_main(point, db)) {
            points.push(point);
            let header = self.header_at(&point, db);
            at = header.and_then(|header| previous_of(&header.header));
        }
        points
    }

    /// The first of these points that is on the best chain. None is when who asks stands on another seal, or on one that
    /// we have not come to.
    pub fn intersect(&self, locator: &[Point], db: &dyn Reader) -> Option<Point> {
        locator.iter().find(|point| self.is_main(point, db)).copied()
    }

    /// Headers of the best chain above a point of it; nothing when the point is not on it.
    pub fn headers_above(&self, above: &Point, db: &dyn Reader) -> Option<Vec<SignedHeader>> {
        if !self.is_main(above, db) {
            return None;
        }
        let mut headers = Vec::new();
        let mut bytes = 0;
        let mut height = above.height.next();
        while height <= self.best.point.height
            && headers.len() < HEADERS_MAX
            && bytes < HEADERS_BYTES_MAX
        {
            let record = records::main_record(db, height)?;
            let point = Point { height, hash: record.hash };
            let header = self.header_at(&point, db)?;
            bytes += crate::types::codec::encode(&*header).len();
            headers.push((*header).clone());
            height = height.next();
        }
        Some(headers)
    }

    /// Blocks on the way to a header whose bodies are missing, lowest first.
    pub fn lacking(&self, tip: &Entry) -> Vec<Point> {
        let mut points = Vec::new();
        let mut at = Some(tip);
        while let Some(entry) = at.filter(|entry| !entry.full) {
            if !entry.stored {
                points.push(entry.point);
            }
            at = self.tree.get(&entry.header.header.previous);
        }
        points.reverse();
        points
    }
}

impl Draft<'_> {
    /// The draft as a reader.
    pub fn as_reader(&self) -> &dyn Reader {
        self
    }
}
