//! Two ends on loopback, and strangers that misbehave.

use std::net::Ipv4Addr;

use super::*;
use crate::machine::event::Fault;
use crate::shell::memory::MemoryClass;

/// A network that differs from others by its name, and a node's end on it that listens.
struct End {
    tcp: Tcp,
    at: Endpoint,
}

fn network(name: &str) -> Network {
    let text =
        include_str!("../../../config/test.toml").replace("\"test\"", &format!("\"{name}\""));
    Network::parse(&text).expect("only the name differs")
}

fn end(executor: &Rc<LocalExecutor<'static>>, name: &str) -> End {
    let mut tcp = Tcp::new(executor, &network(name), &MemoryClass::Medium.bounds());
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    tcp.listen(listener).expect("it is a socket");
    End { tcp, at: Endpoint { ip: Ipv4Addr::LOCALHOST, port } }
}

/// Runs a test on an executor of its own.
fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<LocalExecutor<'static>>) -> F) {
    let executor = Rc::new(LocalExecutor::new());
    let task = test(Rc::clone(&executor));
    smol::block_on(executor.run(task));
}

/// Whichever of the two has something to tell first is asked until both have told this many events.
async fn both(one: &mut Tcp, other: &mut Tcp) -> (Event, Event) {
    smol::future::zip(one.next(), other.next()).await
}

fn connected(event: Event) -> (PeerId, bool, crate::types::hash::Hash) {
    let Event::Connected { peer, dialled, channel, .. } = event else {
        panic!("not connected: {event:?}");
    };
    (peer, dialled, channel)
}

fn ended(event: &Event) -> Option<Fault> {
    let Event::Disconnected { fault, .. } = event else { return None };
    Some(*fault)
}

/// A stranger's socket that has shaken hands with `to` and may send what it likes.
async fn stranger(to: &mut End, name: &str) -> (TcpStream, Channel, PeerId) {
    let address = SocketAddrV4::new(to.at.ip, to.at.port);
    let theirs = async {
        let stream = TcpStream::connect(SocketAddr::V4(address)).await.expect("they listen");
        let preamble = Preamble::of(&network(name));
        let handshake = Handshake::new(Role::Dialler, preamble, StaticKey::generate());
        let channel = exchange(handshake, stream.clone()).await.expect("they are honest");
        (stream, channel)
    };
    let ((stream, channel), event) = smol::future::zip(theirs, to.tcp.next()).await;
    (stream, channel, connected(event).0)
}

#[test]
fn two_nodes_connect_speak_and_part() {
    run(|executor| async move {
        let (mut one, mut other) = (end(&executor, "a"), end(&executor, "a"));
        one.tcp.dial(other.at);
        let (left, right) = both(&mut one.tcp, &mut other.tcp).await;
        let ((near, true, hash), (far, false, same)) = (connected(left), connected(right)) else {
            panic!("one side dialled, the other did not");
        };
        assert_eq!(hash, same);
        one.tcp.send(&[near], &Message::Ping { nonce: 1 });
        other.tcp.send(&[far], &Message::Ping { nonce: 2 });
        for (tcp, nonce) in [(&mut one.tcp, 2), (&mut other.tcp, 1)] {
            let event = tcp.next().await;
            let Event::Received { message, bytes: 6, .. } = event else {
                panic!("no ping: {event:?}");
            };
            assert_eq!(*message, Message::Ping { nonce });
        }
        // What is queued before the end arrives before the end.
        one.tcp.send(&[near], &Message::Ping { nonce: 3 });
        one.tcp.close(near);
        assert!(matches!(other.tcp.next().await, Event::Received { .. }));
        assert_eq!(ended(&other.tcp.next().await), Some(Fault::None));
        assert!(one.tcp.peers().is_empty() && other.tcp.peers().is_empty());
    });
}

