//! What the node asks of its machine: the key file, signals, the service manager, and a life tied to another process.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use async_signal::{Signal, Signals};
use rustix::process::{Pid, PidfdFlags, Resource, getrlimit};
use sd_notify::NotifyState;
use smol::Async;
use smol::stream::StreamExt;

use crate::types::clock::Monotonic;
use crate::types::key::{PemError, SecretKey};

/// A key file has 120 bytes; more is something else.
const KEY_FILE_MAX: u64 = 4096;
/// The status line is renewed so often.
const STATUS_EVERY_MS: u64 = 5_000;
/// What a step of the start may take, on a card that is about to die.
const STEP_US: u32 = 300_000_000;

/// Descriptors that this process may hold; `None` for no limit.
pub fn open_files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Why there is no key.
#[derive(Debug)]
pub enum KeyError {
    Missing {
        path: PathBuf,
    },
    /// Others than the owner may read or write it.
    Wide {
        path: PathBuf,
        mode: u32,
    },
    Format {
        path: PathBuf,
        error: PemError,
    },
    Io {
        path: PathBuf,
        error: io::Error,
    },
}

/// Reads a key file; refused when anybody but its owner has rights to it.
pub fn read_key(path: &Path) -> Result<SecretKey, KeyError> {
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing { path: path.to_owned() },
        _ => KeyError::Io { path: path.to_owned(), error },
    };
    let mut file = File::open(path).map_err(failed)?;
    // The rights of the file that is open, not of whatever has the name a moment later.
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyError::Wide { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    match (&mut file).take(KEY_FILE_MAX).read_to_string(&mut text) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::InvalidData => text.clear(),
        Err(error) => return Err(failed(error)),
    }
    SecretKey::from_pem(&text).map_err(|error| KeyError::Format { path: path.to_owned(), error })
}

impl KeyError {
    /// The exit code of a command that needs the key.
    pub fn exit_code(&self) -> u8 {
        match self {
            KeyError::Missing { .. } => 66,
            KeyError::Wide { .. } => 77,
            KeyError::Format { .. } => 78,
            KeyError::Io { .. } => 74,
        }
    }

