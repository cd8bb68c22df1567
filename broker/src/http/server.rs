//! Sockets and limits.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request as HttpRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::App;
use super::api::Api;
use super::routes::dispatch;

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
    let begun = Instant::now();
    let head = request.method() == Method::HEAD;
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let api = Api::of(&segments, request.headers());
    let mut response = dispatch(app, request, &segments, limits).await.unwrap_or_else(|error| error.response_for(api));
    if let Ok(id) = HeaderValue::from_str(&request_id()) {
        if let Some(name) = api.request_id_header() {
            response.headers_mut().insert(name, id.clone());
        }
        response.headers_mut().insert("x-request-id", id);
    }
    if api == Api::OpenAi {
        // Until the answer begins, which for a stream is its first chunk.
        let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert("openai-processing-ms", took.into());
        response.headers_mut().insert("openai-version", HeaderValue::from_static("2020-10-01"));
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
