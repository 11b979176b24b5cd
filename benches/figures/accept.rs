//! Messages from the bytes of their frames to the mempool, all of distinct senders and with a cold cache of signatures,
//! beside a loop of bare verifications of the same signatures.

use std::time::Duration;

use hypernode::machine::mempool::Mempool;
use hypernode::types::codec;
use hypernode::types::hash::hash;
use hypernode::types::message::{FRAME_HEAD, IDS_MAX, Message, parse_head};
use hypernode::types::tx::Tx;

use crate::sample::Sample;
use crate::{median, per_second, row, timed};

/// Senders, each with one message.
const SENDERS: usize = 30 * IDS_MAX;

pub fn figures() {
    let signing = Sample::new(&[1; SENDERS]);
    let messages: Vec<Tx> = (0..SENDERS).map(|number| signing.heartbeat(number, 3)).collect();
    // This one has not seen the signatures.
    let cold = Sample::new(&[1; SENDERS]);
    let (wall, state) = (cold.time(3, 1), cold.state(3));
    let mut pool = Mempool::default();
    // The median of batches: one that something else disturbed does not count.
    let (mut accepted, mut checked, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let again = Sample::new(&[1; SENDERS]);
    for batch in messages.chunks_exact(IDS_MAX) {
        let frame = Message::Messages(batch.to_vec()).to_frame();
        accepted.push(timed(|| {
            for tx in read(&frame) {
                let id = tx.id();
                let verdict = pool.accept(id, tx, wall, &state, &cold.rules());
                verdict.expect("a valid message");
            }
        }));
        let bytes: Vec<Vec<u8>> = batch.iter().map(codec::encode).collect();
        checked.push(timed(|| {
            for bytes in &bytes {
                let tx = Tx::from_bytes(bytes).expect("canonical bytes");
                again.rules().check_message(&tx, &again.place(3), &state).expect("a valid message");
            }
        }));
        bare.push(verify(batch, &cold));
    }
    assert_eq!(pool.status().messages as usize, SENDERS);
    let bare = median(bare);
    for (what, time) in [
        ("messages decoded and checked", median(checked)),
        ("messages from frame bytes into the mempool", median(accepted)),
    ] {
        row(
            &format!("{what}, {SENDERS} senders, cold cache"),
            &per_second(IDS_MAX, time),
            &format!("{} bare verifications", per_second(IDS_MAX, bare)),
            bare.as_secs_f64() / time.as_secs_f64(),
        );
    }
}

fn read(frame: &[u8]) -> Vec<Tx> {
    let (head, body) = frame.split_at(FRAME_HEAD);
    let (kind, _) = parse_head(head.try_into().expect("five bytes")).expect("within its limit");
    match Message::from_body(kind, body) {
        Ok(Some(Message::Messages(list))) => list,
        other => unreachable!("messages were sent, not {other:?}"),
    }
}

/// The library's verification of the same signatures, of texts made before.
fn verify(batch: &[Tx], sample: &Sample) -> Duration {
    let signed: Vec<_> = batch
        .iter()
        .map(|tx| {
            let content = codec::encode(&(tx.round, tx.sender, &tx.body));
            let digest = hash("message", &[&sample.network.id().0, &content]);
            let text = [&b"hypernode"[..], &digest.0].concat();
            let signature = ed25519_compact::Signature::new(tx.signature.0);
            (ed25519_compact::PublicKey::new(tx.sender.0), text, signature)
        })
        .collect();
    timed(|| {
        for (key, text, signature) in &signed {
            key.verify(text, signature).expect("a valid signature");
        }
    })
}
