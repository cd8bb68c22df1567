//! What breaks, and what is made of it.

use pullyard_tests::{Behaviour, chat};

use super::rig::{Rig, joined};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_in_the_middle_loses_its_job_to_the_next() {
    let mut rig = Rig::start("slots: 1").await;
    rig.model.then([Behaviour::hold(1)]);
    let client = rig.broker.client();
    let id = client.submit(&chat("m", "x")).await;
    rig.model.until("the attempt runs", |c| c.inside == 1).await;
    rig.worker.kill9();
    rig.worker.start_again();
    joined(&client, &["w1"]).await;
    client.job_in(&id, "completed").await;
    assert_eq!(client.events(&id).await, ["submitted", "leased", "lease_lost", "leased", "completed"]);
    drop(rig.nats);
}
