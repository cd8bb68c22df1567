//! Ollama's API, on its own kind of server and on others.

use pullyard_tests::{Answer, Behaviour, Client, FakeModel, QUICK, Reply, TestBroker, chat};
use serde_json::{Value, json};
use std::time::Duration;

async fn broker(backends: &[String]) -> TestBroker {
    TestBroker::with(format!("{QUICK}backends:\n{}", backends.concat())).await
}

/// A broker before one Ollama server.
async fn before_ollama(model: &FakeModel) -> TestBroker {
    broker(&[model.ollama_backend("a", "slots: 4")]).await
}

/// A broker before a server that speaks OpenAI.
async fn before_openai(model: &FakeModel) -> TestBroker {
    broker(&[model.backend("a", "slots: 4")]).await
}

/// A reply's lines, none of which is empty.
fn lines(reply: &Reply) -> Vec<Value> {
    assert_eq!(reply.header("content-type"), Some("application/x-ndjson"));
    let text = reply.text();
    text.strip_suffix('\n').unwrap().split('\n').map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn said(lines: &[Value], field: &str) -> String {
    lines.iter().map(|line| line.pointer(field).and_then(Value::as_str).unwrap_or_default()).collect()
}

/// The error in Ollama's envelope.
fn error(reply: &Reply) -> String {
    reply.json()["error"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_streams_unless_it_is_told_not_to() {
    let model = FakeModel::start().await;
    let broker = before_ollama(&model).await;
    let client = broker.client();

    let streamed = lines(&client.post("/api/chat", &chat("m", "hi")).await.expect(200));

    assert_eq!(said(&streamed, "/message/content"), "re hi 1 2");
    let (last, before) = streamed.split_last().unwrap();
    assert!(before.iter().all(|line| line["done"] == false && line["model"] == "m" && line["created_at"].is_string()));
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["prompt_eval_count"], &last["eval_count"]),
        (&true.into(), &"stop".into(), &7.into(), &3.into())
    );
    // As the server measured; the total is the client's.
    assert_eq!(
        (&last["load_duration"], &last["prompt_eval_duration"], &last["eval_duration"]),
        (&1_000.into(), &2_000.into(), &3_000.into())
    );
    assert!(last["total_duration"].as_u64().unwrap() >= 5_000);

    let mut body = chat("M:latest", "hi");
    body["stream"] = false.into();
    let whole = client.post("/api/chat", &body).await.expect(200);
    assert!(whole.header("x-job-id").is_some());
    let whole = whole.json();
    assert_eq!(
        (&whole["message"]["content"], &whole["done"], &whole["eval_duration"], &whole["model"]),
        (&"re hi 1 2".into(), &true.into(), &3_000.into(), &"M:latest".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_means_the_same_at_every_server() {
    let (ollama, openai) = (FakeModel::serving(&["o"]).await, FakeModel::serving(&["x"]).await);
    let broker = broker(&[ollama.ollama_backend("a", "slots: 4"), openai.backend("b", "slots: 4")]).await;
    let client = broker.client();
    for model in ["o", "x"] {
        let body = json!({"model": model, "prompt": "why", "system": "be brief", "options": {"temperature": 0, "mirostat": 1}, "keep_alive": "1h"});
        let streamed = lines(&client.post("/api/generate", &body).await.expect(200));
        assert_eq!(said(&streamed, "/response"), "re why 1 2", "{model}");
        assert_eq!(streamed.last().unwrap()["eval_count"], 3);
        assert!(streamed.last().unwrap()["eval_duration"].as_u64().unwrap() > 0);
    }
    let conversation = json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": "why"}]);
    let (at_ollama, at_openai) = (ollama.seen().remove(0), openai.seen().remove(0));
    assert_eq!((at_ollama.path.as_str(), at_openai.path.as_str()), ("/api/chat", "/v1/chat/completions"));
    assert_eq!((&at_ollama.body["messages"], &at_openai.body["messages"]), (&conversation, &conversation));
    assert_eq!((&at_ollama.body["options"], &at_ollama.body["keep_alive"]), (&json!({"temperature": 0, "mirostat": 1}), &"1h".into()));
    // What is only tuning at an Ollama server is not shown to others.
    assert_eq!(at_openai.body["temperature"], 0);
    assert!(
        at_openai.body.get("options").is_none() && at_openai.body.get("keep_alive").is_none() && at_openai.body.get("ollama").is_none()
    );

    // A template that nobody else could apply.
    let body = json!({"model": "x", "prompt": "p", "template": "{{ .Prompt }}"});
    assert!(error(&client.post("/api/generate", &body).await.expect(400)).contains("`template`"));
    assert_eq!(client.post("/api/generate", &json!({"model": "o", "prompt": "p", "raw": true})).await.expect(200).status, 200);
    let raw = ollama.seen().pop().unwrap();
    assert_eq!((raw.path.as_str(), &raw.body["raw"], &raw.body["prompt"]), ("/api/generate", &true.into(), &"p".into()));
}

/// What is kept of a job, without what is another for every job.
async fn kept(client: &Client, reply: &Reply) -> Value {
    let mut job = client.job(reply.header("x-job-id").unwrap()).await;
    for name in ["id", "submitted_at", "updated_at", "result", "charge", "spent"] {
        job.as_object_mut().unwrap().remove(name);
    }
    job
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_the_same_job_in_both_dialects() {
    let model = FakeModel::start().await;
    let broker = before_openai(&model).await;
    let client = broker.client();
    let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]);
    let (mut theirs, mut ours) = (chat("m", "hi"), chat("m", "hi"));
    (theirs["temperature"], theirs["max_tokens"], theirs["stop"], theirs["seed"]) = (json!(0.5), json!(9), json!(["END"]), json!(3));
    theirs["response_format"] = json!({"type": "json_object"});
    ours["options"] = json!({"temperature": 0.5, "num_predict": 9, "stop": ["END"], "seed": 3});
    (ours["format"], ours["stream"]) = (json!("json"), json!(false));
    (theirs["tools"], ours["tools"]) = (tools.clone(), tools);

    let first = client.post("/v1/chat/completions", &theirs).await.expect(200);
    let second = client.post("/api/chat", &ours).await.expect(200);

    assert_eq!(first.content(), second.json()["message"]["content"]);
    let seen = model.seen();
    assert_eq!((&seen[0].path, &seen[0].body), (&seen[1].path, &seen[1].body));
    let jobs = (kept(&client, &first).await, kept(&client, &second).await);
    assert_eq!(jobs.0, jobs.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_cross_dialects_with_their_results() {
    let model = FakeModel::start().await;
    let broker = before_openai(&model).await;
    let client = broker.client();
    let piece =
        |call: Value, finish: Value| format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": call, "finish_reason": finish}]}));
    let call = |call: Value| piece(json!({"tool_calls": [call]}), Value::Null);
    model.then([Behaviour::Verbatim(format!(
        "{}{}{}data: [DONE]\n\n",
        call(json!({"index": 0, "id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{\"city\""}})),
        call(json!({"index": 0, "function": {"arguments": ":\"Bern\"}"}})),
        piece(json!({}), json!("tool_calls")),
    ))]);

    let first = lines(&client.post("/api/chat", &chat("m", "weather?")).await.expect(200));

    let made = json!([{"id": "c1", "function": {"index": 0, "name": "weather", "arguments": {"city": "Bern"}}}]);
    assert_eq!(first[0]["message"]["tool_calls"], made);
    let mut body = chat("m", "weather?");
    let messages = body["messages"].as_array_mut().unwrap();
    messages.push(json!({"role": "assistant", "content": "", "tool_calls": made}));
    messages.push(json!({"role": "tool", "tool_name": "weather", "content": "rain"}));
    client.post("/api/chat", &body).await.expect(200);
    let seen = model.seen().pop().unwrap().body;
    assert_eq!(seen["messages"][1]["tool_calls"][0]["function"]["arguments"], "{\"city\":\"Bern\"}");
    assert_eq!(seen["messages"][2], json!({"role": "tool", "tool_call_id": "c1", "content": "rain"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_waits_and_fails_says_so_in_lines() {
    let model = FakeModel::start().await;
    let yaml = format!(
        "{QUICK}shim: {{hold: 20ms, keep_alive: 20ms}}\nretries: {{max_attempts: 1}}\nbackends:\n{}",
        model.backend("a", "slots: 1")
    );
    let broker = TestBroker::with(yaml.replacen(QUICK, "", 1)).await;
    let client = broker.client();
    // Long enough for some keep-alives, and then the connection breaks.
    model.then([Behaviour::Answer(Answer { wait: Duration::from_millis(200), ..Answer::default() }), Behaviour::CutAfter(2)]);

    let waited = lines(&client.post("/api/chat", &chat("m", "slow")).await.expect(200));
    let cut = lines(&client.post("/api/chat", &chat("m", "cut")).await.expect(200));

    let empty = |line: &&Value| line["done"] == false && line["message"] == json!({"role": "assistant", "content": ""});
    assert!(waited.iter().filter(empty).count() >= 2, "{waited:?}");
    assert_eq!((said(&waited, "/message/content").as_str(), &waited.last().unwrap()["done"]), ("re slow 1 2", &true.into()));
    assert_eq!(said(&cut, "/message/content"), "re cut 1");
    let last = cut.last().unwrap();
    assert!(last["error"].as_str().unwrap().contains("broke off"), "{last}");
    assert!(cut.iter().all(|line| line["done"] != true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_says_nothing_loads_and_unloads() {
    let (ollama, openai) = (FakeModel::serving(&["o"]).await, FakeModel::serving(&["x"]).await);
    let broker = broker(&[ollama.ollama_backend("a", "slots: 4"), openai.backend("b", "slots: 4")]).await;
    let client = broker.client();
    for model in ["o", "x"] {
        let loaded = lines(&client.post("/api/generate", &json!({"model": model, "keep_alive": -1})).await.expect(200));
        assert_eq!((loaded.len(), &loaded[0]["done_reason"], &loaded[0]["response"]), (1, &"load".into(), &"".into()));
        let body = json!({"model": model, "messages": [], "keep_alive": 0, "stream": false});
        let unloaded = client.post("/api/chat", &body).await.expect(200).json();
        assert_eq!((&unloaded["done_reason"], &unloaded["message"]["content"]), (&"unload".into(), &"".into()));
    }
    let seen = ollama.seen();
    assert_eq!((seen.len(), &seen[0].body["messages"], &seen[0].body["keep_alive"]), (2, &json!([]), &json!(-1)));
    assert_eq!(seen[1].body["keep_alive"], 0);
    // There is nothing to load at the other, and nobody was asked.
    assert!(openai.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_api_makes_a_server_load_its_model_anew() {
    let model = FakeModel::start().await;
    let broker = broker(&[model.ollama_backend("a", "slots: 4")]).await;
    let client = broker.client();
    let with = |context: u64| {
        let mut body = chat("m", "x");
        (body["options"], body["stream"]) = (json!({"num_ctx": context, "top_k": 5}), false.into());
        body
    };
    for path in ["/api/chat", "/v1/chat/completions"] {
        let reply = client.post(path, &with(8192)).await.expect(200);
        let warning = reply.header("x-pullyard-warning").unwrap();
        assert!(warning.starts_with("num_ctx 8192 was not sent") && warning.contains("4096"), "{warning}");
        assert_eq!(model.seen().pop().unwrap().body["options"], json!({"top_k": 5}), "{path}");
        // As it is loaded, it harms nobody.
        let reply = client.post(path, &with(4096)).await.expect(200);
        assert_eq!(reply.header("x-pullyard-warning"), None);
        assert_eq!(model.seen().pop().unwrap().body["options"], json!({"num_ctx": 4096, "top_k": 5}), "{path}");
    }
    let job = client.post("/v1/jobs?wait=20s", &with(8192)).await.expect(200);
    assert!(job.header("x-pullyard-warning").is_some());
    assert_eq!(model.seen().pop().unwrap().body["options"], json!({"top_k": 5}));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_let_clients_choose_their_context() {
    for (policy, told) in [("warn", true), ("passthrough", false)] {
        let model = FakeModel::start().await;
        let broker = broker(&[model.ollama_backend("a", &format!("num_ctx: {policy}"))]).await;
        let body = json!({"model": "m", "prompt": "x", "options": {"num_ctx": 8192}});
        let reply = broker.client().post("/api/generate", &body).await.expect(200);
        assert_eq!(reply.header("x-pullyard-warning").is_some_and(|w| w.starts_with("num_ctx 8192 was sent")), told, "{policy}");
        assert_eq!(model.seen()[0].body["options"], json!({"num_ctx": 8192}), "{policy}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn models_of_all_backends_are_listed_as_one_server_would() {
    let (ollama, openai) = (FakeModel::serving(&["llama:8b", "embed"]).await, FakeModel::serving(&["cloud"]).await);
    let broker = broker(&[ollama.ollama_backend("a", "slots: 4"), openai.backend("b", "slots: 4")]).await;
    let client = broker.client();

    let tags = client.get("/api/tags").await.expect(200).json();
    let names: Vec<&str> = tags["models"].as_array().unwrap().iter().map(|m| m["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["cloud", "embed", "llama:8b", "auto"]);
    for model in tags["models"].as_array().unwrap() {
        assert!(model["digest"].as_str().unwrap().len() == 64 && model["modified_at"].as_str().unwrap().ends_with('Z'), "{model}");
    }
    assert_eq!((&tags["models"][2]["size"], &tags["models"][2]["details"]["parameter_size"]), (&1000.into(), &"8B".into()));

    let running = client.get("/api/ps").await.expect(200).json();
    let first = &running["models"][0];
    assert_eq!(
        (running["models"].as_array().unwrap().len(), &first["context_length"], &first["size_vram"]),
        (2, &4096.into(), &900.into())
    );

    let show = async |name: &str| client.post("/api/show", &json!({"model": name})).await;
    let shown = show("LLAMA:8b").await.expect(200).json();
    assert_eq!(shown["capabilities"], json!(["completion", "tools", "vision", "thinking"]));
    assert_eq!(shown["model_info"], json!({"general.architecture": "fake", "fake.context_length": 32768}));
    assert_eq!(show("embed:latest").await.expect(200).json()["capabilities"], json!(["embedding"]));
    assert_eq!(show("cloud").await.expect(200).json()["capabilities"], json!(["completion"]));
    assert!(error(&show("none").await.expect(404)).starts_with("model 'none' not found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_come_in_the_old_shape_and_the_new() {
    let (ollama, openai) = (FakeModel::serving(&["embed"]).await, FakeModel::serving(&["other-embedding"]).await);
    let broker = broker(&[ollama.ollama_backend("a", "slots: 4"), openai.backend("b", "slots: 4")]).await;
    let client = broker.client();

    let many = client.post("/api/embed", &json!({"model": "embed", "input": ["a", "b"], "truncate": true})).await.expect(200).json();
    assert_eq!(
        (&many["embeddings"], &many["prompt_eval_count"], &many["model"]),
        (&json!([[0.5, -0.5], [0.5, -0.5]]), &7.into(), &"embed".into())
    );
    assert_eq!(ollama.seen()[0].body, json!({"model": "embed", "input": ["a", "b"], "truncate": true}));
    let loaded = client.post("/api/embed", &json!({"model": "embed"})).await.expect(200).json();
    assert_eq!(loaded["embeddings"], json!([]));
    let other = client.post("/api/embed", &json!({"model": "other-embedding", "input": "a"})).await.expect(200).json();
    assert_eq!(other["embeddings"], json!([[0.5, -0.5]]));
    let old = client.post("/api/embeddings", &json!({"model": "embed", "prompt": "a"})).await.expect(200).json();
    assert_eq!(old, json!({"embedding": [0.5, -0.5]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pullyard_does_not_do_it_says() {
    let model = FakeModel::start().await;
    let broker = before_ollama(&model).await;
    let client = broker.client();

    assert!(error(&client.post("/api/chat", &chat("none", "x")).await.expect(404)).starts_with("model 'none' not found"));
    assert_eq!(client.post("/api/pull", &json!({"model": "m", "stream": false})).await.expect(200).json(), json!({"status": "success"}));
    assert_eq!(lines(&client.post("/api/pull", &json!({"name": "m"})).await.expect(200)).last().unwrap()["status"], "success");
    assert!(error(&client.post("/api/pull", &json!({"model": "new"})).await.expect(501)).contains("'new'"));
    for path in ["push", "create", "copy", "blobs/sha256:0"] {
        assert!(error(&client.post(&format!("/api/{path}"), &json!({"model": "m"})).await.expect(501)).contains("model server"), "{path}");
    }
    assert!(client.get("/api/version").await.expect(200).json()["version"].is_string());
    let running = Reply::to(client.request(reqwest::Method::GET, "/").header("user-agent", "ollama-python/0.6.3")).await.unwrap();
    assert_eq!(running.text(), "Ollama is running");
    assert_eq!(client.get("/").await.expect(200).json()["status"], "ok");
    assert_eq!(error(&client.get("/api/chat").await.expect(405)), "use POST here");
    assert!(error(&client.get("/api/nothing").await.expect(404)).contains("/api/nothing"));
}
