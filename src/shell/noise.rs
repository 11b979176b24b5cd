//! The encrypted channel between two nodes, on byte buffers (`docs/protocol.md` §11): preambles in the clear, then
//! Noise XX with both preambles as prologue, then records `u16 length ‖ ciphertext`.
//!
//! No sockets and no time here. Who a peer is, is not settled here either: static keys are fresh in each process, and
//! the identity is signed over the hash of the handshake. A [`Sealer`] and an [`Opener`] of one channel count their own
//! records, so that reading and writing need not take turns.

use std::fmt;
use std::rc::Rc;

use snow::{Builder, HandshakeState, StatelessTransportState};

use crate::types::hash::Hash;
use crate::types::network::Network;

/// Bytes of a preamble: magic, lowest and highest version, network id.
pub const PREAMBLE_BYTES: usize = 40;
/// Most plaintext in a record: a Noise message has at most 65,535 bytes, 16 of them the tag.
pub const RECORD_PLAIN_MAX: usize = 65_519;

/// Versions of the peer protocol that this software speaks.
const VERSION_LOWEST: u16 = 1;
const VERSION_HIGHEST: u16 = 1;
const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
/// Longest message of the handshake, the second: two keys and two tags.
const HANDSHAKE_MESSAGE_MAX: usize = 96;
const LENGTH_BYTES: usize = 2;
const TAG_BYTES: usize = 16;
/// An empty buffer larger than this is given back: most of the time a channel is idle.
const KEEP_BYTES: usize = 32 * 1024;

/// What each side says in the clear before anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble {
    pub magic: u32,
    pub version_lowest: u16,
    pub version_highest: u16,
    pub network_id: Hash,
}

/// Who dialled writes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Dialler,
    Acceptor,
}

/// Why there is no channel (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoiseError {
    /// Something else speaks there.
    Magic { theirs: u32 },
    /// No version of the protocol in common.
    Version { lowest: u16, highest: u16 },
    /// A node of another network.
    Network { theirs: Hash },
    /// A message of the handshake is not what is due; a changed prologue looks like this too.
    Handshake,
    /// A record that is empty, changed, repeated or out of order.
    Record,
}

/// The X25519 key of this process.
#[derive(Clone)]
pub struct StaticKey(Rc<Vec<u8>>);

/// A handshake under way. Take `output` after each `input`, also after one that failed: the other side learns why.
pub struct Handshake {
    role: Role,
    ours: Preamble,
    key: StaticKey,
    noise: Option<HandshakeState>,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A channel that stands.
pub struct Channel {
    /// Hash of the handshake: the same on both sides, and on no other connection.
    pub hash: Hash,
    pub sealer: Sealer,
    pub opener: Opener,
}

/// Turns plaintext into records.
pub struct Sealer {
    state: Rc<StatelessTransportState>,
    records: u64,
}

/// Turns records, in whatever pieces they come, into plaintext. Holds at most one record beyond what it was given.
pub struct Opener {
    state: Rc<StatelessTransportState>,
    records: u64,
    input: Vec<u8>,
}

impl Preamble {
    /// Ours, for a network.
    pub fn of(network: &Network) -> Preamble {
        Preamble {
            magic: network.magic,
            version_lowest: VERSION_LOWEST,
            version_highest: VERSION_HIGHEST,
            network_id: network.id(),
        }
    }

    fn to_bytes(self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..4].copy_from_slice(&self.magic.to_be_bytes());
        bytes[4..6].copy_from_slice(&self.version_lowest.to_be_bytes());
        bytes[6..8].copy_from_slice(&self.version_highest.to_be_bytes());
        bytes[8..].copy_from_slice(&self.network_id.0);
        bytes
    }

    fn from_bytes(bytes: &[u8; PREAMBLE_BYTES]) -> Preamble {
        let short = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let mut network_id = Hash::default();
        network_id.0.copy_from_slice(&bytes[8..]);
        Preamble {
            magic: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            version_lowest: short(4),
            version_highest: short(6),
            network_id,
        }
    }

