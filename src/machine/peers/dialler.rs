//! Whom to dial and when: the dial list of the round, again after 0.5 s doubling to 60 s with jitter.

use std::collections::BTreeMap;

use super::Peer;
use crate::machine::event::{Outbox, PeerId};
use crate::types::clock::Monotonic;
use crate::types::key::PublicKey;
use crate::types::network::Endpoint;
use crate::types::rng::Rng;

const WAIT_MIN_MS: u64 = 500;
const WAIT_MAX_MS: u64 = 60_000;
/// A connection that stood for this long was a success; one that ends sooner, as with a peer that has set us aside, is
/// one more failure.
const STOOD_MS: u64 = 60_000;

/// An HN to be connected with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub key: PublicKey,
    pub endpoint: Endpoint,
}

#[derive(Debug, Clone, Copy)]
struct Retry {
    wait_ms: u64,
    at: Monotonic,
}

/// The dial list and how its dials went.
#[derive(Debug, Default)]
pub struct Dialler {
    targets: Vec<Target>,
    tried: BTreeMap<Endpoint, Retry>,
    /// From then on connections that we dialled and that are not in the list are closed.
    rotate_at: Option<Monotonic>,
}

impl Dialler {
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Who should answer there, when it is one of the list.
    pub fn expected(&self, endpoint: &Endpoint) -> Option<PublicKey> {
        self.targets.iter().find(|target| target.endpoint == *endpoint).map(|target| target.key)
    }

    /// The list of a new round; what it dropped stays connected until `rotate_at`.
    pub fn set_targets(&mut self, targets: Vec<(PublicKey, Endpoint)>, rotate_at: Monotonic) {
        self.targets =
            targets.into_iter().map(|(key, endpoint)| Target { key, endpoint }).collect();
        self.rotate_at = Some(rotate_at);
        let targets = &self.targets;
        self.tried.retain(|endpoint, _| targets.iter().any(|target| target.endpoint == *endpoint));
    }

    /// A dial failed, or its connection ended, which had been ready since then.
    pub fn ended(
        &mut self,
        endpoint: Endpoint,
        now: Monotonic,
        ready: Option<Monotonic>,
        rng: &mut Rng,
    ) {
        if !self.targets.iter().any(|target| target.endpoint == endpoint) {
            self.tried.remove(&endpoint);
            return;
        }
        let stood = ready.is_some_and(|since| now.since(since) >= STOOD_MS);
        let tried = self.tried.get(&endpoint).filter(|_| !stood);
        let before = tried.map_or(WAIT_MIN_MS / 2, |retry| retry.wait_ms);
        let wait_ms = (before * 2).clamp(WAIT_MIN_MS, WAIT_MAX_MS);
        let jittered = wait_ms * 3 / 4 + rng.below(wait_ms / 2);
        self.tried.insert(endpoint, Retry { wait_ms, at: now.plus(jittered) });
    }

    /// Connections to close because the round has others; once a round.
    pub fn rotated(&mut self, now: Monotonic, peers: &BTreeMap<PeerId, Peer>) -> Vec<PeerId> {
        if self.rotate_at.is_none_or(|at| now < at) {
            return Vec::new();
        }
        self.rotate_at = None;
        let listed = |peer: &Peer| self.targets.iter().any(|target| Some(target.key) == peer.key);
        peers
            .values()
            .filter(|peer| peer.dialled && peer.is_ready() && !listed(peer))
            .map(|peer| peer.id)
            .collect()
    }

    /// When an endpoint may be dialled again.
    #[cfg(test)]
    pub fn wait_of(&self, endpoint: &Endpoint) -> Monotonic {
        self.tried.get(endpoint).map_or(Monotonic(0), |retry| retry.at)
    }

    /// Dials what is due and not `busy`. Returns when to look again.
    pub fn dial(
        &mut self,
        now: Monotonic,
        busy: impl Fn(&PublicKey) -> bool,
        out: &mut Outbox,
    ) -> Monotonic {
        let mut next = self.rotate_at.unwrap_or(now.plus(WAIT_MAX_MS));
        for target in self.targets.iter().filter(|target| !busy(&target.key)) {
            let retry = self.tried.entry(target.endpoint).or_insert(Retry { wait_ms: 0, at: now });
            if retry.at > now {
                next = next.min(retry.at);
                continue;
            }
            // Should nothing ever be heard of it, it is tried again like any failure.
            retry.at = now.plus(WAIT_MAX_MS);
            out.dial(target.endpoint);
        }
        next
    }
}
