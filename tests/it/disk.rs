//! A full disk: intake says so, nothing half-written is read back, and it goes on when there is room again.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::future::join_all;
use pullyard_tests::{Answer, Behaviour, Client, FakeModel, Ledger, QUICK, Reply, Setup, TestBroker, chat, until};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

/// The only slot is held, so nothing that is refused can have started.
async fn busy(model: &FakeModel, wrapper: &[&str]) -> TestBroker {
    let yaml = format!("{QUICK}drain_timeout: 5s\nbackends:\n{}", model.backend("a", "slots: 1"));
    let broker = Setup::new(yaml).wrapped(wrapper).start().await;
    let client = broker.client();
    client.job_in(&client.submit(&chat("m", "held")).await, "running").await;
    broker
}

/// No file of the broker's may be larger than this.
fn limit(broker: &TestBroker, bytes: Option<u64>) {
    prlimit(Pid::from_raw(broker.pid()), Resource::Fsize, Rlimit { current: bytes, maximum: None }).unwrap();
}

fn log_size(broker: &TestBroker) -> u64 {
    std::fs::metadata(broker.data().join("log/00000000000000000001.log")).unwrap().len()
}

fn large(n: usize) -> Value {
    let mut body = chat("m", &n.to_string());
    body["x_padding"] = json!("x".repeat(100_000));
    body
}

/// Submits more than there is room for, four at a time; the ids of what was accepted.
async fn fill(client: &Client) -> Vec<String> {
    let mut accepted = Vec::new();
    let mut refused = 0;
    for n in 0..10 {
        let bodies = [large(4 * n), large(4 * n + 1), large(4 * n + 2), large(4 * n + 3)];
        for reply in join_all(bodies.iter().map(|body| client.post("/v1/jobs", body))).await {
            if reply.status == 202 {
                accepted.push(reply.json()["id"].as_str().unwrap().to_owned());
            } else {
                says_why(&reply);
                refused += 1;
            }
        }
    }
    assert!(accepted.len() > 1 && refused > 4, "{} accepted, {refused} refused", accepted.len());
    accepted
}

fn says_why(refused: &Reply) {
    assert_eq!(refused.status, 503, "{}", refused.text());
    let why = refused.error();
    assert!(why.contains("the event log cannot be written") && why.contains(".log: "), "{why}");
    assert!(refused.header("retry-after").is_some());
}

async fn intake_is_closed(client: &Client, job: &str) {
    // Nobody is left waiting for an answer that only a person with a larger disk can bring.
    let path = format!("/v1/jobs/{job}");
    let look = tokio::time::timeout(Duration::from_secs(10), client.get(&path));
    says_why(&look.await.expect("a question is answered"));
    says_why(&client.post("/v1/jobs", &chat("m", "small")).await);
    says_why(&client.post("/v1/chat/completions", &chat("m", "small")).await);
    says_why(&client.get("/readyz").await);
    client.get("/healthz").await.expect(200);
    client.get("/v1/jobs").await.expect(200);
    assert!(client.get("/metrics").await.expect(200).text().contains("pullyard_log_stalled 1"));
}

async fn intake_opens(client: &Client) -> String {
    let reply = until("an open intake", async || Some(client.post("/v1/jobs", &chat("m", "after")).await).filter(|r| r.status == 202));
    reply.await.json()["id"].as_str().unwrap().to_owned()
}

