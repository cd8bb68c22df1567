//! What Ollama really sends.

use super::server::Script;
use super::*;

const THINKING: [&str; 6] = [
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.1Z","message":{"role":"assistant","content":"","thinking":"Okay"},"done":false}"#,
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.2Z","message":{"role":"assistant","content":"","thinking":", Bern"},"done":false}"#,
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.3Z","message":{"role":"assistant","content":"Let me look."},"done":false}"#,
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.4Z","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"weather","arguments":{"city":"Bern"}}}]},"done":false}"#,
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.5Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"call_own","function":{"index":1,"name":"clock","arguments":{}}}]},"done":false}"#,
    r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00.6Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":4935886791,"load_duration":534986708,"prompt_eval_count":169,"prompt_eval_duration":107345000,"eval_count":15,"eval_duration":4289432000}"#,
];

#[tokio::test]
async fn a_chat_with_thoughts_and_tools_streams_as_openai_would() {
    let got = reply(Script::lines(&THINKING), Dialect::Ollama, &chat(true)).await;
    let none = Value::Null;
    let tool = |index: u64, id: &str, name: &str, arguments: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]});
    assert_eq!(
        got.deltas(),
        [
            (json!({"role": "assistant", "content": "", "reasoning_content": "Okay"}), none.clone()),
            (json!({"content": "", "reasoning_content": ", Bern"}), none.clone()),
            (json!({"content": "Let me look."}), none.clone()),
            (tool(0, "call_job-1_0", "weather", r#"{"city":"Bern"}"#), none.clone()),
            (tool(1, "call_own", "clock", "{}"), none),
            (json!({}), "tool_calls".into()),
        ]
    );
    assert_eq!(got.with_content(), [true, true, true, true, true, false, false]);
    let last = got.json().pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"], json!({"prompt_tokens": 169, "completion_tokens": 15, "total_tokens": 184}));
    assert_eq!(*got.done(), Finished { usage: usage(169, 15, 0), finish: Some("tool_calls".into()) });
}

#[tokio::test]
async fn a_whole_chat_is_a_message() {
    let line = r#"{"model":"qwen3:8b","created_at":"2025-09-01T10:00:00Z","message":{"role":"assistant","content":"Hi.","thinking":"Polite."},"done_reason":"length","done":true,"prompt_eval_count":26,"eval_count":298}"#;
    let got = reply(Script::json(200, line), Dialect::Ollama, &chat(false)).await;
    assert_eq!(
        got.json(),
        [json!({
            "id": "job-1", "object": "chat.completion", "created": 1_700_000_000, "model": "theirs",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi.", "reasoning_content": "Polite."}, "logprobs": null, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 26, "completion_tokens": 298, "total_tokens": 324},
        })]
    );
    assert_eq!(*got.done(), Finished { usage: usage(26, 298, 0), finish: Some("length".into()) });
}

#[tokio::test]
async fn a_whole_chat_may_hold_calls_alone() {
    let line = r#"{"model":"m","created_at":"","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":[1]}}}]},"done_reason":"stop","done":true,"prompt_eval_count":2,"eval_count":3}"#;
    let got = reply(Script::json(200, line), Dialect::Ollama, &chat(false)).await;
    assert_eq!(
        got.json()[0]["choices"][0]["message"],
        json!({"role": "assistant", "content": null, "tool_calls": [{"id": "call_job-1_0", "type": "function", "function": {"name": "f", "arguments": "{\"a\":[1]}"}}]})
    );
    assert_eq!(got.done().finish.as_deref(), Some("tool_calls"));
}

#[tokio::test]
async fn a_completion_streams_and_comes_whole() {
    let lines = [
        r#"{"model":"llama3.2","created_at":"2025-08-04T08:52:19Z","response":"The","done":false}"#,
        r#"{"model":"llama3.2","created_at":"2025-08-04T08:52:19Z","response":"","done":true,"done_reason":"stop","context":[1,2,3],"total_duration":10706818083,"prompt_eval_count":26,"eval_count":259}"#,
    ];
    let prompt = |stream| call(Kind::Completion, stream, &json!({"prompt": "why"}));
    let piece = |choices: Value| json!({"id": "job-1", "object": "text_completion", "created": 1_700_000_000, "model": "theirs", "choices": choices});
    let got = reply(Script::lines(&lines), Dialect::Ollama, &prompt(true)).await;
    let mut last = piece(json!([]));
    last["usage"] = json!({"prompt_tokens": 26, "completion_tokens": 259, "total_tokens": 285});
    last["ollama"] = json!({"total_duration": 10_706_818_083_u64});
    assert_eq!(
        got.json(),
        [
            piece(json!([{"index": 0, "text": "The", "logprobs": null, "finish_reason": null}])),
            piece(json!([{"index": 0, "text": "", "logprobs": null, "finish_reason": "stop"}])),
            last,
        ]
    );

    let whole = r#"{"model":"llama3.2","created_at":"","response":"The sky","done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":259}"#;
    let got = reply(Script::json(200, whole), Dialect::Ollama, &prompt(false)).await;
    assert_eq!(got.json()[0]["choices"], json!([{"index": 0, "text": "The sky", "logprobs": null, "finish_reason": "stop"}]));
    assert_eq!(*got.done(), Finished { usage: usage(26, 259, 0), finish: Some("stop".into()) });
}

#[tokio::test]
async fn vectors_come_as_numbers_or_as_base64() {
    let reply_body =
        r#"{"model":"all-minilm","embeddings":[[0.5,-1],[0,2]],"total_duration":14143917,"load_duration":1019500,"prompt_eval_count":8}"#;
    let input = json!({"input": ["a", "b"]});
    let got = reply(Script::json(200, reply_body), Dialect::Ollama, &call(Kind::Embedding, true, &input)).await;
    assert_eq!(
        got.json(),
        [json!({
            "object": "list", "model": "theirs", "usage": {"prompt_tokens": 8, "total_tokens": 8},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1]}, {"object": "embedding", "index": 1, "embedding": [0, 2]}],
            "ollama": {"total_duration": 14_143_917, "load_duration": 1_019_500},
        })]
    );
    assert_eq!(*got.done(), Finished { usage: usage(8, 0, 0), finish: None });

    let packed = json!({"input": ["a", "b"], "encoding_format": "base64"});
    let got = reply(Script::json(200, reply_body), Dialect::Ollama, &call(Kind::Embedding, false, &packed)).await;
    assert_eq!(got.json()[0]["data"][0]["embedding"], "AAAAPwAAgL8=");
}

