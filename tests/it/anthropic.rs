//! `/v1/messages`: Anthropic's clients on models of every dialect, and OpenAI's on Anthropic's.

use pullyard_tests::{Asked, Client, Event, Events, QUICK, Reply, Scripted, ScriptedModel, TestBroker, chat};
use serde_json::{Value, json};

const MESSAGES: &str = "/v1/messages";

async fn broker(model: &ScriptedModel, adapter: &str) -> TestBroker {
    let more = "shim: {hold: 100ms, keep_alive: 50ms}\naliases: {claude-*: m, claude-fable: auto}\n";
    TestBroker::with(format!("{QUICK}{more}backends:\n{}", model.backend("a", adapter, "slots: 4, breaker: {allowed_fails: 100}"))).await
}

fn ask(content: &Value) -> Value {
    json!({"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": content}]})
}

/// As Anthropic's SDKs send it.
async fn post(client: &Client, body: &Value) -> Reply {
    let request = client.posting("/v1/messages?beta=true", body);
    Reply::to(request.header("anthropic-version", "2023-06-01").header("anthropic-beta", "tools-2026,cache-1")).await.unwrap()
}

async fn streamed(client: &Client, mut body: Value) -> Vec<Event> {
    body["stream"] = json!(true);
    Events::of(client.posting(MESSAGES, &body)).await.rest().await
}

/// The events' data; their names must be their types.
fn told(events: &[Event]) -> Vec<Value> {
    let all = events.iter().map(|event| (event.event.clone(), event.json()));
    all.map(|(name, data)| {
        assert_eq!(name.as_deref(), data["type"].as_str());
        data
    })
    .collect()
}

/// Texts as lists of blocks, which mean the same.
fn in_blocks(mut body: Value) -> Value {
    let text = |value: &mut Value| {
        if let Some(text) = value.as_str() {
            *value = json!([{"type": "text", "text": text}]);
        }
    };
    text(&mut body["system"]);
    body["messages"].as_array_mut().unwrap().iter_mut().for_each(|message| text(&mut message["content"]));
    body
}

