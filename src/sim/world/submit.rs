//! Clients that submit reports of tests to the HNs that are in them.

use super::World;
use crate::machine::event::{Event, Request, RequestId};
use crate::types::clock::{Round, Slot};
use crate::types::tx::{Body, Outcome, TestRole, Tx};

impl World {
    /// A client submits a report of a test of this round, as the chain of some honest host plans it.
    pub(super) fn submit(&mut self, round: Round, draw: u64) {
        let Some(tip) = self.best_honest() else { return };
        let Some(plan) = self.checks.oracle.draw(&tip.hash, round) else { return };
        let pick = |of: usize, shift: u32| {
            usize::try_from((draw >> shift) % (of.max(1) as u64)).expect("below a length")
        };
        let slot = pick(plan.tests.len(), 0);
        let Some(tests) = plan.tests.get(slot).filter(|tests| !tests.is_empty()) else { return };
        let at = pick(tests.len(), 16);
        let (role, address) = match draw >> 63 {
            0 => (TestRole::Tester, tests[at].tester),
            _ => (TestRole::Tested, tests[at].tested),
        };
        let network = &self.cast.network;
        let of = |host: &usize| network.address_of(&self.hosts[*host].public()) == address;
        let Some(host) = (0..self.cast.nodes).find(of) else { return };
        let slot = Slot(u32::try_from(slot).expect("few slots"));
        let index = u32::try_from(at).expect("few tests");
        let (outcome, measured) = (Outcome::Passed, draw >> 32 & 0xfff);
        let body = Body::TestReport { slot, index, role, outcome, measured };
        let tx = Tx::sign(round, body, &self.cast.keys[host], network, &self.cast.verifier);
        let id = RequestId(self.requests.len() as u64);
        self.requests.push(round);
        let request = Request::Submit(Box::new(tx));
        self.deliver(host, Event::Request { id, request }, 0);
    }
}
