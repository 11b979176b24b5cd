//! The whole peer protocol in one enum, and its frames: `kind u8 ‖ length u32 ‖ postcard body` (`docs/protocol.md` §11).
//!
//! The limit of a kind is known before its body is buffered. Kinds from 64 up are for later versions and skipped.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::block::{Point, SignedHeader};
use super::clock::{Height, Round, Slot, Timestamp};
use super::codec::{self, CodecError};
use super::hash::{Hash, TxId};
use super::key::{PublicKey, Signature};
use super::seal::{HNS_MAX, Proposal, Quorum, Seal, Vote};
use super::tx::Tx;

/// Bytes before the body of a frame.
pub const FRAME_HEAD: usize = 5;
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
/// First kind that a node of this version skips instead of refusing.
pub const KIND_LATER: u8 = 64;

const CONTROL_MAX: usize = 64 * 1024;
const HEADERS_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of seals in one answer: one with a registry and voters of 4,096 HNs takes 800 KiB.
pub const SEALS_BYTES_MAX: usize = 1024 * 1024;
const BODIES_BYTES_MAX: usize = 2 * 1024 * 1024;

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

/// Why a frame is refused; the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A kind below 64 that nobody knows.
    Kind(u8),
    /// Longer than its kind allows.
    TooLong { kind: u8, length: u32 },
    /// The body is not the canonical form of its kind, or a list is too long.
    Body { kind: u8, error: CodecError },
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            FrameError::TooLong { kind, length } => {
                write!(f, "a frame of kind {kind} with {length} bytes, more than its limit")
            }
            FrameError::Body { kind, error } => write!(f, "a frame of kind {kind}: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

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

/// The most bytes that the body of a kind may have; 0 bytes for kinds to be skipped is not a limit but a refusal to
/// guess, so their limit is that of control messages.
pub fn body_max(kind: u8) -> Result<usize, FrameError> {
    match kind {
        1..=9 | 11..=13 | 15 | 16 | 18..=20 | 22 | 24 => Ok(CONTROL_MAX),
        14 => Ok(HEADERS_BYTES_MAX),
        17 | 21 | 23 | 25 => Ok(SEALS_BYTES_MAX),
        10 => Ok(BODIES_BYTES_MAX),
        KIND_LATER.. => Ok(CONTROL_MAX),
        _ => Err(FrameError::Kind(kind)),
    }
}

/// Kind and body length from the head of a frame, within the limits.
pub fn parse_head(head: [u8; FRAME_HEAD]) -> Result<(u8, usize), FrameError> {
    let kind = head[0];
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    match usize::try_from(length) {
        Ok(size) if size <= body_max(kind)? => Ok((kind, size)),
        _ => Err(FrameError::TooLong { kind, length }),
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

    /// The whole frame.
    pub fn to_frame(&self) -> Vec<u8> {
        let body = match self {
            Message::Hello(hello) => codec::encode(hello),
            Message::Ping { nonce } => codec::encode(nonce),
            Message::Pong { nonce, clock } => codec::encode(&(nonce, clock)),
            Message::Tip(tip) => codec::encode(tip),
            Message::Have(ids) | Message::Want(ids) => codec::encode(ids),
            Message::Messages(list) => codec::encode(list),
            Message::NewBlock { header, ids } => codec::encode(&(header, ids)),
            Message::WantBodies { request, points } => codec::encode(&(request, points)),
            Message::Bodies { request, bodies } => codec::encode(&(request, bodies)),
            Message::Find { request, locator } => codec::encode(&(request, locator)),
            Message::Intersect { request, point } => codec::encode(&(request, point)),
            Message::WantHeaders { request, above } => codec::encode(&(request, above)),
            Message::Headers { request, headers } => codec::encode(&(request, headers)),
            Message::Gone { request } => codec::encode(request),
            Message::Bye(reason) => codec::encode(reason),
            Message::Proposal(proposal) => codec::encode(proposal),
            Message::Vote(vote) => codec::encode(vote),
            Message::WantVotes { index, view, prepares, commits } => {
                codec::encode(&(index, view, prepares, commits))
            }
            Message::Votes(votes) => codec::encode(votes),
            Message::Prepared(quorum) => codec::encode(quorum),
            Message::WantSeals { request, after } => codec::encode(&(request, after)),
            Message::Seals { request, seals } => codec::encode(&(request, seals)),
            Message::WantState { request, index, part } => codec::encode(&(request, index, part)),
            Message::State { request, bytes_total, bytes } => {
                codec::encode(&(request, bytes_total, bytes))
            }
        };
        let mut frame = Vec::with_capacity(FRAME_HEAD + body.len());
        frame.push(self.kind());
        let length = u32::try_from(body.len()).expect("limits are far below 4 GiB");
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    }

    /// A message from kind and body; nothing for a kind of a later version.
    pub fn from_body(kind: u8, body: &[u8]) -> Result<Option<Message>, FrameError> {
        let max = body_max(kind)?;
        let message =
            Message::decode(kind, body, max).map_err(|error| FrameError::Body { kind, error })?;
        match message {
            Some(message) if !message.lists_fit() => {
                Err(FrameError::Body { kind, error: CodecError::TooLong })
            }
            message => Ok(message),
        }
    }

    fn decode(kind: u8, body: &[u8], max: usize) -> Result<Option<Message>, CodecError> {
        Ok(Some(match kind {
            1 => Message::Hello(codec::decode(body, max)?),
            2 => Message::Ping { nonce: codec::decode(body, max)? },
            3 => {
                let (nonce, clock) = codec::decode(body, max)?;
                Message::Pong { nonce, clock }
            }
            4 => Message::Tip(codec::decode(body, max)?),
            5 => Message::Have(codec::decode(body, max)?),
            6 => Message::Want(codec::decode(body, max)?),
            7 => Message::Messages(codec::decode(body, max)?),
            8 => {
                let (header, ids) = codec::decode(body, max)?;
                Message::NewBlock { header, ids }
            }
            9 => {
                let (request, points) = codec::decode(body, max)?;
                Message::WantBodies { request, points }
            }
            10 => {
                // Two million empty bodies take 2 MiB on the wire and fifty in memory: counted first.
                count(body, BODIES_MAX)?;
                let (request, bodies) = codec::decode(body, max)?;
                Message::Bodies { request, bodies }
            }
            11 => {
                let (request, locator) = codec::decode(body, max)?;
                Message::Find { request, locator }
            }
            12 => {
                let (request, point) = codec::decode(body, max)?;
                Message::Intersect { request, point }
            }
            13 => {
                let (request, above) = codec::decode(body, max)?;
                Message::WantHeaders { request, above }
            }
            14 => {
                let (request, headers) = codec::decode(body, max)?;
                Message::Headers { request, headers }
            }
            15 => Message::Gone { request: codec::decode(body, max)? },
            16 => Message::Bye(codec::decode(body, max)?),
            17 => Message::Proposal(codec::decode(body, max)?),
            18 => Message::Vote(codec::decode(body, max)?),
            19 => {
                let (index, view, prepares, commits) = codec::decode(body, max)?;
                Message::WantVotes { index, view, prepares, commits }
            }
            20 => Message::Votes(codec::decode(body, max)?),
            21 => Message::Prepared(codec::decode(body, max)?),
            22 => {
                let (request, after) = codec::decode(body, max)?;
                Message::WantSeals { request, after }
            }
            23 => {
                // The other lists are of values about as long on the wire as in memory; seals take twice as much.
                count(body, SEALS_MAX)?;
                let (request, seals) = codec::decode(body, max)?;
                Message::Seals { request, seals }
            }
            24 => {
                let (request, index, part) = codec::decode(body, max)?;
                Message::WantState { request, index, part }
            }
            25 => {
                let (request, bytes_total, bytes) = codec::decode(body, max)?;
                Message::State { request, bytes_total, bytes }
            }
            _ => return Ok(None),
        }))
    }

    fn lists_fit(&self) -> bool {
        match self {
            Message::Have(ids) | Message::Want(ids) => (1..=IDS_MAX).contains(&ids.len()),
            Message::Messages(list) => list.len() <= IDS_MAX,
            Message::NewBlock { ids, .. } => ids.len() <= BLOCK_IDS_MAX,
            Message::WantBodies { points, .. } => (1..=BODIES_MAX).contains(&points.len()),
            Message::Bodies { bodies, .. } => (1..=BODIES_MAX).contains(&bodies.len()),
            Message::Find { locator, .. } => (1..=LOCATOR_MAX).contains(&locator.len()),
            Message::Headers { headers, .. } => headers.len() <= HEADERS_MAX,
            Message::WantVotes { prepares, commits, .. } => {
                prepares.len() <= HNS_MAX / 8 && commits.len() <= HNS_MAX / 8
            }
            Message::Votes(votes) => votes.len() <= VOTES_MAX,
            Message::Proposal(proposal) => proposal.prepared.as_ref().is_none_or(fits),
            Message::Prepared(quorum) => fits(quorum),
            Message::Seals { seals, .. } => seals.len() <= SEALS_MAX && seals.iter().all(seal_fits),
            Message::State { bytes, .. } => bytes.len() <= STATE_PART_BYTES,
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
            | Message::Gone { .. }
            | Message::Vote(_)
            | Message::WantSeals { .. }
            | Message::WantState { .. }
            | Message::Bye(_) => true,
        }
    }
}

/// Looks at the count of a list after the number of its request, before there is room for the list.
fn count(body: &[u8], max: usize) -> Result<(), CodecError> {
    let (_, count): (u32, usize) = codec::decode_start(body)?;
    if count > max { Err(CodecError::TooLong) } else { Ok(()) }
}

fn fits(quorum: &Quorum) -> bool {
    quorum.voters.len() <= HNS_MAX / 8 && quorum.signatures.len() <= HNS_MAX
}

fn seal_fits(seal: &Seal) -> bool {
    fits(&seal.certificate)
        && seal.registry.as_ref().is_none_or(|registry| registry.len() <= HNS_MAX)
        && seal.voters.as_ref().is_none_or(|voters| voters.len() <= HNS_MAX)
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
