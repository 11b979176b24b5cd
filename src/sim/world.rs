//! The world: virtual time, the hosts in it, and the driver of each, which does what the shell does for a real node.
//!
//! One event goes in, its effects happen in order, then comes the next event. Times are virtual milliseconds from the
//! start of the world.

mod cut;
mod driver;
mod hands;
mod link;
mod submit;
mod trouble;

use std::rc::Rc;

use super::byzantine::{Byzantine, Ring, View};
use super::cast::Cast;
use super::checks::Checks;
use super::clock::HostClock;
use super::faults::{Fault, FaultKind};
use super::host::Host;
use super::network::{Frame, Net};
use super::queue::{Next, Queue};
use super::script::{Scene, Script, Witness};
use super::trace::Trace;
use super::traffic::Traffic;
use crate::machine::event::{Event, Fault as Breach, PeerId};
use crate::machine::status::Status;
use crate::types::block::Point;
use crate::types::clock::{Round, Slot, Timestamp};
use crate::types::hash::Hash;
use crate::types::network::Endpoint;
use crate::types::rng::Rng;

use cut::StepCut;
pub use hands::{Loss, Sides};

/// What happens by itself, at a time.
pub enum Task {
    /// A host's process starts, unless it has started otherwise since.
    Start {
        host: usize,
        life: u32,
    },
    /// The dialling end of a connection stands.
    Open {
        peer: PeerId,
    },
    /// The accepting end stands.
    Accept {
        peer: PeerId,
    },
    DialFailed {
        host: usize,
        life: u32,
        endpoint: Endpoint,
    },
    Arrive {
        peer: PeerId,
        frame: Frame,
    },
    /// The other end is gone.
    Gone {
        peer: PeerId,
        fault: Breach,
    },
    /// A cut has lasted long.
    TimeOut {
        peer: PeerId,
    },
    FaultStarts(usize),
    FaultEnds(usize),
    /// The faulty phase is over.
    Heal,
    /// A Byzantine host or a stranger may do something.
    Impulse(usize),
    /// A colluding host does its part.
    Plot(usize),
    /// A client submits a report of a test of this round; which one, the number says.
    Submit {
        round: Round,
        draw: u64,
    },
    /// The checks that are not bound to an event.
    Inspect,
    /// A host had a better chain than the one it follows.
    Better {
        host: usize,
        life: u32,
        than: Point,
    },
}

/// Hosts, connections, time.
pub struct World {
    pub cast: Rc<Cast>,
    pub hosts: Vec<Host>,
    pub net: Net,
    pub checks: Checks,
    pub traffic: Vec<Traffic>,
    pub now: u64,
    start: Timestamp,
    pub plan: Vec<Fault>,
    pub(super) queue: Queue<Task>,
    trace: Trace,
    rng: Rng,
    frames: u64,
    requests: Vec<Round>,
    /// Who colludes.
    ring: Rc<Ring>,
    /// Cuts that wait for a step of an instance, or have come with it.
    step_cuts: Vec<StepCut>,
    /// Votes that a scenario loses, and how many were lost in all: by it, or on connections that ended.
    pub losses: Vec<Loss>,
    pub votes_lost: u64,
    /// Of each host: since when events are counted, and how many there were.
    storms: Vec<(u64, u32)>,
    /// Who looks on.
    pub witness: Option<Witness>,
}

impl World {
    /// A world in which nothing runs yet, with what will go wrong in it; its time starts at `start`.
    pub fn new(cast: Rc<Cast>, plan: Vec<Fault>, start: Timestamp, mut rng: Rng) -> World {
        let mut clocks = rng.fork("clocks");
        let colludes = |fault: &&Fault| fault.kind == FaultKind::Byzantine && fault.amount != 0;
        let ring = plan.iter().filter(colludes).map(|fault| cast.keys[fault.host].clone());
        let plots = plan.iter().any(|fault| colludes(&fault) && fault.amount == 2);
        let ring = Ring::new(ring.collect(), plots);
        let hosts: Vec<Host> = cast
            .keys
            .iter()
            .enumerate()
            .map(|(index, key)| {
                let clock = HostClock::new(start, &mut clocks);
                let endpoint = super::cast::endpoint(index);
                let mut host = Host::new(key.clone(), endpoint, clock, rng.fork("host"));
                let habits =
                    plan.iter().any(|fault| fault.host == index && fault.kind.is_byzantine());
                host.honest = index < cast.nodes && !habits;
                let shared = ring.keys.iter().any(|other| other.public() == key.public());
                let ring = if shared { ring.clone() } else { Rc::default() };
                host.byzantine =
                    (!host.honest).then(|| Byzantine::new(key.clone(), ring, rng.fork("wrapper")));
                host
            })
            .collect();
        let mut world = World {
            net: Net::new(hosts.len(), rng.fork("net")),
            checks: Checks::new(cast.clone(), &hosts),
            traffic: hosts.iter().map(|_| Traffic::default()).collect(),
            queue: Queue::new(hosts.len()),
            trace: Trace::default(),
            now: 0,
            start,
            plan,
            frames: 0,
            requests: Vec::new(),
            ring,
            step_cuts: Vec::new(),
            losses: Vec::new(),
            votes_lost: 0,
            storms: vec![(0, 0); hosts.len()],
            witness: None,
            cast,
            hosts,
            rng,
        };
        world.expect_faults();
        world
    }

