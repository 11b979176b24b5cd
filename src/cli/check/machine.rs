//! What a node needs of its machine: key, directories, disk, memory, limits, clock, port, ledger, power.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddrV4, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access, statvfs};

use super::super::config::Config;
use super::super::failure::Failure;
use super::Finding;
use crate::machine::ledger::{LedgerFault, LedgerNews};
use crate::shell::clock::SystemClock;
use crate::shell::document::StatusDocument;
use crate::shell::host;
use crate::shell::ledger::LedgerFile;
use crate::types::clock::Timestamp;
use crate::types::network::Source;

const MIB: u64 = 1 << 20;
/// Below this a database cannot grow for a day; below that not at all.
const DISK_LOW: u64 = 1024 * MIB;
const DISK_OUT: u64 = 128 * MIB;
/// What a node of the smallest class takes.
const MEMORY_LOW: u64 = 64 * MIB;
/// Connections, database, sockets, and as much again.
const FILES_LOW: u64 = 1024;
/// Boards slow down from here on, in thousandths of a degree.
const HOT: i64 = 80_000;
/// One look at a ledger.
const LOOK: Duration = Duration::from_millis(50);

/// All of it.
pub fn look(config: &Config, status: &Result<StatusDocument, Failure>) -> Vec<Finding> {
    let mut findings = vec![key(&config.key)];
    findings.push(directory("database", &config.data_dir));
    findings.push(directory("sign_state", &config.sign_dir));
    findings.push(disk(&config.data_dir));
    findings.extend(memory(config));
    findings.extend(files(status));
    findings.push(clock());
    // Whether a node runs decides what a port in use means.
    if !is_running(status) {
        findings.push(port(SocketAddrV4::new(config.listen.ip, config.listen.port)));
    }
    if config.network.source == Source::Ledger {
        findings.push(ledger(config.ledger.as_deref()));
    }
    findings.extend(heat());
    findings.extend(power());
    findings
}

fn key(path: &Path) -> Finding {
    match host::read_key(path) {
        Ok(_) => Finding::good("key", path.display().to_string()),
        Err(error) => {
            let action = "see `hypernode key --help`; `hypernode init` makes a new one";
            Finding::critical("key", error.to_string(), action)
        }
    }
}

fn directory(subject: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let found = fs::metadata(path).and_then(|found| match found.is_dir() {
        true => Ok(access(path, all)?),
        false => Err(ErrorKind::NotADirectory.into()),
    });
    match found {
        Ok(()) => Finding::good(subject, shown.to_string()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let action = "move it away, or name another directory";
            Finding::critical(subject, format!("{shown} is no directory"), action)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let action = "the node makes it when it starts, if its user may";
            Finding::warning(subject, format!("{shown} is not there yet"), action)
        }
        Err(error) => {
            let action = "run this as the user of the node, or give it rights there";
            Finding::critical(subject, format!("{shown}: {error}"), action)
        }
    }
}

fn disk(path: &Path) -> Finding {
    // What is not there yet will be made where its parent is.
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let free = match statvfs(there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            let message = format!("{}: {error}", there.display());
            return Finding::warning("disk", message, "look at it with `df`");
        }
    };
    let message = format!("{} MiB free at {}", free / MIB, there.display());
    match free {
        ..DISK_OUT => {
            Finding::critical("disk", message, "make room: with a full disk the node signs nothing")
        }
        DISK_OUT..DISK_LOW => Finding::warning("disk", message, "make room soon"),
        _ => Finding::good("disk", message),
    }
}

fn memory(config: &Config) -> Option<Finding> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let available = available(&text)?;
    let (class, most) = (config.memory.name(), config.bounds.bytes() / MIB);
    let free = available / MIB;
    let message = format!("{free} MiB available; class {class}: {most} MiB at most");
    Some(match available {
        ..MEMORY_LOW => {
            Finding::warning("memory", message, "stop what else runs here, or add swap")
        }
        _ => Finding::good("memory", message),
    })
}

/// Bytes that /proc/meminfo says can be had.
fn available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn is_running(status: &Result<StatusDocument, Failure>) -> bool {
    !status.as_ref().is_err_and(Failure::is_not_running)
}

/// A service has a limit of its own, not that of this command. Nothing of a node that does not say.
fn files(status: &Result<StatusDocument, Failure>) -> Option<Finding> {
    let limit = match status {
        Ok(status) => status.open_files_max?,
        Err(_) if is_running(status) => return None,
        Err(_) => host::open_files_max()?,
    };
    let message = format!("{limit} at most");
    Some(match limit {
        ..FILES_LOW => {
            Finding::warning("open_files", message, "set LimitNOFILE=4096 in the service")
        }
        _ => Finding::good("open_files", message),
    })
}

