//! Preamble and handshake: whatever a stranger sends, it is refused or waited for, and little is held or answered. The first
//! byte says who dialled, whether a good preamble comes first, and into pieces of what length the rest is chopped.

#![no_main]

use hypernode::shell::noise::{Handshake, PREAMBLE_BYTES, Preamble, Role, StaticKey};
use hypernode::types::network::Network;
use libfuzzer_sys::fuzz_target;

/// Noise XX sends two messages of less than 200 bytes to one side.
const ANSWER_MAX: usize = PREAMBLE_BYTES + 400;

thread_local! {
    static OURS: (Preamble, StaticKey) = (Preamble::of(&Network::main()), StaticKey::generate());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choices, stream)) = bytes.split_first() else { return };
    let role = if choices & 1 == 0 { Role::Acceptor } else { Role::Dialler };
    OURS.with(|(ours, key)| {
        let mut handshake = Handshake::new(role, *ours, key.clone());
        let mut answered = handshake.output();
        let good = if choices & 2 == 0 { answered.clone() } else { Vec::new() };
        let piece = usize::from(choices >> 2) + 1;
        for piece in good.chunks(piece).chain(stream.chunks(piece)) {
            let ended = handshake.input(piece);
            answered.extend(handshake.output());
            assert!(answered.len() <= ANSWER_MAX, "{} bytes", answered.len());
            match ended {
                // Who guesses a whole handshake has a key; what follows is sealed.
                Ok(Some(_)) | Err(_) => return,
                Ok(None) => {}
            }
        }
    });
});
