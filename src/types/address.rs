//! Addresses of HNs: a prefix that names the network, a hash of the public key, a checksum (`docs/protocol.md` §4).

use std::fmt;

use blake2::digest::consts::{U4, U20};
use blake2::{Blake2b, Digest};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::key::PublicKey;

/// Characters of the longest address: 25 bytes are at most 35 in base58; more are not worth decoding.
const TEXT_MAX: usize = 35;

/// `prefix ‖ BLAKE2b-160(public key) ‖ BLAKE2b-32(prefix ‖ hash)`, 25 bytes; base58 for people.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(pub [u8; 25]);

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressError {
    /// A character outside base58, at this position from 1.
    Character(char, usize),
    /// Not 25 bytes; this many characters.
    Length(usize),
    /// A digit mistyped: the checksum does not belong to the rest.
    Checksum,
    /// An address, of a network with this prefix.
    Network { found: u8, expected: u8 },
}

impl AddressError {
    /// Stable name of the error, for programs.
    pub fn code(self) -> &'static str {
        match self {
            AddressError::Character(..) => "character",
            AddressError::Length(_) => "length",
            AddressError::Checksum => "checksum",
            AddressError::Network { .. } => "network",
        }
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::Character(character, at) => {
                write!(f, "character {at}, {character:?}, is not used in addresses")
            }
            AddressError::Length(found) => {
                write!(f, "{found} characters do not hold the 25 bytes of an address")
            }
            AddressError::Checksum => {
                f.write_str("the checksum does not fit: a character is mistyped")
            }
            AddressError::Network { found, expected } => write!(
                f,
                "an address of another network: its prefix is {found:#04x}, this network's is {expected:#04x}"
            ),
        }
    }
}

impl std::error::Error for AddressError {}

impl Address {
    /// The address of an Ed25519 key.
    pub fn of(key: &PublicKey, prefix: u8) -> Address {
        Address::of_bytes(&key.0, prefix)
    }

    /// The address of a public key of any length: keys of the Python network have 64 bytes.
    pub fn of_bytes(key: &[u8], prefix: u8) -> Address {
        let mut bytes = [0; 25];
        bytes[0] = prefix;
        bytes[1..21].copy_from_slice(&Blake2b::<U20>::digest(key));
        let checksum = Blake2b::<U4>::digest(&bytes[..21]);
        bytes[21..].copy_from_slice(&checksum);
        Address(bytes)
    }

    /// An address from its text, of the network with this prefix.
    pub fn parse(text: &str, prefix: u8) -> Result<Address, AddressError> {
        let bad = text.char_indices().find(|(_, c)| !is_base58(*c));
        if let Some((at, character)) = bad {
            return Err(AddressError::Character(character, text[..at].chars().count() + 1));
        }
        if text.len() > TEXT_MAX {
            return Err(AddressError::Length(text.len()));
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| AddressError::Length(text.len()))?;
        let bytes: [u8; 25] = bytes.try_into().map_err(|_| AddressError::Length(text.len()))?;
        if Blake2b::<U4>::digest(&bytes[..21])[..] != bytes[21..] {
            return Err(AddressError::Checksum);
        }
        if bytes[0] != prefix {
            return Err(AddressError::Network { found: bytes[0], expected: prefix });
        }
        Ok(Address(bytes))
    }
}

fn is_base58(character: char) -> bool {
    character.is_ascii_alphanumeric() && !matches!(character, '0' | 'O' | 'I' | 'l')
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(&self.0).into_string())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Address, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            let prefix =
                bs58::decode(&text).into_vec().ok().and_then(|bytes| bytes.first().copied());
            Address::parse(&text, prefix.unwrap_or(0)).map_err(serde::de::Error::custom)
        } else {
            <[u8; 25]>::deserialize(deserializer).map(Address)
        }
    }
}
