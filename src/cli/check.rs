//! `check`: looks at everything that a node needs, and says what to do about what is wrong.

use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::api::Api;
use super::config::Layers;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::style::Style;
use crate::shell::document::StatusDocument;

mod machine;
mod node;

/// Look at all that a node needs: configuration, key, disk, memory, clock, port, ledger, and the node itself.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "check")]
pub struct Check {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// How bad it is, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum Level {
    Good,
    Warning,
    Critical,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// Stable, for programs.
    subject: &'static str,
    level: Level,
    message: String,
    /// Null where nothing is to be done.
    action: Option<String>,
}

#[derive(Serialize)]
struct Answer {
    /// Of the worst finding.
    level: Level,
    findings: Vec<Finding>,
}

impl Finding {
    fn good(subject: &'static str, message: impl Into<String>) -> Finding {
        Finding { subject, level: Level::Good, message: message.into(), action: None }
    }

    fn warning(subject: &'static str, message: impl Into<String>, action: &str) -> Finding {
        let action = Some(action.to_owned());
        Finding { subject, level: Level::Warning, message: message.into(), action }
    }

    fn critical(subject: &'static str, message: impl Into<String>, action: &str) -> Finding {
        Finding { level: Level::Critical, ..Finding::warning(subject, message, action) }
    }

    /// What a command that failed says.
    fn of(subject: &'static str, failure: &Failure) -> Finding {
        let action = failure.advice().map(ToOwned::to_owned);
        Finding { subject, level: Level::Critical, message: failure.message().to_owned(), action }
    }

    fn line(&self, style: Style) -> String {
        let level = match self.level {
            Level::Good => style.good("good    "),
            Level::Warning => style.warn("warning "),
            Level::Critical => style.bad("critical"),
        };
        let line = format!("{level}  {:<13}  {}", self.subject, self.message);
        match &self.action {
            Some(action) => format!("{line}\n{:<25}{action}", ""),
            None => line,
        }
    }
}

impl Check {
    /// Prints what it finds; the exit code says how bad the worst is.
    pub fn run(self, out: &mut Output) -> Outcome {
        let findings = self.look();
        let level = findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Good);
        if self.json {
            out.json("check", &Answer { level, findings })?;
        } else {
            let style = out.style();
            for finding in &findings {
                out.line(finding.line(style))?;
            }
        }
        Ok(match level {
            Level::Good => Exit::Done,
            Level::Warning => Exit::Failed,
            Level::Critical => Exit::Usage,
        })
    }

    fn look(&self) -> Vec<Finding> {
        let layers = match Layers::read(self.config.as_deref()) {
            Ok(layers) => layers,
            Err(failure) => return vec![Finding::of("configuration", &failure)],
        };
        let config = match layers.validate() {
            Ok(config) => config,
            Err(failure) => return vec![Finding::of("configuration", &failure)],
        };
        let mut findings = vec![match config.network.founders.is_empty() {
            false => Finding::good("configuration", format!("network {}", config.network.name)),
            true => Finding::critical(
                "configuration",
                format!("network {} is not launched yet", config.network.name),
                "name the file of a network that has founders",
            ),
        }];
        let status = Api::choose(None, self.config.as_deref())
            .and_then(|api| api.value::<StatusDocument>("/v1/status"));
        findings.extend(machine::look(&config, &status));
        findings.extend(node::look(&status));
        findings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_counts_and_an_action_stands_below_what_it_is_for() {
        assert!(Level::Good < Level::Warning && Level::Warning < Level::Critical);
        let finding = Finding::warning("clock", "it is wrong", "set it");
        let text = finding.line(Style::for_terminal(false));
        assert_eq!(text, format!("warning   clock          it is wrong\n{}set it", " ".repeat(25)));
        assert_eq!(Finding::good("clock", "x").line(Style::for_terminal(false)).lines().count(), 1);
    }
}
