//! Why a block or a message is refused, each with a stable code, and what that says about who sent it.
//!
//! Accept, Ignore, Reject (`docs/protocol.md` §8): only what is provably wrong by itself costs the peer. What depends on
//! the chain one stands on is ignored, or honest nodes on two forks would ban each other.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Header: not the number of the parameters in force.
    Version,
    /// Header: height or previous hash do not follow the parent.
    Parent,
    /// Header: not later than its parent, or no forging slot.
    Slot,
    /// Header: the timestamp lies outside its slot.
    Timestamp,
    /// Header: names a seal that its chain does not have, or an older one than its parent.
    Seal,
    /// Header or message: rests on a seal that is not known here yet.
    UnknownSeal,
    /// Header: its parent is the sealed block of its round, which closed the round.
    RoundSealed,
    /// Header: its chain leaves out a block that is sealed.
    BesideSeal,
    /// Header: the forger is not the juror of the slot.
    WrongJuror,
    /// Block: a reveal where none is due, none where one is, or not the secret committed to.
    Reveal,
    /// Header or message: not signed by who it says.
    Signature,
    /// Body: the messages are not those of the header.
    MessagesRoot,
    /// Body: ids are not in ascending order.
    Order,
    /// Body: two messages have one key, or one of the last two rounds of the chain has it.
    DuplicateKey,
    /// Body: too few messages, or from too few senders.
    TooFew,
    /// Body: too many messages, or bytes.
    TooMany,
    /// Message: for a round that is over.
    Expired,
    /// Message: for a round to come.
    TooEarly,
    /// Message: the sender, or whom it proves something of, is not registered.
    Unregistered,
    /// Message: a report of a test that is not in the plan, or not the sender's.
    NotInPlan,
    /// Message: it proves nothing: the two do not exclude each other, stand in the wrong order, or are not signed.
    Evidence,
    /// Message: the mempool holds another with the same key, and the first one stays.
    KeyHeld,
    /// Message: the mempool is full.
    PoolFull,
    /// Message: the chain has it already.
    InChain,
}

impl Refusal {
    /// Its name in output and counters.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Version => "version",
            Refusal::Parent => "parent",
            Refusal::Slot => "slot",
            Refusal::Timestamp => "timestamp",
            Refusal::Seal => "seal",
            Refusal::UnknownSeal => "unknown_seal",
            Refusal::RoundSealed => "round_sealed",
            Refusal::BesideSeal => "beside_seal",
            Refusal::WrongJuror => "wrong_juror",
            Refusal::Reveal => "reveal",
            Refusal::Signature => "signature",
            Refusal::MessagesRoot => "messages_root",
            Refusal::Order => "order",
            Refusal::DuplicateKey => "duplicate_key",
            Refusal::TooFew => "too_few",
            Refusal::TooMany => "too_many",
            Refusal::Expired => "expired",
            Refusal::TooEarly => "too_early",
            Refusal::Unregistered => "unregistered",
            Refusal::NotInPlan => "not_in_plan",
            Refusal::Evidence => "evidence",
            Refusal::KeyHeld => "key_held",
            Refusal::PoolFull => "pool_full",
            Refusal::InChain => "in_chain",
        }
    }

    /// Whether it is wrong on every chain and at every time, so that who sent it is to blame.
    pub fn is_provable(self) -> bool {
        match self {
            Refusal::Signature | Refusal::MessagesRoot | Refusal::Order | Refusal::Evidence => true,
            Refusal::Version
            | Refusal::Parent
            | Refusal::Slot
            | Refusal::Timestamp
            | Refusal::Seal
            | Refusal::UnknownSeal
            | Refusal::RoundSealed
            | Refusal::BesideSeal
            | Refusal::WrongJuror
            | Refusal::Reveal
            | Refusal::DuplicateKey
            | Refusal::TooFew
            | Refusal::TooMany
            | Refusal::Expired
            | Refusal::TooEarly
            | Refusal::Unregistered
            | Refusal::NotInPlan
            | Refusal::KeyHeld
            | Refusal::PoolFull
            | Refusal::InChain => false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Version => "the version is not the one in force in this round",
            Refusal::Parent => "height and previous hash do not follow the parent",
            Refusal::Slot => "not a later forging slot than the parent's",
            Refusal::Timestamp => "the timestamp is outside the slot",
            Refusal::Seal => "the seal named is not on this chain, or older than the parent's",
            Refusal::UnknownSeal => "the seal that it rests on is not known here yet",
            Refusal::RoundSealed => "the round ended with the sealed block below it",
            Refusal::BesideSeal => "its chain is not the one that is sealed",
            Refusal::WrongJuror => "the forger is not the juror of this slot",
            Refusal::Reveal => "the reveal is not the one due",
            Refusal::Signature => "the signature does not hold",
            Refusal::MessagesRoot => "the messages are not those of the header",
            Refusal::Order => "the messages are not in the order of their ids",
            Refusal::DuplicateKey => "a message of this kind, sender and round is there already",
            Refusal::TooFew => "too few messages, or from too few senders",
            Refusal::TooMany => "too many messages, or bytes",
            Refusal::Expired => "the message's round is over",
            Refusal::TooEarly => "the message's round has not come",
            Refusal::Unregistered => "the sender, or the accused, is not registered",
            Refusal::NotInPlan => "the plan has no such test for this sender",
            Refusal::Evidence => "it proves nothing",
            Refusal::KeyHeld => "another message of this kind, sender and round came first",
            Refusal::PoolFull => "the mempool is full, try again in a few slots",
            Refusal::InChain => "a block of the chain holds it already",
        })
    }
}
