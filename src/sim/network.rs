//! Connections between hosts, as TCP would carry them: in order, with latency, jitter, a rate, and cuts.
//!
//! A stream neither drops, reorders nor repeats what is in it. A lost packet is therefore a delay of everything behind
//! it, and now and then the end of the connection; a cut holds frames back until it heals or the connection times out;
//! reordering comes from the different ways that news takes. Only `duplicate` goes beyond TCP: it delivers a frame of
//! gossip twice, as a peer may always do.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::machine::event::PeerId;
use crate::types::message::Message;
use crate::types::rng::Rng;

/// Latency of a pair of hosts, one way, in milliseconds.
const LATENCY_MS: std::ops::RangeInclusive<u64> = 5..=150;
/// Bytes a second, each way, of a connection without trouble: 10 Mbit.
const RATE: u64 = 1_250_000;
/// Bytes that wait in a host for one peer before it counts as stuck.
const BACKLOG_MAX: u64 = 8 * 1024 * 1024;
/// A connection ends when a cut lasts this long or longer, up to twice as long.
pub const CUT_TIMEOUT_MS: u64 = 30_000;
/// A dial into a cut fails after this.
pub const DIAL_TIMEOUT_MS: u64 = 10_000;

/// What travels. The message is encoded once and shared.
#[derive(Debug, Clone)]
pub struct Frame {
    pub message: Rc<Message>,
    pub bytes: u32,
    /// Of the world, counted from the start.
    pub number: u64,
}

/// What becomes of a frame handed to a connection. Times are virtual milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    Arrives(u64),
    Twice(u64, u64),
    /// Waits for the end of a cut.
    Held,
    /// The connection is closed.
    Dropped,
    /// Too much waits already: the sender's shell gives the peer up.
    Stuck,
    /// A loss that TCP did not survive.
    Reset,
}

/// What is wrong with the connections of a host.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trouble {
    /// Of 1,000 frames, so many meet a lost packet.
    pub loss: u64,
    /// Milliseconds more for each frame.
    pub delay_ms: u64,
    /// Of 1,000 frames of gossip, so many arrive twice.
    pub duplicate: u64,
    /// Bytes a second that the host can send on a connection; 0: no trouble.
    pub rate: u64,
}

/// One end of a connection.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub host: usize,
    /// Which run of the host's process.
    pub life: u32,
    pub open: bool,
}

struct Link {
    ends: [End; 2],
    lanes: [Lane; 2],
}

/// One direction of a connection: from the end of the same index to the other.
#[derive(Default)]
struct Lane {
    /// When the last byte queued has left.
    free_at: u64,
    last_arrival: u64,
    held: Vec<Frame>,
    /// What is in flight does not arrive.
    lost: bool,
}

/// All connections.
pub struct Net {
    hosts: usize,
    latency: Vec<u64>,
    /// How many faults cut the way from one host to another.
    cuts: Vec<u16>,
    pub trouble: Vec<Trouble>,
    links: Vec<Link>,
    open: Vec<BTreeSet<PeerId>>,
    rng: Rng,
}

/// The number of the other end's peer.
pub fn other(peer: PeerId) -> PeerId {
    PeerId(peer.0 ^ 1)
}

fn place(peer: PeerId) -> (usize, usize) {
    ((peer.0 >> 1) as usize, (peer.0 & 1) as usize)
}

impl Net {
    /// No connections yet between this many hosts; latencies are drawn.
    pub fn new(hosts: usize, mut rng: Rng) -> Net {
        let mut latency = vec![0; hosts * hosts];
        for from in 0..hosts {
            for to in 0..=from {
                let span = LATENCY_MS.end() - LATENCY_MS.start() + 1;
                let ms = LATENCY_MS.start() + rng.below(span);
                latency[from * hosts + to] = ms;
                latency[to * hosts + from] = ms;
            }
        }
        Net {
            hosts,
            latency,
            cuts: vec![0; hosts * hosts],
            trouble: vec![Trouble::default(); hosts],
            links: Vec::new(),
            open: vec![BTreeSet::new(); hosts],
            rng,
        }
    }

    /// Gives all pairs the same latency.
    pub fn level(&mut self, ms: u64) {
        self.latency.fill(ms);
    }

    /// A connection about to stand: the peer numbers of the dialling and of the accepting end.
    pub fn connect(&mut self, ends: [(usize, u32); 2]) -> (PeerId, PeerId) {
        let number = self.links.len() as u64;
        let ends = ends.map(|(host, life)| End { host, life, open: false });
        self.links.push(Link { ends, lanes: Default::default() });
        (PeerId(2 * number), PeerId(2 * number + 1))
    }

    /// Marks an end as standing from `now` on: nothing reaches it earlier.
    pub fn open(&mut self, peer: PeerId, now: u64) {
        let (link, side) = place(peer);
        let link = &mut self.links[link];
        link.ends[side].open = true;
        link.lanes[1 - side].last_arrival = link.lanes[1 - side].last_arrival.max(now);
        self.open[link.ends[side].host].insert(peer);
    }

    /// Keeps frames to an end that is about to open behind that moment.
    pub fn not_before(&mut self, peer: PeerId, time: u64) {
        let (link, side) = place(peer);
        self.links[link].lanes[1 - side].last_arrival = time;
    }

