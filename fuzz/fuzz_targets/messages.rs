//! One message of a peer: reading never panics, and what is taken has one encoding. The first byte is the kind.

#![no_main]

use hypernode::types::message::{FRAME_HEAD, Message, body_max};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else { return };
    let Ok(Some(message)) = Message::from_body(*kind, body) else { return };
    assert_eq!(message.kind(), *kind);
    assert!(body.len() <= body_max(*kind).expect("it was taken"));
    let frame = message.to_frame();
    assert_eq!(frame[0], *kind);
    assert_eq!(&frame[FRAME_HEAD..], body, "of two encodings one would be another message's");
});
