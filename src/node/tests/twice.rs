//! A node that dies after each effect of the event in which it forges, and comes back in the same slot with other
//! messages: it never shows a second block for that slot. The simulator tries this at random, here is each case.

use super::*;
use crate::machine::event::{Fault, Request, RequestId};
use crate::machine::note::MissReason;
use crate::machine::records::Table;
use crate::types::sign::{BlockRecord, SignRecord};
use crate::types::tx::{Body, Tx};

/// What is on the disk of a node that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    /// What it had written.
    Kept,
    /// A copy from before the event. Who is there has not seen the block either: only the sign state knows better.
    Restored,
}

/// How the slot ended.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing was signed before the death: another block was forged.
    Another,
    /// A block was signed and is gone: none was forged.
    Refused,
    /// The block was stored: it is shown again.
    Same,
}

/// Founders that do not run: their messages make the mempools.
const BEFORE: u8 = 3;
const AFTER: u8 = 4;

impl World {
    /// The first slot of node 0 in which it has no heartbeat of its own to send.
    fn own_slot(&self) -> (Round, Slot) {
        let node = &self.nodes[0];
        let mut slots = (0..3).flat_map(|round| (1..5).map(move |slot| (Round(round), Slot(slot))));
        slots
            .find(|(round, slot)| node.chain.plan(*round).juror(*slot) == Some(&node.own))
            .expect("a fourth of the tickets are ours")
    }

    fn submit(&mut self, index: usize, founder: u8, round: Round) {
        let body = Body::Heartbeat { version: 1, commitment: Hash::default(), capacity: 1 };
        let tx = Tx::sign(round, body, &bed::key(founder), &self.network, &self.verifier);
        let request = Request::Submit(Box::new(tx));
        self.deliver(index, Event::Request { id: RequestId(1), request });
    }

    /// Whose messages wait at node 0.
    fn senders(&self) -> Vec<String> {
        self.nodes[0].mempool(100).into_iter().map(|entry| entry.sender).collect()
    }

    fn address(&self, founder: u8) -> String {
        self.network.address_of(&bed::key(founder).public()).to_string()
    }

    /// Node 0 forges, and is gone after so many effects of that event. What it signed, and how many they are.
    fn die_after(&mut self, count: usize) -> (BlockRecord, usize) {
        self.now_ms += 100;
        let now = self.now();
        let effects = self.nodes[0].handle(now, Event::Wake, &self.disks[0]);
        let Some(Effect::Guard(SignRecord::Block(signed))) = effects.first().cloned() else {
            panic!("it forges, and guards first: {effects:?}");
        };
        let all = effects.len();
        self.down = Some(0);
        for effect in effects.into_iter().take(count) {
            for (index, event) in self.perform(0, effect) {
                self.deliver(index, event);
            }
        }
        (signed, all)
    }

    /// Node 0 starts again in the same slot, and a client gives it another message to forge with.
    fn come_back(&mut self, round: Round) {
        self.now_ms += 300;
        self.down = None;
        self.nodes[0] = self.open(0);
        self.deliver(1, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
        assert!(!self.senders().contains(&self.address(BEFORE)), "another mempool");
        self.submit(0, AFTER, round);
    }

    fn is_stored(&self, hash: &BlockHash) -> bool {
        let mut keys = self.disks[0].entries.keys();
        keys.any(|(table, key)| *table == Table::Headers && key.ends_with(&hash.0.0))
    }
}

/// One death and what comes of it; nothing when the event has fewer effects.
fn case(database: Database, count: usize) -> Option<Outcome> {
    let mut world = World::of(network(4), 2);
    let (round, slot) = world.own_slot();
    let start = (round.0 * 6 + u64::from(slot.0)) * SLOT_MS;
    world.run_until(start);
    world.submit(1, BEFORE, round);
    world.run_until(start + SLOT_MS / 10 - 100);
    assert!(world.senders().contains(&world.address(BEFORE)));
    let copies = world.disks.clone();
    let (signed, all) = world.die_after(count);
    if count > all {
        return None;
    }
    if database == Database::Restored {
        for (disk, copy) in world.disks.iter_mut().zip(copies) {
            disk.entries = copy.entries;
        }
        world.nodes[1] = world.open(1);
    }
    let guarded = world.disks[0].signed.block == Some(signed);
    let stored = world.is_stored(&signed.hash);
    world.come_back(round);
    world.run_until(start + 2 * 6 * SLOT_MS);

    let case = format!("{database:?} after {count} of {all} effects");
    let shown = world.shown.remove(&(round, slot)).unwrap_or_default();
    assert!(shown.len() <= 1, "{case}: two blocks for one slot");
    let statuses: Vec<_> = world.nodes.iter().map(|node| node.status(world.now())).collect();
    assert_eq!(statuses[0].tip, statuses[1].tip, "{case}: they agree");
    assert!(statuses[0].tip.round > Some(round), "{case}: the chain goes on");
    for hash in &shown {
        let stored = world.stored.iter().filter(|stored| *stored == hash).count();
        assert_eq!(stored, 1, "{case}: the peer says once that it holds it");
    }
    let recent = &statuses[0].duties.recent;
    let duty = recent.iter().find(|duty| (duty.round, duty.slot) == (round, slot)).copied();
    let duty = duty.unwrap_or_else(|| panic!("{case}: the duty is done"));
    let found = (duty.forged, duty.missed, statuses[0].refused_signature);
    let hash = Some(signed.hash);
    let outcome = match (guarded, stored) {
        (false, _) => {
            assert_ne!(duty.forged, hash, "{case}: another mempool makes another block");
            assert_eq!(found, (shown.first().copied(), None, 0), "{case}");
            Outcome::Another
        }
        (true, false) => {
            assert_eq!(found, (None, Some(MissReason::AlreadySigned), 1), "{case}");
            Outcome::Refused
        }
        (true, true) => {
            assert_eq!(found, (hash, None, 0), "{case}");
            assert_eq!(shown.first().copied(), hash, "{case}");
            Outcome::Same
        }
    };
    Some(outcome)
}

#[test]
fn a_death_after_any_effect_of_forging_shows_no_second_block() {
    for (database, then) in
        [(Database::Kept, Outcome::Same), (Database::Restored, Outcome::Refused)]
    {
        let outcomes: Vec<Outcome> = (0..).map_while(|count| case(database, count)).collect();
        assert!(outcomes.len() > 4, "guard, write and send at least: {outcomes:?}");
        assert_eq!(outcomes[..2], [Outcome::Another, Outcome::Refused], "{database:?}");
        assert!(outcomes[2..].iter().all(|outcome| *outcome == then), "{database:?}: {outcomes:?}");
    }
}
