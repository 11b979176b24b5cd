//! What a devnet is made of: keys, a network file, and a configuration for each node, all below one directory.

use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::mine::{self, LEDGER_FILE};
use crate::cli::choice;
use crate::cli::config::PORT;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::file;
use crate::cli::secret;
use crate::cli::sign_state;
use crate::types::address::Address;
use crate::types::clock::Timestamp;
use crate::types::hex;
use crate::types::key::PublicKey;
use crate::types::network::{Endpoint, Network, Source};

/// Name of the network file.
pub const NETWORK_FILE: &str = "network.toml";
/// Draws of a loopback net before giving up: each is free but for a few in 64,516.
const DRAWS: usize = 16;

/// What the arguments ask for.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    pub nodes: u8,
    pub slot_seconds: u64,
    pub slots: u32,
    /// Whether a PoW ledger says who is registered.
    pub ledger: bool,
}

/// A devnet as it stands in its directory.
#[derive(Debug)]
pub struct Recipe {
    pub network: Network,
    pub nodes: Vec<Member>,
}

/// One node of it.
#[derive(Debug, Clone)]
pub struct Member {
    /// `node-K`, K from 1.
    pub name: String,
    pub dir: PathBuf,
    pub endpoint: Endpoint,
    pub address: Address,
}

impl Member {
    /// What its `run` is started with.
    pub fn config(&self) -> PathBuf {
        self.dir.join("hypernode.toml")
    }

    /// Where it answers.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("api.sock")
    }

    /// What it has signed.
    pub fn sign_dir(&self) -> PathBuf {
        self.dir.join("sign")
    }

    /// What it says.
    pub fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    /// Its database, with the lock that it holds while it runs.
    pub fn database(&self) -> PathBuf {
        self.dir.join("data/chain")
    }

    fn new(root: &Path, network: &Network, number: usize) -> Member {
        let founder = &network.founders[number];
        let name = name(number);
        Member {
            dir: root.join(&name),
            name,
            endpoint: founder.endpoint(),
            address: network.address_of(&founder.public_key),
        }
    }
}

fn name(number: usize) -> String {
    format!("node-{}", number + 1)
}

impl Recipe {
    /// Makes a devnet whose round 0 starts at `origin`. What was in the directory goes.
    pub fn make(directory: &Directory, wish: Wish, origin: Timestamp) -> Result<Recipe, Failure> {
        let root = directory.path();
        let last = root.join(name(usize::from(wish.nodes) - 1));
        directory.check_socket(&last.join("api.sock"))?;
        directory.clear()?;
        let net = draw_net(wish.nodes)?;
        let mut founders = Vec::new();
        for number in 0..wish.nodes {
            let dir = root.join(name(usize::from(number)));
            fs::create_dir(&dir).map_err(|error| unwritable(&dir, &error))?;
            let key = secret::generate()?;
            secret::create(&dir.join("key.pem"), &key)?;
            founders.push((key.public(), endpoint(net, number)));
        }
        let text = network_text(wish, origin, &founders)?;
        write(&root.join(NETWORK_FILE), &text)?;
        let recipe = Recipe::read(directory)?;
        if wish.ledger {
            mine::make(&root.join(LEDGER_FILE), &recipe.network, &recipe.nodes)?;
        }
        for (member, founder) in recipe.nodes.iter().zip(&recipe.network.founders) {
            sign_state::begin(&member.sign_dir(), &recipe.network, founder.public_key)?;
        }
        Ok(recipe)
    }

    /// The devnet that stands in the directory, its configurations written anew.
    pub fn read(directory: &Directory) -> Result<Recipe, Failure> {
        let root = directory.path();
        let network = choice::load_file(&root.join(NETWORK_FILE))?;
        let nodes: Vec<Member> =
            (0..network.founders.len()).map(|number| Member::new(root, &network, number)).collect();
        for member in &nodes {
            write(&member.config(), &config_text(member, network.source))?;
        }
        Ok(Recipe { network, nodes })
    }
}

/// The first two numbers of the addresses of a devnet: 127.R.S.K.
type Net = (u8, u8);

fn endpoint((r, s): Net, number: u8) -> Endpoint {
    Endpoint { ip: Ipv4Addr::new(127, r, s, number + 1), port: PORT }
}

/// Draws a net on which nobody listens: so two devnets run side by side.
fn draw_net(nodes: u8) -> Result<Net, Failure> {
    for _ in 0..DRAWS {
        let [r, s] = secret::random::<2>()?.map(|byte| byte % 254 + 1);
        let is_free = |number| {
            let Endpoint { ip, port } = endpoint((r, s), number);
            TcpListener::bind((ip, port)).is_ok()
        };
        if (0..nodes).all(is_free) {
            return Ok((r, s));
        }
    }
    let message = format!("no loopback addresses are free on port {PORT}");
    Err(Failure::new(Exit::Failed, "addresses", message)
        .action("look which process listens on all addresses of this port"))
}

