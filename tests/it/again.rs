//! SDKs send a request again when its connection breaks: then the first job answers, and the work is not done twice.

use futures_util::future::join_all;
use pullyard_tests::{Behaviour, Client, Events, FakeModel, QUICK, Reply, TestBroker, chat, until};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";

/// A broker that waits so long for a client to come back.
async fn broker(model: &FakeModel, within: &str) -> TestBroker {
    TestBroker::with(format!("{QUICK}shim: {{retry_within: {within}}}\nbackends:\n{}", model.backend("a", "slots: 4"))).await
}

/// The request as an SDK sends it for the first time, or once more.
fn sent(client: &Client, body: &Value, before: u32) -> RequestBuilder {
    client.posting(CHAT, body).header("x-stainless-retry-count", before)
}

/// Sends the request and leaves when it runs; the broker has noticed when this returns.
async fn leave(model: &FakeModel, client: &Client, request: RequestBuilder) {
    let (running, left) = (model.counts().seen + 1, jobs_left(client).await + 1);
    let waiting = tokio::spawn(Reply::to(request));
    model.until("the request runs", |c| c.seen == running).await;
    waiting.abort();
    until("the broker sees it go", async || (jobs_left(client).await == left).then_some(())).await;
}

async fn jobs_left(client: &Client) -> usize {
    let metrics = client.get("/metrics").await.expect(200).text();
    metrics.lines().find_map(|line| line.strip_prefix("pullyard_jobs_left ")).unwrap().parse().unwrap()
}

/// What became of all jobs, newest first.
async fn states(client: &Client) -> Vec<String> {
    client.all_jobs().await.iter().map(|job| job["state"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_job_answers_whether_it_runs_or_is_done() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model, "60s").await;
    let client = broker.client();
    let mut streamed = chat("m", "x");
    streamed["stream"] = json!(true);

    for (body, done) in [(chat("m", "x"), false), (chat("m", "x"), true), (streamed, false)] {
        leave(&model, &client, sent(&client, &body, 0)).await;
        if done {
            model.release(1);
            until("the job is done", async || states(&client).await.iter().all(|s| s == "completed").then_some(())).await;
        }
        let again = tokio::spawn(Reply::to(sent(&client, &body, 1)));
        if !done {
            until("it is claimed", async || (jobs_left(&client).await == 0).then_some(())).await;
            model.release(1);
        }
        let reply = again.await.unwrap().unwrap().expect(200);
        assert!(reply.text().contains("re x"), "{}", reply.text());
    }

    assert_eq!((model.counts().seen, model.counts().gone), (3, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_the_same_have_an_answer_each() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model, "60s").await;
    let client = broker.client();
    let body = chat("m", "x");
    leave(&model, &client, sent(&client, &body, 0)).await;
    leave(&model, &client, sent(&client, &body, 0)).await;

    // One more than have left: its first try may have been refused.
    let again: Vec<_> = (0..3).map(|_| tokio::spawn(Reply::to(sent(&client, &body, 1)))).collect();
    model.until("the third has a job of its own", |c| c.seen == 3).await;
    model.release(3);

    let jobs = join_all(again).await.into_iter().map(|reply| reply.unwrap().unwrap().expect(200).header("x-job-id").unwrap().to_owned());
    let mut jobs: Vec<String> = jobs.collect();
    jobs.sort();
    jobs.dedup();
    assert_eq!((jobs.len(), model.counts().seen), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_come_back_takes_the_job_with_it() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&model, "300ms").await;
    let client = broker.client();

    for (prompt, before) in [("x", 0), ("y", 1)] {
        let waiting = tokio::spawn(Reply::to(sent(&client, &chat("m", prompt), before)));
        model.until("the request runs", |c| c.inside == 1).await;
        waiting.abort();
        model.until("the model's server sees it go", |c| c.inside == 0).await;
    }

    until("both are cancelled", async || states(&client).await.iter().all(|s| s == "cancelled").then_some(())).await;
    assert_eq!((model.counts().seen, model.counts().gone, jobs_left(&client).await), (2, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_has_begun_is_not_waited_for() {
    let model = FakeModel::start().await.usually(Behaviour::hold(1));
    let broker = broker(&model, "60s").await;
    let client = broker.client();
    let mut body = chat("m", "x");
    body["stream"] = json!(true);

    let mut stream = Events::of(sent(&client, &body, 0)).await;
    stream.next().await.unwrap();
    drop(stream);

    model.until("the model's server sees it go", |c| c.gone == 1).await;
}
