//! Checks of seals: one checkpoint for an index, never taken back, of the right voters and the right state
//! (`docs/protocol.md` §10).

use std::collections::{BTreeMap, BTreeSet};

use super::Checks;
use crate::machine::halt::{HaltReason, HaltRecord};
use crate::machine::records::{self, Batch, MainRecord, StoredSeal, Table};
use crate::rules::quorum::Electorate;
use crate::sim::host::Host;
use crate::sim::oracle::Certified;
use crate::types::evidence::Evidence;
use crate::types::hash::{Hash, hash};
use crate::types::key::PublicKey;
use crate::types::seal::{Checkpoint, Quorum, Seal, Step};

/// An index; and whether a listed checkpoint has closed the instance that it had without: then it is another one.
type Instance = (bool, u64);

/// What hosts have sealed.
#[derive(Default)]
pub struct SealWatch {
    /// Whether the Byzantine are many enough to break agreement: then it is no violation, but must be noticed.
    pub may_break: bool,
    /// Identities of the checkpoints that hosts hold certificates of: one at most for each instance.
    certified: BTreeMap<Instance, BTreeSet<Hash>>,
    /// View in which each was decided, and when the first host had its certificate.
    pub decided: BTreeMap<Hash, (u32, u64)>,
    /// Of each host: checkpoints on its disk, and the newest one whose state it has computed.
    held: BTreeMap<usize, BTreeMap<u64, Checkpoint>>,
    adopted: BTreeMap<usize, Checkpoint>,
    restores: BTreeMap<usize, u32>,
    /// Hosts that have halted.
    pub halted: BTreeSet<usize>,
    /// Hosts that said that they have seen a second checkpoint for their last seal.
    pub noticed: BTreeSet<usize>,
}

impl SealWatch {
    /// Indices for which two checkpoints are certified.
    pub fn conflicts(&self) -> impl Iterator<Item = u64> {
        self.certified.iter().filter(|(_, ids)| ids.len() > 1).map(|((_, index), _)| *index)
    }

    /// The newest seal that is open at a host.
    pub fn open_at(&self, host: usize) -> u64 {
        let newest = self.held.get(&host).and_then(|held| held.last_key_value());
        newest.map_or(0, |(newest, _)| *newest) + 1
    }

    /// The newest seal that is open anywhere.
    pub fn open(&self) -> u64 {
        self.held.keys().map(|host| self.open_at(*host)).max().unwrap_or(1)
    }

    /// Views that all decisions took together.
    pub fn views(&self) -> u64 {
        self.decided.values().map(|(view, _)| u64::from(*view) + 1).sum()
    }

    /// The newest seal that a host has adopted.
    pub fn adopted(&self, host: usize) -> Option<&Checkpoint> {
        self.adopted.get(&host)
    }
}

impl Checks {
    /// A host has written this.
    pub fn persisted(&mut self, time: u64, index: usize, host: &Host, batch: &Batch) {
        // What is written in one batch with a newer seal is held against the seals before.
        let floor = self.seals.adopted.get(&index).copied();
        for ((table, key), value) in &batch.0 {
            match (table, value) {
                (Table::Seals, Some(value)) => self.seal_written(time, index, host, value),
                (Table::Seals, None) => self.seal_deleted(time, index, host, key, floor.as_ref()),
                (Table::States, Some(value)) => self.state_written(time, index, host, key, value),
                (Table::Main, _) => {
                    self.main_written(time, index, host, key, value.as_deref(), floor.as_ref());
                }
                (Table::Evidence, Some(value)) => self.evidence_written(time, index, host, value),
                (Table::Halt, Some(value)) => self.halted(time, index, host, value),
                (
                    Table::States
                    | Table::Evidence
                    | Table::Halt
                    | Table::Headers
                    | Table::Bodies
                    | Table::Pool
                    | Table::Duties
                    | Table::Prepared,
                    _,
                ) => {}
            }
        }
        for (id, why) in self.oracle.take_wrong() {
            self.wrong_certificate(time, None, &id, why);
        }
    }

