//! A chain with its seals on a disk of its own, which forges and seals by itself: for what spans many rounds.

use std::rc::Rc;

use super::{Disk, Ground, key, turn};
use crate::machine::chain::{Chain, Change, HeaderVerdict, Moved};
use crate::machine::records::Draft;
use crate::machine::seals::{SealVerdict, Seals};
use crate::machine::turn::Turn;
use crate::rules::beacon::commitment_to;
use crate::rules::plan::Plans;
use crate::rules::refusal::Refusal;
use crate::rules::sealed::Anchor;
use crate::rules::validity::IdentifiedTx;
use crate::types::block::{Block, Point};
use crate::types::clock::{Monotonic, Now, Round, Slot};
use crate::types::key::SecretKey;
use crate::types::network::Network;
use crate::types::seal::Seal;
use crate::types::tx::{Body, Tx};

/// Numbers of the keys that forge and vote.
pub const KEYS: u8 = 40;

/// A node without peers.
pub struct Village {
    pub ground: Ground,
    pub disk: Disk,
    pub chain: Chain,
    pub seals: Seals,
    pub now: Now,
    /// All that the chain did, in order.
    pub change: Change,
}

impl Village {
    /// Nothing but genesis, long after everything.
    pub fn new(network: Rc<Network>) -> Village {
        Village::on(network, Disk::default()).expect("an empty disk")
    }

