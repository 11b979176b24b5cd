//! The clocks of the machine: wall time, monotonic time, and whether the kernel or systemd calls the wall time
//! synchronised (`docs/protocol.md` §3). What follows from that, the core decides.

#![allow(unsafe_code, reason = "the kernel's clock state is read by one call to the C library")]

use std::cell::Cell;
use std::ffi::c_int;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::clock::{Monotonic, Now, Timestamp};

/// systemd-timesyncd makes this file at the first synchronisation since boot.
const SYNCHRONISED_FILE: &str = "/run/systemd/timesync/synchronized";
/// How long an answer of the system about synchronisation is good for.
const RECHECK: Duration = Duration::from_secs(1);
/// `adjtimex` says so when the clock is not synchronised.
const TIME_ERROR: c_int = 5;

/// The clocks of this process.
pub struct SystemClock {
    start: Instant,
    synchronised: Cell<Option<(Instant, bool)>>,
}

#[allow(clippy::disallowed_methods, reason = "here the clocks are read, for the whole node")]
impl SystemClock {
    /// Monotonic time starts now.
    pub fn start() -> SystemClock {
        SystemClock { start: Instant::now(), synchronised: Cell::new(None) }
    }

    /// What the clocks say.
    pub fn now(&self) -> Now {
        let at = Instant::now();
        // A clock before 1970 is as wrong as one in 1970.
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            wall: Timestamp(milliseconds(wall)),
            mono: Monotonic(milliseconds(at.duration_since(self.start))),
            synchronised: self.synchronised(at),
        }
    }

    fn synchronised(&self, at: Instant) -> bool {
        match self.synchronised.get() {
            Some((checked, answer)) if at.duration_since(checked) < RECHECK => answer,
            _ => {
                let answer = Path::new(SYNCHRONISED_FILE).exists() || kernel_is_synchronised();
                self.synchronised.set(Some((at, answer)));
                answer
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Room for the kernel's `struct timex`, which differs between machines and is at most 208 bytes long.
#[repr(C, align(8))]
struct Timex([u8; 512]);

unsafe extern "C" {
    fn adjtimex(timex: *mut Timex) -> c_int;
}

fn kernel_is_synchronised() -> bool {
    let mut timex = Timex([0; 512]);
    // SAFETY: the call writes a `struct timex`, for which there is room. Its first field, the modes, is 0: nothing is
    // set. All that is read of it is the return value.
    let state = unsafe { adjtimex(&mut timex) };
    (0..TIME_ERROR).contains(&state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "what it is compared with")]
    fn the_clocks_agree_with_those_of_the_standard_library() {
        let clock = SystemClock::start();
        let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (first, second) = (clock.now(), clock.now());
        let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        assert!((milliseconds(before)..=milliseconds(after)).contains(&first.wall.0));
        assert!(second.mono >= first.mono);
        assert_eq!(second.synchronised, first.synchronised);
    }
}
