//! Connections: who is there, whom to dial, whom to close (`docs/protocol.md` §11).
//!
//! The plan says whom to dial. Every wait has a deadline and every peer a budget. What peers say about blocks and
//! messages is other machines' business.

mod aside;
mod dialler;
mod ends;
mod peer;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::event::{Fault, PeerId};
use super::limits::Limits;
use super::note::Note;
use super::status::{AsidePeer, EndedPeer};
use super::turn::Turn;
use crate::rules::sealed::SealedState;
use crate::types::block::Point;
use crate::types::clock::{Monotonic, Now};
use crate::types::hash::Hash;
use crate::types::key::{PublicKey, SecretKey, Verifier};
use crate::types::message::{ByeReason, Hello, Message};
use crate::types::network::{Endpoint, Network};
use crate::types::rng::Rng;

use aside::{ASIDE_MS, Aside};
use dialler::Dialler;
pub use ends::{End, Ends};
pub use peer::Peer;

/// A connection says who it is within this time.
const GREETING_MS: u64 = 10_000;
/// A ping is answered within this time.
const PONG_MS: u64 = 15_000;

/// All connections.
pub struct Peers {
    network: Rc<Network>,
    key: SecretKey,
    own: PublicKey,
    verifier: Verifier,
    limits: Limits,
    rng: Rng,
    peers: BTreeMap<PeerId, Peer>,
    keys: BTreeMap<PublicKey, PeerId>,
    aside: Aside,
    ends: Ends,
    dialler: Dialler,
    /// Connections that ended during the event.
    gone: Vec<PeerId>,
    /// Nothing is due before this.
    due: Monotonic,
}

impl Peers {
    /// No connection yet.
    pub fn new(
        network: Rc<Network>,
        key: SecretKey,
        verifier: Verifier,
        limits: Limits,
        rng: Rng,
    ) -> Peers {
        Peers {
            own: key.public(),
            network,
            key,
            verifier,
            limits,
            rng,
            peers: BTreeMap::new(),
            keys: BTreeMap::new(),
            aside: Aside::default(),
            ends: Ends::default(),
            dialler: Dialler::default(),
            gone: Vec::new(),
            due: Monotonic(0),
        }
    }

    /// A connection, greeted or not.
    pub fn get(&self, peer: PeerId) -> Option<&Peer> {
        self.peers.get(&peer)
    }

    /// The same, to change.
    pub fn peer_mut(&mut self, peer: PeerId) -> Option<&mut Peer> {
        self.peers.get_mut(&peer)
    }

    /// All connections, by number.
    pub fn all(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values()
    }

    /// Those that have proven who they are.
    pub fn ready(&self) -> impl Iterator<Item = &Peer> {
        self.peers.values().filter(|peer| peer.is_ready())
    }

    /// Peers set aside now.
    pub fn aside_count(&self) -> usize {
        self.aside.count()
    }

    /// The same with their reasons: those set aside last.
    pub fn aside(&self, now: Monotonic) -> Vec<AsidePeer> {
        self.aside.status(now, &self.network)
    }

    /// How connections ended, the newest first.
    pub fn ended(&self, now: Monotonic) -> Vec<EndedPeer> {
        self.ends.status(now, &self.network)
    }

    /// HNs of our dial list that are connected, whoever dialled, and how many of them share this tip.
    pub fn dial_list_sharing(&self, tip: &Point) -> (u32, u32) {
        let connected = self.dialler.targets().iter().filter_map(|target| {
            let peer = self.keys.get(&target.key)?;
            self.peers.get(peer)
        });
        let mut counts = (0, 0);
        for peer in connected {
            counts.0 += 1;
            counts.1 += u32::from(peer.tip.is_some_and(|theirs| theirs.point == *tip));
        }
        counts
    }

    /// Whether there is anybody to dial.
    pub fn has_targets(&self) -> bool {
        !self.dialler.targets().is_empty()
    }

