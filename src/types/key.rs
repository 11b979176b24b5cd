//! Ed25519 keys and signatures (`docs/protocol.md` §1, §4).
//!
//! `sign(tag, x)` signs `"hypernode" ‖ H(tag, network_id ‖ x)` without noise: the same key and input give the same
//! signature, and one made for a network or a kind of object is worth nothing for another. What a valid signature is,
//! ed25519-compact 2.6 decides.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::clock::Round;
use super::hash::{Hash, Hasher, hash};
use super::hex;

/// Verified signatures remembered by one that is not told otherwise: about 1.5 MiB.
const VERIFIED_MAX: usize = 16_384;
/// Signatures of our own remembered; which of them leave first does not matter.
const SIGNED_MAX: usize = 1024;

/// What a signature is for; its text is the tag of §1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Message,
    Block,
    Vote,
    Identity,
}

impl Purpose {
    fn tag(self) -> &'static str {
        match self {
            Purpose::Message => "message",
            Purpose::Block => "block",
            Purpose::Vote => "vote",
            Purpose::Identity => "identity",
        }
    }
}

/// Ed25519 public key, 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

/// Ed25519 signature, 64 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature(pub [u8; 64]);

/// The secret half. Never printed, never serialised outside its PEM file.
#[derive(Clone)]
pub struct SecretKey(ed25519_compact::KeyPair);

/// Why a key file's text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemError {
    /// No PKCS#8 Ed25519 key in PEM.
    Format,
    /// A key, with something beside it or written another way.
    NotExact,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PemError::Format => "not an Ed25519 key in PKCS#8 PEM",
            PemError::NotExact => "text beside the key, or an unusual encoding of it",
        })
    }
}

impl std::error::Error for PemError {}

fn signed_text(purpose: Purpose, network_id: &Hash, parts: &[&[u8]]) -> [u8; 41] {
    let mut hasher = Hasher::new(purpose.tag());
    hasher.update(&network_id.0);
    for part in parts {
        hasher.update(part);
    }
    let mut text = [0; 41];
    text[..9].copy_from_slice(b"hypernode");
    text[9..].copy_from_slice(&hasher.finish().0);
    text
}

impl SecretKey {
    /// The key of a 32-byte seed.
    pub fn from_seed(seed: [u8; 32]) -> SecretKey {
        SecretKey(ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new(seed)))
    }

    /// A key from its PKCS#8 PEM file; only the exact text that `to_pem` writes.
    pub fn from_pem(text: &str) -> Result<SecretKey, PemError> {
        let secret = ed25519_compact::SecretKey::from_pem(text).map_err(|_| PemError::Format)?;
        let key = SecretKey::from_seed(*secret.seed());
        // The library takes text around the block and keys whose public half does not belong to them.
        if key.to_pem().trim_end() == text.trim_end() { Ok(key) } else { Err(PemError::NotExact) }
    }

    /// PKCS#8 PEM, with a line end after it.
    pub fn to_pem(&self) -> String {
        let mut text = self.0.sk.to_pem();
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    /// The secret of a round: H("secret", key seed ‖ network_id ‖ round). It tells nothing of the key, and nobody else
    /// can know it before it is revealed (`docs/protocol.md` §6).
    pub fn secret_of(&self, network_id: &Hash, round: Round) -> Hash {
        hash("secret", &[&*self.0.sk.seed(), &network_id.0, &round.0.to_be_bytes()])
    }

    /// sign(tag, parts), deterministic.
    pub fn sign(&self, purpose: Purpose, network_id: &Hash, parts: &[&[u8]]) -> Signature {
        Signature(*self.0.sk.sign(signed_text(purpose, network_id, parts), None))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secret key of {:?}", self.public())
    }
}

impl PublicKey {
    /// Checks a signature, without any cache. Use a [`Verifier`] where signatures repeat.
    pub fn verify(
        &self,
        purpose: Purpose,
        network_id: &Hash,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> bool {
        self.verify_text(&signed_text(purpose, network_id, parts), signature)
    }

    fn verify_text(&self, text: &[u8; 41], signature: &Signature) -> bool {
        ed25519_compact::PublicKey::new(self.0)
            .verify(text, &ed25519_compact::Signature::new(signature.0))
            .is_ok()
    }
}

/// Checks signatures and remembers the good ones: gossip repeats, and all nodes of a simulation share one.
///
/// It remembers a pure function, so that sharing it changes no result.
#[derive(Clone)]
pub struct Verifier(Rc<RefCell<Verified>>);

struct Verified {
    most: usize,
    known: BTreeSet<Hash>,
    order: VecDeque<Hash>,
    /// What was signed here, by key and text.
    made: BTreeMap<Hash, Signature>,
}

impl Default for Verifier {
    fn default() -> Verifier {
        Verifier::remembering(VERIFIED_MAX)
    }
}

impl Verifier {
    /// One that remembers so many signatures at most.
    pub fn remembering(most: usize) -> Verifier {
        let (known, order, made) = (BTreeSet::new(), VecDeque::new(), BTreeMap::new());
        Verifier(Rc::new(RefCell::new(Verified { most, known, order, made })))
    }

