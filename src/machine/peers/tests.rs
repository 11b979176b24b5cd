//! Who may stay connected, for how long, and whom we dial when.

use super::{ASIDE_MS, Peers};
use crate::machine::bed::{self, Disk, Ground, closed, sent};
use crate::machine::event::{Effect, Fault, PeerId};
use crate::machine::limits::Limits;
use crate::machine::records::Batch;
use crate::machine::turn::Turn;
use crate::types::clock::Monotonic;
use crate::types::hash::Hash;
use crate::types::message::{ByeReason, Hello, Message};
use crate::types::network::Endpoint;

const GREETING_MS: u64 = 10_000;

struct Bed {
    ground: Ground,
    peers: Peers,
    disk: Disk,
}

impl Bed {
    fn new(edits: &[(&str, &str)]) -> Bed {
        let ground = Ground::new(bed::network(9, edits));
        Bed { peers: ground.peers(), ground, disk: Disk::default() }
    }

    /// One event at a time; what it did.
    fn at<T>(
        &mut self,
        ms: u64,
        act: impl FnOnce(&Ground, &mut Peers, &mut Turn) -> T,
    ) -> (T, Vec<Effect>) {
        let mut turn = bed::turn(&self.ground.network, ms, &self.disk);
        let result = act(&self.ground, &mut self.peers, &mut turn);
        (result, turn.out.take(Batch::default()))
    }

    fn closed(
        &mut self,
        ms: u64,
        act: impl FnOnce(&Ground, &mut Peers, &mut Turn),
    ) -> Vec<(u64, ByeReason)> {
        let mut turn = bed::turn(&self.ground.network, ms, &self.disk);
        act(&self.ground, &mut self.peers, &mut turn);
        closed(&mut turn).into_iter().map(|(peer, reason)| (peer.0, reason)).collect()
    }

    fn dialled(&mut self, ms: u64) -> Vec<Endpoint> {
        let (_, effects) = self.at(ms, |_, peers, turn| peers.tick(turn));
        let dials = effects.into_iter().filter_map(|effect| {
            if let Effect::Dial { endpoint } = effect { Some(endpoint) } else { None }
        });
        dials.collect()
    }

    fn target(&mut self, numbers: &[u8], rotate_at: u64) {
        let list = numbers.iter().map(|it| (bed::key(*it).public(), bed::endpoint(*it))).collect();
        self.peers.set_targets(list, Monotonic(rotate_at));
    }

    fn connect(&mut self, ms: u64, id: u64, number: u8, dialled: bool) -> Vec<(u64, ByeReason)> {
        self.closed(ms, |ground, peers, turn| {
            ground.connect(peers, turn, id, number, dialled);
        })
    }
}

fn greet(ground: &Ground, peers: &mut Peers, turn: &mut Turn, id: u64, hello: &Hello) -> bool {
    peers.hello(turn, PeerId(id), hello, &ground.anchor.state)
}

#[test]
fn a_greeting_must_prove_the_identity_on_this_channel_in_this_role() {
    let channel = Hash([1; 32]);
    type Change = fn(&Ground, Hash, bool) -> Hello;
    let cases: [(&str, Change, Option<ByeReason>); 6] = [
        ("its own", |g, c, d| g.hello(&bed::key(2), c, d), None),
        (
            "of another channel",
            |g, _, d| g.hello(&bed::key(2), Hash([9; 32]), d),
            Some(ByeReason::Identity),
        ),
        ("of the other role", |g, c, d| g.hello(&bed::key(2), c, !d), Some(ByeReason::Identity)),
        (
            "with another's key",
            |g, c, d| Hello { key: bed::key(3).public(), ..g.hello(&bed::key(2), c, d) },
            Some(ByeReason::Identity),
        ),
        ("ours", |g, c, d| g.hello(&bed::key(1), c, d), Some(ByeReason::Own)),
        ("ours, reflected", |g, c, d| g.hello(&bed::key(1), c, !d), Some(ByeReason::Own)),
    ];
    for (name, change, expected) in cases {
        for dialled in [true, false] {
            let mut bed = Bed::new(&[]);
            let closed = bed.closed(0, |ground, peers, turn| {
                peers.connected(turn, PeerId(1), bed::endpoint(2), dialled, channel);
                let ready = greet(ground, peers, turn, 1, &change(ground, channel, dialled));
                assert_eq!(ready, expected.is_none(), "{name}");
            });
            assert_eq!(
                closed,
                expected.map(|reason| (1, reason)).into_iter().collect::<Vec<_>>(),
                "{name}"
            );
        }
    }
}

