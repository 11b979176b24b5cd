//! One connection that stands: a task that reads and one that writes (`docs/protocol.md` §11).
//!
//! Reading waits while the driver has not taken the last message, so that a fast peer fills its own socket and not our
//! memory. Writing never makes the driver wait: a peer that does not read what it is sent is closed.

use std::cell::Cell;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use async_net::TcpStream;
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{LocalExecutor, Task, Timer};

use super::frame::{Cutter, Owed};
use super::noise::{Channel, Opener, RECORD_PLAIN_MAX, Sealer};
use crate::machine::event::{Fault, PeerId};
use crate::types::message::{Message, QUORUM_BYTES_MAX};

/// Bytes that may wait for a peer: two of the largest frames.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a waiting frame costs beside its bytes, so that a million pings are bounded too.
const FRAME_COST: usize = 64;
/// A peer that takes nothing for so long is stuck.
const WRITE_STALL: Duration = Duration::from_secs(30);
/// What is queued may leave within this time when we close.
const CLOSE_TIME: Duration = Duration::from_secs(1);
/// Bytes asked of the socket at once.
const READ_BYTES: usize = 16 * 1024;
/// Larger buffers are given back after use: most of the time a connection is idle.
const KEEP_BYTES: usize = 32 * 1024;
/// What a connection may hold beside its queue: a record on its way in and one on its way out, each sealed and plain, and
/// the largest frame that nobody asked for, with what is decoded from it.
pub const LINK_BYTES: usize = READ_BYTES + 4 * RECORD_PLAIN_MAX + 2 * QUORUM_BYTES_MAX;

/// What a connection tells the driver.
pub enum Word {
    /// A message, and the bytes of its frame.
    Message(Rc<Message>, u32),
    /// The connection is over.
    End(Fault),
}

/// A frame encoded once, however many peers it goes to.
pub type Frame = Rc<Vec<u8>>;

/// Bytes that wait for a peer, counted in the sum of all peers too.
pub struct Waiting {
    bytes: Cell<usize>,
    all: Rc<Cell<usize>>,
}

/// The driver's end of a connection. Dropping it closes at once.
pub struct Link {
    frames: Sender<Frame>,
    waiting: Rc<Waiting>,
    owed: Owed,
    stream: TcpStream,
    reader: Task<()>,
    writer: Task<()>,
}

/// The peer does not read what we send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stuck;

impl Waiting {
    /// None yet; `all` is the sum of all peers.
    pub fn new(all: &Rc<Cell<usize>>) -> Waiting {
        Waiting { bytes: Cell::new(0), all: Rc::clone(all) }
    }

    fn add(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
        self.all.set(self.all.get() + bytes);
    }

    /// They have left, or never will.
    fn remove(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes.get());
        self.bytes.set(self.bytes.get() - bytes);
        self.all.set(self.all.get() - bytes);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.remove(self.bytes.get());
    }
}

impl Link {
    /// Starts the tasks of a connection. Its words go to `words`, with its number.
    pub fn start(
        executor: &LocalExecutor<'static>,
        peer: PeerId,
        stream: TcpStream,
        channel: Channel,
        words: Sender<(PeerId, Word)>,
        waiting: Waiting,
    ) -> Link {
        let (sender, frames) = smol::channel::unbounded();
        let waiting = Rc::new(waiting);
        let owed = Owed::default();
        let Channel { sealer, opener, hash: _ } = channel;
        let reader = {
            let (stream, words, owed) = (stream.clone(), words.clone(), owed.clone());
            executor.spawn(async move {
                let fault = read(peer, stream, opener, Cutter::new(owed), &words).await;
                // The driver is gone when nobody listens.
                let _ = words.send((peer, Word::End(fault))).await;
            })
        };
        let writer = {
            let (stream, waiting) = (stream.clone(), Rc::clone(&waiting));
            executor.spawn(async move {
                if let Err(fault) = write(stream, sealer, frames, &waiting).await {
                    let _ = words.send((peer, Word::End(fault))).await;
                }
            })
        };
        Link { frames: sender, waiting, owed, stream, reader, writer }
    }

