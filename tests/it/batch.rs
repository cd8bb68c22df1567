//! Files of requests: uploaded, checked, run line by line, and fetched.

use std::collections::BTreeMap;

use pullyard_tests::{Answer, Behaviour, Client, FakeModel, QUICK, Reply, Setup, TestBroker, chat, until};
use serde_json::{Value, json};

mod cli;
mod crash;

/// A form as OpenAI's Python SDK sends it.
fn form(fields: &[(&str, &str)], name: &str, content: &str) -> String {
    let field = |(name, value): &(&str, &str)| format!("--5ea1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    let file = format!(
        "--5ea1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n{content}\r\n--5ea1--\r\n"
    );
    fields.iter().map(field).collect::<String>() + &file
}

async fn post_form(client: &Client, form: String) -> Reply {
    let request = client.request(reqwest::Method::POST, "/v1/files");
    Reply::to(request.header("Content-Type", "multipart/form-data; boundary=5ea1").body(form)).await.unwrap()
}

/// The id of a file with these lines.
async fn upload(client: &Client, lines: &str) -> String {
    let file = post_form(client, form(&[("purpose", "batch")], "in.jsonl", lines)).await.expect(200).json();
    file["id"].as_str().unwrap().to_owned()
}

fn line(id: &str, body: &Value) -> String {
    format!("{}\n", json!({"custom_id": id, "method": "POST", "url": "/v1/chat/completions", "body": body}))
}

/// Lines whose questions are their names.
fn lines(names: impl IntoIterator<Item = String>) -> String {
    names.into_iter().map(|name| line(&name, &chat("m", &name))).collect()
}

fn asks(file: &str) -> Value {
    json!({"input_file_id": file, "endpoint": "/v1/chat/completions", "completion_window": "24h"})
}

async fn begin(client: &Client, lines: &str) -> String {
    let file = upload(client, lines).await;
    client.post("/v1/batches", &asks(&file)).await.expect(200).json()["id"].as_str().unwrap().to_owned()
}

async fn look(client: &Client, batch: &str) -> Value {
    client.get(&format!("/v1/batches/{batch}")).await.expect(200).json()
}

async fn in_status(client: &Client, batch: &str, status: &str) -> Value {
    until(&format!("batch {batch} {status}"), async || Some(look(client, batch).await).filter(|b| b["status"] == status)).await
}

/// A file of results by `custom_id`; none where the batch has no such file.
async fn results(client: &Client, file: &Value) -> BTreeMap<String, Value> {
    let Some(id) = file.as_str() else { return BTreeMap::new() };
    let text = client.get(&format!("/v1/files/{id}/content")).await.expect(200).text();
    let read = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    let all: Vec<Value> = text.lines().map(read).collect();
    let count = all.len();
    let by_id: BTreeMap<_, _> = all.into_iter().map(|line| (line["custom_id"].as_str().unwrap().to_owned(), line)).collect();
    assert_eq!(by_id.len(), count, "no line is answered twice");
    by_id
}

