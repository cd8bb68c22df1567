//! Sockets, limits and the one page of routes.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request as HttpRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::Error;
use super::{App, Request, chat, completions, embeddings, jobs, models, ops, route, usage, workers};
use crate::core::nearest::suggest;

/// What a connection may cost before its request has been understood.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub header_bytes: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header_bytes: 64 * 1024, header_timeout: Duration::from_secs(15), body_timeout: Duration::from_secs(120) }
    }
}

/// Serves until `shutdown`, then lets open requests finish for as long as `linger`.
pub async fn serve(app: Arc<App>, listener: TcpListener, limits: Limits, linger: Duration, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    let cut = CancellationToken::new();
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    // Out of file descriptors, most likely: waiting lets others finish.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = shutdown.cancelled() => break,
        };
        let _ = socket.set_nodelay(true);
        let app = app.clone();
        let (shutdown, cut) = (shutdown.clone(), cut.clone());
        connections.spawn(async move {
            let service = service_fn(move |request| answer(app.clone(), request, limits));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.header_timeout)
                .max_buf_size(limits.header_bytes.max(8192))
                .serve_connection(TokioIo::new(socket), service);
            tokio::pin!(connection);
            let finished = tokio::select! {
                finished = connection.as_mut() => finished,
                () = shutdown.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        finished = connection => finished,
                        () = cut.cancelled() => return,
                    }
                }
            };
            if let Err(error) = finished {
                tracing::debug!(%error, "connection ended");
            }
        });
    }
    connections.close();
    if tokio::time::timeout(linger, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "connections are cut");
        cut.cancel();
        connections.wait().await;
    }
}

async fn answer(app: Arc<App>, request: HttpRequest<Incoming>, limits: Limits) -> Result<Response, Infallible> {
    let head = request.method() == Method::HEAD;
    let mut response = dispatch(app, request, limits).await.unwrap_or_else(IntoResponse::into_response);
    if !response.headers().contains_key("x-request-id")
        && let Ok(id) = HeaderValue::from_str(&request_id())
    {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    if head {
        *response.body_mut() = Body::empty();
    }
    Ok(response)
}

/// Unique among all brokers and starts, and cheap: it is only for finding a request again.
fn request_id() -> String {
    static START: LazyLock<u128> = LazyLock::new(|| uuid::Uuid::now_v7().as_u128());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("req_{:032x}", START.wrapping_add(u128::from(NEXT.fetch_add(1, Ordering::Relaxed))))
}

/// Every route.
async fn dispatch(app: Arc<App>, request: HttpRequest<Incoming>, limits: Limits) -> Result<Response, Error> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().trim_end_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let read = matches!(parts.method, Method::GET | Method::HEAD);
    let query = parts.uri.query().unwrap_or("");
    match (read, segments.as_slice()) {
        (true, [] | ["healthz"]) => return Ok(ops::health()),
        (true, ["readyz"]) => return ops::ready(&app),
        (false, [] | ["healthz" | "readyz"]) => return Err(Error::method("GET, HEAD")),
        _ => {}
    }
    let key = authorize(&app, &parts.headers)?;
    // A field that would be ignored is a mistake here; other APIs' clients send what their own servers take.
    if matches!(segments.as_slice(), ["v1", "route"] | ["v1", "workers", ..] | ["v1", "jobs", _, ..]) {
        parse_query::<NoQuery>(query)?;
    }
    match (&parts.method, segments.as_slice()) {
        (_, ["metrics"]) if read => ops::metrics(&app).await,
        (_, ["v1", "models"]) if read => Ok(models::list(&app)),
        (_, ["v1", "models", rest @ ..]) if read && !rest.is_empty() => models::get(&app, &rest.join("/")),
        (_, ["v1", "jobs"]) if read => jobs::list(app, parse_query(query)?).await,
        (_, ["v1", "jobs", id]) if read => jobs::get(app, id).await,
        (_, ["v1", "jobs", id, "events"]) if read => jobs::events(app, id).await,
        (_, ["v1", "jobs", id, "stream"]) if read => jobs::stream(app, id, &parts.headers).await,
        (_, ["v1", "workers"]) if read => Ok(workers::list(&app)),
        (_, ["v1", "usage"]) if read => usage::get(app, parse_query(query)?).await,
        (&Method::POST, ["v1", "chat", "completions"]) => {
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            chat::create(app, request).await
        }
        (&Method::POST, ["v1", "completions"]) => {
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            completions::create(app, request).await
        }
        (&Method::POST, ["v1", "embeddings"]) => {
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            embeddings::create(app, request).await
        }
        (&Method::POST, ["v1", "route"]) => {
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            route::explain(&app, &request).await
        }
        (&Method::POST, ["v1", "jobs"]) => {
            let query = parse_query(query)?;
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            jobs::create(app, request, query).await
        }
        (&Method::POST, ["v1", "jobs", id, "cancel"]) => jobs::cancel(app, id).await,
        (&Method::POST, ["v1", "jobs", id, "requeue"]) => {
            let request = read_request(&app, &parts.headers, body, key, limits).await?;
            jobs::requeue(app, id, &request.body).await
        }
        (method, ["v1", "workers", name, order]) if let Some(order) = workers::order_named(order) => match *method {
            Method::POST => workers::order(&app, name, order).await,
            _ => Err(Error::method("POST")),
        },
        (_, ["v1", "chat", "completions"] | ["v1", "completions" | "embeddings" | "route"] | ["v1", "jobs", _, "cancel" | "requeue"]) => {
            Err(Error::method("POST"))
        }
        (_, ["v1", "jobs"]) => Err(Error::method("GET, HEAD, POST")),
        (
            _,
            ["v1", "jobs", _] | ["v1", "jobs", _, "events" | "stream"] | ["v1", "models", ..] | ["v1", "usage" | "workers"] | ["metrics"],
        ) => Err(Error::method("GET, HEAD")),
        _ => Err(Error::not_found(format!("there is nothing at {:?}", path.chars().take(200).collect::<String>()))),
    }
}

