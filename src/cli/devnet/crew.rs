//! The node processes of a devnet: direct children, each in a process group of its own, none of which outlives us.
//!
//! Three things see to that: the kernel kills a child when the thread that started it ends (so: start them from the main
//! thread), a node that a person restarted watches our process, and `Drop` stops them all on any way out of here.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::recipe::Member;
use crate::cli::config::raw::ENVIRONMENT;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::shell::directory::{Lock, LockError};

/// Looks at a node that is asked to end, before it is killed, and the pause between two: 3 seconds.
const STOP_LOOKS: usize = 300;
const STOP_PAUSE: Duration = Duration::from_millis(10);

/// The setting of a child: the process that it must be a child of.
const LIVES_WITH: &str = "HYPERNODE_LIVES_WITH";

/// The processes, in the order of the members.
#[derive(Debug)]
pub struct Crew {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    member: Member,
    child: Child,
    ended: Option<ExitStatus>,
}

/// How a process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    Running,
    /// By SIGSTOP or a debugger.
    Stopped,
    /// With this status.
    Ended(ExitStatus),
}

impl Crew {
    /// Starts `run` for each member. Their output goes to their logs.
    pub fn start(members: &[Member]) -> Result<Crew, Failure> {
        let binary = std::env::current_exe().map_err(|error| {
            Failure::new(Exit::Failed, "binary", "our own binary has gone")
                .because(&error)
                .action("start it anew, from where it is now")
        })?;
        let mut crew = Crew { nodes: Vec::with_capacity(members.len()) };
        for member in members {
            let child = spawn(&binary, member).map_err(|error| {
                let message = format!("{} cannot be started", member.name);
                Failure::new(Exit::Failed, "spawn", message)
                    .because(&error)
                    .action("the system is out of memory or processes: ask for fewer --nodes")
            })?;
            crew.nodes.push(Node { member: member.clone(), child, ended: None });
        }
        Ok(crew)
    }

    /// How the process of a member is.
    pub fn life(&mut self, number: usize) -> Life {
        let node = &mut self.nodes[number];
        if node.ended.is_none() {
            // A child that cannot be asked about is one that somebody else has waited for.
            node.ended = node.child.try_wait().ok().flatten();
        }
        match node.ended {
            Some(status) => Life::Ended(status),
            None if is_stopped(node.child.id()) => Life::Stopped,
            None => Life::Running,
        }
    }

    /// Asks all nodes to end, and ends those that do not.
    pub fn stop(&mut self) {
        for node in self.nodes.iter().filter(|node| node.ended.is_none()) {
            ask_to_end(node.child.id());
        }
        for _ in 0..STOP_LOOKS {
            if self.all_ended() {
                break;
            }
            pause();
        }
        for node in self.nodes.iter_mut().filter(|node| node.ended.is_none()) {
            // It has been waited for only when it has ended: the number is still its own.
            let _ = node.child.kill();
            node.ended = node.child.wait().ok();
        }
        for node in &self.nodes {
            end_successor(&node.member);
        }
    }

    fn all_ended(&mut self) -> bool {
        (0..self.nodes.len()).all(|number| matches!(self.life(number), Life::Ended(_)))
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Display for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Life::Running => f.write_str("running"),
            Life::Stopped => f.write_str("stopped"),
            Life::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "ended with {code}"),
                (None, Some(signal)) => write!(f, "killed by signal {signal}"),
                (None, None) => f.write_str("ended"),
            },
        }
    }
}

fn spawn(binary: &Path, member: &Member) -> std::io::Result<Child> {
    let log = File::options().append(true).create(true).open(member.log())?;
    let mut command = Command::new(binary);
    command.arg("run").arg("--config").arg(member.config());
    // What is set for a node of this machine, its database above all, is not for them.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(ENVIRONMENT.as_bytes()) {
            command.env_remove(name);
        }
    }
    // Only our own children have this: they end at once when we are gone before they can tie themselves to us.
    command.env(LIVES_WITH, std::process::id().to_string());
    // A group of its own: Ctrl-C in the terminal reaches the devnet alone, which then stops its nodes in order.
    command.process_group(0);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn()
}

fn ask_to_end(process: u32) {
    if let Some(pid) = pid(process) {
        // One that is stopped takes no signal but these.
        let _ = kill_process(pid, Signal::TERM).and_then(|()| kill_process(pid, Signal::CONT));
    }
}

fn pid(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

/// Ends the node that a person started in place of one of ours. Whoever holds the lock of its database is that node.
fn end_successor(member: &Member) {
    let lock = member.database().join("lock");
    let mut asked = None;
    for _ in 0..STOP_LOOKS {
        // No lock file: there has been no database.
        let holder = match lock.exists().then(|| Lock::acquire(&lock)) {
            Some(Err(LockError::Held { by: Some(process) })) => process,
            Some(Ok(_) | Err(LockError::Held { by: None } | LockError::Io(_))) | None => return,
        };
        if asked != Some(holder) {
            ask_to_end(holder);
            asked = Some(holder);
        }
        pause();
    }
    if let Some(pid) = asked.and_then(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn pause() {
    smol::block_on(smol::Timer::after(STOP_PAUSE));
}

/// Whether a process is stopped, as /proc says: the letter after the name in parentheses.
fn is_stopped(process: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let state = text.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    matches!(state, Some('T' | 't'))
}
