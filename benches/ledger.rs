//! What following the PoW ledger costs: `cargo bench --bench ledger`.
//!
//! A ledger of a million rows is made, then read from nothing as a node does it, in a process of its own each time so that
//! making it does not count; beside it the `sqlite3` command sums up the same file. Both take turns, medians count, and
//! nothing is asserted: read the ratios, and keep them in `docs/benchmarks.md`.

#![allow(clippy::print_stdout, reason = "a table on the terminal is what this is for")]
#![allow(clippy::disallowed_methods, reason = "it takes times and its arguments")]

use std::error::Error;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hypernode::machine::event::Event;
use hypernode::machine::ledger::{Follower, LedgerNews};
use hypernode::shell::ledger::Watch;
use hypernode::types::address::Address;
use hypernode::types::hash::hash;
use hypernode::types::network::Network;
use hypernode::types::pow::PowAddress;
use hypernode::types::rng::Rng;
use rusqlite::{Connection, params};
use rustix::time::{ClockId, clock_gettime};

const ROWS: usize = 1_000_000;
const ADDRESSES: u32 = 100_000;
/// The first of the addresses register, each once.
const OWNERS: u32 = 1_000;
/// Blocks before the first that registers: each owner gets its collateral in one.
const EARLIER: u64 = 2_000;
/// Blocks with mirror rows are so far apart.
const MIRRORED: u64 = 10;
const TURNS: usize = 5;
/// Blocks that follow, one at a time.
const FOLLOWING: usize = 21;
const TABLE: &str = "CREATE TABLE transactions (block_height INTEGER, timestamp NUMERIC, address TEXT, \
     recipient TEXT, amount NUMERIC, signature TEXT, public_key TEXT, block_hash TEXT, fee NUMERIC, \
     reward NUMERIC, operation TEXT, openfield TEXT)";
const QUERIES: [&str; 2] = [
    "SELECT recipient, SUM(amount+reward) FROM transactions GROUP BY recipient",
    "SELECT address, SUM(amount+fee) FROM transactions GROUP BY address",
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["follow", path] => follow(Path::new(path)),
        ["sum", path] => sum(Path::new(path)),
        [] => compare(),
        _ => Err("no words are needed".into()),
    }
}

/// The parent: makes the ledger, lets both read it in turns, prints the table.
fn compare() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("ledger.db");
    let blocks = make(&path)?;
    let megabytes = std::fs::metadata(&path)?.len() / 1_000_000;
    println!("{ROWS} rows in {blocks} blocks, {megabytes} MB\n");
    let path = path.to_str().ok_or("a path is text here")?;
    let ours = std::env::current_exe()?;
    let sqlite = Command::new("sqlite3").arg("-version").output();
    let has_sqlite = sqlite.is_ok_and(|output| output.status.success());
    let (mut reads, mut sums, mut figures) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (_, out) = timed(Command::new(&ours).args(["follow", path]).stdout(Stdio::piped()))?;
        let mut numbers = Vec::new();
        for word in out.split_whitespace() {
            numbers.push(word.parse::<u64>()?);
        }
        reads.push([numbers[0], numbers[1]].map(Duration::from_micros));
        figures.push(numbers.split_off(2));
        let mut command = match has_sqlite {
            true => Command::new("sqlite3"),
            false => Command::new(&ours),
        };
        match has_sqlite {
            true => command.args(["-readonly", path, &QUERIES.join(";")]),
            false => command.args(["sum", path]),
        };
        sums.push(timed(command.stdout(Stdio::null()))?.0);
    }
    let beside = if has_sqlite { "the queries in `sqlite3`" } else { "the queries in our SQLite" };
    println!("| figure | measured | beside it | ratio |\n|---|---|---|---|");
    for (name, part) in [("CPU", 0), ("wall", 1)] {
        let of = |times: &[[Duration; 2]]| median(times.iter().map(|time| time[part]));
        let (read, sum) = (of(&reads), of(&sums));
        let ratio = read.as_secs_f64() / sum.as_secs_f64();
        println!("| first read, {name} time | {read:.2?} | {sum:.2?} for {beside} | {ratio:.2} |");
    }
    print_figures(&figures);
    Ok(())
}

/// What the children say, in the order of `follow`, medians over the turns.
fn print_figures(figures: &[Vec<u64>]) {
    let middle = |at: usize| median(figures.iter().map(|turn| turn[at]));
    let most = |at: usize| figures.iter().map(|turn| turn[at]).max().unwrap_or(0);
    let us = |at: usize| format!("{:.2?}", Duration::from_micros(middle(at)));
    let (before, peak) = (middle(0), middle(1));
    println!("| anonymous memory, KiB: before, at most | {before}, {peak} | | |");
    println!("| longest look of the first read, CPU | {} | | |", us(2));
    let worst = Duration::from_micros(most(3));
    println!(
        "| longest look of the first read, wall | {}, {worst:.2?} in the worst turn | | |",
        us(3)
    );
    println!("| a look that finds one block, CPU | {} | | |", us(4));
    println!("| a look that finds one block, wall | {} | | |", us(5));
    println!("| writing a summary, at the end of a node, CPU | {} | | |", us(6));
    println!("| writing a summary, wall | {} | | |", us(7));
    println!("| anonymous memory at most with a summary, KiB | {} | | |", middle(8));
    println!("| looks, registered | {}, {} | | |", middle(9), middle(10));
}

