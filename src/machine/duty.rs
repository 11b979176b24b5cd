//! Our own duties: a heartbeat each round, a block in each of our slots, and why a slot was missed
//! (`docs/protocol.md` §6, §8).

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::chain::Chain;
use super::evidence::EvidenceKeeper;
use super::mempool::Mempool;
use super::note::{ClockDistrust, MissReason, Note};
use super::peers::Peers;
use super::records::{self, DutyRecord, Reader, Table};
use super::status::{Duties, Duty, NextDuty};
use super::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::rules::validity::IdentifiedTx;
use crate::types::address::Address;
use crate::types::block::Block;
use crate::types::clock::{Now, Round, Slot, Timestamp};
use crate::types::hash::{TxId, hash};
use crate::types::key::{SecretKey, Verifier};
use crate::types::network::Network;
use crate::types::sign::{BlockRecord, SignRecord, SignState};
use crate::types::tx::{Body, Tx};

/// Forging is tried between these parts of a slot, in percent (§8).
const FROM_PERCENT: u64 = 10;
const UNTIL_PERCENT: u64 = 80;
/// Up to this part of our slot we wait for bodies of a better chain. Jurors could show a new header, and another one for
/// the same slot, whenever the last one counts no more: a third of them, at every slot of a round.
const PATIENCE_PERCENT: u64 = 50;
/// And again after this part of the slot.
const RETRY_PERCENT: u64 = 5;
/// The heartbeat goes out within this part of the first slot, in percent: in time for its block, not all at once.
const HEARTBEAT_PERCENT: u64 = 8;
/// Duties shown.
const RECENT_MAX: usize = 64;
/// Rounds whose duties are read back at start.
const ROUNDS_READ: u64 = 48;

/// What forging looks at.
pub struct View<'a> {
    pub network: &'a Network,
    pub chain: &'a Chain,
    pub peers: &'a Peers,
    pub mempool: &'a Mempool,
    pub evidence: &'a EvidenceKeeper,
    pub verifier: &'a Verifier,
    pub key: &'a SecretKey,
    pub distrust: Option<ClockDistrust>,
    /// Why nothing of ours may be signed, whatever the slot.
    pub barred: Option<MissReason>,
    /// Whether we have run long enough for the first dials to have ended.
    pub settled: bool,
}

/// A block of ours, and messages that it could not hold.
pub struct Forged {
    pub block: Block,
    pub left_out: Vec<(TxId, Refusal)>,
}

/// What is due, done and missed.
pub struct DutyKeeper {
    own: Address,
    /// The slot of ours that runs, until it is done.
    open: Option<(Round, Slot)>,
    why: Option<MissReason>,
    /// The newest slot that is done with.
    done: Option<(Round, Slot)>,
    heartbeat_sent: Option<Round>,
    recent: VecDeque<Duty>,
    forged: u64,
    missed: u64,
    refused_signature: u64,
    due: Timestamp,
}

impl DutyKeeper {
    /// Duties as the database knows them.
    pub fn open(own: Address, network: &Network, now: Now, db: &dyn Reader) -> DutyKeeper {
        let mut keeper = DutyKeeper {
            own,
            open: None,
            why: None,
            done: None,
            heartbeat_sent: None,
            recent: VecDeque::new(),
            forged: 0,
            missed: 0,
            refused_signature: 0,
            due: Timestamp(0),
        };
        let round = network.clock.at(now.wall).map_or(0, |(round, _)| round.0);
        let mut key = records::duty_key(Round(round.saturating_sub(ROUNDS_READ)), Slot(0));
        while let Some((found, value)) = db.next(Table::Duties, &key) {
            if let (Some((round, slot)), Some(record)) =
                (records::parse_duty_key(&found), records::parse(&value))
            {
                keeper.remember(round, slot, &record);
            }
            key = found;
            key.push(0);
        }
        keeper
    }

    /// Signatures refused because they conflict with one made.
    pub fn refused_signature(&self) -> u64 {
        self.refused_signature
    }

    /// Milliseconds of wall time from `now` to the next thing to do.
    pub fn due_in_ms(&self, wall: Timestamp) -> u64 {
        self.due.since(wall)
    }

