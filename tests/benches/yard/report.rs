//! The table: on the terminal while the run goes on, and in `BENCHMARKS.md` after a full one.

use std::fmt::Write as _;
use std::path::PathBuf;

/// One figure, with what it is held against.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) measured: String,
    pub(crate) pullyard: String,
    /// What it is compared with, and how that does.
    pub(crate) compared: String,
    pub(crate) ratio: String,
    pub(crate) bar: String,
    /// `None` where a quick run says nothing about the bar.
    pub(crate) met: Option<bool>,
}

impl Row {
    fn verdict(&self) -> &'static str {
        match self.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        }
    }
}

/// Everything that a run has found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// Figures that no bar is on, but that explain those with one.
    beside: Vec<String>,
    pub(crate) failures: Vec<String>,
    /// Why the verdicts of this run are none: a disturbed baseline lets a bad figure pass as easily as it fails a good one.
    pub(crate) doubt: Option<String>,
}

impl Report {
    pub(crate) fn row(&mut self, row: Row) {
        let Row { measured, pullyard, compared, ratio, bar, .. } = &row;
        println!("{measured}\n    {pullyard} | {compared} | {ratio} | bar {bar} | met: {}", row.verdict());
        self.rows.push(row);
    }

    pub(crate) fn beside(&mut self, figure: String) {
        println!("    ({figure})");
        self.beside.push(figure);
    }

    pub(crate) fn failed(&mut self, name: &str, error: &anyhow::Error) {
        println!("{name} FAILED: {error:#}");
        self.failures.push(format!("{name}: {error:#}"));
    }

    fn table(&self) -> String {
        let mut text = self.doubt.as_ref().map_or(String::new(), |why| format!("**No verdict below can be relied on: {why}.**\n\n"));
        text.push_str("| measured | Pullyard | compared with | ratio or difference | bar | met |\n|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let Row { measured, pullyard, compared, ratio, bar, .. } = row;
            let _ = writeln!(text, "| {measured} | {pullyard} | {compared} | {ratio} | {bar} | {} |", row.verdict());
        }
        text
    }

    /// The last words of a run on the terminal.
    pub(crate) fn print(&self) {
        println!("\n{}", self.table());
        let missed = self.rows.iter().filter(|r| r.met == Some(false)).count();
        println!("{} figures, {missed} below the bar, {} measurements failed", self.rows.len(), self.failures.len());
    }

    pub(crate) fn write(&self, conditions: &[(&'static str, String)]) -> anyhow::Result<PathBuf> {
        let mut text = String::from(
            "# Benchmarks\n\n\
             Written by `cargo bench -p pullyard-tests`, which measures everything here in one run and replaces this page.\n\
             What is compared takes turns in short rounds, and the figures are medians over the rounds; the ratio is the median of\n\
             the rounds' ratios. Load generator, backend and target share the machine, so rates are for all of it together;\n\
             of a fleet, nats-server and the worker are there too.\n\
             How each figure is taken is said in `tests/benches/yard/`.\n\n",
        );
        text.push_str(&self.table());
        if !self.failures.is_empty() {
            text.push_str("\nNot measured, because it failed:\n\n");
            self.failures.iter().for_each(|f| text.push_str(&format!("- {f}\n")));
        }
        text.push_str("\n## Beside the bars\n\n");
        self.beside.iter().for_each(|f| text.push_str(&format!("- {f}\n")));
        text.push_str("\n## Conditions\n\n| | |\n|---|---|\n");
        conditions.iter().for_each(|(name, value)| text.push_str(&format!("| {name} | {value} |\n")));
        std::fs::write(PAGE, text)?;
        Ok(PAGE.into())
    }

    /// Puts a run of its own at the page's end, in the place of an earlier one of the same choice.
    pub(crate) fn add(&self, names: &str, conditions: &[(&'static str, String)]) -> anyhow::Result<PathBuf> {
        let page = std::fs::read_to_string(PAGE)?;
        let head = format!("\n## Another run: {names}\n");
        let (before, rest) = page.split_once(&head).unwrap_or((&page, ""));
        let after = rest.find("\n## Another run: ").map_or("", |at| &rest[at..]);
        let mut text = format!("{before}{after}{head}\nWritten by `cargo bench -p pullyard-tests -- --add {names}`.\n\n{}\n", self.table());
        self.beside.iter().for_each(|f| text.push_str(&format!("- {f}\n")));
        conditions.iter().for_each(|(name, value)| text.push_str(&format!("- {name}: {value}\n")));
        std::fs::write(PAGE, text)?;
        Ok(PAGE.into())
    }
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../BENCHMARKS.md");
