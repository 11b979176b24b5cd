//! Scripted villains, and who looks on: what a scenario about one attack adds to a world.
//!
//! A script stands between a node of the shipped code and the network, like the wrapper of a Byzantine host, but does one
//! thing, at the moment that the scenario is about. A witness sees what every host hears and does, and changes nothing.

use super::byzantine::View;
use crate::machine::event::{Effect, Event, PeerId};

/// What a villain does besides its node.
pub trait Script {
    /// Whether its node is not to hear of this: what others repeat of signatures that only the script has made would
    /// tell the node that its key signs elsewhere.
    fn hides(&mut self, _event: &Event, _scene: &Scene) -> bool {
        false
    }

    /// What the host does instead of what its node asked for.
    fn bend(&mut self, event: &Event, effects: Vec<Effect>, scene: &Scene) -> Vec<Effect>;
}

/// What a script sees.
pub struct Scene<'a> {
    pub view: View<'a>,
    /// The peers that have proven who they are.
    pub ready: Vec<PeerId>,
}

/// What a witness sees: an event of a host, and what the host is about to do.
pub struct Sight<'a> {
    /// Virtual milliseconds.
    pub time: u64,
    pub host: usize,
    pub event: &'a Event,
    pub effects: &'a [Effect],
}

/// Who looks on.
pub type Witness = Box<dyn FnMut(&Sight)>;
