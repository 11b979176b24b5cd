//! A devnet whose HNs are registered on a PoW ledger: people join and leave while it runs, the ledger rolls back, stands
//! still, lags, is missing, differs. Blocks and seals go on throughout, and all nodes agree.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rusqlite::Connection;

use super::*;

/// Blocks of the ledger come this fast; four of them in the shortest slot would do as well.
const BLOCK: Duration = Duration::from_millis(500);

/// Mines on ledgers, until it is dropped.
struct Miner {
    paused: Arc<AtomicBool>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Miner {
    /// Each round of it mines a block on each of these, then copies the first to `copy` now and then.
    fn start(ledgers: Vec<PathBuf>, copy: Option<PathBuf>) -> Miner {
        let (paused, ended) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (pause, end) = (paused.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !end.load(Ordering::Relaxed) {
                if !pause.load(Ordering::Relaxed) {
                    for ledger in &ledgers {
                        pow(ledger, "mine", &[]);
                    }
                    if let Some(copy) = copy.as_ref().filter(|_| count % 10 == 0) {
                        copy_ledger(&ledgers[0], copy);
                    }
                    count += 1;
                }
                std::thread::sleep(BLOCK);
            }
        });
        Miner { paused, ended, thread: Some(thread) }
    }

    fn pause(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// `pow-ledger` with an action on a ledger.
fn pow(ledger: &Path, action: &str, arguments: &[&str]) {
    let file = ledger.display().to_string();
    let output = hypernode(&[&["pow-ledger", action, &file], arguments].concat());
    assert!(output.status.success(), "{action}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The height of a ledger.
fn height(ledger: &Path) -> i64 {
    let connection = Connection::open(ledger).expect("a ledger");
    connection.busy_timeout(PATIENCE).expect("it waits");
    let sql = "SELECT max(block_height) FROM transactions";
    connection.query_row(sql, [], |row| row.get(0)).expect("it has blocks")
}

/// A whole copy, put in the place of the one before.
fn copy_ledger(from: &Path, to: &Path) {
    let draft = to.with_extension("draft");
    let connection = Connection::open(from).expect("a ledger");
    connection.busy_timeout(PATIENCE).expect("it waits");
    let sql = format!("VACUUM INTO '{}'", draft.display());
    connection.execute_batch(&sql).expect("a copy");
    fs::rename(draft, to).expect("it moves");
}

impl Devnet {
    fn ledger(&self) -> PathBuf {
        self.dir.join("ledger.db")
    }

    /// What a node is told beside its configuration, from its next start on.
    fn drop_in(&self, node: usize, text: &str) {
        let folder = self.dir.join(format!("node-{node}/conf.d"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("ledger.toml"), text).expect("a file");
    }

    /// Waits until a seal makes a node a masternode, or no longer one.
    fn wait_for_masternode(&mut self, node: usize, is: bool) -> Value {
        let what = if is { "a registration in force" } else { "its end" };
        self.wait(what, |net| net.ask(node).filter(|status| status["masternode"] == is))
    }

    /// So many rounds, in which seals keep coming.
    fn wait_for_seals(&mut self, rounds: u64) -> Value {
        let round = self.wait_until_answering(1)["round"].as_u64().expect("a number") + rounds;
        let sealed = move |status: &Value| status["seal"]["round"].as_u64() >= Some(round);
        self.wait("seals", |net| net.ask(1).filter(sealed))
    }
}

/// One more HN, which is no founder.
struct Newcomer {
    process: Child,
    number: usize,
    owner: String,
    address: String,
    endpoint: String,
}

impl Newcomer {
    fn start(net: &Devnet, number: usize) -> Newcomer {
        let network = net.dir.join("network.toml").display().to_string();
        let dir = net.dir.join(format!("node-{number}"));
        let made = hypernode(&[
            "init",
            "--network",
            &network,
            "--dir",
            &dir.display().to_string(),
            "--json",
        ]);
        let address = json(&made)["address"].as_str().expect("an address").to_owned();
        let config = fs::read_to_string(net.dir.join("node-1/hypernode.toml")).expect("text");
        let listen =
            config.lines().find_map(|line| line.strip_prefix("listen = \"")).expect("a line");
        let net_of = listen.rsplit_once('.').expect("an address").0;
        let endpoint = format!("{net_of}.{number}:6969");
        let process = Command::new(env!("CARGO_BIN_EXE_hypernode"))
            .args(["run", "--config", &net.config(number)])
            .env("HYPERNODE_LISTEN", &endpoint)
            .env("HYPERNODE_LEDGER", net.ledger())
            .stdin(Stdio::null())
            .stderr(fs::File::create(dir.join("node.log")).expect("a log"))
            .spawn()
            .expect("the binary starts");
        let owner = format!("{number:056x}");
        Newcomer { process, number, owner, address, endpoint }
    }

    fn data(&self) -> String {
        format!("{}:{}", self.endpoint, self.address)
    }

    /// Gets its collateral and registers.
    fn register(&self, ledger: &Path) {
        pow(ledger, "pay", &["--to", &self.owner, "--amount", "10001"]);
        pow(ledger, "register", &["--owner", &self.owner, "--data", &self.data()]);
    }
}

impl Drop for Newcomer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The owner and the data of a founder's registration.
fn founder(net: &Devnet, node: usize) -> (String, String) {
    let (ledger, network) = (net.ledger(), net.dir.join("network.toml"));
    let address = net.ask(node).expect("it answers")["address"].clone();
    let output = hypernode(&[
        "registry",
        "list",
        "--ledger",
        &ledger.display().to_string(),
        "--network",
        &network.display().to_string(),
        "--height",
        "1000000",
        "--json",
    ]);
    let list = json(&output);
    let hns = list["registry"].as_array().expect("a list");
    let hn = hns.iter().find(|hn| hn["address"] == address).expect("it is registered");
    let text = |field: &str| hn[field].as_str().expect("text").to_owned();
    (text("owner"), format!("{}:{}:{}", text("ip"), hn["port"], text("address")))
}

fn controller(net: &Devnet) -> String {
    let text = fs::read_to_string(net.dir.join("network.toml")).expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix("controller = \""));
    line.expect("a line").trim_end_matches('"').to_owned()
}

/// A devnet whose nodes may each have a ledger of their own: what they are told is read at their second start.
fn devnet_with_ledgers(drop_ins: &[(usize, &str)]) -> Devnet {
    let slots = ["--nodes", "5", "--slot", "1s", "--slots", "3"];
    let mut net = Devnet::start(&[&slots[..], &["--ledger", "--rounds", "1", "--json"]].concat());
    let first = net.finish();
    assert!(first.status.success(), "{}", String::from_utf8_lossy(&first.stderr));
    for (node, text) in drop_ins {
        net.drop_in(*node, text);
    }
    net
}

#[test]
fn hns_come_and_go_by_the_ledger_while_it_lags_rolls_back_and_stands_still() {
    let mut net = devnet_with_ledgers(&[(4, "ledger = \"../late.db\""), (5, "ledger = \"\"")]);
    let (ledger, late) = (net.ledger(), net.dir.join("late.db"));
    copy_ledger(&ledger, &late);
    net.again(&["--keep", "--no-mining", "--json"]);
    let miner = Miner::start(vec![ledger.clone()], Some(late));
    assert_eq!(net.wait_until_answering(5)["ledger"]["state"], "none");

    let sixth = Newcomer::start(&net, 6);
    let before = net.wait_until_answering(1)["round"].as_u64().expect("a number");
    sixth.register(&ledger);
    let sealed = net.wait_for_masternode(sixth.number, true);
    let forged = net.wait("a block of the sixth", |net| {
        net.ask(6).filter(|status| status["duties"]["forged"].as_u64() > Some(0))
    });
    let (sealed, forged) = (&sealed["round"], &forged["round"]);
    println!("registered in round {before}, sealed in by round {sealed}, forged in round {forged}");

    let (owner, _) = founder(&net, 2);
    pow(&ledger, "pay", &["--from", &owner, "--to", "shop", "--amount", "200"]);
    net.wait_for_masternode(2, false);

    let (_, data) = founder(&net, 3);
    let reasoned = format!("{data},reason=test");
    pow(&ledger, "unregister", &["--sender", &controller(&net), "--data", &reasoned]);
    net.wait_for_masternode(3, false);

    // Sealed in, and then the ledger takes it back.
    let seventh = Newcomer::start(&net, 7);
    let before = height(&ledger);
    seventh.register(&ledger);
    net.wait_for_masternode(7, true);
    miner.pause(true);
    // And two more: a block may be on its way.
    let blocks = height(&ledger) - before + 2;
    pow(&ledger, "rollback", &["--blocks", &blocks.to_string()]);
    miner.pause(false);
    net.wait_for_masternode(7, false);

    // It stands still for three rounds: what is registered meanwhile waits, and seals go on.
    miner.pause(true);
    seventh.register(&ledger);
    net.wait_for_seals(3);
    assert_eq!(net.ask(7).expect("it answers")["masternode"], false);
    miner.pause(false);
    net.wait_for_masternode(7, true);

    drop(miner);
    net.wait("one tip", |net| {
        let tip = |node| Some(net.ask(node)?["tip"]["hash"].clone());
        let tips: Option<Vec<Value>> = (1..=7).map(tip).collect();
        tips.filter(|tips| tips.iter().all(|tip| *tip == tips[0])).map(|_| ())
    });
    for node in 1..=7 {
        let status = net.ask(node).expect("it answers");
        assert_eq!(
            (&status["halt"], &status["evidence_count"]),
            (&Value::Null, &0.into()),
            "{node}"
        );
    }
    net.signal(Signal::INT);
    assert!(net.finish().status.success(), "the nodes agree");
}

#[test]
fn ledgers_that_differ_at_two_of_five_delay_changes_and_nothing_else() {
    let other = "ledger = \"../other.db\"";
    let mut net = devnet_with_ledgers(&[(4, other), (5, other)]);
    let (ledger, other) = (net.ledger(), net.dir.join("other.db"));
    copy_ledger(&ledger, &other);
    net.again(&["--keep", "--no-mining", "--json"]);
    let miner = Miner::start(vec![ledger.clone(), other.clone()], None);
    let sixth = Newcomer::start(&net, 6);
    net.wait_for_seals(1);
    sixth.register(&ledger);
    for node in [4, 5] {
        net.wait("a word on the difference", |net| {
            net.ask(node).filter(|status| status["ledger"]["proposed"] == "differs")
        });
    }
    net.wait_for_seals(3);
    assert_eq!(net.ask(6).expect("it answers")["masternode"], false, "60 % are not enough");
    // Once they are the same it is in force.
    miner.pause(true);
    std::thread::sleep(2 * BLOCK);
    copy_ledger(&ledger, &other);
    miner.pause(false);
    net.wait_for_masternode(6, true);
    drop(miner);
    net.signal(Signal::INT);
    assert!(net.finish().status.success(), "the nodes agree");
}
