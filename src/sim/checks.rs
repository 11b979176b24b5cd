//! What must hold, looked at after every event: of blocks and messages here, of chains, votes and seals in the files below.
//!
//! A check sees what a host did, its disk and the true time; it believes nothing that the node says of itself, except
//! where the question is whether it says so.

mod chain;
mod misvotes;
mod prepares;
mod seals;
mod votes;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::cast::Cast;
use super::host::Host;
use super::oracle::Oracle;
use crate::machine::event::{Answer, StopReason};
use crate::machine::limits::Limits;
use crate::machine::note::{MissReason, Note, Ruling};
use crate::machine::records::{self, Reader};
use crate::machine::status::Status;
use crate::rules::refusal::Refusal;
use crate::types::block::{Point, SignedHeader, genesis};
use crate::types::clock::{Round, Slot};
use crate::types::evidence::{Offence, OffenceKind};
use crate::types::hash::{BlockHash, TxId};
use crate::types::key::PublicKey;
use crate::types::message::{ByeReason, Message};
use crate::types::sign::{BlockRecord, Standing};
use crate::types::tx::{Tx, TxKey};
use chain::Held;
pub use misvotes::Misvotes;
use seals::SealWatch;
use votes::Votes;

/// Violations kept: the first ones tell what is wrong.
pub const VIOLATIONS_MAX: usize = 20;
/// A wall clock set by more than this must stop signatures (§3).
pub const STEP_MS: u64 = 500;

/// Ends of chains above the seal (§8), and the best one.
const TIPS_MAX: u64 = 64 + 1;
/// Connections of a node, dialled and accepted.
const CONNECTIONS_MAX: u64 = 128;

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Virtual milliseconds.
    pub time: u64,
    /// Nothing where it concerns the whole network.
    pub host: Option<usize>,
    pub what: String,
}

/// A message seen on its way, and when it first was.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub time: u64,
    pub round: Round,
    pub sender: PublicKey,
    pub key: TxKey,
}

/// The checks and what they remember.
pub struct Checks {
    cast: Rc<Cast>,
    honest: BTreeSet<PublicKey>,
    registered: BTreeSet<PublicKey>,
    pub oracle: Oracle,
    pub violations: Vec<Violation>,
    /// Signed blocks on the wire, by signer and slot.
    signed: BTreeMap<(PublicKey, Round, Slot), BlockHash>,
    /// Headers on the wire whose signatures were looked at.
    looked_at: BTreeSet<BlockHash>,
    /// Blocks that each host holds whole and may follow.
    held: Vec<Held>,
    /// Blocks of which hosts lack something below.
    waiting: Vec<BTreeSet<Point>>,
    /// The end of each host's best chain.
    pub tips: Vec<Point>,
    votes: Votes,
    pub seals: SealWatch,
    /// Hosts that a scenario expects to halt, and to doubt their sign state.
    pub may_halt: BTreeSet<usize>,
    pub may_doubt: BTreeSet<usize>,
    /// What became of each host's slots.
    pub duties: BTreeMap<(usize, Round, Slot), Option<MissReason>>,
    pub messages: BTreeMap<TxId, Seen>,
    /// Blocks that honest hosts refused, by code, and slots in which they saw two blocks.
    pub refused: BTreeMap<&'static str, u64>,
    pub two_blocks: u64,
    misvotes: Misvotes,
    /// Keys of messages that honest hosts held when the network healed, with how many did.
    pub due: BTreeMap<TxKey, u32>,
}

impl Checks {
    /// Nothing seen yet.
    pub fn new(cast: Rc<Cast>, hosts: &[Host]) -> Checks {
        let oracle = Oracle::new(cast.network.clone(), cast.verifier.clone());
        let start = genesis(&cast.network);
        Checks {
            honest: hosts.iter().filter(|host| host.honest).map(Host::public).collect(),
            registered: cast.network.founders.iter().map(|founder| founder.public_key).collect(),
            oracle,
            violations: Vec::new(),
            signed: BTreeMap::new(),
            looked_at: BTreeSet::new(),
            held: hosts.iter().map(|_| Held::new(start)).collect(),
            waiting: vec![BTreeSet::new(); hosts.len()],
            tips: vec![start; hosts.len()],
            votes: Votes::default(),
            seals: SealWatch::default(),
            may_halt: BTreeSet::new(),
            may_doubt: BTreeSet::new(),
            duties: BTreeMap::new(),
            messages: BTreeMap::new(),
            refused: BTreeMap::new(),
            two_blocks: 0,
            misvotes: Misvotes::default(),
            due: BTreeMap::new(),
            cast,
        }
    }