    /// Its name in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            KeyError::Missing { .. } => "key_missing",
            KeyError::Wide { .. } => "key_permissions",
            KeyError::Format { .. } => "key_format",
            KeyError::Io { .. } => "key_io",
        }
    }

    /// What the owner can do about it.
    pub fn action(&self) -> &'static str {
        match self {
            KeyError::Missing { .. } => "make one with `hypernode init`, or correct its path",
            KeyError::Wide { .. } => "chmod 600 the file, and consider who may have read it",
            KeyError::Format { .. } => "put the key file of this node there",
            KeyError::Io { .. } => "check the disk, and who owns the file",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::Missing { path } => write!(f, "there is no key {}", path.display()),
            KeyError::Wide { path, mode } => {
                write!(f, "others have rights to the key {} (mode {mode:04o})", path.display())
            }
            KeyError::Format { path, error } => write!(f, "{}: {error}", path.display()),
            KeyError::Io { path, error } => {
                write!(f, "cannot read the key {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for KeyError {}

/// Waits until somebody asks the process to stop, by Ctrl-C or a service manager.
pub struct StopSignal(Signals);

impl StopSignal {
    /// From now on these signals do not kill.
    pub fn new() -> io::Result<StopSignal> {
        Signals::new([Signal::Term, Signal::Int]).map(StopSignal)
    }

    /// Ready when one has come.
    pub async fn next(&mut self) {
        self.0.next().await;
    }
}

/// What somebody asks of a running node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// To end, with who asks for it.
    Stop(&'static str),
    /// To read its configuration again.
    Reload,
    /// To write into the log how it is.
    Report,
}

/// The signals that control a node: SIGTERM, SIGINT, SIGHUP and SIGUSR1.
pub struct ControlSignals(Signals);

impl ControlSignals {
    /// From now on these signals do not kill.
    pub fn new() -> io::Result<ControlSignals> {
        Signals::new([Signal::Term, Signal::Int, Signal::Hup, Signal::Usr1]).map(ControlSignals)
    }

    /// What the next one asks for.
    pub async fn next(&mut self) -> Control {
        match self.0.next().await {
            Some(Ok(Signal::Hup)) => Control::Reload,
            Some(Ok(Signal::Usr1)) => Control::Report,
            Some(Ok(Signal::Int)) => Control::Stop("SIGINT"),
            Some(_) | None => Control::Stop("SIGTERM"),
        }
    }
}

/// Another process whose end is ours.
pub enum Tie {
    /// The kernel sees to it.
    Kernel,
    /// It is not our parent: wait for its end.
    Watch(Async<OwnedFd>),
    /// It is gone already, or cannot be watched: we are on our own.
    None,
}

impl Tie {
    /// Ties this process to another: killed with it when that is the parent, asked to stop otherwise.
    ///
    /// The kernel acts when the *thread* that started us ends: a parent starts its nodes from its main thread.
    pub fn to(process: u32) -> io::Result<Tie> {
        let Some(pid) = i32::try_from(process).ok().and_then(Pid::from_raw) else {
            return Ok(Tie::None);
        };
        if rustix::process::getppid() == Some(pid) {
            let kill = Some(rustix::process::Signal::KILL);
            rustix::process::set_parent_process_death_signal(kill)?;
            // It may have ended just before: then nobody would kill us.
            return match rustix::process::getppid() == Some(pid) {
                true => Ok(Tie::Kernel),
                false => Err(io::Error::other("the process that started this node is gone")),
            };
        }
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Async::new_nonblocking(process).map(Tie::Watch),
            Err(_) => Ok(Tie::None),
        }
    }

    /// Waits for the end of the other process; for ever when it is not watched.
    pub async fn ended(&self) {
        match self {
            // An error means that it can no longer be watched: we are on our own then.
            Tie::Watch(process) if process.readable().await.is_ok() => {}
            Tie::Watch(_) | Tie::Kernel | Tie::None => smol::future::pending().await,
        }
    }
}

/// The service manager, if there is one.
pub struct Service {
    pet_every_ms: Option<u64>,
    petted: Option<Monotonic>,
    shown: Option<Monotonic>,
    line: String,
}

impl Service {
    /// Looks whether a watchdog wants to be petted.
    pub fn new() -> Service {
        let mut watchdog_us = 0;
        let watched = sd_notify::watchdog_enabled(false, &mut watchdog_us);
        // Four times as often as it must be: the loop may be busy for a while.
        let pet_every_ms = watched.then_some(watchdog_us / 1000 / 4);
        Service { pet_every_ms, petted: None, shown: None, line: String::new() }
    }

    /// A step of the start begins, which may take its time on a slow card.
    pub fn starting(&self, step: &str) {
        tell(NotifyState::Status(step));
        tell(NotifyState::ExtendTimeoutUsec(STEP_US));
    }

    /// The node works.
    pub fn ready(&self) {
        tell(NotifyState::Ready);
    }

    /// The configuration is read again; [`Service::ready`] follows.
    pub fn reloading(&self) {
        tell(NotifyState::Reloading);
    }

    /// The node is about to end.
    pub fn stopping(&self) {
        tell(NotifyState::Stopping);
    }

    /// Called on each turn of the driver's loop: pets the watchdog and shows a line of status, each when it is time.
    pub fn turn(&mut self, now: Monotonic, line: impl FnOnce() -> String) {
        let is_due =
            |last: Option<Monotonic>, every| last.is_none_or(|last| now.since(last) >= every);
        if self.pet_every_ms.is_some_and(|every| is_due(self.petted, every)) {
            self.petted = Some(now);
            tell(NotifyState::Watchdog);
        }
        if is_due(self.shown, STATUS_EVERY_MS) {
            self.shown = Some(now);
            let line = line();
            if self.line != line {
                tell(NotifyState::Status(&line));
                self.line = line;
            }
        }
    }
}

impl Default for Service {
    fn default() -> Service {
        Service::new()
    }
}

fn tell(state: NotifyState<'_>) {
    // Without a service manager this does nothing; a deaf one is not our failure.
    if let Err(error) = sd_notify::notify(false, &[state]) {
        log::debug!("the service manager does not listen: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_file_is_read_only_when_it_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key.pem");
        assert!(matches!(read_key(&path), Err(KeyError::Missing { .. })));
        let key = SecretKey::from_seed([5; 32]);
        fs::write(&path, key.to_pem()).expect("the directory is ours");
        for (mode, is_read) in [(0o600, true), (0o400, true), (0o640, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
            match read_key(&path) {
                Ok(read) => assert!(is_read && read.public() == key.public(), "{mode:o}"),
                Err(KeyError::Wide { mode: found, .. }) => assert!(!is_read && found == mode),
                Err(error) => panic!("{mode:o}: {error}"),
            }
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        for text in [b"nonsense".as_slice(), b"\xff\xfe", b""] {
            fs::write(&path, text).expect("it is ours");
            assert!(matches!(read_key(&path), Err(KeyError::Format { .. })));
        }
    }
}
