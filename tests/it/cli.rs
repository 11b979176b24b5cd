//! The commands as processes: what they print, where, and how they end. Everything that needs no running node.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use hypernode::sim::{self, Options};
use serde_json::Value;

/// A run of the binary with nothing of ours in its environment.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypernode"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the binary starts")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("output is text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("messages are text")
}

/// What a command prints that ends well.
pub fn good(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// The one line on standard error of a command that ends with `code`; standard output stays empty.
pub fn bad(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{arguments:?}");
    let text = stderr(&output);
    assert_eq!(text.lines().count(), 1, "{arguments:?}: {text}");
    // What is wrong, and what to do about it.
    assert!(text.contains("; "), "{arguments:?}: {text}");
    text
}

/// The JSON error of a command that ends with `code`; standard error stays empty.
pub fn bad_json(code: i32, arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", stderr(&output));
    assert_eq!(stderr(&output), "", "{arguments:?}");
    let value: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    let error = value["error"].as_object().expect("an error");
    let keys: Vec<&str> = error.keys().map(String::as_str).collect();
    assert_eq!(keys, ["action", "code", "message"]);
    assert!(error["action"].is_string(), "{arguments:?}: {error:?}");
    value["error"].clone()
}

pub fn json(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "one object on one line: {text}");
    serde_json::from_str(text).expect("JSON")
}

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_str(&fs::read_to_string(path).expect("a golden file")).expect("JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

#[test]
fn golden_addresses_come_out_and_pass_the_check() {
    let vectors = golden("address.json");
    let rows = ["python", "ed25519"].map(|kind| vectors[kind].as_array().expect("rows"));
    for row in rows.into_iter().flatten() {
        for network in ["main", "test"] {
            let address = text(&row[network]);
            let key = text(&row["public_key"]);
            assert_eq!(good(&["address", "--network", network, key]), format!("{address}\n"));
            assert_eq!(good(&["address", "--network", network, "--check", address]), "valid\n");
        }
    }
    for row in vectors["invalid"].as_array().expect("rows") {
        let arguments =
            ["address", "--network", text(&row["network"]), "--check", text(&row["address"])];
        let said = bad(1, &arguments);
        let named = text(&row["why"]).split(" or ").any(|why| said.contains(&format!(" {why}: ")));
        assert!(named, "{row}: {said}");
    }
}

#[test]
fn golden_times_have_their_round_and_slot() {
    let vectors = golden("clock.json");
    for case in vectors["cases"].as_array().expect("cases") {
        let at = case["ts"].to_string();
        let said = json(&good(&["clock", "--network", "main", "--at", &at, "--json"]));
        let keys: Vec<&String> = said.as_object().expect("an object").keys().collect();
        assert_eq!(
            keys,
            ["ends_at", "network", "round", "schema", "seal_slot", "slot", "starts_at"]
        );
        assert_eq!(said["schema"], "hypernode.clock/1");
        assert_eq!(said["network"], "main");
        assert_eq!((&said["round"], &said["slot"]), (&case["round"], &case["slot"]), "{at}");
        assert_eq!(said["seal_slot"], said["slot"] == 19);
        let (starts, ends) = (said["starts_at"].as_u64(), said["ends_at"].as_u64());
        assert_eq!(starts.zip(ends).map(|(starts, ends)| ends - starts), Some(180));
        let at = case["ts"].as_f64().expect("a time");
        assert!((starts.unwrap() as f64..ends.unwrap() as f64).contains(&at));
    }
}

#[test]
fn before_the_origin_there_is_no_round() {
    let arguments = ["clock", "--network", "main", "--at", "1534715999"];
    assert!(bad(1, &arguments).contains("starts at 1534716000"));
    let error = bad_json(1, &[&arguments[..], &["--json"]].concat());
    assert_eq!(error["code"], "before_origin");
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    for arguments in [
        &[][..],
        &["verison"],
        &["clock"],
        &["clock", "--network"],
        &["clock", "--network", "main", "--at=5"],
        &["clock", "--network", "main", "--at", "+5"],
        &["clock", "--network", "main", "--at", "-5"],
        &["address", "--network", "main"],
        &["address", "--network", "main", "00", "--check", "B"],
        &["key"],
        &["key", "export", "nowhere.pem"],
        &["status", "--api", "a.sock", "--config", "b.toml"],
        &["status", "--api", &"a".repeat(108)],
        &["sign-state", "import", "-"],
        &["tx", "a b"],
    ] {
        bad(2, arguments);
    }
    for arguments in [&["clock", "--json"], &["--json", "version"]] {
        assert_eq!(bad_json(2, arguments)["code"], "usage");
    }
    for (arguments, line) in [
        (
            &["devnet", "--nodes", "x"][..],
            r#"--nodes: "x" is not a whole number; see `hypernode devnet --help`"#,
        ),
        (&["block", "x"], r#"height: "x" is not a whole number; see `hypernode block --help`"#),
        (&["seal", "-1"], "unrecognized argument: -1; see `hypernode seal --help`"),
        (&["seal", "x"], r#"index: "x" is not a whole number; see `hypernode seal --help`"#),
        (&["key"], "a command is due: new, show, export, import; see `hypernode key --help`"),
        (&["verison"], "unrecognized argument: verison; see `hypernode --help`"),
    ] {
        assert_eq!(bad(2, arguments).trim_end(), format!("hypernode: {line}"));
    }
    for arguments in [&["--help"][..], &["-h"], &["clock", "--help"], &["key", "new", "--help"]] {
        assert!(good(arguments).starts_with("Usage: hypernode"), "{arguments:?}");
    }
}

#[test]
fn version_says_what_the_binary_is() {
    let start = format!("hypernode {} (", env!("CARGO_PKG_VERSION"));
    for word in ["version", "--version", "-V"] {
        assert!(good(&[word]).starts_with(&start), "{word}");
    }
    let said = json(&good(&["version", "--json"]));
    assert_eq!(said["schema"], "hypernode.version/1");
    assert_eq!(said["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn bad_keys_and_networks_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("net.toml");
    let file = file.to_str().expect("a path");
    assert!(bad(1, &["address", "--network", "main", "zz"]).contains("character 1"));
    assert!(bad(1, &["address", "--network", "main", "abcd"]).contains("32 or 64 bytes"));
    assert!(bad(66, &["address", "--network", file, "00"]).contains("main, test, or the path"));
    fs::write(file, "name = 3\n").unwrap();
    assert!(bad(78, &["clock", "--network", file]).contains("line 1: "));
    assert_eq!(bad_json(78, &["clock", "--network", file, "--json"])["code"], "network");
}

#[test]
fn a_key_is_made_once_with_mode_600_and_survives() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (first, second) = (path("a.pem"), path("b.pem"));
    let made = json(&good(&["key", "new", "--json", &first]));
    let mode = fs::metadata(&first).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&first).unwrap();
    assert!(bad(1, &["key", "new", &first]).contains("exists already"));
    assert_eq!(fs::read(&first).unwrap(), before);

    let shown = json(&good(&["key", "show", "--json", &first]));
    assert_eq!(shown["public_key"], made["public_key"]);
    let key = text(&shown["public_key"]);
    for row in shown["addresses"].as_array().expect("addresses") {
        let address = good(&["address", "--network", text(&row["network"]), key]);
        assert_eq!(address.trim_end(), text(&row["address"]));
    }

    let exported = good(&["key", "export", "--secret", &first]);
    assert_eq!(exported.as_bytes(), before);
    assert_eq!(import(&exported, &second).status.code(), Some(0));
    assert_eq!(fs::read(&second).unwrap(), before);
    assert_eq!(import(&exported, &second).status.code(), Some(1), "it exists");
    assert_eq!(import("nonsense", &path("c.pem")).status.code(), Some(78));
    assert!(!Path::new(&path("c.pem")).exists());
}

fn import(pem: &str, file: &str) -> Output {
    let mut child = command(&["key", "import", file])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(pem.as_bytes()).expect("it reads");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn a_key_file_must_be_there_private_and_exact() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let file = path.to_str().expect("a path");
    assert_eq!(bad_json(66, &["key", "show", file, "--json"])["code"], "key_missing");
    let nowhere = format!("{file}/none/key.pem");
    assert!(bad(66, &["key", "new", &nowhere]).contains("directory"));
    good(&["key", "new", file]);
    for mode in [0o640, 0o604, 0o660] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert!(bad(77, &["key", "show", file]).contains("chmod 600"));
        assert_eq!(bad_json(77, &["key", "show", file, "--json"])["code"], "key_permissions");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let pem = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("# mine\n{pem}")).unwrap();
    assert!(bad(78, &["key", "show", file]).contains("text beside the key"));
}

#[test]
fn a_node_is_made_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("node");
    let dir = dir.to_str().expect("a path");
    let made = json(&good(&["init", "--network", "test", "--dir", dir, "--json"]));
    let shown = json(&good(&["key", "show", "--network", "test", "--json", text(&made["key"])]));
    assert_eq!(shown["addresses"][0]["address"], made["address"]);
    let contents = |dir: &str| {
        let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.display().to_string(), fs::read(&path).unwrap_or_default()))
            .collect();
        files.sort();
        files
    };
    let before = contents(dir);
    assert!(bad(1, &["init", "--network", "main", "--dir", dir]).contains("exists already"));
    assert_eq!(contents(dir), before);
    // A key that was imported first is used.
    fs::remove_file(text(&made["config"])).unwrap();
    let again = json(&good(&["init", "--network", "test", "--dir", dir, "--json"]));
    assert_eq!(again["public_key"], made["public_key"]);
    assert_eq!(again["key_kept"], true);
    assert_eq!(contents(dir), before);
    assert!(good(&["key", "show", "--config", text(&made["config"])]).contains(text(&made["key"])));
}

