//! One call over a socket: timeouts, size caps, cancellation, and the dialect in between.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use pullyard_schemas::{Failure, FailureKind, Usage};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, Url};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::framing::{self, Framer};
use super::resume::Said;
use super::seam::Seam;
use super::{Call, Chunk, Decoder, Dialect, Endpoint, Progress, Wire, failure, ollama};
use crate::end::{Broken, Finished};

/// The API version that Anthropic's servers are asked for; they take any that they ever had.
pub(super) const ANTHROPIC_VERSION: &str = "2023-06-01";
/// An error's body is read up to here.
const MAX_ERROR: usize = 64 << 10;
/// How long a call whose client left may still be read for its usage.
const DRAIN: Duration = Duration::from_secs(120);
/// How long a stream may take to close after its reply has ended.
const REST: Duration = Duration::from_secs(1);
/// A pooled connection that the server had closed shows itself this soon; sending once more then doubles nothing.
const STALE: Duration = Duration::from_millis(250);

const SILENT: &str = "was silent for";
const BROKE_OFF: &str = "broke off in the middle of its reply";

/// A client for one endpoint.
///
/// # Errors
/// When the system's TLS cannot be set up.
pub fn client(connect: Duration) -> Result<Client, reqwest::Error> {
    Client::builder()
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .pool_max_idle_per_host(1024)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .build()
}

/// Makes the call, gives out each chunk, and tells how it ended.
///
/// # Errors
/// When the call fails, times out or is cancelled; what was used until then is told with it.
pub async fn drive(
    client: &Client,
    endpoint: &Endpoint,
    call: &Call,
    on_chunk: &mut (dyn FnMut(Chunk) + Send),
    cancel: &CancellationToken,
) -> Result<Finished, Broken> {
    let started = Instant::now();
    let said = call.prefix.as_deref().map(Said::read).transpose().map_err(|e| Broken::before(endpoint.named(e)))?;
    // Only the server's last words were missing: there is nothing left to ask for.
    if let Some(finish) = said.as_ref().and_then(|said| said.finish.clone()) {
        return Ok(Finished { usage: Usage::default(), finish: Some(finish) });
    }
    let behind = said.as_ref().map(|said| said.behind(call, endpoint.dialect.prefill(call.kind)));
    let call = match behind.transpose().map_err(|e| Broken::before(endpoint.named(e)))? {
        Some(body) => &Call { body, ..call.clone() },
        None => call,
    };
    if endpoint.dialect != Dialect::Ollama && ollama::is_load(call) {
        on_chunk(ollama::loaded(call));
        return Ok(Finished { usage: Usage::default(), finish: Some("stop".into()) });
    }
    let wire = endpoint.dialect.request(call).map_err(Broken::before)?;
    let mut attempt = Attempt {
        endpoint,
        url: endpoint.of_call(call.kind),
        decoder: endpoint.dialect.decoder(call),
        progress: Progress::default(),
        seam: said.map(Seam::new),
        started,
        until: started + endpoint.timeouts.attempt,
        delivered: false,
        contents: 0,
        left: false,
        cancel,
        on_chunk,
    };
    match attempt.run(client, &wire).await {
        // However it ended, nobody waits for it.
        _ if attempt.left => Err(attempt.broken(Failure::new(FailureKind::Cancelled, "the attempt was withdrawn"))),
        Ok(()) => {
            attempt.give_rest();
            Ok(Finished { usage: attempt.usage().unwrap_or_default(), finish: attempt.progress.finish.take() })
        }
        Err(failure) => Err(attempt.broken(failure)),
    }
}

struct Attempt<'a> {
    endpoint: &'a Endpoint,
    url: &'a Url,
    decoder: Decoder,
    progress: Progress,
    seam: Option<Seam>,
    started: Instant,
    until: Instant,
    delivered: bool,
    /// Chunks with content, for a server that does not count tokens.
    contents: u64,
    /// Cancelled: nothing more is given out, though it may still be read for its usage.
    left: bool,
    cancel: &'a CancellationToken,
    on_chunk: &'a mut (dyn FnMut(Chunk) + Send),
}

