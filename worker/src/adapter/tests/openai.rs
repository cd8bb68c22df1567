//! What OpenAI, llama-server and vLLM really send.

use super::server::Script;
use super::*;

const GPT_4O: [&str; 5] = [
    r#"{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1725000000,"model":"gpt-4o-2024-08-06","service_tier":"default","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1725000000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":"Grüße \"an\""},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1725000000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{"content":" alle"},"logprobs":null,"finish_reason":null}],"usage":null}"#,
    r#"{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1725000000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}"#,
    r#"{"id":"chatcmpl-9f","object":"chat.completion.chunk","created":1725000000,"model":"gpt-4o-2024-08-06","system_fingerprint":"fp_1","choices":[],"usage":{"prompt_tokens":1200,"completion_tokens":2,"total_tokens":1202,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}}}"#,
];

#[tokio::test]
async fn a_stream_of_gpt_4o_passes_as_it_came() {
    let got = reply(Script::events(&GPT_4O), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), GPT_4O);
    assert_eq!(got.with_content(), [false, true, true, false, false]);
    assert_eq!(*got.done(), Finished { usage: usage(1200, 2, 1024), finish: Some("stop".into()) });
}

#[tokio::test]
async fn tool_calls_in_a_stream_are_content() {
    let events = [
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_A","type":"function","function":{"name":"weather","arguments":""}}],"refusal":null},"finish_reason":null}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\":\"Bern\"}"}}]},"finish_reason":null}]}"#,
        r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"gpt-4o","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#,
    ];
    let got = reply(Script::events(&events), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), events);
    assert_eq!(got.with_content(), [true, true, false]);
    // Without the server's counts, each chunk with content counts as a token.
    assert_eq!(*got.done(), Finished { usage: usage(0, 2, 0), finish: Some("tool_calls".into()) });
}

#[tokio::test]
async fn a_stream_of_llama_server_opens_with_null_and_ends_with_timings() {
    let events = [
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"role":"assistant","content":null}}],"created":1758000000,"id":"chatcmpl-x","model":"qwen","system_fingerprint":"b6500-abc","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"reasoning_content":"Hm"}}],"created":1758000000,"id":"chatcmpl-x","model":"qwen","system_fingerprint":"b6500-abc","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":null,"index":0,"delta":{"content":"Hi"}}],"created":1758000000,"id":"chatcmpl-x","model":"qwen","system_fingerprint":"b6500-abc","object":"chat.completion.chunk"}"#,
        r#"{"choices":[{"finish_reason":"length","index":0,"delta":{}}],"created":1758000000,"id":"chatcmpl-x","model":"qwen","system_fingerprint":"b6500-abc","object":"chat.completion.chunk"}"#,
        r#"{"choices":[],"created":1758000000,"id":"chatcmpl-x","model":"qwen","system_fingerprint":"b6500-abc","object":"chat.completion.chunk","usage":{"completion_tokens":16,"prompt_tokens":9,"total_tokens":25},"timings":{"cache_n":0,"prompt_n":9,"prompt_ms":21.4,"predicted_n":16,"predicted_ms":201.0}}"#,
    ];
    let got = reply(Script::events(&events), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), events);
    assert_eq!(got.with_content(), [false, true, true, false, false]);
    assert_eq!(*got.done(), Finished { usage: usage(9, 16, 0), finish: Some("length".into()) });
}

#[tokio::test]
async fn a_thinking_stream_of_vllm_may_name_its_thoughts_twice() {
    let events = [
        r#"{"id":"chatcmpl-v","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":null}"#,
        r#"{"id":"chatcmpl-v","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"reasoning":"So","reasoning_content":"So"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#"{"id":"chatcmpl-v","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"reasoning":" be it"},"logprobs":null,"finish_reason":null,"token_ids":null}]}"#,
        r#"{"id":"chatcmpl-v","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Yes","reasoning":null},"logprobs":null,"finish_reason":"stop","stop_reason":null}]}"#,
        r#"{"id":"chatcmpl-v","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":5,"total_tokens":9,"completion_tokens":4,"prompt_tokens_details":null}}"#,
    ];
    let got = reply(Script::events(&events), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), events);
    assert_eq!(got.with_content(), [false, true, true, true, false]);
    assert_eq!(*got.done(), Finished { usage: usage(5, 4, 0), finish: Some("stop".into()) });
}

#[tokio::test]
async fn what_breaks_clients_is_left_out() {
    let filter = r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{}}]}"#;
    let progress = r#"{"object":"progress","done":1}"#;
    let events = [&[filter, progress], &GPT_4O[..]].concat();
    let keep_alive = ": OPENROUTER PROCESSING\n\n";
    let stream: String = events.iter().map(|e| format!("{keep_alive}data: {e}\r\n\r\n")).collect();
    let got = reply(Script::sse(stream + "data: [DONE]\n\n"), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), GPT_4O);
    assert!(got.result.is_ok());
}