#[test]
fn a_node_of_another_network_is_refused_and_counted_on_both_sides() {
    run(|executor| async move {
        let (mut one, mut other) = (end(&executor, "a"), end(&executor, "b"));
        one.tcp.dial(other.at);
        let failed = one.tcp.next().or(other.tcp.next()).await;
        assert!(matches!(failed, Event::DialFailed { endpoint } if endpoint == other.at));
        for tcp in [&one.tcp, &other.tcp] {
            while tcp.refused().counts().is_empty() {
                smol::future::yield_now().await;
            }
            assert_eq!(
                tcp.refused().counts().into_iter().collect::<Vec<_>>(),
                [("wrong_network", 1)]
            );
        }
    });
}

#[test]
fn nobody_at_the_other_end_is_a_failed_dial() {
    run(|executor| async move {
        let mut one = end(&executor, "a");
        let at = end(&executor, "a").at;
        one.tcp.dial(at);
        assert!(matches!(one.tcp.next().await, Event::DialFailed { endpoint } if endpoint == at));
    });
}

#[test]
fn what_no_node_sends_ends_the_connection() {
    let oversize = [2, 0, 1, 0, 1];
    let unasked = [10, 0, 0, 0, 1];
    for (frame, seal) in [(oversize, true), (unasked, true), ([0; 5], false)] {
        run(|executor| async move {
            let mut node = end(&executor, "a");
            let (mut stream, mut channel, _) = stranger(&mut node, "a").await;
            let mut bytes = frame.to_vec();
            if seal {
                bytes.clear();
                channel.sealer.seal(&frame, &mut bytes).expect("it is short");
            }
            stream.write_all(&bytes).await.expect("they read");
            assert_eq!(ended(&node.tcp.next().await), Some(Fault::Malformed), "{frame:?}");
        });
    }
}

#[test]
fn what_a_closed_peer_said_is_nobodys() {
    run(|executor| async move {
        let mut node = end(&executor, "a");
        let gone = end(&executor, "a").at;
        let (mut stream, mut channel, peer) = stranger(&mut node, "a").await;
        let mut bytes = Vec::new();
        channel.sealer.seal(&Message::Ping { nonce: 1 }.to_frame(), &mut bytes).expect("short");
        stream.write_all(&bytes).await.expect("they read");
        while node.tcp.words.is_empty() {
            smol::future::yield_now().await;
        }
        node.tcp.close(peer);
        node.tcp.dial(gone);
        assert!(matches!(node.tcp.next().await, Event::DialFailed { .. }));
        while !node.tcp.words.is_empty() {
            let next = node.tcp.next();
            assert!(smol::future::poll_once(next).await.is_none());
        }
    });
}

#[test]
fn a_peer_that_does_not_read_is_dropped_and_not_waited_for() {
    run(|executor| async move {
        let mut node = end(&executor, "a");
        let (_stream, _channel, peer) = stranger(&mut node, "a").await;
        let tx = crate::types::hash::TxId(crate::types::hash::Hash::default());
        let message = Message::Have(vec![tx; 64]);
        let each = message.to_frame().len();
        for _ in 0..(4 * 1024 * 1024 / each + 1) {
            node.tcp.send(&[peer], &message);
        }
        assert_eq!(ended(&node.tcp.next().await), Some(Fault::Stuck));
        assert!(node.tcp.peers().is_empty());
    });
}

#[test]
fn who_is_slow_to_shake_hands_takes_no_more_than_the_places_for_it() {
    run(|executor| async move {
        let mut node = end(&executor, "a");
        let address = SocketAddr::V4(SocketAddrV4::new(node.at.ip, node.at.port));
        let refused = node.tcp.refused();
        let crowd = Rc::clone(&node.tcp.crowd);
        let serve = executor.spawn(async move {
            loop {
                node.tcp.next().await;
            }
        });
        let mut held = Vec::new();
        for _ in 0..40 {
            let mut stream = TcpStream::connect(address).await.expect("they listen");
            // The preamble comes, or the end of the stream when there is no place.
            let mut first = [0; 1];
            if matches!(stream.read(&mut first).await, Ok(1)) {
                held.push(stream);
            }
        }
        assert_eq!(held.len(), 32);
        assert_eq!(refused.counts().get("full"), Some(&8));
        // Whoever gives up frees the place.
        drop(held);
        while crowd.begin(Ipv4Addr::LOCALHOST).is_none() {
            smol::future::yield_now().await;
        }
        drop(serve);
    });
}