impl Attempt<'_> {
    fn broken(&self, mut failure: Failure) -> Broken {
        // The request was taken before, when it did not end with a text of the assistant's.
        if failure.kind == FailureKind::BadRequest && self.seam.is_some() && self.contents == 0 {
            failure.kind = FailureKind::CannotContinue;
        }
        // A withdrawal is no doing of the server's.
        let failure = if failure.kind == FailureKind::Cancelled { failure } else { self.endpoint.named(failure) };
        Broken { failure, usage: self.usage(), delivered: self.delivered }
    }

    /// As the server counted; as many completion tokens as there were chunks where it did not.
    fn usage(&self) -> Option<Usage> {
        self.progress.usage.or_else(|| (self.contents > 0).then(|| Usage { completion: self.contents, ..Usage::default() }))
    }

    async fn run(&mut self, client: &Client, wire: &Wire) -> Result<(), Failure> {
        let streamed = wire.framing != framing::Kind::Whole;
        let first = if streamed { self.started + self.endpoint.timeouts.first_token } else { self.until };
        let mut response = self.send(client, wire, first).await?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            let headers = response.headers().clone();
            let body = self.body(&mut response, MAX_ERROR, first).await.unwrap_or_default();
            return Err(failure::of_status(status, &headers, &body));
        }
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        // Some servers answer in one piece whatever they are asked.
        if !streamed || (wire.framing == framing::Kind::Sse && kind.starts_with("application/json")) {
            let body = self.body(&mut response, self.endpoint.max_output_bytes, self.until).await?;
            let mut chunk = self.decoder.whole(body, &mut self.progress)?;
            if streamed {
                chunk.data = super::openai::as_chunk(&chunk.data)?;
            }
            self.give(chunk);
            return Ok(());
        }
        self.stream(&mut response, wire.framing, first).await?;
        read_out(response);
        Ok(())
    }

    async fn send(&mut self, client: &Client, wire: &Wire, until: Instant) -> Result<Response, Failure> {
        let mut again = true;
        loop {
            let request = self.request(client, wire);
            let sent = Instant::now();
            let error = match self.wait(request.send(), until, "did not begin to answer within").await? {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let stale = !error.is_connect() && !error.is_timeout() && error.is_request() && sent.elapsed() < STALE;
            // Once: a server that hangs up on this request would otherwise get it over and over.
            if !stale || self.left || !std::mem::take(&mut again) {
                return Err(connection(&error));
            }
        }
    }

    fn request(&self, client: &Client, wire: &Wire) -> RequestBuilder {
        let request = client.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(wire.body.clone());
        let request = authorized(request, self.endpoint);
        if wire.headers.is_empty() {
            return request;
        }
        // These go in the place of ours.
        let valid = |(name, value): &(&'static str, String)| Some((HeaderName::from_static(name), HeaderValue::from_str(value).ok()?));
        request.headers(wire.headers.iter().filter_map(valid).collect())
    }

    async fn stream(&mut self, response: &mut Response, kind: framing::Kind, first: Instant) -> Result<(), Failure> {
        let mut framer = Framer::new(kind);
        let mut chunks = Vec::new();
        let (mut received, mut frames) = (0usize, 0usize);
        let mut until = first;
        while !self.progress.done {
            let what = if self.contents == 0 { "gave no token within" } else { SILENT };
            let bytes = self.wait(response.chunk(), until, what).await?.map_err(|e| connection(&e))?;
            let Some(bytes) = bytes else {
                while let Some(frame) = framer.last() {
                    match self.decoded(frame, &mut chunks) {
                        Ok(()) => frames += 1,
                        // Half a frame is no wrong frame: the stream ended in its middle.
                        Err(failure) if failure.kind == FailureKind::Garbage => {}
                        Err(failure) => return Err(failure),
                    }
                }
                break;
            };
            received += bytes.len();
            if received > self.endpoint.max_output_bytes {
                return Err(failure::garbage(&format!("the reply is larger than {} bytes", self.endpoint.max_output_bytes)));
            }
            framer.push(&bytes)?;
            while !self.progress.done
                && let Some(frame) = framer.next()?
            {
                self.decoded(frame, &mut chunks)?;
                frames += 1;
            }
            if self.contents > 0 {
                until = Instant::now() + self.endpoint.timeouts.between_tokens;
            }
        }
        if frames == 0 && received > 0 {
            return Err(failure::garbage("the reply is not the stream that was expected"));
        }
        // A stream that ends in the middle looks like any other end, except that nobody said why it ended.
        if self.progress.finish.is_none() && (!self.progress.done || self.contents == 0) {
            return Err(Failure::new(FailureKind::Backend, BROKE_OFF));
        }
        Ok(())
    }

    /// Gives out what a frame holds, also when it holds an error behind it.
    fn decoded(&mut self, frame: framing::Frame, chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        let decoded = self.decoder.frame(frame, &mut self.progress, chunks);
        for chunk in chunks.drain(..) {
            self.give(chunk);
        }
        decoded
    }

    fn give(&mut self, chunk: Chunk) {
        self.contents += u64::from(chunk.has_content);
        self.left |= self.cancel.is_cancelled();
        if self.left {
            return;
        }
        match &mut self.seam {
            None => self.out(chunk),
            Some(seam) => seam.pass(chunk).into_iter().for_each(|chunk| self.out(chunk)),
        }
    }

    fn give_rest(&mut self) {
        let rest = self.seam.as_mut().map(Seam::rest).unwrap_or_default();
        rest.into_iter().for_each(|chunk| self.out(chunk));
    }

    fn out(&mut self, chunk: Chunk) {
        self.delivered |= chunk.has_content;
        (self.on_chunk)(chunk);
    }

    async fn body(&mut self, response: &mut Response, limit: usize, until: Instant) -> Result<Bytes, Failure> {
        let too_large = || failure::garbage(&format!("the reply is larger than {limit} bytes"));
        if response.content_length().is_some_and(|n| n > limit as u64) {
            return Err(too_large());
        }
        let Some(first) = self.wait(response.chunk(), until, "did not end its reply within").await?.map_err(|e| connection(&e))? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.wait(response.chunk(), until, "did not end its reply within").await?.map_err(|e| connection(&e))? else {
            return if first.len() > limit { Err(too_large()) } else { Ok(first) };
        };
        let mut whole = BytesMut::with_capacity((first.len() + second.len()) * 2);
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        while let Some(more) = self.wait(response.chunk(), until, "did not end its reply within").await?.map_err(|e| connection(&e))? {
            if whole.len() + more.len() > limit {
                return Err(too_large());
            }
            whole.extend_from_slice(&more);
        }
        Ok(whole.freeze())
    }

    /// Waits for the server, the phase's time, the attempt's time, and the client's leave.
    async fn wait<T>(&mut self, work: impl Future<Output = T>, phase: Instant, what: &str) -> Result<T, Failure> {
        tokio::pin!(work);
        let mut draining = false;
        loop {
            let until = phase.min(self.until);
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = self.cancel.cancelled(), if !draining => {
                    self.left = true;
                    if !self.endpoint.drain_on_cancel {
                        return Err(Failure::new(FailureKind::Cancelled, "the attempt was withdrawn"));
                    }
                    draining = true;
                    self.until = self.until.min(Instant::now() + DRAIN);
                }
                () = tokio::time::sleep_until(until) => {
                    let (what, since) = if phase <= self.until { (what, phase) } else { ("took longer than", self.until) };
                    let limit = since.duration_since(self.started).min(self.limit(what));
                    return Err(Failure::new(FailureKind::Timeout, format!("{what} {limit:?}")));
                }
            }
        }
    }

    fn limit(&self, what: &str) -> Duration {
        if what == SILENT { self.endpoint.timeouts.between_tokens } else { self.endpoint.timeouts.attempt }
    }
}

