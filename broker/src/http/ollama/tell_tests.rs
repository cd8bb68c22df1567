//! What Ollama's clients are told.

use std::collections::BTreeMap;

use pullyard_schemas::Timestamp;
use serde_json::{Value, json};

use super::tell::Lines;
use super::*;

fn clock() -> Timestamp {
    Timestamp(1_700_000_000_123)
}

fn lines(path: &str, request: &str) -> Lines {
    let asked = if path == "chat" { ask::chat(request.as_bytes()) } else { ask::generate(request.as_bytes()) };
    Lines::new(&asked.unwrap(), clock)
}

fn told(lines: &mut Lines, chunks: &[Value]) -> Vec<Value> {
    let mut out = Vec::new();
    for chunk in chunks {
        lines.chunk(chunk.to_string().as_bytes(), &mut out);
    }
    let text = String::from_utf8(out).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn delta(delta: Value) -> Value {
    json!({"id": "x", "choices": [{"index": 0, "delta": delta, "finish_reason": null}], "usage": null})
}

const ASKED: &str = r#"{"model":"m\"x","messages":[{"role":"user","content":"hi"}],"prompt":"hi"}"#;

#[test]
fn every_line_has_what_a_client_reads() {
    let mut lines = lines("chat", ASKED);
    let line = |message: Value| json!({"model": "m\"x", "created_at": "2023-11-14T22:13:20.123Z", "message": message, "done": false});
    assert_eq!(
        told(
            &mut lines,
            &[
                delta(json!({"role": "assistant", "content": ""})),
                delta(json!({"reasoning_content": "hm"})),
                delta(json!({"content": "a \"b\"\n"})),
                delta(json!({"content": null})),
            ]
        ),
        [line(json!({"role": "assistant", "content": "", "thinking": "hm"})), line(json!({"role": "assistant", "content": "a \"b\"\n"}))]
    );
    let mut out = Vec::new();
    lines.waiting(&mut out);
    assert_eq!(serde_json::from_slice::<Value>(&out).unwrap(), line(json!({"role": "assistant", "content": ""})));
}

#[test]
fn a_generation_says_response() {
    let got = told(&mut lines("generate", ASKED), &[delta(json!({"content": "a"})), json!({"choices": [{"text": "b", "index": 0}]})]);
    let texts: Vec<&Value> = got.iter().map(|line| &line["response"]).collect();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!(got[0].get("message"), None);
}

#[test]
fn fragments_of_calls_are_told_whole() {
    let piece = |index: u32, id: Value, name: Value, arguments: &str| {
        delta(json!({"tool_calls": [{"index": index, "id": id, "function": {"name": name, "arguments": arguments}}]}))
    };
    let mut lines = lines("chat", ASKED);
    let got = told(
        &mut lines,
        &[
            piece(0, json!("c1"), json!("f"), ""),
            piece(0, Value::Null, Value::Null, "{\"a\""),
            piece(0, Value::Null, Value::Null, ":\n1}"),
            piece(1, json!("c2"), json!("g"), ""),
            json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}),
        ],
    );
    let calls: Vec<&Value> = got.iter().map(|line| &line["message"]["tool_calls"]).collect();
    assert_eq!(
        calls,
        [
            &json!([{"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}}]),
            &json!([{"id": "c2", "function": {"index": 1, "name": "g", "arguments": {}}}]),
        ]
    );
}

#[test]
fn a_call_that_cannot_be_told_is_an_error_and_the_end() {
    let mut lines = lines("chat", ASKED);
    let call = delta(json!({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{\"a\":"}}]}));
    let end = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]});
    let got = told(&mut lines, &[call, end, delta(json!({"content": "more"}))]);
    assert_eq!(got, [json!({"error": "the model called the tool \"f\" with arguments that are no JSON object"})]);
    let mut out = Vec::new();
    lines.failed(&Error::internal("again"), &mut out);
    assert!(out.is_empty());
}

#[test]
fn failures_are_lines() {
    let mut out = Vec::new();
    lines("chat", ASKED).failed(&Error::over("it was cancelled"), &mut out);
    assert_eq!(out, b"{\"error\":\"it was cancelled\"}\n");
}

#[test]
fn log_probabilities_are_passed_on() {
    let likely = json!({"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]});
    let got = told(&mut lines("chat", ASKED), &[json!({"choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": likely}]})]);
    assert_eq!(got[0]["logprobs"], likely["content"]);
}

#[test]
fn only_ollamas_own_clients_are_greeted_in_its_words() {
    let greeted = |agent: &str| {
        let headers: HeaderMap = [(USER_AGENT, HeaderValue::from_str(agent).unwrap())].into_iter().collect();
        greeting(&headers).is_some()
    };
    let agents: BTreeMap<&str, bool> =
        ["ollama-python/0.6.3 (x86_64 linux)", "ollama-js/0.6", "Ollama/0.13 (amd64 linux) Go/1.24", "curl/8"]
            .map(|a| (a, greeted(a)))
            .into();
    assert_eq!(agents.values().filter(|is| **is).count(), 3, "{agents:?}");
    assert!(!agents["curl/8"]);
}