#[test]
fn whoever_answers_where_we_dialled_is_whom_we_meant() {
    let mut bed = Bed::new(&[]);
    bed.target(&[2], 1_000);
    assert_eq!(bed.dialled(0), [bed::endpoint(2)]);
    let channel = Hash([1; 32]);
    let closed = bed.closed(1, |ground, peers, turn| {
        peers.connected(turn, PeerId(1), bed::endpoint(2), true, channel);
        assert!(!greet(ground, peers, turn, 1, &ground.hello(&bed::key(3), channel, true)));
    });
    assert_eq!(closed, [(1, ByeReason::Identity)]);
}

#[test]
fn silence_before_the_greeting_ends_at_its_deadline_and_other_talk_at_once() {
    let mut bed = Bed::new(&[]);
    bed.at(5, |_, peers, turn| {
        peers.connected(turn, PeerId(1), bed::endpoint(2), false, Hash([1; 32]))
    });
    assert_eq!(bed.closed(5 + GREETING_MS - 1, |_, peers, turn| peers.tick(turn)), []);
    assert_eq!(bed.peers.due(), Monotonic(5 + GREETING_MS));
    let closed = bed.closed(5 + GREETING_MS, |_, peers, turn| peers.tick(turn));
    assert_eq!(closed, [(1, ByeReason::Timeout)]);
    bed.at(20_000, |_, peers, turn| {
        peers.connected(turn, PeerId(2), bed::endpoint(2), false, Hash([1; 32]))
    });
    let closed = bed.closed(20_001, |_, peers, turn| {
        assert!(!peers.spend(turn, PeerId(2), &Message::Ping { nonce: 1 }, 6));
    });
    assert_eq!(closed, [(2, ByeReason::Protocol)]);
    bed.connect(30_000, 3, 4, false);
    let closed = bed.closed(30_001, |ground, peers, turn| {
        greet(ground, peers, turn, 3, &ground.hello(&bed::key(4), Hash([3; 32]), false));
    });
    assert_eq!(closed, [(3, ByeReason::Protocol)], "once is enough");
}

#[test]
fn of_two_connections_the_one_dialled_by_the_lower_key_stays() {
    let own = bed::key(1).public();
    for number in 2..=9 {
        let ours_stays = own < bed::key(number).public();
        for (first, second) in [(true, false), (false, true), (true, true), (false, false)] {
            let mut bed = Bed::new(&[]);
            assert_eq!(bed.connect(0, 1, number, first), []);
            let closed = bed.connect(1, 2, number, second);
            // Of two dialled by one side the older goes: it may be what is left of a node that restarted.
            let goes = if first == second || second == ours_stays { 1 } else { 2 };
            assert_eq!(closed, [(goes, ByeReason::Duplicate)], "{number}: {first}, {second}");
            let ready: Vec<u64> = bed.peers.ready().map(|peer| peer.id.0).collect();
            assert_eq!(ready, [3 - goes]);
            assert_eq!(bed.peers.keys.len(), 1);
        }
    }
}

#[test]
fn observers_and_neighbours_have_limits_and_masternodes_others() {
    let mut bed = Bed::new(&[("inbound_per_block = 4", "inbound_per_block = 0")]);
    for id in 0..Limits::default().observers as u64 {
        assert_eq!(bed.connect(id, id, 20 + u8::try_from(id).expect("few"), false), []);
    }
    assert_eq!(bed.connect(50, 50, 100, false), [(50, ByeReason::Full)]);
    assert_eq!(bed.connect(51, 51, 2, false), [], "a masternode finds its place");
    assert_eq!(bed.connect(52, 52, 101, true), [], "and so does whom we dialled");

    let mut bed = Bed::new(&[]);
    for id in 2..=5 {
        assert_eq!(bed.connect(id, id, u8::try_from(id).expect("few"), false), []);
    }
    assert_eq!(bed.connect(6, 6, 6, false), [(6, ByeReason::Full)], "a fifth of one /24");
    assert_eq!(bed.connect(7, 7, 7, true), [], "we may dial there");
    let ids: Vec<u64> = bed.peers.all().map(|peer| peer.id.0).collect();
    assert_eq!(ids, [2, 3, 4, 5, 7], "nothing is left of those that found no place");
}

