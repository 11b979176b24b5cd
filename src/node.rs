//! The node: routes each event to the machines and joins what they say. No rule lives here.

use std::fmt;
use std::rc::Rc;

use crate::machine::event::{Effect, Event, Outbox};
use crate::machine::records::{Draft, Reader};
use crate::machine::status::{PeerStatus, PoolEntry, Status};
use crate::types::clock::{Monotonic, Now, Timestamp};
use crate::types::hash::Hash;
use crate::types::key::{SecretKey, Verifier};
use crate::types::network::Network;
use crate::types::sign::SignState;

/// What a node is made of.
pub struct Setup {
    pub network: Rc<Network>,
    pub key: SecretKey,
    /// Seeds jitter and choices.
    pub seed: Hash,
    /// A clock before this date is wrong.
    pub built: Timestamp,
    /// What was signed before.
    pub signed: SignState,
    /// Signatures seen; shared by the nodes of a simulation.
    pub verifier: Verifier,
}

/// Why a node cannot start on its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenError {
    /// A record that must be there is missing or damaged.
    Damaged(&'static str),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Damaged(what) => write!(f, "the database is damaged: {what}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// The deterministic core of a masternode.
pub struct Node {
    #[allow(dead_code)]
    setup: Setup,
}

impl Node {
    /// A node on its database, as it was left.
    pub fn open(setup: Setup, _now: Now, _db: &dyn Reader) -> Result<Node, OpenError> {
        Ok(Node { setup })
    }

    /// Takes one event in; the effects are to happen in order.
    pub fn handle(&mut self, _now: Now, _event: Event, db: &dyn Reader) -> Vec<Effect> {
        let mut out = Outbox::default();
        let draft = Draft::new(db);
        out.take(draft.into_batch())
    }

    /// The shell sends `Wake` then, and may send it earlier.
    pub fn next_wake(&self) -> Monotonic {
        Monotonic(0)
    }

    /// How the node is.
    pub fn status(&self, _now: Now) -> Status {
        unimplemented!("the node is not joined yet")
    }

    /// Connections, in the order of their numbers.
    pub fn peers(&self, _now: Now) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// Messages waiting for a block, at most `limit`.
    pub fn mempool(&self, _limit: usize) -> Vec<PoolEntry> {
        Vec::new()
    }
}