    /// A round began: whom to dial from now on.
    pub fn set_targets(&mut self, targets: Vec<(PublicKey, Endpoint)>, rotate_at: Monotonic) {
        self.dialler.set_targets(targets, rotate_at);
        self.due = Monotonic(0);
    }

    /// A connection stands: greets, or closes when there is no place.
    pub fn connected(
        &mut self,
        turn: &mut Turn,
        id: PeerId,
        endpoint: Endpoint,
        dialled: bool,
        channel: Hash,
    ) {
        self.due = Monotonic(0);
        self.peers.insert(id, Peer::new(id, endpoint, dialled, channel, turn.now.mono));
        if !dialled && !self.has_place(&endpoint) {
            self.close(turn, id, ByeReason::Full);
            return;
        }
        let hello = Hello::sign(&self.key, &self.network, (&channel, dialled), &self.verifier);
        turn.out.send(id, Message::Hello(hello));
    }

    /// A peer says who it is. Returns whether it is ready turn.now.
    pub fn hello(
        &mut self,
        turn: &mut Turn,
        id: PeerId,
        hello: &Hello,
        state: &SealedState,
    ) -> bool {
        self.due = Monotonic(0);
        let Some(peer) = self.peers.get(&id) else { return false };
        if peer.is_ready() {
            self.close(turn, id, ByeReason::Protocol);
            return false;
        }
        if let Err(reason) = self.check_hello(peer, hello) {
            self.close(turn, id, reason);
            return false;
        }
        if let Some(other) = self.keys.get(&hello.key).copied() {
            let surplus = self.surplus(id, other, &hello.key);
            self.close(turn, surplus, ByeReason::Duplicate);
            if surplus == id {
                return false;
            }
        }
        let address = self.network.address_of(&hello.key);
        let masternode = state.is_masternode(&address, &hello.key);
        let crowd = self.ready().filter(|it| !it.dialled && it.masternode == masternode).count();
        let most = if masternode { self.limits.accepted } else { self.limits.observers };
        let peer = self.peers.get_mut(&id).expect("looked up above");
        if !peer.dialled && crowd >= most {
            self.close(turn, id, ByeReason::Full);
            return false;
        }
        peer.greeted(turn.now.mono, hello, address, masternode);
        let endpoint = peer.endpoint;
        // At once, so that delay and clock are known from the start.
        let nonce = self.rng.next_u64();
        peer.pinged(turn.now.mono, nonce);
        turn.out.send(id, Message::Ping { nonce });
        self.keys.insert(hello.key, id);
        turn.out.note(Note::PeerReady { peer: id, key: hello.key, endpoint });
        true
    }

    /// A seal may have changed who is an HN. Who is since then comes back.
    pub fn recognise(&mut self, state: &SealedState) -> Vec<PeerId> {
        let mut new = Vec::new();
        for (id, peer) in &mut self.peers {
            let (Some(address), Some(key)) = (&peer.address, &peer.key) else { continue };
            let masternode = state.is_masternode(address, key);
            if masternode && !peer.masternode {
                new.push(*id);
            }
            peer.masternode = masternode;
        }
        new
    }

    /// The other side, or the network, ended a connection.
    pub fn disconnected(&mut self, turn: &mut Turn, id: PeerId, fault: Fault) {
        self.due = Monotonic(0);
        let Some(peer) = self.forget(id) else { return };
        if peer.dialled {
            self.dialler.ended(peer.endpoint, turn.now.mono, peer.ready_since(), &mut self.rng);
        }
        let (by_us, code, message) = match fault {
            Fault::None => match peer.bye {
                Some(reason) => (false, reason.code(), reason.to_string()),
                None => (false, "gone", "it went away".to_owned()),
            },
            Fault::Stuck => (true, "stuck", "does not read what it is sent".to_owned()),
            Fault::Malformed => (true, "malformed", "sent what no node sends".to_owned()),
        };
        let (endpoint, dialled, key, at) = (peer.endpoint, peer.dialled, peer.key, turn.now.mono);
        self.ends.add(End { endpoint, dialled, key, by_us, code, message, at, count: 1 });
        match fault {
            Fault::None | Fault::Stuck => {}
            Fault::Malformed => self.put_aside(turn, &peer, ByeReason::Invalid),
        }
    }

