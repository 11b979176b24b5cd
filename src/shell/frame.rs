//! Cuts the plaintext of a channel into messages (`docs/protocol.md` §11), on byte buffers.
//!
//! The limit of a frame is checked before its body is buffered. Frames above 64 KiB exist as answers only, which who was
//! not asked cannot make us hold, but for proposals and prepare quorums: at most 258 KiB of each connection.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use crate::types::message::{self, FRAME_HEAD, FrameError, KIND_LATER, Message};

/// A buffer larger than this is given back when it is empty: large frames are rare.
const KEEP_BYTES: usize = 64 * 1024;
/// The kinds whose frames may be larger than control messages.
const BODIES: u8 = 10;
const HEADERS: u8 = 14;
const SEALS: u8 = 23;
const STATE: u8 = 25;

/// The large answers that a peer owes us. Shared between the side that sends and the side that reads.
#[derive(Clone, Default)]
pub struct Owed(Rc<Counts>);

#[derive(Default)]
struct Counts {
    headers: Cell<u32>,
    bodies: Cell<u32>,
    seals: Cell<u32>,
    states: Cell<u32>,
}

/// Collects plaintext and hands out messages.
pub struct Cutter {
    owed: Owed,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are used up.
    used: usize,
    head: Option<(u8, usize)>,
    /// Bytes still to come of a frame that is skipped.
    skip: usize,
}

/// Why the stream ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CutError {
    Frame(FrameError),
    /// An answer of this kind, and nothing was asked.
    Unasked(u8),
}

impl Owed {
    /// Notes what a message that we send asks for.
    pub fn asked(&self, message: &Message) {
        match message {
            Message::WantHeaders { .. } => add(&self.0.headers),
            Message::WantBodies { .. } => add(&self.0.bodies),
            Message::WantSeals { .. } => add(&self.0.seals),
            Message::WantState { .. } => add(&self.0.states),
            Message::Hello(_)
            | Message::Ping { .. }
            | Message::Pong { .. }
            | Message::Tip(_)
            | Message::Have(_)
            | Message::Want(_)
            | Message::Messages(_)
            | Message::NewBlock { .. }
            | Message::Bodies { .. }
            | Message::Find { .. }
            | Message::Intersect { .. }
            | Message::Headers { .. }
            | Message::Gone { .. }
            | Message::Proposal(_)
            | Message::Vote(_)
            | Message::WantVotes { .. }
            | Message::Votes(_)
            | Message::Prepared(_)
            | Message::Seals { .. }
            | Message::State { .. }
            | Message::Bye(_) => {}
        }
    }

    /// Takes an answer off the account, if it is one; false when it is not owed.
    fn settle(&self, kind: u8) -> bool {
        let count = match kind {
            BODIES => &self.0.bodies,
            HEADERS => &self.0.headers,
            SEALS => &self.0.seals,
            STATE => &self.0.states,
            _ => return true,
        };
        let owed = count.get();
        count.set(owed.saturating_sub(1));
        owed > 0
    }
}

fn add(count: &Cell<u32>) {
    count.set(count.get().saturating_add(1));
}

impl Cutter {
    /// At the start of a stream.
    pub fn new(owed: Owed) -> Cutter {
        Cutter { owed, buffer: Vec::new(), used: 0, head: None, skip: 0 }
    }

    /// Adds plaintext. Take messages until there are none before adding more.
    pub fn push(&mut self, plain: &[u8]) {
        self.buffer.drain(..self.used);
        self.used = 0;
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        self.buffer.extend_from_slice(plain);
    }

    /// The next message and the bytes of its frame; nothing when more plaintext is needed.
    pub fn take(&mut self) -> Result<Option<(Message, u32)>, CutError> {
        loop {
            let rest = &self.buffer[self.used..];
            if self.skip > 0 {
                let step = self.skip.min(rest.len());
                self.used += step;
                self.skip -= step;
                if self.skip > 0 {
                    return Ok(None);
                }
                continue;
            }
            let Some((kind, length)) = self.head else {
                let Some(head) = rest.first_chunk::<FRAME_HEAD>() else { return Ok(None) };
                let (kind, length) = message::parse_head(*head).map_err(CutError::Frame)?;
                if !self.owed.settle(kind) {
                    return Err(CutError::Unasked(kind));
                }
                self.used += FRAME_HEAD;
                match kind {
                    KIND_LATER.. => self.skip = length,
                    _ => self.head = Some((kind, length)),
                }
                continue;
            };
            let Some(body) = rest.get(..length) else { return Ok(None) };
            let message = Message::from_body(kind, body).map_err(CutError::Frame)?;
            self.used += length;
            self.head = None;
            if let Some(message) = message {
                let bytes = u32::try_from(FRAME_HEAD + length).expect("limits are below 4 GiB");
                return Ok(Some((message, bytes)));
            }
        }
    }
}

