//! What a scenario does to the world with its own hands, where a plan of faults would leave it to the seed.

use super::World;
use super::trouble::AFTERMATH_MS;
use crate::machine::event::{Event, PeerId};
use crate::machine::ledger::LedgerNews;
use crate::sim::host::Crash;
use crate::types::message::Message;
use crate::types::seal::Step;

/// Who is on which side of a cut, by number of host.
pub type Sides = Vec<usize>;

/// Votes that get lost although connections stand.
#[derive(Debug, Clone)]
pub struct Loss {
    pub index: u64,
    pub step: Step,
    /// Whether a host gets none of them.
    pub to: Vec<bool>,
    /// From the first of them on, so long.
    pub for_ms: u64,
    /// When the first one was sent.
    pub since: Option<u64>,
}

impl World {
    /// The power of a host is gone, and stays so until it is started again.
    pub fn switch_off(&mut self, host: usize) {
        self.trace.mark(self.now, host, "off");
        self.hosts[host].wanted = false;
        if self.hosts[host].node.is_some() {
            self.kill(host, true);
        }
        self.excuse();
    }

    /// The operator ends a process in order, and starts it again after a while.
    pub fn restart(&mut self, host: usize, after_ms: u64) {
        self.trace.mark(self.now, host, "restart");
        if self.hosts[host].node.is_some() {
            self.kill(host, false);
        }
        self.start_at(host, self.now + after_ms);
        self.excuse();
    }

    /// The PoW ledger of a host has news.
    pub fn tell_ledger(&mut self, host: usize, news: LedgerNews) {
        self.deliver(host, Event::Ledger(news), 0);
    }

    /// A crash waits for a host.
    pub fn expect_crash(&mut self, host: usize, crash: Crash) {
        self.hosts[host].crash = Some(crash);
        self.excuse();
    }

    /// Nothing goes from one side to another any more. When it snaps, connections between them end at once with all that
    /// is on its way; otherwise they time out.
    pub fn split(&mut self, sides: &Sides, snaps: bool) {
        self.trace.mark(self.now, 0, "split");
        let ways = ways(sides);
        self.sever_ways(&ways);
        if snaps {
            self.snap(&ways);
        }
        self.excuse();
    }

    /// The sides hear each other again.
    pub fn rejoin(&mut self, sides: &Sides) {
        self.trace.mark(self.now, 0, "rejoin");
        self.mend_ways(&ways(sides));
        self.excuse();
    }

    /// Whoever is late now is late because of what was done to the world.
    fn excuse(&mut self) {
        let until = self.now + AFTERMATH_MS;
        for host in &mut self.hosts {
            host.disturbed_until = host.disturbed_until.max(until);
        }
    }

    /// Whether a scenario loses this message on its way to a peer's other end.
    pub(super) fn is_lost(&mut self, message: &Message, peer: PeerId) -> bool {
        if self.losses.is_empty() {
            return false;
        }
        let (to, now) = (self.net.host_of(peer), self.now);
        let mut lost = 0;
        for loss in &mut self.losses {
            let votes = votes_in(message, loss);
            if votes == 0 {
                continue;
            }
            let since = *loss.since.get_or_insert(now);
            if loss.to[to] && now < since + loss.for_ms {
                lost += votes;
            }
        }
        self.votes_lost += lost;
        lost > 0
    }
}

/// Votes in a message that a loss is about. Prepares also come as a whole.
fn votes_in(message: &Message, loss: &Loss) -> u64 {
    let ours = |index: u64, step: Step| (index, step) == (loss.index, loss.step);
    let mut quorum = None;
    if let Message::Prepared(prepared) = message {
        quorum = Some(&**prepared);
    }
    if let Message::Proposal(proposal) = message {
        quorum = proposal.prepared.as_ref();
    }
    let whole = quorum.filter(|it| ours(it.checkpoint.index, Step::Prepare));
    let whole = whole.map_or(0, |quorum| quorum.signatures.len());
    let single = message.votes().iter().filter(|vote| ours(vote.index, vote.step)).count();
    (single + whole) as u64
}

/// Both ways between hosts of different sides.
fn ways(sides: &Sides) -> Vec<(usize, usize)> {
    let pairs = (0..sides.len()).flat_map(|from| (0..sides.len()).map(move |to| (from, to)));
    pairs.filter(|(from, to)| sides[*from] != sides[*to]).collect()
}
