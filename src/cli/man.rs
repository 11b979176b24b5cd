//! `man [COMMAND]`: the manual in roff, made of the same tables as the help. For `man -l -`, and for packages.

use argh::{ArgsInfo, FromArgs};

use super::config::{self, command::EXAMPLE};
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::output::Output;
use super::tree::{self, Entry};
use roff::Page;

mod date;
mod roff;

/// Print the manual in roff, or the page of one command. To read it: `hypernode man | man -l -`.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "man")]
pub struct Man {
    /// the command; all of them otherwise
    #[argh(positional)]
    pub command: Option<String>,
}

const FILES: [(&str, &str); 7] = [
    (config::FILE, "The configuration, with `conf.d/*.toml` beside it."),
    (config::KEY_FILE, "The secret key, mode 0600. Who has it can sign as this node."),
    (config::DATA_DIR, "The database. Without it a node fetches the chain from its peers."),
    (
        config::SIGN_DIR,
        "The sign state, which keeps the key from signing twice. Never restore an old one, and never run one key in two \
         places.",
    ),
    (config::API_SOCKET, "Where a running node answers commands."),
    ("devnet/", "What `hypernode devnet` makes, in the working directory."),
    ("devnet/ledger.db", "The PoW ledger of `hypernode devnet --ledger`."),
];

const EXAMPLES: [(&str, &str); 6] = [
    ("hypernode devnet", "A private network on this machine; Ctrl-C ends it."),
    ("hypernode status --api devnet/node-1/api.sock", "Ask one of its nodes, while it runs."),
    ("hypernode init --network FILE --dir /srv/node", "Make the key and configuration of a node."),
    ("hypernode run --config /srv/node/hypernode.toml", "Run it."),
    ("hypernode config check", "All that is wrong with the configuration of this machine."),
    ("source <(hypernode completions bash)", "Complete commands and options with the Tab key."),
];

impl Man {
    /// Prints it.
    pub fn run(self, out: &mut Output) -> Outcome {
        let entries = tree::entries();
        let page = match self.command.as_deref() {
            None => whole(&entries),
            Some(name) => one(&entries, name)?,
        };
        out.text(page)?;
        Ok(Exit::Done)
    }
}

/// hypernode(1).
fn whole(entries: &[Entry]) -> String {
    let (program, commands) = entries.split_first().expect("the program itself comes first");
    let mut page = Page::new("hypernode", &title(program));
    page.section("SYNOPSIS");
    page.command("hypernode COMMAND [ARGUMENTS]");
    page.section("DESCRIPTION");
    page.paragraph(program.info.description);
    page.paragraph(
        "Data goes to standard output, messages to standard error. With `--json` a command prints one object on one \
         line, errors too: an object `error` with `code`, `message` and `action`. Names are in snake_case, unknown is \
         null. Durations read `500ms`, `2s`, `3m`, `1h`.",
    );
    page.section("COMMANDS");
    for entry in commands {
        describe(&mut page, entry);
    }
    page.section("CONFIGURATION");
    page.paragraph("Every key, with what is built in:");
    page.verbatim(EXAMPLE);
    page.section("FILES");
    for (path, what) in FILES {
        page.term(path, what);
    }
    page.section("ENVIRONMENT");
    page.term(
        "HYPERNODE_*",
        "A key of the configuration in capitals, such as `HYPERNODE_DATA_DIR`: it counts more than the files and less \
         than an option. Other names with this prefix are left alone.",
    );
    page.term("NO_COLOR", "When it is set and not empty, nothing is coloured.");
    exit_codes(&mut page);
    page.section("EXAMPLES");
    for (command, what) in EXAMPLES {
        page.term(command, what);
    }
    page.text()
}

/// hypernode-COMMAND(1).
fn one(entries: &[Entry], name: &str) -> Result<String, Failure> {
    let (program, commands) = entries.split_first().expect("the program itself comes first");
    let mut own = commands.iter().filter(|entry| entry.words.first() == Some(&name)).peekable();
    let Some(first) = own.peek() else {
        let known = program.commands().join(", ");
        return Err(Failure::usage(format!("there is no command {name:?}"))
            .action(format!("name one of {known}")));
    };
    let mut page = Page::new(&format!("hypernode-{name}"), &title(first));
    page.section("COMMANDS");
    for entry in own {
        describe(&mut page, entry);
    }
    exit_codes(&mut page);
    page.section("SEE ALSO");
    page.paragraph("`hypernode`(1)");
    Ok(page.text())
}

/// The first sentence about a command, for the line of names.
fn title(entry: &Entry) -> String {
    let text = tree::plain(entry.info.description);
    let sentence = text.split(". ").next().unwrap_or_default();
    let mut letters = sentence.chars();
    letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
}

fn describe(page: &mut Page, entry: &Entry) {
    page.subsection(&format!("hypernode {}", entry.joined(" ")));
    if !entry.info.commands.is_empty() {
        page.paragraph(entry.info.description);
        return;
    }
    page.command(&entry.usage());
    page.paragraph(entry.info.description);
    for positional in entry.info.positionals {
        page.term(&positional.name.to_uppercase(), positional.description);
    }
    for flag in entry.options().filter(|flag| flag.long != "--help") {
        page.term(&tree::form(flag), flag.description);
    }
}

fn exit_codes(page: &mut Page) {
    page.section("EXIT STATUS");
    for exit in Exit::ALL {
        page.term(&(exit as u8).to_string(), exit.meaning());
    }
}