fn whole_message(content: &Value) -> Value {
    json!({
        "id": "msg_theirs", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "pause_turn",
        "stop_sequence": null, "container": {"id": "c"},
        "usage": {"input_tokens": 9, "cache_creation_input_tokens": 3, "cache_read_input_tokens": 2, "output_tokens": 7, "service_tier": "standard"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_between_a_client_and_a_server_that_speak_the_same_language() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "anthropic").await;
    let mark = json!({"type": "ephemeral"});
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}});
    let signed = json!({"type": "thinking", "thinking": "Hm.", "signature": "EqQB"});
    let body = json!({
        "model": "m", "max_tokens": 50, "temperature": 0.25, "top_k": 7, "stop_sequences": ["END"], "service_tier": "standard_only",
        "system": [{"type": "text", "text": "One."}, {"type": "text", "text": "Two.", "cache_control": mark}],
        "messages": [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": [signed, {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "t1", "name": "see", "input": {"z": 1, "a": 2}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a cat"}, image], "is_error": true},
                {"type": "next_year", "x": {"y": [1]}},
                {"type": "text", "text": "Sure?", "cache_control": mark},
            ]},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "xyz"}]},
            {"role": "system", "content": "Three."},
            {"role": "user", "content": [image, {"type": "text", "text": "and this?"}]},
        ],
        "tools": [
            {"name": "see", "description": "Looks", "input_schema": {"type": "object"}, "eager_input_streaming": true, "cache_control": mark},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
            {"name": "run", "input_schema": {"type": "object"}},
        ],
        "tool_choice": {"type": "tool", "name": "see", "disable_parallel_tool_use": true},
        "thinking": {"type": "enabled", "budget_tokens": 2048}, "output_config": {"effort": "low"},
        "metadata": {"user_id": "u"}, "context_management": {"edits": []}, "unheard_of": {"kept": 12345678901234567890u64},
    });
    let reply = whole_message(&json!([signed, {"type": "next_year", "data": 1}, {"type": "text", "text": "Yes.", "citations": null}]));
    model.then([Scripted::whole(&reply)]);

    let got = post(&broker.client(), &body).await.expect(200);

    assert_eq!(got.json(), reply);
    let Asked { path, headers, body: mut seen } = model.last();
    let header = |name: &str| headers[name].to_str().unwrap();
    let sent = (path.as_str(), header("anthropic-version"), header("anthropic-beta"));
    assert_eq!(sent, (MESSAGES, "2023-06-01", "tools-2026,cache-1"));
    assert_eq!(seen.as_object_mut().unwrap().remove("stream"), Some(json!(false)));
    assert_eq!(in_blocks(seen), in_blocks(body));
    let job = broker.client().job(got.header("x-job-id").unwrap()).await;
    assert_eq!((&job["usage"]["prompt"], &job["usage"]["cached"]), (&json!(14), &json!(2)), "{job}");
    assert!(got.header("request-id").is_some_and(|id| Some(id) == got.header("x-request-id")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_an_anthropic_server_passes_event_for_event() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "anthropic").await;
    let mut begun = whole_message(&json!([]));
    begun["stop_reason"] = Value::Null;
    let block = |index: u64, block: Value| json!({"type": "content_block_start", "index": index, "content_block": block});
    let delta = |index: u64, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let stop = |index: u64| json!({"type": "content_block_stop", "index": index});
    let events = [
        json!({"type": "message_start", "message": begun}),
        block(0, json!({"type": "thinking", "thinking": "", "signature": ""})),
        delta(0, json!({"type": "thinking_delta", "thinking": "Hm."})),
        delta(0, json!({"type": "signature_delta", "signature": "EqQB"})),
        stop(0),
        block(1, json!({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"query\":\"x\"}"})),
        stop(1),
        block(
            2,
            json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "web_search_result", "url": "u"}]}),
        ),
        stop(2),
        block(3, json!({"type": "text", "text": ""})),
        delta(3, json!({"type": "text_delta", "text": "I \"see\"\n\u{1f408}"})),
        delta(3, json!({"type": "citations_delta", "citation": {"type": "web_search_result_location", "url": "u"}})),
        stop(3),
        json!({"type": "from_next_year", "n": 1}),
        block(4, json!({"type": "tool_use", "id": "toolu_1", "name": "see", "input": {}, "caller": {"type": "direct"}})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "{\"a\":"})),
        delta(4, json!({"type": "input_json_delta", "partial_json": "1}"})),
        stop(4),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": null}, "usage": {"output_tokens": 70}, "context_management": {"applied_edits": []}}),
        json!({"type": "message_stop"}),
    ];
    model.then([Scripted::events(&events)]);

    let got = streamed(&broker.client(), ask(&json!("hi"))).await;

    assert_eq!(told(&got), events);
}