impl fmt::Display for CutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CutError::Frame(error) => error.fmt(f),
            CutError::Unasked(kind) => write!(f, "an answer of kind {kind} to no question"),
        }
    }
}

impl std::error::Error for CutError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::block::Point;
    use crate::types::clock::Height;
    use crate::types::hash::{BlockHash, Hash};

    fn ping(nonce: u64) -> Message {
        Message::Ping { nonce }
    }

    fn cutter(plain: &[u8]) -> Cutter {
        let mut cutter = Cutter::new(Owed::default());
        cutter.push(plain);
        cutter
    }

    #[test]
    fn later_kinds_are_skipped_and_not_buffered() {
        let mut cutter = cutter(&[200, 0, 1, 0, 0]);
        for _ in 0..16 {
            assert_eq!(cutter.take(), Ok(None));
            cutter.push(&[7; 4096]);
            assert!(cutter.buffer.capacity() <= 2 * 4096);
        }
        assert_eq!(cutter.take(), Ok(None));
        cutter.push(&ping(5).to_frame());
        assert_eq!(cutter.take(), Ok(Some((ping(5), 6))));
    }

    #[test]
    fn a_frame_is_refused_by_its_head() {
        let too_long = FrameError::TooLong { kind: 2, length: 65_537 };
        assert_eq!(cutter(&[2, 0, 1, 0, 1]).take(), Err(CutError::Frame(too_long)));
        assert_eq!(cutter(&[63, 0, 0, 0, 0]).take(), Err(CutError::Frame(FrameError::Kind(63))));
        assert_eq!(cutter(&[10, 0, 32, 0, 0]).take(), Err(CutError::Unasked(10)));
    }

    #[test]
    fn what_comes_unasked_is_no_larger_than_a_quorum_of_all_voters() {
        use crate::types::key::{PublicKey, Signature};
        use crate::types::message::QUORUM_BYTES_MAX;
        use crate::types::seal::{HNS_MAX, Proposal, Quorum, Step, Vote};

        let checkpoint = crate::machine::bed::checkpoint(u64::MAX, 0xff);
        let signature = Signature([0xff; 64]);
        let votes: Vec<_> = (0..4_096).map(|position| (position, signature)).collect();
        assert_eq!(votes.len(), HNS_MAX);
        let quorum = Quorum::new(checkpoint, u32::MAX, &votes);
        let vote = Vote {
            index: u64::MAX,
            view: u32::MAX,
            step: Step::Propose,
            value: Some(Hash([0xff; 32])),
            voter: PublicKey([0xff; 32]),
            signature,
        };
        let proposal = Proposal { vote, checkpoint, prepared: Some(quorum.clone()) };
        for message in [Message::Prepared(Box::new(quorum)), Message::Proposal(Box::new(proposal))]
        {
            let frame = message.to_frame();
            let bytes = frame.len() - FRAME_HEAD;
            assert!((QUORUM_BYTES_MAX - 1024..=QUORUM_BYTES_MAX).contains(&bytes), "{bytes}");
            assert_eq!(cutter(&frame).take().map(|it| it.map(|(it, _)| it)), Ok(Some(message)));

            let length = u32::try_from(QUORUM_BYTES_MAX).expect("small") + 1;
            let head = [&frame[..1], &length.to_be_bytes()].concat();
            let too_long = FrameError::TooLong { kind: frame[0], length };
            assert_eq!(cutter(&head).take(), Err(CutError::Frame(too_long)));
        }
    }

    #[test]
    fn a_large_answer_comes_once_for_each_question() {
        let mut cutter = cutter(&[]);
        let above = Point { height: Height(1), hash: BlockHash(Hash([1; 32])) };
        cutter.owed.asked(&Message::WantHeaders { request: 1, above });
        let answer = Message::Headers { request: 1, headers: Vec::new() };
        cutter.push(&answer.to_frame());
        assert_eq!(cutter.take(), Ok(Some((answer.clone(), 7))));
        cutter.push(&answer.to_frame());
        assert_eq!(cutter.take(), Err(CutError::Unasked(14)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn any_split_gives_the_same_messages(nonces in prop::collection::vec(any::<u64>(), 1..20), size in 1usize..30) {
            let stream: Vec<u8> = nonces.iter().flat_map(|nonce| ping(*nonce).to_frame()).collect();
            let mut cutter = cutter(&[]);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                cutter.push(piece);
                while let Some((message, _)) = cutter.take().expect("all are good") {
                    found.push(message);
                }
            }
            prop_assert_eq!(found, nonces.iter().map(|nonce| ping(*nonce)).collect::<Vec<_>>());
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut cutter = cutter(&bytes);
            while let Ok(Some(_)) = cutter.take() {}
        }
    }
}
