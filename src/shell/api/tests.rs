//! The API through the client of the commands: good and bad requests.

use std::io::{Read, Write};

use serde_json::Value;

use super::*;
use crate::machine::halt::{HaltReason, HaltRecord};
use crate::machine::limits::Limits;
use crate::machine::note::ClockDistrust;
use crate::machine::records::{Batch, Table};
use crate::machine::status::{OpenSeal, Status};
use crate::rules::refusal::Refusal;
use crate::shell::client;
use crate::shell::document::HealthDocument;
use crate::shell::engine::Parts;
use crate::shell::guard::Guard;
use crate::shell::store::Store;
use crate::types::block::genesis;
use crate::types::clock::{Round, Timestamp};
use crate::types::hash::Hash;
use crate::types::key::{SecretKey, Verifier};
use crate::types::network::Network;
use crate::types::seal::{Checkpoint, Quorum, Step};
use crate::types::sign::Doubt;
use crate::types::tx::{Body as TxBody, Tx};
use crate::types::{codec, hex};

/// An engine that knows no block and what `batch` has, in a directory of its own.
fn engine(dir: &Path, batch: &Batch) -> Engine {
    let network = Rc::new(Network::test());
    let key = SecretKey::from_seed([1; 32]);
    let mut store = Store::open(dir, network.id(), 1 << 20).expect("a new one");
    store.persist(batch).expect("there is room");
    let guard = Guard::begin(dir, network.id(), key.public()).expect("a new one");
    let clock = SystemClock::start();
    let limits = Limits::default();
    let parts = Parts { network, key, built: Timestamp(0), store, guard, limits };
    Engine::open(parts, clock.now()).expect("an empty database is a good one")
}

/// Serves the API, answering each submission with the next of `answers`, while a client in a thread of its own asks.
fn serve<T: Send + 'static>(
    answers: Vec<Option<Answer>>,
    client: impl FnOnce(&Path) -> T + Send + 'static,
) -> T {
    serve_with(&Batch::default(), answers, client)
}

fn serve_with<T: Send + 'static>(
    batch: &Batch,
    answers: Vec<Option<Answer>>,
    client: impl FnOnce(&Path) -> T + Send + 'static,
) -> T {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("api.sock");
    let executor = LocalExecutor::new();
    let (submissions, submitted) = smol::channel::bounded::<Submission>(1);
    let view = View {
        engine: Rc::new(RefCell::new(engine(dir.path(), batch))),
        clock: Rc::new(SystemClock::start()),
        refused: Refused::default(),
        submissions,
    };
    let listener = bind(&path).expect("the directory is ours");
    let mode = std::fs::metadata(&path).expect("it is made").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let api = Api::start(&executor, listener, &path, view);
    let core = executor.spawn(async move {
        for answer in answers {
            let submission = submitted.recv().await.expect("the API lives");
            if let Some(answer) = answer {
                submission.answer.send(answer).await.expect("the client waits");
            }
        }
    });
    let (done, result) = smol::channel::bounded(1);
    let socket = path.clone();
    #[allow(clippy::disallowed_methods, reason = "commands are other processes and block")]
    let thread = std::thread::spawn(move || done.send_blocking(client(&socket)));
    let result = smol::block_on(executor.run(async {
        let result = result.recv().await;
        api.stop().await;
        drop(core);
        result
    }));
    assert!(!path.exists(), "the socket goes with the API");
    thread.join().expect("the client does not panic").expect("we wait for it");
    result.expect("the client answers")
}

fn get(path: &'static str) -> (u16, Value) {
    let answer = serve(Vec::new(), move |socket| client::get(socket, path)).expect("it answers");
    (answer.status, serde_json::from_slice(&answer.body).expect("all answers are JSON"))
}

fn code(of: &Value) -> &str {
    for field in ["message", "action"] {
        assert!(of["error"][field].as_str().is_some_and(|text| !text.is_empty()), "{of}");
    }
    of["error"]["code"].as_str().expect("errors have a code")
}

fn tx() -> Tx {
    let body = TxBody::Heartbeat { version: 1, commitment: Hash::default(), capacity: 1 };
    let key = SecretKey::from_seed([1; 32]);
    Tx::sign(Round(1), body, &key, &Network::test(), &Verifier::default())
}

