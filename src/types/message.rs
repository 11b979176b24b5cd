//! The whole peer protocol in one enum (`docs/protocol.md` §11); its frames are in `frame`.
//!
//! What a message may hold at most is said here, with the reason.

mod frame;

use std::fmt;

use serde::{Deserialize, Serialize};

use super::block::{Point, SignedHeader};
use super::clock::{Height, Round, Slot, Timestamp};
use super::hash::{Hash, TxId};
use super::key::{PublicKey, Purpose, SecretKey, Signature, Verifier};
use super::network::Network;
use super::seal::{HNS_MAX, Proposal, Quorum, Seal, Vote};
use super::tx::Tx;
use super::version;

pub use frame::{BODIES_BYTES_MAX, FRAME_HEAD, FrameError, KIND_LATER, body_max, parse_head};

/// Ids in one have or want.
pub const IDS_MAX: usize = 64;
/// Ids of one new block: what a block may hold at most on any network.
pub const BLOCK_IDS_MAX: usize = 1_000;
/// Points in one find: distances doubling from 1 reach any height in 64.
pub const LOCATOR_MAX: usize = 64;
/// Headers in one answer: 512 of 300 bytes stay below the limit of a frame.
pub const HEADERS_MAX: usize = 512;
/// Bodies asked for in one request.
pub const BODIES_MAX: usize = 128;
/// Votes in one answer: 256 of 150 bytes stay below the limit of control messages.
pub const VOTES_MAX: usize = 256;
/// Seals in one answer, as many as fit into a frame.
pub const SEALS_MAX: usize = 64;
/// Bytes of a part of a state.
pub const STATE_PART_BYTES: usize = 512 * 1024;

/// Bytes of a proposal or a prepare quorum: signatures and bits of 4,096 voters, and 1 KiB for the rest, which takes half
/// of it. They come unasked, from anybody: no byte more than can be needed.
pub const QUORUM_BYTES_MAX: usize = HNS_MAX * 64 + HNS_MAX / 8 + 1024;
/// Bytes of seals in one answer: one with a registry and voters of 4,096 HNs takes 800 KiB.
pub const SEALS_BYTES_MAX: usize = 1024 * 1024;

/// Everything that one peer says to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// First, once, both ways: who this is.
    Hello(Hello),
    /// Are you there; what does your clock say.
    Ping {
        nonce: u64,
    },
    Pong {
        nonce: u64,
        clock: Timestamp,
    },
    /// The best chain of the sender has changed, or the connection is new.
    Tip(Tip),
    /// The sender holds these messages.
    Have(Vec<TxId>),
    /// Send these.
    Want(Vec<TxId>),
    /// Here they are: those of a want that the sender holds.
    Messages(Vec<Tx>),
    /// A block that the sender holds whole: header, and the ids in their order.
    NewBlock {
        header: SignedHeader,
        ids: Vec<TxId>,
    },
    /// The bodies of these blocks, in this order.
    WantBodies {
        request: u32,
        points: Vec<Point>,
    },
    /// Bodies of the first points of a request, as many as fit.
    Bodies {
        request: u32,
        bodies: Vec<Vec<Tx>>,
    },
    /// Which of these points is on your chain: newest first.
    Find {
        request: u32,
        locator: Vec<Point>,
    },
    /// The first of them that is on the sender's best chain; gone when none is.
    Intersect {
        request: u32,
        point: Point,
    },
    /// Headers of your best chain above this point.
    WantHeaders {
        request: u32,
        above: Point,
    },
    Headers {
        request: u32,
        headers: Vec<SignedHeader>,
    },
    /// What a request asked for is not there (any more).
    Gone {
        request: u32,
    },
    /// What the proposer of a view of the open instance proposes.
    Proposal(Box<Proposal>),
    Vote(Vote),
    /// The votes of this instance and view that the sender lacks: bits as in [`Quorum`] say which it holds.
    WantVotes {
        index: u64,
        view: u32,
        prepares: Vec<u8>,
        commits: Vec<u8>,
    },
    Votes(Vec<Vote>),
    /// The highest prepare quorum that the sender knows.
    Prepared(Box<Quorum>),
    /// Seals after this index, as many as fit.
    WantSeals {
        request: u32,
        after: u64,
    },
    /// Ascending, without gaps; none when the sender has none.
    Seals {
        request: u32,
        seals: Vec<Seal>,
    },
    /// A part of the state at a seal.
    WantState {
        request: u32,
        index: u64,
        part: u32,
    },
    /// Its canonical bytes from part × [`STATE_PART_BYTES`] on, and how many there are in all.
    State {
        request: u32,
        bytes_total: u32,
        bytes: Vec<u8>,
    },
    /// The sender closes, and why.
    Bye(ByeReason),
}

/// Who a peer is. The signature covers the hash of the Noise handshake, so that it is worth nothing elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub key: PublicKey,
    /// sign("identity", handshake hash ‖ role ‖ key); role is 0 for who dialled, 1 for who accepted.
    pub signature: Signature,
    /// Digest of the list of parameters (§2).
    pub parameters: Hash,
    /// Software version, as in heartbeats.
    pub version: u32,
}

