//! What each path of the API answers.

use std::collections::BTreeMap;
use std::ops::Range;

use hyper::StatusCode;
use serde::Serialize;

use super::super::document::{
    AccountDocument, BlockDocument, BlocksDocument, Document, FoundDocument, HaltDocument,
    HeaderDocument, HeadersDocument, HealthDocument, ListingDocument, MempoolDocument,
    PeersDocument, RecentDocument, RoundDocument, SealDocument, State, StatusDocument,
    TxIdDocument,
};
use super::super::engine::Failure;
use super::super::host;
use super::super::store::StoreError;
use super::{ApiError, Submission, View};
use crate::machine::event::Answer;
use crate::types::address::Address;
use crate::types::clock::{Height, Round};
use crate::types::hash::{Hash, TxId};
use crate::types::hex;
use crate::types::tx::Tx;

/// Headers in one answer, 300 KiB of them.
const HEADERS_MAX: u64 = 512;
const HEADERS_DEFAULT: u64 = 20;
/// Blocks with their messages in one answer.
const BLOCKS_MAX: u64 = 64;
/// Messages of the mempool in one answer.
const MESSAGES_MAX: u64 = 10_000;
const MESSAGES_DEFAULT: u64 = 1_000;
/// The blocks that came in last, all that are remembered.
const RECENT_MAX: u64 = 256;

/// Paths that go on with the name of what is wanted.
const LISTS: [&str; 4] = ["/v1/blocks/", "/v1/seals/", "/v1/addresses/", "/v1/txs/"];

type Answered = Result<(StatusCode, Vec<u8>), ApiError>;

/// The method of a path, if there is such a path.
pub fn method(path: &str) -> Option<&'static str> {
    match path {
        "/v1/txs" => Some("POST"),
        "/health" | "/v1/status" | "/v1/peers" | "/v1/mempool" | "/v1/headers" | "/v1/halt"
        | "/v1/checkpoint" | "/v1/blocks" | "/v1/round" => Some("GET"),
        _ => LISTS.iter().any(|list| path.starts_with(list)).then_some("GET"),
    }
}

/// Answers a GET.
pub fn read(view: &View, path: &str, query: &str) -> Answered {
    match path {
        "/health" => no_query(query).and_then(|()| health(view)),
        "/v1/status" => no_query(query).and_then(|()| status(view)),
        "/v1/peers" => no_query(query).and_then(|()| peers(view)),
        "/v1/halt" => no_query(query).and_then(|()| halt(view)),
        "/v1/mempool" => mempool(view, query),
        "/v1/headers" => headers(view, query),
        "/v1/checkpoint" => checkpoint(view, query),
        "/v1/blocks/recent" => recent(view, query),
        "/v1/blocks" => blocks(view, query),
        "/v1/round" => round(view, query),
        _ => match LISTS.map(|list| path.strip_prefix(list)) {
            [Some(height), ..] => no_query(query).and_then(|()| block(view, height)),
            [_, Some(index), ..] => no_query(query).and_then(|()| seal(view, index)),
            [_, _, Some(address), _] => account(view, address, query),
            [.., Some(id)] => message(view, id, query),
            [None, None, None, None] => Err(ApiError::not_found("there is nothing of this name")),
        },
    }
}

/// Passes a signed message to the core; its answer comes when the message is on disk.
pub async fn submit(view: &View, body: &[u8]) -> Answered {
    let text = std::str::from_utf8(body).unwrap_or("?").trim();
    let bytes = hex::decode(text).map_err(|error| ApiError::bad("bad_hex", error.to_string()))?;
    let tx = Tx::from_bytes(&bytes).map_err(|error| ApiError::bad("bad_tx", error.to_string()))?;
    let (sender, answer) = smol::channel::bounded(1);
    let submission = Submission { tx: Box::new(tx), answer: sender };
    // Both fail in the same way: nobody is there to take it, or to answer.
    let sent = view.submissions.send(submission).await.is_ok();
    match answer.recv().await {
        Ok(Answer::Submitted(Ok(id))) if sent => ok("hypernode.tx/1", TxIdDocument { id }),
        Ok(Answer::Submitted(Err(why))) => Err(ApiError::refused(why)),
        Ok(Answer::Submitted(Ok(_))) | Err(_) => {
            Err(ApiError::storage("the node lost its storage", "ask /v1/status, then try again"))
        }
    }
}

fn health(view: &View) -> Answered {
    let engine = view.engine.borrow();
    let status = engine.status(view.clock.now());
    let status = status.as_ref().map_err(|failure| *failure);
    let code = match State::of(status) {
        State::Running => StatusCode::OK,
        State::Syncing => StatusCode::PARTIAL_CONTENT,
        State::Halted | State::StorageFailed => StatusCode::SERVICE_UNAVAILABLE,
    };
    Ok((code, Document::new("hypernode.health/1", HealthDocument::new(status)).to_json()))
}

