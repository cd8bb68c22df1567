//! A broker whose process stood still: its machine slept, or somebody stopped it.

use std::time::Duration;

use pullyard_tests::{Behaviour, FakeModel, QUICK, TestBroker, chat};
use rustix::process::Signal;

/// Longer than the lease.
const STILL: Duration = Duration::from_millis(1_500);

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_goes_on_and_is_not_run_once_more_on_a_free_slot() {
    let model = FakeModel::start().await;
    let yaml = format!("{QUICK}lease: 1s\nbackends:\n{}", model.backend("a", "slots: 8"));
    let broker = TestBroker::with(yaml).await;
    let client = broker.client();
    model.then((0..4).map(|_| Behaviour::hold(1)));
    let mut jobs = Vec::new();
    for n in 0..4 {
        jobs.push(client.submit(&chat("m", &n.to_string())).await);
        client.job_in(&jobs[n], "running").await;
    }

    for _ in 0..3 {
        broker.signal(Signal::STOP);
        tokio::time::sleep(STILL).await;
        broker.signal(Signal::CONT);
        client.get("/healthz").await.expect(200);
    }
    // Its worker takes what there is.
    client.ended(&client.submit(&chat("m", "after")).await).await;
    model.release(4);

    for id in jobs {
        client.job_in(&id, "completed").await;
        assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
    }
    assert_eq!(model.counts().seen, 5);
}
