//! Messages that blocks carry, called transactions where the word message could mean a frame between peers
//! (`docs/protocol.md` §7).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::clock::{Round, Slot};
use super::codec::{self, CodecError};
use super::evidence::{Evidence, Offence};
use super::hash::{Hash, TxId, hash};
use super::key::{PublicKey, Purpose, SecretKey, Signature, Verifier};
use super::network::Network;

/// Bytes of an encoded message: two headers take 560, the rest is room for what comes.
pub const TX_BYTES_MAX: usize = 4096;

/// A signed message of an HN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tx {
    /// Valid in blocks of this round and the next.
    pub round: Round,
    pub sender: PublicKey,
    pub body: Body,
    pub signature: Signature,
}

/// What a message says. Later kinds are added at the end: the position is the number on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// The sender runs: its software version (major, minor, patch as 8 + 8 + 16 bits), its commitment to the secret of
    /// round + 2 (zero: none), and the HNs it can serve at once.
    Heartbeat { version: u32, commitment: Hash, capacity: u16 },
    /// What the sender saw of a test in the plan of the message's round.
    TestReport { slot: Slot, index: u32, role: TestRole, outcome: Outcome, measured: u64 },
    /// Somebody signed twice.
    Equivocation(Box<Evidence>),
}

/// Which side of a test reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TestRole {
    Tester,
    Tested,
}

/// How a test went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Passed,
    Failed,
    Absent,
}

/// What a message is about. In a chain, and in a mempool, there is at most one message for each key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TxKey {
    /// What a sender says of itself or of what it saw: once.
    Statement(Statement),
    /// What is proven of somebody: once, whoever says it.
    Offence(Offence),
}

/// The key of what a sender says in a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Statement {
    pub round: Round,
    pub sender: PublicKey,
    pub subject: Subject,
}

/// The part of a key that depends on the kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    Heartbeat,
    TestReport { slot: Slot, index: u32, role: TestRole },
}

impl TxKey {
    /// The key of what a sender says, if it is one.
    pub fn statement(&self) -> Option<Statement> {
        match self {
            TxKey::Statement(statement) => Some(*statement),
            TxKey::Offence(_) => None,
        }
    }
}

impl Tx {
    /// Signs a message.
    pub fn sign(
        round: Round,
        body: Body,
        key: &SecretKey,
        network: &Network,
        verifier: &Verifier,
    ) -> Tx {
        let sender = key.public();
        let bytes = codec::encode(&(round, sender, &body));
        let signature = verifier.sign(key, Purpose::Message, &network.id(), &[&bytes]);
        Tx { round, sender, body, signature }
    }

    /// Whether the sender signed it, for this network.
    pub fn is_signed(&self, network: &Network, verifier: &Verifier) -> bool {
        let bytes = self.signed_bytes();
        verifier.verify(&self.sender, Purpose::Message, &network.id(), &[&bytes], &self.signature)
    }

    /// Whether `is_signed` was true before and is remembered.
    pub fn is_known_signed(&self, network: &Network, verifier: &Verifier) -> bool {
        let bytes = self.signed_bytes();
        verifier.knows(&self.sender, Purpose::Message, &network.id(), &[&bytes], &self.signature)
    }

    /// H("message", body ‖ signature).
    pub fn id(&self) -> TxId {
        TxId(hash("message", &[&self.signed_bytes(), &self.signature.0]))
    }

    /// What it is about.
    pub fn key(&self) -> TxKey {
        let said = |subject| {
            TxKey::Statement(Statement { round: self.round, sender: self.sender, subject })
        };
        match &self.body {
            Body::Heartbeat { .. } => said(Subject::Heartbeat),
            Body::TestReport { slot, index, role, .. } => {
                said(Subject::TestReport { slot: *slot, index: *index, role: *role })
            }
            Body::Equivocation(evidence) => TxKey::Offence(evidence.offence()),
        }
    }

    /// The sender's address.
    pub fn sender_address(&self, network: &Network) -> Address {
        network.address_of(&self.sender)
    }

    /// A message from its canonical bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Tx, CodecError> {
        codec::decode(bytes, TX_BYTES_MAX)
    }

    fn signed_bytes(&self) -> Vec<u8> {
        codec::encode(&(self.round, self.sender, &self.body))
    }
}

impl Body {
    /// The name of the kind, for output and counters.
    pub fn kind(&self) -> &'static str {
        match self {
            Body::Heartbeat { .. } => "heartbeat",
            Body::TestReport { .. } => "test_report",
            Body::Equivocation(_) => "equivocation",
        }
    }
}

impl fmt::Display for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {:?} for round {}", self.body.kind(), self.sender, self.round)
    }
}
