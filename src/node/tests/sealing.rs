//! Seals by whole nodes.

use super::*;
use crate::machine::event::Fault;

#[test]
fn a_round_is_sealed_in_its_seal_slot() {
    for nodes in [1, 2] {
        let mut world = World::new(nodes);
        world.run_until(6 * SLOT_MS - SLOT_MS / 2);
        for node in &world.nodes {
            let seal = node.status(world.now()).seal;
            assert_eq!((seal.index, seal.round, seal.adopted), (1, Round(0), 1), "{seal:?}");
            assert!(seal.delay_ms.is_some_and(|ms| ms <= SLOT_MS / 2), "{seal:?}");
        }
        world.run_until(3 * 6 * SLOT_MS);
        for node in &world.nodes {
            let seal = node.status(world.now()).seal;
            assert_eq!((seal.index, seal.adopted), (3, 3), "{seal:?}");
        }
    }
}

#[test]
fn status_says_for_whom_sealing_waits() {
    let mut world = World::new(2);
    world.run_until(6 * SLOT_MS);
    world.down = Some(1);
    world.deliver(0, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
    let seal = |world: &World| world.nodes[0].status(world.now()).seal;
    assert_eq!((seal(&world).index, seal(&world).age_rounds), (1, Some(1)));
    assert_eq!(seal(&world).open, None, "nothing is to be sealed");

    world.run_until(11 * SLOT_MS + 200);
    let open = seal(&world).open.expect("round 1 is over");
    let absent = world.network.address_of(&bed::key(2).public()).to_string();
    assert_eq!((open.index, open.view, open.late), (2, 0, false), "it has just begun");
    assert_eq!((open.voted_percent, open.needed_percent), (50, 67));
    assert_eq!((open.missing, open.missing_count), (vec![absent], 1));
    world.run_until(12 * SLOT_MS + 200);
    let open = seal(&world).open.expect("nobody else can vote");
    assert!(open.late && open.open_ms >= SLOT_MS, "{open:?}");
    assert_eq!(seal(&world).age_rounds, Some(2));

    world.down = None;
    for node in [0, 1] {
        world.deliver(node, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
    }
    world.run_until(18 * SLOT_MS);
    let seal = seal(&world);
    assert_eq!((seal.round, seal.age_rounds, seal.open), (Round(2), Some(1), None));
}

#[test]
fn a_view_whose_proposer_is_missing_comes_to_nothing_and_that_is_said() {
    let mut network = (*network(2)).clone();
    // Node 0 has more than two thirds of the weight; the proposers are drawn without regard to it.
    network.founders[0].weight = 3;
    let mut world = World::of(Rc::new(network), 2);
    world.run_until(6 * SLOT_MS);
    assert_eq!(world.nodes[0].status(world.now()).seal.index, 1);
    assert_eq!(world.entered, [], "each proposer was there");

    world.down = Some(1);
    world.deliver(0, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
    world.run_until(12 * 6 * SLOT_MS);
    let seal = world.nodes[0].status(world.now()).seal;
    assert!(seal.index >= 10 && seal.age_rounds <= Some(2), "it seals alone: {seal:?}");
    let entered = &world.entered;
    assert!(entered.iter().any(|(index, view)| *index > 1 && *view == 1), "{entered:?}");
    assert!(entered.iter().all(|(_, view)| *view > 0), "the first is no news: {entered:?}");
    // One after the other, and none twice.
    assert!(entered.is_sorted_by(|a, b| a < b), "{entered:?}");
    for (index, view) in entered.iter().filter(|(_, view)| *view > 1) {
        assert!(entered.contains(&(*index, view - 1)), "{entered:?}");
    }
}

/// Node 0 dies in the event of a vote of its in round 0, after so many of its effects, and comes back later. Whether it
/// came to that.
fn dies_voting(vote: usize, effects: usize, away_ms: u64) -> bool {
    let mut world = World::new(2);
    world.run_until(5 * SLOT_MS - 100);
    world.death = Some(Death { vote, effects });
    world.run_until(5 * SLOT_MS + 400);
    if world.down.is_none() {
        return false;
    }
    world.run_until(5 * SLOT_MS + away_ms);
    world.down = None;
    world.nodes[0] = world.open(0);
    world.deliver(1, Event::Disconnected { peer: PeerId(1), fault: Fault::None });
    world.run_until(5 * SLOT_MS + away_ms + 2 * 6 * SLOT_MS);

    let case = format!("vote {vote}, {effects} effects, back after {away_ms} ms");
    for (place, values) in &world.voted {
        assert_eq!(values.len(), 1, "{case}: two votes for {place:?}: {values:?}");
    }
    let seals: Vec<_> = world.nodes.iter().map(|node| node.status(world.now()).seal).collect();
    assert_eq!(seals[0].adopted, seals[1].adopted, "{case}: {seals:?}");
    let rounds = (5 * SLOT_MS + away_ms) / (6 * SLOT_MS) + 1;
    assert!(seals[0].round >= Round(rounds), "{case}: sealing goes on: {seals:?}");
    true
}

#[test]
fn a_death_after_any_effect_of_voting_shows_no_second_vote() {
    // Back within the view, after some views, and when there is more to be sealed than before.
    for away_ms in [500, 1_500, 6 * SLOT_MS] {
        let mut votes = 0;
        while dies_voting(votes + 1, 0, away_ms) {
            votes += 1;
            assert!((1..).take_while(|count| dies_voting(votes, *count, away_ms)).count() >= 2);
        }
        assert!(votes >= 2, "it prepares and commits at least");
    }
}
