//! Configuration of a node: raw texts in, checked values out. Every error names its place.
//!
//! Relative paths count from the directory of the configuration file, so that a directory can be moved as a whole.

use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use log::LevelFilter;

use super::choice;
use super::exit::Exit;
use super::failure::Failure;
use super::number::{positive, whole};
use crate::shell::api::SOCKET_PATH_MAX;
use crate::shell::memory::{Bounds, MemoryClass};
use crate::shell::store::MAP_MAX_BYTES;
use crate::types::network::{Endpoint, Network};
use fault::Fault;
use raw::{Key, Place, Raw};

pub mod command;
mod fault;
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
/// Where a node listens: at every address.
const LISTEN: &str = "0.0.0.0:6969";
/// What the machine decides.
const AUTO: &str = "auto";

/// What a node runs with.
#[derive(Debug, Clone)]
pub struct Config {
    pub network: Network,
    pub key: PathBuf,
    pub listen: Endpoint,
    pub data_dir: PathBuf,
    pub sign_dir: PathBuf,
    pub api_socket: PathBuf,
    /// The PoW ledger to read; a node needs none to follow, forge and vote.
    pub ledger: Option<PathBuf>,
    /// How much the node may hold, by its memory class, and the size of the database's map to begin with.
    pub bounds: Bounds,
    pub memory: MemoryClass,
    pub log: LevelFilter,
    /// The process of a devnet: the node ends with it.
    pub lives_with: Option<u32>,
}

impl Config {
    /// The keys whose values differ, but for those that a running node takes on (SIGHUP).
    pub fn changed(&self, other: &Config) -> Vec<&'static str> {
        let pairs = [
            (Key::Secret, self.key == other.key),
            (Key::Listen, self.listen == other.listen),
            (Key::DataDir, self.data_dir == other.data_dir),
            (Key::SignDir, self.sign_dir == other.sign_dir),
            (Key::ApiSocket, self.api_socket == other.api_socket),
            (Key::Ledger, self.ledger == other.ledger),
            (Key::Memory, self.memory == other.memory),
            (Key::MapSize, self.bounds.map_bytes == other.bounds.map_bytes),
        ];
        pairs.into_iter().filter(|(_, is_same)| !is_same).map(|(key, _)| key.name()).collect()
    }
}

/// The texts that `--config` and the environment give. Without `--config` the file of an installed node counts, if there
/// is one.
#[derive(Debug)]
pub struct Layers {
    pub raw: Raw,
    /// The file, when there is one.
    file: Option<PathBuf>,
    /// What relative paths count from.
    base: PathBuf,
}

impl Layers {
    /// Reads all layers but flags; the first thing that is wrong in them is a failure.
    pub fn read(file: Option<&Path>) -> Result<Layers, Failure> {
        let layers = Layers::read_leniently(file)?;
        match layers.raw.faults().first() {
            None => Ok(layers),
            Some(fault) => Err(fault.failure()),
        }
    }

    /// The same, with what is right in a file that is wrong elsewhere.
    fn read_leniently(file: Option<&Path>) -> Result<Layers, Failure> {
        let default = Path::new(FILE);
        let file = file.or(default.exists().then_some(default));
        let mut raw = match file {
            Some(file) => Raw::read(file)?,
            None => Raw::default(),
        };
        raw.read_environment(std::env::vars_os());
        Layers::of(raw, file)
    }

    /// Texts with the file that they are of; without one they count as those of the default file.
    pub fn of(raw: Raw, file: Option<&Path>) -> Result<Layers, Failure> {
        let place = std::path::absolute(file.unwrap_or(Path::new(FILE))).map_err(|error| {
            Failure::new(Exit::Failed, "directory", "the working directory is gone")
                .because(&error)
                .action("change to a directory that exists")
        })?;
        let base = place.parent().unwrap_or(&place).to_owned();
        Ok(Layers { raw, file: file.map(Path::to_owned), base })
    }

