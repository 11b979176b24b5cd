//! What the addresses of the PoW ledger hold (`docs/protocol.md` §5).
//!
//! A first read looks two of them up in each of a million rows. So they stand in many small maps, by the first bits of the
//! address: a search is short, and nothing is ever moved as a whole, as a hash table is when it grows, while the loop
//! stands still. Whoever makes up addresses of one beginning gets one map as deep as a single one would be.

use std::collections::BTreeMap;

use crate::types::pow::PowAddress;

/// Bits of an address that tell the maps apart.
const BITS: u32 = 10;

/// Units by address. Nothing is kept of who has none.
#[derive(Debug, Clone, Default)]
pub struct Balances {
    /// None at all before the first balance.
    maps: Vec<BTreeMap<PowAddress, i128>>,
}

impl Balances {
    /// Units that an address holds.
    pub fn of(&self, address: &PowAddress) -> i128 {
        let map = self.maps.get(map_of(address));
        map.and_then(|map| map.get(address)).copied().unwrap_or(0)
    }

    /// Lets one grow, or shrink.
    pub fn grow(&mut self, address: &PowAddress, by: i128) {
        if self.maps.is_empty() {
            self.maps.resize_with(1 << BITS, BTreeMap::new);
        }
        let map = &mut self.maps[map_of(address)];
        let balance = map.entry(*address).or_default();
        *balance += by;
        if *balance == 0 {
            map.remove(address);
        }
    }

    /// All that are not zero, by address.
    pub fn iter(&self) -> impl Iterator<Item = (PowAddress, i128)> + '_ {
        self.maps.iter().flatten().map(|(address, units)| (*address, *units))
    }
}

impl FromIterator<(PowAddress, i128)> for Balances {
    fn from_iter<I: IntoIterator<Item = (PowAddress, i128)>>(all: I) -> Balances {
        let mut balances = Balances::default();
        all.into_iter().for_each(|(address, units)| balances.grow(&address, units));
        balances
    }
}

impl PartialEq for Balances {
    fn eq(&self, other: &Balances) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Balances {}

/// Which map an address stands in: they ascend as the addresses do.
fn map_of(address: &PowAddress) -> usize {
    let [first, second, ..] = address.0;
    usize::from(u16::from_be_bytes([first, second]) >> (u16::BITS - BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balances_come_by_address_and_none_is_kept_at_zero() {
        let address = |head: [u8; 3]| {
            let mut bytes = [7; 28];
            bytes[..3].copy_from_slice(&head);
            PowAddress(bytes)
        };
        let heads = [[0, 0, 0], [0, 63, 255], [0, 64, 0], [1, 0, 0], [255, 255, 255]];
        let mut balances: Balances =
            heads.iter().rev().zip(1..).map(|(head, units)| (address(*head), units)).collect();
        let all: Vec<_> = heads.iter().map(|head| address(*head)).zip([5, 4, 3, 2, 1]).collect();
        assert_eq!(balances.iter().collect::<Vec<_>>(), all);
        balances.grow(&address([0, 64, 0]), -5);
        assert_eq!((balances.of(&address([0, 64, 0])), balances.of(&address([0, 64, 1]))), (-2, 0));
        for (address, units) in balances.clone().iter() {
            balances.grow(&address, -units);
        }
        assert_eq!(balances, Balances::default());
        assert_eq!(balances.iter().count(), 0);
    }
}
