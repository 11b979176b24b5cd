//! The sum over rounds, on a devnet that only exists on paper.

use super::*;
use crate::cli::devnet::directory::Directory;
use crate::cli::devnet::recipe::Wish;
use crate::machine::note::MissReason;
use crate::machine::status::{
    ClockStatus, Duties, PeerCounts, PoolStatus, SealStatus, SignStanding, SignStatus, SyncStatus,
    TipStatus,
};
use crate::rules::plan::Plan;
use crate::rules::sealed::Anchor;
use crate::types::clock::Height;
use crate::types::hash::hash;
use crate::types::key::PublicKey;
use crate::types::network::Founder;

/// A devnet of 3 nodes with 2 slots in a round.
fn recipe() -> Recipe {
    let folder = tempfile::tempdir().expect("a folder");
    let directory = Directory::open(&folder.path().join("net")).expect("it is made");
    let wish = Wish { nodes: 3, slot_seconds: 2, slots: 2, ledger: false };
    Recipe::make(&directory, wish, Timestamp::from_secs(1_800_000_000)).expect("it is made")
}

fn point(height: u64, fork: u8) -> Point {
    let bytes = height.to_be_bytes();
    Point { height: Height(height), hash: BlockHash(hash("test", &[&bytes, &[fork]])) }
}

struct World {
    recipe: Recipe,
    record: Record,
}

impl World {
    fn new() -> World {
        let recipe = recipe();
        World { record: Record::new(&recipe), recipe }
    }

    fn seen(&self, round: u64, slot: u32, point: Point) -> RecentBlock {
        let forger = self.recipe.network.founders[0].public_key;
        RecentBlock { point, round: Round(round), slot: Slot(slot), forger, messages: 0 }
    }

    fn status(&self, node: usize, at: (u64, u32), tip: Point, recent: Vec<Duty>) -> Status {
        let (round, slot) = (Round(at.0), Slot(at.1));
        let member = &self.recipe.nodes[node];
        Status {
            ledger: None,
            network: "devnet".to_owned(),
            address: member.address.to_string(),
            public_key: self.recipe.network.founders[node].public_key,
            masternode: true,
            time: self.recipe.network.clock.start_of(round, slot),
            uptime_ms: 0,
            round: Some(round),
            slot: Some(slot),
            seal_slot: false,
            juror: self.plan(at.0).juror(slot).map(|address| self.key_of(address)),
            seal: SealStatus {
                index: 0,
                round: Round(0),
                height: Height(0),
                adopted: 0,
                age_rounds: None,
                delay_ms: None,
                open: None,
            },
            tip: TipStatus { point: tip, round: None, slot: None, weight: 0, seal: 0 },
            sync: SyncStatus {
                behind: false,
                target: None,
                blocks_per_second: None,
                seconds_left: None,
            },
            peers: PeerCounts {
                dialled: 0,
                accepted: 0,
                dial_list: 0,
                sharing_tip: 0,
                set_aside: 0,
            },
            mempool: PoolStatus { messages: 0, bytes: 0 },
            duties: Duties { next: None, forged: 0, missed: 0, recent },
            clock: ClockStatus {
                trusted: true,
                distrust: None,
                synchronised: false,
                peers_offset_ms: None,
            },
            sign_state: SignStatus {
                proven: true,
                standing: SignStanding::Proven,
                doubt: None,
                ready_in: None,
                block: None,
                vote: None,
            },
            halt: None,
            refused_signature: 0,
            evidence: Vec::new(),
            evidence_count: 0,
            seal_conflicts: Vec::new(),
            chain_tips: 1,
            refused_blocks: BTreeMap::new(),
        }
    }

    fn hear(&mut self, node: usize, at: (u64, u32), recent: Vec<Duty>) {
        let status = self.status(node, at, point(1, 0), recent);
        let answer = Answer { node, status: Some(Box::new(status)), blocks: Vec::new() };
        self.record.take(answer);
    }

    fn plan(&self, round: u64) -> Plan {
        let network = &self.recipe.network;
        Plan::new(network, &Anchor::genesis(network).state, Round(round))
    }

    fn key_of(&self, address: &Address) -> PublicKey {
        let network = &self.recipe.network;
        let own = |founder: &&Founder| network.address_of(&founder.public_key) == *address;
        network.founders.iter().find(own).expect("all are founders").public_key
    }

