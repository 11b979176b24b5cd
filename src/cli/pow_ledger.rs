//! `pow-ledger new|mine|pay|register|unregister|rollback`: a PoW ledger for private networks, without a PoW node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::duration;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::{count, positive, unix_ms};
use super::output::Output;
use crate::shell::clock::SystemClock;
use crate::shell::ledger::{DummyError, DummyLedger};
use crate::types::clock::Timestamp;
pub use send::order;
use send::{Pay, Register, Unregister};

mod send;

/// Blocks mined by one command.
const BLOCKS_MAX: u64 = 100_000;

/// Write a PoW ledger for a private network, without a PoW node: `devnet --ledger` makes one and mines on it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "pow-ledger")]
pub struct PowLedger {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    New(New),
    Mine(Mine),
    Pay(Pay),
    Register(Register),
    Unregister(Unregister),
    Rollback(Rollback),
}

/// Make a new ledger with one block.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "new")]
pub struct New {
    /// unix time of its block; now otherwise
    #[argh(option, from_str_fn(unix_ms))]
    pub at: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the file to make
    #[argh(positional)]
    pub file: PathBuf,
}

/// Mine blocks; what waits goes into the first of them.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "mine")]
pub struct Mine {
    /// how many; 1 otherwise
    #[argh(option, from_str_fn(positive), default = "1")]
    pub blocks: u64,

    /// unix time of the first; now otherwise
    #[argh(option, from_str_fn(unix_ms))]
    pub at: Option<u64>,

    /// time between two of them, such as 1s or 1m; none otherwise
    #[argh(option, from_str_fn(duration::parse))]
    pub spacing: Option<Duration>,

    /// who gets the reward
    #[argh(option, default = "\"miner\".to_owned()")]
    pub miner: String,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the ledger
    #[argh(positional)]
    pub file: PathBuf,
}

/// Take the newest blocks away, as when another chain wins.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "rollback")]
pub struct Rollback {
    /// how many
    #[argh(option, from_str_fn(positive))]
    pub blocks: u64,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the ledger
    #[argh(positional)]
    pub file: PathBuf,
}

#[derive(Serialize)]
struct Report {
    height: i64,
    /// How much waits for a block.
    waiting: u64,
}

impl PowLedger {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::New(New { json, .. })
            | Action::Mine(Mine { json, .. })
            | Action::Pay(Pay { json, .. })
            | Action::Register(Register { json, .. })
            | Action::Unregister(Unregister { json, .. })
            | Action::Rollback(Rollback { json, .. }) => *json,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::New(new) => new.run(out),
            Action::Mine(mine) => mine.run(out),
            Action::Pay(pay) => pay.run(out),
            Action::Register(register) => register.run(out),
            Action::Unregister(unregister) => unregister.run(out),
            Action::Rollback(rollback) => rollback.run(out),
        }
    }
}

impl New {
    fn run(self, out: &mut Output) -> Outcome {
        let made = DummyLedger::create(&self.file, time(self.at));
        let ledger = made.map_err(|error| failure(&self.file, &error))?;
        tell(&self.file, &ledger, self.json, out)
    }
}

impl Mine {
    fn run(self, out: &mut Output) -> Outcome {
        if self.blocks > BLOCKS_MAX {
            let message = format!("--blocks: at most {BLOCKS_MAX} at once");
            return Err(Failure::usage(message));
        }
        let mut ledger = open(&self.file)?;
        let mut at = time(self.at);
        let spacing = self.spacing.unwrap_or_default().as_millis();
        let spacing = u64::try_from(spacing).unwrap_or(u64::MAX);
        for _ in 0..self.blocks {
            ledger.mine(&self.miner, at).map_err(|error| failure(&self.file, &error))?;
            at = at.plus(spacing);
        }
        tell(&self.file, &ledger, self.json, out)
    }
}

impl Rollback {
    fn run(self, out: &mut Output) -> Outcome {
        let mut ledger = open(&self.file)?;
        ledger.roll_back(self.blocks).map_err(|error| failure(&self.file, &error))?;
        tell(&self.file, &ledger, self.json, out)
    }
}

fn time(at: Option<u64>) -> Timestamp {
    at.map_or_else(|| SystemClock::start().now().wall, Timestamp)
}

fn open(file: &Path) -> Result<DummyLedger, Failure> {
    DummyLedger::open(file).map_err(|error| failure(file, &error))
}

fn tell(file: &Path, ledger: &DummyLedger, json: bool, out: &mut Output) -> Outcome {
    let height = ledger.height().map_err(|error| failure(file, &error))?;
    let waiting = ledger.waiting().map_err(|error| failure(file, &error))?;
    if json {
        out.json("pow-ledger", &Report { height, waiting })?;
    } else {
        let waits = match waiting {
            0 => String::new(),
            _ => format!(", {} for the next block", count(waiting, "transaction")),
        };
        out.line(format_args!("{}: block {height}{waits}", file.display()))?;
    }
    Ok(Exit::Done)
}

/// A failure that says what to do.
pub fn failure(file: &Path, error: &DummyError) -> Failure {
    let (exit, code, action) = match error {
        DummyError::Exists => (Exit::Failed, "exists", "name another file, or remove it"),
        DummyError::Missing => {
            (Exit::Missing, "missing", "make one with `hypernode pow-ledger new FILE`")
        }
        DummyError::Foreign => {
            (Exit::Damaged, "foreign", "a real ledger is only read: use one of `pow-ledger new`")
        }
        DummyError::Disk(_) => (Exit::Storage, "disk", "make room, or look at the disk"),
        DummyError::Database(_) => (Exit::Failed, "database", "look at the file and its folder"),
    };
    let message = format!("ledger {}", file.display());
    Failure::new(exit, code, message).because(error).action(action)
}
