//! What a node's chain says of an address.

use super::super::api::Api;
use super::super::exit::Exit;
use super::super::failure::{Failure, Outcome};
use super::super::output::Output;
use super::super::table::Table;
use crate::shell::document::{AccountDocument, SentDocument};
use crate::types::clock::Height;

/// Asks for all blocks from a height on, and prints them as one answer.
pub fn show(api: &Api, address: &str, from: Option<u64>, json: bool, out: &mut Output) -> Outcome {
    let ask = |from: Option<Height>| -> Result<AccountDocument, Failure> {
        let query = from.map(|from| format!("?from={from}")).unwrap_or_default();
        api.value(&format!("/v1/addresses/{address}{query}"))
    };
    let mut whole = ask(from.map(Height))?;
    while let Some(next) = whole.searched.next {
        let more = ask(Some(next))?;
        whole.blocks.extend(more.blocks);
        whole.messages.extend(more.messages);
        whole.searched.to = more.searched.to;
        whole.searched.next = more.searched.next;
    }
    if json {
        out.json("account", &whole)?;
    } else {
        print(&whole, out)?;
    }
    Ok(Exit::Done)
}

fn print(account: &AccountDocument, out: &mut Output) -> Result<(), Failure> {
    out.line(format_args!("address     {}", account.address))?;
    let standing = match (&account.registered, account.active, account.penalised) {
        (None, _, _) => "not registered",
        (Some(_), _, true) => "registered; it signed twice and draws no slots for now",
        (Some(_), true, false) => "registered and active: it draws slots and votes",
        (Some(_), false, false) => "registered, not active: it has not been heard of lately",
    };
    out.line(format_args!("masternode  {standing}"))?;
    if let Some(hn) = &account.registered {
        out.line(format_args!("endpoint    {}, weight {}", hn.endpoint, hn.weight))?;
        if hn.since > 0 {
            out.line(format_args!("owner       {}", hn.owner))?;
            out.line(format_args!("reward      {}", hn.reward))?;
            out.line(format_args!("since       block {} of the PoW ledger", hn.since))?;
        }
    }
    let (from, to) = (account.searched.from, account.searched.to);
    let (blocks, messages) = (account.blocks.len(), account.messages.len());
    out.line(format_args!(
        "chain       {blocks} blocks forged, {messages} messages sent in blocks {from} to {to}"
    ))?;
    let mut table = Table::new(&[">height", "what", ">round", "id"]);
    let mut rows: Vec<(Height, [String; 3])> = Vec::new();
    for block in &account.blocks {
        let what = format!("forged slot {}", block.slot);
        rows.push((block.height, [what, block.round.to_string(), block.hash.0.short()]));
    }
    for sent in &account.messages {
        let message = &sent.message;
        let cells = [message.kind.clone(), message.round.to_string(), message.id.to_string()];
        rows.push((sent.height.unwrap_or_default(), cells));
    }
    rows.sort_by_key(|(height, _)| *height);
    for (height, [what, round, id]) in rows {
        table.row(vec![height.to_string(), what, round, id]);
    }
    if blocks + messages > 0 {
        out.line("")?;
        out.line(table.text())?;
    }
    Ok(())
}

/// A message for people.
pub fn print_message(sent: &SentDocument, out: &mut Output) -> Result<(), Failure> {
    let message = &sent.message;
    let place = match sent.height {
        Some(height) => format!("block {height}"),
        None => "waits for a block".to_owned(),
    };
    let body = serde_json::to_string(&message.body).expect("messages are plain data");
    for (name, value) in [
        ("id", message.id.to_string()),
        ("where", place),
        ("kind", message.kind.clone()),
        ("round", message.round.to_string()),
        ("sender", message.sender_address.clone()),
        ("says", body),
    ] {
        out.line(format_args!("{name:<7} {value}"))?;
    }
    Ok(())
}