    /// Whether `signature` is `key`'s for this purpose, network and content.
    pub fn verify(
        &self,
        key: &PublicKey,
        purpose: Purpose,
        network_id: &Hash,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> bool {
        let text = signed_text(purpose, network_id, parts);
        let name = Self::name(key, &text, signature);
        if self.0.borrow().known.contains(&name) {
            return true;
        }
        let good = key.verify_text(&text, signature);
        if good {
            self.remember(name);
        }
        good
    }

    /// Whether the signature was verified before, and is remembered.
    pub fn knows(
        &self,
        key: &PublicKey,
        purpose: Purpose,
        network_id: &Hash,
        parts: &[&[u8]],
        signature: &Signature,
    ) -> bool {
        let text = signed_text(purpose, network_id, parts);
        self.0.borrow().known.contains(&Self::name(key, &text, signature))
    }

    /// Signs, and remembers the signature as good. What is remembered is not made again: simulated nodes greet each other
    /// thousands of times, which was half of a run.
    pub fn sign(
        &self,
        key: &SecretKey,
        purpose: Purpose,
        network_id: &Hash,
        parts: &[&[u8]],
    ) -> Signature {
        let text = signed_text(purpose, network_id, parts);
        let made = hash("signed", &[&key.public().0, &text]);
        if let Some(signature) = self.0.borrow().made.get(&made) {
            return *signature;
        }
        let signature = key.sign(purpose, network_id, parts);
        self.remember(Self::name(&key.public(), &text, &signature));
        let mut verified = self.0.borrow_mut();
        if verified.made.len() >= SIGNED_MAX {
            verified.made.pop_first();
        }
        verified.made.insert(made, signature);
        signature
    }

    fn name(key: &PublicKey, text: &[u8; 41], signature: &Signature) -> Hash {
        hash("verified", &[&key.0, text, &signature.0])
    }

    fn remember(&self, name: Hash) {
        let mut verified = self.0.borrow_mut();
        if verified.known.insert(name) {
            verified.order.push_back(name);
            if verified.order.len() > verified.most {
                let oldest = verified.order.pop_front().expect("it is not empty");
                verified.known.remove(&oldest);
            }
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", hex::encode(&self.0[..4]))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signature {}", hex::encode(&self.0[..4]))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Hash(self.0).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PublicKey, D::Error> {
        Hash::deserialize(deserializer).map(|hash| PublicKey(hash.0))
    }
}

// serde has no arrays of 64: two halves, which postcard writes as 64 raw bytes.
impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.serialize_str(&hex::encode(&self.0));
        }
        let (low, high) = self.0.split_at(32);
        let half = |part: &[u8]| <[u8; 32]>::try_from(part).expect("half of 64 bytes");
        (half(low), half(high)).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Signature, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            return hex::decode_array(&text).map(Signature).map_err(serde::de::Error::custom);
        }
        let (low, high) = <([u8; 32], [u8; 32])>::deserialize(deserializer)?;
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&low);
        bytes[32..].copy_from_slice(&high);
        Ok(Signature(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_counts_for_its_purpose_network_and_content_only() {
        let key = SecretKey::from_seed([7; 32]);
        let network = Hash([1; 32]);
        let good = key.sign(Purpose::Block, &network, &[b"x"]);
        let public = key.public();
        assert_eq!(good, key.sign(Purpose::Block, &network, &[b"x"]));
        assert!(public.verify(Purpose::Block, &network, &[b"x"], &good));
        assert!(!public.verify(Purpose::Message, &network, &[b"x"], &good));
        assert!(!public.verify(Purpose::Block, &Hash([2; 32]), &[b"x"], &good));
        assert!(!public.verify(Purpose::Block, &network, &[b"y"], &good));
        let verifier = Verifier::default();
        for _ in 0..2 {
            assert!(verifier.verify(&public, Purpose::Block, &network, &[b"x"], &good));
            assert!(!verifier.verify(&public, Purpose::Block, &network, &[b"y"], &good));
        }
    }

    #[test]
    fn a_key_file_is_taken_exactly_or_not_at_all() {
        let key = SecretKey::from_seed([9; 32]);
        let pem = key.to_pem();
        assert_eq!(SecretKey::from_pem(&pem).map(|key| key.public()).ok(), Some(key.public()));
        let error = |text: String| SecretKey::from_pem(&text).err();
        assert_eq!(error(format!("a note\n{pem}")), Some(PemError::NotExact));
        assert_eq!(error(format!("{pem}more")), Some(PemError::NotExact));
        assert_eq!(error("nonsense".to_owned()), Some(PemError::Format));
    }
}
