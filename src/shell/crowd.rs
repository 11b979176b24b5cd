//! Who is at the door: counts connections before the core sees them, and those that came to nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;

use smol::channel::{Receiver, Sender};

use super::clock::SystemClock;
use super::tally::Tally;
use crate::machine::limits::Limits;
use crate::machine::peers::{End, Ends};
use crate::machine::status::EndedPeer;
use crate::types::network::{Endpoint, Network};

/// Handshakes under way that others began: they cost us two multiplications before we know whom we talk to.
const UNFINISHED_MAX: usize = 32;
/// The same from one address. Loopback is exempt: all nodes of a devnet come from there.
const UNFINISHED_PER_IP_MAX: usize = 8;

/// How many connections there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Accepted, handshakes included: the core keeps fewer, and tells the others why they go.
    pub accepted: u32,
    /// Dialled, those under way included. The core asks for fewer: a dial list, and jurors among themselves.
    pub dialled: u32,
}

/// The connections there are.
pub struct Crowd {
    places: Places,
    accepted: Cell<u32>,
    dialled: Cell<u32>,
    unfinished: RefCell<Unfinished>,
}

/// Handshakes under way.
#[derive(Default)]
struct Unfinished {
    /// Of each address the oldest first. Who goes from here hears that its sender is gone.
    by_address: BTreeMap<Ipv4Addr, VecDeque<(u64, Sender<Infallible>)>>,
    last: u64,
}

/// A place in the crowd, given back when it is dropped.
pub struct Place {
    crowd: Rc<Crowd>,
    kind: PlaceKind,
}

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    Dialled,
    Accepted,
}

/// A place for a handshake that others began, given back when it is dropped.
pub struct Attempt {
    crowd: Rc<Crowd>,
    ip: Ipv4Addr,
    number: u64,
    stands: Receiver<Infallible>,
}

/// Connections that came to nothing since the process started.
#[derive(Clone)]
pub struct Refused(Rc<Book>);

struct Book {
    clock: SystemClock,
    /// By the reason's code.
    counts: RefCell<BTreeMap<&'static str, u64>>,
    ends: RefCell<Ends>,
    said: RefCell<Tally>,
}

impl Places {
    /// Places for what the core keeps and for those that it will not keep: observers three times, who are told so, and
    /// handshakes.
    pub fn around(limits: &Limits, dialled: u32) -> Places {
        let accepted = limits.accepted + 3 * limits.observers + UNFINISHED_MAX;
        Places { accepted: u32::try_from(accepted).unwrap_or(u32::MAX), dialled }
    }
}

impl Crowd {
    /// Nobody yet.
    pub fn new(places: Places) -> Crowd {
        Crowd {
            places,
            accepted: Cell::new(0),
            dialled: Cell::new(0),
            unfinished: RefCell::default(),
        }
    }

    /// A place, if there is one.
    pub fn enter(self: &Rc<Crowd>, kind: PlaceKind) -> Option<Place> {
        match kind {
            PlaceKind::Dialled => count_below(&self.dialled, self.places.dialled)?,
            PlaceKind::Accepted => count_below(&self.accepted, self.places.accepted)?,
        }
        Some(Place { crowd: Rc::clone(self), kind })
    }

    /// A place for a handshake with this address, if there is one. When all are taken, the oldest of the address that has
    /// most gives way, as long as that one keeps no fewer: a few addresses that are slow keep nobody else out.
    pub fn begin(self: &Rc<Crowd>, ip: Ipv4Addr) -> Option<Attempt> {
        let mut unfinished = self.unfinished.borrow_mut();
        let here = unfinished.by_address.get(&ip).map_or(0, VecDeque::len);
        if here >= UNFINISHED_PER_IP_MAX && !ip.is_loopback() {
            return None;
        }
        let all: usize = unfinished.by_address.values().map(VecDeque::len).sum();
        if all >= UNFINISHED_MAX {
            let fullest = unfinished.by_address.values_mut().max_by_key(|held| held.len())?;
            if fullest.len() <= here + 1 {
                return None;
            }
            fullest.pop_front();
        }
        unfinished.last += 1;
        let number = unfinished.last;
        let (sender, stands) = smol::channel::bounded(1);
        unfinished.by_address.entry(ip).or_default().push_back((number, sender));
        Some(Attempt { crowd: Rc::clone(self), ip, number, stands })
    }
}

