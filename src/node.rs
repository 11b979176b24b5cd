//! The node: routes each event to the machines and joins what they say. No rule lives here.

mod blocks;
mod custody;
#[cfg(test)]
mod hostile;
mod ledger;
mod messages;
mod report;
mod seals;
#[cfg(test)]
mod tests;
mod votes;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::rc::Rc;

use crate::machine::chain::Chain;
use crate::machine::custody::Custody;
use crate::machine::duty::{self, DutyKeeper};
use crate::machine::event::{Answer, Effect, Event, Outbox, PeerId, Request};
use crate::machine::evidence::EvidenceKeeper;
use crate::machine::halt::Halt;
use crate::machine::ledger::Follower;
use crate::machine::limits::Limits;
use crate::machine::mempool::Mempool;
use crate::machine::peers::Peers;
use crate::machine::records::{Draft, Reader};
use crate::machine::relay::Relay;
use crate::machine::rivals::RivalKeeper;
use crate::machine::seal::Sealing;
use crate::machine::seals::Seals;
use crate::machine::serve;
use crate::machine::sync::{self, Sync};
use crate::machine::timekeeper::Timekeeper;
use crate::machine::turn::Turn;
use crate::rules::plan::{Plans, dial_list};
use crate::rules::sealed::Anchor;
use crate::types::address::Address;
use crate::types::block::{Point, SealRef};
use crate::types::clock::{Monotonic, Now, Round, Timestamp};
use crate::types::hash::{Hash, TxId};
use crate::types::key::{PublicKey, SecretKey, Verifier};
use crate::types::message::{ByeReason, Message};
use crate::types::network::{Endpoint, Network};
use crate::types::rng::Rng;
use crate::types::sign::{SignState, Standing};

use blocks::Early;

/// Both clocks are compared at least this often, so that a step is seen (§3).
const WAKE_MS: u64 = 1_000;

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
    /// What the database has seen of that, whatever its standing was.
    pub seen: SignState,
    /// Signatures seen; shared by the nodes of a simulation.
    pub verifier: Verifier,
    pub limits: Limits,
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
    network: Rc<Network>,
    key: SecretKey,
    own: Address,
    built: Timestamp,
    verifier: Verifier,
    signed: SignState,
    custody: Custody,
    halt: Halt,
    timekeeper: Timekeeper,
    sealing: Sealing,
    seals: Seals,
    chain: Chain,
    ledger: Follower,
    mempool: Mempool,
    peers: Peers,
    relay: Relay,
    sync: Sync,
    duty: DutyKeeper,
    evidence: EvidenceKeeper,
    rivals: RivalKeeper,
    round: Option<Round>,
    /// The anchor that the dial list was drawn from.
    dialled: SealRef,
    /// Blocks whose slot has not begun by our clock.
    early: VecDeque<Early>,
    /// Messages that clients submitted, with the round they are for: on disk until it is over.
    submitted: BTreeMap<TxId, Round>,
    announced: Point,
    announced_seal: u64,
    announced_at: Monotonic,
    started: Monotonic,
    refused_blocks: BTreeMap<&'static str, u64>,
    next_wake: Monotonic,
    /// Nothing but the clocks needs a look before this.
    quiet_until: Monotonic,
}

impl Node {
    /// A node on its database, as it was left.
    pub fn open(setup: Setup, now: Now, db: &dyn Reader) -> Result<Node, OpenError> {
        let Setup { network, key, seed, built, mut signed, seen, verifier, limits } = setup;
        let anchor = Rc::new(Anchor::genesis(&network));
        let plans = Rc::new(Plans::new(network.clone(), anchor));
        let seals =
            Seals::open(network.clone(), verifier.clone(), db).map_err(OpenError::Damaged)?;
        let (chain, messages) = Chain::open(network.clone(), plans, verifier.clone(), db)
            .map_err(OpenError::Damaged)?;
        let mut mempool = Mempool::new(limits);
        for message in &messages {
            mempool.joined(message);
        }
        let own = network.address_of(&key.public());
        let halt = Halt::open(db).map_err(OpenError::Damaged)?;
        let (public, tip) = (key.public(), &chain.best().point);
        let known = (network.clone(), verifier.clone());
        let custody = Custody::open(public, known.0, known.1, tip, (&mut signed, &seen), db);
        let mut rng = Rng::new(&seed);
        let rng = rng.fork("peers");
        let peers = Peers::new(network.clone(), key.clone(), verifier.clone(), limits, rng);
        let mut node = Node {
            duty: DutyKeeper::open(own, &network, now, db),
            sealing: Sealing::new(network.clone(), key.clone(), verifier.clone()),
            relay: Relay::new(network.clock.slot_ms),
            sync: Sync::new(network.clock.slot_ms, limits.asked),
            announced: chain.best().point,
            announced_seal: chain.certified_index(),
            announced_at: now.mono,
            timekeeper: Timekeeper::default(),
            round: None,
            dialled: chain.sealed().seal,
            evidence: EvidenceKeeper::open(db),
            rivals: RivalKeeper::open(db),
            early: VecDeque::new(),
            submitted: BTreeMap::new(),
            started: now.mono,
            refused_blocks: BTreeMap::new(),
            next_wake: now.mono,
            quiet_until: now.mono,
            ledger: Follower::new(network.clone()),
            network,
            key,
            own,
            built,
            verifier,
            signed,
            seals,
            custody,
            halt,
            chain,
            mempool,
            peers,
        };
        node.load_submitted(now, db);
        Ok(node)
    }

