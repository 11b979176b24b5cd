//! Figures of speed: `cargo bench --bench figures [-- NAME]` prints a table.
//!
//! What is compared is measured in one run, taking turns, in CPU time of the thread (a start in wall time), so that a
//! busy machine slows both alike. Nothing is asserted: read the ratios, and keep them in `docs/benchmarks.md`.

#![allow(clippy::print_stdout, reason = "a table on the terminal is what this is for")]
#![allow(clippy::disallowed_methods, reason = "it takes its arguments")]

mod accept;
mod plan;
#[path = "../../tests/it/sample.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod sample;
mod start;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

fn main() {
    // cargo adds --bench; what else is there names the figures wanted.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|word| name.contains(word));
    println!("| figure | measured | beside it | ratio |");
    println!("|---|---|---|---|");
    let figures: [(&str, fn()); 3] =
        [("plan", plan::figures), ("accept", accept::figures), ("start", start::figures)];
    for (_, run) in figures.iter().filter(|(name, _)| is_wanted(name)) {
        run();
    }
}

/// CPU time of this thread that something takes.
fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = cpu_time();
    std::hint::black_box(work());
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

fn ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn per_second(count: usize, time: Duration) -> String {
    format!("{:.0} /s", count as f64 / time.as_secs_f64())
}

/// One line of the table.
fn row(figure: &str, measured: &str, beside: &str, ratio: f64) {
    println!("| {figure} | {measured} | {beside} | {ratio:.2} |");
}
