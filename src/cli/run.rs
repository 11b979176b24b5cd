//! `run`: the node, until it is asked to stop.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use super::config::raw::{Key, Place, Setting};
use super::config::{Config, Layers};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use crate::shell::driver::{self, Fresh, Reload, RunOptions};
use crate::shell::journal;
use crate::types::clock::Timestamp;

/// Run the node, until SIGTERM or Ctrl-C.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "run")]
pub struct Run {
    /// configuration; /etc/hypernode/hypernode.toml otherwise
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// how much to log: error, warn, info, debug or trace
    #[argh(option)]
    pub log: Option<String>,
}

impl Run {
    /// Runs it.
    pub fn run(self) -> Outcome {
        let layers = self.layers()?;
        be_a_child(&layers)?;
        let config = checked(&layers)?;
        journal::start(config.log).map_err(|error| {
            Failure::new(Exit::Bug, "log", "the log is started twice")
                .because(&error)
                .action("please report it")
        })?;
        driver::run(options(config.clone()), self.reload(config)).map_err(|error| {
            let exit = Exit::from_code(error.exit_code());
            Failure::new(exit, error.code(), "the node cannot run")
                .because(&error)
                .action(error.action())
        })?;
        Ok(Exit::Done)
    }

    fn layers(&self) -> Result<Layers, Failure> {
        let mut layers = Layers::read(self.config.as_deref())?;
        layers.raw.flag("--log", Key::Log, self.log.clone());
        Ok(layers)
    }

    /// Reads the same again, for a node that was started with `config`.
    fn reload(self, config: Config) -> Reload {
        Box::new(move || {
            let read = self.layers().and_then(|layers| checked(&layers));
            let fresh = read.map_err(|failure| failure.line())?;
            let later = config.changed(&fresh);
            Ok(Fresh { network: fresh.network, log: fresh.log, later })
        })
    }
}

/// The configuration of a node that can run.
fn checked(layers: &Layers) -> Result<Config, Failure> {
    let config = layers.validate()?;
    if config.network.founders.is_empty() {
        let message =
            format!("network {} is not launched yet: it has no founders", config.network.name);
        return Err(Failure::new(Exit::Configuration, "not_launched", message).action(
            "`hypernode devnet` makes a private network on this machine; for another, write a network file \
             with founders and name it in the configuration",
        ));
    }
    Ok(config)
}

/// A devnet names itself in the environment of its children: they never outlive it. The kernel is told first, then
/// asked, so that there is no moment in between.
fn be_a_child(layers: &Layers) -> Result<(), Failure> {
    let Some(Setting { text, place: Place::Environment(name) }) =
        layers.raw.setting(Key::LivesWith)
    else {
        return Ok(());
    };
    // Empty, it takes back what a configuration file says.
    if text.is_empty() {
        return Ok(());
    }
    let failure = |why: &str| {
        Failure::new(Exit::Failed, "lives_with", format!("{name}: {why}"))
            .action("start a node of your own without it")
    };
    let parent = Pid::from_raw(text.parse().map_err(|_| failure("not a process"))?);
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failure("the kernel does not know it").because(&error))?;
    match getppid() == parent {
        true => Ok(()),
        false => Err(failure("the devnet that started this node is gone")),
    }
}

fn options(config: Config) -> RunOptions {
    let built = env!("HYPERNODE_BUILT").parse().expect("build.rs writes a number");
    RunOptions {
        network: config.network,
        key_file: config.key,
        listen: config.listen,
        data_dir: config.data_dir,
        sign_dir: config.sign_dir,
        api_socket: config.api_socket,
        ledger: config.ledger,
        bounds: config.bounds,
        built: Timestamp::from_secs(built),
        lives_with: config.lives_with,
    }
}
