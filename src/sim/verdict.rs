//! What must hold when a healed network has had its time: one chain that grows, nothing lost, and disks that agree with
//! what the nodes say.

use std::collections::BTreeSet;

use super::checks::said_by;
use super::host::Host;
use super::oracle::Judged;
use super::world::World;
use crate::machine::limits::Limits;
use crate::machine::records::{self, StoredSeal, Table};
use crate::machine::seal::instance::timeout_ms;
use crate::node::{Node, Setup};
use crate::rules::quorum::Electorate;
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::types::block::Point;
use crate::types::clock::{Round, Slot};
use crate::types::hash::{BlockHash, hash};
use crate::types::tx::TxKey;

/// Views looked at for an honest proposer: where only villains vote there is none.
const LOST_VIEWS_MAX: u32 = 64;

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
        let chained: BTreeSet<TxKey> =
            chain.iter().flat_map(|block| block.keys.iter().copied()).collect();
        let honest: BTreeSet<_> =
            self.hosts.iter().filter(|host| host.honest).map(Host::public).collect();
        // A message of the last round may still be on its way.
        let later = self.checks.messages.values().filter(|seen| seen.time >= heal);
        let later = later.map(|seen| seen.key);
        // What one host holds alone may have come too early for all others, from a clock that was ahead.
        let shared = self.checks.due.iter().filter(|(_, holders)| **holders > 1);
        let mut due: BTreeSet<TxKey> = later
            .chain(shared.map(|(key, _)| *key))
            .filter(|key| said_by(key, healed, &honest) && !said_by(key, last.next(), &honest))
            .filter(|key| !chained.contains(key))
            .collect();
        // A fork that rests on another anchor plans other tests: what was said there of its tests no block here may hold.
        // The last block before a round is the same for every block of that round and the next on one chain, so that one
        // look at its end is enough; and whether this is the chain to end on is another check's question.
        due.retain(|key| !self.checks.oracle.is_unplanned(&tip.hash, key));
        for key in due.into_iter().take(3) {
            let what = format!("a message never came into a block: {key:?}");
            self.checks.violation(self.now, None, what);
        }
    }

    /// The slots of healed rounds are filled, for the most part, and a node that left one empty has said why.
    pub fn check_duties(&mut self, rounds: std::ops::Range<u64>) {
        let (mut filled, mut all) = (0, 0);
        let Some(tip) = self.best_honest() else { return };
        for round in rounds.clone().map(Round) {
            let Some(draw) = self.checks.oracle.draw(&tip.hash, round) else { continue };
            for (slot, juror) in draw.jurors.iter().enumerate() {
                let slot = Slot(u32::try_from(slot).expect("few slots"));
                let is_juror = |host: &Host| {
                    host.honest && self.cast.network.address_of(&host.public()) == *juror
                };
                let Some(host) = self.hosts.iter().position(is_juror) else { continue };
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
                network: host.network.as_ref().unwrap_or(&self.cast.network).clone(),
                key: host.key.clone(),
                seed: hash("check", &[]),
                built: now.wall,
                signed: host.disk.signed,
                seen: host.disk.seen,
                verifier: self.cast.verifier.clone(),
                limits: Limits::default(),
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
                    replay(host, &self.checks.oracle.chain(&said.point.hash), &self.cast.anchor)
                }
            };
            if let Some(what) = what {
                self.checks.violation(self.now, Some(index), what);
            }
        }
    }

    /// Whether every honest host has adopted a seal of this round, or of a later one.
    pub fn all_have_sealed(&self, round: Round) -> bool {
        let honest = (0..self.hosts.len()).filter(|index| self.hosts[*index].honest);
        let mut adopted = honest.map(|index| self.checks.seals.adopted(index));
        adopted.all(|adopted| adopted.is_some_and(|checkpoint| checkpoint.round >= round))
    }

    /// How long the open instance may take to come to a view whose proposer is honest: those before need not propose, and
    /// time out before the prepares and after the commits.
    pub fn lost_to_proposers_ms(&self) -> u64 {
        let honest = (0..self.hosts.len()).filter(|index| self.hosts[*index].honest);
        let adopted = honest.filter_map(|index| self.checks.seals.adopted(index));
        let newest = adopted.max_by_key(|checkpoint| checkpoint.index);
        let sealed = newest.and_then(|newest| self.checks.oracle.sealed(&newest.id()));
        let Some(sealed) = sealed else { return 0 };
        let (network, state) = (&self.cast.network, &sealed.state);
        let (electorate, index) = (Electorate::new(&state.voters), sealed.checkpoint.index + 1);
        let is_honest = |view: u32| {
            let proposer = electorate.proposer(network, &state.beacon, index, view);
            let key = proposer.and_then(|at| electorate.voter(at)).map(|voter| voter.public_key);
            let host = key.and_then(|key| self.cast.host_of(&key));
            host.is_none_or(|host| self.hosts[host].honest)
        };
        let lost = (0..LOST_VIEWS_MAX).take_while(|view| !is_honest(*view));
        lost.map(|view| 2 * timeout_ms(network.clock.slot_ms, view)).sum()
    }

    /// Every honest host has adopted a seal of this round, or of a later one.
    pub fn check_seals(&mut self, round: Round) {
        for index in (0..self.hosts.len()).filter(|index| self.hosts[*index].honest) {
            let adopted = self.checks.seals.adopted(index);
            if adopted.is_some_and(|checkpoint| checkpoint.round >= round) {
                continue;
            }
            let newest = adopted.map_or_else(
                || "no seal".to_owned(),
                |it| format!("seal {} of round {}", it.index, it.round),
            );
            let what = format!("has {newest}, and not one of round {round}");
            self.checks.violation(self.now, Some(index), what);
        }
    }

    /// Where agreement is broken, honest hosts have stopped: one at least, and all that have seen both checkpoints for
    /// their last seal.
    pub fn check_broken(&mut self) {
        let conflicts: Vec<u64> = self.checks.seals.conflicts().collect();
        let Some(first) = conflicts.first() else { return };
        let is_honest = |host: &usize| self.hosts[*host].honest;
        let (halted, noticed) = (&self.checks.seals.halted, &self.checks.seals.noticed);
        let nobody = !halted.iter().any(is_honest);
        let on: Vec<usize> = noticed.difference(halted).copied().filter(is_honest).collect();
        if nobody {
            let what = format!("two checkpoints are certified for seal {first}, and nobody halts");
            self.checks.violation(self.now, None, what);
        }
        for host in on {
            let what = "goes on with two checkpoints for its last seal";
            self.checks.violation(self.now, Some(host), what);
        }
    }

    /// The newest seal that every honest host has adopted.
    pub fn seals(&self) -> u64 {
        let honest = (0..self.hosts.len()).filter(|index| self.hosts[*index].honest);
        honest
            .map(|index| self.checks.seals.adopted(index).map_or(0, |it| it.index))
            .min()
            .unwrap_or(0)
    }

    /// The tip of the first honest host.
    pub fn best_honest(&self) -> Option<Point> {
        self.hosts.iter().position(|host| host.honest).map(|index| self.checks.tips[index])
    }
}

