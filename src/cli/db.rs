//! `db stat|check`: what is in the database of a stopped node, and whether it is what was written.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::config::Layers;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::progress::Progress;
use super::table::Table;
use crate::machine::records;
use crate::shell::driver::RunError;
use crate::shell::store::{Depth, Flaws, Inspection, StoreError, inspect};
use crate::types::hash::Hash;

/// Show what is in the database of a stopped node, or check it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "db")]
pub struct Db {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with it.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    Stat(Stat),
    Check(Check),
}

/// Show tables with entries and bytes, the size of the database, height and sealed height. The node is stopped; ask a
/// running one with `hypernode status`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "stat")]
pub struct Stat {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// directory of a database, instead; of any network
    #[argh(option)]
    pub data_dir: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Check every page and every record, and the links of chain and seals; exit code 65 when something is damaged. Nothing
/// is written. The node is stopped.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// directory of a database, instead; of any network
    #[argh(option)]
    pub data_dir: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    dir: PathBuf,
    network: Option<Hash>,
    tables: Vec<Row>,
    file_bytes: u64,
    page_bytes: u64,
    map_bytes: u64,
    used_bytes: u64,
    free_bytes: u64,
    height: u64,
    sealed_index: Option<u64>,
    sealed_height: Option<u64>,
    closed_in_order: bool,
    damaged: bool,
}

#[derive(Serialize)]
struct Row {
    table: &'static str,
    entries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Verdict {
    dir: PathBuf,
    network: Option<Hash>,
    valid: bool,
    entries: u64,
    height: u64,
    sealed_height: Option<u64>,
    error_count: usize,
    /// The first of them.
    errors: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    table: &'static str,
    key: Option<String>,
    message: String,
}

/// A database that was looked at.
struct Subject {
    dir: PathBuf,
    found: Inspection,
}

impl Db {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::Stat(Stat { json, .. }) | Action::Check(Check { json, .. }) => *json,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::Stat(Stat { config, data_dir, json }) => {
                let subject = Subject::look(config, data_dir, Depth::Pages)?;
                let report = subject.report();
                let damaged = report.damaged;
                match json {
                    true => out.json("db.stat", &report)?,
                    false => print(&report, out)?,
                }
                Ok(if damaged { Exit::Damaged } else { Exit::Done })
            }
            Action::Check(Check { config, data_dir, json }) => {
                let subject = Subject::look(config, data_dir, Depth::Records)?;
                let damaged = subject.found.flaws.count > 0;
                match json {
                    true => out.json("db.check", &subject.verdict())?,
                    false => subject.say(out)?,
                }
                Ok(if damaged { Exit::Damaged } else { Exit::Done })
            }
        }
    }
}

impl Subject {
    fn look(
        config: Option<PathBuf>,
        data_dir: Option<PathBuf>,
        depth: Depth,
    ) -> Result<Subject, Failure> {
        let (dir, network) = match (config, data_dir) {
            (Some(_), Some(_)) => {
                let message = "--config and --data-dir exclude each other";
                return Err(Failure::usage(message).action("name one of them"));
            }
            (None, Some(dir)) => (dir, None),
            (config, None) => {
                let config = Layers::read(config.as_deref())?.validate()?;
                (config.data_dir, Some(config.network.id()))
            }
        };
        if !dir.join("chain/data.mdb").exists() {
            let message = format!("there is no database in {}", dir.display());
            return Err(Failure::new(Exit::Missing, "database_missing", message).action(
                "name the configuration of the node with --config, or the directory with --data-dir",
            ));
        }
        let (mut progress, mut shown) = (Progress::new(), None);
        let found = inspect(&dir, network, depth, &mut |done, all| {
            let percent = done.saturating_mul(100) / all.max(1);
            if shown.replace(percent) != Some(percent) {
                progress.show(format_args!("checked {percent} %"));
            }
        });
        drop(progress);
        Ok(Subject { found: found.map_err(refused)?, dir })
    }

