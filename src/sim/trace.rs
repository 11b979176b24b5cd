//! The trace: every delivered event and every effect, in order, as one hash. The same seed gives the same hash.
//!
//! What a message says is hashed once, where it is sent; its deliveries name it by number.

use std::io::Write;

use crate::machine::event::{Effect, Event, Fault};
use crate::types::codec;
use crate::types::hash::{Hash, Hasher};

/// Bytes gathered before the hash function is called.
const BUFFER: usize = 64 * 1024;

/// The hash of all that has happened.
pub struct Trace {
    hasher: Hasher,
    buffer: Vec<u8>,
    events: u64,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { hasher: Hasher::new("trace"), buffer: Vec::with_capacity(BUFFER + 1024), events: 0 }
    }
}

impl Trace {
    /// Events delivered so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// An event, at a time; `frame` is the number of the frame that it delivers.
    pub fn event(&mut self, time: u64, host: usize, event: &Event, frame: u64) {
        self.events += 1;
        let (kind, detail) = match event {
            Event::Wake => (0, 0),
            Event::Connected { peer, dialled, .. } => (1, peer.0 << 1 | u64::from(*dialled)),
            Event::DialFailed { endpoint } => (2, u64::from(u32::from(endpoint.ip))),
            Event::Received { .. } => (3, frame),
            Event::Disconnected { peer, fault } => {
                let fault = match fault {
                    Fault::None => 0,
                    Fault::Malformed => 1,
                    Fault::Stuck => 2,
                };
                (4, peer.0 << 2 | fault)
            }
            Event::Request { id, .. } => (5, id.0),
            Event::Ledger(_) | Event::LedgerSummary(_) => (6, 0),
        };
        self.head(kind, time, host);
        self.number(detail);
        self.flush();
    }

    /// An effect about to happen; `frame` is the number and the bytes of what is sent.
    pub fn effect(&mut self, host: usize, effect: &Effect, frame: Option<(u64, &[u8])>) {
        match effect {
            Effect::Guard(record) => {
                self.head(16, 0, host);
                self.bytes(&codec::encode(record));
            }
            Effect::Persist(batch) => {
                self.head(17, 0, host);
                for ((table, key), value) in &batch.0 {
                    self.bytes(table.name().as_bytes());
                    self.bytes(key);
                    self.bytes(value.as_deref().unwrap_or_default());
                    self.buffer.push(u8::from(value.is_some()));
                }
            }
            Effect::Send { peers, .. } => {
                self.head(18, 0, host);
                for peer in peers {
                    self.number(peer.0);
                }
                if let Some((number, bytes)) = frame {
                    self.number(number);
                    self.bytes(bytes);
                }
            }
            Effect::Dial { endpoint } => {
                self.head(19, u64::from(endpoint.port), host);
                self.buffer.extend_from_slice(&endpoint.ip.octets());
            }
            Effect::Close { peer, reason } => {
                self.head(20, peer.0, host);
                self.bytes(&codec::encode(reason));
            }
            Effect::Reply { id, answer } => {
                self.head(21, id.0, host);
                self.text(format_args!("{answer:?}"));
            }
            Effect::Stop(reason) => {
                self.head(23, 0, host);
                self.text(format_args!("{reason:?}"));
            }
            Effect::Note(note) => {
                self.head(22, 0, host);
                self.text(format_args!("{note:?}"));
            }
        }
        self.flush();
    }

    /// A crash, a restart or the start of a fault: what the world does to a host by itself.
    pub fn mark(&mut self, time: u64, host: usize, what: &str) {
        self.head(32, time, host);
        self.bytes(what.as_bytes());
    }

    /// The hash of all events and effects so far.
    pub fn finish(&self) -> Hash {
        let mut hasher = self.hasher.clone();
        hasher.update(&self.buffer);
        hasher.finish()
    }

    fn head(&mut self, kind: u8, time: u64, host: usize) {
        self.buffer.push(kind);
        self.number(host as u64);
        self.number(time);
    }

    /// Seven bits a byte, as postcard does.
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.buffer.push(value.to_le_bytes()[0]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.buffer.extend_from_slice(bytes);
    }

    fn text(&mut self, text: std::fmt::Arguments) {
        self.buffer.write_fmt(text).expect("a vector takes all");
    }

    fn flush(&mut self) {
        if self.buffer.len() >= BUFFER {
            self.hasher.update(&self.buffer);
            self.buffer.clear();
        }
    }
}
