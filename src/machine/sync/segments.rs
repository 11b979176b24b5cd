//! Segments: headers from one sealed block to the next, proven by nothing but their hashes (`docs/protocol.md` §12).
//!
//! They come upwards and are proven from above: until a batch reaches a certified block, all that is known of it is that
//! its headers hang together. Of a segment longer than a batch only the ends of its batches are kept until then; they are
//! proven with it, and then the headers are fetched once more, each batch proven by its end.

use std::cmp::Reverse;

use super::headers::{Asked, HeaderRequest};
use super::{Sync, View, WINDOW_MAX};
use crate::machine::chain::Chain;
use crate::machine::event::PeerId;
use crate::machine::peers::{Peer, Peers};
use crate::machine::turn::Turn;
use crate::types::block::{Point, SignedHeader};
use crate::types::message::{ByeReason, HEADERS_MAX, Message, Tip};
use crate::types::seal::Checkpoint;

/// Ends of batches of one segment: of two million headers, an hour of a network that seals nothing for a year.
const SKELETON_MAX: usize = 4_096;

/// What a batch of headers shows.
enum Proof {
    /// As many of them are proven.
    Up(usize),
    /// Nothing yet.
    Open,
    /// Another block stands where a certified one should.
    Beside,
}

impl Sync {
    /// Asks a peer that holds the next certified block whose place we do not know for the headers up to it.
    pub(super) fn ask_segment(&mut self, turn: &mut Turn, view: &View, peers: &Peers) {
        let Some((from, next)) = view.chain.unproven(&turn.db) else { return };
        self.skeleton.retain(|point| point.height > from.height);
        let known = self.skeleton.iter().rev().find(|point| view.chain.knows(point, &turn.db));
        let above = known.copied().unwrap_or(from.point());
        if view.chain.ahead(&above) >= WINDOW_MAX {
            return;
        }
        let holds = |peer: &&Peer| {
            let shown = peer.tip.is_some_and(|tip| leads_to(&tip, &next, view.chain));
            shown && !self.passed_over.contains_key(&peer.id)
        };
        let rank =
            |peer: &&Peer| (self.doubt(peer), Reverse(peer.tip.map(|tip| tip.seal)), peer.id);
        let Some(peer) = peers.ready().filter(holds).min_by_key(rank) else { return };
        let (Some(promised), peer) = (peer.tip, peer.id) else { return };
        let number = self.request_number();
        turn.out.send(peer, Message::WantHeaders { request: number, above });
        let (asked, sent) = (Asked::Above(above), turn.now.mono);
        let trail = Some(Vec::new());
        self.headers = Some(HeaderRequest { peer, sent, number, asked, promised, trail });
    }

    /// Checks a batch of a segment, and asks for the next.
    pub(super) fn check_segment(
        &mut self,
        turn: &mut Turn,
        peers: &Peers,
        chain: &mut Chain,
        mut request: HeaderRequest,
    ) -> Option<(PeerId, ByeReason)> {
        let from = request.peer;
        let Asked::Checking { above, left, full } = &mut request.asked else { return None };
        let (above, full) = (*above, *full);
        let headers: Vec<SignedHeader> = std::mem::take(left).into();
        let Some(points) = linked(&above, &headers) else {
            return Some((from, ByeReason::Invalid));
        };
        let Some((start, _)) = chain.unproven(&turn.db) else {
            // What was asked for has come by itself.
            return None;
        };
        let end = points.last().copied().unwrap_or(above);
        let trail = request.trail.get_or_insert_with(Vec::new);
        let above = match self.proof(&above, &points, chain, turn) {
            Proof::Up(_) if !trail.is_empty() => {
                // Proven down to where it began: once more, with something to hold each batch against.
                self.skeleton = std::mem::take(trail);
                start.point()
            }
            Proof::Up(count) => {
                let mut headers = headers;
                headers.truncate(count);
                chain.add_proven(turn.now.mono, headers, &turn.db);
                self.absolve(from);
                points[count - 1]
            }
            Proof::Open if full && trail.len() < SKELETON_MAX => {
                trail.push(end);
                end
            }
            Proof::Open | Proof::Beside => {
                self.strike(from);
                self.pass_over(from, turn.now.mono);
                // It showed a tip above the certified block, and the seal. If it still does, its chain is not what it
                // said; a chain that has changed since broke no promise.
                let latest = peers.get(from).and_then(|peer| peer.tip);
                let promised = request.promised;
                let stands =
                    latest.is_some_and(|it| (it.point, it.seal) == (promised.point, promised.seal));
                let next = chain.unproven(&turn.db).map(|(_, next)| next.index);
                let said = next.is_some_and(|index| promised.seal >= index);
                return (stands && said).then_some((from, ByeReason::Promise));
            }
        };
        let next = chain.unproven(&turn.db).map(|(_, next)| next);
        let promised = request.promised;
        if full && next.is_some_and(|next| leads_to(&promised, &next, chain)) {
            self.headers = Some(request);
            self.go_on(turn, above, chain.ahead(&above));
        }
        None
    }

    /// What certified blocks, and points proven before, say of a batch above a point.
    fn proof(&self, above: &Point, points: &[Point], chain: &Chain, turn: &Turn) -> Proof {
        let mut proven = 0;
        let mut fits = |point: &Point| {
            let Some(place) = point.height.0.checked_sub(above.height.0 + 1) else { return true };
            let Some(found) = usize::try_from(place).ok().and_then(|at| points.get(at)) else {
                return true;
            };
            proven = proven.max(usize::try_from(place).map_or(0, |at| at + 1));
            found == point
        };
        if !self.skeleton.iter().all(&mut fits) {
            return Proof::Beside;
        }
        let end = points.last().map_or(above.height, |point| point.height);
        let mut seal = chain.unproven(&turn.db).map(|(_, next)| next);
        while let Some(next) = seal.filter(|next| next.height <= end) {
            if !fits(&next.point()) {
                return Proof::Beside;
            }
            seal = chain.seal_after(next.index, &turn.db);
        }
        if proven > 0 { Proof::Up(proven) } else { Proof::Open }
    }
}

/// Whether a peer with this tip may have the headers up to a certified or listed block. It need not have a seal of a
/// listed one: perhaps nobody has.
fn leads_to(tip: &Tip, next: &Checkpoint, chain: &Chain) -> bool {
    tip.point.height >= next.height && (tip.seal >= next.index || !chain.is_way_known())
}

/// The points of headers that stand one on the other above a point; nothing when they do not.
fn linked(above: &Point, headers: &[SignedHeader]) -> Option<Vec<Point>> {
    let mut points = Vec::with_capacity(headers.len().min(HEADERS_MAX));
    let mut below = *above;
    for header in headers {
        let point = header.point();
        if point.height != below.height.next() || header.header.previous != below.hash {
            return None;
        }
        points.push(point);
        below = point;
    }
    Some(points)
}