impl Attempt {
    /// Ready when it has to give way to another.
    pub async fn lost(&self) {
        // Nothing is ever sent.
        let _ = self.stands.recv().await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let by_address = &mut self.crowd.unfinished.borrow_mut().by_address;
        if let Some(held) = by_address.get_mut(&self.ip) {
            held.retain(|(number, _)| *number != self.number);
            if held.is_empty() {
                by_address.remove(&self.ip);
            }
        }
    }
}

fn count_below(count: &Cell<u32>, max: u32) -> Option<()> {
    let next = count.get() + 1;
    (next <= max).then(|| count.set(next))
}

impl Drop for Place {
    fn drop(&mut self) {
        match self.kind {
            PlaceKind::Dialled => self.crowd.dialled.set(self.crowd.dialled.get() - 1),
            PlaceKind::Accepted => self.crowd.accepted.set(self.crowd.accepted.get() - 1),
        }
    }
}

impl Default for Refused {
    fn default() -> Refused {
        Refused(Rc::new(Book {
            clock: SystemClock::start(),
            counts: RefCell::default(),
            ends: RefCell::default(),
            said: RefCell::default(),
        }))
    }
}

impl Refused {
    /// How often, by code.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.0.counts.borrow().clone()
    }

    /// The last ones, the newest first.
    pub fn ended(&self, network: &Network) -> Vec<EndedPeer> {
        self.0.ends.borrow().status(self.0.clock.now().mono, network)
    }

    /// Counts, and says it now and then: strangers must not fill the log.
    pub fn count(
        &self,
        code: &'static str,
        why: &dyn fmt::Display,
        endpoint: Endpoint,
        dialled: bool,
    ) {
        *self.0.counts.borrow_mut().entry(code).or_default() += 1;
        let at = self.0.clock.now().mono;
        if let Some(count) = self.0.said.borrow_mut().count(code, at) {
            log::info!("no connection with {endpoint}: {why} ({count} of these lately)");
        }
        let message = why.to_string();
        let end = End { endpoint, dialled, key: None, by_us: true, code, message, at, count: 1 };
        self.0.ends.borrow_mut().add(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crowd() -> Rc<Crowd> {
        Rc::new(Crowd::new(Places::around(&Limits::default(), 128)))
    }

    fn begin(crowd: &Rc<Crowd>, ip: [u8; 4], count: usize) -> Vec<Attempt> {
        std::iter::repeat_with(|| crowd.begin(ip.into())).take(count).flatten().collect()
    }

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let crowd = crowd();
        let mut held = begin(&crowd, [9, 9, 9, 9], 20);
        assert_eq!(held.len(), 8);
        held.extend(begin(&crowd, [9, 9, 9, 8], 1));
        assert_eq!(held.len(), 9, "another address has its own");
        held.extend(begin(&crowd, [127, 0, 0, 1], 40));
        assert_eq!(held.len(), 32, "loopback is bounded by the sum alone");
        drop(held);
        assert_eq!(begin(&crowd, [9, 9, 9, 9], 20).len(), 8, "places come back");
    }

    #[test]
    fn a_few_slow_addresses_keep_nobody_else_out() {
        let crowd = crowd();
        let slow: Vec<Attempt> =
            (1..=4).flat_map(|last| begin(&crowd, [9, 9, 9, last], 8)).collect();
        assert_eq!(slow.len(), 32);
        let lost = || slow.iter().filter(|attempt| attempt.stands.is_closed()).count();
        let others: Vec<Attempt> =
            (1..=6).flat_map(|last| begin(&crowd, [8, 8, 8, last], 1)).collect();
        assert_eq!((others.len(), lost()), (6, 6));
        assert!(others.iter().all(|attempt| !attempt.stands.is_closed()));
        let oldest = slow.iter().position(|attempt| attempt.stands.is_closed());
        assert_eq!(oldest, Some(0), "the oldest of an address gives way");
        // A place that gave way is not given back twice.
        drop(slow);
        assert_eq!(crowd.unfinished.borrow().by_address.len(), 6);
        drop(others);
        let all: Vec<Attempt> =
            (1..=32).flat_map(|last| begin(&crowd, [9, 9, 9, last], 1)).collect();
        assert_eq!((all.len(), crowd.begin([8, 8, 8, 8].into()).is_none()), (32, true));
    }
}
