//! What hosts send and receive: frames and bytes of each kind, and bodies of messages.

use std::collections::BTreeMap;

use super::network::Frame;
use crate::types::message::Message;

/// Kinds of frames of the open instance (`docs/protocol.md` §11), and among them a single vote.
pub const VOTING_KINDS: std::ops::RangeInclusive<u8> = 17..=21;
pub const VOTE_KIND: u8 = 18;

/// Frames and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub frames: u64,
    pub bytes: u64,
}

/// The traffic of a host, by kind of frame.
#[derive(Debug, Clone, Default)]
pub struct Traffic {
    pub sent: BTreeMap<u8, Count>,
    pub received: BTreeMap<u8, Count>,
    /// Messages received with their bodies, alone or in blocks.
    pub bodies_received: u64,
}

fn add(counts: &mut BTreeMap<u8, Count>, frame: &Frame) {
    let count = counts.entry(frame.message.kind()).or_default();
    count.frames += 1;
    count.bytes += u64::from(frame.bytes);
}

fn total(counts: &BTreeMap<u8, Count>) -> u64 {
    counts.values().map(|count| count.bytes).sum()
}

impl Traffic {
    /// The traffic of several hosts together.
    pub fn sum(hosts: &[Traffic]) -> Traffic {
        let mut sum = Traffic::default();
        for host in hosts {
            for (counts, more) in [(&mut sum.sent, &host.sent), (&mut sum.received, &host.received)]
            {
                for (kind, count) in more {
                    let entry = counts.entry(*kind).or_default();
                    entry.frames += count.frames;
                    entry.bytes += count.bytes;
                }
            }
            sum.bodies_received += host.bodies_received;
        }
        sum
    }

    /// A frame goes to one peer.
    pub fn sent(&mut self, frame: &Frame) {
        add(&mut self.sent, frame);
    }

    /// A frame has come.
    pub fn received(&mut self, frame: &Frame) {
        add(&mut self.received, frame);
        self.bodies_received += match &*frame.message {
            Message::Messages(list) => list.len() as u64,
            Message::Bodies { bodies, .. } => bodies.iter().map(|body| body.len() as u64).sum(),
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::NewBlock { .. }
            | Message::WantBodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::WantHeaders { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::Proposal(_)
            | Message::Vote(_)
            | Message::WantVotes { .. }
            | Message::Votes(_)
            | Message::Prepared(_)
            | Message::WantSeals { .. }
            | Message::Seals { .. }
            | Message::WantState { .. }
            | Message::State { .. }
            | Message::Bye(_) => 0,
        };
    }

    /// Bytes sent, of all kinds.
    pub fn bytes_sent(&self) -> u64 {
        total(&self.sent)
    }

    /// Bytes received, of all kinds.
    pub fn bytes_received(&self) -> u64 {
        total(&self.received)
    }
}