    fn seal_written(&mut self, time: u64, index: usize, host: &Host, value: &[u8]) {
        let Some(stored) = records::parse::<StoredSeal>(value) else {
            return self.violation(time, Some(index), "writes a seal that cannot be read");
        };
        let checkpoint = *stored.checkpoint();
        let (number, id) = (checkpoint.index, checkpoint.id());
        let held = self.seals.held.entry(index).or_default();
        let newest = held.last_key_value().is_none_or(|(newest, _)| *newest < number);
        let other = held.insert(number, checkpoint).filter(|other| *other != checkpoint);
        if other.is_some() && host.honest {
            self.violation(time, Some(index), format!("replaces seal {number}"));
        }
        if stored.is_certified() {
            self.certificate(time, index, host, &stored.seal);
        }
        if newest {
            self.held[index].rest_on(&checkpoint, host.lists(number), &self.oracle);
        }
        self.seals.decided.entry(id).or_insert((stored.seal.certificate.view, time));
    }

    /// Only what is not adopted, and not borne out by the way to a listed checkpoint.
    fn seal_deleted(
        &mut self,
        time: u64,
        index: usize,
        host: &Host,
        key: &[u8],
        adopted: Option<&Checkpoint>,
    ) {
        let Ok(number) = key.try_into().map(u64::from_be_bytes) else { return };
        let adopted = adopted.map_or(0, |seal| seal.index);
        self.seals.held.entry(index).or_default().remove(&number);
        if host.honest && (number <= adopted || !host.is_led(adopted)) {
            self.violation(time, Some(index), format!("deletes seal {number}"));
        }
    }

    /// Somebody holds a certificate.
    fn certificate(&mut self, time: u64, index: usize, host: &Host, seal: &Seal) {
        let (number, id) = (seal.certificate.checkpoint.index, seal.certificate.checkpoint.id());
        let ids = self.seals.certified.entry((host.rests_on_listed(number), number)).or_default();
        let first = ids.insert(id);
        let conflict = first && ids.len() > 1;
        if conflict && !self.seals.may_break {
            self.violation(time, Some(index), format!("two checkpoints for seal {number}"));
        }
        if first {
            if let Certified::No(why) = self.oracle.certify(&seal.certificate) {
                self.wrong_certificate(time, Some(index), &id, why);
            }
        }
    }

    fn wrong_certificate(&mut self, time: u64, index: Option<usize>, id: &Hash, why: &str) {
        // Two thirds of liars can certify anything.
        if !self.seals.may_break {
            self.violation(time, index, format!("seal {} is certified, {why}", id.short()));
        }
    }

    /// A host has computed the state of a seal.
    fn state_written(&mut self, time: u64, index: usize, host: &Host, key: &[u8], value: &[u8]) {
        let Ok(number) = key.try_into().map(u64::from_be_bytes) else { return };
        let checkpoint = self.seals.held.get(&index).and_then(|held| held.get(&number)).copied();
        let Some(checkpoint) = checkpoint.filter(|_| host.honest) else { return };
        if hash("state", &[value]) != checkpoint.state {
            let what = format!("keeps another state than that of seal {number}");
            self.violation(time, Some(index), what);
        }
        if let Some(sealed) = self.oracle.sealed(&checkpoint.id()) {
            let penalties = &sealed.state.penalties;
            let is_penalised = |key: &&PublicKey| {
                let address = self.cast.network.address_of(key);
                penalties.iter().any(|penalty| penalty.address == address)
            };
            let innocent: Vec<_> = self.honest.iter().filter(is_penalised).copied().collect();
            for key in innocent {
                let what = format!("seal {number} has a penalty for the honest {key}");
                self.violation(time, Some(index), what);
            }
        }
        let newest = self.seals.adopted.get(&index).is_none_or(|old| old.index < number);
        if newest {
            self.seals.adopted.insert(index, checkpoint);
        }
    }

