//! Every API on every dialect, as the table in `COMPATIBILITY.md` says. With `PULLYARD_WRITE=1` the table is written anew.

mod asks;
mod server;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use pullyard_tests::{Client, Reply, TestBroker};
use serde_json::json;

use asks::{APIS, Api, IMAGE, With};
use server::Polyglot;

const DIALECTS: [&str; 3] = ["openai", "ollama", "anthropic"];

const HEAD: &str = "# Compatibility

What each API can do on each kind of model server, found by asking all of them: `tests/it/matrix/` writes this page, and
fails when it is not what it finds (`PULLYARD_WRITE=1 cargo test -p pullyard-tests --test it -- matrix` mends it). That the
SDKs get along with it is in `tests/sdk/`.

**works**: the request reaches the server whole, and the answer the client in its own shape. A number: refused with an
error that says why, below. **not there**: Pullyard does not have this API yet. **–**: the API has no words for it.
";

/// What came of a request.
#[derive(Debug, PartialEq)]
enum Found {
    Works,
    Refused(u16, String),
    NotThere,
    Unsayable,
}

async fn found(client: &Client, server: &Polyglot, api: &Api, dialect: &str, with: With, streamed: bool) -> Found {
    let Some(mut body) = (api.body)(with).filter(|_| api.streams || !streamed) else { return Found::Unsayable };
    body["model"] = json!(dialect);
    if api.streams {
        body["stream"] = json!(streamed);
    }
    let reply = client.post(api.path, &body).await;
    let text = reply.text();
    let what = format!("{} {with:?} streamed={streamed} on {dialect}: {} {text}", api.name, reply.status);
    if reply.status == 404 && text.contains("there is nothing at") {
        return Found::NotThere;
    }
    if reply.status != 200 {
        assert!((400..500).contains(&reply.status), "{what}");
        let error = reply.json()["error"].clone();
        let why = error["message"].as_str().or(error.as_str()).unwrap_or_else(|| panic!("no reason: {what}"));
        return Found::Refused(reply.status, why.to_owned());
    }
    let kind = reply.header("content-type").unwrap();
    let is_stream = kind.starts_with("text/event-stream") || kind.starts_with("application/x-ndjson");
    assert!(is_stream == streamed && !text.contains("\"error\":{"), "{what}");
    let said: &[&str] = match with {
        With::Tools => &["weather", "Oslo"],
        With::Text | With::Image if !api.streams => &["0.5"],
        With::Text | With::Image => &["Hello ", "yard"],
    };
    assert!(said.iter().all(|word| text.contains(word)), "{what}");
    let asked = server.asked();
    assert!(with != With::Image || asked.contains(IMAGE), "the image is lost: {asked}");
    assert!(with != With::Tools || asked.contains("Tells the weather.") || asked.contains("\"weather\""), "the tool is lost: {asked}");
    Found::Works
}

#[tokio::test(flavor = "multi_thread")]
async fn the_table_is_what_is_found() {
    let mut servers = Vec::new();
    for dialect in DIALECTS {
        servers.push(Polyglot::serving(dialect).await);
    }
    let backends: String = servers.iter().map(Polyglot::backend).collect();
    let broker = TestBroker::with(format!("retries: {{max_attempts: 1}}\nbackends:\n{backends}")).await;
    let client = broker.client();
    let known = async || Some(client.get("/v1/models").await).filter(|list| DIALECTS.iter().all(|name| names(list, name)));
    pullyard_tests::until("all models", known).await;

    let mut page = HEAD.to_owned();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = String::new();
    let mut works = 0;
    for api in &APIS {
        for with in With::ALL {
            for streamed in [false, true] {
                let mut cells = Vec::new();
                for (dialect, server) in DIALECTS.iter().zip(&servers) {
                    let found = found(&client, server, api, dialect, with, streamed).await;
                    works += usize::from(found == Found::Works);
                    cells.push(cell(found, &mut reasons));
                }
                if cells.iter().any(|cell| cell != "–") {
                    let mode = if streamed { "streamed" } else { "whole" };
                    let with = format!("{with:?}").to_lowercase();
                    writeln!(rows, "| {} | {with} | {mode} | {} |", api.name, cells.join(" | ")).unwrap();
                }
            }
        }
    }
    assert!(works > 20, "{rows}");
    page.push_str("\n| API | with | answer | OpenAI's dialect | Ollama's | Anthropic's |\n|---|---|---|---|---|---|\n");
    page.push_str(&rows);
    let mut reasons: Vec<(String, usize)> = reasons.into_iter().collect();
    reasons.sort_by_key(|(_, number)| *number);
    page.push('\n');
    for (reason, number) in reasons {
        writeln!(page, "{number}. {reason}").unwrap();
    }

    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../COMPATIBILITY.md");
    if std::env::var("PULLYARD_WRITE").is_ok_and(|write| write == "1") {
        std::fs::write(&file, &page).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == page, "COMPATIBILITY.md is not what was found; PULLYARD_WRITE=1 writes it anew:\n{page}");
}

fn names(list: &Reply, model: &str) -> bool {
    list.json()["data"].as_array().is_some_and(|data| data.iter().any(|entry| entry["id"] == model))
}

/// A refusal is told once, and by its number from then on.
fn cell(found: Found, reasons: &mut BTreeMap<String, usize>) -> String {
    match found {
        Found::Works => "works".to_owned(),
        Found::NotThere => "not there".to_owned(),
        Found::Unsayable => "–".to_owned(),
        Found::Refused(status, why) => {
            let next = reasons.len() + 1;
            let number = reasons.entry(format!("{status}: {why}")).or_insert(next);
            format!("({number})")
        }
    }
}