fn network_text(
    wish: Wish,
    origin: Timestamp,
    founders: &[(PublicKey, Endpoint)],
) -> Result<String, Failure> {
    // On a ledger of ours nobody needs the key of this controller.
    let controller = hex::encode(&secret::random::<28>()?);
    let mut text = format!(
        r#"# The network of a devnet, made by `hypernode devnet` (docs/protocol.md §2).
name = "devnet"
magic = 0x686e6431
origin = {origin}
slot_seconds = {slot}
slots = {slots}
seal_slots = 1
first_round = 0
source = "{source}"

[[parameters]]
from_round = 0

[parameters.values]
prefix = 0x7f
clock = "local"
messages_min = 0
senders_min = 0
messages_max = 1000
activity_rounds = 1
active_min = 1
tests_per_slot = 2
test_kinds = ["ping", "tip", "ledger_sample", "chain_sample", "bandwidth"]
dial_count = 4
forge_peers_min = 0

[parameters.values.ledger]
depth = 2
step = 1
first_height = 1
controller = "{controller}"
"#,
        origin = origin.0 / 1000,
        slot = wish.slot_seconds,
        slots = wish.slots,
        source = if wish.ledger { "ledger" } else { "list" },
    );
    for (number, (key, Endpoint { ip, port })) in founders.iter().enumerate() {
        write!(
            text,
            "\n# {}\n[[founders]]\npublic_key = \"{key}\"\nweight = 1\nip = \"{ip}\"\nport = {port}\n",
            name(number)
        )
        .expect("a string takes all text");
    }
    Ok(text)
}

fn config_text(member: &Member, source: Source) -> String {
    let ledger = match source {
        Source::List => String::new(),
        Source::Ledger => format!("ledger = \"../{LEDGER_FILE}\"\n"),
    };
    format!(
        r#"# {name} of a devnet, made by `hypernode devnet`.
network = "../{NETWORK_FILE}"
listen = "{endpoint}"
key = "key.pem"
data_dir = "data"
sign_dir = "sign"
api_socket = "api.sock"
{ledger}lives_with = {process}
"#,
        name = member.name,
        endpoint = member.endpoint,
        process = std::process::id(),
    )
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| unwritable(path, &error))
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    file::unwritable("file", format!("{} cannot be written", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::config::Layers;

    #[test]
    fn a_devnet_has_the_parameters_of_the_protocol_and_can_be_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Directory::open(&folder.path().join("net")).expect("it is made");
        let wish = Wish { nodes: 3, slot_seconds: 2, slots: 5, ledger: false };
        let recipe = Recipe::make(&directory, wish, Timestamp::from_secs(1_800_000_000)).unwrap();
        let network = &recipe.network;
        let values = network.values_at(network.first_round);
        assert_eq!(network.clock.origin, Timestamp::from_secs(1_800_000_000));
        assert_eq!((network.clock.slots, network.clock.seal_slots, network.prefix()), (5, 1, 0x7f));
        assert_eq!((values.messages_min, values.senders_min, values.messages_max), (0, 0, 1000));
        assert_eq!((values.tests_per_slot, values.dial_count, values.forge_peers_min), (2, 4, 0));
        assert_eq!((values.activity_rounds, values.active_min), (1, 1));
        assert_eq!(recipe.nodes.len(), 3);
        for (number, member) in recipe.nodes.iter().enumerate() {
            assert_eq!(member.name, format!("node-{}", number + 1));
            let config = Layers::read(Some(&member.config())).and_then(|layers| layers.validate());
            let config = config.expect("the configuration is right");
            assert_eq!(config.network, recipe.network);
            assert_eq!(config.listen, member.endpoint);
            assert_eq!(config.api_socket, member.socket());
            assert_eq!(config.lives_with, Some(std::process::id()));
            let key = secret::read(&config.key).expect("its key").public();
            assert_eq!(network.address_of(&key), member.address);
            assert_eq!(usize::from(member.endpoint.ip.octets()[3]), number + 1);
        }
        let again = Recipe::read(&directory).expect("it stands there");
        assert_eq!(again.network, recipe.network);
        let fresh = Recipe::make(&directory, wish, Timestamp::from_secs(1_800_000_000)).unwrap();
        assert_ne!(fresh.network.founders, recipe.network.founders);
    }
}
