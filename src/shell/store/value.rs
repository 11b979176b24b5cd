//! Values as the database holds them: with a checksum behind, because LMDB has none.
//!
//! Flash cards lose bits and pages. A block that comes back changed is refused by its hash, an undo record is refused by
//! nobody, and would part this node from the others.

use crate::machine::records::Table;
use crate::types::hash::hash;

/// Enough against accidents; against people the directory is closed.
const CHECKSUM_BYTES: usize = 8;

/// The stored form of a value.
pub(super) fn seal(table: Table, key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(value.len() + CHECKSUM_BYTES);
    stored.extend_from_slice(value);
    stored.extend_from_slice(&checksum(table, key, value));
    stored
}

/// The value of a stored form; nothing when it is not what was written under this key.
pub(super) fn unseal<'a>(table: Table, key: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
    let (value, sum) = stored.split_at_checked(stored.len().checked_sub(CHECKSUM_BYTES)?)?;
    (sum == checksum(table, key, value)).then_some(value)
}

fn checksum(table: Table, key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash("stored", &[table.name().as_bytes(), key, value]).leading_u64().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_under_its_own_key_only() {
        let stored = seal(Table::Main, b"key", b"value");
        assert_eq!(unseal(Table::Main, b"key", &stored), Some(b"value".as_slice()));
        assert_eq!(unseal(Table::Main, b"kez", &stored), None);
        assert_eq!(unseal(Table::Pool, b"key", &stored), None);
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 1;
            assert_eq!(unseal(Table::Main, b"key", &flipped), None, "byte {at}");
            assert_eq!(unseal(Table::Main, b"key", &stored[..at]), None, "{at} bytes");
        }
    }
}