    /// Nothing is expected of this key any more.
    pub fn distrust(&mut self, key: &PublicKey) {
        self.honest.remove(key);
    }

    /// Whether enough is wrong to stop.
    pub fn is_full(&self) -> bool {
        self.violations.len() >= VIOLATIONS_MAX
    }

    /// Notes a violation.
    pub fn violation(&mut self, time: u64, host: Option<usize>, what: impl Into<String>) {
        if !self.is_full() {
            self.violations.push(Violation { time, host, what: what.into() });
        }
    }

    /// A host ends by itself: no key runs twice here.
    pub fn stopped(&mut self, time: u64, index: usize, host: &Host, reason: StopReason) {
        if host.honest {
            self.violation(time, Some(index), format!("stops: {reason:?}"));
        }
    }

    /// A host sends this.
    pub fn sent(&mut self, time: u64, index: usize, hosts: &[Host], message: &Message) {
        if let Message::NewBlock { header, .. } = message {
            self.block_sent(time, index, hosts, header);
        }
        if let Message::Messages(list) = message {
            list.iter().for_each(|tx| self.message_sent(time, tx));
        }
        if let Message::Vote(vote) = message {
            self.vote_passed(time, index, &hosts[index], vote);
        }
        self.votes_sent(time, index, hosts, message);
    }

    fn message_sent(&mut self, time: u64, tx: &Tx) {
        let seen = Seen { time, round: tx.round, sender: tx.sender, key: tx.key() };
        self.messages.entry(tx.id()).or_insert(seen);
    }

    fn block_sent(&mut self, time: u64, index: usize, hosts: &[Host], signed: &SignedHeader) {
        let hash = signed.hash();
        let header = &signed.header;
        if !self.looked_at.insert(hash) || !self.honest.contains(&header.forger) {
            return;
        }
        if !signed.is_signed(&self.cast.network, &self.cast.verifier) {
            return;
        }
        let place = (header.round, header.slot);
        let other = *self.signed.entry((header.forger, place.0, place.1)).or_insert(hash);
        let name = format!("block {hash} of round {} slot {}", place.0, place.1);
        if other != hash {
            self.violation(time, Some(index), format!("{name} is the second, after {other}"));
        }
        // It may be out through another host, which fetched it after its forger had crashed.
        let Some(forger) = self.cast.host_of(&header.forger).map(|host| &hosts[host]) else {
            return;
        };
        let guarded = forger
            .disk
            .signed
            .block
            .is_some_and(|record| (record.round, record.slot) > place || record.hash == hash);
        if !guarded {
            self.violation(time, Some(index), format!("{name} is sent and was not guarded"));
        }
        if records::header(&hosts[index].disk, &signed.point()).is_none() {
            self.violation(time, Some(index), format!("{name} is sent before it is on disk"));
        }
    }

    /// A host signs a block: only with a clock that it may trust, and for the slot that it shows.
    pub fn guarded(&mut self, time: u64, index: usize, host: &Host, record: &BlockRecord) {
        if !host.honest {
            return;
        }
        let clock = self.cast.network.clock;
        let name = format!("a block of round {} slot {}", record.round, record.slot);
        // A process that starts after the step cannot know of it.
        let recent = host.stepped_at.is_some_and(|at| time < at + clock.slot_ms * 9 / 10);
        if recent {
            let what = format!("signs {name} less than a slot after its clock was set");
            self.violation(time, Some(index), what);
        }
        if clock.at(host.clock.now(time).wall) != Some((record.round, record.slot)) {
            let what = format!("signs {name}, which its clock does not show");
            self.violation(time, Some(index), what);
        }
    }

