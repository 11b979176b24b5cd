//! Peers that are not talked to for a while, because of what they did.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::machine::status::AsidePeer;
use crate::types::clock::Monotonic;
use crate::types::key::PublicKey;
use crate::types::message::ByeReason;
use crate::types::network::{Endpoint, Network};

/// Keys set aside at once.
const ASIDE_MAX: usize = 1024;
/// How long a peer that broke a promise or sent what is wrong is not talked to.
pub const ASIDE_MS: u64 = 5 * 60_000;
/// Of these, so many are shown: those set aside last.
const SHOWN_MAX: usize = 64;

/// Who is set aside.
#[derive(Debug, Default)]
pub struct Aside {
    keys: BTreeMap<PublicKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    until: Monotonic,
    endpoint: Endpoint,
    reason: ByeReason,
}

impl Aside {
    /// From now on, for [`ASIDE_MS`].
    pub fn put(&mut self, key: PublicKey, endpoint: Endpoint, reason: ByeReason, now: Monotonic) {
        if self.keys.len() >= ASIDE_MAX {
            let next = self.keys.iter().min_by_key(|(_, it)| it.until).map(|(key, _)| *key);
            next.map(|key| self.keys.remove(&key));
        }
        self.keys.insert(key, Entry { until: now.plus(ASIDE_MS), endpoint, reason });
    }

    pub fn contains(&self, key: &PublicKey) -> bool {
        self.keys.contains_key(key)
    }

    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Forgets those whose time is over.
    pub fn expire(&mut self, now: Monotonic) {
        self.keys.retain(|_, it| it.until > now);
    }

    /// Those set aside last, the newest first.
    pub fn status(&self, now: Monotonic, network: &Network) -> Vec<AsidePeer> {
        let mut list: Vec<_> = self.keys.iter().collect();
        list.sort_by_key(|(_, it)| Reverse(it.until));
        let status = |(key, it): (&PublicKey, &Entry)| AsidePeer {
            public_key: *key,
            address: network.address_of(key).to_string(),
            endpoint: it.endpoint.to_string(),
            code: it.reason.code().to_owned(),
            message: it.reason.to_string(),
            left_ms: it.until.since(now),
        };
        list.into_iter().take(SHOWN_MAX).map(status).collect()
    }
}
