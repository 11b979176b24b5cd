//! `status`: how a node is, on one screen.

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};

use super::api::{self, Api};
use super::duration::{precise, words};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::count;
use super::output::{Output, shortened};
use super::seal::{missing, waiting};
use super::sign_state;
use super::style::Style;
use crate::machine::note::Ruling;
use crate::machine::status::{
    ClockStatus, ConflictStatus, Duties, EvidenceStatus, SealStatus, SignStatus, Status as Report,
    SyncStatus,
};
use crate::shell::document::{State, StatusDocument};

mod ledger;

/// Duties shown; more do not fit on one screen.
const DUTIES_SHOWN: usize = 6;
/// Voters that are missing: a line of 80 holds them.
const MISSING_SHOWN: usize = 4;
/// Offences shown; the newest first.
const EVIDENCE_SHOWN: usize = 5;
/// Pause between two looks with `--watch`.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Show how a node is: chain, seals, slots forged and missed, peers, clock.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "status")]
pub struct Status {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// look again each second
    #[argh(switch)]
    pub watch: bool,

    /// print one JSON object (each second with --watch)
    #[argh(switch)]
    pub json: bool,
}

impl Status {
    /// Prints it, once or each second.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let mut text = self.look(&api, out.style())?;
        if !self.watch {
            out.line(&text.0)?;
            return Ok(text.1);
        }
        loop {
            // Home and clear, so that the screen does not scroll.
            let clear = if out.is_terminal() { "\x1b[H\x1b[2J" } else { "" };
            out.line(format_args!("{clear}{}", text.0))?;
            out.flush()?;
            smol::block_on(smol::Timer::after(WATCH_PAUSE));
            // Once seen, a node that is gone is worth waiting for: it may be starting again.
            text = match self.look(&api, out.style()) {
                Err(failure) if self.json => (failure.json(), failure.exit()),
                Err(failure) => (failure.line(), failure.exit()),
                Ok(text) => text,
            };
        }
    }

    fn look(&self, api: &Api, style: Style) -> Result<(String, Exit), Failure> {
        let text = api.text("/v1/status").map_err(|failure| match failure.exit() {
            Exit::Unreachable if failure.is_not_running() => failure.with_exit(Exit::NotRunning),
            _ => failure,
        })?;
        let answer: StatusDocument = api::parse(&text)?;
        let exit = match answer.state {
            State::Running | State::Syncing => Exit::Done,
            State::Halted => Exit::Failed,
            State::StorageFailed => Exit::Storage,
        };
        Ok((if self.json { text } else { screen(&answer, style) }, exit))
    }
}

