//! Who is at the door: counts connections before the core sees them, and those that came to nothing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::rc::Rc;

use super::clock::SystemClock;
use super::tally::Tally;
use crate::machine::peers::{End, Ends};
use crate::machine::status::EndedPeer;
use crate::types::network::{Endpoint, Network};

/// Accepted connections, handshakes included: each may hold 200 KiB, and the core keeps fewer.
const ACCEPTED_MAX: u32 = 256;
/// Dialled connections, those under way included. The core asks for fewer: a dial list, and jurors among themselves.
const DIALLED_MAX: u32 = 256;
/// Handshakes under way that others began: they cost us two multiplications before we know whom we talk to.
const UNFINISHED_MAX: u32 = 32;
/// The same from one address. Loopback is exempt: all nodes of a devnet come from there.
const UNFINISHED_PER_IP_MAX: u32 = 8;

/// The connections there are.
#[derive(Default)]
pub struct Crowd {
    accepted: Cell<u32>,
    dialled: Cell<u32>,
    unfinished: RefCell<BTreeMap<Ipv4Addr, u32>>,
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
    /// A handshake that this address began.
    Unfinished(Ipv4Addr),
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

impl Crowd {
    /// A place, if there is one.
    pub fn enter(self: &Rc<Crowd>, kind: PlaceKind) -> Option<Place> {
        match kind {
            PlaceKind::Dialled => count_below(&self.dialled, DIALLED_MAX)?,
            PlaceKind::Accepted => count_below(&self.accepted, ACCEPTED_MAX)?,
            PlaceKind::Unfinished(ip) => {
                let mut unfinished = self.unfinished.borrow_mut();
                let all: u32 = unfinished.values().sum();
                let here = unfinished.get(&ip).copied().unwrap_or(0);
                let crowded = here >= UNFINISHED_PER_IP_MAX && !ip.is_loopback();
                if crowded || all >= UNFINISHED_MAX {
                    return None;
                }
                unfinished.insert(ip, here + 1);
            }
        }
        Some(Place { crowd: Rc::clone(self), kind })
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
            PlaceKind::Unfinished(ip) => {
                let mut unfinished = self.crowd.unfinished.borrow_mut();
                match unfinished.get_mut(&ip) {
                    Some(count) if *count > 1 => *count -= 1,
                    Some(_) | None => {
                        unfinished.remove(&ip);
                    }
                }
            }
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

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let crowd = Rc::new(Crowd::default());
        let take = |ip: [u8; 4], count: usize| -> Vec<Place> {
            let kind = PlaceKind::Unfinished(ip.into());
            std::iter::repeat_with(|| crowd.enter(kind)).take(count).flatten().collect()
        };
        let mut held = take([9, 9, 9, 9], 20);
        assert_eq!(held.len(), 8);
        held.extend(take([9, 9, 9, 8], 1));
        assert_eq!(held.len(), 9, "another address has its own");
        held.extend(take([127, 0, 0, 1], 40));
        assert_eq!(held.len(), 32, "loopback is bounded by the sum alone");
        assert!(take([9, 9, 9, 7], 1).is_empty());
        drop(held);
        assert_eq!(take([9, 9, 9, 9], 20).len(), 8, "places come back");
    }
}
