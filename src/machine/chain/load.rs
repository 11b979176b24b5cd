//! What a chain knows at start: the seals adopted, the best chain above the last of them, the tips beside it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::finality::Finality;
use super::path::{previous_of, stored_best};
use super::sealed::Fold;
use super::tree::Tree;
use super::{Best, Chain, Entry};
use crate::machine::records::{self, Reader, StoredHeader, StoredSeal, Table};
use crate::rules::plan::Plans;
use crate::rules::sealed::{Anchor, SealedState};
use crate::rules::state::ChainState;
use crate::types::block::{Header, Point};
use crate::types::clock::{Height, Monotonic, Round};
use crate::types::key::Verifier;
use crate::types::network::Network;
use crate::types::tx::Tx;

/// A block as it is in the database.
type Stored = (Point, StoredHeader, Vec<Tx>);

impl Chain {
    /// The chain that the database holds; the messages of its last two rounds come with it.
    pub fn open(
        network: Rc<Network>,
        plans: Rc<Plans>,
        verifier: Verifier,
        db: &dyn Reader,
    ) -> Result<(Chain, Vec<Tx>), &'static str> {
        let anchor = Rc::new(Anchor::genesis(&network));
        plans.add(anchor.clone());
        let genesis_seal = anchor.checkpoint;
        let genesis = Best {
            point: anchor.checkpoint.point(),
            at: None,
            weight: 0,
            seal: anchor.seal,
            anchor: anchor.seal,
        };
        let mut chain = Chain {
            tree: Tree::new(genesis),
            best: genesis,
            state: ChainState::genesis(&anchor),
            fold: RefCell::new(Fold::new(anchor.clone())),
            sealed: anchor,
            network,
            plans,
            verifier,
            target: None,
            invalid: VecDeque::new(),
            doubles: Vec::new(),
            revision: 0,
            wanted: None,
            finality: Finality::new(genesis_seal),
        };
        let messages = chain.load(db)?;
        Ok((chain, messages))
    }

    /// Reads the best chain and the tips beside it; the messages of its last two rounds come back.
    fn load(&mut self, db: &dyn Reader) -> Result<Vec<Tx>, &'static str> {
        self.load_seals(db)?;
        let messages = self.load_blocks(db)?;
        self.load_finality(db)?;
        Ok(messages)
    }

    /// The best chain, its state and the tree; the messages of its last two rounds.
    fn load_blocks(&mut self, db: &dyn Reader) -> Result<Vec<Tx>, &'static str> {
        let Some((key, value)) = db.last(Table::Main) else { return Ok(Vec::new()) };
        let height = key.try_into().map(u64::from_be_bytes).map_err(|_| "a key of table main")?;
        let record: records::MainRecord =
            records::parse(&value).ok_or("the last record of table main")?;
        let tip = Point { height: Height(height), hash: record.hash };
        let stored = records::header(db, &tip).ok_or("the header of the last block")?;
        self.best = self.naming(stored_best(tip, &stored));
        let round = stored.header.header.round;
        let recent = self.load_recent(tip, Round(round.0.saturating_sub(1)), db)?;
        self.load_state(round, db)?;
        let lowest = recent.last().map_or(tip.height, |(point, _, _)| point.height);
        self.load_tree(lowest, db);
        self.trim();
        Ok(recent.into_iter().rev().flat_map(|(_, _, body)| body).collect())
    }

    /// The states of the seals adopted.
    fn load_seals(&mut self, db: &dyn Reader) -> Result<(), &'static str> {
        let mut key = Vec::new();
        while let Some((found, value)) = db.next(Table::States, &key) {
            let state: SealedState = records::parse(&value).ok_or("the state of a seal")?;
            let seal = db.get(Table::Seals, &found).ok_or("the seal of a state")?;
            let seal: StoredSeal = records::parse(&seal).ok_or("the seal of a state")?;
            let checkpoint = *seal.checkpoint();
            if state.digest() != checkpoint.state {
                return Err("the state of a seal");
            }
            self.sealed = Rc::new(Anchor::new(checkpoint, state));
            self.plans.add(self.sealed.clone());
            key = found;
            key.push(0);
        }
        Ok(())
    }

    /// The state at the end of the best chain: the one at the last seal adopted, and all blocks since.
    fn load_state(&mut self, last: Round, db: &dyn Reader) -> Result<(), &'static str> {
        let checkpoint = self.sealed.checkpoint;
        if checkpoint.index > 0 {
            let sealed = self.best_at(&checkpoint.point(), db).ok_or("a sealed block")?;
            self.state = ChainState::from_sealed(&self.sealed.state, sealed.seal, sealed.anchor);
        }
        let mut fold = Fold::new(self.sealed.clone());
        let mut height = checkpoint.height;
        while height < self.best.point.height {
            height = height.next();
            let record = records::main_record(db, height).ok_or("a record of table main")?;
            let point = Point { height, hash: record.hash };
            let (stored, body) = self.read_block(&point, db).ok_or("a block of the best chain")?;
            let header = &stored.header.header;
            self.state.apply(header, &body);
            // The round that runs is not sealed yet, and a fold does not go back.
            if header.round < last {
                fold.apply(point, header, &body);
            }
        }
        self.fold = RefCell::new(fold);
        Ok(())
    }

    /// Blocks of the best chain since a round, newest first.
    fn load_recent(
        &self,
        tip: Point,
        since: Round,
        db: &dyn Reader,
    ) -> Result<Vec<Stored>, &'static str> {
        let mut recent = Vec::new();
        let mut point = tip;
        while point != self.tree.genesis().point {
            let (stored, body) = self
                .read_block(&point, db)
                .filter(|(stored, body)| {
                    let root = self.rules().check_root(&stored.header.header, body);
                    stored.header.hash() == point.hash && root.is_ok()
                })
                .ok_or("a block of the last two rounds")?;
            if stored.header.header.round < since {
                break;
            }
            let below = previous_of(&stored.header.header).ok_or("a block of height 0")?;
            recent.push((point, stored, body));
            point = below;
        }
        Ok(recent)
    }

    /// All stored headers from a height on: the best chain and what stands beside it. To be trimmed then.
    pub(super) fn load_tree(&mut self, from: Height, db: &dyn Reader) {
        let mut key = records::height_key(from);
        while let Some((found, value)) = db.next(Table::Headers, &key) {
            let point = records::parse_point_key(&found);
            let stored: Option<StoredHeader> = records::parse(&value);
            key = found;
            key.push(0);
            let (Some(point), Some(stored)) = (point, stored) else { continue };
            if self.tree.get(&point.hash).is_some() {
                continue;
            }
            let full = self.parent_is_full_at_load(&stored.header.header, from, db);
            if !full {
                // What was left of a chain that has been dropped.
                continue;
            }
            self.tree.insert(Entry {
                point,
                header: Rc::new(stored.header),
                weight: stored.weight,
                anchor: stored.anchor,
                proven: false,
                stored: true,
                full: true,
                seen: Monotonic(0),
            });
            self.consider(point, db);
        }
    }

    fn parent_is_full_at_load(&self, header: &Header, from: Height, db: &dyn Reader) -> bool {
        let Some(parent) = previous_of(header) else { return false };
        if parent.height < from {
            // Or a chain that parted before, towards which we were on the way, would be forgotten.
            return parent == self.tree.genesis().point || records::header(db, &parent).is_some();
        }
        self.tree.get(&parent.hash).is_some_and(|entry| entry.full)
    }
}
