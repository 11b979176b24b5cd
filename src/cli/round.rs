//! `round`: whose slots a round has, and what became of them.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::Outcome;
use super::number::{count, whole};
use super::output::Output;
use super::table::Table;
use crate::shell::document::{RoundDocument, SlotDocument, SlotState, StatusDocument};
use crate::types::clock::Timestamp;

/// Show a round, the present one by default: the juror of each slot, its block, and why ours were missed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "round")]
pub struct Round {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object, with the tests drawn
    #[argh(switch)]
    pub json: bool,

    /// number of the round
    #[argh(positional, from_str_fn(whole))]
    pub round: Option<u64>,
}

impl Round {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let path = match self.round {
            Some(round) => format!("/v1/round?round={round}"),
            None => "/v1/round".to_owned(),
        };
        if self.json {
            return api.print(&path, out);
        }
        let document: RoundDocument = api.value(&path)?;
        let status: StatusDocument = api.value("/v1/status")?;
        let now = status.status.map_or(document.ends_at, |status| status.time);
        out.line(head(&document, now))?;
        out.line("")?;
        let text = slots(&document, out);
        out.line(text)?;
        Ok(Exit::Done)
    }
}

/// Where it stands.
fn head(document: &RoundDocument, now: Timestamp) -> String {
    let RoundDocument { round, starts_at, forged_until, ends_at, drawn_from, .. } = document;
    let phase = match () {
        () if now < *starts_at => format!("begins in {}", words(starts_at.since(now))),
        () if now < *forged_until => {
            format!("its last slot ends in {}", words(forged_until.since(now)))
        }
        () if now < *ends_at => format!("is being sealed, ends in {}", words(ends_at.since(now))),
        () => format!("ended {} ago", words(now.since(*ends_at))),
    };
    let drawn = match drawn_from {
        Some(0) => "drawn from genesis".to_owned(),
        Some(index) => format!("drawn from seal {index}"),
        None => "its draw is not kept any more".to_owned(),
    };
    let sealed = if document.sealed { "sealed" } else { "not sealed yet" };
    let blocks = count(u64::from(document.blocks), "block");
    let missed = count(u64::from(document.missed), "slot");
    format!("round {round} {phase}; {drawn}; {blocks}, {missed} missed; {sealed}")
}

fn slots(document: &RoundDocument, out: &Output) -> String {
    let mut table = Table::new(&[">slot", "juror", "", ">height", "block", ">messages", ""]);
    for slot in &document.slots {
        let SlotDocument { juror, own, height, hash, messages, why, .. } = slot;
        let state = match slot.state {
            SlotState::Forged => "forged",
            SlotState::Missed => "missed",
            SlotState::Now => "now",
            SlotState::ToCome => "to come",
        };
        let notes = match (own, why) {
            (true, Some(why)) => format!("ours: {why}"),
            (true, None) => "ours".to_owned(),
            (false, _) => String::new(),
        };
        table.row(vec![
            slot.slot.to_string(),
            juror.as_ref().map_or_else(|| "-".to_owned(), |address| out.address(address)),
            state.to_owned(),
            height.map(|height| height.to_string()).unwrap_or_default(),
            hash.map(|hash| hash.0.short()).unwrap_or_default(),
            messages.map(|count| count.to_string()).unwrap_or_default(),
            notes,
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::Round as Number;

    #[test]
    fn a_round_says_in_which_part_it_is() {
        let mut document = RoundDocument {
            round: Number(7),
            starts_at: Timestamp(10_000),
            forged_until: Timestamp(20_000),
            ends_at: Timestamp(24_000),
            drawn_from: Some(5),
            sealed: false,
            blocks: 3,
            missed: 1,
            slots: Vec::new(),
        };
        let rest = "; drawn from seal 5; 3 blocks, 1 slot missed; not sealed yet";
        for (now, phase) in [
            (9_000, "begins in 1 s"),
            (10_000, "its last slot ends in 10 s"),
            (20_000, "is being sealed, ends in 4 s"),
            (24_500, "ended 500 ms ago"),
        ] {
            assert_eq!(head(&document, Timestamp(now)), format!("round 7 {phase}{rest}"));
        }
        (document.drawn_from, document.sealed) = (None, true);
        let text = head(&document, Timestamp(30_000));
        assert!(text.contains("not kept any more") && text.ends_with("; sealed"), "{text}");
    }
}
