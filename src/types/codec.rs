//! Canonical bytes: postcard, and on the way in only what encodes to the same bytes again.
//!
//! postcard itself accepts over-long numbers and trailing bytes; without the second look one object would have many
//! hashes (`docs/protocol.md` §1).

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of most values: a header, a message, an answer without bodies.
const USUAL: usize = 384;

/// Why bytes are not the value expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecError {
    /// More bytes than this kind of value may have.
    TooLong,
    /// No value of this kind.
    Malformed,
    /// A value, in other bytes than its canonical ones.
    NotCanonical,
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CodecError::TooLong => "too long",
            CodecError::Malformed => "malformed",
            CodecError::NotCanonical => "not in canonical form",
        })
    }
}

impl std::error::Error for CodecError {}

/// The canonical bytes of a value.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Most values are shorter than this: growing byte by byte costs more than encoding.
    let bytes = Vec::with_capacity(USUAL);
    postcard::to_extend(value, bytes).expect("plain values in memory always encode")
}

/// The value of at most `max` canonical bytes.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong);
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| CodecError::Malformed)?;
    if encode(&value) == bytes { Ok(value) } else { Err(CodecError::NotCanonical) }
}

/// The value with which bytes begin, canonical or not: for a look ahead before room is made for the rest.
pub fn decode_start<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    postcard::take_from_bytes(bytes).map(|(value, _)| value).map_err(|_| CodecError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_bytes_decode() {
        assert_eq!(decode::<u32>(&[5], 4), Ok(5));
        assert_eq!(decode::<u32>(&[0x85, 0], 4), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[5, 0], 4), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[0x80], 4), Err(CodecError::Malformed));
        assert_eq!(decode::<u32>(&[5], 0), Err(CodecError::TooLong));
    }
}
