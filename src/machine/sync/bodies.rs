//! Bodies: ranges of the blocks that headers showed, from as many peers as have them, each body from one at a time.

use std::collections::BTreeSet;

use super::{PATIENCE_MS, Sync, View};
use crate::machine::chain::Chain;
use crate::machine::event::PeerId;
use crate::machine::note::Note;
use crate::machine::peers::Peers;
use crate::machine::serve::ANSWER_BYTES_MAX;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::block::Point;
use crate::types::clock::Monotonic;
use crate::types::codec;
use crate::types::hash::BlockHash;
use crate::types::message::Message;
use crate::types::tx::Tx;

/// Bodies asked from one peer at once: small enough that a slow peer holds up little.
const RANGE_MAX: usize = 64;
/// How long a chain whose next body nobody delivers stands back behind others.
const STALLED_MS: u64 = 120_000;
/// Chains that stand back: as many as there are tips.
const STALLED_MAX: usize = 64;

/// What one peer was asked.
#[derive(Debug)]
pub struct BodyRequest {
    pub sent: Monotonic,
    number: u32,
    points: Vec<Point>,
    /// Where they were to lead.
    heading: Option<BlockHash>,
}

impl BodyRequest {
    #[cfg(test)]
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Sync {
    /// Asks every idle peer that may have them for the next bodies.
    pub(super) fn ask_bodies(&mut self, turn: &mut Turn, view: &View, peers: &Peers) {
        self.plan_queue(turn, view);
        if self.queue.is_empty() {
            return;
        }
        let now = turn.now.mono;
        let mut idle: Vec<_> = peers
            .ready()
            .filter(|peer| !self.bodies.contains_key(&peer.id))
            .filter(|peer| !self.passed_over.contains_key(&peer.id))
            .filter(|peer| self.lacks.get(&peer.id) != Some(&self.heading))
            .filter_map(|peer| Some((self.doubt(peer), peer.tip?.point.height.0, peer.id)))
            .collect();
        // The lowest bodies, for which all others wait, from those least in doubt, whose claim reaches furthest.
        idle.sort_unstable_by_key(|(doubt, height, peer)| {
            (*doubt, std::cmp::Reverse(*height), *peer)
        });
        for (_, height, peer) in idle {
            if self.bodies.len() >= self.asked_max {
                break;
            }
            let count = self
                .queue
                .iter()
                .take(RANGE_MAX)
                .take_while(|point| point.height.0 <= height)
                .count();
            if count == 0 {
                continue;
            }
            let points: Vec<Point> = self.queue.drain(..count).collect();
            let number = self.request_number();
            turn.out.send(peer, Message::WantBodies { request: number, points: points.clone() });
            let heading = self.heading;
            self.bodies.insert(peer, BodyRequest { sent: now, number, points, heading });
        }
    }

    /// Bodies from a peer, in the order asked for; whether they were asked for. An error is the peer's fault.
    pub fn bodies(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        number: u32,
        bodies: &[Vec<Tx>],
        chain: &mut Chain,
    ) -> Result<bool, Refusal> {
        self.wake();
        // An answer that comes after we gave up is nobody's fault, and the range is another peer's by now.
        if self.bodies.get(&from).is_none_or(|request| request.number != number) {
            return Ok(false);
        }
        let Some(mut request) = self.bodies.remove(&from) else { return Ok(false) };
        self.progress_at = turn.now.mono;
        for (point, messages) in request.points.iter().zip(bodies) {
            let lacking = chain.entry(&point.hash).filter(|entry| !entry.stored);
            let header = lacking.map(|entry| entry.header.clone());
            if let Err(why) = chain.add_body(&point.hash, messages, &mut turn.db) {
                self.requeue(request);
                return Err(why);
            }
            if let Some(header) = header {
                turn.out.note(Note::stored(&header, messages));
            }
        }
        if bodies.len() < request.points.len()
            && codec::encode(&bodies).len() < ANSWER_BYTES_MAX / 2
        {
            // The rest would have fitted: it has not got them.
            self.lacks.insert(from, self.heading);
        } else {
            self.absolve(from);
        }
        request.points.drain(..bodies.len().min(request.points.len()));
        self.requeue(request);
        Ok(true)
    }

    /// The peer has not got them, or not any more.
    pub fn bodies_gone(&mut self, from: PeerId, number: u32) {
        if self.bodies.get(&from).is_some_and(|request| request.number == number) {
            if let Some(request) = self.bodies.remove(&from) {
                // It may be on another fork: that is no reason not to ask it for anything else.
                self.lacks.insert(from, request.heading);
                self.requeue(request);
            }
            self.wake();
        }
    }

    pub(super) fn requeue(&mut self, request: BodyRequest) {
        if request.heading != self.heading {
            // What of it is still wanted comes back when the queue is made anew.
            return;
        }
        for point in request.points.into_iter().rev() {
            self.queue.push_front(point);
        }
        self.queue.make_contiguous().sort_unstable_by_key(|point| point.height);
    }

    /// Points towards the best chain that lacks bodies; made anew when another one is the best.
    fn plan_queue(&mut self, turn: &Turn, view: &View) {
        let now = turn.now.mono;
        self.stalled.retain(|_, until| *until > now);
        if now.since(self.progress_at) >= 2 * self.answer_ms && self.heading.is_some() {
            self.stall(now, view);
        }
        let stalled = |point: &Point| self.stalled.contains_key(&point.hash);
        let Some(tip) = view.chain.heading(stalled, &turn.db) else {
            self.queue.clear();
            self.heading = None;
            return;
        };
        if self.heading == Some(tip.point.hash) && !self.queue.is_empty() {
            return;
        }
        let age = now.since(tip.seen);
        let mut lacking = view.chain.lacking(tip);
        // A single new block is completed from the mempool: only when that takes too long it is fetched.
        if lacking.len() == 1
            && !tip.proven
            && (view.relay.is_pending(&tip.point.hash) || age < PATIENCE_MS)
        {
            self.due = self.due.min(now.plus(PATIENCE_MS));
            lacking.clear();
        }
        let asked: BTreeSet<Point> =
            self.bodies.values().flat_map(|request| request.points.iter().copied()).collect();
        self.queue = lacking.into_iter().filter(|point| !asked.contains(point)).collect();
        if self.heading != Some(tip.point.hash) {
            self.heading = Some(tip.point.hash);
            self.progress_at = now;
        }
        self.due = self.due.min(self.progress_at.plus(2 * self.answer_ms));
    }

    /// Nobody delivers towards the heading: other chains come first for a while.
    fn stall(&mut self, now: Monotonic, view: &View) {
        self.progress_at = now;
        let entry = self.heading.and_then(|hash| view.chain.entry(&hash));
        let lowest = entry.and_then(|entry| view.chain.lacking(entry).first().copied());
        if let Some(point) = lowest {
            if self.stalled.len() >= STALLED_MAX {
                self.stalled.pop_first();
            }
            self.stalled.insert(point.hash, now.plus(STALLED_MS));
            self.queue.clear();
        }
    }
}
