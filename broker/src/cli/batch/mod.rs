//! `pullyard batch`: a file of requests in, a file of answers out.

mod csv;
mod follow;
mod input;
mod results;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{self, Client, Error};
use super::out::{Out, note, plain};
use super::table::{Table, dollars, pairs, span};
use input::Asked;

const EXAMPLES: &str = "\
Examples:
  pullyard batch run requests.jsonl -o answers.jsonl
  pullyard batch run reviews.txt -o answers.jsonl --template 'Summarise: {{text}}'
  pullyard batch run people.csv -o letters.jsonl --template 'Write to {{name}} in {{city}}.' --model qwen3:8b
  pullyard batch ls";

/// Batches of requests.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct BatchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Run a file of requests, and wait for the file of answers; the same file again goes on where it was
    Run(Box<RunArgs>),
    /// Come back to a batch that runs
    #[command(after_help = "Example:\n  pullyard batch attach batch_0198c2a47d1e7c339a516f0d5f6f2b10 -o answers.jsonl")]
    Attach {
        /// The batch's id
        id: String,
        /// Where the answers go, when they are whole
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List batches, newest first
    Ls {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show a batch
    Show {
        /// The batch's id
        id: String,
    },
    /// Cancel batches; what is done stays done
    Cancel {
        /// The batches' ids
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
    },
    /// Fetch the answers of a batch that is over, in the order of its lines
    #[command(after_help = "Example:\n  pullyard batch results batch_0198c2a47d1e7c339a516f0d5f6f2b10 > answers.jsonl")]
    Results {
        /// The batch's id
        id: String,
        /// Where they go [default: standard output]
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// What to run.
#[derive(Debug, Clone, Args)]
struct RunArgs {
    /// Lines as OpenAI's Batch API takes them, or one question per line, or a CSV file with a header
    input: PathBuf,
    /// Where the answers go, when they are whole
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// The question: {{text}} is the line, and in a CSV file each column has its name
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,
    /// The model, or auto to let the broker choose for each line [default: auto]
    #[arg(long, short)]
    model: Option<String>,
    /// The sort of model that is wanted, such as quick or code
    #[arg(long)]
    class: Option<String>,
    /// The system message
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The longest answer
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
    /// What the lines yield to [default: batch]
    #[arg(long, value_parser = ["interactive", "normal", "batch"])]
    band: Option<String>,
    /// How long it may take
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    window: String,
    /// Print the batch's id and do not wait
    #[arg(long)]
    detach: bool,
    /// Run it once more, though the broker has the answers of the same file
    #[arg(long)]
    again: bool,
}

pub(super) async fn run(client: &Client, out: &Out, args: BatchArgs) -> Result<(), Error> {
    match args.what {
        What::Run(args) => start(client, out, *args).await,
        What::Attach { id, output } => follow::follow(client, out, &id, output.as_deref()).await,
        What::Ls { limit } => list(client, out, limit).await,
        What::Show { id } => show(client, out, &id).await,
        What::Cancel { ids } => cancel(client, out, &ids).await,
        What::Results { id, output } => {
            let batch = client::json(&client.get(&["batches", &id], &[]).await?)?;
            match output {
                Some(path) => results::write(client, &batch, &path).await,
                None => results::print(client, out, &batch).await,
            }
        }
    }
}

async fn start(client: &Client, out: &Out, args: RunArgs) -> Result<(), Error> {
    let RunArgs { input, output, template, model, class, system, max_tokens, band, window, detach, again } = args;
    let shape = input::Shape { template, model, class, system, max_tokens };
    let requests = with_end(&output, ".requests");
    let (from, to) = (input.clone(), requests.clone());
    let asked = tokio::task::spawn_blocking(move || input::prepare(&from, &to, &shape));
    let asked = asked.await.map_err(|e| Error::Failed(e.to_string()))??;
    let begun = begin(client, &asked, &input, band, &window, again).await;
    if asked.path == requests {
        // It can be made again.
        let _ = std::fs::remove_file(&requests);
    }
    let id = begun?;
    if detach {
        return if out.json { out.answer(&client.get(&["batches", &id], &[]).await?) } else { out.line(&id) };
    }
    follow::follow(client, out, &id, Some(&output)).await
}

/// The id of the batch with these requests: one that the broker has, or a new one.
async fn begin(client: &Client, asked: &Asked, input: &Path, band: Option<String>, window: &str, again: bool) -> Result<String, Error> {
    if !again && let Some(batch) = find(client, &asked.hash).await? {
        let id = plain(&batch["id"]);
        note(&format!("the broker has this file already: batch {id}, {}", plain(&batch["status"])));
        return Ok(id);
    }
    let name = input.file_name().map_or_else(|| "requests.jsonl".into(), |name| name.to_string_lossy().into_owned());
    let file = client::json(&client.upload(&asked.path, &name).await?)?;
    let mut metadata = json!({"pullyard_input": asked.hash, "file": name.chars().take(200).collect::<String>()});
    if let Some(band) = band {
        metadata["pullyard_band"] = band.into();
    }
    let ask = json!({
        "input_file_id": file["id"],
        "endpoint": asked.endpoint,
        "completion_window": window,
        "metadata": metadata,
    });
    // Asked again because the answer was lost, it must not become two; asked again on purpose, it must.
    let key = format!("pullyard-batch-{}", plain(&file["id"]));
    let batch = client::json(&client.post(&["batches"], ask.to_string().into_bytes(), Some(&key)).await?)?;
    batch["id"].as_str().map(str::to_owned).ok_or_else(|| Error::Failed("the broker's answer has no batch id".to_owned()))
}

/// The newest batch with these requests that has answers, or will have.
async fn find(client: &Client, hash: &str) -> Result<Option<Value>, Error> {
    let mut after = None;
    loop {
        let mut query = vec![("limit", "100")];
        query.extend(after.as_deref().map(|after| ("after", after)));
        let page = client::json(&client.get(&["batches"], &query).await?)?;
        let all = page["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lives = |batch: &&Value| matches!(batch["status"].as_str(), Some("validating" | "in_progress" | "finalizing" | "completed"));
        if let Some(found) = all.iter().filter(lives).find(|batch| batch["metadata"]["pullyard_input"] == hash) {
            return Ok(Some(found.clone()));
        }
        match page["last_id"].as_str().filter(|_| page["has_more"] == true) {
            Some(last) => after = Some(last.to_owned()),
            None => return Ok(None),
        }
    }
}

async fn list(client: &Client, out: &Out, limit: u32) -> Result<(), Error> {
    let body = client.get(&["batches"], &[("limit", &limit.to_string())]).await?;
    if out.json {
        return out.answer(&body);
    }
    let page = client::json(&body)?;
    let header = ["ID", "STATUS", "DONE", "FAILED", "LINES", "MODEL", "AGE", "COST $"];
    let mut table = Table::new(header, &["DONE", "FAILED", "LINES", "AGE", "COST $"]);
    let now = jiff::Timestamp::now().as_second();
    for batch in page["data"].as_array().into_iter().flatten() {
        let counts = &batch["request_counts"];
        table.row(vec![
            plain(&batch["id"]),
            plain(&batch["status"]),
            plain(&counts["completed"]),
            plain(&counts["failed"]),
            plain(&counts["total"]),
            plain(&batch["model"]),
            batch["created_at"].as_i64().map_or_else(|| "-".to_owned(), |at| span(now - at)),
            dollars(batch["pullyard"]["cost_usd"].as_f64().unwrap_or(0.0)),
        ]);
    }
    table.print(out)
}

async fn show(client: &Client, out: &Out, id: &str) -> Result<(), Error> {
    let body = client.get(&["batches", id], &[]).await?;
    if out.json {
        return out.answer(&body);
    }
    let batch = client::json(&body)?;
    let (counts, usage) = (&batch["request_counts"], &batch["usage"]);
    let time = |value: &Value| {
        value.as_i64().and_then(|at| jiff::Timestamp::from_second(at).ok()).map_or_else(|| "-".to_owned(), |at| at.to_string())
    };
    let lines = format!("{} of {} done, {} failed", plain(&counts["completed"]), plain(&counts["total"]), plain(&counts["failed"]));
    let tokens = format!("{} in, {} out", plain(&usage["input_tokens"]), plain(&usage["output_tokens"]));
    out.text(&pairs(&[
        ("id", plain(&batch["id"])),
        ("status", plain(&batch["status"])),
        ("lines", lines),
        ("endpoint", plain(&batch["endpoint"])),
        ("model", plain(&batch["model"])),
        ("created", time(&batch["created_at"])),
        ("expires", time(&batch["expires_at"])),
        ("expected end", plain(&batch["pullyard"]["expected_end"])),
        ("tokens", tokens),
        ("cost $", dollars(batch["pullyard"]["cost_usd"].as_f64().unwrap_or(0.0))),
        ("input file", plain(&batch["input_file_id"])),
        ("output file", plain(&batch["output_file_id"])),
        ("error file", plain(&batch["error_file_id"])),
    ]))?;
    out.text(&faults(&batch))
}

/// What is wrong with the input, one line each; nothing where nothing is.
fn faults(batch: &Value) -> String {
    let fault = |error: &Value| match error["line"].as_u64() {
        Some(line) => format!("line {line}: {}\n", plain(&error["message"])),
        None => format!("{}\n", plain(&error["message"])),
    };
    batch["errors"]["data"].as_array().into_iter().flatten().map(fault).collect()
}

async fn cancel(client: &Client, out: &Out, ids: &[String]) -> Result<(), Error> {
    let mut failed = false;
    for id in ids {
        match client.post(&["batches", id, "cancel"], Vec::new(), None).await {
            Ok(body) if out.json => out.answer(&body)?,
            Ok(body) => out.line(&format!("{id} {}", plain(&client::json(&body)?["status"])))?,
            // One that refuses does not keep the others from it.
            Err(error @ Error::Refused { .. }) => {
                note(&format!("{id}: {error}"));
                failed = true;
            }
            Err(error) => return Err(error),
        }
    }
    if failed { Err(Error::Told) } else { Ok(()) }
}

/// A file beside another.
fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
