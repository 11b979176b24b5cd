//! Headers: find where a peer's chain leaves ours, then its headers from there on, from one peer at a time.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::rc::Rc;

use super::{STILL_MAX, Sync, View, WINDOW_MAX};
use crate::machine::chain::{Chain, HeaderVerdict};
use crate::machine::event::PeerId;
use crate::machine::peers::Peers;
use crate::machine::turn::Turn;
use crate::rules::chain::Worth;
use crate::types::block::{Point, SignedHeader};
use crate::types::clock::{Monotonic, Now};
use crate::types::message::{ByeReason, HEADERS_MAX, Message, Tip};

/// Headers checked in one event, each with a signature (§11).
const CHECKED_MAX: usize = 64;

/// Whom to ask first: who is least in doubt, then who claims most.
type Rank = (Reverse<(u32, bool)>, Worth);

/// What one peer was asked.
#[derive(Debug)]
pub struct HeaderRequest {
    pub peer: PeerId,
    pub sent: Monotonic,
    pub number: u32,
    pub asked: Asked,
    /// The tip that made us ask: what the peer promised.
    pub promised: Tip,
    /// For headers below a certified block: the ends of the batches that have come and that nothing proves yet.
    pub trail: Option<Vec<Point>>,
}

#[derive(Debug)]
pub enum Asked {
    Find(Vec<Point>),
    Above(Point),
    /// The answer is here: the last header checked, those left, and whether the peer may have more.
    Checking {
        above: Point,
        left: VecDeque<SignedHeader>,
        full: bool,
    },
    /// As many headers as sync holds at once are here, this many ahead of us: the next ones when their bodies are.
    Later {
        above: Point,
        ahead: usize,
    },
}

impl Sync {
    /// Asks the peer with the best unknown tip, when nobody is being asked.
    pub(super) fn ask_headers(&mut self, turn: &mut Turn, view: &View, peers: &Peers) {
        if let Some(request) = &self.headers {
            if let Asked::Later { above, ahead } = request.asked {
                if ahead <= WINDOW_MAX / 2 {
                    self.ask_above(turn, above);
                }
            }
            return;
        }
        if view.chain.awaits_seal() {
            self.ask_segment(turn, view, peers);
            return;
        }
        let mut best: Option<(Rank, PeerId, Tip)> = None;
        for peer in peers.ready() {
            let Some(tip) = peer.tip else { continue };
            let looked = self.looked_at.get(&peer.id) == Some(&tip.point.hash);
            if looked || self.passed_over.contains_key(&peer.id) {
                continue;
            }
            if !self.is_of_interest(turn, peer.id, &tip, view) {
                continue;
            }
            let rank = (Reverse(self.doubt(peer)), Worth::new(tip.weight, &tip.point));
            if best.is_none_or(|(other, _, _)| rank > other) {
                best = Some((rank, peer.id, tip));
            }
        }
        if let Some((_, peer, promised)) = best {
            let locator = view.chain.locator(&turn.db);
            let number = self.request_number();
            self.looked_at.insert(peer, promised.point.hash);
            turn.out.send(peer, Message::Find { request: number, locator: locator.clone() });
            let asked = Asked::Find(locator);
            let sent = turn.now.mono;
            self.headers = Some(HeaderRequest { peer, sent, number, asked, promised, trail: None });
        }
    }

    /// Notices when the window of headers has become smaller, which is what a full one waits for.
    pub(super) fn look_at_window(&mut self, now: Monotonic, view: &View) {
        let Some(request) = &mut self.headers else { return };
        if let Asked::Later { above, ahead } = &mut request.asked {
            let left = view.chain.ahead(above);
            if left < *ahead {
                *ahead = left;
                request.sent = now;
            }
        }
    }

    fn ask_above(&mut self, turn: &mut Turn, above: Point) {
        let number = self.request_number();
        if let Some(request) = &mut self.headers {
            request.number = number;
            request.sent = turn.now.mono;
            request.asked = Asked::Above(above);
            turn.out.send(request.peer, Message::WantHeaders { request: number, above });
        }
    }

    /// Where a peer's chain leaves ours.
    pub fn intersect(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        number: u32,
        point: Point,
        chain: &Chain,
    ) -> Option<ByeReason> {
        self.wake();
        let request = self.request_of(from, number)?;
        let Asked::Find(locator) = &request.asked else {
            return Some(ByeReason::Protocol);
        };
        if !locator.contains(&point) {
            self.headers = None;
            return Some(ByeReason::Protocol);
        }
        self.go_on(turn, point, chain.ahead(&point));
        None
    }

