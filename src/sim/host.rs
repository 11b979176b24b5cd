//! One simulated machine: its disk, its clocks, and the process on it, when it runs.

use std::rc::Rc;

use super::byzantine::Byzantine;
use super::checks::STEP_MS;
use super::clock::HostClock;
use super::disk::Disk;
use super::script::Script;
use crate::machine::event::Effect;
use crate::machine::note::Note;
use crate::machine::records::{self, Table};
use crate::node::Node;
use crate::types::block::{Point, SealRef};
use crate::types::key::{PublicKey, SecretKey};
use crate::types::message::Message;
use crate::types::network::{Endpoint, Network};
use crate::types::rng::Rng;
use crate::types::seal::Checkpoint;
use crate::types::sign::SignRecord;

/// First pause after a disk took no write.
pub const BACKOFF_MS: u64 = 30_000;
/// Longest pause.
pub const BACKOFF_MAX_MS: u64 = 300_000;

/// A simulated machine.
pub struct Host {
    pub key: SecretKey,
    pub endpoint: Endpoint,
    pub disk: Disk,
    /// Its network file, when that is not the one of all.
    pub network: Option<Rc<Network>>,
    pub clock: HostClock,
    /// For the seeds of its node.
    pub rng: Rng,
    /// The wrapper that bends what the node says, where there is one.
    pub byzantine: Option<Byzantine>,
    /// What it does in a scenario that it is the villain of.
    pub script: Option<Box<dyn Script>>,
    /// It closes a connection as soon as it has sent bodies over it.
    pub drops_after_bodies: bool,
    /// Registered, and never breaks the protocol on purpose.
    pub honest: bool,
    /// The process, while it runs.
    pub node: Option<Node>,
    /// Number of the run; tasks of an earlier one are void.
    pub life: u32,
    /// A crash to come.
    pub crash: Option<Crash>,
    pub backoff_ms: u64,
    /// When the wall clock was last set by more than a node must bear, while the process ran.
    pub stepped_at: Option<u64>,
    /// By how much it was set since in steps that a node must bear; a larger one back may come to no more.
    borne_ms: i64,
    /// When it was set last, and by how much since the process last looked: there and back between two events is nothing.
    unseen: Option<(u64, i64)>,
    /// Until when faults may be to blame for what it does late or not at all.
    pub disturbed_until: u64,
    /// Whether it is meant to run: not before it joins, not in the pause after a crash.
    pub wanted: bool,
}

/// A crash that waits for its moment.
#[derive(Debug, Clone, Copy)]
pub struct Crash {
    pub moment: Moment,
    /// Effects still to happen when the moment has come.
    pub effects_left: u64,
    /// Void after this.
    pub until: u64,
    pub down_ms: u64,
    /// Power is lost: what is in flight is too, and nobody is told.
    pub power: bool,
    /// The old database comes back.
    pub restore: bool,
}

/// What a crash waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Effects are counted from now on.
    Any,
    /// The event in which the host forges.
    Forging,
    /// The event in which it votes or proposes.
    Voting,
    /// The event in which it writes down the prepare quorum that its commit will rest on. The commit comes right after.
    Locking,
}

impl Host {
    /// A machine that does not run yet.
    pub fn new(key: SecretKey, endpoint: Endpoint, clock: HostClock, rng: Rng) -> Host {
        Host {
            key,
            endpoint,
            disk: Disk::default(),
            network: None,
            clock,
            rng,
            byzantine: None,
            script: None,
            drops_after_bodies: false,
            honest: true,
            node: None,
            life: 0,
            crash: None,
            backoff_ms: BACKOFF_MS,
            stepped_at: None,
            borne_ms: 0,
            unseen: None,
            disturbed_until: 0,
            wanted: false,
        }
    }

    /// Its process starts: of what was before it cannot know.
    pub fn clock_begun(&mut self) {
        (self.stepped_at, self.borne_ms, self.unseen) = (None, 0, None);
    }

    /// Its clock was set by this at the time.
    pub fn clock_set(&mut self, time: u64, ms: i64) {
        let before = self.unseen.map_or(0, |(_, before)| before);
        self.unseen = Some((time, before + ms));
    }

    /// Its process looks at the clock.
    pub fn clock_seen(&mut self) {
        let Some((time, ms)) = self.unseen.take() else { return };
        let moved = self.borne_ms + ms;
        if ms.unsigned_abs() > STEP_MS && moved.unsigned_abs() > STEP_MS {
            (self.stepped_at, self.borne_ms) = (Some(time), 0);
        } else {
            self.borne_ms = moved;
        }
    }

