//! What a running node says of itself.

use super::super::duration::words;
use super::super::failure::Failure;
use super::Finding;
use crate::machine::note::ClockDistrust;
use crate::machine::status::{SignStanding, Status};
use crate::shell::document::{State, StatusDocument};

/// Without anybody who dials a masternode for so long, its port is not open.
const ALONE_MS: u64 = 3_600_000;
/// Peers whose clocks differ by more make the clock doubtful.
const OFFSET_MS: u64 = 2_000;

/// All of it; one finding when there is no node, or it does not answer.
pub fn look(status: &Result<StatusDocument, Failure>) -> Vec<Finding> {
    let document = match status {
        Ok(document) => document,
        Err(failure) if failure.is_not_running() => {
            let action = "start it: `systemctl start hypernode`, or `hypernode run`";
            return vec![Finding::critical("node", "it is not running", action)];
        }
        Err(failure) => return vec![Finding::of("node", failure)],
    };
    let Some(status) = &document.status else {
        let cause = document.cause.clone().unwrap_or_else(|| "the storage failed".to_owned());
        let action = document.action.clone().unwrap_or_default();
        return vec![Finding::critical("node", cause, &action)];
    };
    let mut findings = vec![node(document.state, status)];
    findings.push(registration(status));
    findings.push(peers(status));
    findings.extend(clock(status));
    findings.extend(signing(status));
    findings.extend(duties(status));
    findings
}

fn node(state: State, status: &Status) -> Finding {
    let height = status.tip.point.height;
    match (state, &status.halt) {
        (_, Some(halt)) => {
            let message = format!("it has halted: {}", halt.message);
            Finding::critical("node", message, "see `hypernode halt show`")
        }
        (State::Syncing, None) => {
            let message = format!("it fetches the chain, height {height}");
            Finding::warning(
                "node",
                message,
                "wait: `hypernode status --watch` shows how far it is",
            )
        }
        (State::Running | State::Halted | State::StorageFailed, None) => {
            Finding::good("node", format!("height {height}, seal {}", status.seal.index))
        }
    }
}

fn registration(status: &Status) -> Finding {
    match status.masternode {
        true => Finding::good("registration", format!("{} is a masternode", status.address)),
        false => Finding::warning(
            "registration",
            format!("{} is not registered: it follows and does not forge", status.address),
            "`hypernode registry register` says what to send",
        ),
    }
}

fn peers(status: &Status) -> Finding {
    let counts = status.peers;
    let message = format!("{} dialled, {} came in", counts.dialled, counts.accepted);
    match (counts.dialled + counts.accepted, counts.accepted) {
        (0, _) => Finding::critical("peers", "none", "look at network, firewall and `listen`"),
        (_, 0) if status.masternode && status.uptime_ms > ALONE_MS => {
            let message = format!("{message} in {}", words(status.uptime_ms));
            let action =
                "open the port of the node in firewall and router: others have to reach it";
            Finding::warning("peers", message, action)
        }
        _ => Finding::good("peers", message),
    }
}

fn clock(status: &Status) -> Option<Finding> {
    if let Some(why) = status.clock.distrust {
        let message = format!("the node does not trust it, and signs nothing: {why}");
        let action = match why {
            ClockDistrust::BeforeOrigin | ClockDistrust::Stepped => "wait: it passes by itself",
            ClockDistrust::Unsynchronised
            | ClockDistrust::BeforeBuild
            | ClockDistrust::BeforeLastSignature => "set the clock right",
        };
        return Some(Finding::critical("node_clock", message, action));
    }
    let offset = status.clock.peers_offset_ms.filter(|ms| ms.unsigned_abs() > OFFSET_MS)?;
    let message = format!("peers are {offset:+} ms from it");
    Some(Finding::warning("node_clock", message, "`timedatectl set-ntp true`"))
}

fn signing(status: &Status) -> Option<Finding> {
    match status.sign_state.standing {
        SignStanding::Proven => None,
        SignStanding::New | SignStanding::Waiting => Some(Finding::warning(
            "signing",
            "it listens before it signs",
            "wait: `hypernode status` says until when",
        )),
        SignStanding::Unproven => Some(Finding::critical(
            "signing",
            "the sign state may lack signatures: nothing is signed",
            "see `hypernode sign-state show`",
        )),
    }
}

fn duties(status: &Status) -> Option<Finding> {
    let missed = status.duties.recent.iter().rev().find_map(|duty| {
        let why = duty.missed?;
        Some(format!("round {} slot {}: {why}", duty.round, duty.slot))
    });
    let count = status.duties.missed;
    let last = missed.filter(|_| count > 0)?;
    let message = format!("{count} slots missed since start, the last in {last}");
    Some(Finding::warning("duties", message, "`hypernode duties` lists them"))
}
