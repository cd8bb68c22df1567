//! `pullyard submit`.

use clap::Args;

use super::body::BodyArgs;
use super::client::{Client, Error, json};
use super::out::{Out, can_update, note};
use super::watch;

const EXAMPLES: &str = "\
Examples:
  pullyard submit \"Why is the sky blue?\" --stream
  pullyard submit --file request.json --band batch --detach
  git diff | pullyard submit - --class code --system \"Review this change.\"
  pullyard submit \"What is on it?\" --image photo.jpg --scope local";

/// A job to send.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub struct SubmitArgs {
    #[command(flatten)]
    body: BodyArgs,
    /// A name for this request: when it is sent again, the first job answers
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Print the text as it comes
    #[arg(long, conflicts_with = "detach")]
    stream: bool,
    /// Print the job's id and do not wait
    #[arg(long)]
    detach: bool,
}

pub(super) async fn run(client: &Client, out: &Out, args: SubmitArgs) -> Result<(), Error> {
    let key = args.idempotency_key;
    if key.as_ref().is_some_and(|k| k.is_empty() || !k.bytes().all(|b| b.is_ascii_graphic() || b == b' ')) {
        return Err(Error::Usage("--idempotency-key must be printable ASCII".to_owned()));
    }
    let body = args.body.body().await?;
    let accepted = client.post(&["jobs"], body, key.as_deref()).await?;
    let job = json(&accepted)?;
    let Some(id) = job["id"].as_str() else {
        return Err(Error::Failed("the broker's answer has no job id".to_owned()));
    };
    if args.detach {
        return if out.json { out.answer(&accepted) } else { out.line(id) };
    }
    if can_update() || !out.json {
        // Whoever interrupts the wait, or finds that its script was killed, needs it: the job goes on.
        note(&format!("job {id}"));
    }
    watch::follow(client, out, id, args.stream).await
}
