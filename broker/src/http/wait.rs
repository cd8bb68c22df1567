//! Jobs that are awaited on the connection, as if nothing were in between.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use pullyard_schemas::job::{Job, Kind, Outcome, State};
use pullyard_schemas::{Band, JobId, Token};
use tokio::sync::{mpsc, oneshot};

use super::error::Error;
use super::intake::{self, Arrival};
use super::{App, Request, fields};
use crate::engine::{End, Ended, Handle, Part, Refusal, Subscription};

/// Runs a request of OpenAI's and answers with what comes of it, as a stream where that was asked.
pub(crate) async fn answer(app: Arc<App>, request: Request, kind: Kind) -> Result<Response, Error> {
    app.discovered().await;
    let fields = fields::read(&request.body)?;
    // A retry with a key waits for the first job, which is not this connection's to cancel.
    let keep = request.idempotency_key.is_some() || request.keep_on_leave.unwrap_or(app.live_config().keep_on_leave);
    let arrival = Arrival {
        key: request.key.clone(),
        idempotency_key: request.idempotency_key.as_deref(),
        kind: Some(kind),
        live: true,
        keep,
        default_band: Band::Interactive,
    };
    let streamed = kind != Kind::Embedding && fields.stream == Some(true);
    let usage = fields.stream_options.as_ref().is_some_and(|o| o.include_usage);
    let new = intake::new_job(&app, request.body.clone(), &fields, &arrival, app.now())?;
    drop(fields);
    if let Some(id) = app.repeated(&new).await? {
        let ended = app.ended_from_log(id).await?;
        return if streamed { completed_stream(&ended, usage) } else { completed_whole(&ended) };
    }
    let id = new.id;
    let mut leaver = Leaver { engine: app.engine.clone(), job: (!keep).then_some(id) };
    if !streamed && request.idempotency_key.is_none() {
        let ended = app.engine.run(new).await;
        leaver.job = None;
        return completed_whole(&ended.unwrap_or(Err(Refusal::Draining))?);
    }
    // A client that streams is told the job's id in the headers; one that does not hears nothing before the end.
    let (accepted, ended) = app.engine.submit_and_wait(new, streamed);
    let accepted = match accepted.await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(refusal)) => {
            leaver.job = None;
            return Err(refusal.into());
        }
        Err(_) => return Err(Error::stopping()),
    };
    let waiting = Waiting { job: accepted.view.job, ended, leaver };
    if streamed { stream(app, waiting, usage).await } else { whole(&app, waiting).await }
}

/// A job and the connection that waits for it.
struct Waiting {
    job: Arc<Job>,
    ended: oneshot::Receiver<End>,
    leaver: Leaver,
}

impl Waiting {
    async fn end(&mut self, app: &App) -> Result<Ended, Error> {
        let ended = match (&mut self.ended).await {
            Ok(ended) => ended?,
            // A client without a key starts over; one with a key, or with the job's id, finds the job again.
            Err(_) if app.engine.has_stopped() => return Err(Error::stopping()),
            // Another request's job, which ended before this one asked.
            Err(_) => app.ended_from_log(self.job.id).await?,
        };
        self.leaver.job = None;
        Ok(ended)
    }
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

async fn whole(app: &App, mut waiting: Waiting) -> Result<Response, Error> {
    let ended = waiting.end(app).await?;
    completed_whole(&ended)
}

fn completed_whole(ended: &Ended) -> Result<Response, Error> {
    let output = completed(ended)?;
    let mut response = Response::new(Body::from(output));
    headers(&mut response, &ended.job, ended.job.attempts, "application/json");
    Ok(response)
}

/// The output of a job that completed, or the error that its end is.
pub(crate) fn completed(ended: &Ended) -> Result<Bytes, Error> {
    match &ended.job.state {
        State::Ended(Outcome::Completed { .. }) => {
            let end = ended.output.len() - usize::from(ended.output.ends_with(b"\n"));
            if ended.job.spec.stream { Ok(super::assemble::response(&ended.output)) } else { Ok(ended.output.slice(..end)) }
        }
        State::Parked { failure } => Err(Error::of_failure(failure, ended.job.spec.kind)),
        State::Ended(Outcome::Cancelled { why }) => Err(Error::over(format!("the job was cancelled: {why}"))),
        State::Ended(Outcome::Expired) => Err(Error::over("the job's deadline passed before it was done")),
        State::Queued | State::Deferred { .. } | State::Running { .. } => Err(Error::internal("the job has not ended")),
    }
}

fn headers(response: &mut Response, job: &Job, attempts: u32, kind: &'static str) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if let Ok(id) = HeaderValue::from_str(&job.id.to_string()) {
        headers.insert("x-job-id", id);
    }
    if attempts > 0 {
        headers.insert("x-pullyard-attempts", attempts.into());
    }
    if job.target > 0 {
        headers.insert("x-pullyard-fallback", HeaderValue::from_static("true"));
    }
    if let State::Ended(Outcome::Completed { charge, .. }) = &job.state {
        let took = u64::try_from(job.updated_at.since(job.submitted_at).as_millis()).unwrap_or(u64::MAX);
        headers.insert("x-pullyard-queue-ms", took.saturating_sub(charge.busy_ms).into());
        let cost = if charge.cost_nanos == 0 { String::new() } else { format!("{:.9}", charge.cost_nanos as f64 / 1e9) };
        for (name, value) in
            [("x-pullyard-backend", &*charge.backend), ("x-pullyard-model", &*charge.model), ("x-pullyard-cost-usd", &*cost)]
        {
            if !value.is_empty()
                && let Ok(value) = HeaderValue::from_str(value)
            {
                headers.insert(name, value);
            }
        }
    }
}