    /// Headers of a peer's chain, upwards from the point asked for: to be checked by `check_headers`. Whether they were
    /// asked for.
    pub fn headers(&mut self, from: PeerId, number: u32, headers: &[SignedHeader]) -> bool {
        self.wake();
        let asked = self.headers.as_mut().filter(|it| it.peer == from && it.number == number);
        let Some(request) = asked else { return false };
        let Asked::Above(above) = request.asked else { return false };
        let full = headers.len() == HEADERS_MAX;
        request.asked = Asked::Checking { above, left: headers.to_vec().into(), full };
        true
    }

    /// Whether `check_headers` has something to do.
    pub fn has_headers(&self) -> bool {
        self.headers.as_ref().is_some_and(|it| matches!(it.asked, Asked::Checking { .. }))
    }

    /// Checks as many of the headers received as one event may, and asks for the next when all are.
    pub fn check_headers(
        &mut self,
        turn: &mut Turn,
        peers: &Peers,
        chain: &mut Chain,
    ) -> Option<(PeerId, ByeReason)> {
        let mut request = self.headers.take_if(|it| matches!(it.asked, Asked::Checking { .. }))?;
        self.wake();
        if request.trail.is_some() {
            return self.check_segment(turn, peers, chain, request);
        }
        let from = request.peer;
        let Asked::Checking { above, left, full } = &mut request.asked else { return None };
        let empty = left.is_empty();
        for _ in 0..CHECKED_MAX {
            let Some(header) = left.pop_front() else { break };
            let next = header.point();
            if next.height != above.height.next() || header.header.previous != above.hash {
                return Some((from, ByeReason::Invalid));
            }
            match chain.add_header(turn.now, Rc::new(header), !left.is_empty(), &turn.db) {
                HeaderVerdict::Added | HeaderVerdict::Known => *above = next,
                HeaderVerdict::Refused(why) if why.is_provable() => {
                    return Some((from, ByeReason::Invalid));
                }
                HeaderVerdict::Refused(_)
                | HeaderVerdict::Orphan
                | HeaderVerdict::Future
                | HeaderVerdict::Surplus
                | HeaderVerdict::Invalid => {
                    // Not what we can follow: whether that is its fault or ours does not show here.
                    self.end_headers(from, turn.now.mono);
                    return None;
                }
            }
        }
        let (above, full, more) = (*above, *full, !left.is_empty());
        let promised = request.promised;
        self.headers = Some(request);
        if more {
            return None;
        }
        let delivered = above == promised.point || above.height >= promised.point.height;
        if full {
            self.absolve(from);
            self.go_on(turn, above, chain.ahead(&above));
            return None;
        }
        // Fewer than fit are the last ones of its chain.
        self.headers = None;
        if empty {
            // Or a peer that moves its tip for ever would keep all others from being asked.
            self.pass_over(from, turn.now.mono);
        }
        if !delivered {
            self.strike(from);
        }
        let latest = peers.get(from).and_then(|peer| peer.tip);
        let moved = latest.is_none_or(|tip| tip.point != promised.point);
        (!delivered && !moved).then_some((from, ByeReason::Promise))
    }

    /// What was asked for is not on the peer's chain any more: that breaks no promise.
    pub fn headers_gone(&mut self, now: Now, from: PeerId, number: u32) {
        if self.request_of(from, number).is_some() {
            self.end_headers(from, now.mono);
            self.wake();
        }
    }

    pub(super) fn go_on(&mut self, turn: &mut Turn, above: Point, ahead: usize) {
        if ahead < WINDOW_MAX {
            self.ask_above(turn, above);
        } else if let Some(request) = &mut self.headers {
            request.sent = turn.now.mono;
            request.asked = Asked::Later { above, ahead };
        }
    }

    /// Gives up for now: the same tip may be asked about again later.
    fn end_headers(&mut self, peer: PeerId, now: Monotonic) {
        self.headers = None;
        self.looked_at.remove(&peer);
        self.pass_over(peer, now);
    }

    fn request_of(&self, from: PeerId, number: u32) -> Option<&HeaderRequest> {
        // An answer that comes after we gave up is nobody's fault.
        self.headers.as_ref().filter(|request| request.peer == from && request.number == number)
    }

    /// When the running request is given up; nothing while its headers are being checked.
    pub(super) fn headers_deadline(&self) -> Option<Monotonic> {
        let request = self.headers.as_ref()?;
        match request.asked {
            Asked::Find(_) | Asked::Above(_) => Some(request.sent.plus(self.answer_ms)),
            Asked::Later { .. } => Some(request.sent.plus(STILL_MAX * self.answer_ms)),
            Asked::Checking { .. } => None,
        }
    }
}