    /// The key file.
    pub fn key(&self) -> PathBuf {
        self.path(Key::Secret)
    }

    /// The PoW ledger, when there is one to read; an empty text is none.
    pub fn ledger(&self) -> Option<PathBuf> {
        let text = self.text(Key::Ledger).filter(|text| !text.is_empty());
        text.map(|text| self.base.join(text))
    }

    /// Where the node answers commands.
    pub fn api_socket(&self) -> Result<PathBuf, Failure> {
        let path = self.path(Key::ApiSocket);
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            let message =
                format!("{}: the kernel takes {SOCKET_PATH_MAX} bytes at most", path.display());
            return Err(Failure::new(Exit::Configuration, "api_socket", message)
                .action("set api_socket to a shorter path"));
        }
        Ok(path)
    }

    /// Everything a node needs, checked.
    pub fn validate(&self) -> Result<Config, Failure> {
        let memory = self.value(Key::Memory, memory)?;
        let mut bounds = memory.bounds();
        bounds.map_bytes = self.value(Key::MapSize, map_size)?.unwrap_or(bounds.map_bytes);
        Ok(Config {
            network: self.network()?,
            key: self.key(),
            listen: self.value(Key::Listen, endpoint)?,
            data_dir: self.path(Key::DataDir),
            sign_dir: self.path(Key::SignDir),
            api_socket: self.api_socket()?,
            ledger: self.ledger(),
            bounds,
            memory,
            log: self.value(Key::Log, level)?,
            lives_with: self.value(Key::LivesWith, lives_with)?,
        })
    }

    /// All that is wrong, where [`Layers::validate`] ends at the first.
    pub fn faults(&self) -> Vec<Fault> {
        let values = Key::ALL.into_iter().filter_map(|key| {
            let failure = match key {
                Key::Network => self.network().err(),
                Key::Listen => self.value(key, endpoint).err(),
                Key::ApiSocket => self.api_socket().err(),
                Key::Memory => self.value(key, memory).err(),
                Key::MapSize => self.value(key, map_size).err(),
                Key::Log => self.value(key, level).err(),
                Key::LivesWith => self.value(key, lives_with).err(),
                Key::Secret | Key::DataDir | Key::SignDir | Key::Ledger => None,
            }?;
            // What is built in is right: only what is set somewhere can be wrong.
            let place = self.raw.setting(key)?.place.clone();
            Some(Fault::value(place, key, &failure))
        });
        self.raw.faults().iter().cloned().chain(values).collect()
    }

    /// What counts for a key, and where it was read; nothing when it is built in, or not set at all.
    pub fn effective(&self, key: Key) -> (Option<String>, Option<&Place>) {
        let place = self.raw.setting(key).map(|setting| &setting.place);
        let path = |path: PathBuf| path.to_string_lossy().into_owned();
        let value = match key {
            Key::Network => self.text(key).map(|text| match text {
                "main" | "test" => text.to_owned(),
                file => path(self.base.join(file)),
            }),
            Key::Secret | Key::DataDir | Key::SignDir | Key::ApiSocket => {
                Some(path(self.path(key)))
            }
            Key::Ledger => self.ledger().map(path),
            Key::Listen | Key::Memory | Key::MapSize | Key::Log | Key::LivesWith => {
                self.text(key).map(str::to_owned)
            }
        };
        (value, place)
    }

    /// The network, by its name or its file.
    pub fn network(&self) -> Result<Network, Failure> {
        match self.text(Key::Network).unwrap_or_default() {
            name @ ("main" | "test") => choice::load(name),
            file => choice::load_file(&self.base.join(file)),
        }
    }

    /// What is set for a key, or built in.
    fn text(&self, key: Key) -> Option<&str> {
        self.raw.setting(key).map(|setting| setting.text.as_str()).or(built_in(key))
    }

    fn path(&self, key: Key) -> PathBuf {
        self.base.join(self.text(key).unwrap_or_default())
    }

    /// What a text means; the place is told when it means nothing.
    fn value<T>(&self, key: Key, parse: fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        parse(self.text(key).unwrap_or_default()).map_err(|why| {
            let setting = self.raw.setting(key);
            let place = setting.map_or("built in".to_owned(), |setting| setting.place.to_string());
            let message = format!("{place}: {}: {why}", key.name());
            Failure::new(Exit::Configuration, "configuration", message)
                .action("correct it; `hypernode config example` shows every key")
        })
    }
}

