//! Messages as frames: `kind u8 ‖ length u32 ‖ postcard body` (`docs/protocol.md` §11).
//!
//! The limit of a kind is known before its body is buffered. Kinds from 64 up are for later versions and skipped.

use std::fmt;

use super::{
    BLOCK_IDS_MAX, BODIES_MAX, HEADERS_MAX, IDS_MAX, LOCATOR_MAX, Message, QUORUM_BYTES_MAX,
    SEALS_BYTES_MAX, SEALS_MAX, STATE_PART_BYTES, VOTES_MAX,
};
use crate::types::codec::{self, CodecError};
use crate::types::seal::{HNS_MAX, Quorum, Seal};

/// Bytes before the body of a frame.
pub const FRAME_HEAD: usize = 5;
/// First kind that a node of this version skips instead of refusing.
pub const KIND_LATER: u8 = 64;

const CONTROL_MAX: usize = 64 * 1024;
const HEADERS_BYTES_MAX: usize = 1024 * 1024;
pub const BODIES_BYTES_MAX: usize = 2 * 1024 * 1024;

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

/// The most bytes that the body of a kind may have; 0 bytes for kinds to be skipped is not a limit but a refusal to
/// guess, so their limit is that of control messages.
pub fn body_max(kind: u8) -> Result<usize, FrameError> {
    match kind {
        1..=9 | 11..=13 | 15 | 16 | 18..=20 | 22 | 24 => Ok(CONTROL_MAX),
        14 => Ok(HEADERS_BYTES_MAX),
        17 | 21 => Ok(QUORUM_BYTES_MAX),
        23 | 25 => Ok(SEALS_BYTES_MAX),
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
