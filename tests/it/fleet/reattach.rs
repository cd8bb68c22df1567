//! The broker is killed while attempts run elsewhere: they end there, once, and readers come back.

use pullyard_tests::{Answer, Behaviour, chat, until};

use super::rig::{Rig, content, ids, reads, text, words};

#[tokio::test(flavor = "multi_thread")]
async fn attempts_outlive_the_broker_and_readers_go_on_where_they_were() {
    let mut rig = Rig::start("slots: 1").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::Answer(Answer { tokens: 5, hold: Some(2), ..Answer::default() })]);
    let id = client.submit(&chat("m", "x")).await;
    let mut reader = client.stream(&id, None).await;
    let before = reads(&mut reader, "re x 1").await;

    rig.broker.kill9();
    rig.broker.start().await;

    let client = rig.broker.client();
    let (mut back, mut anew) = (client.stream(&id, Some("1.1")).await, client.stream(&id, None).await);
    // What was said before comes again from its worker, before there is anything new.
    let mut all = reads(&mut anew, "re x 1").await;
    assert_eq!((ids(&all), ids(&before)), (vec!["1.0", "1.1"], vec!["1.0", "1.1"]));
    rig.model.release(1);
    let mut rest = reads(&mut back, " 2 3 4").await;
    rest.extend(back.rest().await);
    all.extend(anew.rest().await);
    assert_eq!((text(&rest), ids(&rest)[0]), (" 2 3 4".to_owned(), "1.2"));
    assert_eq!((text(&all), ids(&all)[2..] == ids(&rest)[..]), ("re x 1 2 3 4".to_owned(), true));
    assert_eq!(content(&client.ended(&id).await), "re x 1 2 3 4");
    assert_eq!(client.events(&id).await, ["submitted", "leased", "completed"]);
    assert_eq!(rig.model.counts().seen, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_ends_while_no_broker_is_there_is_heard_by_the_next() {
    let mut rig = Rig::start("slots: 3").await;
    let client = rig.broker.client();
    rig.model.then([Behaviour::hold(2), Behaviour::hold(2), Behaviour::hold(2)]);
    let mut jobs = Vec::new();
    for prompt in ["a", "b", "c"] {
        jobs.push((prompt, client.submit(&chat("m", prompt)).await));
    }
    let mut reader = client.stream(&jobs[0].1, None).await;
    reads(&mut reader, "re a 1").await;
    rig.model.until("all run", |c| c.inside == 3).await;
    for (_, id) in &jobs {
        client.job_in(id, "running").await;
    }

    rig.broker.kill9();
    rig.model.release(3);
    until("the words wait in NATS", async || (words(&rig.nats).await == 3).then_some(())).await;
    rig.broker.start().await;

    let client = rig.broker.client();
    let rest = client.stream(&jobs[0].1, Some("1.1")).await.rest().await;
    assert_eq!((text(&rest), ids(&rest)[0]), (" 2".to_owned(), "1.2"));
    for (prompt, id) in &jobs {
        assert_eq!(content(&client.ended(id).await), format!("re {prompt} 1 2"));
        assert_eq!(client.events(id).await, ["submitted", "leased", "completed"]);
        assert_eq!(text(&client.stream(id, None).await.rest().await), format!("re {prompt} 1 2"));
    }
    assert_eq!(rig.model.counts().seen, 3);
    until("the words are gone from NATS", async || (words(&rig.nats).await == 0).then_some(())).await;
}