    fn accepts(&self, theirs: &Preamble) -> Result<(), NoiseError> {
        if theirs.magic != self.magic {
            return Err(NoiseError::Magic { theirs: theirs.magic });
        }
        // The id first: a version says nothing about a network that is not ours.
        if theirs.network_id != self.network_id {
            return Err(NoiseError::Network { theirs: theirs.network_id });
        }
        let lowest = self.version_lowest.max(theirs.version_lowest);
        let highest = self.version_highest.min(theirs.version_highest);
        if lowest > highest {
            let (lowest, highest) = (theirs.version_lowest, theirs.version_highest);
            return Err(NoiseError::Version { lowest, highest });
        }
        Ok(())
    }
}

impl StaticKey {
    /// A fresh key.
    pub fn generate() -> StaticKey {
        let pair = builder().generate_keypair().expect("the system gives random bytes");
        StaticKey(Rc::new(pair.private))
    }
}

fn builder<'a>() -> Builder<'a> {
    Builder::new(PATTERN.parse().expect("the pattern is a constant that a test uses"))
}

impl Handshake {
    /// Starts one; our preamble is in `output`.
    pub fn new(role: Role, ours: Preamble, key: StaticKey) -> Handshake {
        let output = ours.to_bytes().to_vec();
        Handshake { role, ours, key, noise: None, input: Vec::new(), output }
    }

    /// What is to be sent now.
    pub fn output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// Takes bytes in; a channel when they end the handshake. Bytes after its end go into the channel.
    pub fn input(&mut self, bytes: &[u8]) -> Result<Option<Channel>, NoiseError> {
        self.input.extend_from_slice(bytes);
        if self.noise.is_none() && !self.meet()? {
            return Ok(None);
        }
        loop {
            let noise = self.noise.as_mut().expect("the preambles have met");
            if noise.is_handshake_finished() {
                return self.finish().map(Some);
            }
            if noise.is_my_turn() {
                self.write()?;
            } else if !self.read()? {
                return Ok(None);
            }
        }
    }

    /// Compares the preambles, as far as theirs is here, and starts Noise.
    fn meet(&mut self) -> Result<bool, NoiseError> {
        if let Some(magic) = self.input.first_chunk::<4>() {
            let theirs = u32::from_be_bytes(*magic);
            if theirs != self.ours.magic {
                return Err(NoiseError::Magic { theirs });
            }
        }
        let Some(theirs) = self.input.first_chunk::<PREAMBLE_BYTES>() else { return Ok(false) };
        let theirs = Preamble::from_bytes(theirs);
        self.ours.accepts(&theirs)?;
        let (dialler, acceptor) = match self.role {
            Role::Dialler => (self.ours, theirs),
            Role::Acceptor => (theirs, self.ours),
        };
        let prologue = [dialler.to_bytes(), acceptor.to_bytes()].concat();
        let builder = builder()
            .prologue(&prologue)
            .and_then(|builder| builder.local_private_key(&self.key.0))
            .expect("each is set once");
        let noise = match self.role {
            Role::Dialler => builder.build_initiator(),
            Role::Acceptor => builder.build_responder(),
        };
        self.noise = Some(noise.expect("the pattern needs no more than a static key"));
        self.input.drain(..PREAMBLE_BYTES);
        Ok(true)
    }

    fn write(&mut self) -> Result<(), NoiseError> {
        let noise = self.noise.as_mut().expect("the preambles have met");
        let mut message = [0; HANDSHAKE_MESSAGE_MAX];
        let length = noise.write_message(&[], &mut message).map_err(|_| NoiseError::Handshake)?;
        push_record(&message[..length], &mut self.output);
        Ok(())
    }

