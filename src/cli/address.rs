//! `address`: the address of a public key on a network, or what is wrong with an address.

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::choice;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use crate::types::address::Address as Parsed;
use crate::types::hex;
use crate::types::network::Network;

/// Print the address of a public key on a network, or check an address.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "address")]
pub struct Address {
    /// main, test, or the path of a network file
    #[argh(option)]
    pub network: String,

    /// an address to check instead
    #[argh(option)]
    pub check: Option<String>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// public key in hex: 32 bytes, or 64 of the Python network
    #[argh(positional)]
    pub key: Option<String>,
}

#[derive(Serialize)]
struct Report {
    network: String,
    address: String,
}

impl Address {
    /// Prints the address alone; or nothing but the verdict.
    pub fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        let (address, verdict) = match (&self.key, &self.check) {
            (Some(key), None) => (of_key(key, &network)?, None),
            (None, Some(text)) => (check(text, &network)?, Some("valid")),
            _ => {
                let message = "either a public key or --check with an address is due";
                return Err(Failure::new(Exit::Usage, "usage", message));
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

fn of_key(key: &str, network: &Network) -> Result<String, Failure> {
    let wrong = |why: String| Failure::new(Exit::Failed, "public_key", why);
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
        Failure::new(Exit::Failed, error.code(), message).because(&error)
    })?;
    Ok(address.to_string())
}