fn parse_query<T: serde::de::DeserializeOwned>(query: &str) -> Result<T, Error> {
    axum::extract::Query::<T>::try_from_uri(&format!("/?{query}").parse().map_err(|_| Error::bad_request("", "the query is not valid"))?)
        .map(|q| q.0)
        .map_err(|e| wrong_query(&e.body_text()))
}

/// Serde names an unknown field first and the known ones behind it, all in backticks; of a wrong value it says the field
/// and a colon.
fn wrong_query(told: &str) -> Error {
    let told = told.trim_start_matches("Failed to deserialize query string: ");
    if let Some((_, names)) = told.split_once("unknown field ") {
        let names: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
        if let [found, known @ ..] = names.as_slice() {
            let instead = if known.is_empty() { "there are none here".to_owned() } else { suggest(found, known) };
            return Error::bad_request(found, format!("there is no query field `{found}`; {instead}"));
        }
    }
    let field = told.split_once(": ").map_or("", |(field, _)| field);
    Error::bad_request(field, format!("the query is not valid: {told}"))
}

/// The query of what takes none.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoQuery {}

/// With no keys configured everybody may; with keys, the hash of what was sent is compared with each in constant time.
fn authorize(app: &App, headers: &HeaderMap) -> Result<Option<Arc<str>>, Error> {
    let live = app.live_config();
    if live.keys.is_empty() {
        return Ok(None);
    }
    let credentials = headers.get(AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.split_once(' '));
    // The scheme's name is the same in any case (RFC 9110 §11.1).
    let bearer = credentials.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, key)| key);
    let sent = bearer.or_else(|| headers.get("x-api-key").and_then(|v| v.to_str().ok())).ok_or_else(Error::unauthorized)?;
    let hash: [u8; 32] = Sha256::digest(sent.trim().as_bytes()).into();
    let mut name = None;
    for (known, of) in &live.keys {
        if bool::from(known.ct_eq(&hash)) {
            name = Some(of.clone());
        }
    }
    name.map(Some).ok_or_else(Error::unauthorized)
}

async fn read_request(app: &App, headers: &HeaderMap, body: Incoming, key: Option<Arc<str>>, limits: Limits) -> Result<Request, Error> {
    let idempotency_key = match headers.get("idempotency-key") {
        None => None,
        Some(value) => match value.to_str() {
            Ok(text) if !text.is_empty() && text.len() <= 255 => Some(text.to_owned()),
            _ => return Err(Error::bad_request("Idempotency-Key", "`Idempotency-Key` must be 1 to 255 printable ASCII characters")),
        },
    };
    let body = tokio::time::timeout(limits.body_timeout, read_body(body, app.max_body))
        .await
        .map_err(|_| Error::bad_request("", "the body did not arrive in time"))??;
    let keep_on_leave = match headers.get("x-pullyard-on-leave").map(HeaderValue::as_bytes) {
        None => None,
        Some(b"keep") => Some(true),
        Some(b"cancel") => Some(false),
        Some(_) => return Err(Error::bad_request("X-Pullyard-On-Leave", "`X-Pullyard-On-Leave` must be `keep` or `cancel`")),
    };
    Ok(Request { body, key, idempotency_key, keep_on_leave })
}

/// Bounded before it is read: a body that says it is too large is refused unread.
async fn read_body(mut body: Incoming, limit: u64) -> Result<Bytes, Error> {
    if body.size_hint().lower() > limit {
        return Err(Error::too_large(limit));
    }
    let expected = usize::try_from(body.size_hint().exact().unwrap_or(0)).unwrap_or(0);
    let mut whole = BytesMut::new();
    let mut single: Option<Bytes> = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| Error::bad_request("", format!("the body was cut: {e}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if (whole.len() + single.as_ref().map_or(0, Bytes::len) + data.len()) as u64 > limit {
            return Err(Error::too_large(limit));
        }
        match (single.take(), whole.is_empty()) {
            (None, true) => single = Some(data),
            (first, _) => {
                // What was announced is believed as far as it has begun to come.
                whole.reserve(expected.min(1 << 20).saturating_sub(whole.len()));
                whole.extend_from_slice(&first.unwrap_or_default());
                whole.extend_from_slice(&data);
            }
        }
    }
    // A piece of the connection's read buffer would keep all of it for as long as the job waits.
    Ok(single.map_or_else(|| whole.freeze(), |data| Bytes::copy_from_slice(&data)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::jobs::{Filter, Wait};

    #[test]
    fn a_wrong_query_is_refused_by_its_name() {
        let error = parse_query::<Wait>("wai=10").unwrap_err();
        assert_eq!((error.message.as_str(), error.param.as_deref()), ("there is no query field `wai`; did you mean `wait`?", Some("wai")));
        let error = parse_query::<Filter>("stat=parked").unwrap_err();
        assert_eq!(error.message, "there is no query field `stat`; did you mean `state`?");
        let error = parse_query::<NoQuery>("a=b").unwrap_err();
        assert_eq!(error.message, "there is no query field `a`; there are none here");
        let error = parse_query::<Filter>("limit=x").unwrap_err();
        assert_eq!(error.param.as_deref(), Some("limit"), "{}", error.message);
        assert!(parse_query::<Wait>("").is_ok() && parse_query::<NoQuery>("").is_ok());
    }
}
