//! What an application does: requests, jobs and server-sent events.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::until;

/// A chat request with one question.
#[must_use]
pub fn chat(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

/// Talks to one broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
}

impl Client {
    #[must_use]
    pub fn new(base: String) -> Self {
        // The broker is on this machine and has no certificate.
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([]).pool_max_idle_per_host(256).build().unwrap();
        Self { http, base, key: None }
    }

    /// The same broker, with an API key.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.header(AUTHORIZATION, format!("Bearer {key}")),
            None => request,
        }
    }

    pub fn posting(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).header(CONTENT_TYPE, "application/json").body(body.to_string())
    }

    pub async fn get(&self, path: &str) -> Reply {
        Reply::to(self.request(Method::GET, path)).await.unwrap()
    }

    /// Nothing when nobody answers.
    pub async fn try_get(&self, path: &str) -> Option<Reply> {
        Reply::to(self.request(Method::GET, path)).await.ok()
    }

    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        Reply::to(self.posting(path, body)).await.unwrap()
    }

    /// A post that a retry may repeat.
    pub async fn post_once(&self, path: &str, body: &Value, idempotency_key: &str) -> Result<Reply, reqwest::Error> {
        Reply::to(self.posting(path, body).header("Idempotency-Key", idempotency_key)).await
    }

    /// Submits a job and returns its id.
    pub async fn submit(&self, body: &Value) -> String {
        let reply = self.post("/v1/jobs", body).await.expect(202);
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    pub async fn job(&self, id: &str) -> Value {
        self.get(&format!("/v1/jobs/{id}")).await.expect(200).json()
    }

    /// The job as soon as it is in this state.
    pub async fn job_in(&self, id: &str, state: &str) -> Value {
        until(&format!("job {id} {state}"), async || Some(self.job(id).await).filter(|job| job["state"] == state)).await
    }

    /// The job at its end; a parked one counts, because nothing more happens to it by itself.
    pub async fn ended(&self, id: &str) -> Value {
        let over = |job: &Value| matches!(job["state"].as_str(), Some("completed" | "cancelled" | "expired" | "parked"));
        until(&format!("the end of job {id}"), async || Some(self.job(id).await).filter(over)).await
    }

    /// The names of a job's events.
    pub async fn events(&self, id: &str) -> Vec<String> {
        let list = self.get(&format!("/v1/jobs/{id}/events")).await.expect(200).json();
        list["data"].as_array().unwrap().iter().map(|e| e["event"].as_str().unwrap().to_owned()).collect()
    }

    /// Every job, page by page.
    pub async fn all_jobs(&self) -> Vec<Value> {
        let mut jobs: Vec<Value> = Vec::new();
        loop {
            let after = jobs.last().map(|job| format!("&after={}", job["id"].as_str().unwrap())).unwrap_or_default();
            let page = self.get(&format!("/v1/jobs?limit=200{after}")).await.expect(200).json();
            jobs.extend(page["data"].as_array().unwrap().iter().cloned());
            if page["has_more"] == false {
                return jobs;
            }
        }
    }

    /// A job's live output.
    pub async fn stream(&self, id: &str, last_event_id: Option<&str>) -> Events {
        let mut request = self.request(Method::GET, &format!("/v1/jobs/{id}/stream"));
        if let Some(last) = last_event_id {
            request = request.header("Last-Event-ID", last);
        }
        Events::of(request).await
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub async fn to(request: RequestBuilder) -> Result<Self, reqwest::Error> {
        Self::of(request.send().await?).await
    }

    async fn of(response: Response) -> Result<Self, reqwest::Error> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Self { status, headers, body: response.bytes().await? })
    }

    /// The answer, which must have this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The error's message; the answer must be one in the envelope that OpenAI's clients parse.
    #[must_use]
    #[track_caller]
    pub fn error(&self) -> String {
        errors_are_explained(&self.body).unwrap_or_else(|| panic!("no error envelope: {}", self.text()))
    }

    /// The text of a chat completion.
    #[must_use]
    #[track_caller]
    pub fn content(&self) -> String {
        let json = self.json();
        json["choices"][0]["message"]["content"].as_str().unwrap_or_else(|| panic!("no content: {json}")).to_owned()
    }
}

/// The message of an error envelope with all its four fields.
#[must_use]
pub fn errors_are_explained(body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let error = value.get("error")?.as_object()?;
    let whole = error.get("type")?.is_string() && error.contains_key("param") && error.contains_key("code");
    error.get("message")?.as_str().filter(|m| whole && !m.is_empty()).map(str::to_owned)
}

/// One server-sent event, or a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event {
    pub id: Option<String>,
    pub event: Option<String>,
    pub data: String,
    pub comment: Option<String>,
}

impl Event {
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.data))
    }

    /// The piece of text in a chat chunk.
    #[must_use]
    pub fn content(&self) -> String {
        let chunk: Value = serde_json::from_str(&self.data).unwrap_or_default();
        chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    }
}

/// A stream of events; dropping it closes the connection.
#[derive(Debug)]
pub struct Events {
    response: Response,
    rest: String,
}

impl Events {
    /// The request must be answered with a stream.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "text/event-stream");
        Self { response, rest: String::new() }
    }

    /// The stream, or the answer that is none; nothing when nobody answers.
    pub async fn try_of(request: RequestBuilder) -> Option<Result<Self, Reply>> {
        let response = request.send().await.ok()?;
        let is_stream = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        if response.status() == 200 && is_stream {
            return Some(Ok(Self { response, rest: String::new() }));
        }
        Reply::of(response).await.ok().map(Err)
    }

    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name).and_then(|v| v.to_str().ok())
    }

    /// The next event or comment; nothing at the stream's end, however it ends.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                let event = parse(frame);
                self.rest = rest.to_owned();
                return Some(event);
            }
            let more = tokio::time::timeout(Duration::from_secs(20), self.response.chunk()).await.expect("the stream is not silent");
            self.rest.push_str(std::str::from_utf8(&more.ok()??).unwrap());
        }
    }

    /// All that is left, without comments.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut all = Vec::new();
        while let Some(event) = self.next().await {
            if event.comment.is_none() {
                all.push(event);
            }
        }
        all
    }
}

fn parse(frame: &str) -> Event {
    let mut event = Event::default();
    for line in frame.lines() {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => event.comment = Some(value.to_owned()),
            "id" => event.id = Some(value.to_owned()),
            "event" => event.event = Some(value.to_owned()),
            "data" => event.data.push_str(value),
            other => panic!("a field that breaks clients: {other:?}"),
        }
    }
    event
}
