//! `seal`: what was sealed, by whom, and who votes next.

use std::collections::BTreeMap;
use std::path::PathBuf;

use argh::{ArgsInfo, FromArgs};

use super::api::Api;
use super::duration::words;
use super::exit::Exit;
use super::failure::Outcome;
use super::number::whole;
use super::output::Output;
use super::table::Table;
use crate::machine::status::OpenSeal;
use crate::shell::document::{SealDocument, VoterDocument};

/// Show a round seal, the newest by default: its block, who signed it, who votes on the next one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "seal")]
pub struct Seal {
    /// configuration of the node
    #[argh(option)]
    pub config: Option<PathBuf>,

    /// unix socket of the node, instead
    #[argh(option)]
    pub api: Option<PathBuf>,

    /// print one JSON object
    #[argh(switch)]
    pub json: bool,

    /// number of the seal; genesis has 0
    #[argh(positional, from_str_fn(whole))]
    pub index: Option<u64>,
}

impl Seal {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let api = Api::choose(self.api.as_deref(), self.config.as_deref())?;
        let path = match self.index {
            Some(index) => format!("/v1/seals/{index}"),
            None => "/v1/seals/latest".to_owned(),
        };
        if self.json {
            return api.print(&path, out);
        }
        let seal: SealDocument = api.value(&path)?;
        let mut put = |name: &str, value: &str| out.line(format_args!("{name:<9} {value}"));
        put("seal", &seal.index.to_string())?;
        put("id", &seal.id.to_string())?;
        put("round", &seal.round.to_string())?;
        put("height", &seal.height.to_string())?;
        put("block", &seal.block.to_string())?;
        put("state", &seal.state_digest.to_string())?;
        put("decided", &decided(&seal))?;
        if seal.index > 0 {
            put("registry", change(seal.registry_changed))?;
            put("voters", change(seal.voters_changed))?;
        }
        out.line("")?;
        out.line(voters(&seal))?;
        Ok(Exit::Done)
    }
}

/// Why a seal is late: how much of the weight has voted, and for how long it is due.
pub fn waiting(open: &OpenSeal) -> String {
    format!("{}; {}", turnout(open), since(open))
}

fn turnout(open: &OpenSeal) -> String {
    let OpenSeal { voted_percent, needed_percent, missing_count, .. } = open;
    match missing_count {
        0 => "sealing takes longer, all vote".to_owned(),
        1.. => format!("sealing needs {needed_percent} %, has {voted_percent} %"),
    }
}

fn since(open: &OpenSeal) -> String {
    format!("seal {}, view {}, for {}", open.index, open.view, words(open.open_ms))
}

/// Who has not voted, by as many names as are given; nothing when all have.
pub fn missing(open: &OpenSeal, names: &[String]) -> Option<String> {
    let named = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let more = match open.missing_count.saturating_sub(named) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (open.missing_count > 0).then(|| format!("missing: {}{more}", names.join(", ")))
}

/// Both in one line, of which the beginning matters most.
pub fn waiting_for(open: &OpenSeal, names: &[String]) -> String {
    match missing(open, names) {
        Some(missing) => format!("{}, {missing}; {}", turnout(open), since(open)),
        None => waiting(open),
    }
}

fn decided(seal: &SealDocument) -> String {
    match &seal.certificate {
        Some(certificate) => format!(
            "in view {} by {} % of the weight, {} of {}",
            certificate.view,
            certificate.percent,
            certificate.signed_weight,
            certificate.total_weight
        ),
        None if seal.index == 0 => "genesis needs no votes".to_owned(),
        None => "by the network file, which lists it; no certificate is here".to_owned(),
    }
}

fn change(changed: bool) -> &'static str {
    if changed { "changed" } else { "as before" }
}

/// Who voted and who votes next, in one table by address.
fn voters(seal: &SealDocument) -> String {
    let mut rows: BTreeMap<&str, [String; 3]> = BTreeMap::new();
    for VoterDocument { address, weight, signed, .. } in &seal.voters {
        let signed = match signed {
            Some(true) => "yes",
            Some(false) => "no",
            None => "",
        };
        rows.insert(address, [weight.to_string(), signed.to_owned(), String::new()]);
    }
    for VoterDocument { address, weight, .. } in &seal.next_voters {
        rows.entry(address).or_default()[2] = weight.to_string();
    }
    let mut table = Table::new(&["voter", ">weight", "signed", ">next weight"]);
    for (address, [weight, signed, next]) in rows {
        table.row(vec![address.to_owned(), weight, signed, next]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::seal::Step;

    #[test]
    fn a_late_seal_says_what_it_needs_and_lacks() {
        let mut open = OpenSeal {
            index: 7,
            view: 2,
            step: Step::Prepare,
            open_ms: 48_000,
            late: true,
            voted_percent: 55,
            needed_percent: 67,
            missing: Vec::new(),
            missing_count: 3,
        };
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(waiting(&open), "sealing needs 67 %, has 55 %; seal 7, view 2, for 48 s");
        assert_eq!(missing(&open, &names).as_deref(), Some("missing: a, b and 1 more"));
        assert_eq!(
            waiting_for(&open, &names),
            "sealing needs 67 %, has 55 %, missing: a, b and 1 more; seal 7, view 2, for 48 s"
        );
        (open.voted_percent, open.missing_count) = (100, 0);
        assert_eq!(waiting(&open), "sealing takes longer, all vote; seal 7, view 2, for 48 s");
        assert_eq!(missing(&open, &[]), None);
    }
}