#[test]
fn a_configuration_says_what_is_wrong_and_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("hypernode.toml");
    let file = path.to_str().expect("a path");
    assert!(bad(66, &["key", "show", "--config", file]).contains("cannot be read"));
    fs::write(&path, "network = \"main\"\n\nlissten = \"127.0.0.1:1\"\n").unwrap();
    let said = bad(78, &["key", "show", "--config", file]);
    assert!(said.contains(&format!("{file}:3: ")), "{said}");
    assert!(said.contains("\"listen\""), "{said}");
    fs::write(&path, "network = \n").unwrap();
    assert!(bad(78, &["key", "show", "--config", file]).contains(&format!("{file}:1: ")));
}

#[test]
fn networks_are_shown_and_checked() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("net.toml");
    let file = path.to_str().expect("a path");
    let main = include_str!("../../config/main.toml");
    fs::write(&path, main).unwrap();
    let shown = json(&good(&["network", "show", "--network", file, "--json"]));
    assert_eq!(shown, json(&good(&["network", "show", "--network", "main", "--json"])));
    assert_eq!(shown["origin"], 1_534_716_000);
    assert_eq!(shown["parameters"][0]["values"]["prefix"], 0x19);
    let checked = json(&good(&["network", "check", file, "--json"]));
    assert_eq!(checked["valid"], true);

    fs::write(&path, main.replace("slots = 19", "slots = 0")).unwrap();
    let output = run(&["network", "check", file]);
    assert_eq!(output.status.code(), Some(78));
    let line = main.lines().position(|line| line.starts_with("slots")).expect("it is there") + 1;
    assert!(stdout(&output).starts_with(&format!("{file}:{line}: error: slots: ")));
    let output = run(&["network", "check", file, "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let checked = json(&stdout(&output));
    assert_eq!(checked["valid"], false);
    assert_eq!(checked["errors"][0]["line"], line);
}

#[test]
fn a_closed_pipe_ends_quietly_and_a_full_disk_loudly() {
    let (reader, writer) = UnixStream::pair().expect("a pair");
    drop(reader);
    let output = command(&["network", "show", "--network", "main"])
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::piped())
        .output()
        .expect("the binary starts");
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").expect("it is there");
    let output = command(&["version"])
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(74));
    assert!(stderr(&output).contains("cannot write the output"));
}

