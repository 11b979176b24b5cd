//! `duties`: the slots of a node: which it will forge, which it forged, which it missed and why.

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::style::Style;
use crate::machine::note::MissReason;
use crate::machine::status::{Duties as Report, Duty, Status};
use crate::shell::document::{RoundDocument, SlotState, why_unsigned};
use crate::types::clock::{Round, Slot, Timestamp};

/// Pause between two looks while waiting.
const PAUSE: Duration = Duration::from_secs(1);
/// Rounds before this one in which slots are looked for that passed while the node did not run.
const ROUNDS_BACK: u64 = 2;
/// For how many slots a gap is waited for.
const PATIENCE: u64 = 2;

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

    /// first wait, two slots at most, until the node can be restarted without missing a slot of its own or a vote
    #[argh(switch)]
    pub wait: bool,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// What a node says at one moment.
struct Look {
    status: Status,
    /// From two rounds ago to the next one; none before the network begins.
    rounds: Vec<RoundDocument>,
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
    /// What keeps it from signing anything now.
    why_unsigned: Option<String>,
}

impl Duties {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let look = match self.wait {
            true => wait_for_gap(&api)?,
            false => Look::at(&api)?,
        };
        let will_forge = look.rounds.iter().flat_map(to_come).collect();
        let Status { masternode, time, .. } = look.status;
        let why_unsigned = why_unsigned(&look.status);
        let Report { forged, missed, mut recent, .. } = look.status.duties;
        recent.extend(look.rounds.iter().flat_map(unrecorded));
        recent.sort_by_key(|duty| (duty.round, duty.slot));
        recent.dedup_by_key(|duty| (duty.round, duty.slot));
        let answer = Answer { masternode, will_forge, forged, missed, recent, why_unsigned };
        if self.json {
            out.json("duties", &answer)?;
        } else {
            let text = answer.text(time, out.style());
            out.line(text)?;
        }
        Ok(Exit::Done)
    }
}

impl Look {
    fn at(api: &Api) -> Result<Look, Failure> {
        let status = api.status()?;
        let around = |Round(now): Round| now.saturating_sub(ROUNDS_BACK)..=now.saturating_add(1);
        let rounds = status.round.into_iter().flat_map(around).map(Round);
        let document = |round: Round| api.value(&format!("/v1/round?round={round}"));
        let rounds = rounds.map(document).collect::<Result<_, _>>()?;
        Ok(Look { status, rounds })
    }
}

/// The first look at which nothing is missed by a restart.
fn wait_for_gap(api: &Api) -> Result<Look, Failure> {
    let mut look = Look::at(api)?;
    let patience = PATIENCE * look.rounds.first().map_or(0, slot_ms);
    let until = look.status.time.plus(patience);
    while look.status.masternode && is_busy(&look.rounds, look.status.time) {
        if look.status.time >= until {
            let message = format!("no gap between the node's slots in {}", words(patience));
            return Err(Failure::new(Exit::Later, "no_gap", message)
                .action("`hypernode duties` shows when one comes"));
        }
        smol::block_on(smol::Timer::after(PAUSE));
        look = Look::at(api)?;
    }
    Ok(look)
}

/// Whether a slot of ours, or the vote on a seal, runs or begins within half a slot, which is the time to start again.
fn is_busy(rounds: &[RoundDocument], now: Timestamp) -> bool {
    rounds.iter().any(|round| {
        let is_near = |time: Timestamp| time.since(now) <= slot_ms(round) / 2;
        let votes = !round.sealed && is_near(round.forged_until) && now < round.ends_at;
        votes || to_come(round).any(|slot| is_near(slot.starts_at))
    })
}

fn slot_ms(round: &RoundDocument) -> u64 {
    let slots = u64::try_from(round.slots.len().max(1)).unwrap_or(u64::MAX);
    round.forged_until.since(round.starts_at) / slots
}

/// Our slots of a round that are not over.
fn to_come(document: &RoundDocument) -> impl Iterator<Item = ToCome> {
    let RoundDocument { round, slots, .. } = document;
    let ours = slots
        .iter()
        .filter(|slot| slot.own && matches!(slot.state, SlotState::Now | SlotState::ToCome));
    ours.map(|slot| ToCome { round: *round, slot: slot.slot, starts_at: slot.starts_at })
}

/// Our slots of a round that passed without the node, which has no record of them.
fn unrecorded(document: &RoundDocument) -> impl Iterator<Item = Duty> {
    let RoundDocument { round, slots, .. } = document;
    let missed = slots.iter().filter(|slot| slot.why == Some(MissReason::NotRunning));
    missed.map(|slot| Duty { round: *round, slot: slot.slot, forged: None, missed: slot.why })
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
        lines.extend(self.why_unsigned.as_ref().map(|why| style.warn(why)));
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
    use crate::shell::document::SlotDocument;
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
            why_unsigned: None,
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

    #[test]
    fn a_gap_is_where_no_slot_of_ours_and_no_vote_runs_or_is_near() {
        let slot = |index, own, state| SlotDocument {
            slot: Slot(index),
            starts_at: Timestamp(10_000 + u64::from(index) * 2_000),
            own,
            state,
            juror: None,
            height: None,
            hash: None,
            messages: None,
            why: None,
            tests: Vec::new(),
        };
        let mut round = RoundDocument {
            round: Round(7),
            starts_at: Timestamp(10_000),
            forged_until: Timestamp(18_000),
            ends_at: Timestamp(20_000),
            drawn_from: Some(5),
            sealed: false,
            blocks: 0,
            missed: 0,
            slots: vec![
                slot(0, false, SlotState::Now),
                slot(1, true, SlotState::ToCome),
                slot(2, false, SlotState::ToCome),
                slot(3, false, SlotState::ToCome),
            ],
        };
        assert_eq!(slot_ms(&round), 2_000);
        let busy =
            |round: &RoundDocument, now| is_busy(std::slice::from_ref(round), Timestamp(now));
        // Ours is from 12 s on, and half a slot before.
        assert!(!busy(&round, 10_999) && busy(&round, 11_000) && busy(&round, 13_000));
        // Forged or missed, it is over.
        round.slots[1].state = SlotState::Forged;
        assert!(!busy(&round, 12_500) && !busy(&round, 16_999));
        // The vote: from half a slot before the seal slot until the seal, or the end of the round.
        assert!(busy(&round, 17_000) && busy(&round, 19_999) && !busy(&round, 20_000));
        round.sealed = true;
        assert!(!busy(&round, 18_500));
        // What is not ours is no reason, and neither is a network that has not begun.
        round.slots[0].state = SlotState::ToCome;
        assert!(!busy(&round, 10_000) && !is_busy(&[], Timestamp(0)));
    }
}
