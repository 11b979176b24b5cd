//! The loop of a running node: one thread, one input at a time, then all that follows from it.
//!
//! Inputs are what the operator asks by a signal, messages that clients submit, the core's own wake-ups, and what connections bring, in
//! this order: no peer can keep an operator or the clock waiting.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::{Receiver, Sender};
use smol::future::{FutureExt, yield_now};
use smol::{LocalExecutor, Timer};

use super::api::{self, Api, Submission, View};
use super::clock::SystemClock;
use super::engine::{Engine, Outward, Parts, Step};
use super::guard::Guard;
use super::host::{self, Control, ControlSignals, Service, Tie};
use super::ledger::Watch;
use super::memory::Bounds;
use super::store::Store;
use super::tcp::Tcp;
use crate::machine::event::{Answer, Event, Request, RequestId, StopReason};
use crate::types::clock::Timestamp;
use crate::types::message::{ByeReason, Message};
use crate::types::network::{Endpoint, Network, Source};

mod error;
mod reload;
mod report;

pub use error::RunError;
pub use reload::{Fresh, Reload};

/// Messages that clients submitted and the core has not seen yet.
const SUBMISSIONS_MAX: usize = 32;
/// Messages that the core has seen and not answered. It answers within the event; more would be a fault of ours.
const WAITING_MAX: usize = 256;
/// Longest sleep, whatever the core says: the watchdog is petted on each turn.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct RunOptions {
    pub network: Network,
    /// PEM, mode 0600.
    pub key_file: PathBuf,
    pub listen: Endpoint,
    /// The database is in `chain` below it.
    pub data_dir: PathBuf,
    pub sign_dir: PathBuf,
    /// At most 107 bytes; its directory exists.
    pub api_socket: PathBuf,
    /// The PoW ledger to read.
    pub ledger: Option<PathBuf>,
    /// How much the node may hold, and the size of the database's map to begin with.
    pub bounds: Bounds,
    /// When this software was built: a clock before it is wrong.
    pub built: Timestamp,
    /// The number of a process whose end is ours too.
    pub lives_with: Option<u32>,
}

/// Runs a node until it is asked to stop, by SIGTERM or SIGINT. What `reload` reads counts after SIGHUP.
pub fn run(options: RunOptions, reload: Reload) -> Result<(), RunError> {
    let tie = match options.lives_with {
        Some(process) => Tie::to(process).map_err(RunError::Tie)?,
        None => Tie::None,
    };
    let mut signals = ControlSignals::new().map_err(RunError::System)?;
    let executor = Rc::new(LocalExecutor::new());
    let (sender, control) = smol::channel::bounded(1);
    let _listening = executor.spawn(async move {
        loop {
            let ended = async {
                tie.ended().await;
                Control::Stop("the end of the process it lives with")
            };
            let asked = signals.next().or(ended).await;
            // The driver is gone when nobody listens.
            if sender.send(asked).await.is_err() {
                return;
            }
        }
    });
    smol::block_on(executor.run(drive(options, reload, Rc::clone(&executor), control)))
}

/// Runs a node on an executor until it is asked to stop, or nobody is left to ask.
pub async fn drive(
    options: RunOptions,
    reload: Reload,
    executor: Rc<LocalExecutor<'static>>,
    control: Receiver<Control>,
) -> Result<(), RunError> {
    let mut driver = Driver::start(options, reload, &executor, control)?;
    driver.service.ready();
    let why = driver.turn_until_stopped().await;
    match why {
        Why::Asked(what) => log::info!("stopping: {what}"),
        Why::Core(StopReason::KeyElsewhere) => log::error!("stopping: this key signs elsewhere"),
    }
    driver.stop().await;
    match why {
        Why::Asked(_) => Ok(()),
        Why::Core(reason) => Err(RunError::Stopped(reason)),
    }
}

/// Why a node ends.
#[derive(Debug, Clone, Copy)]
enum Why {
    Asked(&'static str),
    Core(StopReason),
}

struct Driver {
    clock: Rc<SystemClock>,
    engine: Rc<RefCell<Engine>>,
    tcp: Tcp,
    api: Api,
    service: Service,
    submissions: Receiver<Submission>,
    ledger: Option<Watch>,
    waiting: BTreeMap<RequestId, Sender<Answer>>,
    last_request: u64,
    control: Receiver<Control>,
    reload: Reload,
    /// Whether the last input was a wake-up: then others come first, so that a busy core hears them.
    woke: bool,
    /// The core has asked for the end.
    ended: Option<StopReason>,
}

enum Input {
    Asked(Control),
    Submitted(Submission),
    /// The PoW ledger is due.
    Ledger,
    Event(Event),
}

impl Driver {
    fn start(
        options: RunOptions,
        reload: Reload,
        executor: &Rc<LocalExecutor<'static>>,
        control: Receiver<Control>,
    ) -> Result<Driver, RunError> {
        let service = Service::new();
        let network = Rc::new(options.network);
        let key = host::read_key(&options.key_file).map_err(RunError::Key)?;
        service.starting("opening the database");
        let store = Store::open(&options.data_dir, network.id(), options.bounds.map_bytes)
            .map_err(RunError::Store)?;
        let guard =
            Guard::open(&options.sign_dir, network.id(), key.public()).map_err(RunError::Guard)?;
        let listener = listen(options.listen)?;
        let socket = api::bind(&options.api_socket).map_err(RunError::Socket)?;
        let clock = Rc::new(SystemClock::start());
        let address = network.address_of(&key.public());
        let (built, limits) = (options.built, options.bounds.limits);
        let parts = Parts { network: Rc::clone(&network), key, built, store, guard, limits };
        service.starting("reading the chain");
        let engine = Engine::open(parts, clock.now()).map_err(RunError::Engine)?;
        let engine = Rc::new(RefCell::new(engine));
        let mut tcp = Tcp::new(executor, &network, &options.bounds);
        tcp.listen(listener).map_err(RunError::System)?;
        let (sender, submissions) = smol::channel::bounded(SUBMISSIONS_MAX);
        let view = View {
            engine: Rc::clone(&engine),
            clock: Rc::clone(&clock),
            refused: tcp.refused(),
            submissions: sender,
        };
        let api = Api::start(executor, socket, &options.api_socket, view);
        let ledger = options.ledger.filter(|_| network.source == Source::Ledger);
        let ledger = ledger.map(|path| {
            log::info!("the PoW ledger is {}", path.display());
            Watch::new(&path, &options.data_dir, network.clock.slot_ms)
        });
        log::info!("holds {} MiB at most", options.bounds.bytes() >> 20);
        log::info!(
            "{address} on network {} listens on {}, answers on {}",
            network.name,
            options.listen,
            options.api_socket.display()
        );
        Ok(Driver {
            clock,
            engine,
            tcp,
            api,
            service,
            submissions,
            ledger,
            waiting: BTreeMap::new(),
            last_request: 0,
            control,
            reload,
            woke: false,
            ended: None,
        })
    }

