//! The dialects against servers that do what real ones did, good and bad.

mod anthropic;
mod failures;
mod misbehaviour;
mod models;
mod ollama;
mod openai;
mod patience;
mod requests;
mod resume;
mod server;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pullyard_schemas::fleet::NumCtx;
use pullyard_schemas::job::Kind;
use pullyard_schemas::{Failure, Usage};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Call, Chunk, Dialect, Endpoint, Prefill, Quirks, Secret, Timeouts, client, drive};
use crate::end::{Broken, Finished};
use server::Server;

const OPENAI: Dialect = Dialect::OpenAi(Quirks { stream_usage: true, max_completion_tokens: false, prefill: Prefill::None });
/// Long enough for a busy machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(10);

fn call(kind: Kind, stream: bool, body: &Value) -> Call {
    Call {
        kind,
        model: "theirs".into(),
        stream,
        body: body.to_string().into(),
        prefix: None,
        id: "job-1".to_owned(),
        created: 1_700_000_000,
        num_ctx: NumCtx::Strip,
        loaded_context: None,
    }
}

fn chat(stream: bool) -> Call {
    call(Kind::Chat, stream, &json!({"model": "ours", "messages": [{"role": "user", "content": "hi"}]}))
}

fn endpoint(server: &Server, dialect: Dialect) -> Endpoint {
    let mut endpoint = Endpoint::new("a", &server.url(), dialect).unwrap();
    endpoint.timeouts = Timeouts { connect: PATIENCE, first_token: PATIENCE, between_tokens: PATIENCE, attempt: PATIENCE };
    endpoint.api_key = Some(Secret("sk-hush".to_owned()));
    endpoint
}

fn usage(prompt: u64, completion: u64, cached: u64) -> Usage {
    Usage { prompt, completion, cached }
}

/// What came of a call.
#[derive(Debug)]
struct Outcome {
    chunks: Vec<Chunk>,
    result: Result<Finished, Broken>,
}

impl Outcome {
    fn done(&self) -> &Finished {
        self.result.as_ref().unwrap()
    }

    fn broken(&self) -> &Broken {
        self.result.as_ref().unwrap_err()
    }

    fn failure(&self) -> &Failure {
        &self.broken().failure
    }

    fn lines(&self) -> Vec<&str> {
        self.chunks.iter().map(|c| std::str::from_utf8(&c.data).unwrap()).collect()
    }

    fn json(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn with_content(&self) -> Vec<bool> {
        self.chunks.iter().map(|c| c.has_content).collect()
    }

    /// The first choice's deltas, which must all be in the same envelope.
    fn deltas(&self) -> Vec<(Value, Value)> {
        let chunks = self.json();
        let deltas = chunks.iter().filter(|c| c["choices"] != json!([]));
        deltas
            .map(|c| {
                assert_eq!((&c["object"], &c["id"], &c["model"]), (&"chat.completion.chunk".into(), &"job-1".into(), &"theirs".into()));
                assert_eq!(c["created"], 1_700_000_000);
                (c["choices"][0]["delta"].clone(), c["choices"][0]["finish_reason"].clone())
            })
            .collect()
    }
}

async fn ask(endpoint: &Endpoint, call: &Call) -> Outcome {
    let client = client(endpoint.timeouts.connect).unwrap();
    ask_with(&client, endpoint, call, &CancellationToken::new(), || ()).await
}

/// Asks one server that serves just this.
async fn reply(script: server::Script, dialect: Dialect, call: &Call) -> Outcome {
    let server = Server::start([script]).await;
    ask(&endpoint(&server, dialect), call).await
}

async fn ask_with(
    client: &reqwest::Client,
    endpoint: &Endpoint,
    call: &Call,
    cancel: &CancellationToken,
    mut on_chunk: impl FnMut() + Send,
) -> Outcome {
    let chunks = Arc::new(Mutex::new(Vec::new()));
    let kept = chunks.clone();
    let mut keep = move |chunk: Chunk| {
        kept.lock().unwrap().push(chunk);
        on_chunk();
    };
    let result = tokio::time::timeout(PATIENCE, drive(client, endpoint, call, &mut keep, cancel)).await.expect("the call hangs");
    let chunks = std::mem::take(&mut *chunks.lock().unwrap());
    for chunk in &chunks {
        assert!(!chunk.data.contains(&b'\n'), "a chunk is one line");
    }
    Outcome { chunks, result }
}
