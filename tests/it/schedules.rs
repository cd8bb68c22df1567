//! Jobs that recur.

use jiff::{Timestamp, ToSpan as _};
use pullyard_tests::{FakeModel, QUICK, TestBroker, until};
use rustix::process::Signal;
use serde_json::{Value, json};

fn yaml(model: &FakeModel, schedules: &str) -> String {
    format!("{QUICK}backends:\n{}schedules:\n{schedules}", model.backend("a", ""))
}

fn schedule(name: &str, model: &str) -> String {
    let request = format!("{{model: {model}, messages: [{{role: user, content: {name}}}], tags: [report]}}");
    format!("  - {{name: {name}, cron: \"0 22 * * *\", zone: Europe/Berlin, missed: run_once, request: {request}}}\n")
}

async fn shown(broker: &TestBroker, name: &str) -> Value {
    let list = broker.client().get("/v1/schedules").await.expect(200).json();
    list["data"].as_array().unwrap().iter().find(|schedule| schedule["name"] == name).cloned().unwrap_or_default()
}

/// As if it had been known for three days, and had not been there since.
fn three_days_ago(broker: &TestBroker) -> Vec<u8> {
    let file = broker.data().join("schedules.json");
    let mut known: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for last in known.as_object_mut().unwrap().values_mut() {
        last["at"] = json!((Timestamp::now() - 72.hours()).as_millisecond());
    }
    let known = known.to_string().into_bytes();
    std::fs::write(file, &known).unwrap();
    known
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_made_up_for_once_whatever_crashes() {
    let model = FakeModel::start().await;
    let mut broker = TestBroker::with(yaml(&model, &(schedule("nightly", "m") + &schedule("wrong", "nobody")))).await;
    let first = until("the schedules", async || Some(shown(&broker, "nightly").await).filter(|s| s["next_at"].is_string())).await;
    assert_eq!((&first["zone"], &first["last"]), (&json!("Europe/Berlin"), &Value::Null));
    let next: Timestamp = first["next_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(next.to_zoned(jiff::tz::TimeZone::get("Europe/Berlin").unwrap()).hour(), 22);

    broker.terminate().await;
    let before = three_days_ago(&broker);
    broker.start().await;
    let fired = until("the firing", async || Some(shown(&broker, "nightly").await).filter(|s| s["last"]["state"] == "completed")).await;
    let id = fired["last"]["job"].as_str().unwrap();
    let job = broker.client().job(id).await;
    assert_eq!(
        (&job["tags"], &job["result"]["choices"][0]["message"]["content"]),
        (&json!(["report", "schedule:nightly"]), &json!("re nightly 1 2"))
    );
    // What is refused is told.
    let wrong = until("the refusal", async || Some(shown(&broker, "wrong").await).filter(|s| s["last"]["error"].is_string())).await;
    assert!(wrong["last"]["error"].as_str().unwrap().contains("nobody") && wrong["last"]["job"].is_null(), "{wrong}");

    // Killed before it could write down that it had fired.
    broker.kill9();
    std::fs::write(broker.data().join("schedules.json"), before).unwrap();
    broker.start().await;
    let again = until("the second look", async || Some(shown(&broker, "nightly").await).filter(|s| s["last"]["job"].is_string())).await;
    assert_eq!((again["last"]["job"].as_str(), model.times("nightly")), (Some(id), 1));

    let table = broker.run(&["schedules"]).await;
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("nightly") && table.contains(id) && table.contains("Europe/Berlin"), "{table}");
    assert!(broker.client().get("/metrics").await.text().contains("pullyard_schedules_failed_total 1\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_what_recurs() {
    let model = FakeModel::start().await;
    let broker = TestBroker::with(yaml(&model, &schedule("nightly", "m"))).await;
    let first = until("the schedule", async || Some(shown(&broker, "nightly").await).filter(|s| s["next_at"].is_string())).await;

    std::fs::write(broker.config(), yaml(&model, &schedule("nightly", "m").replace("0 22", "30 5"))).unwrap();
    broker.signal(Signal::HUP);
    let changed = until("the change", async || Some(shown(&broker, "nightly").await).filter(|s| s["cron"] == "30 5 * * *")).await;
    assert_ne!(changed["next_at"], first["next_at"]);

    std::fs::write(broker.config(), yaml(&model, &schedule("other", "m").replace("22", "25"))).unwrap();
    broker.signal(Signal::HUP);
    until("a complaint", async || broker.stderr().contains("schedules[0].cron: `25` is no hour").then_some(())).await;
    assert_eq!(shown(&broker, "nightly").await["cron"], "30 5 * * *");
}