    /// Nothing at or below an adopted seal leaves the best chain.
    fn main_written(
        &mut self,
        time: u64,
        index: usize,
        host: &Host,
        key: &[u8],
        value: Option<&[u8]>,
        floor: Option<&Checkpoint>,
    ) {
        let Ok(height) = key.try_into().map(u64::from_be_bytes) else { return };
        let Some(floor) = floor.filter(|floor| height <= floor.height.0 && host.honest) else {
            return;
        };
        let record: Option<MainRecord> = value.and_then(records::parse);
        let chained = self.oracle.down(&floor.block).find(|block| block.point.height.0 == height);
        let same =
            chained.zip(record).is_some_and(|(block, record)| block.point.hash == record.hash);
        if !same {
            let what = format!("takes back height {height}, which seal {} covers", floor.index);
            self.violation(time, Some(index), what);
        }
    }

    fn evidence_written(&mut self, time: u64, index: usize, host: &Host, value: &[u8]) {
        let Some(evidence) = records::parse::<Evidence>(value) else { return };
        let offence = evidence.offence();
        let good =
            evidence.is_proof() && evidence.is_signed(&self.cast.network, &self.cast.verifier);
        if host.honest && (!good || self.honest.contains(&offence.offender)) {
            let what = format!("keeps evidence of {} against an honest HN", offence.kind);
            self.violation(time, Some(index), what);
        }
    }

    fn halted(&mut self, time: u64, index: usize, host: &Host, value: &[u8]) {
        self.seals.halted.insert(index);
        if host.honest && !self.is_proof(value) {
            self.violation(time, Some(index), "halts without a proof");
        }
        let broken = self.seals.conflicts().next().is_some() || self.seals.may_break;
        if host.honest && !broken && !self.may_halt.contains(&index) {
            self.violation(time, Some(index), "halts");
        }
    }

    /// Whether the record of a halt proves what it says to somebody who has nothing else.
    fn is_proof(&self, value: &[u8]) -> bool {
        let Some(HaltRecord { reason, voters, .. }) = records::parse(value) else { return false };
        let electorate = Electorate::new(&voters);
        let (network, verifier) = (&self.cast.network, &self.cast.verifier);
        let holds = |it: &&Quorum| electorate.check(it, Step::Commit, network, verifier).is_ok();
        match &reason {
            HaltReason::Certificates { held, other } => {
                let (held, other) = (&held.checkpoint, &other.checkpoint);
                held.index == other.index
                    && held != other
                    && reason.certificates().iter().all(holds)
            }
            // The other half of it is what the host computes, or what its network file says.
            HaltReason::Refused { .. } | HaltReason::State { .. } | HaltReason::Listed { .. } => {
                true
            }
        }
    }

    /// A host has come up: its seals are those it had, unless an old disk was put back.
    pub(super) fn seals_came_up(&mut self, time: u64, index: usize, host: &Host) {
        let rows = host.disk.rows(Table::Seals);
        let stored: Vec<StoredSeal> = rows.filter_map(|(_, row)| records::parse(row)).collect();
        let now: BTreeMap<u64, Checkpoint> =
            stored.iter().map(|seal| (seal.checkpoint().index, *seal.checkpoint())).collect();
        for seal in stored.iter().filter(|seal| seal.is_certified()) {
            self.certificate(time, index, host, &seal.seal);
            let view = seal.seal.certificate.view;
            self.seals.decided.entry(seal.checkpoint().id()).or_insert((view, time));
        }
        let before = self.seals.held.insert(index, now.clone()).unwrap_or_default();
        let restores = self.seals.restores.insert(index, host.disk.restores).unwrap_or_default();
        let restored = restores != host.disk.restores;
        if !restored && before.iter().any(|(number, seal)| now.get(number) != Some(seal)) {
            self.violation(time, Some(index), "has lost a seal over a restart");
        }
        let adopted = host.disk.rows(Table::States).filter_map(|(key, _)| {
            let number = u64::from_be_bytes(key.as_slice().try_into().ok()?);
            now.get(&number).copied()
        });
        match adopted.last() {
            Some(checkpoint) => self.seals.adopted.insert(index, checkpoint),
            None => self.seals.adopted.remove(&index),
        };
        if let Some((_, newest)) = now.last_key_value() {
            self.held[index].rest_on(newest, host.lists(newest.index), &self.oracle);
        }
    }
}
