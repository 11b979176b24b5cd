//! When the PoW ledger is looked at, and the summary that a start goes on from.
//!
//! The summary lies beside the database. It is not needed, only quick: one that is lost or of another ledger costs a first
//! read.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use smol::Timer;

use super::{LedgerFile, now};
use crate::machine::event::Event;
use crate::machine::ledger::{Follower, LedgerNews, SUMMARY_BYTES_MAX};
use crate::shell::directory;

/// The name of the summary in the data directory.
const SUMMARY: &str = "ledger.summary";
/// Between two looks at a ledger that had nothing new.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// One look: the loop waits so long, and as long again for what is found.
const SLICE: Duration = Duration::from_millis(5);

/// Looks at a ledger from time to time.
pub struct Watch {
    file: LedgerFile,
    summary: PathBuf,
    pause: Duration,
    due: Instant,
    /// Whether the summary has been offered.
    is_offered: bool,
}

impl Watch {
    /// Looks at the ledger of a path, a few times in a slot.
    pub fn new(path: &Path, data_dir: &Path, slot_ms: u64) -> Watch {
        Watch {
            file: LedgerFile::new(path),
            summary: data_dir.join(SUMMARY),
            pause: PAUSE_MAX.min(Duration::from_millis(slot_ms / 4)),
            due: now(),
            is_offered: false,
        }
    }

    /// Until the next look.
    pub async fn wait(&self) {
        Timer::at(self.due).await;
    }

    /// One look, for a follower that stands here.
    pub fn look(&mut self, follower: &Follower) -> Event {
        if follower.tip().is_none() && !self.is_offered {
            self.is_offered = true;
            if let Some(bytes) = self.read_summary() {
                return Event::LedgerSummary(bytes);
            }
        }
        let news = self.file.read(follower.tip(), SLICE);
        let is_over = match &news {
            LedgerNews::Blocks { end, .. } => *end,
            LedgerNews::Gone { .. } | LedgerNews::Anew => false,
            LedgerNews::Fault(_) => true,
        };
        self.due = now();
        if is_over {
            self.due += self.pause;
        }
        Event::Ledger(news)
    }

    /// No look before the next pause is over.
    pub fn rest(&mut self) {
        self.due = now() + self.pause;
        self.is_offered = false;
    }

    fn read_summary(&self) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = File::open(&self.summary)
            .and_then(|file| file.take(SUMMARY_BYTES_MAX as u64).read_to_end(&mut bytes));
        match read {
            Ok(_) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                log::warn!("the ledger is read anew: {}: {error}", self.summary.display());
                None
            }
        }
    }

    /// Keeps the state for the next start. It takes a tenth of a second and more, in which the loop would stand still: for
    /// the end of a node.
    pub fn keep_summary(&self, follower: &Follower) {
        let Some(bytes) = follower.summary() else { return };
        let written = directory::replace(&self.summary, |file| file.write_all(&bytes));
        if let Err(error) = written {
            log::warn!("{}: {error}; a start will read the ledger anew", self.summary.display());
        }
    }
}
