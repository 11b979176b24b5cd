//! `registry explain|list|feed|register`: what a PoW ledger says of masternodes (`docs/protocol.md` §5).

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::machine::ledger::LedgerFault;
use crate::types::address::Address;
use crate::types::pow::PowAddress;
use crate::types::seal::Registered;
use explain::Explain;
use feed::Feed;
use list::List;
use register::Register;

mod explain;
mod feed;
mod list;
mod register;
mod replay;

/// Show what a PoW ledger says of masternodes: who is registered, and why not.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "registry")]
pub struct Registry {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Explain(Explain),
    List(List),
    Feed(Feed),
    Register(Register),
}

/// A registered HN.
#[derive(Debug, Serialize)]
struct RegisteredRow {
    address: Address,
    ip: String,
    port: u16,
    weight: u8,
    owner: PowAddress,
    reward: PowAddress,
}

impl Registry {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Explain(Explain { json, .. })
            | Action::List(List { json, .. })
            | Action::Feed(Feed { json, .. })
            | Action::Register(Register { json, .. }) => *json,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Explain(explain) => explain.run(out),
            Action::List(list) => list.run(out),
            Action::Feed(feed) => feed.run(out),
            Action::Register(register) => register.run(out),
        }
    }
}

impl From<&Registered> for RegisteredRow {
    fn from(hn: &Registered) -> RegisteredRow {
        RegisteredRow {
            address: hn.address,
            ip: hn.ip.to_string(),
            port: hn.port,
            weight: hn.weight,
            owner: hn.owner,
            reward: hn.reward,
        }
    }
}

/// The ledger to read: the flag, or what the configuration of the node says.
fn ledger_of(flag: Option<PathBuf>) -> Result<PathBuf, Failure> {
    if let Some(path) = flag {
        return Ok(path);
    }
    super::config::Layers::read(None)?.ledger().ok_or_else(|| {
        Failure::usage("no ledger is given").action("name its file with --ledger FILE")
    })
}

/// The failure of a command that needs a ledger it cannot read.
fn failure(path: &std::path::Path, fault: &LedgerFault) -> Failure {
    let exit = match fault {
        LedgerFault::Missing(_) => Exit::Missing,
        LedgerFault::Locked => Exit::Later,
        LedgerFault::Foreign(_) | LedgerFault::Damaged(_) | LedgerFault::Disordered => {
            Exit::Damaged
        }
    };
    let message = format!("ledger {}: {fault}", path.display());
    Failure::new(exit, fault.code(), message).action(fault.action())
}
