//! Jobs that are continued: what is kept, what the next attempt is given, and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::job::{OnInterrupt, State};
use pullyard_schemas::work::Report;
use pullyard_schemas::{Failure, FailureKind, JobId, Seq};
use pullyard_worker::transport::{Body, Delivery, Place, Word, WorkerEnd, parted};

use super::tests::{Rig, charge, lane, new_job, report, rig};
use super::*;

async fn submit(rig: &Rig, live: bool) -> JobId {
    rig.handle.capacity(vec![(lane("a"), Capacity { slots: 1, alive: true })]);
    let mut new = new_job(&["a"]);
    let spec = Arc::make_mut(&mut new.spec);
    (spec.on_interrupt, spec.live) = (OnInterrupt::Continue, live);
    rig.handle.submit(new).await.unwrap().view.job.id
}

/// The next attempt, with what it is given: the request and the output so far.
async fn next(rig: &Rig) -> (Box<dyn Delivery>, String, Option<String>) {
    let places = [Place { lane: lane("a"), rank: 0 }];
    let delivery = rig.transport.pull(&places, 1, Duration::from_secs(5)).await.pop().expect("an offer");
    let offer = delivery.offer();
    let body = match delivery.body() {
        Body::Ready(body) => body.clone(),
        Body::Stored(source) => source.fetch(offer.job).await.unwrap(),
    };
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let (request, prefix) = parted(offer, body);
    report(rig, &*delivery, Report::Started { backend: "b".into(), model: "m".into() }).await;
    (delivery, text(request), prefix.map(text))
}

