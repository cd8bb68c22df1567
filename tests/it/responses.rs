//! `/v1/responses`: made, told as a stream, fetched, gone on behind and cancelled.

use pullyard_tests::{Answer, Behaviour, Client, Event, Events, FakeModel, QUICK, TestBroker, until};
use reqwest::Method;
use serde_json::{Value, json};

const RESPONSES: &str = "/v1/responses";

async fn broker(model: &FakeModel) -> TestBroker {
    TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 4, breaker: {allowed_fails: 100}"))).await
}

fn request(input: &str) -> Value {
    json!({"model": "m", "input": input})
}

/// The request with another field.
fn with(mut request: Value, name: &str, value: impl Into<Value>) -> Value {
    request[name] = value.into();
    request
}

fn text(response: &Value) -> &str {
    response["output"][0]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {response}"))
}

fn id(response: &Value) -> &str {
    response["id"].as_str().unwrap()
}

async fn fetch(client: &Client, id: &str) -> Value {
    client.get(&format!("{RESPONSES}/{id}")).await.expect(200).json()
}

async fn in_status(client: &Client, id: &str, status: &str) -> Value {
    until(&format!("{id} {status}"), async || Some(fetch(client, id).await).filter(|response| response["status"] == status)).await
}

/// The events, each with the name that it says it has.
fn told(events: &[Event]) -> Vec<Value> {
    let told = events.iter().map(|event| {
        let data = event.json();
        assert_eq!((event.event.as_deref(), &event.id), (data["type"].as_str(), &None));
        data
    });
    told.collect()
}