/// Goes through the best chain from genesis and compares what is stored with what it must be.
fn replay(host: &Host, chain: &[&Judged], genesis: &Anchor) -> Option<String> {
    let seals = host.disk.rows(Table::Seals);
    let sealed: BTreeSet<BlockHash> = seals
        .filter_map(|(_, row)| records::parse::<StoredSeal>(row))
        .map(|stored| stored.checkpoint().block)
        .collect();
    let mut state = ChainState::genesis(genesis);
    for block in chain {
        let Point { height, hash } = block.point;
        let record = records::main_record(&host.disk, height);
        let Some(record) = record.filter(|record| record.hash == hash) else {
            return Some(format!("has another block at height {height}"));
        };
        let header = records::header(&host.disk, &block.point);
        let body = records::body(&host.disk, &block.point);
        let Some((header, body)) = header.zip(body) else {
            return Some(format!("has no block at height {height}"));
        };
        // Taking back the first block above a seal needs nothing of what the seal has closed.
        let mut header = header.header.header;
        if let Some(seal) = host.listed_at(&block.point) {
            // For those above it, it is as if it named the checkpoint.
            header.seal = seal;
        }
        let undo = state.apply(&header, &body);
        if undo != record.undo && !sealed.contains(&block.previous) {
            return Some(format!("would undo the block at height {height} wrongly"));
        }
    }
    let above = host.disk.rows(Table::Main).count();
    (above != chain.len()).then(|| format!("has {above} blocks in a chain of {}", chain.len()))
}
