//! The events that a message is told in.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::stream::Messages;
use super::whole;

/// The events of a stream, each with its name checked against its type.
fn events(chunks: &[Value]) -> Vec<Value> {
    let mut messages = Messages::new("msg_1".to_owned(), "m");
    let mut out = Vec::new();
    for chunk in chunks {
        messages.tell(chunk.to_string().as_bytes(), &mut out);
    }
    messages.finish(None, &mut out);
    read(&out)
}

fn read(out: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(out).unwrap();
    let one = |frame: &str| {
        let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"));
        assert_eq!(data["type"], name);
        data
    };
    text.strip_suffix("\n\n").unwrap().split("\n\n").map(one).collect()
}

/// What a client makes of the events, in short: a block per line, with its pieces.
fn blocks(events: &[Value]) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open = None;
    for event in events {
        match event["type"].as_str().unwrap() {
            "content_block_start" => {
                assert_eq!((open, event["index"].as_u64()), (None, Some(blocks.len() as u64)), "{event}");
                open = event["index"].as_u64();
                let block = &event["content_block"];
                blocks.push(format!(
                    "{}{}",
                    block["type"].as_str().unwrap(),
                    block["name"].as_str().map_or(String::new(), |n| format!(" {n}"))
                ));
            }
            "content_block_delta" => {
                assert_eq!(event["index"].as_u64(), open, "{event}");
                let delta = &event["delta"];
                let piece = ["text", "thinking", "partial_json", "signature"].iter().find_map(|name| delta[*name].as_str());
                blocks.last_mut().unwrap().push_str(&format!("|{}", piece.unwrap()));
            }
            "content_block_stop" => assert_eq!(event["index"].as_u64(), open.take()),
            _ => assert_eq!(open, None, "{event}"),
        }
    }
    blocks
}

fn delta(delta: &Value) -> Value {
    json!({"id": "c", "model": "theirs", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

fn call(index: usize, name: Option<&str>, arguments: &str) -> Value {
    let id = name.map(|_| format!("call_{index}"));
    delta(&json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}}]}))
}

#[test]
fn thoughts_text_and_a_call_are_three_blocks() {
    let usage = json!({"prompt_tokens": 30, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10}});
    let told = events(&[
        delta(&json!({"role": "assistant", "content": ""})),
        delta(&json!({"reasoning_content": "Hm"})),
        delta(&json!({"reasoning": "."})),
        delta(&json!({"content": "I \"look\"\n"})),
        delta(&json!({"content": "now."})),
        call(0, Some("see"), ""),
        call(0, None, "{\"at\":"),
        call(0, None, "\"it\"}"),
        finish("tool_calls"),
        json!({"choices": [], "usage": usage}),
    ]);
    assert_eq!(blocks(&told), ["thinking|Hm|.", "text|I \"look\"\n|now.", "tool_use see|{\"at\":|\"it\"}"]);
    let start = &told[0]["message"];
    assert_eq!((&start["id"], &start["model"], &start["role"]), (&json!("msg_1"), &json!("theirs"), &json!("assistant")));
    assert_eq!((&start["content"], &start["stop_reason"]), (&json!([]), &Value::Null));
    assert_eq!(told[1]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
    let tool = told.iter().find(|event| event["content_block"]["type"] == "tool_use").unwrap();
    assert_eq!(tool["content_block"], json!({"type": "tool_use", "id": "call_0", "name": "see", "input": {}}));
    let [.., last, stop] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(last["delta"], json!({"stop_reason": "tool_use", "stop_sequence": null}));
    assert_eq!(
        last["usage"],
        json!({"input_tokens": 20, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 10, "output_tokens": 5})
    );
    assert_eq!(stop, &json!({"type": "message_stop"}));
}