#[tokio::test]
async fn a_chat_that_is_cut_has_no_end() {
    let got = reply(Script::lines(&THINKING[..4]), Dialect::Ollama, &chat(true)).await;
    assert_eq!(got.failure().kind, pullyard_schemas::FailureKind::Backend);
    assert!(got.broken().delivered);
    assert_eq!(got.broken().usage, Some(usage(0, 4, 0)));
}

#[tokio::test]
async fn what_ollama_measured_is_told_with_its_counts() {
    let timings = json!({"total_duration": 4_935_886_791_u64, "load_duration": 534_986_708, "prompt_eval_duration": 107_345_000, "eval_duration": 4_289_432_000_u64});
    let streamed = reply(Script::lines(&THINKING), Dialect::Ollama, &chat(true)).await;
    assert_eq!(streamed.json().pop().unwrap()["ollama"], timings);
    let whole = THINKING[5].replace(r#""content":"""#, r#""content":"Hi""#);
    let got = reply(Script::json(200, &whole), Dialect::Ollama, &chat(false)).await;
    assert_eq!(got.json()[0]["ollama"], timings);
}

#[tokio::test]
async fn log_probabilities_come_in_openais_place() {
    let line = r#"{"model":"m","created_at":"","message":{"role":"assistant","content":"Hi"},"logprobs":[{"token":"Hi","logprob":-0.1,"bytes":[72,105]}],"done":false}"#;
    let got = reply(Script::lines(&[line, THINKING[5]]), Dialect::Ollama, &chat(true)).await;
    assert_eq!(got.json()[0]["choices"][0]["logprobs"], json!({"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105]}]}));
}

#[tokio::test]
async fn only_ollama_is_asked_to_load() {
    let asked = json!({"model": "m", "messages": [{"role": "user", "content": ""}], "ollama": {"load": true, "keep_alive": "10"}});
    let call = call(Kind::Chat, true, &asked);
    let line = r#"{"model":"m","created_at":"","message":{"role":"assistant","content":""},"done_reason":"load","done":true}"#;
    let server = Server::start([Script::lines(&[line])]).await;
    let loaded = ask(&endpoint(&server, Dialect::Ollama), &call).await;
    assert_eq!(server.requests()[0].body, json!({"model": "theirs", "messages": [], "stream": true, "keep_alive": 10}));
    assert_eq!(loaded.done().finish.as_deref(), Some("stop"));

    // Elsewhere the model is always there.
    let server = Server::start([]).await;
    let loaded = ask(&endpoint(&server, OPENAI), &call).await;
    assert!(server.requests().is_empty());
    assert_eq!((loaded.done().usage, loaded.done().finish.as_deref()), (Usage::default(), Some("stop")));
}

#[tokio::test]
async fn the_words_of_a_forced_call_are_its_arguments() {
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let asked = json!({"messages": [{"role": "user", "content": "x"}], "tools": tools, "tool_choice": "required"});
    let line =
        |text: &str| format!(r#"{{"model":"m","created_at":"","message":{{"role":"assistant","content":{}}},"done":false}}"#, json!(text));
    let lines = [line("{\"a\""), line(":1}"), THINKING[5].to_owned()];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let got = reply(Script::lines(&lines), Dialect::Ollama, &call(Kind::Chat, true, &asked)).await;
    let none = Value::Null;
    assert_eq!(
        got.deltas(),
        [
            (
                json!({"role": "assistant", "tool_calls": [{"index": 0, "id": "call_job-1_0", "type": "function", "function": {"name": "f", "arguments": "{\"a\""}}]}),
                none.clone()
            ),
            (json!({"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}), none),
            (json!({}), "tool_calls".into()),
        ]
    );
    assert_eq!(got.with_content()[..2], [true, true]);

    let whole = THINKING[5].replace(r#""content":"""#, r#""content":"{}""#);
    let got = reply(Script::json(200, &whole), Dialect::Ollama, &call(Kind::Chat, false, &asked)).await;
    let choice = &got.json()[0]["choices"][0];
    let made = json!([{"id": "call_job-1_0", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    assert_eq!((&choice["message"]["tool_calls"], &choice["finish_reason"]), (&made, &"tool_calls".into()));
    assert_eq!(choice["message"]["content"], Value::Null);
}