fn said(events: &[Value]) -> String {
    events.iter().filter(|event| event["type"] == "response.output_text.delta").map(|event| event["delta"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_made_and_can_be_fetched() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let asked = with(with(request("hello"), "instructions", "be short"), "metadata", json!({"team": "a"}));

    let reply = client.post(RESPONSES, &asked).await.expect(200);

    let response = reply.json();
    assert_eq!((text(&response), &response["status"], &response["object"]), ("re hello 1 2", &json!("completed"), &json!("response")));
    assert_eq!((&response["instructions"], &response["metadata"]), (&asked["instructions"], &asked["metadata"]));
    assert_eq!((&response["usage"]["input_tokens"], &response["usage"]["output_tokens"]), (&json!(7), &json!(3)));
    assert_eq!(id(&response), format!("resp_{}", reply.header("x-job-id").unwrap().replace('-', "")));
    assert_eq!(fetch(&client, id(&response)).await, response);
    // The model's server is asked in its own words, and for nothing else.
    let mut seen = model.seen()[0].body.clone();
    assert_eq!(seen["messages"].take(), json!([{"role": "system", "content": "be short"}, {"role": "user", "content": "hello"}]));
    assert!(seen.get("pullyard").is_none() && seen.get("input").is_none(), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_the_documented_events_in_order() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;

    let events = Events::of(broker.client().posting(RESPONSES, &with(request("x"), "stream", true))).await.rest().await;

    let events = told(&events);
    let names: Vec<&str> = events.iter().map(|event| event["type"].as_str().unwrap().strip_prefix("response.").unwrap()).collect();
    let before = ["created", "in_progress", "output_item.added", "content_part.added"];
    let deltas = ["output_text.delta"; 3];
    let after = ["output_text.done", "content_part.done", "output_item.done", "completed"];
    assert_eq!(names, [&before[..], &deltas, &after].concat());
    assert!(events.iter().enumerate().all(|(at, event)| event["sequence_number"] == at));
    assert_eq!(said(&events), "re x 1 2");
    let response = &events.last().unwrap()["response"];
    assert_eq!((text(response), &response["usage"]["total_tokens"]), ("re x 1 2", &json!(10)));
    assert_eq!(&fetch(&broker.client(), id(response)).await, response);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_response_is_polled_and_read_from_anywhere() {
    let model = FakeModel::start().await.usually(Behaviour::hold(1));
    let broker = broker(&model).await;
    let client = broker.client();

    let queued = client.post(RESPONSES, &with(request("x"), "background", true)).await.expect(200).json();
    assert_eq!((&queued["status"], &queued["output"], &queued["background"]), (&json!("queued"), &json!([]), &json!(true)));
    in_status(&client, id(&queued), "in_progress").await;
    let path = format!("{RESPONSES}/{}?stream=true", id(&queued));
    let mut first = Events::of(client.request(Method::GET, &path)).await;
    let mut seen = Vec::new();
    while said(&told(&seen)) != "re x" {
        seen.push(first.next().await.unwrap());
    }
    drop(first);
    model.release(1);
    let done = in_status(&client, id(&queued), "completed").await;

    let last = told(&seen).last().unwrap()["sequence_number"].clone();
    let rest = told(&Events::of(client.request(Method::GET, &format!("{path}&starting_after={last}"))).await.rest().await);
    let all = told(&Events::of(client.request(Method::GET, &path)).await.rest().await);
    assert_eq!([told(&seen), rest].concat(), all);
    assert_eq!((said(&all).as_str(), &all.last().unwrap()["response"]), ("re x 1 2", &done));
    // The reader who left took nothing with it.
    assert_eq!(model.counts().gone, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_stream_outlives_its_reader_and_the_broker() {
    let model = FakeModel::start().await.usually(Behaviour::hold(1));
    let mut broker = broker(&model).await;
    let asked = with(with(request("x"), "background", true), "stream", true);
    let mut stream = Events::of(broker.client().posting(RESPONSES, &asked)).await;
    let created = stream.next().await.unwrap().json();
    let response = id(&created["response"]).to_owned();
    while stream.next().await.unwrap().event.as_deref() != Some("response.output_text.delta") {}

    broker.kill9();
    broker.start().await;
    model.until("the second attempt runs", |c| c.seen == 2).await;
    model.release(2);

    let client = broker.client();
    let done = in_status(&client, &response, "completed").await;
    assert_eq!(text(&done), "re x 1 2");
    // What the first attempt said has numbers of its own: who has read of it is told so, and is given no text twice.
    let behind = async |number: u32| {
        let path = format!("{RESPONSES}/{response}?stream=true&starting_after={number}");
        Events::of(client.request(Method::GET, &path)).await.rest().await
    };
    let broken = behind(6).await;
    assert_eq!((broken.len(), &broken[0].json()["type"]), (1, &json!("error")), "{broken:?}");
    let rest = told(&behind(2).await);
    assert_eq!((said(&rest).as_str(), &rest[0]["type"]), ("re x 1 2", &json!("response.output_item.added")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_behind_a_response() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let first = client.post(RESPONSES, &with(request("one"), "instructions", "only now")).await.expect(200).json();

    let second = with(request("two"), "previous_response_id", id(&first));
    let second = client.post(RESPONSES, &second).await.expect(200).json();
    let third = json!([{"type": "item_reference", "id": second["output"][0]["id"]}, {"role": "user", "content": "three"}]);
    client.post(RESPONSES, &json!({"model": "m", "input": third})).await.expect(200);

    let say = |role: &str, what: &str| json!({"role": role, "content": what});
    let asked: Vec<Value> = model.seen().iter().map(|seen| seen.body["messages"].clone()).collect();
    assert_eq!(asked[1], json!([say("user", "one"), say("assistant", "re one 1 2"), say("user", "two")]));
    assert_eq!(asked[2], json!([say("assistant", "re two 1 2"), say("user", "three")]));
    let items = client.get(&format!("{RESPONSES}/{}/input_items?order=asc", id(&second))).await.expect(200).json();
    let texts: Vec<_> = items["data"].as_array().unwrap().iter().map(|item| item["content"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["one", "re one 1 2", "two"]);
    let page = format!("{RESPONSES}/{}/input_items?limit=1&after={}", id(&second), items["data"][2]["id"].as_str().unwrap());
    let page = client.get(&page).await.expect(200).json();
    assert_eq!((&page["data"][0], &page["has_more"]), (&items["data"][1], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_stored_is_not_there_afterwards() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();

    let response = client.post(RESPONSES, &with(request("x"), "store", false)).await.expect(200).json();

    assert!(client.get(&format!("{RESPONSES}/{}", id(&response))).await.expect(404).error().contains(id(&response)));
    let next = with(request("y"), "previous_response_id", id(&response));
    let refused = client.post(RESPONSES, &next).await.expect(400).json();
    assert_eq!(refused["error"]["param"], "previous_response_id");
    assert_eq!(refused["error"]["code"], "previous_response_not_found");
    // Nor is a job of another API a response.
    let chat = client.post("/v1/chat/completions", &pullyard_tests::chat("m", "x")).await.expect(200);
    let job = chat.header("x-job-id").unwrap().replace('-', "");
    client.get(&format!("{RESPONSES}/resp_{job}")).await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_where_the_stream_breaks_off() {
    let model = FakeModel::start().await.usually(Behaviour::CutAfter(2));
    let broker = broker(&model).await;
    let client = broker.client();

    let events = told(&Events::of(client.posting(RESPONSES, &with(request("x"), "stream", true))).await.rest().await);
    let last = events.last().unwrap();
    assert_eq!((said(&events).as_str(), &last["type"]), ("re x 1", &json!("response.failed")));
    assert_eq!((&last["response"]["status"], &last["response"]["error"]["code"]), (&json!("failed"), &json!("server_error")));
    assert_eq!(fetch(&client, id(&last["response"])).await["status"], "failed");

    // Before anything was told, it is an error like any other.
    model.from_now_on(Behaviour::status(400));
    for body in [request("x"), with(request("x"), "stream", true)] {
        assert!(client.post(RESPONSES, &body).await.expect(400).error().contains("told to refuse"));
    }
    let refused = client.post(RESPONSES, &with(request("x"), "tools", json!([{"type": "web_search"}]))).await.expect(400).json();
    assert_eq!(refused["error"]["param"], "tools[0].type");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_can_be_cancelled_while_it_is_made() {
    let model = FakeModel::start().await.usually(Behaviour::hold(1));
    let broker = broker(&model).await;
    let client = broker.client();
    let asked = with(with(request("x"), "background", true), "stream", true);
    let mut stream = Events::of(client.posting(RESPONSES, &asked)).await;
    let response = id(&stream.next().await.unwrap().json()["response"]).to_owned();
    while stream.next().await.unwrap().event.as_deref() != Some("response.output_text.delta") {}

    let cancelled = client.post(&format!("{RESPONSES}/{response}/cancel"), &json!({})).await.expect(200).json();

    assert_eq!(cancelled["status"], "cancelled");
    let last = told(&stream.rest().await).pop().unwrap();
    assert_eq!((&last["type"], &last["response"]["status"]), (&json!("response.failed"), &json!("cancelled")));
    // A repeat is no mistake.
    client.post(&format!("{RESPONSES}/{response}/cancel"), &json!({})).await.expect(200);
    model.until("the model's server sees it go", |c| c.gone == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_comments_comes_while_a_response_waits() {
    let held = Answer { hold: Some(0), ..Answer::default() };
    let model = FakeModel::start().await.usually(Behaviour::Answer(held));
    let yaml = format!("{QUICK}shim: {{hold: 50ms, keep_alive: 20ms}}\nbackends:\n{}", model.backend("a", "slots: 1"));
    let broker = TestBroker::with(yaml).await;

    let mut stream = Events::of(broker.client().posting(RESPONSES, &with(request("x"), "stream", true))).await;

    let begun = [stream.next().await.unwrap(), stream.next().await.unwrap()];
    assert_eq!(begun.map(|event| event.event.unwrap()), ["response.created", "response.in_progress"]);
    for _ in 0..3 {
        assert!(stream.next().await.unwrap().comment.is_some());
    }
    model.release(1);
    assert_eq!(said(&told(&stream.rest().await)), "re x 1 2");
}