    /// Queues a message, encoded as `frame`.
    pub fn send(&self, message: &Message, frame: &Frame) -> Result<(), Stuck> {
        let cost = frame.len() + FRAME_COST;
        if self.waiting() + cost > WAITING_BYTES_MAX {
            return Err(Stuck);
        }
        self.owed.asked(message);
        self.waiting.add(cost);
        // A writer that has failed has said so: the end of the connection is on its way.
        let _ = self.frames.try_send(Rc::clone(frame));
        Ok(())
    }

    /// Bytes that wait for the peer.
    pub fn waiting(&self) -> usize {
        self.waiting.bytes.get()
    }

    /// Closes at once: what waits counts no more from now on.
    pub fn abandon(self) {
        self.waiting.remove(self.waiting());
    }

    /// Hears nothing more, sends what is queued as far as it goes in a second, and closes.
    pub async fn close(self) {
        let Link { frames, waiting: _, owed: _, mut stream, reader, writer } = self;
        drop(reader);
        drop(frames);
        let last = async {
            writer.await;
            // Closing with unread bytes makes a reset, which would overtake what we just sent.
            let _ = stream.shutdown(Shutdown::Write);
            let mut rest = [0; 1024];
            while matches!(stream.read(&mut rest).await, Ok(1..)) {}
        };
        let late = async {
            Timer::after(CLOSE_TIME).await;
        };
        last.or(late).await;
    }
}

async fn read(
    peer: PeerId,
    mut stream: TcpStream,
    mut opener: Opener,
    mut cutter: Cutter,
    words: &Sender<(PeerId, Word)>,
) -> Fault {
    let mut bytes = vec![0; READ_BYTES];
    let mut plain = Vec::new();
    let mut length = 0;
    loop {
        // Nothing the first time: records may have come with the end of the handshake.
        if let Err(error) = opener.open(&bytes[..length], &mut plain) {
            log::debug!("connection {}: {error}", peer.0);
            return Fault::Malformed;
        }
        cutter.push(&plain);
        plain.clear();
        plain.shrink_to(KEEP_BYTES);
        loop {
            match cutter.take() {
                Ok(Some((message, bytes))) => {
                    let word = Word::Message(Rc::new(message), bytes);
                    if words.send((peer, word)).await.is_err() {
                        return Fault::None;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    log::debug!("connection {}: {error}", peer.0);
                    return Fault::Malformed;
                }
            }
        }
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return Fault::None,
            Ok(count) => length = count,
        }
    }
}

async fn write(
    mut stream: TcpStream,
    mut sealer: Sealer,
    frames: Receiver<Frame>,
    waiting: &Waiting,
) -> Result<(), Fault> {
    let mut plain = Vec::new();
    let mut bytes = Vec::new();
    // Ends when the driver's end is gone and nothing is queued.
    while let Ok(frame) = frames.recv().await {
        let mut cost = frame.len() + FRAME_COST;
        plain.extend_from_slice(&frame);
        drop(frame);
        while plain.len() < RECORD_PLAIN_MAX {
            let Ok(frame) = frames.try_recv() else { break };
            cost += frame.len() + FRAME_COST;
            plain.extend_from_slice(&frame);
        }
        // An exhausted counter of records: after 2^64 of them.
        sealer.seal(&plain, &mut bytes).map_err(|_| Fault::None)?;
        plain.clear();
        // A peer may take long to read what it is sent, and that is held once.
        plain.shrink_to(KEEP_BYTES);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let stalled = async {
                Timer::after(WRITE_STALL).await;
                Ok(0)
            };
            match stream.write(rest).or(stalled).await {
                Ok(0) => return Err(Fault::Stuck),
                Ok(count) => rest = &rest[count..],
                Err(_) => return Err(Fault::None),
            }
        }
        bytes.clear();
        bytes.shrink_to(KEEP_BYTES);
        waiting.remove(cost);
    }
    Ok(())
}