    /// What a disk holds.
    pub fn on(network: Rc<Network>, disk: Disk) -> Result<Village, &'static str> {
        let wall = network.clock.start_of(Round(1_000_000), Slot(0));
        let now = Now { wall, mono: Monotonic(0), synchronised: true };
        let ground = Ground::new(network.clone());
        let seals = Seals::open(network.clone(), ground.verifier.clone(), &disk)?;
        let plans = Rc::new(Plans::new(network.clone(), Rc::new(Anchor::genesis(&network))));
        let chain = Chain::open(network, plans, ground.verifier.clone(), &disk)?.0;
        Ok(Village { ground, disk, chain, seals, now, change: Change::default() })
    }

    /// Stops and starts again.
    pub fn restart(&mut self) {
        let disk = std::mem::take(&mut self.disk);
        let verifier = self.ground.verifier.clone();
        let before = (*self.chain.best(), self.chain.sealed().seal, self.chain.certified_index());
        *self = Village::on(self.ground.network.clone(), disk).expect("whole");
        self.ground.verifier = verifier;
        let after = (*self.chain.best(), self.chain.sealed().seal, self.chain.certified_index());
        assert_eq!(after, before, "a restart changes nothing");
    }

    /// One event that changes the chain, and those that follow from it, at most `steps`.
    pub fn event<T>(&mut self, steps: usize, act: impl FnOnce(&mut Village, &mut Draft) -> T) -> T {
        let mut done = None;
        let mut act = Some(act);
        for _ in 0..steps.max(1) {
            let disk = std::mem::take(&mut self.disk);
            let mut draft = Draft::new(&disk);
            if let Some(act) = act.take() {
                done = Some(act(self, &mut draft));
            }
            if self.chain.has_work() && steps > 0 {
                let sealed = self.chain.sealed().checkpoint;
                let Change { undone, applied, refused, sealed: seals } =
                    self.chain.advance(&mut draft);
                let above = |moved: &Moved| moved.point.height > sealed.height;
                assert!(undone.iter().all(above), "what is sealed stays");
                self.change.undone.extend(undone);
                self.change.applied.extend(applied);
                self.change.refused.extend(refused);
                self.change.sealed.extend(seals);
            }
            let batch = draft.into_batch();
            self.disk = disk;
            self.disk.write(batch);
            if !self.chain.has_work() {
                break;
            }
        }
        done.expect("the first event")
    }

    /// One event that does not go on towards the best chain.
    pub fn turn<T>(&mut self, act: impl FnOnce(&mut Village, &mut Turn) -> T) -> T {
        let disk = std::mem::take(&mut self.disk);
        let network = self.ground.network.clone();
        let mut event = turn(&network, 1, &disk);
        let done = act(self, &mut event);
        let batch = event.db.into_batch();
        self.disk = disk;
        self.disk.write(batch);
        done
    }

    /// Takes a header in.
    pub fn header(&mut self, block: &Block) -> HeaderVerdict {
        let header = Rc::new(block.header.clone());
        self.event(1_000, |it, draft| it.chain.add_header(it.now, header, true, draft))
    }

    /// Takes a body in.
    pub fn body(&mut self, block: &Block) -> Result<(), Refusal> {
        let hash = block.header.hash();
        self.event(1_000, |it, draft| it.chain.add_body(&hash, &block.messages, draft))
    }

    /// Takes a block in.
    pub fn take(&mut self, block: &Block) -> HeaderVerdict {
        let verdict = self.header(block);
        if matches!(verdict, HeaderVerdict::Added | HeaderVerdict::Known) {
            self.body(block).expect("they belong together");
        }
        verdict
    }

    /// Takes blocks in whose headers the last one proves.
    pub fn prove(&mut self, blocks: &[Block]) {
        let headers = blocks.iter().map(|block| block.header.clone()).collect();
        self.event(1_000, |it, draft| it.chain.add_proven(it.now.mono, headers, draft));
        for block in blocks {
            self.body(block).expect("they belong together");
        }
    }

    /// Takes a seal in; what follows from it in at most so many events.
    pub fn certify_within(&mut self, steps: usize, seal: &Seal) -> SealVerdict {
        let verdict = self.turn(|it, event| {
            let verdict = it.seals.add(event, seal.clone());
            if verdict == SealVerdict::Added {
                it.chain.certified(&seal.certificate.checkpoint, &event.db);
            }
            verdict
        });
        self.event(steps, |_, _| {});
        verdict
    }

    /// Takes the listed checkpoint that is next, as a node does as soon as it runs, with all that follows.
    pub fn take_listed(&mut self) {
        let peers = self.ground.peers();
        self.turn(|it, event| {
            it.seals.tick(event, &peers);
            it.chain.certified(it.seals.certified(), &event.db);
        });
        self.event(1_000, |_, _| {});
    }

    /// The same with all that follows.
    pub fn certify(&mut self, seal: &Seal) -> SealVerdict {
        self.certify_within(1_000, seal)
    }

    /// The block of a slot on the best chain, by its juror; `after_ms` makes it differ from others of its slot.
    pub fn forge(&self, at: (Round, Slot), messages: Vec<Tx>, after_ms: u64) -> Block {
        let juror = *self.chain.plan(at.0).juror(at.1).expect("a forging slot");
        let forger = (1..=KEYS).map(key).find(|key| self.ground.address(key) == juror);
        let messages = messages.into_iter().map(|tx| IdentifiedTx { id: tx.id(), tx });
        let time = self.ground.network.clock.start_of(at.0, at.1).plus(after_ms);
        let (parent, state) = (self.chain.best().as_parent(), self.chain.state());
        let forger = forger.expect("a numbered key");
        let built = self.chain.rules().build_block(&parent, state, messages, time, &forger);
        built.expect("an empty block is allowed").0
    }

    /// The heartbeat of a key, with what it commits to.
    pub fn heartbeat(&self, sender: &SecretKey, round: Round) -> Tx {
        let (network, verifier) = (&self.ground.network, &self.ground.verifier);
        let secret = sender.secret_of(&network.id(), Round(round.0 + 2));
        let commitment = commitment_to(&secret);
        let body = Body::Heartbeat { version: 1, commitment, capacity: 1 };
        Tx::sign(round, body, sender, network, verifier)
    }

    /// The seal that all voters make of a block of the best chain.
    pub fn seal_of(&self, point: &Point) -> Seal {
        let state = self.chain.state_at(point, &self.disk).expect("on the best chain");
        let checkpoint =
            state.checkpoint(self.seals.certified().index + 1, point.height, point.hash);
        let (before, electorate) = (self.seals.certified(), self.seals.electorate());
        self.ground.seal(before, electorate, checkpoint, (&state.registry, &state.voters))
    }

    /// A round with a block in each of these slots, the first with heartbeats of these keys; all is taken in.
    pub fn round(&mut self, round: u64, slots: &[u32], senders: &[u8]) -> Vec<Block> {
        let round = Round(round);
        let mut messages: Vec<Tx> =
            senders.iter().map(|it| self.heartbeat(&key(*it), round)).collect();
        let mut blocks = Vec::new();
        for slot in slots {
            let block = self.forge((round, Slot(*slot)), std::mem::take(&mut messages), 1);
            assert_eq!(self.take(&block), HeaderVerdict::Added);
            assert_eq!(self.chain.best().point, block.header.point());
            blocks.push(block);
        }
        blocks
    }

    /// Seals the end of the best chain.
    pub fn seal(&mut self) -> Seal {
        let seal = self.seal_of(&self.chain.best().point);
        assert_eq!(self.certify(&seal), SealVerdict::Added);
        assert_eq!(self.chain.sealed().checkpoint, seal.certificate.checkpoint);
        seal
    }
}
