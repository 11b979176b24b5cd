//! A client that speaks the peer protocol as far as an attack needs it: preamble, Noise, identity, frames. It blocks.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use hypernode::shell::frame::{Cutter, Owed};
use hypernode::shell::noise::{Channel, Handshake, Preamble, Role, StaticKey};
use hypernode::types::clock::Timestamp;
use hypernode::types::key::{Purpose, SecretKey, Verifier};
use hypernode::types::message::{ByeReason, Hello, Message};
use hypernode::types::network::{Endpoint, Network};
use hypernode::types::version;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Far longer than a node takes for anything here, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that has shaken hands.
pub struct Stranger {
    stream: TcpStream,
    network: Rc<Network>,
    channel: Channel,
    owed: Owed,
    cutter: Cutter,
    /// What each side said in the handshake.
    pub sent: Vec<u8>,
    pub heard: Vec<u8>,
    /// Bytes of frames that were sent since.
    pub frame_bytes: u64,
}

/// A socket from an address of loopback to a node.
pub fn connect(from: Ipv4Addr, to: Endpoint) -> TcpStream {
    open(from, to, None)
}

/// The same with a small place for what comes in, so that what the node sends stays with the node.
pub fn connect_narrow(from: Ipv4Addr, to: Endpoint) -> TcpStream {
    open(from, to, Some(4096))
}

fn open(from: Ipv4Addr, to: Endpoint, receive_bytes: Option<usize>) -> TcpStream {
    let flags = SocketFlags::CLOEXEC;
    let socket = net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    if let Some(bytes) = receive_bytes {
        sockopt::set_socket_recv_buffer_size(&socket, bytes).unwrap();
    }
    net::bind(&socket, &SocketAddrV4::new(from, 0)).unwrap();
    net::connect(&socket, &SocketAddrV4::new(to.ip, to.port)).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// What a dialler says first.
pub fn preamble(network: &Network) -> Vec<u8> {
    Handshake::new(Role::Dialler, Preamble::of(network), StaticKey::generate()).output()
}

/// Sends bytes, as far as the other side takes them, and waits until it has closed.
pub fn say_and_wait(mut stream: TcpStream, bytes: &[u8]) {
    // It may have closed already.
    let _ = stream.write_all(bytes);
    wait_for_end(stream);
}

/// Reads until the other side has closed.
pub fn wait_for_end(mut stream: TcpStream) {
    let mut rest = [0; 4096];
    while read(&mut stream, &mut rest) > 0 {}
}

/// How many bytes came; none at the end, however it came.
fn read(stream: &mut TcpStream, bytes: &mut [u8]) -> usize {
    match stream.read(bytes) {
        Ok(count) => count,
        Err(error) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()) => {
            panic!("the node neither answers nor closes")
        }
        Err(_) => 0,
    }
}

impl Stranger {
    /// Shakes hands as any node does; nothing when the other side closes instead.
    pub fn shake(mut stream: TcpStream, network: &Rc<Network>) -> Option<Stranger> {
        let preamble = Preamble::of(network);
        let mut handshake = Handshake::new(Role::Dialler, preamble, StaticKey::generate());
        let (mut sent, mut heard) = (Vec::new(), Vec::new());
        let mut bytes = [0; 512];
        let mut length = 0;
        loop {
            let channel = handshake.input(&bytes[..length]).unwrap();
            let output = handshake.output();
            sent.extend_from_slice(&output);
            stream.write_all(&output).ok()?;
            if let Some(channel) = channel {
                let (network, owed) = (Rc::clone(network), Owed::default());
                let cutter = Cutter::new(owed.clone());
                return Some(Stranger {
                    stream,
                    network,
                    channel,
                    owed,
                    cutter,
                    sent,
                    heard,
                    frame_bytes: 0,
                });
            }
            length = read(&mut stream, &mut bytes);
            heard.extend_from_slice(&bytes[..length]);
            if length == 0 {
                return None;
            }
        }
    }

    /// What proves a key on this connection.
    pub fn hello(&self, key: &SecretKey) -> Hello {
        let role = [0];
        let parts: [&[u8]; 3] = [&self.channel.hash.0, &role, &key.public().0];
        let id = self.network.id();
        let signature = Verifier::default().sign(key, Purpose::Identity, &id, &parts);
        let parameters = self.network.parameters_digest();
        Hello { key: key.public(), signature, parameters, version: version::OWN }
    }

    /// Says who this is, and waits until the node has taken it; nothing when it closes instead.
    pub fn greet(mut self, key: &SecretKey) -> Option<Stranger> {
        let hello = self.hello(key);
        self.send(&Message::Hello(hello));
        self.hear(|message| matches!(message, Message::Tip(_)))?;
        Some(self)
    }

    /// Sends a message; false when the other side has closed.
    pub fn send(&mut self, message: &Message) -> bool {
        self.owed.asked(message);
        self.send_plain(&message.to_frame())
    }

    /// Sends plaintext, whatever it is, in good records.
    pub fn send_plain(&mut self, plain: &[u8]) -> bool {
        let bytes = self.seal(plain);
        self.send_bytes(&bytes)
    }

    /// The records of this plaintext, to be sent next.
    pub fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.frame_bytes += plain.len() as u64;
        let mut bytes = Vec::new();
        self.channel.sealer.seal(plain, &mut bytes).unwrap();
        bytes
    }

    /// Sends bytes outside of the channel.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Where the node sees it.
    pub fn endpoint(&self) -> String {
        self.stream.local_addr().unwrap().to_string()
    }

    /// The next message; nothing at the end. Pings are answered.
    pub fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((message, _)) = self.cutter.take().unwrap() {
                match message {
                    Message::Ping { nonce } => {
                        self.send(&Message::Pong { nonce, clock: Timestamp(0) });
                    }
                    message => return Some(message),
                }
            }
            let mut bytes = [0; 16 * 1024];
            let length = read(&mut self.stream, &mut bytes);
            if length == 0 {
                return None;
            }
            let mut plain = Vec::new();
            self.channel.opener.open(&bytes[..length], &mut plain).unwrap();
            self.cutter.push(&plain);
        }
    }

    /// Reads until such a message.
    pub fn hear(&mut self, is_it: impl Fn(&Message) -> bool) -> Option<Message> {
        loop {
            let message = self.next()?;
            if is_it(&message) {
                return Some(message);
            }
        }
    }

    /// Reads until the node has closed; why, if it says so.
    pub fn wait_for_bye(&mut self) -> Option<ByeReason> {
        let bye = self.hear(|message| matches!(message, Message::Bye(_)))?;
        let Message::Bye(reason) = bye else { return None };
        Some(reason)
    }

    /// Reads until the node has closed.
    pub fn wait_for_end(self) {
        wait_for_end(self.stream);
    }
}