fn clock() -> Finding {
    let now = SystemClock::start().now();
    let built = env!("HYPERNODE_BUILT").parse().expect("build.rs writes a number");
    if now.wall < Timestamp::from_secs(built) {
        let message = "it is before the day on which this program was built";
        return Finding::critical("clock", message, "set it: `timedatectl set-ntp true`");
    }
    match now.synchronised {
        true => Finding::good("clock", "synchronised"),
        false => {
            let action = "`timedatectl set-ntp true`, or wait for a time server";
            Finding::warning("clock", "the kernel does not call it synchronised", action)
        }
    }
}

/// Whether the node that does not run could listen.
fn port(listen: SocketAddrV4) -> Finding {
    match TcpListener::bind(listen) {
        Ok(_) => Finding::good("port", format!("{listen} is free")),
        Err(error) => {
            let action = "stop what listens there, or set `listen` to another port";
            Finding::critical("port", format!("{listen}: {error}"), action)
        }
    }
}

fn ledger(path: Option<&Path>) -> Finding {
    let Some(path) = path else {
        let message = "none is configured: registrations come by the seals of others";
        return Finding::good("ledger", message);
    };
    match LedgerFile::new(path).read(None, LOOK) {
        LedgerNews::Fault(LedgerFault::Locked) => Finding::good("ledger", "it is being written"),
        LedgerNews::Fault(fault) => {
            let message = format!("{}: {fault}", path.display());
            Finding::warning("ledger", message, fault.action())
        }
        LedgerNews::Blocks { .. } | LedgerNews::Gone { .. } | LedgerNews::Anew => {
            Finding::good("ledger", path.display().to_string())
        }
    }
}

/// The hottest part of the board, where the kernel tells.
fn heat() -> Option<Finding> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let read = |zone: PathBuf| fs::read_to_string(zone.join("temp")).ok()?.trim().parse().ok();
    let hottest: i64 = zones.filter_map(|zone| read(zone.path())).max()?;
    let message = format!("{} °C", hottest / 1000);
    Some(match hottest {
        HOT.. => Finding::warning("temperature", message, "cool the board: it is slowed down"),
        _ => Finding::good("temperature", message),
    })
}

/// What a Raspberry Pi says of its power supply.
fn power() -> Option<Finding> {
    let path = "/sys/devices/platform/soc/soc:firmware/get_throttled";
    throttled(fs::read_to_string(path).ok()?.trim())
}

/// The bits of its firmware: 0 the voltage is too low now, 16 it was since the start.
fn throttled(text: &str) -> Option<Finding> {
    let bits = u32::from_str_radix(text.trim_start_matches("0x"), 16).ok()?;
    let action = "use the power supply made for the board: databases break when power is short";
    Some(match (bits & 1, bits >> 16 & 1) {
        (1, _) => Finding::critical("power", "the voltage is too low now", action),
        (_, 1) => Finding::warning("power", "the voltage was too low since the start", action),
        _ => Finding::good("power", "no low voltage since the start"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let text = "MemTotal:  1000 kB\nMemAvailable:     70000 kB\n";
        assert_eq!(available(text), Some(70_000 * 1024));
        assert_eq!((available(""), available("MemAvailable: x kB")), (None, None));
        let level = |text| throttled(text).map(|finding| finding.level);
        assert_eq!(level("0"), Some(Level::Good));
        assert_eq!(level("50000"), Some(Level::Warning));
        assert_eq!(level("0x50005"), Some(Level::Critical));
        assert_eq!(level("?"), None);
    }

    #[test]
    fn a_key_that_others_may_read_and_a_port_in_use_are_critical() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key.pem");
        assert_eq!(key(&path).level, Level::Critical);
        fs::write(&path, "x").expect("it is ours");
        let wide = key(&path);
        assert!(wide.level == Level::Critical && wide.action.is_some(), "{wide:?}");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port_of = taken.local_addr().expect("it has one").port();
        let listen = SocketAddrV4::new([127, 0, 0, 1].into(), port_of);
        assert_eq!(port(listen).level, Level::Critical);
        drop(taken);
        assert_eq!(port(listen).level, Level::Good);
        assert_eq!(directory("database", &path).level, Level::Critical);
        assert_eq!(directory("database", &dir.path().join("x")).level, Level::Warning);
        assert_eq!(directory("database", dir.path()).level, Level::Good);
        assert_eq!(ledger(Some(&path)).level, Level::Warning);
        assert_eq!(ledger(None).level, Level::Good);
    }
}
