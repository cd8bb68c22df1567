//! `webhook`: who is told of a job's end, and how that stands.

use std::sync::{Arc, Weak};

use axum::response::Response;
use bytes::Bytes;
use hyper::StatusCode;
use pullyard_schemas::JobId;
use pullyard_schemas::job::{Job, Outcome, State};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::App;
use super::error::Error;
use super::fields::{Fields, must_be};
use super::jobs::{parse, reply, result};
use super::shown::{Shown, Time};
use crate::core::nearest::suggest;
use crate::engine::{Accepted, NewJob};
use crate::hooks::{Document, Found, Soon, Subjects, Unheard, Webhook, target};

/// What can become of a job, or of a batch.
const EVENTS: [&str; 4] = ["completed", "failed", "cancelled", "expired"];

/// Who is to be told, as the request says it: an address, or an object with one.
pub(crate) fn wanted(app: &App, fields: &Fields<'_>) -> Result<Option<Webhook>, Error> {
    fields.webhook.filter(|raw| raw.get() != "null").map(|raw| read(app, raw)).transpose()
}

/// The field's value, checked; what can become of a batch has the same names.
pub(crate) fn read(app: &App, raw: &RawValue) -> Result<Webhook, Error> {
    let object = match serde_json::from_str(raw.get()).unwrap_or_default() {
        Value::String(url) => Map::from_iter([("url".to_owned(), Value::String(url))]),
        Value::Object(object) => object,
        other => return Err(must_be("webhook", "an address, or an object such as {\"url\": \"https://…\"}", &other)),
    };
    let known = ["url", "events", "result"];
    if let Some(name) = object.keys().find(|name| !known.contains(&name.as_str())) {
        let param = format!("webhook.{name}");
        return Err(Error::bad_request(&param, format!("there is no field `{param}`; {}", suggest(name, &known))));
    }
    let url = match object.get("url") {
        Some(Value::String(url)) => url,
        Some(other) => return Err(must_be("webhook.url", "a text", other)),
        None => return Err(Error::bad_request("webhook.url", "`webhook.url` is missing; say the address that is to be told")),
    };
    target(url, &app.hooks.settings().allow).map_err(|why| Error::bad_request("webhook.url", format!("`webhook.url`: {why}")))?;
    let result = match object.get("result") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(result)) => *result,
        Some(other) => return Err(must_be("webhook.result", "true or false", other)),
    };
    let events = match object.get("events") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) if list.is_empty() => {
            return Err(Error::bad_request("webhook.events", "`webhook.events` is empty; leave it out to be told of every end"));
        }
        Some(Value::Array(list)) => list.iter().enumerate().map(|(at, name)| event(at, name)).collect::<Result<_, _>>()?,
        Some(other) => return Err(must_be("webhook.events", "a list of texts", other)),
    };
    Ok(Webhook { url: url.as_str().into(), events, result })
}

fn event(at: usize, name: &Value) -> Result<Arc<str>, Error> {
    let path = format!("webhook.events[{at}]");
    let Some(text) = name.as_str() else { return Err(must_be(&path, "a text", name)) };
    let event = text.strip_prefix("job.").or_else(|| text.strip_prefix("batch.")).unwrap_or(text);
    if EVENTS.contains(&event) {
        return Ok(event.into());
    }
    let shown: String = text.chars().take(60).collect();
    Err(Error::bad_request(&path, format!("`{path}` cannot be {shown:?}; {}", suggest(event, &EVENTS))))
}

/// Submits a job with a webhook. What is to be told is on disk before the job is, and a client that leaves in between changes
/// nothing.
pub(crate) async fn submit(app: &Arc<App>, new: NewJob, webhook: Webhook) -> Result<Accepted, Error> {
    let app = app.clone();
    let submitted = tokio::spawn(async move {
        let own = new.id;
        app.hooks.prepare(own, webhook).await.map_err(|e| Error::unavailable(format!("the webhook cannot be kept: {e}"), 5))?;
        let accepted = app.engine.submit(new).await;
        match &accepted {
            Ok(accepted) if accepted.view.job.id == own => app.hooks.await_end(own),
            // The engine may have taken it just before it stopped; the next start will see.
            Err(_) if app.engine.has_stopped() => {}
            // Refused, or a repeat of a job that was told whom to tell.
            Ok(_) | Err(_) => app.hooks.drop_prepared(own).await,
        }
        Ok(accepted?)
    });
    submitted.await.map_err(|e| Error::internal(e.to_string()))?
}

