//! `pullyard route`.

use clap::Args;
use serde_json::Value;

use super::body::BodyArgs;
use super::client::{Client, Error, json};
use super::out::{Out, plain};
use super::table::{Table, pairs};

const EXAMPLES: &str = "\
Examples:
  pullyard route \"Prove that there are infinitely many primes.\"
  pullyard route --file request.json --scope local";

/// A request to explain.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct RouteArgs {
    #[command(flatten)]
    body: BodyArgs,
}

pub(super) async fn run(client: &Client, out: &Out, args: RouteArgs) -> Result<(), Error> {
    let body = args.body.body().await?;
    let answer = client.post(&["route"], body, None).await?;
    if out.json {
        return out.answer(&answer);
    }
    let route = json(&answer)?;
    out.text(&explain(&route))?;
    let signals = route["tags"]["signals"].as_array().filter(|s| !s.is_empty());
    let Some(signals) = signals else { return Ok(()) };
    out.text("\n")?;
    let mut table = Table::new(["SIGNAL", "FOUND", "WEIGHT", "FOR"], &["WEIGHT"]);
    for signal in signals {
        let weight = signal["weight"].as_f64().map_or_else(|| "-".to_owned(), |w| format!("{w:.1}"));
        table.row(vec![plain(&signal["name"]), plain(&signal["found"]), weight, plain(&signal["class"])]);
    }
    table.print(out)
}

fn explain(route: &Value) -> String {
    let names = |list: &Value| list.as_array().map(|l| l.iter().map(plain).collect::<Vec<_>>()).unwrap_or_default();
    let (targets, tags, decision) = (names(&route["targets"]), &route["tags"], &route["decision"]);
    let mut rows = vec![("goes to", targets.first().cloned().unwrap_or_else(|| plain(&route["model"])))];
    if targets.len() > 1 {
        rows.push(("or else", targets[1..].join(", ")));
    }
    rows.push(("because", format!("{} (rule {})", plain(&decision["reason"]), plain(&decision["rule"]))));
    rows.push(("class", plain(&route["class"])));
    rows.push(("band", plain(&route["band"])));
    rows.push(("scope", plain(&route["scope"])));
    if tags.is_object() {
        let percent = tags["confidence"].as_f64().unwrap_or(0.0) * 100.0;
        let (class, complexity) = (plain(&tags["class"]), plain(&tags["complexity"]));
        rows.push(("looks like", format!("{class}, {percent:.0} % sure, of {complexity} complexity")));
        let sensitivity = &tags["sensitivity"];
        if sensitivity["level"].as_str().is_some_and(|level| level != "normal") {
            let kinds = names(&sensitivity["kinds"]).join(", ");
            rows.push((
                "sensitive",
                if kinds.is_empty() { plain(&sensitivity["level"]) } else { format!("{}: {kinds}", plain(&sensitivity["level"])) },
            ));
        }
        rows.push(("tokens", format!("about {}", plain(&tags["tokens"]))));
        let needs = tags["needs"].as_object().into_iter().flatten();
        let needs = needs.filter_map(|(name, value)| match value {
            Value::Bool(true) => Some(name.clone()),
            Value::Bool(false) | Value::Null => None,
            other => Some(format!("{name} {}", plain(other))),
        });
        let needs = needs.collect::<Vec<_>>().join(", ");
        if !needs.is_empty() {
            rows.push(("needs", needs));
        }
    }
    rows.push(("configuration", plain(&decision["config"])));
    pairs(&rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_route_reads_as_a_sentence_per_line() {
        let text = explain(&json!({
            "model": "m", "targets": ["m", "n"], "class": "code", "scope": "any", "band": "normal",
            "decision": {"rule": "class", "reason": "m is first for code", "config": "1"},
            "tags": {"class": "code", "complexity": "low", "confidence": 0.93, "tokens": 12, "needs": {"context": 12, "images": true}, "signals": [],
                "sensitivity": {"level": "secret", "kinds": ["email", "api_key"]}}
        }));
        assert!(text.contains("sensitive      secret: email, api_key\n"), "{text}");
        assert!(text.starts_with("goes to        m\nor else        n\nbecause        m is first for code (rule class)\n"), "{text}");
        assert!(text.contains("looks like     code, 93 % sure, of low complexity\n"), "{text}");
        assert!(text.contains("needs          context 12, images\n"), "{text}");
    }
}
