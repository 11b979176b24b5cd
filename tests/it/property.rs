//! What holds for all values: drawn at random from a fixed seed, so that a failure is there again the next time.
//! `PROPTEST_RNG_SEED=n cargo test --test it property` tries others, `PROPTEST_CASES=n` more.

mod arbitrary;
mod beacon;
mod chain;
mod codec;
mod committee;
mod plan;
mod registry;
mod seal;

use proptest::test_runner::{Config, RngSeed};

/// The configuration of a test with this many cases, unless the environment asks for another number or seed.
#[allow(clippy::disallowed_methods, reason = "the environment is asked whether it has wishes")]
fn cases(number: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = number;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(7);
    }
    config
}
