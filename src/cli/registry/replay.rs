//! A whole ledger, read once from its start for a command.

use std::path::Path;
use std::time::Duration;

use super::failure;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::output::note;
use crate::cli::progress::Progress;
use crate::machine::ledger::{LedgerNews, Mark};
use crate::rules::cut::Cut;
use crate::rules::registration::Verdict;
use crate::rules::registry::{Registry, Scope};
use crate::shell::ledger::LedgerFile;
use crate::types::clock::Round;
use crate::types::network::Network;
use crate::types::pow::{Order, PowBlock};
use crate::types::seal::Registered;

/// So long between two words of how far it is.
const SLICE: Duration = Duration::from_millis(500);
/// A ledger that rolls back each time it is read is given up.
const ATTEMPTS: usize = 3;

/// How far to read.
#[derive(Debug, Clone, Copy)]
pub enum Extent {
    Everything,
    Height(u64),
    /// What counts for a round, as far as the ledger goes.
    Round(Round),
}

/// What was read.
pub struct Replay {
    pub registry: Registry,
    /// Rows with a verdict, in ledger order.
    pub rows: Vec<(Order, Verdict)>,
    /// Blocks that took somebody's collateral away.
    pub dropped: Vec<(u64, Registered)>,
    /// The last height that counts.
    pub height: u64,
    /// Whether a longer ledger may say something else of the round asked for.
    pub is_open: bool,
}

impl Extent {
    /// What `--height` and `--round` mean together.
    pub fn of(height: Option<u64>, round: Option<u64>) -> Result<Option<Extent>, Failure> {
        match (height, round) {
            (Some(_), Some(_)) => {
                let message = "--height and --round exclude each other";
                Err(Failure::usage(message))
            }
            (Some(height), None) => Ok(Some(Extent::Height(height))),
            (None, Some(round)) => Ok(Some(Extent::Round(Round(round)))),
            (None, None) => Ok(None),
        }
    }

    fn round(self) -> Option<Round> {
        match self {
            Extent::Round(round) => Some(round),
            Extent::Everything | Extent::Height(_) => None,
        }
    }
}

/// Reads a ledger as far as asked. What a damaged block says, and all behind it, does not count: that is noted.
pub fn replay(path: &Path, network: &Network, extent: Extent) -> Result<Replay, Failure> {
    for _ in 0..ATTEMPTS {
        let mut file = LedgerFile::new(path);
        // The first look may find that rows are out of order: then the file knows, and is read again.
        for _ in 0..2 {
            if let Some(replay) = attempt(&mut file, network, extent)? {
                return Ok(replay);
            }
        }
    }
    let message = format!("ledger {} changes while it is read", path.display());
    Err(Failure::new(Exit::Later, "ledger_moves", message).action("try again"))
}

/// One attempt; nothing when the ledger has to be read from the start again.
fn attempt(
    file: &mut LedgerFile,
    network: &Network,
    extent: Extent,
) -> Result<Option<Replay>, Failure> {
    let values = &network.values_at(extent.round().unwrap_or(network.first_round)).ledger;
    let (mut height, mut is_open) = (u64::MAX, false);
    match extent {
        Extent::Everything => {}
        Extent::Height(most) => height = most,
        Extent::Round(round) => {
            let mut cut = Cut::new(network, round);
            let is_read = read(file, |block| {
                let is_sound = block.damage.is_none();
                if is_sound {
                    cut.see(block.height, block.mined_at);
                }
                is_sound
            })?;
            if !is_read {
                return Ok(None);
            }
            (height, is_open) = (cut.height(values), !cut.is_settled());
        }
    }
    let registry = Registry::new(Scope::new(network, values));
    let (rows, dropped) = (Vec::new(), Vec::new());
    let mut replay = Replay { registry, rows, dropped, height, is_open };
    let (mut last, mut damage) = (0, None);
    let is_read = read(file, |block| {
        if block.height > height {
            return false;
        }
        if block.damage.is_some() {
            damage = block.damage.clone().map(|what| (block.height, what));
            return false;
        }
        let (_, applied) = replay.registry.apply(block);
        let orders = replay.registry.orders(block).cloned();
        replay.rows.extend(orders.zip(applied.verdicts));
        replay.dropped.extend(applied.dropped.into_iter().map(|hn| (block.height, hn)));
        last = block.height;
        true
    })?;
    if let Some((at, what)) = damage {
        note(format_args!(
            "the ledger is damaged from block {at} on, which does not count: {what}"
        ));
    }
    if matches!(extent, Extent::Everything) {
        replay.height = last;
    }
    Ok(is_read.then_some(replay))
}

/// Hands over block after block until the end, or until one is not wanted. False when they have to come again.
fn read(file: &mut LedgerFile, mut wants: impl FnMut(&PowBlock) -> bool) -> Result<bool, Failure> {
    let mut tip: Option<Mark> = None;
    let mut progress = Progress::new();
    loop {
        match file.read(tip, SLICE) {
            LedgerNews::Blocks { blocks, end, .. } => {
                if !blocks.iter().all(&mut wants) || end {
                    return Ok(true);
                }
                if let Some(last) = blocks.last() {
                    tip = Some(last.mark());
                    progress.show(format_args!("reading the ledger: block {} ", last.height));
                }
            }
            LedgerNews::Anew | LedgerNews::Gone { .. } => return Ok(false),
            LedgerNews::Fault(fault) => return Err(failure(file.path(), &fault)),
        }
    }
}
