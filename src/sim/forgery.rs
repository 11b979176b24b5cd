//! Blocks and messages that no honest host makes.

use super::byzantine::View;
use super::cast::Cast;
use crate::machine::records;
use crate::types::block::{Block, Header, Point, messages_root};
use crate::types::clock::{Round, Timestamp};
use crate::types::hash::{Hash, TxId};
use crate::types::key::{SecretKey, Signature};
use crate::types::rng::Rng;
use crate::types::tx::{Body, Tx};

/// What is wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// Nothing, except that the slot has another one.
    Twin,
    /// Nothing, except that nobody gets its messages.
    MissingBody,
    Reveal,
    Seal,
    Timestamp,
    Version,
    Height,
    Root,
    Order,
    /// Two heartbeats of one sender.
    DuplicateKey,
    /// A heartbeat that the chain has already, in other words.
    SecondHeartbeat,
    Expired,
    TooEarly,
    Unregistered,
    MessageSignature,
    HeaderSignature,
}

impl Forgery {
    /// Those that a forger can put in the place of its own block.
    pub const OWN_SLOT: [Forgery; 14] = [
        Forgery::Reveal,
        Forgery::Seal,
        Forgery::Timestamp,
        Forgery::Version,
        Forgery::Height,
        Forgery::Root,
        Forgery::Order,
        Forgery::DuplicateKey,
        Forgery::SecondHeartbeat,
        Forgery::Expired,
        Forgery::TooEarly,
        Forgery::Unregistered,
        Forgery::MessageSignature,
        Forgery::HeaderSignature,
    ];
}

fn capacity(rng: &mut Rng) -> u16 {
    u16::try_from(rng.below(1 << 16)).expect("below 2^16")
}

/// A key that nobody has registered.
fn stranger(number: u16) -> SecretKey {
    SecretKey::from_seed([number.to_be_bytes()[1] | 1; 32])
}

fn heartbeat(round: u64, capacity: u16, key: &SecretKey, cast: &Cast) -> Tx {
    let body = Body::Heartbeat { version: 0, commitment: Hash([0; 32]), capacity };
    Tx::sign(Round(round), body, key, &cast.network, &cast.verifier)
}

/// Turns a good block of `key` into a bad one.
pub fn forge(block: Block, forgery: Forgery, key: &SecretKey, cast: &Cast, rng: &mut Rng) -> Block {
    let Block { header, mut messages } = block;
    let mut header: Header = header.header;
    let round = header.round.0;
    let any = capacity(rng);
    match forgery {
        Forgery::Twin => {
            if rng.one_in(2) {
                messages.pop();
            }
            header.timestamp = header.timestamp.plus(1);
        }
        Forgery::Reveal => header.reveal = Some(Hash([1; 32])),
        Forgery::Seal => header.seal.index += 1,
        Forgery::Timestamp => header.timestamp = header.timestamp.plus(cast.network.clock.slot_ms),
        Forgery::Version => header.version += 1,
        Forgery::Height => header.height = header.height.next(),
        Forgery::Root | Forgery::HeaderSignature => {}
        Forgery::Order | Forgery::DuplicateKey => {
            messages.push(heartbeat(round, any, key, cast));
            messages.push(heartbeat(round, any.wrapping_add(1), key, cast));
        }
        Forgery::SecondHeartbeat | Forgery::MissingBody => {
            messages.push(heartbeat(round, any, key, cast));
        }
        Forgery::Expired => {
            messages.push(heartbeat(round.saturating_sub(2 + u64::from(any % 2)), any, key, cast));
        }
        Forgery::TooEarly => messages.push(heartbeat(round + 1, any, key, cast)),
        Forgery::Unregistered => {
            messages.push(heartbeat(round, any, &stranger(any), cast));
        }
        Forgery::MessageSignature => {
            let mut message = heartbeat(round.saturating_sub(1), any, key, cast);
            message.signature = Signature([7; 64]);
            messages.push(message);
        }
    }
    messages.sort_by_key(Tx::id);
    if forgery == Forgery::Order {
        messages.reverse();
    }
    let ids: Vec<TxId> = messages.iter().map(Tx::id).collect();
    header.messages_root = messages_root(&ids);
    if forgery == Forgery::Root {
        header.messages_root = Hash([2; 32]);
    }
    let mut header = header.sign(key, &cast.network, &cast.verifier);
    if forgery == Forgery::HeaderSignature {
        header.signature = Signature([3; 64]);
    }
    Block { header, messages }
}

/// A block of `key` on top of the chain, in the present slot, which is most likely another's.
pub fn out_of_turn(tip: Point, key: &SecretKey, view: &View) -> Option<Block> {
    let Cast { network, anchor, verifier, .. } = view.cast;
    let (round, slot) = network.clock.at(view.now.wall)?;
    let below = records::header(view.disk, &tip);
    let at = below.map(|stored| (stored.header.header.round, stored.header.header.slot));
    if at.is_some_and(|at| at >= (round, slot)) || !network.clock.is_forging(slot) {
        return None;
    }
    let header = Header {
        version: network.version_at(round),
        height: tip.height.next(),
        round,
        slot,
        timestamp: view.now.wall,
        previous: tip.hash,
        messages_root: messages_root(&[]),
        seal: anchor.seal,
        reveal: None,
        forger: key.public(),
    };
    Some(Block { header: header.sign(key, network, verifier), messages: Vec::new() })
}

/// A message that no mempool may take: too old, too early, or of someone not registered.
pub fn stray_message(wall: Timestamp, key: &SecretKey, cast: &Cast, rng: &mut Rng) -> Tx {
    let round = cast.network.clock.at(wall).map_or(0, |(round, _)| round.0);
    let any = capacity(rng);
    match rng.below(3) {
        0 => heartbeat(round.saturating_sub(2 + u64::from(any % 3)), any, key, cast),
        1 => heartbeat(round + 1 + u64::from(any % 3), any, key, cast),
        _ => heartbeat(round, any, &stranger(any), cast),
    }
}
