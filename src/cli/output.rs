//! Standard output of a command. A closed pipe (`| head`) ends the command quietly, a full disk loudly; nothing panics.

use std::fmt::Display;
use std::io::{self, BufWriter, ErrorKind, IsTerminal, StdoutLock, Write};

use rustix::termios::tcgetwinsize;
use serde::Serialize;

use super::exit::Exit;
use super::failure::Failure;
use super::style::Style;

/// Columns of a terminal that shows addresses whole.
const ROOMY: u16 = 120;
/// Characters of one that is shortened.
const ADDRESS_SHOWN: usize = 8;

/// Where data goes. Messages for people go to standard error, by [`note`].
pub struct Output {
    writer: BufWriter<StdoutLock<'static>>,
    terminal: bool,
}

/// A JSON object and the name of its form, which comes first.
#[derive(Serialize)]
struct Document<'a, T> {
    schema: String,
    #[serde(flatten)]
    body: &'a T,
}

impl Output {
    /// Standard output of this process, held until the command ends.
    pub fn stdout() -> Output {
        let stdout = io::stdout().lock();
        let terminal = stdout.is_terminal();
        Output { writer: BufWriter::new(stdout), terminal }
    }

    /// Whether a person looks at it.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Colours, when they are wanted here.
    pub fn style(&self) -> Style {
        Style::for_terminal(self.terminal)
    }

    /// Whether it is a terminal that has no room for wide tables.
    pub fn is_narrow(&self) -> bool {
        let size = || tcgetwinsize(io::stdout());
        self.terminal && size().is_ok_and(|size| (1..ROOMY).contains(&size.ws_col))
    }

    /// An address in a table: whole where there is room.
    pub fn address(&self, address: &str) -> String {
        if self.is_narrow() { shortened(address) } else { address.to_owned() }
    }

    /// One line.
    pub fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.writer, "{text}").map_err(|error| write_failure(&error))
    }

    /// Text as it is.
    pub fn text(&mut self, text: impl Display) -> Result<(), Failure> {
        write!(self.writer, "{text}").map_err(|error| write_failure(&error))
    }

    /// The one JSON object of a command: `"schema": "hypernode.<command>/1"`, then the fields of `body`.
    pub fn json<T: Serialize>(&mut self, command: &str, body: &T) -> Result<(), Failure> {
        let document = Document { schema: format!("hypernode.{command}/1"), body };
        let text = serde_json::to_string(&document).expect("our output types are plain data");
        self.line(text)
    }

    /// Hands what is written to its reader.
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(|error| write_failure(&error))
    }
}

/// The first characters of an address, which tell it from others on a screen.
pub fn shortened(address: &str) -> String {
    format!("{}…", address.chars().take(ADDRESS_SHOWN).collect::<String>())
}

/// One line on standard error. There is nobody to tell when that fails.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr(), "{text}");
}

fn write_failure(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::closed_pipe();
    }
    Failure::new(Exit::Storage, "output", "cannot write the output")
        .because(error)
        .action("make room where it goes to")
}
