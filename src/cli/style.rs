//! Colour, only on a terminal and without `NO_COLOR`.

use std::fmt::Display;

/// Whether to colour, and how.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    colour: bool,
}

impl Style {
    /// For output that goes to a terminal, or not.
    #[allow(clippy::disallowed_methods, reason = "the terminal speaks through the environment")]
    pub fn for_terminal(terminal: bool) -> Style {
        // https://no-color.org: present and not empty.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Style { colour: terminal && !refused && !dumb }
    }

    /// What stands out.
    pub fn bold(self, text: impl Display) -> String {
        self.paint("1", text)
    }

    /// What may be overlooked.
    pub fn dim(self, text: impl Display) -> String {
        self.paint("2", text)
    }

    /// What went well.
    pub fn good(self, text: impl Display) -> String {
        self.paint("32", text)
    }

    /// What asks for attention.
    pub fn warn(self, text: impl Display) -> String {
        self.paint("33", text)
    }

    /// What went wrong.
    pub fn bad(self, text: impl Display) -> String {
        self.paint("31", text)
    }

    fn paint(self, code: &str, text: impl Display) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }
}
