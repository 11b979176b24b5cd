//! Time: wall-clock and monotonic milliseconds, rounds, slots, heights (`docs/protocol.md` §3).
//!
//! Values and arithmetic only. Nothing here reads a clock: [`Now`] comes in with every event.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Milliseconds since some moment in this process; never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Monotonic(pub u64);

/// Number of a round since the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Round(pub u64);

/// Number of a slot within its round, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Slot(pub u32);

/// Number of blocks below a block; genesis has 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Height(pub u64);

/// The moment of an event, as the shell read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Decides rounds and slots.
    pub wall: Timestamp,
    /// Decides time-outs.
    pub mono: Monotonic,
    /// Whether the system says that its clock is synchronised.
    pub synchronised: bool,
}

impl Timestamp {
    /// From whole seconds of Unix time.
    pub fn from_secs(seconds: u64) -> Timestamp {
        Timestamp(seconds.saturating_mul(1000))
    }

    /// Later by milliseconds.
    pub fn plus(self, ms: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 when it is later.
    pub fn since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Monotonic {
    /// Later by milliseconds.
    pub fn plus(self, ms: u64) -> Monotonic {
        Monotonic(self.0.saturating_add(ms))
    }

    /// Milliseconds since `earlier`; 0 when it is later.
    pub fn since(self, earlier: Monotonic) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Round {
    /// The round after this one.
    pub fn next(self) -> Round {
        Round(self.0.saturating_add(1))
    }
}

impl Height {
    /// The height above this one.
    pub fn next(self) -> Height {
        Height(self.0.saturating_add(1))
    }
}

/// The parameters of a network that cut time into rounds and slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Start of round 0.
    pub origin: Timestamp,
    /// Length of a slot.
    pub slot_ms: u64,
    /// Forging slots in a round.
    pub slots: u32,
    /// Slots after them, for the seal.
    pub seal_slots: u32,
}

impl Clock {
    /// Length of a round.
    pub fn round_ms(&self) -> u64 {
        self.slot_ms * (u64::from(self.slots) + u64::from(self.seal_slots))
    }

    /// Round and slot at a time; nothing before the origin.
    pub fn at(&self, time: Timestamp) -> Option<(Round, Slot)> {
        let since = time.0.checked_sub(self.origin.0)?;
        let round = since / self.round_ms();
        let slot = since % self.round_ms() / self.slot_ms;
        Some((Round(round), Slot(u32::try_from(slot).expect("below the slots of a round"))))
    }

    /// Whether blocks are forged in this slot of a round.
    pub fn is_forging(&self, slot: Slot) -> bool {
        slot.0 < self.slots
    }

    /// Start of a slot.
    pub fn start_of(&self, round: Round, slot: Slot) -> Timestamp {
        let rounds = round.0.saturating_mul(self.round_ms());
        self.origin.plus(rounds).plus(u64::from(slot.0) * self.slot_ms)
    }

    /// End of a slot, which is the start of the next.
    pub fn end_of(&self, round: Round, slot: Slot) -> Timestamp {
        self.start_of(round, slot).plus(self.slot_ms)
    }

    /// End of the last forging slot of a round.
    pub fn end_of_forging(&self, round: Round) -> Timestamp {
        self.start_of(round, Slot(self.slots))
    }

    /// Whether the last forging slot of a round has ended.
    pub fn is_finished(&self, round: Round, time: Timestamp) -> bool {
        time >= self.end_of_forging(round)
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Height {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
