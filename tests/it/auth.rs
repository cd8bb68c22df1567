//! Keys, open listeners, and reloading the configuration.

use pullyard_tests::{Behaviour, FakeModel, Reply, Setup, TestBroker, chat, until};
use reqwest::Method;
use rustix::process::Signal;
use serde_json::json;

/// Two keys whose secrets come from the environment.
async fn locked(model: &FakeModel) -> TestBroker {
    let yaml = format!(
        "keys:\n  - {{name: ann, key: \"env:ANN\"}}\n  - {{name: bob, key: \"env:BOB\"}}\nbackends:\n{}",
        model.backend("a", "slots: 2")
    );
    Setup::new(yaml).env("ANN", "secret-of-ann").env("BOB", "secret-of-bob").start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_there_is_nothing_but_health() {
    let model = FakeModel::start().await;
    let broker = locked(&model).await;
    let nobody = broker.client();
    for client in [nobody.clone(), nobody.key("wrong"), nobody.key(""), nobody.key("secret-of-an"), nobody.key("ann")] {
        for (method, path) in [
            (Method::POST, "/v1/chat/completions"),
            (Method::POST, "/v1/jobs"),
            (Method::POST, "/v1/route"),
            (Method::GET, "/v1/jobs"),
            (Method::GET, "/v1/models"),
            (Method::GET, "/v1/usage"),
            (Method::GET, "/metrics"),
            (Method::GET, "/nothing"),
        ] {
            let refused = Reply::to(client.request(method, path).body(chat("m", "x").to_string())).await.unwrap();
            assert_eq!(refused.status, 401, "{path}: {}", refused.text());
            assert!(refused.error().contains("Authorization: Bearer"), "{}", refused.error());
            assert_eq!(refused.json()["error"]["code"], "invalid_api_key");
        }
        client.get("/healthz").await.expect(200);
        client.get("/readyz").await.expect(200);
    }
    assert_eq!(model.counts().seen, 0);
    let said = broker.stderr();
    assert!(!said.contains("secret-of"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_names_its_jobs_and_its_idempotency_keys() {
    let model = FakeModel::start().await;
    let broker = locked(&model).await;
    let (ann, bob) = (broker.client().key("secret-of-ann"), broker.client().key("secret-of-bob"));

    let anns = ann.post_once("/v1/jobs?wait=20s", &chat("m", "x"), "k").await.unwrap().expect(200).json();
    let bobs = bob.post_once("/v1/jobs?wait=20s", &chat("m", "y"), "k").await.unwrap().expect(200).json();

    assert_ne!(anns["id"], bobs["id"], "a key is unique within the API key that used it");
    assert_eq!((&anns["key"], &bobs["key"]), (&json!("ann"), &json!("bob")));
    // Keys share the operator's yard: each sees every job, and can ask for its own.
    let list = bob.get("/v1/jobs?key=ann").await.expect(200).json();
    assert_eq!((list["data"].as_array().unwrap().len(), &list["data"][0]["id"]), (1, &anns["id"]));
    let header = broker.client().request(Method::GET, "/v1/jobs").header("x-api-key", "secret-of-bob");
    Reply::to(header).await.unwrap().expect(200);
    until("both in the accounts", async || {
        let usage = ann.get("/v1/usage?group_by=key").await.expect(200).json();
        (usage["data"].as_array().unwrap().len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_listener_without_keys_is_refused() {
    let broker = TestBroker::with("discover: false").await;
    let config = broker.dir().join("open.yaml");
    let data = broker.dir().join("other").display().to_string();
    let serve = |listen: &str, yaml: &str| {
        std::fs::write(&config, yaml).unwrap();
        let mut args = vec!["serve", "--data", &data, "--config"].into_iter().map(str::to_owned).collect::<Vec<_>>();
        args.extend([config.display().to_string(), "--listen".into(), listen.into()]);
        args
    };

    let args = serve("0.0.0.0:0", "discover: false");
    let refused = broker.run(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("0.0.0.0:0") && said.contains("`keys`") && said.contains("insecure_listen"), "{said}");

    let said_in_file = serve("127.0.0.1:0", "discover: false\nlisten: 0.0.0.0:0\n");
    let refused = broker.run(&said_in_file.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("open.yaml:2:"), "{}", String::from_utf8_lossy(&refused.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_is_served_and_a_bad_file_changes_nothing() {
    let (old, new) = (FakeModel::serving(&["old"]).await, FakeModel::serving(&["new"]).await);
    let (old, new) = (old.usually(Behaviour::hold(0)), new);
    let broker = Setup::new(format!("backends:\n{}", old.backend("a", ""))).env("ANN", "secret-of-ann").start().await;
    let client = broker.client();
    let running = client.submit(&chat("old", "x")).await;
    client.job_in(&running, "running").await;
    let version = client.job(&running).await["decision"]["config"].clone();

    let reload = |yaml: String| {
        std::fs::write(broker.config(), yaml).unwrap();
        broker.signal(Signal::HUP);
    };
    reload("backends: [{name: a}]".into());
    until("a complaint", async || broker.stderr().contains("the old configuration stays in force").then_some(())).await;
    assert!(broker.stderr().contains("pullyard.yaml:1:"), "{}", broker.stderr());
    client.get("/v1/models/old").await.expect(200);
    reload(format!("keys: [{{name: ann, key: \"env:MISSING\"}}]\nbackends:\n{}", new.backend("b", "")));
    until("a complaint", async || broker.stderr().contains("MISSING").then_some(())).await;
    client.get("/v1/models/old").await.expect(200);

    reload(format!("keys: [{{name: ann, key: \"env:ANN\"}}]\nbackends:\n{}{}", old.backend("a", ""), new.backend("b", "")));
    let ann = client.key("secret-of-ann");
    until("the new model", async || Some(ann.get("/v1/models/new").await).filter(|r| r.status == 200)).await;
    client.get("/v1/models/old").await.expect(401);
    let job = ann.post("/v1/jobs?wait=20s", &chat("new", "x")).await.expect(200).json();
    assert_eq!((&job["key"], &job["backend"]), (&json!("ann"), &json!("b")));
    assert_ne!(job["decision"]["config"], version);
    // What ran goes on, with the decision that it had.
    old.release(1);
    assert_eq!(ann.job_in(&running, "completed").await["decision"]["config"], version);

    reload(format!("keys: [{{name: ann, key: \"env:ANN\"}}]\nbackends:\n{}", new.backend("b", "")));
    until("the old model gone", async || Some(ann.get("/v1/models/old").await).filter(|r| r.status == 404)).await;
}
