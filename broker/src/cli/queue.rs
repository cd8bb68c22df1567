//! `pullyard queue`.

use serde_json::Value;

use super::client::{self, Client, Error};
use super::out::{Out, note, plain};
use super::table::{Table, span};

pub(super) async fn run(client: &Client, out: &Out) -> Result<(), Error> {
    let body = client.get(&["queue"], &[]).await?;
    if out.json { out.answer(&body) } else { show(out, &client::json(&body)?) }
}

fn show(out: &Out, found: &Value) -> Result<(), Error> {
    let header = ["MODEL", "SCOPE", "SLOTS", "RUNNING", "INTERACTIVE", "NORMAL", "BATCH", "DONE IN"];
    let mut table = Table::new(header, &header[2..]);
    for lane in found["data"].as_array().into_iter().flatten() {
        let waiting = &lane["waiting"];
        // The last band that waits is done last.
        let done = ["batch", "normal", "interactive"].iter().find(|band| waiting[**band] != 0).map(|band| &lane["expected_end_ms"][*band]);
        let done = done.map_or_else(|| "-".to_owned(), |ms| ms.as_i64().map_or_else(|| "?".to_owned(), |ms| span(ms / 1000)));
        let [slots, running, interactive, normal, batch] =
            [&lane["slots"], &lane["running"], &waiting["interactive"], &waiting["normal"], &waiting["batch"]].map(plain);
        table.row(vec![plain(&lane["target"]), plain(&lane["scope"]), slots, running, interactive, normal, batch, done]);
    }
    table.print(out)?;
    match found["batch_hours"].as_str() {
        Some("shut") => note("it is not the hour of batch jobs: they wait"),
        Some("idle") => note("it is not the hour of batch jobs: they have what is idle"),
        _ => {}
    }
    Ok(())
}
