//! What a person sees of a running devnet: on a terminal a picture that is drawn anew, elsewhere a line for each block.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::crew::Life;
use super::recipe::{Member, Recipe};
use super::record::{News, Record};
use crate::cli::duration::words;
use crate::cli::number::count;
use crate::cli::seal;
use crate::cli::style::Style;
use crate::cli::table::Table;
use crate::types::clock::{Clock, Round, Slot, Timestamp};

mod lines;

use lines::{block_line, row, seal_line, slot_line, wait};

/// Slots in the picture that are over.
const SLOTS_SHOWN: usize = 5;
/// Lines besides nodes and blocks, and the one that the cursor stands on.
const LINES_BESIDES: usize = 13;
/// Before the command that asks a node, and that command where the whole one has no room.
const ASK: &str = "ask a node: ";
const ASK_SHORT: &str = "hypernode status --config FOLDER/node-1/hypernode.toml";
/// Size of a terminal that does not say.
const SIZE: (usize, usize) = (80, 24);

/// Where it goes, and what stands there.
pub struct View {
    sink: Sink,
    terminal: bool,
    style: Style,
    /// The picture that stands on the terminal, and its lines.
    picture: String,
    drawn: usize,
    /// For a terminal of this size.
    size: (usize, usize),
    /// The command that shows more of a node.
    ask: String,
    title: String,
    /// For whom a seal waited when that was last said, and which.
    missing: Option<(u64, Vec<String>)>,
    abandoned: bool,
}

/// Data is on standard output; with `--json` that is the summary alone.
enum Sink {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
}

/// What a picture is made of.
pub struct Scene<'a> {
    pub now: Timestamp,
    pub clock: Clock,
    pub lives: &'a [Life],
}

impl View {
    /// For a devnet; `json` leaves standard output to the summary.
    pub fn new(recipe: &Recipe, json: bool) -> View {
        let (sink, terminal) = match json {
            true => (Sink::Stderr(io::stderr()), io::stderr().is_terminal()),
            false => (Sink::Stdout(io::stdout()), io::stdout().is_terminal()),
        };
        let clock = recipe.network.clock;
        let nodes = count(recipe.nodes.len() as u64, "node");
        let folder = recipe.nodes.first().and_then(|node| node.dir.parent());
        View {
            sink,
            terminal,
            style: Style::for_terminal(terminal),
            picture: String::new(),
            drawn: 0,
            size: SIZE,
            ask: ask(recipe),
            missing: None,
            abandoned: false,
            title: format!(
                "hypernode devnet: {nodes}, {} + {} slots of {}, in {}",
                clock.slots,
                clock.seal_slots,
                words(clock.slot_ms),
                folder.map_or(Path::new(""), shorten).display()
            ),
        }
    }

    /// Says what has been made and what to do with it.
    pub fn open(&mut self) {
        if !self.terminal {
            let text = format!("{}\nask a node: {}\n", self.title, self.ask);
            self.write(&text);
        }
    }

    /// Blocks and seals that nobody had before.
    pub fn tell(&mut self, news: &News, record: &Record) {
        if self.terminal {
            return;
        }
        for block in &news.blocks {
            self.write(&format!("{}\n", block_line(block, record)));
        }
        if let Some(seal) = &news.seal {
            self.write(&format!("{}\n", seal_line(seal)));
        }
    }

    /// Says once for whom a seal waits.
    pub fn waiting(&mut self, record: &Record) {
        if self.terminal {
            return;
        }
        let waiting = record.waiting();
        let Some((open, missing)) = waiting.filter(|(_, missing)| !missing.is_empty()) else {
            return;
        };
        let text = format!("{}\n", seal::waiting_for(open, &missing));
        let now = Some((open.index, missing));
        if self.missing != now {
            self.missing = now;
            self.write(&text);
        }
    }

    /// A process has ended, was stopped or goes on.
    pub fn life(&mut self, member: &Member, life: Life) {
        let name = &member.name;
        let text = match life {
            Life::Running | Life::Stopped => format!("{name}: {life}"),
            Life::Ended(_) => {
                let again = command("run --config", &member.config());
                format!("{name}: {life}; this starts it again: {}", self.style.bold(again))
            }
        };
        if self.terminal {
            self.erase();
        }
        self.write(&format!("{text}\n"));
    }

    /// Whether nobody can read any more what is written.
    pub fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    /// Draws the picture anew, over the one before.
    pub fn draw(&mut self, scene: &Scene<'_>, record: &mut Record) {
        if !self.terminal {
            return;
        }
        let size @ (width, height) = size();
        if std::mem::replace(&mut self.size, size) != size && self.drawn > 0 {
            // The terminal has broken the lines anew: nobody knows where the picture is now.
            self.write("\x1b[H\x1b[2J");
            (self.drawn, self.picture) = (0, String::new());
        }
        let mut lines = self.lines(scene, record, height);
        // A line that has scrolled away cannot be drawn over.
        lines.truncate(height.saturating_sub(1));
        let mut picture = String::new();
        for line in &lines {
            // What stood further right in this line goes.
            picture += &format!("{}\x1b[K\n", cut(line, width));
        }
        // All in one piece, or it flickers.
        if picture != self.picture {
            let text = format!("{}{picture}\x1b[J", self.up());
            self.write(&text);
            (self.drawn, self.picture) = (lines.len(), picture);
        }
    }

    /// Takes the picture away, for what is to stay above the next one.
    fn erase(&mut self) {
        let text = format!("{}\x1b[J", self.up());
        self.write(&text);
        (self.drawn, self.picture) = (0, String::new());
    }

