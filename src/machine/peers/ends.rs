//! How connections ended, for people: the last ones. Of one address, all that ended alike are one entry, so that a flood
//! takes one place and not all.

use std::collections::VecDeque;

use crate::machine::status::EndedPeer;
use crate::types::clock::Monotonic;
use crate::types::key::PublicKey;
use crate::types::message::ByeReason;
use crate::types::network::{Endpoint, Network};

/// Entries kept; the one that was added to least recently leaves first.
const ENDS_MAX: usize = 64;

/// How connections ended.
#[derive(Debug, Default)]
pub struct Ends {
    /// The newest last.
    list: VecDeque<End>,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Of an accepted connection the port means nothing.
    pub endpoint: Endpoint,
    pub dialled: bool,
    /// Nothing when it had not proven who it is.
    pub key: Option<PublicKey>,
    /// Whether we ended it.
    pub by_us: bool,
    /// Why, for programs.
    pub code: &'static str,
    /// Why, for people.
    pub message: String,
    pub at: Monotonic,
    /// How many there were that ended like this.
    pub count: u64,
}

impl End {
    /// We ended a connection for one of the reasons that a bye may give.
    pub fn of_bye(endpoint: Endpoint, reason: ByeReason, at: Monotonic) -> End {
        let (code, message) = (reason.code(), reason.to_string());
        End { endpoint, dialled: false, key: None, by_us: true, code, message, at, count: 1 }
    }

    fn is_like(&self, other: &End) -> bool {
        let kind = |end: &End| (end.endpoint.ip, end.dialled, end.by_us, end.code);
        kind(self) == kind(other)
    }
}

impl Ends {
    /// Adds one.
    pub fn add(&mut self, mut end: End) {
        if let Some(at) = self.list.iter().position(|other| other.is_like(&end)) {
            let before = self.list.remove(at).map_or(0, |before| before.count);
            end.count = end.count.saturating_add(before);
        } else if self.list.len() >= ENDS_MAX {
            self.list.pop_front();
        }
        self.list.push_back(end);
    }

    /// All that are kept, the newest first.
    pub fn status(&self, now: Monotonic, network: &Network) -> Vec<EndedPeer> {
        let status = |end: &End| EndedPeer {
            endpoint: end.endpoint.to_string(),
            dialled: end.dialled,
            public_key: end.key,
            address: end.key.map(|key| network.address_of(&key).to_string()),
            by_us: end.by_us,
            code: end.code.to_owned(),
            message: end.message.clone(),
            count: end.count,
            ended_ms: now.since(end.at),
        };
        self.list.iter().rev().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_alike_is_counted_and_the_oldest_leaves_first() {
        let network = Network::test();
        let mut ends = Ends::default();
        let end = |ip: u8, reason, at| {
            let endpoint = Endpoint { ip: [9, 9, 9, ip].into(), port: at };
            End::of_bye(endpoint, reason, Monotonic(u64::from(at)))
        };
        for at in 0..1_000 {
            ends.add(end(1, ByeReason::Budget, at));
        }
        ends.add(end(1, ByeReason::Invalid, 1_000));
        let show = |ends: &Ends| {
            let list = ends.status(Monotonic(2_000), &network).into_iter();
            list.map(|it| (it.endpoint, it.code, it.count, it.ended_ms)).collect::<Vec<_>>()
        };
        let newest = ("9.9.9.1:1000".to_owned(), "invalid".to_owned(), 1, 1_000);
        let flood = ("9.9.9.1:999".to_owned(), "budget".to_owned(), 1_000, 1_001);
        assert_eq!(show(&ends), [newest, flood.clone()]);
        for ip in 2..=64 {
            ends.add(end(ip, ByeReason::Full, 1_001));
        }
        let list = show(&ends);
        assert_eq!(list.len(), ENDS_MAX);
        assert!(!list.contains(&flood), "the oldest has left");
        assert!(list.iter().any(|it| it.1 == "invalid"));
    }
}