    /// Takes one event in; the effects are to happen in order.
    pub fn handle(&mut self, now: Now, event: Event, db: &dyn Reader) -> Vec<Effect> {
        let mut turn = Turn { now, db: Draft::new(db), out: Outbox::default() };
        let notes = self.timekeeper.observe(now, &self.network, self.built, &self.signed);
        let steady = notes.is_empty();
        for note in notes {
            turn.out.note(note);
        }
        if steady && matches!(event, Event::Wake) && now.mono < self.quiet_until {
            self.next_wake = self.quiet_until.min(now.mono.plus(WAKE_MS));
            return Vec::new();
        }
        self.begin_round(&mut turn);
        match event {
            Event::Wake => {}
            Event::Connected { peer, endpoint, dialled, channel } => {
                self.peers.connected(&mut turn, peer, endpoint, dialled, channel);
            }
            Event::DialFailed { endpoint } => self.peers.dial_failed(now, endpoint),
            Event::Received { peer, message, bytes } => {
                if self.peers.spend(&mut turn, peer, &message, bytes) {
                    self.received(&mut turn, peer, &message, bytes);
                }
            }
            Event::Disconnected { peer, fault } => {
                self.peers.disconnected(&mut turn, peer, fault);
            }
            Event::Ledger(news) => self.hear_ledger(&mut turn, &news),
            Event::LedgerSummary(bytes) => self.ledger.resume(&bytes),
            Event::Request { id, request } => match request {
                Request::Submit(tx) => {
                    let verdict = self.submit(&mut turn, *tx);
                    turn.out.reply(id, Answer::Submitted(verdict));
                }
            },
        }
        self.settle(&mut turn);
        turn.out.take(turn.db.into_batch())
    }

    /// The shell sends `Wake` then, and may send it earlier.
    pub fn next_wake(&self) -> Monotonic {
        self.next_wake
    }

    /// Routes what a peer said.
    fn received(&mut self, turn: &mut Turn, from: PeerId, message: &Message, bytes: u32) {
        if !self.hear(turn, from, message) {
            return;
        }
        match message {
            Message::Hello(hello) => {
                if self.peers.hello(turn, from, hello, &self.chain.sealed().state) {
                    self.greet(turn, from);
                }
            }
            Message::Ping { nonce } => self.peers.ping(turn, from, *nonce),
            Message::Pong { nonce, clock } => self.peers.pong(turn.now, from, *nonce, clock.0),
            Message::Tip(tip) => {
                if let Some(peer) = self.peers.peer_mut(from) {
                    peer.tip = Some(*tip);
                }
                self.sync.tip_moved(from);
                self.seals.tip_moved();
            }
            Message::Have(ids) => self.announced(turn, from, ids),
            Message::Want(ids) => self.relay.answer(turn, from, ids, &self.mempool),
            Message::Messages(list) => self.delivered(turn, from, list, bytes),
            Message::NewBlock { header, ids } => self.new_block(turn, from, header, ids),
            Message::WantBodies { request, points } => {
                serve::bodies(turn, from, *request, points);
            }
            Message::Bodies { request, bodies } => {
                match self.sync.bodies(turn, from, *request, bodies, &mut self.chain) {
                    Ok(asked) => self.peers.answered(from, asked, bytes),
                    Err(_) => self.peers.blame(turn, from, ByeReason::Invalid),
                }
            }
            Message::Find { request, locator } => {
                serve::find(turn, from, *request, locator, &self.chain);
            }
            Message::Intersect { request, point } => {
                let wrong = self.sync.intersect(turn, from, *request, *point, &self.chain);
                if let Some(reason) = wrong {
                    self.peers.blame(turn, from, reason);
                }
            }
            Message::WantHeaders { request, above } => {
                serve::headers(turn, from, *request, above, &self.announced, &self.chain);
            }
            Message::Headers { request, headers } => {
                let asked = self.sync.headers(from, *request, headers);
                self.peers.answered(from, asked, bytes);
            }
            Message::Gone { request } => {
                self.sync.headers_gone(turn.now, from, *request);
                self.sync.bodies_gone(from, *request);
            }
            // It closes; the shell says so when it has.
            Message::Bye(reason) => self.peers.bye(from, *reason),
            Message::Proposal(_) | Message::Vote(_) | Message::Votes(_) | Message::Prepared(_) => {
                self.hear_votes(turn.now.mono, from, message);
            }
            Message::WantVotes { index, view, prepares, commits } => {
                self.sealing.serve(turn, from, (*index, *view), (prepares, commits));
                self.show_agreed(turn, from, *index, *view);
            }
            Message::WantSeals { request, after } => serve::seals(turn, from, *request, *after),
            Message::Seals { request, seals } => self.sealed(turn, from, *request, seals, bytes),
            Message::WantState { request, index, part } => {
                serve::state(turn, from, *request, *index, *part);
            }
            // Nobody asks for states yet.
            Message::State { .. } => {}
        }
    }

