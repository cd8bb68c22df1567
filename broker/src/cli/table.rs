//! Tables that a person can read and a program can cut into columns.

use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table as Grid, Width, presets};

use super::client::Error;
use super::out::{Out, flat};

/// Columns that may be wrapped. An id, a name or a number that is cut cannot be copied.
const PROSE: [&str; 2] = ["DETAILS", "FOUND"];

/// Rows under a header. Numbers go to the right.
#[derive(Debug)]
pub(super) struct Table {
    header: Vec<String>,
    numbers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<'a>(header: impl IntoIterator<Item = &'a str>, numbers: &[&'static str]) -> Self {
        Self { header: header.into_iter().map(str::to_owned).collect(), numbers: numbers.to_vec(), rows: Vec::new() }
    }

    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(super) fn print(&self, out: &Out) -> Result<(), Error> {
        out.text(&self.render(out.terminal))
    }

    /// On a terminal prose is wrapped; elsewhere a row is always one line.
    pub(super) fn render(&self, terminal: bool) -> String {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        let arrangement = if terminal { ContentArrangement::Dynamic } else { ContentArrangement::Disabled };
        grid.set_content_arrangement(arrangement).set_header(self.header.iter().map(|name| self.cell(name, name)));
        if !terminal {
            grid.force_no_tty();
        }
        for row in &self.rows {
            grid.add_row(self.header.iter().zip(row).map(|(name, cell)| self.cell(name, cell)));
        }
        for (column, name) in grid.column_iter_mut().zip(&self.header) {
            let flows = terminal && PROSE.contains(&name.as_str());
            let width = if flows { ColumnConstraint::LowerBoundary(Width::Fixed(20)) } else { ColumnConstraint::ContentWidth };
            column.set_padding((0, 2)).set_constraint(width);
        }
        grid.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }

    fn cell(&self, column: &str, text: &str) -> Cell {
        let side = if self.numbers.contains(&column) { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(flat(text)).set_alignment(side)
    }
}

/// Names and values, one pair per line.
pub(super) fn pairs(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {}\n", flat(value))).collect()
}

/// Dollars with as many digits as a small price needs.
pub(super) fn dollars(usd: f64) -> String {
    if usd == 0.0 {
        "0".to_owned()
    } else if usd.abs() < 0.01 {
        format!("{usd:.6}")
    } else {
        format!("{usd:.2}")
    }
}

pub(super) fn slots(n: u32) -> String {
    if n == 1 { "1 slot".to_owned() } else { format!("{n} slots") }
}

/// How long something took.
pub(super) fn seconds(ms: u64) -> String {
    if ms < 1_000 { format!("{ms}ms") } else { format!("{:.1}s", ms as f64 / 1e3) }
}

/// A length of time in its largest unit.
pub(super) fn span(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..172_800 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piped_table_is_aligned_and_has_one_line_per_row() {
        let mut table = Table::new(["id", "model", "cost"], &["cost"]);
        table.row(vec!["a".into(), "one\ntwo\x1b[0m".into(), "0.5".into()]);
        table.row(vec!["bbb".into(), "x".into(), "12.25".into()]);
        assert_eq!(table.render(false), "id   model        cost\na    one two[0m    0.5\nbbb  x           12.25\n");
    }

    #[test]
    fn lengths_and_prices_are_short() {
        assert_eq!((span(59).as_str(), span(3_700).as_str(), span(200_000).as_str()), ("59s", "1h", "2d"));
        assert_eq!((dollars(0.0).as_str(), dollars(0.000_12).as_str(), dollars(1.5).as_str()), ("0", "0.000120", "1.50"));
    }
}
