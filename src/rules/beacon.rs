//! The beacon: the randomness of plans, made of secrets that were committed to two rounds before (`docs/protocol.md`
//! §6).
//!
//! A forger can withhold its secret by not forging; it cannot try another one, and what is never sealed moves nothing.

use crate::types::hash::{Hash, Hasher, hash};

/// Rounds from the heartbeat that commits to a secret to the round in which it is due.
pub const COMMITMENT_ROUNDS: u64 = 2;

/// H("beacon", beacon of the seal before ‖ reveals since, in block order), as far as the blocks go.
#[derive(Clone)]
pub struct Beacon(Hasher);

impl Beacon {
    /// The beacon of the seal before, and no reveal yet.
    pub fn new(before: &Hash) -> Beacon {
        let mut hasher = Hasher::new("beacon");
        hasher.update(&before.0);
        Beacon(hasher)
    }

    /// Takes the reveal of the next block that has one.
    pub fn reveal(&mut self, secret: &Hash) {
        self.0.update(&secret.0);
    }

    /// The beacon of a seal of the last block.
    pub fn finish(&self) -> Hash {
        self.0.clone().finish()
    }
}

/// The beacon of genesis: H("beacon", network_id).
pub fn genesis(network_id: &Hash) -> Hash {
    hash("beacon", &[&network_id.0])
}

/// What a heartbeat says of a secret: H("commit", secret).
pub fn commitment_to(secret: &Hash) -> Hash {
    hash("commit", &[&secret.0])
}

/// Whether a heartbeat commits to something.
pub fn is_commitment(commitment: &Hash) -> bool {
    *commitment != Hash::default()
}
