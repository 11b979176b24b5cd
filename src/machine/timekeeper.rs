//! Whether the clock is good enough to sign (`docs/protocol.md` §3).
//!
//! Boards have no clock chip and peers lie: the system's own word, the date of the software, our last signature and the
//! monotonic clock decide; peers only warn.

use crate::machine::note::{ClockDistrust, Note};
use crate::types::clock::{Monotonic, Now, Timestamp};
use crate::types::network::{ClockSource, Network};
use crate::types::sign::SignState;

/// A wall clock that moves by more than this against the monotonic one has been set.
const STEP_MS: u64 = 500;
/// Milliseconds a second that a clock may drift or be slewed without that: NTP slews by half of it.
const SLEW_PER_MILLE: u64 = 1;

/// Watches both clocks, event by event.
#[derive(Debug, Default)]
pub struct Timekeeper {
    /// Wall minus monotonic time as it should be, and when it was last brought up to date.
    expected: Option<(i128, Monotonic)>,
    untrusted_until: Option<Monotonic>,
    distrust: Option<ClockDistrust>,
}

impl Timekeeper {
    /// Why nothing may be signed now, if so.
    pub fn distrust(&self) -> Option<ClockDistrust> {
        self.distrust
    }

    /// Looks at the clocks; says what changed.
    pub fn observe(
        &mut self,
        now: Now,
        network: &Network,
        built: Timestamp,
        signed: &SignState,
    ) -> Vec<Note> {
        let mut notes = Vec::new();
        if let Some(ms) = self.step(now) {
            self.untrusted_until = Some(now.mono.plus(network.clock.slot_ms));
            notes.push(Note::ClockStepped { ms });
        }
        if self.untrusted_until.is_some_and(|until| now.mono >= until) {
            self.untrusted_until = None;
        }
        let distrust = self.judge(now, network, built, signed);
        if distrust != self.distrust {
            self.distrust = distrust;
            notes.push(Note::ClockTrust { distrust });
        }
        notes
    }

    fn step(&mut self, now: Now) -> Option<i64> {
        let offset = i128::from(now.wall.0) - i128::from(now.mono.0);
        let Some((expected, since)) = self.expected else {
            self.expected = Some((offset, now.mono));
            return None;
        };
        let moved = offset - expected;
        if moved.unsigned_abs() > u128::from(STEP_MS) {
            self.expected = Some((offset, now.mono));
            return Some(i64::try_from(moved).unwrap_or(i64::MAX));
        }
        // A slow drift is followed; whole milliseconds of allowance only, so that none is lost between close events.
        let allowance = i128::from(now.mono.since(since) * SLEW_PER_MILLE / 1000);
        if allowance > 0 {
            self.expected = Some((expected + moved.clamp(-allowance, allowance), now.mono));
        }
        None
    }

    fn judge(
        &self,
        now: Now,
        network: &Network,
        built: Timestamp,
        signed: &SignState,
    ) -> Option<ClockDistrust> {
        let Some((round, slot)) = network.clock.at(now.wall) else {
            return Some(ClockDistrust::BeforeOrigin);
        };
        if now.wall < built {
            return Some(ClockDistrust::BeforeBuild);
        }
        if signed.block.is_some_and(|last| (round, slot) < (last.round, last.slot)) {
            return Some(ClockDistrust::BeforeLastSignature);
        }
        let source = network.values_at(round).clock;
        if source == ClockSource::Synchronised && !now.synchronised {
            return Some(ClockDistrust::Unsynchronised);
        }
        self.untrusted_until.map(|_| ClockDistrust::Stepped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{Round, Slot};
    use crate::types::hash::{BlockHash, Hash};
    use crate::types::sign::BlockRecord;

    const START: u64 = 2_000_000_000_000;

    fn now(wall_ms: u64, mono_ms: u64, synchronised: bool) -> Now {
        Now { wall: Timestamp(wall_ms), mono: Monotonic(mono_ms), synchronised }
    }

    fn check(steps: &[(Now, Option<ClockDistrust>)], signed: SignState) {
        let network = Network::main();
        let mut timekeeper = Timekeeper::default();
        for (index, (now, expected)) in steps.iter().enumerate() {
            timekeeper.observe(*now, &network, Timestamp(START - 1_000_000), &signed);
            assert_eq!(timekeeper.distrust(), *expected, "step {index}");
        }
    }

    #[test]
    fn a_step_of_600_ms_costs_one_slot() {
        for moved in [600, -600_i64] {
            let after = START.saturating_add_signed(1_000 + moved);
            check(
                &[
                    (now(START, 0, true), None),
                    (now(START + 500, 500, true), None),
                    (now(after, 1_000, true), Some(ClockDistrust::Stepped)),
                    (now(after + 179_999, 180_999, true), Some(ClockDistrust::Stepped)),
                    (now(after + 180_000, 181_000, true), None),
                ],
                SignState::default(),
            );
        }
    }

    #[test]
    fn small_steps_add_up_and_a_slew_does_not() {
        let mut steps = vec![(now(START, 0, true), None)];
        steps.extend((1..=5_000).map(|i| (now(START + i * 1_001, i * 1_000, true), None)));
        check(&steps, SignState::default());
        check(
            &[
                (now(START, 0, true), None),
                (now(START + 1_400, 1_000, true), None),
                (now(START + 2_800, 2_000, true), Some(ClockDistrust::Stepped)),
            ],
            SignState::default(),
        );
    }

    #[test]
    fn each_reason_has_its_name() {
        let signed = |round| SignState {
            block: Some(BlockRecord {
                round: Round(round),
                slot: Slot(0),
                hash: BlockHash(Hash([0; 32])),
            }),
            ..SignState::default()
        };
        let (round, _) = Network::main().clock.at(Timestamp(START)).expect("after the origin");
        check(&[(now(START, 0, false), Some(ClockDistrust::Unsynchronised))], signed(0));
        check(&[(now(START, 0, true), None)], signed(round.0));
        let later = signed(round.0 + 1);
        check(&[(now(START, 0, true), Some(ClockDistrust::BeforeLastSignature))], later);
        let early = now(START - 1_000_001, 0, true);
        check(&[(early, Some(ClockDistrust::BeforeBuild))], signed(0));
        check(&[(now(1000, 0, true), Some(ClockDistrust::BeforeOrigin))], signed(0));
    }
}
