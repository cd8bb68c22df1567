//! What the log's files say, read without a broker.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::TestBroker;

/// A job as its events tell it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    pub events: Vec<String>,
    /// The submission's last message.
    pub prompt: String,
}

impl Story {
    /// How it ended, if it did.
    #[must_use]
    pub fn ends(&self) -> Vec<&str> {
        self.events.iter().map(String::as_str).filter(|e| matches!(*e, "completed" | "cancelled" | "expired")).collect()
    }

    /// The state that the events add up to, as far as they say it: a job that waits may be queued or deferred.
    #[must_use]
    pub fn state(&self) -> &str {
        match self.events.iter().rfind(|e| *e != "accounted").map(String::as_str) {
            Some("leased" | "checkpointed") => "running",
            Some(end @ ("completed" | "cancelled" | "expired" | "parked")) => end,
            _ => "waiting",
        }
    }
}

/// Every job of the log.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub jobs: BTreeMap<String, Story>,
    /// Events that bill something.
    pub bills: u64,
}

impl Ledger {
    /// Reads the log with `pullyard log export`; the broker must not run.
    pub async fn of(broker: &TestBroker) -> Self {
        let file = broker.dir().join("export.jsonl");
        let exported = broker.run(&["log", "export", "-o", file.to_str().unwrap()]).await;
        assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
        let mut ledger = Self::default();
        for (n, line) in std::fs::read_to_string(file).unwrap().lines().enumerate() {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["seq"], n + 1, "the log has no gap");
            let job = ledger.jobs.entry(line["job"].as_str().unwrap().to_owned()).or_default();
            let event = line["event"].as_str().unwrap();
            job.events.push(event.to_owned());
            if event == "submitted" {
                job.prompt = line["body"]["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
            }
            ledger.bills += u64::from(line["charge"].is_object());
        }
        ledger
    }
}
