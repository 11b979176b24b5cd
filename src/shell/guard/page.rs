//! The bytes of the sign-state file: pages of 4 KiB, each whole in itself. No IO.
//!
//! magic (8) ‖ format (u32) ‖ length (u32) ‖ canonical [`Content`] ‖ zeros ‖ H("sign-state", all before).
//!
//! Format 1 knew blocks only. It is read, and written again as format 2.

use serde::{Deserialize, Serialize};

use crate::types::codec;
use crate::types::hash::{Hash, hash};
use crate::types::key::PublicKey;
use crate::types::sign::{BlockRecord, SignState};

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
    /// The file it was written to, by what only that file has; nothing in format 1.
    pub place: Option<u64>,
}

/// What a page of format 1 said.
#[derive(Serialize, Deserialize)]
struct FirstContent {
    sequence: u64,
    network_id: Hash,
    public_key: PublicKey,
    block: Option<BlockRecord>,
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
    let length = usize::try_from(number(12)).map_err(|_| PageError::Damaged)?;
    let bytes = body[HEAD_BYTES..].get(..length);
    match (number(8), bytes) {
        (newer, _) if newer > FORMAT => Err(PageError::Newer(newer)),
        (FORMAT, Some(bytes)) => codec::decode(bytes, bytes.len()).map_err(|_| PageError::Damaged),
        (1, Some(bytes)) => {
            let first = codec::decode::<FirstContent>(bytes, bytes.len());
            first.map(Content::from).map_err(|_| PageError::Damaged)
        }
        _ => Err(PageError::Damaged),
    }
}

impl From<FirstContent> for Content {
    fn from(first: FirstContent) -> Content {
        let FirstContent { sequence, network_id, public_key, block } = first;
        let state = SignState { block, ..SignState::default() };
        Content { sequence, network_id, public_key, state, place: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{Round, Slot};
    use crate::types::hash::BlockHash;
    use crate::types::hex;

    fn content() -> Content {
        Content {
            sequence: 300,
            network_id: Hash([1; 32]),
            public_key: PublicKey([2; 32]),
            state: SignState::default(),
            place: Some(7),
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

    /// A page as the first version wrote it, of round 300 slot 4.
    fn first_format() -> [u8; PAGE_BYTES] {
        let block = "01ac0204".to_owned() + &"07".repeat(32);
        let owner = "01".repeat(32) + &"02".repeat(32);
        let bytes = hex::decode(&("ac02".to_owned() + &owner + &block)).expect("hex");
        let mut page = [0; PAGE_BYTES];
        page[..8].copy_from_slice(MAGIC);
        page[11] = 1;
        page[15] = u8::try_from(bytes.len()).expect("short");
        page[HEAD_BYTES..HEAD_BYTES + bytes.len()].copy_from_slice(&bytes);
        sealed(page)
    }

    #[test]
    fn a_page_of_the_first_format_says_what_block_was_signed() {
        let hash = BlockHash(Hash([7; 32]));
        let block = Some(BlockRecord { round: Round(300), slot: Slot(4), hash });
        let state = SignState { block, ..SignState::default() };
        let expected = Content { state, place: None, ..content() };
        assert_eq!(decode(&first_format()), Ok(expected));
        let mut longer = first_format();
        longer[15] += 1;
        assert_eq!(decode(&sealed(longer)), Err(PageError::Damaged));
    }
}
