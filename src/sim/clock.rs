//! The clocks of a host, as functions of virtual time: a wall clock that is off, drifts and can be set, and a monotonic
//! one that starts with the process.

use crate::types::clock::{Monotonic, Now, Timestamp};
use crate::types::rng::Rng;

/// How far a good wall clock is off, at most.
pub const OFFSET_MS_MAX: u64 = 300;
/// Drift of a good wall clock in parts per million: its daemon keeps it near. Half a second in a day.
const WALL_PPM: u64 = 3;
/// Drift of the crystal that the monotonic clock counts.
const MONO_PPM: u64 = 50;
const MILLION: i64 = 1_000_000;

/// The clocks of a host.
#[derive(Debug, Clone)]
pub struct HostClock {
    /// Wall time at virtual time 0, on a perfect clock.
    start: Timestamp,
    offset_ms: i64,
    wall_ppm: i64,
    mono_ppm: i64,
    boot: u64,
    pub synchronised: bool,
}

fn scaled(time: u64, ppm: i64) -> u64 {
    let time = i64::try_from(time).expect("virtual times are below 2^53");
    u64::try_from(time + time * ppm / MILLION).expect("drift is far below the time itself")
}

fn around(rng: &mut Rng, most: u64) -> i64 {
    i64::try_from(rng.below(2 * most + 1)).expect("small") - i64::try_from(most).expect("small")
}

impl HostClock {
    /// A good clock.
    pub fn new(start: Timestamp, rng: &mut Rng) -> HostClock {
        HostClock {
            start,
            offset_ms: around(rng, OFFSET_MS_MAX),
            wall_ppm: around(rng, WALL_PPM),
            mono_ppm: around(rng, MONO_PPM),
            boot: 0,
            synchronised: true,
        }
    }

    /// What the host reads at a virtual time.
    pub fn now(&self, time: u64) -> Now {
        let perfect = self.start.0 + scaled(time, self.wall_ppm);
        Now {
            wall: Timestamp(perfect.saturating_add_signed(self.offset_ms)),
            mono: self.mono(time),
            synchronised: self.synchronised,
        }
    }

    /// The virtual time at which the monotonic clock first shows `mono`.
    pub fn virtual_at(&self, mono: Monotonic) -> u64 {
        let Ok(wanted) = i64::try_from(mono.0) else { return u64::MAX };
        let Some(scaled) = wanted.checked_mul(MILLION) else { return u64::MAX };
        let guess = u64::try_from(scaled / (MILLION + self.mono_ppm)).unwrap_or(0);
        let mut time = self.boot + guess.saturating_sub(1);
        while self.mono(time) < mono {
            time += 1;
        }
        time
    }

    fn mono(&self, time: u64) -> Monotonic {
        Monotonic(scaled(time - self.boot, self.mono_ppm))
    }

    /// The process starts: its monotonic clock does too.
    pub fn boot(&mut self, time: u64) {
        self.boot = time;
    }

    /// Sets the wall clock forward or back.
    pub fn step(&mut self, ms: i64) {
        self.offset_ms += ms;
    }

    /// Whether the wall clock is further off than a good one.
    pub fn is_off(&self) -> bool {
        self.offset_ms.unsigned_abs() > OFFSET_MS_MAX
    }

    /// Sets a wall clock that is far off to a good time again. By how much, when it was.
    pub fn correct(&mut self, rng: &mut Rng) -> Option<i64> {
        if !self.is_off() {
            return None;
        }
        let ms = around(rng, OFFSET_MS_MAX) - self.offset_ms;
        self.step(ms);
        Some(ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_wakes_when_its_own_clock_says_so() {
        let mut rng = Rng::from_text("clock");
        for _ in 0..100 {
            let mut clock = HostClock::new(Timestamp(1_000_000_000_000), &mut rng);
            clock.boot(rng.below(1000));
            let mono = Monotonic(rng.below(100_000_000));
            let time = clock.virtual_at(mono);
            assert!(clock.now(time).mono >= mono);
            assert!(time == clock.boot || clock.now(time - 1).mono < mono);
        }
    }
}