    fn report(self) -> Report {
        let Subject { dir, found } = self;
        let rows = records::Table::ALL.into_iter().map(|table| {
            let extent = found.tables.get(&table).copied().unwrap_or_default();
            Row { table: table.name(), entries: extent.entries, bytes: extent.bytes }
        });
        Report {
            dir,
            network: found.network,
            tables: rows.collect(),
            file_bytes: found.file_bytes,
            page_bytes: found.page_bytes,
            map_bytes: found.map_bytes,
            used_bytes: found.used_bytes,
            free_bytes: found.free_bytes,
            height: found.height,
            sealed_index: found.sealed.map(|(index, _)| index),
            sealed_height: found.sealed.map(|(_, height)| height),
            closed_in_order: found.is_clean,
            damaged: found.flaws.count > 0,
        }
    }

    fn verdict(self) -> Verdict {
        let Subject { dir, found } = self;
        let Flaws { kept, count } = found.flaws;
        let finding = |flaw: crate::shell::store::Flaw| Finding {
            table: flaw.table,
            key: flaw.key,
            message: flaw.why,
        };
        Verdict {
            dir,
            network: found.network,
            valid: count == 0,
            entries: found.tables.values().map(|extent| extent.entries).sum(),
            height: found.height,
            sealed_height: found.sealed.map(|(_, height)| height),
            error_count: count,
            errors: kept.into_iter().map(finding).collect(),
        }
    }

    fn say(self, out: &mut Output) -> Result<(), Failure> {
        let error = out.style().bad("error");
        let verdict = self.verdict();
        let dir = verdict.dir.display();
        for Finding { table, key, message } in &verdict.errors {
            let key = key.as_ref().map_or(String::new(), |key| format!(", {key}"));
            out.line(format_args!("{error}: {table}{key}: {message}"))?;
        }
        if !verdict.valid {
            let more = verdict.error_count - verdict.errors.len();
            if more > 0 {
                out.line(format_args!("… and {more} more"))?;
            }
            return out.line(format_args!(
                "the database in {dir} is damaged, or is not the one that was meant; move it away and start the node: \
                 it fetches the chain from its peers. Leave the sign state where it is."
            ));
        }
        let (entries, height) = (verdict.entries, verdict.height);
        let sealed =
            verdict.sealed_height.map_or("nothing".to_owned(), |height| height.to_string());
        out.line(format_args!("{dir}: valid: {entries} records, height {height}, sealed {sealed}"))
    }
}

fn print(report: &Report, out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&["table", ">entries", ">bytes"]);
    for Row { table: name, entries, bytes } in &report.tables {
        table.row(vec![(*name).to_owned(), entries.to_string(), bytes.to_string()]);
    }
    out.line(table.text())?;
    out.line("")?;
    let mebibytes =
        |bytes: u64| format!("{}.{:02} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 100) >> 20);
    let network = report.network.map_or("unknown".to_owned(), |id| id.to_string());
    let sealed = match report.sealed_index.zip(report.sealed_height) {
        Some((index, height)) => format!("{height} (seal {index})"),
        None => "nothing".to_owned(),
    };
    let closed =
        if report.closed_in_order { "in order" } else { "not in order: the node checks the end" };
    for (name, value) in [
        ("network", network),
        ("height", report.height.to_string()),
        ("sealed", sealed),
        ("used", mebibytes(report.used_bytes)),
        ("free in it", mebibytes(report.free_bytes)),
        ("file", mebibytes(report.file_bytes)),
        ("map", mebibytes(report.map_bytes)),
        ("closed", closed.to_owned()),
    ] {
        out.line(format_args!("{name:<10}  {value}"))?;
    }
    if report.damaged {
        out.line("damaged: `hypernode db check` says what is wrong")?;
    }
    Ok(())
}

fn refused(error: StoreError) -> Failure {
    let action = match error {
        StoreError::Locked { .. } => {
            "stop the node first; while it runs, ask it with `hypernode status`"
        }
        _ => error.action(),
    };
    let error = RunError::Store(error);
    let exit = Exit::from_code(error.exit_code());
    Failure::new(exit, error.code(), "the database cannot be read").because(&error).action(action)
}
