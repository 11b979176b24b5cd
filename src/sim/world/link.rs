//! Connections of the world: how they come to stand, what goes over them, and how they end.

use std::rc::Rc;

use super::{Task, World};
use crate::machine::event::{Effect, Event, Fault, PeerId};
use crate::sim::network::{DIAL_TIMEOUT_MS, Frame, Sent, other};
use crate::types::hash::hash;
use crate::types::message::{FRAME_HEAD, Message, body_max};
use crate::types::network::Endpoint;

/// Of so many frames, one is decoded again: what is sent must be what a peer can read.
const DECODED_ONE_IN: u64 = 61;

impl World {
    pub(super) fn dial(&mut self, index: usize, endpoint: Endpoint) {
        let now = self.now;
        let life = self.hosts[index].life;
        let failed = Task::DialFailed { host: index, life, endpoint };
        let Some(target) = self.hosts.iter().position(|host| host.endpoint == endpoint) else {
            return self.queue.add(now + DIAL_TIMEOUT_MS, failed);
        };
        let round_trip = self.net.way(index, target) + self.net.way(target, index);
        if self.net.is_cut(index, target) || self.net.is_cut(target, index) {
            self.queue.add(now + DIAL_TIMEOUT_MS, failed);
        } else if self.hosts[target].node.is_none() {
            self.queue.add(now + round_trip, failed);
        } else {
            let ends = [(index, life), (target, self.hosts[target].life)];
            let (peer, _) = self.net.connect(ends);
            // One round trip for TCP, one for the first two messages of the handshake.
            self.queue.add(now + 2 * round_trip, Task::Open { peer });
        }
    }

    /// Whether the process of an end still runs.
    fn lives(&self, peer: PeerId) -> bool {
        let end = self.net.end(peer);
        let host = &self.hosts[end.host];
        host.node.is_some() && host.life == end.life
    }

    pub(super) fn open(&mut self, peer: PeerId) {
        if !self.lives(peer) {
            return;
        }
        let (from, to) = (self.net.end(peer).host, self.net.end(other(peer)).host);
        let endpoint = self.hosts[to].endpoint;
        let cut = self.net.is_cut(from, to) || self.net.is_cut(to, from);
        if cut || !self.lives(other(peer)) {
            return self.deliver(from, Event::DialFailed { endpoint }, 0);
        }
        let stands = self.now + self.net.way(from, to);
        self.net.open(peer, self.now);
        self.net.not_before(other(peer), stands);
        self.queue.add(stands, Task::Accept { peer: other(peer) });
        self.connected(peer, endpoint, true);
    }

    pub(super) fn accept(&mut self, peer: PeerId) {
        if !self.lives(peer) {
            return self.queue.add(self.now, Task::Gone { peer: other(peer), fault: Fault::None });
        }
        self.net.open(peer, self.now);
        let dialler = self.hosts[self.net.end(other(peer)).host].endpoint;
        let port = 40_000 + u16::try_from((peer.0 >> 1) % 20_000).expect("below 20,000");
        self.connected(peer, Endpoint { ip: dialler.ip, port }, false);
    }

    fn connected(&mut self, peer: PeerId, endpoint: Endpoint, dialled: bool) {
        // The same again for the same two processes: what they sign for it is then known, and most of a run was signing.
        let end = self.net.end(PeerId(peer.0 & !1));
        let far = self.net.end(PeerId(peer.0 | 1));
        let ends = [end.host, far.host].map(|host| (host as u64).to_be_bytes());
        let lives = [end.life, far.life].map(|life| u64::from(life).to_be_bytes());
        let channel = hash("channel", &[&ends.concat(), &lives.concat()]);
        let event = Event::Connected { peer, endpoint, dialled, channel };
        self.deliver(self.net.end(peer).host, event, 0);
    }

