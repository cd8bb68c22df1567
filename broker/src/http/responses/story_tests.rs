use pullyard_schemas::job::{Event, Spec};
use pullyard_schemas::{Seq, Usage};
use serde_json::{Value, json};

use super::super::ids;
use super::*;

fn job() -> Job {
    let spec: Spec =
        serde_json::from_value(json!({"targets": ["m"], "max_attempts": 3, "max_attempts_per_target": 2, "timeout_ms": 60_000, "size": 1}))
            .unwrap();
    let event = Event::Submitted { spec: std::sync::Arc::new(spec), body: Default::default() };
    let envelope = pullyard_schemas::job::Envelope { seq: Seq(1), at: Timestamp(5_000), v: 1, job: JobId::new(), event };
    pullyard_schemas::job::apply(None, &envelope).unwrap()
}

/// The events with their names checked and their numbers in order.
fn events(told: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(told).unwrap();
    let frames = text.split("\n\n").filter(|frame| !frame.is_empty());
    frames
        .map(|frame| {
            let (name, data) = frame.strip_prefix("event: ").unwrap().split_once("\ndata: ").unwrap();
            let event: Value = serde_json::from_str(data).unwrap_or_else(|e| panic!("{e}: {data}"));
            assert_eq!(event["type"], name);
            event
        })
        .collect()
}

fn delta(delta: &Value) -> Vec<u8> {
    json!({"id": "c", "model": "m:1", "choices": [{"index": 0, "delta": delta, "finish_reason": null}]}).to_string().into()
}

fn finish(reason: &str) -> Vec<u8> {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}).to_string().into()
}

const USAGE: &[u8] =
    br#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5,"completion_tokens_details":{"reasoning_tokens":2}}}"#;

fn told(lines: &[Vec<u8>]) -> Vec<Value> {
    let job = job();
    let (mut story, mut out) = (Story::new(&job, Repeated { json: "\"tools\":[]".to_owned(), summarised: false }, false), Vec::new());
    story.begin(&mut out);
    for line in lines {
        story.chunk(line, &mut out);
    }
    story.end(&job, &Usage::default(), &mut out);
    let events = events(&out);
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    events
}

fn names(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect()
}

