//! Facts that the core states: logged and counted by the shell, checked by the simulator. Nobody parses log text.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::custody::Trace;
use super::event::PeerId;
use crate::rules::refusal::Refusal;
use crate::types::block::{Point, SealRef, SignedHeader};
use crate::types::clock::{Round, Slot};
use crate::types::evidence::Offence;
use crate::types::hash::TxId;
use crate::types::key::PublicKey;
use crate::types::message::ByeReason;
use crate::types::network::Endpoint;
use crate::types::sign::{SignRecord, Standing};
use crate::types::tx::Tx;

/// A fact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A valid block, on whatever fork, is now held whole.
    BlockStored { point: Point, round: Round, slot: Slot, forger: PublicKey, messages: u32 },
    /// The best chain ends here now; `undone` blocks of the chain before were taken back.
    TipChanged { tip: Point, round: Round, slot: Slot, undone: u32 },
    /// We forged.
    Forged { point: Point, round: Round, slot: Slot, messages: u32 },
    /// Our slot passed without a block of ours.
    SlotMissed { round: Round, slot: Slot, why: MissReason },
    /// A second, different signature for a slot or step was asked for and not made.
    SignatureRefused { asked: SignRecord },
    /// Views of an instance after the first: the view before came to nothing.
    ViewEntered { index: u64, view: u32 },
    /// Voters have certified another checkpoint than the one that counts for this index. Said once of an index.
    SealConflict { index: u64, ruling: Ruling },
    /// This seal and those after it were certified, and are not of the chain of the checkpoint that the network file lists.
    SealDenied { seal: SealRef },
    /// A seal is certified. The delay is from the end of its last forging slot, for one decided while we looked on.
    Sealed { seal: SealRef, point: Point, round: Round, delay_ms: Option<u64> },
    /// Whether all our signatures are known, at the start when they may not be, and when it changes; with the signature
    /// that made the difference.
    SignState { standing: Standing, record: Option<SignRecord> },
    /// Somebody else signs with our key: the process ends.
    KeyElsewhere { trace: Trace },
    /// What cannot be has come to be: nothing is forged and voted any more.
    Halted { code: &'static str, index: u64 },
    /// A block is not valid on its chain.
    BlockRefused { point: Point, why: Refusal },
    /// Somebody signed twice, and nothing was known of it.
    Equivocation(Offence),
    /// A message is in the mempool now.
    MessageAccepted { id: TxId },
    /// A peer has proven who it is.
    PeerReady { peer: PeerId, key: PublicKey, endpoint: Endpoint },
    /// We closed a connection.
    PeerClosed { peer: PeerId, key: Option<PublicKey>, reason: ByeReason },
    /// A peer is not talked to for a while, because of what it did.
    PeerSetAside { key: Option<PublicKey>, endpoint: Endpoint, reason: ByeReason, for_ms: u64 },
    /// The wall clock moved against the monotonic one.
    ClockStepped { ms: i64 },
    /// Whether we may sign, as far as the clock goes, has changed.
    ClockTrust { distrust: Option<ClockDistrust> },
    /// Blocks are being fetched from peers.
    SyncStarted { target: u64 },
    /// We hold the best chain that is known.
    SyncFinished,
    /// Whether the PoW ledger can be read up to its end has changed; its last good block.
    LedgerState { height: u64, readable: bool },
    /// The PoW ledger took blocks back and goes on otherwise; where it stands now.
    LedgerRolledBack { height: u64, blocks: u32 },
}

/// What becomes of a second checkpoint that is certified for an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling {
    /// It is about our last seal: this node halts.
    Halts,
    /// It is about an older one: old keys must not stop a network.
    Older,
    /// The network file has decided against it.
    Listed,
}

impl Note {
    /// A block is held whole now, wherever its messages came from.
    pub fn stored(header: &SignedHeader, messages: &[Tx]) -> Note {
        Note::BlockStored {
            point: header.point(),
            round: header.header.round,
            slot: header.header.slot,
            forger: header.header.forger,
            messages: u32::try_from(messages.len()).unwrap_or(u32::MAX),
        }
    }
}

/// Why the clock is not good enough to sign (§3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockDistrust {
    /// Not synchronised since boot, on a network that asks for it.
    Unsynchronised,
    /// Before the date this software was built.
    BeforeBuild,
    /// Before the last slot signed.
    BeforeLastSignature,
    /// It moved by more than 500 ms less than a slot ago.
    Stepped,
    /// Before the network's origin.
    BeforeOrigin,
}

/// Why a slot of ours has no block of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissReason {
    /// The clock was not trusted.
    Clock(ClockDistrust),
    /// Blocks that others have were still missing here.
    Behind,
    /// Too few HNs connected.
    Peers,
    /// Half of the HNs connected or more were on another tip.
    TipsDiffer,
    /// Too few messages, or from too few senders.
    Messages,
    /// A block for this slot was signed before a restart.
    AlreadySigned,
    /// The best chain has a block of this slot or a later one.
    SlotTaken,
    /// Our own rules refused our block.
    Refused,
    /// The node did not run, or came up too late in the slot.
    NotRunning,
    /// The sign state may lack a signature of ours.
    SignState,
    /// The node has halted.
    Halted,
}