    /// A host states a fact. The facts about its chain are looked at when the event is over.
    pub fn note(&mut self, time: u64, index: usize, hosts: &[Host], note: &Note) {
        match note {
            Note::BlockRefused { point, why } => {
                *self.refused.entry(why.code()).or_default() += 1;
                let forger = self.signed.iter().find(|(_, hash)| **hash == point.hash);
                // Where agreement is broken, each side refuses what the other builds.
                let whole = self.seals.conflicts().next().is_none();
                let beside = matches!(why, Refusal::BesideSeal | Refusal::Seal);
                let parted = beside && self.oracle.is_parted();
                // Who had not heard of the seal yet made it beside the sealed block, or in the round that the seal closed.
                let closed = matches!(why, Refusal::BesideSeal | Refusal::RoundSealed);
                let closed = closed && self.held[index].is_beside(point, false, &self.oracle);
                if forger.is_some() && hosts[index].honest && whole && !parted && !closed {
                    let what = format!("refuses block {} of an honest HN: {why}", point.hash);
                    self.violation(time, Some(index), what);
                }
            }
            Note::Forged { round, slot, .. } => {
                self.duties.insert((index, *round, *slot), None);
            }
            Note::SlotMissed { round, slot, why } => {
                self.duties.insert((index, *round, *slot), Some(*why));
            }
            Note::PeerClosed { key, reason, .. } => self.blamed(time, index, hosts, *key, *reason),
            Note::PeerSetAside { key, endpoint, reason, .. } => {
                let at = hosts.iter().find(|host| host.endpoint == *endpoint).map(Host::public);
                self.blamed(time, index, hosts, key.or(at), *reason);
            }
            Note::MessageAccepted { id } => self.accepted(time, index, &hosts[index], id),
            Note::Equivocation(Offence { kind, .. }) => match kind {
                OffenceKind::Blocks { .. } => self.two_blocks += 1,
                OffenceKind::Votes { .. } => self.misvotes.doubles += 1,
            },
            Note::SignState { standing: Standing::Unproven(_), .. } => {
                if hosts[index].honest && !self.may_doubt.contains(&index) {
                    self.violation(time, Some(index), format!("{note:?}"));
                }
            }
            Note::SealConflict { ruling: Ruling::Halts, .. } => {
                self.seals.noticed.insert(index);
            }
            Note::BlockStored { .. }
            | Note::TipChanged { .. }
            | Note::SignatureRefused { .. }
            | Note::ViewEntered { .. }
            | Note::Sealed { .. }
            | Note::SealConflict { .. }
            | Note::SealDenied { .. }
            | Note::Halted { .. }
            | Note::SignState { .. }
            | Note::KeyElsewhere { .. }
            | Note::PeerReady { .. }
            | Note::ClockStepped { .. }
            | Note::ClockTrust { .. }
            | Note::SyncStarted { .. }
            | Note::LedgerState { .. }
            | Note::LedgerRolledBack { .. }
            | Note::SyncFinished => {}
        }
    }

    /// What a mempool takes is from an HN, and not for a round that is over or far ahead.
    fn accepted(&mut self, time: u64, index: usize, host: &Host, id: &TxId) {
        // What no peer has sent is the host's own, or a client's.
        let Some(seen) = self.messages.get(id).copied().filter(|_| host.honest) else { return };
        let Seen { round, sender, key, .. } = seen;
        let clock = self.cast.network.clock;
        let now = clock.at(host.clock.now(time).wall).map_or(Round(0), |(round, _)| round);
        if !self.registered.contains(&sender) {
            self.violation(time, Some(index), format!("takes a message of a stranger: {key:?}"));
        }
        if round.next() < now || round > now.next() {
            let what = format!("takes a message out of its time: {key:?} in round {now}");
            self.violation(time, Some(index), what);
        }
    }