#[test]
fn calls_that_come_at_once_are_told_one_after_the_other() {
    // One behind the other: each is told as it comes.
    let told = events(&[call(0, Some("a"), "{}"), call(1, Some("b"), "{\"x\""), call(1, None, ":1}"), finish("tool_calls")]);
    assert_eq!(blocks(&told), ["tool_use a|{}", "tool_use b|{\"x\"|:1}"]);
    // Mixed: the second waits until the first is whole, and a text behind it too.
    let told = events(&[
        call(0, Some("a"), "{\"x\""),
        call(1, Some("b"), "{\"y\""),
        delta(&json!({"content": "Both."})),
        call(0, None, ":\"}\""),
        call(1, None, ":2"),
        call(0, None, "}"),
        call(1, None, "}"),
        finish("tool_calls"),
    ]);
    assert_eq!(blocks(&told), ["tool_use a|{\"x\"|:\"}\"|}", "tool_use b|{\"y\":2|}", "text|Both."]);
    // Cut in the middle of the first: what waited is told all the same.
    let told = events(&[call(0, Some("a"), "{\"x\""), call(1, Some("b"), "{}"), finish("length")]);
    assert_eq!(blocks(&told), ["tool_use a|{\"x\"", "tool_use b|{}"]);
    assert_eq!(told[told.len() - 2]["delta"]["stop_reason"], "max_tokens");
    // Without any arguments, and with an object where a text belongs.
    let object = delta(&json!({"tool_calls": [{"index": 1, "function": {"name": "b", "arguments": {"z": 3}}}]}));
    let told = events(&[call(0, Some("a"), ""), object, finish("tool_calls")]);
    assert_eq!(blocks(&told), ["tool_use a", "tool_use b|{\"z\":3}"]);
    assert!(told.iter().any(|event| event["content_block"]["id"] == "toolu_1_1"));
}

#[test]
fn every_finish_has_a_stop_reason() {
    for (finish, stop_reason, expected) in [
        ("stop", Value::Null, ("end_turn", Value::Null)),
        ("stop", json!("END"), ("stop_sequence", json!("END"))),
        ("stop", json!(128_009), ("end_turn", Value::Null)),
        ("length", Value::Null, ("max_tokens", Value::Null)),
        ("content_filter", Value::Null, ("refusal", Value::Null)),
    ] {
        let told = events(&[json!({"choices": [{"delta": {"content": "x"}, "finish_reason": finish, "stop_reason": stop_reason}]})]);
        let last = &told[told.len() - 2]["delta"];
        assert_eq!((last["stop_reason"].as_str().unwrap(), last["stop_sequence"].clone()), expected);
    }
    assert_eq!(
        events(&[]).iter().map(|e| e["type"].as_str().unwrap()).collect::<Vec<_>>(),
        ["message_start", "message_delta", "message_stop"]
    );
}