impl Hello {
    /// The greeting of a key on a connection, which has the handshake hash `channel`; `dialled` when the key's side dialled.
    pub fn sign(
        key: &SecretKey,
        network: &Network,
        (channel, dialled): (&Hash, bool),
        verifier: &Verifier,
    ) -> Hello {
        let public = key.public();
        let parts: [&[u8]; 3] = [&channel.0, &role(dialled), &public.0];
        let signature = verifier.sign(key, Purpose::Identity, &network.id(), &parts);
        let parameters = network.parameters_digest();
        Hello { key: public, signature, parameters, version: version::OWN }
    }

    /// Whether its sender has the key, on this connection; `dialled` when the sender's side dialled.
    pub fn is_signed(
        &self,
        network: &Network,
        (channel, dialled): (&Hash, bool),
        verifier: &Verifier,
    ) -> bool {
        let parts: [&[u8]; 3] = [&channel.0, &role(dialled), &self.key.0];
        verifier.verify(&self.key, Purpose::Identity, &network.id(), &parts, &self.signature)
    }
}

fn role(dialled: bool) -> [u8; 1] {
    [u8::from(!dialled)]
}

/// The end of a peer's best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    pub point: Point,
    pub round: Round,
    pub slot: Slot,
    /// Distinct forgers summed over rounds (§9).
    pub weight: u64,
    /// Index of the newest seal whose certificate it holds: at that seal's height or above, its chain goes through it.
    pub seal: u64,
    /// The juror of the present slot as the sender sees it: a split shows before it happens.
    pub forger: Option<PublicKey>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ByeReason {
    /// The node stops.
    Stopping,
    /// The other connection between the two stays.
    Duplicate,
    /// The dialled node is the dialling one.
    Own,
    /// No place left.
    Full,
    /// A round began and the plan has others to talk to.
    Rotation,
    /// No answer in time.
    Timeout,
    /// More messages, bytes or requests than a peer may send.
    Budget,
    /// The identity is not proven.
    Identity,
    /// A message that does not belong here.
    Protocol,
    /// What it sent is provably wrong.
    Invalid,
    /// It promised a chain and did not deliver it.
    Promise,
    /// It is set aside for a while.
    SetAside,
}

impl ByeReason {
    /// Its name in JSON and counters.
    pub fn code(self) -> &'static str {
        match self {
            ByeReason::Stopping => "stopping",
            ByeReason::Duplicate => "duplicate",
            ByeReason::Own => "own",
            ByeReason::Full => "full",
            ByeReason::Rotation => "rotation",
            ByeReason::Timeout => "timeout",
            ByeReason::Budget => "budget",
            ByeReason::Identity => "identity",
            ByeReason::Protocol => "protocol",
            ByeReason::Invalid => "invalid",
            ByeReason::Promise => "promise",
            ByeReason::SetAside => "set_aside",
        }
    }
}

impl fmt::Display for ByeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ByeReason::Stopping => "stopping",
            ByeReason::Duplicate => "connected twice",
            ByeReason::Own => "our own node",
            ByeReason::Full => "no place left",
            ByeReason::Rotation => "rotation",
            ByeReason::Timeout => "no answer in time",
            ByeReason::Budget => "over its budget",
            ByeReason::Identity => "identity not proven",
            ByeReason::Protocol => "out of turn",
            ByeReason::Invalid => "sent something invalid",
            ByeReason::Promise => "promised a chain and did not deliver",
            ByeReason::SetAside => "set aside",
        })
    }
}

impl Message {
    /// The number of the kind on the wire.
    pub fn kind(&self) -> u8 {
        match self {
            Message::Hello(_) => 1,
            Message::Ping { .. } => 2,
            Message::Pong { .. } => 3,
            Message::Tip(_) => 4,
            Message::Have(_) => 5,
            Message::Want(_) => 6,
            Message::Messages(_) => 7,
            Message::NewBlock { .. } => 8,
            Message::WantBodies { .. } => 9,
            Message::Bodies { .. } => 10,
            Message::Find { .. } => 11,
            Message::Intersect { .. } => 12,
            Message::WantHeaders { .. } => 13,
            Message::Headers { .. } => 14,
            Message::Gone { .. } => 15,
            Message::Bye(_) => 16,
            Message::Proposal(_) => 17,
            Message::Vote(_) => 18,
            Message::WantVotes { .. } => 19,
            Message::Votes(_) => 20,
            Message::Prepared(_) => 21,
            Message::WantSeals { .. } => 22,
            Message::Seals { .. } => 23,
            Message::WantState { .. } => 24,
            Message::State { .. } => 25,
        }
    }

    /// The votes that it brings from whoever signed them, a proposal being one; not those of a quorum.
    pub fn votes(&self) -> &[Vote] {
        match self {
            Message::Vote(vote) => std::slice::from_ref(vote),
            Message::Proposal(proposal) => std::slice::from_ref(&proposal.vote),
            Message::Votes(votes) => votes,
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::NewBlock { .. }
            | Message::WantBodies { .. }
            | Message::Bodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::WantVotes { .. }
            | Message::Prepared(_)
            | Message::WantSeals { .. }
            | Message::Seals { .. }
            | Message::WantState { .. }
            | Message::State { .. }
            | Message::Bye(_) => &[],
        }
    }
}

impl Tip {
    /// Whether a chain that ends here would be better than `other` by what needs no look at the chains (§9).
    pub fn is_better_than(&self, other: &Tip) -> bool {
        (self.weight, self.point.height) > (other.weight, other.point.height)
    }

    /// Height of the point.
    pub fn height(&self) -> Height {
        self.point.height
    }
}