#[test]
fn a_text_is_told_in_the_documented_order() {
    let events = told(&[
        delta(&json!({"role": "assistant", "content": ""})),
        delta(&json!({"content": "He said \"hi\""})),
        delta(&json!({"content": "\u{1F600}\n"})),
        finish("stop"),
        USAGE.to_vec(),
    ]);
    assert_eq!(
        names(&events),
        [
            "created",
            "in_progress",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "completed"
        ]
    );
    let text = "He said \"hi\"\u{1F600}\n";
    assert_eq!((&events[6]["text"], &events[7]["part"]["text"]), (&json!(text), &json!(text)));
    assert!(events[2..9].iter().all(|event| event["output_index"] == 0));
    assert!(events[3..8].iter().all(|event| event["content_index"] == 0 && event["item_id"] == events[2]["item"]["id"]));
    assert_eq!((&events[2]["item"]["content"], &events[2]["item"]["status"]), (&json!([]), &json!("in_progress")));
    let response = &events[9]["response"];
    assert_eq!((&response["status"], &response["model"], &response["tools"]), (&json!("completed"), &json!("m:1"), &json!([])));
    assert_eq!(response["output"], json!([events[8]["item"]]));
    assert_eq!(
        response["usage"],
        json!({"input_tokens": 3, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": 5, "output_tokens_details": {"reasoning_tokens": 2}, "total_tokens": 8})
    );
    assert_eq!((&events[0]["response"]["status"], &events[0]["response"]["usage"]), (&json!("in_progress"), &Value::Null));
}

#[test]
fn thoughts_come_first_and_calls_in_turns_are_told_apart() {
    let call = |index: u64, id: Option<&str>, name: Option<&str>, arguments: &str| {
        let mut call = json!({"index": index, "function": {"arguments": arguments}});
        if let (Some(id), Some(name)) = (id, name) {
            (call["id"], call["type"], call["function"]["name"]) = (json!(id), json!("function"), json!(name));
        }
        delta(&json!({"tool_calls": [call]}))
    };
    let events = told(&[
        delta(&json!({"reasoning_content": "hm"})),
        delta(&json!({"reasoning": "m"})),
        delta(&json!({"content": "let me see"})),
        call(0, Some("a"), Some("f"), ""),
        call(1, Some("b"), Some("g"), "{\"x\""),
        call(0, None, None, "{}"),
        call(1, None, None, ":1}"),
        finish("tool_calls"),
    ]);
    let output = events.last().unwrap()["response"]["output"].as_array().unwrap();
    let kinds: Vec<&str> = output.iter().map(|item| item["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["reasoning", "message", "function_call", "function_call"]);
    assert_eq!(output[0]["content"], json!([{"type": "reasoning_text", "text": "hmm"}]));
    let calls: Vec<_> = output[2..].iter().map(|call| (&call["call_id"], &call["name"], &call["arguments"])).collect();
    assert_eq!(calls, [(&json!("a"), &json!("f"), &json!("{}")), (&json!("b"), &json!("g"), &json!("{\"x\":1}"))]);
    // Each item is announced before anything of it, in the order of the output.
    let added: Vec<_> = events.iter().filter(|e| e["type"] == "response.output_item.added").map(|e| &e["output_index"]).collect();
    assert_eq!(added, [0, 1, 2, 3]);
    let done: Vec<_> = events.iter().filter(|e| e["type"] == "response.output_item.done").map(|e| &e["item"]).collect();
    assert_eq!(done, output.iter().collect::<Vec<_>>());
}

#[test]
fn who_asks_for_a_summary_is_told_the_thoughts_as_one() {
    let job = job();
    let (mut story, mut out) = (Story::new(&job, Repeated { summarised: true, ..Repeated::default() }, false), Vec::new());
    for piece in ["hm", "m"] {
        story.chunk(&delta(&json!({"reasoning_content": piece})), &mut out);
    }
    story.end(&job, &Usage::default(), &mut out);
    let events = events(&out);
    let of = |part: &str| format!("reasoning_summary_{part}");
    let told: Vec<String> = names(&events).iter().filter(|name| name.contains("summary")).map(|name| (*name).to_owned()).collect();
    assert_eq!(told, ["part.added", "text.delta", "text.delta", "text.done", "part.done"].map(of));
    let item = &events.last().unwrap()["response"]["output"][0];
    assert_eq!((&item["summary"], &item["content"]), (&json!([{"type": "summary_text", "text": "hmm"}]), &json!([])));
}

#[test]
fn what_is_cut_short_is_incomplete() {
    for (reason, told_as) in [("length", "max_output_tokens"), ("content_filter", "content_filter")] {
        let events = told(&[delta(&json!({"content": "a"})), finish(reason)]);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "response.incomplete");
        assert_eq!(last["response"]["incomplete_details"], json!({"reason": told_as}));
        assert_eq!((&last["response"]["status"], &last["response"]["output"][0]["status"]), (&json!("incomplete"), &json!("incomplete")));
    }
}

#[test]
fn a_reply_in_one_piece_is_the_same_response() {
    let job = job();
    let message = json!({"role": "assistant", "content": "hi", "refusal": null, "reasoning_content": "hm",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let probabilities = json!({"content": [{"token": "hi", "logprob": -1.0, "bytes": [104], "top_logprobs": []}], "refusal": null});
    let reply = json!({"model": "m", "choices": [{"index": 0, "message": message, "logprobs": probabilities, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    let whole = Story::new(&job, Repeated::default(), false).whole(&job, reply.to_string().as_bytes(), &Usage::default());
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["status"], "completed");
    assert_eq!(whole["output"][1]["content"][0]["logprobs"], probabilities["content"]);
    assert_eq!(whole["output"][2]["call_id"], ids::of_item("call", job.id, 0));
    assert_eq!((&whole["created_at"], &whole["usage"]["total_tokens"]), (&json!(5), &json!(2)));
}

#[test]
fn a_reader_who_comes_back_gets_the_rest_under_the_same_numbers() {
    let job = job();
    let tell = |after: Option<u64>, first: u64| {
        let (mut story, mut out) = (Story::new(&job, Repeated::default(), true).after(after), Vec::new());
        story.begin(&mut out);
        for text in ["a", "b", "c"] {
            story.attempt(Token(u32::try_from(first).unwrap()), &mut out);
            story.chunk(&delta(&json!({"content": text})), &mut out);
        }
        story.end(&job, &Usage::default(), &mut out);
        events(&out)
    };
    let all = tell(None, 1);
    assert_eq!(names(&all)[..4], ["created", "queued", "in_progress", "output_item.added"]);
    for (at, event) in all.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
        assert_eq!(tell(Some(at as u64), 1), all[at + 1..]);
    }
    // What a second attempt says has other numbers than what the first one may have said.
    let second = tell(None, 2);
    assert_eq!(second[2]["sequence_number"], 2);
    assert_eq!(second[3]["sequence_number"], ATTEMPT);
    assert_eq!(tell(Some(5), 2), second[3..]);
}

#[test]
fn what_is_no_text_is_passed_over() {
    let lying = json!({"choices": [{"index": 0, "delta": {"content": "x", "tool_calls": [{"index": 4_000_000_000u64, "id": 5}]}}]});
    let events =
        told(&[b"nonsense".to_vec(), b"[]".to_vec(), delta(&json!({"content": null, "refusal": "no"})), lying.to_string().into_bytes()]);
    let output = events.last().unwrap()["response"]["output"].as_array().unwrap();
    assert_eq!(
        output[0]["content"],
        json!([{"type": "refusal", "refusal": "no"}, {"type": "output_text", "text": "x", "annotations": [], "logprobs": []}])
    );
    assert_eq!((output.len(), &output[1]["name"]), (2, &json!("")));
}
