//! The commands of the binary, against a broker that runs, or its files when it does not.

use std::process::Output;

use pullyard_tests::{Behaviour, FakeModel, QUICK, Setup, TestBroker, chat, until};
use serde_json::{Value, json};

async fn broker(model: &FakeModel) -> TestBroker {
    let backend = model.backend("a", "slots: 1, breaker: {allowed_fails: 100}");
    TestBroker::with(format!("{QUICK}classes: {{quick: [m]}}\nbackends:\n{backend}")).await
}

#[track_caller]
fn stdout(output: &Output, code: i32) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    out.into_owned()
}

#[track_caller]
fn stderr(output: &Output, code: i32) -> String {
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{err}");
    err
}

#[track_caller]
fn json_of(output: &Output) -> Value {
    let text = stdout(output, 0);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_on_the_terminal() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;

    assert_eq!(stdout(&broker.run(&["submit", "hello", "-m", "m"]).await, 0), "re hello 1 2\n");
    assert_eq!(stdout(&broker.run(&["submit", "hello", "--stream"]).await, 0), "re hello 1 2\n");
    assert_eq!(stdout(&broker.run_with(&["submit", "-", "--class", "quick"], "from a pipe").await, 0), "re from a pipe 1 2\n");
    let body = chat("m", "whole body").to_string();
    let job = json_of(&broker.run_with(&["--json", "submit", "-", "--tag", "t", "--band", "batch"], &body).await);
    assert_eq!((&job["state"], &job["band"], &job["tags"]), (&json!("completed"), &json!("batch"), &json!(["t"])));

    let id = stdout(&broker.run(&["submit", "later", "--detach", "--idempotency-key", "k"]).await, 0);
    assert_eq!(stdout(&broker.run(&["submit", "later", "--detach", "--idempotency-key", "k"]).await, 0), id);
    assert_eq!(stdout(&broker.run(&["watch", id.trim()]).await, 0), "re later 1 2\n");

    assert!(stderr(&broker.run(&["submit", "x", "-m", "nothing"]).await, 1).contains("`nothing`"));
    assert!(stderr(&broker.run(&["submit"]).await, 2).contains("what to ask is missing"));
    stderr(&broker.run(&["submit", "x", "--band", "urgent"]).await, 2);
    model.from_now_on(Behaviour::status(400));
    assert!(stderr(&broker.run(&["submit", "x", "-m", "m"]).await, 1).contains("told to refuse"));
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_shown_cancelled_and_requeued() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    let client = broker.client();
    let done = client.submit(&chat("m", "done")).await;
    client.job_in(&done, "completed").await;
    model.from_now_on(Behaviour::hold(0));
    let held = client.submit(&chat("m", "held")).await;
    client.job_in(&held, "running").await;

    let listed = stdout(&broker.run(&["jobs"]).await, 0);
    assert!(listed.contains(&done) && listed.contains(&held) && listed.contains("STATE"), "{listed}");
    let listed = json_of(&broker.run(&["jobs", "--state", "running", "--json"]).await);
    assert_eq!((listed["data"].as_array().unwrap().len(), &listed["data"][0]["id"]), (1, &json!(held)));
    let shown = stdout(&broker.run(&["jobs", "show", &done]).await, 0);
    assert!(shown.contains("7 in (0 cached), 3 out") && shown.ends_with("re done 1 2\n"), "{shown}");
    let events = stdout(&broker.run(&["jobs", "events", &done]).await, 0);
    assert!(events.contains("submitted") && events.contains("leased") && events.contains("completed"), "{events}");

    assert_eq!(stdout(&broker.run(&["cancel", &held]).await, 0), format!("{held} cancelled\n"));
    let refused = broker.run(&["cancel", &done, &held]).await;
    assert!(stderr(&refused, 1).contains("completed"));
    assert_eq!(stdout(&refused, 1), format!("{held} cancelled\n"), "one that refuses does not keep the others from it");
    assert!(stderr(&broker.run(&["requeue", &done]).await, 1).contains("completed"));
    stderr(&broker.run(&["watch", &held]).await, 1);
    stderr(&broker.run(&["jobs", "show", "no-such-job"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_and_routes_are_told() {
    let model = FakeModel::start().await;
    let broker = broker(&model).await;
    stdout(&broker.run(&["submit", "x", "-m", "m"]).await, 0);

    let usage = until("the bill", async || {
        let usage = json_of(&broker.run(&["usage", "--json", "--group-by", "model,backend"]).await);
        Some(usage["data"][0].clone()).filter(|row| row["attempts"] == 1)
    })
    .await;
    assert_eq!((&usage["model"], &usage["backend"], &usage["completion_tokens"]), (&json!("m"), &json!("a"), &json!(3)));
    let csv = stdout(&broker.run(&["usage", "--csv"]).await, 0);
    assert!(csv.starts_with("model,attempts,") && csv.lines().count() == 2, "{csv}");
    assert!(stdout(&broker.run(&["usage"]).await, 0).contains("total"));

    let route = stdout(&broker.run(&["route", "Write a function that sorts a list."]).await, 0);
    assert!(route.contains("goes to") && route.contains("because") && route.contains("SIGNAL"), "{route}");
    let route = json_of(&broker.run(&["route", "hi", "-m", "m", "--json"]).await);
    assert_eq!(route["targets"], json!(["m"]));
    assert_eq!(model.counts().seen, 1, "a route is explained and not taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_checked_with_its_place() {
    let broker = TestBroker::with("discover: false").await;
    let file = broker.dir().join("bad.yaml");
    let check = async |yaml: &str| {
        std::fs::write(&file, yaml).unwrap();
        broker.run(&["check", "--config", file.to_str().unwrap()]).await
    };

    let right = check("backends:\n  - {name: a, adapter: ollama, url: \"http://127.0.0.1:1\"}\n").await;
    assert!(stdout(&right, 0).contains("bad.yaml is valid"));
    let told = stderr(&check("backends:\n  - {name: a, adapter: ollama, urk: \"http://127.0.0.1:1\"}\n").await, 1);
    assert!(told.contains("bad.yaml:2:") && told.contains("url"), "{told}");
    let told = stderr(&check("retries:\n  max_attempts: 0\n").await, 1);
    assert!(told.contains("bad.yaml:2:17"), "{told}");
    assert!(stderr(&check("listen: [").await, 1).contains("bad.yaml:"));
    assert!(stderr(&check("keys: [{name: a, key: \"env:NOT_SET\"}]").await, 1).contains("NOT_SET"));
    stderr(&broker.run(&["check", "--config", "absent.yaml"]).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_only_while_no_broker_runs() {
    let model = FakeModel::start().await;
    let mut broker = broker(&model).await;
    let client = broker.client();
    let id = client.submit(&chat("m", "x")).await;
    client.job_in(&id, "completed").await;
    for what in ["export", "verify", "show", "rebuild"] {
        assert!(stderr(&broker.run(&["log", what]).await, 1).contains("a broker is running"), "{what}");
    }

    assert!(broker.terminate().await.success());

    let exported = stdout(&broker.run(&["log", "export"]).await, 0);
    let names: Vec<Value> = exported.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["event"].clone()).collect();
    assert_eq!(names, ["submitted", "leased", "completed"]);
    let verified = json_of(&broker.run(&["log", "verify", "--json"]).await);
    assert_eq!((&verified["events"], &verified["completed"]), (&json!(3), &json!(1)));
    let shown = stdout(&broker.run(&["log", "show", "--last", "1"]).await, 0);
    assert!(shown.starts_with("3 ") && shown.contains(&id) && shown.contains("completed"), "{shown}");
    assert!(stderr(&broker.run(&["log", "show", "--job", "0198c2a4-7d1e-7c33-9a51-6f0d5f6f2b10"]).await, 1).contains("no event"));
    stdout(&broker.run(&["log", "rebuild"]).await, 0);
    broker.start().await;
    let list = until("the job in the new read model", async || Some(broker.client().all_jobs().await).filter(|jobs| !jobs.is_empty()));
    assert_eq!(list.await[0]["id"], json!(id));
    // A damaged byte is found, and said where.
    assert!(broker.terminate().await.success());
    let segment = broker.data().join("log/00000000000000000001.log");
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    let told = stderr(&broker.run(&["log", "verify"]).await, 1);
    assert!(told.contains("is damaged at byte 0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_has_its_own_exit_code() {
    let mut broker = Setup::new("discover: false").start().await;
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&broker.run(&["completions", shell]).await, 0).contains("requeue"));
    }
    assert!(stdout(&broker.run(&["--version"]).await, 0).starts_with("pullyard "));
    stderr(&broker.run(&["no-such-command"]).await, 2);
    broker.kill9();

    for args in [&["jobs"][..], &["usage"], &["submit", "x"], &["route", "x"], &["watch", "x"], &["cancel", "x"]] {
        assert!(stderr(&broker.run(args).await, 3).contains("no broker answers at"), "{args:?}");
    }
}