/// The text that counts for a key which nobody sets; nothing where a node does without.
fn built_in(key: Key) -> Option<&'static str> {
    match key {
        Key::Network => Some("main"),
        Key::Secret => Some(KEY_FILE),
        Key::Listen => Some(LISTEN),
        Key::DataDir => Some(DATA_DIR),
        Key::SignDir => Some(SIGN_DIR),
        Key::ApiSocket => Some(API_SOCKET),
        Key::Memory | Key::MapSize => Some(AUTO),
        Key::Log => Some("info"),
        Key::Ledger | Key::LivesWith => None,
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

/// A memory class, or that of this machine.
fn memory(text: &str) -> Result<MemoryClass, String> {
    if text == AUTO {
        return Ok(MemoryClass::of_machine());
    }
    let named = MemoryClass::ALL.into_iter().find(|class| class.name() == text);
    named.ok_or_else(|| {
        let names = MemoryClass::ALL.map(MemoryClass::name).join(", ");
        format!("{text:?} is not {AUTO}, nor one of {names}")
    })
}

/// Bytes of a map; nothing when the memory class decides.
fn map_size(text: &str) -> Result<Option<u64>, String> {
    if text == AUTO {
        return Ok(None);
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit {
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("{text:?} is neither {AUTO} nor a size such as 512MiB or 1GiB")),
    };
    let bytes = positive(number)?.checked_mul(unit).filter(|bytes| *bytes <= MAP_MAX_BYTES);
    let most = MAP_MAX_BYTES >> 30;
    let why = match cfg!(target_pointer_width = "32") {
        true => format!(
            "{text} is more than {most}GiB, the most that a 32-bit process maps in one piece"
        ),
        false => format!("{text} is more than {most}GiB, the most that a database may have"),
    };
    bytes.map(Some).ok_or(why)
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

/// The number of a process; nothing when none is set.
fn lives_with(text: &str) -> Result<Option<u32>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    u32::try_from(whole(text)?).map(Some).map_err(|_| format!("{text} is no process"))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

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
        assert_eq!(map_size("512MiB"), Ok(Some(512 << 20)));
        assert_eq!((map_size("1GiB"), map_size("auto")), (Ok(Some(1 << 30)), Ok(None)));
        let over = map_size(&format!("{}MiB", (MAP_MAX_BYTES >> 20) + 1));
        assert!(over.is_err_and(|why| why.contains("the most that")), "no map can be so large");
        for bad in ["", "512", "0MiB", "1.5GiB", "-1GiB", "99999999999GiB", "1GB"] {
            assert!(map_size(bad).is_err(), "{bad:?}");
        }
        assert!(level("INFO").is_err());
        for class in MemoryClass::ALL {
            assert_eq!(memory(class.name()), Ok(class));
        }
        assert!(memory("512").is_err());
        assert_eq!((lives_with("12"), lives_with("")), (Ok(Some(12)), Ok(None)));
        assert!(lives_with("4294967296").is_err());
    }

    #[test]
    fn what_is_built_in_is_right() {
        let layers = Layers { raw: Raw::default(), file: None, base: "/".into() };
        let config = layers.validate().expect("it is right");
        assert_eq!(config.listen, Endpoint { ip: Ipv4Addr::UNSPECIFIED, port: PORT });
        assert_eq!(config.memory, MemoryClass::of_machine());
        assert_eq!(config.bounds, config.memory.bounds());
        assert_eq!(layers.faults(), Vec::new());
    }
}
