//! The driver of each host: events into its node, effects out and in order, until a crash or a barrier that fails.

use super::{Task, World};
use crate::machine::event::{Effect, Event, Fault as Breach};
use crate::machine::limits::Limits;
use crate::machine::note::Note;
use crate::node::{Node, Setup};
use crate::sim::cast::ORIGIN;
use crate::sim::disk::DiskError;
use crate::sim::host::BACKOFF_MS;
use crate::sim::queue::NEVER;
use crate::sim::script::Sight;
use crate::types::clock::Timestamp;
use crate::types::hash::hash;
use crate::types::sign::{SignRecord, Standing};

/// Events of one host in so much virtual time: more than a long reorganisation or a full backlog needs, and fewer than one
/// in each millisecond; and for each other host those of its votes and probes, which a round of many HNs needs in any case.
const STORM: u32 = 30_000;
const STORM_PER_HOST: u32 = 60;
const STORM_MS: u64 = 40_000;

impl World {
    /// Starts a host's process on its disk.
    pub(super) fn start(&mut self, index: usize, life: u32) {
        let host = &mut self.hosts[index];
        if host.life != life || host.node.is_some() || !host.wanted {
            return;
        }
        host.clock.boot(self.now);
        if !host.honest {
            // Its key is elsewhere, and it knows.
            host.disk.signed.standing = Standing::Proven;
        }
        host.clock_begun();
        let built = Timestamp::from_secs(ORIGIN - 24 * 3_600);
        let setup = Setup {
            network: host.network.as_ref().unwrap_or(&self.cast.network).clone(),
            key: host.key.clone(),
            seed: hash("node", &[&host.rng.next_u64().to_be_bytes()]),
            built,
            signed: host.disk.signed,
            seen: host.disk.seen,
            verifier: self.cast.verifier.clone(),
            limits: Limits::default(),
        };
        self.trace.mark(self.now, index, "start");
        match Node::open(setup, host.clock.now(self.now), &host.disk) {
            Ok(node) => {
                let wake = host.clock.virtual_at(node.next_wake()).max(self.now);
                host.node = Some(node);
                self.queue.arm(index, wake);
                self.checks.came_up(self.now, index, &self.hosts[index]);
            }
            Err(error) => self.checks.violation(self.now, Some(index), format!("{error}")),
        }
    }

    /// One event into a node, and its effects out; then its timer is set.
    pub(super) fn deliver(&mut self, index: usize, event: Event, frame: u64) {
        let time = self.now;
        if self.storms(index) {
            return;
        }
        let mut script = self.hosts[index].script.take();
        let hidden = script.as_mut().is_some_and(|it| it.hides(&event, &self.scene(index)));
        let host = &mut self.hosts[index];
        host.clock_seen();
        let Some(node) = &mut host.node else {
            host.script = script;
            return;
        };
        self.trace.event(time, index, &event, frame);
        let answer = host.byzantine.as_mut().and_then(|wrapper| wrapper.answer(&event));
        let overheard = host.byzantine.is_some() || script.is_some() || self.witness.is_some();
        let heard = overheard.then(|| event.clone());
        let mut effects = match answer {
            Some(effects) => effects,
            None if hidden => Vec::new(),
            None => node.handle(host.clock.now(time), event, &host.disk),
        };
        if let Some(mut wrapper) = self.hosts[index].byzantine.take() {
            effects = wrapper.bend(effects, &self.view(index));
            if let Some(event) = &heard {
                effects.extend(wrapper.comment(event, &self.view(index)));
            }
            self.hosts[index].byzantine = Some(wrapper);
            if self.ring.calls() {
                (0..self.hosts.len()).for_each(|host| self.queue.add(time, Task::Plot(host)));
            }
        }
        if let Some(event) = heard {
            if let Some(script) = &mut script {
                effects = script.bend(&event, effects, &self.scene(index));
            }
            if let Some(witness) = &mut self.witness {
                witness(&Sight { time, host: index, event: &event, effects: &effects });
            }
        }
        self.hosts[index].script = script;
        self.perform(index, effects);
        self.set_timer(index);
    }

    pub(super) fn set_timer(&mut self, index: usize) {
        let host = &self.hosts[index];
        let wake = match &host.node {
            Some(node) => host.clock.virtual_at(node.next_wake()).max(self.now),
            None => NEVER,
        };
        self.queue.arm(index, wake);
    }

    /// Whether a host does nothing but spin.
    fn storms(&mut self, index: usize) -> bool {
        let allowed = STORM + STORM_PER_HOST * u32::try_from(self.hosts.len()).unwrap_or(0);
        let (since, events) = &mut self.storms[index];
        if self.now >= *since + STORM_MS {
            (*since, *events) = (self.now, 0);
        }
        *events += 1;
        if *events < allowed {
            return false;
        }
        *events = 0;
        self.checks.violation(self.now, Some(index), "spins");
        self.kill(index, false);
        true
    }

    /// Effects happen one after the other, until a crash or a barrier that fails.
    pub(super) fn perform(&mut self, index: usize, effects: Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        self.hosts[index].foresee_crash(&effects, self.now);
        self.checks.foresee(self.now, &self.hosts[index], &effects);
        for effect in effects {
            if let Some(crash) = self.hosts[index].crashes() {
                self.crash(index, crash);
                return;
            }
            let barrier = self.happen(index, effect);
            if let Err(error) = barrier {
                self.barrier_failed(index, error);
                return;
            }
        }
        if let Some(crash) = self.hosts[index].crashes() {
            self.crash(index, crash);
        }
    }

    pub(super) fn happen(&mut self, index: usize, effect: Effect) -> Result<(), DiskError> {
        let time = self.now;
        if let Effect::Send { peers, message } = effect {
            self.send(index, peers, message);
            return Ok(());
        }
        self.trace.effect(index, &effect, None);
        match effect {
            Effect::Guard(record) => {
                if let SignRecord::Block(block) = &record {
                    self.checks.guarded(time, index, &self.hosts[index], block);
                }
                self.hosts[index].disk.guard(record)?;
                if let SignRecord::Vote(vote) = &record {
                    self.checks.vote_guarded(time, index, &self.hosts[index], vote);
                }
            }
            Effect::Persist(batch) => {
                self.hosts[index].disk.persist(&batch)?;
                self.hosts[index].backoff_ms = BACKOFF_MS;
                self.checks.persisted(time, index, &self.hosts[index], &batch);
            }
            Effect::Send { .. } => {}
            Effect::Dial { endpoint } => self.dial(index, endpoint),
            Effect::Close { peer, .. } => self.close(peer, Breach::None),
            Effect::Reply { id, answer } => {
                let round = usize::try_from(id.0).ok().and_then(|at| self.requests.get(at));
                let round = round.copied().unwrap_or_default();
                self.checks.replied(time, index, &self.hosts[index], &answer, round);
            }
            Effect::Note(note) => self.noted(index, &note),
            Effect::Stop(reason) => {
                self.checks.stopped(time, index, &self.hosts[index], reason);
                self.kill(index, false);
                self.hosts[index].wanted = false;
                if !self.hosts[index].honest {
                    self.start_at(index, time + self.cast.network.clock.slot_ms);
                }
            }
        }
        Ok(())
    }

    fn noted(&mut self, index: usize, note: &Note) {
        self.checks.note(self.now, index, &self.hosts, note);
        if let Note::BlockStored { point, .. } = note {
            self.checks.stored(index, &self.hosts[index], point);
        }
        if let Note::TipChanged { tip, .. } = note {
            self.checks.tip_changed(self.now, index, &self.hosts[index], *tip);
        }
    }
}
