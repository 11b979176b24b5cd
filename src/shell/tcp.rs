//! Connections over TCP: listens, dials, shakes hands, and turns what happens into events of the core.
//!
//! What may come in is bounded here, before the core sees it: connections, handshakes that are not done, and those from
//! one address. Whom to talk to, and who is too many, the core decides.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::rc::Rc;
use std::time::Duration;

use async_net::{TcpListener, TcpStream};
use smol::channel::{Receiver, Sender};
use smol::future::FutureExt;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, LocalExecutor, Task, Timer};

use super::crowd::{Attempt, Crowd, Place, PlaceKind, Refused};
use super::link::{Frame, Link, Waiting, Word};
use super::memory::Bounds;
use super::noise::{Channel, Handshake, NoiseError, Preamble, Role, StaticKey};
use crate::machine::event::{Event, Fault, PeerId};
use crate::types::message::{BODIES_BYTES_MAX, Message, QUORUM_BYTES_MAX};
use crate::types::network::{Endpoint, Network};

/// A dialled node accepts within this time.
const CONNECT_TIME: Duration = Duration::from_secs(5);
/// A handshake is done within this time.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
/// How long to wait when the system gives no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Words of connections that wait for the driver: beyond them, reading stops.
const WORDS_MAX: usize = 64;
/// What these may hold: no answer that was not asked for, which is at most a quorum.
pub const WORDS_BYTES: usize = WORDS_MAX * QUORUM_BYTES_MAX;
/// What an answer with bodies may hold: its frame, and what is decoded from it.
pub const ANSWER_BYTES: usize = 2 * BODIES_BYTES_MAX;
/// Connections that stand or failed, and wait for the driver.
const JOINS_MAX: usize = 16;

/// All connections of a node.
pub struct Tcp {
    executor: Rc<LocalExecutor<'static>>,
    door: Rc<Door>,
    listening: Option<Task<()>>,
    crowd: Rc<Crowd>,
    /// Connections being made.
    attempts: Vec<Task<()>>,
    joins: Receiver<Join>,
    words: Receiver<(PeerId, Word)>,
    words_sender: Sender<(PeerId, Word)>,
    links: BTreeMap<PeerId, (Link, Place)>,
    /// Bytes that wait for peers. One alone may hold as much as its link lets it; beyond `waiting_max`, the one that holds
    /// most goes.
    waiting: Rc<Cell<usize>>,
    waiting_max: usize,
    last_peer: u64,
    /// What is known already and not yet told.
    due: VecDeque<Event>,
    closing: Vec<Task<()>>,
}

/// What the tasks that make connections share.
struct Door {
    ours: Preamble,
    key: StaticKey,
    joins: Sender<Join>,
    refused: Refused,
}

/// A step on the way to a connection.
enum Join {
    Knock { from: SocketAddrV4, stream: TcpStream },
    Done { endpoint: Endpoint, dialled: bool, stream: TcpStream, channel: Channel, place: Place },
    Failed { endpoint: Endpoint },
}

/// Why a connection comes to nothing.
#[derive(Debug)]
enum JoinError {
    Noise(NoiseError),
    Io(io::Error),
    Late,
    /// Another address had fewer handshakes under way.
    GaveWay,
}

impl Tcp {
    /// No connections yet.
    pub fn new(executor: &Rc<LocalExecutor<'static>>, network: &Network, bounds: &Bounds) -> Tcp {
        let (joins_sender, joins) = smol::channel::bounded(JOINS_MAX);
        let (words_sender, words) = smol::channel::bounded(WORDS_MAX);
        let door = Door {
            ours: Preamble::of(network),
            key: StaticKey::generate(),
            joins: joins_sender,
            refused: Refused::default(),
        };
        Tcp {
            executor: Rc::clone(executor),
            door: Rc::new(door),
            listening: None,
            crowd: Rc::new(Crowd::new(bounds.places)),
            attempts: Vec::new(),
            joins,
            words,
            words_sender,
            links: BTreeMap::new(),
            waiting: Rc::default(),
            waiting_max: bounds.sending_bytes,
            last_peer: 0,
            due: VecDeque::new(),
            closing: Vec::new(),
        }
    }

    /// Accepts connections from now on.
    pub fn listen(&mut self, listener: std::net::TcpListener) -> io::Result<()> {
        let listener = TcpListener::from(Async::new(listener)?);
        let joins = self.door.joins.clone();
        self.listening = Some(self.executor.spawn(accept(listener, joins)));
        Ok(())
    }

    /// Connections that came to nothing.
    pub fn refused(&self) -> Refused {
        self.door.refused.clone()
    }

