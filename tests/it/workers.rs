//! Who pulls, and whether they shall.

use std::time::Duration;

use pullyard_tests::{Behaviour, FakeModel, QUICK, Setup, TestBroker, chat, until};
use rustix::process::Signal;
use serde_json::{Value, json};

async fn broker(yaml: &str) -> TestBroker {
    Setup::new(format!("{QUICK}{yaml}")).env("HOSTNAME", "box.lan").start().await
}

/// The one worker of an embedded broker, as soon as it is so.
async fn worker(broker: &TestBroker, what: &str, so: impl Fn(&Value) -> bool) -> Value {
    until(what, async || {
        let list = broker.client().get("/v1/workers").await.expect(200).json();
        Some(list["data"][0].clone()).filter(&so)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_what_it_has_and_how_it_does() {
    let model = FakeModel::serving(&["m", "n"]).await;
    let broker = broker(&format!("backends:\n{}", model.backend("a", "slots: 2"))).await;
    let client = broker.client();

    let idle = worker(&broker, "the worker", |w| w["backends"][0]["models"][1]["name"] == "n").await;
    assert_eq!(
        (&idle["name"], &idle["object"], &idle["machine"], &idle["mode"]),
        (&json!("box-lan"), &json!("worker"), &json!("box.lan"), &json!("active"))
    );
    let backend = &idle["backends"][0];
    assert_eq!(
        (&backend["id"], &backend["adapter"], &backend["slots"], &backend["busy"]),
        (&json!("a"), &json!("openai"), &json!(2), &json!(0))
    );
    for time in ["started", "last_seen"] {
        assert!(idle[time].as_str().is_some_and(|t| t.ends_with('Z')), "{idle}");
    }
    model.from_now_on(Behaviour::hold(0));
    let id = client.submit(&chat("m", "x")).await;
    client.job_in(&id, "running").await;
    let busy = worker(&broker, "a busy slot", |w| w["busy"] == 1).await;
    assert_eq!(busy["instance"], idle["instance"]);
    let table = broker.run(&["workers"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row[..6], ["box-lan", "box.lan", "a", "openai", "0/2", "1/2"], "{table}");
    assert_eq!(row[7..9], ["closed", "active"], "{table}");

    model.release(1);
    client.job_in(&id, "completed").await;
    worker(&broker, "its speed", |w| w["busy"] == 0 && w["backends"][0]["tokens_per_second"].as_f64().is_some_and(|rate| rate > 0.0)).await;
    let metrics = client.get("/metrics").await.expect(200).text();
    for line in [
        "pullyard_workers{mode=\"active\"} 1",
        "pullyard_workers{mode=\"gone\"} 0",
        "pullyard_backend_slots{worker=\"box-lan\",backend=\"a\"} 2",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_worker_starts_nothing_and_what_came_meanwhile_runs_after() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = broker(&format!("backends:\n{}", model.backend("a", "slots: 2"))).await;
    let client = broker.client();
    let running = client.submit(&chat("m", "running")).await;
    client.job_in(&running, "running").await;

    let told = client.post("/v1/workers/box-lan/pause", &json!({})).await.expect(200).json();
    assert_eq!((&told["name"], &told["mode"]), (&json!("box-lan"), &json!("paused")));
    worker(&broker, "the pause", |w| w["mode"] == "paused").await;
    let waiting: Vec<String> = {
        let mut ids = Vec::new();
        for n in 0..3 {
            ids.push(client.submit(&chat("m", &format!("later {n}"))).await);
        }
        ids
    };
    // What runs goes on to its end, which frees a slot that nothing takes.
    model.release(1);
    client.job_in(&running, "completed").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(model.counts().seen, 1);
    for id in &waiting {
        assert_eq!(client.job(id).await["state"], "queued");
    }
    assert!(client.get("/metrics").await.text().contains("pullyard_workers{mode=\"paused\"} 1"));

    let told = broker.run(&["worker", "resume", "box-lan"]).await;
    assert_eq!(String::from_utf8_lossy(&told.stdout), "box-lan active\n");
    model.release(3);
    for id in &waiting {
        client.job_in(id, "completed").await;
    }
    assert_eq!((model.counts().seen, model.counts().highest), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_carried_out_is_explained() {
    let mut broker = broker("discover: false").await;
    let client = broker.client();

    let unknown = client.post("/v1/workers/box-lam/pause", &json!({})).await.expect(404);
    assert_eq!(unknown.error(), "there is no worker `box-lam`; did you mean `box-lan`?");
    let drain = client.post("/v1/workers/box-lan/drain", &json!({})).await.expect(409);
    assert!(drain.error().contains("part of the broker"), "{}", drain.error());
    assert!(client.post("/v1/workers/box-lan/dance", &json!({})).await.expect(404).error().contains("there is nothing at"));
    assert!(client.post("/v1/workers/box-lan/pause?hard=1", &json!({})).await.expect(400).error().contains("`hard`"));
    assert_eq!(client.get("/v1/workers/box-lan/pause").await.expect(405).header("allow"), Some("POST"));
    assert_eq!(client.post("/v1/workers", &json!({})).await.expect(405).header("allow"), Some("GET, HEAD"));
    let told = broker.run(&["worker", "drain", "box-lan"]).await;
    assert!(String::from_utf8_lossy(&told.stderr).contains("part of the broker"));
    assert_eq!(told.status.code(), Some(1));

    // A paused one does not keep the broker from stopping.
    client.post("/v1/workers/box-lan/pause", &json!({})).await.expect(200);
    assert!(broker.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fleet_is_built_on_waits_for_a_restart() {
    let broker = broker("discover: false\n").await;
    let reload = async |yaml: &str, says: &str| {
        std::fs::write(broker.config(), format!("{QUICK}{yaml}")).unwrap();
        broker.signal(Signal::HUP);
        until(says, async || broker.stderr().contains(says).then_some(())).await;
    };
    reload("discover: false\nworker: {name: other}\nnats: {servers: \"nats://a\"}", "in force after a restart: transport, nats, worker")
        .await;
    assert_eq!(worker(&broker, "the old name", |_| true).await["name"], "box-lan");
    reload("discover: false\nnats: {servers: \"http://a\"}", "nats.servers[0]: this is no address of a NATS server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_of_one_account_share_its_limits() {
    let models = [FakeModel::serving(&["one"]).await, FakeModel::serving(&["two"]).await];
    let [one, two] = &models;
    let limits = "slots: 8, account: team, rpm: 4";
    let broker = broker(&format!("backends:\n{}{}", one.backend("a", limits), two.backend("b", limits))).await;
    let client = broker.client();
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(client.submit(&chat(["one", "two"][n % 2], "x")).await);
    }
    until("a minute's worth", async || (one.counts().seen + two.counts().seen >= 4).then_some(())).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(one.counts().seen + two.counts().seen, 4, "a quarter of a minute has not passed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_covers_the_fleet() {
    let broker = broker("discover: false").await;
    let file = broker.dir().join("fleet.yaml");
    let check = async |yaml: &str| {
        std::fs::write(&file, yaml).unwrap();
        let output = broker.run(&["check", "--config", file.to_str().unwrap()]).await;
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, told) = check("nats: {servers: \"nats://a:4222\"}\nworker: {name: gpu1}\n").await;
    assert!(code == Some(0) && told.contains("nats://a:4222, prefix yard") && told.contains("pullyard worker --config"), "{told}");
    let (code, told) = check("nats: {servers: \"nats://a:4222\", token: \"env:NOT_SET\"}\n").await;
    assert!(code == Some(1) && told.contains("env:NOT_SET: the environment variable is not set"), "{told}");
    let (code, told) = check("transport: nats\n").await;
    assert!(code == Some(1) && told.contains("fleet.yaml:1:12: transport: with NATS"), "{told}");
    let said = broker.run(&["nats", "permissions", "--prefix", "lab"]).await;
    assert!(String::from_utf8_lossy(&said.stdout).contains("LAB_v1_LANES_LOCAL"));
}