fn screen(answer: &StatusDocument, style: Style) -> String {
    let Some(report) = &answer.status else {
        let cause = answer.cause.as_deref().unwrap_or("unknown");
        let action = answer.action.as_deref().unwrap_or("it tries again by itself");
        return format!("{}: {cause}\n{action}", style.bad("storage failed"));
    };
    let mut lines = Vec::new();
    let mut put = |name: &str, text: String| lines.push(format!("{name:<9} {text}"));
    put("node", format!("{} on {}", style.bold(&report.address), report.network));
    put("now", moment(report));
    if let Some(halt) = &report.halt {
        put("halted", style.bad(format_args!("{}; see `hypernode halt show`", halt.message)));
    }
    if let Some(text) = signing(&report.sign_state, style) {
        put("signing", text);
    }
    let tip = report.tip;
    let hash = tip.point.hash.0.short();
    let place = match (tip.round, tip.slot) {
        (Some(round), Some(slot)) => format!("round {round} slot {slot}, weight {}", tip.weight),
        _ => "genesis".to_owned(),
    };
    put(
        "tip",
        format!("{} {hash}  {place}", style.bold(format_args!("height {}", tip.point.height))),
    );
    put("seal", sealed(&report.seal));
    if let Some(open) = report.seal.open.as_ref().filter(|open| open.late) {
        put("", style.warn(waiting(open)));
        let names: Vec<String> =
            open.missing.iter().take(MISSING_SHOWN).map(|it| shortened(it)).collect();
        if let Some(missing) = missing(open, &names) {
            put("", style.warn(missing));
        }
    }
    let ledger = report.ledger.as_ref().map(|ledger| ledger::lines(ledger, style));
    for (at, line) in ledger.unwrap_or_default().into_iter().enumerate() {
        put(if at == 0 { "ledger" } else { "" }, line);
    }
    put("sync", sync(&report.sync, style));
    put("duties", duties(&report.duties, report.time.0, style));
    for duty in report.duties.recent.iter().rev().take(DUTIES_SHOWN) {
        put("", super::duties::line(duty, style));
    }
    let peers = report.peers;
    put("peers", format!("{} dialled, {} accepted", peers.dialled, peers.accepted));
    let aside = match peers.set_aside {
        0 => String::new(),
        aside => style.warn(format_args!(", {aside} set aside")),
    };
    let (sharing, list) = (peers.sharing_tip, peers.dial_list);
    put("", format!("{sharing} of {list} on our dial list share our tip{aside}"));
    let pool = report.mempool;
    let messages = count(u64::from(pool.messages), "message");
    put("mempool", format!("{messages}, {}", count(pool.bytes, "byte")));
    put("clock", clock(&report.clock, style));
    if report.refused_signature > 0 {
        let refused = count(report.refused_signature, "conflicting signature");
        put("signing", style.warn(format_args!("{refused} refused")));
    }
    for (code, refused) in &report.refused_blocks {
        put("refused", format!("{}: {code}", count(*refused, "block")));
    }
    for conflict in report.seal_conflicts.iter().take(EVIDENCE_SHOWN) {
        put("seals", style.bad(rival(conflict)));
    }
    for text in offences(&report.evidence, report.evidence_count) {
        put("evidence", style.warn(text));
    }
    put("uptime", words(report.uptime_ms));
    lines.join("\n")
}

/// A second certificate of a seal.
fn rival(conflict: &ConflictStatus) -> String {
    let ConflictStatus { index, ruling, rival, .. } = conflict;
    let rival = rival.short();
    match ruling {
        Ruling::Halts => format!("{rival} is certified for seal {index} too, our last one then"),
        Ruling::Older => format!("{rival} is certified for seal {index} too; ignored, it is old"),
        Ruling::Listed => {
            format!("{rival} is certified for seal {index} against a listed checkpoint; ignored")
        }
    }
}

/// Who signed twice, a line for each, and how many more.
fn offences(evidence: &[EvidenceStatus], count: u64) -> Vec<String> {
    let shown = evidence.iter().take(EVIDENCE_SHOWN).map(|offence| {
        let proven = if offence.in_chain { ", proven in the chain" } else { "" };
        format!("{} signed {}{proven}", offence.offender, offence.kind)
    });
    let more = count.saturating_sub(EVIDENCE_SHOWN as u64);
    shown.chain((more > 0).then(|| format!("{more} more, see --json"))).collect()
}

/// Why nothing is signed, when that is because of the sign state.
fn signing(state: &SignStatus, style: Style) -> Option<String> {
    if state.proven {
        return None;
    }
    let text = match (state.doubt, state.ready_in) {
        (Some(doubt), _) => {
            style.bad(format_args!("nothing is signed: {doubt}; {}", sign_state::advice(doubt)))
        }
        (None, Some(round)) => {
            style.warn(format_args!("listens for signatures of this key until round {round}"))
        }
        (None, None) => style.warn("waits for peers and blocks, to listen for two rounds"),
    };
    Some(text)
}

fn moment(report: &Report) -> String {
    match (report.round, report.slot) {
        (Some(round), Some(slot)) => {
            let kind = if report.seal_slot { "seal" } else { "forging" };
            format!("round {round}, slot {slot} ({kind})")
        }
        _ => "before the network's origin".to_owned(),
    }
}

fn sealed(seal: &SealStatus) -> String {
    let mut text = match seal.index {
        0 => "none yet".to_owned(),
        index => format!("{index} of round {}, height {}", seal.round, seal.height),
    };
    if let Some(delay_ms) = seal.delay_ms {
        text += &format!(", {} after its last slot", precise(delay_ms));
    }
    if let Some(age @ 2..) = seal.age_rounds.filter(|_| seal.index > 0) {
        text += &format!(", {age} rounds ago");
    }
    if seal.adopted < seal.index {
        text += &format!("; its block is not here, only that of seal {}", seal.adopted);
    }
    text
}

