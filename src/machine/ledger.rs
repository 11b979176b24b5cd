//! Follows the PoW ledger: which registry a round has, as far as our ledger can tell (`docs/protocol.md` §5).
//!
//! Each block is taken in once. A journal of the newest blocks takes them back when the ledger rolls back, and tells
//! when they were mined. What is older is summed up; a rollback beyond it begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::rules::cut::Cut;
use crate::rules::registry::{Applied, Change, Registry, Scope, Undo, sealable};
use crate::types::clock::{Round, Timestamp};
use crate::types::codec;
use crate::types::hash::{Hash, hash};
use crate::types::network::{LEDGER_SPAN_MAX, Network, Source};
pub use crate::types::pow::Mark;
use crate::types::pow::{PowAddress, PowBlock};
use crate::types::seal::Registered;

mod fault;
mod status;

pub use fault::LedgerFault;

/// Blocks that can be taken back: depth and step (`LEDGER_SPAN_MAX` together), and as much again for a stall.
const JOURNAL_MAX: usize = 2 * LEDGER_SPAN_MAX;
/// Bytes of a summary: some million addresses.
pub const SUMMARY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What became of the ledger since it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerNews {
    /// Blocks after the newest one taken in, whose id is given; `end` when there are no more for now.
    Blocks { after: Option<Hash>, blocks: Vec<PowBlock>, end: bool },
    /// The newest block taken in is not there any more, or another stands in its place.
    Gone { id: Hash },
    /// It must be read from the start.
    Anew,
    /// It cannot be read.
    Fault(LedgerFault),
}

/// The registry of a round, as far as the ledger tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// It is this one, sorted by address.
    Registry(Rc<Vec<Registered>>),
    /// Not yet: the ledger ends too early, or cannot be read.
    NotYet,
}

/// A block that can be taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    mark: Mark,
    mined_at: Option<Timestamp>,
    undo: Undo,
}

/// What is kept over restarts: the state below the journal.
#[derive(Serialize, Deserialize)]
struct Summary {
    /// Says under which rules it was summed up.
    rules: Hash,
    mark: Mark,
    balances: Vec<(PowAddress, i128)>,
    registered: Vec<Registered>,
}

/// The follower of one ledger.
#[derive(Debug, Clone)]
pub struct Follower {
    network: Rc<Network>,
    registry: Registry,
    /// The newest block below the journal; nothing when the journal begins with the ledger.
    base: Option<Mark>,
    journal: VecDeque<Seen>,
    /// The height from which on the ledger says what is no amount, and what.
    damage: Option<(u64, String)>,
    fault: Option<LedgerFault>,
    /// Whether all that was there has been taken in once.
    is_current: bool,
    /// Changes with whatever changes an answer.
    revision: u64,
    /// Blocks taken back since one was taken in.
    undone: u32,
}

impl Follower {
    /// Nothing read yet.
    pub fn new(network: Rc<Network>) -> Follower {
        let scope = scope_at(&network, network.first_round);
        Follower {
            registry: Registry::new(scope),
            network,
            base: None,
            journal: VecDeque::new(),
            damage: None,
            fault: None,
            is_current: false,
            revision: 0,
            undone: 0,
        }
    }

    /// Goes on from a summary, when nothing is read yet and it is one of these rules. Whether it is of this ledger, reading
    /// behind its block tells.
    pub fn resume(&mut self, bytes: &[u8]) {
        let Ok(summary) = codec::decode::<Summary>(bytes, SUMMARY_BYTES_MAX) else { return };
        let scope = self.registry.scope().clone();
        if summary.rules != rules_digest(&scope) || self.tip().is_some() {
            return;
        }
        let Summary { mark, balances, registered, .. } = summary;
        let Some(registry) = Registry::restore(scope, balances, registered) else { return };
        self.registry = registry;
        self.base = Some(mark);
        self.revision += 1;
    }

    /// The state below the journal, for the disk: a start goes on from there.
    pub fn summary(&self) -> Option<Vec<u8>> {
        let mark = self.base?;
        let mut registry = self.registry.clone();
        self.journal.iter().rev().for_each(|seen| registry.undo(&seen.undo));
        let summary = Summary {
            rules: rules_digest(registry.scope()),
            mark,
            balances: registry.balances().collect(),
            registered: registry.by_owner().copied().collect(),
        };
        Some(codec::encode(&summary))
    }

    /// The newest block taken in: where reading goes on.
    pub fn tip(&self) -> Option<Mark> {
        self.journal.back().map(|seen| seen.mark).or(self.base)
    }

