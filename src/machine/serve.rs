//! Answers to peers that fetch: where our chain leaves theirs, headers, bodies. Reads only, within limits.

use super::chain::Chain;
use super::event::PeerId;
use super::records;
use super::turn::Turn;
use crate::types::block::{BODY_BYTES_MAX, Point};
use crate::types::codec;
use crate::types::message::Message;

/// Bytes of bodies in one answer: half of what a frame may hold, since the last body may be as large as the rest.
pub const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Which of these points is on our chain.
pub fn find(turn: &mut Turn, peer: PeerId, request: u32, locator: &[Point], chain: &Chain) {
    let point = chain.intersect(locator, &turn.db);
    turn.out.send(peer, Message::Intersect { request, point });
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
