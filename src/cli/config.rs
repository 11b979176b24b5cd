//! Configuration of a node: raw texts in, checked values out. Every error names its place.
//!
//! Relative paths count from the directory of the configuration file, so that a directory can be moved as a whole.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::choice;
use super::exit::Exit;
use super::failure::Failure;
use super::number::{positive, whole};
use crate::shell::store::MAP_START_BYTES;
use crate::types::network::{Endpoint, Network};
use raw::{Key, Raw, Setting};

pub mod raw;

/// The configuration file of an installed node.
pub const FILE: &str = "/etc/hypernode/hypernode.toml";
/// The Unix socket of an installed node.
pub const API_SOCKET: &str = "/run/hypernode/api.sock";
/// The key of an installed node.
pub const KEY_FILE: &str = "/etc/hypernode/key.pem";
/// The database of an installed node.
pub const DATA_DIR: &str = "/var/lib/hypernode";
/// The sign state of an installed node.
pub const SIGN_DIR: &str = "/var/lib/hypernode-sign";
/// The port of the protocol.
pub const PORT: u16 = 6969;
/// Longest path of a Unix socket, in bytes: the kernel has 108, one of them a zero.
pub const SOCKET_PATH_MAX: usize = 107;

/// What a node runs with.
#[derive(Debug)]
pub struct Config {
    pub network: Network,
    pub key: PathBuf,
    pub listen: Endpoint,
    pub data_dir: PathBuf,
    pub sign_dir: PathBuf,
    pub api_socket: PathBuf,
    /// The PoW ledger to read; a node needs none to follow, forge and vote.
    pub ledger: Option<PathBuf>,
    /// Bytes of the database's map to begin with.
    pub map_size: u64,
    pub log: LevelFilter,
    /// The process of a devnet: the node ends with it.
    pub lives_with: Option<u32>,
}

/// The texts that `--config` and the environment give. Without `--config` the file of an installed node counts, if there
/// is one.
#[derive(Debug)]
pub struct Layers {
    pub raw: Raw,
    /// What relative paths count from.
    base: PathBuf,
}

impl Layers {
    /// Reads all layers but flags.
    pub fn read(file: Option<&Path>) -> Result<Layers, Failure> {
        let default = Path::new(FILE);
        let mut raw = match file {
            Some(file) => Raw::read(file)?,
            None if default.exists() => Raw::read(default)?,
            None => Raw::default(),
        };
        raw.read_environment(std::env::vars_os());
        let file = std::path::absolute(file.unwrap_or(default)).map_err(|error| {
            Failure::new(Exit::Failed, "directory", "the working directory is gone").because(&error)
        })?;
        Ok(Layers { raw, base: file.parent().unwrap_or(&file).to_owned() })
    }

    /// The key file.
    pub fn key(&self) -> PathBuf {
        self.path(Key::Secret, KEY_FILE)
    }

    /// The PoW ledger, when there is one to read; an empty text is none.
    pub fn ledger(&self) -> Option<PathBuf> {
        let setting = self.raw.setting(Key::Ledger).filter(|setting| !setting.text.is_empty());
        setting.map(|setting| self.base.join(&setting.text))
    }

    /// Where the node answers commands.
    pub fn api_socket(&self) -> Result<PathBuf, Failure> {
        let path = self.path(Key::ApiSocket, API_SOCKET);
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            let message =
                format!("{}: the kernel takes {SOCKET_PATH_MAX} bytes at most", path.display());
            return Err(Failure::new(Exit::Configuration, "api_socket", message)
                .action("set api_socket to a shorter path"));
        }
        Ok(path)
    }

    /// The network, by its name or its file.
    pub fn network(&self) -> Result<Network, Failure> {
        match self.raw.setting(Key::Network) {
            None => Ok(Network::main()),
            Some(setting) if matches!(setting.text.as_str(), "main" | "test") => {
                choice::load(&setting.text)
            }
            Some(setting) => choice::load_file(&self.base.join(&setting.text)),
        }
    }

    /// Everything a node needs, checked.
    pub fn validate(&self) -> Result<Config, Failure> {
        let any = Endpoint { ip: Ipv4Addr::UNSPECIFIED, port: PORT };
        Ok(Config {
            network: self.network()?,
            key: self.key(),
            listen: self.value(Key::Listen, any, endpoint)?,
            data_dir: self.path(Key::DataDir, DATA_DIR),
            sign_dir: self.path(Key::SignDir, SIGN_DIR),
            api_socket: self.api_socket()?,
            ledger: self.ledger(),
            map_size: self.value(Key::MapSize, MAP_START_BYTES, size)?,
            log: self.value(Key::Log, LevelFilter::Info, level)?,
            lives_with: self.value(Key::LivesWith, None, |text| pid(text).map(Some))?,
        })
    }

    fn path(&self, key: Key, built_in: &str) -> PathBuf {
        let text = self.raw.setting(key).map_or(built_in, |setting| setting.text.as_str());
        self.base.join(text)
    }

    fn value<T>(
        &self,
        key: Key,
        built_in: T,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<T, Failure> {
        let Some(Setting { text, place }) = self.raw.setting(key) else { return Ok(built_in) };
        parse(text).map_err(|why| {
            let message = format!("{place}: {}: {why}", key.name());
            Failure::new(Exit::Configuration, "configuration", message)
        })
    }
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let address: SocketAddrV4 =
        text.parse().map_err(|_| format!("{text:?} is not IP:PORT, such as 0.0.0.0:{PORT}"))?;
    if address.port() == 0 {
        return Err("0 is no port".to_owned());
    }
    Ok(Endpoint { ip: *address.ip(), port: address.port() })
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("{text:?} is not a size such as 512MiB or 1GiB")),
    };
    let bytes = positive(number)?.checked_mul(unit).filter(|bytes| usize::try_from(*bytes).is_ok());
    bytes.ok_or_else(|| format!("{text} is too large for this machine"))
}

fn level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        _ => Err(format!("{text:?} is not error, warn, info, debug or trace")),
    }
}

fn pid(text: &str) -> Result<u32, String> {
    u32::try_from(whole(text)?).map_err(|_| format!("{text} is no process"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_strictly() {
        assert_eq!(
            endpoint("127.0.0.1:6969"),
            Ok(Endpoint { ip: Ipv4Addr::LOCALHOST, port: 6969 })
        );
        for bad in ["127.0.0.1", "127.0.0.1:+6969", "127.0.0.1:0", "localhost:1", "[::1]:1", ""] {
            assert!(endpoint(bad).is_err(), "{bad:?}");
        }
        assert_eq!(size("512MiB"), Ok(512 << 20));
        for bad in ["", "512", "0MiB", "1.5GiB", "-1GiB", "99999999999GiB", "1GB"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
        assert!(level("INFO").is_err());
        assert_eq!(pid("12"), Ok(12));
        assert!(pid("4294967296").is_err());
    }
}
