//! The contract between the core and whoever drives it: events in, effects out (`docs/architecture.md`).
//!
//! One event in, then all its effects in order, then the next event. `Guard` and `Persist` are barriers: on disk before
//! any later effect happens. When one fails, nothing after it happens, and the node is opened again.

use std::rc::Rc;

use super::ledger::LedgerNews;
use super::note::Note;
use super::records::Batch;
use crate::rules::refusal::Refusal;
use crate::types::hash::{Hash, TxId};
use crate::types::message::{ByeReason, Message};
use crate::types::network::Endpoint;
use crate::types::sign::SignRecord;
use crate::types::tx::Tx;

/// A connection. The shell numbers them and never uses a number twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// A request from outside the peer protocol, numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// `next_wake` has come, or the shell wants the clock looked at.
    Wake,
    /// A connection stands and is encrypted. `channel` is the hash of its handshake; `endpoint` is the other side:
    /// where we dialled, or where an accepted connection came from.
    Connected { peer: PeerId, endpoint: Endpoint, dialled: bool, channel: Hash },
    /// A dial asked for by an effect did not lead to a connection.
    DialFailed { endpoint: Endpoint },
    /// A peer said something; `bytes` is the length of the frame.
    Received { peer: PeerId, message: Rc<Message>, bytes: u32 },
    /// The connection is gone; not sent for those that the core closed.
    Disconnected { peer: PeerId, fault: Fault },
    /// What the reader of the PoW ledger has found.
    Ledger(LedgerNews),
    /// What was summed up of the PoW ledger before a restart.
    LedgerSummary(Vec<u8>),
    /// A client asks.
    Request { id: RequestId, request: Request },
}

/// Whose fault the end of a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Closed, reset or timed out: it happens.
    None,
    /// The peer sent what no node of this protocol sends.
    Malformed,
    /// The peer does not read what we send.
    Stuck,
}

/// What a client may ask the core. Reading needs no request: status, peers and blocks are plain reads.
#[derive(Debug, Clone)]
pub enum Request {
    /// Take a signed message into the mempool and pass it on.
    Submit(Box<Tx>),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The id of the message now held, on disk; or why it is refused.
    Submitted(Result<TxId, Refusal>),
}

/// What the shell is to do.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Note on disk what is about to be signed. Refused when it conflicts with what is there.
    Guard(SignRecord),
    /// Write all of it, or nothing.
    Persist(Batch),
    /// Queue a message for these peers.
    Send { peers: Vec<PeerId>, message: Rc<Message> },
    /// Open a connection; answered by `Connected` or `DialFailed`.
    Dial { endpoint: Endpoint },
    /// Send what is queued, as far as it goes at once, and close.
    Close { peer: PeerId, reason: ByeReason },
    /// Answer a client.
    Reply { id: RequestId, answer: Answer },
    /// A fact for the log, the counters and the checks of the simulator.
    Note(Note),
    /// End the process, after all before it, and stay down.
    Stop(StopReason),
}

/// Why a node ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// Somebody else signs with our key.
    KeyElsewhere,
}

/// Where the machines put their effects during one event.
#[derive(Debug, Default)]
pub struct Outbox {
    guard: Option<SignRecord>,
    stop: Option<StopReason>,
    rest: Vec<Effect>,
}

impl Outbox {
    /// Sends to one peer.
    pub fn send(&mut self, peer: PeerId, message: Message) {
        self.broadcast(vec![peer], message);
    }

    /// Sends to several peers; nothing when there are none.
    pub fn broadcast(&mut self, peers: Vec<PeerId>, message: Message) {
        if !peers.is_empty() {
            self.rest.push(Effect::Send { peers, message: Rc::new(message) });
        }
    }

    /// Says why and closes.
    pub fn close(&mut self, peer: PeerId, reason: ByeReason) {
        self.send(peer, Message::Bye(reason));
        self.rest.push(Effect::Close { peer, reason });
    }

    /// Opens a connection.
    pub fn dial(&mut self, endpoint: Endpoint) {
        self.rest.push(Effect::Dial { endpoint });
    }

    /// Answers a client.
    pub fn reply(&mut self, id: RequestId, answer: Answer) {
        self.rest.push(Effect::Reply { id, answer });
    }

    /// States a fact.
    pub fn note(&mut self, note: Note) {
        self.rest.push(Effect::Note(note));
    }

    /// Guards the one signature that an event may make.
    pub fn guard(&mut self, record: SignRecord) {
        debug_assert!(self.guard.is_none(), "one event signs once");
        self.guard = Some(record);
    }

    /// Whether this event has its record for the sign state.
    pub fn is_guarded(&self) -> bool {
        self.guard.is_some()
    }

    /// Ends the process.
    pub fn stop(&mut self, reason: StopReason) {
        self.stop = Some(reason);
    }

    /// The effects of the event in their order: what must be on disk comes first, an end last.
    pub fn take(&mut self, batch: Batch) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.rest);
        if !batch.is_empty() {
            effects.insert(0, Effect::Persist(batch));
        }
        if let Some(record) = self.guard.take() {
            effects.insert(0, Effect::Guard(record));
        }
        effects.extend(self.stop.take().map(Effect::Stop));
        effects
    }
}
