//! What goes wrong in the world, and how it is put right again.

use super::{Task, World};
use crate::machine::event::{Fault as Breach, PeerId};
use crate::sim::disk::DiskError;
use crate::sim::faults::{Fault, FaultKind};
use crate::sim::host::{BACKOFF_MAX_MS, Crash, Moment};
use crate::sim::network::{CUT_TIMEOUT_MS, other};
use crate::sim::queue::NEVER;
use crate::types::hash::hash;
use crate::types::rng::Rng;

/// How long after a fault a host may still be late because of it.
pub(super) const AFTERMATH_MS: u64 = 180_000;
/// A better chain that is held must be followed within this.
const FOLLOW_MS: u64 = 10_000;

fn count(amount: i64) -> u64 {
    amount.unsigned_abs()
}

impl World {
    /// Puts the faults of the plan into the queue.
    pub(super) fn expect_faults(&mut self) {
        for (index, fault) in self.plan.iter().enumerate() {
            self.queue.add(fault.at, Task::FaultStarts(index));
            self.queue.add(fault.until, Task::FaultEnds(index));
        }
    }

    /// The random choices of a fault, which another fault does not move.
    pub(super) fn rng_of(fault: &Fault) -> Rng {
        Rng::new(&hash("fault", &[&fault.seed.to_be_bytes()]))
    }

    pub(super) fn start_fault(&mut self, index: usize) {
        let fault = self.plan[index];
        self.trace.mark(self.now, fault.host, fault.kind.name());
        self.disturb(&fault);
        let amount = count(fault.amount);
        let host = &mut self.hosts[fault.host];
        match fault.kind {
            FaultKind::Loss => self.net.trouble[fault.host].loss += amount,
            FaultKind::Delay => self.net.trouble[fault.host].delay_ms += amount,
            FaultKind::Duplicate => self.net.trouble[fault.host].duplicate += amount,
            FaultKind::Slow => self.net.trouble[fault.host].rate = amount,
            FaultKind::Partition | FaultKind::OneWay => self.sever(index),
            FaultKind::VoteCut => self.arm(index),
            FaultKind::Crash => host.crash = Some(crash(&fault)),
            FaultKind::Restore => {
                host.disk.back_up();
                host.crash = Some(crash(&fault));
            }
            FaultKind::Skew | FaultKind::Step => self.step_clock(fault.host, fault.amount),
            FaultKind::FullDisk => host.disk.full = true,
            FaultKind::Late => host.wanted = false,
            FaultKind::TwoBlocks
            | FaultKind::Withhold
            | FaultKind::BadBlock
            | FaultKind::Lie
            | FaultKind::Byzantine
            | FaultKind::Stranger => {
                if let Some(wrapper) = &mut host.byzantine {
                    wrapper.take_up(fault.kind);
                }
                self.queue.add(self.now, Task::Impulse(fault.host));
            }
        }
    }

    pub(super) fn end_fault(&mut self, index: usize) {
        let fault = self.plan[index];
        let amount = count(fault.amount);
        let trouble = &mut self.net.trouble[fault.host];
        match fault.kind {
            FaultKind::Loss => trouble.loss -= amount,
            FaultKind::Delay => trouble.delay_ms -= amount,
            FaultKind::Duplicate => trouble.duplicate -= amount,
            FaultKind::Slow => {
                trouble.rate = 0;
                // What a slow link had before it would take days: such connections end instead.
                for peer in self.net.clogged(fault.host, self.now) {
                    self.gone(peer, Breach::None);
                }
            }
            FaultKind::Partition | FaultKind::OneWay => self.mend(index),
            FaultKind::VoteCut => self.disarm(index),
            // A crash says itself until when it may come; clocks are set right when the network heals.
            FaultKind::Crash | FaultKind::Restore | FaultKind::Skew | FaultKind::Step => {}
            FaultKind::FullDisk => self.hosts[fault.host].disk.full = false,
            FaultKind::Late => self.start_at(fault.host, self.now),
            FaultKind::TwoBlocks
            | FaultKind::Withhold
            | FaultKind::BadBlock
            | FaultKind::Lie
            | FaultKind::Byzantine
            | FaultKind::Stranger => {
                if let Some(wrapper) = &mut self.hosts[fault.host].byzantine {
                    wrapper.give_up(fault.kind);
                }
            }
        }
    }

