//! A model server that speaks every dialect: it says `Hello yard`, calls the tool that it is offered, and remembers what it was
//! asked.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::Uri;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(super) struct Polyglot {
    model: &'static str,
    asked: Arc<Mutex<String>>,
    address: String,
    task: JoinHandle<()>,
}

impl Drop for Polyglot {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Polyglot {
    pub(super) async fn serving(model: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(String::new()));
        let router = Router::new().fallback(answer).with_state((model, asked.clone()));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { model, asked, address, task }
    }

    /// An entry of the configuration's `backends`, which is named after its dialect and has a model of that name.
    pub(super) fn backend(&self) -> String {
        format!("  - {{name: {0}, adapter: {0}, url: \"http://{1}\"}}\n", self.model, self.address)
    }

    /// The body of the latest request.
    pub(super) fn asked(&self) -> String {
        self.asked.lock().unwrap().clone()
    }
}

fn reply(kind: &'static str, text: String) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

async fn answer(State((model, asked)): State<(&'static str, Arc<Mutex<String>>)>, uri: Uri, body: Bytes) -> Response {
    let plain = |value: Value| reply("application/json", value.to_string());
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = uri.path();
    if ["chat", "completions", "embed", "embeddings", "generate", "messages"].iter().any(|end| path.ends_with(end)) {
        *asked.lock().unwrap() = body.to_string();
    }
    let tools = body["tools"].as_array().is_some_and(|tools| !tools.is_empty());
    // Ollama streams unless it is told not to, the others when they are told to.
    let streamed = body["stream"].as_bool().unwrap_or_else(|| path.starts_with("/api/"));
    match path {
        "/v1/models" => plain(json!({"object": "list", "data": [{"id": model, "object": "model", "type": "model"}]})),
        "/api/tags" => plain(json!({"models": [{"name": model, "model": model, "digest": "d"}]})),
        "/api/show" => plain(json!({"capabilities": ["completion", "tools", "vision", "embedding"], "model_info": {}})),
        "/api/ps" => plain(json!({"models": []})),
        "/api/version" => plain(json!({"version": "0.12.0"})),
        "/v1/chat/completions" if streamed => events(&openai_chunks(model, tools), false),
        "/v1/chat/completions" => plain(openai(model, tools)),
        "/v1/completions" if streamed => {
            let chunk = |text: &str, why: Option<&str>| json!({"id": "c", "object": "text_completion", "created": 1, "model": model, "choices": [{"index": 0, "text": text, "finish_reason": why}]});
            events(&[chunk("Hello ", None), chunk("yard", Some("stop"))], false)
        }
        "/v1/completions" => plain(json!({"id": "c", "object": "text_completion", "created": 1, "model": model,
            "choices": [{"index": 0, "text": "Hello yard", "finish_reason": "stop"}], "usage": usage()})),
        "/v1/embeddings" => plain(json!({"object": "list", "model": model, "usage": {"prompt_tokens": 7, "total_tokens": 7},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}]})),
        "/api/embed" => plain(json!({"model": model, "embeddings": [[0.5, -0.5]], "prompt_eval_count": 7})),
        "/api/chat" | "/api/generate" => ollama(model, path, tools, streamed),
        "/v1/messages" if streamed => events(&anthropic_events(model, tools), true),
        "/v1/messages" => plain(anthropic(model, tools)),
        _ => (axum::http::StatusCode::NOT_FOUND, "{}").into_response(),
    }
}

