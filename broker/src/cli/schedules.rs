//! `pullyard schedules`.

use serde_json::Value;

use super::client::{self, Client, Error};
use super::out::{Out, note, plain};
use super::table::Table;

pub(super) async fn run(client: &Client, out: &Out) -> Result<(), Error> {
    let body = client.get(&["schedules"], &[]).await?;
    if out.json {
        return out.answer(&body);
    }
    show(out, &client::json(&body)?)
}

fn show(out: &Out, found: &Value) -> Result<(), Error> {
    let schedules = found["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    if schedules.is_empty() {
        note("nothing recurs: the configuration has no `schedules`");
        return Ok(());
    }
    let mut table = Table::new(["SCHEDULE", "CRON", "ZONE", "NEXT", "LAST", "JOB", "STATE", "DETAILS"], &[]);
    let or_dash = |value: &Value| if value.is_null() { "-".to_owned() } else { plain(value) };
    for schedule in schedules {
        let last = &schedule["last"];
        let [next, at, job, state, error] = [&schedule["next_at"], &last["at"], &last["job"], &last["state"], &last["error"]].map(or_dash);
        table.row(vec![plain(&schedule["name"]), plain(&schedule["cron"]), plain(&schedule["zone"]), next, at, job, state, error]);
    }
    table.print(out)
}
