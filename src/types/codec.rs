//! Canonical bytes: postcard, and on the way in only what encodes to the same bytes again.
//!
//! postcard itself accepts over-long numbers and trailing bytes; without the second look one object would have many
//! hashes (`docs/protocol.md` §1).

use std::fmt;

use postcard::ser_flavors::Flavor;
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
    let bytes = Collect(Vec::with_capacity(USUAL));
    postcard::serialize_with_flavor(value, bytes).expect("plain values in memory always encode")
}

/// The value of at most `max` canonical bytes.
pub fn decode<T: Serialize + DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    if bytes.len() > max {
        return Err(CodecError::TooLong);
    }
    let value: T = postcard::from_bytes(bytes).map_err(|_| CodecError::Malformed)?;
    match postcard::serialize_with_flavor(&value, Compare(bytes)) {
        Ok([]) => Ok(value),
        Ok(_) | Err(_) => Err(CodecError::NotCanonical),
    }
}

/// The value with which bytes begin, canonical or not: for a look ahead before room is made for the rest.
pub fn decode_start<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, CodecError> {
    postcard::take_from_bytes(bytes).map(|(value, _)| value).map_err(|_| CodecError::Malformed)
}

/// Where encoded bytes go: keys and hashes come byte by byte, each of which postcard's own way appends as an iterator.
struct Collect(Vec<u8>);

impl Flavor for Collect {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}

/// postcard has no error of ours: which it is, nobody sees.
const DIFFERENT: postcard::Error = postcard::Error::SerializeBufferFull;

/// What is due of the bytes that a value must encode to: none of them is made to be compared.
struct Compare<'a>(&'a [u8]);

impl<'a> Flavor for Compare<'a> {
    type Output = &'a [u8];

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        // By hand: to compare slices would be a call for each byte.
        let (_, rest) = self.0.split_first().filter(|(due, _)| **due == byte).ok_or(DIFFERENT)?;
        self.0 = rest;
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0 = self.0.strip_prefix(bytes).ok_or(DIFFERENT)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<&'a [u8]> {
        Ok(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::{BlockHash, Hash};

    #[test]
    fn only_canonical_bytes_decode() {
        let value = (BlockHash(Hash([7; 32])), 300_u64, vec![1_u8, 2, 3]);
        let mut bytes = encode(&value);
        assert_eq!(bytes, postcard::to_stdvec(&value).unwrap());
        assert_eq!(decode::<(BlockHash, u64, Vec<u8>)>(&bytes, 64), Ok(value));
        bytes.push(0);
        assert_eq!(decode::<(BlockHash, u64, Vec<u8>)>(&bytes, 64), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[5], 4), Ok(5));
        assert_eq!(decode::<u32>(&[0x85, 0], 4), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[5, 0], 4), Err(CodecError::NotCanonical));
        assert_eq!(decode::<u32>(&[0x80], 4), Err(CodecError::Malformed));
        assert_eq!(decode::<u32>(&[5], 0), Err(CodecError::TooLong));
    }
}
