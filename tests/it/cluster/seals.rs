//! Round seals of a devnet: with all nodes, without one, without two, and again with all. How fast they come is measured
//! by `tests/cluster-faults`.

use super::*;

impl Devnet {
    /// The status of a node as soon as it has a seal of a round or a later one, whose block it holds.
    fn wait_for_seal(&mut self, node: usize, round: u64) -> Value {
        let is_sealed = |status: &Value| {
            let seal = &status["seal"];
            seal["index"] != 0
                && seal["round"].as_u64() >= Some(round)
                && seal["adopted"] == seal["index"]
        };
        self.wait("a seal", |net| net.ask(node).filter(is_sealed))
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The voters that a seal lists under a name, by address, and whether they signed it.
fn voters(net: &Devnet, index: &Value, name: &str) -> Vec<(String, bool)> {
    let arguments = ["seal", &index.to_string(), "--json", "--config", &net.config(1)];
    let seal = json(&hypernode(&arguments));
    assert_eq!((&seal["schema"], &seal["index"]), (&"hypernode.seal/1".into(), index));
    let voters = seal[name].as_array().expect("a list").iter().map(|voter| {
        let address = voter["address"].as_str().expect("an address").to_owned();
        (address, voter["signed"] == true)
    });
    voters.collect()
}

#[test]
fn sealing_goes_on_without_one_node_of_five_and_waits_for_two() {
    let mut net = Devnet::start(&["--nodes", "5", "--slot", "1s", "--slots", "3", "--json"]);
    net.wait_for_seal(1, 0);
    let mut address = |node| net.wait_until_answering(node)["address"].as_str().unwrap().to_owned();
    let mut absent = [address(4), address(5)];

    let stopped = net.node(5);
    send(stopped, Signal::STOP);
    let round = number(&net.wait_until_answering(1)["round"]);
    let status = net.wait_for_seal(1, round + 1);
    let signed = voters(&net, &status["seal"]["index"], "voters");
    assert!(signed.iter().all(|(address, signed)| !signed || *address != absent[1]), "{signed:?}");
    send(stopped, Signal::CONT);
    // Who was away for a round is no voter: of two who leave one after the other only the second is missed.
    net.wait("five voters again", |net| {
        let status = net.ask(1)?;
        (voters(net, &status["seal"]["index"], "next_voters").len() == 5).then_some(())
    });

    let killed = net.node(4);
    send(stopped, Signal::STOP);
    send(killed, Signal::KILL);
    absent.sort();
    let status = net.wait("a seal that waits for two", |net| {
        let status = net.ask(1)?;
        let open = &status["seal"]["open"];
        let mut missing: Vec<&str> =
            open["missing"].as_array()?.iter().filter_map(Value::as_str).collect();
        missing.sort_unstable();
        (open["late"] == true && missing == absent).then_some(status)
    });
    let open = &status["seal"]["open"];
    assert_eq!((&open["voted_percent"], &open["needed_percent"]), (&60.into(), &67.into()));
    let screen = text(&hypernode(&["status", "--config", &net.config(1)]));
    assert!(screen.contains("sealing needs 67 %, has 60 %; seal "), "{screen}");
    let shown = screen.lines().find(|line| line.contains("missing: ")).expect("it names them");
    assert!(absent.iter().all(|address| shown.contains(&format!("{}…", &address[..8]))), "{shown}");
    assert!(screen.lines().all(|line| line.chars().count() <= 80), "{screen}");
    let blocks = net.wait_for_height(1, number(&status["tip"]["height"]) + 2);
    assert_eq!(blocks["seal"]["index"], status["seal"]["index"], "blocks go on, sealing does not");

    send(stopped, Signal::CONT);
    let mut restarted = Command::new(env!("CARGO_BIN_EXE_hypernode"))
        .args(["run", "--config", &net.config(4)])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let round = number(&net.wait_until_answering(1)["round"]);
    for node in 1..=5 {
        net.wait_for_seal(node, round);
    }
    net.signal(Signal::TERM);
    let output = net.finish();
    let summary = json(&output);
    // But for the round in which it ended.
    let rounds = number(&summary["rounds"]);
    assert!(number(&summary["sealed_rounds"]) + 1 >= rounds, "no round is left out: {summary}");
    assert!(
        number(&summary["seal_delay_max_ms"]) >= number(&summary["seal_delay_ms"]),
        "{summary}"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("missing: node-4, node-5;"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("seal 1 ")), "{said}");
    assert!(restarted.wait().expect("it ends with the devnet").success());
    assert_eq!(net.left(), Vec::<String>::new());
}

#[test]
fn a_seal_that_is_not_there_is_said_with_a_code() {
    let mut net = Devnet::start(&["--nodes", "1", "--slot", "1s", "--slots", "2"]);
    let status = net.wait_for_seal(1, 0);
    let config = net.config(1);
    let ask =
        |arguments: &[&str]| hypernode(&[&["seal"], arguments, &["--config", &config]].concat());
    let newest = json(&ask(&["--json"]));
    assert!(number(&newest["index"]) >= number(&status["seal"]["index"]));
    assert_eq!(newest["certificate"]["percent"], 100);
    let screen = text(&ask(&["1"]));
    let decided = "decided   in view 0 by 100 % of the weight, 1 of 1";
    assert!(screen.lines().any(|line| line == decided), "{screen}");
    assert!(text(&ask(&["0"])).contains("genesis"));
    let missing = ask(&["1000000", "--json"]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(json(&missing)["error"]["code"], "not_found");
    assert_eq!(ask(&["+1"]).status.code(), Some(2));
    net.wait_for_seal(1, 2);
    net.signal(Signal::TERM);
    let output = net.finish();
    let summary = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(summary.contains(" sealed, "), "{summary}");
    assert_eq!(ask(&[]).status.code(), Some(69));
}
