//! What Anthropic really sends.

use super::server::Script;
use super::*;

/// An event's name is the type that its data repeats.
fn events(data: &[&str]) -> Script {
    let event = |data: &&str| {
        let name = serde_json::from_str::<Value>(data).unwrap()["type"].as_str().unwrap().to_owned();
        format!("event: {name}\ndata: {data}\n\n")
    };
    Script::sse(data.iter().map(event).collect::<String>())
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":0},"output_tokens":1,"service_tier":"standard"}}}"#;
const STOP: &str = r#"{"type":"message_stop"}"#;

#[tokio::test]
async fn thoughts_text_and_tools_stream_as_openai_would() {
    let got = reply(
        events(&[
            START,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
            r#"{"type": "ping"}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Weather?"}}"#,
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}"#,
            r#"{"type":"content_block_stop","index":0}"#,
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I look."}}"#,
            r#"{"type":"content_block_stop","index":1}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"weather","input":{}}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"city\":"}}"#,
            r#"{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":" \"Bern\"}"}}"#,
            r#"{"type":"content_block_stop","index":2}"#,
            r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"clock","input":{}}}"#,
            r#"{"type":"content_block_stop","index":3}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89}}"#,
            STOP,
        ]),
        Dialect::Anthropic,
        &chat(true),
    )
    .await;
    let deltas: Vec<Value> = got.deltas().into_iter().map(|(delta, _)| delta).collect();
    let begun = |index: u64, id: &str, name: &str| json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]});
    let more = |arguments: &str| json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
    assert_eq!(
        deltas,
        [
            json!({"role": "assistant", "content": ""}),
            json!({"reasoning_content": "Weather?"}),
            json!({"content": "I look."}),
            begun(0, "toolu_1", "weather"),
            more("{\"city\":"),
            more(" \"Bern\"}"),
            begun(1, "toolu_2", "clock"),
            json!({}),
        ]
    );
    assert_eq!(got.deltas().last().unwrap().1, "tool_calls");
    assert_eq!(got.with_content(), [false, true, true, true, true, true, true, false, false]);
    let counts =
        json!({"prompt_tokens": 2112, "completion_tokens": 89, "total_tokens": 2201, "prompt_tokens_details": {"cached_tokens": 2000}});
    assert_eq!(got.json().last().unwrap()["usage"], counts);
    assert_eq!(*got.done(), Finished { usage: usage(2112, 89, 2000), finish: Some("tool_calls".into()) });
}

#[tokio::test]
async fn a_later_count_may_repeat_only_some_of_the_earlier() {
    let last = r#"{"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":12,"output_tokens":4}}"#;
    let got = reply(events(&[START, last, STOP]), Dialect::Anthropic, &chat(true)).await;
    assert_eq!(*got.done(), Finished { usage: usage(2112, 4, 2000), finish: Some("length".into()) });
}

#[tokio::test]
async fn a_whole_message_is_a_message() {
    let message = json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"},
            {"type": "text", "text": "I "},
            {"type": "text", "text": "look."},
            {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 30, "output_tokens": 20},
    });
    let got = reply(Script::json(200, message.to_string()), Dialect::Anthropic, &chat(false)).await;
    assert_eq!(
        got.json(),
        [json!({
            "id": "job-1", "object": "chat.completion", "created": 1_700_000_000, "model": "theirs",
            "choices": [{"index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
                "role": "assistant", "content": "I look.", "reasoning_content": "Hm.",
                "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\":\"Bern\"}"}}],
            }}],
            "usage": {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60, "prompt_tokens_details": {"cached_tokens": 30}},
        })]
    );
    assert_eq!(*got.done(), Finished { usage: usage(40, 20, 30), finish: Some("tool_calls".into()) });
}

#[tokio::test]
async fn every_stop_reason_has_a_name_of_openai() {
    for (theirs, ours) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
    ] {
        let message = json!({"type": "message", "content": [{"type": "text", "text": "x"}], "stop_reason": theirs, "usage": {"input_tokens": 1, "output_tokens": 1}});
        let got = reply(Script::json(200, message.to_string()), Dialect::Anthropic, &chat(false)).await;
        assert_eq!(got.done().finish.as_deref(), Some(ours), "{theirs}");
    }
}

#[tokio::test]
async fn an_overload_in_the_middle_of_a_stream_is_no_end() {
    let text = r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"I"}}"#;
    let error = r#"{"type":"error","error":{"details":null,"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let got = reply(events(&[START, text, error]), Dialect::Anthropic, &chat(true)).await;
    assert_eq!(got.failure().kind, pullyard_schemas::FailureKind::Busy);
    assert_eq!(got.failure().message, "backend `a` says: Overloaded");
    assert!(got.broken().delivered);
    assert_eq!(got.broken().usage, Some(usage(2112, 1, 2000)));
}