    /// Its public key.
    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    /// The checkpoints with new voters that its network file lists.
    fn listings(&self) -> impl Iterator<Item = &Checkpoint> {
        let listed = self.network.iter().flat_map(|network| &network.checkpoints);
        listed.filter(|listed| listed.voters.is_some()).map(|listed| &listed.checkpoint)
    }

    /// Whether its network file lists a checkpoint after a seal: until it is there, blocks on the way decide over seals.
    pub fn is_led(&self, adopted: u64) -> bool {
        let network = self.network.as_deref();
        let last = network.and_then(|network| network.checkpoints.last());
        last.is_some_and(|last| last.checkpoint.index > adopted)
    }

    /// Whether its network file lists a checkpoint of this index that brings voters.
    pub fn lists(&self, index: u64) -> bool {
        self.listings().any(|listed| listed.index == index)
    }

    /// The seal that a block counts as naming because it is listed so.
    pub fn listed_at(&self, block: &Point) -> Option<SealRef> {
        let mut listings = self.listings();
        listings.find(|listed| listed.point() == *block).map(Checkpoint::seal)
    }

    /// Whether its seal of an index rests on a listed checkpoint that brings voters, or is one.
    pub fn rests_on_listed(&self, index: u64) -> bool {
        let mut below = self.listings().filter(|listed| listed.index <= index);
        below.any(|listed| {
            let held = records::seal(&self.disk, listed.index);
            held.is_some_and(|held| held.checkpoint() == listed)
        })
    }

    /// Looks whether the moment that a crash waits for is in these effects.
    pub fn foresee_crash(&mut self, effects: &[Effect], time: u64) {
        let own = self.public();
        let Some(crash) = &mut self.crash else { return };
        if time > crash.until {
            self.crash = None;
            return;
        }
        let comes = |effect: &Effect| match crash.moment {
            Moment::Any => true,
            Moment::Forging => is_forging(effect, &own),
            Moment::Voting => is_voting(effect, &own),
            Moment::Locking => is_locking(effect),
        };
        if effects.iter().any(comes) {
            crash.moment = Moment::Any;
        }
    }

    /// Whether a crash comes before the next effect. Counts it off.
    pub fn crashes(&mut self) -> Option<Crash> {
        let crash = self.crash.as_mut().filter(|crash| crash.moment == Moment::Any)?;
        if crash.effects_left > 0 {
            crash.effects_left -= 1;
            return None;
        }
        self.crash.take()
    }
}

fn is_forging(effect: &Effect, own: &PublicKey) -> bool {
    match effect {
        Effect::Guard(SignRecord::Block(_)) | Effect::Note(Note::Forged { .. }) => true,
        Effect::Send { message, .. } => {
            matches!(&**message, Message::NewBlock { header, .. } if header.header.forger == *own)
        }
        Effect::Guard(SignRecord::Vote(_) | SignRecord::Correction(_))
        | Effect::Persist(_)
        | Effect::Dial { .. }
        | Effect::Close { .. }
        | Effect::Reply { .. }
        | Effect::Stop(_)
        | Effect::Note(_) => false,
    }
}

fn is_voting(effect: &Effect, own: &PublicKey) -> bool {
    match effect {
        Effect::Guard(SignRecord::Vote(_)) => true,
        Effect::Send { message, .. } => message.votes().iter().any(|vote| vote.voter == *own),
        Effect::Guard(SignRecord::Block(_) | SignRecord::Correction(_))
        | Effect::Persist(_)
        | Effect::Dial { .. }
        | Effect::Close { .. }
        | Effect::Reply { .. }
        | Effect::Stop(_)
        | Effect::Note(_) => false,
    }
}

fn is_locking(effect: &Effect) -> bool {
    match effect {
        Effect::Persist(batch) => {
            let written = batch.0.iter().filter(|(_, value)| value.is_some());
            written.into_iter().any(|((table, _), _)| *table == Table::Prepared)
        }
        Effect::Guard(_)
        | Effect::Send { .. }
        | Effect::Dial { .. }
        | Effect::Close { .. }
        | Effect::Reply { .. }
        | Effect::Stop(_)
        | Effect::Note(_) => false,
    }
}
