//! What must hold when a healed network has had its time: one chain that grows, nothing lost, and disks that agree with
//! what the nodes say.

use std::collections::BTreeSet;

use super::host::Host;
use super::oracle::Judged;
use super::world::World;
use crate::machine::records::{self, Table};
use crate::node::{Node, Setup};
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::types::block::Point;
use crate::types::clock::{Round, Slot};
use crate::types::hash::{BlockHash, hash};
use crate::types::tx::{Statement, TxKey};

impl World {
    /// The honest hosts share one tip, in the round that is nearly over, and it is the best chain any of them holds.
    pub fn check_agreement(&mut self, round: Round) {
        let honest: Vec<usize> =
            (0..self.hosts.len()).filter(|index| self.hosts[*index].honest).collect();
        for index in &honest {
            if self.hosts[*index].node.is_none() {
                self.checks.violation(self.now, Some(*index), "does not run after healing");
            }
        }
        let tips: BTreeSet<BlockHash> =
            honest.iter().map(|index| self.checks.tips[*index].hash).collect();
        if tips.len() > 1 {
            let list = honest.iter().map(|index| {
                let tip = self.checks.tips[*index].hash;
                format!("{index}: {}", self.checks.oracle.describe(&tip))
            });
            let what = format!("no agreement: {}", list.collect::<Vec<_>>().join(", "));
            self.checks.violation(self.now, None, what);
        }
        for index in &honest {
            if let Some(better) = self.checks.better_held(*index) {
                let better = self.checks.oracle.describe(&better);
                let what = format!("holds {better}, which is better than its tip");
                self.checks.violation(self.now, Some(*index), what);
            }
        }
        let tip = tips.first().and_then(|hash| self.checks.oracle.get(hash));
        if tip.is_none_or(|tip| tip.round < round) {
            self.checks.violation(self.now, None, format!("no block in round {round}"));
        }
    }

    /// Nothing that an honest host held when the network healed, and nothing it said since, is missing in its chain.
    pub fn check_messages(&mut self, heal: u64, healed: Round, last: Round) {
        let Some(tip) = self.best_honest() else { return };
        let chain = self.checks.oracle.chain(&tip.hash);
        let chained: BTreeSet<Statement> =
            chain.iter().flat_map(|block| &block.keys).filter_map(TxKey::statement).collect();
        let honest: BTreeSet<_> =
            self.hosts.iter().filter(|host| host.honest).map(Host::public).collect();
        // A message of the last round may still be on its way.
        let later = self.checks.messages.values().filter(|seen| seen.time >= heal);
        let later = later.filter_map(|seen| seen.key.statement());
        let later = later.filter(|key| honest.contains(&key.sender));
        // What one host holds alone may have come too early for all others, from a clock that was ahead.
        let shared = self.checks.due.iter().filter(|(_, holders)| **holders > 1);
        let due: BTreeSet<Statement> = later
            .chain(shared.map(|(key, _)| *key))
            .filter(|key| key.round.next() >= healed && key.round < last && !chained.contains(key))
            .collect();
        for key in due.into_iter().take(3) {
            let what = format!("a message never came into a block: {key:?}");
            self.checks.violation(self.now, None, what);
        }
    }

    /// The slots of healed rounds are filled, for the most part, and a node that left one empty has said why.
    pub fn check_duties(&mut self, rounds: std::ops::Range<u64>) {
        let (mut filled, mut all) = (0, 0);
        for round in rounds.clone().map(Round) {
            let jurors = self.checks.oracle.jurors(round).to_vec();
            for (slot, juror) in jurors.iter().enumerate() {
                let slot = Slot(u32::try_from(slot).expect("few slots"));
                let host = self.cast.host_of(juror).filter(|host| self.hosts[*host].honest);
                let Some(host) = host else { continue };
                all += 1;
                match self.checks.duties.get(&(host, round, slot)) {
                    Some(None) => filled += 1,
                    Some(Some(_)) => {}
                    None => {
                        let what = format!("says nothing of its slot {slot} in round {round}");
                        self.checks.violation(self.now, Some(host), what);
                    }
                }
            }
        }
        if filled * 2 < all {
            let what = format!("{filled} of {all} slots filled in rounds {rounds:?}");
            self.checks.violation(self.now, None, what);
        }
    }

    /// Each disk is what replaying its chain gives, and a node opened on it is where the running one is.
    pub fn check_disks(&mut self) {
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let Some(node) = host.node.as_ref().filter(|_| host.honest) else { continue };
            let now = host.clock.now(self.now);
            let setup = Setup {
                network: self.cast.network.clone(),
                key: host.key.clone(),
                seed: hash("check", &[]),
                built: now.wall,
                signed: host.disk.signed,
                verifier: self.cast.verifier.clone(),
            };
            let said = node.status(now).tip;
            let what = match Node::open(setup, now, &host.disk) {
                Err(error) => Some(format!("cannot be opened again: {error}")),
                Ok(opened) if opened.status(now).tip != said => {
                    Some("has another tip when it is opened again".to_owned())
                }
                Ok(_) if said.point != self.checks.tips[index] => {
                    Some("says another tip than it has".to_owned())
                }
                Ok(_) => {
                    replay(host, &self.cast.anchor, &self.checks.oracle.chain(&said.point.hash))
                }
            };
            if let Some(what) = what {
                self.checks.violation(self.now, Some(index), what);
            }
        }
    }

    /// The tip of the first honest host.
    pub fn best_honest(&self) -> Option<Point> {
        self.hosts.iter().position(|host| host.honest).map(|index| self.checks.tips[index])
    }
}

/// Goes through the best chain from genesis and compares what is stored with what it would be had no other chain come
/// first.
fn replay(host: &Host, genesis: &Anchor, chain: &[&Judged]) -> Option<String> {
    let mut state = ChainState::genesis(genesis);
    for block in chain {
        let Point { height, hash } = block.point;
        let record = records::main_record(&host.disk, height);
        let Some(record) = record.filter(|record| record.hash == hash) else {
            return Some(format!("has another block at height {height}"));
        };
        let header = records::header(&host.disk, &block.point);
        let Some((header, body)) = header.zip(records::body(&host.disk, &block.point)) else {
            return Some(format!("has no block at height {height}"));
        };
        if state.apply(&header.header.header, &body) != record.undo {
            return Some(format!("would undo the block at height {height} wrongly"));
        }
    }
    let above = host.disk.rows(Table::Main).count();
    (above != chain.len()).then(|| format!("has {above} blocks in a chain of {}", chain.len()))
}
