//! What the tests of machines and node stand on: a disk that is a map, a network of numbered keys, messages of theirs.
//!
//! For tests only.

pub mod village;

use std::collections::BTreeMap;
use std::rc::Rc;

use super::chain::{Best, Chain};
use super::event::{Effect, Outbox, PeerId};
use super::limits::Limits;
use super::peers::Peers;
use super::records::{Batch, Draft, Reader, Table};
use super::turn::Turn;
use crate::rules::plan::{Plan, Plans};
use crate::rules::quorum::Electorate;
use crate::rules::sealed::Anchor;
use crate::rules::state::ChainState;
use crate::rules::validity::{IdentifiedTx, Rules};
use crate::types::address::Address;
use crate::types::block::{Block, Header};
use crate::types::clock::{Height, Monotonic, Now, Round, Slot, Timestamp};
use crate::types::hash::{BlockHash, Hash};
use crate::types::key::{PublicKey, SecretKey, Signature, Verifier};
use crate::types::message::{ByeReason, Hello, Message};
use crate::types::network::{Endpoint, Network};
use crate::types::rng::Rng;
use crate::types::seal::{Checkpoint, Quorum, Registered, Seal, Step, Vote, Voter};
use crate::types::sign::SignState;
use crate::types::tx::{Body, Tx};

/// A database that is a map, and a sign state beside it.
#[derive(Default, Clone)]
pub struct Disk {
    pub entries: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub signed: SignState,
}

impl Disk {
    /// Writes all of a batch.
    pub fn write(&mut self, batch: Batch) {
        for (key, value) in batch.0 {
            match value {
                Some(value) => self.entries.insert(key, value),
                None => self.entries.remove(&key),
            };
        }
    }
}

impl Reader for Disk {
    fn get(&self, table: Table, key: &[u8]) -> Option<Vec<u8>> {
        self.entries.get(&(table, key.to_vec())).cloned()
    }

    fn next(&self, table: Table, from: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let ((of, key), value) = self.entries.range((table, from.to_vec())..).next()?;
        (*of == table).then(|| (key.clone(), value.clone()))
    }

    fn last(&self, table: Table) -> Option<(Vec<u8>, Vec<u8>)> {
        let mut of_table = self.entries.iter().filter(|((of, _), _)| *of == table);
        of_table.next_back().map(|((_, key), value)| (key.clone(), value.clone()))
    }
}

/// The secret key of a founder, from 1, or of somebody else.
pub fn key(number: u8) -> SecretKey {
    SecretKey::from_seed([number; 32])
}

/// A checkpoint made up, of that round and height, every hash of it this byte.
pub fn checkpoint(index: u64, byte: u8) -> Checkpoint {
    let hash = Hash([byte; 32]);
    Checkpoint {
        index,
        round: Round(index),
        height: Height(index),
        block: BlockHash(hash),
        state: hash,
        registry: hash,
        voters: hash,
    }
}

/// Where a founder listens.
pub fn endpoint(number: u8) -> Endpoint {
    Endpoint { ip: [10, 0, 0, number].into(), port: 1 }
}

/// The main network with these founders, empty blocks and any clock; each edit replaces a text that must be there.
pub fn network(founders: u8, edits: &[(&str, &str)]) -> Rc<Network> {
    let mut text = include_str!("../../config/main.toml").to_owned();
    let usual = [
        ("source = \"ledger\"", "source = \"list\""),
        ("\"synchronised\"", "\"local\""),
        ("forge_peers_min = 4", "forge_peers_min = 0"),
        ("messages_min = 1", "messages_min = 0"),
        ("senders_min = 1", "senders_min = 0"),
    ];
    for (from, to) in usual.iter().chain(edits) {
        assert!(text.contains(from), "{from:?} is not in the network file");
        text = text.replace(from, to);
    }
    for number in 1..=founders {
        let (key, Endpoint { ip, port }) = (key(number).public(), endpoint(number));
        text += &format!(
            "\n[[founders]]\npublic_key = \"{key}\"\nweight = 1\nip = \"{ip}\"\nport = {port}\n"
        );
    }
    Rc::new(Network::parse(&text).expect("the network is valid"))
}

