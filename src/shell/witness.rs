//! What the database has seen of the sign state, so that an older one in its place is noticed
//! (`docs/adr/0009-sign-state-custody.md`).
//!
//! A copy in another file is known by its file. Bytes that were written over the file itself (`cp`, `rsync --inplace`) are
//! not; the database, which lies elsewhere, then knows of later signatures than the file.

use crate::types::codec;
use crate::types::hash::hash;
use crate::types::key::PublicKey;
use crate::types::sign::{BlockRecord, SignState, VoteRecord};

/// Against lost bits: a false alarm keeps a node from signing.
const CHECKSUM_BYTES: usize = 8;
/// Ours have 200.
const BYTES_MAX: usize = 512;

type Content = (PublicKey, Option<BlockRecord>, Option<VoteRecord>);

/// The stored form of what a key has signed.
pub fn encode(key: PublicKey, state: &SignState) -> Vec<u8> {
    let mut stored = codec::encode::<Content>(&(key, state.block, state.vote));
    let sum = checksum(&stored);
    stored.extend_from_slice(&sum);
    stored
}

/// What this key had signed; nothing where the bytes are damaged or of another key.
pub fn decode(stored: &[u8], key: PublicKey) -> SignState {
    let (block, vote) = match content(stored) {
        Some((of, block, vote)) if of == key => (block, vote),
        Some(_) | None => (None, None),
    };
    SignState { block, vote, ..SignState::default() }
}

/// Whether these bytes are what was written, of whatever key.
pub fn is_whole(stored: &[u8]) -> bool {
    content(stored).is_some()
}

fn content(stored: &[u8]) -> Option<Content> {
    let (bytes, sum) = stored.split_at_checked(stored.len().checked_sub(CHECKSUM_BYTES)?)?;
    (sum == checksum(bytes)).then(|| codec::decode(bytes, BYTES_MAX).ok())?
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    hash("witness", &[bytes]).leading_u64().to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::{Round, Slot};
    use crate::types::hash::{BlockHash, Hash};
    use crate::types::seal::Step;
    use crate::types::sign::Lock;

    #[test]
    fn only_what_was_written_of_this_key_comes_back() {
        let block = BlockRecord { round: Round(7), slot: Slot(3), hash: BlockHash(Hash([9; 32])) };
        let (index, view, step, value) = (8, 2, Step::Commit, Some(Hash([5; 32])));
        let lock = Some(Lock { view, value: Hash([5; 32]) });
        let vote = VoteRecord { index, view, step, value, lock };
        let state = SignState { block: Some(block), vote: Some(vote), ..SignState::default() };
        let (ours, theirs) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let stored = encode(ours, &state);
        assert_eq!(decode(&stored, ours), state);
        assert_eq!(decode(&stored, theirs), SignState::default());
        for at in 0..stored.len() {
            let mut flipped = stored.clone();
            flipped[at] ^= 4;
            assert!(!is_whole(&flipped) && !is_whole(&stored[..at]), "byte {at}");
            assert_eq!(decode(&flipped, ours), SignState::default());
        }
    }
}