    async fn turn_until_stopped(&mut self) -> Why {
        loop {
            match self.next_input().await {
                Input::Asked(Control::Stop(who)) => return Why::Asked(who),
                Input::Asked(Control::Reload) => self.reload(),
                Input::Asked(Control::Report) => self.report(),
                Input::Submitted(submission) => self.submit(submission),
                Input::Ledger => self.look_at_ledger(),
                Input::Event(event) => {
                    self.woke = matches!(event, Event::Wake);
                    self.give(event);
                }
            }
            if let Some(reason) = self.ended {
                return Why::Core(reason);
            }
            let now = self.clock.now();
            self.service.turn(now.mono, || report::line(&self.engine.borrow(), now));
            // Whoever is busiest, connections and the API get their turn.
            yield_now().await;
        }
    }

    async fn next_input(&mut self) -> Input {
        let now = self.clock.now().mono;
        let wait = Duration::from_millis(self.engine.borrow().next_wake().since(now));
        let control = async {
            let nobody = Control::Stop("nobody is left to ask for it");
            Input::Asked(self.control.recv().await.unwrap_or(nobody))
        };
        let submitted = async {
            match self.submissions.recv().await {
                Ok(submission) => Input::Submitted(submission),
                // The API, which holds the sender, lives as long as the driver.
                Err(_) => smol::future::pending().await,
            }
        };
        let wake = async {
            Timer::after(wait.min(SLEEP_MAX)).await;
            Input::Event(Event::Wake)
        };
        let ledger = async {
            match &self.ledger {
                Some(watch) => watch.wait().await,
                None => smol::future::pending().await,
            }
            Input::Ledger
        };
        let event = async { Input::Event(self.tcp.next().await) };
        let asked = control.or(submitted);
        match self.woke {
            true => asked.or(event).or(wake).or(ledger).await,
            false => asked.or(wake).or(event).or(ledger).await,
        }
    }

    fn look_at_ledger(&mut self) {
        let engine = self.engine.borrow();
        let Some(watch) = &mut self.ledger else { return };
        // While the database fails there is nobody to tell.
        let Ok(node) = engine.node() else { return watch.rest() };
        let event = watch.look(node.ledger());
        drop(engine);
        self.give(event);
    }

    fn submit(&mut self, submission: Submission) {
        // Dropping the sender says that the storage has failed.
        if self.engine.borrow().node().is_err() || self.waiting.len() >= WAITING_MAX {
            return;
        }
        self.last_request += 1;
        let id = RequestId(self.last_request);
        self.waiting.insert(id, submission.answer);
        self.give(Event::Request { id, request: Request::Submit(submission.tx) });
    }

    fn give(&mut self, event: Event) {
        let step = self.engine.borrow_mut().handle(self.clock.now(), event);
        let Step { outward, is_lost, stop } = step;
        self.ended = self.ended.or(stop);
        for effect in outward {
            match effect {
                Outward::Send { peers, message } => self.tcp.send(&peers, &message),
                Outward::Dial { endpoint } => self.tcp.dial(endpoint),
                Outward::Close { peer, reason: _ } => self.tcp.close(peer),
                Outward::Reply { id, answer } => {
                    if let Some(waiting) = self.waiting.remove(&id) {
                        // The client may have gone.
                        let _ = waiting.try_send(answer);
                    }
                }
            }
        }
        if is_lost || self.engine.borrow().node().is_err() {
            self.forget();
        }
    }

    /// The core is gone or new: what was between it and others is void.
    fn forget(&mut self) {
        self.tcp.clear();
        self.waiting.clear();
    }

    async fn stop(self) {
        self.service.stopping();
        let Driver { engine, mut tcp, api, ledger, .. } = self;
        if let (Some(watch), Ok(node)) = (&ledger, engine.borrow().node()) {
            watch.keep_summary(node.ledger());
        }
        api.stop().await;
        tcp.send(&tcp.peers(), &Message::Bye(ByeReason::Stopping));
        tcp.finish().await;
        if let Some(engine) = Rc::into_inner(engine) {
            if let Err(error) = engine.into_inner().close() {
                log::warn!("not closed in order: {error}");
            }
        }
    }
}

fn listen(at: Endpoint) -> Result<std::net::TcpListener, RunError> {
    std::net::TcpListener::bind((at.ip, at.port)).map_err(|error| RunError::Listen { at, error })
}

#[cfg(test)]
mod tests;