    /// Remembers whose delays the fault excuses.
    fn disturb(&mut self, fault: &Fault) {
        // A cut that waits disturbs nobody yet.
        if fault.kind != FaultKind::VoteCut {
            self.disturb_until(fault, fault.until);
        }
    }

    pub(super) fn disturb_until(&mut self, fault: &Fault, until: u64) {
        let until = until + AFTERMATH_MS;
        let all = matches!(fault.kind, FaultKind::Partition | FaultKind::VoteCut);
        for (index, host) in self.hosts.iter_mut().enumerate() {
            if all || index == fault.host {
                host.disturbed_until = host.disturbed_until.max(until);
            }
        }
    }

    /// Nothing goes the ways of a fault any more.
    pub(super) fn sever(&mut self, index: usize) {
        self.sever_ways(&self.ways(&self.plan[index]));
    }

    pub(super) fn sever_ways(&mut self, ways: &[(usize, usize)]) {
        for (from, to) in ways.iter().copied() {
            self.net.cut(from, to);
            self.expect_time_outs(from, to);
        }
    }

    /// The ways of a fault are open again.
    pub(super) fn mend(&mut self, index: usize) {
        self.mend_ways(&self.ways(&self.plan[index]));
    }

    pub(super) fn mend_ways(&mut self, ways: &[(usize, usize)]) {
        for (from, to) in ways.iter().copied() {
            for (peer, frames) in self.net.mend(from, to) {
                frames.iter().for_each(|frame| self.carry(peer, frame));
            }
        }
    }

    /// The ways that a fault cuts.
    pub(super) fn ways(&self, fault: &Fault) -> Vec<(usize, usize)> {
        let mut rng = World::rng_of(fault);
        let hosts = self.hosts.len();
        if matches!(fault.kind, FaultKind::Partition | FaultKind::VoteCut) {
            let sides: Vec<bool> = (0..hosts).map(|_| rng.one_in(2)).collect();
            let pairs = (0..hosts).flat_map(|from| (0..hosts).map(move |to| (from, to)));
            return pairs.filter(|(from, to)| sides[*from] != sides[*to]).collect();
        }
        let one = rng.index(hosts);
        let to = (0..hosts).filter(|to| fault.amount == 0 || *to == one);
        to.filter(|to| *to != fault.host).map(|to| (fault.host, to)).collect()
    }

    fn expect_time_outs(&mut self, from: usize, to: usize) {
        let crossing: Vec<PeerId> = self
            .net
            .of(from)
            .into_iter()
            .filter(|peer| self.net.end(other(*peer)).host == to)
            .collect();
        for peer in crossing {
            let wait = CUT_TIMEOUT_MS + self.rng.below(CUT_TIMEOUT_MS);
            self.queue.add(self.now + wait, Task::TimeOut { peer });
        }
    }

    fn step_clock(&mut self, index: usize, ms: i64) {
        self.hosts[index].clock.step(ms);
        self.hosts[index].clock_set(self.now, ms);
    }

    /// The faulty phase is over: clocks are set right, whoever is down starts, and what must survive is noted.
    pub(super) fn heal(&mut self) {
        let round = self.cast.network.clock.at(self.start.plus(self.now)).map(|(round, _)| round);
        self.checks.expect_messages(&self.hosts, round.unwrap_or_default());
        for index in 0..self.hosts.len() {
            if let Some(ms) = self.hosts[index].clock.correct(&mut self.rng) {
                self.trace.mark(self.now, index, "clock");
                self.hosts[index].clock_set(self.now, ms);
            }
            self.hosts[index].crash = None;
            self.hosts[index].disturbed_until = self.now + AFTERMATH_MS;
            self.start_at(index, self.now);
        }
    }

    /// The process ends, and all its connections with it.
    pub(super) fn kill(&mut self, index: usize, power: bool) {
        let now = self.now;
        let host = &mut self.hosts[index];
        host.node = None;
        host.life += 1;
        self.queue.arm(index, NEVER);
        for peer in self.net.of(index) {
            // What the kernel has taken over still goes out when only the process dies.
            let lose = power || self.rng.one_in(2);
            let told = self.net.close(peer, now, lose);
            let at = if power { now + CUT_TIMEOUT_MS } else { told };
            self.queue.add(at, Task::Gone { peer: other(peer), fault: Breach::None });
        }
    }

