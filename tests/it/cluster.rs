//! Real processes on loopback: a devnet from its start to its end, nodes that die and stop, and the commands that ask a
//! running node. No test here depends on how fast the machine is: what must come is waited for, and how many slots are
//! filled is not asserted.

#![allow(clippy::disallowed_methods, reason = "processes are waited for")]
#![allow(clippy::panic, reason = "a test that cannot go on says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

mod commands;
mod ledger;
mod seals;

/// Far longer than anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A devnet that runs below a directory of its own.
struct Devnet {
    dir: PathBuf,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Devnet {
    fn start(arguments: &[&str]) -> Devnet {
        let folder = tempfile::tempdir().expect("a folder");
        let dir = folder.path().join("net");
        let process = devnet(&dir, arguments);
        Devnet { dir, process, _folder: folder }
    }

    /// Runs another in the same directory.
    fn again(&mut self, arguments: &[&str]) {
        self.process = devnet(&self.dir, arguments);
    }

    fn config(&self, node: usize) -> String {
        self.dir.join(format!("node-{node}/hypernode.toml")).display().to_string()
    }

    /// Waits for something that only a devnet that runs can bring.
    fn wait<T>(&mut self, what: &str, look: impl Fn(&Devnet) -> Option<T>) -> T {
        wait_for(what, || {
            let found = look(self);
            if found.is_none() && self.process.try_wait().expect("it is our child").is_some() {
                panic!("{what}: the devnet has ended: {:?}", self.finish());
            }
            found
        })
    }

    /// The process of a node, as soon as there is one.
    fn node(&mut self, node: usize) -> u32 {
        let config = self.config(node);
        self.wait("a node's process", |_| {
            processes().into_iter().find(|(_, line)| line.contains(&config)).map(|(pid, _)| pid)
        })
    }

    fn wait_until_answering(&mut self, node: usize) -> Value {
        self.wait("an answer", |net| net.ask(node))
    }

    /// The status of a node as soon as its tip is so high.
    fn wait_for_height(&mut self, node: usize, height: u64) -> Value {
        let is_high = |status: &Value| status["tip"]["height"].as_u64() >= Some(height);
        self.wait("a block", |net| net.ask(node).filter(is_high))
    }

    /// The status of a node, if it answers.
    fn ask(&self, node: usize) -> Option<Value> {
        let output = hypernode(&["status", "--json", "--config", &self.config(node)]);
        output.status.success().then(|| json(&output))
    }

    /// Nodes that still run.
    fn left(&self) -> Vec<String> {
        let dir = self.dir.display().to_string();
        let is_ours = |line: &String| line.contains("run") && line.contains(&dir);
        processes().into_iter().map(|(_, line)| line).filter(is_ours).collect()
    }

    fn wait_until_gone(&self) {
        wait_for("the end of all nodes", || self.left().is_empty().then_some(()));
    }

    /// Waits for its end, which it comes to by itself or by a signal.
    fn finish(&mut self) -> Output {
        let finished = |child: &mut Child| child.try_wait().expect("it is our child").is_some();
        wait_for("the end of the devnet", || finished(&mut self.process).then_some(()));
        let mut output = Output {
            status: self.process.wait().expect("it has ended"),
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let read =
            |from: &mut dyn std::io::Read, to: &mut Vec<u8>| from.read_to_end(to).map(|_| ());
        read(self.process.stdout.as_mut().expect("a pipe"), &mut output.stdout).expect("it ends");
        read(self.process.stderr.as_mut().expect("a pipe"), &mut output.stderr).expect("it ends");
        output
    }

    fn signal(&self, signal: Signal) {
        send(self.process.id(), signal);
    }
}

impl Drop for Devnet {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind either: the nodes die with it.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn devnet(dir: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["devnet", "--dir"])
        .arg(dir)
        .args(arguments)
        // What somebody has set for a node of this machine is not for those of a devnet.
        .env("HYPERNODE_DATA_DIR", "/proc/nowhere")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

fn hypernode(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
    command.args(arguments).stdin(Stdio::null()).output().expect("the binary starts")
}

fn json(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {error}"))
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

/// Sends a signal to a process that runs.
pub fn send(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, signal).expect("it runs");
}

/// Looks again and again until there is something.
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: not within {PATIENCE:?}");
}

/// All processes that run and their command lines.
fn processes() -> Vec<(u32, String)> {
    let entries = fs::read_dir("/proc").expect("there is a /proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let line = |pid: u32| {
        // A zombie has no command line.
        let bytes =
            fs::read(format!("/proc/{pid}/cmdline")).ok().filter(|line| !line.is_empty())?;
        Some((pid, String::from_utf8_lossy(&bytes).replace('\0', " ")))
    };
    pids.filter_map(line).collect()
}

/// Parent and process group, as /proc/PID/stat has them.
fn family(process: u32) -> (u32, u32) {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("it runs");
    let rest = stat.rsplit_once(')').expect("the name is in parentheses").1;
    let field = |number: usize| {
        rest.split_whitespace().nth(number).and_then(|field| field.parse().ok()).expect("a number")
    };
    (field(1), field(2))
}

#[test]
fn a_devnet_survives_the_loss_of_a_node_and_takes_it_back() {
    let mut net =
        Devnet::start(&["--nodes", "3", "--slot", "1s", "--slots", "3", "--rounds", "3", "--json"]);
    for node in 1..=3 {
        let process = net.node(node);
        assert_eq!(family(process), (net.process.id(), process), "a child in its own group");
        net.wait_until_answering(node);
    }
    net.wait_for_height(1, 1);
    let killed = net.node(2);
    send(killed, Signal::KILL);
    // Until it has ended, it holds its database.
    wait_for("its end", || processes().iter().all(|(pid, _)| *pid != killed).then_some(()));
    let mut restarted = Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["run", "--config", &net.config(2)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    net.wait_until_answering(2);

    let output = net.finish();
    let summary = json(&output);
    assert_eq!(output.status.code(), Some(0), "{summary}");
    assert_eq!(summary["schema"], "hypernode.devnet/1");
    assert_eq!((&summary["nodes"], &summary["rounds"]), (&3.into(), &3.into()));
    assert_eq!(summary["forging_slots"], 6);
    let missed = summary["missed"].as_object().expect("counts");
    let missed: u64 = missed.values().map(|count| count.as_u64().expect("a count")).sum();
    assert_eq!(summary["blocks"].as_u64().expect("a count") + missed, 6);
    assert_eq!(summary["forks"], 0);
    let tips = &summary["final_tip"];
    assert!(tips["node-1"]["hash"].is_string());
    for node in ["node-2", "node-3"] {
        assert_eq!(tips[node], tips["node-1"], "{summary}");
    }
    assert!(restarted.wait().expect("it ends with the devnet").success());
    assert_eq!(net.left(), Vec::<String>::new());
}

#[test]
fn nobody_outlives_a_devnet_that_is_killed() {
    let mut net = Devnet::start(&["--nodes", "2", "--slot", "1s", "--slots", "2"]);
    net.wait_until_answering(1);
    // A stopped process hears nothing but SIGKILL.
    send(net.node(2), Signal::STOP);
    net.signal(Signal::KILL);
    net.process.wait().expect("it has ended");
    net.wait_until_gone();
}

#[test]
fn a_node_answers_its_commands_and_a_devnet_can_be_kept() {
    let mut net = Devnet::start(&["--nodes", "1", "--slot", "1s", "--slots", "2"]);
    let status = net.wait_for_height(1, 1);
    assert_eq!(status["schema"], "hypernode.status/1");
    let config = net.config(1);
    let ask = |arguments: &[&str]| hypernode(&[arguments, &["--config", &config]].concat());
    let screen = text(&ask(&["status"]));
    for word in
        ["node ", "now ", "tip ", "seal ", "sync ", "duties ", "peers ", "mempool ", "clock "]
    {
        assert!(screen.lines().any(|line| line.starts_with(word)), "{word}: {screen}");
    }
    for (command, schema) in [
        ("peers", "peers"),
        ("mempool", "mempool"),
        ("headers", "headers"),
        ("block 1", "block"),
        ("seal 0", "seal"),
    ] {
        let words: Vec<&str> = command.split(' ').collect();
        let answer = json(&ask(&[&words[..], &["--json"]].concat()));
        assert_eq!(answer["schema"], format!("hypernode.{schema}/1"));
        text(&ask(&words));
    }
    let one = json(&ask(&["headers", "--start", "1", "--count", "1", "--json"]));
    let block = json(&ask(&["block", "1", "--json"]));
    assert_eq!(one["headers"].as_array().map(Vec::len), Some(1));
    assert_eq!(one["headers"][0]["hash"], block["hash"]);
    assert!(text(&ask(&["block", "0"])).contains("height"));
    let missing = ask(&["block", "1000000", "--json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(json(&missing)["error"]["code"], "not_found");
    let refused = ask(&["headers", "--count", "100000"]);
    assert_eq!(refused.status.code(), Some(2));

    let second = hypernode(&["devnet", "--dir", &net.dir.display().to_string()]);
    assert_eq!(second.status.code(), Some(1), "one devnet in a directory");
    net.signal(Signal::TERM);
    let output = net.finish();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("all living nodes share the tip"));
    assert_eq!(net.left(), Vec::<String>::new());
    assert_eq!(ask(&["status"]).status.code(), Some(3));
    assert_eq!(ask(&["peers"]).status.code(), Some(69));
    assert_eq!(json(&ask(&["status", "--json"]))["error"]["code"], "not_running");

    net.again(&["--keep", "--nodes", "2"]);
    assert_eq!(net.finish().status.code(), Some(2), "it has one node");
    net.again(&["--keep", "--rounds", "1", "--json"]);
    let summary = json(&net.finish());
    let height = |value: &Value| value.as_u64().expect("a height");
    let before = height(&status["tip"]["height"]);
    assert!(height(&summary["final_tip"]["node-1"]["height"]) >= before, "{summary}");
}

#[test]
fn a_directory_that_is_not_a_devnets_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("mine"), "x").unwrap();
    let dir = folder.path().display().to_string();
    let output = hypernode(&["devnet", "--dir", &dir, "--rounds", "1"]);
    assert_eq!(output.status.code(), Some(1));
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(names.len(), 1);
    for (flag, value) in [
        ("--nodes", "0"),
        ("--nodes", "255"),
        ("--slot", "500ms"),
        ("--slot", "2"),
        ("--slots", "257"),
    ] {
        let output = hypernode(&["devnet", "--dir", &dir, flag, value]);
        assert_eq!(output.status.code(), Some(2), "{flag} {value}");
    }
    let long = folder.path().join("x".repeat(90)).display().to_string();
    assert_eq!(hypernode(&["devnet", "--dir", &long, "--rounds", "1"]).status.code(), Some(78));
}

#[test]
fn a_network_without_founders_is_not_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().display().to_string();
    text(&hypernode(&["init", "--network", "main", "--dir", &dir]));
    let output = hypernode(&["run", "--config", &format!("{dir}/hypernode.toml")]);
    assert_eq!(output.status.code(), Some(78));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not launched") && said.contains("hypernode devnet"), "{said}");
}

#[test]
fn a_slot_that_passed_while_no_node_ran_is_missed_for_that() {
    let mut net = Devnet::start(&["--nodes", "1", "--slot", "1s", "--slots", "3"]);
    net.wait_for_height(1, 1);
    net.signal(Signal::TERM);
    assert_eq!(net.finish().status.code(), Some(0));
    // Longer than a slot and the time to seal a round: one of its slots has passed.
    let ended = Instant::now();
    wait_for("two slots", || (ended.elapsed() > Duration::from_secs(2)).then_some(()));
    net.again(&["--keep"]);
    net.wait_until_answering(1);
    let config = net.config(1);
    let ask =
        |words: &[&str]| json(&hypernode(&[words, &["--json", "--config", &config]].concat()));
    let duties = ask(&["duties"]);
    let recent = duties["recent"].as_array().expect("a list");
    let missed = recent.iter().find(|duty| duty["missed"] == "not_running");
    let missed = missed.unwrap_or_else(|| panic!("{duties}"));
    let round = ask(&["round", &missed["round"].to_string()]);
    let slots = round["slots"].as_array().expect("a list");
    let slot = slots.iter().find(|slot| slot["slot"] == missed["slot"]).expect("it is one of them");
    let told = (&slot["state"], &slot["own"], &slot["why"]);
    assert_eq!(told, (&"missed".into(), &true.into(), &"not_running".into()));
}
