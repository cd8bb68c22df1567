//! NATS goes away, comes back, forgets everything, and is tidied up by hand.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::Stream;
use futures_util::StreamExt as _;
use pullyard_tests::{Behaviour, Client, FakeModel, NatsServer, TestWorker, chat, until};
use serde_json::Value;

use super::rig::{Rig, joined, setup, worker};

/// Jobs are lost to nobody who is away for less than this.
const LEASE: &str = "lease: 2s\n";
/// Several leases.
const LONG: Duration = Duration::from_secs(8);

const LANES: &str = "YARD_v1_LANES_ANY";

async fn submit(client: &Client, prompts: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
    let mut jobs = Vec::new();
    for prompt in prompts {
        jobs.push((client.submit(&chat("m", &prompt)).await, prompt));
    }
    jobs
}

async fn lanes(rig: &Rig) -> Stream {
    async_nats::jetstream::new(async_nats::connect(rig.nats.url()).await.unwrap()).get_stream(LANES).await.unwrap()
}

/// One job holds the only slot, and another lies on its lane. It comes when the first one runs: with both at once, the second
/// would still wait in the engine, and what happens to the lane would not concern it.
async fn one_runs_and_one_is_offered(rig: &Rig) -> Vec<(String, String)> {
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(0)]);
    let mut jobs = submit(&client, ["running".to_owned()]).await;
    client.job_in(&jobs[0].0, "running").await;
    jobs.extend(submit(&client, ["waiting".to_owned()]).await);
    let lanes = lanes(rig).await;
    until("the offer", async || (lanes.get_info().await.unwrap().state.messages == 1).then_some(())).await;
    jobs
}

/// Every job is completed by its first attempt, which the model server has seen once.
async fn each_ran_once(client: &Client, model: &FakeModel, jobs: &[(String, String)]) {
    for (id, prompt) in jobs {
        client.ended(id).await;
        assert_eq!(client.events(id).await, ["submitted", "leased", "completed"], "{prompt}");
        assert_eq!(model.times(prompt), 1, "{prompt}");
    }
}