/// A network with its plans, for rules and machines.
pub struct Ground {
    pub network: Rc<Network>,
    pub plans: Rc<Plans>,
    pub anchor: Rc<Anchor>,
    pub verifier: Verifier,
}

impl Ground {
    /// Nothing is verified yet.
    pub fn new(network: Rc<Network>) -> Ground {
        let anchor = Rc::new(Anchor::genesis(&network));
        let plans = Rc::new(Plans::new(network.clone(), anchor.clone()));
        Ground { network, plans, anchor, verifier: Verifier::default() }
    }

    /// The plan of a round whose anchor is genesis.
    pub fn plan(&self, round: Round) -> Rc<Plan> {
        self.plans.of(&self.anchor, round)
    }

    /// The state of a chain without blocks.
    pub fn state(&self) -> ChainState {
        ChainState::genesis(&self.anchor)
    }

    /// The checks.
    pub fn rules(&self) -> Rules<'_> {
        Rules { network: &self.network, plans: &self.plans, verifier: &self.verifier }
    }

    /// The block of a slot on a parent, by its juror; `after_ms` makes it differ from others of its slot.
    pub fn block(
        &self,
        parent: &Best,
        state: &ChainState,
        at: (Round, Slot),
        messages: Vec<Tx>,
        after_ms: u64,
    ) -> Block {
        let juror = *self.plan(at.0).juror(at.1).expect("a forging slot");
        let founders = u8::try_from(self.network.founders.len()).expect("few");
        let forger = (1..=founders).map(key).find(|key| self.address(key) == juror);
        let parent = parent.as_parent();
        let messages = messages.into_iter().map(|tx| IdentifiedTx { id: tx.id(), tx });
        let time = self.network.clock.start_of(at.0, at.1).plus(after_ms);
        let forger = forger.expect("the juror is a founder");
        let built = self.rules().build_block(&parent, state, messages, time, &forger);
        built.expect("an empty block is allowed").0
    }

    /// Empty blocks, one on the other, in every `step`-th forging slot from the `first` on.
    pub fn line(&self, parent: &Best, first: u64, step: usize, count: usize) -> Vec<Block> {
        let slots = u64::from(self.network.clock.slots);
        let mut parent = *parent;
        let mut blocks = Vec::new();
        for index in (first..).step_by(step).take(count) {
            let slot = Slot(u32::try_from(index % slots).expect("small"));
            let at = (Round(index / slots), slot);
            let block = self.block(&parent, &self.state(), at, Vec::new(), 1);
            parent = end_of(&block);
            blocks.push(block);
        }
        blocks
    }

    /// The certificate of a checkpoint by the first `count` voters, whose keys are numbered ones.
    pub fn certificate(
        &self,
        checkpoint: Checkpoint,
        electorate: &Electorate,
        count: usize,
    ) -> Quorum {
        let value = Some(checkpoint.id());
        let votes: Vec<(u16, Signature)> = (0..)
            .zip(electorate.voters().iter().take(count))
            .map(|(position, voter)| {
                let secret = (1..).map(key).find(|it| it.public() == voter.public_key);
                let (at, secret) = ((checkpoint.index, 0, Step::Commit), secret.expect("numbered"));
                let vote = Vote::sign(at, value, &secret, &self.network, &self.verifier);
                (position, vote.signature)
            })
            .collect();
        Quorum::new(checkpoint, 0, &votes)
    }

    /// The seal that all voters make of a checkpoint after the seal `before`; what it changes is given.
    pub fn seal(
        &self,
        before: &Checkpoint,
        electorate: &Electorate,
        checkpoint: Checkpoint,
        (registry, voters): (&[Registered], &[Voter]),
    ) -> Seal {
        let certificate = self.certificate(checkpoint, electorate, electorate.voters().len());
        let registry = (checkpoint.registry != before.registry).then(|| registry.to_vec());
        let voters = (checkpoint.voters != before.voters).then(|| voters.to_vec());
        Seal { certificate, registry, voters }
    }

    /// A header on genesis with nothing in it, by nobody: for what looks at rounds alone.
    pub fn header(&self, round: Round) -> Header {
        Header {
            version: 1,
            height: Height(1),
            round,
            slot: Slot(0),
            timestamp: self.network.clock.start_of(round, Slot(0)),
            previous: self.anchor.checkpoint.block,
            messages_root: Hash::default(),
            seal: self.anchor.seal,
            reveal: None,
            forger: PublicKey([0; 32]),
        }
    }

    /// The address of a key here.
    pub fn address(&self, key: &SecretKey) -> Address {
        self.network.address_of(&key.public())
    }

    /// A chain on a disk, as it is opened.
    pub fn chain(&self, disk: &Disk) -> Chain {
        let (network, plans) = (self.network.clone(), self.plans.clone());
        Chain::open(network, plans, self.verifier.clone(), disk).expect("the disk is whole").0
    }

    /// The greeting of a key on a channel; `dialled` when it is we who dialled.
    pub fn hello(&self, key: &SecretKey, channel: Hash, dialled: bool) -> Hello {
        Hello::sign(key, &self.network, (&channel, !dialled), &self.verifier)
    }

    /// The peers of founder 1, none yet.
    pub fn peers(&self) -> Peers {
        let rng = Rng::from_text("peers");
        Peers::new(self.network.clone(), key(1), self.verifier.clone(), Limits::default(), rng)
    }

    /// A connection with somebody who has greeted; whether it stands.
    pub fn connect(
        &self,
        peers: &mut Peers,
        turn: &mut Turn,
        id: u64,
        number: u8,
        dialled: bool,
    ) -> bool {
        let channel = Hash([u8::try_from(id % 251).expect("small"); 32]);
        peers.connected(turn, PeerId(id), endpoint(number), dialled, channel);
        let hello = self.hello(&key(number), channel, dialled);
        peers.hello(turn, PeerId(id), &hello, &self.anchor.state)
    }

    /// A heartbeat; `capacity` makes it differ from others with its key.
    pub fn heartbeat(&self, sender: &SecretKey, round: Round, capacity: u16) -> Tx {
        let body = Body::Heartbeat { version: 1, commitment: Hash::default(), capacity };
        Tx::sign(round, body, sender, &self.network, &self.verifier)
    }
}

