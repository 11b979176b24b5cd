//! A backup of database and sign state, put back after the host has signed more ([ADR 9](docs/adr/0009-sign-state-custody.md)):
//! a copy is known to be one, and signs nothing until its owner says so and two rounds of listening have passed. So is one
//! that was written over the file itself, by what the database has seen.

use super::stage;
use crate::sim::checks::Violation;
use crate::sim::host::{Crash, Moment};
use crate::types::clock::Round;
use crate::types::seal::Step;
use crate::types::sign::{SignState, Standing};

const NODES: usize = 7;
/// The host that is put back, the round of its backup, and the one in which it loses power.
const HOST: usize = 2;
const BACKED_UP: u64 = 2;
const LOST: u64 = 4;
const ROUNDS: u64 = 10;

/// What became of it.
#[derive(Debug)]
pub struct Restored {
    /// Whether it came to that: the copy was older than what the host had signed.
    pub restored: bool,
    pub older: bool,
    /// How far the sign state was to be trusted in the end.
    pub standing: Standing,
    /// Rounds from the loss on until it signed a vote again; nothing for never.
    pub signs_after: Option<u64>,
    /// The last round that all others have sealed.
    pub sealed: Option<Round>,
    pub violations: Vec<Violation>,
}

/// Of the last vote.
fn place(signed: &SignState) -> Option<(u64, u32, Step)> {
    signed.vote.map(|vote| (vote.index, vote.view, vote.step))
}

/// Power is lost at an effect of a vote or soon after. The sign state that comes back has this standing: that of a copy, or
/// its owner has also said that nobody else has its key; proven, it alone comes back, over the file.
pub fn restored(seed: &str, effects: u64, standing: Standing) -> Restored {
    let cast = stage::cast(seed, &stage::shape(NODES, 5), |_| true);
    let (mut world, _) = stage::world(seed, cast, 0);
    let round_ms = world.start_of(1) - world.start_of(0);
    world.run_until(world.start_of(BACKED_UP) + round_ms / 2);
    world.checks.may_doubt.insert(HOST);
    let disk = &mut world.hosts[HOST].disk;
    disk.back_up();
    disk.restores_signed = Some(standing);
    let backed_up = place(&disk.signed);
    world.run_until(world.start_of(LOST));
    let until = world.now + round_ms;
    world.hosts[HOST].crash = Some(Crash {
        moment: Moment::Voting,
        effects_left: effects,
        until,
        down_ms: 2_000,
        power: true,
        restore: true,
    });
    let mut last = None;
    while world.now < until && world.hosts[HOST].disk.restores == 0 {
        last = place(&world.hosts[HOST].disk.signed);
        world.run_until(world.now + 20);
    }
    let older = backed_up < last;
    let lost_at = world.now;
    let mut signs_after = None;
    while world.now < world.start_of(ROUNDS) && !world.checks.is_full() {
        world.run_until(world.now + round_ms / 10);
        let signed = world.hosts[HOST].disk.signed;
        if signed.standing == Standing::Proven && place(&signed) > last && signs_after.is_none() {
            signs_after = Some((world.now - lost_at) / round_ms);
        }
    }
    let others = (0..NODES).filter(|host| *host != HOST);
    let sealed = others.map(|host| world.checks.seals.adopted(host).map(|seal| seal.round));
    Restored {
        restored: world.hosts[HOST].disk.restores == 1,
        older,
        standing: world.hosts[HOST].disk.signed.standing,
        signs_after,
        sealed: sealed.min().flatten(),
        violations: world.checks.violations,
    }
}
