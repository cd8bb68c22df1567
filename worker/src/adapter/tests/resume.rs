//! Replies that go on behind an earlier attempt's.

use bytes::Bytes;
use pullyard_schemas::FailureKind;

use super::server::Script;
use super::*;

const NATIVE: Dialect = Dialect::OpenAi(Quirks { stream_usage: true, max_completion_tokens: false, prefill: Prefill::Native });
const VLLM: Dialect = Dialect::OpenAi(Quirks { stream_usage: true, max_completion_tokens: false, prefill: Prefill::Vllm });

fn said(delta: &Value) -> Value {
    json!({"id": "first", "created": 1, "model": "mine", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn lines(chunks: &[Value]) -> Bytes {
    chunks.iter().map(|chunk| format!("{chunk}\n")).collect::<String>().into()
}

/// A chat that has said these pieces.
fn after(pieces: &[&str], asked: &Value) -> Call {
    let chunks: Vec<Value> = [said(&json!({"role": "assistant", "content": ""}))]
        .into_iter()
        .chain(pieces.iter().map(|text| said(&json!({"content": text}))))
        .collect();
    Call { prefix: Some(lines(&chunks)), ..call(Kind::Chat, true, asked) }
}

fn hi() -> Value {
    json!({"model": "ours", "messages": [{"role": "user", "content": "hi"}]})
}

fn with(name: &str, value: Value) -> Value {
    let mut asked = hi();
    asked[name] = value;
    asked
}

fn delta(delta: &Value) -> String {
    json!({"id": "second", "created": 2, "model": "other", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
        .to_string()
}

const STOP: &str = r#"{"id":"second","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// What the server is asked, and what comes out of its reply.
async fn go_on(dialect: Dialect, call: &Call, script: Script) -> (Option<Value>, Outcome) {
    let server = Server::always(script).await;
    let outcome = ask(&endpoint(&server, dialect), call).await;
    (server.requests().first().map(|request| request.body.clone()), outcome)
}

fn text(outcome: &Outcome) -> String {
    outcome.json().iter().map(|c| c["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn cannot(dialect: Dialect, call: &Call) -> Failure {
    let server = Server::start([]).await;
    let outcome = ask(&endpoint(&server, dialect), call).await;
    assert_eq!(outcome.failure().kind, FailureKind::CannotContinue, "{outcome:?}");
    outcome.failure().clone()
}

#[tokio::test]
async fn the_request_ends_with_what_was_said() {
    let asked = with("max_tokens", json!(10));
    let script = || Script::events(&[&delta(&json!({"content": " you"})), STOP]);
    let so_far = json!({"role": "assistant", "content": "How are"});

    let (sent, outcome) = go_on(NATIVE, &after(&["How", " are"], &asked), script()).await;
    let sent = sent.unwrap();
    assert_eq!((&sent["messages"], &sent["max_tokens"]), (&json!([{"role": "user", "content": "hi"}, so_far]), &json!(8)));
    assert_eq!(text(&outcome), " you");

    let clash = with("add_generation_prompt", json!(true));
    let (sent, _) = go_on(VLLM, &after(&["How", " are"], &clash), script()).await;
    let sent = sent.unwrap();
    assert_eq!(
        (&sent["messages"][1], &sent["continue_final_message"], &sent["add_generation_prompt"]),
        (&so_far, &json!(true), &json!(false))
    );

    let ollama =
        Script::lines(&[r#"{"message":{"role":"assistant","content":" you"},"done":false}"#, r#"{"done":true,"done_reason":"stop"}"#]);
    let (sent, outcome) = go_on(Dialect::Ollama, &after(&["How", " are"], &asked), ollama).await;
    let sent = sent.unwrap();
    assert_eq!((&sent["messages"][1], &sent["options"]["num_predict"]), (&so_far, &json!(8)));
    assert_eq!(text(&outcome), " you");
}

#[tokio::test]
async fn anthropic_gets_no_space_at_the_end_and_the_client_no_second_one() {
    let event = |event: &Value| format!("data: {event}\n\n");
    let reply = [
        json!({"type": "message_start", "message": {"usage": {"input_tokens": 1}}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " you"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
        json!({"type": "message_stop"}),
    ];
    let script = Script::sse(reply.iter().map(event).collect::<String>());
    let (sent, outcome) = go_on(Dialect::Anthropic, &after(&["How", " are "], &hi()), script).await;
    assert_eq!(sent.unwrap()["messages"][1], json!({"role": "assistant", "content": [{"type": "text", "text": "How are"}]}));
    assert_eq!(text(&outcome), "you");
}

#[tokio::test]
async fn a_prompt_is_made_longer() {
    let asked = json!({"model": "ours", "prompt": ["Once"]});
    let chunk = json!({"id": "first", "object": "text_completion", "choices": [{"index": 0, "text": " upon", "finish_reason": null}]});
    let call = Call { prefix: Some(lines(&[chunk])), ..call(Kind::Completion, true, &asked) };
    let script = Script::events(&[r#"{"choices":[{"index":0,"text":" a time","finish_reason":"stop"}]}"#]);
    let (sent, outcome) = go_on(OPENAI, &call, script).await;
    assert_eq!(sent.unwrap()["prompt"], "Once upon");
    assert_eq!(outcome.json()[0]["choices"][0]["text"], " a time");
    // Ollama would take it for the user's.
    cannot(Dialect::Ollama, &call).await;
}

#[tokio::test]
async fn the_rest_has_no_beginning_of_its_own() {
    let reply =
        [delta(&json!({"role": "assistant", "content": ""})), delta(&json!({"role": "assistant", "content": " you"})), STOP.to_owned()];
    let (_, outcome) = go_on(NATIVE, &after(&["How are"], &hi()), Script::events(&reply.each_ref().map(String::as_str))).await;
    let chunks = outcome.json();
    assert_eq!(chunks.len(), 2, "{chunks:?}");
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"content": " you"}));
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["created"], &chunk["model"]), (&json!("first"), &json!(1), &json!("mine")));
    }
    assert_eq!(outcome.with_content(), [true, false]);
}

#[tokio::test]
async fn an_echo_is_not_given_out() {
    let so_far = ["The quick brown", " fox jumps"];
    for (reply, rest) in [
        (&["The quick brown fox jumps", " over"][..], " over"),
        (&["The quick", " brown fox jumps over", " it"], " over it"),
        (&["The quick brown fox jumps"], ""),
        // What only begins alike is no echo.
        (&["The quick", " end"], "The quick end"),
        (&["The quick"], "The quick"),
        (&[" over"], " over"),
    ] {
        let events: Vec<String> = reply.iter().map(|text| delta(&json!({"content": text}))).chain([STOP.to_owned()]).collect();
        let events: Vec<&str> = events.iter().map(String::as_str).collect();
        let (_, outcome) = go_on(NATIVE, &after(&so_far, &hi()), Script::events(&events)).await;
        assert_eq!(text(&outcome), rest, "{reply:?}");
        assert_eq!(outcome.json().last().unwrap()["choices"][0]["finish_reason"], "stop");
    }
    // A short text may well come twice.
    let (_, outcome) = go_on(NATIVE, &after(&["ha"], &hi()), Script::events(&[&delta(&json!({"content": "ha"})), STOP])).await;
    assert_eq!(text(&outcome), "ha");
}

#[tokio::test]
async fn half_an_echo_that_breaks_off_says_nothing() {
    let script = Script::sse(format!("data: {}\n\n", delta(&json!({"content": "The quick"})))).cut();
    let (_, outcome) = go_on(NATIVE, &after(&["The quick brown fox jumps"], &hi()), script).await;
    assert_eq!((outcome.chunks.len(), outcome.broken().delivered), (0, false));
}

#[tokio::test]
async fn where_nothing_was_said_yet_any_server_will_do() {
    let script = Script::events(&[&delta(&json!({"role": "assistant", "content": "Hello"})), STOP]);
    let (sent, outcome) = go_on(OPENAI, &after(&[], &hi()), script).await;
    assert_eq!(sent.unwrap()["messages"], hi()["messages"]);
    assert_eq!(text(&outcome), "Hello");
}

#[tokio::test]
async fn where_all_was_said_no_server_is_asked() {
    let mut last = said(&json!({"content": "Bye"}));
    last["choices"][0]["finish_reason"] = json!("stop");
    let call = Call { prefix: Some(lines(&[last])), ..chat(true) };
    let (sent, outcome) = go_on(OPENAI, &call, Script::silent()).await;
    assert_eq!((sent, outcome.done().finish.as_deref(), outcome.done().usage), (None, Some("stop"), usage(0, 0, 0)));
}

#[tokio::test]
async fn what_cannot_be_continued_is_not_asked_for() {
    assert!(cannot(OPENAI, &after(&["How"], &hi())).await.message.contains("backend `a` cannot continue"));
    let prefilled = json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "H"}]);
    for (name, value) in
        [("n", json!(2)), ("response_format", json!({"type": "json_object"})), ("guided_json", json!({})), ("messages", prefilled)]
    {
        cannot(NATIVE, &after(&["How"], &with(name, value))).await;
    }
    for piece in [
        json!({"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "{"}}]}),
        json!({"reasoning_content": "hm"}),
        json!({"refusal": "no"}),
    ] {
        let call = Call { prefix: Some(lines(&[said(&piece)])), ..chat(true) };
        cannot(NATIVE, &call).await;
    }
    let mut second = said(&json!({"content": "x"}));
    second["choices"][0]["index"] = json!(1);
    cannot(NATIVE, &Call { prefix: Some(lines(&[second])), ..chat(true) }).await;
}

#[tokio::test]
async fn a_server_that_refuses_the_beginning_of_its_reply_cannot_continue() {
    let error = json!({"error": {"type": "invalid_request_error", "message": "This model does not support assistant message prefill."}});
    let script = Script::json(400, error.to_string());
    let (sent, outcome) = go_on(Dialect::Anthropic, &after(&["How"], &hi()), script).await;
    assert!(sent.is_some());
    assert_eq!((outcome.failure().kind, outcome.failure().status), (FailureKind::CannotContinue, Some(400)));
}
