//! The log: to stderr as lines with time and level, or under systemd with the priorities of its journal. Facts of the
//! core become one line each; nobody parses them.

use std::io::{self, Write};

use log::{Level, LevelFilter, Log, Metadata, Record, SetLoggerError};
use simplelog::{ConfigBuilder, WriteLogger};

use super::tally::Tally;
use crate::machine::note::{Note, Ruling};
use crate::types::block::Point;
use crate::types::clock::Monotonic;
use crate::types::evidence::Offence;
use crate::types::sign::{SignRecord, Standing};

/// Logs from now on, once in a process.
pub fn start(level: LevelFilter) -> Result<(), SetLoggerError> {
    match is_journal() {
        true => log::set_boxed_logger(Box::new(JournalLog))?,
        false => log::set_boxed_logger(lines())?,
    }
    set_level(level);
    Ok(())
}

/// Logs this much from now on.
pub fn set_level(level: LevelFilter) {
    log::set_max_level(level);
}

fn lines() -> Box<dyn Log> {
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .add_filter_allow_str("hypernode")
        .build();
    WriteLogger::new(LevelFilter::Trace, config, io::stderr())
}

/// Whether stderr goes to systemd's journal: it names the pipe that it made for us.
#[allow(
    clippy::disallowed_methods,
    reason = "before the configuration is read there may be errors"
)]
fn is_journal() -> bool {
    let named = std::env::var("JOURNAL_STREAM").ok();
    let stderr = rustix::fs::fstat(io::stderr()).ok();
    matches!((named, stderr), (Some(named), Some(stderr)) if named == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// Writes the `<N>` in front of a line by which the journal knows its priority; the time it knows itself.
struct JournalLog;

impl Log for JournalLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level() && metadata.target().starts_with("hypernode")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // Without a journal there is nobody to tell.
            let _ = writeln!(io::stderr(), "{}", journal_line(record));
        }
    }

    fn flush(&self) {}
}

fn journal_line(record: &Record<'_>) -> String {
    let priority = match record.level() {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    // A line end would start an entry of the default priority.
    format!("<{priority}>{}", record.args()).replace('\n', " ")
}

/// Logs a fact. Of what others can make happen without end, some are left out, which `said` counts.
pub fn note(note: &Note, said: &mut Tally, now: Monotonic) {
    let (level, line) = note_line(note);
    match others_kind(note).map(|kind| said.count(kind, now)) {
        None | Some(Some(1)) => log::log!(level, "{line}"),
        Some(Some(count)) => log::log!(level, "{line} ({count} of these lately)"),
        Some(None) => log::debug!("{line}"),
    }
}

/// The kind of a fact that somebody else can bring about as often as he likes.
fn others_kind(note: &Note) -> Option<&'static str> {
    match note {
        Note::PeerSetAside { reason, .. } => Some(reason.code()),
        Note::BlockRefused { why, .. } => Some(why.code()),
        Note::Equivocation(_) => Some("equivocation"),
        Note::SyncStarted { .. } => Some("sync_started"),
        Note::SyncFinished => Some("sync_finished"),
        Note::SealDenied { .. } => Some("seal_denied"),
        Note::BlockStored { .. }
        | Note::TipChanged { .. }
        | Note::Forged { .. }
        | Note::SlotMissed { .. }
        | Note::SignatureRefused { .. }
        | Note::ViewEntered { .. }
        | Note::SealConflict { .. }
        | Note::Sealed { .. }
        | Note::SignState { .. }
        | Note::KeyElsewhere { .. }
        | Note::Halted { .. }
        | Note::MessageAccepted { .. }
        | Note::PeerReady { .. }
        | Note::PeerClosed { .. }
        | Note::ClockStepped { .. }
        | Note::ClockTrust { .. }
        | Note::LedgerState { .. }
        | Note::LedgerRolledBack { .. } => None,
    }
}

