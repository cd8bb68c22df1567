//! `POST /v1/chat/completions`: a job that is awaited on the connection, as if nothing were in between.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use pullyard_schemas::job::{Job, Outcome, State};
use pullyard_schemas::{Band, JobId};
use tokio::sync::{mpsc, oneshot};

use super::error::Error;
use super::intake::{self, Arrival};
use super::{App, Request};
use crate::engine::{Accepted, Ended, Handle, Part, Refusal, Subscription};

pub(crate) async fn create(app: Arc<App>, request: Request) -> Result<Response, Error> {
    let fields = intake::fields(&request.body)?;
    let arrival = Arrival {
        key: request.key.clone(),
        idempotency_key: request.idempotency_key.as_deref(),
        live: true,
        default_band: Band::Interactive,
    };
    let streamed = fields.stream == Some(true);
    let usage = fields.stream_options.as_ref().is_some_and(|o| o.include_usage);
    let new = intake::new_job(&app, request.body.clone(), &fields, &arrival, app.now())?;
    drop(fields);
    let id = new.id;
    let (accepted, ended) = app.engine.submit_and_wait(new);
    // A retry with a key waits for the first job, which is not this connection's to cancel.
    let leaver = Leaver { engine: app.engine.clone(), job: request.idempotency_key.is_none().then_some(id) };
    if streamed { stream(app, id, accepted, ended, leaver, usage).await } else { whole(&app, accepted, ended, leaver).await }
}

/// Cancels the job when the client leaves before its end.
struct Leaver {
    engine: Handle,
    job: Option<JobId>,
}

impl Drop for Leaver {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            self.engine.abandon(job);
        }
    }
}

async fn whole(
    app: &App,
    accepted: oneshot::Receiver<Result<Accepted, Refusal>>,
    mut ended: oneshot::Receiver<Ended>,
    mut leaver: Leaver,
) -> Result<Response, Error> {
    let job = match accepted.await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(refusal)) => {
            leaver.job = None;
            return Err(refusal.into());
        }
        Err(_) => return Err(Error::unavailable("the broker is shutting down", 5)),
    };
    let ended = match (&mut ended).await {
        Ok(ended) => ended,
        Err(_) => app.ended_from_log(job.job.id).await?,
    };
    leaver.job = None;
    let output = completed(&ended)?;
    let mut response = Response::new(Body::from(output));
    headers(&mut response, &ended.job, "application/json");
    Ok(response)
}

/// The output of a job that completed, or the error that its end is.
pub(crate) fn completed(ended: &Ended) -> Result<Bytes, Error> {
    match &ended.job.state {
        State::Ended(Outcome::Completed { .. }) => {
            let end = ended.output.len() - usize::from(ended.output.ends_with(b"\n"));
            if ended.job.spec.stream { Ok(super::assemble::response(&ended.output)) } else { Ok(ended.output.slice(..end)) }
        }
        State::Parked { failure } => Err(Error::from(failure)),
        State::Ended(Outcome::Cancelled { why }) => Err(Error::unavailable(format!("the job was cancelled: {why}"), 5)),
        State::Ended(Outcome::Expired) => Err(Error::unavailable("the job's deadline passed before it was done", 5)),
        State::Queued | State::Deferred { .. } | State::Running { .. } => Err(Error::internal("the job has not ended")),
    }
}