async fn all_complete(client: &Client, ids: &[String]) {
    for id in ids {
        assert_eq!(client.ended(id).await["state"], "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn intake_closes_while_the_log_is_full_and_opens_again() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = busy(&model, &[]).await;
    let client = broker.client();
    limit(&broker, Some(log_size(&broker) + 550_000));

    let mut accepted = fill(&client).await;
    intake_is_closed(&client, &accepted[0]).await;
    limit(&broker, None);
    accepted.push(intake_opens(&client).await);

    model.from_now_on(Behaviour::after(0));
    model.release(1);
    all_complete(&client, &accepted).await;
    assert_eq!(model.counts().seen, accepted.len() + 1, "what was refused has not run");
    assert!(broker.terminate().await.success());
    assert!(broker.run(&["log", "verify"]).await.status.success());
    let ledger = Ledger::of(&broker).await;
    let completed = ledger.jobs.values().filter(|job| job.state() == "completed").count();
    assert_eq!(completed, accepted.len() + 1);
    assert!(ledger.jobs.values().all(|job| matches!(job.state(), "completed" | "cancelled")), "{:?}", ledger.jobs);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_half_written_is_read_back_after_a_crash_on_a_full_disk() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = busy(&model, &[]).await;
    limit(&broker, Some(log_size(&broker) + 550_000));
    let accepted = fill(&broker.client()).await;

    broker.kill9();
    assert!(broker.run(&["log", "verify"]).await.status.success());
    let ledger = Ledger::of(&broker).await;
    assert!(accepted.iter().all(|id| ledger.jobs.contains_key(id)));
    model.from_now_on(Behaviour::after(0));
    broker.start().await;

    all_complete(&broker.client(), &accepted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_does_not_keep_the_broker_from_stopping() {
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let mut broker = busy(&model, &[]).await;
    limit(&broker, Some(log_size(&broker) + 550_000));
    let accepted = fill(&broker.client()).await;
    model.from_now_on(Behaviour::after(0));
    model.release(1);

    broker.terminate().await;
    broker.start().await;

    all_complete(&broker.client(), &accepted).await;
}

/// A job whose output is large though its request is not; it is written when the model is released.
async fn large_output() -> (FakeModel, TestBroker, String) {
    let much = Behaviour::Answer(Answer { tokens: 3_000, hold: Some(1), ..Answer::default() });
    let model = FakeModel::start().await.usually(much);
    let broker = TestBroker::with(format!("{QUICK}backends:\n{}", model.backend("a", "slots: 1"))).await;
    let id = broker.client().submit(&chat("m", "x")).await;
    broker.client().job_in(&id, "running").await;
    (model, broker, id)
}

async fn completes_once(broker: &TestBroker, model: &FakeModel, id: &str) {
    let job = broker.client().job_in(id, "completed").await;
    let all: String = (1..3_000).map(|n| format!(" {n}")).collect();
    assert_eq!(job["result"]["choices"][0]["message"]["content"], format!("re x{all}"));
    assert_eq!(broker.client().events(id).await, ["submitted", "leased", "completed"]);
    assert_eq!(model.counts().seen, 1);
    assert_eq!(std::fs::read_dir(broker.data().join("blobs")).unwrap().count(), 0, "it is in the log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_that_gets_no_file_goes_into_the_log() {
    let (model, broker, id) = large_output().await;
    let blobs = broker.data().join("blobs");
    std::fs::remove_dir(&blobs).unwrap();
    std::fs::write(&blobs, "in the way").unwrap();

    model.release(1);
    broker.client().job_in(&id, "completed").await;

    std::fs::remove_file(&blobs).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    completes_once(&broker, &model, &id).await;
    assert_eq!(broker.stderr().matches("cannot be written beside the log").count(), 1, "{}", broker.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_output_waits_for_room() {
    let (model, broker, id) = large_output().await;
    limit(&broker, Some(log_size(&broker) + 100_000));

    model.release(1);
    let closed = async || broker.client().try_get("/readyz").await.filter(|r| r.status == 503);
    says_why(&until("a closed intake", closed).await);
    limit(&broker, None);

    completes_once(&broker, &model, &id).await;
    assert_eq!(broker.stderr().matches("cannot be written beside the log").count(), 1, "{}", broker.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_system_that_is_full_is_borne_by_everything_on_it() {
    let mount = "mkdir -p \"$PULLYARD_DATA\" && mount -t tmpfs -o size=16m none \"$PULLYARD_DATA\" && exec \"$@\"";
    let allowed = std::process::Command::new("unshare").args(["-rm", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("not tested: this machine gives no mount namespace");
        return;
    }
    let model = FakeModel::start().await.usually(Behaviour::hold(0));
    let broker = busy(&model, &["unshare", "-rm", "sh", "-c", mount, "sh"]).await;
    let client = broker.client();
    // The broker's own view of its data folder.
    let data = PathBuf::from(format!("/proc/{}/root{}", broker.pid(), broker.data().display()));
    let filler = data.join("filler");
    let free = || {
        let stat = rustix::fs::statvfs(&data).unwrap();
        stat.f_bavail * stat.f_frsize
    };
    std::fs::write(&filler, vec![0; usize::try_from(free() - 1_500_000).unwrap()]).unwrap();

    let mut accepted = fill(&client).await;
    intake_is_closed(&client, &accepted[0]).await;
    std::fs::remove_file(&filler).unwrap();
    accepted.push(intake_opens(&client).await);

    model.from_now_on(Behaviour::after(0));
    model.release(1);
    all_complete(&client, &accepted).await;
    let mut listed: Vec<Value> = client.all_jobs().await;
    listed.retain(|job| job["state"] == "completed");
    assert_eq!(listed.len(), accepted.len() + 1);

    assert!(!broker.stderr().contains("panicked"), "{}", broker.stderr());
}
