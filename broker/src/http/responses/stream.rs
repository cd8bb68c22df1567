//! A response told to whoever comes for it, from the start or from behind an event.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use pullyard_schemas::job::{Outcome, State};
use pullyard_schemas::{JobId, Token};
use tokio::sync::{mpsc, oneshot};

use super::earlier::Found;
use super::story::{Status, Story, Trouble};
use super::telling::{standing, usage};
use crate::engine::{End, Part, Subscription};
use crate::http::error::Error;
use crate::http::jobs::unread;
use crate::http::wait::{Frames, headers};
use crate::http::{App, jobs};

/// Who has read something of an attempt that does not count any more.
const ANEW: &str = "the attempt broke off and was made again: read the response from its start";

/// Tells a response with all its events behind the one with the number `after`.
pub(super) async fn stream(app: Arc<App>, found: Found, after: Option<u64>) -> Result<Response, Error> {
    let id = found.view.job.id;
    // Subscribed before it is looked at: an end in between is seen by one of the two.
    let chunks = app.engine.watch(id).await.map(Subscription::following);
    let ended = app.engine.ended(id);
    let job = app.find(id).await?.job;
    let mut story = Story::new(&job, found.repeated, found.terms.background).after(after);
    let (frames, body) = mpsc::channel::<Bytes>(64);
    let keep_alive = app.live_config().keep_alive;
    let over = job.state.is_at_rest();
    tokio::spawn(async move {
        let mut out = Vec::new();
        story.begin(&mut out);
        let mut teller = Teller { story, out, frames, seen: None };
        if !teller.send().await || (!over && !teller.follow(chunks, ended, keep_alive).await) {
            return;
        }
        // The job goes on with the next start, and so does a reader that comes back.
        if !app.engine.has_stopped() {
            teller.finish(&app, id).await;
        }
    });
    let mut response = Response::new(Body::from_stream(Frames(body)));
    headers(&mut response, &job, job.attempts, "text/event-stream");
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

struct Teller {
    story: Story,
    out: Vec<u8>,
    frames: mpsc::Sender<Bytes>,
    /// The last chunk that the story has been told.
    seen: Option<(Token, u32)>,
}

impl Teller {
    /// `false` when the reader has left.
    async fn send(&mut self) -> bool {
        self.out.is_empty() || self.frames.send(std::mem::take(&mut self.out).into()).await.is_ok()
    }

    /// `false` when it must not be told.
    async fn chunk(&mut self, token: Token, number: u32, line: &[u8]) -> bool {
        self.seen = Some((token, number));
        if !self.story.attempt(token, &mut self.out) {
            self.story.broken(ANEW, &mut self.out);
            self.send().await;
            return false;
        }
        self.story.chunk(line, &mut self.out);
        true
    }

    /// Live chunks until the job's end; `false` when there is nothing more to tell.
    async fn follow(&mut self, mut chunks: Option<Subscription>, mut ended: oneshot::Receiver<End>, keep_alive: Duration) -> bool {
        loop {
            tokio::select! {
                biased;
                part = async { match &mut chunks { Some(c) => c.next().await, None => std::future::pending().await } } => match part {
                    Part::Chunk(token, number, data) => {
                        if !self.chunk(token, number, &data).await {
                            return false;
                        }
                    }
                    Part::Restart(_) => {
                        if !self.anew().await {
                            return false;
                        }
                    }
                    Part::Closed => chunks = None,
                },
                _ = &mut ended => return true,
                () = self.frames.closed() => return false,
                () = tokio::time::sleep(keep_alive) => self.out.extend_from_slice(b": waiting\n\n"),
            }
            if !self.send().await {
                return false;
            }
        }
    }

    /// The output begins anew. `false` when that cannot be told, because some of it has been.
    async fn anew(&mut self) -> bool {
        self.seen = None;
        if self.story.has_said() {
            self.story.broken(ANEW, &mut self.out);
            self.send().await;
            return false;
        }
        true
    }

    /// What the log has and the reader has not, then the end.
    async fn finish(&mut self, app: &App, id: JobId) {
        match self.last(app, id).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => self.story.failed(Status::Failed, &Trouble { code: "server_error", message: error.message }, &mut self.out),
        }
        self.send().await;
    }

    /// `false` when the reader has been told the end, or has left.
    async fn last(&mut self, app: &App, id: JobId) -> Result<bool, Error> {
        let job = app.find(id).await?.job;
        if !matches!(job.state, State::Ended(Outcome::Completed { .. })) {
            let (status, trouble) = standing(&job);
            let cancelled = Trouble { code: "server_error", message: "the response was cancelled".to_owned() };
            self.story.failed(status, &trouble.unwrap_or(cancelled), &mut self.out);
            return Ok(true);
        }
        let ended = app.ended_from_log(id).await?;
        let jobs::Unread { anew, lines } = unread(&ended.job, &ended.output, self.seen);
        if anew.is_some() && !self.anew().await {
            return Ok(false);
        }
        for (token, number, line) in lines {
            if !self.chunk(token, number, line).await || !self.send().await {
                return Ok(false);
            }
        }
        self.story.end(&ended.job, &usage(&ended.job), &mut self.out);
        Ok(true)
    }
}