fn say(rig: &Rig, delivery: &dyn Delivery, chunks: &[&'static str]) {
    for (number, chunk) in (0..).zip(chunks) {
        let (job, token) = (delivery.offer().job, delivery.offer().token);
        rig.transport.output(job, token, number, Bytes::from_static(chunk.as_bytes()));
    }
}

async fn fail(rig: &Rig, delivery: Box<dyn Delivery>, kind: FailureKind) {
    let failed = Report::Failed { failure: Failure::new(kind, "so"), charge: Some(charge()), delivered: true };
    report(rig, &*delivery, failed).await;
    delivery.settle();
}

async fn complete(rig: &Rig, delivery: Box<dyn Delivery>, output: &'static str) {
    let (job, token) = (delivery.offer().job, delivery.offer().token);
    let done = Report::Completed { charge: charge(), finish: None };
    let word =
        Word { job, token, worker: pullyard_schemas::WorkerId("w".into()), report: done, output: Bytes::from_static(output.as_bytes()) };
    rig.transport.report(word).await;
    delivery.settle();
}

/// What the log has of a job: the names of its events, with their bodies where they have one.
fn logged(rig: &Rig, id: JobId) -> Vec<String> {
    let mut all = Vec::new();
    rig.reader
        .replay(Seq(1), &mut |record| {
            if record.envelope.job == id {
                all.push(format!("{} {}", record.envelope.event.name(), String::from_utf8_lossy(&record.body)));
            }
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    all
}

#[tokio::test]
async fn each_attempt_goes_on_behind_those_before_it() {
    let rig = rig();
    let id = submit(&rig, true).await;
    let ended = rig.handle.ended(id);

    let (first, request, prefix) = next(&rig).await;
    assert_eq!((&*request, prefix), ("body", None));
    say(&rig, &*first, &["1", "2"]);
    fail(&rig, first, FailureKind::Backend).await;
    let (second, request, prefix) = next(&rig).await;
    assert_eq!((&*request, prefix.as_deref()), ("body", Some("1\n2\n")));
    say(&rig, &*second, &["3"]);
    fail(&rig, second, FailureKind::Timeout).await;
    let (third, _, prefix) = next(&rig).await;
    assert_eq!(prefix.as_deref(), Some("1\n2\n3\n"));
    complete(&rig, third, "4").await;

    assert_eq!(ended.await.unwrap().unwrap().output, "1\n2\n3\n4");
    let story = [
        "submitted body",
        "leased ",
        "checkpointed 1\n2\n",
        "attempt_failed ",
        "leased ",
        "checkpointed 1\n2\n3\n",
        "attempt_failed ",
        "leased ",
        "completed 1\n2\n3\n4",
    ];
    assert_eq!(logged(&rig, id), story);
}

#[tokio::test]
async fn what_a_silent_worker_has_said_is_kept_and_its_late_words_are_not() {
    let rig = rig();
    let policy = crate::core::decide::Policy { lease: Duration::from_millis(50), ..crate::core::decide::Policy::default() };
    rig.handle.configure(policy, Default::default());
    let id = submit(&rig, true).await;

    let (silent, ..) = next(&rig).await;
    say(&rig, &*silent, &["1"]);
    let (second, _, prefix) = next(&rig).await;
    assert_eq!(prefix.as_deref(), Some("1\n"));
    say(&rig, &*silent, &["1", "late"]);
    complete(&rig, silent, "1\nlate\n").await;
    let ended = rig.handle.ended(id);
    let mut reader = rig.handle.watch(id).await.unwrap();
    say(&rig, &*second, &["2"]);
    complete(&rig, second, "2\n").await;

    assert_eq!(ended.await.unwrap().unwrap().output, "1\n2\n");
    let mut read = Vec::new();
    while let Part::Chunk(token, number, chunk) = reader.next().await {
        read.push((token.0, number, chunk));
    }
    assert_eq!(read, [(1, 0, Bytes::from_static(b"1")), (2, 0, Bytes::from_static(b"2"))]);
    let names: Vec<String> = logged(&rig, id).iter().map(|e| e.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["submitted", "leased", "checkpointed", "lease_lost", "leased", "accounted", "completed"]);
}

#[tokio::test]
async fn wrong_output_is_not_gone_on_behind() {
    for (live, kept) in [(true, false), (false, true)] {
        let rig = rig();
        let id = submit(&rig, live).await;
        let (first, ..) = next(&rig).await;
        say(&rig, &*first, &["1"]);
        fail(&rig, first, FailureKind::Garbage).await;
        if kept {
            let (second, _, prefix) = next(&rig).await;
            assert_eq!(prefix, None, "it starts over");
            complete(&rig, second, "2\n").await;
        }
        let rested = async {
            loop {
                let job = rig.handle.get(id).await.unwrap().job;
                if job.state.is_at_rest() {
                    return job;
                }
            }
        };
        let job = tokio::time::timeout(Duration::from_secs(5), rested).await.unwrap();
        assert_eq!(matches!(job.state, State::Parked { .. }), live, "{job:?}");
    }
}

#[tokio::test]
async fn a_worker_that_came_too_late_breaks_off_nothing() {
    let rig = rig();
    let id = submit(&rig, true).await;
    let ended = rig.handle.ended(id);
    let (first, ..) = next(&rig).await;
    assert_eq!(rig.handle.get(id).await.unwrap().job.state.name(), "running");
    say(&rig, &*first, &["1"]);

    let failed = Report::Failed { failure: Failure::new(FailureKind::Cancelled, "fenced"), charge: Some(charge()), delivered: true };
    let (token, worker) = (first.offer().token, pullyard_schemas::WorkerId("slow".into()));
    rig.transport.report(Word { job: id, token, worker, report: failed, output: Bytes::new() }).await;
    say(&rig, &*first, &["1", "2"]);
    complete(&rig, first, "1\n2\n").await;

    assert_eq!(ended.await.unwrap().unwrap().output, "1\n2\n");
    assert_eq!(logged(&rig, id), ["submitted body", "leased ", "accounted ", "completed 1\n2\n"]);
}

#[tokio::test]
async fn an_end_whose_start_was_not_heard_goes_behind_what_was_said_before() {
    let rig = rig();
    let id = submit(&rig, true).await;
    let ended = rig.handle.ended(id);
    let (first, ..) = next(&rig).await;
    say(&rig, &*first, &["1"]);
    fail(&rig, first, FailureKind::Backend).await;

    let places = [Place { lane: lane("a"), rank: 0 }];
    let second = rig.transport.pull(&places, 1, Duration::from_secs(5)).await.pop().expect("an offer");
    complete(&rig, second, "2\n").await;

    assert_eq!(ended.await.unwrap().unwrap().output, "1\n2\n");
    let story = ["submitted body", "leased ", "checkpointed 1\n", "attempt_failed ", "leased ", "completed 1\n2\n"];
    assert_eq!(logged(&rig, id), story);
}

#[tokio::test]
async fn who_can_come_back_reads_of_an_attempt_when_the_log_knows_it() {
    let rig = rig();
    let id = submit(&rig, false).await;
    let mut reader = rig.handle.watch(id).await.unwrap().following();
    let (first, ..) = next(&rig).await;
    say(&rig, &*first, &["1"]);

    let Part::Chunk(token, 0, chunk) = reader.next().await else { panic!("the first chunk comes first") };

    assert_eq!((token, &*chunk), (first.offer().token, &b"1"[..]));
    assert_eq!(logged(&rig, id), ["submitted body", "leased "], "a broker that is killed now does not give the number to another");
}