    /// Honest hosts do not blame each other.
    fn blamed(
        &mut self,
        time: u64,
        index: usize,
        hosts: &[Host],
        key: Option<PublicKey>,
        reason: ByeReason,
    ) {
        let other = key.and_then(|key| hosts.iter().position(|host| host.public() == key));
        let Some(other) = other.filter(|other| hosts[*other].honest && hosts[index].honest) else {
            return;
        };
        // Who does not answer because of a fault cannot be told from who does not want to.
        let disturbed = [index, other].iter().any(|host| time < hosts[*host].disturbed_until);
        let wrong = match reason {
            ByeReason::Invalid | ByeReason::Protocol | ByeReason::Identity | ByeReason::Budget => {
                true
            }
            ByeReason::Promise => !disturbed,
            ByeReason::Stopping
            | ByeReason::Duplicate
            | ByeReason::Own
            | ByeReason::Full
            | ByeReason::Rotation
            | ByeReason::Timeout
            | ByeReason::SetAside => false,
        };
        if wrong {
            let what = format!("blames honest host {other}: {reason}");
            self.violation(time, Some(index), what);
        }
    }

    /// An answered request must be on disk: in the pool, or in a block.
    pub fn replied(&mut self, time: u64, index: usize, host: &Host, answer: &Answer, round: Round) {
        let Answer::Submitted(Ok(id)) = answer else { return };
        let key = records::pool_key(round, id);
        if host.disk.get(records::Table::Pool, &key).is_none() {
            let in_chain = self.chain_holds(host, id);
            if !in_chain {
                self.violation(
                    time,
                    Some(index),
                    format!("answers for {id}, which is not on disk"),
                );
            }
        }
    }

    fn chain_holds(&self, host: &Host, id: &TxId) -> bool {
        let mut bodies = host.disk.rows(records::Table::Bodies);
        bodies.any(|(_, body)| {
            let messages: Vec<Tx> = records::parse(body).unwrap_or_default();
            messages.iter().any(|message| message.id() == *id)
        })
    }

    /// The network heals: what honest hosts hold of honest senders, in their chains and beside them, is to be in the
    /// final chain, unless its round is over.
    pub fn expect_messages(&mut self, hosts: &[Host], round: Round) {
        // With a clock that is off a host holds what no other may take yet.
        let sound = |host: &Host| host.honest && !host.clock.is_off();
        for (index, host) in hosts.iter().enumerate().filter(|(_, host)| sound(host)) {
            let Some(node) = &host.node else { continue };
            let chain = self.oracle.chain(&self.tips[index].hash);
            let chained = chain.iter().rev().take_while(|block| block.round.next() >= round);
            let pooled = node.mempool(usize::MAX).into_iter();
            let pooled = pooled.filter_map(|entry| self.messages.get(&entry.id));
            let keys: BTreeSet<TxKey> = chained
                .flat_map(|block| block.keys.iter().copied())
                .chain(pooled.map(|seen| seen.key))
                .filter(|key| said_by(key, round, &self.honest))
                .collect();
            for key in keys {
                *self.due.entry(key).or_default() += 1;
            }
        }
    }

    /// What a node holds is bounded.
    pub fn bounds(&mut self, time: u64, index: usize, status: &Status) {
        let limits = Limits::default();
        let bounds: [(&str, u64, u64); 4] = [
            ("messages", u64::from(status.mempool.messages), limits.messages as u64),
            ("bytes of messages", status.mempool.bytes, limits.message_bytes as u64),
            ("ends of chains", u64::from(status.chain_tips), TIPS_MAX),
            (
                "connections",
                u64::from(status.peers.dialled) + u64::from(status.peers.accepted),
                CONNECTIONS_MAX,
            ),
        ];
        for (what, found, most) in bounds {
            if found > most {
                self.violation(time, Some(index), format!("{found} {what}, at most {most} may be"));
            }
        }
    }
}

/// Whether this is what one of these has said of a round from `from` − 1 on.
pub fn said_by(key: &TxKey, from: Round, by: &BTreeSet<PublicKey>) -> bool {
    match key {
        TxKey::Statement(said) => said.round.next() >= from && by.contains(&said.sender),
        TxKey::Offence(_) => false,
    }
}
