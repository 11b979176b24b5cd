//! Why a command failed, for a person and for a program: a stable code, one line, and what to do about it.

use std::borrow::Cow;
use std::error::Error;

use serde::Serialize;

use super::exit::Exit;

/// The end of a command that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Stable, for programs.
    code: Cow<'static, str>,
    /// One line: what went wrong, and the chain of its causes.
    message: String,
    /// What the reader can do; null when a node of another version does not say.
    action: Option<String>,
    #[serde(skip)]
    exit: Exit,
}

/// What a command gives back.
pub type Outcome = Result<Exit, Failure>;

impl Failure {
    /// A failure with its exit code, its code for programs and its message.
    pub fn new(
        exit: Exit,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Failure {
        Failure { code: code.into(), message: one_line(&message.into()), action: None, exit }
    }

    /// The arguments make no sense together, or are out of range.
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "usage", message).action("see --help")
    }

    /// The reader of our output has gone (`| head`): an end without a word.
    pub fn closed_pipe() -> Failure {
        Failure::new(Exit::Done, "closed_pipe", "the reader of the output has gone")
    }

    /// Adds an error and the causes below it to the message.
    pub fn because(mut self, error: &dyn Error) -> Failure {
        let mut next = Some(error);
        while let Some(error) = next {
            self.message.push_str(": ");
            self.message.push_str(&one_line(&error.to_string()));
            next = error.source();
        }
        self
    }

    /// Says what to do about it.
    pub fn action(mut self, action: impl Into<String>) -> Failure {
        self.action = Some(one_line(&action.into()));
        self
    }

    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// What went wrong, without what to do.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do about it, when that is known.
    pub fn advice(&self) -> Option<&str> {
        self.action.as_deref()
    }

    /// Whether there is no node to ask.
    pub fn is_not_running(&self) -> bool {
        self.code == "not_running"
    }

    /// The same failure where another exit code is due.
    pub fn with_exit(mut self, exit: Exit) -> Failure {
        self.exit = exit;
        self
    }

    /// What a person reads, without a line end.
    pub fn line(&self) -> String {
        match &self.action {
            Some(action) => format!("hypernode: {}; {action}", self.message),
            None => format!("hypernode: {}", self.message),
        }
    }

    /// What a program reads: `{"error": {"code", "message", "action"}}`.
    pub fn json(&self) -> String {
        #[derive(Serialize)]
        struct Answer<'a> {
            error: &'a Failure,
        }
        serde_json::to_string(&Answer { error: self }).expect("a failure is plain data")
    }
}

/// Errors of parsers may span lines; ours are one line each.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_causes_and_what_to_do() {
        let cause = std::io::Error::new(std::io::ErrorKind::NotFound, "no\n  such file\n");
        let failure = Failure::new(Exit::Missing, "key_missing", "cannot read x")
            .because(&cause)
            .action("make one");
        assert_eq!(failure.line(), "hypernode: cannot read x: no such file; make one");
        assert_eq!(
            failure.json(),
            r#"{"error":{"code":"key_missing","message":"cannot read x: no such file","action":"make one"}}"#
        );
    }
}