fn sync(sync: &SyncStatus, style: Style) -> String {
    if !sync.behind {
        return style.good("up to date");
    }
    let mut text = style.warn("behind");
    if let Some(target) = sync.target {
        text += &format!(", fetching up to height {target}");
    }
    if let Some(rate) = sync.blocks_per_second {
        text += &format!(", {rate} blocks/s");
    }
    if let Some(seconds) = sync.seconds_left {
        text += &format!(", {} left", words(seconds.saturating_mul(1000)));
    }
    text
}

fn duties(duties: &Duties, now_ms: u64, style: Style) -> String {
    let next = match duties.next {
        Some(next) => {
            let wait = words(next.starts_at.0.saturating_sub(now_ms));
            format!("forges round {} slot {} in {wait}", next.round, next.slot)
        }
        None => "no slot of ours in the rounds known".to_owned(),
    };
    let missed = format!("missed {}", duties.missed);
    let missed = if duties.missed > 0 { style.warn(missed) } else { missed };
    format!("{next}; forged {}, {missed} since start", duties.forged)
}

fn clock(clock: &ClockStatus, style: Style) -> String {
    let trust = match clock.distrust {
        Some(why) => style.bad(format_args!("not trusted, nothing is signed: {why}")),
        None if clock.trusted => style.good("trusted"),
        None => style.bad("not trusted"),
    };
    let synchronised = if clock.synchronised { "synchronised" } else { "not synchronised" };
    match clock.peers_offset_ms {
        Some(offset) => format!("{trust} ({synchronised}, peers {offset:+} ms)"),
        None => format!("{trust} ({synchronised})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{Height, Round, Timestamp};
    use crate::types::evidence::OffenceKind;
    use crate::types::hash::Hash;

    #[test]
    fn a_seal_is_one_line_and_says_more_only_when_there_is_more() {
        let mut seal = SealStatus {
            index: 0,
            round: Round(0),
            height: Height(0),
            adopted: 0,
            age_rounds: Some(0),
            delay_ms: None,
            open: None,
        };
        assert_eq!(sealed(&seal), "none yet");
        (seal.index, seal.adopted, seal.round, seal.height) = (7, 7, Round(9), Height(31));
        (seal.age_rounds, seal.delay_ms) = (Some(1), Some(850));
        assert_eq!(sealed(&seal), "7 of round 9, height 31, 850 ms after its last slot");
        (seal.age_rounds, seal.delay_ms, seal.adopted) = (Some(4), None, 5);
        let said =
            "7 of round 9, height 31, 4 rounds ago; its block is not here, only that of seal 5";
        assert_eq!(sealed(&seal), said);
    }

    #[test]
    fn a_second_certificate_is_said_with_what_becomes_of_it() {
        let (held, other) = (Hash([1; 32]), Hash([0xab; 32]));
        let said = |ruling| {
            rival(&ConflictStatus { index: 7, at: Timestamp(1), ruling, held, rival: other })
        };
        assert!(said(Ruling::Halts).ends_with("is certified for seal 7 too, our last one then"));
        assert!(said(Ruling::Older).starts_with(&other.short().to_string()));
        assert!(said(Ruling::Older).ends_with("ignored, it is old"));
        assert!(said(Ruling::Listed).ends_with("for seal 7 against a listed checkpoint; ignored"));
    }

    #[test]
    fn the_newest_offences_are_shown_and_the_rest_counted() {
        let offence = |round| EvidenceStatus {
            kind: OffenceKind::Blocks { round: Round(round) },
            offender: "tA".to_owned(),
            in_chain: round > 8,
        };
        let evidence: Vec<EvidenceStatus> = (0..=9).rev().map(offence).collect();
        let lines = offences(&evidence, 70);
        assert_eq!(lines.len(), EVIDENCE_SHOWN + 1);
        assert_eq!(lines[0], "tA signed two blocks for a slot of round 9, proven in the chain");
        assert_eq!(lines[1], "tA signed two blocks for a slot of round 8");
        assert_eq!(lines[EVIDENCE_SHOWN], "65 more, see --json");
        assert!(offences(&[], 0).is_empty());
    }
}