async fn broker(model: &FakeModel) -> TestBroker {
    TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 8, breaker: {allowed_fails: 100000}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_lives_as_openais_do() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();

    let file = upload(&client, &lines((0..20).map(|n| format!("q{n}")))).await;
    let made = client.post("/v1/batches", &asks(&file)).await.expect(200).json();
    assert_eq!((&made["object"], &made["status"], &made["input_file_id"]), (&json!("batch"), &json!("validating"), &json!(file)));
    let batch = in_status(&client, made["id"].as_str().unwrap(), "completed").await;

    assert_eq!(batch["request_counts"], json!({"total": 20, "completed": 20, "failed": 0}));
    assert_eq!((&batch["model"], &batch["error_file_id"], &batch["errors"]), (&json!("m"), &Value::Null, &Value::Null));
    assert_eq!((&batch["usage"]["input_tokens"], &batch["usage"]["total_tokens"]), (&json!(140), &json!(200)));
    for at in ["created_at", "in_progress_at", "finalizing_at", "completed_at"] {
        assert!(batch[at].as_u64().unwrap() >= made["created_at"].as_u64().unwrap(), "{at}: {batch}");
    }
    assert_eq!(batch["expires_at"].as_u64().unwrap() - batch["created_at"].as_u64().unwrap(), 86_400);
    let output = results(&client, &batch["output_file_id"]).await;
    assert_eq!(output.len(), 20);
    let one = &output["q7"];
    assert_eq!((&one["error"], &one["response"]["status_code"]), (&Value::Null, &json!(200)));
    assert_eq!(one["response"]["body"]["choices"][0]["message"]["content"], "re q7 1 2");
    // Each line is a job that can be looked at.
    let job = client.job(one["response"]["request_id"].as_str().unwrap()).await;
    assert_eq!((&job["batch"]["id"], &job["batch"]["line"], &job["band"]), (&batch["id"], &json!(8), &json!("batch")));
    let listed = client.get(&format!("/v1/jobs?batch={}&limit=100", batch["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 20);
    let metrics = client.get("/metrics").await.expect(200).text();
    assert!(metrics.contains("pullyard_batches{status=\"completed\"} 1"), "{metrics}");
    assert!(metrics.contains("pullyard_batch_lines_total{result=\"completed\"} 20"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_may_be_asked_for_in_a_batch() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let of = |id: &str, body: Value| format!("{}\n", json!({"custom_id": id, "method": "POST", "url": "/v1/responses", "body": body}));
    let asks = |file: String| json!({"input_file_id": file, "endpoint": "/v1/responses", "completion_window": "24h"});

    let file = upload(&client, &of("a", json!({"model": "m", "input": "hello", "metadata": {"k": "v"}}))).await;
    let made = client.post("/v1/batches", &asks(file)).await.expect(200).json();
    let batch = in_status(&client, made["id"].as_str().unwrap(), "completed").await;
    let one = &results(&client, &batch["output_file_id"]).await["a"]["response"]["body"];
    assert_eq!((&one["object"], &one["status"], &one["metadata"]), (&json!("response"), &json!("completed"), &json!({"k": "v"})));
    assert_eq!(one["output"][0]["content"][0]["text"], "re hello 1 2");
    assert_eq!(batch["usage"]["output_tokens"], one["usage"]["output_tokens"]);
    let again = client.get(&format!("/v1/responses/{}", one["id"].as_str().unwrap())).await.expect(200).json();
    assert_eq!(again["output"], one["output"]);

    let file = upload(&client, &of("b", json!({"model": "m", "input": "x", "background": true}))).await;
    let made = client.post("/v1/batches", &asks(file)).await.expect(200).json();
    let failed = in_status(&client, made["id"].as_str().unwrap(), "failed").await;
    let fault = &failed["errors"]["data"][0];
    assert_eq!((&fault["line"], &fault["param"]), (&json!(1), &json!("body.background")), "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_a_bad_line_runs_none() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let mut streamed = chat("m", "x");
    streamed["stream"] = json!(true);
    let bad = [
        line("a", &chat("m", "fine")),
        line("a", &chat("m", "the same id")),
        "not json\n".to_owned(),
        "\n".to_owned(),
        line("b", &chat("nowhere", "x")),
        line("c", &streamed),
        line("d", &json!({"model": "m"})),
        line("e", &chat("m", "fine")).replace("chat/completions", "embeddings"),
    ];

    let id = begin(&client, &bad.concat()).await;
    let batch = in_status(&client, &id, "failed").await;

    let told: Vec<(u64, &str, &str)> = batch["errors"]["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["line"].as_u64().unwrap(), error["code"].as_str().unwrap(), error["param"].as_str().unwrap_or("")))
        .collect();
    assert_eq!(
        told,
        [
            (2, "duplicate_custom_id", "custom_id"),
            (3, "invalid_json_line", ""),
            (5, "model_not_found", "body.model"),
            (6, "invalid_request", "body.stream"),
            (7, "invalid_request", "body.messages"),
            (8, "mismatched_url", "url"),
        ]
    );
    assert_eq!(batch["request_counts"], json!({"total": 0, "completed": 0, "failed": 0}));
    assert!(batch["failed_at"].is_u64() && batch["output_file_id"].is_null());
    assert_eq!((model.counts().seen, client.all_jobs().await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_fail_one_by_one_and_may_name_any_model() {
    let (one, two) = (FakeModel::serving(&["m"]).await, FakeModel::serving(&["n"]).await);
    two.from_now_on(Behaviour::status(400));
    let backends = one.backend("a", "slots: 4") + &two.backend("b", "slots: 4, breaker: {allowed_fails: 1000}");
    let broker = TestBroker::with(format!("{QUICK}classes: {{quick: [m]}}\nbackends:\n{backends}")).await;
    let client = broker.client();
    let bodies = [("m", "good"), ("n", "bad"), ("quick", "by class"), ("auto", "Hello, how are you?")];
    let file: String = bodies.iter().map(|(model, prompt)| line(model, &chat(model, prompt))).collect();

    let batch = in_status(&client, &begin(&client, &file).await, "completed").await;

    assert_eq!((&batch["request_counts"], &batch["model"]), (&json!({"total": 4, "completed": 3, "failed": 1}), &Value::Null));
    let (output, errors) = (results(&client, &batch["output_file_id"]).await, results(&client, &batch["error_file_id"]).await);
    assert_eq!(output.keys().collect::<Vec<_>>(), ["auto", "m", "quick"]);
    let failed = &errors["n"];
    assert_eq!((&failed["error"], &failed["response"]["status_code"]), (&Value::Null, &json!(400)));
    assert_eq!(failed["response"]["body"]["error"]["type"], "invalid_request_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_batch_keeps_what_is_done() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    model.from_now_on(Behaviour::hold(0));
    let id = begin(&client, &lines((0..100).map(|n| format!("q{n}")))).await;
    model.until("all slots busy", |c| c.inside == 8).await;
    model.release(5);
    until("five done", async || Some(look(&client, &id).await).filter(|b| b["request_counts"]["completed"] == 5)).await;

    let told = client.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await.expect(200).json();
    assert!(matches!(told["status"].as_str(), Some("cancelling" | "cancelled")), "{told}");
    let batch = in_status(&client, &id, "cancelled").await;

    assert!(batch["cancelling_at"].is_u64() && batch["cancelled_at"].is_u64());
    assert_eq!(batch["request_counts"], json!({"total": 100, "completed": 5, "failed": 95}));
    let (output, errors) = (results(&client, &batch["output_file_id"]).await, results(&client, &batch["error_file_id"]).await);
    assert_eq!((output.len(), errors.len()), (5, 95));
    assert!(errors.values().all(|line| line["response"].is_null() && line["error"]["code"] == "batch_cancelled"));
    // Nothing of it runs on, and a repeat changes nothing.
    model.until("an empty model", |c| c.inside == 0).await;
    assert_eq!(client.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await.expect(200).json()["status"], "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_batch_keeps_what_is_done() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    model.then((0..5).map(|_| Behaviour::Answer(Answer::default())));
    model.from_now_on(Behaviour::hold(0));
    let file = upload(&client, &lines((0..50).map(|n| format!("q{n}")))).await;
    let mut asks = asks(&file);
    asks["completion_window"] = json!("2s");

    let id = client.post("/v1/batches", &asks).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let batch = in_status(&client, &id, "expired").await;

    assert_eq!(batch["request_counts"], json!({"total": 50, "completed": 5, "failed": 45}));
    assert!(batch["expired_at"].is_u64());
    let errors = results(&client, &batch["error_file_id"]).await;
    assert!(errors.len() == 45 && errors.values().all(|line| line["error"]["code"] == "batch_expired"));
    assert_eq!(results(&client, &batch["output_file_id"]).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_makes_one_batch() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let file = upload(&client, &lines(["a".to_owned()])).await;
    let once = async |body: &Value| client.post_once("/v1/batches", body, "tonight").await.unwrap();

    let first = once(&asks(&file)).await.expect(200).json();
    assert_eq!(once(&asks(&file)).await.expect(200).json()["id"], first["id"]);
    let mut other = asks(&file);
    other["completion_window"] = json!("8h");
    assert!(once(&other).await.expect(409).error().contains(first["id"].as_str().unwrap()));
    in_status(&client, first["id"].as_str().unwrap(), "completed").await;
    let list = client.get("/v1/batches").await.expect(200).json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["has_more"]), (1, &json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_see_only_what_is_their_own() {
    let model = FakeModel::start().await;
    let keys = "keys: [{name: a, key: \"env:KEY_A\"}, {name: b, key: \"env:KEY_B\"}]\n";
    let yaml = format!("{QUICK}{keys}backends:\n{}", model.backend("a", "slots: 4"));
    let broker = Setup::new(yaml).env("KEY_A", "secret-a").env("KEY_B", "secret-b").start().await;
    let (a, b) = (broker.client().key("secret-a"), broker.client().key("secret-b"));
    let file = upload(&a, &lines(["x".to_owned()])).await;
    let id = a.post("/v1/batches", &asks(&file)).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let batch = in_status(&a, &id, "completed").await;

    for path in [
        format!("/v1/files/{file}"),
        format!("/v1/batches/{id}"),
        format!("/v1/files/{}/content", batch["output_file_id"].as_str().unwrap()),
    ] {
        b.get(&path).await.expect(404);
        a.get(&path).await.expect(200);
    }
    b.post("/v1/batches", &asks(&file)).await.expect(404);
    b.post(&format!("/v1/batches/{id}/cancel"), &json!({})).await.expect(404);
    for path in ["/v1/files", "/v1/batches"] {
        assert_eq!(b.get(path).await.expect(200).json()["data"], json!([]));
    }
    let job = results(&a, &batch["output_file_id"]).await["x"]["response"]["request_id"].as_str().unwrap().to_owned();
    assert_eq!(a.job(&job).await["key"], "a");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_kept_listed_fetched_and_removed() {
    let model = FakeModel::start().await;
    let yaml = format!("{QUICK}files: {{max_file: 1MB, max_total: 2MB}}\nbackends:\n{}", model.backend("a", "slots: 1"));
    let mut broker = TestBroker::with(yaml).await;
    let client = broker.client();
    let expiry = [("purpose", "batch"), ("expires_after[anchor]", "created_at"), ("expires_after[seconds]", "3600")];
    let content = "x".repeat(300_000) + "\r\n--5ea";
    let file = post_form(&client, form(&expiry, "naïve.jsonl", &content)).await.expect(200).json();
    assert_eq!((&file["bytes"], &file["filename"], &file["object"]), (&json!(content.len()), &json!("naïve.jsonl"), &json!("file")));
    assert_eq!(file["expires_at"].as_u64().unwrap() - file["created_at"].as_u64().unwrap(), 3600);

    broker.restart().await;
    let client = broker.client();
    let path = format!("/v1/files/{}", file["id"].as_str().unwrap());
    assert_eq!(client.get(&path).await.expect(200).json(), file);
    assert_eq!(client.get(&format!("{path}/content")).await.expect(200).text(), content);
    assert_eq!(client.get("/v1/files?purpose=batch&limit=1").await.expect(200).json()["data"][0], file);
    assert_eq!(client.get("/v1/files?purpose=vision").await.expect(200).json()["data"], json!([]));

    // What is too large or no form leaves nothing behind.
    let large = post_form(&client, form(&[("purpose", "batch")], "l", &"x".repeat(1_000_001))).await.expect(413);
    assert!(large.error().contains("1000000 bytes"), "{}", large.text());
    let big = "x".repeat(900_000);
    post_form(&client, form(&[("purpose", "batch")], "l", &big)).await.expect(200);
    assert!(post_form(&client, form(&[("purpose", "batch")], "l", &big)).await.expect(507).error().contains("delete some"));
    for (form, param) in [
        (form(&[("purpose", "fun")], "l", "x"), "purpose"),
        (form(&[], "l", "x"), "purpose"),
        (form(&[("purpose", "batch"), ("colour", "red")], "l", "x"), "colour"),
        (form(&[("purpose", "batch"), ("expires_after[seconds]", "1")], "l", "x"), "expires_after.seconds"),
        ("--5ea1--\r\n".to_owned(), "purpose"),
    ] {
        let refused = post_form(&client, form).await.expect(400);
        assert_eq!(refused.json()["error"]["param"], param, "{}", refused.text());
    }
    assert_eq!(std::fs::read_dir(broker.data().join("files")).unwrap().count(), 4, "two files, and what is known of them");

    // One that a batch still needs stays.
    model.from_now_on(Behaviour::hold(0));
    let used = upload(&client, &lines(["x".to_owned()])).await;
    let id = client.post("/v1/batches", &asks(&used)).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let remove = async |path: &str| Reply::to(client.request(reqwest::Method::DELETE, path)).await.unwrap();
    assert!(remove(&format!("/v1/files/{used}")).await.expect(409).error().contains(&id));
    assert_eq!(remove(&path).await.expect(200).json(), json!({"id": file["id"], "object": "file", "deleted": true}));
    client.get(&path).await.expect(404);
    client.get(&format!("{path}/content")).await.expect(404);
    model.release(1);
    in_status(&client, &id, "completed").await;
    remove(&format!("/v1/files/{used}")).await.expect(200);
}
