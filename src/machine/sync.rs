//! Fetching a better chain (`docs/protocol.md` §12): tips tell who may have one, headers show it, bodies come from
//! several peers in ranges.
//!
//! Headers are asked from one peer at a time, each body from one peer at a time: nothing is fetched twice unless somebody
//! is late. A peer that promised a chain and does not have it, or sends what is provably wrong, is set aside; one that is
//! slow is only passed over for a while.

mod bodies;
mod headers;
mod segments;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use super::chain::{Chain, UNFULL_MAX};
use super::event::PeerId;
use super::note::Note;
use super::peers::{Peer, Peers};
use super::relay::Relay;
use super::status::SyncStatus;
use super::turn::Turn;
use crate::types::block::Point;
use crate::types::clock::Monotonic;
use crate::types::hash::BlockHash;
use crate::types::message::Tip;

use bodies::BodyRequest;
use headers::HeaderRequest;

/// An answer comes within two slots, between these bounds: a range of the largest blocks over a slow line.
const ANSWER_MIN_MS: u64 = 4_000;
const ANSWER_MAX_MS: u64 = 15_000;
/// Headers of one chain ahead of the best chain: beyond this no more are asked for.
pub const WINDOW_MAX: usize = UNFULL_MAX / 2;
/// Answer times without any progress after which a window full of headers is given up: their bodies are nowhere.
const STILL_MAX: u64 = 4;
/// A tip of the same worth as ours, or a header without a body, may be on its way by itself: sync waits this long.
const PATIENCE_MS: u64 = 1_000;
/// The span over which the rate of blocks is measured.
const RATE_MS: u64 = 10_000;

/// What is asked from whom.
pub struct Sync {
    answer_ms: u64,
    /// Peers asked for bodies at once.
    asked_max: usize,
    next_request: u32,
    headers: Option<HeaderRequest>,
    bodies: BTreeMap<PeerId, BodyRequest>,
    /// Bodies to ask for, lowest first, towards `heading`.
    queue: VecDeque<Point>,
    heading: Option<BlockHash>,
    /// When the heading was chosen, or a body came.
    progress_at: Monotonic,
    /// Blocks whose bodies nobody delivers, until when what is above them stands back.
    stalled: BTreeMap<BlockHash, Monotonic>,
    passed_over: BTreeMap<PeerId, Monotonic>,
    /// Proven points of a segment that is longer than a batch of headers.
    skeleton: Vec<Point>,
    /// How often each peer was late or gave next to nothing: those with the least are asked first, or a few that claim
    /// most and stall in turn would be the only ones ever asked.
    strikes: BTreeMap<PeerId, u32>,
    /// Peers that have not got the bodies towards this heading.
    lacks: BTreeMap<PeerId, Option<BlockHash>>,
    /// Tips that a peer was asked about, so that it is asked once for each.
    looked_at: BTreeMap<PeerId, BlockHash>,
    /// Since when a peer shows a tip that we do not know.
    unknown_since: BTreeMap<PeerId, (BlockHash, Monotonic)>,
    running: bool,
    /// Heights reached, for the rate.
    reached: VecDeque<(Monotonic, u64)>,
    due: Monotonic,
}

/// The machines that sync looks at.
pub struct View<'a> {
    pub chain: &'a Chain,
    pub relay: &'a Relay,
}

impl Sync {
    /// Nothing asked yet.
    pub fn new(slot_ms: u64, asked_max: usize) -> Sync {
        Sync {
            answer_ms: (2 * slot_ms).clamp(ANSWER_MIN_MS, ANSWER_MAX_MS),
            asked_max,
            next_request: 0,
            headers: None,
            bodies: BTreeMap::new(),
            queue: VecDeque::new(),
            heading: None,
            progress_at: Monotonic(0),
            stalled: BTreeMap::new(),
            passed_over: BTreeMap::new(),
            skeleton: Vec::new(),
            strikes: BTreeMap::new(),
            lacks: BTreeMap::new(),
            looked_at: BTreeMap::new(),
            unknown_since: BTreeMap::new(),
            running: false,
            reached: VecDeque::new(),
            due: Monotonic(0),
        }
    }

    /// Something changed: a tip, the chain, an answer.
    pub fn wake(&mut self) {
        self.due = Monotonic(0);
    }

    /// A peer shows where its chain ends: it may have what it lacked.
    pub fn tip_moved(&mut self, peer: PeerId) {
        self.lacks.remove(&peer);
        self.wake();
    }

