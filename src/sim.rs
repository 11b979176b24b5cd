//! The simulator: the other shell. Whole networks of the shipped node in one process, in virtual time, from one seed.
//!
//! The same seed gives the same run, event by event, and so the same trace hash. What goes wrong is drawn from the seed
//! as data; after two thirds of the rounds the network heals and must get on. `checks` and `verdict` say what must hold.

mod byzantine;
mod cast;
mod checks;
mod clock;
mod disk;
mod faults;
mod forgery;
mod host;
mod network;
mod oracle;
mod prefab;
mod queue;
mod report;
mod script;
mod trace;
mod traffic;
mod verdict;
mod world;

/// Runs that are about one thing, with what they measure.
pub mod scenario;

pub use checks::{Misvotes, Violation};
pub use faults::{Fault, FaultKind, Mix, Stage};
pub use report::{NODES_MAX, Options, ROUNDS_MAX, Report, run, run_plan, shrink, stage};