/// An OpenAI server's chunk.
fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_loop_goes_round_on_an_openai_server() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "openai").await;
    let client = broker.client();
    let piece = |call: Value| chunk(&json!({"tool_calls": [call]}), None);
    model.then([Scripted::chunks(&[
        chunk(&json!({"role": "assistant", "reasoning_content": "Hm."}), None),
        chunk(&json!({"content": "I look."}), None),
        piece(json!({"index": 0, "id": "call_1", "type": "function", "function": {"name": "see", "arguments": ""}})),
        piece(json!({"index": 0, "function": {"arguments": "{\"at\":\"it\"}"}})),
        chunk(&json!({}), Some("tool_calls")),
        json!({"id": "c", "model": "m", "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 8}}),
    ])]);
    let mut body = ask(&json!([{"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}}]));
    body["system"] = json!([{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]);
    body["tools"] = json!([{"name": "see", "input_schema": {"type": "object"}, "eager_input_streaming": true}]);

    let got = told(&streamed(&client, body.clone()).await);

    let of = |kind: &str| got.iter().filter(|event| event["type"] == kind).cloned().collect::<Vec<_>>();
    let kinds: Vec<Value> = of("content_block_start").iter().map(|event| event["content_block"]["type"].clone()).collect();
    assert_eq!(kinds, ["thinking", "text", "tool_use"]);
    assert_eq!((of("content_block_stop").len(), of("message_delta")[0]["delta"]["stop_reason"].as_str()), (3, Some("tool_use")));
    assert_eq!(of("message_delta")[0]["usage"]["output_tokens"], 8);
    let seen = model.last().body;
    assert_eq!(seen["messages"], json!([{"role": "system", "content": "One.\nTwo."}, {"role": "user", "content": "What is it?"}]));
    assert_eq!(seen["tools"], json!([{"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}]));
    assert!(["anthropic", "cache_control", "system"].iter().all(|name| seen.get(*name).is_none()), "{seen}");

    let answer = json!([
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "call_1", "name": "see", "input": {"at": "it"}},
    ]);
    let result = json!([{"type": "tool_result", "tool_use_id": "call_1", "content": "a cat"}]);
    body["messages"]
        .as_array_mut()
        .unwrap()
        .extend([json!({"role": "assistant", "content": answer}), json!({"role": "user", "content": result})]);
    model.then([Scripted::whole(
        &json!({"id": "c", "object": "chat.completion", "model": "m", "usage": {"prompt_tokens": 30, "completion_tokens": 2},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "A cat."}, "finish_reason": "stop"}]}),
    )]);
    let got = post(&client, &body).await.expect(200).json();
    assert_eq!((&got["content"], &got["stop_reason"]), (&json!([{"type": "text", "text": "A cat."}]), &json!("end_turn")));
    assert!(got["id"].as_str().unwrap().starts_with("msg_"));
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "see", "arguments": "{\"at\":\"it\"}"}});
    assert_eq!(
        model.last().body["messages"].as_array().unwrap()[2..],
        [
            json!({"role": "assistant", "content": "I look.", "tool_calls": [call]}),
            json!({"role": "tool", "tool_call_id": "call_1", "content": "a cat"})
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ollama_server_thinks_and_calls_tools_for_an_anthropic_client() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "ollama").await;
    let line = |message: Value| json!({"model": "m", "created_at": "2026-11-21T00:00:00Z", "message": message, "done": false});
    model.then([Scripted::lines(&[
        line(json!({"role": "assistant", "content": "", "thinking": "Hm."})),
        line(json!({"role": "assistant", "content": "I look."})),
        line(json!({"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "see", "arguments": {"at": "it"}}}]})),
        json!({"model": "m", "created_at": "2026-11-21T00:00:00Z", "message": {"role": "assistant", "content": ""}, "done": true, "done_reason": "stop", "prompt_eval_count": 20, "eval_count": 8}),
    ])]);
    let mut body = ask(
        &json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}, {"type": "text", "text": "?"}]),
    );
    body["model"] = json!("claude-sonnet-4-5");
    body["tools"] = json!([{"name": "see", "input_schema": {"type": "object"}}]);

    let got = told(&streamed(&broker.client(), body).await);

    let blocks: Vec<Value> =
        got.iter().filter(|event| event["type"] == "content_block_start").map(|event| event["content_block"]["type"].clone()).collect();
    assert_eq!(blocks, ["thinking", "text", "tool_use"]);
    let [.., last, _] = got.as_slice() else { panic!("{got:?}") };
    assert_eq!((&last["delta"]["stop_reason"], &last["usage"]["input_tokens"]), (&json!("tool_use"), &json!(20)));
    let seen = model.last().body;
    assert_eq!((&seen["model"], &seen["messages"][0]["images"]), (&json!("m"), &json!(["iVBO"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_in_anthropics_way_and_in_the_servers_words() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "anthropic").await;
    let client = broker.client();
    let error = |reply: &Reply| {
        let body = reply.json();
        assert_eq!(body["type"], "error", "{body}");
        (body["error"]["type"].as_str().unwrap().to_owned(), body["error"]["message"].as_str().unwrap().to_owned())
    };
    let told = |kind: &str, message: &str| (kind.to_owned(), message.to_owned());

    let long = "prompt is too long: 210000 tokens > 200000 maximum";
    model.then([Scripted::status(
        400,
        &json!({"type": "error", "error": {"type": "invalid_request_error", "message": long}, "request_id": "r"}),
    )]);
    let reply = post(&client, &ask(&json!("x"))).await.expect(400);
    assert_eq!(error(&reply), told("invalid_request_error", long));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
    let body = json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "image"}]}]});
    let reply = post(&client, &body).await.expect(400);
    assert!(error(&reply).1.starts_with("messages.0.content.0.source: "), "{}", reply.text());
    let mut body = ask(&json!("x"));
    body["model"] = json!("nothing");
    assert_eq!(error(&post(&client, &body).await.expect(404)).0, "not_found_error");
    let overloaded = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    model.then(std::iter::repeat_n(Scripted::status(529, &overloaded), 10));
    assert_eq!(error(&post(&client, &ask(&json!("x"))).await.expect(529)), told("overloaded_error", "Overloaded"));
    assert_eq!(error(&client.get(MESSAGES).await.expect(405)).0, "invalid_request_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_pings_and_one_that_breaks_ends_with_an_error() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "openai").await;
    let client = broker.client();
    let mut body = ask(&json!("x"));
    (body["stream"], body["on_interrupt"]) = (json!(true), json!("fail"));
    model.then([Scripted::chunks(&[chunk(&json!({"content": "Hi"}), Some("stop"))]).held()]);
    let mut events = Events::of(client.posting(MESSAGES, &body)).await;
    let first = events.next().await.unwrap();
    assert_eq!((first.event.as_deref(), first.json()), (Some("ping"), json!({"type": "ping"})));
    model.release(1);
    let rest = told(&events.rest().await);
    assert_eq!(rest.iter().find(|event| event["type"] != "ping").unwrap()["type"], "message_start");
    assert_eq!(rest.last().unwrap()["type"], "message_stop");

    let begun = "data: ".to_owned() + &chunk(&json!({"content": "Hi"}), None).to_string() + "\n\n";
    model.then([Scripted::raw("text/event-stream", &begun).cut()]);
    let got = told(&streamed(&client, body).await);
    let (last, before) = got.split_last().unwrap();
    assert_eq!((&last["type"], &last["error"]["type"]), (&json!("error"), &json!("api_error")), "{got:?}");
    assert!(before.iter().all(|event| event["type"] != "message_stop" && event["type"] != "message_delta"), "{got:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_broke_off_goes_on_as_one() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "anthropic").await;
    let begun = whole_message(&json!([]));
    let start = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
    let said = |text: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let message = json!({"type": "message_start", "message": begun});
    let stop = json!({"type": "content_block_stop", "index": 0});
    let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null}, "usage": {"output_tokens": 7}});
    let over = json!({"type": "message_stop"});
    model.then([
        Scripted::events(&[message.clone(), start.clone(), said("Once upon a time")]).cut(),
        Scripted::events(&[message.clone(), start.clone(), said(" there was"), stop.clone(), end.clone(), over.clone()]),
    ]);
    let mut body = ask(&json!("Tell."));
    body["on_interrupt"] = json!("continue");

    let got = told(&streamed(&broker.client(), body).await);

    let kept: Vec<Value> = got.into_iter().filter(|event| event["type"] != "ping").collect();
    assert_eq!(kept, [message, start, said("Once upon a time"), said(" there was"), stop, end, over]);
    let last = model.last().body["messages"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last, json!({"role": "assistant", "content": [{"type": "text", "text": "Once upon a time"}]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_meaning_is_one_job_whatever_the_language() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "openai").await;
    let client = broker.client();
    let reply = Scripted::whole(
        &json!({"id": "c", "object": "chat.completion", "model": "m", "choices": [{"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}]}),
    );
    let schema = json!({"type": "object"});
    let (tags, image) = (json!(["t"]), "data:image/png;base64,iVBO");
    let theirs = json!({
        "model": "m", "max_tokens": 50, "temperature": 0.5, "stop_sequences": ["END"], "tags": tags, "scope": "local", "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]}],
        "tools": [{"name": "f", "input_schema": schema}], "tool_choice": {"type": "auto"},
    });
    let ours = json!({
        "model": "m", "max_tokens": 50, "temperature": 0.5, "stop": ["END"], "tags": tags, "scope": "local",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "?"}, {"type": "image_url", "image_url": {"url": image}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}], "tool_choice": "auto",
    });
    let mut jobs = Vec::new();
    for (path, body) in [(MESSAGES, &theirs), ("/v1/chat/completions", &ours)] {
        model.then([reply.clone()]);
        let reply = client.post(path, body).await.expect(200);
        let events = client.get(&format!("/v1/jobs/{}/events", reply.header("x-job-id").unwrap())).await.expect(200).json();
        let mut spec = events["data"][0]["spec"].clone();
        // The bytes differ, and nothing else.
        assert!(spec.as_object_mut().unwrap().remove("size").is_some(), "{events}");
        jobs.push((spec, model.last().body));
    }
    assert_eq!(jobs[0], jobs[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_openai_client_gets_an_anthropic_models_tools_and_schema() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "anthropic").await;
    let client = broker.client();
    model.then([Scripted::whole(&whole_message(&json!([{"type": "text", "text": "{}"}])))]);
    let mut body = chat("m", "hi");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    (body["reasoning_effort"], body["user"]) = (json!("minimal"), json!("u"));
    let got = client.post("/v1/chat/completions", &body).await.expect(200).json();
    assert_eq!(got["choices"][0]["message"], json!({"role": "assistant", "content": "{}"}));
    assert!(got.get("anthropic").is_none());
    let seen = model.last().body;
    let config = json!({"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}});
    assert_eq!((&seen["output_config"], &seen["metadata"]), (&config, &json!({"user_id": "u"})));
    for (name, value) in [("n", json!(2)), ("logprobs", json!(true)), ("response_format", json!({"type": "json_object"}))] {
        let mut body = chat("m", "hi");
        body[name] = value;
        let error = client.post("/v1/chat/completions", &body).await.expect(400).error();
        assert!(error.contains(name), "{error}");
    }
    assert_eq!(model.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_anthropic_takes_is_refused_by_name_elsewhere() {
    let model = ScriptedModel::serving(&["m"]).await;
    let broker = broker(&model, "openai").await;
    let mut body = ask(&json!("news?"));
    body["tools"] = json!([{"type": "web_search_20250305", "name": "web_search"}]);
    let error = post(&broker.client(), &body).await.expect(400).json();
    assert_eq!(error["error"]["message"], "only Anthropic's own models take tools.0 (web_search_20250305)");
    assert!(model.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_for_anthropics_clients_and_tokens_are_counted() {
    let model = ScriptedModel::serving(&["m", "n"]).await;
    let yaml = format!("{QUICK}aliases: {{claude-local: m, \"claude-*\": n}}\nbackends:\n{}", model.backend("a", "openai", ""));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();
    let get = async |path: &str| {
        Reply::to(client.request(reqwest::Method::GET, path).header("anthropic-version", "2023-06-01")).await.unwrap().expect(200).json()
    };
    let list = get("/v1/models?limit=1000").await;
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["claude-local", "m", "n", "auto"]);
    assert_eq!((&list["has_more"], &list["first_id"], &list["last_id"]), (&json!(false), &json!("claude-local"), &json!("auto")));
    let first = &list["data"][0];
    assert_eq!((&first["type"], &first["display_name"]), (&json!("model"), &json!("claude-local (m)")));
    assert!(first["created_at"].as_str().unwrap().ends_with('Z'));
    let page = get("/v1/models?limit=2&after_id=claude-local").await;
    assert_eq!((&page["first_id"], &page["last_id"], &page["has_more"]), (&json!("m"), &json!("n"), &json!(true)));
    assert_eq!(get("/v1/models?limit=1&before_id=auto").await["first_id"], "n");
    assert_eq!(get("/v1/models/claude-haiku").await["display_name"], "claude-haiku (n)");

    let count =
        async |body: &Value| client.post("/v1/messages/count_tokens", body).await.expect(200).json()["input_tokens"].as_u64().unwrap();
    let short = count(&json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]})).await;
    let long = count(&json!({"model": "m", "system": "x".repeat(4000), "messages": [{"role": "user", "content": "hi"}]})).await;
    assert!((2..30).contains(&short) && (900..1200).contains(&(long - short)), "{short} {long}");
    assert!(model.asked().is_empty());
}