/// Nothing is sent until the first chunk, the end, or the hold's end: until then an error has its own status code.
async fn stream(app: Arc<App>, mut waiting: Waiting, usage: bool) -> Result<Response, Error> {
    let live = app.live_config();
    let mut chunks = app.engine.watch(waiting.job.id).await;
    let mut first = None;
    let hold = tokio::time::sleep(live.hold);
    tokio::pin!(hold);
    loop {
        tokio::select! {
            biased;
            part = next(&mut chunks) => match part {
                Part::Chunk(token, number, data) => { first = Some((token, number, data)); break }
                Part::Restart(_) => {}
                Part::Closed => chunks = None,
            },
            end = waiting.end(&app) => return completed_stream(&end?, usage),
            () = &mut hold => break,
        }
    }
    let (frames, body) = mpsc::channel::<Bytes>(64);
    let mut response = Response::new(Body::from_stream(Frames(body)));
    // The job is as it was taken; the first chunk tells which attempt it is from, and not at which backend.
    let attempts = first.as_ref().map_or(0, |(token, ..)| token.0);
    headers(&mut response, &waiting.job, attempts, "text/event-stream");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    tokio::spawn(async move {
        let seen = first.as_ref().map(|(token, number, _)| (*token, *number));
        if let Some((_, _, data)) = first
            && frames.send(frame(&data, usage)).await.is_err()
        {
            return;
        }
        pump(&app, waiting, chunks, seen, frames, usage).await;
    });
    Ok(response)
}

/// `seen` is the last chunk that has been sent.
async fn pump(
    app: &App,
    mut waiting: Waiting,
    mut chunks: Option<Subscription>,
    mut seen: Option<(Token, u32)>,
    frames: mpsc::Sender<Bytes>,
    usage: bool,
) {
    let keep_alive = app.live_config().keep_alive;
    loop {
        let send = tokio::select! {
            biased;
            part = next(&mut chunks) => match part {
                Part::Chunk(token, number, data) => { seen = Some((token, number)); frame(&data, usage) }
                // Only what has no text in it is ever said again.
                Part::Restart(_) => continue,
                Part::Closed => { chunks = None; continue }
            },
            end = waiting.end(app) => {
                // What came between the last look and the end.
                while let Some(part) = chunks.as_mut().and_then(Subscription::ready) {
                    match part {
                        Part::Chunk(token, number, data) => {
                            seen = Some((token, number));
                            if frames.send(frame(&data, usage)).await.is_err() {
                                return;
                            }
                        }
                        Part::Restart(_) => {}
                        Part::Closed => break,
                    }
                }
                let end = end.and_then(|end| completed(&end).map(|_| end));
                if let Ok(end) = &end {
                    // The last of it may still be on its way, or lost; the log has all of it.
                    for (_, _, line) in super::jobs::unread(&end.job, &end.output, seen).lines {
                        let frame = frame(line, usage);
                        if !frame.is_empty() && frames.send(frame).await.is_err() {
                            return;
                        }
                    }
                }
                let last = match end {
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
fn frame(data: &[u8], usage: bool) -> Bytes {
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
        text.extend_from_slice(&frame(line, usage));
    }
    text.extend_from_slice(b"data: [DONE]\n\n");
    let mut response = Response::new(Body::from(text));
    headers(&mut response, &end.job, end.job.attempts, "text/event-stream");
    Ok(response)
}

pub(crate) struct Frames(pub(crate) mpsc::Receiver<Bytes>);

impl futures_util::Stream for Frames {
    type Item = Result<Bytes, Infallible>;
    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(cx).map(|b| b.map(Ok))
    }
}