    pub(super) fn crash(&mut self, index: usize, crash: Crash) {
        self.trace.mark(self.now, index, "crash");
        self.kill(index, crash.power);
        if crash.restore {
            self.hosts[index].disk.restore();
        }
        self.start_at(index, self.now + crash.down_ms);
    }

    /// Nothing after a barrier that failed happens; the node is opened again, later when the disk is at fault.
    pub(super) fn barrier_failed(&mut self, index: usize, error: DiskError) {
        self.trace.mark(self.now, index, "barrier");
        self.kill(index, false);
        let host = &mut self.hosts[index];
        let wait = match error {
            DiskError::Conflict => 0,
            DiskError::Full => {
                let wait = host.backoff_ms;
                host.backoff_ms = (2 * wait).min(BACKOFF_MAX_MS);
                wait
            }
        };
        self.start_at(index, self.now + wait);
    }

    /// A Byzantine host or a stranger does something of its own, and again later.
    pub(super) fn impulse(&mut self, index: usize) {
        let now = self.hosts[index].clock.now(self.now);
        let Some(mut wrapper) = self.hosts[index].byzantine.take() else { return };
        if wrapper.is_reformed() {
            self.hosts[index].byzantine = Some(wrapper);
            return;
        }
        let mut effects = Vec::new();
        if let Some(node) = &self.hosts[index].node {
            let ready = self.ready(index);
            effects = wrapper.impulse(node.status(now).tip.point, ready, &self.view(index));
        }
        self.hosts[index].byzantine = Some(wrapper);
        self.perform(index, effects);
        self.set_timer(index);
        let slot = self.cast.network.clock.slot_ms;
        let next = self.now + slot / 2 + self.rng.below(slot);
        self.queue.add(next, Task::Impulse(index));
    }

    /// The peers of a host that have proven who they are.
    pub(super) fn ready(&self, index: usize) -> Vec<PeerId> {
        let host = &self.hosts[index];
        let Some(node) = &host.node else { return Vec::new() };
        let peers = node.peers(host.clock.now(self.now)).into_iter();
        let ready = peers.filter(|peer| peer.public_key.is_some());
        ready.map(|peer| PeerId(peer.peer)).collect()
    }

    /// A colluding host does its part in a plot.
    pub(super) fn show_plot(&mut self, index: usize) {
        let ready = self.ready(index);
        let Some(mut wrapper) = self.hosts[index].byzantine.take() else { return };
        let effects = wrapper.show_plot(&ready, &self.view(index));
        self.hosts[index].byzantine = Some(wrapper);
        self.perform(index, effects);
        self.set_timer(index);
    }

    /// Looks at what no single event shows.
    pub(super) fn inspect(&mut self) {
        for index in 0..self.hosts.len() {
            let host = &self.hosts[index];
            let Some(node) = host.node.as_ref().filter(|_| host.honest) else { continue };
            let status = node.status(host.clock.now(self.now));
            self.checks.bounds(self.now, index, &status);
            if self.checks.better_held(index).is_some() {
                let than = self.checks.tips[index];
                let task = Task::Better { host: index, life: host.life, than };
                self.queue.add(self.now + FOLLOW_MS, task);
            }
        }
        let next = self.now + self.cast.network.clock.slot_ms / 3;
        self.queue.add(next, Task::Inspect);
    }
}

/// The crash that a fault means.
fn crash(fault: &Fault) -> Crash {
    let mut rng = World::rng_of(fault);
    let restore = fault.kind == FaultKind::Restore;
    let moments = [Moment::Forging, Moment::Voting, Moment::Any];
    let moment = moments[rng.index(moments.len())];
    Crash {
        moment: if restore { Moment::Forging } else { moment },
        // An old disk is put back after the block is out; other crashes come anywhere in the event and soon after.
        effects_left: if restore { 12 + rng.below(40) } else { rng.below(8) },
        until: fault.until,
        down_ms: count(fault.amount),
        power: rng.one_in(3),
        restore,
    }
}
