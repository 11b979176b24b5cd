//! The commands that ask a running node, in a devnet of two.

use super::*;

/// The answer of a command in JSON, which has this schema; the same command for people prints something.
fn ask(net: &Devnet, node: usize, command: &str, schema: &str) -> Value {
    let config = net.config(node);
    let words: Vec<&str> = command.split(' ').chain(["--config", &config]).collect();
    assert!(!text(&hypernode(&words)).is_empty(), "{command}");
    let answer = json(&hypernode(&[&words[..], &["--json"]].concat()));
    assert_eq!(answer["schema"], format!("hypernode.{schema}/1"), "{command}: {answer}");
    answer
}

/// The code of the error, and the exit code, of a command that fails.
fn fails(net: &Devnet, command: &str) -> (String, i32) {
    let config = net.config(1);
    let words: Vec<&str> = command.split(' ').chain(["--config", &config, "--json"]).collect();
    let output = hypernode(&words);
    let error = &json(&output)["error"];
    for field in ["message", "action"] {
        assert!(error[field].as_str().is_some_and(|it| !it.is_empty()), "{command}: {error}");
    }
    let code = error["code"].as_str().expect("a code").to_owned();
    (code, output.status.code().expect("it ends by itself"))
}

fn list<'a>(answer: &'a Value, name: &str) -> &'a [Value] {
    answer[name].as_array().unwrap_or_else(|| panic!("{name}: {answer}"))
}

#[test]
fn a_chain_can_be_looked_at_from_every_side() {
    let mut net = Devnet::start(&["--nodes", "2", "--slot", "1s", "--slots", "3"]);
    let status = net.wait_for_height(1, 3);
    let own = status["address"].as_str().expect("an address").to_owned();

    // The round of block 1 is over or runs: its slot has its block, and the juror is the forger.
    let block = ask(&net, 1, "block 1", "block");
    let round = ask(&net, 1, &format!("round {}", block["round"]), "round");
    let slots = list(&round, "slots");
    assert_eq!(slots.len(), 3);
    let slot = &slots[usize::try_from(block["slot"].as_u64().expect("a slot")).expect("few")];
    assert_eq!((&slot["state"], &slot["height"]), (&"forged".into(), &1.into()));
    assert_eq!((&slot["hash"], &slot["juror"]), (&block["hash"], &block["forger_address"]));
    assert_eq!(slot["messages"], list(&block, "messages").len());
    assert_eq!(slot["own"], slot["juror"] == own.as_str());
    let present = ask(&net, 1, "round", "round");
    assert!(present["round"].as_u64() >= round["round"].as_u64());
    assert_eq!(fails(&net, "round 1000000"), ("not_found".to_owned(), 1));

    let duties = ask(&net, 1, "duties", "duties");
    assert_eq!(duties["masternode"], true);
    for duty in list(&duties, "will_forge") {
        assert!(duty["starts_at"].is_u64() && duty["round"].is_u64(), "{duty}");
    }
    let heights = ask(&net, 1, "heights", "heights");
    assert!(list(&heights, "tips").iter().any(|tip| tip["ours"] == true), "{heights}");

    let blocks = ask(&net, 1, "blocks 1 --count 2", "blocks");
    let hashes: Vec<&Value> = list(&blocks, "blocks").iter().map(|block| &block["hash"]).collect();
    assert_eq!((hashes.len(), hashes[0]), (2, &block["hash"]));
    assert_eq!(fails(&net, "blocks --count 65"), ("bad_query".to_owned(), 2));

    // All that block 1 holds is found again, by its id and by who sent it.
    let message = &list(&block, "messages")[0];
    let id = message["id"].as_str().expect("an id");
    let found = ask(&net, 1, &format!("tx {id} --from 1"), "message");
    assert_eq!((&found["found"]["height"], &found["found"]["id"]), (&1.into(), &message["id"]));
    assert_eq!(found["found"]["signature"], message["signature"]);
    let unknown = "00".repeat(32);
    assert_eq!(fails(&net, &format!("tx {unknown}")), ("not_found".to_owned(), 1));
    assert_eq!(fails(&net, "tx 12"), ("usage".to_owned(), 2));
    assert_eq!(fails(&net, &format!("tx {unknown}?from=3")), ("usage".to_owned(), 2));
    let sender = message["sender_address"].as_str().expect("an address");
    let account = ask(&net, 1, &format!("address {sender} --from 1"), "account");
    assert_eq!((&account["registered"]["weight"], &account["next"]), (&1.into(), &Value::Null));
    assert!(list(&account, "messages").iter().any(|sent| sent["id"] == message["id"]));
    let forger = block["forger_address"].as_str().expect("an address");
    let forged = ask(&net, 1, &format!("address {forger} --from 1"), "account");
    assert_eq!(list(&forged, "blocks")[0]["hash"], block["hash"]);
    let late = ask(&net, 1, &format!("address {forger} --from 1000000"), "account");
    assert_eq!((list(&late, "blocks").len(), &late["next"]), (0, &Value::Null));
    assert_eq!(fails(&net, "address B123").1, 2);
    assert_eq!(fails(&net, "address a/../b"), ("character".to_owned(), 2));
    let key = status["public_key"].as_str().expect("a key");
    assert_eq!(fails(&net, &format!("address {key}")).1, 2);
}