#[test]
fn connections_that_never_greet_are_bounded() {
    let mut bed = Bed::new(&[("inbound_per_block = 4", "inbound_per_block = 0")]);
    for id in 0..100 {
        bed.at(0, |_, peers, turn| {
            peers.connected(turn, PeerId(id), bed::endpoint(2), false, Hash([1; 32]))
        });
    }
    assert_eq!(bed.peers.all().count(), Limits::default().observers);
}

#[test]
fn a_peer_is_pinged_at_once_and_when_quiet_and_closed_when_it_does_not_answer() {
    let mut bed = Bed::new(&[("slot_seconds = 180", "slot_seconds = 20")]);
    let mut turn = bed::turn(&bed.ground.network, 0, &bed.disk);
    for (id, number) in [(1, 2), (2, 3)] {
        assert!(bed.ground.connect(&mut bed.peers, &mut turn, id, number, false));
    }
    let now = turn.now;
    let pings: Vec<(PeerId, u64)> =
        sent(&mut turn)
            .into_iter()
            .filter_map(|(peer, message)| {
                if let Message::Ping { nonce } = message { Some((peer, nonce)) } else { None }
            })
            .collect();
    let [(PeerId(1), nonce), (PeerId(2), other)] = pings[..] else { panic!("{pings:?}") };
    bed.peers.pong(now, PeerId(1), nonce, now.wall.0 + 7);
    bed.peers.pong(now, PeerId(2), other.wrapping_add(1), now.wall.0);
    assert_eq!(bed.peers.clock_offset_ms(), Some(7), "a wrong nonce is no answer");
    let mut turn = bed::turn(&bed.ground.network, 10_000, &bed.disk);
    bed.peers.tick(&mut turn);
    let quiet: Vec<u64> = sent(&mut turn).into_iter().map(|(peer, _)| peer.0).collect();
    assert_eq!(quiet, [1], "after half a slot; the other owes an answer");
    assert_eq!(bed.closed(14_999, |_, peers, turn| peers.tick(turn)), []);
    let closed = bed.closed(15_000, |_, peers, turn| peers.tick(turn));
    assert_eq!(closed, [(2, ByeReason::Timeout)]);
    let closed = bed.closed(25_000, |_, peers, turn| peers.tick(turn));
    assert_eq!(closed, [(1, ByeReason::Timeout)]);
}

#[test]
fn a_budget_is_spent_by_frames_and_bytes_and_grows_again() {
    let mut bed = Bed::new(&[]);
    bed.connect(0, 1, 2, false);
    let ping = Message::Ping { nonce: 0 };
    let (count, _) = bed.at(0, |_, peers, turn| {
        (0..).take_while(|_| peers.spend(turn, PeerId(1), &ping, 6)).count()
    });
    assert_eq!(count, 5_000);
    assert!(bed.peers.get(PeerId(1)).is_none(), "closed");
    bed.connect(0, 2, 2, false);
    let large = 8_192 * 4_999;
    let (spent, _) = bed.at(0, |_, peers, turn| {
        assert!(peers.spend(turn, PeerId(2), &ping, large));
        peers.answered(PeerId(2), true, large);
        assert!(
            peers.spend(turn, PeerId(2), &ping, 8_192 * 4_998),
            "what was asked for is given back"
        );
        peers.spend(turn, PeerId(2), &ping, 6)
    });
    assert!(!spent, "1 + 4,999 - 4,999 + 1 + 4,998 are all of it");
    bed.connect(0, 3, 2, false);
    bed.at(0, |_, peers, turn| assert!(peers.spend(turn, PeerId(3), &ping, large)));
    let (spent, _) = bed.at(3, |_, peers, turn| {
        (0..).take_while(|_| peers.spend(turn, PeerId(3), &ping, 6)).count()
    });
    assert_eq!(spent, 3, "one a millisecond");
}

