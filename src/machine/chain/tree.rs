//! Headers in memory: the last two rounds, the tips, and headers that wait for their bodies. Bounded.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::Best;
use crate::rules::chain::Worth;
use crate::types::block::{Point, SealRef, SignedHeader};
use crate::types::clock::{Monotonic, Round, Slot};
use crate::types::hash::BlockHash;
use crate::types::key::PublicKey;

/// Tips held (§8).
const TIPS_MAX: usize = 64;
/// Headers that wait for their bodies: a window of sync.
pub const UNFULL_MAX: usize = 4096;
/// What they may hold: a header is 300 bytes, an entry as many, and each is in five maps.
pub const UNFULL_BYTES: usize = UNFULL_MAX * 1024;

/// A header in memory.
#[derive(Debug, Clone)]
pub struct Entry {
    pub point: Point,
    pub header: Rc<SignedHeader>,
    /// Distinct forgers summed over the rounds of its chain.
    pub weight: u64,
    /// The anchor of its round on its chain.
    pub anchor: SealRef,
    /// Whether a certified seal proves it by its hash, so that nothing else of it was checked.
    pub proven: bool,
    /// Whether its body is in the database.
    pub stored: bool,
    /// Whether its body and those of all below it are.
    pub full: bool,
    pub seen: Monotonic,
}

/// Entries by hash, by parent, by slot.
pub struct Tree {
    genesis: Best,
    entries: BTreeMap<BlockHash, Entry>,
    children: BTreeMap<BlockHash, Vec<BlockHash>>,
    slots: BTreeMap<(Round, Slot), Vec<BlockHash>>,
    unfull: BTreeSet<BlockHash>,
    tips: BTreeSet<BlockHash>,
}

impl Entry {
    /// What the chain that ends here is worth.
    pub fn worth(&self) -> Worth {
        Worth::new(self.weight, &self.point)
    }

    /// The chain that ends here.
    pub fn as_best(&self) -> Best {
        let header = &self.header.header;
        Best {
            point: self.point,
            at: Some((header.round, header.slot)),
            weight: self.weight,
            seal: header.seal,
            anchor: self.anchor,
        }
    }
}

impl Tree {
    pub fn new(genesis: Best) -> Tree {
        Tree {
            genesis,
            entries: BTreeMap::new(),
            children: BTreeMap::new(),
            slots: BTreeMap::new(),
            unfull: BTreeSet::new(),
            tips: BTreeSet::new(),
        }
    }

    pub fn genesis(&self) -> &Best {
        &self.genesis
    }