    /// Takes news in; what does not fit the place any more is dropped. What the blocks did comes back.
    pub fn hear(&mut self, news: &LedgerNews) -> Vec<Applied> {
        match news {
            LedgerNews::Blocks { after, blocks, end } => {
                if *after != self.tip().map(|mark| mark.id) {
                    return Vec::new();
                }
                self.revision += u64::from(self.fault.take().is_some());
                let applied = self.extend(blocks);
                if *end && !self.is_current {
                    self.is_current = true;
                    self.revision += 1;
                }
                applied
            }
            LedgerNews::Gone { id } => {
                if self.tip().is_some_and(|mark| mark.id == *id) {
                    self.take_back();
                }
                Vec::new()
            }
            LedgerNews::Anew => {
                self.begin_anew();
                Vec::new()
            }
            LedgerNews::Fault(fault) => {
                if self.fault.as_ref() != Some(fault) {
                    self.fault = Some(fault.clone());
                    self.revision += 1;
                }
                Vec::new()
            }
        }
    }

    fn extend(&mut self, blocks: &[PowBlock]) -> Vec<Applied> {
        let mut all = Vec::new();
        // They stand right behind the tip: what was damaged there is among them again, or was replaced.
        let before = self.damage.take();
        for block in blocks {
            if self.tip().is_some_and(|tip| tip.height >= block.height) {
                break;
            }
            if let Some(what) = &block.damage {
                self.damage = Some((block.height, what.clone()));
                break;
            }
            self.revision += 1;
            let (undo, applied) = self.registry.apply(block);
            let (mark, mined_at) = (block.mark(), block.mined_at);
            self.journal.push_back(Seen { mark, mined_at, undo });
            if self.journal.len() > JOURNAL_MAX {
                self.base = self.journal.pop_front().map(|seen| seen.mark);
            }
            all.push(applied);
        }
        self.revision += u64::from(self.damage != before);
        all
    }

    fn take_back(&mut self) {
        self.damage = None;
        match self.journal.pop_back() {
            Some(seen) => self.registry.undo(&seen.undo),
            None => self.begin_anew(),
        }
        self.is_current = false;
        self.undone += 1;
        self.revision += 1;
    }

    fn begin_anew(&mut self) {
        let (network, revision) = (self.network.clone(), self.revision + 1);
        let scope = self.registry.scope().clone();
        *self = Follower { revision, registry: Registry::new(scope), ..Follower::new(network) };
    }

    /// A round began: parameters of another entry may be in force. Rows are judged by one controller and from one height
    /// on, so that the ledger is read again when these change.
    pub fn begin_round(&mut self, round: Round) {
        let scope = scope_at(&self.network, round);
        if scope != *self.registry.scope() {
            self.registry = Registry::new(scope);
            self.begin_anew();
        }
    }

    /// The registry of a round.
    pub fn registry_of(&self, round: Round) -> Known {
        match self.height_of(round) {
            Some(height) => Known::Registry(Rc::new(self.registry_at(height))),
            None => Known::NotYet,
        }
    }

    /// The last height that counts for a round; nothing when that is not known.
    pub fn height_of(&self, round: Round) -> Option<u64> {
        if self.network.source != Source::Ledger || self.fault.is_some() || !self.is_current {
            return None;
        }
        let mut cut = Cut::new(&self.network, round);
        self.journal.iter().for_each(|seen| cut.see(seen.mark.height, seen.mined_at));
        let height = cut.height(&self.network.values_at(round).ledger);
        // Below the journal it is forgotten.
        (cut.is_settled() && self.base.is_none_or(|base| base.height <= height)).then_some(height)
    }

    /// The registry after a height that the journal reaches.
    fn registry_at(&self, height: u64) -> Vec<Registered> {
        let mut by_owner: BTreeMap<PowAddress, Registered> =
            self.registry.by_owner().map(|hn| (hn.owner, *hn)).collect();
        let later = self.journal.iter().rev().take_while(|seen| seen.mark.height > height);
        for change in later.flat_map(|seen| seen.undo.changes.iter().rev()) {
            match change {
                Change::Added(hn) => by_owner.remove(&hn.owner),
                Change::Removed(hn) => by_owner.insert(hn.owner, *hn),
            };
        }
        sealable(by_owner.values())
    }

    /// The registry after the newest block.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Changes whenever an answer may have changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many blocks were taken back since this was asked, once blocks come again.
    pub fn take_undone(&mut self) -> Option<u32> {
        if !self.is_current {
            return None;
        }
        Some(std::mem::take(&mut self.undone)).filter(|undone| *undone > 0)
    }

    /// Why the ledger cannot be read.
    pub fn fault(&self) -> Option<&LedgerFault> {
        self.fault.as_ref()
    }

    /// The height from which on nothing is known, for it says what is no amount; and what.
    pub fn damage(&self) -> Option<(u64, &str)> {
        self.damage.as_ref().map(|(height, what)| (*height, what.as_str()))
    }

    /// Whether all that was there has been taken in.
    pub fn is_current(&self) -> bool {
        self.is_current
    }
}

fn scope_at(network: &Network, round: Round) -> Scope {
    Scope::new(network, &network.values_at(round).ledger)
}

fn rules_digest(scope: &Scope) -> Hash {
    let first = scope.first_height.to_be_bytes();
    let terms = [scope.terms.prefix, u8::from(scope.terms.public_only)];
    hash("ledger-rules", &[&first, &scope.controller.0, &terms])
}

#[cfg(test)]
mod tests;
