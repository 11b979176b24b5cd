//! `ping`: speaks the peer protocol with a node, as an observer that nobody knows.

use std::net::{SocketAddr, SocketAddrV4, ToSocketAddrs};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;
use smol::future::FutureExt;
use smol::{LocalExecutor, Timer};

use super::choice;
use super::config::Layers;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::positive;
use super::output::Output;
use super::secret;
use crate::machine::event::{Event, PeerId};
use crate::shell::clock::SystemClock;
use crate::shell::memory::MemoryClass;
use crate::shell::tcp::Tcp;
use crate::types::key::{PublicKey, Verifier};
use crate::types::message::{Hello, Message, Tip};
use crate::types::network::{Endpoint, Network};
use crate::types::version;

/// All of it is over within this time, connecting included.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two pings.
const PAUSE: Duration = Duration::from_millis(100);
const COUNT_DEFAULT: u64 = 5;
/// More would look like a flood to the node.
const COUNT_MAX: u64 = 20;

/// Speak the peer protocol with a node: its version, who it is, the time there and back, and its clock.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "ping")]
pub struct Ping {
    /// configuration that names the network; without it that of the installed node, or main
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// main, test, or the path of a network file, instead
    #[argh(option)]
    pub network: Option<String>,

    /// pings to send, 5 by default, 20 at most
    #[argh(option, from_str_fn(positive))]
    pub count: Option<u64>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// HOST:PORT of the node
    #[argh(positional)]
    pub node: String,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    endpoint: String,
    version: String,
    address: String,
    public_key: PublicKey,
    /// Whether it goes by the same parameters of the network.
    parameters_match: bool,
    height: Option<u64>,
    seal: Option<u64>,
    /// Of each ping that was answered.
    round_trip_us: Vec<u64>,
    /// Its clock minus ours, by the fastest ping.
    clock_offset_ms: Option<i64>,
}

/// What a node has said so far.
#[derive(Default)]
struct Said {
    hello: Option<Hello>,
    tip: Option<Tip>,
    /// Time there and back, and its clock minus ours.
    pongs: Vec<(Duration, i64)>,
}

impl Ping {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let count = self.count.unwrap_or(COUNT_DEFAULT);
        if count > COUNT_MAX {
            let message = format!("--count is 1 to {COUNT_MAX}");
            return Err(Failure::usage(message));
        }
        let network = match (&self.network, &self.config) {
            (Some(_), Some(_)) => {
                let message = "--network and --config exclude each other";
                return Err(Failure::usage(message));
            }
            (Some(network), None) => choice::load(network)?,
            (None, config) => Layers::read(config.as_deref())?.network()?,
        };
        let endpoint = resolve(&self.node)?;
        let executor = Rc::new(LocalExecutor::new());
        let conversation = async {
            let mut tcp = Tcp::new(&executor, &network, &MemoryClass::Small32.bounds());
            let late = async {
                Timer::after(PATIENCE).await;
                Err(unreachable(&self.node, "it did not answer in time", BUSY))
            };
            let said = converse(&mut tcp, &network, &self.node, endpoint, count).or(late).await;
            tcp.finish().await;
            said
        };
        let said = smol::block_on(executor.run(conversation))?;
        let answer = Answer::new(&network, endpoint, &said)
            .ok_or_else(|| unreachable(&self.node, "it did not say who it is", BUSY))?;
        if self.json {
            out.json("ping", &answer)?;
        } else {
            out.line(answer.text(&network))?;
        }
        Ok(Exit::Done)
    }
}

/// The address of a host and port; names are looked up.
fn resolve(text: &str) -> Result<Endpoint, Failure> {
    let wrong = |message: String| {
        Failure::new(Exit::Usage, "endpoint", message)
            .action("give a name or an IPv4 address and a port, such as 192.0.2.1:6969")
    };
    let found = text
        .to_socket_addrs()
        .map_err(|error| wrong(format!("{text} is no HOST:PORT that is known")).because(&error))?;
    let v4 = found.filter_map(|address| match address {
        SocketAddr::V4(v4) => Some(v4),
        SocketAddr::V6(_) => None,
    });
    let first: Option<SocketAddrV4> = v4.into_iter().next();
    let no_address = || wrong(format!("{text} has no IPv4 address, which is what nodes speak"));
    let first = first.ok_or_else(no_address)?;
    Ok(Endpoint { ip: *first.ip(), port: first.port() })
}