    /// A dial failed.
    pub fn dial_failed(&mut self, now: Now, endpoint: Endpoint) {
        self.due = Monotonic(0);
        self.dialler.ended(endpoint, now.mono, None, &mut self.rng);
    }

    /// Ends a connection, saying why.
    pub fn close(&mut self, turn: &mut Turn, id: PeerId, reason: ByeReason) {
        let Some(peer) = self.forget(id) else { return };
        self.due = Monotonic(0);
        turn.out.close(id, reason);
        turn.out.note(Note::PeerClosed { peer: id, key: peer.key, reason });
        let end = End::of_bye(peer.endpoint, reason, turn.now.mono);
        self.ends.add(End { dialled: peer.dialled, key: peer.key, ..end });
        if peer.dialled {
            // As after a failure: whatever made us close may be there for a while.
            self.dialler.ended(peer.endpoint, turn.now.mono, peer.ready_since(), &mut self.rng);
        }
    }

    /// Ends a connection because of what the peer did, and talks to it no more for a while.
    pub fn blame(&mut self, turn: &mut Turn, id: PeerId, reason: ByeReason) {
        let Some(peer) = self.peers.get(&id).cloned() else { return };
        self.close(turn, id, reason);
        self.put_aside(turn, &peer, reason);
    }

    /// Takes what a frame costs from the peer's budget; closes when it is spent. False when it is gone.
    pub fn spend(&mut self, turn: &mut Turn, id: PeerId, message: &Message, bytes: u32) -> bool {
        let Some(peer) = self.peers.get_mut(&id) else { return false };
        if !peer.is_ready() && !matches!(message, Message::Hello(_) | Message::Bye(_)) {
            self.close(turn, id, ByeReason::Protocol);
            return false;
        }
        if !peer.spend(turn.now.mono, message, bytes) {
            self.close(turn, id, ByeReason::Budget);
            return false;
        }
        true
    }

    /// What a peer sent was an answer, or not: what we asked for is not charged by its length.
    pub fn answered(&mut self, id: PeerId, asked: bool, bytes: u32) {
        if let Some(peer) = self.peers.get_mut(&id).filter(|_| asked) {
            peer.refund(bytes);
        }
    }

