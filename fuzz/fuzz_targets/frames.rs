//! The stream of a peer, cut into messages: however it is chopped, the same messages and the same end. The first byte says
//! into pieces of what length, and how much was asked for.

#![no_main]

use hypernode::shell::frame::{CutError, Cutter, Owed};
use hypernode::types::block::Point;
use hypernode::types::clock::Height;
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::message::Message;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((choices, stream)) = bytes.split_first() else { return };
    let asked = usize::from(choices >> 6);
    let (whole, end) = cut(stream, stream.len().max(1), asked);
    let (pieces, same_end) = cut(stream, usize::from(choices & 0x3f) + 1, asked);
    assert_eq!((whole, end), (pieces, same_end));
});

/// The messages of a stream, and why it ended early.
fn cut(stream: &[u8], piece: usize, asked: usize) -> (Vec<(Message, u32)>, Option<CutError>) {
    let owed = Owed::default();
    let above = Point { height: Height(1), hash: BlockHash(Hash([1; 32])) };
    for _ in 0..asked {
        owed.asked(&Message::WantHeaders { request: 1, above });
        owed.asked(&Message::WantBodies { request: 1, points: vec![above] });
        owed.asked(&Message::WantSeals { request: 1, after: 0 });
        owed.asked(&Message::WantState { request: 1, index: 1, part: 0 });
    }
    let mut cutter = Cutter::new(owed);
    let mut messages = Vec::new();
    for piece in stream.chunks(piece) {
        cutter.push(piece);
        loop {
            match cutter.take() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
