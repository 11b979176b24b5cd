//! The core on its disk: gives it events, makes its barriers hold, and opens it again when they fail
//! (`docs/architecture.md`, the contract, 1, 2 and 8).
//!
//! Invariants: effects happen in their order, and none after a barrier that failed. Nothing leaves the process here:
//! what is for others comes back as [`Outward`], after all that had to be on disk before it is. No clock is read.

use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::guard::{Guard, GuardError};
use super::store::{Store, StoreError};
use super::tally::Tally;
use super::{crash, journal, witness};
use crate::machine::event::{Answer, Effect, Event, PeerId, RequestId, StopReason};
use crate::machine::limits::Limits;
use crate::machine::note::Note;
use crate::machine::records::Reader;
use crate::machine::status::Status;
use crate::node::{Node, OpenError, Setup};
use crate::types::block::Point;
use crate::types::clock::{Monotonic, Now, Round, Slot, Timestamp};
use crate::types::hash::Hash;
use crate::types::key::{PublicKey, SecretKey, Verifier};
use crate::types::message::{ByeReason, Message};
use crate::types::network::{Endpoint, Network};

/// A failed core is opened again after so long, doubling.
const RETRY_MS: u64 = 30_000;
/// No longer than this.
const RETRY_MS_MAX: u64 = 300_000;
/// Blocks remembered as they came in: some rounds of them, for who watches forks.
const RECENT_MAX: usize = 256;

/// What an engine is made of.
pub struct Parts {
    pub network: Rc<Network>,
    pub key: SecretKey,
    /// A clock before this date is wrong.
    pub built: Timestamp,
    pub store: Store,
    pub guard: Guard,
    pub limits: Limits,
}

/// The core, its database and its sign state.
pub struct Engine {
    parts: Parts,
    verifier: Verifier,
    state: State,
    retry_ms: u64,
    refused_signature: u64,
    refused_last: Option<Monotonic>,
    recent: VecDeque<RecentBlock>,
    said: Tally,
}

/// A valid block that came in or that we made, on whatever fork.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentBlock {
    #[serde(flatten)]
    pub point: Point,
    pub round: Round,
    pub slot: Slot,
    pub forger: PublicKey,
    /// How many messages it holds.
    pub messages: u32,
}

enum State {
    Running(Box<Node>),
    Failed(Failure),
}

/// Why the core does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub cause: String,
    /// What the owner can do about it.
    pub action: &'static str,
    retry_at: Monotonic,
}

/// An effect that is for others: to happen in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outward {
    Send { peers: Vec<PeerId>, message: Rc<Message> },
    Dial { endpoint: Endpoint },
    Close { peer: PeerId, reason: ByeReason },
    Reply { id: RequestId, answer: Answer },
}

/// What came of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub outward: Vec<Outward>,
    /// The core is gone or new: it knows none of the connections and requests of before.
    pub is_lost: bool,
    /// The process is to end.
    pub stop: Option<StopReason>,
}

/// Why a core cannot be opened.
#[derive(Debug)]
pub enum EngineError {
    Store(StoreError),
    Core(OpenError),
}

impl Parts {
    /// The database gets to know what was signed.
    fn witness(&mut self) {
        self.store.see(witness::encode(self.key.public(), &self.guard.state()));
    }
}

impl Engine {
    /// Opens the core as its database and its sign state have it.
    pub fn open(parts: Parts, now: Now) -> Result<Engine, EngineError> {
        let verifier = Verifier::remembering(parts.limits.verified);
        let node = open_node(&parts, &verifier, now)?;
        Ok(Engine {
            parts,
            verifier,
            state: State::Running(Box::new(node)),
            retry_ms: RETRY_MS,
            refused_signature: 0,
            refused_last: None,
            recent: VecDeque::new(),
            said: Tally::default(),
        })
    }

    /// Gives the core an event and does what follows from it, up to what is for others.
    pub fn handle(&mut self, now: Now, event: Event) -> Step {
        let node = match &mut self.state {
            State::Running(node) => node,
            State::Failed(failure) => {
                if now.mono >= failure.retry_at {
                    self.open_again(now);
                }
                return Step::default();
            }
        };
        let reader = self.parts.store.reader();
        let effects = node.handle(now, event, &reader);
        // What the core made of answers that were not there must not happen.
        if let Err(error) = reader.finish() {
            return self.fail(now, &error, error.action());
        }
        self.perform(now, effects)
    }

    fn perform(&mut self, now: Now, effects: Vec<Effect>) -> Step {
        let mut step = Step::default();
        for effect in effects {
            match effect {
                Effect::Guard(record) => match self.parts.guard.record(record) {
                    Ok(()) => {
                        crash::point();
                        self.parts.witness();
                    }
                    Err(error @ GuardError::Refused(_)) => return self.refuse(now, &error),
                    Err(error) => return self.fail(now, &error, error.action()),
                },
                Effect::Persist(batch) => match self.parts.store.persist(&batch) {
                    Ok(()) => {
                        crash::point();
                        self.retry_ms = RETRY_MS;
                    }
                    Err(error) => return self.fail(now, &error, error.action()),
                },
                Effect::Note(note) => self.note(now.mono, &note),
                Effect::Send { peers, message } => {
                    step.outward.push(Outward::Send { peers, message });
                }
                Effect::Dial { endpoint } => step.outward.push(Outward::Dial { endpoint }),
                Effect::Close { peer, reason } => {
                    step.outward.push(Outward::Close { peer, reason });
                }
                Effect::Reply { id, answer } => step.outward.push(Outward::Reply { id, answer }),
                Effect::Stop(reason) => step.stop = Some(reason),
            }
        }
        step
    }

