//! `duties`: the slots of a node: which it will forge, which it forged, which it missed and why.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::style::Style;
use crate::machine::status::{Duties as Report, Duty, Status};
use crate::shell::document::{RoundDocument, SlotState};
use crate::types::clock::{Round, Slot, Timestamp};

/// Show the slots of a node: which it will forge, which it forged, which it missed and why.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "duties")]
pub struct Duties {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// A slot of ours to come, or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct ToCome {
    round: Round,
    slot: Slot,
    starts_at: Timestamp,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    masternode: bool,
    /// In this round and the next one, by the seals known.
    will_forge: Vec<ToCome>,
    /// Since the process started.
    forged: u64,
    missed: u64,
    /// The newest slots that are over, oldest first.
    recent: Vec<Duty>,
}

impl Duties {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let status = api.status()?;
        let will_forge = to_come(&api, &status)?;
        let Status { masternode, time, .. } = status;
        let Report { forged, missed, recent, .. } = status.duties;
        let answer = Answer { masternode, will_forge, forged, missed, recent };
        if self.json {
            out.json("duties", &answer)?;
        } else {
            let text = answer.text(time, out.style());
            out.line(text)?;
        }
        Ok(Exit::Done)
    }
}

/// Our slots of this round and the next one that are not over.
fn to_come(api: &Api, status: &Status) -> Result<Vec<ToCome>, Failure> {
    let mut all = Vec::new();
    let Some(round) = status.round else { return Ok(all) };
    for round in [round, round.next()] {
        let document: RoundDocument = api.value(&format!("/v1/round?round={round}"))?;
        let ours = document
            .slots
            .into_iter()
            .filter(|slot| slot.own && matches!(slot.state, SlotState::Now | SlotState::ToCome));
        all.extend(ours.map(|slot| ToCome { round, slot: slot.slot, starts_at: slot.starts_at }));
    }
    Ok(all)
}

/// What became of a slot of ours.
pub fn line(duty: &Duty, style: Style) -> String {
    let Duty { round, slot, forged, missed } = duty;
    let outcome = match (forged, missed) {
        (Some(hash), _) => style.good(format_args!("forged {}", hash.0.short())),
        (None, Some(why)) => style.bad(format_args!("missed: {why}")),
        (None, None) => "unknown".to_owned(),
    };
    format!("round {round} slot {slot}  {outcome}")
}

impl Answer {
    fn text(&self, now: Timestamp, style: Style) -> String {
        let mut lines = Vec::new();
        for ToCome { round, slot, starts_at } in &self.will_forge {
            let when = match starts_at.since(now) {
                0 => style.bold("now"),
                ms => format!("in {}", words(ms)),
            };
            lines.push(format!("will forge  round {round} slot {slot}, {when}"));
        }
        if self.will_forge.is_empty() {
            lines.push(match self.masternode {
                true => "will forge  nothing in this round and the next".to_owned(),
                false => "will forge  nothing: it is an observer, not registered".to_owned(),
            });
        }
        let Answer { forged, missed, recent, .. } = self;
        let missed = format!("missed {missed}");
        let missed = if self.missed > 0 { style.warn(missed) } else { missed };
        lines.push(format!("since start  forged {forged}, {missed}"));
        lines.extend(recent.iter().rev().map(|duty| line(duty, style)));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::note::MissReason;
    use crate::types::hash::{BlockHash, Hash};

    #[test]
    fn what_is_to_come_stands_first_and_a_miss_has_its_reason() {
        let duty = |slot, forged: Option<u8>, missed| Duty {
            round: Round(4),
            slot: Slot(slot),
            forged: forged.map(|byte| BlockHash(Hash([byte; 32]))),
            missed,
        };
        let to_come =
            |slot, at| ToCome { round: Round(5), slot: Slot(slot), starts_at: Timestamp(at) };
        let mut answer = Answer {
            masternode: true,
            will_forge: vec![to_come(1, 90), to_come(3, 4_100)],
            forged: 1,
            missed: 1,
            recent: vec![duty(0, Some(0xab), None), duty(2, None, Some(MissReason::Peers))],
        };
        let plain = Style::for_terminal(false);
        let text = answer.text(Timestamp(100), plain);
        let why = MissReason::Peers;
        let expected = format!(
            "will forge  round 5 slot 1, now\nwill forge  round 5 slot 3, in 4 s\n\
             since start  forged 1, missed 1\nround 4 slot 2  missed: {why}\n\
             round 4 slot 0  forged {}",
            Hash([0xab; 32]).short()
        );
        assert_eq!(text, expected);
        answer.will_forge.clear();
        assert!(answer.text(Timestamp(100), plain).starts_with("will forge  nothing in this"));
        answer.masternode = false;
        assert!(answer.text(Timestamp(100), plain).contains("an observer"));
    }
}
