//! Fetching certificates (`docs/protocol.md` §12): a peer whose tip shows a newer seal is asked for the seals after ours,
//! one peer at a time, a page at a time; a newcomer goes from genesis to the newest in this way, before it has a block.
//!
//! Each question overlaps by our own last seal: a peer that has another one for its index shows that the network has
//! split. Only after the common seal is a wrong certificate provably the peer's fault. Where voters have come to differ,
//! nothing can be said of its last ones: the next question to it goes back twice as far, until the seal at which the two
//! parted is there, which those have certified who were voters of both.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{Conflict, Place, SealVerdict, Seals};
use crate::machine::event::PeerId;
use crate::machine::peers::Peers;
use crate::machine::records::{self, Reader, Table};
use crate::machine::turn::Turn;
use crate::rules::quorum::Electorate;
use crate::types::block::SealRef;
use crate::types::clock::Monotonic;
use crate::types::message::{ByeReason, Message};
use crate::types::seal::{Seal, Step};

/// An answer comes within two slots, between these bounds: a page of the largest seals over a slow line.
const ANSWER_MIN_MS: u64 = 4_000;
const ANSWER_MAX_MS: u64 = 15_000;
/// Signatures verified in one event (§11).
const SIGNATURES_MAX: usize = 64;
/// Seals looked at in one event: each costs a hash over what it brings.
const SEALS_CHECKED_MAX: usize = 16;

/// Changes remembered of who sent which seals.
const SOURCES_MAX: usize = 64;

/// What is asked from whom, and the page that is being checked.
pub struct Fetch {
    answer_ms: u64,
    next_request: u32,
    request: Option<Request>,
    page: Option<Page>,
    passed_over: BTreeMap<PeerId, Monotonic>,
    /// Peers, of those connected, that have shown another seal than ours for its index.
    doubted: BTreeSet<PeerId>,
    strikes: BTreeMap<PeerId, u32>,
    /// Seals by which questions to a peer overlap, where that is more than one.
    overlaps: BTreeMap<PeerId, u64>,
    /// Who sent the seals from an index on, up to the next one here.
    sources: BTreeMap<u64, PeerId>,
    due: Monotonic,
}

#[derive(Debug)]
struct Request {
    peer: PeerId,
    number: u32,
    after: u64,
    sent: Monotonic,
}

#[derive(Debug)]
struct Page {
    from: PeerId,
    left: VecDeque<Seal>,
    /// Signatures of the first of them that hold.
    checked: usize,
    /// Whether the seal before them is the same for the peer and for us.
    common: bool,
    /// Whether any of it was new.
    new: bool,
}

/// What checking came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Checked {
    pub blamed: Option<(PeerId, ByeReason)>,
    pub conflict: Option<Box<Conflict>>,
}

impl Fetch {
    pub fn new(slot_ms: u64) -> Fetch {
        Fetch {
            answer_ms: (2 * slot_ms).clamp(ANSWER_MIN_MS, ANSWER_MAX_MS),
            next_request: 0,
            request: None,
            page: None,
            passed_over: BTreeMap::new(),
            doubted: BTreeSet::new(),
            strikes: BTreeMap::new(),
            overlaps: BTreeMap::new(),
            sources: BTreeMap::new(),
            due: Monotonic(0),
        }
    }

    pub fn wake(&mut self) {
        self.due = Monotonic(0);
    }

    /// A peer that was late, lacked what it showed, or is on another chain of seals: others first.
    fn pass_over(&mut self, peer: PeerId, now: Monotonic) {
        let strikes = self.strikes.entry(peer).or_default();
        *strikes = strikes.saturating_add(1);
        self.passed_over.insert(peer, now.plus(2 * self.answer_ms));
        self.wake();
    }

    /// A seal of this peer is taken.
    fn came_from(&mut self, peer: PeerId, index: u64) {
        if self.sources.last_key_value().is_none_or(|(_, last)| *last != peer) {
            self.sources.insert(index, peer);
        }
        while self.sources.len() > SOURCES_MAX {
            self.sources.pop_first();
        }
    }

    fn absolve(&mut self, peer: PeerId) {
        if let Some(strikes) = self.strikes.get_mut(&peer) {
            *strikes = strikes.saturating_sub(1);
        }
    }
}

impl Seals {
    /// A peer shows where its chain ends: it may have a newer seal.
    pub fn tip_moved(&mut self) {
        self.fetch.wake();
    }

