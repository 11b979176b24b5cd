//! Bodies that are asked for: from whom, since when, and whom to ask next.

use std::collections::BTreeMap;

use super::{
    ASKED_MAX, HOLDERS_MAX, REFUSED_MAX, Relay, UNANSWERED_MAX, WANTED_MAX, WANTED_OF_PEER_MAX,
};
use crate::machine::event::PeerId;
use crate::machine::mempool::Mempool;
use crate::machine::peers::Peers;
use crate::machine::turn::Turn;
use crate::rules::refusal::Refusal;
use crate::types::clock::Monotonic;
use crate::types::hash::TxId;
use crate::types::message::{IDS_MAX, Message};

/// A body that is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// Who announced it first.
    first: PeerId,
    holders: Vec<PeerId>,
    asked: Vec<PeerId>,
    /// When the last one asked is late.
    late_at: Option<Monotonic>,
}

impl Wanted {
    fn new(first: PeerId) -> Wanted {
        Wanted { first, holders: vec![first], asked: Vec::new(), late_at: None }
    }

    pub fn forget(&mut self, peer: PeerId) {
        self.holders.retain(|holder| *holder != peer);
        if self.asked.last() == Some(&peer) {
            self.late_at = None;
        }
    }

    fn add(&mut self, peer: PeerId) {
        if self.holders.len() < HOLDERS_MAX && !self.holders.contains(&peer) {
            self.holders.push(peer);
        }
    }

    fn next_holder(&self, peers: &Peers, more: &BTreeMap<PeerId, Vec<TxId>>) -> Option<PeerId> {
        self.holders.iter().copied().filter(|holder| !self.asked.contains(holder)).find(|holder| {
            let asking = more.get(holder).map_or(0, |ids| ids.len().div_ceil(IDS_MAX));
            peers
                .get(*holder)
                .is_some_and(|peer| (peer.unanswered as usize) + asking < UNANSWERED_MAX as usize)
        })
    }
}

impl Relay {
    /// A peer holds these messages: those that nobody has been asked for are asked from it.
    pub fn announced(
        &mut self,
        turn: &mut Turn,
        from: PeerId,
        ids: &[TxId],
        mempool: &Mempool,
        peers: &mut Peers,
    ) {
        let mut unknown = Vec::new();
        for id in ids {
            if mempool.contains(id) {
                self.holds(*id, from);
            } else if !self.refused.contains(id) {
                unknown.push(*id);
            }
        }
        self.want(turn, from, &unknown, peers);
    }

    /// A peer delivered: whether it was asked at all.
    pub fn delivered(&mut self, from: PeerId, peers: &mut Peers) -> bool {
        let Some(peer) = peers.peer_mut(from).filter(|peer| peer.unanswered > 0) else {
            return false;
        };
        peer.unanswered -= 1;
        true
    }

    /// A message delivered was refused: it is not asked for again, unless there was no time or room for it yet.
    pub fn refused(&mut self, id: &TxId, why: Refusal) {
        self.forget(id);
        let passing = matches!(why, Refusal::TooEarly | Refusal::PoolFull);
        if passing || self.refused.contains(id) {
            return;
        }
        if self.refused.len() >= REFUSED_MAX {
            self.refused.pop_front();
        }
        self.refused.push_back(*id);
    }

    /// A body is here, or given up.
    pub(super) fn forget(&mut self, id: &TxId) {
        let Some(wanted) = self.wanted.remove(id) else { return };
        if let Some(count) = self.first_heard.get_mut(&wanted.first) {
            *count -= 1;
            if *count == 0 {
                self.first_heard.remove(&wanted.first);
            }
        }
    }

    /// Asks for bodies that are not asked for yet.
    pub(super) fn want(&mut self, turn: &mut Turn, from: PeerId, ids: &[TxId], peers: &mut Peers) {
        for id in ids {
            if let Some(wanted) = self.wanted.get_mut(id) {
                wanted.add(from);
                continue;
            }
            let of_peer = self.first_heard.entry(from).or_default();
            if self.wanted.len() < WANTED_MAX && *of_peer < WANTED_OF_PEER_MAX {
                *of_peer += 1;
                self.wanted.insert(*id, Wanted::new(from));
            }
        }
        if ids.iter().any(|id| self.wanted.get(id).is_some_and(|it| it.late_at.is_none())) {
            self.ask(turn, ids, peers);
        }
    }

    /// Asks again for what is late, and gives up on what nobody else holds.
    pub(super) fn ask_again(&mut self, turn: &mut Turn, peers: &mut Peers) {
        self.wanted_due = None;
        let late: Vec<TxId> = self
            .wanted
            .iter()
            .filter(|(_, wanted)| wanted.late_at.is_none_or(|at| turn.now.mono >= at))
            .map(|(id, _)| *id)
            .collect();
        for id in &late {
            if let Some(wanted) = self.wanted.get_mut(id) {
                wanted.late_at = None;
                let spent = wanted.asked.len() >= ASKED_MAX;
                let alone = wanted.holders.iter().all(|holder| wanted.asked.contains(holder));
                if spent || alone {
                    self.forget(id);
                }
            }
        }
        self.ask(turn, &late, peers);
        let next = self.wanted.values().filter_map(|wanted| wanted.late_at).min();
        self.wanted_due = match (self.wanted_due, next) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    fn ask(&mut self, turn: &mut Turn, ids: &[TxId], peers: &mut Peers) {
        let late_at = turn.now.mono.plus(self.answer_ms);
        let mut waits = false;
        let mut asks: BTreeMap<PeerId, Vec<TxId>> = BTreeMap::new();
        for id in ids {
            let Some(wanted) = self.wanted.get_mut(id) else { continue };
            if wanted.late_at.is_some() {
                continue;
            }
            if let Some(holder) = wanted.next_holder(peers, &asks) {
                wanted.asked.push(holder);
                asks.entry(holder).or_default().push(*id);
            }
            // Where all holders owe us too much already, the next look is as late.
            wanted.late_at = Some(late_at);
            waits = true;
        }
        for (peer, ids) in asks {
            for batch in ids.chunks(IDS_MAX) {
                if let Some(peer) = peers.peer_mut(peer) {
                    peer.unanswered += 1;
                }
                turn.out.send(peer, Message::Want(batch.to_vec()));
            }
        }
        if waits {
            self.wanted_due = Some(self.wanted_due.map_or(late_at, |due| due.min(late_at)));
        }
    }
}