fn status(view: &View) -> Answered {
    let engine = view.engine.borrow();
    let status = engine.status(view.clock.now());
    let document = StatusDocument::new(status, &view.refused.counts(), host::open_files_max());
    ok("hypernode.status/1", document)
}

fn halt(view: &View) -> Answered {
    let engine = view.engine.borrow();
    let node = engine.node().map_err(failed)?;
    ok("hypernode.halt/1", HaltDocument::new(node.halted()))
}

fn peers(view: &View) -> Answered {
    let engine = view.engine.borrow();
    let node = engine.node().map_err(failed)?;
    let now = view.clock.now();
    let mut ended = node.ended(now);
    ended.extend(view.refused.ended(engine.network()));
    ended.sort_by_key(|end| end.ended_ms);
    let (peers, aside) = (node.peers(now), node.aside(now));
    ok("hypernode.peers/1", PeersDocument { peers, ended, aside })
}

fn mempool(view: &View, query: &str) -> Answered {
    let query = numbers(query, &["limit"])?;
    let limit = count(&query, "limit", MESSAGES_DEFAULT, MESSAGES_MAX)?;
    let engine = view.engine.borrow();
    let node = engine.node().map_err(failed)?;
    let limit = usize::try_from(limit).expect("at most 10,000");
    ok("hypernode.mempool/1", MempoolDocument { messages: node.mempool(limit) })
}

fn block(view: &View, height: &str) -> Answered {
    let bad = || ApiError::bad("bad_height", "a height is a whole number");
    let height = Height(number(height).ok_or_else(bad)?);
    let engine = view.engine.borrow();
    let found = engine.read(|db| BlockDocument::at(db, engine.network(), height));
    match found.map_err(unreadable)? {
        Some(document) => ok("hypernode.block/1", document),
        None => Err(ApiError::not_found(format!("the chain has no block {height} yet"))),
    }
}

/// Blocks with their messages, the newest by default.
fn blocks(view: &View, query: &str) -> Answered {
    let heights = heights(view, query, BLOCKS_MAX)?;
    let engine = view.engine.borrow();
    let read = engine.read(|db| {
        let block = |height| BlockDocument::at(db, engine.network(), Height(height));
        heights.map_while(block).collect()
    });
    ok("hypernode.blocks/1", BlocksDocument { blocks: read.map_err(unreadable)? })
}

/// A round, the present one by default.
fn round(view: &View, query: &str) -> Answered {
    let query = numbers(query, &["round"])?;
    let engine = view.engine.borrow();
    let (node, network, now) = (engine.node().map_err(failed)?, engine.network(), view.clock.now());
    let present = network.clock.at(now.wall).map(|(round, _)| round);
    let round = query.get("round").copied().map(Round).or(present);
    let round = round.unwrap_or(network.first_round);
    // Later ones depend on seals to come, and on times that no clock has.
    let last = present.unwrap_or(network.first_round).next();
    if round > last {
        let message = format!("of round {round} nothing is known yet, the last is {last}");
        return Err(ApiError::not_found(message));
    }
    let found = engine.read(|db| RoundDocument::at(db, (node, network), now.wall, round));
    ok("hypernode.round/1", found.map_err(unreadable)?)
}

fn account(view: &View, address: &str, query: &str) -> Answered {
    let from = numbers(query, &["from"])?.get("from").copied().map(Height);
    let engine = view.engine.borrow();
    let (node, network) = (engine.node().map_err(failed)?, engine.network());
    let address = Address::parse(address, network.prefix()).map_err(|error| {
        ApiError::bad(error.code(), format!("this is no address of {}: {error}", network.name))
    })?;
    let round = network.clock.at(view.clock.now().wall).map_or(Round(0), |(round, _)| round);
    let state = (node.sealed_state(), round);
    let found = engine.read(|db| AccountDocument::search(db, network, state, &address, from));
    ok("hypernode.account/1", found.map_err(unreadable)?)
}

fn message(view: &View, id: &str, query: &str) -> Answered {
    let from = numbers(query, &["from"])?.get("from").copied().map(Height);
    let bytes: Option<[u8; 32]> = hex::decode(id).ok().and_then(|bytes| bytes.try_into().ok());
    let bad = || ApiError::bad("bad_id", "the id of a message is 32 bytes in hex");
    let id = TxId(Hash(bytes.ok_or_else(bad)?));
    let engine = view.engine.borrow();
    let (node, network) = (engine.node().map_err(failed)?, engine.network());
    let waiting = node.waiting(&id).cloned();
    let found = engine.read(|db| FoundDocument::search(db, network, waiting, id, from));
    ok("hypernode.message/1", found.map_err(unreadable)?)
}