    /// To the first line of the picture.
    fn up(&self) -> String {
        if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() }
    }

    fn write(&mut self, text: &str) {
        let written = match &mut self.sink {
            Sink::Stdout(out) => out.write_all(text.as_bytes()).and_then(|()| out.flush()),
            Sink::Stderr(out) => out.write_all(text.as_bytes()),
        };
        self.abandoned |= written.is_err();
    }

    fn lines(&self, scene: &Scene<'_>, record: &mut Record, height: usize) -> Vec<String> {
        let style = self.style;
        let mut lines = vec![
            style.bold(&self.title),
            self.moment(scene, record),
            self.sealing(record),
            String::new(),
        ];
        let room = height.saturating_sub(LINES_BESIDES).max(3);
        let mut table =
            Table::new(&["", ">height", "tip", ">seal", ">forged", ">missed", ">peers", ""]);
        for (node, life) in scene.lives.iter().enumerate().take(room) {
            table.row(row(node, *life, scene, record));
        }
        lines.extend(table.text().lines().map(str::to_owned));
        if scene.lives.len() > room {
            lines.push(style.dim(format!("… and {} more", scene.lives.len() - room)));
        }
        lines.push(String::new());
        let room = SLOTS_SHOWN.min(height.saturating_sub(lines.len() + 4));
        let slots = scene.clock.at(scene.now).map(|now| record.newest(now, room));
        let slots = slots.iter().flatten().map(|slot| slot_line(slot, record, style));
        lines.extend(slots);
        lines.push(String::new());
        // Cut off, it would be of no use.
        let fits = ASK.len() + self.ask.chars().count() <= self.size.0;
        let ask = if fits { &self.ask } else { ASK_SHORT };
        lines.push(format!("{ASK}{}", style.bold(ask)));
        lines.push(style.dim("Ctrl-C ends the devnet"));
        lines
    }

    /// The newest seal, or why the next one is late.
    fn sealing(&self, record: &Record) -> String {
        match (record.waiting(), record.seals().newest()) {
            (Some((open, missing)), _) => self.style.warn(seal::waiting_for(open, &missing)),
            (None, Some(seal)) => seal_line(seal),
            (None, None) => "no seal yet".to_owned(),
        }
    }

    /// The round as a bar of slots: filled, empty, now, to come; then the seal slots.
    fn moment(&self, scene: &Scene<'_>, record: &mut Record) -> String {
        let (clock, style) = (scene.clock, self.style);
        let Some((round, now)) = clock.at(scene.now) else {
            return format!("round 0 starts in {}", wait(clock.origin.since(scene.now)));
        };
        let mut bar = String::new();
        for slot in (0..clock.slots).map(Slot) {
            let filled = record.is_filled(round, slot);
            bar += &match (filled, slot.cmp(&now)) {
                (true, _) => style.good("■"),
                (false, std::cmp::Ordering::Less) => style.bad("×"),
                (false, std::cmp::Ordering::Equal) => style.warn("▷"),
                (false, std::cmp::Ordering::Greater) => style.dim("·"),
            };
        }
        bar.push(' ');
        for slot in (clock.slots..clock.slots + clock.seal_slots).map(Slot) {
            bar += &match record.seals().closes(round) {
                true => style.good("◆"),
                false if slot == now => style.warn("▷"),
                false => style.dim("·"),
            };
        }
        let left = wait(clock.end_of(round, now).since(scene.now));
        let doing = doing(round, now, clock, record);
        format!("round {round}  {bar}  slot {now}: {doing}, {left} left")
    }
}

fn doing(round: Round, slot: Slot, clock: Clock, record: &Record) -> String {
    if !clock.is_forging(slot) {
        return "seal slot".to_owned();
    }
    match record.juror(round, slot) {
        Some(node) if record.is_filled(round, slot) => format!("{} has forged", record.name(node)),
        Some(node) => format!("{} forges", record.name(node)),
        None => "nobody's".to_owned(),
    }
}

fn ask(recipe: &Recipe) -> String {
    let socket = recipe.nodes.first().map(|node| node.socket()).unwrap_or_default();
    command("status --api", &socket)
}

/// A command that a person can paste.
fn command(words: &str, path: &Path) -> String {
    let binary = std::env::current_exe().unwrap_or("hypernode".into());
    format!("{} {words} {}", shorten(&binary).display(), shorten(path).display())
}

/// A path from here, where that is shorter.
fn shorten(path: &Path) -> &Path {
    std::path::absolute(".").ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

fn size() -> (usize, usize) {
    let size = [rustix::stdio::stdout(), rustix::stdio::stderr()]
        .into_iter()
        .find_map(|handle| rustix::termios::tcgetwinsize(handle).ok());
    match size {
        Some(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => SIZE,
    }
}

/// A line no wider than the terminal: a longer one would break the picture. Colours have no width.
fn cut(line: &str, width: usize) -> String {
    let (mut text, mut used, mut coloured, mut escape) = (String::new(), 0, false, false);
    for character in line.chars() {
        match (character, escape) {
            ('\x1b', _) => (escape, coloured) = (true, true),
            (_, true) => escape = character != 'm',
            (_, false) if used == width => break,
            (_, false) => used += 1,
        }
        text.push(character);
    }
    if coloured {
        text.push_str("\x1b[0m");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_seen_of_it() {
        assert_eq!(cut("abcdef", 4), "abcd");
        assert_eq!(cut("ab", 4), "ab");
        assert_eq!(cut("\x1b[31mabc\x1b[0mdef", 4), "\x1b[31mabc\x1b[0md\x1b[0m");
        assert_eq!(cut("■■■", 2), "■■");
    }
}
