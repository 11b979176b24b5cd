//! Cuts that come just when a step of an instance begins: the worst moment to lose votes.

use super::{Task, World};
use crate::machine::event::{Fault, PeerId};
use crate::sim::network::other;
use crate::types::message::Message;
use crate::types::seal::Step;

/// A cut that waits for its step, or has come with it.
#[derive(Debug, Clone, Copy)]
pub struct StepCut {
    /// Number of the fault.
    pub fault: usize,
    step: Moment,
    /// Whether what has brought it on still gets through.
    after: bool,
    /// Whether connections end with it, and with them what is on its way.
    snaps: bool,
    length_ms: u64,
    /// When it ends, once it has come.
    until: Option<u64>,
}

/// What a cut waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Proposal,
    Prepare,
    Commit,
    Seal,
}

fn moment(message: &Message) -> Option<Moment> {
    if let Message::Seals { .. } = message {
        return Some(Moment::Seal);
    }
    message.votes().first().map(|vote| match vote.step {
        Step::Propose => Moment::Proposal,
        Step::Prepare => Moment::Prepare,
        Step::Commit => Moment::Commit,
    })
}

impl World {
    /// A cut waits from now on.
    pub(super) fn arm(&mut self, index: usize) {
        let mut rng = World::rng_of(&self.plan[index]);
        let clock = self.cast.network.clock;
        let round = clock.slot_ms * u64::from(clock.slots + clock.seal_slots);
        let lengths = [2_000, 20_000, 70_000, clock.slot_ms, 5 * clock.slot_ms, round];
        let steps = [Moment::Proposal, Moment::Prepare, Moment::Commit, Moment::Seal];
        let cut = StepCut {
            fault: index,
            step: steps[rng.index(steps.len())],
            after: rng.one_in(2),
            snaps: rng.one_in(2),
            length_ms: lengths[rng.index(lengths.len())],
            until: None,
        };
        self.step_cuts.push(cut);
    }

    /// The fault of a cut is over, or the cut itself.
    pub(super) fn disarm(&mut self, index: usize) {
        let Some(at) = self.step_cuts.iter().position(|cut| cut.fault == index) else { return };
        let cut = self.step_cuts[at];
        let over = cut.until.unwrap_or(self.plan[index].until) <= self.now;
        if !over {
            return;
        }
        self.step_cuts.remove(at);
        if cut.until.is_some() {
            self.mend(index);
        }
    }

    /// Cuts the network if this message is what a cut waits for.
    pub(super) fn step_sent(&mut self, message: &Message, is_out: bool) {
        let Some(moment) = moment(message) else { return };
        let waits =
            |cut: &StepCut| cut.until.is_none() && cut.step == moment && cut.after == is_out;
        let Some(at) = self.step_cuts.iter().position(waits) else { return };
        let cut = self.step_cuts[at];
        let fault = self.plan[cut.fault];
        let until = (self.now + cut.length_ms).min(fault.until);
        self.step_cuts[at].until = Some(until);
        self.trace.mark(self.now, fault.host, "cut");
        self.disturb_until(&fault, until);
        self.sever(cut.fault);
        if cut.snaps {
            self.snap(&self.ways(&fault));
        }
        self.queue.add(until, Task::FaultEnds(cut.fault));
    }

    /// Connections across a cut end, with all that is on its way.
    pub(super) fn snap(&mut self, ways: &[(usize, usize)]) {
        for (from, to) in ways.iter().copied() {
            let crossing: Vec<PeerId> = self
                .net
                .of(from)
                .into_iter()
                .filter(|peer| self.net.end(other(*peer)).host == to)
                .collect();
            for peer in crossing {
                self.net.lose(peer);
                self.queue.add(self.now, Task::Gone { peer, fault: Fault::None });
            }
        }
    }
}
