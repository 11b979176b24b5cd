//! `clock`: round and slot of a network at a moment.

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::choice;
use super::duration::words;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::unix_ms;
use super::output::Output;
use crate::shell::clock::SystemClock;
use crate::types::clock::Timestamp;

/// Print the round and slot of a network, now or at another time.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "clock")]
pub struct Clock {
    /// main, test, or the path of a network file
    #[argh(option)]
    pub network: String,

    /// unix time in seconds, instead of now
    #[argh(option, from_str_fn(unix_ms))]
    pub at: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    network: String,
    round: u64,
    slot: u32,
    seal_slot: bool,
    /// Of the slot, in unix seconds.
    starts_at: u64,
    ends_at: u64,
}

impl Clock {
    /// Prints it; before the network's origin that is an error.
    pub fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        let clock = network.clock;
        let time = self.at.map_or_else(|| SystemClock::start().now().wall, Timestamp);
        let (round, slot) = clock.at(time).ok_or_else(|| {
            let wait = words(clock.origin.since(time));
            let origin = clock.origin.0 / 1000;
            let message =
                format!("network {} starts at {origin}, {wait} after this time", network.name);
            Failure::new(Exit::Failed, "before_origin", message)
                .action("ask for a later time with --at")
        })?;
        let ends = clock.end_of(round, slot);
        let report = Report {
            network: network.name,
            round: round.0,
            slot: slot.0,
            seal_slot: !clock.is_forging(slot),
            starts_at: clock.start_of(round, slot).0 / 1000,
            ends_at: ends.0 / 1000,
        };
        if self.json {
            out.json("clock", &report)?;
            return Ok(Exit::Done);
        }
        let kind = if report.seal_slot { "seal" } else { "forging" };
        let left = words(ends.since(time));
        out.line(format_args!(
            "{}: round {round}, slot {slot} of {} ({kind}), ends in {left}",
            report.network,
            clock.slots + clock.seal_slots,
        ))?;
        Ok(Exit::Done)
    }
}
