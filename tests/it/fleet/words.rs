//! What workers say, as the transport hands it to the broker.

use std::sync::Arc;
use std::time::Duration;

use pullyard_schemas::work::Report;
use pullyard_schemas::{Failure, FailureKind, Token, WorkerId};
use pullyard_tests::{Behaviour, Events, NatsServer, chat, until};
use pullyard_worker::transport::conformance::Chunks;
use pullyard_worker::transport::nats::{BrokerSide, Link, Options, Role, WorkerSide};
use pullyard_worker::transport::{Incoming, Receipt, Word, WorkerEnd};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::rig::Rig;

const LEASE: Duration = Duration::from_secs(8);

/// A broker's life, and the first word that it hears.
async fn first_word(nats: &NatsServer) -> (Arc<BrokerSide>, Word, Receipt) {
    let (words, mut heard) = mpsc::unbounded_channel();
    let link = Link::open(Options::new(&nats.url(), Role::Broker)).await.unwrap();
    let side = BrokerSide::start(link, LEASE, words, Arc::new(Chunks::default())).await.unwrap();
    let hear = async {
        loop {
            if let Incoming::Word(word, receipt) = heard.recv().await.unwrap() {
                return (word, receipt);
            }
        }
    };
    let (word, receipt) = timeout(LEASE * 2, hear).await.expect("a word");
    (side, word, receipt)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_a_broker_died_with_comes_to_the_next_before_the_lease_is_over() {
    let nats = NatsServer::start().await;
    let link = Link::open(Options::new(&nats.url(), Role::Local)).await.unwrap();
    let (worker, _orders) = WorkerSide::start(link, WorkerId("w".into()), LEASE, LEASE).await.unwrap();
    let report = Report::Started { backend: "b".into(), model: "m".into() };
    let said = Word {
        job: "01a1fe17-3e1b-7626-90e5-ba440f059aa3".parse().unwrap(),
        token: Token(1),
        worker: WorkerId("w".into()),
        report,
        output: "".into(),
    };
    let (one, word, receipt) = {
        let kept = worker.report(said.clone());
        let (heard, ()) = futures_util::join!(first_word(&nats), kept);
        heard
    };
    assert_eq!(word, said);

    drop((one, receipt));
    let since = Instant::now();
    let (_next, word, _receipt) = first_word(&nats).await;

    assert_eq!(word, said);
    assert!(since.elapsed() < LEASE / 2, "it took {:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_came_too_late_silences_nobody_when_it_ends() {
    let nats = NatsServer::start().await;
    let side = async |name: &str| {
        let link = Link::open(Options::new(&nats.url(), Role::Local)).await.unwrap();
        WorkerSide::start(link, WorkerId(name.into()), LEASE, LEASE).await.unwrap().0
    };
    let (words, mut heard) = mpsc::unbounded_channel();
    let link = Link::open(Options::new(&nats.url(), Role::Broker)).await.unwrap();
    let chunks = Arc::new(Chunks::default());
    let _broker = BrokerSide::start(link, LEASE, words, chunks.clone()).await.unwrap();
    let (first, late) = (side("first").await, side("late").await);
    let (job, token) = ("01a1fe17-3e1b-7626-90e5-ba440f059aa3".parse().unwrap(), Token(1));
    let word = |worker: &str, report| Word { job, token, worker: WorkerId(worker.into()), report, output: "".into() };
    let started = || Report::Started { backend: "b".into(), model: "m".into() };
    let failure = Failure::new(FailureKind::Cancelled, "fenced");
    first.report(word("first", started())).await;
    late.report(word("late", started())).await;
    late.report(word("late", Report::Failed { failure, charge: None, delivered: false })).await;
    for _ in 0..3 {
        while !matches!(heard.recv().await.unwrap(), Incoming::Word(..)) {}
    }

    late.output(job, token, 0, "late".into());
    first.output(job, token, 0, "first".into());

    assert_eq!(timeout(LEASE, chunks.next()).await.expect("a chunk"), Some((job, token, 0, "first".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_starts_an_attempt_that_is_over_is_not_heard_by_readers() {
    let rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::Refuse(429, vec![("retry-after-ms", "1500".into())])]);
    let mut body = chat("m", "x");
    body["stream"] = json!(true);
    let reader = tokio::spawn(Events::of(client.posting("/v1/chat/completions", &body)));
    let id = until("the refusal", async || {
        let job = client.all_jobs().await.pop()?;
        (job["state"] == "deferred").then(|| job["id"].as_str().unwrap().to_owned())
    })
    .await;

    // It was given the first attempt too, and stood still until now.
    let link = Link::open(Options::new(&rig.nats.url(), Role::Local)).await.unwrap();
    let (late, _orders) = WorkerSide::start(link, WorkerId("late".into()), LEASE, LEASE).await.unwrap();
    let (job, token) = (id.parse().unwrap(), Token(1));
    let report = Report::Started { backend: "b".into(), model: "m".into() };
    late.report(Word { job, token, worker: WorkerId("late".into()), report, output: "".into() }).await;
    late.output(job, token, 0, json!({"choices": [{"index": 0, "delta": {"content": "late"}}]}).to_string().into());

    let text: String = reader.await.unwrap().rest().await.iter().map(|event| event.content()).collect();
    assert_eq!(text, "re x 1 2");
}