    /// The last round of which a heartbeat is sent.
    pub fn heartbeat_sent(&self) -> Option<Round> {
        self.heartbeat_sent
    }

    /// Whether the heartbeat of this round is sent.
    pub fn has_sent(&self, round: Round) -> bool {
        self.heartbeat_sent == Some(round)
    }

    /// Whether the heartbeat of this round is due: when it is, it counts as sent.
    pub fn heartbeat(&mut self, now: Now, round: Round, network: &Network) -> bool {
        // Each HN at its own moment.
        let draw = hash("heartbeat", &[&self.own.0, &round.0.to_be_bytes()]).leading_u64();
        let within = (network.clock.slot_ms * HEARTBEAT_PERCENT / 100).max(1);
        let at = network.clock.start_of(round, Slot(0)).plus(draw % within);
        if now.wall < at {
            self.due = self.due.min(at);
            return false;
        }
        self.heartbeat_sent = Some(round);
        true
    }

    /// Looks at the present slot; a block comes back when it is ours, its time has come and nothing stands against it.
    pub fn tick(&mut self, turn: &mut Turn, view: &View, signed: &SignState) -> Option<Forged> {
        let clock = &view.network.clock;
        let at = clock.at(turn.now.wall);
        if self.open.is_some() && self.open != at {
            let (round, slot) = self.open.expect("just looked");
            self.finish(turn, round, slot, DutyRecord::Missed(self.reason()));
        }
        self.due = at.map_or(clock.origin, |(round, slot)| clock.end_of(round, slot));
        let (round, slot) = at?;
        let plan = view.chain.plan(round);
        if plan.juror(slot) != Some(&self.own) || round < view.network.first_round {
            // Nor was it ours to miss, if a late block of the round before has named another seal.
            (self.open, self.why) = (None, None);
            return None;
        }
        // Only of this slot: one that is done further on was the mistake of a clock that was ahead.
        let is_new = self.open != Some((round, slot)) && self.done != Some((round, slot));
        if is_new && turn.db.get(Table::Duties, &records::duty_key(round, slot)).is_some() {
            self.done = Some((round, slot));
        }
        if self.done == Some((round, slot)) {
            return None;
        }
        self.open = Some((round, slot));
        let start = clock.start_of(round, slot);
        let from = start.plus(clock.slot_ms * FROM_PERCENT / 100);
        if turn.now.wall < from {
            self.due = from;
            return None;
        }
        let until = start.plus(clock.slot_ms * UNTIL_PERCENT / 100);
        if turn.now.wall >= until {
            self.finish(turn, round, slot, DutyRecord::Missed(self.reason()));
            return None;
        }
        match self.forge(turn, view, signed, (round, slot)) {
            Ok(forged) => Some(forged),
            Err(why) => {
                self.why = Some(why);
                // What stands against it may pass with time alone: a header whose body never comes, for one.
                let again = (clock.slot_ms * RETRY_PERCENT / 100).max(1);
                self.due = turn.now.wall.plus(again).min(until);
                if why == MissReason::AlreadySigned {
                    self.finish(turn, round, slot, DutyRecord::Missed(why));
                }
                None
            }
        }
    }

    /// The block that `tick` returned is ours, or was refused by our own rules.
    pub fn settled(&mut self, turn: &mut Turn, block: &Block, accepted: bool) {
        let header = &block.header.header;
        let (round, slot) = (header.round, header.slot);
        if accepted {
            let point = block.header.point();
            let messages = u32::try_from(block.messages.len()).expect("bounded");
            turn.out.note(Note::Forged { point, round, slot, messages });
            self.finish(turn, round, slot, DutyRecord::Forged(point.hash));
        } else {
            self.finish(turn, round, slot, DutyRecord::Missed(MissReason::Refused));
        }
    }