    /// After each event: the chain first, then what depends on it, then what is due by time.
    fn settle(&mut self, turn: &mut Turn) {
        let blamed = self.sync.check_headers(turn, &self.peers, &mut self.chain);
        if let Some((peer, reason)) = blamed {
            self.peers.blame(turn, peer, reason);
        }
        self.settle_seals(turn);
        self.settle_chain(turn);
        self.keep_custody(turn);
        self.forge(turn);
        self.heartbeat(turn);
        self.settle_votes(turn);
        self.announce_tip(turn);
        self.relay.tick(turn, &self.mempool, &mut self.peers);
        let view = sync::View { chain: &self.chain, relay: &self.relay };
        self.sync.tick(turn, &view, &self.peers);
        self.peers.tick(turn);
        for peer in self.peers.take_gone() {
            self.relay.disconnected(turn.now.mono, peer);
            self.sync.disconnected(peer);
            self.seals.disconnected(peer);
            self.sealing.disconnected(peer);
        }
        self.plan_wake(turn.now);
    }

    fn plan_wake(&mut self, now: Now) {
        let mut due = self.peers.due().min(self.sync.due()).min(self.seals.due());
        due = due.min(self.sealing.due());
        due = self.relay.due().map_or(due, |at| due.min(at));
        due = due.min(now.mono.plus(self.duty.due_in_ms(now.wall)));
        due = due.min(self.early_due(now));
        if self.chain.has_work() || self.sync.has_headers() || self.seals.has_work() {
            due = now.mono;
        }
        self.quiet_until = due;
        self.next_wake = due.min(now.mono.plus(WAKE_MS));
    }

    /// A round began: expire messages, dial the plan's list.
    fn begin_round(&mut self, turn: &mut Turn) {
        let clock = self.network.clock;
        // Before the origin the plan of the first round says whom to dial.
        let now = clock.at(turn.now.wall).map_or(self.network.first_round, |(round, _)| round);
        let round = now.max(self.network.first_round);
        if self.round == Some(round) {
            // A block that came late may have named another seal, and with it other jurors.
            if self.chain.state().anchor_of(round) != self.dialled {
                self.dial_anew(turn.now, round);
            }
            return;
        }
        self.round = Some(round);
        self.ledger.begin_round(round);
        self.mempool.expire(round);
        self.relay.retain(&self.mempool);
        self.expire_submitted(turn, round);
        self.dial_anew(turn.now, round);
    }

    /// Sets whom to dial in a round.
    fn dial_anew(&mut self, now: Now, round: Round) {
        let anchor = self.chain.anchor_of(round);
        self.dialled = anchor.seal;
        let state = &anchor.state;
        let list = dial_list(&self.network, state, &self.chain.plan(round), &self.own);
        let target = |address: &Address| {
            let key = state.active(address)?.public_key;
            Some((key, state.registered(address)?.endpoint()))
        };
        let targets: Vec<(PublicKey, Endpoint)> = list.iter().filter_map(target).collect();
        // What the round before dialled stays for a slot, so that nobody is alone in between.
        let rotate_at = now.mono.plus(self.network.clock.slot_ms);
        self.peers.set_targets(targets, rotate_at);
    }

    fn heartbeat(&mut self, turn: &mut Turn) {
        let Some((round, _)) = self.network.clock.at(turn.now.wall) else { return };
        if self.duty.has_sent(round) || round < self.network.first_round {
            return;
        }
        let may_sign = self.signed.standing == Standing::Proven;
        if !self.is_masternode() || !may_sign || self.timekeeper.distrust().is_some() {
            return;
        }
        if self.duty.heartbeat(turn.now, round, &self.network) {
            self.send_heartbeat(turn, round);
        }
    }

    fn forge(&mut self, turn: &mut Turn) {
        let view = duty::View {
            network: &self.network,
            chain: &self.chain,
            peers: &self.peers,
            mempool: &self.mempool,
            evidence: &self.evidence,
            verifier: &self.verifier,
            key: &self.key,
            distrust: self.timekeeper.distrust(),
            barred: self.barred(turn),
            settled: turn.now.mono.since(self.started) >= self.network.clock.slot_ms,
        };
        if let Some(forged) = self.duty.tick(turn, &view, &self.signed) {
            self.own_block(turn, forged);
        }
    }

    fn is_masternode(&self) -> bool {
        self.chain.sealed().state.registered(&self.own).is_some()
    }
}
