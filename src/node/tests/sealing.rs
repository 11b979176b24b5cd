//! Seals by whole nodes.

use super::*;

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
