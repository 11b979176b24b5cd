//! Answers to peers that fetch: where our chain leaves theirs, headers, bodies. Reads only, within limits.

use super::chain::Chain;
use super::event::PeerId;
use super::records;
use super::turn::Turn;
use crate::types::block::Point;
use crate::types::codec;
use crate::types::message::Message;

/// Bytes of bodies in one answer: half of what a frame may hold, since the last body may be as large as the rest.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Which of these points is on our chain.
pub fn find(turn: &mut Turn, peer: PeerId, request: u32, locator: &[Point], chain: &Chain) {
    let point = chain.intersect(locator, &turn.db);
    turn.out.send(peer, Message::Intersect { request, point });
}

/// Headers of our chain above a point.
pub fn headers(turn: &mut Turn, peer: PeerId, request: u32, above: &Point, chain: &Chain) {
    let answer = match chain.headers_above(above, &turn.db) {
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
        bytes += codec::encode(&body).len();
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