impl MissReason {
    /// Each of them.
    pub const ALL: [MissReason; 15] = [
        MissReason::Clock(ClockDistrust::Unsynchronised),
        MissReason::Clock(ClockDistrust::BeforeBuild),
        MissReason::Clock(ClockDistrust::BeforeLastSignature),
        MissReason::Clock(ClockDistrust::Stepped),
        MissReason::Clock(ClockDistrust::BeforeOrigin),
        MissReason::Behind,
        MissReason::Peers,
        MissReason::TipsDiffer,
        MissReason::Messages,
        MissReason::AlreadySigned,
        MissReason::SlotTaken,
        MissReason::Refused,
        MissReason::NotRunning,
        MissReason::SignState,
        MissReason::Halted,
    ];

    /// Its name in JSON and counters.
    pub fn name(self) -> &'static str {
        match self {
            MissReason::Clock(distrust) => distrust.name(),
            MissReason::Behind => "behind",
            MissReason::Peers => "peers",
            MissReason::TipsDiffer => "tips_differ",
            MissReason::Messages => "messages",
            MissReason::AlreadySigned => "already_signed",
            MissReason::SlotTaken => "slot_taken",
            MissReason::Refused => "refused",
            MissReason::NotRunning => "not_running",
            MissReason::SignState => "sign_state",
            MissReason::Halted => "halted",
        }
    }
}

/// For `#[serde(with)]`: documents name the reason, all in one word; records have numbers.
pub mod miss_name {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::MissReason;

    /// Its name, or null.
    pub fn serialize<S: Serializer>(
        why: &Option<MissReason>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        why.map(MissReason::name).serialize(serializer)
    }

    /// The reason of that name. A name that is none is an error.
    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<MissReason>, D::Error> {
        let Some(name) = Option::<String>::deserialize(deserializer)? else { return Ok(None) };
        let why = MissReason::ALL.into_iter().find(|why| why.name() == name);
        why.map(Some).ok_or_else(|| Error::custom("not a reason for which a slot is missed"))
    }
}

impl ClockDistrust {
    /// The name of a slot's miss for it, in JSON and counters.
    pub fn name(self) -> &'static str {
        match self {
            ClockDistrust::Unsynchronised => "clock_unsynchronised",
            ClockDistrust::BeforeBuild => "clock_before_build",
            ClockDistrust::BeforeLastSignature => "clock_before_last_signature",
            ClockDistrust::Stepped => "clock_stepped",
            ClockDistrust::BeforeOrigin => "clock_before_origin",
        }
    }
}

impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MissReason::Clock(distrust) => distrust.fmt(f),
            MissReason::Behind => f.write_str("blocks that others have were missing"),
            MissReason::Peers => f.write_str("too few masternodes were connected"),
            MissReason::TipsDiffer => f.write_str("half of the masternodes were on another tip"),
            MissReason::Messages => f.write_str("there were too few messages for a block"),
            MissReason::AlreadySigned => f.write_str("the slot was signed before a restart"),
            MissReason::SlotTaken => f.write_str("the chain was past this slot already"),
            MissReason::Refused => f.write_str("our own rules refused our block"),
            MissReason::NotRunning => f.write_str("the node came up too late"),
            MissReason::SignState => f.write_str("the sign state was not proven"),
            MissReason::Halted => f.write_str("the node has halted"),
        }
    }
}

impl fmt::Display for ClockDistrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ClockDistrust::Unsynchronised => "the clock is not synchronised",
            ClockDistrust::BeforeBuild => "the clock is before the date of this software",
            ClockDistrust::BeforeLastSignature => "the clock is before our last signature",
            ClockDistrust::Stepped => "the clock has just been set",
            ClockDistrust::BeforeOrigin => "the network has not started",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::status::Duty;
    use crate::types::clock::{Round, Slot};
    use crate::types::codec;

    #[test]
    fn documents_name_each_reason_in_one_word() {
        for why in MissReason::ALL {
            let duty = Duty { round: Round(1), slot: Slot(2), forged: None, missed: Some(why) };
            let json = serde_json::to_value(duty).unwrap();
            assert_eq!(json["missed"], why.name());
            assert_eq!(serde_json::from_value::<Duty>(json).unwrap(), duty);
        }
        let json = r#"{"round":1,"slot":2,"forged":null,"missed":"bored"}"#;
        assert!(serde_json::from_str::<Duty>(json).is_err());
    }

    #[test]
    fn no_reason_is_left_out_of_the_list() {
        // What records can hold: a number, or two.
        let numbers = (0..=u8::MAX).flat_map(|one| (0..=u8::MAX).map(move |two| vec![one, two]));
        let all = numbers.chain((0..=u8::MAX).map(|one| vec![one]));
        let reasons = all.filter_map(|bytes| codec::decode::<MissReason>(&bytes, 2).ok());
        let mut reasons: Vec<MissReason> = reasons.collect();
        reasons.sort();
        assert_eq!(reasons, MissReason::ALL);
    }
}
