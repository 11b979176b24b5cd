//! Columns of text, aligned by characters.

use std::fmt::Write;

/// A table: a head and rows. The last column takes what space it needs.
#[derive(Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
    /// Columns whose cells stand at the right.
    numbers: Vec<bool>,
}

impl Table {
    /// A table with these heads; one that begins with `>` stands over numbers.
    pub fn new(heads: &[&str]) -> Table {
        let numbers = heads.iter().map(|head| head.starts_with('>')).collect();
        let heads = heads.iter().map(|head| head.trim_start_matches('>').to_owned()).collect();
        Table { rows: vec![heads], numbers }
    }

    /// Adds a row, with as many cells as there are heads.
    pub fn row(&mut self, cells: Vec<String>) {
        debug_assert_eq!(cells.len(), self.numbers.len(), "one cell for each head");
        self.rows.push(cells);
    }

    /// The text of it, head first, without a line end after the last row.
    pub fn text(&self) -> String {
        let width_of = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max()
        };
        let widths: Vec<usize> =
            (0..self.numbers.len()).map(|column| width_of(column).unwrap_or(0)).collect();
        let lines = self.rows.iter().map(|row| {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let gap = " ".repeat(widths[column] - width(cell));
                let cell = if self.numbers[column] { gap + cell } else { cell.clone() + &gap };
                let between = if column == 0 { "" } else { "  " };
                write!(line, "{between}{cell}").expect("a string takes all text");
            }
            line.trim_end().to_owned()
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_trailing_space() {
        let mut table = Table::new(&["name", ">height", "hash"]);
        table.row(vec!["node-1".to_owned(), "7".to_owned(), "ab".to_owned()]);
        table.row(vec!["ü".to_owned(), "1234567".to_owned(), String::new()]);
        assert_eq!(table.text(), "name     height  hash\nnode-1        7  ab\nü       1234567");
    }
}