    /// For people: done, missed and to come, as far as the plan of the next round shows.
    pub fn status(&self, wall: Timestamp, network: &Network, chain: &Chain) -> Duties {
        let clock = &network.clock;
        let at = clock.at(wall);
        let (round, slot) = at.unwrap_or((network.first_round, Slot(0)));
        let next = [round, round.next()].into_iter().find_map(|candidate| {
            let plan = chain.plan(candidate);
            let first = if candidate == round && at.is_some() { slot.0 + 1 } else { 0 };
            let slot =
                (first..clock.slots).map(Slot).find(|slot| plan.juror(*slot) == Some(&self.own))?;
            let starts_at = clock.start_of(candidate, slot);
            Some(NextDuty { round: candidate, slot, starts_at })
        });
        let recent = self.recent.iter().copied().collect();
        Duties { next, forged: self.forged, missed: self.missed, recent }
    }

    fn reason(&self) -> MissReason {
        self.why.unwrap_or(MissReason::NotRunning)
    }

    fn forge(
        &mut self,
        turn: &mut Turn,
        view: &View,
        signed: &SignState,
        (round, slot): (Round, Slot),
    ) -> Result<Forged, MissReason> {
        may_forge(turn.now, view, (round, slot))?;
        let state = view.chain.state();
        // What somebody did comes before what all say.
        let ours = view.evidence.due(state, round, view.chain.sealed().seal);
        let ours = ours.map(|evidence| {
            let body = Body::Equivocation(Box::new(evidence.clone()));
            let tx = Tx::sign(round, body, view.key, view.network, view.verifier);
            IdentifiedTx { id: tx.id(), tx }
        });
        let built = view.chain.rules().build_block(
            &view.chain.best().as_parent(),
            state,
            ours.chain(view.mempool.candidates()),
            turn.now.wall,
            view.key,
        );
        let (block, left_out) = built.map_err(|why| match why {
            Refusal::TooFew => MissReason::Messages,
            _ => MissReason::Refused,
        })?;
        let record = SignRecord::Block(BlockRecord { round, slot, hash: block.header.hash() });
        if signed.admit(record).is_err() {
            self.refused_signature += 1;
            turn.out.note(Note::SignatureRefused { asked: record });
            return Err(MissReason::AlreadySigned);
        }
        turn.out.guard(record);
        Ok(Forged { block, left_out })
    }

    fn finish(&mut self, turn: &mut Turn, round: Round, slot: Slot, record: DutyRecord) {
        self.open = None;
        self.why = None;
        self.done = Some((round, slot));
        if let DutyRecord::Missed(why) = record {
            turn.out.note(Note::SlotMissed { round, slot, why });
        }
        turn.db.put(Table::Duties, records::duty_key(round, slot), &record);
        self.remember(round, slot, &record);
        match record {
            DutyRecord::Forged(_) => self.forged += 1,
            DutyRecord::Missed(_) => self.missed += 1,
        }
    }

    fn remember(&mut self, round: Round, slot: Slot, record: &DutyRecord) {
        let (forged, missed) = match record {
            DutyRecord::Forged(hash) => (Some(*hash), None),
            DutyRecord::Missed(why) => (None, Some(*why)),
        };
        self.recent.push_back(Duty { round, slot, forged, missed });
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }
}

/// Whether we may forge now; why not, otherwise.
fn may_forge(now: Now, view: &View, at: (Round, Slot)) -> Result<(), MissReason> {
    if let Some(why) = view.barred {
        return Err(why);
    }
    if let Some(distrust) = view.distrust {
        return Err(MissReason::Clock(distrust));
    }
    let best = view.chain.best();
    if best.at.is_some_and(|last| last >= at) {
        return Err(MissReason::SlotTaken);
    }
    let clock = &view.network.clock;
    let patient =
        now.wall < clock.start_of(at.0, at.1).plus(clock.slot_ms * PATIENCE_PERCENT / 100);
    let within_ms = if patient { clock.slot_ms } else { 0 };
    if view.chain.is_behind(now.mono, within_ms) {
        return Err(MissReason::Behind);
    }
    let (connected, sharing) = view.peers.dial_list_sharing(&best.point);
    let least = view.network.values_at(at.0).forge_peers_min;
    // A node that has just started knows only the chain it went down with: what it forged on that would be a fork.
    let alone = connected == 0 && !view.settled && view.peers.has_targets();
    if connected < least || alone {
        return Err(MissReason::Peers);
    }
    if sharing < least || (connected > 0 && sharing * 2 <= connected) {
        return Err(MissReason::TipsDiffer);
    }
    Ok(())
}
