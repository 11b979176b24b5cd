//! The commands: arguments in, data on standard output, messages on standard error, an exit code back.
//!
//! No rule of the protocol lives here. Each command is a file; what they share is how they read (`config`, `duration`,
//! `number`), how they write (`output`, `table`, `style`), how they fail (`failure`, `exit`), and the list of all of them
//! (`tree`).

use std::ffi::OsString;

use argh::{ArgsInfo, EarlyExit, FromArgs};

pub use exit::Exit;
use failure::{Failure, Outcome};
use output::{Output, note};

mod address;
mod api;
mod block;
mod check;
mod choice;
mod clock;
mod completions;
pub mod config;
mod db;
mod devnet;
mod duration;
mod duties;
mod exit;
mod failure;
mod file;
mod follow;
mod halt;
mod heights;
mod init;
mod interrupt;
mod key;
mod man;
mod mempool;
mod network;
mod number;
mod output;
mod peers;
mod ping;
mod pow_ledger;
mod progress;
mod registry;
mod round;
mod run;
mod seal;
mod secret;
pub mod sign_state;
mod sim;
mod status;
mod style;
mod table;
mod tree;
mod tx;
mod version;

/// A proof-of-stake masternode for small boards. Start with `hypernode devnet`: a private network on this machine.
#[derive(FromArgs, ArgsInfo, Debug)]
struct Arguments {
    #[argh(subcommand)]
    command: Command,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum Command {
    Devnet(devnet::Devnet),
    Init(init::Init),
    Run(run::Run),
    Status(status::Status),
    Duties(duties::Duties),
    Round(round::Round),
    Peers(peers::Peers),
    Heights(heights::Heights),
    Block(block::Block),
    Blocks(block::Blocks),
    Headers(block::Headers),
    Seal(seal::Seal),
    Mempool(mempool::Mempool),
    Tx(tx::Tx),
    Follow(follow::Follow),
    Ping(ping::Ping),
    Check(check::Check),
    Registry(registry::Registry),
    PowLedger(pow_ledger::PowLedger),
    Address(address::Address),
    Clock(clock::Clock),
    Key(key::Key),
    Network(network::Network),
    Config(config::command::Config),
    Db(db::Db),
    SignState(sign_state::SignState),
    Halt(halt::Halt),
    Sim(sim::Sim),
    Man(man::Man),
    Completions(completions::Completions),
    Version(version::Version),
}

/// Runs the command that the arguments name; they come without the name of the program.
pub fn run(arguments: impl Iterator<Item = OsString>) -> Exit {
    let arguments: Result<Vec<String>, OsString> = arguments.map(OsString::into_string).collect();
    let Ok(arguments) = arguments else {
        note("hypernode: arguments are text in UTF-8");
        return Exit::Usage;
    };
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // What everybody tries first.
    match words.first_mut() {
        Some(first @ &mut ("--version" | "-V")) => *first = "version",
        Some(first @ &mut "-h") => *first = "--help",
        Some(_) | None => {}
    }
    let mut out = Output::stdout();
    let (json, outcome) = match Arguments::from_args(&["hypernode"], &words) {
        Ok(Arguments { command }) => (command.json(), command.run(&mut out)),
        Err(early) => (words.contains(&"--json"), without_command(&early, &words, &mut out)),
    };
    // What was written before a failure is data too.
    let outcome = outcome.and_then(|exit| out.flush().map(|()| exit));
    outcome.unwrap_or_else(|failure| tell(&failure, json, &mut out))
}

/// Help was asked for, or the arguments make no sense.
fn without_command(early: &EarlyExit, words: &[&str], out: &mut Output) -> Outcome {
    let text = early.output.trim_end();
    if early.status.is_ok() {
        return out.line(text).map(|()| Exit::Done);
    }
    let help = match words.first() {
        Some(name) if is_command(name) => format!("see `hypernode {name} --help`"),
        _ => "see `hypernode --help`".to_owned(),
    };
    Err(Failure::new(Exit::Usage, "usage", complaint(text)).action(help))
}

fn is_command(name: &str) -> bool {
    Arguments::get_args_info().commands.iter().any(|command| command.name == name)
}

/// What argh complains about, in our words where its own go round in circles.
fn complaint(text: &str) -> String {
    let invalid = text.strip_prefix("Error parsing ").and_then(|rest| {
        let (kind, rest) = rest.split_once(" '")?;
        let (name, why) = rest.split_once('\'')?;
        let (_, why) = why.split_once("': ")?;
        matches!(kind, "option" | "positional argument").then(|| format!("{name}: {why}"))
    });
    let commands = text.strip_prefix("One of the following subcommands must be present:");
    let missing = commands.map(|names| {
        let names: Vec<&str> = names.split_whitespace().filter(|name| *name != "help").collect();
        format!("a command is due: {}", names.join(", "))
    });
    invalid.or(missing).unwrap_or_else(|| {
        let mut letters = text.chars();
        letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
    })
}

fn tell(failure: &Failure, json: bool, out: &mut Output) -> Exit {
    let exit = failure.exit();
    if exit == Exit::Done {
        return exit;
    }
    if json {
        // A reader that has gone does not change how the command ended.
        let _ = out.line(failure.json()).and_then(|()| out.flush());
    } else {
        let _ = out.flush();
        note(failure.line());
    }
    exit
}

impl Command {
    /// Whether the command answers in JSON, errors too.
    fn json(&self) -> bool {
        match self {
            Command::Devnet(devnet) => devnet.json,
            Command::Init(init) => init.json,
            Command::Run(_) | Command::Man(_) | Command::Completions(_) => false,
            Command::Status(status) => status.json,
            Command::Duties(duties) => duties.json,
            Command::Round(round) => round.json,
            Command::Peers(peers) => peers.json,
            Command::Heights(heights) => heights.json,
            Command::Block(block) => block.json,
            Command::Blocks(blocks) => blocks.json,
            Command::Headers(headers) => headers.json,
            Command::Seal(seal) => seal.json,
            Command::Mempool(mempool) => mempool.json,
            Command::Tx(tx) => tx.json,
            Command::Follow(_) => true,
            Command::Ping(ping) => ping.json,
            Command::Check(check) => check.json,
            Command::Registry(registry) => registry.json(),
            Command::PowLedger(pow_ledger) => pow_ledger.json(),
            Command::Address(address) => address.json,
            Command::Clock(clock) => clock.json,
            Command::Key(key) => key.json(),
            Command::Network(network) => network.json(),
            Command::Config(config) => config.json(),
            Command::Db(db) => db.json(),
            Command::SignState(sign_state) => sign_state.json(),
            Command::Halt(halt) => halt.json(),
            Command::Sim(sim) => sim.json,
            Command::Version(version) => version.json,
        }
    }