#[test]
fn ping_tells_who_answers_and_why_nobody_does() {
    let mut net = Devnet::start(&["--nodes", "1", "--slot", "1s", "--slots", "2"]);
    let status = net.wait_until_answering(1);
    let config = fs::read_to_string(net.config(1)).expect("a configuration");
    let listen = config.lines().find_map(|line| line.strip_prefix("listen = "));
    let endpoint = listen.expect("it listens").trim_matches('"').to_owned();
    let answer = ask(&net, 1, &format!("ping {endpoint} --count 2"), "ping");
    assert_eq!(
        (&answer["address"], &answer["public_key"]),
        (&status["address"], &status["public_key"])
    );
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        (&answer["parameters_match"], &answer["endpoint"]),
        (&true.into(), &endpoint.into())
    );
    assert_eq!(list(&answer, "round_trip_us").len(), 2);
    // The same machine, the same clock.
    let offset = answer["clock_offset_ms"].as_i64().expect("a number");
    assert!(offset.abs() < 60_000, "{offset}");

    let endpoint = answer["endpoint"].as_str().expect("a text");
    let other = hypernode(&["ping", endpoint, "--network", "test", "--json"]);
    assert_eq!(other.status.code(), Some(69));
    let said = json(&other)["error"]["message"].as_str().expect("a text").to_owned();
    assert!(said.contains("another network"), "{said}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let nobody = free.local_addr().expect("it has one").to_string();
    drop(free);
    assert_eq!(fails(&net, &format!("ping {nobody}")), ("unreachable".to_owned(), 69));
    assert_eq!(fails(&net, "ping nowhere"), ("endpoint".to_owned(), 2));
    assert_eq!(fails(&net, "ping [::1]:80"), ("endpoint".to_owned(), 2));
    assert_eq!(fails(&net, &format!("ping {nobody} --count 21")), ("usage".to_owned(), 2));
}

#[test]
fn follow_prints_each_block_once_in_order_and_ends_with_its_reader() {
    let mut net = Devnet::start(&["--nodes", "1", "--slot", "1s", "--slots", "2"]);
    net.wait_for_height(1, 2);
    let mut follow = Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["follow", "--from", "1", "--config", &net.config(1)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let lines =
        std::io::BufRead::lines(std::io::BufReader::new(follow.stdout.take().expect("a pipe")));
    let mut below = None;
    for (line, height) in lines.take(4).zip(1..) {
        let block: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        assert_eq!(
            (&block["schema"], &block["height"]),
            (&"hypernode.block/1".into(), &height.into())
        );
        assert!(below.is_none_or(|below| below == block["previous"]), "{block}");
        below = Some(block["hash"].clone());
    }
    // Its reader has gone: the next block ends it, quietly.
    let end = wait_for("its end", || follow.try_wait().expect("it is our child"));
    assert_eq!(end.code(), Some(0));
}
