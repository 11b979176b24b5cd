//! `follow`: one JSON line for each block of the best chain, as it comes.

use std::path::PathBuf;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;
use smol::Timer;

use super::api::Api;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::interrupt::Interrupt;
use super::number::whole;
use super::output::{Output, note};
use crate::shell::document::{BlockDocument, BlocksDocument};
use crate::types::block::Point;
use crate::types::clock::Height;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Blocks asked for at once.
const BLOCKS: usize = 16;
/// Blocks remembered, to tell how far a better chain goes back.
const REMEMBERED: usize = 1_024;

/// Print one JSON line for each block of the best chain as it comes, until Ctrl-C.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "follow")]
pub struct Follow {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// begin with the block of this height; without it with the next one
    #[argh(option, from_str_fn(whole))]
    pub from: Option<u64>,
}

/// A better chain took the place of blocks that were printed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct RolledBack {
    /// The last block printed that still counts; what was printed above it does not.
    height: Height,
}

/// What was printed of the chain.
#[derive(Debug, Default)]
struct Printed {
    /// The newest last.
    points: Vec<Point>,
    next: Height,
}

impl Follow {
    /// Prints until it is stopped, or its reader has gone.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let interrupt = Interrupt::new()?;
        let next = match self.from {
            Some(from) => Height(from),
            None => api.status()?.tip.point.height.next(),
        };
        let mut printed = Printed { points: Vec::new(), next };
        let follow = async {
            let mut is_gone = false;
            loop {
                match printed.look(&api, out) {
                    Ok(true) => is_gone = false,
                    Ok(false) => {
                        is_gone = false;
                        Timer::after(PAUSE).await;
                    }
                    // A node that was there may be starting again.
                    Err(failure) if failure.exit() == Exit::Unreachable => {
                        if !is_gone {
                            note(format_args!("{}; waiting for it", failure.line()));
                        }
                        is_gone = true;
                        Timer::after(PAUSE).await;
                    }
                    Err(failure) => return Err(failure),
                }
            }
        };
        interrupt.or(follow)
    }
}

impl Printed {
    /// Prints what is new; whether there may be more.
    fn look(&mut self, api: &Api, out: &mut Output) -> Result<bool, Failure> {
        let counts = |point: &Point| Ok(api.point_at(point.height)? == Some(*point));
        if let Some(rolled_back) = self.go_back(counts)? {
            out.json("rolled_back", &rolled_back)?;
            out.flush()?;
        }
        let path = format!("/v1/blocks?start={}&count={BLOCKS}", self.next);
        let answer: BlocksDocument = api.value(&path)?;
        let count = answer.blocks.len();
        for block in answer.blocks {
            if !self.take(&block) {
                // The chain changed since the look before.
                return Ok(true);
            }
            out.json("block", &block)?;
        }
        out.flush()?;
        Ok(count == BLOCKS)
    }

    /// Forgets what does not count any more, and says so.
    fn go_back(
        &mut self,
        mut counts: impl FnMut(&Point) -> Result<bool, Failure>,
    ) -> Result<Option<RolledBack>, Failure> {
        let before = self.points.len();
        while let Some(last) = self.points.last() {
            if counts(last)? {
                break;
            }
            self.next = last.height;
            self.points.pop();
        }
        let height = Height(self.next.0.saturating_sub(1));
        Ok((self.points.len() < before).then_some(RolledBack { height }))
    }

    /// Takes the next block; false when it does not stand on the last one.
    fn take(&mut self, block: &BlockDocument) -> bool {
        let header = &block.header;
        let Some(hash) = header.hash else { return false };
        let last = self.points.last();
        if last.is_some_and(|last| header.previous != Some(last.hash)) {
            return false;
        }
        self.points.push(Point { height: header.height, hash });
        if self.points.len() > REMEMBERED {
            self.points.remove(0);
        }
        self.next = header.height.next();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::document::HeaderDocument;
    use crate::types::hash::{BlockHash, Hash};

    fn block(height: u64, byte: u8, below: u8) -> BlockDocument {
        let hash = |byte| Some(BlockHash(Hash([byte; 32])));
        let (hash, previous) = (hash(byte), hash(below));
        let header =
            HeaderDocument { height: Height(height), hash, previous, ..HeaderDocument::default() };
        BlockDocument { header, messages: Vec::new() }
    }

    #[test]
    fn a_better_chain_takes_back_what_was_printed_above_the_fork() {
        let mut printed = Printed { points: Vec::new(), next: Height(5) };
        assert!([block(5, 5, 4), block(6, 6, 5), block(7, 7, 6)].iter().all(|it| printed.take(it)));
        assert_eq!(printed.next, Height(8));
        assert!(!printed.take(&block(8, 18, 17)), "it stands on another block");
        let stays = |point: &Point| Ok(point.height <= Height(5));
        let rolled_back = printed.go_back(stays).expect("it is known");
        assert_eq!(rolled_back, Some(RolledBack { height: Height(5) }));
        assert_eq!(printed.next, Height(6));
        assert!(printed.take(&block(6, 16, 5)));
        assert_eq!(printed.go_back(|_| Ok(true)).expect("it is known"), None);
    }
}