    fn run(self, out: &mut Output) -> Outcome {
        match self {
            Command::Devnet(devnet) => devnet.run(out),
            Command::Init(init) => init.run(out),
            Command::Run(run) => run.run(),
            Command::Status(status) => status.run(out),
            Command::Duties(duties) => duties.run(out),
            Command::Round(round) => round.run(out),
            Command::Peers(peers) => peers.run(out),
            Command::Heights(heights) => heights.run(out),
            Command::Block(block) => block.run(out),
            Command::Blocks(blocks) => blocks.run(out),
            Command::Headers(headers) => headers.run(out),
            Command::Seal(seal) => seal.run(out),
            Command::Mempool(mempool) => mempool.run(out),
            Command::Tx(tx) => tx.run(out),
            Command::Follow(follow) => follow.run(out),
            Command::Ping(ping) => ping.run(out),
            Command::Check(check) => check.run(out),
            Command::Registry(registry) => registry.run(out),
            Command::PowLedger(pow_ledger) => pow_ledger.run(out),
            Command::Address(address) => address.run(out),
            Command::Clock(clock) => clock.run(out),
            Command::Key(key) => key.run(out),
            Command::Network(network) => network.run(out),
            Command::Config(config) => config.run(out),
            Command::Db(db) => db.run(out),
            Command::SignState(sign_state) => sign_state.run(out),
            Command::Halt(halt) => halt.run(out),
            Command::Sim(sim) => sim.run(out),
            Command::Man(man) => man.run(out),
            Command::Completions(completions) => completions.run(out),
            Command::Version(version) => version.run(out),
        }
    }
}
