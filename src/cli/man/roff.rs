//! A manual page in roff with the macros of man(7). Text in backticks is set in bold.

use std::fmt::Write;

use super::date;

/// Letters of a line: what those who read the source of a page expect.
const LINE_MAX: usize = 78;

/// A page that grows at its end.
pub struct Page {
    text: String,
    /// Whether a head has just been set, behind which a paragraph begins by itself.
    is_begun: bool,
}

impl Page {
    /// A page of section 1, with its line of names.
    pub fn new(name: &str, title: &str) -> Page {
        let (date, version) = (date::built(), env!("CARGO_PKG_VERSION"));
        let mut page = Page { text: String::new(), is_begun: false };
        let capitals = escape(&name.to_uppercase());
        page.line(&format!(
            ".TH {capitals} 1 \"{date}\" \"hypernode {version}\" \"User Commands\""
        ));
        page.section("NAME");
        page.line(&format!("{} \\- {}", escape(name), inline(title)));
        page
    }

    /// A head.
    pub fn section(&mut self, name: &str) {
        self.line(&format!(".SH {}", escape(name)));
        self.is_begun = true;
    }

    /// A head below a head.
    pub fn subsection(&mut self, name: &str) {
        self.line(&format!(".SS \"{}\"", escape(name)));
        self.is_begun = true;
    }

    /// Some sentences.
    pub fn paragraph(&mut self, text: &str) {
        self.begin();
        self.sentence(text);
    }

    /// A command as it is typed.
    pub fn command(&mut self, text: &str) {
        self.begin();
        self.line(&format!("\\fB{}\\fR", escape(text)));
    }

    /// Something and what it is.
    pub fn term(&mut self, name: &str, what: &str) {
        self.line(".TP");
        self.line(&format!("\\fB{}\\fR", escape(name)));
        self.sentence(what);
    }

    /// Lines as they are.
    pub fn verbatim(&mut self, text: &str) {
        self.begin();
        self.line(".EX");
        for line in text.lines() {
            self.line(&guarded(&escape(line)));
        }
        self.line(".EE");
    }

    /// The whole page.
    pub fn text(self) -> String {
        self.text
    }

    fn begin(&mut self) {
        if !self.is_begun {
            self.line(".P");
        }
    }

    fn sentence(&mut self, text: &str) {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut line = String::new();
        for word in inline(&text).split(' ') {
            if !line.is_empty() && line.len() + 1 + word.len() > LINE_MAX {
                self.line(&guarded(&line));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.line(&guarded(&line));
    }

    fn line(&mut self, line: &str) {
        self.is_begun = false;
        writeln!(self.text, "{line}").expect("a string takes all text");
    }
}

/// A line of text that begins like a request is none.
fn guarded(line: &str) -> String {
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() }
}

/// Text with what stands between backticks in bold.
fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts = parts.map(|(number, part)| match number % 2 {
        1 => format!("\\fB{}\\fR", escape(part)),
        _ => escape(part),
    });
    parts.collect()
}

/// Characters that mean something to roff, and those beyond ASCII.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '"' => escaped.push_str("\\(dq"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            '`' => escaped.push_str("\\(ga"),
            letter if letter.is_ascii() => escaped.push(letter),
            letter => {
                write!(escaped, "\\[u{:04X}]", u32::from(letter)).expect("a string takes all text");
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_taken_for_a_request() {
        assert_eq!(escape("a-b \\n \"c\" → 'd'"), "a\\-b \\en \\(dqc\\(dq \\[u2192] \\(aqd\\(aq");
        assert_eq!(inline("say `a-b`, then c"), "say \\fBa\\-b\\fR, then c");
        let mut page = Page::new("x-y", "an example");
        page.verbatim(".SH evil\n'so evil");
        page.paragraph(".SH evil");
        let text = page.text();
        assert!(text.starts_with(".TH X\\-Y 1 \""), "{text}");
        assert_eq!(text.matches("\n.SH").count(), 1, "{text}");
        assert!(text.contains("\n\\(aqso evil\n"), "{text}");
    }
}