/// The end of a chain without seals that ends with a block; its weight is not known here.
pub fn end_of(block: &Block) -> Best {
    let header = &block.header.header;
    let at = Some((header.round, header.slot));
    Best { point: block.header.point(), at, weight: 0, seal: header.seal, anchor: header.seal }
}

/// An event's surroundings at a time since the network's origin; both clocks go together.
pub fn turn<'a>(network: &Network, ms: u64, disk: &'a Disk) -> Turn<'a> {
    let wall = Timestamp(network.clock.origin.0 + ms);
    let now = Now { wall, mono: Monotonic(ms), synchronised: true };
    Turn { now, db: Draft::new(disk), out: Outbox::default() }
}

/// What was closed, and why.
pub fn closed(turn: &mut Turn) -> Vec<(PeerId, ByeReason)> {
    let effects = turn.out.take(Batch::default());
    let closed = effects.into_iter().filter_map(|effect| {
        if let Effect::Close { peer, reason } = effect { Some((peer, reason)) } else { None }
    });
    closed.collect()
}

/// What was sent, to whom.
pub fn sent(turn: &mut Turn) -> Vec<(PeerId, Message)> {
    let mut all = Vec::new();
    for effect in turn.out.take(Batch::default()) {
        if let Effect::Send { peers, message } = effect {
            all.extend(peers.into_iter().map(|peer| (peer, (*message).clone())));
        }
    }
    all
}
