//! Clients that ask, read, come back and cancel, and hold the broker to what it says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pullyard_tests::{Client, Event, Events, Reply, errors_are_explained};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::asks::{Ask, Manner};

const CHAT: &str = "/v1/chat/completions";
/// Before a client that was not answered asks again.
const AGAIN: Duration = Duration::from_millis(100);

/// How fast one client asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    pub(super) jobs: usize,
    pub(super) over: Duration,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// By job id: it was answered 202, or named in a stream's head.
    accepted: Mutex<BTreeMap<String, Ask>>,
    /// What clients do now, by key.
    waiting: Mutex<BTreeMap<String, String>>,
    pub(super) restarts: AtomicUsize,
    pub(super) resumes: AtomicUsize,
    pub(super) turned_away: AtomicUsize,
}

impl Told {
    pub(super) fn accepted(&self) -> BTreeMap<String, Ask> {
        self.accepted.lock().unwrap().clone()
    }

    pub(super) fn waiting(&self) -> BTreeMap<String, String> {
        self.waiting.lock().unwrap().clone()
    }

    fn accept(&self, id: &str, ask: &Ask) {
        let before = self.accepted.lock().unwrap().insert(id.to_owned(), ask.clone());
        assert!(before.is_none_or(|before| before.key == ask.key), "job {id} is another's");
    }
}

pub(super) async fn load(client: Client, told: Arc<Told>, number: usize, pace: Pace, mut dice: fastrand::Rng) {
    let mut tick = tokio::time::interval(pace.over / u32::try_from(pace.jobs).unwrap());
    for n in 0..pace.jobs {
        tick.tick().await;
        let ask = Ask::roll(number, n, &mut dice);
        let customer = Customer { client: &client, told: &told, ask: &ask };
        customer.says("asks");
        customer.goes(&mut dice).await;
        told.waiting.lock().unwrap().remove(&ask.key);
    }
}

struct Customer<'a> {
    client: &'a Client,
    told: &'a Told,
    ask: &'a Ask,
}