fn headers(response: &mut Response, job: &Job, kind: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = HeaderValue::from_str(&job.id.to_string()) {
        headers.insert("x-job-id", id);
    }
    headers.insert("x-pullyard-attempts", job.attempts.into());
    if let State::Ended(Outcome::Completed { charge, .. }) = &job.state {
        for (name, value) in [("x-pullyard-backend", &charge.backend), ("x-pullyard-model", &charge.model)] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Nothing is sent until the first chunk, the end, or the hold's end: until then an error has its own status code.
async fn stream(
    app: Arc<App>,
    id: JobId,
    accepted: oneshot::Receiver<Result<Accepted, Refusal>>,
    mut ended: oneshot::Receiver<Ended>,
    mut leaver: Leaver,
    usage: bool,
) -> Result<Response, Error> {
    let job = match accepted.await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(refusal)) => {
            leaver.job = None;
            return Err(refusal.into());
        }
        Err(_) => return Err(Error::unavailable("the broker is shutting down", 5)),
    };
    let id = if job.repeated { job.job.id } else { id };
    let live = app.live_config();
    let mut chunks = app.engine.outputs().subscribe(id);
    let mut first = None;
    let hold = tokio::time::sleep(live.hold);
    tokio::pin!(hold);
    loop {
        tokio::select! {
            biased;
            part = next(&mut chunks) => match part {
                Part::Chunk(_, _, data) => { first = Some(data); break }
                Part::Closed => chunks = None,
            },
            end = &mut ended => {
                leaver.job = None;
                let end = match end { Ok(end) => end, Err(_) => app.ended_from_log(id).await? };
                return completed_stream(&end, usage);
            }
            () = &mut hold => break,
        }
    }
    let (frames, body) = mpsc::channel::<Bytes>(64);
    let mut response = Response::new(Body::from_stream(Frames(body)));
    headers(&mut response, &job.job, "text/event-stream");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    tokio::spawn(async move {
        if let Some(data) = first
            && frames.send(frame(&data, usage)).await.is_err()
        {
            return;
        }
        pump(chunks, ended, frames, usage, live.keep_alive, &mut leaver).await;
    });
    Ok(response)
}

async fn pump(
    mut chunks: Option<Subscription>,
    mut ended: oneshot::Receiver<Ended>,
    frames: mpsc::Sender<Bytes>,
    usage: bool,
    keep_alive: Duration,
    leaver: &mut Leaver,
) {
    loop {
        let send = tokio::select! {
            biased;
            part = next(&mut chunks) => match part {
                Part::Chunk(_, _, data) => frame(&data, usage),
                Part::Closed => { chunks = None; continue }
            },
            end = &mut ended => {
                leaver.job = None;
                let Ok(end) = end else { return };
                // What came between the last look and the end.
                while let Some(Part::Chunk(_, _, data)) = chunks.as_mut().and_then(Subscription::ready) {
                    if frames.send(frame(&data, usage)).await.is_err() { return }
                }
                let last = match completed(&end) {
                    Ok(_) => Bytes::from_static(b"data: [DONE]\n\n"),
                    Err(error) => Bytes::from(format!("data: {}\n\n", error.body())),
                };
                let _ = frames.send(last).await;
                return;
            }
            () = frames.closed() => return,
            () = tokio::time::sleep(keep_alive) => Bytes::from_static(b": waiting\n\n"),
        };
        if !send.is_empty() && frames.send(send).await.is_err() {
            return;
        }
    }
}

async fn next(chunks: &mut Option<Subscription>) -> Part {
    match chunks {
        Some(chunks) => chunks.next().await,
        None => std::future::pending().await,
    }
}

/// The usage chunk is asked of every backend; only a client that asked for it gets it.
fn frame(data: &Bytes, usage: bool) -> Bytes {
    if !usage && super::assemble::is_usage_only(data) {
        return Bytes::new();
    }
    let mut frame = Vec::with_capacity(data.len() + 8);
    frame.extend_from_slice(b"data: ");
    frame.extend_from_slice(data);
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

fn completed_stream(end: &Ended, usage: bool) -> Result<Response, Error> {
    completed(end)?;
    let mut text = Vec::with_capacity(end.output.len() + 256);
    for line in end.output.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
        text.extend_from_slice(&frame(&Bytes::copy_from_slice(line), usage));
    }
    text.extend_from_slice(b"data: [DONE]\n\n");
    let mut response = Response::new(Body::from(text));
    headers(&mut response, &end.job, "text/event-stream");
    Ok(response)
}

pub(crate) struct Frames(pub(crate) mpsc::Receiver<Bytes>);

impl futures_util::Stream for Frames {
    type Item = Result<Bytes, Infallible>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|b| b.map(Ok))
    }
}