    /// When to give the core `Wake`, if nothing happens before.
    pub fn next_wake(&self) -> Monotonic {
        match &self.state {
            State::Running(node) => node.next_wake(),
            State::Failed(failure) => failure.retry_at,
        }
    }

    /// How the core is.
    pub fn status(&self, now: Now) -> Result<Status, &Failure> {
        let mut status = self.node()?.status(now);
        // The core counts since it was opened, this counts since the process started.
        status.refused_signature = self.refused_signature;
        Ok(status)
    }

    /// The core, for plain reads.
    pub fn node(&self) -> Result<&Node, &Failure> {
        match &self.state {
            State::Running(node) => Ok(node),
            State::Failed(failure) => Err(failure),
        }
    }

    /// The blocks that came in last, oldest first.
    pub fn recent(&self) -> impl DoubleEndedIterator<Item = &RecentBlock> + ExactSizeIterator {
        self.recent.iter()
    }

    /// Reads of the database, as it is now.
    pub fn read<T>(&self, read: impl FnOnce(&dyn Reader) -> T) -> Result<T, StoreError> {
        let reader = self.parts.store.reader();
        let value = read(&reader);
        reader.finish().map(|()| value)
    }

    /// The network of this node.
    pub fn network(&self) -> &Network {
        &self.parts.network
    }

    /// Goes on with another text of the same network: other listed checkpoints, parameters of rounds to come. The core
    /// starts over with it; when that fails it goes on with the text that it has.
    pub fn renew(&mut self, network: Rc<Network>, now: Now) -> Result<Step, EngineError> {
        let before = std::mem::replace(&mut self.parts.network, network);
        if let State::Failed(_) = self.state {
            // It takes the new one when it is opened again.
            return Ok(Step::default());
        }
        match open_node(&self.parts, &self.verifier, now) {
            Ok(node) => {
                self.state = State::Running(Box::new(node));
                Ok(Step { is_lost: true, ..Step::default() })
            }
            Err(error) => {
                self.parts.network = before;
                Err(error)
            }
        }
    }

    /// Closes the database in order: the next start need not check it.
    pub fn close(self) -> Result<(), StoreError> {
        drop(self.state);
        self.parts.store.close()
    }

    fn note(&mut self, now: Monotonic, note: &Note) {
        if let Note::SignatureRefused { .. } = note {
            self.refused_signature += 1;
        }
        if let &Note::BlockStored { point, round, slot, forger, messages } = note {
            self.remember(RecentBlock { point, round, slot, forger, messages });
        }
        if let &Note::Forged { point, round, slot, messages } = note {
            let forger = self.parts.key.public();
            self.remember(RecentBlock { point, round, slot, forger, messages });
        }
        journal::note(note, &mut self.said, now);
    }

    fn remember(&mut self, block: RecentBlock) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(block);
    }

    /// The sign state knows better than the core: a new core learns from it.
    fn refuse(&mut self, now: Now, error: &GuardError) -> Step {
        self.refused_signature += 1;
        let again = self.refused_last.is_some_and(|last| now.mono.since(last) < RETRY_MS);
        self.refused_last = Some(now.mono);
        if again {
            // It did not learn.
            return self.fail(now, error, error.action());
        }
        log::error!("{error}; the node starts over");
        match open_node(&self.parts, &self.verifier, now) {
            Ok(node) => self.state = State::Running(Box::new(node)),
            Err(error) => return self.fail(now, &error, error.action()),
        }
        Step { is_lost: true, ..Step::default() }
    }

    fn fail(&mut self, now: Now, error: &dyn fmt::Display, action: &'static str) -> Step {
        let cause = error.to_string();
        log::error!("{cause}; the node stands still and tries again in {} s", self.retry_ms / 1000);
        let retry_at = now.mono.plus(self.retry_ms);
        self.retry_ms = (2 * self.retry_ms).min(RETRY_MS_MAX);
        self.state = State::Failed(Failure { cause, action, retry_at });
        Step { is_lost: true, ..Step::default() }
    }

    fn open_again(&mut self, now: Now) {
        let recovered = self.parts.store.recover().map_err(EngineError::Store);
        match recovered.and_then(|()| open_node(&self.parts, &self.verifier, now)) {
            Ok(node) => {
                log::info!("the node goes on");
                self.state = State::Running(Box::new(node));
            }
            Err(error) => {
                self.fail(now, &error, error.action());
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the core is seeded, and this is where")]
fn open_node(parts: &Parts, verifier: &Verifier, now: Now) -> Result<Node, EngineError> {
    let mut seed = Hash::default();
    // Jitter and choices only: without random bytes they are the same each time, which harms nobody.
    if getrandom::fill(&mut seed.0).is_err() {
        log::warn!("the system gives no random bytes");
    }
    let seen = parts.store.seen().map_err(EngineError::Store)?.unwrap_or_default();
    let setup = Setup {
        network: Rc::clone(&parts.network),
        key: parts.key.clone(),
        seed,
        built: parts.built,
        signed: parts.guard.state(),
        seen: witness::decode(&seen, parts.key.public()),
        verifier: verifier.clone(),
        limits: parts.limits,
    };
    let reader = parts.store.reader();
    let node = Node::open(setup, now, &reader);
    // A failed read looks like a damaged database to the core.
    reader.finish().map_err(EngineError::Store)?;
    node.map_err(EngineError::Core)
}

impl EngineError {
    /// What the owner can do about it.
    pub fn action(&self) -> &'static str {
        match self {
            EngineError::Store(error) => error.action(),
            EngineError::Core(OpenError::Damaged(_)) => {
                "move the directory away and start again: the node fetches the chain from its peers; \
                 leave the sign state where it is"
            }
        }
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EngineError::Store(error) => error.fmt(f),
            EngineError::Core(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for EngineError {}

#[cfg(test)]
mod tests;
