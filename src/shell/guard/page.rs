//! The bytes of the sign-state file: pages of 4 KiB, each whole in itself. No IO.
//!
//! magic (8) ‖ format (u32) ‖ length (u32) ‖ canonical [`Content`] ‖ zeros ‖ H("sign-state", all before).

use serde::{Deserialize, Serialize};

use crate::types::codec;
use crate::types::hash::{Hash, hash};
use crate::types::key::PublicKey;
use crate::types::sign::SignState;

/// What a disk writes at once, on flash as elsewhere.
pub const PAGE_BYTES: usize = 4096;
/// Version of the page and of the state in it.
pub const FORMAT: u32 = 2;

const MAGIC: &[u8; 8] = b"hn-sign\n";
const HEAD_BYTES: usize = 16;
const CHECKSUM_AT: usize = PAGE_BYTES - 32;

/// What a page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Grows with each write.
    pub sequence: u64,
    pub network_id: Hash,
    pub public_key: PublicKey,
    pub state: SignState,
}

/// Why a page says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageError {
    /// Torn, flipped, or never a page.
    Damaged,
    /// A whole page of a later version.
    Newer(u32),
}

/// The page that says `content`.
pub fn encode(content: &Content) -> [u8; PAGE_BYTES] {
    let bytes = codec::encode(content);
    let length = u32::try_from(bytes.len()).expect("a content has about a hundred bytes");
    let mut page = [0; PAGE_BYTES];
    page[..8].copy_from_slice(MAGIC);
    page[8..12].copy_from_slice(&FORMAT.to_be_bytes());
    page[12..HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
    page[HEAD_BYTES..HEAD_BYTES + bytes.len()].copy_from_slice(&bytes);
    let checksum = hash("sign-state", &[&page[..CHECKSUM_AT]]);
    page[CHECKSUM_AT..].copy_from_slice(&checksum.0);
    page
}

/// What a page says, if it is whole.
pub fn decode(page: &[u8; PAGE_BYTES]) -> Result<Content, PageError> {
    let (body, checksum) = page.split_at(CHECKSUM_AT);
    if hash("sign-state", &[body]).0 != checksum || !body.starts_with(MAGIC) {
        return Err(PageError::Damaged);
    }
    let number = |at: usize| {
        let bytes = body[at..at + 4].try_into().expect("four bytes");
        u32::from_be_bytes(bytes)
    };
    match number(8) {
        FORMAT => {}
        newer if newer > FORMAT => return Err(PageError::Newer(newer)),
        _ => return Err(PageError::Damaged),
    }
    let length = usize::try_from(number(12)).map_err(|_| PageError::Damaged)?;
    let bytes = body[HEAD_BYTES..].get(..length).ok_or(PageError::Damaged)?;
    codec::decode(bytes, bytes.len()).map_err(|_| PageError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            sequence: 300,
            network_id: Hash([1; 32]),
            public_key: PublicKey([2; 32]),
            state: SignState::default(),
        }
    }

    fn sealed(mut page: [u8; PAGE_BYTES]) -> [u8; PAGE_BYTES] {
        let checksum = hash("sign-state", &[&page[..CHECKSUM_AT]]);
        page[CHECKSUM_AT..].copy_from_slice(&checksum.0);
        page
    }

    #[test]
    fn a_page_with_any_bit_changed_says_nothing() {
        let page = encode(&content());
        assert_eq!(decode(&page), Ok(content()));
        for at in 0..PAGE_BYTES {
            let mut flipped = page;
            flipped[at] ^= 1 << (at % 8);
            assert_eq!(decode(&flipped), Err(PageError::Damaged), "byte {at}");
        }
    }

    #[test]
    fn a_whole_page_is_read_with_suspicion_too() {
        let page = encode(&content());
        let mut newer = page;
        newer[11] = 3;
        assert_eq!(decode(&sealed(newer)), Err(PageError::Newer(3)));
        let mut older = page;
        older[11] = 0;
        assert_eq!(decode(&sealed(older)), Err(PageError::Damaged));
        for length in [0, 1, 4064, u32::MAX] {
            let mut wrong = page;
            wrong[12..16].copy_from_slice(&length.to_be_bytes());
            assert_eq!(decode(&sealed(wrong)), Err(PageError::Damaged), "length {length}");
        }
    }
}
