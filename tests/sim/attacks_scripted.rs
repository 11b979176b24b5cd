//! Attacks that shaped the protocol, each a scenario with a scripted villain: it must take place, and come to nothing.

use hypernode::sim::scenario;

/// Otherwise one turn to propose lets a private block be sealed, and the network be taken.
#[test]
fn a_private_block_proposed_by_its_forger_is_not_sealed() {
    for seed in 1..=6 {
        let run = scenario::private_block(&format!("private block {seed}"));
        println!("{seed}: {run:?}");
        assert!(run.violations.is_empty(), "{run:?}");
        assert!(run.proposed_at_once > 0, "{run:?}");
        assert_eq!((run.heard, run.held), (run.honest, run.honest), "{run:?}");
        assert_eq!((run.prepared, run.prepared_nil), (0, run.honest), "{run:?}");
        assert_eq!((run.followed, run.in_chain), (0, 0), "{run:?}");
        assert_eq!(run.sealed, run.rounds, "{run:?}");
    }
}
