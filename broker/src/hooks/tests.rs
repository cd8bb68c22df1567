//! A runner, with receivers that do as they are told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use pullyard_schemas::{JobId, Timestamp};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::document::Outcome;
use super::*;
use crate::yard::wall_clock;

fn settings(allow: &str) -> Settings {
    Settings {
        secret: Some(Secret::parse("a secret of twenty-something").unwrap()),
        allow: Allow::Only([Prefix::parse(allow).unwrap()].into()),
        timeout: Duration::from_secs(5),
        backoff: Duration::from_millis(20),
        give_up_after: Duration::from_secs(60),
    }
}

fn webhook(url: &str) -> Webhook {
    Webhook { url: url.into(), events: Vec::new(), result: false }
}

/// Jobs of which each rests at once.
#[derive(Debug)]
struct AtRest;

impl Subjects for AtRest {
    fn rest(&self, _: JobId) -> Soon<Found> {
        Box::pin(std::future::ready(Found::Rests { event: "job.completed", at: Timestamp(1_000) }))
    }

    fn is_live(&self, _: JobId) -> Soon<bool> {
        Box::pin(std::future::ready(false))
    }

    fn shown(&self, job: JobId, _: bool) -> Soon<Result<Option<Bytes>, String>> {
        Box::pin(std::future::ready(Ok(Some(format!("{{\"id\":\"{job}\"}}").into()))))
    }
}

/// Answers with these, then with 200, and remembers what it was told. `None` says nothing for ever.
async fn receiver(answers: Vec<Option<u16>>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(VecDeque::from(answers))));
    let heard = told.clone();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let (heard, answers) = (heard.clone(), answers.clone());
            tokio::spawn(async move {
                let mut text = String::new();
                while !text.ends_with('}') {
                    let mut buffer = [0; 4096];
                    let n = socket.read(&mut buffer).await.unwrap();
                    if n == 0 {
                        return;
                    }
                    text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
                }
                heard.lock().unwrap().push(text);
                let answer = answers.lock().unwrap().pop_front().unwrap_or(Some(200));
                let Some(status) = answer else { return std::future::pending().await };
                let reply = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                socket.write_all(reply.as_bytes()).await.unwrap();
            });
        }
    });
    (url, told)
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let wait = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("this never came: {what}"))
}

async fn in_state(hooks: &Hooks, subject: &str, state: State) -> Document {
    until(&format!("{subject} {state:?}"), async || hooks.status(subject).await.filter(|document| document.state == state)).await
}

fn header<'a>(told: &'a str, name: &str) -> &'a str {
    told.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_else(|| panic!("no {name} in {told}"))
}

#[test]
fn attempts_double_within_a_day_and_then_it_is_given_up() {
    let settings = Settings { backoff: Duration::from_secs(5), give_up_after: Duration::from_secs(86_400), ..settings("http://127.0.0.1") };
    let mut document = Document::new("a".into(), webhook("http://127.0.0.1"));
    document.tell("job.completed".into(), Timestamp(0), Timestamp(0));
    let (mut now, mut pauses) = (Timestamp(0), Vec::new());
    while document.state == State::Pending {
        document.tried(Outcome::Again { why: "no".into(), after: None }, &settings, now);
        if let Some(next) = document.next_at {
            pauses.push(next.since(now).as_secs());
            now = next;
        }
    }
    assert!((5..=6).contains(&pauses[0]) && (10..=11).contains(&pauses[1]) && *pauses.last().unwrap() >= 4 * 3600, "{pauses:?}");
    assert!((12..30).contains(&document.attempts) && now.0 > 60_000_000 && now.0 <= 86_400_000, "{document:?}");
    assert!(document.last_error.unwrap().starts_with("no; given up after"));
}

#[test]
fn a_receiver_may_name_its_own_pause_and_end_it() {
    let settings = settings("http://127.0.0.1");
    let mut document = Document::new("a".into(), webhook("http://127.0.0.1"));
    document.tell("job.failed".into(), Timestamp(0), Timestamp(0));
    let first = document.message_id();
    document.tried(Outcome::Again { why: "busy".into(), after: Some(Duration::from_secs(30)) }, &settings, Timestamp(0));
    assert_eq!(document.next_at, Some(Timestamp(30_000)));
    document.tried(Outcome::Never("gone".into()), &settings, Timestamp(30_000));
    assert_eq!((document.state, document.attempts, document.next_at), (State::Failed, 2, None));
    document.begin(Timestamp(40_000));
    assert_eq!((document.message_id(), document.attempts), (first.clone(), 0));
    document.tell("job.completed".into(), Timestamp(50_000), Timestamp(50_000));
    assert_ne!(document.message_id(), first);
}