fn post(answers: Vec<Option<Answer>>, body: impl Into<Vec<u8>>) -> (u16, Value) {
    let body = body.into();
    let answer = serve(answers, move |socket| client::post(socket, "/v1/txs", &body));
    let answer = answer.expect("it answers");
    (answer.status, serde_json::from_slice(&answer.body).expect("all answers are JSON"))
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    for (path, status, is) in [
        ("/", 404, "not_found"),
        ("/v1/nothing", 404, "not_found"),
        ("/v1/txs", 405, "method_not_allowed"),
        ("/v1/blocks/1", 404, "not_found"),
        ("/v1/blocks/18446744073709551615", 404, "not_found"),
        ("/v1/blocks/18446744073709551616", 400, "bad_height"),
        ("/v1/blocks/+1", 400, "bad_height"),
        ("/v1/blocks/", 400, "bad_height"),
        ("/v1/blocks/1?x=1", 400, "bad_query"),
        ("/v1/headers?start=-1", 400, "bad_query"),
        ("/v1/headers?start=1&start=2", 400, "bad_query"),
        ("/v1/headers?count=513", 400, "bad_query"),
        ("/v1/headers?count=0", 400, "bad_query"),
        ("/v1/mempool?limit=10001", 400, "bad_query"),
        ("/v1/blocks/recent?count=257", 400, "bad_query"),
        ("/v1/seals/1", 404, "not_found"),
        ("/v1/seals/18446744073709551615", 404, "not_found"),
        ("/v1/seals/18446744073709551616", 400, "bad_index"),
        ("/v1/seals/-1", 400, "bad_index"),
        ("/v1/seals/", 400, "bad_index"),
        ("/v1/seals/newest", 400, "bad_index"),
        ("/v1/seals/latest?index=1", 400, "bad_query"),
        ("/v1/blocks?count=65", 400, "bad_query"),
        ("/v1/blocks?height=1", 400, "bad_query"),
        ("/v1/round?round=-1", 400, "bad_query"),
        ("/v1/round?slot=1", 400, "bad_query"),
        ("/v1/round?round=18446744073709551615", 404, "not_found"),
        ("/v1/addresses/", 400, "length"),
        ("/v1/addresses/x?to=1", 400, "bad_query"),
        ("/v1/txs/", 400, "bad_id"),
        ("/v1/txs/00", 400, "bad_id"),
        ("/v1/checkpoint", 400, "bad_query"),
        ("/v1/checkpoint?round=1", 400, "bad_query"),
        ("/v1/checkpoint?round=1&seen_since=0&x=1", 400, "bad_query"),
        ("/v1/checkpoint?round=1&seen_since=0", 404, "not_found"),
        ("/v1/checkpoint?round=18446744073709551615&seen_since=0", 404, "not_found"),
    ] {
        let (found, json) = get(path);
        assert_eq!((found, code(&json)), (status, is), "{path}");
    }
    for path in ["/v1/status", "/v1/seals/1"] {
        let answer = serve(Vec::new(), move |socket| client::post(socket, path, b""));
        assert_eq!(answer.expect("it answers").status, 405, "{path}");
    }
}

#[test]
fn genesis_is_a_block_of_which_a_height_and_a_hash_are_known() {
    let (status, json) = get("/v1/blocks/0");
    assert_eq!((status, &json["schema"]), (200, &Value::from("hypernode.block/1")));
    let hash = genesis(&Network::test()).hash;
    assert_eq!((&json["height"], &json["hash"]), (&Value::from(0), &Value::from(hash.to_string())));
    assert!(json["forger"].is_null());
    let (status, json) = get("/v1/headers?start=0&count=512");
    assert_eq!((status, json["headers"].as_array().map(Vec::len)), (200, Some(1)));
    let (status, json) = get("/v1/headers?start=18446744073709551615");
    assert_eq!((status, json["headers"].as_array().map(Vec::len)), (200, Some(0)));
}

#[test]
fn a_round_without_blocks_has_slots_that_were_missed() {
    let (status, json) = get("/v1/round?round=0");
    assert_eq!((status, &json["schema"]), (200, &Value::from("hypernode.round/1")));
    let clock = Network::test().clock;
    let slots = json["slots"].as_array().expect("slots");
    assert_eq!(slots.len(), clock.slots as usize);
    assert!(slots.iter().all(|slot| slot["state"] == "missed" && slot["height"].is_null()));
    assert_eq!((&json["missed"], &json["blocks"]), (&clock.slots.into(), &0.into()));
    assert_eq!((&json["drawn_from"], &json["sealed"]), (&0.into(), &false.into()));
}