    /// A peer shows a block that names this seal. When it is another one than ours, the network may have split, and two
    /// halves of which neither can seal anything more would never show each other a newer one: the peer is asked.
    pub fn named(&mut self, from: PeerId, seal: &SealRef, db: &dyn Reader) {
        let held = self.held(seal.index, db).filter(|_| seal.index > 0);
        let other = held.is_some_and(|held| held.seal() != *seal);
        if other && !self.fetch.passed_over.contains_key(&from) && self.fetch.doubted.insert(from) {
            self.fetch.wake();
        }
    }

    /// A peer is gone.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.fetch.passed_over.remove(&peer);
        self.fetch.doubted.remove(&peer);
        self.fetch.strikes.remove(&peer);
        self.fetch.overlaps.remove(&peer);
        self.fetch.request.take_if(|request| request.peer == peer);
        self.fetch.wake();
    }

    /// When `tick` has something to do next.
    pub fn due(&self) -> Monotonic {
        self.fetch.due
    }

    /// Whether `check` has something to do.
    pub fn has_work(&self) -> bool {
        self.fetch.page.is_some()
    }

    /// Asks for newer seals, and takes the listed checkpoint that is next.
    pub fn tick(&mut self, turn: &mut Turn, peers: &Peers) {
        let now = turn.now.mono;
        if now < self.fetch.due || self.has_work() {
            return;
        }
        let answer_ms = self.fetch.answer_ms;
        self.fetch.due = now.plus(60_000);
        self.fetch.passed_over.retain(|_, until| *until > now);
        if let Some(late) = self.fetch.request.take_if(|it| now.since(it.sent) >= answer_ms) {
            self.fetch.pass_over(late.peer, now);
        }
        let brings = self.listed_next().is_some_and(|listed| listed.voters.is_some());
        let asked = self.fetch.request.is_some() || !brings && self.ask(turn, peers);
        if !asked && self.listed_next().is_some() {
            // Nobody has its certificate, or nobody can have one.
            self.take_listed(&mut turn.db);
        }
        let deadline = self.fetch.request.as_ref().map(|request| request.sent.plus(answer_ms));
        let retries = self.fetch.passed_over.values().copied();
        if let Some(next) = retries.chain(deadline).min() {
            self.fetch.due = self.fetch.due.min(next);
        }
    }

    /// Asks the peer with the fewest strikes that shows a newer seal or another one, first the newest; whether there is one.
    fn ask(&mut self, turn: &mut Turn, peers: &Peers) -> bool {
        let fetch = &mut self.fetch;
        let newer = peers.ready().filter_map(|peer| {
            let seal = peer.tip?.seal;
            let of_use = seal > self.certified.index || fetch.doubted.contains(&peer.id);
            let willing = of_use && !fetch.passed_over.contains_key(&peer.id);
            let strikes = fetch.strikes.get(&peer.id).copied().unwrap_or(0);
            willing.then_some((strikes, !peer.masternode, std::cmp::Reverse(seal), peer.id))
        });
        let Some((.., peer)) = newer.min() else { return false };
        fetch.doubted.remove(&peer);
        fetch.next_request = fetch.next_request.wrapping_add(1);
        let number = fetch.next_request;
        // A listed checkpoint without certificate is nothing that a peer would send.
        let overlap = fetch.overlaps.get(&peer).copied().unwrap_or(1);
        let overlap = if self.is_certified { overlap } else { 0 };
        let after = self.certified.index.saturating_sub(overlap);
        turn.out.send(peer, Message::WantSeals { request: number, after });
        fetch.request = Some(Request { peer, number, after, sent: turn.now.mono });
        true
    }

    /// Seals from a peer, to be checked by `check`; whether they were asked for. An error is the peer's fault.
    pub fn seals(
        &mut self,
        turn: &Turn,
        from: PeerId,
        number: u32,
        seals: &[Seal],
    ) -> Result<bool, ByeReason> {
        // An answer that comes after we gave up is nobody's fault.
        let asked = |it: &mut Request| it.peer == from && it.number == number;
        let Some(request) = self.fetch.request.take_if(asked) else { return Ok(false) };
        self.fetch.wake();
        let indices = seals.iter().map(|seal| seal.certificate.checkpoint.index);
        if !indices.eq((1..=seals.len() as u64).map(|it| request.after.saturating_add(it))) {
            return Err(ByeReason::Invalid);
        }
        if seals.is_empty() {
            // Perhaps its newest one is a listed checkpoint, which nobody can prove.
            self.fetch.pass_over(from, turn.now.mono);
            return Ok(true);
        }
        let (left, common) = (seals.to_vec().into(), request.after == 0);
        self.fetch.page = Some(Page { from, left, checked: 0, common, new: false });
        Ok(true)
    }

    /// The seals from an index on are not those of the network file's chain: they are forgotten, to be fetched anew from
    /// others than who sent the first of them, if anybody did.
    pub fn deny(&mut self, turn: &mut Turn, index: u64) -> Option<PeerId> {
        for index in index..=self.certified.index {
            turn.db.delete(Table::Seals, records::index_key(index));
        }
        let source = self.fetch.sources.range(..=index).next_back().map(|(_, peer)| *peer);
        self.fetch.sources.split_off(&index);
        (self.fetch.page, self.fetch.request) = (None, None);
        if let Some(peer) = source {
            self.fetch.pass_over(peer, turn.now.mono);
        }
        self.go_back(&turn.db);
        source
    }

    /// Checks as much of the page received as one event may.
    pub fn check(&mut self, turn: &mut Turn) -> Checked {
        let mut checked = Checked::default();
        let mut signatures = SIGNATURES_MAX;
        for _ in 0..SEALS_CHECKED_MAX {
            let Some(mut page) = self.fetch.page.take() else { break };
            let Some(seal) = page.left.pop_front() else {
                self.end_page(turn, &page);
                break;
            };
            let place = match self.place(&seal, &turn.db) {
                Ok(place) => place,
                Err(_) => {
                    checked.blamed = self.give_up(turn, &page);
                    break;
                }
            };
            let electorate = match &place {
                Place::Next => self.electorate.clone(),
                Place::Rival(_, electorate) => electorate.clone(),
                Place::Known => {
                    page.common = true;
                    self.fetch.page = Some(page);
                    continue;
                }
                Place::Gap => {
                    self.fetch.pass_over(page.from, turn.now.mono);
                    break;
                }
            };
            match self.verify_some(&electorate, &seal, page.checked, &mut signatures) {
                None => {
                    checked.blamed = self.give_up(turn, &page);
                    break;
                }
                Some(done) if done < seal.certificate.signatures.len() => {
                    page.checked = done;
                    page.left.push_front(seal);
                    self.fetch.page = Some(page);
                    break;
                }
                Some(_) => page.checked = 0,
            }
            let index = seal.certificate.checkpoint.index;
            match self.take(&mut turn.db, place, seal) {
                SealVerdict::Added => {
                    self.fetch.came_from(page.from, index);
                    (page.new, page.common) = (true, true);
                    self.fetch.page = Some(page);
                }
                SealVerdict::Conflict(conflict) => {
                    checked.conflict = Some(conflict);
                    self.fetch.pass_over(page.from, turn.now.mono);
                    break;
                }
                SealVerdict::Known | SealVerdict::Gap | SealVerdict::Refused(_) => {}
            }
        }
        checked
    }

    /// Verifies signatures of a certificate from one on; how many hold so far, or nothing when one does not.
    fn verify_some(
        &self,
        electorate: &Electorate,
        seal: &Seal,
        from: usize,
        left: &mut usize,
    ) -> Option<usize> {
        let mut done = from;
        for vote in electorate.votes(&seal.certificate, Step::Commit).skip(from) {
            if *left == 0 {
                break;
            }
            *left -= 1;
            if !vote.is_signed(&self.network, &self.verifier) {
                return None;
            }
            done += 1;
        }
        Some(done)
    }

    fn end_page(&mut self, turn: &Turn, page: &Page) {
        if page.new {
            self.fetch.absolve(page.from);
        } else {
            self.fetch.pass_over(page.from, turn.now.mono);
        }
        self.fetch.wake();
    }

    /// A seal is wrong: whose fault that is shows only after a seal that the peer and we have in common.
    fn give_up(&mut self, turn: &Turn, page: &Page) -> Option<(PeerId, ByeReason)> {
        self.fetch.pass_over(page.from, turn.now.mono);
        if page.common {
            return Some((page.from, ByeReason::Invalid));
        }
        let overlap = self.fetch.overlaps.entry(page.from).or_insert(1);
        *overlap = overlap.saturating_mul(2);
        None
    }
}