/// What there is to do about a node that does not answer like one.
const BUSY: &str = "try again later; whoever runs it finds the reason in its log";

/// Dials, greets, and pings so many times.
async fn converse(
    tcp: &mut Tcp,
    network: &Network,
    name: &str,
    endpoint: Endpoint,
    count: u64,
) -> Result<Said, Failure> {
    // A key of its own each time: the node shall not take us for anybody.
    let key = secret::generate()?;
    let (clock, mut said) = (SystemClock::start(), Said::default());
    let (mut sent, mut asked) = (0, now());
    tcp.dial(endpoint);
    loop {
        match tcp.next().await {
            Event::Connected { peer, channel, .. } => {
                let hello = Hello::sign(&key, network, (&channel, true), &Verifier::default());
                tcp.send(&[peer], &Message::Hello(hello));
            }
            Event::DialFailed { .. } => {
                let counts = tcp.refused().counts();
                let (why, action) = why(counts.keys().next().copied());
                return Err(unreachable(name, why, action));
            }
            Event::Disconnected { .. } => {
                return Err(unreachable(name, "it closed the connection", BUSY));
            }
            Event::Received { peer, message, .. } => {
                let (wall, elapsed) = (clock.now().wall.0, asked.elapsed());
                if !said.hear(name, &message, wall, elapsed)? {
                    continue;
                }
                if said.pongs.len() as u64 == count {
                    return Ok(said);
                }
                if sent > 0 {
                    Timer::after(PAUSE).await;
                }
                (sent, asked) = (sent + 1, now());
                ping(tcp, peer, sent);
            }
            Event::Wake | Event::Ledger(_) | Event::LedgerSummary(_) | Event::Request { .. } => {}
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a round trip is measured")]
fn now() -> Instant {
    Instant::now()
}

fn ping(tcp: &mut Tcp, peer: PeerId, nonce: u64) {
    tcp.send(&[peer], &Message::Ping { nonce });
}

impl Said {
    /// Takes a message; whether it is time for the next ping.
    fn hear(
        &mut self,
        name: &str,
        message: &Message,
        wall: u64,
        elapsed: Duration,
    ) -> Result<bool, Failure> {
        if let Message::Bye(reason) = message {
            return Err(unreachable(name, &format!("it said: {reason}"), BUSY));
        } else if let Message::Tip(tip) = message {
            self.tip = Some(*tip);
        } else if let Message::Hello(hello) = message {
            self.hello = Some(hello.clone());
            return Ok(true);
        } else if let Message::Pong { clock, .. } = message {
            let half = i64::try_from(elapsed.as_millis() / 2).unwrap_or(i64::MAX);
            let [theirs, ours] = [clock.0, wall].map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
            self.pongs.push((elapsed, theirs.saturating_add(half).saturating_sub(ours)));
            return Ok(true);
        }
        // What else a node says to a peer is of no interest here.
        Ok(false)
    }
}

impl Answer {
    fn new(network: &Network, endpoint: Endpoint, said: &Said) -> Option<Answer> {
        let hello = said.hello.as_ref()?;
        let fastest = said.pongs.iter().min_by_key(|(elapsed, _)| *elapsed);
        let us = |elapsed: &Duration| u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        Some(Answer {
            endpoint: endpoint.to_string(),
            version: version::text(hello.version),
            address: network.address_of(&hello.key).to_string(),
            public_key: hello.key,
            parameters_match: hello.parameters == network.parameters_digest(),
            height: said.tip.map(|tip| tip.point.height.0),
            seal: said.tip.map(|tip| tip.seal),
            round_trip_us: said.pongs.iter().map(|(elapsed, _)| us(elapsed)).collect(),
            clock_offset_ms: fastest.map(|(_, offset)| *offset),
        })
    }

    fn text(&self, network: &Network) -> String {
        let unknown = || "not said".to_owned();
        let mut sorted = self.round_trip_us.clone();
        sorted.sort_unstable();
        let ms = |us: &u64| format!("{}.{:03} ms", us / 1000, us % 1000);
        let times = match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
            (Some(first), Some(middle), Some(last)) => {
                format!("{} median, {} to {}", ms(middle), ms(first), ms(last))
            }
            _ => unknown(),
        };
        let parameters = match self.parameters_match {
            true => "the same",
            false => "others: its network file is older or newer than this one",
        };
        let lines = [
            ("node", format!("{} on {}", self.endpoint, network.name)),
            ("version", self.version.clone()),
            ("address", self.address.clone()),
            ("parameters", parameters.to_owned()),
            ("height", self.height.map_or_else(unknown, |height| height.to_string())),
            ("seal", self.seal.map_or_else(unknown, |seal| seal.to_string())),
            ("round trip", times),
            ("clock", self.clock_offset_ms.map_or_else(unknown, |ms| format!("{ms:+} ms"))),
        ];
        let lines = lines.map(|(name, value)| format!("{name:<10}  {value}"));
        lines.join("\n")
    }
}

fn unreachable(name: &str, why: &str, action: &str) -> Failure {
    Failure::new(Exit::Unreachable, "unreachable", format!("no answer from {name}: {why}"))
        .action(action)
}

/// Why a connection came to nothing, by the code of its handshake, and what to do.
fn why(code: Option<&str>) -> (&'static str, &'static str) {
    let other = "name its network with --network";
    match code {
        None => {
            let action =
                "look at whether the node runs, and at the port in its firewall and router";
            ("nothing accepts connections there", action)
        }
        // A private network has a magic of its own.
        Some("wrong_magic") => ("it is of another network, or no node at all", other),
        Some("wrong_network") => ("it is a node of another network", other),
        Some("wrong_version") => {
            ("it speaks another version of the protocol", "update the older of the two")
        }
        Some("timeout") => ("it did not finish the handshake in time", BUSY),
        Some(_) => ("it broke the handshake off", BUSY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::Timestamp;
    use crate::types::hash::Hash;
    use crate::types::key::SecretKey;
    use crate::types::message::ByeReason;

    #[test]
    fn what_is_no_endpoint_is_said() {
        assert_eq!(
            resolve("127.0.0.1:6969").ok(),
            Some(Endpoint { ip: [127, 0, 0, 1].into(), port: 6969 })
        );
        for bad in ["127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", ":", "", "[::1]:6969"] {
            assert!(resolve(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_fastest_ping_tells_the_clock() {
        let mut said = Said::default();
        let network = Network::test();
        assert!(Answer::new(&network, resolve("127.0.0.1:1").unwrap(), &said).is_none());
        let key = SecretKey::from_seed([3; 32]);
        let channel = Hash([4; 32]);
        let hello = Hello::sign(&key, &network, (&channel, false), &Verifier::default());
        assert!(hello.is_signed(&network, (&channel, false), &Verifier::default()));
        assert!(!hello.is_signed(&network, (&channel, true), &Verifier::default()));
        let pong = |clock| Message::Pong { nonce: 1, clock: Timestamp(clock) };
        for (message, wall, ms) in [
            (Message::Hello(hello), 0, 0),
            (pong(1_000), 1_000, 900),
            (pong(1_000), 1_052, 4),
            (Message::Bye(ByeReason::Full), 0, 0),
        ] {
            let is_bye = matches!(message, Message::Bye(_));
            let heard = said.hear("it", &message, wall, Duration::from_millis(ms));
            assert_eq!(heard.is_err(), is_bye);
        }
        let answer = Answer::new(&network, resolve("127.0.0.1:1").unwrap(), &said);
        let answer = answer.expect("it greeted");
        assert_eq!(answer.clock_offset_ms, Some(-50));
        assert_eq!(answer.round_trip_us, [900_000, 4_000]);
        assert!(answer.text(&network).contains("round trip  900.000 ms median, 4.000 ms to"));
    }
}