#[tokio::test]
async fn a_whole_reply_passes_on_one_line() {
    let pretty = "{\n  \"id\": \"chatcmpl-1\",\n  \"object\": \"chat.completion\",\n  \"choices\": [{\"index\": 0, \"message\": \
                  {\"role\": \"assistant\", \"content\": \"a\\nb\"}, \"finish_reason\": \"stop\"}],\n  \"usage\": \
                  {\"prompt_tokens\": 9, \"completion_tokens\": 3, \"total_tokens\": 12, \"prompt_tokens_details\": {\"cached_tokens\": 4}}\n}\n";
    let got = reply(Script::json(200, pretty), OPENAI, &chat(false)).await;
    assert_eq!(got.json(), [serde_json::from_str::<Value>(pretty).unwrap()]);
    assert_eq!(*got.done(), Finished { usage: usage(9, 3, 4), finish: Some("stop".into()) });
}

#[tokio::test]
async fn a_whole_completion_and_an_embedding_pass_as_they_came() {
    let completion = r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"text":"x","index":0,"logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let prompt = call(Kind::Completion, false, &json!({"model": "ours", "prompt": "a"}));
    let got = reply(Script::json(200, completion), OPENAI, &prompt).await;
    assert_eq!((got.lines(), got.done().usage), (vec![completion], usage(1, 1, 0)));

    let vectors = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.25,-1]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    // Asked for as a stream, which embeddings never are.
    let input = call(Kind::Embedding, true, &json!({"model": "ours", "input": "a"}));
    let got = reply(Script::json(200, vectors), OPENAI, &input).await;
    assert_eq!((got.lines(), got.done().usage), (vec![vectors], usage(3, 0, 0)));
}

#[tokio::test]
async fn a_completion_streams() {
    let events = [
        r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":" there","logprobs":null,"finish_reason":null}],"usage":null}"#,
        r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop","stop_reason":null}],"usage":null}"#,
        r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":2,"total_tokens":3,"completion_tokens":1}}"#,
    ];
    let got = reply(Script::events(&events), OPENAI, &call(Kind::Completion, true, &json!({"prompt": "hello"}))).await;
    assert_eq!((got.lines(), got.with_content()), (events.to_vec(), vec![true, false, false]));
    assert_eq!(*got.done(), Finished { usage: usage(2, 1, 0), finish: Some("stop".into()) });
}

#[tokio::test]
async fn a_reply_in_one_piece_becomes_the_stream_that_was_asked_for() {
    let whole = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":7,"completion_tokens":8,"total_tokens":15}}"#;
    let got = reply(Script::whole(200, "application/json; charset=utf-8", whole), OPENAI, &chat(true)).await;
    assert_eq!(
        got.json(),
        [json!({
            "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "finish_reason": "tool_calls", "delta": {"role": "assistant", "content": null, "tool_calls": [
                {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"index": 1, "id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ]}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 8, "total_tokens": 15},
        })]
    );
    assert_eq!(*got.done(), Finished { usage: usage(7, 8, 0), finish: Some("tool_calls".into()) });
}

#[tokio::test]
async fn a_stream_that_is_not_ended_but_finished_is_enough() {
    let unended: String = GPT_4O.iter().map(|e| format!("data: {e}\n\n")).collect();
    let got = reply(Script::sse(unended.trim_end()), OPENAI, &chat(true)).await;
    assert_eq!(got.lines(), GPT_4O);
    assert_eq!(got.done().usage, usage(1200, 2, 1024));
}

#[tokio::test]
async fn vectors_come_in_the_form_that_the_client_decodes() {
    let (floats, packed) = (json!([1.5, -2.0]), json!("AADAPwAAAMA="));
    for has in [&floats, &packed] {
        for (asked, gets) in [(Some("float"), &floats), (None, &floats), (Some("base64"), &packed)] {
            let body = format!(
                r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding": {has}}}],"usage":{{"prompt_tokens":3}}}}"#
            );
            let asked = call(Kind::Embedding, false, &json!({"input": "x", "encoding_format": asked}));
            let got = reply(Script::json(200, body), OPENAI, &asked).await;
            assert_eq!((&got.json()[0]["data"][0]["embedding"], got.done().usage.prompt), (gets, 3));
        }
    }
    let broken = r#"{"data":[{"embedding":"AAA="}]}"#;
    let got = reply(Script::json(200, broken), OPENAI, &call(Kind::Embedding, false, &json!({"input": "x"}))).await;
    assert!(got.failure().message.contains("half a number"), "{}", got.failure().message);
}
