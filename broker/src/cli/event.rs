//! An event's own fields for a person.

use serde_json::Value;

use super::out::plain;
use super::table::{dollars, seconds};

/// What an event says beyond its name, without what all events have and without what takes many lines.
pub(super) fn details(event: &Value) -> String {
    let Value::Object(fields) = event else { return String::new() };
    let own = |name: &str| !matches!(name, "seq" | "at" | "v" | "job" | "time" | "event" | "body" | "spec");
    let mut words: Vec<String> = fields.iter().filter(|(name, _)| own(name)).map(|(name, value)| word(name, value)).collect();
    if let Some(targets) = event["spec"]["targets"].as_array() {
        words.push(format!("targets={}", targets.iter().map(plain).collect::<Vec<_>>().join(",")));
    }
    words.join(" ")
}

fn word(name: &str, value: &Value) -> String {
    match (name, value) {
        ("charge", Value::Object(_)) => charge(value),
        ("failure", Value::Object(_)) => format!("failure={}: {}", plain(&value["kind"]), plain(&value["message"])),
        // The attempt's number is its token.
        ("token", _) => format!("attempt={}", plain(value)),
        ("until" | "retry_at", Value::Number(ms)) => match ms.as_i64().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
            Some(time) => format!("{name}={time}"),
            None => format!("{name}={ms}"),
        },
        _ => format!("{name}={}", plain(value)),
    }
}

fn charge(charge: &Value) -> String {
    let usage = &charge["usage"];
    let count = |name: &str| usage[name].as_u64().unwrap_or(0);
    let cached = if count("cached") > 0 { format!(" ({} cached)", count("cached")) } else { String::new() };
    let cost = dollars(charge["cost_nanos"].as_f64().unwrap_or(0.0) / 1e9);
    format!(
        "backend={} model={} tokens={}{cached}+{} cost=${cost} took={}",
        plain(&charge["backend"]),
        plain(&charge["model"]),
        count("prompt"),
        count("completion"),
        seconds(charge["busy_ms"].as_u64().unwrap_or(0)),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn charges_and_times_can_be_read() {
        let charge = json!({"backend": "slow", "model": "m", "busy_ms": 1193, "cost_nanos": 0, "usage": {"prompt": 41, "completion": 150, "cached": 8}});
        assert_eq!(
            details(&json!({"seq": 13, "event": "completed", "token": 1, "charge": charge})),
            "backend=slow model=m tokens=41 (8 cached)+150 cost=$0 took=1.2s attempt=1"
        );
        assert_eq!(
            details(&json!({"event": "leased", "until": 1_700_000_000_000_u64, "failure": {"kind": "busy", "message": "full"}})),
            "failure=busy: full until=2023-11-14T22:13:20Z"
        );
    }
}
