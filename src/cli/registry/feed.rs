//! `registry feed`: follows a PoW ledger and tells of registrations as they come.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;
use smol::Timer;

use super::{failure, ledger_of};
use crate::cli::choice;
use crate::cli::failure::{Failure, Outcome};
use crate::cli::interrupt::Interrupt;
use crate::cli::number::whole;
use crate::cli::output::{Output, note};
use crate::machine::ledger::{Follower, LedgerFault, LedgerNews};
use crate::rules::registration::Verdict;
use crate::rules::registry::Applied;
use crate::shell::ledger::LedgerFile;
use crate::types::pow::PowBlock;

/// Between two looks at a ledger that had nothing new.
const PAUSE: Duration = Duration::from_secs(1);
/// One look.
const SLICE: Duration = Duration::from_millis(100);

/// Follow a PoW ledger and print registrations as they come, until Ctrl-C.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "feed")]
pub struct Feed {
    /// the PoW ledger; without it that of the node's configuration
    #[argh(option)]
    pub ledger: Option<PathBuf>,

    /// main, test, or the path of a network file
    #[argh(option, default = "\"main\".to_owned()")]
    pub network: String,

    /// print also what came after this height; without it only what comes from now on
    #[argh(option, from_str_fn(whole))]
    pub height: Option<u64>,

    /// only what is about this IP
    #[argh(option)]
    pub ip: Option<String>,

    /// print one JSON object a line
    #[argh(switch)]
    pub json: bool,
}

/// One line.
#[derive(Serialize)]
struct Entry {
    height: u64,
    sender: String,
    /// The operation; null when the collateral was withdrawn or the ledger rolled back.
    operation: Option<&'static str>,
    data: Option<String>,
    accepted: bool,
    code: &'static str,
}

struct Watch {
    json: bool,
    ip: Option<String>,
    /// Nothing up to here is printed; nothing at all before the first end.
    above: Option<u64>,
}

impl Feed {
    /// Prints until it is stopped.
    pub fn run(self, out: &mut Output) -> Outcome {
        let network = choice::load(&self.network)?;
        let path = ledger_of(self.ledger)?;
        let interrupt = Interrupt::new()?;
        let mut file = LedgerFile::new(&path);
        let mut follower = Follower::new(Rc::new(network));
        let mut watch = Watch { json: self.json, ip: self.ip, above: self.height };
        let mut last_fault = None;
        let follow = async {
            loop {
                let news = file.read(follower.tip(), SLICE);
                let pause = match &news {
                    LedgerNews::Blocks { end, .. } => *end,
                    LedgerNews::Gone { .. } | LedgerNews::Anew => false,
                    LedgerNews::Fault(fault) => {
                        // A lock is let go of; what is no ledger will not become one.
                        if *fault != LedgerFault::Locked {
                            return Err(failure(&path, fault));
                        }
                        if last_fault.as_ref() != Some(fault) {
                            note(format_args!("{}: {fault}", path.display()));
                        }
                        last_fault = Some(fault.clone());
                        true
                    }
                };
                watch.take(&mut follower, &news, out)?;
                if pause {
                    Timer::after(PAUSE).await;
                }
            }
        };
        interrupt.or(follow)
    }
}

impl Watch {
    fn take(
        &mut self,
        follower: &mut Follower,
        news: &LedgerNews,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let before = follower.tip().map_or(0, |tip| tip.height);
        let (blocks, end) = match news {
            LedgerNews::Blocks { blocks, end, .. } => (blocks.as_slice(), *end),
            LedgerNews::Gone { .. } | LedgerNews::Anew | LedgerNews::Fault(_) => (&[][..], false),
        };
        let damaged = follower.damage().is_some();
        let applied = follower.hear(news);
        for (block, applied) in blocks.iter().zip(applied) {
            if self.above.is_some_and(|above| block.height > above) {
                self.tell(follower, block, &applied, out)?;
            }
        }
        if let (Some((height, what)), false) = (follower.damage(), damaged) {
            note(format_args!("the ledger is damaged from block {height} on: {what}"));
        }
        let after = follower.tip().map_or(0, |tip| tip.height);
        if let Some(above) = self.above.filter(|above| after < before && after < *above) {
            self.above = Some(after.min(above));
        }
        if after < before {
            let code = "rolled_back";
            let (sender, accepted) = (String::new(), false);
            let entry =
                Entry { height: after, sender, operation: None, data: None, accepted, code };
            self.print(&entry, "the ledger rolled back to here", out)?;
        }
        if end && self.above.is_none() {
            self.above = Some(after);
            note(format_args!("following from block {after} on"));
        }
        Ok(())
    }

    fn tell(
        &self,
        follower: &Follower,
        block: &PowBlock,
        applied: &Applied,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let is_wanted = |ip: &str| self.ip.as_ref().is_none_or(|wanted| wanted == ip);
        let height = block.height;
        for hn in applied.dropped.iter().filter(|hn| is_wanted(&hn.ip.to_string())) {
            let (sender, code) = (hn.owner.to_string(), "collateral_dropped");
            let data = Some(format!("{}:{}", hn.endpoint(), hn.address));
            let entry = Entry { height, sender, operation: None, data, accepted: false, code };
            self.print(&entry, "its owner holds less than its weight needs", out)?;
        }
        for (order, verdict) in follower.registry().orders(block).zip(&applied.verdicts) {
            if is_wanted(order.data.split(':').next().unwrap_or_default()) {
                let entry = Entry {
                    height,
                    sender: order.sender.clone(),
                    operation: Some(order.kind.operation()),
                    data: Some(order.data.clone()),
                    accepted: *verdict == Verdict::Ok,
                    code: verdict.code(),
                };
                self.print(&entry, &verdict.to_string(), out)?;
            }
        }
        Ok(())
    }

    fn print(&self, entry: &Entry, why: &str, out: &mut Output) -> Result<(), Failure> {
        if self.json {
            out.json("registry.feed", entry)?;
        } else {
            let Entry { height, operation, data, code, .. } = entry;
            let asks = operation.map_or("", |it| it.strip_prefix("hypernode:").unwrap_or(it));
            let data = data.as_deref().unwrap_or_default();
            let data: String = data.chars().take(100).flat_map(char::escape_debug).collect();
            let words = [asks, *code, why, &data].into_iter().filter(|word| !word.is_empty());
            let words: Vec<&str> = words.collect();
            out.line(format_args!("block {height}  {}", words.join("  ")))?;
        }
        out.flush()
    }
}