#[test]
fn who_is_set_aside_stays_away_for_its_time() {
    let mut bed = Bed::new(&[]);
    bed.target(&[2], 1_000_000);
    bed.connect(0, 1, 2, true);
    let closed = bed.closed(100, |_, peers, turn| peers.blame(turn, PeerId(1), ByeReason::Promise));
    assert_eq!(closed, [(1, ByeReason::Promise)]);
    assert_eq!(bed.connect(200, 2, 2, false), [(2, ByeReason::SetAside)]);
    let ended = bed.peers.ended(Monotonic(300)).into_iter();
    let ended: Vec<_> = ended.map(|it| (it.code, it.dialled, it.by_us, it.ended_ms)).collect();
    let fate = |code: &str, dialled, ms| (code.to_owned(), dialled, true, ms);
    assert_eq!(ended, [fate("set_aside", false, 100), fate("promise", true, 200)]);
    let aside = bed.peers.aside(Monotonic(300)).into_iter();
    let aside: Vec<_> = aside.map(|it| (it.code, it.left_ms)).collect();
    assert_eq!(aside, [("promise".to_owned(), ASIDE_MS - 200)]);
    for ms in (300..100 + ASIDE_MS).step_by(5_000) {
        assert_eq!(bed.dialled(ms), [], "{ms}");
    }
    assert_eq!(bed.peers.aside_count(), 1);
    assert_eq!(bed.dialled(100 + ASIDE_MS + 90_000), [bed::endpoint(2)]);
    assert_eq!(bed.peers.aside_count(), 0);
    bed.connect(500_000, 3, 3, false);
    bed.at(500_001, |_, peers, turn| peers.disconnected(turn, PeerId(3), Fault::Malformed));
    assert_eq!(bed.connect(500_002, 4, 3, false), [(4, ByeReason::SetAside)]);
}

#[test]
fn a_dial_that_fails_is_tried_again_ever_later() {
    let mut bed = Bed::new(&[]);
    bed.target(&[2], 10_000_000);
    let mut ms = 0;
    let mut spread = (u64::MAX, 0);
    for failures in 0..30_u32 {
        assert_eq!(bed.dialled(ms), [bed::endpoint(2)], "after {failures} failures");
        bed.at(ms, |_, peers, turn| peers.dial_failed(turn.now, bed::endpoint(2)));
        assert_eq!(bed.dialled(ms), []);
        let wait = 500_u64.saturating_mul(1 << failures.min(20)).min(60_000);
        let next = bed.peers.dialler.wait_of(&bed::endpoint(2)).0;
        assert_eq!(bed.peers.due().0, next.min(ms + 90_000), "nothing comes before");
        let waited = next - ms;
        assert!((wait * 3 / 4..wait * 5 / 4).contains(&waited), "{failures}: {waited} of {wait}");
        let part = waited * 100 / wait;
        spread = (spread.0.min(part), spread.1.max(part));
        ms = next;
    }
    assert!(spread.0 < 90 && spread.1 > 110, "{spread:?} percent: dials do not come together");
}

#[test]
fn what_a_round_does_not_list_is_closed_a_slot_later() {
    let mut bed = Bed::new(&[]);
    bed.target(&[2, 3], 1_000);
    bed.connect(0, 1, 2, true);
    bed.connect(0, 2, 3, true);
    bed.connect(0, 3, 4, false);
    bed.at(2_000, |_, peers, turn| peers.tick(turn));
    bed.target(&[3, 4], 5_000);
    assert_eq!(bed.closed(4_999, |_, peers, turn| peers.tick(turn)), []);
    assert_eq!(bed.peers.due(), Monotonic(5_000));
    let closed = bed.closed(5_000, |_, peers, turn| peers.tick(turn));
    assert_eq!(closed, [(1, ByeReason::Rotation)], "those that dialled us stay");
}
