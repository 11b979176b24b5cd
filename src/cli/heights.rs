//! `heights`: which chains a node and its peers are on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};
use serde::Serialize;

use super::api::Api;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::number::count;
use super::output::Output;
use super::table::Table;
use crate::machine::status::PeerStatus;
use crate::shell::document::PeersDocument;
use crate::types::block::Point;
use crate::types::clock::Height;

/// Show how many chains are out there: the tips of a node and of its peers, and whether they lie on one chain.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "heights")]
pub struct Heights {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,
}

/// The answer.
#[derive(Serialize)]
struct Answer {
    /// Ours, and each that a peer is on and that is not ours as far as we know it.
    chains: usize,
    /// The highest first.
    tips: Vec<Tip>,
    /// Peers that have not said where they are.
    unknown: usize,
}

/// A tip, and who has it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Tip {
    height: Height,
    hash: String,
    place: Place,
    ours: bool,
    masternodes: usize,
    observers: usize,
}

/// Where a tip lies, seen from our chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Place {
    /// It is our tip.
    Tip,
    /// A block below our tip.
    Behind,
    /// Higher than ours; whose chain it is on, we do not know yet.
    Ahead,
    /// Another block than ours at this height.
    Fork,
}

impl Heights {
    /// Prints them.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let peers: PeersDocument = api.value("/v1/peers")?;
        // Asked afterwards, so that a block that came in between is not taken for a fork.
        let own = api.status()?.tip.point;
        let answer = Answer::new(own, &peers.peers, |height| api.point_at(height))?;
        if self.json {
            out.json("heights", &answer)?;
        } else {
            out.line(answer.text())?;
        }
        Ok(Exit::Done)
    }
}

impl Answer {
    fn new(
        own: Point,
        peers: &[PeerStatus],
        mut ours: impl FnMut(Height) -> Result<Option<Point>, Failure>,
    ) -> Result<Answer, Failure> {
        let mut tips: BTreeMap<Point, (usize, usize)> = BTreeMap::from([(own, (0, 0))]);
        for peer in peers {
            let Some(tip) = peer.tip else { continue };
            let (masternodes, observers) = tips.entry(tip).or_default();
            *(if peer.masternode { masternodes } else { observers }) += 1;
        }
        let mut all = Vec::new();
        for (point, (masternodes, observers)) in tips.into_iter().rev() {
            let place = match point.height {
                _ if point == own => Place::Tip,
                height if height > own.height => Place::Ahead,
                height if ours(height)? == Some(point) => Place::Behind,
                _ => Place::Fork,
            };
            let (height, hash, ours) = (point.height, point.hash.to_string(), point == own);
            all.push(Tip { height, hash, place, ours, masternodes, observers });
        }
        let forks = all.iter().filter(|tip| tip.place == Place::Fork).count();
        let unknown = peers.iter().filter(|peer| peer.tip.is_none()).count();
        Ok(Answer { chains: 1 + forks, tips: all, unknown })
    }

    fn text(&self) -> String {
        let mut table = Table::new(&[">height", "tip", ">masternodes", ">observers", ""]);
        for Tip { height, hash, place, ours, masternodes, observers } in &self.tips {
            let place = match (place, ours) {
                (_, true) => "this node",
                (Place::Behind, _) => "behind, on the same chain",
                (Place::Ahead, _) => "ahead of this node",
                (Place::Fork, _) => "another chain",
                (Place::Tip, false) => "",
            };
            let counts = [masternodes, observers].map(usize::to_string);
            let [masternodes, observers] = counts;
            let hash = hash.chars().take(16).collect();
            table.row(vec![height.to_string(), hash, masternodes, observers, place.to_owned()]);
        }
        let mut text = count(self.chains as u64, "chain");
        if self.unknown > 0 {
            let peers = count(self.unknown as u64, "peer");
            text += &format!("; of {peers} it is not known");
        }
        format!("{text}\n\n{}", table.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::hash::{BlockHash, Hash};

    fn point(height: u64, byte: u8) -> Point {
        Point { height: Height(height), hash: BlockHash(Hash([byte; 32])) }
    }

    fn peer(tip: Option<Point>, masternode: bool) -> PeerStatus {
        PeerStatus {
            peer: 1,
            endpoint: "127.0.0.1:1".to_owned(),
            dialled: true,
            public_key: None,
            address: None,
            masternode,
            tip,
            round_trip_ms: None,
            clock_offset_ms: None,
            connected_ms: 0,
            bytes_received: 0,
            unanswered: 0,
            early_blocks: 0,
        }
    }

    #[test]
    fn tips_are_told_apart_by_our_blocks_at_their_heights() {
        let peers = [
            peer(Some(point(9, 9)), true),
            peer(Some(point(8, 8)), true),
            peer(Some(point(8, 8)), false),
            peer(Some(point(8, 7)), true),
            peer(Some(point(10, 1)), true),
            peer(None, true),
        ];
        let ours = |height: Height| Ok(Some(point(height.0, u8::try_from(height.0).unwrap())));
        let answer = Answer::new(point(9, 9), &peers, ours).expect("all is known");
        let found: Vec<_> = answer
            .tips
            .iter()
            .map(|tip| (tip.height.0, tip.place, tip.masternodes, tip.observers))
            .collect();
        let expected = [
            (10, Place::Ahead, 1, 0),
            (9, Place::Tip, 1, 0),
            (8, Place::Behind, 1, 1),
            (8, Place::Fork, 1, 0),
        ];
        assert_eq!(found, expected);
        assert_eq!((answer.chains, answer.unknown), (2, 1));
        assert!(answer.text().starts_with("2 chains; of 1 peer it is not known\n"));
        let alone = Answer::new(point(9, 9), &[], ours).expect("all is known");
        assert_eq!((alone.chains, alone.tips.len()), (1, 1));
    }
}