/// A fact as a person reads it, and how much it matters.
pub fn note_line(note: &Note) -> (Level, String) {
    match note {
        Note::BlockStored { point, round, slot, forger, messages } => {
            let what = format!("of round {round} slot {slot} by {forger:?}");
            (Level::Debug, format!("block {} {what} with {messages} messages", name(point)))
        }
        Note::TipChanged { tip, round, slot, undone } => {
            let line = format!("tip {}, round {round} slot {slot}", name(tip));
            match undone {
                0 => (Level::Info, line),
                1.. => (Level::Warn, format!("{line}, {undone} blocks taken back")),
            }
        }
        Note::Forged { point, round, slot, messages } => {
            let what = format!("for round {round} slot {slot} with {messages} messages");
            (Level::Info, format!("forged block {} {what}", name(point)))
        }
        Note::SlotMissed { round, slot, why } => {
            (Level::Warn, format!("missed our slot {slot} of round {round}: {why}"))
        }
        Note::SignatureRefused { asked } => (Level::Warn, refused_line(asked)),
        Note::ViewEntered { index, view } => {
            (Level::Info, format!("sealing: view {view} of seal {index}"))
        }
        Note::SealConflict { index, ruling } => (Level::Error, conflict_line(*index, *ruling)),
        Note::SealDenied { seal } => (Level::Warn, denied_line(seal.index)),
        Note::Sealed { seal, point, round, delay_ms } => {
            let line = format!("seal {} of round {round}: block {}", seal.index, name(point));
            match delay_ms {
                Some(ms) => (Level::Info, format!("{line}, {ms} ms after its last slot")),
                // A newcomer fetches all there are.
                None => (Level::Debug, line),
            }
        }
        Note::SignState { standing, record } => sign_state_line(*standing, record.as_ref()),
        Note::KeyElsewhere { trace } => {
            (Level::Error, format!("somebody else signs with our key: {trace}"))
        }
        Note::Halted { code: _, index } => (Level::Error, halted_line(*index)),
        Note::BlockRefused { point, why } => {
            (Level::Warn, format!("block {} refused: {why}", name(point)))
        }
        Note::Equivocation(Offence { kind, offender }) => {
            (Level::Warn, format!("{offender:?} signed {kind}"))
        }
        Note::MessageAccepted { id } => (Level::Debug, format!("message {}", id.0.short())),
        Note::PeerReady { peer, key, endpoint } => {
            (Level::Debug, format!("connection {} with {endpoint} is {key:?}", peer.0))
        }
        Note::PeerClosed { peer, key, reason } => {
            (Level::Debug, format!("connection {}{} closed: {reason}", peer.0, whose(*key)))
        }
        Note::PeerSetAside { key, endpoint, reason, for_ms } => {
            let fate = match key {
                Some(_) => format!("set aside for {} s", for_ms.div_ceil(1000)),
                // Who it is was not known yet.
                None => "dropped".to_owned(),
            };
            (Level::Warn, format!("{endpoint}{} {fate}: {reason}", whose(*key)))
        }
        Note::ClockStepped { ms } => (Level::Warn, format!("the clock was set by {ms} ms")),
        Note::ClockTrust { distrust: None } => {
            (Level::Info, "the clock is trusted: we may sign".to_owned())
        }
        Note::ClockTrust { distrust: Some(why) } => {
            (Level::Warn, format!("we sign nothing: {why}"))
        }
        Note::SyncStarted { target } => (Level::Info, format!("fetching blocks up to {target}")),
        Note::SyncFinished => (Level::Info, "up to date".to_owned()),
        Note::LedgerState { height, readable } => ledger_line(*height, *readable),
        Note::LedgerRolledBack { height, blocks } => rolled_back_line(*height, *blocks),
    }
}

fn halted_line(index: u64) -> String {
    format!("halted at seal {index}: see `hypernode halt show`")
}

fn refused_line(asked: &SignRecord) -> String {
    format!("no second signature for {asked}")
}

fn rolled_back_line(height: u64, blocks: u32) -> (Level, String) {
    (Level::Info, format!("the PoW ledger rolled back {blocks} blocks, now block {height}"))
}

fn ledger_line(height: u64, readable: bool) -> (Level, String) {
    if readable {
        return (Level::Info, format!("the PoW ledger is read again, block {height}"));
    }
    let text =
        format!("the PoW ledger cannot be read after block {height}; see `hypernode status`");
    (Level::Warn, text)
}

fn conflict_line(index: u64, ruling: Ruling) -> String {
    let certified = format!("two checkpoints are certified for seal {index}");
    match ruling {
        Ruling::Halts => format!("{certified}: we halt"),
        Ruling::Older => format!("{certified}: it is an older one, and kept as evidence"),
        Ruling::Listed => format!(
            "voters have certified seal {index} against a listed checkpoint, which counts: kept as evidence"
        ),
    }
}

fn denied_line(index: u64) -> String {
    format!(
        "seal {index} and those after it are not of the listed checkpoint's chain: asking others"
    )
}

fn sign_state_line(standing: Standing, record: Option<&SignRecord>) -> (Level, String) {
    match (standing, record) {
        (Standing::Proven, _) => (Level::Info, format!("{standing}: we may sign")),
        (Standing::New | Standing::Waiting, _) => {
            (Level::Warn, format!("we sign nothing yet: {standing}"))
        }
        (Standing::Unproven(_), Some(record)) => {
            (Level::Error, format!("we sign nothing: {standing} ({record} is ours)"))
        }
        (Standing::Unproven(_), None) => (Level::Error, format!("we sign nothing: {standing}")),
    }
}

fn name(point: &Point) -> String {
    format!("{} {}", point.height, point.hash.0.short())
}

fn whose(key: Option<crate::types::key::PublicKey>) -> String {
    key.map(|key| format!(" ({key:?})")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_one_line_with_its_priority() {
        let line = |level, text: &str| {
            journal_line(&Record::builder().level(level).args(format_args!("{text}")).build())
        };
        assert_eq!(line(Level::Warn, "two\nlines"), "<4>two lines");
        assert_eq!(line(Level::Info, "a fact"), "<6>a fact");
    }
}