#[test]
fn what_no_block_holds_is_not_found_and_what_was_searched_is_said() {
    let path = format!("/v1/txs/{}?from=5", "00".repeat(32));
    let (status, json) = get(path.leak());
    assert_eq!((status, &json["found"], &json["next"]), (200, &Value::Null, &Value::Null));
    assert_eq!((&json["from"], &json["to"]), (&5.into(), &4.into()));
    let address = Network::test().address_of(&SecretKey::from_seed([1; 32]).public());
    let (status, json) = get(format!("/v1/addresses/{address}").leak());
    assert_eq!((status, &json["address"]), (200, &address.to_string().into()));
    assert_eq!((&json["registered"], &json["active"]), (&Value::Null, &false.into()));
    assert_eq!((&json["from"], &json["to"], &json["next"]), (&1.into(), &0.into(), &Value::Null));
}

#[test]
fn genesis_is_the_seal_before_the_first() {
    let (status, latest) = get("/v1/seals/latest");
    assert_eq!((status, &latest["schema"]), (200, &Value::from("hypernode.seal/1")));
    let hash = crate::types::block::genesis(&Network::test()).hash;
    assert_eq!((&latest["index"], &latest["block"]), (&0.into(), &hash.to_string().into()));
    assert!(latest["certificate"].is_null());
    assert_eq!(get("/v1/seals/0"), (200, latest));
}

#[test]
fn a_node_that_has_halted_is_not_healthy_and_says_why() {
    let (status, json) = get("/health");
    assert_eq!((status, &json["health"], &json["why"]), (200, &"healthy".into(), &Value::Null));
    let (status, json) = get("/v1/halt");
    assert_eq!((status, &json["halted"], &json["evidence"]), (200, &false.into(), &Value::Null));

    let point = genesis(&Network::test());
    let (height, block, state) = (point.height, point.hash, Hash([1; 32]));
    let (registry, voters) = (state, state);
    let checkpoint =
        Checkpoint { index: 1, round: Round(9), height, block, state, registry, voters };
    let certificate = Box::new(Quorum::new(checkpoint, 0, &[]));
    let reason = HaltReason::State { certificate, ours: Hash([2; 32]) };
    let record = HaltRecord { at: Timestamp(5), reason, voters: vec![] };
    let entry = ((Table::Halt, b"halt".to_vec()), Some(codec::encode(&record)));
    let batch = Batch([entry].into());
    let paths = ["/health", "/v1/halt", "/v1/status", "/v1/halt?x=1"];
    let answers = paths.map(|path| {
        let answer = serve_with(&batch, Vec::new(), move |socket| client::get(socket, path));
        let answer = answer.expect("it answers");
        let json: Value = serde_json::from_slice(&answer.body).expect("all answers are JSON");
        (answer.status, json)
    });
    let [(health, why), (halt, evidence), (status, shown), (bad, error)] = answers;
    assert_eq!((health, &why["health"]), (503, &"halted".into()));
    assert!(why["why"].as_str().is_some_and(|why| why.contains("seal 1")), "{why}");
    assert_eq!((halt, &evidence["evidence"]["code"]), (200, &"state_differs".into()));
    assert_eq!(evidence["evidence"]["state"], "02".repeat(32));
    assert_eq!((status, &shown["state"]), (200, &"halted".into()));
    assert_eq!(shown["halt"]["index"], 1);
    assert_eq!((bad, code(&error)), (400, "bad_query"));
}

