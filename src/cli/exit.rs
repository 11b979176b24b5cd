//! Exit codes: the whole table, so that scripts and systemd (`RestartPreventExitStatus`) can rely on it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, healthy.
    Done = 0,
    /// It did not work out.
    Failed = 1,
    /// Arguments that make no sense.
    Usage = 2,
    /// `status`: there is no node to ask.
    NotRunning = 3,
    /// The database or the sign state is damaged.
    Damaged = 65,
    /// A key or a file is missing.
    Missing = 66,
    /// The node cannot be reached.
    Unreachable = 69,
    /// A bug of ours.
    Bug = 70,
    /// The disk is full, or fails.
    Storage = 74,
    /// Something is in use or not ready, such as a ledger that is being written or a devnet that starts: try later.
    Later = 75,
    /// Our key signs elsewhere: stay down.
    Elsewhere = 76,
    /// The permissions of a key are too wide.
    Permission = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl Exit {
    /// All of them, in the order of their codes.
    pub const ALL: [Exit; 13] = [
        Exit::Done,
        Exit::Failed,
        Exit::Usage,
        Exit::NotRunning,
        Exit::Damaged,
        Exit::Missing,
        Exit::Unreachable,
        Exit::Bug,
        Exit::Storage,
        Exit::Later,
        Exit::Elsewhere,
        Exit::Permission,
        Exit::Configuration,
    ];

    /// What it says, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "Done, healthy.",
            Exit::Failed => "It did not work out; `check`: a warning.",
            Exit::Usage => "The arguments make no sense; `check`: something critical.",
            Exit::NotRunning => "`status`: there is no node to ask.",
            Exit::Damaged => "The database, the sign state or an export is damaged.",
            Exit::Missing => "A key or a file is missing.",
            Exit::Unreachable => "The node cannot be reached.",
            Exit::Bug => "A bug: please report it.",
            Exit::Storage => "The disk is full, or it fails.",
            Exit::Later => "Something is in use or not ready yet: try later.",
            Exit::Elsewhere => "The key signs elsewhere: stay down.",
            Exit::Permission => "A key or socket is not for this user, or for too many.",
            Exit::Configuration => "The configuration is wrong.",
        }
    }

    /// The exit of a code of the table; one that is not in it is our bug.
    pub fn from_code(code: u8) -> Exit {
        Exit::ALL.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Bug)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