/// How it stands, for the job that it is about.
pub(crate) async fn shown(app: &App, id: JobId) -> Option<Value> {
    standing(app, &id.to_string()).await
}

/// How it stands, for whatever it is about.
pub(crate) async fn standing(app: &App, subject: &str) -> Option<Value> {
    app.hooks.status(subject).await.map(|document| value(&document))
}

fn value(document: &Document) -> Value {
    json!({
        "url": document.webhook.url, "state": document.state, "event": document.event, "attempts": document.attempts,
        "last_error": document.last_error, "next_at": document.next_at.map(Time), "delivered_at": document.delivered_at.map(Time),
        "message_id": document.event.is_some().then(|| document.message_id()),
    })
}

pub(crate) async fn get(app: &App, id: &str) -> Result<Response, Error> {
    let id = parse(id)?;
    app.find(id).await?;
    let found = shown(app, id).await.ok_or(Unheard::None)?;
    Ok(reply(StatusCode::OK, &found))
}

/// Tells it once more.
pub(crate) async fn again(app: &App, id: &str) -> Result<Response, Error> {
    let id = parse(id)?;
    app.find(id).await?;
    let document = app.hooks.again(&id.to_string()).await?;
    Ok(reply(StatusCode::OK, &value(&document)))
}

/// Jobs, as webhooks tell of them. It does not keep the broker alive.
#[derive(Clone, Debug)]
pub(crate) struct Jobs(pub(crate) Weak<App>);

impl Jobs {
    async fn found(&self, job: JobId) -> Found {
        let Some(app) = self.0.upgrade() else { return Found::Later };
        // Subscribe before looking: an end in between is seen by one of the two.
        let ended = app.engine.ended(job);
        match app.find(job).await {
            Ok(view) if view.job.state.is_at_rest() => return rests(&view.job),
            Ok(_) => {}
            Err(error) if error.status == StatusCode::NOT_FOUND => return Found::Unknown,
            Err(_) => return Found::Later,
        }
        drop(app);
        match ended.await {
            Ok(Ok(ended)) => rests(&ended.job),
            Ok(Err(_)) | Err(_) => Found::Later,
        }
    }
}

fn rests(job: &Job) -> Found {
    let event = match &job.state {
        State::Ended(Outcome::Completed { .. }) => "job.completed",
        State::Ended(Outcome::Cancelled { .. }) => "job.cancelled",
        State::Ended(Outcome::Expired) => "job.expired",
        State::Parked { .. } => "job.failed",
        State::Ended(Outcome::Deleted) => return Found::Unknown,
        State::Queued | State::Deferred { .. } | State::Running { .. } => return Found::Later,
    };
    Found::Rests { event, at: job.updated_at }
}

impl Subjects for Jobs {
    fn rest(&self, job: JobId) -> Soon<Found> {
        let jobs = self.clone();
        Box::pin(async move { jobs.found(job).await })
    }

    fn is_live(&self, job: JobId) -> Soon<bool> {
        let app = self.0.upgrade();
        Box::pin(async move {
            let Some(app) = app else { return false };
            app.engine.get(job).await.is_some_and(|view| !view.job.state.is_at_rest())
        })
    }

    fn shown(&self, job: JobId, with_result: bool) -> Soon<Result<Option<Bytes>, String>> {
        let app = self.0.upgrade();
        Box::pin(async move {
            let Some(app) = app else { return Err("the broker is stopping".to_owned()) };
            let found = match app.find(job).await {
                Ok(found) => found,
                Err(error) if error.status == StatusCode::NOT_FOUND => return Ok(None),
                Err(error) => return Err(error.message),
            };
            let answered = if with_result { result(&app, &found).await.map_err(|error| error.message)? } else { Bytes::new() };
            serde_json::to_vec(&Shown::whole(&found, &answered, None)).map(|shown| Some(shown.into())).map_err(|e| e.to_string())
        })
    }
}