#[test]
fn a_configuration_may_be_named_from_its_own_directory() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("hypernode.toml"), "api_socket = \"api.sock\"\n").unwrap();
    let mut status = command(&["status", "--config", "hypernode.toml"]);
    let output = status.current_dir(folder.path()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
}

#[test]
fn without_a_node_there_is_nothing_to_ask() {
    let nowhere = "/nonexistent/api.sock";
    assert!(bad(3, &["status", "--api", nowhere]).contains("hypernode run"));
    assert_eq!(bad_json(3, &["status", "--api", nowhere, "--json"])["code"], "not_running");
    for command in [&["peers"][..], &["mempool"], &["headers"], &["block", "1"]] {
        bad(69, &[command, &["--api", nowhere]].concat());
    }
    bad(2, &["status", "--api", nowhere, "--config", nowhere]);
    bad(66, &["status", "--config", nowhere]);
    bad(2, &["block", "+1", "--api", nowhere]);
    bad(2, &["headers", "--count", "0", "--api", nowhere]);
}

#[test]
fn a_node_says_why_it_does_not_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (config, network, key) = (path("hypernode.toml"), path("net.toml"), path("key.pem"));
    let run = ["run", "--config", &config];
    let write = |lines: &str| fs::write(&config, lines).expect("the folder is ours");
    let node = |more: &str| {
        format!(
            "network = \"net.toml\"\nkey = \"key.pem\"\nlisten = \"127.0.0.1:1\"\ndata_dir = \"d\"\nsign_dir = \"s\"\napi_socket = \"a\"\n{more}"
        )
    };
    bad(66, &run);
    write(&node(""));
    assert!(bad(66, &run).contains("net.toml"));
    fs::write(&network, "nonsense").unwrap();
    assert!(bad(78, &run).contains("network check"));
    let founder = format!(
        "[[founders]]\npublic_key = \"{}\"\nweight = 1\nip = \"127.0.0.1\"\nport = 1\n",
        "07".repeat(32)
    );
    fs::write(&network, include_str!("../../config/main.toml").to_owned() + &founder).unwrap();
    assert!(bad(66, &run).contains("key"));
    good(&["key", "new", &key]);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(bad(77, &run).contains("0644"));
    for (line, said) in [
        ("log = \"loud\"", "log: \"loud\" is not error, warn"),
        ("map_size = \"1GB\"", "map_size: "),
        ("lives_with = -1", "lives_with: "),
        ("log = true", "log: a text is due, not a boolean"),
        ("datadir = \"x\"", "\"data_dir\""),
        ("listen = \"127.0.0.1:+1\"", "duplicate"),
    ] {
        write(&node(line));
        let error = bad(78, &run);
        assert!(error.contains(&format!("{config}:7")) && error.contains(said), "{line}: {error}");
    }
    write(&node(&format!("api_{} = 1", "x".repeat(120))));
    bad(78, &run);
    write(&node("").replace("= \"a\"", &format!("= \"{}\"", "a".repeat(120))));
    assert!(bad(78, &run).contains("107 bytes"));
    write(&node(""));
    let output = command(&run).env("HYPERNODE_LISTEN", "nowhere").output().expect("it starts");
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("HYPERNODE_LISTEN: listen: "), "{}", stderr(&output));
    assert!(bad(78, &[&run[..], &["--log", "loud"]].concat()).contains("--log: log: "));
    let output = command(&run).env("HYPERNODE_LIVES_WITH", "1").output().expect("it starts");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_simulation_says_in_json_what_became_of_seals() {
    let fields = |seed: &str, rounds: u32, faults: &str| {
        let count = rounds.to_string();
        let said = ["--seed", seed, "--nodes", "4", "--rounds", &count, "--faults", faults];
        let said = json(&good(&[&["sim", "--json"], &said[..]].concat()));
        let faults = faults.parse().expect("a mix");
        let report = sim::run(&Options { seed: seed.to_owned(), nodes: 4, rounds, faults });
        assert_eq!((&said["violations"], &said["blocks"]), (&0.into(), &report.blocks.into()));
        let fields = [report.seals, report.views, report.halted];
        assert_eq!(["seals", "views", "halted"].map(|name| said[name].clone()), fields);
        fields
    };
    assert_eq!(fields("1", 3, "none"), [3, 3, 0], "each round in its first view");
    // Half of the voters lie. A change of the rules may ask for another seed with which it comes to that.
    let [seals, views, halted] = fields("11", 4, "byzantine=2");
    assert!(views > seals && halted > 0, "{seals} seals, {views} views, {halted} halted");
}
