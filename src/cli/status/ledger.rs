//! The lines of `status` about the PoW ledger.

use crate::cli::number::count;
use crate::cli::style::Style;
use crate::machine::seal::RegistryDoubt;
use crate::machine::status::{LedgerState, LedgerStatus};

/// How the ledger is followed, what is wrong with it, and why a proposed registry is not taken.
pub fn lines(ledger: &LedgerStatus, style: Style) -> Vec<String> {
    let block = ledger.height.map_or(String::new(), |height| format!("block {height}, "));
    let registered = count(u64::from(ledger.registered), "HN");
    let known = match (ledger.known_round, ledger.known_height) {
        (Some(round), Some(height)) => format!("; known for round {round}, up to block {height}"),
        _ => "; for the next round not known yet".to_owned(),
    };
    let first = match ledger.state {
        LedgerState::None => "none is read here: others propose who is registered".to_owned(),
        LedgerState::Reading => style.warn(format_args!("{block}is read for the first time")),
        LedgerState::Following => format!("{block}{registered} registered there{known}"),
        LedgerState::Fault | LedgerState::Damaged => {
            let message = ledger.message.as_deref().unwrap_or("it cannot be read");
            let action = ledger.action.as_deref().unwrap_or("it is tried again");
            style.warn(format_args!("{message}; {action}"))
        }
    };
    let doubt = ledger.proposed.map(|doubt| match doubt {
        RegistryDoubt::NotYetKnown => {
            style.warn("a registry was proposed that is not known here yet: our ledger is late")
        }
        RegistryDoubt::Differs => style.warn(
            "a registry was proposed that differs from ours: compare `hypernode registry list` \
             with other operators; one of the ledgers is wrong",
        ),
    });
    [Some(first), doubt].into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::clock::Round;

    #[test]
    fn a_ledger_is_a_line_and_what_is_wrong_says_what_to_do() {
        let style = Style::for_terminal(false);
        let mut ledger = LedgerStatus {
            state: LedgerState::None,
            height: None,
            registered: 0,
            known_round: None,
            known_height: None,
            code: None,
            message: None,
            action: None,
            proposed: None,
        };
        assert!(lines(&ledger, style)[0].starts_with("none is read here"));
        (ledger.state, ledger.height, ledger.registered) = (LedgerState::Following, Some(40), 5);
        let said = "block 40, 5 HNs registered there; for the next round not known yet";
        assert_eq!(lines(&ledger, style), [said]);
        (ledger.known_round, ledger.known_height) = (Some(Round(9)), Some(36));
        ledger.proposed = Some(RegistryDoubt::Differs);
        let found = lines(&ledger, style);
        assert!(found[0].ends_with("known for round 9, up to block 36"));
        assert!(found[1].contains("differs from ours"));
        ledger.state = LedgerState::Fault;
        (ledger.message, ledger.action) = (Some("it is locked".into()), Some("wait".into()));
        assert_eq!(lines(&ledger, style)[0], "it is locked; wait");
    }
}
