//! Voters that break the protocol, fewer than a third: what they do is done, noticed, and of no effect.

use hypernode::sim::{Misvotes, Mix, Options, run};

#[test]
fn what_byzantine_voters_do_is_noticed_and_breaks_nothing() {
    let faults: Mix = "byzantine=3".parse().unwrap();
    let mut said = Misvotes::default();
    let (mut seals, mut views, mut two_blocks) = (0, 0, 0);
    for seed in 1..=20 {
        let rounds = 4 + seed % 3;
        let options = Options {
            seed: format!("byzantine {seed}"),
            nodes: 10,
            rounds,
            faults: faults.clone(),
        };
        let report = run(&options);
        let found: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "\n{}\nreplay: {}", found.join("\n"), options.command());
        assert_eq!((report.conflicts, report.halted), (0, 0), "{}", options.command());
        let of = report.misvotes;
        said.doubles += of.doubles;
        said.two_values += of.two_values;
        said.misnamed += of.misnamed;
        said.not_open += of.not_open;
        seals += report.seals;
        views += report.views;
        two_blocks += report.two_blocks;
    }
    println!("{said:?}, {seals} seals in {views} views");
    assert_eq!(two_blocks, 0, "they lie about seals alone, so that this counts votes");
    assert!(said.doubles > 0, "nobody votes twice: {said:?}");
    assert!(said.two_values > 0, "nobody proposes two values: {said:?}");
    // That nobody passes them on is a check of every run.
    assert!(said.misnamed > 0, "nobody votes for others: {said:?}");
    assert!(said.not_open > 0, "nobody votes for what is not open: {said:?}");
    assert!(views > seals, "{seals} seals in {views} views");
}
