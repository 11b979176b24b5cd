//! Why a node does not start, or ends by itself, and the exit code that says so.

use std::fmt;
use std::io;

use crate::machine::event::StopReason;
use crate::shell::api::SocketError;
use crate::shell::engine::EngineError;
use crate::shell::guard::GuardError;
use crate::shell::host::KeyError;
use crate::shell::store::StoreError;
use crate::types::network::Endpoint;

/// Why a node does not start, or ends by itself.
#[derive(Debug)]
pub enum RunError {
    Key(KeyError),
    Store(StoreError),
    Guard(GuardError),
    Engine(EngineError),
    Socket(SocketError),
    Listen {
        at: Endpoint,
        error: io::Error,
    },
    /// The process that this one lives with is gone.
    Tie(io::Error),
    /// The node has ended by itself, for good.
    Stopped(StopReason),
    /// The system gives no signals, sockets or timers.
    System(io::Error),
}

impl RunError {
    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            RunError::Key(error) => error.exit_code(),
            RunError::Store(error) | RunError::Engine(EngineError::Store(error)) => store(error),
            RunError::Engine(EngineError::Core(_)) => 65,
            RunError::Guard(error) => match error {
                GuardError::Damaged { .. } => 65,
                GuardError::Missing { .. } => 66,
                GuardError::Io { .. } => 74,
                GuardError::OtherKey { .. }
                | GuardError::OtherNetwork { .. }
                | GuardError::NewerFormat { .. } => 78,
                // Opening signs nothing.
                GuardError::Locked { .. } | GuardError::Refused(_) => 1,
            },
            RunError::Socket(error) => match error {
                SocketError::TooLong { .. } | SocketError::NoSocket { .. } => 78,
                SocketError::InUse { .. } | SocketError::Io { .. } => 1,
            },
            RunError::Stopped(StopReason::KeyElsewhere) => 76,
            // Not for good: the address may come with the network, and another node may end.
            RunError::Listen { .. } | RunError::Tie(_) | RunError::System(_) => 1,
        }
    }

    /// Its name in JSON.
    pub fn code(&self) -> &'static str {
        match self {
            RunError::Key(error) => error.code(),
            RunError::Store(_) | RunError::Engine(_) => "database",
            RunError::Guard(_) => "sign_state",
            RunError::Socket(_) => "api_socket",
            RunError::Listen { .. } => "listen",
            RunError::Tie(_) => "lives_with",
            RunError::Stopped(StopReason::KeyElsewhere) => "key_elsewhere",
            RunError::System(_) => "system",
        }
    }

    /// What the owner can do about it.
    pub fn action(&self) -> &'static str {
        match self {
            RunError::Key(error) => error.action(),
            RunError::Store(error) => error.action(),
            RunError::Guard(error) => error.action(),
            RunError::Engine(error) => error.action(),
            RunError::Socket(SocketError::TooLong { .. }) => "give it a shorter path",
            RunError::Socket(SocketError::NoSocket { .. }) => {
                "correct the path, or move the file away"
            }
            RunError::Socket(SocketError::InUse { .. }) => {
                "stop the other node, or give this one its own socket"
            }
            RunError::Socket(SocketError::Io { .. }) => {
                "check that its directory is there and is writable"
            }
            RunError::Listen { .. } => {
                "check the address and port in the configuration, and what else uses them"
            }
            RunError::Tie(_) => "start the node by itself",
            RunError::Stopped(StopReason::KeyElsewhere) => {
                "find the other node that has this key and end it for good; then see `hypernode sign-state show`"
            }
            RunError::System(_) => "check the limits of this process",
        }
    }
}

fn store(error: &StoreError) -> u8 {
    match error {
        StoreError::Damaged { .. } => 65,
        StoreError::OtherNetwork { .. } | StoreError::NewerFormat { .. } => 78,
        StoreError::Locked { .. } => 1,
        StoreError::DiskFull { .. } | StoreError::MapFull { .. } | StoreError::Io { .. } => 74,
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunError::Key(error) => error.fmt(f),
            RunError::Store(error) => error.fmt(f),
            RunError::Guard(error) => error.fmt(f),
            RunError::Engine(error) => error.fmt(f),
            RunError::Socket(error) => error.fmt(f),
            RunError::Listen { at, error } => write!(f, "cannot listen on {at}: {error}"),
            RunError::Tie(error) => error.fmt(f),
            RunError::Stopped(StopReason::KeyElsewhere) => {
                f.write_str("somebody else signs with the key of this node")
            }
            RunError::System(error) => write!(f, "the system refuses: {error}"),
        }
    }
}

impl std::error::Error for RunError {}