/// A connection can be used again only when its body was read to its end, which comes a moment after the reply's own.
fn read_out(mut response: Response) {
    if let Some(Ok(None) | Err(_)) = response.chunk().now_or_never() {
        return;
    }
    tokio::spawn(async move {
        let rest = async { while let Ok(Some(_)) = response.chunk().await {} };
        // One that does not end is closed.
        let _ = tokio::time::timeout(REST, rest).await;
    });
}

pub(super) fn authorized(request: RequestBuilder, endpoint: &Endpoint) -> RequestBuilder {
    let request = match endpoint.dialect {
        Dialect::Anthropic => request.header("anthropic-version", ANTHROPIC_VERSION),
        Dialect::OpenAi(_) | Dialect::Ollama => request,
    };
    let Some(key) = &endpoint.api_key else { return request };
    let (name, value) = match endpoint.dialect {
        Dialect::Anthropic => ("x-api-key", key.0.clone()),
        Dialect::OpenAi(_) | Dialect::Ollama => (AUTHORIZATION.as_str(), format!("Bearer {}", key.0)),
    };
    match HeaderValue::from_str(&value) {
        Ok(mut value) => {
            value.set_sensitive(true);
            request.header(name, value)
        }
        // A key that no header can carry is refused by the server like any wrong one.
        Err(_) => request,
    }
}

/// What became of a connection. Only the innermost cause is told: the others say that a request failed, and the URL
/// may hold a credential.
pub(super) fn connection(error: &reqwest::Error) -> Failure {
    let (kind, what) = if error.is_timeout() {
        let what = if error.is_connect() { "cannot be reached (no connection in time)" } else { "did not answer in time" };
        (FailureKind::Timeout, what.to_owned())
    } else if error.is_body() || error.is_decode() {
        (FailureKind::Backend, BROKE_OFF.to_owned())
    } else if error.is_connect() {
        (FailureKind::Connect, format!("cannot be reached ({})", cause(error)))
    } else {
        (FailureKind::Connect, format!("did not answer ({})", cause(error)))
    };
    Failure::new(kind, what)
}

fn cause(error: &reqwest::Error) -> String {
    let Some(mut inner) = std::error::Error::source(error) else { return "the request could not be sent".to_owned() };
    while let Some(cause) = inner.source() {
        inner = cause;
    }
    match inner.downcast_ref::<std::io::Error>() {
        Some(error) if error.raw_os_error().is_some() => error.kind().to_string(),
        Some(_) | None => inner.to_string(),
    }
}
