//! Waiting for a batch: how far it is, how fast, and when it will be done.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::super::client::{self, Client, Error};
use super::super::out::{self, Out, can_update, note, plain, update};
use super::super::table::{dollars, span};
use super::{faults, results};

/// How often it is looked.
const LOOK: Duration = Duration::from_millis(500);
/// How long a broker that does not answer is waited for: the batch outlives its restart.
const PATIENCE: u32 = 120;

/// Shows how far it is until it is over, and writes the answers.
pub(super) async fn follow(client: &Client, out: &Out, id: &str, output: Option<&Path>) -> Result<(), Error> {
    let mut back = format!("pullyard batch attach {id}");
    if let Some(output) = output {
        back += &format!(" -o {}", output.display());
    }
    note(&format!("batch {id}"));
    out::parting(Some(format!("the batch goes on; come back with: {back}")));
    let batch = over(client, id).await?;
    out::parting(None);
    if can_update() {
        update("");
    }
    if let Some(output) = output {
        results::write(client, &batch, output).await?;
    }
    if out.json {
        out.line(&batch.to_string())?;
    }
    ended(&batch, output)
}

async fn over(client: &Client, id: &str) -> Result<Value, Error> {
    let mut silent = 0;
    loop {
        match client.get(&["batches", id], &[]).await {
            Ok(body) => {
                silent = 0;
                let batch = client::json(&body)?;
                if matches!(batch["status"].as_str(), Some("completed" | "failed" | "expired" | "cancelled")) {
                    return Ok(batch);
                }
                if can_update() {
                    update(&line(&batch, jiff::Timestamp::now()));
                }
            }
            Err(error @ (Error::NoBroker { .. } | Error::Broken(_))) => {
                silent += 1;
                if silent > PATIENCE {
                    return Err(error);
                }
                if can_update() {
                    update("the broker does not answer; waiting for it");
                }
            }
            Err(error) => return Err(error),
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// How far it is, on one line.
fn line(batch: &Value, now: jiff::Timestamp) -> String {
    let counts = &batch["request_counts"];
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (total, failed) = (number(&counts["total"]), number(&counts["failed"]));
    let done = number(&counts["completed"]) + failed;
    if batch["status"] != "in_progress" || total == 0 {
        return plain(&batch["status"]);
    }
    let (width, share) = (20, done as f64 / total as f64);
    let full = ((share * f64::from(width)) as usize).min(20);
    let mut line = format!("[{}{}] {done}/{total} {:.0}%", "#".repeat(full), ".".repeat(20 - full), share * 100.0);
    if let Some(rate) = batch["pullyard"]["lines_per_second"].as_f64() {
        line += &if rate >= 10.0 { format!(" {rate:.0}/s") } else { format!(" {rate:.2}/s") };
    }
    if let Some(end) = batch["pullyard"]["expected_end"].as_str().and_then(|end| end.parse::<jiff::Timestamp>().ok()) {
        line += &format!(" {} left", span(end.as_second() - now.as_second()));
    }
    if failed > 0 {
        line += &format!(" {failed} failed");
    }
    if let Some(cost) = batch["pullyard"]["cost_usd"].as_f64().filter(|cost| *cost > 0.0) {
        line += &format!(" ${}", dollars(cost));
    }
    line
}

fn ended(batch: &Value, output: Option<&Path>) -> Result<(), Error> {
    let counts = &batch["request_counts"];
    let failed = counts["failed"].as_u64().unwrap_or(0);
    let told =
        format!("{}: {} of {} lines done, {failed} failed", plain(&batch["status"]), plain(&counts["completed"]), plain(&counts["total"]));
    let place = output.map_or_else(String::new, |output| format!("; {}", output.display()));
    note(&format!("{told}{place}"));
    let faults = faults(batch);
    if !faults.is_empty() {
        note(faults.trim_end());
    }
    if batch["status"] == "completed" && failed == 0 { Ok(()) } else { Err(Error::Told) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_one_line() {
        let now: jiff::Timestamp = "2026-11-21T20:00:00Z".parse().unwrap();
        let mut batch = json!({"status": "in_progress", "request_counts": {"total": 50_000, "completed": 12_490, "failed": 10},
            "pullyard": {"lines_per_second": 812.4, "expected_end": "2026-11-21T20:03:30Z", "cost_usd": 0.1234}});
        assert_eq!(line(&batch, now), "[#####...............] 12500/50000 25% 812/s 3m left 10 failed $0.12");
        batch["status"] = json!("validating");
        assert_eq!(line(&batch, now), "validating");
        batch = json!({"status": "in_progress", "request_counts": {"total": 3, "completed": 1, "failed": 0}, "pullyard": {"lines_per_second": 0.25}});
        assert_eq!(line(&batch, now), "[######..............] 1/3 33% 0.25/s");
    }
}
