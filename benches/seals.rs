//! What sealing costs: `cargo bench --bench seals [-- NODES… [short|day]]` prints a table. Delays and bytes are virtual and the same on
//! every machine; the time to check a certificate is CPU time beside as many bare verifications.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a table is what this is for, and how far it is"
)]
#![allow(clippy::disallowed_methods, reason = "it takes its arguments")]

use std::time::Duration;

use ed25519_compact::{PublicKey as BareKey, Signature as BareSignature};
use hypernode::rules::quorum::Electorate;
use hypernode::sim::scenario::{Sealing, Trial, sealing};
use hypernode::types::clock::{Height, Round};
use hypernode::types::codec;
use hypernode::types::hash::{BlockHash, Hash};
use hypernode::types::key::{SecretKey, Verifier};
use hypernode::types::network::Network;
use hypernode::types::seal::{Checkpoint, Quorum, Step, Vote, Voter};
use rustix::time::{ClockId, clock_gettime};

/// One way, in milliseconds.
const LINK_MS: u64 = 100;
/// Rounds simulated that count, and certificates checked.
const ROUNDS: u64 = 3;
const CHECKS: usize = 5;
/// Forging slots of a round, those of the main network.
const SLOTS: u32 = 19;
/// Of more HNs one round counts, and it is shorter, which changes nothing of its seal: a round of 1,000 HNs is a hundred
/// million frames between simulated nodes. What a node receives of everything is then that of a short round.
const HNS_OF_MANY_ROUNDS: usize = 500;
const FEW_SLOTS: u32 = 3;
/// Of an hour each.
const ROUNDS_OF_A_DAY: u64 = 24;

fn main() {
    // cargo adds --bench.
    let wanted: Vec<usize> =
        std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if wanted.is_empty() { vec![100, 300, 1000] } else { wanted };
    let is_wanted = |wanted: &str| std::env::args().any(|word| word == wanted);
    // To compare both lengths of a round.
    let wants_few = is_wanted("short");
    // To see what nodes hold after a day.
    let day = is_wanted("day");
    println!("| HNs | first | half | last | views | votes | bytes of votes | of all |");
    println!("|---|---|---|---|---|---|---|---|");
    for nodes in &sizes {
        let many = *nodes > HNS_OF_MANY_ROUNDS || wants_few;
        let (rounds, slots) = match many {
            _ if day => (ROUNDS_OF_A_DAY, SLOTS),
            true => (1, FEW_SLOTS),
            false => (ROUNDS, SLOTS),
        };
        let mut told = None;
        let trial = Trial { nodes: *nodes, rounds, slots, link_ms: LINK_MS };
        let found = sealing("delay", trial, &mut |percent| {
            if told.replace(percent) != Some(percent) && (many || day) {
                let held = anonymous_kib() / *nodes as u64;
                eprintln!("{nodes} HNs: {percent} %, {held} KiB for each");
            }
        });
        assert!(found.violations.is_empty(), "{:?}", found.violations);
        let ms = |delays: &[Option<u64>]| match Sealing::median(delays) {
            Some(ms) => format!("{ms} ms"),
            None => "never".to_owned(),
        };
        println!(
            "| {nodes} | {} | {} | {} | {} in {} seals | {} | {} | {} |",
            ms(&found.first_ms),
            ms(&found.half_ms),
            ms(&found.last_ms),
            found.views,
            found.seals,
            found.votes,
            found.vote_bytes,
            found.bytes,
        );
    }
    println!();
    println!("| voters | certificate | check | bare verifications | ratio |");
    println!("|---|---|---|---|---|");
    for nodes in &sizes {
        check(*nodes);
    }
}

/// Anonymous memory of this process: of all nodes, with their disks, and what is on its way between them.
fn anonymous_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The time to check a certificate of just enough voters, and that of its bare signatures, taking turns.
fn check(count: usize) {
    let network = Network::main();
    let seed = |number: usize| {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
        seed
    };
    let keys: Vec<SecretKey> =
        (0..count).map(|number| SecretKey::from_seed(seed(number))).collect();
    let voters: Vec<Voter> =
        keys.iter().map(|key| Voter { public_key: key.public(), weight: 1 }).collect();
    let electorate = Electorate::new(&voters);
    let any = Hash([1; 32]);
    let (round, height, block) = (Round(1), Height(19), BlockHash(any));
    let checkpoint =
        Checkpoint { index: 1, round, height, block, state: any, registry: any, voters: any };
    let enough = 2 * count / 3 + 1;
    let place = (1, 0, Step::Commit);
    let sign = |key| {
        let fresh = Verifier::default();
        Vote::sign(place, Some(checkpoint.id()), key, &network, &fresh).signature
    };
    let mut bitmap = vec![0; enough.div_ceil(8)];
    (0..enough).for_each(|at| bitmap[at / 8] |= 1 << (at % 8));
    let signatures: Vec<_> = keys.iter().take(enough).map(sign).collect();
    let quorum = Quorum { checkpoint, view: 0, voters: bitmap, signatures };
    let bare: Vec<(BareKey, BareSignature)> = keys
        .iter()
        .zip(&quorum.signatures)
        .map(|(key, signature)| (BareKey::new(key.public().0), BareSignature::new(signature.0)))
        .collect();
    let (mut checks, mut verifies) = (Vec::new(), Vec::new());
    for _ in 0..CHECKS {
        let fresh = Verifier::default();
        checks.push(timed(|| {
            electorate.check(&quorum, Step::Commit, &network, &fresh).expect("it is one");
        }));
        // A message of the same length: that it does not hold takes as long to find.
        verifies.push(timed(|| {
            for (key, signature) in &bare {
                std::hint::black_box(key.verify([0; 41], signature).is_ok());
            }
        }));
    }
    let (check, bare) = (median(checks), median(verifies));
    println!(
        "| {count} | {} bytes | {:.2} ms | {:.2} ms for {enough} | {:.2} |",
        codec::encode(&quorum).len(),
        check.as_secs_f64() * 1e3,
        bare.as_secs_f64() * 1e3,
        check.as_secs_f64() / bare.as_secs_f64(),
    );
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = cpu_time();
    work();
    cpu_time() - start
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanos) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.expect("not negative"), nanos.expect("below a second"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
