//! Values and their encoding. No decisions, no IO, no clock.

pub mod address;
pub mod block;
pub mod clock;
pub mod codec;
pub mod evidence;
pub mod hash;
pub mod hex;
pub mod key;
pub mod message;
pub mod network;
pub mod pow;
pub mod rng;
pub mod seal;
pub mod sign;
pub mod tx;
pub mod version;