/// The child that follows: as a node does it, and says what it cost.
fn follow(path: &Path) -> Result<()> {
    let (folder, started) = (tempfile::tempdir()?, Instant::now());
    let mut follower = Follower::new(Rc::new(Network::main()));
    let before = anonymous()?;
    let mut watch = Watch::new(path, folder.path(), 180_000);
    let (mut peak, mut longest, mut looks) = (before, [Duration::ZERO; 2], 0_u64);
    loop {
        let (time, end) = look(&mut watch, &mut follower)?;
        longest = [0, 1].map(|part| longest[part].max(time[part]));
        peak = peak.max(anonymous()?);
        looks += 1;
        if end {
            break;
        }
    }
    // All of the process until here, as of the command beside it.
    let read = [cpu_time(ClockId::ProcessCPUTime), started.elapsed()].map(|time| time.as_micros());
    println!("{} {}", read[0], read[1]);
    // A node that is stopped keeps its state for the next start.
    let (cpu, wall) = (cpu_time(ClockId::ThreadCPUTime), Instant::now());
    watch.keep_summary(&follower);
    let summary = [cpu_time(ClockId::ThreadCPUTime) - cpu, wall.elapsed()];
    let with_summary = peak.max(anonymous()?);
    let registered = follower.registry().by_owner().len();

    let mut writer = Connection::open(path)?;
    writer.busy_timeout(Duration::from_secs(10))?;
    let mut source = Source::new();
    let mut following = Vec::new();
    for _ in 0..FOLLOWING {
        let tip = follower.tip().ok_or("nothing was read")?.height;
        let transaction = writer.transaction()?;
        source.add_block(&transaction, tip + 1)?;
        transaction.commit()?;
        let (time, _) = look(&mut watch, &mut follower)?;
        if follower.tip().is_none_or(|new| new.height != tip + 1) {
            return Err("the new block was not found".into());
        }
        following.push(time);
    }
    let us = |time: Duration| time.as_micros();
    let following = [0, 1].map(|part| us(median(following.iter().map(|time| time[part]))));
    let [[longest_cpu, longest_wall], [summary_cpu, summary_wall]] =
        [longest.map(us), summary.map(us)];
    println!("{before} {peak} {longest_cpu} {longest_wall} {} {}", following[0], following[1]);
    println!("{summary_cpu} {summary_wall} {with_summary} {looks} {registered}");
    Ok(())
}

/// One look, and what it finds taken in: so long the loop of a node is held. CPU and wall time, and whether that is all.
fn look(watch: &mut Watch, follower: &mut Follower) -> Result<([Duration; 2], bool)> {
    let (cpu, wall) = (cpu_time(ClockId::ThreadCPUTime), Instant::now());
    let Event::Ledger(news) = watch.look(follower) else {
        return Err("no summary is there".into());
    };
    let end = match &news {
        LedgerNews::Blocks { end, .. } => *end,
        other => return Err(format!("not expected: {other:?}").into()),
    };
    follower.hear(&news);
    Ok(([cpu_time(ClockId::ThreadCPUTime) - cpu, wall.elapsed()], end))
}

/// The child that stands in where there is no `sqlite3`.
fn sum(path: &Path) -> Result<()> {
    let connection = Connection::open(path)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for query in QUERIES {
        let mut statement = connection.prepare(query)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (address, sum): (String, f64) = (row.get(0)?, row.get(1)?);
            writeln!(out, "{address}|{sum}")?;
        }
    }
    Ok(())
}

/// CPU and wall time of a process, and what it prints. Ticks of 10 ms are fine enough for what takes seconds.
fn timed(command: &mut Command) -> Result<([Duration; 2], String)> {
    let (cpu, wall) = (children()?, Instant::now());
    let output = command.stderr(Stdio::inherit()).spawn()?.wait_with_output()?;
    let wall = wall.elapsed();
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    Ok(([children()? - cpu, wall], String::from_utf8(output.stdout)?))
}

/// CPU time of the children that have ended.
fn children() -> Result<Duration> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit_once(')').ok_or("no such file")?.1.split_whitespace();
    let mut ticks = 0;
    for field in fields.skip(13).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(ticks * 10))
}

fn cpu_time(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    let (seconds, nanos) = (now.tv_sec.try_into(), now.tv_nsec.try_into());
    Duration::new(seconds.expect("not negative"), nanos.expect("below a second"))
}

