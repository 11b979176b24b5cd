//! How far long work is: one line on standard error that is drawn over, on a terminal only, and gone at the end.

use std::fmt::Display;
use std::io::{IsTerminal, Write, stderr};

/// The line, until dropped.
pub struct Progress {
    is_terminal: bool,
    is_shown: bool,
}

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Progress {
        Progress { is_terminal: stderr().is_terminal(), is_shown: false }
    }

    /// Draws it anew; the text does not get shorter.
    pub fn show(&mut self, text: impl Display) {
        if self.is_terminal {
            self.is_shown = true;
            // Nobody is there to be told that it fails.
            let _ = write!(stderr(), "\r{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}
