//! `registry explain`: every row that asks for something, with its verdict, and who is registered in the end.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::replay::{Extent, Replay, replay};
use super::{RegisteredRow, ledger_of};
use crate::cli::choice;
use crate::cli::exit::Exit;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::number::{count, whole};
use crate::cli::output::{Output, note};
use crate::cli::table::Table;
use crate::rules::registration::Verdict;
use crate::types::pow::{Order, PowAddress};
use crate::types::seal::Registered;

/// Characters of a data field in the table.
const DATA_SHOWN: usize = 72;

/// Explain the registry: each row of the ledger that registers or unregisters, and what became of it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "explain")]
pub struct Explain {
    /// the PoW ledger; without it that of the node's configuration
    #[argh(option)]
    pub ledger: Option<PathBuf>,

    /// main, test, or the path of a network file
    #[argh(option, default = "\"main\".to_owned()")]
    pub network: String,

    /// only what counts for this round: its time, depth and step
    #[argh(option, from_str_fn(whole))]
    pub round: Option<u64>,

    /// only rows up to this height, without depth and step
    #[argh(option, from_str_fn(whole))]
    pub height: Option<u64>,

    /// only what is about this IP
    #[argh(option)]
    pub ip: Option<String>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    rows: Vec<Row>,
    dropped: Vec<Dropped>,
    registry: Vec<RegisteredRow>,
}

#[derive(Serialize)]
struct Row {
    height: i64,
    sender: String,
    operation: &'static str,
    data: String,
    accepted: bool,
    code: &'static str,
    #[serde(skip)]
    verdict: Verdict,
}

#[derive(Serialize)]
struct Dropped {
    height: u64,
    sender: PowAddress,
    code: &'static str,
}

impl Explain {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let extent = Extent::of(self.height, self.round)?.unwrap_or(Extent::Everything);
        let network = choice::load(&self.network)?;
        let path = ledger_of(self.ledger)?;
        let replay = replay(&path, &network, extent)?;
        if let (Some(round), true) = (self.round, replay.is_open) {
            note(format_args!(
                "the ledger ends before round {round} is settled: blocks to come may change this"
            ));
        }
        let height = replay.height;
        let report = report(replay, self.ip.as_deref());
        if self.json {
            out.json("registry.explain", &report)?;
        } else {
            print(&report, height, out)?;
        }
        Ok(Exit::Done)
    }
}

fn report(replay: Replay, ip: Option<&str>) -> Report {
    let is_wanted = |hn: &Registered| ip.is_none_or(|ip| hn.ip.to_string() == ip);
    let says = |order: &Order| {
        ip.is_none_or(|ip| order.data.split_once(':').is_some_and(|(first, _)| first == ip))
    };
    let rows = replay.rows.into_iter().filter(|(order, _)| says(order));
    let dropped = replay.dropped.iter().filter(|(_, hn)| is_wanted(hn));
    let mut registry: Vec<&Registered> = replay.registry.by_owner().collect();
    registry.sort_by_key(|hn| hn.address.to_string());
    Report {
        rows: rows
            .map(|(order, verdict)| Row {
                height: order.height,
                operation: order.kind.operation(),
                accepted: verdict == Verdict::Ok,
                code: verdict.code(),
                sender: order.sender,
                data: order.data,
                verdict,
            })
            .collect(),
        dropped: dropped
            .map(|(height, hn)| Dropped {
                height: *height,
                sender: hn.owner,
                code: "collateral_dropped",
            })
            .collect(),
        registry: registry.into_iter().filter(|hn| is_wanted(hn)).map(Into::into).collect(),
    }
}

fn print(report: &Report, height: u64, out: &mut Output) -> Result<(), Failure> {
    let style = out.style();
    if report.rows.is_empty() {
        out.line(format_args!("no row up to block {height} registers or unregisters anybody"))?;
    } else {
        let mut table = Table::new(&[">height", "sender", "asks", "verdict", "why", "data"]);
        for row in &report.rows {
            let asks = row.operation.strip_prefix("hypernode:").unwrap_or(row.operation);
            table.row(vec![
                row.height.to_string(),
                shown(&row.sender, 12),
                asks.to_owned(),
                row.code.to_owned(),
                row.verdict.to_string(),
                shown(&row.data, DATA_SHOWN),
            ]);
        }
        out.line(table.text())?;
    }
    for dropped in &report.dropped {
        let Dropped { height, sender, .. } = dropped;
        let what = style.warn("collateral_dropped");
        out.line(format_args!(
            "block {height}: {what}: {sender} holds less than its weight needs"
        ))?;
    }
    let registered = count(report.registry.len() as u64, "HN");
    out.line(format_args!("\n{registered} registered after block {height}"))?;
    if !report.registry.is_empty() {
        out.line(super::list::table(&report.registry).text())?;
    }
    Ok(())
}

/// Text that a stranger wrote, short and without control characters.
fn shown(text: &str, most: usize) -> String {
    let short: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().count() > most { short + "…" } else { short }
}