    /// The end with this number.
    pub fn end(&self, peer: PeerId) -> End {
        let (link, side) = place(peer);
        self.links[link].ends[side]
    }

    /// The host at the other end.
    pub fn host_of(&self, peer: PeerId) -> usize {
        self.end(other(peer)).host
    }

    /// The connections of a host.
    pub fn of(&self, host: usize) -> Vec<PeerId> {
        self.open[host].iter().copied().collect()
    }

    /// Milliseconds that a byte needs from one host to another now.
    pub fn way(&mut self, from: usize, to: usize) -> u64 {
        let base = self.latency[from * self.hosts + to];
        let trouble = self.trouble[from].delay_ms + self.trouble[to].delay_ms;
        base + self.rng.below(base / 5 + 1) + trouble
    }

    /// Hands a frame to the connection.
    pub fn send(&mut self, peer: PeerId, frame: &Frame, now: u64) -> Sent {
        let (link, side) = place(peer);
        let ends = self.links[link].ends;
        if !ends[side].open {
            return Sent::Dropped;
        }
        let (from, to) = (ends[side].host, ends[1 - side].host);
        let mut way = self.way(from, to);
        let loss = self.trouble[from].loss + self.trouble[to].loss;
        if loss > 0 && self.rng.below(1000) < loss {
            if self.rng.one_in(30) {
                return Sent::Reset;
            }
            way += 200 << self.rng.below(4);
        }
        let twice = self.is_twice(&frame.message, from);
        let rate = match self.trouble[from].rate {
            0 => RATE,
            rate => rate,
        };
        let cut = self.is_cut(from, to);
        let lane = &mut self.links[link].lanes[side];
        if cut || !lane.held.is_empty() {
            lane.held.push(frame.clone());
            return Sent::Held;
        }
        let start = lane.free_at.max(now);
        if (start - now).saturating_mul(rate) / 1000 > BACKLOG_MAX {
            return Sent::Stuck;
        }
        lane.free_at = start + u64::from(frame.bytes) * 1000 / rate;
        let arrival = (lane.free_at + way).max(lane.last_arrival);
        if !twice {
            lane.last_arrival = arrival;
            return Sent::Arrives(arrival);
        }
        lane.last_arrival = arrival + way;
        Sent::Twice(arrival, arrival + way)
    }

    fn is_twice(&mut self, message: &Message, from: usize) -> bool {
        let often = self.trouble[from].duplicate;
        let gossip =
            matches!(message, Message::Tip(_) | Message::Have(_) | Message::NewBlock { .. });
        often > 0 && gossip && self.rng.below(1000) < often
    }

    /// Whether what was sent to this end still reaches it.
    pub fn reaches(&self, peer: PeerId) -> bool {
        let (link, side) = place(peer);
        self.links[link].ends[side].open && !self.links[link].lanes[1 - side].lost
    }

    /// Closes an end at once; nothing of what it sent arrives any more when `lose`. The time at which the other end
    /// learns of it.
    pub fn close(&mut self, peer: PeerId, now: u64, lose: bool) -> u64 {
        let (link, side) = place(peer);
        let (from, to) = (self.links[link].ends[side].host, self.links[link].ends[1 - side].host);
        let way = self.way(from, to);
        let cut = self.is_cut(from, to);
        let link = &mut self.links[link];
        link.ends[side].open = false;
        self.open[from].remove(&peer);
        let lane = &mut link.lanes[side];
        lane.held = Vec::new();
        lane.lost |= lose;
        if cut {
            return now + CUT_TIMEOUT_MS;
        }
        // A slow sender's backlog does not leave before it closes: "as far as it goes at once".
        if lane.last_arrival > now + CUT_TIMEOUT_MS {
            lane.lost = true;
            return now + way;
        }
        lane.last_arrival.max(now + way)
    }

    /// Nothing of what an end has sent, or sends from now on, arrives.
    pub fn lose(&mut self, peer: PeerId) {
        let (link, side) = place(peer);
        self.links[link].lanes[side].lost = true;
    }

    /// Connections of a host on which something waits longer than a second to leave.
    pub fn clogged(&self, host: usize, now: u64) -> Vec<PeerId> {
        let waits = |peer: &&PeerId| {
            let (link, side) = place(**peer);
            self.links[link].lanes[side].free_at > now + 1000
        };
        self.open[host].iter().filter(waits).copied().collect()
    }

    /// Whether nothing gets from one host to the other.
    pub fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cuts[from * self.hosts + to] > 0
    }

    /// Cuts the way from one host to another. Cuts add up.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.cuts[from * self.hosts + to] += 1;
    }

    /// Takes one cut back; when it was the last, the connections that frames wait on, and those frames.
    pub fn mend(&mut self, from: usize, to: usize) -> Vec<(PeerId, Vec<Frame>)> {
        let cuts = &mut self.cuts[from * self.hosts + to];
        *cuts -= 1;
        if *cuts > 0 {
            return Vec::new();
        }
        let mut waiting = Vec::new();
        for peer in &self.open[from] {
            let (link, side) = place(*peer);
            let link = &mut self.links[link];
            if link.ends[1 - side].host == to && !link.lanes[side].held.is_empty() {
                waiting.push((*peer, std::mem::take(&mut link.lanes[side].held)));
            }
        }
        waiting
    }
}