    pub fn get(&self, hash: &BlockHash) -> Option<&Entry> {
        self.entries.get(hash)
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub fn insert(&mut self, entry: Entry) {
        let hash = entry.point.hash;
        let header = &entry.header.header;
        self.children.entry(header.previous).or_default().push(hash);
        self.tips.remove(&header.previous);
        if !self.children.contains_key(&hash) {
            self.tips.insert(hash);
        }
        self.slots.entry((header.round, header.slot)).or_default().push(hash);
        if !entry.full {
            self.unfull.insert(hash);
        }
        self.entries.insert(hash, entry);
    }

    /// Marks a body stored. Returns the entries that are full now, parents first.
    pub fn store(&mut self, hash: &BlockHash, parent_is_full: bool) -> Vec<Entry> {
        if let Some(entry) = self.entries.get_mut(hash) {
            entry.stored = true;
        }
        let mut filled = Vec::new();
        let mut waiting = if parent_is_full { vec![*hash] } else { Vec::new() };
        while let Some(hash) = waiting.pop() {
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            if entry.full || !entry.stored {
                continue;
            }
            entry.full = true;
            self.unfull.remove(&hash);
            filled.push(entry.clone());
            waiting.extend(self.children.get(&hash).into_iter().flatten());
        }
        filled
    }

    /// Marks a block proven; whether it is whole.
    pub fn prove(&mut self, hash: &BlockHash) -> bool {
        let Some(entry) = self.entries.get_mut(hash) else { return false };
        entry.proven = true;
        entry.full
    }

    pub fn unfull(&self) -> impl Iterator<Item = &Entry> {
        self.unfull.iter().filter_map(|hash| self.entries.get(hash))
    }

    pub fn unfull_count(&self) -> usize {
        self.unfull.len()
    }

    pub fn best_unfull(&self, above: Worth) -> Option<&Entry> {
        self.unfull()
            .filter(|entry| entry.worth() > above)
            .max_by_key(|entry| (entry.worth(), std::cmp::Reverse(entry.point.hash)))
    }

    /// Ends of chains that lack bodies.
    pub fn unfull_tips(&self) -> impl Iterator<Item = &Entry> {
        self.tips().filter(|entry| !entry.full)
    }

    pub fn full_points(&self) -> Vec<Point> {
        self.entries.values().filter(|entry| entry.full).map(|entry| entry.point).collect()
    }

    /// Blocks of a forger for a slot.
    pub fn of_slot<'a>(
        &'a self,
        forger: &'a PublicKey,
        round: Round,
        slot: Slot,
    ) -> impl Iterator<Item = &'a Entry> {
        let hashes = self.slots.get(&(round, slot)).into_iter().flatten();
        let entries = hashes.filter_map(|hash| self.entries.get(hash));
        entries.filter(move |entry| entry.header.header.forger == *forger)
    }

    pub fn tip_count(&self) -> usize {
        self.tips.len()
    }

    fn tips(&self) -> impl Iterator<Item = &Entry> {
        self.tips.iter().filter_map(|hash| self.entries.get(hash))
    }

    /// Removes a block and all above it.
    pub fn remove_branch(&mut self, hash: &BlockHash) -> Vec<Point> {
        let mut gone = Vec::new();
        let mut waiting = vec![*hash];
        while let Some(hash) = waiting.pop() {
            waiting.extend(self.children.get(&hash).into_iter().flatten());
            gone.extend(self.remove(&hash).map(|entry| entry.point));
        }
        gone
    }

    fn remove(&mut self, hash: &BlockHash) -> Option<Entry> {
        let entry = self.entries.remove(hash)?;
        self.unfull.remove(hash);
        self.tips.remove(hash);
        let header = &entry.header.header;
        let slot = (header.round, header.slot);
        forget(&mut self.children, &header.previous, hash);
        let parent = header.previous;
        if !self.children.contains_key(&parent) && self.entries.contains_key(&parent) {
            self.tips.insert(parent);
        }
        forget(&mut self.slots, &slot, hash);
        Some(entry)
    }

    /// Holds the bounds on tips and on headers without bodies: the worst tips leave first, never the best chain, and
    /// not the block that is wanted.
    pub fn trim(&mut self, best: BlockHash, wanted: Option<BlockHash>) {
        while self.unfull.len() > UNFULL_MAX || self.tips.len() > TIPS_MAX {
            let surplus = self.unfull.len() > UNFULL_MAX;
            let worst = self
                .tips()
                .filter(|entry| entry.point.hash != best && Some(entry.point.hash) != wanted)
                .filter(|entry| !entry.proven)
                .filter(|entry| !surplus || !entry.full)
                .min_by_key(|entry| (entry.worth(), entry.point.hash))
                .map(|entry| entry.point.hash);
            match worst {
                Some(hash) => self.remove(&hash),
                None => break,
            };
        }
    }

    /// Forgets what is older than two rounds and can be read back: full, and with a full child or on the best chain.
    pub fn evict(&mut self, best: &Best) {
        let Some((round, _)) = best.at else { return };
        let old = Round(round.0.saturating_sub(1));
        let first = self.slots.keys().next().copied();
        if first.is_none_or(|(first, _)| first >= old) {
            return;
        }
        let candidates: Vec<BlockHash> =
            self.slots.range(..(old, Slot(0))).flat_map(|(_, hashes)| hashes).copied().collect();
        for hash in candidates {
            let is_full = |hash: &BlockHash| self.entries.get(hash).is_some_and(|it| it.full);
            let children = self.children.get(&hash);
            let safe = hash == best.point.hash
                || !is_full(&hash)
                || children.is_none_or(|children| !children.iter().all(is_full));
            if !safe {
                // Children keep naming it as their parent: they read it back.
                let entry = self.entries.remove(&hash).expect("it is a candidate");
                let header = &entry.header.header;
                forget(&mut self.slots, &(header.round, header.slot), &hash);
                forget(&mut self.children, &header.previous, &hash);
            }
        }
    }
}

fn forget<K: Ord>(map: &mut BTreeMap<K, Vec<BlockHash>>, key: &K, hash: &BlockHash) {
    if let Some(list) = map.get_mut(key) {
        list.retain(|other| other != hash);
        if list.is_empty() {
            map.remove(key);
        }
    }
}