    fn juror(&self, round: u64, slot: u32) -> usize {
        let plan = self.plan(round);
        let address = plan.juror(Slot(slot)).expect("a forging slot has one");
        let member = self.recipe.nodes.iter().position(|node| node.address == *address);
        member.expect("all are members")
    }
}

#[test]
fn every_slot_has_its_block_or_its_reason() {
    let mut world = World::new();
    // Slots 1.0 and 3.1 have a block; the others are missed, each in its way.
    let link = |point: Point, round, slot| HeaderDocument {
        height: point.height,
        hash: Some(point.hash),
        round: Some(Round(round)),
        slot: Some(Slot(slot)),
        ..HeaderDocument::default()
    };
    let chain = [link(point(3, 0), 3, 1), link(point(2, 0), 1, 0)];
    let duty = |round: u64, slot: u32, forged, missed| Duty {
        round: Round(round),
        slot: Slot(slot),
        forged,
        missed,
    };
    let juror = world.juror(1, 1);
    world.hear(juror, (3, 1), vec![duty(1, 1, None, Some(MissReason::Peers))]);
    let juror = world.juror(2, 0);
    let beside = point(2, 7);
    world.hear(juror, (3, 1), vec![duty(2, 0, Some(beside.hash), None)]);
    let juror = world.juror(2, 1);
    world.hear(juror, (2, 1), Vec::new());
    // The juror of 3.0 is heard in another slot only.
    let juror = world.juror(3, 0);
    if world.juror(3, 1) != juror {
        world.hear(juror, (3, 1), Vec::new());
    }

    let on_chain = [world.seen(1, 0, point(2, 0)), world.seen(3, 1, point(3, 0))];
    let early = world.seen(0, 1, point(1, 7));
    let blocks = vec![on_chain[1], world.seen(2, 0, beside), on_chain[0], early];
    let new = world.record.take(Answer { node: 0, status: None, blocks: blocks.clone() });
    assert_eq!(new.blocks, [early, on_chain[0], world.seen(2, 0, beside), on_chain[1]]);
    assert_eq!(world.record.take(Answer { node: 1, status: None, blocks }), News::default());

    let (beside, juror) = (world.seen(2, 0, beside), world.juror(2, 1));
    let missed = |why| SeenSlot::Missed { round: Round(2), slot: Slot(1), juror, why };
    let seen = [SeenSlot::Block(&on_chain[1]), missed(UNKNOWN), SeenSlot::Block(&beside)];
    let newest = world.record.newest((Round(3), Slot(2)), 10);
    // Of 3.0 nobody said whose it was.
    assert_eq!(newest[..3], seen, "{newest:?}");
    assert_eq!(world.record.newest((Round(2), Slot(1)), 1), seen[..1]);

    let tips = [Some(point(3, 0)), Some(point(3, 0)), None];
    let summary = world.record.sum(Round(0), 4, &chain, &tips);
    assert_eq!((summary.forging_slots, summary.blocks, summary.forks), (6, 2, 1));
    let missed: Vec<(&str, u64)> =
        summary.missed.iter().map(|(why, count)| (why.as_str(), *count)).collect();
    assert_eq!(missed, [("not_running", 1), ("orphaned", 1), ("peers", 1), ("unknown", 1)]);
    assert_eq!(summary.final_tip["node-3"], None);
    assert_eq!(summary.final_tip["node-1"], Some(point(3, 0)));
    let json = serde_json::to_value(&summary).expect("plain data");
    assert_eq!(json["final_tip"]["node-1"]["height"], 3);
}

#[test]
fn one_round_has_nothing_to_count() {
    let mut world = World::new();
    let summary = world.record.sum(Round(5), 1, &[], &[None, None, None]);
    assert_eq!((summary.forging_slots, summary.blocks, summary.forks), (0, 0, 0));
    assert!(summary.missed.is_empty());
}

#[test]
fn the_common_tip_is_that_of_most() {
    let (low, high) = (point(1, 0), point(2, 0));
    assert_eq!(common_tip(&[Some(low), Some(low), Some(high), None]), Some(low));
    assert_eq!(common_tip(&[Some(low), Some(high), None]), Some(high));
    assert_eq!(common_tip(&[None, None]), None);
}
