//! Hashes: the one hash function of the protocol and the names of what it hashes.
//!
//! `H(tag, x)` is BLAKE2b-256 over `len(tag) as u8 ‖ tag ‖ x` (`docs/protocol.md` §1). The tag keeps a hash made
//! for one purpose from being worth anything for another.

use std::fmt;
use std::str::FromStr;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hex;

/// 32 bytes of BLAKE2b-256. Text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Hash(pub [u8; 32]);

/// Hash of a signed header: H("block", header ‖ signature).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockHash(pub Hash);

/// Id of a message: H("message", body ‖ signature).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TxId(pub Hash);

/// H(tag, x), where x is `parts` one after another.
pub fn hash(tag: &str, parts: &[&[u8]]) -> Hash {
    let mut hasher = Hasher::new(tag);
    for part in parts {
        hasher.update(part);
    }
    hasher.finish()
}

/// H(tag, …) over input that comes in pieces.
#[derive(Clone)]
pub struct Hasher(Blake2b<U32>);

impl Hasher {
    /// Starts H(tag, …). Tags are short constants of the protocol.
    pub fn new(tag: &str) -> Hasher {
        let mut inner = Blake2b::<U32>::new();
        let length = u8::try_from(tag.len()).expect("tags are short constants");
        inner.update([length]);
        inner.update(tag.as_bytes());
        Hasher(inner)
    }

    /// Adds bytes to the input.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all bytes added.
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

impl Hash {
    /// The first eight bytes as a big-endian number.
    pub fn leading_u64(&self) -> u64 {
        self.u64_at(0)
    }

    /// Bytes `8 × index` to `8 × index + 7` as a big-endian number; `index` 0 to 3.
    pub fn u64_at(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.0[8 * index..8 * index + 8]);
        u64::from_be_bytes(bytes)
    }

    /// The first eight hex digits, for log lines and tables.
    pub fn short(&self) -> String {
        hex::encode(&self.0[..4])
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for Hash {
    type Err = hex::HexError;

    fn from_str(text: &str) -> Result<Hash, hex::HexError> {
        hex::decode_array(text).map(Hash)
    }
}

// Hex for people (JSON), raw bytes for the wire and the disk.
impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Hash)
        }
    }
}

impl fmt::Display for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BlockHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {:?}", self.0)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {:?}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_part_of_the_input() {
        assert_ne!(hash("a", &[b"bc"]), hash("ab", &[b"c"]));
        assert_eq!(hash("a", &[b"b", b"c"]), hash("a", &[b"bc"]));
    }

    #[test]
    fn text_form_round_trips_and_refuses_the_rest() {
        let value = hash("test", &[b"x"]);
        assert_eq!(value.to_string().parse::<Hash>(), Ok(value));
        assert!("00".parse::<Hash>().is_err());
        assert!("g".repeat(64).parse::<Hash>().is_err());
    }
}