#[test]
fn only_what_is_wanted_is_told() {
    let some = Webhook { events: vec!["completed".into()], ..webhook("http://a") };
    assert!(some.wants("job.completed") && !some.wants("job.failed") && webhook("http://a").wants("batch.expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_told_until_it_is_heard_with_one_id() {
    let dir = tempfile::tempdir().unwrap();
    let (url, told) = receiver(vec![Some(500), Some(302)]).await;
    let (hooks, runner) = Hooks::open(dir.path(), settings(&url), wall_clock).unwrap();
    runner.start(Arc::new(AtRest));
    let job = JobId::new();
    hooks.prepare(job, webhook(&url)).await.unwrap();
    assert_eq!(hooks.status(&job.to_string()).await.unwrap().state, State::Waiting);
    hooks.await_end(job);

    let document = in_state(&hooks, &job.to_string(), State::Delivered).await;
    assert_eq!((document.attempts, document.event.as_deref(), document.last_error.as_deref()), (3, Some("job.completed"), None));
    let told = told.lock().unwrap().clone();
    assert!(told.iter().all(|message| header(message, "webhook-id") == document.message_id()));
    assert!(
        told[2].ends_with(&format!("{{\"type\":\"job.completed\",\"timestamp\":\"1970-01-01T00:00:01Z\",\"data\":{{\"id\":\"{job}\"}}}}"))
    );
    assert!(header(&told[2], "webhook-signature").starts_with("v1,"));

    let again = hooks.again(&job.to_string()).await.unwrap();
    assert_eq!((again.state, again.attempts), (State::Pending, 0));
    in_state(&hooks, &job.to_string(), State::Delivered).await;
    assert_eq!(hooks.again("nobody").await.unwrap_err(), Unheard::None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_says_nothing_takes_nothing_from_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let (silent, _) = receiver(vec![None; 100]).await;
    let (well, told) = receiver(vec![]).await;
    let allow = Allow::Only([silent.as_str(), &well].map(|url| Prefix::parse(url).unwrap()).into());
    let (hooks, runner) =
        Hooks::open(dir.path(), Settings { allow, timeout: Duration::from_secs(600), ..settings(&well) }, wall_clock).unwrap();
    runner.start(Arc::new(AtRest));
    for _ in 0..50 {
        let job = JobId::new();
        hooks.prepare(job, webhook(&silent)).await.unwrap();
        hooks.await_end(job);
    }
    for n in 0..20 {
        let data = RawValue::from_string(format!("{{\"n\":{n}}}")).unwrap();
        hooks.notify(&format!("batch_{n}"), "batch.completed", data, webhook(&well)).await.unwrap();
    }
    until("all of the other's", async || (told.lock().unwrap().len() == 20).then_some(())).await;
    until("the counts", async || (hooks.counts().delivered == 20 && hooks.counts().pending == 50).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_life_has_left_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let (url, told) = receiver(vec![]).await;
    let (waiting, unknown_to_nobody) = (JobId::new(), "batch_1");
    {
        // Nobody runs.
        let (hooks, _unstarted) = Hooks::open(dir.path(), settings(&url), wall_clock).unwrap();
        hooks.prepare(waiting, webhook(&url)).await.unwrap();
    }
    let mut pending = Document::new(unknown_to_nobody.into(), webhook(&url));
    pending.data = Some(RawValue::from_string("{\"b\":1}".into()).unwrap().into());
    pending.tell("batch.failed".into(), Timestamp(5), Timestamp(5));
    std::fs::write(dir.path().join("batch_1.json"), serde_json::to_vec(&pending).unwrap()).unwrap();
    std::fs::write(dir.path().join("half.part"), "{").unwrap();

    let (hooks, runner) = Hooks::open(dir.path(), settings(&url), wall_clock).unwrap();
    runner.start(Arc::new(AtRest));
    for subject in [&waiting.to_string(), unknown_to_nobody] {
        in_state(&hooks, subject, State::Delivered).await;
    }
    assert_eq!(told.lock().unwrap().len(), 2);
    assert!(!dir.path().join("half.part").exists());
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    assert_eq!(hooks.sweep(later, &|job| job == waiting).unwrap(), 1);
    assert!(hooks.status(unknown_to_nobody).await.is_none() && hooks.status(&waiting.to_string()).await.is_some());
}
