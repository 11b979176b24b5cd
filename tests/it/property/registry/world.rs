//! A ledger that grows, rolls back and is written late, and somebody who follows it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hypernode::machine::ledger::{Follower, Known, LedgerNews};
use hypernode::shell::ledger::LedgerFile;
use hypernode::types::clock::Round;
use hypernode::types::network::Network;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::made::{Act, BlockDraw, Maker, Written, acts, blocks};
use super::slow::{Deeds, Hn, Law, Row, Truth, replay};
use super::{compare, hn, note};

/// Looks at a file that nobody writes, until its end is found: enough to take a whole journal back, one block in each.
pub const LOOKS_MAX: usize = 10_000;

/// Somebody who follows a file.
pub struct Reader {
    pub law: Law,
    file: LedgerFile,
    pub follower: Follower,
    pub said: BTreeMap<u64, Deeds>,
    budget: Duration,
}

impl Reader {
    pub fn new(file: &Written, (network, law): &(Rc<Network>, Law), budget: Duration) -> Reader {
        Reader {
            law: law.clone(),
            file: LedgerFile::new(&file.path()),
            follower: Follower::new(network.clone()),
            said: BTreeMap::new(),
            budget,
        }
    }

    /// Reads until there is no more.
    pub fn read(&mut self) {
        let is_read = (0..LOOKS_MAX).any(|_| self.look());
        assert!(is_read, "it reads on and on, at {:?}", self.follower.tip());
    }

    /// One look; whether there is no more.
    fn look(&mut self) -> bool {
        let news = self.file.read(self.follower.tip(), self.budget);
        assert!(!matches!(news, LedgerNews::Fault(_)), "{news:?}");
        let (blocks, is_end) = match &news {
            LedgerNews::Blocks { blocks, end, .. } => (blocks.as_slice(), *end),
            LedgerNews::Gone { .. } | LedgerNews::Anew | LedgerNews::Fault(_) => (&[][..], false),
        };
        let applied = self.follower.hear(&news);
        for (block, applied) in blocks.iter().zip(&applied) {
            note(&mut self.said, block.height, applied);
        }
        let tip = self.follower.tip().map(|mark| mark.height);
        self.said.retain(|height, _| Some(*height) <= tip);
        is_end
    }

    pub fn check(&self, truth: &Truth) {
        assert!(self.follower.is_current());
        assert_eq!(self.follower.damage().map(|(height, _)| height), truth.damage);
        compare(self.follower.registry(), &self.said, truth);
    }

    /// The registries of all rounds that blocks may be of.
    fn check_rounds(&self, truth: &Truth) {
        for round in 0..80 {
            let known = match self.follower.registry_of(Round(round)) {
                Known::Registry(hns) => {
                    assert!(hns.is_sorted_by_key(|hn| hn.address));
                    let mut hns: Vec<Hn> = hns.iter().map(hn).collect();
                    hns.sort();
                    Some(hns)
                }
                Known::NotYet => None,
            };
            assert_eq!(known, truth.registry_of(&self.law, round), "round {round}");
        }
    }
}

/// What happens to a ledger that is followed.
#[derive(Debug, Clone)]
pub enum Step {
    Append(Vec<BlockDraw>),
    /// So many blocks go, and others come.
    Rollback(usize, Vec<BlockDraw>),
    /// More rows of the last block, which was taken for whole.
    More(Vec<(Act, bool)>),
    /// Rows of a block far below.
    Late(Index, Vec<(Act, bool)>),
    Restart,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => blocks(1..6).prop_map(Step::Append),
        4 => (1..9_usize, blocks(1..6)).prop_map(|(most, with)| Step::Rollback(most, with)),
        1 => acts(4).prop_map(Step::More),
        1 => (any::<Index>(), acts(4)).prop_map(|(at, acts)| Step::Late(at, acts)),
        1 => Just(Step::Restart),
    ];
    vec(step, 1..7)
}

/// The heights of rows, each once.
fn heights(rows: &[Row]) -> Vec<u64> {
    let mut all: Vec<u64> = rows.iter().map(|row| row.height.unsigned_abs()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The file, its rows in their order, and who makes more.
pub struct World {
    pub written: Written,
    pub rows: Vec<Row>,
    pub maker: Maker,
}

impl World {
    pub fn append(&mut self, rows: Vec<Row>) {
        self.written.append(&rows);
        self.rows.extend(rows);
    }

    /// Takes so many of the blocks away that have rows here.
    pub fn roll_back(&mut self, blocks: usize) {
        let heights = heights(&self.rows);
        self.maker.height = match heights.len().checked_sub(blocks + 1) {
            Some(last) => heights[last],
            None => 0,
        };
        let height = self.maker.height;
        self.written.cut(height);
        self.rows.retain(|row| row.height.unsigned_abs() <= height);
    }

    /// Appends block after block; after each the reader finds what the slow rules say.
    pub fn follow(&mut self, blocks: &[BlockDraw], reader: &mut Reader) {
        for draw in blocks {
            let rows = self.maker.block(draw);
            self.append(rows);
            reader.read();
            reader.check(&replay(&reader.law, &self.rows));
        }
    }

    pub fn take(&mut self, step: &Step, reader: &mut Reader) {
        let truth = replay(&reader.law, &self.rows);
        match step {
            Step::Append(blocks) => self.follow(blocks, reader),
            Step::Rollback(number, blocks) => {
                self.roll_back(*number);
                self.follow(blocks, reader);
            }
            // A file that is read by height does not see whether old blocks grew while it was damaged.
            Step::More(_) | Step::Late(..) if truth.damage.is_some() => {}
            Step::More(acts) => {
                let rows = self.maker.rows(acts, self.maker.height);
                self.append(rows);
            }
            Step::Late(at, acts) => {
                let heights = heights(&self.rows);
                if !heights.is_empty() {
                    let rows = self.maker.rows(acts, *at.get(&heights));
                    self.append(rows);
                }
            }
            Step::Restart => {
                let summary = reader.follower.summary();
                assert_eq!(summary, None, "nothing is below the journal");
                reader.file = LedgerFile::new(&self.written.path());
            }
        }
        reader.read();
        let truth = replay(&reader.law, &self.rows);
        reader.check(&truth);
        reader.check_rounds(&truth);
    }
}
