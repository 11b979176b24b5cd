//! Byzantine HNs that know of each other: they share their keys, and agree on what to do without the network.
//!
//! Some answer every vote with the votes of all of them for the same, so that each side of a cut network hears them say
//! yes. Others plot, and behave until then, since who is seen to sign twice draws no tickets: the forger of a last slot keeps its block to itself. When one of them proposes, one half of the network
//! is shown the chain without the block, the other half the chain with it, and each half hears all of them vote for what
//! it sees. With a third of the weight or more both halves seal.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::machine::event::{Effect, PeerId};
use crate::types::block::Point;
use crate::types::hash::Hash;
use crate::types::key::SecretKey;
use crate::types::message::Message;
use crate::types::seal::{Checkpoint, Proposal, Step, Vote};
use crate::types::tx::Tx;

use super::View;

/// All who collude.
#[derive(Default)]
pub struct Ring {
    pub keys: Vec<SecretKey>,
    pub plots: bool,
    shared: RefCell<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A last block of a round that nobody else has seen, and its messages.
    hidden: Option<(Rc<Message>, Point)>,
    bodies: BTreeMap<Point, Vec<Tx>>,
    plot: Option<Plot>,
    /// Plots so far, and whether the last one is known to its members yet.
    plots: u64,
    fresh: bool,
}

/// What each half is shown.
#[derive(Clone)]
struct Plot {
    number: u64,
    block: Rc<Message>,
    halves: [Vec<Rc<Message>>; 2],
}

impl Ring {
    /// Those who share these keys; nobody colludes alone.
    pub fn new(keys: Vec<SecretKey>, plots: bool) -> Rc<Ring> {
        Rc::new(Ring { keys, plots, shared: RefCell::default() })
    }

    /// Whether there is anybody to collude with.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keeps a block until there is use for it.
    pub fn hide(&self, block: Rc<Message>, point: Point, messages: Vec<Tx>) {
        let mut shared = self.shared.borrow_mut();
        shared.hidden = Some((block, point));
        shared.bodies.insert(point, messages);
    }

    /// Whether a plot is prepared: until it comes off nobody votes.
    pub fn is_waiting(&self) -> bool {
        self.shared.borrow().hidden.is_some()
    }

    /// The messages of a hidden block, once it is shown.
    pub fn body(&self, point: &Point) -> Option<Vec<Tx>> {
        self.shared.borrow().bodies.get(point).cloned()
    }

    /// The votes of all for a value.
    pub fn votes(&self, step: (u64, u32, Step), value: Option<Hash>, view: &View) -> Vec<Vote> {
        let (network, verifier) = (&view.cast.network, &view.cast.verifier);
        self.keys.iter().map(|key| Vote::sign(step, value, key, network, verifier)).collect()
    }

    /// One of them is to propose: whether that becomes a plot.
    pub fn plot(&self, proposal: &Proposal, key: &SecretKey, view: &View) -> bool {
        let Some((block, point)) = self.shared.borrow_mut().hidden.take() else { return false };
        let (index, of) = (proposal.vote.index, proposal.vote.view);
        let Some(hidden) = view.oracle.get(&point.hash) else { return false };
        let before = view.oracle.seals_at(index.saturating_sub(1)).find(|seal| {
            view.oracle.goes_through(&point.hash, &seal.checkpoint.point())
                && seal.may_precede(hidden.round)
        });
        let Some(before) = before.map(|seal| seal.checkpoint.id()) else { return false };
        let sides = [hidden.previous, point.hash].map(|block| view.oracle.compute(&block, &before));
        let [Some(without), Some(with)] = sides else { return false };
        let halves = [without, with].map(|checkpoint| self.say(checkpoint, (index, of), key, view));
        let mut shared = self.shared.borrow_mut();
        shared.plots += 1;
        shared.fresh = true;
        shared.plot = Some(Plot { number: shared.plots, block, halves });
        true
    }

    /// A proposal and all votes for it.
    fn say(
        &self,
        checkpoint: Checkpoint,
        (index, of): (u64, u32),
        key: &SecretKey,
        view: &View,
    ) -> Vec<Rc<Message>> {
        let (network, verifier) = (&view.cast.network, &view.cast.verifier);
        let value = Some(checkpoint.id());
        let vote = Vote::sign((index, of, Step::Propose), value, key, network, verifier);
        let proposal = Proposal { vote, checkpoint, prepared: None };
        let votes = |step| Rc::new(Message::Votes(self.votes((index, of, step), value, view)));
        let proposal = Rc::new(Message::Proposal(Box::new(proposal)));
        vec![proposal, votes(Step::Prepare), votes(Step::Commit)]
    }

    /// Whether there is a plot that its members have not been called for. Calls them.
    pub fn calls(&self) -> bool {
        std::mem::take(&mut self.shared.borrow_mut().fresh)
    }

    /// What one of them shows its peers of the newest plot, unless it has: `done` is the last one that it has shown.
    pub fn show(&self, peers: &[PeerId], done: &mut u64, view: &View) -> Vec<Effect> {
        let Some(plot) = self.shared.borrow().plot.clone() else { return Vec::new() };
        if *done >= plot.number || peers.is_empty() {
            return Vec::new();
        }
        *done = plot.number;
        let (with, without): (Vec<PeerId>, Vec<PeerId>) =
            peers.iter().partition(|peer| view.net.host_of(**peer) % 2 == 0);
        let block = plot.block.clone();
        let mut effects = vec![Effect::Send { peers: with.clone(), message: block }];
        for (peers, messages) in [without, with].into_iter().zip(plot.halves) {
            let sends = messages.into_iter();
            effects.extend(sends.map(|message| Effect::Send { peers: peers.clone(), message }));
        }
        effects
    }
}