    /// When `tick` has something to do next.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    /// Whether blocks are being fetched.
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// A peer is gone: what it owed is asked from others.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.passed_over.remove(&peer);
        self.strikes.remove(&peer);
        self.lacks.remove(&peer);
        self.looked_at.remove(&peer);
        self.unknown_since.remove(&peer);
        if self.headers.as_ref().is_some_and(|request| request.peer == peer) {
            self.headers = None;
        }
        if let Some(request) = self.bodies.remove(&peer) {
            self.requeue(request);
        }
        self.wake();
    }

    /// Asks for what is due.
    pub fn tick(&mut self, turn: &mut Turn, view: &View, peers: &Peers) {
        let now = turn.now.mono;
        if now < self.due {
            return;
        }
        self.due = now.plus(60_000);
        self.passed_over.retain(|_, until| *until > now);
        self.look_at_window(now, view);
        self.pass_over_late(now);
        self.ask_headers(turn, view, peers);
        self.ask_bodies(turn, view, peers);
        self.measure(turn, view);
        let deadlines = self.bodies.values().map(|request| request.sent.plus(self.answer_ms));
        let headers = self.headers_deadline();
        let retries = self.passed_over.values().copied();
        let next = deadlines.chain(headers).chain(retries).min();
        self.due = next.map_or(self.due, |next| self.due.min(next));
    }

    /// For people: target, rate, time left.
    pub fn status(&self, chain: &Chain, behind: bool) -> SyncStatus {
        let sealed = chain.awaits_seal().then(|| chain.awaited_seal().height.0);
        let target = chain.best_unfull().map(|entry| entry.point.height.0).max(sealed);
        let rate = match (self.reached.front(), self.reached.back()) {
            (Some((since, from)), Some((until, to))) if until > since => {
                Some(to.saturating_sub(*from) * 1000 / until.since(*since))
            }
            _ => None,
        };
        let rate = rate.filter(|_| self.running);
        let left = target.map(|target| target.saturating_sub(chain.best().point.height.0));
        let seconds_left = match (left, rate) {
            (Some(left), Some(rate)) if rate > 0 => Some(left / rate),
            _ => None,
        };
        SyncStatus { behind, target, blocks_per_second: rate, seconds_left }
    }

    /// Whether a peer may have a chain better than ours that we do not know.
    fn is_of_interest(&mut self, turn: &Turn, peer: PeerId, tip: &Tip, view: &View) -> bool {
        // What it builds on, its certificates say first.
        if tip.seal > view.chain.certified_index() {
            return false;
        }
        let mut best = view.chain.best().worth();
        // While bodies come, only what is better than where they lead is worth a look.
        if let Some(heading) = self.heading.filter(|_| self.stalled.is_empty()) {
            best = view.chain.entry(&heading).map_or(best, |entry| best.max(entry.worth()));
        }
        let theirs = crate::rules::chain::Worth::new(tip.weight, &tip.point);
        if theirs < best || view.chain.knows(&tip.point, &turn.db) {
            self.unknown_since.remove(&peer);
            return false;
        }
        let now = turn.now.mono;
        let since = match self.unknown_since.get(&peer) {
            Some((hash, since)) if *hash == tip.point.hash => *since,
            _ => {
                self.unknown_since.insert(peer, (tip.point.hash, now));
                now
            }
        };
        // One block ahead is the daily case: it comes by itself, header and all.
        let far = tip.point.height.0 > view.chain.best().point.height.0 + 1;
        let ready_at = if far { since } else { since.plus(PATIENCE_MS) };
        if ready_at > now {
            self.due = self.due.min(ready_at);
        }
        ready_at <= now
    }

    /// A peer that was late, or had nothing new, is not asked for a while.
    fn pass_over(&mut self, peer: PeerId, now: Monotonic) {
        self.passed_over.insert(peer, now.plus(2 * self.answer_ms));
    }

    fn strike(&mut self, peer: PeerId) {
        let strikes = self.strikes.entry(peer).or_default();
        *strikes = strikes.saturating_add(1);
    }

    /// What it gave was worth asking for.
    fn absolve(&mut self, peer: PeerId) {
        if let Some(strikes) = self.strikes.get_mut(&peer) {
            *strikes = strikes.saturating_sub(1);
        }
    }

    /// Who is asked first: no stallers, and masternodes before whoever connects to us.
    fn doubt(&self, peer: &Peer) -> (u32, bool) {
        (self.strikes.get(&peer.id).copied().unwrap_or(0), !peer.masternode)
    }

    fn pass_over_late(&mut self, now: Monotonic) {
        let answer_ms = self.answer_ms;
        let late = |sent: Monotonic| now.since(sent) >= answer_ms;
        if self.headers_deadline().is_some_and(|at| now >= at) {
            if let Some(request) = self.headers.take() {
                self.strike(request.peer);
                self.looked_at.remove(&request.peer);
                self.pass_over(request.peer, now);
            }
        }
        let peers: Vec<PeerId> = self
            .bodies
            .iter()
            .filter(|(_, request)| late(request.sent))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in peers {
            self.strike(peer);
            self.pass_over(peer, now);
            if let Some(request) = self.bodies.remove(&peer) {
                self.requeue(request);
            }
        }
    }

    fn request_number(&mut self) -> u32 {
        self.next_request = self.next_request.wrapping_add(1);
        self.next_request
    }

    fn measure(&mut self, turn: &mut Turn, view: &View) {
        let behind = !self.queue.is_empty() || !self.bodies.is_empty() || view.chain.has_work();
        let now = turn.now.mono;
        let height = view.chain.best().point.height.0;
        if behind != self.running {
            self.running = behind;
            self.reached.clear();
            let target = view.chain.best_unfull().map_or(height, |entry| entry.point.height.0);
            turn.out.note(if behind { Note::SyncStarted { target } } else { Note::SyncFinished });
        }
        if behind {
            let since = |at: &Monotonic| now.since(*at);
            if self.reached.back().is_none_or(|(at, _)| since(at) >= 500) {
                self.reached.push_back((now, height));
            }
            while self.reached.front().is_some_and(|(at, _)| since(at) > RATE_MS) {
                self.reached.pop_front();
            }
        }
    }
}
