//! Commands that go on until somebody stops them, which is a good end.

use super::exit::Exit;
use super::failure::{Failure, Outcome};
use crate::shell::host::StopSignal;

/// Signals that end a command, caught from its making on.
pub struct Interrupt(StopSignal);

impl Interrupt {
    /// Catches them.
    pub fn new() -> Result<Interrupt, Failure> {
        let signal = StopSignal::new().map_err(|error| {
            Failure::new(Exit::Failed, "signals", "cannot wait for signals")
                .because(&error)
                .action("the system is out of files or memory: end other programs")
        })?;
        Ok(Interrupt(signal))
    }

    /// Works until a signal comes, or the work ends.
    pub fn or(mut self, work: impl Future<Output = Outcome>) -> Outcome {
        let stopped = async {
            self.0.next().await;
            Ok(Exit::Done)
        };
        smol::block_on(smol::future::or(stopped, work))
    }
}
