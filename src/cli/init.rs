//! `init`: a key, a configuration and directories for a node; and what to do next.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::choice;
use super::config;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::file;
use super::output::Output;
use super::secret;
use super::sign_state;
use crate::shell::api::SOCKET_PATH_MAX;
use crate::shell::directory;
use crate::types::address::Address;
use crate::types::key::PublicKey;
use crate::types::network::{Endpoint, Network};

/// Make a key, a configuration and the directories of a node. Nothing that exists is overwritten; a key that is there
/// already is used.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "init")]
pub struct Init {
    /// main, test, or the path of a network file
    #[argh(option)]
    pub network: String,

    /// everything in this one directory; otherwise where an installed node has it (/etc/hypernode, /var/lib/hypernode …)
    #[argh(option)]
    pub dir: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// Where the parts of a node are.
struct Layout {
    config: PathBuf,
    key: PathBuf,
    data_dir: PathBuf,
    sign_dir: PathBuf,
    api_socket: PathBuf,
}

#[derive(Serialize)]
struct Report {
    network: String,
    config: PathBuf,
    key: PathBuf,
    /// Whether the key was there before.
    key_kept: bool,
    public_key: PublicKey,
    address: Address,
    /// Where others dial it; null for an HN that is not registered.
    endpoint: Option<String>,
}

impl Init {
    /// Makes everything that is missing, the configuration last: a node whose configuration exists is complete.
    pub fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        let layout = Layout::new(self.dir.as_deref())?;
        if layout.config.exists() {
            let message = format!("{} exists already", layout.config.display());
            return Err(Failure::new(Exit::Failed, "exists", message).action(
                "nothing is overwritten: this node has been made, edit its configuration",
            ));
        }
        if layout.api_socket.as_os_str().len() > SOCKET_PATH_MAX {
            let message = format!("{} is too long for a Unix socket", layout.api_socket.display());
            return Err(Failure::new(Exit::Configuration, "api_socket", message)
                .action("choose a directory with a shorter path"));
        }
        for folder in [layout.config.parent(), layout.key.parent()].into_iter().flatten() {
            make_folder(folder)?;
        }
        for folder in [&layout.data_dir, &layout.sign_dir] {
            make_folder(folder)?;
        }
        let key_kept = layout.key.exists();
        if !key_kept {
            secret::create(&layout.key, &secret::generate()?)?;
        }
        let public_key = secret::read(&layout.key)?.public();
        if !key_kept {
            sign_state::begin(&layout.sign_dir, &network, public_key)?;
        }
        let founder = network.founders.iter().find(|founder| founder.public_key == public_key);
        let endpoint = founder.map(|founder| founder.endpoint());
        let text = layout.text(&choice_in_file(&self.network)?, endpoint);
        file::create(&layout.config, &text, 0o644, "configuration")?;
        let report = Report {
            address: network.address_of(&public_key),
            config: layout.config,
            key: layout.key,
            key_kept,
            public_key,
            endpoint: endpoint.map(|endpoint| endpoint.to_string()),
            network: self.network,
        };
        if self.json {
            out.json("init", &report)?;
        } else {
            print(&report, &network, out)?;
        }
        Ok(Exit::Done)
    }
}

impl Layout {
    fn new(dir: Option<&Path>) -> Result<Layout, Failure> {
        let Some(dir) = dir else {
            return Ok(Layout {
                config: config::FILE.into(),
                key: config::KEY_FILE.into(),
                data_dir: config::DATA_DIR.into(),
                sign_dir: config::SIGN_DIR.into(),
                api_socket: config::API_SOCKET.into(),
            });
        };
        let dir = absolute(dir)?;
        Ok(Layout {
            config: dir.join("hypernode.toml"),
            key: dir.join("key.pem"),
            data_dir: dir.join("data"),
            sign_dir: dir.join("sign"),
            api_socket: dir.join("api.sock"),
        })
    }

    /// The configuration. Paths beside it are relative, so that the directory can be moved.
    fn text(&self, network: &str, endpoint: Option<Endpoint>) -> String {
        let folder = self.config.parent().unwrap_or(Path::new("/"));
        let listen = match endpoint {
            // Behind a router the public address is not ours to listen on.
            Some(Endpoint { ip, port }) if ip.is_loopback() => format!("{ip}:{port}"),
            Some(Endpoint { port, .. }) => format!("0.0.0.0:{port}"),
            None => format!("0.0.0.0:{}", config::PORT),
        };
        let paths = [
            ("key", &self.key),
            ("data_dir", &self.data_dir),
            ("sign_dir", &self.sign_dir),
            ("api_socket", &self.api_socket),
        ];
        let mut text = format!(
            "# A hypernode (`hypernode run --config` this file).\nnetwork = {}\n",
            quote(network)
        );
        writeln!(text, "listen = {}", quote(&listen)).expect("a string takes all text");
        for (name, path) in paths {
            let path = path.strip_prefix(folder).unwrap_or(path).to_string_lossy();
            writeln!(text, "{name} = {}", quote(&path)).expect("a string takes all text");
        }
        text
    }
}

/// A text as TOML writes it.
fn quote(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// How a configuration names a network: a file by its absolute path.
fn choice_in_file(choice: &str) -> Result<String, Failure> {
    match choice {
        "main" | "test" => Ok(choice.to_owned()),
        path => Ok(absolute(Path::new(path))?.to_string_lossy().into_owned()),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        Failure::new(Exit::Failed, "directory", format!("{} cannot be resolved", path.display()))
            .because(&error)
            .action("name it in full")
    })
}

fn make_folder(path: &Path) -> Result<(), Failure> {
    directory::make(path).map_err(|error| {
        let message = format!("directory {} cannot be made", path.display());
        file::unwritable("directory", message, &error)
    })
}

fn print(report: &Report, network: &Network, out: &mut Output) -> Result<(), Failure> {
    let kept = if report.key_kept { " (was there, kept)" } else { "" };
    out.line(format_args!("configuration  {}", report.config.display()))?;
    out.line(format_args!("key            {}{kept}", report.key.display()))?;
    out.line(format_args!("public key     {}", report.public_key))?;
    out.line(format_args!("address        {}", report.address))?;
    out.line("")?;
    let next = match report.config == Path::new(config::FILE) {
        true => "sudo systemctl start hypernode".to_owned(),
        false => format!("hypernode run --config {}", report.config.display()),
    };
    if network.founders.is_empty() {
        out.line(format_args!(
            "Network {} is not launched yet. `hypernode devnet` makes a private network to try.",
            network.name
        ))?;
    } else if let Some(endpoint) = &report.endpoint {
        out.line(format_args!("This key is a founder of {}, at {endpoint}.", network.name))?;
        out.line(format_args!("Next: {next}"))?;
    } else {
        out.line(format_args!(
            "This key is no founder of {}: the node will follow the network and forge nothing.",
            network.name
        ))?;
        out.line(format_args!("Next: {next}"))?;
    }
    out.line("Keep a copy of the key file where nobody else can read it.")
}
