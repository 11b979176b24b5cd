//! The lines of the picture: a node, a slot with or without its block, a seal. None is wider than 80 columns.

use super::Scene;
use crate::cli::devnet::crew::Life;
use crate::cli::devnet::record::{Record, SeenSeal, SeenSlot};
use crate::cli::duration::{precise, words};
use crate::cli::number::count;
use crate::cli::style::Style;
use crate::machine::status::Status;
use crate::shell::engine::RecentBlock;
use crate::types::clock::Timestamp;

/// The cells of a node.
pub fn row(node: usize, life: Life, scene: &Scene<'_>, record: &Record) -> Vec<String> {
    let name = record.name(node).to_owned();
    let empty = || String::new();
    let Some(status) = record.status(node) else {
        let cells = [empty(), empty(), empty(), empty(), empty(), empty(), life.to_string()];
        return std::iter::once(name).chain(cells).collect();
    };
    let peers = status.peers.dialled + status.peers.accepted;
    let state = match life {
        Life::Running if status.halt.is_some() => "halted".to_owned(),
        Life::Running if status.sync.behind => "syncing".to_owned(),
        // A person has started it again.
        Life::Running | Life::Ended(_) => next(status, scene.now),
        Life::Stopped => life.to_string(),
    };
    vec![
        name,
        status.tip.point.height.to_string(),
        status.tip.point.hash.0.short(),
        status.seal.index.to_string(),
        status.duties.forged.to_string(),
        status.duties.missed.to_string(),
        peers.to_string(),
        state,
    ]
}

/// When it forges next.
fn next(status: &Status, now: Timestamp) -> String {
    let Some(next) = status.duties.next else { return String::new() };
    let when = match next.starts_at.since(now) {
        0 => "now".to_owned(),
        ms => format!("in {}", wait(ms)),
    };
    let place = match status.round == Some(next.round) {
        true => format!("slot {}", next.slot),
        false => format!("round {}", next.round),
    };
    format!("forges {place} {when}")
}

/// A wait in whole seconds: shorter ones would only flicker.
pub fn wait(ms: u64) -> String {
    words(ms.div_ceil(1000).saturating_mul(1000).max(1000))
}

/// A slot that is over, or has its block.
pub fn slot_line(slot: &SeenSlot<'_>, record: &Record, style: Style) -> String {
    match slot {
        SeenSlot::Block(block) => block_line(block, record),
        SeenSlot::Missed { round, slot, juror, why } => {
            let text = format!("missed  round {round} slot {slot}  {}  {why}", record.name(*juror));
            style.bad(text)
        }
    }
}

/// A block.
pub fn block_line(block: &RecentBlock, record: &Record) -> String {
    let RecentBlock { point, round, slot, .. } = block;
    let (hash, forger) = (point.hash.0.short(), record.forger(block));
    let messages = count(u64::from(block.messages), "message");
    format!("block {} {hash}  round {round} slot {slot}  {forger}  {messages}", point.height)
}

/// A seal.
pub fn seal_line(seal: &SeenSeal) -> String {
    let SeenSeal { index, round, height, delay_ms } = seal;
    format!(
        "seal {index}  round {round}, block {height}, {} after its last slot",
        precise(*delay_ms)
    )
}