    fn read(&mut self) -> Result<bool, NoiseError> {
        let Some(length) = record_length(&self.input) else { return Ok(false) };
        if length > HANDSHAKE_MESSAGE_MAX {
            return Err(NoiseError::Handshake);
        }
        let Some(message) = self.input.get(LENGTH_BYTES..LENGTH_BYTES + length) else {
            return Ok(false);
        };
        let noise = self.noise.as_mut().expect("the preambles have met");
        let mut payload = [0; HANDSHAKE_MESSAGE_MAX];
        match noise.read_message(message, &mut payload) {
            Ok(0) => {}
            // Payloads of the handshake carry nothing in this protocol.
            Ok(_) | Err(_) => return Err(NoiseError::Handshake),
        }
        self.input.drain(..LENGTH_BYTES + length);
        Ok(true)
    }

    fn finish(&mut self) -> Result<Channel, NoiseError> {
        let noise = self.noise.take().expect("the preambles have met");
        let hash = noise.get_handshake_hash().try_into().expect("BLAKE2s has 32 bytes");
        let state = noise.into_stateless_transport_mode().map_err(|_| NoiseError::Handshake)?;
        let state = Rc::new(state);
        let sealer = Sealer { state: Rc::clone(&state), records: 0 };
        let opener = Opener { state, records: 0, input: std::mem::take(&mut self.input) };
        Ok(Channel { hash: Hash(hash), sealer, opener })
    }
}

impl Sealer {
    /// Appends the records of this plaintext to `out`.
    pub fn seal(&mut self, plain: &[u8], out: &mut Vec<u8>) -> Result<(), NoiseError> {
        for piece in plain.chunks(RECORD_PLAIN_MAX) {
            let length = piece.len() + TAG_BYTES;
            let short = u16::try_from(length).expect("the largest piece fits with its tag");
            out.extend_from_slice(&short.to_be_bytes());
            let start = out.len();
            out.resize(start + length, 0);
            self.state
                .write_message(self.records, piece, &mut out[start..])
                .map_err(|_| NoiseError::Record)?;
            self.records += 1;
        }
        Ok(())
    }
}

impl Opener {
    /// Takes bytes in and appends the plaintext of all records that are whole to `plain`.
    pub fn open(&mut self, bytes: &[u8], plain: &mut Vec<u8>) -> Result<(), NoiseError> {
        self.input.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(length) = record_length(&self.input[at..]) {
            // An empty record carries nothing: only a flood would be made of them.
            if length <= TAG_BYTES {
                return Err(NoiseError::Record);
            }
            let from = at + LENGTH_BYTES;
            let Some(record) = self.input.get(from..from + length) else { break };
            let start = plain.len();
            plain.resize(start + length - TAG_BYTES, 0);
            self.state
                .read_message(self.records, record, &mut plain[start..])
                .map_err(|_| NoiseError::Record)?;
            self.records += 1;
            at = from + length;
        }
        self.input.drain(..at);
        if self.input.is_empty() {
            self.input.shrink_to(KEEP_BYTES);
        }
        Ok(())
    }
}

fn record_length(bytes: &[u8]) -> Option<usize> {
    bytes.first_chunk().map(|length| usize::from(u16::from_be_bytes(*length)))
}

fn push_record(record: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(record.len()).expect("messages of the handshake are short");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(record);
}

impl NoiseError {
    /// Its name in status and counters.
    pub fn code(self) -> &'static str {
        match self {
            NoiseError::Magic { .. } => "wrong_magic",
            NoiseError::Version { .. } => "wrong_version",
            NoiseError::Network { .. } => "wrong_network",
            NoiseError::Handshake => "handshake",
            NoiseError::Record => "record",
        }
    }
}

impl fmt::Display for NoiseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoiseError::Magic { theirs } => {
                write!(f, "not a node of this kind of network (magic {theirs:#010x})")
            }
            NoiseError::Version { lowest, highest } => write!(
                f,
                "speaks versions {lowest} to {highest} of the protocol, we {VERSION_LOWEST} to {VERSION_HIGHEST}"
            ),
            NoiseError::Network { theirs } => write!(f, "a node of another network ({theirs:?}…)"),
            NoiseError::Handshake => f.write_str("the handshake is not the one due"),
            NoiseError::Record => f.write_str("a record is not the one due"),
        }
    }
}

impl std::error::Error for NoiseError {}

#[cfg(test)]
mod tests;
