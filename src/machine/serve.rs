//! Answers to peers that fetch: where our chain leaves theirs, headers, bodies, seals, states. Reads only, within limits.

use super::chain::Chain;
use super::event::PeerId;
use super::records::{self, Reader, StoredSeal, Table};
use super::turn::Turn;
use crate::types::block::{BODY_BYTES_MAX, Point};
use crate::types::codec;
use crate::types::message::{Message, SEALS_BYTES_MAX, SEALS_MAX, STATE_PART_BYTES};
use crate::types::seal::Seal;

/// Bytes of bodies in one answer: half of what a frame may hold, since the last body may be as large as the rest.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;
/// Bytes before the seals of an answer: number and count.
const SEALS_HEAD: usize = 10;

/// Seals after an index, as many as fit. The list ends before a seal that the network file lists and that nobody has
/// certified: it proves nothing to others.
pub fn seals(turn: &mut Turn, peer: PeerId, request: u32, after: u64) {
    let mut seals: Vec<Seal> = Vec::new();
    let mut bytes = SEALS_HEAD;
    while seals.len() < SEALS_MAX {
        let next = after.checked_add(1 + seals.len() as u64);
        let stored = next.and_then(|index| records::seal(&turn.db, index));
        let Some(stored) = stored.filter(StoredSeal::is_certified) else { break };
        bytes += codec::encode(&stored.seal).len();
        if bytes > SEALS_BYTES_MAX {
            break;
        }
        seals.push(stored.seal);
    }
    turn.out.send(peer, Message::Seals { request, seals });
}

/// A part of the state at a seal: its canonical bytes, as they are stored.
pub fn state(turn: &mut Turn, peer: PeerId, request: u32, index: u64, part: u32) {
    let state = turn.db.get(Table::States, &records::index_key(index));
    let from = usize::try_from(part).unwrap_or(usize::MAX).saturating_mul(STATE_PART_BYTES);
    let answer = match state.as_deref().and_then(|state| Some((state, state.get(from..)?))) {
        Some((state, rest)) if !rest.is_empty() => {
            let bytes = rest[..rest.len().min(STATE_PART_BYTES)].to_vec();
            let bytes_total = u32::try_from(state.len()).expect("values are at most 4 MiB");
            Message::State { request, bytes_total, bytes }
        }
        _ => Message::Gone { request },
    };
    turn.out.send(peer, answer);
}

/// Which of these points is on our chain.
pub fn find(turn: &mut Turn, peer: PeerId, request: u32, locator: &[Point], chain: &Chain) {
    let answer = match chain.intersect(locator, &turn.db) {
        Some(point) => Message::Intersect { request, point },
        None => Message::Gone { request },
    };
    turn.out.send(peer, answer);
}

/// Headers of our chain above a point. While the tip `announced` last is not on it, on the way to another chain, there
/// are none: what is there would look like a broken promise.
pub fn headers(
    turn: &mut Turn,
    peer: PeerId,
    request: u32,
    above: &Point,
    announced: &Point,
    chain: &Chain,
) {
    let kept = chain.is_main(announced, &turn.db);
    let answer = match chain.headers_above(above, &turn.db).filter(|_| kept) {
        Some(headers) => Message::Headers { request, headers },
        None => Message::Gone { request },
    };
    turn.out.send(peer, answer);
}

/// Bodies of blocks of any fork: those of the first points, as many as fit and as we have.
pub fn bodies(turn: &mut Turn, peer: PeerId, request: u32, points: &[Point]) {
    let mut bodies = Vec::new();
    let mut bytes = 0;
    for point in points {
        let Some(body) = records::body(&turn.db, point) else { break };
        let length = codec::encode(&body).len();
        // Longer than any valid one: not looked at yet, and no frame would hold it beside others.
        if length > BODY_BYTES_MAX {
            break;
        }
        bytes += length;
        bodies.push(body);
        if bytes >= ANSWER_BYTES_MAX {
            break;
        }
    }
    let answer = if bodies.is_empty() {
        Message::Gone { request }
    } else {
        Message::Bodies { request, bodies }
    };
    turn.out.send(peer, answer);
}