fn seal(view: &View, name: &str) -> Answered {
    let bad = || ApiError::bad("bad_index", "a seal has a whole number, or is the latest");
    let wanted = match name {
        "latest" => None,
        index => Some(number(index).ok_or_else(bad)?),
    };
    let engine = view.engine.borrow();
    let found = engine.read(|db| {
        let newest = SealDocument::newest(db);
        let document = SealDocument::at(db, engine.network(), wanted.unwrap_or(newest));
        document.ok_or(newest)
    });
    match found.map_err(unreadable)? {
        Ok(document) => ok("hypernode.seal/1", document),
        Err(newest) => {
            Err(ApiError::not_found(format!("there is no seal {name} yet, the newest is {newest}")))
        }
    }
}

/// What a network file can list for the next seal: of the last block up to a round, with the voters seen since another.
fn checkpoint(view: &View, query: &str) -> Answered {
    let query = numbers(query, &["round", "seen_since"])?;
    let due = |name: &str| {
        let round = query.get(name).copied().map(Round);
        round.ok_or_else(|| ApiError::bad("bad_query", format!("{name} is due")))
    };
    let (round, seen_since) = (due("round")?, due("seen_since")?);
    let engine = view.engine.borrow();
    let node = engine.node().map_err(failed)?;
    let network = engine.network();
    if !network.clock.is_finished(round, view.clock.now().wall) {
        return Err(ApiError::not_found(format!("round {round} is not over")));
    }
    let listed = engine.read(|db| node.listing(round, seen_since, db)).map_err(unreadable)?;
    match listed {
        Some(listed) => ok("hypernode.checkpoint/1", ListingDocument::new(&listed, network)),
        None => Err(ApiError::not_found(format!(
            "up to round {round} there is no block above the last seal, or nobody active was seen since round {seen_since}"
        ))),
    }
}

fn recent(view: &View, query: &str) -> Answered {
    let query = numbers(query, &["count"])?;
    let count = count(&query, "count", RECENT_MAX, RECENT_MAX)?;
    let engine = view.engine.borrow();
    let count = usize::try_from(count).expect("at most 256");
    let held = engine.recent();
    let surplus = held.len().saturating_sub(count);
    let blocks = held.skip(surplus).copied().collect();
    ok("hypernode.recent/1", RecentDocument { blocks })
}

fn headers(view: &View, query: &str) -> Answered {
    let heights = heights(view, query, HEADERS_MAX)?;
    let engine = view.engine.borrow();
    let read = engine.read(|db| {
        let header = |height| HeaderDocument::at(db, engine.network(), Height(height));
        heights.map_while(header).collect()
    });
    ok("hypernode.headers/1", HeadersDocument { headers: read.map_err(unreadable)? })
}

/// The heights of a list: from its start, or the newest.
fn heights(view: &View, query: &str, most: u64) -> Result<Range<u64>, ApiError> {
    let query = numbers(query, &["start", "count"])?;
    let count = count(&query, "count", HEADERS_DEFAULT, most)?;
    let start = match query.get("start") {
        Some(start) => *start,
        None => {
            let engine = view.engine.borrow();
            let status = engine.status(view.clock.now()).map_err(failed)?;
            (status.tip.point.height.0 + 1).saturating_sub(count)
        }
    };
    Ok(start..start.saturating_add(count))
}

fn ok<T: Serialize>(schema: &'static str, body: T) -> Answered {
    Ok((StatusCode::OK, Document::new(schema, body).to_json()))
}

fn failed(failure: &Failure) -> ApiError {
    ApiError::storage(failure.cause.clone(), failure.action)
}

fn unreadable(error: StoreError) -> ApiError {
    ApiError::storage(error.to_string(), error.action())
}

/// Digits only: `parse` alone takes a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn no_query(query: &str) -> Result<(), ApiError> {
    numbers(query, &[]).map(|_| ())
}

fn numbers<'a>(query: &'a str, known: &[&'static str]) -> Result<BTreeMap<&'a str, u64>, ApiError> {
    let mut found = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if !known.contains(&name) {
            let known = match known {
                [] => "there is none here".to_owned(),
                known => format!("there are {}", known.join(", ")),
            };
            return Err(ApiError::bad("bad_query", format!("no parameter has this name: {known}")));
        }
        let value = number(value)
            .ok_or_else(|| ApiError::bad("bad_query", format!("{name} is a whole number")))?;
        if found.insert(name, value).is_some() {
            return Err(ApiError::bad("bad_query", format!("{name} is there twice")));
        }
    }
    Ok(found)
}

fn count(query: &BTreeMap<&str, u64>, name: &str, default: u64, max: u64) -> Result<u64, ApiError> {
    match query.get(name).copied().unwrap_or(default) {
        count if (1..=max).contains(&count) => Ok(count),
        _ => Err(ApiError::bad("bad_query", format!("{name} is 1 to {max}"))),
    }
}