    /// What happens next. May be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Event {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            let joins = async { Arrival::Join(self.joins.recv().await) };
            let words = async { Arrival::Word(self.words.recv().await) };
            let event = match joins.or(words).await {
                Arrival::Join(Ok(join)) => self.joined(join),
                Arrival::Word(Ok((peer, word))) => self.said(peer, word),
                Arrival::Join(Err(_)) | Arrival::Word(Err(_)) => {
                    unreachable!("we hold a sender of both")
                }
            };
            if let Some(event) = event {
                return event;
            }
        }
    }

    /// Opens a connection; `Connected` or `DialFailed` follows.
    pub fn dial(&mut self, endpoint: Endpoint) {
        match self.crowd.enter(PlaceKind::Dialled) {
            Some(place) => self.attempt(dial(Rc::clone(&self.door), endpoint, place)),
            None => self.due.push_back(Event::DialFailed { endpoint }),
        }
    }

    /// Queues a message for these peers. One that does not keep up is dropped, and `Disconnected` follows.
    pub fn send(&mut self, peers: &[PeerId], message: &Message) {
        let frame: Frame = Rc::new(message.to_frame());
        for peer in peers {
            let Some((link, _)) = self.links.get(peer) else { continue };
            if link.send(message, &frame).is_err() {
                self.drop_stuck(*peer);
            }
        }
        while self.waiting.get() > self.waiting_max {
            let fullest = self.links.iter().max_by_key(|(_, (link, _))| link.waiting());
            let Some((peer, _)) = fullest else { break };
            self.drop_stuck(*peer);
        }
    }

    fn drop_stuck(&mut self, peer: PeerId) {
        if let Some((link, _)) = self.links.remove(&peer) {
            link.abandon();
            self.due.push_back(Event::Disconnected { peer, fault: Fault::Stuck });
        }
    }

    /// Sends what is queued, as far as it goes in a second, and closes. Nothing of this peer follows.
    pub fn close(&mut self, peer: PeerId) {
        self.due.retain(|event| !is_of(event, peer));
        if let Some((link, place)) = self.links.remove(&peer) {
            self.closing.retain(|task| !task.is_finished());
            self.closing.push(self.executor.spawn(async move {
                link.close().await;
                drop(place);
            }));
        }
    }

    /// Drops all connections, those being made too, and what they said.
    pub fn clear(&mut self) {
        self.attempts.clear();
        while self.joins.try_recv().is_ok() {}
        self.links.clear();
        self.due.clear();
    }

    /// The peers that stand.
    pub fn peers(&self) -> Vec<PeerId> {
        self.links.keys().copied().collect()
    }

    /// Closes all connections, and waits until what is queued has left, at most a second.
    pub async fn finish(mut self) {
        for peer in self.peers() {
            self.close(peer);
        }
        for task in self.closing {
            task.await;
        }
    }

    fn attempt(&mut self, task: impl Future<Output = ()> + 'static) {
        self.attempts.retain(|task| !task.is_finished());
        self.attempts.push(self.executor.spawn(task));
    }

    fn admit(&mut self, stream: TcpStream, from: SocketAddrV4) {
        // In this order: for whom there is no place in the end, nobody gives way.
        let place = self.crowd.enter(PlaceKind::Accepted);
        let attempt = place.as_ref().and_then(|_| self.crowd.begin(*from.ip()));
        match (attempt, place) {
            (Some(attempt), Some(place)) => {
                self.attempt(admit(Rc::clone(&self.door), stream, from, attempt, place));
            }
            // The socket closes here: to write a reason is work that a flood would like us to do.
            _ => {
                let endpoint = Endpoint { ip: *from.ip(), port: from.port() };
                self.door.refused.count("full", &"too many connections", endpoint, false);
            }
        }
    }

    fn joined(&mut self, join: Join) -> Option<Event> {
        Some(match join {
            Join::Knock { from, stream } => {
                self.admit(stream, from);
                return None;
            }
            Join::Done { endpoint, dialled, stream, channel, place } => {
                self.last_peer += 1;
                let peer = PeerId(self.last_peer);
                let hash = channel.hash;
                let words = self.words_sender.clone();
                let waiting = Waiting::new(&self.waiting);
                let link = Link::start(&self.executor, peer, stream, channel, words, waiting);
                self.links.insert(peer, (link, place));
                Event::Connected { peer, endpoint, dialled, channel: hash }
            }
            Join::Failed { endpoint } => Event::DialFailed { endpoint },
        })
    }

    /// Words of a connection that was dropped meanwhile are nobody's.
    fn said(&mut self, peer: PeerId, word: Word) -> Option<Event> {
        if !self.links.contains_key(&peer) {
            return None;
        }
        Some(match word {
            Word::Message(message, bytes) => Event::Received { peer, message, bytes },
            Word::End(fault) => {
                self.links.remove(&peer);
                Event::Disconnected { peer, fault }
            }
        })
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
enum Arrival {
    Join(Result<Join, smol::channel::RecvError>),
    Word(Result<(PeerId, Word), smol::channel::RecvError>),
}

fn is_of(event: &Event, of: PeerId) -> bool {
    match event {
        Event::Connected { peer, .. }
        | Event::Received { peer, .. }
        | Event::Disconnected { peer, .. } => *peer == of,
        Event::Wake
        | Event::DialFailed { .. }
        | Event::Ledger(_)
        | Event::LedgerSummary(_)
        | Event::Request { .. } => false,
    }
}

async fn accept(listener: TcpListener, joins: Sender<Join>) {
    // In a row: without sockets this goes on until some are free.
    let mut failures: u64 = 0;
    loop {
        match listener.accept().await {
            Ok((stream, SocketAddr::V4(from))) => {
                failures = 0;
                if joins.send(Join::Knock { from, stream }).await.is_err() {
                    return;
                }
            }
            // We listen on IPv4 only.
            Ok((_, SocketAddr::V6(_))) => {}
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    log::warn!("no connection accepted: {error} ({failures} times in a row)");
                }
                Timer::after(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn admit(
    door: Rc<Door>,
    stream: TcpStream,
    from: SocketAddrV4,
    attempt: Attempt,
    place: Place,
) {
    let endpoint = Endpoint { ip: *from.ip(), port: from.port() };
    let lost = async {
        attempt.lost().await;
        Err(JoinError::GaveWay)
    };
    match shake(&door, Role::Acceptor, &stream).or(lost).await {
        Ok(channel) => {
            drop(attempt);
            let join = Join::Done { endpoint, dialled: false, stream, channel, place };
            // The driver is gone when nobody listens.
            let _ = door.joins.send(join).await;
        }
        Err(error) => door.refused.count(error.code(), &error, endpoint, false),
    }
}

async fn dial(door: Rc<Door>, endpoint: Endpoint, place: Place) {
    let to = SocketAddrV4::new(endpoint.ip, endpoint.port);
    let late = async {
        Timer::after(CONNECT_TIME).await;
        Err(io::ErrorKind::TimedOut.into())
    };
    let join = match TcpStream::connect(SocketAddr::V4(to)).or(late).await {
        Ok(stream) => match shake(&door, Role::Dialler, &stream).await {
            Ok(channel) => Join::Done { endpoint, dialled: true, stream, channel, place },
            Err(error) => {
                door.refused.count(error.code(), &error, endpoint, true);
                Join::Failed { endpoint }
            }
        },
        // Nobody there: that happens, and the core tries again.
        Err(error) => {
            log::debug!("{endpoint}: {error}");
            Join::Failed { endpoint }
        }
    };
    // The driver is gone when nobody listens.
    let _ = door.joins.send(join).await;
}

async fn shake(door: &Door, role: Role, stream: &TcpStream) -> Result<Channel, JoinError> {
    stream.set_nodelay(true).map_err(JoinError::Io)?;
    let late = async {
        Timer::after(HANDSHAKE_TIME).await;
        Err(JoinError::Late)
    };
    exchange(Handshake::new(role, door.ours, door.key.clone()), stream.clone()).or(late).await
}

async fn exchange(mut handshake: Handshake, mut stream: TcpStream) -> Result<Channel, JoinError> {
    let mut bytes = [0; 512];
    let mut length = 0;
    loop {
        let done = handshake.input(&bytes[..length]);
        stream.write_all(&handshake.output()).await.map_err(JoinError::Io)?;
        if let Some(channel) = done.map_err(JoinError::Noise)? {
            return Ok(channel);
        }
        length = stream.read(&mut bytes).await.map_err(JoinError::Io)?;
        if length == 0 {
            return Err(JoinError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

impl JoinError {
    fn code(&self) -> &'static str {
        match self {
            JoinError::Noise(error) => error.code(),
            JoinError::Io(_) => "io",
            JoinError::Late => "timeout",
            JoinError::GaveWay => "full",
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinError::Noise(error) => error.fmt(f),
            JoinError::Io(error) => error.fmt(f),
            JoinError::Late => f.write_str("no handshake in time"),
            JoinError::GaveWay => f.write_str("its place was needed"),
        }
    }
}

#[cfg(test)]
mod tests;