    pub(super) fn arrive(&mut self, peer: PeerId, frame: Frame) {
        if !self.net.reaches(peer) {
            self.votes_lost += frame.message.votes().len() as u64;
            return;
        }
        let host = self.net.end(peer).host;
        self.traffic[host].received(&frame);
        if self.hosts[host].honest && !self.hosts[self.net.end(other(peer)).host].honest {
            self.checks.heard_of_villain(&frame.message);
        }
        let event = Event::Received { peer, message: frame.message, bytes: frame.bytes };
        self.deliver(host, event, frame.number);
    }

    /// The other end, or the way to it, is gone.
    pub(super) fn gone(&mut self, peer: PeerId, fault: Fault) {
        if !self.net.end(peer).open {
            return;
        }
        self.close(peer, Fault::None);
        self.deliver(self.net.end(peer).host, Event::Disconnected { peer, fault }, 0);
    }

    /// Closes an end; the other one learns of it.
    pub(super) fn close(&mut self, peer: PeerId, fault: Fault) {
        if self.net.end(peer).open {
            let at = self.net.close(peer, self.now, false);
            self.queue.add(at, Task::Gone { peer: other(peer), fault });
        }
    }

    /// A cut has lasted longer than TCP waits.
    pub(super) fn time_out(&mut self, peer: PeerId) {
        let (from, to) = (self.net.end(peer).host, self.net.end(other(peer)).host);
        if self.net.is_cut(from, to) || self.net.is_cut(to, from) {
            self.gone(peer, Fault::None);
            self.gone(other(peer), Fault::None);
        }
    }

    pub(super) fn send(&mut self, index: usize, peers: Vec<PeerId>, message: Rc<Message>) {
        let bytes = message.to_frame();
        self.frames += 1;
        let number = self.frames;
        let length = u32::try_from(bytes.len()).expect("frames are far below 4 GiB");
        let effect = Effect::Send { peers, message };
        self.trace.effect(index, &effect, Some((number, &bytes)));
        let Effect::Send { peers, message } = effect else { return };
        self.checks.sent(self.now, index, &self.hosts, &message);
        if number % DECODED_ONE_IN == 0 || bytes.len() > 16 * 1024 {
            self.check_frame(index, &message, &bytes);
        }
        self.step_sent(&message, false);
        let frame = Frame { message, bytes: length, number };
        let drops = self.hosts[index].drops_after_bodies
            && matches!(&*frame.message, Message::Bodies { .. });
        for peer in peers {
            if self.is_lost(&frame.message, peer) {
                continue;
            }
            self.traffic[index].sent(&frame);
            self.carry(peer, &frame);
            if drops {
                self.queue.add(self.now, Task::Gone { peer, fault: Fault::None });
            }
        }
        self.step_sent(&frame.message, true);
    }

    /// What an honest host sends is what a peer reads.
    fn check_frame(&mut self, index: usize, message: &Message, bytes: &[u8]) {
        let kind = message.kind();
        let body = bytes.get(FRAME_HEAD..).unwrap_or_default();
        let fits = body_max(kind).is_ok_and(|most| body.len() <= most);
        let same = Message::from_body(kind, body).is_ok_and(|read| read.as_ref() == Some(message));
        if !fits || !same {
            let what = format!("sends a frame of kind {kind} that no peer reads");
            self.checks.violation(self.now, Some(index), what);
        }
    }

    pub(super) fn carry(&mut self, peer: PeerId, frame: &Frame) {
        let now = self.now;
        let arrive = || Task::Arrive { peer: other(peer), frame: frame.clone() };
        match self.net.send(peer, frame, now) {
            Sent::Arrives(at) => self.queue.add(at, arrive()),
            Sent::Twice(at, again) => {
                self.queue.add(at, arrive());
                self.queue.add(again, arrive());
            }
            Sent::Held | Sent::Dropped => {}
            Sent::Stuck => self.queue.add(now, Task::Gone { peer, fault: Fault::Stuck }),
            Sent::Reset => self.queue.add(now + 1000, Task::Gone { peer, fault: Fault::None }),
        }
    }
}
