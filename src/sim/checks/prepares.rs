//! Whether a prepare is for the end of its voter's own chain (`docs/protocol.md` §10), judged at the moment of signing.
//!
//! A vote may leave long after: a voter without peers says it to the first one that comes, and one that crashed between
//! the two says its last vote again when it is up. Its chain has gone on by then, and that vote is as good as it was.

use std::collections::BTreeSet;

use super::Checks;
use crate::machine::event::Effect;
use crate::machine::records::{Batch, Table};
use crate::sim::host::Host;
use crate::sim::oracle::Sealed;
use crate::types::block::Point;
use crate::types::clock::Round;
use crate::types::hash::{BlockHash, Hash};
use crate::types::seal::Step;
use crate::types::sign::SignRecord;

impl Checks {
    /// A host is about to do this. When that is to sign a prepare, its chain is the one that the same event leaves: the
    /// vote is noted before that is written, and a crash may come in between.
    pub fn foresee(&mut self, time: u64, host: &Host, effects: &[Effect]) {
        let guard = effects.iter().find_map(|effect| {
            if let Effect::Guard(SignRecord::Vote(vote)) = effect { Some(vote) } else { None }
        });
        let Some(record) = guard.filter(|it| it.step == Step::Prepare && host.honest) else {
            return;
        };
        let Some(value) = record.value else { return };
        let ballot = (host.public(), record.index, record.view, record.step);
        // What is on disk is signed: after a restart it is the same signature again.
        if self.votes.guarded.contains_key(&ballot) {
            return;
        }
        let batch = effects.iter().find_map(|effect| {
            if let Effect::Persist(batch) = effect { Some(batch) } else { None }
        });
        let tips = self.tips_of(host, batch);
        let good = self.is_candidate(time, host, &tips, (record.index, value));
        self.votes.judged.insert(ballot, good);
    }

    /// The end of the chain that a host votes by in an event that writes this.
    fn tips_of(&mut self, host: &Host, batch: Option<&Batch>) -> Vec<Point> {
        let mut after = host.disk.clone();
        // Of a full disk nothing is written, and nothing is signed either.
        if let Some(batch) = batch.filter(|_| !after.full) {
            let _ = after.persist(batch);
        }
        let mut tips = vec![self.tip_on(&after)];
        // Votes come before the decision of the same event, and that may cut the chain back to the sealed block.
        if batch.is_some_and(|batch| batch.0.keys().any(|(table, _)| *table == Table::Seals)) {
            tips.push(self.tip_on(&host.disk));
        }
        // A block that is not there is found when the event is over.
        tips.retain(|tip| self.learn(&after, tip).is_ok());
        tips
    }