    /// Makes a host the villain of a scenario: it is not honest from the start, and does what the script says.
    pub fn corrupt(&mut self, host: usize, script: Box<dyn Script>) {
        self.hosts[host].honest = false;
        self.hosts[host].script = Some(script);
        self.checks.distrust(&self.hosts[host].public());
    }

    /// Starts a host's process at a time.
    pub fn start_at(&mut self, host: usize, time: u64) {
        self.hosts[host].wanted = true;
        self.queue.add(time, Task::Start { host, life: self.hosts[host].life });
    }

    /// Adds a task.
    pub fn add(&mut self, time: u64, task: Task) {
        self.queue.add(time, task);
    }

    /// Lets everything happen up to and at this time, or until too much is wrong.
    pub fn run_until(&mut self, time: u64) {
        while !self.checks.is_full() {
            let Some((now, next)) = self.queue.pop(time) else { break };
            self.now = now;
            match next {
                Next::Wake(host) => self.deliver(host, Event::Wake, 0),
                Next::Task(task) => self.perform_task(task),
            }
        }
        // Also where too much is wrong to go on: whoever waits for a time is not to wait for ever.
        self.now = time;
    }

    /// Virtual time of the start of a round, on a perfect clock.
    pub fn start_of(&self, round: u64) -> u64 {
        self.cast.network.clock.start_of(Round(round), Slot(0)).since(self.start)
    }

    /// What a host's node says of itself, when it runs.
    pub fn status(&self, host: usize) -> Option<Status> {
        let host = &self.hosts[host];
        host.node.as_ref().map(|node| node.status(host.clock.now(self.now)))
    }

    /// The hash of all that has happened.
    pub fn trace_hash(&self) -> Hash {
        self.trace.finish()
    }

    /// Events delivered.
    pub fn events(&self) -> u64 {
        self.trace.events()
    }

    /// What a host's wrapper sees.
    fn view(&self, host: usize) -> View<'_> {
        let now = self.hosts[host].clock.now(self.now);
        let (disk, oracle) = (&self.hosts[host].disk, &self.checks.oracle);
        View { cast: &self.cast, disk, oracle, net: &self.net, now, time: self.now }
    }

    /// What a host's script sees.
    fn scene(&self, host: usize) -> Scene<'_> {
        Scene { view: self.view(host), ready: self.ready(host) }
    }

    fn perform_task(&mut self, task: Task) {
        match task {
            Task::Start { host, life } => self.start(host, life),
            Task::Open { peer } => self.open(peer),
            Task::Accept { peer } => self.accept(peer),
            Task::DialFailed { host, life, endpoint } => {
                if self.hosts[host].life == life {
                    self.deliver(host, Event::DialFailed { endpoint }, 0);
                }
            }
            Task::Arrive { peer, frame } => self.arrive(peer, frame),
            Task::Gone { peer, fault } => self.gone(peer, fault),
            Task::TimeOut { peer } => self.time_out(peer),
            Task::FaultStarts(index) => self.start_fault(index),
            Task::FaultEnds(index) => self.end_fault(index),
            Task::Heal => self.heal(),
            Task::Impulse(host) => self.impulse(host),
            Task::Plot(host) => self.show_plot(host),
            Task::Submit { round, draw } => self.submit(round, draw),
            Task::Inspect => self.inspect(),
            Task::Better { host, life, than } => {
                let stays = self.hosts[host].life == life && self.checks.tips[host] == than;
                if let Some(better) = self.checks.better_held(host).filter(|_| stays) {
                    let oracle = &self.checks.oracle;
                    let [worse, better] = [than.hash, better].map(|hash| oracle.describe(&hash));
                    let what = format!("follows {worse} and holds the better {better}");
                    self.checks.violation(self.now, Some(host), what);
                }
            }
        }
    }
}
