//! `address`: the address of a public key on a network, what is wrong with an address, or what a node's chain says of one.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::api::Api;
use super::choice;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::whole;
use super::output::Output;
use crate::types::address::Address as Parsed;
use crate::types::hex;
use crate::types::network::Network;

pub mod chain;

/// Show what a node's chain says of an address; or, with --network, print the address of a public key or check one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "address")]
pub struct Address {
    /// configuration of the node that is asked
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// search the node's blocks from this height on; the last 1,000 by default
    #[argh(option, from_str_fn(whole))]
    pub from: Option<u64>,

    /// ask no node: main, test, or the path of a network file
    #[argh(option)]
    pub network: Option<String>,

    /// with --network: an address to check
    #[argh(option)]
    pub check: Option<String>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// address; with --network a public key in hex: 32 bytes, or 64 of the Python network
    #[argh(positional)]
    pub subject: Option<String>,
}

#[derive(Serialize)]
struct Report {
    network: String,
    address: String,
}

impl Address {
    /// Prints what the chain says; the address alone; or nothing but the verdict.
    pub fn run(self, out: &mut Output) -> Outcome {
        let Some(network) = &self.network else { return self.ask(out) };
        let network = choice::load(network)?;
        let (address, verdict) = match (&self.subject, &self.check) {
            (Some(key), None) => (of_key(key, &network)?, None),
            (None, Some(text)) => (check(text, &network)?, Some("valid")),
            _ => {
                let message = "either a public key or --check with an address is due";
                return Err(Failure::usage(message));
            }
        };
        if self.json {
            out.json("address", &Report { network: network.name, address })?;
        } else {
            out.line(verdict.unwrap_or(&address))?;
        }
        Ok(Exit::Done)
    }
}

impl Address {
    fn ask(&self, out: &mut Output) -> Outcome {
        let (Some(address), None) = (&self.subject, &self.check) else {
            let message = "an address is due, or --network with a public key or --check";
            return Err(Failure::usage(message));
        };
        let is_key = matches!(address.len(), 64 | 128) && hex::decode(address).is_ok();
        if is_key {
            let message = "this is a public key, not an address";
            return Err(Failure::usage(message).action("add --network to print its address"));
        }
        if !address.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(Failure::new(Exit::Usage, "character", "this is no address")
                .action("an address has letters and digits only"));
        }
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        chain::show(&api, address, self.from, self.json, out)
    }
}

fn of_key(key: &str, network: &Network) -> Result<String, Failure> {
    let wrong = |why: String| {
        Failure::new(Exit::Failed, "public_key", why)
            .action("`hypernode key show` prints that of a key file")
    };
    let bytes =
        hex::decode(key).map_err(|error| wrong("not a public key".into()).because(&error))?;
    if !matches!(bytes.len(), 32 | 64) {
        let found = bytes.len();
        return Err(wrong(format!("not a public key: 32 or 64 bytes are due, not {found}")));
    }
    Ok(Parsed::of_bytes(&bytes, network.prefix()).to_string())
}

fn check(text: &str, network: &Network) -> Result<String, Failure> {
    let address = Parsed::parse(text, network.prefix()).map_err(|error| {
        // The code is part of the line: it is the answer to the question.
        let message = format!("not an address of network {}: {}", network.name, error.code());
        Failure::new(Exit::Failed, error.code(), message)
            .because(&error)
            .action("compare it with where it comes from, and --network with its network")
    })?;
    Ok(address.to_string())
}
