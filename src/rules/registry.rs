//! Who is registered, from the rows of the PoW ledger (`docs/protocol.md` §5): balances, registrations, drops.
//!
//! A block at a time, forward by `apply` and back by `undo`, which are exact inverses. Only balances of addresses that
//! can register are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::rules::balances::Balances;
use crate::rules::registration::{Registration, Removal, Terms, Verdict};
use crate::types::address::Address;
use crate::types::network::{LedgerValues, Network};
use crate::types::pow::{COIN, Order, OrderKind, PowAddress, PowBlock, PowRow};
use crate::types::seal::{HNS_MAX, Registered};

/// Collateral of one weight, in coins.
pub const COLLATERAL: i128 = 10_000;
/// No HN weighs more.
pub const WEIGHT_MAX: u8 = 3;

/// Which rows count, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Rows below this height register nobody.
    pub first_height: u64,
    pub controller: PowAddress,
    pub terms: Terms,
}

/// The registry after a block of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    scope: Scope,
    balances: Balances,
    by_owner: BTreeMap<PowAddress, Registered>,
    owners: BTreeMap<Address, PowAddress>,
    ips: BTreeSet<Ipv4Addr>,
}

/// Who came and who went, in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Added(Registered),
    Removed(Registered),
}

/// What a block changed: enough to take it back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undo {
    /// Units by which balances grew.
    balances: Vec<(PowAddress, i128)>,
    pub changes: Vec<Change>,
}

/// What a block did, for whoever wants to know why.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Of each row that asks for something, in ledger order.
    pub verdicts: Vec<Verdict>,
    /// HNs whose collateral is gone, by owner.
    pub dropped: Vec<Registered>,
}

impl Scope {
    /// What counts on a network under these parameters.
    pub fn new(network: &Network, values: &LedgerValues) -> Scope {
        Scope {
            first_height: values.first_height,
            controller: PowAddress::parse(&values.controller).expect("a network is checked"),
            terms: Terms { prefix: network.prefix(), public_only: network.is_main() },
        }
    }

    /// Whether a row's verdict is asked for at all.
    fn counts(&self, order: &Order) -> bool {
        u64::try_from(order.height).is_ok_and(|height| height >= self.first_height)
    }
}

impl Registry {
    /// Nobody has anything yet.
    pub fn new(scope: Scope) -> Registry {
        Registry {
            scope,
            balances: Balances::default(),
            by_owner: BTreeMap::new(),
            owners: BTreeMap::new(),
            ips: BTreeSet::new(),
        }
    }

    /// The registry with these balances and HNs; nothing when they contradict each other.
    pub fn restore(
        scope: Scope,
        balances: impl IntoIterator<Item = (PowAddress, i128)>,
        registered: impl IntoIterator<Item = Registered>,
    ) -> Option<Registry> {
        let mut registry = Registry::new(scope);
        registry.balances = balances.into_iter().collect();
        for hn in registered {
            let is_free = !registry.by_owner.contains_key(&hn.owner)
                && !registry.owners.contains_key(&hn.address)
                && !registry.ips.contains(&hn.ip);
            if !is_free {
                return None;
            }
            registry.add(hn);
        }
        Some(registry)
    }

    /// What counts here.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Everybody registered, by owner.
    pub fn by_owner(&self) -> impl ExactSizeIterator<Item = &Registered> {
        self.by_owner.values()
    }

