//! What it takes to read a request and say what it wants, before anything else happens to it. No process and no network:
//! this is the broker's own code, on one core.

use std::hint::black_box;
use std::time::Instant;

use pullyard_broker::core::classify::{classify, read};

use crate::Run;
use crate::report::Row;
use crate::stats::{Sample, micros, time};

const PROSE: &str = "The river ran slowly past the old mill, and nobody in the village remembered who had built it. ";
const PROGRAM: &str = "fn main() {\n    let values: Vec<u32> = (0..10).map(|x| x * 2).collect();\n    println!(\"{values:?}\");\n}\n";
const TABLE: &str = "104233,2026-04-11,Anna Schmidt,34.50,EUR,9942817\n";

pub(crate) fn run(run: &mut Run<'_>) -> anyhow::Result<()> {
    for (name, piece) in [("prose", PROSE), ("a program", PROGRAM), ("a table", TABLE)] {
        let kilobyte = times(piece, 1 << 10, run.pick(5_000, 50_000))?;
        run.report.row(Row {
            measured: format!("classify 1 KB of {name}: p99"),
            pullyard: time(kilobyte.p99()),
            compared: format!("p50 {:.1} µs", kilobyte.p50()),
            ratio: String::new(),
            bar: "≤ 60 µs".to_owned(),
            met: Some(kilobyte.p99() <= 60.0),
        });
        let megabyte = times(piece, 1 << 20, run.pick(100, 500))?;
        run.report.row(Row {
            measured: format!("classify 1 MB of {name}: p50"),
            pullyard: time(megabyte.p50()),
            compared: format!("p99 {}", time(megabyte.p99())),
            ratio: String::new(),
            bar: "≤ 1 ms".to_owned(),
            met: Some(megabyte.p50() <= 1_000.0),
        });
    }
    Ok(())
}

/// How long each classification of a prompt of so many bytes took, in microseconds.
fn times(piece: &str, bytes: usize, count: usize) -> anyhow::Result<Sample> {
    let prompt: String = piece.chars().cycle().take(bytes).collect();
    let body = serde_json::json!({"messages": [{"role": "user", "content": prompt}]}).to_string();
    let request = read(body.as_bytes())?;
    for _ in 0..count / 10 {
        black_box(classify(black_box(&request)));
    }
    let once = || {
        let start = Instant::now();
        black_box(classify(black_box(&request)));
        micros(start.elapsed())
    };
    Ok(Sample::of((0..count).map(|_| once()).collect()))
}