    /// A peer says why it closes, before it does.
    pub fn bye(&mut self, id: PeerId, reason: ByeReason) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.bye = Some(reason);
        }
    }

    /// Answers a ping.
    pub fn ping(&self, turn: &mut Turn, id: PeerId, nonce: u64) {
        turn.out.send(id, Message::Pong { nonce, clock: turn.now.wall });
    }

    /// Takes the answer to ours: round-trip time and the peer's clock.
    pub fn pong(&mut self, now: Now, id: PeerId, nonce: u64, clock: u64) {
        if let Some(peer) = self.peers.get_mut(&id) {
            peer.ponged(now, nonce, clock);
        }
    }

    /// Median of the peers' clocks against ours.
    pub fn clock_offset_ms(&self) -> Option<i64> {
        let mut offsets: Vec<i64> = self.ready().filter_map(|peer| peer.clock_offset_ms).collect();
        offsets.sort_unstable();
        offsets.get(offsets.len() / 2).copied()
    }

    /// Deadlines, pings, dials.
    pub fn tick(&mut self, turn: &mut Turn) {
        if turn.now.mono < self.due {
            return;
        }
        let quiet_ms = (self.network.clock.slot_ms / 2).clamp(5_000, 90_000);
        let mut due = turn.now.mono.plus(quiet_ms);
        let mut late = Vec::new();
        for peer in self.peers.values_mut() {
            match peer.deadline(quiet_ms) {
                deadline if deadline > turn.now.mono => due = due.min(deadline),
                _ if peer.waits() => late.push(peer.id),
                _ => {
                    let nonce = self.rng.next_u64();
                    peer.pinged(turn.now.mono, nonce);
                    due = due.min(turn.now.mono.plus(PONG_MS));
                    turn.out.send(peer.id, Message::Ping { nonce });
                }
            }
        }
        for id in late {
            self.close(turn, id, ByeReason::Timeout);
        }
        self.aside.expire(turn.now.mono);
        for id in self.dialler.rotated(turn.now.mono, &self.peers) {
            self.close(turn, id, ByeReason::Rotation);
        }
        let (keys, aside) = (&self.keys, &self.aside);
        let busy = |key: &PublicKey| keys.contains_key(key) || aside.contains(key);
        let next = self.dialler.dial(turn.now.mono, busy, &mut turn.out);
        self.due = due.min(next);
    }

    /// Connections that ended since this was last asked, whoever ended them.
    pub fn take_gone(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.gone)
    }

    /// When `tick` has something to do next.
    pub fn due(&self) -> Monotonic {
        self.due
    }

    fn check_hello(&self, peer: &Peer, hello: &Hello) -> Result<(), ByeReason> {
        if hello.key == self.own {
            return Err(ByeReason::Own);
        }
        // It has dialled where we have not.
        let connection = (&peer.channel, !peer.dialled);
        if !hello.is_signed(&self.network, connection, &self.verifier) {
            return Err(ByeReason::Identity);
        }
        let expected = if peer.dialled { self.dialler.expected(&peer.endpoint) } else { None };
        if expected.is_some_and(|key| key != hello.key) {
            return Err(ByeReason::Identity);
        }
        if self.aside.contains(&hello.key) {
            return Err(ByeReason::SetAside);
        }
        Ok(())
    }

    /// Which of two connections to one key goes: the one dialled by the higher key; of two dialled by one side the
    /// older, which may be the rest of a node that restarted.
    fn surplus(&self, new: PeerId, old: PeerId, key: &PublicKey) -> PeerId {
        let dialled = |id: &PeerId| self.peers.get(id).is_some_and(|peer| peer.dialled);
        if dialled(&new) == dialled(&old) {
            return old;
        }
        let ours_stays = self.own < *key;
        if dialled(&new) == ours_stays { old } else { new }
    }

    fn has_place(&self, endpoint: &Endpoint) -> bool {
        let accepted: Vec<&Peer> = self.peers.values().filter(|peer| !peer.dialled).collect();
        let greeting = accepted.iter().filter(|peer| !peer.is_ready()).count();
        let block = |endpoint: &Endpoint| {
            let [a, b, c, _] = endpoint.ip.octets();
            [a, b, c]
        };
        let near = accepted.iter().filter(|peer| block(&peer.endpoint) == block(endpoint)).count();
        let most = self.network.values_at(self.network.first_round).inbound_per_block as usize;
        greeting <= self.limits.observers && (most == 0 || near <= most)
    }

    fn put_aside(&mut self, turn: &mut Turn, peer: &Peer, reason: ByeReason) {
        if let Some(key) = peer.key {
            self.aside.put(key, peer.endpoint, reason, turn.now.mono);
        }
        let (key, endpoint) = (peer.key, peer.endpoint);
        turn.out.note(Note::PeerSetAside { key, endpoint, reason, for_ms: ASIDE_MS });
    }

    fn forget(&mut self, id: PeerId) -> Option<Peer> {
        let peer = self.peers.remove(&id)?;
        self.gone.push(id);
        if let Some(key) = peer.key.filter(|key| self.keys.get(key) == Some(&id)) {
            self.keys.remove(&key);
        }
        Some(peer)
    }
}