    /// All balances that are not zero, in units.
    pub fn balances(&self) -> impl Iterator<Item = (PowAddress, i128)> + '_ {
        self.balances.iter()
    }

    /// Units that an address holds.
    pub fn balance(&self, address: &PowAddress) -> i128 {
        self.balances.of(address)
    }

    /// Whether a registration would be accepted in a next block that changes no balance.
    pub fn judge(&self, registration: &Registration) -> Result<u8, Verdict> {
        let Registration { owner, endpoint, address, .. } = registration;
        if self.by_owner.contains_key(owner) {
            return Err(Verdict::SenderTaken);
        }
        if self.ips.contains(&endpoint.ip) {
            return Err(Verdict::IpTaken);
        }
        if self.owners.contains_key(address) {
            return Err(Verdict::AddressTaken);
        }
        weight_of(self.balance(owner)).ok_or(Verdict::NoCollateral)
    }

    /// Takes in the next block: first all amounts, then drops, then what its rows ask for. How to take it back, and what
    /// it did.
    pub fn apply(&mut self, block: &PowBlock) -> (Undo, Applied) {
        let (mut undo, mut applied) = (Undo::default(), Applied::default());
        let touched = growth(block);
        for (address, grown) in &touched {
            self.balances.grow(address, *grown);
        }
        // Whoever is registered had enough before: only a balance that shrank can be too low.
        for (owner, _) in touched.iter().filter(|(_, grown)| *grown < 0) {
            let Some(hn) = self.by_owner.get(owner).copied() else { continue };
            if self.balance(owner) < i128::from(hn.weight) * COLLATERAL * COIN {
                self.remove(&hn);
                undo.changes.push(Change::Removed(hn));
                applied.dropped.push(hn);
            }
        }
        undo.balances = touched;
        for order in block.rows.iter().filter_map(|row| row.order.as_deref()) {
            if self.scope.counts(order) {
                let verdict = match order.kind {
                    OrderKind::Register => self.register(order, block.height),
                    OrderKind::Unregister => self.unregister(order),
                };
                undo.changes.extend(verdict.as_ref().ok());
                applied.verdicts.push(verdict.err().unwrap_or(Verdict::Ok));
            }
        }
        (undo, applied)
    }

    /// The rows of a block that have a verdict, in its order.
    pub fn orders<'a>(&'a self, block: &'a PowBlock) -> impl Iterator<Item = &'a Order> {
        let orders = block.rows.iter().filter_map(|row| row.order.as_deref());
        orders.filter(|order| self.scope.counts(order))
    }

    /// Takes the last block back.
    pub fn undo(&mut self, undo: &Undo) {
        for change in undo.changes.iter().rev() {
            match change {
                Change::Added(hn) => self.remove(hn),
                Change::Removed(hn) => self.add(*hn),
            }
        }
        for (address, grown) in &undo.balances {
            self.balances.grow(address, -grown);
        }
    }

    fn register(&mut self, order: &Order, height: u64) -> Result<Change, Verdict> {
        let registration = Registration::read(order, &self.scope.terms)?;
        let weight = self.judge(&registration)?;
        let Registration { owner, endpoint, address, reward } = registration;
        let (ip, port) = (endpoint.ip, endpoint.port);
        let hn = Registered { address, ip, port, weight, owner, reward, since: height };
        self.add(hn);
        Ok(Change::Added(hn))
    }

    fn unregister(&mut self, order: &Order) -> Result<Change, Verdict> {
        let removal = Removal::read(order)?;
        let sender = PowAddress::parse(&order.sender);
        let fits = |hn: &&Registered| removal.fits(&hn.endpoint(), &hn.address);
        let hn = if sender == Some(self.scope.controller) {
            let prefix = self.scope.terms.prefix;
            let address = Address::parse(removal.address, prefix).ok();
            let owner = address.and_then(|address| self.owners.get(&address));
            let hn = owner.and_then(|owner| self.by_owner.get(owner)).filter(fits);
            hn.ok_or(Verdict::NotRegistered)?
        } else {
            let hn = sender.and_then(|sender| self.by_owner.get(&sender));
            Some(hn.ok_or(Verdict::NotRegistered)?).filter(fits).ok_or(Verdict::Mismatch)?
        };
        let hn = *hn;
        self.remove(&hn);
        Ok(Change::Removed(hn))
    }

    fn add(&mut self, hn: Registered) {
        self.ips.insert(hn.ip);
        self.owners.insert(hn.address, hn.owner);
        self.by_owner.insert(hn.owner, hn);
    }

    fn remove(&mut self, hn: &Registered) {
        self.ips.remove(&hn.ip);
        self.owners.remove(&hn.address);
        self.by_owner.remove(&hn.owner);
    }
}

/// Units by which a block lets balances grow, by address; nothing of those that stay.
fn growth(block: &PowBlock) -> Vec<(PowAddress, i128)> {
    let sent = |row: &PowRow| row.sender.map(|sender| (sender, -row.sent));
    let received = |row: &PowRow| row.recipient.map(|recipient| (recipient, row.received));
    let parts = block.rows.iter().flat_map(|row| [sent(row), received(row)]);
    let mut parts: Vec<(PowAddress, i128)> = parts.flatten().collect();
    parts.sort_unstable_by_key(|(address, _)| *address);
    parts.dedup_by(|next, sum| {
        let is_same = next.0 == sum.0;
        if is_same {
            sum.1 += next.1;
        }
        is_same
    });
    parts.retain(|(_, grown)| *grown != 0);
    // Kept in thousands of blocks: as long as it has to be.
    parts.as_slice().to_vec()
}

/// The weight that a balance in units is worth; nothing when it is worth none.
pub fn weight_of(balance: i128) -> Option<u8> {
    let weights = (balance / (COLLATERAL * COIN)).clamp(0, i128::from(WEIGHT_MAX));
    u8::try_from(weights).ok().filter(|weight| *weight > 0)
}

/// What a seal takes in of a registry (§5): the first by (since, address), as many as fit; sorted by address.
pub fn sealable<'a>(registered: impl Iterator<Item = &'a Registered>) -> Vec<Registered> {
    let mut all: Vec<Registered> = registered.copied().collect();
    all.sort_unstable_by_key(|hn| (hn.since, hn.address));
    all.truncate(HNS_MAX);
    all.sort_unstable_by_key(|hn| hn.address);
    all
}
