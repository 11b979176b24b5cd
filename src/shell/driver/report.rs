//! How a node is, in words: a line for the service manager, and some for the log (SIGUSR1), also when nobody can ask it
//! over its socket.

use super::Driver;
use crate::machine::status::Status;
use crate::shell::engine::{Engine, Failure};
use crate::types::clock::Now;

/// In one line.
pub(super) fn line(engine: &Engine, now: Now) -> String {
    match engine.status(now) {
        Err(failure) => failed(failure),
        Ok(status) => summary(&status),
    }
}

impl Driver {
    /// Writes into the log how the node is.
    pub(super) fn report(&self) {
        let engine = self.engine.borrow();
        let lines = match engine.status(self.clock.now()) {
            Err(failure) => vec![failed(failure), failure.action.to_owned()],
            Ok(status) => lines(&status),
        };
        for line in lines {
            log::info!("status: {line}");
        }
    }
}

fn failed(failure: &Failure) -> String {
    format!("storage failed: {}", failure.cause)
}

fn summary(status: &Status) -> String {
    let peers = status.peers.dialled + status.peers.accepted;
    let doing = if status.sync.behind { "syncing" } else { "up to date" };
    let (height, seal) = (status.tip.point.height, &status.seal);
    let waits = match &seal.open {
        Some(open) if open.late => format!(", sealing waits: {} % voted", open.voted_percent),
        Some(_) | None => String::new(),
    };
    format!("{doing}, height {height}, seal {}, {peers} peers{waits}", seal.index)
}

fn lines(status: &Status) -> Vec<String> {
    let mut lines = vec![summary(status)];
    lines.extend(status.halt.iter().map(|halt| format!("halted: {}", halt.message)));
    let at = match (status.round, status.slot) {
        (Some(round), Some(slot)) => format!("round {round} slot {slot}"),
        (_, _) => "before the first round".to_owned(),
    };
    lines.push(format!(
        "{at}; tip {} of round {}; sealed up to height {}",
        status.tip.point.hash,
        status.tip.round.map_or("none".to_owned(), |round| round.to_string()),
        status.seal.height
    ));
    let clock = match status.clock.distrust {
        Some(why) => format!("clock not trusted: {why}"),
        None => "clock trusted".to_owned(),
    };
    let signing = if status.sign_state.proven { "signs" } else { "signs nothing yet" };
    lines.push(format!("{clock}; {signing}; {} signatures refused", status.refused_signature));
    lines.push(format!(
        "{} forged, {} missed; {} peers dialled, {} accepted; {} messages of {} bytes wait; {} chains",
        status.duties.forged,
        status.duties.missed,
        status.peers.dialled,
        status.peers.accepted,
        status.mempool.messages,
        status.mempool.bytes,
        status.chain_tips
    ));
    lines
}