fn usage() -> Value {
    json!({"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9})
}

fn events(all: &[Value], named: bool) -> Response {
    let frame = |event: &Value| match event["type"].as_str() {
        Some(name) if named => format!("event: {name}\ndata: {event}\n\n"),
        _ => format!("data: {event}\n\n"),
    };
    let end = if named { "" } else { "data: [DONE]\n\n" };
    reply("text/event-stream", all.iter().map(frame).collect::<String>() + end)
}

fn openai(model: &str, tools: bool) -> Value {
    let call = json!([{"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Oslo\"}"}}]);
    let (message, why) = if tools {
        (json!({"role": "assistant", "content": null, "tool_calls": call}), "tool_calls")
    } else {
        (json!({"role": "assistant", "content": "Hello yard"}), "stop")
    };
    json!({"id": "c", "object": "chat.completion", "created": 1, "model": model, "usage": usage(),
        "choices": [{"index": 0, "message": message, "finish_reason": why}]})
}

fn openai_chunks(model: &str, tools: bool) -> Vec<Value> {
    let chunk = |delta: Value, why: Option<&str>| json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [{"index": 0, "delta": delta, "finish_reason": why}]});
    let call = |call: Value| chunk(json!({"tool_calls": [call]}), None);
    let mut chunks = vec![chunk(json!({"role": "assistant", "content": ""}), None)];
    if tools {
        chunks.push(call(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}})));
        chunks.push(call(json!({"index": 0, "function": {"arguments": "{\"city\":\"Oslo\"}"}})));
        chunks.push(chunk(json!({}), Some("tool_calls")));
    } else {
        chunks.push(chunk(json!({"content": "Hello "}), None));
        chunks.push(chunk(json!({"content": "yard"}), None));
        chunks.push(chunk(json!({}), Some("stop")));
    }
    chunks.push(json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [], "usage": usage()}));
    chunks
}

fn ollama(model: &str, path: &str, tools: bool, streamed: bool) -> Response {
    let said = |text: &str| {
        if path == "/api/generate" { json!({"response": text}) } else { json!({"message": {"role": "assistant", "content": text}}) }
    };
    let call = json!({"message": {"role": "assistant", "content": "",
        "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Oslo"}}}]}});
    let line = |mut line: Value, done: bool| {
        line["model"] = json!(model);
        line["created_at"] = json!("2026-11-21T00:00:00Z");
        line["done"] = json!(done);
        if done {
            for (name, value) in
                [("done_reason", json!("stop")), ("prompt_eval_count", json!(7)), ("eval_count", json!(2)), ("total_duration", json!(5))]
            {
                line[name] = value;
            }
        }
        line
    };
    if !streamed {
        let whole = if tools { line(call, true) } else { line(said("Hello yard"), true) };
        return reply("application/json", whole.to_string());
    }
    let lines = if tools {
        vec![line(call, false), line(said(""), true)]
    } else {
        vec![line(said("Hello "), false), line(said("yard"), false), line(said(""), true)]
    };
    reply("application/x-ndjson", lines.iter().map(|line| format!("{line}\n")).collect())
}

fn anthropic(model: &str, tools: bool) -> Value {
    let (block, why) = if tools {
        (json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Oslo"}}), "tool_use")
    } else {
        (json!({"type": "text", "text": "Hello yard"}), "end_turn")
    };
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": [block], "stop_reason": why,
        "stop_sequence": null, "usage": {"input_tokens": 7, "output_tokens": 2}})
}

fn anthropic_events(model: &str, tools: bool) -> Vec<Value> {
    let mut start = anthropic(model, tools);
    (start["content"], start["stop_reason"]) = (json!([]), Value::Null);
    let mut block = json!({"type": "text", "text": ""});
    let mut deltas = vec![json!({"type": "text_delta", "text": "Hello "}), json!({"type": "text_delta", "text": "yard"})];
    if tools {
        block = json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}});
        deltas = vec![json!({"type": "input_json_delta", "partial_json": "{\"city\":\"Oslo\"}"})];
    }
    let mut all = vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": block}),
    ];
    all.extend(deltas.into_iter().map(|delta| json!({"type": "content_block_delta", "index": 0, "delta": delta})));
    all.push(json!({"type": "content_block_stop", "index": 0}));
    let why = if tools { "tool_use" } else { "end_turn" };
    all.push(json!({"type": "message_delta", "delta": {"stop_reason": why, "stop_sequence": null}, "usage": {"output_tokens": 2}}));
    all.push(json!({"type": "message_stop"}));
    all
}
