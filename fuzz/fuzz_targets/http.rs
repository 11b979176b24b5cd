//! What a client sends to the API: however it is chopped, one whole answer or none comes, and the same; and little is
//! read of a client that never ends. The first byte says into pieces of what length, and whether the last one comes for
//! ever.

#![no_main]

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hypernode::machine::event::Answer;
use hypernode::machine::limits::Limits;
use hypernode::shell::api::{Submission, View, serve};
use hypernode::shell::clock::SystemClock;
use hypernode::shell::crowd::Refused;
use hypernode::shell::engine::{Engine, Parts};
use hypernode::shell::guard::Guard;
use hypernode::shell::store::Store;
use hypernode::types::clock::Timestamp;
use hypernode::types::key::SecretKey;
use hypernode::types::network::Network;
use libfuzzer_sys::fuzz_target;
use smol::channel::Receiver;
use smol::future::FutureExt;
use smol::io::{AsyncRead, AsyncWrite};

/// A client that never ends gives up after so many bytes.
const ENDLESS: usize = 64 * 1024;
/// Head and body have 16 KiB each, and as much may be read ahead.
const READ_MAX: usize = 48 * 1024;
/// How often a client that has said all looks for its answer before it goes.
const PATIENCE: u32 = 20;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A node that knows no block.
struct Bench {
    view: Rc<View>,
    submitted: Receiver<Submission>,
}

thread_local! {
    static BENCH: Bench = Bench::new();
}

/// The other end of a connection.
struct Client<'a> {
    bytes: &'a [u8],
    piece: usize,
    is_endless: bool,
    sent: usize,
    /// The next piece is not there yet.
    pauses: bool,
    patience: u32,
    heard: Vec<u8>,
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choices, bytes)) = bytes.split_first() else { return };
    let piece = usize::from(choices & 0x3f) + 1;
    BENCH.with(|bench| {
        if choices & 0x40 != 0 && !bytes.is_empty() {
            let client = bench.ask(bytes, piece, true);
            answer(&client.heard);
            // A chunk of a body may have one byte, and its size any number of zeros.
            let is_chunked = bytes.to_ascii_lowercase().windows(7).any(|part| part == b"chunked");
            assert!(is_chunked || client.sent <= READ_MAX, "{} bytes were read", client.sent);
        } else {
            let whole = bench.ask(bytes, bytes.len().max(1), false);
            let pieces = bench.ask(bytes, piece, false);
            assert_eq!(answer(&whole.heard), answer(&pieces.heard));
        }
    });
});

/// Status and body of the one answer, if there is one. Numbers are left out of the body, since some tell the time; and so
/// is what hyper refuses by itself, since it may still wait for more when the client goes.
fn answer(heard: &[u8]) -> Option<(String, String)> {
    let heard = heard.strip_prefix(CONTINUE).unwrap_or(heard);
    if heard.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(heard).expect("it is text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).expect("a status");
    let length = lines.find_map(|line| line.strip_prefix("content-length: ")).expect("a length");
    // An answer to HEAD has a length and no body.
    assert!(body.is_empty() || length.parse() == Ok(body.len()), "{text:?}");
    let status = status[2..5].to_owned();
    if body.is_empty() && ["400", "414", "431"].contains(&status.as_str()) {
        return None;
    }
    if !body.is_empty() {
        let body: serde_json::Value = serde_json::from_str(body).expect("it is JSON");
        let known = if body.get("schema").is_some() { &["200", "206", "503"][..] } else { &[] };
        let code = body["error"]["code"].as_str();
        assert!(known.contains(&status.as_str()) || code.is_some(), "{text:?}");
    }
    Some((status, body.replace(|letter: char| letter.is_ascii_digit(), "")))
}

impl Bench {
    fn new() -> Bench {
        let memory = std::path::PathBuf::from("/dev/shm");
        let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = folder.join(format!("hypernode-fuzz-http-{}", std::process::id()));
        let network = Rc::new(Network::test());
        let key = SecretKey::from_seed([1; 32]);
        let store = Store::open(&folder, network.id(), 1 << 20).expect("a new one");
        let guard = Guard::begin(&folder, network.id(), key.public()).expect("a new one");
        let clock = SystemClock::start();
        let (built, limits) = (Timestamp(0), Limits::default());
        let parts = Parts { network, key, built, store, guard, limits };
        let engine = Engine::open(parts, clock.now()).expect("an empty database is a good one");
        // Its files are open: what only reads needs their names no more.
        std::fs::remove_dir_all(&folder).expect("it is ours");
        let (submissions, submitted) = smol::channel::bounded(1);
        let engine = Rc::new(RefCell::new(engine));
        let (clock, refused) = (Rc::new(clock), Refused::default());
        Bench { view: Rc::new(View { engine, clock, refused, submissions }), submitted }
    }

    /// Serves a client to the end.
    fn ask<'a>(&self, bytes: &'a [u8], piece: usize, is_endless: bool) -> Client<'a> {
        let (pauses, patience, heard) = (false, PATIENCE, Vec::new());
        let mut client = Client { bytes, piece, is_endless, sent: 0, pauses, patience, heard };
        // Nothing here waits for the system: its events need not be looked at.
        smol::future::block_on(serve(&mut client, &self.view).or(self.take_all()));
        client
    }

    /// The core, which takes every message.
    async fn take_all(&self) {
        while let Ok(Submission { tx, answer }) = self.submitted.recv().await {
            // The client may have gone.
            let _ = answer.send(Answer::Submitted(Ok(tx.id()))).await;
        }
    }
}

impl AsyncRead for Client<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let client = self.get_mut();
        let length = client.bytes.len();
        let is_over = client.sent >= if client.is_endless { ENDLESS } else { length };
        client.pauses = !client.pauses;
        if client.pauses || (is_over && client.patience > 0) {
            client.patience -= u32::from(is_over && client.patience > 0);
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if is_over {
            return Poll::Ready(Ok(0));
        }
        let last = client.piece.min(length);
        let from = match client.sent.checked_sub(length) {
            None => client.sent,
            Some(more) => length - last + more % last,
        };
        let count = client.piece.min(length - from).min(room.len());
        room[..count].copy_from_slice(&client.bytes[from..from + count]);
        client.sent += count;
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Client<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().heard.extend(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
