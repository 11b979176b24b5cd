//! What waits for the next block of a dummy ledger: payments, registrations, their ends.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};

use super::{failure, open, tell};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::Output;
use crate::shell::ledger::Sent;
use crate::types::pow::{COIN, OrderKind, units_of_decimal};

/// The fee of a transaction: a hundredth of a coin.
const FEE: i128 = COIN / 100;

/// Pay coins; those of the faucet cost nothing.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "pay")]
pub struct Pay {
    /// who pays; a faucet without end otherwise
    #[argh(option, default = "\"faucet\".to_owned()")]
    pub from: String,

    /// who is paid
    #[argh(option)]
    pub to: String,

    /// coins, such as 10000 or 12.5
    #[argh(option)]
    pub amount: String,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the ledger
    #[argh(positional)]
    pub file: PathBuf,
}

/// Register an HN: whatever is given is sent, right or wrong.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "register")]
pub struct Register {
    /// who sends it and holds the collateral
    #[argh(option)]
    pub owner: String,

    /// data field, `ip:port:address[,key=value]`: see `hypernode registry register`
    #[argh(option)]
    pub data: String,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the ledger
    #[argh(positional)]
    pub file: PathBuf,
}

/// Unregister an HN, as its owner or as the controller.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "unregister")]
pub struct Unregister {
    /// who sends it
    #[argh(option)]
    pub sender: String,

    /// data field, as it was registered
    #[argh(option)]
    pub data: String,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the ledger
    #[argh(positional)]
    pub file: PathBuf,
}

impl Pay {
    /// Lets it wait.
    pub fn run(self, out: &mut Output) -> Outcome {
        let amount =
            units_of_decimal(&self.amount).filter(|units| *units >= 0).ok_or_else(|| {
                let message =
                    format!("--amount: {:?} is no amount of coins, such as 12.5", self.amount);
                Failure::usage(message)
            })?;
        let (operation, data) = (String::new(), String::new());
        let sent =
            Sent { sender: self.from, recipient: self.to, amount, fee: FEE, operation, data };
        send(&self.file, &sent, self.json, out)
    }
}

impl Register {
    /// Lets it wait.
    pub fn run(self, out: &mut Output) -> Outcome {
        let sent = order(self.owner, OrderKind::Register, self.data);
        send(&self.file, &sent, self.json, out)
    }
}

impl Unregister {
    /// Lets it wait.
    pub fn run(self, out: &mut Output) -> Outcome {
        let sent = order(self.sender, OrderKind::Unregister, self.data);
        send(&self.file, &sent, self.json, out)
    }
}

/// A transaction that asks something of the registry; its fee is on the sender.
pub fn order(sender: String, kind: OrderKind, data: String) -> Sent {
    let operation = kind.operation().to_owned();
    Sent { recipient: sender.clone(), sender, amount: 0, fee: FEE, operation, data }
}

fn send(file: &Path, sent: &Sent, json: bool, out: &mut Output) -> Outcome {
    let ledger = open(file)?;
    ledger.send(sent).map_err(|error| failure(file, &error))?;
    tell(file, &ledger, json, out)
}