    /// Whether this is what a host would propose itself for an index.
    fn is_candidate(
        &mut self,
        time: u64,
        host: &Host,
        tips: &[Point],
        (index, value): (u64, Hash),
    ) -> bool {
        let clock = self.cast.network.clock;
        let slots = u64::from(clock.slots + clock.seal_slots);
        let seal_ms = u64::from(clock.seal_slots) * clock.slot_ms;
        // The first round that is not finished: seal slots belong to what comes after the last block.
        let since = (host.clock.now(time).wall.0 + seal_ms).saturating_sub(clock.origin.0);
        let running = Round(since / (slots * clock.slot_ms));
        let befores: Vec<Sealed> = self.oracle.seals_at(index.saturating_sub(1)).cloned().collect();
        let mut candidates: BTreeSet<(BlockHash, Hash)> = BTreeSet::new();
        for before in &befores {
            let blocks = tips.iter().filter_map(|tip| self.oracle.last_before(&tip.hash, running));
            let blocks = blocks.filter(|block| {
                let (hash, point) = (&block.point.hash, before.checkpoint.point());
                before.may_precede(block.round) && self.oracle.goes_through(hash, &point)
            });
            candidates.extend(blocks.map(|block| (block.point.hash, before.checkpoint.id())));
        }
        candidates.iter().any(|(block, before)| {
            let ours = self.oracle.checkpoints_at(block, before);
            ours.iter().any(|checkpoint| checkpoint.id() == value)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::machine::records::{self, Draft};
    use crate::sim::scenario::village::{end_of_forging, round_ms, small, village};
    use crate::sim::world::World;
    use crate::types::sign::VoteRecord;

    /// A prepare in a view that no instance here comes to, for a block as its host would seal it.
    fn prepare(world: &mut World, view: u32, block: &Point) -> (VoteRecord, Effect) {
        let genesis: Vec<Sealed> = world.checks.oracle.seals_at(0).cloned().collect();
        let before = genesis[0].checkpoint.id();
        let checkpoint = world.checks.oracle.checkpoints_at(&block.hash, &before)[0];
        let value = Some(checkpoint.id());
        let record = VoteRecord { index: 1, view, step: Step::Prepare, value, lock: None };
        (record, Effect::Guard(SignRecord::Vote(record)))
    }

    fn is_good(world: &World, record: &VoteRecord) -> Option<bool> {
        let ballot = (world.hosts[0].public(), record.index, record.view, record.step);
        world.checks.votes.judged.get(&ballot).copied()
    }

    fn foresee(world: &mut World, effects: &[Effect]) {
        world.checks.foresee(world.now, &world.hosts[0], effects);
    }

    #[test]
    fn a_prepare_is_judged_by_the_chain_that_its_event_leaves() {
        let mut world = village("judged", &small(4));
        let end = end_of_forging(&world, 0);
        // Clocks are some milliseconds apart.
        world.run_until(end - 1_000);
        let tip = world.checks.tips[0];
        let chain = world.checks.oracle.chain(&tip.hash);
        let below = chain[chain.len() - 2].point;
        let (early, effect) = prepare(&mut world, 900, &tip);
        foresee(&mut world, &[effect]);
        assert_eq!(is_good(&world, &early), Some(false), "its round is not finished");
        world.now = end + 1_000;
        let (last, of_last) = prepare(&mut world, 901, &tip);
        foresee(&mut world, from_ref(&of_last));
        assert_eq!(is_good(&world, &last), Some(true));
        let (older, of_older) = prepare(&mut world, 902, &below);
        foresee(&mut world, from_ref(&of_older));
        assert_eq!(is_good(&world, &older), Some(false), "it is not the last block");
        // The event takes the last block back.
        let mut draft = Draft::new(&world.hosts[0].disk);
        draft.delete(Table::Main, records::height_key(tip.height));
        let batch = draft.into_batch();
        foresee(&mut world, &[of_older, Effect::Persist(batch.clone())]);
        assert_eq!(is_good(&world, &older), Some(true));
        foresee(&mut world, &[of_last.clone(), Effect::Persist(batch.clone())]);
        assert_eq!(is_good(&world, &last), Some(false), "it was not noted before");
        // What was noted is signed, and stays as good as it was.
        foresee(&mut world, from_ref(&of_last));
        world.checks.vote_guarded(world.now, 0, &world.hosts[0], &last);
        foresee(&mut world, &[of_last, Effect::Persist(batch)]);
        assert_eq!(is_good(&world, &last), Some(true));
        assert_eq!(world.checks.violations, []);
    }

    #[test]
    fn a_vote_that_nobody_was_there_to_hear_may_be_said_a_round_later() {
        let mut world = village("unheard", &small(4));
        let before = end_of_forging(&world, 0) - 1;
        world.run_until(before);
        // Each alone: whoever proposes first signs, and nobody hears it before their chains have gone on.
        let sides = vec![0, 1, 2, 3];
        world.split(&sides, true);
        let later = before + round_ms(&world) + 1;
        world.run_until(later);
        let unheard = world.checks.votes.judged.len();
        assert!(unheard > 0 && world.checks.votes_in(1, 0, Step::Prepare) == 0, "{unheard}");
        world.rejoin(&sides);
        world.run_until(later + round_ms(&world) / 2);
        assert!(world.checks.votes_in(1, 0, Step::Prepare) > 0, "it was never said");
        assert_eq!(world.checks.violations, []);
    }
}
