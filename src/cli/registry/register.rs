//! `registry register`: what to send to the PoW ledger to register an HN, and what is wrong with it.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::replay::{Extent, replay};
use crate::cli::choice;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::whole;
use crate::cli::output::Output;
use crate::rules::registration::{Registration, Verdict};
use crate::rules::registry::{COLLATERAL, Scope, WEIGHT_MAX};
use crate::types::network::Network;
use crate::types::pow::{Order, OrderKind, coins};

/// Print what to send to the PoW ledger to register an HN, and check it. With a ledger also whether it would be accepted.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "register")]
pub struct Register {
    /// owner of the HN: the PoW address that holds the collateral and sends the registration: 56 hex digits
    #[argh(option)]
    pub owner: String,

    /// address of the HN, as `hypernode key show` prints it
    #[argh(option)]
    pub address: String,

    /// where it is reached
    #[argh(option)]
    pub ip: String,

    /// its port; 6969 by default
    #[argh(option, default = "\"6969\".to_owned()")]
    pub port: String,

    /// who is to receive its rewards on the PoW chain; the owner by default
    #[argh(option)]
    pub reward: Option<String>,

    /// the PoW ledger, to check collateral and who has registered
    #[argh(option)]
    pub ledger: Option<PathBuf>,

    /// main, test, or the path of a network file
    #[argh(option, default = "\"main\".to_owned()")]
    pub network: String,

    /// check against what counts for this round
    #[argh(option, from_str_fn(whole))]
    pub round: Option<u64>,

    /// check against the ledger up to this height
    #[argh(option, from_str_fn(whole))]
    pub height: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    network: String,
    /// Who has to send it, to whom it likes.
    sender: String,
    operation: &'static str,
    data: String,
    /// Coins to hold for weight 1, 2 and 3 after the fee of the transaction that registers.
    collateral: Vec<String>,
    /// `ok`, or the code that the row would get.
    code: &'static str,
    message: String,
    /// Null without a ledger.
    balance: Option<String>,
    weight: Option<u8>,
}

impl Register {
    /// Prints it; what would be refused ends with 1.
    pub fn run(self, out: &mut Output) -> Outcome {
        let extent = Extent::of(self.height, self.round)?.unwrap_or(Extent::Everything);
        let network = choice::load(&self.network)?;
        let reward = self.reward.as_ref().map(|reward| format!(",reward={reward}"));
        let reward = reward.unwrap_or_default();
        let data = format!("{}:{}:{}{reward}", self.ip, self.port, self.address);
        let (mut balance, mut weight) = (None, None);
        let mut verdict = self.check(&data, &network).err();
        if let (Some(path), Ok(registration)) = (&self.ledger, self.check(&data, &network)) {
            let registry = replay(path, &network, extent)?.registry;
            balance = Some(registry.balance(&registration.owner));
            match registry.judge(&registration) {
                Ok(weighs) => weight = Some(weighs),
                Err(why) => verdict = Some(why),
            }
        }
        let verdict = verdict.unwrap_or(Verdict::Ok);
        let report = Report {
            network: network.name,
            sender: self.owner,
            operation: OrderKind::Register.operation(),
            data,
            collateral: (1..=i128::from(WEIGHT_MAX))
                .map(|it| (it * COLLATERAL).to_string())
                .collect(),
            code: verdict.code(),
            message: message(verdict, self.ledger.is_some()),
            balance: balance.map(coins),
            weight,
        };
        if self.json {
            out.json("registry.register", &report)?;
        } else {
            print(&report, out)?;
        }
        Ok(if verdict == Verdict::Ok { Exit::Done } else { Exit::Failed })
    }

    /// What the rules say to the row alone.
    fn check(&self, data: &str, network: &Network) -> Result<Registration, Verdict> {
        let values = &network.values_at(network.first_round).ledger;
        let kind = OrderKind::Register;
        let (sender, data) = (self.owner.clone(), data.to_owned());
        Registration::read(
            &Order { height: 0, sender, kind, data },
            &Scope::new(network, values).terms,
        )
    }
}

fn message(verdict: Verdict, with_ledger: bool) -> String {
    match (verdict, with_ledger) {
        (Verdict::Ok, true) => "it would be accepted".to_owned(),
        (Verdict::Ok, false) => {
            "well formed; with --ledger also collateral and who has registered are checked"
                .to_owned()
        }
        (Verdict::BadAddress, _) => format!("{verdict}: see `hypernode address --check`"),
        _ => format!("it would be refused: {verdict}"),
    }
}

fn print(report: &Report, out: &mut Output) -> Result<(), Failure> {
    let style = out.style();
    out.line(format_args!("send from    {}", report.sender))?;
    out.line(format_args!("operation    {}", report.operation))?;
    out.line(format_args!("data         {}", report.data))?;
    let collateral = report.collateral.join(", ");
    out.line(format_args!(
        "collateral   hold {collateral} coins for weight 1, 2, 3, after the fee of this transaction"
    ))?;
    if let Some(balance) = &report.balance {
        out.line(format_args!("balance      {balance}"))?;
    }
    if let Some(weight) = report.weight {
        out.line(format_args!("weight       {weight}"))?;
    }
    let message = match report.code {
        "ok" => style.good(&report.message),
        _ => style.bad(format_args!("{} ({})", report.message, report.code)),
    };
    out.line(format_args!("verdict      {message}"))
}