/// What `/readyz` says of NATS; the broker is ready all the same.
async fn transport(client: &Client) -> Option<String> {
    client.get("/readyz").await.expect(200).json()["transport"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_nats_costs_no_attempt() {
    let mut rig = Rig::start("slots: 2").await;
    let client = rig.broker.client();
    rig.model.from_now_on(Behaviour::hold(0));
    let held = submit(&client, (0..6).map(|n| format!("held {n}"))).await;
    rig.model.until("both slots are taken", |c| c.inside == 2).await;

    rig.nats.restart().await;
    rig.model.from_now_on(Behaviour::after(30));
    let quick = submit(&client, (0..40).map(|n| format!("quick {n}"))).await;
    rig.model.release(6);
    for answered in [5, 15, 25] {
        rig.model.until("some are done", |c| c.answered >= answered).await;
        rig.nats.restart().await;
    }

    each_ran_once(&client, &rig.model, &[held, quick].concat()).await;
    assert_eq!(rig.model.counts().highest, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_may_be_away_for_longer_than_a_lease() {
    let mut rig = Rig::on(NatsServer::start().await, "slots: 1", LEASE).await;
    let client = rig.broker.client();
    let mut jobs = one_runs_and_one_is_offered(&rig).await;
    assert_eq!(transport(&client).await, None);

    rig.nats.kill();
    let gone = Instant::now();
    let said = until("word of it", async || transport(&client).await).await;
    assert!(said.starts_with("nats is not reachable (since 2"), "{said}");
    jobs.extend(submit(&client, ["late".to_owned()]).await);
    rig.model.release(1);
    rig.model.until("the worker has its answer", |c| c.answered == 1).await;
    tokio::time::sleep(LONG.saturating_sub(gone.elapsed())).await;
    assert_eq!(client.job(&jobs[0].0).await["state"], "running");

    rig.nats.start_again().await;
    each_ran_once(&client, &rig.model, &jobs).await;
    assert_eq!(transport(&client).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_outlives_an_outage_is_not_made_again() {
    let mut rig = Rig::on(NatsServer::start().await, "slots: 1", LEASE).await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(0)]);
    let jobs = submit(&client, ["running".to_owned()]).await;
    client.job_in(&jobs[0].0, "running").await;

    rig.nats.kill();
    tokio::time::sleep(LONG).await;
    rig.nats.start_again().await;
    until("the way is open", async || transport(&client).await.is_none().then_some(())).await;
    // Its worker must have told that it lives.
    tokio::time::sleep(LONG / 2).await;
    rig.model.release(1);

    each_ran_once(&client, &rig.model, &jobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_may_come_first_and_says_once_what_it_waits_for() {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let model = FakeModel::start().await;
    let worker = worker("w1", &nats.url(), &model, "slots: 1");
    let mentions = |what: &str| worker.stderr().matches(what).count();
    until("it says that NATS is away", async || (mentions("is not reachable") > 0).then_some(())).await;
    let broker = setup(&nats.url(), "").start().await;
    let said = transport(&broker.client()).await.unwrap();
    assert!(said.contains("nats is not reachable (since 2"), "{said}");

    nats.start_again().await;
    joined(&broker.client(), &["w1"]).await;
    let jobs = submit(&broker.client(), ["x".to_owned()]).await;
    each_ran_once(&broker.client(), &model, &jobs).await;
    assert!(mentions("is not reachable") == 1 && mentions("no broker answers") <= 1, "{}", worker.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_starts_without_nats_takes_jobs_for_the_workers_that_it_knew() {
    let mut rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(0)]);
    let mut jobs = submit(&client, ["running".to_owned(), "waiting".to_owned()]).await;
    client.job_in(&jobs[0].0, "running").await;

    rig.broker.kill9();
    rig.nats.kill();
    rig.broker.start().await;
    let client = rig.broker.client();
    assert!(transport(&client).await.is_some());
    jobs.extend(submit(&client, ["new".to_owned()]).await);
    rig.model.release(1);
    rig.model.until("the worker has its answer", |c| c.answered == 1).await;

    rig.nats.start_again().await;
    each_ran_once(&client, &rig.model, &jobs).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_may_lose_everything() {
    let mut rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    let mut jobs = one_runs_and_one_is_offered(&rig).await;
    jobs.extend(submit(&client, (0..3).map(|n| format!("before {n}"))).await);

    rig.nats.wipe().await;
    jobs.extend(submit(&client, ["after".to_owned()]).await);
    rig.model.release(1);
    each_ran_once(&client, &rig.model, &jobs).await;

    // And while a result is on its way.
    rig.model.then([Behaviour::hold(0)]);
    let last = submit(&client, ["last".to_owned()]).await;
    client.job_in(&last[0].0, "running").await;
    rig.nats.kill();
    rig.model.release(1);
    rig.model.until("the worker has its answer", |c| c.inside == 0).await;
    rig.nats.start_again().await;
    rig.nats.wipe().await;
    each_ran_once(&client, &rig.model, &last).await;
}

/// While one job runs and one lies on its lane, somebody takes something away in NATS; both end, and others too.
async fn survives(clearance: &[&str]) {
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    let mut jobs = one_runs_and_one_is_offered(&rig).await;
    let admin = async_nats::connect(rig.nats.url()).await.unwrap();

    for request in clearance {
        let answer = admin.request(format!("$JS.API.{request}"), "".into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["success"], true, "{request}: {answer}");
    }
    let cleared = Instant::now();
    rig.model.release(1);
    jobs.extend(submit(&client, ["new".to_owned()]).await);
    each_ran_once(&client, &rig.model, &jobs).await;
    eprintln!("{clearance:?}: healed within {:?}", cleared.elapsed());
    assert!(cleared.elapsed() < Duration::from_secs(20), "{:?}", cleared.elapsed());
    // Also those who wait for work find it there.
    let idle = submit(&client, ["idle".to_owned()]).await;
    each_ran_once(&client, &rig.model, &idle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_lanes_that_is_deleted_is_made_again() {
    survives(&["STREAM.DELETE.YARD_v1_LANES_ANY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_lanes_that_is_emptied_is_filled_again() {
    survives(&["STREAM.PURGE.YARD_v1_LANES_ANY"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lane_whose_consumers_are_deleted_gets_new_ones() {
    survives(&["CONSUMER.DELETE.YARD_v1_LANES_ANY.m_hi", "CONSUMER.DELETE.YARD_v1_LANES_ANY.m_lo"]).await;
}

/// A server that was killed has left it so: the message is in the stream, and its consumer believes that it was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn an_offer_that_its_consumer_has_behind_it_is_made_again() {
    let mut rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    let jobs = one_runs_and_one_is_offered(&rig).await;

    rig.nats.stop().await;
    let messages = rig.nats.store().join("jetstream/$G/streams").join(LANES).join("msgs");
    let kept: Vec<_> = files(&messages).map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    rig.nats.start_again().await;
    acknowledge(&rig.nats, "m_hi").await;
    rig.nats.stop().await;
    for path in files(&messages) {
        std::fs::remove_file(path).unwrap();
    }
    for (path, bytes) in kept {
        std::fs::write(path, bytes).unwrap();
    }
    rig.nats.start_again().await;
    let after = lanes(&rig).await;
    assert_eq!(after.get_info().await.unwrap().state.messages, 1);
    assert_eq!(after.consumer_info("m_hi").await.unwrap().num_pending, 0);
    rig.model.release(1);

    each_ran_once(&client, &rig.model, &jobs).await;
}

fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())
}

/// Takes what this consumer has next, as a worker would that never starts it.
async fn acknowledge(nats: &NatsServer, consumer: &str) {
    let stranger = async_nats::connect(nats.url()).await.unwrap();
    let inbox = stranger.new_inbox();
    let mut given = stranger.subscribe(inbox.clone()).await.unwrap();
    let next = format!("$JS.API.CONSUMER.MSG.NEXT.{LANES}.{consumer}");
    stranger.publish_with_reply(next, inbox, r#"{"batch":1,"expires":20000000000,"group":"rank"}"#.into()).await.unwrap();
    let offer = given.next().await.unwrap();
    stranger.request(offer.reply.unwrap(), "+ACK".into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_words_that_is_deleted_is_made_again() {
    survives(&["STREAM.DELETE.YARD_v1_REPORTS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_brokers_consumer_of_words_is_made_again() {
    survives(&["CONSUMER.DELETE.YARD_v1_REPORTS.broker"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_of_workers_that_is_deleted_is_made_again() {
    survives(&["STREAM.DELETE.KV_YARD_v1_WORKERS"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_may_be_deleted_at_once() {
    let all = ["YARD_v1_LANES_ANY", "YARD_v1_LANES_LOCAL", "YARD_v1_REPORTS", "KV_YARD_v1_WORKERS"];
    let all = all.map(|stream| format!("STREAM.DELETE.{stream}"));
    survives(&all.each_ref().map(String::as_str)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_saw_nats_can_still_be_stopped() {
    let mut nats = NatsServer::start().await;
    nats.kill();
    let mut worker = TestWorker::start("w1", &nats.url(), "discover: false\n");
    until("it waits", async || worker.stderr().contains("is not reachable").then_some(())).await;
    assert!(worker.terminate().await.success());
}
