//! Asking the nodes of a devnet how they are. Each has a thread of its own that waits for its answers, so that a node
//! that is stopped delays nobody.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use smol::channel::{Receiver, Sender};

use crate::machine::status::Status;
use crate::shell::client::{self, ClientError};
use crate::shell::document::{HeaderDocument, HeadersDocument, RecentDocument, StatusDocument};
use crate::shell::engine::RecentBlock;
use crate::types::block::Point;
use crate::types::clock::Round;

/// Blocks asked for at a time. A slot brings one or two; what is older is seen at other nodes.
const BLOCKS_COUNT: usize = 64;
/// Looks between two questions for blocks while the tip stays: a block beside the chain moves no tip.
const BLOCKS_EVERY: u32 = 4;
/// Answers waiting to be looked at, per node: the newest is what counts.
const WAITING: usize = 2;

/// What a node said, or that it said nothing.
#[derive(Debug)]
pub struct Answer {
    /// Index of the member.
    pub node: usize,
    /// Nothing when it does not answer, or its storage failed.
    pub status: Option<Box<Status>>,
    /// Valid blocks that it took in lately, on whatever fork.
    pub blocks: Vec<RecentBlock>,
}

/// Asks all nodes again and again, until nobody receives the answers.
#[allow(
    clippy::disallowed_methods,
    reason = "the client blocks, and a stopped node must delay no other"
)]
pub fn start(sockets: Vec<PathBuf>, pause: Duration) -> std::io::Result<Receiver<Answer>> {
    let (sender, receiver) = smol::channel::bounded(sockets.len() * WAITING);
    for (node, socket) in sockets.into_iter().enumerate() {
        let sender = sender.clone();
        let asking = std::thread::Builder::new().name(format!("ask node-{}", node + 1));
        asking.spawn(move || ask(node, &socket, pause, &sender))?;
    }
    Ok(receiver)
}

/// The best chain of a node from its end down to the first block at or after `from`, newest first.
pub fn chain(socket: &Path, tip: Point, from: Round) -> Result<Vec<HeaderDocument>, ClientError> {
    /// Headers that one answer may hold.
    const PAGE: u64 = 512;
    let mut chain: Vec<HeaderDocument> = Vec::new();
    let mut end = tip.height.0 + 1;
    while end > 0 {
        let start = end.saturating_sub(PAGE);
        let path = format!("/v1/headers?start={start}&count={}", end - start);
        let HeadersDocument { headers } = get(socket, &path)?;
        for link in headers.into_iter().rev() {
            match link.round {
                Some(round) if round >= from => chain.push(link),
                _ => return Ok(chain),
            }
        }
        end = start;
    }
    Ok(chain)
}

#[allow(clippy::disallowed_methods, reason = "it is a thread of its own")]
fn ask(node: usize, socket: &Path, pause: Duration, sender: &Sender<Answer>) {
    let mut tip = None;
    let mut looks = 0_u32;
    loop {
        let answer = get(socket, "/v1/status").ok();
        let answer = answer.and_then(|answer: StatusDocument| answer.status);
        let mut blocks = Vec::new();
        if let Some(status) = &answer {
            let moved = tip.replace(status.tip.point) != Some(status.tip.point);
            if moved || looks % BLOCKS_EVERY == 0 {
                let path = format!("/v1/blocks/recent?count={BLOCKS_COUNT}");
                blocks =
                    get(socket, &path).map_or(Vec::new(), |answer: RecentDocument| answer.blocks);
            }
        }
        looks = looks.wrapping_add(1);
        let answer = Answer { node, status: answer.map(Box::new), blocks };
        if sender.send_blocking(answer).is_err() {
            return;
        }
        std::thread::sleep(pause);
    }
}

fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    let answer = client::get(socket, path)?;
    serde_json::from_slice(&answer.body).map_err(|_| ClientError::Malformed)
}