#[test]
fn health_says_what_is_waited_for_and_why_nothing_is_signed() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let engine = engine(dir.path(), &Batch::default());
    let mut well = engine.status(SystemClock::start().now()).expect("its storage works");
    well.masternode = true;
    well.clock.distrust = None;
    let after = |change: &dyn Fn(&mut Status)| {
        let mut status = well.clone();
        change(&mut status);
        let HealthDocument { health, why } = HealthDocument::new(Ok(&status));
        (health, why.unwrap_or_default())
    };
    let late = OpenSeal {
        index: 3,
        view: 1,
        step: Step::Prepare,
        open_ms: 1,
        late: true,
        voted_percent: 60,
        needed_percent: 67,
        missing: vec![],
        missing_count: 1,
    };
    assert_eq!(after(&|_| ()), ("healthy", String::new()));
    let doubt = |status: &mut Status| {
        status.sign_state.proven = false;
        status.sign_state.doubt = Some(Doubt::Older);
    };
    let (health, why) = after(&doubt);
    assert_eq!(health, "healthy");
    assert_eq!(why, format!("nothing is signed: {}", Doubt::Older));
    let (_, why) = after(&|status| {
        status.sign_state.proven = false;
        status.sign_state.ready_in = Some(Round(7));
    });
    assert!(why.starts_with("nothing is signed: ") && why.ends_with("until round 7"), "{why}");
    let stepped = |status: &mut Status| status.clock.distrust = Some(ClockDistrust::Stepped);
    let (health, why) = after(&stepped);
    assert_eq!(
        (health, why),
        ("healthy", format!("nothing is signed: {}", ClockDistrust::Stepped))
    );
    let (health, why) = after(&|status| status.seal.open = Some(late.clone()));
    assert_eq!((health, why.as_str()), ("healthy", "seal 3 is late: sealing needs 67 %, has 60 %"));
    let in_time = OpenSeal { late: false, ..late.clone() };
    assert_eq!(after(&|status| status.seal.open = Some(in_time.clone())).1, "");
    let (health, why) = after(&|status| (status.sync.behind, status.sync.target) = (true, Some(9)));
    assert_eq!(health, "syncing");
    assert_eq!(why, "fetches blocks that others have: at height 0 of 9");
    let (health, why) = after(&|status| {
        doubt(status);
        stepped(status);
        status.masternode = false;
    });
    assert_eq!((health, why.as_str()), ("healthy", ""), "an observer signs nothing anyway");
}

#[test]
fn a_submitted_message_is_answered_by_the_core() {
    let text = hex::encode(&codec::encode(&tx()));
    let accepted = Answer::Submitted(Ok(tx().id()));
    let (status, json) = post(vec![Some(accepted)], format!(" {text}\n"));
    assert_eq!((status, &json["id"]), (200, &Value::from(tx().id().to_string())));
    let refused = Answer::Submitted(Err(Refusal::Unregistered));
    let (status, json) = post(vec![Some(refused)], text.clone());
    assert_eq!((status, code(&json)), (422, "unregistered"));
    let (status, json) = post(vec![None], text);
    assert_eq!((status, code(&json)), (503, "storage_failed"), "no answer is no success");
}

#[test]
fn what_is_no_message_never_reaches_the_core() {
    let text = hex::encode(&codec::encode(&tx()));
    for (body, status, is) in [
        (String::new(), 400, "bad_tx"),
        ("no hex".to_owned(), 400, "bad_hex"),
        (text[1..].to_owned(), 400, "bad_hex"),
        (text[2..].to_owned(), 400, "bad_tx"),
        (format!("{text}00"), 400, "bad_tx"),
        ("0".repeat(BODY_BYTES_MAX), 400, "bad_tx"),
        ("0".repeat(BODY_BYTES_MAX + 1), 413, "too_large"),
        ("0".repeat(8 * 1024 * 1024), 413, "too_large"),
    ] {
        let length = body.len();
        let (found, json) = post(Vec::new(), body);
        assert_eq!((found, code(&json)), (status, is), "{length} bytes");
    }
}

#[test]
fn a_head_without_end_is_cut_off() {
    let answer = serve(Vec::new(), |socket| {
        let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("it listens");
        let head = format!("GET /health HTTP/1.1\r\nx: {}", "y".repeat(HEAD_BYTES_MAX));
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = Vec::new();
        // The end may be a reset, since not all was read; the answer comes before it.
        let _ = stream.read_to_end(&mut answer);
        answer
    });
    assert!(answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}

#[test]
fn a_socket_is_made_only_where_none_is_in_use() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let long = dir.path().join("x".repeat(120));
    assert!(matches!(bind(&long), Err(SocketError::TooLong { .. })));
    let file = dir.path().join("file");
    std::fs::write(&file, "kept").expect("the directory is ours");
    assert!(matches!(bind(&file), Err(SocketError::NoSocket { .. })));
    assert_eq!(std::fs::read(&file).expect("it is there"), b"kept");
    let path = dir.path().join("api.sock");
    let listener = bind(&path).expect("there is none yet");
    assert!(matches!(bind(&path), Err(SocketError::InUse { .. })));
    drop(listener);
    bind(&path).expect("the one there is a leftover");
}
