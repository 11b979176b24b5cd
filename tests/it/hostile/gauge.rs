//! What a process holds, as `/proc` says: anonymous memory, descriptors, sockets.

use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a watch looks.
const LOOK: Duration = Duration::from_millis(5);

/// What a process holds at a moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    pub anonymous_kib: u64,
    pub descriptors: usize,
    pub sockets: usize,
}

/// Looks at a process again and again for the most that it holds.
pub struct Watch {
    ended: Arc<AtomicBool>,
    peak: JoinHandle<Figures>,
}

impl Figures {
    /// Of a process that runs.
    pub fn of(process: u32) -> Figures {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        let descriptors = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten();
        // One may be closed before it is looked at.
        let targets = descriptors.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        let targets: Vec<PathBuf> = targets.collect();
        let is_socket = |target: &&PathBuf| target.to_string_lossy().starts_with("socket:");
        Figures {
            anonymous_kib: kib.unwrap_or(0),
            descriptors: targets.len(),
            sockets: targets.iter().filter(is_socket).count(),
        }
    }

    fn most(self, other: Figures) -> Figures {
        Figures {
            anonymous_kib: self.anonymous_kib.max(other.anonymous_kib),
            descriptors: self.descriptors.max(other.descriptors),
            sockets: self.sockets.max(other.sockets),
        }
    }
}

impl Watch {
    /// Watches from now on.
    pub fn start(process: u32) -> Watch {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let peak = thread::spawn(move || {
            let mut peak = Figures::default();
            while !seen.load(Ordering::Relaxed) {
                peak = peak.most(Figures::of(process));
                thread::sleep(LOOK);
            }
            peak
        });
        Watch { ended, peak }
    }

    /// The most that was seen.
    pub fn stop(self) -> Figures {
        self.ended.store(true, Ordering::Relaxed);
        self.peak.join().unwrap()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} KiB, {} descriptors", self.anonymous_kib, self.descriptors)
    }
}