/// Anonymous memory of this process, in KiB.
fn anonymous() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    Ok(line.split_whitespace().next().ok_or("no number")?.parse()?)
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort_unstable();
    values[values.len() / 2]
}

/// Writes the ledger; the number of its blocks comes back.
fn make(path: &Path) -> Result<u64> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
    let transaction = connection.transaction()?;
    transaction.execute(TABLE, [])?;
    let mut source = Source::new();
    let (mut rows, mut blocks) = (0, 0);
    while rows < ROWS {
        rows += source.add_block(&transaction, source.first - EARLIER + blocks)?;
        blocks += 1;
    }
    transaction.commit()?;
    Ok(blocks)
}

/// Where rows come from: the same each time.
struct Source {
    rng: Rng,
    addresses: Vec<String>,
    /// The first height that registers.
    first: u64,
    prefix: u8,
}

impl Source {
    fn new() -> Source {
        let address = |number: u32| {
            let digest = hash("bench PoW address", &[&number.to_be_bytes()]);
            PowAddress(digest.0[..28].try_into().expect("28 of 32 bytes")).to_string()
        };
        let network = Network::main();
        Source {
            rng: Rng::from_text("ledger"),
            addresses: (0..ADDRESSES).map(address).collect(),
            first: network.entries()[0].values.ledger.first_height,
            prefix: network.prefix(),
        }
    }

    /// Adds the rows of a block: payments, what an owner does, the reward, mirror rows. Says how many.
    fn add_block(&mut self, connection: &Connection, height: u64) -> Result<usize> {
        let start = height + EARLIER - self.first;
        let payments = 8 + self.rng.index(10);
        let signed = i64::try_from(height)?;
        for _ in 0..payments {
            // Owners get and never pay, so that all of them stay.
            let sender = OWNERS as usize + self.rng.index((ADDRESSES - OWNERS) as usize);
            let recipient = self.rng.index(ADDRESSES as usize);
            let amount = match self.rng.one_in(4) {
                true => self.rng.below(1_000).to_string(),
                false => format!("{}.{:08}", self.rng.below(1_000), self.rng.below(100_000_000)),
            };
            let addresses = [sender, recipient].map(|at| self.addresses[at].clone());
            add(connection, signed, addresses, [&amount, "0.01", "0"], ["0", "a note"])?;
        }
        let (owner, other) = ((start / 2) as usize, self.addresses[OWNERS as usize].clone());
        // The height at which an owner registers, one in ten blocks.
        let registers = start.checked_sub(EARLIER).filter(|at| at % 10 == 0).map(|at| at / 10);
        let paid = [other.clone(), self.addresses[owner.min(OWNERS as usize)].clone()];
        match registers.filter(|owner| *owner < u64::from(OWNERS)) {
            Some(owner) => {
                let key = hash("bench key", &[&owner.to_be_bytes()]);
                let address = Address::of_bytes(&key.0, self.prefix);
                let data = format!("5.1.{}.{}:6969:{address}", owner / 250, owner % 250 + 1);
                let sender = self.addresses[usize::try_from(owner).expect("an index")].clone();
                let content = ["hypernode:register", &data];
                add(connection, signed, [sender.clone(), sender], ["0", "0", "0"], content)?;
            }
            None => {
                let amount = (10_000 * (1 + start % 3) + 5).to_string();
                add(connection, signed, paid, [&amount, "0.01", "0"], ["0", ""])?;
            }
        }
        let miner = self.addresses[self.rng.index(ADDRESSES as usize)].clone();
        add(connection, signed, [miner.clone(), miner], ["0", "0", "9.7"], ["0", "nonce"])?;
        let mirrors = if height % MIRRORED == 0 { 2 } else { 0 };
        for sender in ["Development Reward", "Hypernode Payouts"].into_iter().take(mirrors) {
            let addresses = [sender.to_owned(), other.clone()];
            add(connection, -signed, addresses, ["8", "0", "0"], ["0", "0"])?;
        }
        Ok(payments + 2 + mirrors)
    }
}

/// One row: addresses of sender and recipient; amount, fee, reward; operation and data.
fn add(
    connection: &Connection,
    height: i64,
    addresses: [String; 2],
    numbers: [&str; 3],
    content: [&str; 2],
) -> Result<()> {
    let sql = "INSERT INTO transactions \
               VALUES (?1, ?2, ?3, ?4, ?5, 'signature', 'public_key', ?6, ?7, ?8, ?9, ?10)";
    let time = format!("{}.25", 1_500_000_000 + height.unsigned_abs() * 60);
    let block_hash = hash("bench block", &[&height.to_be_bytes()]).to_string();
    let ([sender, recipient], [amount, fee, reward], [operation, data]) =
        (addresses, numbers, content);
    let cells =
        params![height, time, sender, recipient, amount, block_hash, fee, reward, operation, data];
    connection.prepare(sql)?.execute(cells)?;
    Ok(())
}