impl Customer<'_> {
    fn says(&self, what: &str) {
        self.told.waiting.lock().unwrap().insert(self.ask.key.clone(), format!("{:?} {what}", self.ask.manner));
    }

    async fn goes(&self, dice: &mut fastrand::Rng) {
        match self.ask.manner {
            Manner::Polled | Manner::Urgent | Manner::Embedded => {
                let id = self.submits().await;
                if dice.u8(0..8) == 0 {
                    assert_eq!(self.submits().await, id, "one key is one job");
                }
            }
            Manner::Forgotten => drop(Reply::to(self.client.posting("/v1/jobs", &self.ask.body)).await),
            Manner::Watched => {
                let id = self.submits().await;
                for _ in 0..dice.u8(1..3) {
                    Reader { customer: self, id: &id, at: None, text: String::new() }.reads(dice).await;
                }
            }
            Manner::Cancelled => {
                let id = self.submits().await;
                tokio::time::sleep(Duration::from_millis(dice.u64(0..400))).await;
                self.cancels(&id).await;
            }
            Manner::Whole { keyed } => self.waits(keyed).await,
            Manner::Streamed { keyed } => self.streams(keyed).await,
            Manner::Left { streamed } => {
                let patience = Duration::from_millis(dice.u64(1..400));
                let work = async { if streamed { self.streams(false).await } else { self.waits(false).await } };
                let _ = tokio::time::timeout(patience, work).await;
            }
        }
    }

    /// Until the broker has taken it.
    async fn submits(&self) -> String {
        loop {
            if let Ok(reply) = self.client.post_once("/v1/jobs", &self.ask.body, &self.ask.key).await
                && !self.is_turned_away(&reply)
            {
                assert!(matches!(reply.status, 200 | 202), "{}: {} {}", self.ask.key, reply.status, reply.text());
                let id = reply.json()["id"].as_str().unwrap().to_owned();
                self.told.accept(&id, self.ask);
                return id;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The broker stops, or does not know its workers yet.
    fn is_turned_away(&self, reply: &Reply) -> bool {
        let stops = reply.status == 503 && reply.text().contains("the broker is shutting down");
        let early = matches!(reply.status, 400 | 404 | 503)
            && ["model_not_found", "model_not_capable", "no_models_yet"].iter().any(|code| reply.text().contains(code));
        if stops || early {
            self.told.turned_away.fetch_add(1, Ordering::Relaxed);
            self.says(&format!("was turned away: {}", reply.error()));
        }
        stops || early
    }

    async fn cancels(&self, id: &str) {
        self.says("cancels");
        loop {
            match Reply::to(self.client.posting(&format!("/v1/jobs/{id}/cancel"), &json!({}))).await {
                // It may have ended before.
                Ok(reply) if matches!(reply.status, 200 | 409) => return,
                Ok(reply) => assert!(self.is_turned_away(&reply) || reply.status == 503, "{id}: {} {}", reply.status, reply.text()),
                Err(_) => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn asking(&self, keyed: bool) -> RequestBuilder {
        let request = self.client.posting(CHAT, &self.ask.body);
        if keyed { request.header("Idempotency-Key", &self.ask.key) } else { request }
    }

    /// On the connection, in one piece.
    async fn waits(&self, keyed: bool) {
        loop {
            match Reply::to(self.asking(keyed)).await {
                Ok(reply) if reply.status == 200 => return assert_eq!(reply.content(), self.ask.reply()),
                Ok(reply) if self.is_turned_away(&reply) => {}
                Ok(reply) => return self.is_over(&reply),
                Err(_) if keyed => {}
                Err(_) => return,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// An end without a result is explained.
    fn is_over(&self, reply: &Reply) {
        assert!(reply.status >= 400 && errors_are_explained(&reply.body).is_some(), "{}: {} {}", self.ask.key, reply.status, reply.text());
    }

    /// On the connection, as it comes.
    async fn streams(&self, keyed: bool) {
        loop {
            match Events::try_of(self.asking(keyed)).await {
                Some(Ok(events)) => {
                    if self.hears(events).await || !keyed {
                        return;
                    }
                }
                Some(Err(reply)) if self.is_turned_away(&reply) => {}
                Some(Err(reply)) => return self.is_over(&reply),
                None if keyed => {}
                None => return,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Whether it came to an end.
    async fn hears(&self, mut events: Events) -> bool {
        let id = events.header("x-job-id").unwrap().to_owned();
        self.told.accept(&id, self.ask);
        self.says(&format!("hears {id}"));
        let (mut text, whole) = (String::new(), self.ask.reply());
        while let Some(event) = events.next().await {
            if event.data == "[DONE]" {
                assert_eq!(text, whole, "job {id}");
                return true;
            }
            if errors_are_explained(event.data.as_bytes()).is_some() {
                return true;
            }
            text.push_str(&event.content());
            assert!(whole.starts_with(&text), "job {id}: a live client has read {text:?}");
        }
        false
    }
}

/// Reads a job's stream, and comes back where it left off.
struct Reader<'a> {
    customer: &'a Customer<'a>,
    id: &'a str,
    at: Option<String>,
    text: String,
}

impl Reader<'_> {
    async fn reads(mut self, dice: &mut fastrand::Rng) {
        let Customer { client, ask, told } = self.customer;
        loop {
            self.customer.says(&format!("reads {} from {:?}", self.id, self.at));
            let mut request = client.request(Method::GET, &format!("/v1/jobs/{}/stream", self.id));
            if let Some(at) = &self.at {
                told.resumes.fetch_add(1, Ordering::Relaxed);
                request = request.header("Last-Event-ID", at);
            }
            match Events::try_of(request).await {
                Some(Ok(events)) => {
                    // Some readers have enough of it after a while.
                    let enough = if dice.bool() { dice.usize(1..8) } else { usize::MAX };
                    if self.follows(events, enough).await {
                        return;
                    }
                }
                Some(Err(reply)) => assert_eq!(reply.status, 503, "{}: job {}: {}", ask.key, self.id, reply.text()),
                None => {}
            }
            tokio::time::sleep(Duration::from_millis(dice.u64(0..300))).await;
        }
    }

    /// Whether the job has come to its end.
    async fn follows(&mut self, mut events: Events, enough: usize) -> bool {
        for _ in 0..enough {
            let Some(event) = events.next().await else { return false };
            match event.event.as_deref() {
                _ if event.comment.is_some() => {}
                Some("restart") => {
                    self.customer.told.restarts.fetch_add(1, Ordering::Relaxed);
                    (self.at, self.text) = (None, String::new());
                }
                Some("end") => {
                    let job = event.json();
                    if job["state"] == "completed" && job["kind"] == "chat" && self.customer.ask.body["stream"] != false {
                        assert_eq!(self.text, self.customer.ask.reply(), "job {} was read by {}", self.id, self.customer.ask.key);
                    }
                    return true;
                }
                // What could not be looked up now is asked for again.
                Some("error") => return false,
                Some(other) => panic!("job {}: an event {other:?}", self.id),
                None => self.takes(&event),
            }
        }
        false
    }

    fn takes(&mut self, event: &Event) {
        let place = |id: &str| id.split_once('.').map(|(token, chunk)| (token.parse::<u32>().unwrap(), chunk.parse::<u32>().unwrap()));
        let id = event.id.as_deref().unwrap_or_else(|| panic!("job {}: a chunk without a place: {event:?}", self.id));
        let (before, now) = (self.at.as_deref().and_then(place), place(id).unwrap());
        let follows = match before {
            Some((token, chunk)) => now == (token, chunk + 1) || (now.0 > token && now.1 == 0),
            None => now.1 == 0,
        };
        assert!(follows, "job {}: chunk {now:?} came after {before:?}", self.id);
        self.at = Some(id.to_owned());
        self.text.push_str(&event.content());
        let whole = self.customer.ask.reply();
        let embeds = self.customer.ask.manner == Manner::Embedded || self.customer.ask.body["stream"] == false;
        assert!(embeds || whole.starts_with(&self.text), "job {}: a reader has {:?}", self.id, self.text);
    }
}
