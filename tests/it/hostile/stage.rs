//! A network of honest nodes, one of which is attacked: what must hold during each attack.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::SystemTime;

use hypernode::machine::status::Status;
use hypernode::types::network::{Endpoint, Network};

use super::gauge::{Figures, Watch};
use crate::cluster::wait_for;
use crate::sample::Sample;
use crate::twice::member::Member;

/// Anonymous memory of the node, in whatever attack: the 32 MiB that may wait for peers, and half of that for all else.
const ANONYMOUS_KIB_MAX: u64 = 48 * 1024;
/// Connections from outside that a node holds at once.
const CONNECTIONS_MAX: usize = 256;
/// Those that are accepted and not let in yet, its own, and those of commands.
const OTHERS_MAX: usize = 64;
/// Lines of the log that an attack may cause.
const LINES_MAX: usize = 60;
/// And a slot: who forged, the tip, the seal.
const LINES_PER_BLOCK: usize = 6;
/// Blocks by which the chain grows meanwhile.
const GROWTH: u64 = 2;

/// The network. Its first founder is attacked.
pub struct Stage {
    pub sample: Sample,
    members: Vec<Member>,
    attacks: u8,
    _folder: tempfile::TempDir,
}

/// What an attack sees.
pub struct Scene<'a> {
    pub stage: &'a Stage,
    /// Where it comes from: no other attack does.
    pub from: Ipv4Addr,
}

impl Stage {
    /// Starts so many founders of those with these weights, on a network that began so many rounds ago.
    pub fn start(place: u8, weights: &[u8], honest: usize, rounds: u64) -> Stage {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let [.., high, low] = std::process::id().to_be_bytes();
        let origin = format!("origin = {}", since.as_secs() - rounds * 5);
        let name = format!("name = \"hostile-{place}\"");
        let ip = format!("127.{}.{}.", high % 100 + 100 + place, low);
        let edits = [
            ("name = \"sample\"", name.as_str()),
            ("origin = 1700000000", &origin),
            ("slot_seconds = 2", "slot_seconds = 1"),
            ("slots = 5", "slots = 4"),
            ("127.1.0.", &ip),
            ("port = 6969", "port = 4209"),
        ];
        let sample = Sample::edited(weights, &edits);
        let folder = tempfile::tempdir().unwrap();
        let mut members = Vec::new();
        for place in 0..honest {
            let dir = folder.path().join(place.to_string());
            let mut member = Member::new(dir, &sample.network, &sample.keys()[place]);
            member.log_at("info");
            member.start();
            members.push(member);
        }
        let mut stage = Stage { sample, members, attacks: 0, _folder: folder };
        stage.wait("a block", |status| status.tip.point.height.0 > 0);
        stage
    }

    /// The network of all.
    pub fn network(&self) -> &Rc<Network> {
        &self.sample.network
    }

    /// The node that is attacked.
    pub fn node(&self) -> &Member {
        &self.members[0]
    }

    /// Where it listens.
    pub fn at(&self) -> Endpoint {
        self.sample.network.founders[0].endpoint()
    }

    /// Waits until it is so with all.
    pub fn wait(&mut self, what: &str, is_so: impl Fn(&Status) -> bool) {
        for member in &mut self.members {
            member.wait(what, &is_so);
        }
    }

    /// Attacks the node. What the attack returns is held while the chain grows, and then given up.
    pub fn attack<T>(&mut self, name: &str, attack: impl FnOnce(&Scene<'_>) -> T) {
        self.attacks += 1;
        let from = Ipv4Addr::new(127, 77, self.attacks, 1);
        let process = self.node().process();
        let before = Figures::of(process);
        let lines = self.lines();
        let first = self.height();
        let watch = Watch::start(process);
        let held = attack(&Scene { stage: self, from });
        let next = self.height();
        self.wait("that the chain goes on", |it| it.tip.point.height.0 >= next + GROWTH);
        let peak = watch.stop();
        drop(held);
        let gone = |figures: &Figures| figures.sockets <= before.sockets + OTHERS_MAX / 8;
        let after =
            wait_for("the end of all connections", || Some(Figures::of(process)).filter(gone));
        let said = self.lines() - lines;
        let grown = self.height() - first;
        println!(
            "{name}: before {before}; peak {peak}; after {after}; {said} lines in {grown} blocks"
        );

        assert!(peak.anonymous_kib <= ANONYMOUS_KIB_MAX, "{name}: {peak}");
        let most = before.descriptors + CONNECTIONS_MAX + OTHERS_MAX;
        assert!(peak.descriptors <= most, "{name}: {peak}");
        let most = LINES_MAX + LINES_PER_BLOCK * usize::try_from(grown).unwrap();
        assert!(said <= most, "{name}: {said} lines: {}", self.node().log());
    }

    fn height(&self) -> u64 {
        let heights = self.members.iter().map(|member| member.status().unwrap().tip.point.height.0);
        heights.max().unwrap()
    }

    fn lines(&self) -> usize {
        self.node().log().lines().count()
    }
}

impl Scene<'_> {
    /// The network of all.
    pub fn network(&self) -> &Rc<Network> {
        self.stage.network()
    }

    /// Where the node listens.
    pub fn at(&self) -> Endpoint {
        self.stage.at()
    }

    /// How connections from here have ended, and how many so.
    pub fn ends(&self) -> BTreeMap<String, u64> {
        let mut ends = BTreeMap::new();
        let from = format!("{}:", self.from);
        for end in self.stage.node().peers().ended {
            if end.endpoint.starts_with(&from) {
                *ends.entry(end.code).or_default() += end.count;
            }
        }
        ends
    }

    /// Waits until so many have ended so.
    pub fn wait_for_ends(&self, code: &str, count: u64) {
        let what = format!("{count} of {code}");
        let ends = wait_for(&what, || {
            let ends = self.ends();
            // Whatever became of them, so many are over.
            (ends.values().sum::<u64>() >= count).then_some(ends)
        });
        assert_eq!(ends.get(code), Some(&count), "{ends:?}");
    }

    /// Waits until the chain has grown.
    pub fn wait_for_growth(&self) {
        let first = self.stage.height();
        wait_for("that the chain goes on", || {
            (self.stage.height() >= first + GROWTH).then_some(())
        });
    }
}