#[test]
fn an_anthropic_servers_own_words_pass_through() {
    let aside = |delta: &Value, extra: &Value| json!({"choices": [{"delta": delta, "finish_reason": null}], "anthropic": extra});
    let none = json!({});
    let message = json!({"id": "msg_theirs", "type": "message", "role": "assistant", "model": "claude", "content": [], "usage": {"input_tokens": 9, "cache_creation": {"a": 1}, "output_tokens": 1}});
    let thinking = json!({"type": "thinking", "thinking": "", "signature": ""});
    let search = json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}});
    let tool = json!({"type": "tool_use", "id": "toolu_9", "name": "f", "input": {}, "caller": {"type": "direct"}});
    let begin = json!({"tool_calls": [{"index": 0, "id": "toolu_9", "function": {"name": "f", "arguments": ""}}]});
    let end =
        json!({"delta": {"stop_reason": "pause_turn", "stop_sequence": null}, "usage": {"output_tokens": 7}, "context_management": {}});
    let told = events(&[
        aside(&json!({"content": ""}), &json!({"message": message})),
        aside(&none, &json!({"start": thinking})),
        delta(&json!({"reasoning_content": "Hm"})),
        aside(&none, &json!({"delta": {"type": "signature_delta", "signature": "EqQB"}})),
        aside(&none, &json!({"stop": true})),
        aside(&none, &json!({"start": search})),
        aside(&none, &json!({"delta": {"type": "input_json_delta", "partial_json": "{}"}})),
        aside(&none, &json!({"stop": true})),
        aside(&none, &json!({"event": {"type": "next_year", "x": 1}})),
        aside(&none, &json!({"start": {"type": "text", "text": "", "citations": []}})),
        delta(&json!({"content": "Yes"})),
        // The attempt broke off here, and another goes on behind it.
        aside(&none, &json!({"start": {"type": "text", "text": ""}})),
        delta(&json!({"content": "."})),
        aside(&none, &json!({"stop": true})),
        aside(&begin, &json!({"start": tool})),
        call(0, None, "{\"a\":1}"),
        aside(&none, &json!({"stop": true})),
        json!({"choices": [{"delta": {}, "finish_reason": "stop"}], "anthropic": {"end": end}}),
        json!({"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 7}}),
    ]);
    assert_eq!(blocks(&told), ["thinking|Hm|EqQB", "server_tool_use web_search|{}", "text|Yes|.", "tool_use f|{\"a\":1}"]);
    assert_eq!(told[0]["message"], message);
    assert!(told.contains(&json!({"type": "next_year", "x": 1})));
    assert!(told.iter().any(|event| event["content_block"] == tool));
    let mut last = end;
    last["type"] = json!("message_delta");
    assert_eq!(told[told.len() - 2], last);
}

#[test]
fn a_whole_reply_is_a_message() {
    let message =
        |reply: &Value| whole::message("msg_1", "m", reply.to_string().as_bytes()).map(|m| serde_json::from_slice::<Value>(&m).unwrap());
    let mut reply = json!({
        "model": "theirs", "usage": {"prompt_tokens": 3, "completion_tokens": 4},
        "choices": [{"finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "I look.", "reasoning_content": "Hm.",
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": " {\"b\":1,\"a\":2}"}}, {"function": {"name": "g", "arguments": ""}}],
        }}],
    });
    assert_eq!(
        message(&reply).unwrap(),
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "theirs", "stop_reason": "tool_use", "stop_sequence": null,
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": ""},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "c", "name": "f", "input": {"b": 1, "a": 2}},
                {"type": "tool_use", "id": "toolu_1_1", "name": "g", "input": {}},
            ],
            "usage": {"input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 4},
        })
    );
    reply["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"] = json!("{\"a\":");
    assert_eq!(message(&reply).unwrap_err().message, "the model called `f` with arguments that are no JSON object");
    let own = json!({"id": "msg_theirs", "content": [{"type": "new"}]});
    reply["anthropic"] = json!({"message": own});
    assert_eq!(message(&reply).unwrap(), own);
}

proptest! {
    #[test]
    fn however_pieces_are_mixed_all_of_them_arrive(order in prop::collection::vec((0usize..4, 1usize..6), 0..40)) {
        let whole: Vec<String> = (0..3).map(|at| format!("{{\"a\":\"{{\\\"{at}]\",\"b\":[{{}},{at}]}}")).collect();
        let mut left: Vec<&str> = whole.iter().map(String::as_str).collect();
        let mut begun = [false; 3];
        let (mut chunks, mut texts) = (Vec::new(), String::new());
        let rest = (0..3).map(|at| (at, 100));
        for (nth, (at, size)) in order.into_iter().chain(rest).enumerate() {
            if at == 3 {
                let text = format!("t{nth} ");
                chunks.push(delta(&json!({"content": text})));
                texts.push_str(&text);
            } else {
                let (piece, after) = left[at].split_at(size.min(left[at].len()));
                left[at] = after;
                let name = format!("f{at}");
                chunks.push(call(at, (!std::mem::replace(&mut begun[at], true)).then_some(&name), piece));
            }
        }
        let told = blocks(&events(&chunks));
        let of = |kind: &str| told.iter().filter_map(|block| block.strip_prefix(kind)).map(|pieces| pieces.replace('|', "")).collect::<Vec<_>>();
        prop_assert_eq!(of("text|").concat(), texts);
        for (at, arguments) in whole.iter().enumerate() {
            prop_assert_eq!(of(&format!("tool_use f{at}|")), vec![arguments.clone()]);
        }
    }
}
