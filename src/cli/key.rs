//! `key new|show|export|import`: the key of a node, which is all that it is to others.

use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::choice;
use super::config::Layers;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::file;
use super::output::{Output, note};
use super::secret;
use crate::types::address::Address;
use crate::types::key::PublicKey;
use crate::types::network::Network;

/// Bytes of a key read from standard input.
const INPUT_MAX: u64 = 4096;

/// Make, show, export or import the key of a node.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "key")]
pub struct Key {
    #[argh(subcommand)]
    pub action: Action,
}

/// What to do with a key.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum Action {
    New(New),
    Show(Show),
    Export(Export),
    Import(Import),
}

/// Make a new key file, readable by its owner only; one that exists is never overwritten.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "new")]
pub struct New {
    /// configuration that names the key file; FILE goes before it
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the key file
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

/// Print the public key of a key file and its addresses.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct Show {
    /// main, test, or the path of a network file: print this address only
    #[argh(option)]
    pub network: Option<String>,

    /// configuration that names the key file; FILE goes before it
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the key file
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

/// Write the secret key to standard output, as PKCS#8 PEM.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "export")]
pub struct Export {
    /// yes, print the secret: whoever reads it can sign as this node
    #[argh(switch)]
    pub secret: bool,

    /// configuration that names the key file; FILE goes before it
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// the key file
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

/// Read a secret key (PKCS#8 PEM) from standard input into a new key file.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "import")]
pub struct Import {
    /// configuration that names the key file; FILE goes before it
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// the key file
    #[argh(positional)]
    pub file: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    file: PathBuf,
    public_key: PublicKey,
    addresses: Vec<NetworkAddress>,
}

#[derive(Serialize)]
struct NetworkAddress {
    network: String,
    address: Address,
}

impl Key {
    /// Whether errors are to be JSON.
    pub fn json(&self) -> bool {
        match &self.action {
            Action::New(New { json, .. })
            | Action::Show(Show { json, .. })
            | Action::Import(Import { json, .. }) => *json,
            Action::Export(_) => false,
        }
    }

    /// Does it.
    pub fn run(self, out: &mut Output) -> Outcome {
        match self.action {
            Action::New(New { config, json, file }) => {
                let file = choose(file, config.as_deref())?;
                let key = secret::generate()?;
                secret::create(&file, &key)?;
                show(out, "key.new", json, file, key.public(), compiled_in())
            }
            Action::Show(Show { network, config, json, file }) => {
                let file = choose(file, config.as_deref())?;
                let networks = match network {
                    Some(network) => vec![choice::load(&network)?],
                    None => compiled_in(),
                };
                let key = secret::read(&file)?;
                show(out, "key.show", json, file, key.public(), networks)
            }
            Action::Export(Export { secret: true, config, file }) => {
                out.text(secret::read(&choose(file, config.as_deref())?)?.to_pem())?;
                Ok(Exit::Done)
            }
            Action::Export(Export { secret: false, .. }) => {
                let message = "whoever reads an exported key can sign as this node";
                Err(Failure::usage(message)
                    .action("say --secret when you want it, and run it on one machine at a time"))
            }
            Action::Import(Import { config, json, file }) => {
                let file = choose(file, config.as_deref())?;
                let text = file::standard_input(INPUT_MAX)?;
                let key = secret::parse(&text, "standard input")?;
                secret::create(&file, &key)?;
                note(
                    "stop the node that used this key before: two that sign with one key are punished",
                );
                show(out, "key.import", json, file, key.public(), compiled_in())
            }
        }
    }
}

fn choose(file: Option<PathBuf>, config: Option<&Path>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(Layers::read(config)?.key()),
    }
}

fn compiled_in() -> Vec<Network> {
    vec![Network::main(), Network::test()]
}

fn show(
    out: &mut Output,
    command: &str,
    json: bool,
    file: PathBuf,
    public_key: PublicKey,
    networks: Vec<Network>,
) -> Outcome {
    let addresses = networks
        .into_iter()
        .map(|network| NetworkAddress {
            address: network.address_of(&public_key),
            network: network.name,
        })
        .collect();
    let report = Report { file, public_key, addresses };
    if json {
        out.json(command, &report)?;
        return Ok(Exit::Done);
    }
    out.line(format_args!("key file    {}", report.file.display()))?;
    out.line(format_args!("public key  {}", report.public_key))?;
    for NetworkAddress { network, address } in &report.addresses {
        out.line(format_args!("address     {address} ({network})"))?;
    }
    Ok(Exit::Done)
}
