//! `pullyard usage`.

use clap::Args;
use serde_json::Value;

use super::client::{Client, Error, json};
use super::out::{Out, plain};
use super::table::{Table, dollars};

const EXAMPLES: &str = "\
Examples:
  pullyard usage --since 7d
  pullyard usage --since 30d --group-by key,day --csv > usage.csv";

/// What to add up.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct UsageArgs {
    /// From when on: a time, or how far back, such as 7d [default: everything]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// What gets a row of its own: any of model, class, key, day and backend
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "model", value_parser = ["model", "class", "key", "day", "backend"])]
    group_by: Vec<String>,
    /// Print CSV
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

const SUMS: [(&str, &str); 7] = [
    ("ATTEMPTS", "attempts"),
    ("FAILED", "failed"),
    ("PROMPT", "prompt_tokens"),
    ("COMPLETION", "completion_tokens"),
    ("CACHED", "cached_tokens"),
    ("COST $", "cost_usd"),
    ("BUSY s", "busy_ms"),
];

pub(super) async fn run(client: &Client, out: &Out, args: &UsageArgs) -> Result<(), Error> {
    let groups = args.group_by.join(",");
    let mut query = vec![("group_by", groups.as_str())];
    query.extend(args.since.as_deref().map(|since| ("since", since)));
    if args.csv {
        query.push(("format", "csv"));
    }
    let body = client.get(&["usage"], &query).await?;
    if args.csv {
        return out.paragraph(&String::from_utf8_lossy(&body));
    }
    if out.json {
        return out.answer(&body);
    }
    table(&args.group_by, json(&body)?["data"].as_array().map_or(&[], Vec::as_slice)).print(out)
}

fn table(groups: &[String], data: &[Value]) -> Table {
    let names: Vec<String> = groups.iter().map(|name| name.to_uppercase()).collect();
    let header = names.iter().map(String::as_str).chain(SUMS.iter().map(|(title, _)| *title));
    let mut table = Table::new(header, &SUMS.map(|(title, _)| title));
    let mut total = [0.0; SUMS.len()];
    for row in data {
        let sums = SUMS.map(|(_, field)| row[field].as_f64().unwrap_or(0.0));
        for (all, one) in total.iter_mut().zip(sums) {
            *all += one;
        }
        table.row(groups.iter().map(|name| plain(&row[name])).chain(cells(sums)).collect());
    }
    let blank = (1..groups.len()).map(|_| String::new());
    table.row(std::iter::once("total".to_owned()).chain(blank).chain(cells(total)).collect());
    table
}

fn cells(sums: [f64; SUMS.len()]) -> impl Iterator<Item = String> {
    SUMS.iter().zip(sums).map(|((_, field), sum)| match *field {
        "cost_usd" => dollars(sum),
        "busy_ms" => format!("{:.1}", sum / 1000.0),
        _ => format!("{sum:.0}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn there_is_a_total() {
        let row =
            |model: Option<&str>, cost: f64| json!({"model": model, "attempts": 2, "prompt_tokens": 10, "cost_usd": cost, "busy_ms": 1500});
        let text = table(&["model".into()], &[row(Some("a"), 0.5), row(None, 0.25)]).render(false);
        let last = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(last, ["total", "4", "0", "20", "0", "0", "0.75", "3.0"]);
    }
}
